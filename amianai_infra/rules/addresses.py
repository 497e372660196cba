"""Which address answers with which file of a site, and which leads to another: the one model of a site's addresses. Pure.

The viewer function's data, a release's verification and what it tells the CDN to forget all follow from this.

* `about/index.html` is the page /about/, and /about leads there: relative links in it start from its folder.
* `about.html` is the page /about, and /about/ leads there.
* Where both are there, each answers under its own address. A file called `about` keeps /about.
* Every file answers under its own path, too: search engines ask for `google1234.html` as it was named.
* `404.html` is no page of its own: it answers, with status 404, for what is missing in its folder and below.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote

INDEX = "index.html"
MISSING = "404.html"
_PAGE = ".html"


class Form(StrEnum):
    """What an address without its final slash, and with it, answers with."""

    FOLDER = "d"
    """/about leads to /about/, which is about/index.html."""
    FLAT = "f"
    """/about is about.html; /about/ leads to /about."""
    BOTH = "b"
    """/about is about.html, /about/ is about/index.html."""
    BESIDE = "x"
    """/about is the file about, /about/ is about/index.html."""
    FILE = "a"
    """The file of that name."""
    RULE = "r"
    """A rule of the site's `_redirects` decides."""


class Address(NamedTuple):
    """One address of a site.

    Attributes:
        path: percent-decoded, from its slash.
        file: the file that it answers with; of a redirect the one that it leads to.
        leads_to: where a permanent redirect leads; empty where the file is answered.
    """

    path: str
    file: str
    leads_to: str = ""


def forms(files: Collection[str]) -> dict[str, Form]:
    """The form of every page, by its address without slashes around it."""
    found: dict[str, Form] = {}
    for path in files:
        if path.endswith(f"/{INDEX}"):
            base = path[: -len(INDEX) - 1]
            found[base] = Form.BESIDE if base in files else Form.BOTH if _flat(base, files) else Form.FOLDER
        elif path.endswith(_PAGE) and not _special(path):
            base = path[: -len(_PAGE)]
            if base not in files and f"{base}/{INDEX}" not in files:
                found[base] = Form.FLAT
    return found


def _special(path: str) -> bool:
    """Whether a file's name is no address without its ending: `index.html`, `404.html` and a bare `.html`."""
    return path.rpartition("/")[2] in (INDEX, MISSING, _PAGE)


def _flat(base: str, files: Container[str]) -> bool:
    return f"{base}{_PAGE}" in files and not _special(f"{base}{_PAGE}")


def canonical(path: str, files: Container[str]) -> str:
    """The address under which pages link a file."""
    if path == INDEX:
        return "/"
    if path.endswith(f"/{INDEX}"):
        return f"/{path[: -len(INDEX)]}"
    if path.endswith(_PAGE) and not _special(path) and path[: -len(_PAGE)] not in files:
        return f"/{path[: -len(_PAGE)]}"
    return f"/{path}"


def addresses_of(path: str, files: Container[str]) -> Iterator[Address]:
    """Every address of one file of a site: the one that pages link, what leads there, and its own path where that is another.

    Args:
        path: the file.
        files: all files of the site.
    """
    shown = canonical(path, files)
    yield Address(shown, path)
    base = shown.strip("/")
    if path.endswith(f"/{INDEX}"):
        if base not in files and not _flat(base, files):
            yield Address(f"/{base}", path, shown)
    elif shown != f"/{path}" and f"{base}/{INDEX}" not in files and base:
        yield Address(f"/{base}/", path, shown)
    if shown != f"/{path}":
        yield Address(f"/{path}", path)


def address_at(path: str, files: Container[str]) -> Address | None:
    """The address of the model that a path is; None where no file of the site answers there.

    Args:
        path: percent-decoded, from its slash.
        files: all files of the site.
    """
    base = path.strip("/")
    candidates = (base, f"{base}{_PAGE}", f"{base}/{INDEX}" if base else INDEX)
    answers = (one for file in candidates if file in files for one in addresses_of(file, files))
    return next((one for one in answers if one.path == path), None)


def encoded(path: str) -> str:
    """An address as it is asked for: percent-encoded where it has to be."""
    return quote(path, safe="/!$&'()*+,;=:@-._~")
