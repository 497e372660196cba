"""User pools with the real engine and the emulator.

What this cannot prove: that refresh tokens rotate; the emulator does not store the setting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from amianai_infra.components.auth import Auth, AuthArgs
from amianai_infra.errors import EngineError
from amianai_infra.sandbox.provider.cognito import UserPool, UserPoolClient, UserPoolDomain
from amianai_infra.sandbox.provider.resource import ProviderError, Resource
from tests.functional.conftest import Bench, Program, changed
from tests.functional.provider_attempt import attempt, context
from tests.functional.test_provider import stack, steps

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")


@dataclass
class Settings:
    name: str
    length: int = 12
    grace: int = 30
    attributes: list[str] = field(default_factory=list)
    sign_in: str = "email"


def sign_in(settings: Settings) -> Program:
    def program() -> None:
        own = [aws.cognito.UserPoolSchemaArgs(name=name, attribute_data_type="String", mutable=True) for name in settings.attributes]
        pool = aws.cognito.UserPool(
            "pool",
            name=settings.name,
            username_attributes=[settings.sign_in],
            auto_verified_attributes=["email"],
            deletion_protection="INACTIVE",
            mfa_configuration="OPTIONAL",
            software_token_mfa_configuration={"enabled": True},
            password_policy={
                "minimum_length": settings.length,
                "require_lowercase": True,
                "require_numbers": True,
                "require_uppercase": True,
            },
            account_recovery_setting={"recovery_mechanisms": [{"name": "verified_email", "priority": 1}]},
            username_configuration={"case_sensitive": False},
            user_attribute_update_settings={"attributes_require_verification_before_updates": ["email"]},
            schemas=[aws.cognito.UserPoolSchemaArgs(name="email", attribute_data_type="String", required=True, mutable=True), *own],
            tags={"amianai:urn": "urn:x"},
        )
        client = aws.cognito.UserPoolClient(
            "client",
            name=settings.name,
            user_pool_id=pool.id,
            explicit_auth_flows=["ALLOW_USER_SRP_AUTH"],
            refresh_token_rotation={"feature": "ENABLED", "retry_grace_period_seconds": settings.grace},
            access_token_validity=60,
            token_validity_units={"access_token": "minutes"},
            prevent_user_existence_errors="ENABLED",
            callback_urls=["https://example.test/", "http://localhost:3000/"],
            allowed_oauth_flows=["code"],
            allowed_oauth_flows_user_pool_client=True,
            allowed_oauth_scopes=["openid", "email"],
            supported_identity_providers=["COGNITO"],
        )
        aws.cognito.UserPoolDomain("domain", domain=settings.name, user_pool_id=pool.id)
        pulumi.export("pool", pool.id)
        pulumi.export("endpoint", pool.endpoint)
        pulumi.export("client", client.id)

    return program


def test_the_whole_life_of_a_pool(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("bench-life")
    cognito = bench.client("cognito-idp")
    with stack(bench, tmp_path, sign_in(settings)) as made:
        assert changed(made.up()) == {"create": 3}
        out = made.outputs()
        assert out["endpoint"] == f"cognito-idp.us-east-1.amazonaws.com/{out['pool']}"
        assert cognito.get_user_pool_mfa_config(UserPoolId=out["pool"])["SoftwareTokenMfaConfiguration"] == {"Enabled": True}
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}

        cognito.sign_up(ClientId=out["client"], Username="a@example.test", Password="Correct-horse-1")
        assert changed(made.refresh()) == {}, "people who sign up are no drift"

        settings.length, settings.grace, settings.attributes = 14, 10, ["plan"]
        assert set(steps(made.up())) == {"pool", "client"}
        pool = cognito.describe_user_pool(UserPoolId=out["pool"])["UserPool"]
        assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] == 14
        assert "custom:plan" in [one["Name"] for one in pool["SchemaAttributes"]]
        assert pool["UserPoolTags"] == {"amianai:urn": "urn:x"}
        assert changed(made.refresh()) == {}

        settings.attributes = []
        with pytest.raises(EngineError, match="cannot modify or remove schema attributes: plan"):
            made.up()
        settings.attributes = ["plan"]

        settings.sign_in = "phone_number"
        assert changed(made.preview())["replace"] == 3, "the pool, its client and its domain"
        settings.sign_in = "email"

        with pytest.raises(ProviderError, match="domain bench-life"):
            UserPool().delete(context(bench, UserPool()), out["pool"], {})
        cognito.update_user_pool(UserPoolId=out["pool"], Policies={"PasswordPolicy": {"MinimumLength": 6}}, DeletionProtection="ACTIVE")
        cognito.set_user_pool_mfa_config(UserPoolId=out["pool"], MfaConfiguration="OFF")
        cognito.update_user_pool_client(UserPoolId=out["pool"], ClientId=out["client"], PreventUserExistenceErrors="LEGACY")
        cognito.delete_user_pool_domain(UserPoolId=out["pool"], Domain="bench-life")
        with pytest.raises(ProviderError, match="deletion protection"):
            UserPool().delete(context(bench, UserPool()), out["pool"], {})
        assert changed(made.refresh()) == {"update": 2, "delete": 1}
        assert changed(made.up()) == {"update": 2, "create": 1}
        assert changed(made.refresh()) == {}
        assert cognito.get_user_pool_mfa_config(UserPoolId=out["pool"])["MfaConfiguration"] == "OPTIONAL"
    assert cognito.list_user_pools(MaxResults=10)["UserPools"] == []


def test_pools_and_clients_can_be_imported(bench: Bench, tmp_path: Path) -> None:
    cognito = bench.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName="bench-import", UsernameAttributes=["email"])["UserPool"]["Id"]
    client = cognito.create_user_pool_client(UserPoolId=pool, ClientName="web", ExplicitAuthFlows=["ALLOW_USER_SRP_AUTH"])["UserPoolClient"]
    cognito.create_user_pool_domain(UserPoolId=pool, Domain="bench-import")

    def program() -> None:
        def there(ident: str) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(import_=ident)

        made = aws.cognito.UserPool("pool", name="bench-import", username_attributes=["email"], opts=there(pool))
        web = aws.cognito.UserPoolClient(
            "client",
            name="web",
            user_pool_id=made.id,
            explicit_auth_flows=["ALLOW_USER_SRP_AUTH"],
            opts=there(f"{pool}/{client['ClientId']}"),
        )
        aws.cognito.UserPoolDomain("domain", domain="bench-import", user_pool_id=made.id, opts=there("bench-import"))
        pulumi.export("client", web.id)

    with stack(bench, tmp_path, program) as made:
        assert changed(made.up()) == {"import": 3}
        assert made.outputs()["client"] == client["ClientId"]
        assert changed(made.up()) == {}


def as_it_was(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """The site's client before it had rights of its own and development a client of its own."""
    if args.type_ != UserPoolClient.token:
        return None
    props = {name: value for name, value in args.props.items() if name not in ("read_attributes", "write_attributes")}
    urls = ["https://example.test/", "http://localhost:3000/"]
    return pulumi.ResourceTransformationResult({**props, "callback_urls": urls, "logout_urls": urls}, args.opts)


def test_a_stack_with_one_client_gets_the_second_and_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    before = {"value": True}

    def program() -> None:
        old = before["value"]
        args: AuthArgs = {
            "prefix": "bench",
            "region": "us-east-1",
            "domain": "example.test",
            "hosted_domain": "bench-upgrade",
            "deletion_protection": False,
        }
        options = pulumi.ResourceOptions(transformations=[as_it_was]) if old else None
        auth = Auth("auth", {**args, "development_urls": []} if old else args, options)
        pulumi.export("pool", auth.user_pool_id)
        pulumi.export("client", auth.client_id)
        pulumi.export("development", auth.development_client_id)

    cognito = bench.client("cognito-idp")
    with stack(bench, tmp_path, program) as made:
        made.up()
        older = made.outputs()
        cognito.sign_up(ClientId=older["client"], Username="a@example.test", Password="Correct-horse-1")

        before["value"] = False
        planned = made.preview()
        assert changed(planned) == {"update": 1, "create": 1}, "nothing is replaced"
        assert steps(made.up()) == {
            "auth-client": ("callbackUrls", "logoutUrls", "readAttributes", "writeAttributes"),
            "auth-development-client": (),
        }
        newer = made.outputs()
        assert (newer["pool"], newer["client"]) == (older["pool"], older["client"])
        assert older["development"] == ""
        found = {
            name: cognito.describe_user_pool_client(UserPoolId=newer["pool"], ClientId=newer[name])["UserPoolClient"]
            for name in ("client", "development")
        }
        assert found["client"]["CallbackURLs"] == found["client"]["LogoutURLs"] == ["https://example.test/"]
        assert found["development"]["CallbackURLs"] == ["http://localhost:3000/"]
        assert all(sorted(one["ReadAttributes"]) == ["email", "email_verified"] for one in found.values())
        assert all(one["WriteAttributes"] == ["email"] for one in found.values())
        assert len(cognito.list_users(UserPoolId=newer["pool"])["Users"]) == 1
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}


ROTATION = {"feature": "ENABLED", "retryGracePeriodSeconds": 61}


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        (UserPoolDomain(), {"domain": "my-cognito"}, "reserved word cognito"),
        (UserPoolClient(), {"name": "x", "accessTokenValidity": 25}, "outside Cognito's range"),
        (UserPoolClient(), {"name": "x", "refreshTokenRotation": ROTATION}, "is above 60"),
        (UserPoolClient(), {"name": "x", "writeAttributes": ["email", "email_verified"]}, "no client may write email_verified"),
        (UserPool(), {"name": "x", "passwordPolicy": {"minimumLength": 5}}, "is below 6"),
        (UserPool(), {"name": "x", "lambdaConfig": {"preSignUp": "arn"}}, "no property 'lambdaConfig'"),
        (UserPool(), {"name": "x", "deletionProtection": "YES"}, "is not one of ACTIVE, INACTIVE"),
    ],
    ids=["domain", "validity", "grace", "attributes", "password", "property", "protection"],
)
def test_what_cognito_would_refuse_is_refused(bench: Bench, kind: Resource, given: dict[str, Any], reason: str) -> None:
    pool = {} if isinstance(kind, UserPool) else {"userPoolId": "us-east-1_x"}
    assert reason in attempt(bench, kind, {**pool, **given})
