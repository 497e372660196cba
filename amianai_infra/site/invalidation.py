"""Which paths the CDN must forget, as few as possible. Pure; `cdn.py` asks for it.

Source: CloudFront Developer Guide, "Invalidate files to remove content" (what counts as a path, wildcards, encoding,
concurrent requests) and Amazon CloudFront pricing (1,000 paths a month free, $0.005 for each one more).
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

LIMIT = 15
"""Paths of one invalidation. CloudFront works on 15 wildcards at a time; beyond that one `/*` is cheaper and as quick."""

FREE_A_MONTH = 1000
DOLLARS_A_PATH = 0.005

EVERYTHING = "/*"

# Characters that need no encoding in an invalidation path: all that RFC 1738 does not call unsafe.
_SAFE = "/!$&'()*+,-.:;=?@_"


def addresses(path: str) -> tuple[str, ...]:
    """Every address that may answer with this file: a page is also its folder, with and without a slash, or its name alone.

    The viewer function rewrites those; CloudFront's guide asks to invalidate an address before and after a rewrite.
    """
    folder, _, name = path.rpartition("/")
    if name != "index.html":
        return (f"/{path.removesuffix('.html')}", f"/{path}") if name.endswith(".html") and name != "404.html" else (f"/{path}",)
    if not folder:
        return ("/", "/index.html")
    return (f"/{folder}", f"/{folder}/", f"/{path}")


def minimal(changed: Iterable[str], others: Iterable[str], limit: int = LIMIT) -> tuple[str, ...]:
    """The smallest set of invalidation paths that covers every changed file and no other; `/*` when that is too long.

    A folder in which everything changed becomes one wildcard.

    Args:
        changed: files that answer differently now.
        others: files that do not.
        limit: longest set worth having.
    """
    wanted = set(changed)
    if not wanted:
        return ()
    spared = _folders(path for path in others if path not in wanted)
    if "" not in spared:
        return (EVERYTHING,)
    paths: set[str] = set()
    for path in wanted:
        whole = _largest_whole(path, spared)
        paths |= _whole_folder(whole) if whole is not None else set(addresses(path))
        if len(paths) > limit:
            return (EVERYTHING,)
    return tuple(sorted(encoded(path) for path in paths))


def _folders(paths: Iterable[str]) -> set[str]:
    """Every folder that holds one of these files, at any depth, the root as an empty name."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _largest_whole(path: str, spared: set[str]) -> str | None:
    """The highest folder above the file in which nothing must be spared."""
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        folder = "/".join(parts[:depth])
        if folder not in spared:
            return folder
    return None


def _whole_folder(folder: str) -> set[str]:
    return {f"/{folder}", f"/{folder}/*"}


def encoded(path: str) -> str:
    """A path as CloudFront takes it: characters that are no ASCII or unsafe are percent-encoded, no others."""
    return quote(path, safe=_SAFE).replace("~", "%7E")


def cost(paths: int) -> str:
    """What an invalidation of so many paths costs, in words."""
    noun = "path" if paths == 1 else "paths"
    return f"{paths} {noun}; free within the first {FREE_A_MONTH:,} a month, else ${paths * DOLLARS_A_PATH:.3f}"
