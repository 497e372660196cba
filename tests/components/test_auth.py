"""Sign-in."""

from __future__ import annotations

import re
from typing import Any

import pulumi
import pytest

from amianai_infra.components.auth import Auth, AuthArgs
from tests.components.recorder import Record

ARGS: AuthArgs = {"prefix": "eeyore", "region": "us-east-1", "domain": "example.com", "hosted_domain": "eeyore-example-com"}


def test_the_pool(record: Record) -> None:
    found = record(lambda: Auth("auth", ARGS))
    assert found.counts() == {"UserPool": 1, "UserPoolClient": 2, "UserPoolDomain": 1}
    pool = found.one("UserPool").inputs
    assert pool["name"] == "eeyore-user-pool"
    assert pool["usernameAttributes"] == ["email"]
    assert pool["autoVerifiedAttributes"] == ["email"]
    assert pool["usernameConfiguration"] == {"caseSensitive": False}
    assert pool["passwordPolicy"]["minimumLength"] == 12
    assert pool["mfaConfiguration"] == "OPTIONAL"
    assert pool["softwareTokenMfaConfiguration"] == {"enabled": True}
    assert pool["adminCreateUserConfig"] == {"allowAdminCreateUserOnly": False}
    assert pool["deletionProtection"] == "ACTIVE"
    assert pool["emailConfiguration"] == {"emailSendingAccount": "COGNITO_DEFAULT"}
    assert pool["accountRecoverySetting"] == {"recoveryMechanisms": [{"name": "verified_email", "priority": 1}]}
    assert "{####}" in pool["verificationMessageTemplate"]["emailMessage"]
    assert found.options["auth-pool"]["protect"] is True


@pytest.mark.parametrize("name", ["auth-client", "auth-development-client"])
def test_a_client_is_public_signs_in_with_srp_and_rotates(record: Record, name: str) -> None:
    client = record(lambda: Auth("auth", ARGS)).one("UserPoolClient", name).inputs
    assert client["generateSecret"] is False
    assert client["explicitAuthFlows"] == ["ALLOW_USER_SRP_AUTH"], "AWS refuses ALLOW_REFRESH_TOKEN_AUTH beside rotation"
    assert client["refreshTokenRotation"]["feature"] == "ENABLED"
    assert client["preventUserExistenceErrors"] == "ENABLED"
    assert client["enableTokenRevocation"] is True
    assert client["allowedOauthFlows"] == ["code"]
    assert client["tokenValidityUnits"] == {"accessToken": "minutes", "idToken": "minutes", "refreshToken": "days"}


def test_the_sites_client_returns_to_the_site_alone_and_keeps_its_name(record: Record) -> None:
    """A client under another name would be a new one: everybody's session, and every server that names it, would end."""
    found = record(lambda: Auth("auth", ARGS))
    client = found.one("UserPoolClient", "auth-client").inputs
    assert client["name"] == "eeyore-site"
    assert client["callbackUrls"] == client["logoutUrls"] == ["https://example.com/"]
    development = found.one("UserPoolClient", "auth-development-client").inputs
    assert development["name"] == "eeyore-development"
    assert development["callbackUrls"] == development["logoutUrls"] == ["http://localhost:3000/"]
    more = record(lambda: Auth("auth", {**ARGS, "return_urls": ["app://home"]}))
    assert more.one("UserPoolClient", "auth-client").inputs["callbackUrls"] == ["app://home", "https://example.com/"]


def test_without_addresses_for_development_there_is_no_client_for_it(record: Record) -> None:
    seen: list[Any] = []

    def build() -> None:
        Auth("auth", {**ARGS, "development_urls": []}).development_client_id.apply(seen.append)

    assert [one.name for one in record(build).of("UserPoolClient")] == ["auth-client"]
    assert seen == [""]


def test_what_the_clients_may_read_and_write(record: Record) -> None:
    plain = record(lambda: Auth("auth", ARGS))
    more = record(lambda: Auth("auth", {**ARGS, "profile_attributes": ["name", "locale"]}))
    for name in ("auth-client", "auth-development-client"):
        client = plain.one("UserPoolClient", name).inputs
        assert (client["readAttributes"], client["writeAttributes"]) == (["email", "email_verified"], ["email"])
        client = more.one("UserPoolClient", name).inputs
        assert client["readAttributes"] == ["email", "email_verified", "locale", "name"]
        assert client["writeAttributes"] == ["email", "locale", "name"]


def test_sign_up_by_operators_alone(record: Record) -> None:
    pool = record(lambda: Auth("auth", {**ARGS, "self_sign_up": False})).one("UserPool").inputs
    assert pool["adminCreateUserConfig"] == {"allowAdminCreateUserOnly": True}


def test_requests_for_an_e_mail_are_limited_where_asked_for(record: Record) -> None:
    found = record(lambda: Auth("auth", {**ARGS, "request_limit": 40}))
    acl = found.one("WebAcl").inputs
    assert (acl["name"], acl["scope"], acl["defaultAction"]) == ("eeyore-sign-in", "REGIONAL", {"allow": {}})
    (rule,) = acl["rules"]
    assert rule["action"] == {"block": {}}
    counted = rule["statement"]["rateBasedStatement"]
    assert (counted["limit"], counted["evaluationWindowSec"], counted["aggregateKeyType"]) == (40, 300, "IP")
    assert found.one("WebAclAssociation").inputs == {
        "webAclArn": "arn:aws:wafv2:us-east-1:123456789012:WebAcl/auth-web-acl",
        "resourceArn": "arn:aws:cognito:us-east-1:123456789012:UserPool/auth-pool",
    }


def _counts(statement: dict[str, Any], operation: str, path: str) -> bool:
    """Whether the rule's regular expressions count a request: the API's by its operation, the hosted pages' by their path."""
    for one in statement["scopeDownStatement"]["orStatement"]["statements"]:
        match = one["regexMatchStatement"]
        assert match["textTransformations"] == [{"priority": 0, "type": "LOWERCASE"}]
        header = match["fieldToMatch"].get("singleHeader")
        assert header in (None, {"name": "x-amzn-cognito-operation-name"})
        if re.search(match["regexString"], (operation if header else path).lower()):
            return True
    return False


def test_only_what_sends_an_e_mail_is_counted(record: Record) -> None:
    acl = record(lambda: Auth("auth", {**ARGS, "request_limit": 10})).one("WebAcl").inputs
    counted = acl["rules"][0]["statement"]["rateBasedStatement"]
    for operation in ("SignUp", "ResendConfirmationCode", "ForgotPassword"):
        assert _counts(counted, operation, "/"), operation
    for path in ("/signup", "/forgotPassword", "/resendcode"):
        assert _counts(counted, "", path), path
    for operation in ("InitiateAuth", "ConfirmSignUp", "ConfirmForgotPassword", "GetTokensFromRefreshToken", "GetUser"):
        assert not _counts(counted, operation, "/"), operation
    for path in ("/login", "/oauth2/token", "/oauth2/authorize", "/confirmforgotPassword"):
        assert not _counts(counted, "", path), path


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

    assert record(both).counts() == {"UserPool": 2, "UserPoolClient": 4, "UserPoolDomain": 2}
