"""Sign-in: a Cognito user pool, one public client, a hosted domain."""

from typing import TYPE_CHECKING, NotRequired, TypedDict

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
    """Sign-in and sign-out return addresses besides the site's own. Default http://localhost:3000/."""

    user_pool_id: NotRequired[str]
    """A user pool that exists already, to be adopted. Default: create one."""

    deletion_protection: NotRequired[bool]
    """Whether AWS and the engine refuse to delete the pool. Default yes."""


_DEFAULTS = {
    "password_length": _DEFAULT.password_length,
    "mfa": _DEFAULT.mfa,
    "ses_identity_arn": _DEFAULT.ses_identity_arn,
    "return_urls": _DEFAULT.callback_urls,
    "user_pool_id": _DEFAULT.user_pool_id,
    "deletion_protection": _DEFAULT.deletion_protection,
}


class Auth(pulumi.ComponentResource):
    """People sign up and in with their e-mail address; nobody learns from the answers who has an account.

    Creates: a user pool (e-mail sign-in, verified addresses, password policy, TOTP); a public client that signs in with SRP and
    rotates its refresh tokens; a hosted domain.

    A rotating client refreshes with GetTokensFromRefreshToken: AWS refuses ALLOW_REFRESH_TOKEN_AUTH beside rotation.

    Cost: nothing up to 10,000 monthly users (Essentials), then $0.015 a user.

    Source: Amazon Cognito Developer Guide, "Refresh token rotation" and "Managing user existence error responses".
    """

    user_pool_id: pulumi.Output[str]
    """Id of the user pool."""
    user_pool_arn: pulumi.Output[str]
    """ARN of the user pool."""
    client_id: pulumi.Output[str]
    """Id of the site's public client."""
    issuer: pulumi.Output[str]
    """Issuer of its tokens."""
    hosted_domain: pulumi.Output[str]
    """Host name of the hosted sign-in pages."""

    def __init__(self, name: str, args: AuthArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:auth:Auth", name, None, opts)
        self._name_of = name
        self._args: AuthArgs = {**_DEFAULTS, **args}  # type: ignore[typeddict-item]

        self._create_user_pool()
        self._create_client()
        self._create_hosted_domain()

        region = self._args["region"]
        self.user_pool_id = self.user_pool.id
        self.user_pool_arn = self.user_pool.arn
        self.client_id = self.client.id
        self.issuer = pulumi.Output.concat("https://cognito-idp.", region, ".amazonaws.com/", self.user_pool.id)
        self.hosted_domain = pulumi.Output.concat(self.domain.domain, ".auth.", region, ".amazoncognito.com")
        outputs = ("user_pool_id", "user_pool_arn", "client_id", "issuer", "hosted_domain")
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
            admin_create_user_config={"allow_admin_create_user_only": False},
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

    def _create_client(self) -> None:
        returns = [f"https://{self._args['domain']}/", *self._args["return_urls"]]
        self.client = UserPoolClient(
            f"{self._name_of}-client",
            name=f"{self._args['prefix']}-site",
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
