"""What a release does, decided before it does anything. Pure.

The local tree, what the bucket holds and the last release's manifest go in; frozen actions come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from amianai_infra.rules.addresses import MISSING
from amianai_infra.rules.cache import cache_control
from amianai_infra.site.manifest import PREFIX, Entry, Headers, Manifest, Retired, release_number
from amianai_infra.site.tree import File

VERSION_FILE = "version.json"
_LAST = frozenset({"404.html", "404/index.html", VERSION_FILE})
_SLACK = 2.0
"""Seconds by which the store's own times may differ from one another."""

DAY = 86400.0


class Group(IntEnum):
    """The order of an upload: what is named goes before what names it, so pages that were not there (`ADDED`) before all others."""

    HASHED = 0
    ASSETS = 1
    PAYLOADS = 2
    ADDED = 3
    PAGES = 4
    LAST = 5


class Stored(NamedTuple):
    """One object as the bucket lists it.

    Attributes:
        etag: its ETag, without quotes.
        modified: when it was written, seconds since 1970, by the store's clock.
        size: bytes.
    """

    etag: str
    modified: float
    size: int


class Upload(NamedTuple):
    """Put one file.

    Attributes:
        path: its path, which is its key.
        size: bytes.
        etag: the ETag its content must have.
        content_type: header.
        cache_control: header.
        group: when.
        replaces: ETag of the object that is there now; None when there is none.
        headers: further headers.
        source: see `File`.
    """

    path: str
    size: int
    etag: str
    content_type: str
    cache_control: str
    group: Group
    replaces: str | None
    headers: Headers = ()
    source: str = ""


class Plan(NamedTuple):
    """What a release will do.

    Attributes:
        uploads: in order of group and path.
        kept: entries that stay as they are.
        gone: files that the last release named and this one does not: assets with a hash in their name stay served for a while.
        rerouted: addresses change though no file does.
    """

    uploads: tuple[Upload, ...]
    kept: Mapping[str, Entry]
    gone: tuple[str, ...] = ()
    rerouted: bool = False

    @property
    def changed(self) -> bool:
        """Whether the site changes."""
        return bool(self.uploads or self.gone or self.rerouted)

    @property
    def paths(self) -> set[str]:
        """The files of the release."""
        return {*self.kept, *(upload.path for upload in self.uploads)}

    @property
    def replaced(self) -> list[str]:
        """Paths that answer differently afterwards and may be in a cache."""
        return [upload.path for upload in self.uploads if upload.replaces is not None]

    @property
    def size(self) -> int:
        """Bytes to upload."""
        return sum(upload.size for upload in self.uploads)


class Bucket(NamedTuple):
    """What the bucket holds, from one listing.

    Attributes:
        objects: the site's objects by key.
        records: our own objects below `.amianai/`, by key.
    """

    objects: Mapping[str, Stored]
    records: Mapping[str, Stored]

    @property
    def newest(self) -> int | None:
        """Number of the newest registered release."""
        return max((number for key in self.records if (number := release_number(key)) is not None), default=None)


def sort_listing(listing: Iterable[tuple[str, Stored]]) -> Bucket:
    """Part the site's objects from our records."""
    objects: dict[str, Stored] = {}
    records: dict[str, Stored] = {}
    for key, stored in listing:
        (records if key.startswith(PREFIX) else objects)[key] = stored
    return Bucket(objects, records)


def group_of(path: str, cache_control: str) -> Group:
    """When a file is uploaded."""
    if path in _LAST:
        return Group.LAST
    if path.endswith((".html", ".htm")):
        return Group.PAGES
    if "immutable" in cache_control:
        return Group.HASHED
    if path.endswith((".txt", ".json", ".xml", ".webmanifest")) or "max-age=0" in cache_control or "no-cache" in cache_control:
        return Group.PAYLOADS
    return Group.ASSETS


def trusted(path: str, bucket: Bucket, last: Manifest | None, recorded: float) -> Entry | None:
    """What we know of an object, when it is still the one that a release wrote.

    An object that somebody wrote afterwards may have the same content and other headers, which a listing does not show.

    Args:
        path: the file.
        bucket: what is there.
        last: the newest release.
        recorded: when its manifest was written, by the store's clock.
    """
    if last is None:
        return None
    if last.routing is None and path.endswith(f"/{MISSING}"):
        return None  # written by a version that did not give it its status
    entry = last.files.get(path)
    if entry is None and path in last.retired:
        entry = last.retired[path].entry
    stored = bucket.objects.get(path)
    if entry is None or stored is None or stored.etag != entry.etag or stored.modified > recorded + _SLACK:
        return None
    return entry


def plan_release(
    files: Iterable[File],
    bucket: Bucket,
    last: Manifest | None,
    recorded: float,
    policy: Callable[[str], str],
    *,
    everything: bool = False,
) -> Plan:
    """What must be done so that the bucket serves `files`.

    Args:
        files: the local tree.
        bucket: what is there.
        last: the newest release; None before the first.
        recorded: when its manifest was written, by the store's clock.
        policy: Cache-Control by path.
        everything: upload what is there already, too.
    """
    uploads: list[Upload] = []
    kept: dict[str, Entry] = {}
    for file in files:
        path, cache = file.path, policy(file.path)
        entry = trusted(path, bucket, last, recorded)
        if (
            entry is not None
            and not everything
            and entry.content == file.etag
            and entry.cache_control == cache
            and entry.content_type == file.content_type
            and entry.headers == file.headers
        ):
            kept[path] = entry
            continue
        uploads.append(_upload(path, Entry(file.etag, file.size, file.content_type, cache, None, "", file.headers), bucket, file.source))
    uploads.sort(key=lambda upload: (upload.group, upload.path))
    now = kept.keys() | {upload.path for upload in uploads}
    gone = tuple(sorted(path for path in (last.files if last else ()) if path not in now))
    return Plan(tuple(uploads), kept, gone)


def _upload(path: str, entry: Entry, bucket: Bucket, source: str = "") -> Upload:
    stored = bucket.objects.get(path)
    group = group_of(path, entry.cache_control)
    return Upload(
        path,
        entry.size,
        entry.content,
        entry.content_type,
        entry.cache_control,
        Group.ADDED if group is Group.PAGES and stored is None else group,
        stored.etag if stored else None,
        entry.headers,
        source,
    )


def stuck(uploads: Iterable[Upload], last: Manifest | None) -> list[str]:
    """Files that browsers were told never to ask for again, and that are to change under the same name: nobody would see the change.

    Args:
        uploads: what a release uploads.
        last: the newest release; it also knows the files of earlier ones that are still served.
    """
    if last is None:
        return []
    found = []
    for upload in uploads:
        before = last.files.get(upload.path) or (last.retired[upload.path].entry if upload.path in last.retired else None)
        if before and "immutable" in before.cache_control and "immutable" in upload.cache_control and before.content != upload.etag:
            found.append(upload.path)
    return found


def plan_rollback(wanted: Manifest, bucket: Bucket, last: Manifest, recorded: float) -> Plan:
    """What must be done so that the bucket serves an earlier release again.

    Args:
        wanted: that release.
        bucket: what is there.
        last: the newest release.
        recorded: when its manifest was written, by the store's clock.
    """
    uploads: list[Upload] = []
    kept: dict[str, Entry] = {}
    for path, entry in wanted.files.items():
        now = trusted(path, bucket, last, recorded)
        if now and now.answer == entry.answer:
            kept[path] = now
            continue
        uploads.append(_upload(path, entry, bucket))
    uploads.sort(key=lambda upload: (upload.group, upload.path))
    gone = tuple(sorted(path for path in last.files if path not in wanted.files))
    return Plan(tuple(uploads), kept, gone)


def prunable(manifest: Manifest, bucket: Bucket, now: float, days: int) -> tuple[str, ...]:
    """Files that the release does not name and that are to go: at once, but assets with a hash in their name after `days`.

    Pages that were loaded before go on asking for those. What somebody else put into the bucket is never among them.

    Args:
        manifest: the newest release.
        bucket: what is there.
        now: seconds since 1970.
        days: how long old files stay served.
    """
    return tuple(
        sorted(
            path
            for path, one in manifest.retired.items()
            if (now - one.since >= days * DAY or not stays(path, one)) and path in bucket.objects and path not in manifest.files
        )
    )


def stays(path: str, one: Retired) -> bool:
    """Whether a file that is no longer named stays served for a while."""
    return "immutable" in (one.entry.cache_control if one.entry else cache_control(path))
