"""Cache-Control of a site's files, by rule. Pure.

Three answers: what carries a hash of its content in its name never changes; pages and their payloads are asked for
again by every browser; the rest is kept for minutes. The CDN may keep pages for a day because every release invalidates
what it changed; a day is also far below the 30 days that replaced assets live on, so that even a page that escaped an
invalidation never names a missing file.

Source: RFC 9111 (HTTP Caching), RFC 8246 (immutable), CloudFront Developer Guide "Manage how long content stays in the
cache".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "public, max-age=0, s-maxage=86400, must-revalidate"
SHORT = "public, max-age=300, s-maxage=86400"

# A hash as bundlers write it: eight or more hexadecimal digits between a separator and the extension. Both letters and
# figures must occur: `report-20240131.pdf` is a date and `cafe-decadeface.png` may be a word. An unlucky hash of figures
# alone (2 % of those with eight) is cached for minutes only, which costs requests and never shows a stale file.
_HASHED = re.compile(r"(?:^|[./_-])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,64}(?:\.[a-z0-9]+)+$")


@dataclass(frozen=True)
class CacheRule:
    """One rule: paths that match `pattern` get `header`.

    Attributes:
        pattern: a glob over the whole path: `*` stays inside a folder, `**` crosses folders; or `{hash}` alone, any
            file whose name carries a hash of its content.
        header: the Cache-Control header.
    """

    pattern: str
    header: str


DEFAULT_RULES: tuple[CacheRule, ...] = (
    CacheRule("_next/static/**", IMMUTABLE),
    CacheRule("**.html", REVALIDATE),
    CacheRule("**.htm", REVALIDATE),
    CacheRule("**.txt", REVALIDATE),
    CacheRule("**.json", REVALIDATE),
    CacheRule("**.webmanifest", REVALIDATE),
    CacheRule("**.xml", REVALIDATE),
    CacheRule("**sw.js", REVALIDATE),
    CacheRule("**service-worker.js", REVALIDATE),
    CacheRule("{hash}", IMMUTABLE),
)


def cache_policy(rules: Iterable[CacheRule]) -> Callable[[str], str]:
    """A function from path to Cache-Control; the first rule that matches decides, `SHORT` when none does.

    Args:
        rules: rules in order; `(*own, *DEFAULT_RULES)` puts one's own before ours.
    """
    compiled = [(_matcher(rule.pattern), rule.header) for rule in rules]

    def decide(path: str) -> str:
        plain = path.lstrip("/")
        return next((header for matches, header in compiled if matches(plain)), SHORT)

    return decide


def cache_control(path: str) -> str:
    """The Cache-Control of one file by our own rules.

    Args:
        path: the file's path below the site's root, with `/`.
    """
    return _OURS(path)


def is_hashed(path: str) -> bool:
    """Whether the file's name carries a hash of its content (`main.3f2a9b1c.css`, `chunk-0a1b2c3d4e.js.map`)."""
    return _HASHED.search(path.rpartition("/")[2]) is not None


def _matcher(pattern: str) -> Callable[[str], bool]:
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


_OURS = cache_policy(DEFAULT_RULES)
