"""Verifies the access and ID tokens of a Cognito user pool, for servers that our users run.

    verifier = TokenVerifier("https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf", ["1h57kf5cpq17m0eml12EXAMPLE"])
    token = verifier.verify(header.removeprefix("Bearer "), use="access")
    token.subject

`amianai --json status` shows issuer and client (part `auth`). One verifier serves a whole process; it may be used from several threads.

Source: Cognito Developer Guide, "Verifying JSON web tokens"; RFC 8725, "JSON Web Token Best Current Practices".
"""

from __future__ import annotations

import base64
import json
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from amianai_infra.errors import AmianaiError, ConfigurationError, MissingToolError, UnreachableError

if TYPE_CHECKING:
    from joserfc.jwk import RSAKey

Use = Literal["access", "id"]
ALGORITHM: Final = "RS256"
LONGEST: Final = 16_384
"""Characters of a token; Cognito's own are below half of that."""

_LEAST_BITS = 2048
_JWKS_BYTES = 65_536
_SECONDS_AFTER_FAILURE = 1.0
_LATEST = 1e15  # seconds since 1970; whatever is beyond is no time, and may be no float either
_LOCAL = ("127.0.0.1", "localhost", "::1")


class TokenError(AmianaiError):
    """The token is not valid here. The message never holds the token.

    Attributes:
        reason: one word for logs and metrics: `malformed`, `algorithm`, `key`, `signature`, `issuer`, `use`, `client`, `expired`,
            `early`, `subject` or `scope`.
    """

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what, fix="ask the person to sign in again" if reason == "expired" else "")
        self.reason = reason


@dataclass(frozen=True)
class VerifiedToken:
    """What a valid token says.

    Attributes:
        subject: the person's immutable id (`sub`).
        use: `access` or `id`.
        client_id: the application it was made for.
        expires: seconds since 1970.
        scopes: what an access token allows; empty for an ID token.
        groups: the pool's groups that the person is in.
        claims: all of it.
    """

    subject: str
    use: Use
    client_id: str
    expires: float
    scopes: frozenset[str]
    groups: frozenset[str]
    claims: Mapping[str, Any] = field(repr=False)


class TokenVerifier:
    """Verifies tokens of one user pool.

    Args:
        issuer: `https://cognito-idp.<region>.amazonaws.com/<pool>`.
        client_ids: the applications whose tokens are accepted.
        leeway: seconds that the clocks may differ.
        keys_url: where the pool's keys are; the issuer's own by default. Anything but https is refused, except on this machine.
        keys_seconds: how long keys are used before they are asked for again.
        least_between_fetches: seconds between two requests for keys, however many unknown keys are named.
        clock: seconds since 1970.
        fetch: gets the bytes behind a URL.

    Raises:
        ConfigurationError: an address or a client is missing or not acceptable.
        MissingToolError: joserfc is not installed.
    """

    def __init__(
        self,
        issuer: str,
        client_ids: Collection[str],
        *,
        leeway: float = 30,
        keys_url: str | None = None,
        keys_seconds: float = 6 * 3600,
        least_between_fetches: float = 30,
        clock: Callable[[], float] = time.time,
        fetch: Callable[[str], bytes] | None = None,
    ) -> None:
        if isinstance(client_ids, str) or not client_ids or not all(client_ids):
            raise ConfigurationError("client_ids must be a list of at least one application client.", where="TokenVerifier")
        _require_https(issuer, "issuer")
        self.issuer = issuer.rstrip("/")
        self._clients = frozenset(client_ids)
        self._leeway = leeway
        self._clock = clock
        url = keys_url or f"{self.issuer}/.well-known/jwks.json"
        _require_https(url, "keys_url")
        self._keys = _Keys(url, fetch or _fetch, keys_seconds, least_between_fetches)
        _joserfc()

    def verify(self, token: str, use: Use, *, scopes: Collection[str] = ()) -> VerifiedToken:
        """What the token says, once everything about it was checked.

        Args:
            token: the compact form, without `Bearer `.
            use: which kind is expected; the other kind is refused.
            scopes: what an access token must allow.

        Raises:
            TokenError: it is not valid; `reason` says why.
            UnreachableError: the pool's keys could not be had.
        """
        if use not in ("access", "id"):
            raise ConfigurationError(f"use = {use!r} is neither 'access' nor 'id'.", where="TokenVerifier.verify")
        key = self._keys.get(_key_id(token))
        claims = _signed_claims(token, key)
        self._check_claims(claims, use)
        self._check_times(claims)
        found = VerifiedToken(
            subject=claims["sub"],
            use=use,
            client_id=claims["client_id" if use == "access" else "aud"],
            expires=float(claims["exp"]),
            scopes=frozenset(_scope(claims).split()) if use == "access" else frozenset(),
            groups=frozenset(_texts(claims.get("cognito:groups"))),
            claims=claims,
        )
        missing = sorted(set(scopes) - found.scopes)
        if missing:
            raise TokenError("scope", f"The token does not allow {', '.join(missing)}.")
        return found

    def _check_claims(self, claims: Mapping[str, Any], use: Use) -> None:
        if claims.get("iss") != self.issuer:
            raise TokenError("issuer", "The token comes from another user pool.")
        if claims.get("token_use") != use:
            raise TokenError("use", f"This is no {use} token.")
        client = claims.get("client_id" if use == "access" else "aud")
        if not isinstance(client, str) or client not in self._clients:
            raise TokenError("client", "The token was made for another application.")
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise TokenError("subject", "The token names nobody.")

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        if now >= _time(claims, "exp") + self._leeway:
            raise TokenError("expired", "The token has expired.")
        if _time(claims, "iat") > now + self._leeway:
            raise TokenError("early", "The token was issued in the future.")
        if "nbf" in claims and _time(claims, "nbf") > now + self._leeway:
            raise TokenError("early", "The token is not valid yet.")


class _Keys:
    """The pool's public keys, by id. Asked for when one is unknown or they are old, and never more often than allowed."""

    def __init__(self, url: str, fetch: Callable[[str], bytes], seconds: float, least_between: float) -> None:
        self._url = url
        self._fetch = fetch
        self._seconds = seconds
        self._least_between = least_between
        self._lock = threading.Lock()
        self._known: Mapping[str, RSAKey] = {}
        self._tried = self._fetched = -math.inf

    def get(self, kid: str) -> RSAKey:
        """The key of that id.

        Raises:
            TokenError: the pool has none, as far as it may be asked now.
            UnreachableError: it could not be asked, and no key is known.
        """
        found = self._known.get(kid)
        if found is not None and time.monotonic() - self._fetched < self._seconds:
            return found
        with self._lock:  # one request, for all who wait
            self._refresh(kid)
            found = self._known.get(kid)
        if found is None:
            raise TokenError("key", "The token is signed with a key that the user pool does not have.")
        return found

    def _refresh(self, kid: str) -> None:
        now = time.monotonic()
        fresh = now - self._fetched < self._seconds
        if fresh and kid in self._known:
            return
        if now - self._tried < self._least_between:
            if self._fetched == -math.inf:
                raise UnreachableError("The user pool's keys could not be fetched a moment ago.", where=self._url)
            return
        self._tried = now
        try:
            self._known = _parsed(self._fetch(self._url), self._url)
        except UnreachableError:
            self._tried = now - self._least_between + _SECONDS_AFTER_FAILURE
            if not self._known:
                raise
            return  # keys that were good an hour ago are better than nobody being signed in
        self._fetched = now


def _parsed(body: bytes, url: str) -> dict[str, RSAKey]:
    """The RSA signing keys of a JWKS; anything else in it is passed over."""
    from joserfc.errors import JoseError
    from joserfc.jwk import RSAKey

    try:
        listed = json.loads(body)["keys"]
        candidates = [
            one for one in listed if one.get("kty") == "RSA" and one.get("use", "sig") == "sig" and isinstance(one.get("kid"), str)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreachableError("The user pool's keys are not a JWKS.", where=url) from error
    keys: dict[str, RSAKey] = {}
    for one in candidates:
        try:
            if one.get("alg", ALGORITHM) == ALGORITHM and len(_decoded(one["n"])) * 8 >= _LEAST_BITS:
                # The public numbers alone: whatever else an entry says is not ours to use.
                keys[one["kid"]] = RSAKey.import_key({"kty": "RSA", "n": one["n"], "e": one["e"]})
        except (JoseError, ValueError, KeyError, TypeError, ArithmeticError):
            continue
    return keys


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _key_id(token: str) -> str:
    """The id of the key, after everything in the header was checked that may be trusted before the signature is."""
    parts = token.split(".") if isinstance(token, str) and len(token) <= LONGEST else []
    if len(parts) != 3 or not all(parts):
        raise TokenError("malformed", "This is no signed token.")
    try:
        header = json.loads(_decoded(parts[0]))
    except (ValueError, RecursionError) as error:
        raise TokenError("malformed", "The token's header cannot be read.") from error
    if not isinstance(header, dict):
        raise TokenError("malformed", "The token's header cannot be read.")
    if header.get("alg") != ALGORITHM:
        raise TokenError("algorithm", f"The token is not signed with {ALGORITHM}.")
    if "crit" in header:  # RFC 7515, 4.1.11: an extension that is not understood; Cognito has none
        raise TokenError("malformed", "The token asks for extensions.")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise TokenError("malformed", "The token names no key.")
    return kid


def _signed_claims(token: str, key: RSAKey) -> dict[str, Any]:
    from joserfc import jwt
    from joserfc.errors import BadSignatureError, JoseError

    try:
        return jwt.decode(token, key, algorithms=[ALGORITHM]).claims
    except BadSignatureError as error:
        raise TokenError("signature", "The token's signature is not right.") from error
    except (JoseError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise TokenError("malformed", "The token cannot be read.") from error


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LATEST:
        raise TokenError("malformed", f"The token has no {name}.")
    return float(value)


def _scope(claims: Mapping[str, Any]) -> str:
    value = claims.get("scope", "")
    if not isinstance(value, str):
        raise TokenError("malformed", "The token's scope is no text.")
    return value


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _require_https(url: str, what: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in _LOCAL:
        return
    raise ConfigurationError(f"{what} = {url!r} is no https address.", where="TokenVerifier")


def _fetch(url: str) -> bytes:
    """The body behind a URL, over verified TLS; a redirection is not followed."""
    import http.client
    import ssl

    parts = urlsplit(url)
    assert parts.hostname  # noqa: S101  (checked when the verifier was made)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=5, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    try:
        connection.request("GET", parts.path, headers={"Accept": "application/json", "User-Agent": "amianai"})
        answer = connection.getresponse()
        body = answer.read(_JWKS_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError("The user pool's keys could not be fetched.", where=f"{url}: {error}", fix="check the network") from error
    finally:
        connection.close()
    if answer.status != 200 or len(body) > _JWKS_BYTES:
        raise UnreachableError("The user pool's keys could not be fetched.", where=f"{url}: status {answer.status}, {len(body)} bytes")
    return body


def _joserfc() -> None:
    try:
        import joserfc  # noqa: F401
    except ImportError as error:
        raise MissingToolError(
            "joserfc is not installed.", where="amianai_infra.tokens", fix="pip install 'amianai-infra[database]'"
        ) from error
