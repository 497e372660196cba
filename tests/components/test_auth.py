"""Sign-in."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from amianai_infra.components.auth import Auth, AuthArgs
from tests.components.recorder import Record

ARGS: AuthArgs = {"prefix": "eeyore", "region": "us-east-1", "domain": "example.com", "hosted_domain": "eeyore-example-com"}


def test_the_pool(record: Record) -> None:
    found = record(lambda: Auth("auth", ARGS))
    assert found.counts() == {"UserPool": 1, "UserPoolClient": 1, "UserPoolDomain": 1}
    pool = found.one("UserPool").inputs
    assert pool["name"] == "eeyore-user-pool"
    assert pool["usernameAttributes"] == ["email"]
    assert pool["autoVerifiedAttributes"] == ["email"]
    assert pool["usernameConfiguration"] == {"caseSensitive": False}
    assert pool["passwordPolicy"]["minimumLength"] == 12
    assert pool["mfaConfiguration"] == "OPTIONAL"
    assert pool["softwareTokenMfaConfiguration"] == {"enabled": True}
    assert pool["deletionProtection"] == "ACTIVE"
    assert pool["emailConfiguration"] == {"emailSendingAccount": "COGNITO_DEFAULT"}
    assert pool["accountRecoverySetting"] == {"recoveryMechanisms": [{"name": "verified_email", "priority": 1}]}
    assert "{####}" in pool["verificationMessageTemplate"]["emailMessage"]
    assert found.options["auth-pool"]["protect"] is True


def test_the_client_is_public_signs_in_with_srp_and_rotates(record: Record) -> None:
    client = record(lambda: Auth("auth", ARGS)).one("UserPoolClient").inputs
    assert client["generateSecret"] is False
    assert client["explicitAuthFlows"] == ["ALLOW_USER_SRP_AUTH"], "AWS refuses ALLOW_REFRESH_TOKEN_AUTH beside rotation"
    assert client["refreshTokenRotation"]["feature"] == "ENABLED"
    assert client["preventUserExistenceErrors"] == "ENABLED"
    assert client["enableTokenRevocation"] is True
    assert client["allowedOauthFlows"] == ["code"]
    assert client["callbackUrls"] == client["logoutUrls"] == ["http://localhost:3000/", "https://example.com/"]
    assert client["tokenValidityUnits"] == {"accessToken": "minutes", "idToken": "minutes", "refreshToken": "days"}


def test_the_hosted_domain_and_the_issuer(record: Record) -> None:
    seen: list[Any] = []

    def build() -> None:
        auth = Auth("auth", {**ARGS, "region": "eu-west-1"})
        pulumi.Output.all(auth.hosted_domain, auth.issuer, auth.user_pool_id, auth.client_id).apply(seen.extend)

    found = record(build)
    assert found.one("UserPoolDomain").inputs == {"domain": "eeyore-example-com", "userPoolId": "auth-pool-id"}
    assert found.options["auth-domain"]["delete_before_replace"] is True, "a pool has one domain at a time"
    assert seen == [
        "eeyore-example-com.auth.eu-west-1.amazoncognito.com",
        "https://cognito-idp.eu-west-1.amazonaws.com/auth-pool-id",
        "auth-pool-id",
        "auth-client-id",
    ]


@pytest.mark.parametrize(
    ("identity", "address"),
    [
        ("arn:aws:ses:us-east-1:123456789012:identity/example.com", "no-reply@example.com"),
        ("arn:aws:ses:us-east-1:123456789012:identity/hello@example.org", "hello@example.org"),
    ],
)
def test_ses_sends_where_it_is_set(record: Record, identity: str, address: str) -> None:
    pool = record(lambda: Auth("auth", {**ARGS, "ses_identity_arn": identity})).one("UserPool").inputs
    assert pool["emailConfiguration"] == {"emailSendingAccount": "DEVELOPER", "sourceArn": identity, "fromEmailAddress": address}


def test_without_one_time_passwords(record: Record) -> None:
    pool = record(lambda: Auth("auth", {**ARGS, "mfa": "OFF"})).one("UserPool").inputs
    assert pool["mfaConfiguration"] == "OFF"
    assert "softwareTokenMfaConfiguration" not in pool


def test_a_kept_pool_is_adopted_and_never_deleted(record: Record) -> None:
    options = record(lambda: Auth("auth", {**ARGS, "user_pool_id": "us-east-1_AbC123"})).options["auth-pool"]
    assert options["import_"] == "us-east-1_AbC123"
    assert options["retain_on_delete"] is True
    plain = record(lambda: Auth("auth", ARGS)).options["auth-pool"]
    assert plain["import_"] is None
    assert not plain["retain_on_delete"]


def test_protection_can_be_lifted(record: Record) -> None:
    found = record(lambda: Auth("auth", {**ARGS, "deletion_protection": False}))
    assert found.one("UserPool").inputs["deletionProtection"] == "INACTIVE"
    assert found.options["auth-pool"]["protect"] is False


def test_two_pools_coexist(record: Record) -> None:
    def both() -> None:
        Auth("one", ARGS)
        Auth("two", {**ARGS, "prefix": "other", "hosted_domain": "other"})

    assert record(both).counts() == {"UserPool": 2, "UserPoolClient": 2, "UserPoolDomain": 2}
