"""What a page of the site refers to. Pure.

Not a parser: whatever looks like an address of the site in the page's text counts, also in scripts and in the payload that
Next.js writes into the page, because a browser asks for those, too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container
from html import unescape
from urllib.parse import unquote, urlsplit

_ATTRIBUTE = re.compile(r"""\b(?:src|href|poster|data)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>=`]+))""", re.IGNORECASE)
_SOURCE_SET = re.compile(r"""\b(?:srcset|imagesrcset)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_NEXT = re.compile(r"""(?:/_next/)?(static/(?:chunks|css|media)/[A-Za-z0-9_.~/\-\[\]()%@]+\.[A-Za-z0-9]+)""")


def references(page: str, text: str) -> set[str]:
    """Files of the site that a page names, as paths below the root; links to pages keep their trailing slash.

    Args:
        page: path of the page, from which relative addresses start.
        text: the page's HTML.
    """
    found: set[str] = set()
    for groups in _ATTRIBUTE.findall(text):
        found |= _local(page, "".join(groups))
    for groups in _SOURCE_SET.findall(text):
        for candidate in "".join(groups).split(","):
            found |= _local(page, (candidate.split() or [""])[0])
    found |= {f"_next/{unquote(path)}" for path in _NEXT.findall(text)}
    return found


def _local(page: str, address: str) -> set[str]:
    address = unescape(address.strip())
    try:
        parts = urlsplit(address)
    except ValueError:
        return set()
    if parts.scheme or parts.netloc or not parts.path:
        return set()
    path = unquote(parts.path)
    joined = path if path.startswith("/") else f"/{posixpath.dirname(page)}/{path}"
    clean = posixpath.normpath(joined).lstrip("/")
    return {f"{clean}/" if path.endswith("/") and clean not in ("", ".") else clean} - {"", "."}


def file_of(reference: str, files: Container[str]) -> str | None:
    """The site's file that answers for a reference; None when there is none.

    Args:
        reference: as `references` gives it.
        files: the site's files.
    """
    candidates = [f"{reference}index.html"] if reference.endswith("/") else [reference, f"{reference}/index.html", f"{reference}.html"]
    return next((candidate for candidate in candidates if candidate in files), None)
