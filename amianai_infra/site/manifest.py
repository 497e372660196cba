"""What a release was: its files, hashes, headers, object versions, who made it and when. Pure.

One manifest a release is kept in the site's bucket, below `.amianai/releases/`. It also carries a short history and the
dates since when older files are no longer named, so that listing releases and pruning read one object each.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from amianai_infra.errors import AmianaiError
from amianai_infra.naming import is_id
from amianai_infra.rules.redirects import MOVED, Rule
from amianai_infra.rules.routing import Routing

PREFIX = ".amianai/"
RELEASES = f"{PREFIX}releases/"
LOCK = f"{PREFIX}lock"
FORMAT = 2
"""2 since files have further headers; what was recorded as 1 is read, too."""
HISTORY = 100
LARGEST = 16 << 20
"""Bytes of a record as stored. A release of ten thousand files has 0.3 MB."""
LARGEST_TEXT = 128 << 20
"""Bytes of its JSON."""
_OUTSIDE = re.compile(r"^[A-Za-z]:[\\/]|^\.amianai(?:[\\/]|\Z)|(?:^|[\\/])\.{0,2}(?:[\\/]|\Z)|\0")
"""A drive, our own records, a part that is empty, `.` or `..` (which an absolute path begins with), a NUL."""
_KEY = re.compile(rf"{re.escape(RELEASES)}([0-9]{{6}})\.json\.gz")


def manifest_key(number: int) -> str:
    """Where the manifest of a release is kept."""
    return f"{RELEASES}{number:06d}.json.gz"


def release_number(key: str) -> int | None:
    """The release that a manifest's key belongs to; None for any other key."""
    found = _KEY.fullmatch(key)
    return int(found[1]) if found else None


def outside(path: str) -> bool:
    """Whether a path leads, or could be read as leading, anywhere but to a file of the site."""
    return _OUTSIDE.search(path) is not None


Headers = tuple[tuple[str, str], ...]
"""Further headers of an answer, by lower-case name, in order of name."""


class Entry(NamedTuple):
    """One file of a release.

    Attributes:
        etag: S3's ETag of the object.
        size: bytes.
        content_type: as uploaded.
        cache_control: as uploaded.
        version: S3's version of the object; None in a bucket without versions.
        digest: the ETag that we computed, where S3's differs (a bucket encrypted with KMS).
        headers: further headers, as uploaded.
    """

    etag: str
    size: int
    content_type: str
    cache_control: str
    version: str | None
    digest: str = ""
    headers: Headers = ()

    @property
    def content(self) -> str:
        """What identifies the content on our side."""
        return self.digest or self.etag

    @property
    def answer(self) -> tuple[str, str, str, Headers]:
        """All that a visitor gets: content and headers."""
        return (self.content, self.content_type, self.cache_control, self.headers)


class Retired(NamedTuple):
    """A file that an earlier release named.

    Attributes:
        since: when it was last named, seconds since 1970.
        entry: what it was; None for a file that an interrupted release left.
    """

    since: float
    entry: Entry | None = None


@dataclass(frozen=True)
class Summary:
    """One line of the history.

    Attributes:
        number: the release's number.
        kind: `deploy`, `rollback`, `repair` (a release after one that failed its verification) or `takedown`.
        origin: the release whose content it has: itself, or the one that was rolled back to.
        build: the build id.
        started: seconds since 1970.
        seconds: how long it took up to its registration.
        who: user and host.
        commit: git commit of the sources; a `+` says that there were uncommitted changes.
        files: number of files.
        size: bytes in all.
        uploaded: files that were uploaded.
    """

    number: int
    kind: str
    origin: int
    build: str
    started: float
    seconds: float
    who: str
    commit: str
    files: int
    size: int
    uploaded: int


@dataclass(frozen=True)
class Taken:
    """A file that was taken down.

    Attributes:
        at: when, seconds since 1970.
        who: user and host.
        why: the reason given.
        release: the release that was live; what it and those before it have at this path never comes back.
        contents: what identifies the contents that were removed; none of them is published again there.
    """

    at: float
    who: str
    why: str
    release: int
    contents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """One release.

    Attributes:
        summary: the release in one line.
        files: its files by path.
        sources: fingerprint of the declared inputs it was built from, or its build's id; empty when it was not built by us.
        retired: files that earlier releases named and this one does not; they are still served.
        history: the releases before it, newest first.
        routing: what it says of its addresses besides its files; None when a version that knew nothing of it wrote the manifest.
        table: the name of its table in the CDN's key-value store; empty when there was no store.
        taken: what was taken down, by path.
        published: folder it was published from, relative to the project; empty where that was not recorded.
    """

    summary: Summary
    files: Mapping[str, Entry]
    sources: str = ""
    retired: Mapping[str, Retired] = field(default_factory=dict)
    history: tuple[Summary, ...] = ()
    routing: Routing | None = None
    table: str = ""
    taken: Mapping[str, Taken] = field(default_factory=dict)
    published: str = ""

    @property
    def number(self) -> int:
        """The release's number."""
        return self.summary.number

    @property
    def addressed(self) -> Routing:
        """What it says of its addresses."""
        return self.routing or Routing()

    def restorable(self, taken: Mapping[str, Taken]) -> dict[str, Entry]:
        """Its files, without those that were taken down since, or whose content was."""
        return {
            path: entry
            for path, entry in self.files.items()
            if path not in taken or (self.number > taken[path].release and entry.content not in taken[path].contents)
        }


def encode(manifest: Manifest) -> bytes:
    """The manifest as stored: JSON, compressed. Equal manifests give equal bytes.

    Raises:
        AmianaiError: it would be larger than what is read again.
    """
    headers: dict[tuple[str, str, Headers], int] = {}

    def values(entry: Entry) -> list[Any]:
        header = headers.setdefault((entry.content_type, entry.cache_control, entry.headers), len(headers))
        return [entry.etag, entry.size, header, entry.version, *([entry.digest] if entry.digest else [])]

    packer = zlib.compressobj(level=1, wbits=31)
    packed = bytearray(packer.compress(b'{"entries":{'))
    for number, some in enumerate(_batches(manifest.files.items())):
        text = _json({path: values(entry) for path, entry in some})
        packed += packer.compress(_bytes(("," if number else "") + text[1:-1]))
    rest = {
        "format": FORMAT,
        **asdict(manifest.summary),
        "sources": manifest.sources,
        "published": manifest.published,
        "retired": {path: [one.since, values(one.entry) if one.entry else None] for path, one in manifest.retired.items()},
        "headers": list(headers),
        "history": [asdict(summary) for summary in manifest.history],
        "table": manifest.table,
        "taken": {path: list(astuple(one)) for path, one in manifest.taken.items()},
    }
    if manifest.routing is not None:
        rest["routing"] = asdict(manifest.routing)
    packed += packer.compress(_bytes("}," + _json(rest)[1:]))
    packed += packer.flush()
    if len(packed) > LARGEST:
        raise AmianaiError(
            f"The record of the release would have {len(packed)} bytes, more than the {LARGEST} that are read again.",
            where=f"{len(manifest.files)} files, and {len(manifest.retired)} older ones that are still served",
            fix="release fewer files, or let old ones go sooner: site.old_asset_days",
        )
    return bytes(packed)


def _json(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _bytes(text: str) -> bytes:
    """UTF-8; half of a surrogate pair, which somebody's record may have brought into the history, as `json.loads` reads it again."""
    return text.encode("utf-8", "surrogatepass")


def _batches(items: Iterable[tuple[str, Entry]], size: int = 500) -> Iterator[list[tuple[str, Entry]]]:
    """A few at a time: the text of ten thousand entries at once would be a tenth of a release's memory."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def decode(data: bytes, where: str = "") -> Manifest:
    """Read a stored manifest.

    Raises:
        AmianaiError: it is damaged, too large, names files outside the site, or was written by a newer version of this program.
    """
    try:
        raw: dict[str, Any] = json.loads(_unpacked(data).decode("utf-8", "surrogatepass"))
        if raw["format"] not in (1, FORMAT):
            raise AmianaiError(
                f"A release was recorded by another version of this program (format {str(raw['format'])[:20]}).",
                where=where,
                fix="use the version of amianai-infra that made the newest release, or a newer one",
            )
        taken = raw.get("taken", {})
        _check_paths((*raw["entries"], *raw["retired"], *taken), where)
        headers = [_headers(*one) for one in raw["headers"]]
        files = raw["entries"]
        for path, values in files.items():
            files[path] = _entry(values, headers)  # in its place: a hundred thousand entries twice would be a third of a release's memory
        return Manifest(
            summary=_summary(raw),
            files=files,
            sources=_checked("sources", raw["sources"]),
            published=_checked("published", raw.get("published", "")),
            retired={
                path: Retired(_checked("started", since), _entry(one, headers) if one else None)
                for path, (since, one) in raw["retired"].items()
            },
            history=tuple(_summary(one) for one in raw["history"][:HISTORY]),
            routing=_routing(raw["routing"]) if "routing" in raw else None,
            table=_checked("sources", raw.get("table", "")),
            taken={path: _taken(*values) for path, values in taken.items()},
        )
    except (zlib.error, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise AmianaiError(
            "The record of a release cannot be read.",
            where=f"{where}: {error}",
            fix="restore the object's earlier version, or delete it and deploy again",
        ) from error


def _unpacked(data: bytes) -> bytes:
    """The JSON; ValueError where it is cut off or larger than any record of ours, of which no more is unpacked than that."""
    if len(data) > LARGEST:
        raise ValueError(f"{len(data)} bytes, more than the {LARGEST} of the largest record")
    unpacker = zlib.decompressobj(wbits=31)
    text = unpacker.decompress(data, LARGEST_TEXT)
    if not unpacker.eof:
        raise ValueError(f"more than {LARGEST_TEXT} bytes once unpacked" if unpacker.unconsumed_tail else "it is cut off")
    return text


def _check_paths(paths: Iterable[str], where: str) -> None:
    bad = next(filter(outside, paths), None)
    if bad is not None:
        raise AmianaiError(
            f"The record of a release names what is no file of the site: {bad!r}.",
            where=where,
            fix="somebody changed it: restore the object's earlier version, or delete it and deploy again",
        )


def _entry(values: list[Any], headers: list[tuple[str, str, Headers]]) -> Entry:
    etag, size, header, version, *more = values
    digest = more[0] if more else ""
    kind, cache, further = headers[header]
    if not (type(etag) is type(digest) is str and type(size) is int and size >= 0 and (version is None or type(version) is str)):
        raise ValueError(f"not a file's entry: {values!r:.200}")
    return Entry(etag, size, kind, cache, version, digest, further)


def _headers(kind: Any, cache: Any, further: Any = ()) -> tuple[str, str, Headers]:
    return _header(kind), _header(cache), tuple((_header(name), _header(value)) for name, value in further)


def _routing(raw: Mapping[str, Any]) -> Routing:
    rules = tuple(Rule(**rule) for rule in raw["rules"])
    texts = [raw["fallback"], raw["home"], *(text for rule in rules for text in (rule.source, rule.target))]
    if not all(isinstance(text, str) for text in texts) or not all(rule.status in (200, *MOVED) for rule in rules):
        raise ValueError(f"not a release's routing: {raw!r:.200}")
    return Routing(raw["fallback"], raw["home"], rules)


def _taken(at: Any, who: Any, why: Any, release: Any, contents: Any) -> Taken:
    if not all(isinstance(text, str) for text in (why, *contents)):
        raise ValueError("not a record of what was taken down")
    return Taken(_checked("started", at), _checked("who", who), why, _checked("number", release), tuple(contents))


def _header(value: Any) -> str:
    """A header's value; ValueError for what a server or a client could take for more than one."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"not a header: {value!r:.200}")
    return value


def _amount(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value < _LATEST


_LATEST = 253_402_300_800.0  # the year 10000, which no calendar of ours has
_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "number": _amount,
    "kind": lambda value: value in ("deploy", "rollback", "repair", "takedown"),
    "origin": _amount,
    "build": lambda value: value == "" or is_id(value),
    "started": _seconds,
    "seconds": _seconds,
    "who": lambda value: isinstance(value, str),
    "commit": lambda value: value == "" or (isinstance(value, str) and is_id(value.removesuffix("+"))),
    "files": _amount,
    "size": _amount,
    "uploaded": _amount,
    "sources": lambda value: value == "" or is_id(value),
    "published": lambda value: isinstance(value, str),
}


def _checked(name: str, value: Any) -> Any:
    """A field of a record; ValueError where it holds what we never write."""
    if not _FIELDS[name](value):
        raise ValueError(f"{name} = {value!r:.200}")
    return value


def _summary(raw: Mapping[str, Any]) -> Summary:
    return Summary(**{name: _checked(name, raw[name]) for name in Summary.__dataclass_fields__})


def following(
    before: Manifest | None,
    summary: Summary,
    files: Mapping[str, Entry],
    *,
    sources: str = "",
    published: str = "",
    leftovers: Iterable[str] = (),
    present: Container[str] = (),
    routing: Routing | None = None,
    table: str = "",
) -> Manifest:
    """The manifest of the release after `before`.

    Args:
        before: the release it replaces; None for the first.
        summary: the new release in one line.
        files: the new release's files.
        sources: fingerprint of the declared inputs it was built from, or its build's id.
        published: folder it was published from.
        leftovers: files that an interrupted release uploaded.
        present: what the bucket holds; only what is there can be retired.
        routing: what it says of its addresses besides its files.
        table: the name of its table of addresses.
    """
    retired = dict(before.retired) if before else {}
    for path, entry in before.files.items() if before else ():
        if path not in files:
            retired[path] = Retired(summary.started, entry)
    for path in leftovers:
        retired.setdefault(path, Retired(summary.started))
    retired = {path: one for path, one in retired.items() if path not in files and path in present and not outside(path)}
    history = (before.summary, *before.history)[:HISTORY] if before else ()
    return Manifest(
        summary, files, sources, retired, history, routing=routing, table=table, taken=before.taken if before else {}, published=published
    )
