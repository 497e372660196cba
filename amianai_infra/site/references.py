"""What the files of a site refer to, as a browser resolves it: pages, styles, scripts' module graph, manifests. Pure.

Text is no reference: what stands in `<code>`, in a comment, in a string of a script. Neither is what another host serves.

A page is looked at twice at most: whatever its text could mean is compared with the site's files first, which takes a regular
expression; only where something is not there, a parser decides what the browser would ask for, and in which line.

Source: WHATWG HTML ("Fetching scripts", "Image candidate strings", "The base element"), CSS Syntax 3 and Values 4 (`url()`, `@import`),
ECMAScript 2025 (imports), W3C "Web Application Manifest". No kept package reads a script's imports from Python fast enough: tree-sitter,
the nearest, takes a second and 60 MB for a megabyte.
"""

from __future__ import annotations

import json
import posixpath
import re
import unicodedata
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from amianai_infra.rules.addresses import Address, address_at

if TYPE_CHECKING:
    from amianai_infra.rules.routing import Routing

PAGES = (".html", ".htm", ".xhtml")
SCRIPTS = (".js", ".mjs")
STYLES = (".css",)
MANIFESTS = (".webmanifest", "manifest.json")
READ = (*PAGES, *SCRIPTS, *STYLES, *MANIFESTS)
"""Names of the files that are looked at end in one of these."""
LONGEST = 8 * 1024 * 1024
"""Files above this size are not looked at."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference.

    Attributes:
        path: what is asked for, below the site's root; a folder keeps its slash, the root is empty.
        line: where it is written, from 1.
        needed: whether the page does not work without: scripts, their modules, styles. The rest is missed where it is shown.
        page: whether it leads to another page, and not to a file of its own.
        fragment: the part of the page that it leads to, as written; empty for its top.
        deferred: whether what names it is shown without: asked for later, when something happens, or one of several to choose from.
    """

    path: str
    line: int
    needed: bool = False
    page: bool = False
    fragment: str = ""
    deferred: bool = False


def is_read(path: str, size: int, headers: Iterable[tuple[str, str]] = ()) -> bool:
    """Whether a file is looked at: by its name, its bytes and the headers of its answer, since what is compressed is not."""
    return path.lower().endswith(READ) and size <= LONGEST and "content-encoding" not in dict(headers)


def text_of(content: bytes, content_type: str) -> str:
    """A file's text, in the charset that its type states, else UTF-8."""
    return content.decode(content_type.partition("charset=")[2] or "utf-8", "replace")


def references(path: str, text: str, hosts: Collection[str] = ()) -> list[Reference]:
    """Everything that a file refers to within the site, in order.

    Args:
        path: the file, from which relative addresses start.
        text: its content.
        hosts: the site's own host names, for addresses that are written in full.
    """
    name = path.lower()
    base = f"https://{_HOST}/{path}"
    if name.endswith(PAGES):
        return _page(path, text, hosts).found
    if name.endswith(SCRIPTS):
        raw = _imports(text)
    elif name.endswith(STYLES):
        raw = _styles(text)
    else:
        raw = _manifest(text)
    lines = _Lines(text)
    resolved = ((_resolved(base, one.address, (_HOST, *hosts)), one) for one in raw)
    return [Reference(where, lines.at(one.position), one.needed, deferred=one.deferred) for where, one in resolved if where is not None]


def _page(path: str, text: str, hosts: Collection[str] = ()) -> _Page:
    page = _Page(f"https://{_HOST}/{path}", (_HOST, *hosts))
    page.feed(text)
    page.close()
    return page


class Site:
    """The files of a site, and whether references lead to them.

    Args:
        files: all of them.
        hosts: the site's own host names.
        routing: what answers besides its files.
        read: gives the text of a page; None for one that cannot be judged.
    """

    def __init__(
        self,
        files: Container[str],
        hosts: Collection[str] = (),
        routing: Routing | None = None,
        read: Callable[[str], str | None] = lambda path: None,
    ) -> None:
        self._files = files
        self._hosts = hosts
        self._routing = routing
        self._read = read
        self._whole: set[str] = set()
        self._kept = 0
        self._ids: dict[str, tuple[set[str] | None, bool]] = {}
        self._scripted = _scripted(routing, files) if routing else set()
        self._known: dict[tuple[str, ...], tuple[Address | None, ...]] = {}
        self._sound: set[tuple[str, ...]] = set()

    def broken(self, path: str, text: str) -> list[Reference]:
        """The references of a file that nothing of the site answers; see `references`."""
        if path.lower().endswith(PAGES) and self._looks_sound(path, text):
            return []
        found = references(path, text, self._hosts)
        return [one for one in found if address_of(one, self._files) is None and not self._routed(one)]

    def astray(self, path: str, text: str) -> list[Reference]:
        """The links of a page to parts of the site's pages that are not there: no element has that id, no anchor that name.

        Not judged are the page that answers where nothing else does, whose parts its scripts make, and links that are none to an element:
        to the top, to a text (`#:~:text=`), to an address that a script understands (`#/` and `#!`).

        Source: WHATWG HTML, "Scrolling to a fragment".
        """
        if not path.lower().endswith(PAGES) or "#" not in text:
            return []
        if not _links_oddly(text) and self._looks_whole(path, text):
            return []
        return [one for one in _page(path, text, self._hosts).parts if not self._has(one.path, one.fragment, path, text)]

    def _looks_whole(self, path: str, text: str) -> bool:
        """Whether whatever parts of pages a page's text could lead to are there. What many pages link is understood once in a site."""
        links = {unescape(next(filter(None, link))) for link in set(_PART.findall(text))} - self._whole
        own = {link[1:] for link in links if link.startswith("#")}
        if own and not (own <= _quick_ids(text) or all(self._leads(f"#{one}", path, text) for one in own)):
            return False
        for link in sorted(links):
            if not link.startswith("#") and not self._leads(link, path, text):
                return False
            if link.startswith(("/", "https:", "http:")) and len(self._whole) < _REMEMBERED:
                self._whole.add(link)
        return True

    def _leads(self, link: str, path: str, text: str) -> bool:
        part = _part(f"https://{_HOST}/{path}", link, (_HOST, *self._hosts))
        return part is None or self._has(*part, path, text)

    def _has(self, where: str, fragment: str, path: str, text: str) -> bool:
        """Whether a page has a part; also where that cannot be judged. `text` is that of the page `path`, which is at hand."""
        there = _answering(where, self._files, page=True)
        if there is None or not there.file.lower().endswith(PAGES) or there.file in self._scripted or self._overruled(where):
            return True
        names = {fragment, unquote(fragment)}
        if there.file == path:
            return self._identifies(path, names, lambda: text)
        return self._identifies(there.file, names, lambda: self._read(there.file))

    def _identifies(self, file: str, names: set[str], read: Callable[[], str | None]) -> bool:
        """Whether a page has an element of one of these names: by a quick look first, where that finds none by a parser."""
        text = None
        if file not in self._ids:
            text = read()
            found = None if text is None else _quick_ids(text)
            self._kept += len(found or ())
            if self._kept > _MOST_IDS:
                self._ids.clear()
                self._kept = len(found or ())
            self._ids[file] = (found, False)
        ids, parsed = self._ids[file]
        if ids is None:
            return True
        if not parsed and names.isdisjoint(ids):
            ids |= _page(file, text or read() or "").ids
            self._ids[file] = (ids, True)
        return not names.isdisjoint(ids)

    def _overruled(self, where: str) -> bool:
        """Whether a rule answers although a page is there."""
        rules = self._routing.rules if self._routing else ()
        return any(rule.forced and rule.leads(where.strip("/")) for rule in rules)

    def named(self, path: str, text: str) -> set[Address]:
        """The site's addresses that a file refers to, and any that a page or a script merely seems to."""
        name = path.lower()
        if name.endswith(SCRIPTS):  # every path that it quotes, whatever for: an import, or a picture that it shows
            found = {self._address(path, address) for address in _QUOTED_PATH.findall(text)}
        elif not name.endswith(PAGES) or _needs_parser(text):
            return {there for one in references(path, text, self._hosts) if (there := address_of(one, self._files))}
        else:
            found = {one for attribute in set(_VALUE.findall(text)) for one in self._attribute(path, attribute)}
            found.update(self._address(path, address) for address in _inline(text))
        return {one for one in found if one and one != _ELSEWHERE}

    def _looks_sound(self, path: str, text: str) -> bool:
        """Whether whatever a page's text could name is there; a parser has to tell where it is not."""
        if _needs_parser(text):
            return False
        new = set(_VALUE.findall(text)) - self._sound
        return not any(None in self._attribute(path, attribute) for attribute in new) and all(
            self._address(path, address) is not None for address in _inline(text)
        )

    def _attribute(self, path: str, attribute: tuple[str, ...]) -> tuple[Address | None, ...]:
        """The addresses that an attribute names, as `_address` gives them.

        Pages name the same over and over: what does not depend on the page is understood once in a site.
        """
        known = self._known.get(attribute)
        if known is not None:
            return known
        named = list(_named(*attribute))
        found = tuple(self._address(path, address, page=page) for address, page in named)
        if len(self._known) < _REMEMBERED and all(address.startswith(("/", "https:", "http:")) for address, _ in named):
            self._known[attribute] = found
            if None not in found:
                self._sound.add(attribute)
        return found

    def _routed(self, one: Reference) -> bool:
        """Whether a rule, the fallback or the way to the base path answers; a page is no script and no style sheet."""
        routing = self._routing
        if routing is None:
            return False
        if not one.path and routing.home:
            return True
        leads = next(filter(None, (rule.leads(one.path.strip("/")) for rule in routing.rules)), "")
        if leads.startswith("/") and one.needed:
            path = unquote(urlsplit(leads).path)[1:]
            return path in self._files and not path.lower().endswith(PAGES)
        return bool(leads) or (one.page and bool(routing.fallback) and "." not in posixpath.basename(one.path))

    def _address(self, path: str, address: str, *, page: bool = False) -> Address | None:
        """The site's address that one in a page is: `_ELSEWHERE` where nothing of ours has to answer, None where nothing does."""
        where = _resolved(f"https://{_HOST}/{path}", address, (_HOST, *self._hosts))
        return _ELSEWHERE if where is None else _answering(where, self._files, page=page)


def _needs_parser(text: str) -> bool:
    """Whether only a parser can tell what a page names. One sign is looked for before many: most pages have none of it."""
    return _styled(text) or _spaced(text, _NAMING) or _BASE.search(text) is not None


def _links_oddly(text: str) -> bool:
    """Whether a page has links that `_PART` does not find, or that do not start from the page."""
    return _spaced(text, ("href",)) or _BASE.search(text) is not None


def _spaced(text: str, names: tuple[str, ...]) -> bool:
    """Whether white space could part one of these attributes from its sign. Code within a page is full of other names before such signs."""
    if not any(sign in text for sign in (" =", "\n=", "\t=", "\f=", "\r=")):
        return False
    before = (text[max(0, found.start() - _SPACES) : found.start()].rstrip() for found in _SPACED.finditer(text))
    return any(not one or one.lower().endswith(names) for one in before)


def _styled(text: str) -> bool:
    """Whether a text could name files as style sheets do."""
    return ("(" in text and _URL.search(text) is not None) or ("@" in text and _IMPORT.search(text) is not None)


def _named(link: str, candidates: str, *values: str) -> Iterator[tuple[str, bool]]:
    """The addresses of an attribute, as `_VALUE` finds it, and whether each could be a link."""
    value = unescape(next(filter(None, values), ""))
    if candidates:
        yield from ((address, False) for address in _candidates(value))
    else:
        yield value, bool(link)


def _part(base: str, address: str, hosts: Collection[str]) -> tuple[str, str] | None:
    """The page below the site's root and the part of it that a link leads to; None where it leads to no part of a page of ours."""
    address, _, fragment = address.strip().partition("#")
    fragment = fragment.partition(":~:")[0]
    if not fragment or fragment.lower() == "top" or fragment.startswith(("/", "!")) or _TEMPLATE.search(fragment):
        return None
    where = _resolved(base, address or base, hosts)
    return None if where is None else (where, fragment)


def _quick_ids(text: str) -> set[str]:
    """The ids of a page and its anchors' names, as far as a quick look finds them, and any that scripts or text write like them."""
    text = _OUTSIDE.sub("", text) if "<!--" in text or "<template" in text else text
    return {unescape(next(filter(None, found))) for found in _ID.findall(text)}


def _scripted(routing: Routing, files: Container[str]) -> set[str]:
    """The pages that answer for many addresses, and whose scripts make what they show."""
    rewritten = (address_at(rule.target, files) for rule in routing.rules if rule.is_pattern and rule.status == HTTPStatus.OK)
    return {routing.fallback, *(there.file for there in rewritten if there)}


def _inline(text: str) -> Iterator[str]:
    """The addresses that scripts within a page name."""
    for script in _MODULE.findall(text) if "module" in text else ():
        yield from (one.address for one in _imports(script))
    for row in _FLIGHT.findall(text) if ":I[" in text else ():
        yield from _scripts(row, _NEXT)


def address_of(reference: Reference, files: Container[str]) -> Address | None:
    """The site's address that a reference leads to; None when no file of the site answers there.

    Args:
        reference: what is asked for.
        files: the site's files.
    """
    return _answering(reference.path, files, page=reference.page)


def _answering(path: str, files: Container[str], *, page: bool) -> Address | None:
    if page or path.endswith("/") or not path:
        return address_at(f"/{path}", files)
    return Address(f"/{path}", path) if path in files else None


@dataclass(frozen=True, slots=True)
class _Raw:
    """An address as it is written, and where."""

    address: str
    position: int
    needed: bool
    deferred: bool = False


class _Lines:
    """The line of a position, for positions that rise."""

    def __init__(self, text: str) -> None:
        self._text, self._from, self._line = text, 0, 1

    def at(self, position: int) -> int:
        self._line += self._text.count("\n", self._from, position)
        self._from = max(position, self._from)
        return self._line


_HOST = "site.invalid"
_ELSEWHERE = Address("", "")
_TEMPLATE = re.compile(r"\{\{|<%|\$\{|\{%")
"""What a template has, which no browser ever asks for."""


def _resolved(base: str, address: str, hosts: Collection[str]) -> str | None:
    """The path below the site's root that a browser asks for; None for what is elsewhere or nothing to ask for."""
    address = re.sub(r"[\t\n\r]", "", address.strip()).replace("\\", "/")
    if not address or address.startswith("#") or _TEMPLATE.search(address):
        return None
    try:
        parts = urlsplit(urljoin(base, address))
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or parts.netloc.lower() not in hosts:
        return None
    path = unicodedata.normalize("NFC", unquote(parts.path)).lstrip("/")
    clean = posixpath.normpath(f"/{path}").lstrip("/")
    return f"{clean}/" if path.endswith("/") and clean else clean


# -- pages ------------------------------------------------------------------------------------------------------------------------

# Each begins with a sign of its own, which is twenty times as fast as to look for names.
_VALUE = re.compile(
    r"""=(?:(?<=src=)|(?<=h(r)ef=)|(?<=src(s)et=)|(?<=poster=)|(?<=data=))\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>`]+))""", re.IGNORECASE
)
_PART = re.compile(r"""=(?<=href=)\s*(?:"([^"#]*#[^"]+)"|'([^'#]*#[^']+)'|([^\s"'<>`#]*#[^\s"'<>`]+))""", re.IGNORECASE)
_ID = re.compile(r"""=(?:(?<=\sid=)|(?<=<a\sname=))(?:"([^"]+)"|'([^']+)'|([^\s"'<>`]+))""", re.IGNORECASE)
_OUTSIDE = re.compile(r"<(?:!--.*?-->|template\b.*?</template)", re.DOTALL)
"""What is no part of a page."""
_URL = re.compile(r"\((?<=url\()", re.IGNORECASE)
_IMPORT = re.compile("@import", re.IGNORECASE)
_BASE = re.compile(r"<base\b", re.IGNORECASE)
_MODULE = re.compile(r"<script\b(?![^>]*\bsrc\b)[^>]*\bmodule\b[^>]*>(.*?)</script", re.IGNORECASE | re.DOTALL)
_SPACED = re.compile(r"=(?:(?<=[acfrt]\s=)|(?<=\s\s=))", re.IGNORECASE)
"""A sign behind white space, and behind the last letter of one of the names below or more white space."""
_NAMING = ("src", "href", "srcset", "poster", "data")
_SPACES = 64
"""How much white space before a sign is looked through; more of it could hide a name."""
_REMEMBERED = 50_000
_MOST_IDS = 100_000
"""How many ids of pages are kept, since many pages link the same ones; some 10 MB."""

_SCRIPT_TYPES = frozenset(("", "module", "text/javascript", "application/javascript", "text/ecmascript", "application/ecmascript"))
_SOURCES: dict[str, str] = {
    **dict.fromkeys(("img", "source", "video", "audio", "track", "embed", "iframe", "input"), "src"),
    "object": "data",
    "image": "href",
    "use": "href",
}
_ASKED_FOR = frozenset(("icon", "apple-touch-icon", "mask-icon", "manifest", "preload", "prefetch", "prerender"))
_TEXT_ONLY = frozenset(("textarea", "title", "xmp", "noframes", "noembed"))
_FLIGHT = re.compile(r"""\b[0-9a-f]*:I\[[^\[\]]*,\[([^\[\]]*)\]""")
"""What Next's payload says of a component: which scripts it needs. Whatever else it holds is the page's text."""
_PATH = re.compile(r"""["\\]((?:/[^"\\]*)?(?:_next/)?static/chunks/[^"\\]+)""")
_NEXT = "/_next/"


def _scripts(row: str, prefix: str) -> Iterator[str]:
    """The addresses of the scripts that a row of Next's payload names."""
    for path in _PATH.findall(f'"{row}"'):
        yield path if path.startswith("/") else f"{prefix}{path.removeprefix('_next/')}"


class _Page(HTMLParser):
    """The references of one page."""

    def __init__(self, base: str, hosts: Collection[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Reference] = []
        self.parts: list[Reference] = []
        self.ids: set[str] = set()
        self._base, self._hosts = base, hosts
        self._text_only = ""
        self._templates = 0
        self._raw: tuple[str, str] | None = None
        self._prefix = _NEXT

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        if self._text_only:
            return
        if tag in _TEXT_ONLY:
            self._text_only = tag
            return
        if tag == "template":
            self._templates += 1
        if self._templates:
            return
        values = {name: value or "" for name, value in reversed(attrs)}
        self.ids.update(filter(None, (values.get("id"), values.get("name") if tag == "a" else None)))
        handler = _ELEMENTS.get(tag)
        if handler is not None:
            handler(self, values)
        if tag in _SOURCES:
            lazy = values.get("loading", "").lower() == "lazy"
            self._add(values.get(_SOURCES[tag], "") or values.get("xlink:href", ""), page=tag == "iframe", deferred=lazy)
        for address in _candidates(values.get("srcset", "")):
            self._add(address, deferred=True)
        self._add(values.get("poster", ""))
        if "url(" in values.get("style", ""):
            self._styles(values["style"])
        self._raw = (tag, values.get("type", "").strip().lower()) if tag in ("script", "style") and "src" not in values else None

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """HTML knows no element that closes itself: `<template/>` is open."""
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """The end of an element."""
        if tag == self._text_only:
            self._text_only = ""
        if tag == "template" and self._templates:
            self._templates -= 1
        self._raw = None

    def handle_data(self, data: str) -> None:
        """The text of a script or of a style sheet within the page."""
        if self._raw is None:
            return
        tag, kind = self._raw
        if tag == "style":
            self._styles(data)
        elif kind == "module":
            self._all(_imports(data), data)
        elif ":I[" in data:
            self._flight(data)

    def base(self, values: dict[str, str]) -> None:
        """The first base element counts."""
        if "href" in values and self._base.startswith(f"https://{_HOST}/"):
            self._base = urljoin(self._base, values["href"].strip())

    def anchor(self, values: dict[str, str]) -> None:
        """A link to another page, or to a part of one."""
        if "href" in values and "download" not in values:
            self._add(values["href"], page=True)
            part = _part(self._base, values["href"], self._hosts)
            if part is not None:
                self.parts.append(Reference(part[0], self.getpos()[0], page=True, fragment=part[1]))

    def link(self, values: dict[str, str]) -> None:
        """A style sheet, a module to load ahead, an icon and the like; not what only names an address."""
        kinds = frozenset(values.get("rel", "").lower().split())
        needed = "modulepreload" in kinds or ("stylesheet" in kinds and "alternate" not in kinds)
        if needed or kinds & _ASKED_FOR:
            page = not needed and bool(kinds & {"prefetch", "prerender"})
            self._add(values.get("href", ""), needed=needed, page=page, deferred=not needed and "preload" not in kinds)
            for address in _candidates(values.get("imagesrcset", "")):
                self._add(address, deferred=True)

    def script(self, values: dict[str, str]) -> None:
        """A script of a kind that browsers run."""
        source = values.get("src", "")
        if source and values.get("type", "").strip().lower() in _SCRIPT_TYPES:
            self._add(source, needed=True, deferred="nomodule" in values)
            if "/_next/static/" in source:
                self._prefix = source.partition("static/")[0]

    def _add(self, address: str, *, needed: bool = False, page: bool = False, deferred: bool = False, line: int = 0) -> None:
        where = _resolved(self._base, address, self._hosts)
        if where is not None:
            self.found.append(Reference(where, line or self.getpos()[0], needed, page, deferred=deferred))

    def _all(self, raw: Iterable[_Raw], text: str) -> None:
        lines, first = _Lines(text), self.getpos()[0] - 1
        for one in raw:
            self._add(one.address, needed=one.needed, deferred=one.deferred, line=first + lines.at(one.position))

    def _styles(self, text: str) -> None:
        self._all(_styles(text), text)

    def _flight(self, text: str) -> None:
        """Scripts that Next loads for this page's components, at the address that its own scripts come from."""
        first, lines = self.getpos()[0] - 1, _Lines(text)
        for row in _FLIGHT.finditer(text):
            for address in _scripts(row[1], self._prefix):
                self._add(address, needed=True, line=first + lines.at(row.start()))


_ELEMENTS: dict[str, Callable[[_Page, dict[str, str]], None]] = {
    "a": _Page.anchor,
    "area": _Page.anchor,
    "base": _Page.base,
    "link": _Page.link,
    "script": _Page.script,
}


_CANDIDATE = re.compile(r"[\s,]*(?:([^\s,]\S*?),+(?=\s|$)|([^\s,]\S*)(?:[^,(]|\([^)]*\))*)")


def _candidates(value: str) -> Iterator[str]:
    """The addresses of a `srcset`: each ends at white space, or at a comma before white space."""
    return (found[1] or found[2] for found in _CANDIDATE.finditer(value))


# -- style sheets, manifests ------------------------------------------------------------------------------------------------------

_ADDRESS = r"""(?:"([^"]*)"|'([^']*)'|([^)"'\s;]*))"""
_STYLE = re.compile(
    rf"""/\*.*?\*/|(@import)\s+(?:url\(\s*)?{_ADDRESS}|url\(\s*{_ADDRESS}\s*\)|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""",
    re.DOTALL | re.IGNORECASE,
)


def _styles(text: str) -> Iterator[_Raw]:
    for found in _STYLE.finditer(text) if _styled(text) else ():
        sheet, *addresses = found.groups()
        address = next(filter(None, addresses), "")
        if address:
            yield _Raw(address, found.start(), needed=bool(sheet))


def _manifest(text: str) -> Iterator[_Raw]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(content, dict):
        return
    shortcuts = [one for one in content.get("shortcuts") or [] if isinstance(one, dict)]
    groups = [content.get("icons"), content.get("screenshots"), *(one.get("icons") for one in shortcuts)]
    for one in (one for group in groups if isinstance(group, list) for one in group):
        source = one.get("src") if isinstance(one, dict) else None
        if isinstance(source, str):
            yield _Raw(source, max(text.find(f'"{source}"'), 0), needed=False)


# -- scripts ----------------------------------------------------------------------------------------------------------------------

_CODE = r"""//[^\n\u2028\u2029]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`|/|(?<![\w$.#])(?:import|export)(?![\w$])"""
_TOKEN = re.compile(_CODE, re.DOTALL)
_TOKEN_OR_BRACE = re.compile(rf"{_CODE}|[{{}}]", re.DOTALL)
_TEMPLATE_TEXT = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(`|\$\{|\Z)", re.DOTALL)
_REGEX = re.compile(r"/(?![*/])(?:[^\\/\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*")
_BEFORE = re.compile(r"(?:^|[^\w$.])(return|typeof|case|in|of|delete|void|throw|new|else|do|await|yield|instanceof)\s*$")
_GAP = r"(?:\s|/\*.*?\*/)*"
_QUOTED = r"""(?:"([^"\\\n]+)"|'([^'\\\n]+)')"""
_DYNAMIC = re.compile(rf"""import{_GAP}\({_GAP}(?:{_QUOTED}|`([^`\\$\n]+)`){_GAP}[,)]""", re.DOTALL)
_STATIC = re.compile(
    rf"""(?:import{_GAP}(?:[\w$*{{][^"'`;()=]*?\bfrom{_GAP}|[\w$*{{][^"'`;()=]*?\}}{_GAP}from{_GAP})?|"""
    rf"""export{_GAP}(?:\*[^"'`;(){{]*?|\{{[^}}"'`]*\}}{_GAP})from{_GAP}){_QUOTED}""",
    re.DOTALL,
)
_QUOTED_PATH = re.compile(r"""["'`](\.{0,2}/[^"'`\s$]+)["'`]""")
_OWN_ADDRESS = re.compile(r"""new\s+URL\(\s*(["'`])([^"'`\\$\n]+)\1\s*,\s*$""")


def _imports(text: str) -> Iterator[_Raw]:
    """The modules that a script imports, and the files that it finds by its own address; bare names are for import maps."""
    if "import" not in text and "export" not in text:
        return iter(())
    return (one for one in _keywords(text) if one.address.startswith(("./", "../", "/", "http:", "https:")) or not one.needed)


def _keywords(text: str) -> Iterator[_Raw]:
    """Walk over a script's signs as far as strings, comments, templates and regular expressions have to be told from code."""
    position, depths = 0, list[int]()
    while found := (_TOKEN_OR_BRACE if depths else _TOKEN).search(text, position):
        sign, position = found[0], found.end()
        if sign == "`":
            position = _after_template(text, position, depths)
        elif sign == "/":
            position = _after_slash(text, found.start())
        elif sign == "{":
            depths[-1] += 1
        elif sign == "}":
            depths[-1] -= 1
            if depths[-1] < 0:
                depths.pop()
                position = _after_template(text, position, depths)
        elif sign in ("import", "export"):
            yield from _imported(text, found.start())


def _after_template(text: str, position: int, depths: list[int]) -> int:
    found = _TEMPLATE_TEXT.match(text, position)
    if found is None:
        return len(text)
    if found[1] == "${":
        depths.append(0)
    return found.end()


def _after_slash(text: str, start: int) -> int:
    """The end of a regular expression, or of the sign of a division."""
    before = text[max(0, start - 40) : start].rstrip()
    divides = bool(before) and (before[-1].isalnum() or before[-1] in "_$)]}\"'`") and not _BEFORE.search(before)
    found = None if divides else _REGEX.match(text, start)
    return found.end() if found else start + 1


def _imported(text: str, start: int) -> Iterator[_Raw]:
    dynamic = _DYNAMIC.match(text, start)
    found = dynamic or _STATIC.match(text, start)
    if found:
        yield _Raw(next(filter(None, found.groups())), start, needed=True, deferred=dynamic is not None)
    elif text.startswith("import.meta.url", start):
        own = _OWN_ADDRESS.search(text, max(0, start - 400), start)
        if own:
            yield _Raw(own[2], start, needed=False, deferred=True)
