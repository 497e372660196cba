"""Headers by address, in the form of the `_headers` file of Netlify and Cloudflare Pages. Pure.

A line that begins with `/` or `https://` is a pattern of addresses; `Name: value` lines below it are the headers of what it matches,
`! Name` takes one away that an earlier rule gave. `*` matches anything and is `:splat` in a value; `:name` matches up to the next
slash. Where several rules match, a header that is a list gets every value, any other the last one.

S3 keeps five headers with an object; the others are kept as its metadata, which the function at the edge makes headers again. What
neither can do is refused, by line.

Source: Netlify Docs "Custom headers", Cloudflare Pages Docs "Headers"; Amazon S3 User Guide "Working with object metadata" (2 KB);
CloudFront Developer Guide "Restrictions on all edge functions".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

METADATA = "header-"
"""What the metadata of an object is called that is a header of its answer: `header-x-robots-tag`."""
NEEDS = "amianai-policy"
"""Kept like a header: what a page's policy has to allow (`inline_scripts`), of which the edge makes its Content-Security-Policy."""
SYSTEM = frozenset(("content-type", "cache-control", "content-disposition", "content-encoding", "content-language"))
"""What S3 keeps and answers itself."""
OF_THE_CDN = frozenset(
    (
        "strict-transport-security",
        "content-security-policy",
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "permissions-policy",
        "cross-origin-opener-policy",
    )
)
"""What the CDN adds to every answer that does not have it: a rule may give another value and cannot take it away."""

LARGEST_METADATA = 2048

_LISTS = frozenset(
    (
        "link",
        "vary",
        "x-robots-tag",
        "server-timing",
        "content-security-policy",
        "content-security-policy-report-only",
        "content-language",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-expose-headers",
        "permissions-policy",
        "document-policy",
        "clear-site-data",
    )
)
# Compiled when they are first used: most sites have no such file.
_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}"
_PLACEHOLDER = r"\*|:[A-Za-z]\w*"
_IMPOSSIBLE = (
    r"(?:connection|content-length|content-range|date|expect|host|keep-alive|location|proxy-.*|trailer|transfer-encoding|upgrade|via|"
    r"warning|age|etag|last-modified|accept-ranges|server|status|x-accel-.*|x-amz-.*|x-amzn-.*|x-cache.*|x-edge-.*|x-forwarded-proto|"
    r"x-real-ip)"
)
_REASONS: Mapping[str, str] = {
    "set-cookie": "a file of a static site sets no cookie: the CDN would give one visitor's to all",
    "basic-auth": "the CDN asks for no password; keep what is not public elsewhere",
}


class HeaderRule(NamedTuple):
    """One header of what a pattern matches.

    Attributes:
        where: where it is written.
        begins: what every matching address begins with.
        matches: the pattern.
        name: in lower case.
        value: None where the rule takes the header away.
    """

    where: str
    begins: str
    matches: re.Pattern[str]
    name: str
    value: str | None


def read(text: str, hosts: Sequence[str] = (), source: str = "_headers") -> tuple[list[HeaderRule], list[str]]:
    """The rules of a `_headers` file, and what is wrong with it, by line.

    Args:
        text: the file.
        hosts: the site's own host names; rules for other hosts (`https://project.pages.dev/*`) are for other places.
        source: what the file is called.
    """
    rules: list[HeaderRule] = []
    problems: list[str] = []
    pattern: re.Pattern[str] | None = None
    begins, elsewhere = "", False
    for number, raw in enumerate(text.splitlines(), 1):
        line, where = raw.strip(), f"{source}, line {number}"
        if not line or line.startswith("#"):
            continue
        if line.startswith(("/", "https://", "http://")):
            host, path = _split(line)
            elsewhere = bool(host) and host not in hosts
            begins, pattern = _compiled(path)
        elif elsewhere:
            continue
        elif pattern is None:
            problems.append(f"{where}: {line[:60]!r} belongs to no address; a line such as /* comes first")
        else:
            name, value, problem = _header(line)
            if problem:
                problems.append(f"{where}: {problem}")
            else:
                rules.append(HeaderRule(where, begins, pattern, name, value))
    return rules, problems


def read_settings(lines: Iterable[str]) -> tuple[list[HeaderRule], list[str]]:
    """The rules of `site.headers`: one header a line, `PATTERN Name: value`."""
    rules: list[HeaderRule] = []
    problems: list[str] = []
    for line in lines:
        pattern, _, header = line.strip().partition(" ")
        found, wrong = read(f"{pattern}\n{header}", source="site.headers")
        problems += [f"site.headers: {line[:80]!r}: {one.partition(': ')[2]}" for one in wrong]
        if not found and not wrong:
            problems.append(f"site.headers: {line[:80]!r} is not of the form /docs/* Name: value")
        rules += found
    return rules, problems


def _split(line: str) -> tuple[str, str]:
    """Host and path of a pattern; no host for a path alone."""
    scheme, sign, rest = line.partition("://")
    if not sign or line.startswith("/"):
        return "", line
    host, slash, path = rest.partition("/")
    return host.partition(":")[0].lower() or scheme, f"/{path}" if slash else "/*"


def _compiled(path: str) -> tuple[str, re.Pattern[str]]:
    parts: list[str] = []
    names: set[str] = set()
    end = 0
    for found in re.finditer(_PLACEHOLDER, path):
        name = "splat" if found[0] == "*" else found[0][1:]
        group = f"?P<{name}>" if name not in names else "?:"
        names.add(name)
        parts += [re.escape(path[end : found.start()]), f"({group}{'.*' if found[0] == '*' else '[^/]+'})"]
        end = found.end()
    first = re.search(_PLACEHOLDER, path)
    begins = path[: first.start()] if first else path
    return begins, re.compile("".join(parts) + re.escape(path[end:]), re.DOTALL)


def _header(line: str) -> tuple[str, str | None, str]:
    """Name in lower case, value, and why it cannot be."""
    detached = line.startswith("!")
    name, sign, value = (line[1:].strip(), ":", "") if detached else line.partition(":")
    name, value = name.strip().lower(), value.strip()
    problem = ""
    if not sign or not re.fullmatch(_NAME, name):
        problem = f"{line[:60]!r} is no header such as X-Robots-Tag: noindex"
    elif name in _REASONS:
        problem = f"{name}: {_REASONS[name]}"
    elif re.fullmatch(_IMPOSSIBLE, name):
        problem = f"{name} is the CDN's own and cannot be set"
    elif detached and name in OF_THE_CDN:
        problem = f"{name} is in every answer and cannot be taken away; give it another value"
    elif not detached and not (value and value.isascii() and value.isprintable()):
        problem = f"the value of {name} has to be printable ASCII text"
    return name, None if detached else value, problem


def headers_of(addresses: Iterable[str], rules: Iterable[HeaderRule]) -> dict[str, tuple[str, str]]:
    """The headers of what answers under these addresses: value, and where it is written, by name."""
    known = tuple(addresses)
    found: dict[str, tuple[str, str]] = {}
    for rule in rules:
        match = next(filter(None, (rule.matches.fullmatch(one) for one in known if one.startswith(rule.begins))), None)
        if match is None:
            continue
        if rule.value is None:
            found.pop(rule.name, None)
            continue
        value = rule.value
        for name, text in sorted(match.groupdict().items(), key=lambda item: -len(item[0])):
            value = value.replace(f":{name}", text or "")
        before = found.get(rule.name)
        joined = f"{before[0]}, {value}" if before and rule.name in _LISTS else value
        found[rule.name] = (joined, rule.where)
    return found


def attributes(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """How an object keeps headers: those of S3 under their own name, the others as metadata."""
    for name, value in headers:
        yield (name.title() if name in SYSTEM else f"{METADATA}{name}"), value


def metadata_size(headers: Iterable[tuple[str, str]]) -> int:
    """Bytes of an object's metadata as S3 counts them: names and values."""
    return sum(len(name) + len(value) for name, value in attributes(headers) if name.startswith(METADATA))
