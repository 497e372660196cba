"""What pages weigh, compared with `site.budgets`: the bytes that a browser fetches to show one, as Lighthouse's `resourceSizes`. Pure.

A page weighs what it names and what its styles and scripts name in turn: itself, scripts and the modules that they import, styles,
pictures, fonts. Not counted is what need not be fetched (`import()`, prefetched pages, lazy pictures, candidates of `srcset`, icons), what
other hosts serve, and what frames hold. All fonts and pictures that a style names are counted, though a page need not use them.

Source: Lighthouse, "Performance Budgets (budget.json)" (types, KiB, transfer size, the last budget that matches); RFC 9309, 2.2.2 and 2.2.3
(the form of a path); CloudFront Developer Guide, "Serve compressed files" (what is compressed).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from amianai_infra.rules.addresses import canonical
from amianai_infra.site.references import PAGES, SCRIPTS, STYLES, address_of, is_read, references, text_of
from amianai_infra.site.tree import File

KIB = 1024
TOTAL = "total"
_NAMED = 3
_TYPES = {
    "text/html": "document",
    "application/xhtml+xml": "document",
    "text/css": "stylesheet",
    "text/javascript": "script",
    "application/javascript": "script",
}
_GROUPS = {"image": "image", "font": "font", "audio": "media", "video": "media"}
# Whatever is text, and of the rest those of CloudFront's list that sites have.
_COMPRESSED = re.compile(
    r"text/|application/(?:javascript|json|pdf|wasm|xml|(?:rss|xhtml)\+xml|vnd\.ms-fontobject)|font/(?:otf|ttf)|image/(?:bmp|svg\+xml)"
)
_SMALLEST, _LARGEST = 1_000, 10_000_000
"""Bytes between which CloudFront compresses."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget.

    Attributes:
        path: the pages that it is for, in the form of robots.txt.
        kind: Lighthouse's `resourceType`.
        kib: the most that these may weigh, in KiB.
    """

    path: str
    kind: str
    kib: int

    @classmethod
    def of(cls, line: str) -> Budget:
        """A line of `site.budgets`, whose form the settings have checked."""
        path, kind, kib = line.split()
        return cls(path, kind, int(kib))

    def holds(self, address: str) -> bool:
        """Whether it is for a page: its address begins so; `*` is anything, a final `$` the end."""
        form = ".*".join(map(re.escape, self.path.removesuffix("$").split("*")))
        return (re.fullmatch if self.path.endswith("$") else re.match)(form, address) is not None


@dataclass(frozen=True)
class Excess:
    """A page over its budget.

    Attributes:
        address: the page.
        budget: the one that holds.
        size: what it weighs, in bytes.
        files: what makes that up, the largest first: path and bytes.
    """

    address: str
    budget: Budget
    size: int
    files: Sequence[tuple[str, int]]

    @property
    def told(self) -> str:
        """What is said of it, which many pages have in common."""
        largest = [f"{path} {_kib(size)}" for path, size in self.files[:_NAMED]]
        more = ["…"] if len(self.files) > _NAMED else []
        return f"{self.budget.kind} {_kib(self.size)} KiB of {self.budget.kib}: {', '.join([*largest, *more])}"


def told(found: Iterable[Excess]) -> list[str]:
    """What is said of pages over their budgets, in one line where it is the same."""
    pages: dict[str, list[str]] = {}
    for one in found:
        pages.setdefault(one.told, []).append(one.address)
    return [f"{of[0]}{f' and {len(of) - 1} more' if len(of) > 1 else ''}: {text}" for text, of in pages.items()]


def exceeded(files: Sequence[File], lines: Iterable[str], hosts: Collection[str], read: Callable[[File], bytes]) -> list[Excess]:
    """The pages over their budgets, the furthest first.

    Args:
        files: those of a release.
        lines: of `site.budgets`.
        hosts: the site's own host names.
        read: gives a file's content.
    """
    budgets = [Budget.of(line) for line in lines]
    site = _Site({file.path: file for file in files}, hosts, read)
    found = [one for file in files if file.path.lower().endswith(PAGES) for one in site.over(file, budgets)]
    return sorted(found, key=lambda one: (one.budget.kib * KIB - one.size, one.address))


class _Site:
    def __init__(self, files: dict[str, File], hosts: Collection[str], read: Callable[[File], bytes]) -> None:
        self._files = files
        self._hosts = hosts
        self._read = read
        self._known: dict[str, tuple[int, frozenset[str]]] = {}

    def over(self, page: File, budgets: Iterable[Budget]) -> Iterator[Excess]:
        address = canonical(page.path, self._files)
        limits = {one.kind: one for one in budgets if one.holds(address)}
        if not limits:
            return
        weights = self._weights(page)
        for kind, budget in limits.items():
            parts = [(path, size) for path, size in weights.items() if kind in (TOTAL, _kind(self._files[path].content_type))]
            size = sum(size for _, size in parts)
            if size > budget.kib * KIB:
                yield Excess(address, budget, size, sorted(parts, key=lambda part: (-part[1], part[0])))

    def _weights(self, page: File) -> dict[str, int]:
        """The bytes of everything that a page loads, by path."""
        size, waiting = self._looked_at(page)
        found = {page.path: size}
        left = list(waiting)
        while left:
            path = left.pop()
            if path not in found:
                if path not in self._known:
                    self._known[path] = self._looked_at(self._files[path])
                found[path], more = self._known[path]
                left += more
        return found

    def _looked_at(self, file: File) -> tuple[int, frozenset[str]]:
        """A file's bytes on their way, and the files that it loads."""
        leads = file.path.lower().endswith((*PAGES, *SCRIPTS, *STYLES)) and is_read(file.path, file.size, file.headers)
        packed = _is_compressed(file)
        if not (leads or packed):
            return file.size, frozenset()
        data = self._read(file)
        size = min(len(data), len(zlib.compress(data, wbits=31))) if packed else len(data)
        named = references(file.path, text_of(data, file.content_type), self._hosts) if leads else []
        there = (address_of(one, self._files) for one in named if not (one.page or one.deferred))
        return size, frozenset(one.file for one in there if one)


def _kind(content_type: str) -> str:
    plain = content_type.partition(";")[0]
    return _TYPES.get(plain) or _GROUPS.get(plain.partition("/")[0], "other")


def _is_compressed(file: File) -> bool:
    """Whether the CDN compresses a file on its way: with Brotli for most browsers, which makes it smaller than gzip, which measures it."""
    encoded = "content-encoding" in dict(file.headers)
    return not encoded and _SMALLEST <= file.size <= _LARGEST and _COMPRESSED.match(file.content_type) is not None


def _kib(size: int) -> str:
    return f"{size / KIB:.1f}"
