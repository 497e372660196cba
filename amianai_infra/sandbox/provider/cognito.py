"""Cognito user pools, their clients and their domains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from amianai_infra.sandbox.provider.cloudfront import CLOUDFRONT_ZONE
from amianai_infra.sandbox.provider.properties import Problem, flag, number, obj, objects, text, text_set
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, given
from amianai_infra.sandbox.provider.shapes import as_declared, from_api, to_api
from amianai_infra.sandbox.provider.values import UNKNOWN

# Source: Cognito Developer Guide, "Working with user attributes": the attributes every pool has.
STANDARD_ATTRIBUTES: Final = frozenset(
    (
        "sub",
        "name",
        "given_name",
        "family_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "email",
        "email_verified",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "phone_number",
        "phone_number_verified",
        "address",
        "updated_at",
        "identities",
    )
)

UNWRITABLE_ATTRIBUTES: Final = frozenset(("sub", "email_verified", "phone_number_verified", "identities"))

_SCHEMA = {
    "name": text(required=True),
    "attributeDataType": text(required=True),
    "developerOnlyAttribute": flag(default=False),
    "mutable": flag(default=False),
    "required": flag(default=False),
    "numberAttributeConstraints": obj({"minValue": text(), "maxValue": text()}),
    "stringAttributeConstraints": obj({"minLength": text(), "maxLength": text()}),
}
_MESSAGES = {"emailMessage": text(), "emailSubject": text(), "smsMessage": text()}
_NAMES = {"attributesRequireVerificationBeforeUpdates": "AttributesRequireVerificationBeforeUpdate", "fromEmailAddress": "From"}

# Inputs that UpdateUserPool takes under the same name.
_UPDATABLE: Final = (
    "accountRecoverySetting",
    "adminCreateUserConfig",
    "autoVerifiedAttributes",
    "deletionProtection",
    "deviceConfiguration",
    "emailConfiguration",
    "userAttributeUpdateSettings",
    "userPoolAddOns",
    "userPoolTier",
    "verificationMessageTemplate",
)
_AT_BIRTH: Final = ("aliasAttributes", "usernameAttributes", "usernameConfiguration")


class UserPool(Resource):
    """A user pool. One under deletion protection, or with a domain, is not deleted."""

    token = "aws:cognito/userPool:UserPool"
    service = "cognito-idp"
    tagged = True
    missing = ("ResourceNotFoundException",)
    props = {
        "name": text(autoname=True, force_new=True),
        "accountRecoverySetting": obj(
            {"recoveryMechanisms": objects({"name": text(required=True), "priority": number(required=True)}, unordered=True)}, computed=True
        ),
        "adminCreateUserConfig": obj(
            {"allowAdminCreateUserOnly": flag(default=False), "inviteMessageTemplate": obj(_MESSAGES)}, computed=True
        ),
        "aliasAttributes": text_set(force_new=True),
        "autoVerifiedAttributes": text_set(),
        "deletionProtection": text(default="INACTIVE"),
        "deviceConfiguration": obj(
            {"challengeRequiredOnNewDevice": flag(default=False), "deviceOnlyRememberedOnUserPrompt": flag(default=False)}
        ),
        "emailConfiguration": obj(
            {
                "configurationSet": text(),
                "emailSendingAccount": text(default="COGNITO_DEFAULT"),
                "fromEmailAddress": text(),
                "replyToEmailAddress": text(),
                "sourceArn": text(),
            },
            computed=True,
        ),
        "mfaConfiguration": text(default="OFF"),
        "passwordPolicy": obj(
            {
                "minimumLength": number(default=8),
                "passwordHistorySize": number(default=0),
                "requireLowercase": flag(default=False),
                "requireNumbers": flag(default=False),
                "requireSymbols": flag(default=False),
                "requireUppercase": flag(default=False),
                "temporaryPasswordValidityDays": number(default=7),
            },
            computed=True,
        ),
        "schemas": objects(_SCHEMA, unordered=True),
        "signInPolicy": obj({"allowedFirstAuthFactors": text_set()}, computed=True),
        "softwareTokenMfaConfiguration": obj({"enabled": flag(required=True)}),
        "userAttributeUpdateSettings": obj({"attributesRequireVerificationBeforeUpdates": text_set(required=True)}),
        "userPoolAddOns": obj({"advancedSecurityMode": text(required=True)}),
        "userPoolTier": text(computed=True),
        "usernameAttributes": text_set(force_new=True),
        "usernameConfiguration": obj({"caseSensitive": flag(default=True)}, computed=True, force_new=True),
        "verificationMessageTemplate": obj(
            {
                "defaultEmailOption": text(default="CONFIRM_WITH_CODE"),
                "emailMessageByLink": text(),
                "emailSubjectByLink": text(),
                **_MESSAGES,
            },
            computed=True,
        ),
    }
    outputs = ("arn", "creationDate", "customDomain", "domain", "endpoint", "estimatedNumberOfUsers", "lastModifiedDate")

    def check(self, inputs: Inputs) -> list[Problem]:
        """What Cognito refuses and the emulator does not."""
        return list(_pool_problems(inputs))

    def create(self, ctx: Context, inputs: Inputs) -> str:
        found = ctx.client().create_user_pool(
            PoolName=inputs["name"],
            UserPoolTags=ctx.tags(inputs),
            **_settings(inputs, (*_UPDATABLE, *_AT_BIRTH)),
            **given(Schema=[_attribute(one) for one in inputs.get("schemas", [])] or None),
        )
        return str(found["UserPool"]["Id"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        token = inputs.get("softwareTokenMfaConfiguration", {}).get("enabled", False)
        if inputs["mfaConfiguration"] == "OFF" and not token:
            ctx.client().set_user_pool_mfa_config(UserPoolId=ident, MfaConfiguration="OFF")
        else:
            ctx.client().set_user_pool_mfa_config(
                UserPoolId=ident, MfaConfiguration=inputs["mfaConfiguration"], SoftwareTokenMfaConfiguration={"Enabled": token}
            )

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        pool = ctx.client().describe_user_pool(UserPoolId=ident)["UserPool"]
        mfa = ctx.client().get_user_pool_mfa_config(UserPoolId=ident)
        return {
            **_pool_inputs(pool, known),
            "mfaConfiguration": mfa.get("MfaConfiguration", "OFF"),
            "softwareTokenMfaConfiguration": _token_inputs(mfa, known),
            "arn": pool["Arn"],
            "endpoint": f"cognito-idp.{ctx.region}.amazonaws.com/{ident}",
            "creationDate": pool["CreationDate"].isoformat(),
            "tags": pool.get("UserPoolTags", {}),
            **_passing(pool, known),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        if "schemas" in changed:
            self._extend(ctx, ident, new)
        ctx.client().update_user_pool(UserPoolId=ident, **_settings(new, _UPDATABLE))
        self.configure(ctx, ident, new)

    @staticmethod
    def _extend(ctx: Context, ident: str, new: Inputs) -> None:
        """A pool's schema only grows, and by attributes of our own only."""
        there = {one["Name"].removeprefix("custom:"): one for one in _attributes(ctx, ident)}
        wanted = {one["name"]: one for one in new.get("schemas", [])}
        own = {one["Name"].removeprefix("custom:") for one in there.values() if one["Name"].startswith("custom:")}
        changed = [name for name, one in wanted.items() if name in there and as_declared(_attribute_inputs(there[name]), one) != one]
        if changed or own - set(wanted):
            raise ProviderError(f"Cognito cannot modify or remove schema attributes: {', '.join([*changed, *sorted(own - set(wanted))])}")
        added = [_attribute(one) for name, one in wanted.items() if name not in there]
        if added:
            ctx.client().add_custom_attributes(UserPoolId=ident, CustomAttributes=added)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        pool = ctx.client().describe_user_pool(UserPoolId=ident)["UserPool"]
        if pool.get("DeletionProtection") == "ACTIVE":
            raise ProviderError(
                f"InvalidParameterException: the user pool {ident} is under deletion protection; set deletionProtection to INACTIVE first"
            )
        if pool.get("Domain"):
            raise ProviderError(f"InvalidParameterException: the user pool {ident} has the domain {pool['Domain']}, which must go first")
        ctx.client().delete_user_pool(UserPoolId=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_resource(ResourceArn=state["arn"], TagKeys=removed)
        if tags:
            ctx.client().tag_resource(ResourceArn=state["arn"], Tags=tags)


def _settings(inputs: Inputs, names: tuple[str, ...]) -> dict[str, Any]:
    """The parameters of CreateUserPool and UpdateUserPool."""
    found = dict(to_api({name: inputs.get(name) for name in names}, _NAMES))
    policies = to_api({"passwordPolicy": inputs.get("passwordPolicy"), "signInPolicy": inputs.get("signInPolicy")})
    return {**found, "Policies": policies} if policies else found


def _attribute(schema: Inputs) -> dict[str, Any]:
    return dict(to_api(schema))


def _attribute_inputs(attribute: Mapping[str, Any]) -> State:
    found = from_api(attribute)
    return {**found, "name": found["name"].removeprefix("custom:")}


def _attributes(ctx: Context, ident: str) -> list[dict[str, Any]]:
    return list(ctx.client().describe_user_pool(UserPoolId=ident)["UserPool"].get("SchemaAttributes", []))


def _pool_inputs(pool: Mapping[str, Any], known: Inputs) -> State:
    found = from_api({key: value for key, value in pool.items() if key != "UserPoolTags"}, _NAMES)
    policies = found.get("policies", {})
    real = {
        **{name: found.get(name) for name in (*_UPDATABLE, *_AT_BIRTH)},
        "passwordPolicy": policies.get("passwordPolicy"),
        "signInPolicy": policies.get("signInPolicy"),
    }
    reduced = {name: as_declared(value, known.get(name)) for name, value in real.items()}
    reduced["deletionProtection"] = reduced["deletionProtection"] or "INACTIVE"
    return {"name": pool["Name"], **reduced, "schemas": _schema_inputs(pool.get("SchemaAttributes", []), known)}


def _schema_inputs(attributes: list[Mapping[str, Any]], known: Inputs) -> list[State]:
    """Our own attributes and the standard ones that were declared, each reduced to what was declared of it."""
    declared = {one["name"]: one for one in known.get("schemas", [])}
    found = [_attribute_inputs(one) for one in attributes if one["Name"] not in STANDARD_ATTRIBUTES or one["Name"] in declared]
    return [as_declared(one, declared.get(one["name"])) for one in found]


def _token_inputs(mfa: Mapping[str, Any], known: Inputs) -> State | None:
    enabled = mfa.get("SoftwareTokenMfaConfiguration", {}).get("Enabled", False)
    return {"enabled": enabled} if enabled or "softwareTokenMfaConfiguration" in known else None


def _passing(pool: Mapping[str, Any], known: Inputs) -> State:
    """Outputs that others change all the time: they keep the value of the last change of ours, so that refresh stays quiet."""
    real = {
        "customDomain": pool.get("CustomDomain", ""),
        "domain": pool.get("Domain", ""),
        "estimatedNumberOfUsers": pool.get("EstimatedNumberOfUsers", 0),
        "lastModifiedDate": pool["LastModifiedDate"].isoformat(),
    }
    return {name: known.get(name, value) for name, value in real.items()}


def _pool_problems(inputs: Inputs) -> Iterator[Problem]:
    if inputs.get("aliasAttributes") and inputs.get("usernameAttributes"):
        yield Problem("usernameAttributes", "a pool has either aliasAttributes or usernameAttributes")
    token = inputs.get("softwareTokenMfaConfiguration")
    enabled = token is UNKNOWN or bool(token and token["enabled"])
    if inputs["mfaConfiguration"] in ("ON", "OPTIONAL") and not enabled:
        yield Problem("mfaConfiguration", "multi-factor authentication needs softwareTokenMfaConfiguration (SMS is not implemented here)")
    email = inputs.get("emailConfiguration")
    if isinstance(email, dict) and email["emailSendingAccount"] == "DEVELOPER" and not email.get("sourceArn"):
        yield Problem("emailConfiguration.sourceArn", "sending through SES (DEVELOPER) needs the identity's sourceArn")


_CLIENT_NAMES = {
    "name": "ClientName",
    "allowedOauthFlows": "AllowedOAuthFlows",
    "allowedOauthFlowsUserPoolClient": "AllowedOAuthFlowsUserPoolClient",
    "allowedOauthScopes": "AllowedOAuthScopes",
    "callbackUrls": "CallbackURLs",
    "defaultRedirectUri": "DefaultRedirectURI",
    "logoutUrls": "LogoutURLs",
}
_UNIT_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
# Source: Cognito API reference, CreateUserPoolClient: the ranges of the three validities, in seconds.
_VALIDITIES = {
    "accessToken": ("accessTokenValidity", "hours", 300, 86400),
    "idToken": ("idTokenValidity", "hours", 300, 86400),
    "refreshToken": ("refreshTokenValidity", "days", 3600, 315360000),
}


class UserPoolClient(Resource):
    """An application of a user pool."""

    token = "aws:cognito/userPoolClient:UserPoolClient"
    service = "cognito-idp"
    missing = ("ResourceNotFoundException",)
    props = {
        "userPoolId": text(required=True, force_new=True),
        "name": text(autoname=True),
        "accessTokenValidity": number(computed=True),
        "allowedOauthFlows": text_set(computed=True),
        "allowedOauthFlowsUserPoolClient": flag(computed=True),
        "allowedOauthScopes": text_set(computed=True),
        "authSessionValidity": number(computed=True),
        "callbackUrls": text_set(computed=True),
        "defaultRedirectUri": text(computed=True),
        "enablePropagateAdditionalUserContextData": flag(computed=True),
        "enableTokenRevocation": flag(computed=True),
        "explicitAuthFlows": text_set(computed=True),
        "generateSecret": flag(computed=True, force_new=True),
        "idTokenValidity": number(computed=True),
        "logoutUrls": text_set(computed=True),
        "preventUserExistenceErrors": text(computed=True),
        "readAttributes": text_set(computed=True),
        "refreshTokenRotation": obj(
            {"feature": text(required=True, choices=("ENABLED", "DISABLED")), "retryGracePeriodSeconds": number(default=0)}, unreported=True
        ),
        "refreshTokenValidity": number(computed=True),
        "supportedIdentityProviders": text_set(computed=True),
        "tokenValidityUnits": obj(
            {"accessToken": text(default="hours"), "idToken": text(default="hours"), "refreshToken": text(default="days")}, computed=True
        ),
        "writeAttributes": text_set(computed=True),
    }
    outputs = ("clientSecret",)
    secrets = ("clientSecret",)

    def check(self, inputs: Inputs) -> list[Problem]:
        """What Cognito refuses and the emulator does not."""
        return [*_validity_problems(inputs), *_flow_problems(inputs), *_url_problems(inputs), *_attribute_problems(inputs)]

    def create(self, ctx: Context, inputs: Inputs) -> str:
        found = ctx.client().create_user_pool_client(**_client_parameters(inputs), **given(GenerateSecret=inputs.get("generateSecret")))
        return str(found["UserPoolClient"]["ClientId"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        pool, client = client_key(ident, known)
        found = ctx.client().describe_user_pool_client(UserPoolId=pool, ClientId=client)["UserPoolClient"]
        real = from_api(found, _CLIENT_NAMES)
        return {
            **{name: real.get(name) for name, prop in self.props.items() if not prop.silent},
            "generateSecret": "ClientSecret" in found,
            "tokenValidityUnits": real.get("tokenValidityUnits") or None,
            "clientSecret": found.get("ClientSecret", ""),
            **({"id": client} if client != ident else {}),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        _, client = client_key(ident, new)
        ctx.client().update_user_pool_client(ClientId=client, **_client_parameters(new))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        pool, client = client_key(ident, state)
        ctx.client().delete_user_pool_client(UserPoolId=pool, ClientId=client)


def client_key(ident: str, known: Inputs) -> tuple[str, str]:
    """Pool and client of an id: `<client>` in the state, `<pool>/<client>` to import."""
    pool, _, client = ident.rpartition("/")
    pool = pool or known.get("userPoolId", "")
    if not pool:
        raise ProviderError(f"{ident!r} is no id to import a user pool client with: it must be <user pool id>/<client id>")
    return pool, client


def _client_parameters(inputs: Inputs) -> dict[str, Any]:
    return dict(to_api({name: value for name, value in inputs.items() if name not in ("generateSecret", "region")}, _CLIENT_NAMES))


def _validity_problems(inputs: Inputs) -> Iterator[Problem]:
    units = inputs.get("tokenValidityUnits") or {}
    if units is UNKNOWN:
        return
    for token, (name, unit, least, most) in _VALIDITIES.items():
        value, used = inputs.get(name), units.get(token, unit)
        if value in (None, UNKNOWN) or used not in _UNIT_SECONDS:
            continue
        if not least <= value * _UNIT_SECONDS[used] <= most:
            yield Problem(name, f"{name} = {value} {used} is outside Cognito's range of {least} s to {most} s")


def _flow_problems(inputs: Inputs) -> Iterator[Problem]:
    flows, rotation = inputs.get("explicitAuthFlows") or [], inputs.get("refreshTokenRotation") or {}
    if UNKNOWN in (flows, rotation):
        return
    if rotation.get("feature") == "ENABLED" and "ALLOW_REFRESH_TOKEN_AUTH" in flows:
        yield Problem("explicitAuthFlows", "ALLOW_REFRESH_TOKEN_AUTH is not allowed while refreshTokenRotation is enabled")


def _url_problems(inputs: Inputs) -> Iterator[Problem]:
    for name in ("callbackUrls", "logoutUrls"):
        urls = inputs.get(name) or []
        for url in [] if urls is UNKNOWN else urls:
            if url is not UNKNOWN and url.startswith("http://") and not _is_local(url):
                yield Problem(name, f"{url}: Cognito takes http only for localhost")
    if inputs.get("allowedOauthFlows") and not inputs.get("callbackUrls"):
        yield Problem("callbackUrls", "the OAuth flows need callbackUrls")


def _attribute_problems(inputs: Inputs) -> Iterator[Problem]:
    names = inputs.get("writeAttributes") or []
    wrong = [] if names is UNKNOWN else sorted({name for name in names if name is not UNKNOWN} & UNWRITABLE_ATTRIBUTES)
    if wrong:
        yield Problem("writeAttributes", f"no client may write {', '.join(wrong)}")


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")


class UserPoolDomain(Resource):
    """Where a user pool's sign-in pages live; its id is the domain."""

    token = "aws:cognito/userPoolDomain:UserPoolDomain"
    service = "cognito-idp"
    name_prop = "domain"
    missing = ("ResourceNotFoundException",)
    props = {
        "domain": text(required=True, force_new=True),
        "userPoolId": text(required=True, force_new=True),
        "certificateArn": text(),
        "managedLoginVersion": number(computed=True),
    }
    outputs = ("awsAccountId", "cloudfrontDistribution", "cloudfrontDistributionArn", "cloudfrontDistributionZoneId", "s3Bucket", "version")

    def check(self, inputs: Inputs) -> list[Problem]:
        """A prefix may not contain what belongs to AWS."""
        domain = inputs["domain"]
        if domain is UNKNOWN or inputs.get("certificateArn"):
            return []
        reserved = [word for word in ("aws", "amazon", "cognito") if word in domain]
        return [Problem("domain", f"the domain prefix {domain!r} contains the reserved word {word}") for word in reserved]

    def create(self, ctx: Context, inputs: Inputs) -> str:
        if self._describe(ctx, inputs["domain"]) is not None:
            raise ProviderError(f"InvalidParameterException: the domain {inputs['domain']} already exists")
        ctx.client().create_user_pool_domain(Domain=inputs["domain"], UserPoolId=inputs["userPoolId"], **self._parameters(inputs))
        return str(inputs["domain"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = self._describe(ctx, ident)
        if found is None:
            return None
        distribution = found.get("CloudFrontDistribution", "")
        return {
            "domain": ident,
            "userPoolId": found["UserPoolId"],
            "certificateArn": found.get("CustomDomainConfig", {}).get("CertificateArn"),
            "managedLoginVersion": found.get("ManagedLoginVersion"),
            "awsAccountId": found.get("AWSAccountId"),
            "cloudfrontDistribution": distribution,
            "cloudfrontDistributionArn": distribution,
            "cloudfrontDistributionZoneId": CLOUDFRONT_ZONE,
            "s3Bucket": found.get("S3Bucket"),
            "version": found.get("Version"),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        ctx.client().update_user_pool_domain(Domain=ident, UserPoolId=new["userPoolId"], **self._parameters(new))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_user_pool_domain(Domain=ident, UserPoolId=state["userPoolId"])

    @staticmethod
    def _parameters(inputs: Inputs) -> dict[str, Any]:
        arn = inputs.get("certificateArn")
        return given(CustomDomainConfig={"CertificateArn": arn} if arn else None, ManagedLoginVersion=inputs.get("managedLoginVersion"))

    @staticmethod
    def _describe(ctx: Context, domain: str) -> dict[str, Any] | None:
        found = ctx.client().describe_user_pool_domain(Domain=domain).get("DomainDescription") or {}
        return dict(found) if found.get("Domain") else None


RESOURCES = (UserPool, UserPoolClient, UserPoolDomain)
