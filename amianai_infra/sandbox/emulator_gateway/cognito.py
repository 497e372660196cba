"""What Cognito refuses and the emulator does not, and user names without regard to case. Pure; asked before the emulator is.

Requests are the API's JSON; pools and clients are as the emulator keeps them, which is as DescribeUserPool and
DescribeUserPoolClient show them, a pool's clients under `_clients`.

Source: Cognito API reference (SignUp, UpdateUserAttributes, UsernameConfigurationType); Developer Guide, "Working with user
attributes".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

Body = Mapping[str, Any]

_VERIFIED = frozenset(("email_verified", "phone_number_verified"))
_WITHOUT_CASE = ("email", "preferred_username")
_NOT_WRITABLE = ("NotAuthorizedException", "A client attempted to write unauthorized attribute")


def owner(pools: Iterable[Body], body: Body) -> tuple[Body, Body]:
    """The pool and the client that a request is about; empty where it names none that exists.

    Args:
        pools: all of the emulator's.
        body: the request's JSON.
    """
    known, client_id = list(pools), _client_id(body)
    for pool in known:
        if client_id in pool.get("_clients", {}):
            return pool, pool["_clients"][client_id]
    return next((pool for pool in known if pool.get("Id") == body.get("UserPoolId")), {}), {}


def _client_id(body: Body) -> str:
    """The client a request names, or whose access token it carries; whether the token is good is the emulator's to check."""
    if isinstance(body.get("ClientId"), str):
        return str(body["ClientId"])
    try:
        payload = str(body["AccessToken"]).split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (KeyError, IndexError, ValueError, RecursionError):
        return ""
    found = claims.get("client_id") if isinstance(claims, dict) else None
    return found if isinstance(found, str) else ""


def refusal(action: str, body: Body, pool: Body, client: Body) -> tuple[str, str] | None:
    """Why Cognito would refuse a request, as error code and message, or None.

    Args:
        action: the operation, such as `SignUp`.
        body: the request's JSON.
        pool: what `owner` found.
        client: what `owner` found.
    """
    if action == "SignUp" and _flag(pool, "AdminCreateUserConfig", "AllowAdminCreateUserOnly"):
        return "NotAuthorizedException", "SignUp is not permitted for this user pool"
    if action not in ("SignUp", "UpdateUserAttributes"):
        return None
    written = {one["Name"] for one in _attributes(body)}
    if written & _VERIFIED:
        return _NOT_WRITABLE
    if "sub" in written:
        return "InvalidParameterException", "Cannot modify the non-mutable attribute sub"
    allowed = client.get("WriteAttributes") or written
    return None if written <= set(allowed) else _NOT_WRITABLE


def folded(body: Body, pool: Body) -> Body:
    """The request with user names and addresses in lower case, where the pool does not tell them apart by case.

    A request that carries a secret hash stays as it is: the hash is over the name as it was written.
    """
    configuration = pool.get("UsernameConfiguration")
    if not isinstance(configuration, Mapping) or configuration.get("CaseSensitive", True):
        return body
    parameters = {name: body[name] for name in ("AuthParameters", "ChallengeResponses") if isinstance(body.get(name), Mapping)}
    if "SecretHash" in body or any("SECRET_HASH" in one for one in parameters.values()):
        return body
    done = {**body, **{name: _lowered(one, "USERNAME") for name, one in parameters.items()}}
    if isinstance(body.get("UserAttributes"), list):
        done["UserAttributes"] = [_lowered(one, "Value") if _is_folded(one) else one for one in body["UserAttributes"]]
    return _lowered(done, "Username")


def _lowered(values: Body, name: str) -> Body:
    value = values.get(name)
    return {**values, name: value.lower()} if isinstance(value, str) else values


def _is_folded(attribute: Any) -> bool:
    return isinstance(attribute, Mapping) and attribute.get("Name") in _WITHOUT_CASE


def _attributes(body: Body) -> list[Body]:
    listed = body.get("UserAttributes")
    found = listed if isinstance(listed, list) else []
    return [one for one in found if isinstance(one, Mapping) and isinstance(one.get("Name"), str)]


def _flag(values: Body, group: str, name: str) -> bool:
    inner = values.get(group)
    return isinstance(inner, Mapping) and inner.get(name) is True
