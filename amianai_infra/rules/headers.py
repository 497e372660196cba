"""Security headers of the site's responses. Pure.

Source: W3C "Content Security Policy Level 3", "Permissions Policy"; WHATWG HTML, "Cross-origin opener policies"; RFC 6797 (HSTS); OWASP
"HTTP Headers Cheat Sheet".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from amianai_infra.naming import CSP_SOURCES, ORIGIN

REFERRER_POLICY = "strict-origin-when-cross-origin"
FRAME_OPTION = "DENY"
PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
"""Nothing that a page, or what it embeds, would have to ask a visitor for; `site.headers` gives one that does another."""
OPENER_POLICY = "same-origin-allow-popups"
"""Pages of other sites get no hold of ours; the windows that ours open for a sign-in keep theirs."""
CUSTOM = {"cross-origin-opener-policy": OPENER_POLICY, "permissions-policy": PERMISSIONS_POLICY}
"""What CloudFront has no setting of its own for."""
UNSAFE = "'unsafe-inline'"
HASHED_ATTRIBUTES, WEB_ASSEMBLY, ANY_INLINE, BLOB_WORKERS, NOTHING = "u", "w", "i", "b", "-"
"""What an object says of its policy besides the hashes of its scripts: one letter each, since it has 2 KB for all."""
WORDS = {HASHED_ATTRIBUTES: "'unsafe-hashes'", WEB_ASSEMBLY: "'wasm-unsafe-eval'", ANY_INLINE: UNSAFE}
"""What they are in `script-src`."""
OF_THE_ORIGIN = ("server", "x-amz-expiration", "x-amz-id-2", "x-amz-request-id", "x-amz-server-side-encryption", "x-amz-version-id")
"""What S3 tells of itself, which is nobody's business."""


def cognito_origins(region: str, hosted_domain: str) -> tuple[str, ...]:
    """Where a page signs people in: Cognito's API and the hosted domain.

    Args:
        region: the user pool's region.
        hosted_domain: host name of the hosted domain, or its prefix.
    """
    host = hosted_domain if "." in hosted_domain else f"{hosted_domain}.auth.{region}.amazoncognito.com"
    return (f"https://cognito-idp.{region}.amazonaws.com", f"https://{host}")


def content_security_policy(connect: Iterable[str] = (), sources: Iterable[str] = ()) -> str:
    """The Content-Security-Policy of every answer that has none of its own: a file's, or a page's (`page_policy`).

    Everything comes from the site itself; nobody may frame it. Scripts and styles may be inline, which a page's own policy takes back for
    scripts: what answers without one (the 404 page, pages of a release that knew none) keeps working.

    Args:
        connect: origins that scripts may call, besides the site's own.
        sources: what else is allowed, one directive and its sources a line: `font-src https://fonts.gstatic.com`.

    Raises:
        ValueError: one of them is no origin (`https://host[:port]`), or no such line.
    """
    directives = {
        "default-src": ["'self'"],
        "script-src": ["'self'", UNSAFE],
        "style-src": ["'self'", UNSAFE],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'", *map(_origin, connect)],
        "worker-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
    for line in sources:
        name, *more = line.split()
        if not re.fullmatch(CSP_SOURCES, line):
            raise ValueError(f"{line!r} is not a directive and its sources such as font-src https://fonts.gstatic.com")
        directives.setdefault(name, ["'self'"]).extend(more)
    return "; ".join(f"{name} {' '.join(dict.fromkeys(allowed))}" for name, allowed in directives.items())


def page_policy(policy: str) -> tuple[str, str, str]:
    """The default policy in three parts, for pages that say what they need: after the first come scripts, after the second workers.

    Args:
        policy: of `content_security_policy`.
    """
    directives = policy.split("; ")
    scripts = next(number for number, text in enumerate(directives) if text.startswith("script-src "))
    workers = next(number for number, text in enumerate(directives) if text.startswith("worker-src "))
    directives[scripts] = " ".join(word for word in directives[scripts].split() if word != UNSAFE)
    first, second = "; ".join(directives[: scripts + 1]), "; ".join(directives[scripts + 1 : workers + 1])
    return first, f"; {second}", f"; {'; '.join(directives[workers + 1 :])}"


def policy_of(parts: tuple[str, str, str], words: str) -> str:
    """What the function at the edge makes of a page's words; see `inline_scripts`."""
    named = words.split()
    scripts = "".join(f" 'sha256-{word}='" if len(word) > 1 else f" {WORDS[word]}" for word in named if len(word) > 1 or word in WORDS)
    return f"{parts[0]}{scripts}{parts[1]}{' blob:' if BLOB_WORKERS in named else ''}{parts[2]}"


def security_headers(policy: str, hsts_seconds: int, *, include_subdomains: bool, preload: bool) -> dict[str, str]:
    """Every header that the CDN adds to an answer which does not have it, by lower-case name.

    Args:
        policy: the Content-Security-Policy.
        hsts_seconds: Strict-Transport-Security's max-age.
        include_subdomains: whether it holds for every name below.
        preload: whether it says `preload`.
    """
    hsts = f"max-age={hsts_seconds}{'; includeSubDomains' if include_subdomains else ''}{'; preload' if preload else ''}"
    return {
        "strict-transport-security": hsts,
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "x-frame-options": FRAME_OPTION,
        "referrer-policy": REFERRER_POLICY,
        **CUSTOM,
    }


def _origin(text: str) -> str:
    if not re.fullmatch(ORIGIN, text):
        raise ValueError(f"{text!r} is not an origin such as https://api.example.com")
    return text
