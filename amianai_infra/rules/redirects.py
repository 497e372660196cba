"""A site's `_redirects` file, in the form that Netlify and Cloudflare Pages share. Pure.

A line is `FROM TO [STATUS[!]]`; the first rule that matches decides. `:name` stands for one segment, `*` at the end for the rest, which
TO names `:splat`. A rule gives way to a page or file of that address, unless its status ends in `!`. Without a status it is 301.

Source: Netlify Docs, "Redirects and rewrites"; Cloudflare Pages Docs, "Redirects". What CloudFront cannot do is refused by line.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

FILE = "_redirects"
MOVED = (301, 302, 307, 308)
MOST_PATTERNS = 100
"""Rules with placeholders: they are tried one after another at every address that nothing else answers."""
LONGEST = 400
"""Characters of one side of a rule: a rule has to fit into one value of the key-value store."""
_STATUS = r"(\d{3})(!?)"
_NAME = re.compile(r":[A-Za-z]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        source: address without slashes around it, percent-decoded; segments may be `:name`, the last one `*`.
        target: where it leads: an address of the site from its slash, or an http(s) URL.
        status: one of 301, 302, 307 and 308; 200 answers with another address of the site.
        forced: it also holds where the site has a page.
    """

    source: str
    target: str
    status: int = 301
    forced: bool = False

    @property
    def is_pattern(self) -> bool:
        """Whether it holds for more than one address."""
        return any(part == "*" or _NAME.fullmatch(part) for part in self.source.split("/"))

    def match(self, base: str) -> Mapping[str, str] | None:
        """What the placeholders stand for at an address without slashes around it; None where the rule does not hold."""
        wanted, given = self.source.split("/"), base.split("/")
        found: dict[str, str] = {}
        for number, part in enumerate(wanted):
            if part == "*":
                return {**found, "splat": "/".join(given[number:])}
            if number >= len(given) or not (part == given[number] or (_NAME.fullmatch(part) and given[number])):
                return None
            if _NAME.fullmatch(part):
                found[part[1:]] = given[number]
        return found if len(wanted) == len(given) else None

    def leads(self, base: str) -> str | None:
        """Where it leads from an address without slashes around it; None where it does not hold."""
        found = self.match(base)
        return None if found is None else _NAME.sub(lambda name: found.get(name[0][1:], name[0]), self.target)


def parse(text: str) -> tuple[list[Rule], list[str]]:
    """The rules of a `_redirects` file, and what cannot be honoured, by line."""
    rules: list[Rule] = []
    problems: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        words = line.partition(" #")[0].split() if not line.lstrip().startswith("#") else []
        if not words:
            continue
        rule = _rule(words)
        if isinstance(rule, Rule):
            rules.append(rule)
        else:
            problems.append(f"line {number}, {line.strip()[:100]!r}: {rule}")
    if sum(rule.is_pattern for rule in rules) > MOST_PATTERNS:
        problems.append(f"more than {MOST_PATTERNS} rules have placeholders")
    return rules, problems


def _rule(words: list[str]) -> Rule | str:
    """A line's rule, or why it is none."""
    source, *rest = words
    if rest and "=" in rest[0] and not rest[0].startswith(("/", "http")):
        return "a rule that depends on the query is not possible"
    if not rest:
        return "it says not where to"
    target, *more = rest
    status = re.fullmatch(_STATUS, more[0]) if more else None
    if len(more) > 1 or (more and status is None):
        return "a rule that depends on country, language, role or cookie is not possible"
    code, forced = (int(status[1]), status[2] == "!") if status else (301, False)
    return _source_problem(source) or _target_problem(source, target, code) or Rule(_plain(source), target, code, forced)


def _plain(source: str) -> str:
    return unquote(source).strip("/")


def _source_problem(source: str) -> str:
    if not source.startswith("/"):
        return "it has to begin with the path of an address of this site"
    if "?" in source or "#" in source:
        return "a rule that depends on the query is not possible"
    if len(source) > LONGEST:
        return f"an address may have {LONGEST} characters"
    if "*" in source.rstrip("/")[:-1] or (source.rstrip("/").endswith("*") and not source.rstrip("/").endswith("/*")):
        return "* stands for whole segments, at the end"
    return ""


def _target_problem(source: str, target: str, status: int) -> str:
    parts = urlsplit(target)
    inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    if len(target) > LONGEST:
        return f"an address may have {LONGEST} characters"
    if not inside and (parts.scheme not in ("http", "https") or not parts.hostname):
        return "it leads neither to a path of this site nor to an http(s) address"
    if status == 200:
        return "" if inside else "answering with another site's content is not possible: CloudFront has one origin here"
    if status not in MOVED:
        return f"a status of {status} is not possible: {', '.join(map(str, MOVED))}, or 200 for another page of the site" + (
            "; 404.html answers for what is missing without a rule" if status == 404 else ""
        )
    return "it leads to itself" if inside and _plain(parts.path) == _plain(source) else ""


def effective(rules: Iterable[Rule], files: Container[str], pages: Container[str]) -> Iterator[Rule]:
    """The rules that can ever hold.

    Args:
        rules: in the order of the file.
        files: the site's files.
        pages: addresses of pages, without slashes around them.
    """
    before: list[Rule] = []
    for rule in rules:
        taken = not rule.is_pattern and (rule.source in files or rule.source in pages or (not rule.source and "index.html" in files))
        if taken and not rule.forced:
            continue
        if not rule.is_pattern and any(one.match(rule.source) is not None and (one.forced or not taken) for one in before):
            continue
        before.append(rule)
        yield rule
