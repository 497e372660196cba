"""Who may call what: pure decisions about one request, before the emulator sees it.

A request is one of five kinds. The site of a distribution is open to every viewer. Sign-in (Cognito's hosted pages and token
endpoints, its public actions, its keys) is what AWS leaves unsigned: open to programs, and among web pages to those of the stack's
own site and of the addresses that sign-in returns to. Presigned S3 addresses carry their signature. Everything else is the control
plane: signed, and never from a web page.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qsl, urlsplit

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_SITE = re.compile(r"(?:[a-z0-9-]+\.)?([a-z0-9]+\.cloudfront\.localhost)")
_KEYS = re.compile(r"/[a-z0-9-]+_[A-Za-z0-9]+/\.well-known/(jwks\.json|openid-configuration)")
_PAGES = frozenset({"/logout", "/oauth2/authorize"})
_FORMS = frozenset({"/login", "/oauth2/login"})
_TOKENS = frozenset({"/oauth2/token", "/oauth2/userInfo", "/oauth2/userinfo"})
_USER = frozenset({"/oauth2/userInfo", "/oauth2/userinfo"})
COGNITO = "AWSCognitoIdentityProviderService."


class Kind(Enum):
    """What a request is, and with that what it takes to be served."""

    SITE = "the site of a distribution"
    PAGE = "a page of sign-in"
    FORM = "a form of sign-in"
    SIGN_IN = "sign-in"
    PRESIGNED = "a presigned address"
    CONTROL = "the control plane"


@dataclass(frozen=True)
class Caller:
    """What a request says of itself and of where it comes from.

    Attributes:
        method: in capitals.
        path: percent-decoded.
        query: as sent.
        headers: by lower-case name; lines of one name are joined by a comma.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def host(self) -> str:
        """The value of the Host header."""
        return self.headers.get("host", "")

    @property
    def origin(self) -> str | None:
        """The web page's origin, where the caller is one and says so."""
        return self.headers.get("origin")

    @property
    def is_program(self) -> bool:
        """Whether no other web page had a part in this request: a program, a typed address, or a page of the same origin."""
        fetched = self.headers.get("sec-fetch-site", "none")
        return fetched in ("none", "same-origin") and self.origin in (None, f"http://{self.host}")

    @property
    def navigates(self) -> bool:
        """Whether a browser opens this in a tab of its own: a link that was followed, not an image, script or frame."""
        wanted = (self.headers.get("sec-fetch-mode"), self.headers.get("sec-fetch-dest"))
        return self.method == "GET" and self.origin is None and wanted == ("navigate", "document")


def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case and without port and final dot; None when it is not a host."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        return None
    return None if parts.netloc != host or "@" in host else name.rstrip(".")


def is_local(host: str) -> bool:
    """Whether a name can only mean this machine."""
    name = host_name(host)
    return name is not None and (name in _LOCAL or name.endswith(".localhost"))


def is_site(host: str) -> bool:
    """Whether a name is that of a distribution, or one below it: the stand-in for the names that a wildcard leads to one."""
    return _SITE.fullmatch(host_name(host) or "") is not None


def distribution_host(host: str) -> str:
    """The distribution's own name, for `is_site`."""
    found = _SITE.fullmatch(host_name(host) or "")
    return found[1] if found else host


def origin_of(address: str) -> str | None:
    """The origin of an address as browsers write it; None when it has none."""
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port not in (None, {"http": 80, "https": 443}.get(parts.scheme)) else ""
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.scheme in ("http", "https") and parts.hostname else None


def kind_of(caller: Caller, public_actions: Collection[str]) -> Kind:
    """What a request is.

    Args:
        caller: the request.
        public_actions: the actions of Cognito that AWS serves without a signature.
    """
    if is_site(caller.host):
        return Kind.SITE
    signed = "authorization" in caller.headers and caller.path not in _TOKENS
    names = {name for name, _ in parse_qsl(caller.query, keep_blank_values=True)}
    if not signed and host_name(caller.host) in _LOCAL and not _is_encoded(caller.headers):
        target = caller.headers.get("x-amz-target")
        kind = _path_kind(caller, names) if target is None else _target_kind(caller, target, public_actions)
        if kind is not None:
            return kind
    presigned = "X-Amz-Signature" in names or {"AWSAccessKeyId", "Signature"} <= names
    return Kind.PRESIGNED if presigned and "authorization" not in caller.headers else Kind.CONTROL


def _is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether the emulator would read another body than the one that was sent: a few kilobytes can stand for gigabytes."""
    chunked = headers.get("x-amz-content-sha256", "").startswith("STREAMING-") or "x-amz-decoded-content-length" in headers
    return chunked or "content-encoding" in headers


def _target_kind(caller: Caller, target: str, public_actions: Collection[str]) -> Kind | None:
    """A public action of Cognito, with nothing beside it that could lead the emulator to another service."""
    public = target.startswith(COGNITO) and target.removeprefix(COGNITO) in public_actions
    return Kind.SIGN_IN if public and (caller.method, caller.path, caller.query) == ("POST", "/", "") else None


def _path_kind(caller: Caller, names: Collection[str]) -> Kind | None:
    """An address of Cognito's, with nothing beside it that could lead the emulator to another service."""
    if any(name.lower() in ("action", "awsaccesskeyid", "signature") or name.lower().startswith("x-amz-") for name in names):
        return None
    match caller.method, caller.path:
        case "GET", path if path in _PAGES:
            return Kind.PAGE
        case "POST", path if path in _FORMS:
            return Kind.FORM
        case ("POST", path) if path in _TOKENS:
            return Kind.SIGN_IN
        case ("GET", path) if path in _USER or _KEYS.fullmatch(path):
            return Kind.SIGN_IN
    return None


def refusal(caller: Caller, kind: Kind, origins: Collection[str]) -> str | None:
    """Why a request is turned away whoever signed it, or None.

    Args:
        caller: the request.
        kind: what it is.
        origins: those of the stack's site and of the addresses that sign-in returns to.
    """
    if not is_local(caller.host):
        return f"the sandbox answers to names of this machine only, not to {caller.host!r}"
    if kind is Kind.SITE:
        return None if caller.is_program or caller.method in ("GET", "HEAD") else "other web pages may only read the site"
    own_page = caller.origin is not None and caller.origin in origins
    welcome = caller.is_program or {
        Kind.PAGE: caller.navigates,
        Kind.SIGN_IN: own_page,
        Kind.PRESIGNED: own_page,
    }.get(kind, False)
    if not welcome:
        return f"web pages of {caller.origin or 'other origins'!r} may not call {kind.value}"
    return _address_refusal(caller, kind, origins)


def _address_refusal(caller: Caller, kind: Kind, origins: Collection[str]) -> str | None:
    """What is wrong with where a request goes, or None."""
    if caller.path.startswith("/_"):
        return "run `amianai sandbox reset` instead" if caller.path.startswith("/_ministack/reset") else "not a service of AWS"
    if kind is Kind.PRESIGNED and not _signs_host(caller) and host_name(caller.host) not in _LOCAL:
        return "a bucket is named in the path where the signature does not cover the host"
    if caller.method != "POST" and "Action" in dict(parse_qsl(caller.query, keep_blank_values=True)):
        return "an action is sent as POST"
    if caller.path == "/logout" and not _returns_to(caller, origins):
        return "sign-out returns to the addresses of the stack's own clients only"
    return None


def _returns_to(caller: Caller, origins: Collection[str]) -> bool:
    """Whether every address that a request to sign out wants to be sent to is of a known origin; the emulator takes any."""
    wanted = [value for name, value in parse_qsl(caller.query, keep_blank_values=True) if name in ("logout_uri", "redirect_uri")]
    return all(origin_of(address) in origins for address in wanted)


def _signs_host(caller: Caller) -> bool:
    """Whether a presigned request says for which host it was signed; version 2 does not, nor does a preflight."""
    return caller.method != "OPTIONS" and "X-Amz-Signature" in dict(parse_qsl(caller.query, keep_blank_values=True))


def preflight(caller: Caller, origins: Collection[str]) -> bool:
    """Whether this asks, for a page that may sign in, which headers it may send."""
    asked = caller.method == "OPTIONS" and "access-control-request-method" in caller.headers
    sign_in = caller.path == "/" or caller.path in _TOKENS or _KEYS.fullmatch(caller.path) is not None
    return asked and sign_in and is_local(caller.host) and caller.origin in origins


def cross_origin_headers(origin: str | None, origins: Collection[str]) -> list[tuple[bytes, bytes]]:
    """The response headers that let a page read the answer to its sign-in; none for other pages and for programs."""
    if origin is None or origin not in origins:
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
        (b"access-control-expose-headers", b"x-amzn-requestid, x-amzn-errortype, x-amzn-errormessage, date"),
        (b"vary", b"origin"),
    ]
