"""The scripts that stand within a page, as its Content-Security-Policy has to name them, and what scripts need of one. Pure.

A script counts by the SHA-256 of its text as a browser reads it: decoded, with line feeds alone. So do handlers in attributes and
`javascript:` addresses, which `'unsafe-hashes'` lets in. A hash too many lets in what the site's own page says; one too few breaks
the page: what cannot be read for certain keeps `'unsafe-inline'`.

Source: W3C "Content Security Policy Level 3" ("Does element match source list for type and source?", `unsafe-hashes`,
`wasm-unsafe-eval`), WHATWG HTML ("Parsing HTML documents": comments, raw text, "script data double escaped state"; "Prepare the script
element").
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple
from urllib.parse import quote

from amianai_infra.rules.headers import ANY_INLINE, BLOB_WORKERS, HASHED_ATTRIBUTES, NOTHING, WEB_ASSEMBLY

LARGEST = 2000
"""Bytes of a page's words: S3 keeps 2 KB of metadata with an object, names included. A hash takes 44."""

# A browser puts the parts of another page into the open one, scripts included, whose hashes the open page's policy does not have.
_EXCHANGING = (b"astro:before-swap", b"turbo:before-render", b"htmx:beforeSwap", b"swup:visit", b"up:fragment:", b"pjax:")
_COMPILES = rb"\bWebAssembly\s*\.\s*(?:instantiate|compile|Module)"
_WORKER = rb"\bnew\s+(?:Shared)?Worker\s*\("

_ATTRIBUTES = rb"""((?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?+)*+)"""
_TAG = re.compile(rb"<([a-zA-Z][^\s/>]*+)" + _ATTRIBUTES + rb">")
_ENDS = re.compile(rb"--!?>")
_RAW = frozenset((b"script", b"style", b"textarea", b"title", b"xmp", b"iframe", b"noembed", b"noframes", b"noscript"))
_ATTRIBUTE = re.compile(rb"""([^\s"'>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?""")
_HANDLER = re.compile(rb"""on(?<=[\s"'/]on)[a-z]{3,}+\s*=""")
_RUN = re.compile(r"(?:.*(?:java|ecma|j|live)script.*|module|importmap|speculationrules|)", re.IGNORECASE | re.DOTALL)
"""Types that a policy holds for; any other type is data."""
_QUEUED = rb"(?s)__next_s\s*=.*?\.push\((\[.*\])\)\s*;?\s*"
"""Scripts that Next.js makes at run time of what stands in the page."""


class UncertainError(Exception):
    """What a browser would run cannot be told."""


def words(data: bytes, charset: str = "") -> tuple[str, str]:
    """What a page's policy has to allow of the scripts within it, and what these need of every policy of the release.

    Both are words: hashes without their `=`, and the letters of `rules/headers.py`.

    Args:
        data: the page.
        charset: its encoding, as its answer declares it; empty where it declares none.
    """
    try:
        page, known = _utf8(data, charset)
        scripts = list(dict.fromkeys(_scripts(page)))
        attributes = list(dict.fromkeys(_attributes(page)))
    except UncertainError:
        return ANY_INLINE, needed_by(data)
    needs = needed_by(b"\n".join(scripts)) if scripts else ""
    if not known and not all(map(bytes.isascii, (*scripts, *attributes))):
        return ANY_INLINE, needs
    named = [*([HASHED_ATTRIBUTES] if attributes else []), *dict.fromkeys(map(_hash, (*scripts, *attributes)))]
    return " ".join(named) or NOTHING, needs


def merged(own: str, release: str) -> str:
    """A page's words with those of its release; no hashes where any script is let in, since browsers would heed the hashes alone."""
    named = list(dict.fromkeys(f"{own} {release}".split()))
    if ANY_INLINE in named or len(" ".join(named)) > LARGEST:
        named = [ANY_INLINE, *(word for word in named if word in (WEB_ASSEMBLY, BLOB_WORKERS))]
    return " ".join(word for word in named if word != NOTHING) or NOTHING


def needed_by(script: bytes) -> str:
    """What the policies of a release have to allow for a script of it: letters of `headers`."""
    found = WEB_ASSEMBLY if b"WebAssembly" in script and re.search(_COMPILES, script) else ""
    if b"Worker" in script and b"createObjectURL" in script and re.search(_WORKER, script):
        found += BLOB_WORKERS
    return f"{found}{ANY_INLINE}" if any(mark in script for mark in _EXCHANGING) else found


def _utf8(data: bytes, charset: str) -> tuple[bytes, bool]:
    """The page as a browser reads it, in UTF-8, and whether that is certain beyond ASCII."""
    name = charset.lower() or "utf-8"
    known = True
    if not data.isascii() and name != "utf-8":
        try:
            data = codecs.decode(data, "cp1252" if name in ("iso-8859-1", "latin1", "us-ascii") else name).encode()
        except (LookupError, ValueError):
            known = False
    elif not charset:
        known = data.isascii()
    return (data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data), known


def _hash(script: bytes) -> str:
    return b64encode(hashlib.sha256(script).digest()).decode().rstrip("=")


def _scripts(page: bytes) -> Iterator[bytes]:
    """The text of every script that a browser could run."""
    for attributes, script in _elements(page):
        given = values(attributes) if attributes.strip() else {}
        if script and "src" not in given and _RUN.fullmatch(given.get("type", "").strip()):
            yield script
            if b"__next_s" in script:
                yield from _queued(script)


def _elements(page: bytes) -> list[tuple[bytes, bytes]]:
    """Attributes and text of the script elements. Where `<script` stands for nothing else, as in most pages, looking for it is enough."""
    low, position = page.lower(), 0
    found: list[tuple[bytes, bytes]] = []
    while (start := low.find(b"<script", position)) >= 0:
        tag = _TAG.match(page, start)
        if tag is None or tag[1].lower() != b"script":
            return [(one.attributes, one.body) for one in elements(page) if one.name == b"script"]
        position = low.find(b"</script", tag.end())
        if position < 0 or low.find(b"<script", tag.end(), position) >= 0:
            return [(one.attributes, one.body) for one in elements(page) if one.name == b"script"]
        found.append((tag[2], page[tag.end() : position]))
    return found


class Element(NamedTuple):
    """A start tag.

    Attributes:
        position: where it begins.
        name: in lower case.
        attributes: as they are written; see `values`.
        body: the text of an element that holds no other, such as a script.
    """

    position: int
    name: bytes
    attributes: bytes
    body: bytes


def elements(page: bytes) -> Iterator[Element]:
    """The elements of a page, in order; none within comments and texts.

    Raises:
        UncertainError: what a browser would make of it cannot be told.
    """
    low, position = page.lower(), 0
    while (start := low.find(b"<", position)) >= 0:
        if low.startswith(b"<!--", start):
            ends = _ENDS.search(page, start + 2)
            position = ends.end() if ends else len(page)
        elif not low[start + 1 : start + 2].isalpha():
            position = start + 1
        else:
            tag = _TAG.match(page, start)
            if tag is None:
                raise UncertainError
            name, position = tag[1].lower(), tag.end()
            body = b""
            if name in _RAW:
                end = low.find(b"</" + name, position)
                if end < 0 and name == b"script":
                    return  # its text is the rest of the page, which no browser runs
                end = end if end >= 0 else len(page)
                body, position = _raw(page, low, name, position, end), end
            yield Element(start, name, tag[2], body)


def _raw(page: bytes, low: bytes, name: bytes, start: int, end: int) -> bytes:
    """The text of an element that holds no other."""
    opened = page.rfind(b"<!--", start, end) if name == b"script" else -1
    if opened >= 0 and low.find(b"<script", opened, end) >= 0:
        raise UncertainError  # "double escaped": what ends it depends on what it holds
    return page[start:end]


def values(attributes: bytes) -> dict[str, str]:
    """The attributes of an element by lower-case name; the first of several counts."""
    found = reversed(_ATTRIBUTE.findall(attributes))
    return {
        name.decode("utf-8", "replace").lower(): unescape((double or single or bare).decode("utf-8", "replace"))
        for name, double, single, bare in found
    }


def _attributes(page: bytes) -> Iterator[bytes]:
    """What attributes run: handlers, `javascript:` addresses, and the scripts of a page within the page."""
    low = page.lower()
    if not (b"javascript:" in low or b"srcdoc" in low or _HANDLER.search(low)):
        return
    for one in elements(page):
        for name, value in values(one.attributes).items() if b"=" in one.attributes else ():
            if name.startswith("on"):
                yield value.encode()
            elif name == "srcdoc":
                yield from _scripts(value.encode())
                yield from _attributes(value.encode())
            elif ":" in value:
                address = re.sub(r"[\t\n]", "", value.strip("".join(map(chr, range(33)))))
                if address[:11].lower() == "javascript:":
                    yield f"javascript:{quote(address[11:], safe=_PRINTABLE)}".encode()


_PRINTABLE = "".join(map(chr, range(32, 127)))
"""What an address keeps as it is behind its scheme, which is no path."""


def _queued(script: bytes) -> Iterator[bytes]:
    found = re.search(_QUEUED, script)
    try:
        _, made = json.loads(found[1]) if found else (None, None)
    except (ValueError, TypeError):
        return
    if isinstance(made, dict):
        html = made.get("dangerouslySetInnerHTML")
        texts = (made.get("children"), html.get("__html") if isinstance(html, dict) else None)
        yield from (text.encode() for text in texts if isinstance(text, str) and text)
