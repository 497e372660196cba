"""What Cognito refuses, and how ids and schemas read, without an emulator."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator

from amianai_infra.sandbox.provider.cognito import _UPDATABLE, UserPool, UserPoolClient, UserPoolDomain, _pool_inputs, _settings, client_key
from amianai_infra.sandbox.provider.properties import Checker
from amianai_infra.sandbox.provider.resource import ProviderError
from amianai_infra.sandbox.provider.values import UNKNOWN


def problems(kind: Any, given: dict[str, Any]) -> list[str]:
    checker = Checker(kind.token)
    inputs = checker.complete(kind.table, given)
    assert checker.problems == []
    return [problem.path for problem in kind.check(inputs)]


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({}, []),
        ({"mfaConfiguration": "OPTIONAL"}, ["mfaConfiguration"]),
        ({"mfaConfiguration": "OPTIONAL", "softwareTokenMfaConfiguration": {"enabled": True}}, []),
        ({"mfaConfiguration": "OPTIONAL", "softwareTokenMfaConfiguration": UNKNOWN}, []),
        ({"aliasAttributes": ["email"], "usernameAttributes": ["email"]}, ["usernameAttributes"]),
        ({"emailConfiguration": {"emailSendingAccount": "DEVELOPER"}}, ["emailConfiguration.sourceArn"]),
        ({"emailConfiguration": {"emailSendingAccount": "DEVELOPER", "sourceArn": "arn:aws:ses:us-east-1:0:identity/x"}}, []),
    ],
)
def test_pools(given: dict[str, Any], paths: list[str]) -> None:
    assert problems(UserPool(), {"name": "pool", **given}) == paths


ROTATING = {"refreshTokenRotation": {"feature": "ENABLED", "retryGracePeriodSeconds": 30}}


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({**ROTATING, "explicitAuthFlows": ["ALLOW_USER_SRP_AUTH"]}, []),
        ({**ROTATING, "explicitAuthFlows": ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]}, ["explicitAuthFlows"]),
        ({**ROTATING, "explicitAuthFlows": UNKNOWN}, []),
        ({"explicitAuthFlows": ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]}, []),
        ({"accessTokenValidity": 25}, ["accessTokenValidity"]),
        ({"accessTokenValidity": 25, "tokenValidityUnits": {"accessToken": "minutes"}}, []),
        ({"accessTokenValidity": 4, "tokenValidityUnits": {"accessToken": "minutes"}}, ["accessTokenValidity"]),
        ({"refreshTokenValidity": 3651}, ["refreshTokenValidity"]),
        ({"refreshTokenValidity": 30, "idTokenValidity": UNKNOWN}, []),
        ({"callbackUrls": ["http://example.com/"]}, ["callbackUrls"]),
        ({"logoutUrls": ["http://localhost.example.com/"]}, ["logoutUrls"]),
        ({"callbackUrls": ["https://example.com/", "http://localhost:3000/", "http://[::1]:3000/", "app://x", UNKNOWN]}, []),
        ({"allowedOauthFlows": ["code"]}, ["callbackUrls"]),
        ({"writeAttributes": ["email", "name", UNKNOWN]}, []),
        ({"writeAttributes": UNKNOWN}, []),
        ({"writeAttributes": ["email", "email_verified"]}, ["writeAttributes"]),
        ({"readAttributes": ["email_verified"]}, []),
    ],
)
def test_clients(given: dict[str, Any], paths: list[str]) -> None:
    assert problems(UserPoolClient(), {"name": "web", "userPoolId": "us-east-1_1", **given}) == paths


@pytest.mark.parametrize("word", ["aws", "amazon", "cognito"])
def test_reserved_words_in_a_domain(word: str) -> None:
    assert problems(UserPoolDomain(), {"domain": f"my-{word}-site", "userPoolId": "p"}) == ["domain"]


def test_domains_that_are_fine() -> None:
    for domain in ("eeyore-example", UNKNOWN):
        assert problems(UserPoolDomain(), {"domain": domain, "userPoolId": "p"}) == []


def test_ids_of_clients() -> None:
    assert client_key("pool/client", {}) == ("pool", "client")
    assert client_key("client", {"userPoolId": "pool"}) == ("pool", "client")
    with pytest.raises(ProviderError, match="<user pool id>/<client id>"):
        client_key("client", {})


def test_a_pool_that_sends_through_ses_is_spelled_as_the_api_spells_it() -> None:
    email = {
        "emailSendingAccount": "DEVELOPER",
        "sourceArn": "arn:aws:ses:us-east-1:123456789012:identity/example.test",
        "fromEmailAddress": "no-reply@example.test",
    }
    asked = _settings({"emailConfiguration": email}, _UPDATABLE)
    shape = Session().get_service_model("cognito-idp").operation_model("UpdateUserPool").input_shape
    assert shape is not None
    assert ParamValidator().validate({"UserPoolId": "us-east-1_a", **asked}, shape).generate_report() == ""
    assert asked["EmailConfiguration"]["From"] == "no-reply@example.test"
    assert _pool_inputs({"Name": "pool", **asked}, {"emailConfiguration": email})["emailConfiguration"] == email
