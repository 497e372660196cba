"""What pages load from other places and the Content-Security-Policy refuses: a browser blocks it and tells its console alone. Pure.

Only what is certain: elements and their attributes, style sheets, and calls of scripts with a literal address. What a script makes up
at run time is seen by nobody before it runs.

Source: W3C "Content Security Policy Level 3" ("Fetch directives", "Does url match expression"); WHATWG HTML and CSS Fonts 4 for what is
fetched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from amianai_infra.rules.inline_scripts import Element, UncertainError, elements, values

READ = (".html", ".htm", ".xhtml", ".css", ".js", ".mjs")
"""Names of the files that are looked at end in one of these."""
_FALLBACK = {
    "worker-src": ("child-src", "script-src", "default-src"),
    "frame-src": ("child-src", "default-src"),
    "form-action": (),
    "base-uri": (),
}
_ELEMENTS = {
    "script": ("src", "script-src"),
    "img": ("src", "img-src"),
    "video": ("src", "media-src"),
    "audio": ("src", "media-src"),
    "source": ("src", "media-src"),
    "track": ("src", "media-src"),
    "iframe": ("src", "frame-src"),
    "frame": ("src", "frame-src"),
    "embed": ("src", "object-src"),
    "object": ("data", "object-src"),
    "form": ("action", "form-action"),
    "button": ("formaction", "form-action"),
    "image": ("href", "img-src"),
    "base": ("href", "base-uri"),
}
_LINKS = {
    "stylesheet": "style-src",
    "icon": "img-src",
    "apple-touch-icon": "img-src",
    "mask-icon": "img-src",
    "modulepreload": "script-src",
    "manifest": "manifest-src",
}
_PRELOADED = {
    "script": "script-src",
    "style": "style-src",
    "font": "font-src",
    "image": "img-src",
    "fetch": "connect-src",
    "audio": "media-src",
    "video": "media-src",
}
_FONTS = ("fonts.gstatic.com", "use.typekit.net", "fonts.bunny.net")
"""Hosts that a page opens a connection to for fonts, which a style sheet of theirs names: nothing of ours does."""
_CALLS = re.compile(
    r"""(?<![\w$.])(?:(?:window|globalThis|self)\.)?(?:fetch|new\s+(?:WebSocket|EventSource)|navigator\.sendBeacon)\(\s*"""
    r"""(?:"((?:https?|wss?)://[^"'`\\\s]+)"|'((?:https?|wss?)://[^"'`\\\s]+)'|`((?:https?|wss?)://[^"'`\\\s$]+))"""
)
_IMPORTS = re.compile(r"""(?<![\w$.])(?:import\s*\(\s*|from\s*|import\s*)["'](https://[^"'\\\s]+)["']""")
_CSS = re.compile(
    r"""/\*.*?\*/|(@font-face)\s*\{|(\})|(@import)\s+(?:url\(\s*)?["']?([^"')\s;]+)|url\(\s*["']?([^"')\s]+)""", re.DOTALL | re.IGNORECASE
)
_CANDIDATE = re.compile(r"[\s,]*([^\s,]\S*)(?:[^,(]|\([^)]*\))*")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Something that a file loads from elsewhere.

    Attributes:
        directive: which part of a policy decides.
        address: where it is.
        line: where it is written, from 1.
        hint: whether a connection is opened ahead, for whatever else allows the host.
    """

    directive: str
    address: str
    line: int
    hint: bool = False


def loaded(path: str, text: str) -> list[Loaded]:
    """What a file loads from other hosts, in order.

    Args:
        path: the file, whose name says what it is.
        text: its content.
    """
    if "//" not in text:
        return []
    name = path.lower()
    if name.endswith(".css"):
        return list(_styles(text, 1))
    if name.endswith((".js", ".mjs")):
        return list(_calls(text, 1))
    return list(_page(text))


def origin_of(address: str) -> str:
    """Scheme, host and port as a policy names them."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def refused(one: Loaded, policy: str, hosts: Collection[str]) -> bool:
    """Whether a policy keeps a browser from loading it.

    Args:
        one: what is loaded.
        policy: the Content-Security-Policy.
        hosts: the site's own host names.
    """
    directives: dict[str, list[str]] = {}
    for part in policy.split(";"):
        words = part.split()
        if words:
            directives.setdefault(words[0].lower(), words[1:])
    if one.hint and any(_matches(source, one.address, hosts) for allowed in directives.values() for source in allowed):
        return False
    names = (one.directive, *_FALLBACK.get(one.directive, ("default-src",)))
    allowed = next((directives[name] for name in names if name in directives), None)
    return allowed is not None and not any(_matches(source, one.address, hosts) for source in allowed)


def _matches(source: str, address: str, hosts: Collection[str]) -> bool:
    parts = urlsplit(address)
    host, scheme = (parts.hostname or "").lower(), parts.scheme
    if source.lower() == "'self'":
        return host in hosts
    if source == "*" or source.lower() == f"{scheme}:":
        return True
    found = re.fullmatch(r"(?:([a-z][a-z0-9+.-]*)://)?(\*\.)?([^/:*]+|\[[^\]]+\])(?::(\d+|\*))?(/[^?#]*)?", source, re.IGNORECASE)
    if found is None or source.startswith("'"):
        return False
    wanted, below, name, port, path = found.groups()
    upgraded = {"http": ("http", "https"), "ws": ("ws", "wss")}
    right = not wanted or scheme in upgraded.get(wanted.lower(), (wanted.lower(),))
    right = right and (host.endswith(f".{name.lower()}") if below else host == name.lower())
    standard = {"http": 80, "ws": 80}.get(scheme, 443)
    right = right and (port == "*" or (parts.port or standard) == int(port or standard))
    if not path or path == "/":
        return right
    return right and (parts.path.startswith(path) if path.endswith("/") else parts.path == path)


def setting(found: Iterable[tuple[str, str]], policy: str, sources: Sequence[str] | None) -> str:
    """The setting that allows directives and origins: its dotted name and value.

    Args:
        found: directives and origins.
        policy: the one in force.
        sources: what `site.csp_sources` allows already; None where the policy is the user's own.
    """
    wanted: dict[str, list[str]] = {}
    for directive, origin in found:
        wanted.setdefault(directive, []).append(origin)
    if sources is not None and not wanted.keys() & {"object-src", "base-uri"}:
        lines = [f"{directive} {' '.join(dict.fromkeys(origins))}" for directive, origins in wanted.items()]
        return f"site.csp_sources={','.join((*sources, *lines))}"
    parts = [part.split() for part in policy.split(";") if part.strip()]
    known = {words[0]: words for words in parts}
    for directive, origins in wanted.items():
        if directive not in known:
            base = next((known[name] for name in _FALLBACK.get(directive, ("default-src",)) if name in known), ["", "'self'"])
            known[directive] = [directive, *base[1:]]
            parts.append(known[directive])
        kept = [word for word in known[directive] if word != "'none'"]
        known[directive][:] = dict.fromkeys((*kept, *origins))
    return f"site.content_security_policy={'; '.join(' '.join(words) for words in parts)}"


def _styles(text: str, first: int) -> Iterator[Loaded]:
    font = False
    line, seen = first, 0
    for found in _CSS.finditer(text):
        face, closed, sheet, imported, address = found.groups()
        font = bool(face) or (font and not closed)
        named = imported or address
        if named and _elsewhere(named):
            line, seen = line + text.count("\n", seen, found.start()), found.start()
            yield Loaded("style-src" if sheet else "font-src" if font else "img-src", _full(named), line)


def _calls(text: str, first: int) -> Iterator[Loaded]:
    for directive, pattern in (("connect-src", _CALLS), ("script-src", _IMPORTS)):
        for found in pattern.finditer(text):
            address = next(filter(None, found.groups()))
            yield Loaded(directive, address, first + text.count("\n", 0, found.start()))


def _elsewhere(address: str) -> bool:
    return address.strip().lower().startswith(("https://", "http://", "//", "wss://", "ws://")) and bool(_host(address))


def _host(address: str) -> str:
    try:
        return urlsplit(_full(address)).hostname or ""
    except ValueError:
        return ""


def _full(address: str) -> str:
    return urljoin("https://site.invalid/", address.strip())


def _page(text: str) -> Iterator[Loaded]:
    """What a page loads; what a browser would make of a broken page is not guessed at."""
    data = text.encode()
    line, seen = 1, 0
    try:
        for one in elements(data):
            if b"//" not in one.attributes and b"//" not in one.body:
                continue
            line, seen = line + data.count(b"\n", seen, one.position), one.position
            yield from _element(one, line)
    except UncertainError:
        return


def _element(one: Element, line: int) -> Iterator[Loaded]:
    tag, given = one.name.decode("utf-8", "replace"), values(one.attributes)
    for directive, address in _named(tag, given):
        if directive and _elsewhere(address):
            hint = "preconnect" in given.get("rel", "").lower().split()
            yield Loaded(directive, _full(address), line, hint)
    if "url(" in given.get("style", ""):
        yield from _styles(given["style"], line)
    if one.body and "src" not in given and "json" not in given.get("type", ""):
        first = line + one.attributes.count(b"\n")
        body = one.body.decode("utf-8", "replace")
        yield from _styles(body, first) if tag == "style" else _calls(body, first) if tag == "script" else ()


def _named(tag: str, given: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Directives and addresses of an element's attributes."""
    if tag in _ELEMENTS:
        attribute, directive = _ELEMENTS[tag]
        yield directive, given.get(attribute, "") or (given.get("xlink:href", "") if tag == "image" else "")
    if tag == "input":
        yield "form-action", given.get("formaction", "")
        yield "img-src", given.get("src", "")
    if tag == "link":
        yield from _link(given)
    yield from (("img-src", found[1].rstrip(",")) for found in _CANDIDATE.finditer(given.get("srcset", "")))
    yield "img-src", given.get("poster", "")


def _link(given: dict[str, str]) -> Iterator[tuple[str, str]]:
    address = given.get("href", "")
    for kind in given.get("rel", "").lower().split():
        if kind in _LINKS:
            yield _LINKS[kind], address
        elif kind in ("preload", "prefetch"):
            yield _PRELOADED.get(given.get("as", ""), ""), address
        elif kind == "preconnect":
            yield "font-src" if _host(address) in _FONTS else "connect-src", address
