"""What two releases differ in: pages and assets, their sizes and growth. Pure.

An asset whose name carries a hash of its content has another name after every change; it is the same asset all the same, and is matched
by its name without the hash. Only what is served as immutable has such a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from amianai_infra import printing
from amianai_infra.site.history import what_of, when_of
from amianai_infra.site.manifest import Entry, Manifest, Summary
from amianai_infra.site.texts import amount_of, count_of

_PAGES = (".html", ".htm", ".xhtml")
_SHOWN = 12
_HASH = re.compile(r"(?:(.+?)[-._](?=[^.]*[0-9A-Z])|(?=[^.]*\d))(?:[\w-]{8}|[A-Za-z0-9]{6,64})((?:\.[a-z]+)*\.\w+)")
"""Vite's and Rollup's hashes have eight signs of base64url, which may be hyphens; all others are letters and digits."""
_FOLDER = re.compile(r"(?=.*[0-9A-Z])[\w-]{16,64}")
"""A build id, as Next has it for a folder."""


@dataclass(frozen=True)
class Change:
    """One file that differs.

    Attributes:
        path: in the newer release; in the older one where it was removed.
        was: the path in the older release, where that is another.
        kind: `added`, `removed`, `changed` (its content), `headers` (nothing but its headers), `renamed` (nothing but its name).
        page: whether it is a page.
        before: bytes in the older release; 0 where it is added.
        after: bytes in the newer release; 0 where it is removed.
    """

    path: str
    was: str
    kind: str
    page: bool
    before: int
    after: int

    @property
    def growth(self) -> int:
        """Bytes; negative where it shrank."""
        return self.after - self.before


@dataclass(frozen=True)
class Diff:
    """Two releases.

    Attributes:
        before: the older release.
        after: the newer one.
        changes: what differs, the greatest growth or shrinkage first.
    """

    before: Summary
    after: Summary
    changes: tuple[Change, ...]


def compared(before: Manifest, after: Manifest) -> Diff:
    """What `after` has that `before` has not, and the other way round."""
    gone = sorted(before.files.keys() - after.files.keys())
    new = sorted(after.files.keys() - before.files.keys())
    both = [(path, path) for path in after.files if path in before.files]
    found = (_change(before, after, *pair) for pair in (*both, *_pairs(before, after, gone, new)))
    changes = sorted((one for one in found if one), key=lambda one: (-abs(one.growth), one.path))
    return Diff(before.summary, after.summary, tuple(changes))


def _change(before: Manifest, after: Manifest, was: str, now: str) -> Change | None:
    old, new = before.files.get(was), after.files.get(now)
    path = now or was
    kind = _kind(old, new, was, now)
    if not kind:
        return None
    sizes = (old.size if old else 0, new.size if new else 0)
    return Change(path, was if was != path else "", kind, path.lower().endswith(_PAGES), *sizes)


def _kind(old: Entry | None, new: Entry | None, was: str, now: str) -> str:
    if old is None or new is None:
        return "removed" if old else "added"
    if old.content != new.content:
        return "changed"
    return "renamed" if was != now else "headers" if old.answer != new.answer else ""


def _pairs(before: Manifest, after: Manifest, gone: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The old path and the new one of each; empty where there is none. Those of one name are paired by content, then by size."""
    named: dict[str, tuple[list[str], list[str]]] = {}
    for side, (manifest, paths) in enumerate(((before, gone), (after, new))):
        for path in paths:
            key = plain_name(path) if "immutable" in manifest.files[path].cache_control else path
            named.setdefault(key, ([], []))[side].append(path)
    for old, young in named.values():
        contents = {after.files[path].content: path for path in young}
        for path in list(old):
            same = contents.pop(before.files[path].content, "")
            if same:
                old.remove(path)
                young.remove(same)
                yield path, same
        old.sort(key=lambda path: before.files[path].size)
        young.sort(key=lambda path: after.files[path].size)
        yield from zip_longest(old, young, fillvalue="")


def plain_name(path: str) -> str:
    """The path of an asset with a star for its hash: `assets/index-*.js`, `_next/static/*/_buildManifest.js`."""
    *folders, name = path.split("/")
    found = _HASH.fullmatch(name)
    plain = f"{found[1]}-*{found[2]}" if found and found[1] else f"*{found[2]}" if found else name
    return "/".join([*("*" if _FOLDER.fullmatch(folder) else folder for folder in folders), plain])


def told(diff: Diff) -> list[str]:
    """The difference for people, on one screen."""
    lines = [_head(diff)]
    if not diff.changes:
        return [*lines, "Every file is the same."]
    for noun, page in (("page", True), ("asset", False)):
        changes = [one for one in diff.changes if one.page is page]
        if changes:
            lines += ["", *_section(changes, noun)]
    return lines


def _head(diff: Diff) -> str:
    one, other = diff.before, diff.after
    sizes = f"{amount_of(one.size)} -> {amount_of(other.size)} ({_growth(other.size - one.size)})"
    releases = " -> ".join(f"release {made.number} ({what_of(made)}, {when_of(made)})" for made in (one, other))
    return f"{releases}: {one.files} -> {count_of(other.files, 'file')}, {sizes}"


def _section(changes: Sequence[Change], noun: str) -> list[str]:
    counts = {kind: sum(1 for one in changes if one.kind == kind) for kind in ("added", "removed", "changed", "headers", "renamed")}
    words = {"headers": "with other headers", "renamed": "under another name only"}
    said = ", ".join(f"{count} {words.get(kind, kind)}" for kind, count in counts.items() if count)
    shown = [one for one in changes if one.kind != "renamed"]
    rows = [(_MARKS[one.kind], _name(one), *_sizes(one)) for one in shown[:_SHOWN]]
    more = [f"  and {len(shown) - _SHOWN} more, which grew or shrank less (--json lists all)"] if len(shown) > _SHOWN else []
    return [f"{noun.capitalize()}s: {said} ({_growth(sum(one.growth for one in changes))})", *printing.table(rows), *more]


_MARKS = {"added": "+", "removed": "-", "changed": "~", "headers": "h"}


def _name(one: Change) -> str:
    return plain_name(one.path) if one.was else one.path


def _sizes(one: Change) -> tuple[str, str]:
    if one.kind in ("added", "removed"):
        return amount_of(one.after or one.before), _growth(one.growth)
    return f"{amount_of(one.before)} -> {amount_of(one.after)}", _growth(one.growth)


def _growth(size: int) -> str:
    return f"{'-' if size < 0 else '+'}{amount_of(abs(size))}" if size else "same size"
