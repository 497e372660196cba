"""Security headers of the site's responses. Pure.

Source: W3C "Content Security Policy Level 3", "Permissions Policy"; WHATWG HTML, "Cross-origin opener policies"; RFC 6797 (HSTS); OWASP
"HTTP Headers Cheat Sheet".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from amianai_infra.naming import ORIGIN

REFERRER_POLICY = "strict-origin-when-cross-origin"
FRAME_OPTION = "DENY"
PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
"""Nothing that a page, or what it embeds, would have to ask a visitor for; `site.headers` gives one that does another."""
OPENER_POLICY = "same-origin-allow-popups"
"""Pages of other sites get no hold of ours; the windows that ours open for a sign-in keep theirs."""
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


def content_security_policy(connect: Iterable[str] = ()) -> str:
    """The Content-Security-Policy of a static export of Next.js.

    Scripts and styles may be inline: a static export has no server that could draw a nonce, and Next writes its payload
    into inline scripts. Everything else comes from the site itself; nobody may frame it.

    Args:
        connect: origins that scripts may call, besides the site's own.

    Raises:
        ValueError: one of them is no origin (`https://host[:port]`).
    """
    origins = dict.fromkeys(map(_origin, connect))
    directives = {
        "default-src": ("'self'",),
        "script-src": ("'self'", "'unsafe-inline'"),
        "style-src": ("'self'", "'unsafe-inline'"),
        "img-src": ("'self'", "data:", "blob:"),
        "font-src": ("'self'", "data:"),
        "connect-src": ("'self'", *origins),
        "object-src": ("'none'",),
        "base-uri": ("'self'",),
        "form-action": ("'self'",),
        "frame-ancestors": ("'none'",),
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


def _origin(text: str) -> str:
    if not re.fullmatch(ORIGIN, text):
        raise ValueError(f"{text!r} is not an origin such as https://api.example.com")
    return text
