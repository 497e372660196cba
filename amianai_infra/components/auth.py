"""Sign-in: a Cognito user pool, a public client for the site and one for development, a hosted domain, a limit of requests."""

from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import pulumi
from pulumi_aws.cognito.user_pool import UserPool
from pulumi_aws.cognito.user_pool_client import UserPoolClient
from pulumi_aws.cognito.user_pool_domain import UserPoolDomain

from amianai_infra.components.inputs import tagged
from amianai_infra.config import AuthSettings
from amianai_infra.rules.mail import sender

if TYPE_CHECKING:
    from pulumi_aws.cognito import UserPoolEmailConfigurationArgsDict, UserPoolSoftwareTokenMfaConfigurationArgsDict

_DEFAULT = AuthSettings()


class AuthArgs(TypedDict):
    """What an `Auth` takes."""

    prefix: str
    """Prefix of every resource's name."""

    region: pulumi.Input[str]
    """Region of the user pool."""

    domain: str
    """The product's domain; it sends the e-mail where SES does, and people return to it after signing in."""

    hosted_domain: pulumi.Input[str]
    """Prefix of the hosted domain, unique in the region among everybody's."""

    password_length: NotRequired[pulumi.Input[int]]
    """Shortest password in characters. Default 12."""

    mfa: NotRequired[str]
    """Time-based one-time passwords: `OFF`, `OPTIONAL` or `ON`. Default `OPTIONAL`."""

    ses_identity_arn: NotRequired[str]
    """SES identity that sends e-mail. Default: Cognito's own sender, 50 a day."""

    return_urls: NotRequired[list[str]]
    """Sign-in and sign-out return addresses of the site's client besides the site's own. Default none."""

    development_urls: NotRequired[list[str]]
    """Return addresses of the client for development; none: no such client. Default http://localhost:3000/."""

    profile_attributes: NotRequired[list[str]]
    """Attributes besides the e-mail address that the clients may read and write. Default none."""

    self_sign_up: NotRequired[bool]
    """Whether people make accounts themselves. Default yes."""

    request_limit: NotRequired[int]
    """Requests for an e-mail from one address in five minutes; 0: no limit, else at least 10. Default 0."""

    user_pool_id: NotRequired[str]
    """A user pool that exists already, to be adopted. Default: create one."""

    deletion_protection: NotRequired[bool]
    """Whether AWS and the engine refuse to delete the pool. Default yes."""


_DEFAULTS = {
    "password_length": _DEFAULT.password_length,
    "mfa": _DEFAULT.mfa,
    "ses_identity_arn": _DEFAULT.ses_identity_arn,
    "return_urls": _DEFAULT.callback_urls,
    "development_urls": _DEFAULT.development_urls,
    "profile_attributes": _DEFAULT.profile_attributes,
    "self_sign_up": _DEFAULT.self_sign_up,
    "request_limit": _DEFAULT.request_limit,
    "user_pool_id": _DEFAULT.user_pool_id,
    "deletion_protection": _DEFAULT.deletion_protection,
}


class Auth(pulumi.ComponentResource):
    """People sign up and in with their e-mail address.

    Signing in, confirming and recovering a password answer alike whether or not there is an account. Signing up does not: Cognito
    answers UsernameExistsException for a taken address in every pool whose user names are e-mail addresses (docs/adr/0016).

    Creates: a user pool (e-mail sign-in, verified addresses, password policy, TOTP); a public client of the site that signs in with
    SRP and rotates its refresh tokens; the same for development; a hosted domain; where asked for, a web ACL that limits requests.

    A rotating client refreshes with GetTokensFromRefreshToken: AWS refuses ALLOW_REFRESH_TOKEN_AUTH beside rotation.

    Cost: nothing up to 10,000 monthly users (Essentials), then $0.015 a user; with a limit of requests $6 a month and $0.60 a million.

    Source: Amazon Cognito Developer Guide, "Refresh token rotation", "Managing user existence error responses" and "Associate an AWS
    WAF web ACL with a user pool".
    """

    user_pool_id: pulumi.Output[str]
    """Id of the user pool."""
    user_pool_arn: pulumi.Output[str]
    """ARN of the user pool."""
    client_id: pulumi.Output[str]
    """Id of the site's public client."""
    development_client_id: pulumi.Output[str]
    """Id of the client for development; empty where there is none."""
    issuer: pulumi.Output[str]
    """Issuer of its tokens."""
    hosted_domain: pulumi.Output[str]
    """Host name of the hosted sign-in pages."""

    def __init__(self, name: str, args: AuthArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:auth:Auth", name, None, opts)
        self._name_of = name
        self._args: AuthArgs = {**_DEFAULTS, **args}  # type: ignore[typeddict-item]

        self._create_user_pool()
        self._create_clients()
        self._create_hosted_domain()
        self._create_request_limit()

        region = self._args["region"]
        self.user_pool_id = self.user_pool.id
        self.user_pool_arn = self.user_pool.arn
        self.client_id = self.client.id
        self.development_client_id = self.development_client.id if self.development_client else pulumi.Output.from_input("")
        self.issuer = pulumi.Output.concat("https://cognito-idp.", region, ".amazonaws.com/", self.user_pool.id)
        self.hosted_domain = pulumi.Output.concat(self.domain.domain, ".auth.", region, ".amazoncognito.com")
        outputs = ("user_pool_id", "user_pool_arn", "client_id", "development_client_id", "issuer", "hosted_domain")
        self.register_outputs({output: getattr(self, output) for output in outputs})

    def _create_user_pool(self) -> None:
        args, protected = self._args, self._args["deletion_protection"]
        display = f"{args['prefix']}-user-pool"
        self.user_pool = UserPool(
            f"{self._name_of}-pool",
            name=display,
            user_pool_tier="ESSENTIALS",
            username_attributes=["email"],
            username_configuration={"case_sensitive": False},
            auto_verified_attributes=["email"],
            user_attribute_update_settings={"attributes_require_verification_before_updates": ["email"]},
            password_policy={
                "minimum_length": args["password_length"],
                "require_lowercase": True,
                "require_uppercase": True,
                "require_numbers": True,
                "require_symbols": False,
                "temporary_password_validity_days": 7,
            },
            mfa_configuration=args["mfa"],
            software_token_mfa_configuration=self._totp(),
            account_recovery_setting={"recovery_mechanisms": [{"name": "verified_email", "priority": 1}]},
            admin_create_user_config={"allow_admin_create_user_only": not args["self_sign_up"]},
            email_configuration=self._email(),
            verification_message_template={
                "default_email_option": "CONFIRM_WITH_CODE",
                "email_subject": f"Your code for {args['domain']}",
                "email_message": f"Your code for {args['domain']} is {{####}}. It is valid for a day.",
            },
            deletion_protection="ACTIVE" if protected else "INACTIVE",
            tags=tagged(display),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=protected,
                import_=args["user_pool_id"] or None,
                # What was adopted is never deleted by us.
                retain_on_delete=bool(args["user_pool_id"]),
            ),
        )

    def _totp(self) -> "UserPoolSoftwareTokenMfaConfigurationArgsDict | None":
        return None if self._args["mfa"] == "OFF" else {"enabled": True}

    def _email(self) -> "UserPoolEmailConfigurationArgsDict":
        identity = self._args["ses_identity_arn"]
        if not identity:
            return {"email_sending_account": "COGNITO_DEFAULT"}
        return {
            "email_sending_account": "DEVELOPER",
            "source_arn": identity,
            "from_email_address": sender(identity, self._args["domain"]),
        }

    def _create_clients(self) -> None:
        """One client a place: what the site's takes comes from the site alone, and an API tells the two apart by their tokens."""
        args = self._args
        self.client = self._client("client", "site", [f"https://{args['domain']}/", *args["return_urls"]])
        development = args["development_urls"]
        self.development_client = self._client("development-client", "development", development) if development else None

    def _client(self, child: str, display: str, returns: list[str]) -> UserPoolClient:
        profile = self._args["profile_attributes"]
        return UserPoolClient(
            f"{self._name_of}-{child}",
            name=f"{self._args['prefix']}-{display}",
            user_pool_id=self.user_pool.id,
            generate_secret=False,
            explicit_auth_flows=["ALLOW_USER_SRP_AUTH"],
            refresh_token_rotation={"feature": "ENABLED", "retry_grace_period_seconds": 30},
            enable_token_revocation=True,
            prevent_user_existence_errors="ENABLED",
            access_token_validity=60,
            id_token_validity=60,
            refresh_token_validity=30,
            token_validity_units={"access_token": "minutes", "id_token": "minutes", "refresh_token": "days"},
            supported_identity_providers=["COGNITO"],
            allowed_oauth_flows_user_pool_client=True,
            allowed_oauth_flows=["code"],
            allowed_oauth_scopes=["email", "openid", "profile"],
            # `email_verified` is Cognito's own to write.
            read_attributes=sorted({"email", "email_verified", *profile}),
            write_attributes=sorted({"email", *profile}),
            callback_urls=sorted(set(returns)),
            logout_urls=sorted(set(returns)),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _create_hosted_domain(self) -> None:
        self.domain = UserPoolDomain(
            f"{self._name_of}-domain",
            domain=self._args["hosted_domain"],
            user_pool_id=self.user_pool.id,
            # A pool has one hosted domain: a second one cannot stand beside it.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )

    def _create_request_limit(self) -> None:
        """What sends an e-mail at an anonymous caller's word, through the API or the hosted pages, is counted by address."""
        limit = self._args["request_limit"]
        if not limit:
            return
        # Two seconds to import, which nobody waits for who sets no limit.
        from pulumi_aws.wafv2.web_acl import WebAcl
        from pulumi_aws.wafv2.web_acl_association import WebAclAssociation

        display = f"{self._args['prefix']}-sign-in"
        self.web_acl = WebAcl(
            f"{self._name_of}-web-acl",
            name=display,
            description="Limits requests for an e-mail from one address",
            scope="REGIONAL",
            default_action={"allow": {}},
            rules=[_mail_rule(f"{display}-e-mail", limit)],
            visibility_config=_measured(display),
            tags=tagged(display),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.web_acl_association = WebAclAssociation(
            f"{self._name_of}-web-acl-association",
            web_acl_arn=self.web_acl.arn,
            resource_arn=self.user_pool.arn,
            opts=pulumi.ResourceOptions(parent=self),
        )


def _mail_rule(name: str, limit: int) -> Any:
    """What sends an e-mail, by Cognito's name of the API operation or by the path of the hosted page."""
    asking = [
        _matches({"single_header": {"name": "x-amzn-cognito-operation-name"}}, "^(signup|resendconfirmationcode|forgotpassword)$"),
        _matches({"uri_path": {}}, "^/(signup|resendcode|forgotpassword)/?$"),
    ]
    counted = {
        "aggregate_key_type": "IP",
        "evaluation_window_sec": 300,
        "limit": limit,
        "scope_down_statement": {"or_statement": {"statements": asking}},
    }
    return {
        "name": name,
        "priority": 0,
        "action": {"block": {}},
        "statement": {"rate_based_statement": counted},
        "visibility_config": _measured(name),
    }


def _matches(field: Any, pattern: str) -> Any:
    lowered = [{"priority": 0, "type": "LOWERCASE"}]
    return {"regex_match_statement": {"field_to_match": field, "regex_string": pattern, "text_transformations": lowered}}


def _measured(name: str) -> Any:
    return {"cloudwatch_metrics_enabled": True, "metric_name": name, "sampled_requests_enabled": False}
