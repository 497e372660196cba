"""Finds what must never be published: private keys, AWS keys, database addresses with passwords, `.env` files. Pure.

Source: RFC 7468 (PEM), RFC 7292 (PKCS #12), RFC 5958 (PKCS #8), RFC 2606 and RFC 6761 (names for examples).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from urllib.parse import unquote

LONGEST = 8 * 1024 * 1024
"""Files above this size are not searched: no build writes text of that size by accident."""

_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----((?:[\r\n]|\\+[rn]|[ \t]|[A-Za-z0-9+/=:,-])+)")
_DATABASE = re.compile(
    rb"(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|rediss?|amqps?)(?:\+[a-z0-9]+)?://([^\s:/@\"'<>`]*):([^\s/@\"'<>`]+)@([^\s\"'<>`/?#]*)"
)
_AWS_ID = re.compile(rb"(?<![A-Za-z0-9+/=_-])((?:AKIA|ASIA)[A-Z2-7]{16})(?![A-Za-z0-9+/=_-])")
_AWS_KEY = re.compile(rb"(?i)secret_?access_?key[\"'\\]*\s*[:=]\s*[\"'\\]*([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])")

_SHORTEST_KEY = 60
"""Signs of base64 of the shortest private key (Ed25519 has 64); fewer are an example that was cut off."""

_PLACEHOLDER = re.compile(
    r"(?:(?:my|your|the|some|db|database|user|super|very|secret)[-_ ]?)*"
    r"(?:pass(?:word|wd|phrase)?|pwd|pw|secret|user(?:name)?|here)\d{0,3}|"
    r"change[-_ ]?(?:me|it|this)|example|placeholder|redacted|hidden|hunter2|x+|y+|\*+|\.+|…|-+|_+|[a-z]|<.*>|\[.*\]|\{.*\}|\$.*|%.*",
    re.IGNORECASE,
)
_NOWHERE = re.compile(
    r"(?:\[?::1\]?|localhost|127(?:\.\d+){3}|0\.0\.0\.0|host\.docker\.internal|(?:.*\.)?(?:example|test|invalid|localhost)|"
    r"(?:.*\.)?example\.(?:com|org|net)|<.*>|\[.*\]|\{.*\}|\$.*|%.*|\.+|…)(?::.*)?",
    re.IGNORECASE,
)
"""Hosts that are this machine, nobody's (RFC 2606, RFC 6761), or left to be filled in."""


def _private_key(found: re.Match[bytes]) -> bool:
    return len(re.sub(rb"\\+[rn]|[^A-Za-z0-9+/]", b"", found[1].partition(b"-----END")[0])) >= _SHORTEST_KEY


def _aws_id(found: re.Match[bytes]) -> bool:
    return b"EXAMPLE" not in found[1] and len(set(found[1])) > 6


def _aws_key(found: re.Match[bytes]) -> bool:
    return b"EXAMPLE" not in found[1] and len(set(found[1])) > 3


def _database(found: re.Match[bytes]) -> bool:
    password, host = (unquote(unescape(part.decode("utf-8", "replace"))) for part in found.groups()[1:])
    return not _PLACEHOLDER.fullmatch(password) and not _NOWHERE.fullmatch(host)


# Two quick looks for each kind, for what all of it has and for what one of it has, before the exact pattern, which most files never
# need; then whether what was found is one.
_KINDS: tuple[tuple[str, bytes, tuple[bytes, ...], re.Pattern[bytes], Callable[[re.Match[bytes]], bool]], ...] = (
    ("a private key", b"", (b"PRIVATE KEY-----",), _KEY, _private_key),
    ("an AWS access key id", b"", (b"AKIA", b"ASIA"), _AWS_ID, _aws_id),
    ("an AWS secret access key", b"", (b"ecret_access_key", b"SECRET_ACCESS_KEY", b"ecretAccessKey"), _AWS_KEY, _aws_key),
    ("a database address with its password", b"://", (b"postgres", b"mysql", b"mongodb", b"redis", b"amqp"), _DATABASE, _database),
)

# How files begin that hold nothing but keys: PKCS #12 and PKCS #8 in DER, Java's and PuTTY's own forms.
_KEY_FILES: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x30(?:\x82..|\x83...|\x84....|\x80)\x02\x01\x03\x30", re.DOTALL), "a key store (PKCS #12)"),
    (re.compile(rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)\x02\x01[\x00\x01]\x30.\x06", re.DOTALL), "a private key"),
    (re.compile(rb"\xfe\xed\xfe\xed|\xce\xce\xce\xce\x00\x00\x00\x02"), "a key store (Java)"),
    (re.compile(rb"PuTTY-User-Key-File-\d"), "a private key"),
)
_NEVER_PUBLIC = re.compile(r"(?:^|/)(?:\.env(?:\.[^/]*)?|\.npmrc|\.pgpass|\.netrc|\.htpasswd|id_(?:rsa|dsa|ecdsa|ed25519))$")
_FOLDERS = re.compile(r"(?:^|/)(?:\.git|\.aws|\.ssh)/")
_PACKAGE = re.compile(r"(?:^|/)node_modules/(?:@[^/]+/)?[^/]+/package\.json$")


def suspicious_name(path: str) -> str:
    """Why a file must not be published, judged by its name; empty when it may.

    Only names that nothing public has: a certificate may be called `ca.pem`, a slide show `talk.key`, and fonts may lie below
    `node_modules`. What they hold is looked at.
    """
    if _NEVER_PUBLIC.search(path):
        return "is a file of settings and passwords that no site needs"
    if found := _FOLDERS.search(path):
        return f"lies in {found[0].strip('/')}/, which is no part of a site"
    if _PACKAGE.search(path):
        return "belongs to installed packages, which are no part of a site"
    return ""


def secret_in(data: bytes) -> str:
    """What kind of secret the content holds; empty when none is recognised. Placeholders and this machine's own addresses are none."""
    for pattern, kind in _KEY_FILES:
        if pattern.match(data):
            return kind
    for kind, sign, hints, pattern, real in _KINDS:
        if sign in data and any(hint in data for hint in hints) and any(map(real, pattern.finditer(data))):
            return kind
    return ""


_TOKENS = (
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22})")),
    ("an npm token", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    ("a GitLab token", re.compile(r"\bglpat-[\w-]{20}")),
    ("a Stripe secret key", re.compile(r"\b[sr]k_live_[A-Za-z0-9]{16}")),
    ("a Slack token", re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10}")),
    ("a SendGrid key", re.compile(r"\bSG\.[\w-]{22}\.[\w-]{43}")),
    ("a key of an AI service", re.compile(r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32}")),
)


def secret_value(value: str) -> str:
    """What kind of secret a variable's value is; empty when none is recognised."""
    kind = secret_in(value.encode("utf-8", "surrogateescape"))
    return kind or next((name for name, pattern in _TOKENS if pattern.search(value)), "")
