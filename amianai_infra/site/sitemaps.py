"""What a site tells search engines, and what is wrong with it: `robots.txt` and the sitemaps. Pure.

Source: RFC 9309 (Robots Exclusion Protocol), sitemaps.org "Sitemaps XML format" (protocol 0.9).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from html import unescape
from urllib.parse import unquote, urlsplit

from amianai_infra.errors import first
from amianai_infra.rules.addresses import address_at
from amianai_infra.rules.routing import Routing

ROBOTS = "robots.txt"
SITEMAP = "sitemap.xml"
_SHOWN = 5
_LOCATION = re.compile(r"<(?:\w+:)?loc\s*>\s*(?:<!\[CDATA\[)?\s*([^<\]]*?)\s*(?:\]\]>)?\s*</(?:\w+:)?loc\s*>")
_ROOT = re.compile(
    r"^\ufeff?\s*(?:<\?xml[^>]*\?>|<\?[^>]*\?>|<!--.*?-->|\s)*<(?:\w+:)?(urlset|sitemapindex)\b.*</(?:\w+:)?\1\s*>\s*$", re.DOTALL
)


def told(read: Callable[[str], str], files: Collection[str], hosts: Collection[str], routing: Routing | None = None) -> list[str]:
    """What is wrong with `robots.txt` and the sitemaps of a site, a line each; empty when nothing is.

    Args:
        read: gives a file's text by path.
        files: all files of the site.
        hosts: the site's own host names.
        routing: what answers besides its files.
    """
    routing = routing or Routing()
    named: list[str] = []
    found: list[str] = []
    if ROBOTS in files:
        text = read(ROBOTS)
        if _blocks_everything(text):
            found.append(f"{ROBOTS} keeps every search engine away from the whole site (User-agent: * with Disallow: /).")
        for number, address in _sitemaps(text):
            path = _own(address, hosts)
            if path is not None and path.lstrip("/") not in files:
                found.append(f"{ROBOTS}, line {number}: {address} names a sitemap that the site does not have.")
            elif path is not None:
                named.append(path.lstrip("/"))
    left = [*named, *([SITEMAP] if SITEMAP in files else [])]
    seen: set[str] = set()
    while left:
        path = left.pop(0)
        if path not in seen and path.endswith(".xml"):
            seen.add(path)
            problems, more = _sitemap(path, read(path), files, hosts, routing)
            found += problems
            left += more
    return found


def _blocks_everything(text: str) -> bool:
    """Whether the group for every robot forbids everything and allows nothing."""
    agents: list[str] = []
    rules: list[tuple[str, str]] = []
    open_group = False
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition("#")[0].partition(":"))
        if name.lower() == "user-agent":
            agents = [*agents, value] if open_group else [value]
            open_group = True
        elif name.lower() in ("allow", "disallow"):
            open_group = False
            if "*" in agents:
                rules.append((name.lower(), value))
    forbidden = any(name == "disallow" and value in ("/", "/*") for name, value in rules)
    return forbidden and not any(name == "allow" and value for name, value in rules)


def _sitemaps(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        name, _, value = line.partition(":")
        if name.strip().lower() == "sitemap":
            yield number, value.partition(" #")[0].strip()


def _own(address: str, hosts: Collection[str]) -> str | None:
    """The path of an address of the site, decoded; None for another host's, and for what is none."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return unquote(parts.path) or "/" if parts.scheme in ("http", "https") and parts.netloc.lower() in hosts else None


def _sitemap(path: str, text: str, files: Collection[str], hosts: Collection[str], routing: Routing) -> tuple[list[str], list[str]]:
    """The problems of one sitemap, and the further sitemaps that it names."""
    root = _ROOT.match(text)
    if root is None:
        return [f"{path} is no sitemap: it has no urlset or sitemapindex around its entries, which search engines refuse."], []
    problems: list[str] = []
    more: list[str] = []
    for found in _LOCATION.finditer(text):
        address = unescape(found[1])
        where = _own(address, hosts)
        problem = "" if where is not None else f"is no address of {next(iter(hosts), 'the site')}"
        if where is not None and root[1] == "sitemapindex":
            problem = "" if where.lstrip("/") in files else "is a sitemap that the site does not have"
            more += [] if problem else [where.lstrip("/")]
        elif where is not None:
            problem = _page_problem(where, files, routing)
        if problem:
            problems.append(f"{path}, line {text.count(chr(10), 0, found.start()) + 1}: {address} {problem}")
    return first(problems, _SHOWN), more


def _page_problem(where: str, files: Collection[str], routing: Routing) -> str:
    leads = next(filter(None, (rule.leads(where.strip("/")) for rule in routing.rules)), "")
    there = address_at(where, files)
    if there is None:
        return "" if leads or routing.fallback else "is no page of the site"
    return f"leads to {there.leads_to}: name that" if there.leads_to else ""
