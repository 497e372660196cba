"""Cache-Control of a site's files, by rule. Pure.

Three answers: what carries a hash of its content in its name never changes; pages and their payloads are asked for
again by every browser; the rest is kept for minutes. The CDN may keep pages for a day because every release invalidates
what it changed; a day is also far below the 30 days that replaced assets live on, so that even a page that escaped an
invalidation never names a missing file.

Whether a name carries a hash is known where a framework keeps a folder of its own for such files or lists them in its manifest,
and is guessed from the name's shape elsewhere. A wrong guess cannot stick: `site.plan` refuses to change what is held immutable.

Source: RFC 9111 (HTTP Caching), RFC 8246 (immutable), CloudFront Developer Guide "Manage how long content stays in the
cache"; the default file names of Next.js, Vite, Rollup, esbuild, webpack, Parcel, Angular, Astro, SvelteKit, Nuxt, VitePress,
Docusaurus, Gatsby and Hugo.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "public, max-age=0, s-maxage=86400, must-revalidate"
SHORT = "public, max-age=300, s-maxage=86400"

# Compiled patterns are few here: a release of an unchanged site takes less time than a dozen of them.
_OWN_FOLDERS = ("/_next/static/", "/_app/immutable/")
"""Where Next and SvelteKit put nothing but files that never change."""
_HASHED_FOLDERS = ("/_astro/", "/_nuxt/")
"""Where Astro and Nuxt put hashed files and, in `.json`, what says which build is the newest."""
_ASSET_FOLDERS = ("/assets/", "/media/")
"""Where Vite, Angular and Docusaurus put hashed pictures and fonts, beside whatever the site's own `public` folder has there."""

_FRESH = (
    *(".html", ".htm", ".xhtml", ".txt", ".json", ".webmanifest", ".appcache", ".xml", ".rss", ".atom", ".ics"),
    *("sw.js", "sw.mjs", "service-worker.js", "service_worker.js", "serviceworker.js", "ngsw-worker.js", "onesignalsdkworker.js"),
)
"""Pages, payloads, feeds, and the names that service workers usually have."""
_DERIVED = (".map", ".gz", ".br")
"""Named after the file they belong to: a source map changes with a comment, which its script, and so the hash, does not have."""

_CODE = ("js", "mjs", "cjs", "css", "wasm")
_HEX = frozenset("0123456789abcdef")
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_BASE32 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_CAPITALS_AND_DIGITS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_DECORATIONS = (".min", ".lean", ".chunk", ".bundle", ".module")
_LONG = re.compile(r"(?:^|[./_-]|_hu)(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{16,64}(?=[./_-]|$)")
_DAY, _MONTH, _YEAR = r"(?:0[1-9]|[12]\d|3[01])", r"(?:0[1-9]|1[0-2])", r"(?:19|20)\d\d"
_DATE = re.compile(rf"^[a-f]?{_YEAR}{_MONTH}{_DAY}|{_DAY}{_MONTH}{_YEAR}[a-f]?$")
_HUMP = r"[a-z]*[aeiouy][a-z]*"
_WORD = re.compile(rf"(?:[a-z]+|[A-Z]+|[A-Z]?{_HUMP}(?:[A-Z]{_HUMP})*)?\d*|\d+[A-Za-z]{{0,2}}")


class CacheRule(NamedTuple):
    """One rule: paths that match `pattern` get `header`.

    Attributes:
        pattern: a glob over the whole path: `*` stays inside a folder, `**` crosses folders; or `{hash}` alone, any
            file whose name carries a hash of its content.
        header: the Cache-Control header.
    """

    pattern: str
    header: str


def cache_policy(
    rules: Iterable[CacheRule] = (),
    *,
    stated: Mapping[str, str] = MappingProxyType({}),
    fresh: Container[str] = (),
    listed: Container[str] = (),
) -> Callable[[str], str]:
    """A function from path to Cache-Control: the first of these rules that matches decides, then what the site states, then our own.

    Args:
        rules: one's own rules, in order.
        stated: headers by path that the site's `_headers` gives.
        fresh: files that browsers must ask for again whatever their name: workers that pages register, pages without an extension.
        listed: files that the bundler's own manifest lists.
    """
    compiled = [(glob(rule.pattern), rule.header) for rule in rules]

    def decide(path: str) -> str:
        plain = path.lstrip("/")
        own = next((header for matches, header in compiled if matches(plain)), stated.get(plain))
        return own if own is not None else REVALIDATE if plain in fresh else _by_name(plain, listed)

    return decide


def cache_control(path: str) -> str:
    """The Cache-Control of one file by our own rules, from its path alone.

    Args:
        path: the file's path below the site's root, with `/`.
    """
    return _by_name(path.lstrip("/"), ())


def _by_name(path: str, listed: Container[str]) -> str:
    lower = path.lower()
    if lower.endswith(_DERIVED):
        return SHORT
    if _within(path, _OWN_FOLDERS):
        return IMMUTABLE
    if lower.endswith(_FRESH):
        return REVALIDATE
    return IMMUTABLE if _within(path, _HASHED_FOLDERS) or is_hashed(path, listed=path in listed) else SHORT


def _within(path: str, folders: Iterable[str]) -> bool:
    whole = f"/{path}"
    return any(folder in whole for folder in folders)


def guessed(path: str, header: str) -> bool:
    """Whether a file is kept for ever because of the shape of its name, and not because a framework's folder says so."""
    return header == IMMUTABLE and not _within(path, (*_OWN_FOLDERS, *_HASHED_FOLDERS))


def is_hashed(path: str, *, listed: bool = False) -> bool:
    """Whether a file is named by its content: `main.3f2a9b1c.css`, `assets/index-Cg1B1Bvb.js`, `main-K3J7XQ2W.js`.

    Dates with a letter (`menu-20240131b.pdf`), colours (`color-0066cc00.png`), words and serial numbers are none.

    Args:
        path: the file's path below the site's root.
        listed: the bundler's own manifest lists the file.
    """
    if _LONG.search(path):
        return True
    folder, _, name = path.rpartition("/")
    base, _, extension = name.rpartition(".")
    while base.endswith(_DECORATIONS):
        base = base.rpartition(".")[0]
    code = extension.lower() in _CODE
    before, dot, last = base.rpartition(".")
    if dot and before:
        return _hexadecimal(last, code=code, sure=code) or _random(last)
    asset = listed or _within(path, _ASSET_FOLDERS)
    return (code or asset) and _after_hyphen(base, code=code, upper=code or listed or folder.rpartition("/")[2] == "media")


def _after_hyphen(base: str, *, code: bool, upper: bool) -> bool:
    """Whether the last eight signs, or the digits after the last separator, are a hash."""
    if _hexadecimal(base.replace("_", "-").rpartition("-")[2], code=code, sure=False):
        return True
    token = base[-8:]
    return base[-9:-8] == "-" and len(base) > 9 and (_random(token) or (upper and _BASE32.issuperset(token)))


def _hexadecimal(token: str, *, code: bool, sure: bool) -> bool:
    """Eight or more hexadecimal digits that are neither a date nor a colour, nor, unless that is sure, a number or a word."""
    if not (8 <= len(token) <= 64 and _HEX.issuperset(token)) or _DATE.search(token) or (_colour(token) and not code):
        return False
    return sure or (not token.isdigit() and not token.isalpha() and (code or not _WORD.fullmatch(token)))


def _colour(token: str) -> bool:
    """Whether this may be one of the web's colours, with its opacity: `0066cc00`."""
    return len(token) == 8 and token[::2] == token[1::2] and _HEX.issuperset(token)


def _random(token: str) -> bool:
    """Whether eight signs of base64url read as neither words nor numbers."""
    if len(token) != 8 or not _BASE64.issuperset(token) or _CAPITALS_AND_DIGITS.isdisjoint(token):
        return False
    if _DATE.search(token) or _colour(token):
        return False
    parts = token.replace("_", "-").split("-")
    return not (all(map(_WORD.fullmatch, parts)) and any(len(part) > 2 for part in parts))


def glob(pattern: str) -> Callable[[str], bool]:
    """A test for one pattern; the two common shapes need no regular expression."""
    if pattern == "{hash}":
        return is_hashed
    if pattern.startswith("**") and "*" not in pattern[2:]:
        return lambda path: path.endswith(pattern[2:])
    if pattern.endswith("**") and "*" not in pattern[:-2]:
        return lambda path: path.startswith(pattern[:-2])
    parts = re.split(r"(\*\*|\*)", pattern)
    compiled = re.compile("".join({"**": ".*", "*": "[^/]*"}.get(part) or re.escape(part) for part in parts), re.DOTALL)
    return lambda path: compiled.fullmatch(path) is not None
