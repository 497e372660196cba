"""What Cognito refuses of requests that the emulator would take, and names without regard to case."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.sandbox.emulator_gateway.cognito import folded, owner, refusal

POOL: dict[str, Any] = {
    "Id": "us-east-1_a",
    "UsernameConfiguration": {"CaseSensitive": False},
    "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": False},
    "_clients": {"site": {"ClientId": "site", "WriteAttributes": ["email", "name"]}, "open": {"ClientId": "open", "WriteAttributes": []}},
}
OTHER: dict[str, Any] = {"Id": "us-east-1_b", "_clients": {"other": {"ClientId": "other"}}}
UNWRITABLE = ("NotAuthorizedException", "A client attempted to write unauthorized attribute")


def writing(client: str = "site", /, **attributes: str) -> dict[str, Any]:
    listed = [{"Name": name, "Value": value} for name, value in attributes.items()]
    return {"ClientId": client, "Username": "a@example.test", "UserAttributes": listed}


def refused(action: str, body: dict[str, Any], pool: dict[str, Any] = POOL) -> tuple[str, str] | None:
    return refusal(action, body, *owner([OTHER, pool], body))


def token(claims: Any) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize("action", ["SignUp", "UpdateUserAttributes"])
@pytest.mark.parametrize("client", ["site", "open"])
@pytest.mark.parametrize("name", ["email_verified", "phone_number_verified"])
def test_nobody_verifies_an_address_themselves(action: str, client: str, name: str) -> None:
    assert refused(action, writing(client, email="a@example.test", **{name: "true"})) == UNWRITABLE


@pytest.mark.parametrize("action", ["SignUp", "UpdateUserAttributes"])
def test_a_client_writes_what_it_may(action: str) -> None:
    assert refused(action, writing("site", email="a@example.test", name="A")) is None
    assert refused(action, writing("site", email="a@example.test", locale="en")) == UNWRITABLE
    assert refused(action, writing("open", email="a@example.test", locale="en")) is None, "without a list, everything but what is Cognito's"
    assert refused(action, writing("site", sub="x")) == ("InvalidParameterException", "Cannot modify the non-mutable attribute sub")


def test_an_access_token_tells_the_client() -> None:
    body = {"AccessToken": token({"client_id": "site"}), "UserAttributes": [{"Name": "locale", "Value": "en"}]}
    assert refused("UpdateUserAttributes", body) == UNWRITABLE
    assert refused("UpdateUserAttributes", {**body, "AccessToken": token({"client_id": "open"})}) is None


def test_operators_write_what_they_like() -> None:
    for action in ("AdminCreateUser", "AdminUpdateUserAttributes"):
        assert refused(action, {**writing("site", email_verified="true"), "UserPoolId": POOL["Id"]}) is None


def test_sign_up_where_only_operators_make_accounts() -> None:
    closed = {**POOL, "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": True}}
    assert refused("SignUp", writing(email="a@example.test"), closed) == (
        "NotAuthorizedException",
        "SignUp is not permitted for this user pool",
    )
    assert refused("InitiateAuth", {"ClientId": "site"}, closed) is None
    assert refused("SignUp", writing("other", email="a@example.test"), closed) is None, "another pool"


def test_names_differ_by_case_alone_in_no_request() -> None:
    body = {
        "ClientId": "site",
        "Username": "A@Example.test",
        "Password": "Keeps-Its-Case-1",
        "AuthParameters": {"USERNAME": "A@Example.test", "PASSWORD": "Keeps", "SRP_A": "AB"},
        "ChallengeResponses": {"USERNAME": "A@Example.test", "ANSWER": "Keeps"},
        "UserAttributes": [{"Name": "email", "Value": "A@Example.test"}, {"Name": "name", "Value": "Ada"}],
    }
    before = json.dumps(body)
    done = folded(body, POOL)
    assert done["Username"] == done["AuthParameters"]["USERNAME"] == done["ChallengeResponses"]["USERNAME"] == "a@example.test"
    assert done["UserAttributes"] == [{"Name": "email", "Value": "a@example.test"}, {"Name": "name", "Value": "Ada"}]
    assert (done["Password"], done["AuthParameters"]["PASSWORD"], done["AuthParameters"]["SRP_A"]) == ("Keeps-Its-Case-1", "Keeps", "AB")
    assert json.dumps(body) == before, "what was given stays as it was"


@pytest.mark.parametrize("configuration", [None, {}, {"CaseSensitive": True}, "junk"])
def test_a_pool_that_tells_cases_apart_gets_names_as_they_are(configuration: Any) -> None:
    body = {"Username": "A"}
    assert folded(body, {**POOL, "UsernameConfiguration": configuration}) == body


@pytest.mark.parametrize("hashed", [{"SecretHash": "h"}, {"AuthParameters": {"USERNAME": "A", "SECRET_HASH": "h"}}])
def test_a_name_under_a_hash_stays(hashed: dict[str, Any]) -> None:
    body = {"Username": "A", **hashed}
    assert folded(body, POOL) == body


def test_whom_a_request_is_about() -> None:
    assert owner([OTHER, POOL], {"ClientId": "site"}) == (POOL, POOL["_clients"]["site"])
    assert owner([OTHER, POOL], {"UserPoolId": "us-east-1_a", "Username": "A"}) == (POOL, {})
    assert owner([OTHER, POOL], {"ClientId": "nobody"}) == ({}, {})
    assert owner([OTHER, POOL], {"ClientId": "site", "UserPoolId": OTHER["Id"]}) == (POOL, POOL["_clients"]["site"])
    assert owner([OTHER, POOL], {"AccessToken": token([1])}) == ({}, {})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
NAMES = ("ClientId", "UserPoolId", "AccessToken", "Username", "UserAttributes", "AuthParameters", "ChallengeResponses", "SecretHash")


@given(st.dictionaries(st.sampled_from(NAMES), JUNK | st.just([{"Name": ["email"]}, {"Name": "email", "Value": 1}])))
def test_junk_raises_nothing(body: dict[str, Any]) -> None:
    pool, client = owner([OTHER, POOL], body)
    for action in ("SignUp", "UpdateUserAttributes"):
        refusal(action, body, pool or POOL, client)
    folded(body, POOL)
