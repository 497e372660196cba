"""The token verifier with tokens of our own making. Real Cognito tokens: tests/functional/test_tokens.py."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from amianai_infra.errors import ConfigurationError, UnreachableError
from amianai_infra.tokens import TokenError, TokenVerifier

ISSUER = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_A"
NOW = 1_800_000_000.0
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "two"})


@dataclass
class Pool:
    """A user pool's key endpoint."""

    keys: list[Any] = field(default_factory=lambda: [KEY])
    asked: int = 0
    down: bool = False
    body: bytes | None = None

    def fetch(self, url: str) -> bytes:
        assert url == f"{ISSUER}/.well-known/jwks.json"
        self.asked += 1
        if self.down:
            raise UnreachableError("no answer")
        if self.body is not None:
            return self.body
        return json.dumps({"keys": [{**key.as_dict(private=False), "alg": "RS256", "use": "sig"} for key in self.keys]}).encode()

    def verifier(self, **options: Any) -> TokenVerifier:
        return TokenVerifier(ISSUER, ["client"], clock=lambda: NOW, fetch=self.fetch, **options)


def access(**changes: Any) -> dict[str, Any]:
    claims = {
        "sub": "person-1",
        "iss": ISSUER,
        "client_id": "client",
        "token_use": "access",
        "scope": "openid email",
        "exp": int(NOW) + 3600,
        "iat": int(NOW) - 10,
        "cognito:groups": ["admins"],
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def identity(**changes: Any) -> dict[str, Any]:
    return access(client_id=None, scope=None, token_use="id", aud="client", email="a@example.com", **changes)


def signed(claims: dict[str, Any], key: RSAKey = KEY, **header: Any) -> str:
    return jwt.encode({"alg": "RS256", "kid": key.kid, **header}, claims, key)


def reason(verifier: TokenVerifier, token: str, use: Any = "access", **options: Any) -> str:
    with pytest.raises(TokenError) as caught:
        verifier.verify(token, use, **options)
    assert token == "" or token not in str(caught.value)
    return caught.value.reason


def test_an_access_token() -> None:
    found = Pool().verifier().verify(signed(access()), "access", scopes=["openid"])
    assert (found.subject, found.use, found.client_id, found.expires) == ("person-1", "access", "client", NOW + 3600)
    assert found.scopes == {"openid", "email"}
    assert found.groups == {"admins"}
    assert "person-1" in repr(found)
    assert "openid email" not in repr(found)


def test_an_id_token() -> None:
    found = Pool().verifier().verify(signed(identity()), "id")
    assert (found.use, found.client_id, found.claims["email"], found.scopes) == ("id", "client", "a@example.com", frozenset())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_B"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"token_use": "id"}, "use"),
        ({"token_use": None}, "use"),
        ({"client_id": "another"}, "client"),
        ({"client_id": None}, "client"),
        ({"client_id": ["client"]}, "client"),
        ({"client_id": None, "aud": "client"}, "client"),
        ({"exp": int(NOW) - 31}, "expired"),
        ({"exp": None}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": "4000000000"}, "malformed"),
        ({"exp": float("nan")}, "malformed"),
        ({"iat": int(NOW) + 31}, "early"),
        ({"iat": None}, "malformed"),
        ({"nbf": int(NOW) + 31}, "early"),
        ({"nbf": "soon"}, "malformed"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": 1}, "subject"),
    ],
    ids=str,
)
def test_a_claim_that_is_not_right(changes: dict[str, Any], why: str) -> None:
    assert reason(Pool().verifier(), signed(access(**changes))) == why


@pytest.mark.parametrize("changes", [{"exp": int(NOW) - 29}, {"iat": int(NOW) + 29}, {"nbf": int(NOW) + 29}], ids=str)
def test_clocks_may_differ_a_little(changes: dict[str, Any]) -> None:
    assert Pool().verifier().verify(signed(access(**changes)), "access").subject == "person-1"


def test_one_kind_of_token_is_not_taken_for_the_other() -> None:
    verifier = Pool().verifier()
    assert reason(verifier, signed(access()), "id") == "use"
    assert reason(verifier, signed(identity()), "access") == "use"
    assert reason(verifier, signed(identity(aud_extra=1) | {"aud": ["client"]}), "id") == "client"
    with pytest.raises(ConfigurationError, match="neither"):
        verifier.verify(signed(access()), "refresh")  # type: ignore[arg-type]


def test_scopes_are_asked_for() -> None:
    assert reason(Pool().verifier(), signed(access()), scopes=["openid", "admin"]) == "scope"
    assert reason(Pool().verifier(), signed(identity()), "id", scopes=["openid"]) == "scope"


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def with_secret(header: dict[str, Any], secret: bytes) -> str:
    """What an attacker makes who knows the public key only: an HMAC with it as the secret."""
    text = f"{part(header)}.{part(access())}"
    return f"{text}.{base64.urlsafe_b64encode(hmac.digest(secret, text.encode(), 'sha256')).rstrip(b'=').decode()}"


def test_another_algorithm_is_refused_whatever_the_header_says() -> None:
    verifier = Pool().verifier()
    public = KEY.as_pem(private=False)
    assert reason(verifier, with_secret({"alg": "HS256", "kid": "one"}, public)) == "algorithm"
    assert reason(verifier, with_secret({"alg": "RS256", "kid": "one"}, public)) == "signature"
    for algorithm in ("none", "None", "RS512", "PS256", "rs256", None, ["RS256"]):
        assert reason(verifier, f"{part({'alg': algorithm, 'kid': 'one'})}.{part(access())}.c2ln") == "algorithm"
    assert reason(verifier, f"{part({'alg': 'none', 'kid': 'one'})}.{part(access())}.") == "malformed"


def test_keys_in_the_token_are_not_believed() -> None:
    forged = signed(access(), RSAKey.generate_key(2048, {"kid": "one"}), jwk=OTHER.as_dict(private=False))
    assert reason(Pool().verifier(), forged) in ("signature", "malformed")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b",
        "a.b.c",
        "....",
        "x" * 20_000,
        f"{part([1])}.{part({})}.c2ln",
        f"{part({'alg': 'RS256'})}.{part({})}.c2ln",
        "\x00.\x00.\x00",
    ],
    ids=lambda token: token[:12],
)
def test_what_is_no_token(token: str) -> None:
    pool = Pool()
    assert reason(pool.verifier(), token) in ("malformed", "algorithm")
    assert pool.asked == 0, "nobody makes us ask for keys with rubbish"


@pytest.mark.parametrize("nested", [b"[" * 7_500, b'{"a":' * 1_500], ids=["list", "object"])
def test_what_is_nested_too_deep(nested: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    text = base64.urlsafe_b64encode(nested).decode().rstrip("=")
    pool = Pool()
    assert reason(pool.verifier(), f"{text}.{part({})}.c2ln") == "malformed"
    assert pool.asked == 0

    token = signed(access())

    def decode(*_: Any, **__: Any) -> None:
        raise RecursionError

    monkeypatch.setattr(jwt, "decode", decode)
    assert reason(pool.verifier(), token) == "malformed"


STRANGE = [
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "9" * 400,
    "-" + "9" * 400,
    "9" * 5000,
    "1" + "0" * 400 + ".5",
    "1e15",
    "true",
    "null",
    '"4000000000"',
    "[4000000000]",
    "{}",
    "[" * 400 + "]" * 400,
    "[" * 950 + "]" * 950,
    "[" * 3000 + "]" * 3000,
    '{"a":' * 950 + "1" + "}" * 950,
    '"\\ud800"',
    '"\\u0000\\u001b[2J"',
]
"""JSON that a claim may be; what the token's own maker signed is no better than what it says."""


def signed_text(payload: str) -> str:
    return jws.serialize_compact({"alg": "RS256", "kid": KEY.kid}, payload.encode("utf-8", "surrogatepass"), KEY)


@pytest.mark.parametrize("value", STRANGE, ids=[str(number) for number in range(len(STRANGE))])
@pytest.mark.parametrize(
    "name", ["exp", "iat", "nbf", "auth_time", "sub", "iss", "token_use", "client_id", "aud", "scope", "cognito:groups", "jti", "event_id"]
)
@pytest.mark.parametrize("use", ["access", "id"])
def test_whatever_a_claim_is_the_answer_is_the_verifiers_own(name: str, value: str, use: Any) -> None:
    claims = json.dumps({one: what for one, what in (access() if use == "access" else identity()).items() if one != name})
    try:
        found = Pool().verifier().verify(signed_text(f'{claims[:-1]}, "{name}": {value}}}'), use)
    except TokenError as error:
        assert error.reason in ("malformed", "issuer", "use", "client", "expired", "early", "subject")
        assert str(error).isprintable()
    else:
        assert name not in ("exp", "iat", "iss", "token_use", "client_id" if use == "access" else "aud")
        assert found.expires == NOW + 3600


@pytest.mark.parametrize("payload", [*STRANGE, "", "\ud800", "{", '{"exp": 1, "exp": 2}', "[]"])
def test_claims_that_are_none_are_refused(payload: str) -> None:
    assert reason(Pool().verifier(), signed_text(payload)) in ("malformed", "issuer")


@pytest.mark.parametrize("value", STRANGE, ids=[str(number) for number in range(len(STRANGE))])
@pytest.mark.parametrize("name", ["alg", "kid", "typ", "crit", "b64", "jwk", "x5c", "zip"])
def test_whatever_a_header_says_the_answer_is_the_verifiers_own(name: str, value: str) -> None:
    header = json.dumps({one: what for one, what in {"alg": "RS256", "kid": "one"}.items() if one != name})
    text = f'{header[:-1]}, "{name}": {value}}}'.encode("utf-8", "surrogatepass")
    _, payload, signature = signed(access()).split(".")
    token = f"{base64.urlsafe_b64encode(text).rstrip(b'=').decode()}.{payload}.{signature}"
    assert reason(Pool().verifier(), token) in ("malformed", "algorithm", "key", "signature")


@given(st.text() | st.binary() | st.none() | st.integers() | st.lists(st.text(), min_size=3, max_size=3).map(".".join))
def test_whatever_is_given_for_a_token_the_answer_is_the_verifiers_own(token: Any) -> None:
    with pytest.raises(TokenError) as caught:
        Pool().verifier().verify(token, "access")
    assert caught.value.reason in ("malformed", "algorithm")


@pytest.mark.parametrize("value", STRANGE, ids=[str(number) for number in range(len(STRANGE))])
@pytest.mark.parametrize("name", ["kty", "kid", "n", "e", "use", "alg"])
def test_a_key_set_that_is_strange_brings_no_strange_error(name: str, value: str) -> None:
    entry = json.dumps({one: what for one, what in (KEY.as_dict(private=False) | {"use": "sig", "kid": "one"}).items() if one != name})
    pool = Pool(body=f'{{"keys": [{entry[:-1]}, "{name}": {value}}}]}}'.encode())
    try:
        pool.verifier().verify(signed(access()), "access")
    except (TokenError, UnreachableError) as error:
        assert str(error).isprintable() or isinstance(error, UnreachableError)


def test_a_changed_token() -> None:
    head, _, rest = signed(access()).partition(".")
    _, _, signature = rest.partition(".")
    assert reason(Pool().verifier(), f"{head}.{part(access(sub='another'))}.{signature}") == "signature"
    assert reason(Pool().verifier(), signed(access(), OTHER, kid="one")) == "signature"


def test_keys_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    verifier = pool.verifier()
    for _ in range(20):
        verifier.verify(signed(access()), "access")
    assert pool.asked == 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time by which keys are kept."""
    now = [1000.0]
    monkeypatch.setattr("amianai_infra.tokens.time.monotonic", lambda: now[0])

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def test_a_rotated_key_is_found_and_unknown_ones_do_not_flood_the_pool(clock: Callable[[float], None]) -> None:
    pool = Pool()
    verifier = pool.verifier(least_between_fetches=30)
    verifier.verify(signed(access()), "access")
    pool.keys = [KEY, OTHER]
    assert reason(verifier, signed(access(), OTHER)) == "key", "asked a moment ago"
    clock(31)
    assert verifier.verify(signed(access(), OTHER), "access").subject == "person-1"
    assert pool.asked == 2
    for number in range(50):
        assert reason(verifier, signed(access(), RSAKey.import_key(KEY.as_dict(private=True) | {"kid": f"made-up-{number}"}))) == "key"
    assert pool.asked == 2
    assert verifier.verify(signed(access()), "access").subject == "person-1", "known keys work all the while"


def test_a_key_that_is_withdrawn_is_forgotten_when_keys_are_old(clock: Callable[[float], None]) -> None:
    pool = Pool([KEY, OTHER])
    verifier = pool.verifier(keys_seconds=3600)
    verifier.verify(signed(access(), OTHER), "access")
    pool.keys = [KEY]
    clock(3601)
    assert reason(verifier, signed(access(), OTHER)) == "key"


def test_a_pool_that_does_not_answer(clock: Callable[[float], None]) -> None:
    pool = Pool(down=True)
    verifier = pool.verifier(keys_seconds=3600)
    for _ in range(5):
        with pytest.raises(UnreachableError):
            verifier.verify(signed(access()), "access")
    assert pool.asked == 1, "not with every request"
    pool.down = False
    clock(1.1)
    verifier.verify(signed(access()), "access")
    pool.down = True
    clock(4000)
    assert verifier.verify(signed(access()), "access").subject == "person-1", "known keys go on"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [1]}', b"<html>"])
def test_keys_that_are_no_keys(body: bytes) -> None:
    with pytest.raises(UnreachableError, match="not a JWKS"):
        Pool(body=body).verifier().verify(signed(access()), "access")


def test_only_rsa_signing_keys_of_a_decent_size_count() -> None:
    with pytest.warns(SecurityWarning):
        weak = RSAKey.generate_key(1024, {"kid": "weak"})
    listed = [
        {**weak.as_dict(private=False), "use": "sig"},
        {**ECKey.generate_key("P-256", {"kid": "ec"}).as_dict(private=False)},
        {**KEY.as_dict(private=False), "use": "enc", "kid": "enc"},
        {**KEY.as_dict(private=False), "alg": "RS512", "kid": "alg"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
    ]
    verifier = Pool(body=json.dumps({"keys": listed}).encode()).verifier()
    for kid in ("weak", "ec", "enc", "alg", "oct", "broken"):
        assert reason(verifier, signed(access(), KEY, kid=kid)) == "key"


def test_many_threads_ask_once() -> None:
    pool = Pool()
    verifier = pool.verifier()
    token = signed(access())
    threads = [threading.Thread(target=verifier.verify, args=(token, "access")) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.asked == 1


@pytest.mark.parametrize(
    ("issuer", "clients", "keys"),
    [
        ("http://cognito-idp.us-east-1.amazonaws.com/x", ["c"], None),
        ("file:///etc/passwd", ["c"], None),
        (ISSUER, ["c"], "http://example.com/jwks.json"),
        (ISSUER, [], None),
        (ISSUER, [""], None),
        (ISSUER, "client", None),
    ],
)
def test_what_cannot_be_verified_against(issuer: str, clients: Any, keys: str | None) -> None:
    with pytest.raises(ConfigurationError):
        TokenVerifier(issuer, clients, keys_url=keys)
