"""Finds what must never be published: private keys, AWS keys, database addresses with passwords, `.env` files. Pure."""

from __future__ import annotations

import re

LONGEST = 8 * 1024 * 1024
"""Files above this size are not searched: no build writes text of that size by accident."""

# A quick look for each kind before the exact pattern: most files hold none of these.
_KINDS: tuple[tuple[str, tuple[bytes, ...], re.Pattern[bytes]], ...] = (
    (
        "a private key",
        (b"PRIVATE KEY-----",),
        re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:[\r\n]|\\+[rn])+[ \t]*[A-Za-z0-9+/=]"),
    ),
    ("an AWS access key id", (b"AKIA", b"ASIA"), re.compile(rb"(?<![A-Za-z0-9+/=_-])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9+/=_-])")),
    (
        "an AWS secret access key",
        (b"ecret_access_key", b"SECRET_ACCESS_KEY", b"ecretAccessKey"),
        re.compile(rb"(?i)secret_?access_?key[\"'\\]*\s*[:=]\s*[\"'\\]*[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"),
    ),
    (
        "a database address with its password",
        (b"postgres://", b"postgresql://", b"mysql://", b"mongodb://", b"mongodb+srv://", b"redis://"),
        re.compile(rb"(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|redis)://[^\s:/@\"'<>]*:[^\s/@\"'<>]+@[^\s\"'<>]"),
    ),
)

_HINTS = tuple((hint, kind, pattern) for kind, hints, pattern in _KINDS for hint in hints)

# Keys that AWS prints in its own documentation; they open nothing.
_EXAMPLES = (b"AKIAIOSFODNN7EXAMPLE", b"AKIAI44QH8DHBEXAMPLE", b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
_KEY_FILES = re.compile(r"(?:^|/)(?:id_(?:rsa|dsa|ecdsa|ed25519)|[^/]+\.(?:pem|p12|pfx|key|jks)|\.npmrc|\.pgpass|\.netrc)$")
_ENV_FILE = re.compile(r"(?:^|/)\.env(?:\.[^/]*)?$")
_FOLDERS = re.compile(r"(?:^|/)(?:\.git|\.aws|\.ssh|node_modules)/")


def suspicious_name(path: str) -> str:
    """Why a file must not be published, judged by its name; empty when it may."""
    if _ENV_FILE.search(path):
        return "is an environment file"
    if _KEY_FILES.search(path):
        return "is named like a key or password file"
    if found := _FOLDERS.search(path):
        return f"lies in {found[0].strip('/')}/, which is no part of a site"
    return ""


def secret_in(data: bytes) -> str:
    """What kind of secret the content holds; empty when none is recognised."""
    for hint, kind, pattern in _HINTS:
        if hint in data:
            for found in pattern.finditer(data):
                if not any(example in found[0] for example in _EXAMPLES):
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
