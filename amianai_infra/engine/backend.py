"""The state backend without the engine: checkpoint, history, backups and locks of one stack, straight from folder or bucket.

A look at the state costs milliseconds this way; through the engine each look is a process of about 0.4 s.
"""

from __future__ import annotations

import getpass
import gzip
import json
import os
import re
import shutil
import socket
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from amianai_infra.errors import EngineError, NotFoundError
from amianai_infra.naming import is_id
from amianai_infra.target import EngineEnvironment, aws_error

Clients = Callable[[str, str | None], Any]
Deployment = dict[str, Any]
# An operation writes the state after every step, and keeps backups and a history.
_ROOM = 64 << 20
# With less than this it is a matter of seconds.
_LEAST = 1 << 20


@dataclass(frozen=True)
class Entry:
    """What a listing says about one piece.

    Attributes:
        key: its name.
        at: when it was written, in seconds since 1970.
        version: of an earlier version in a versioned bucket, its identifier.
        digest: the MD5 of its bytes where the store knows it.
    """

    key: str
    at: float
    version: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


class Store(Protocol):
    """Named pieces of bytes: a folder or a bucket.

    Attributes:
        address: where it is, for a person.
        own_clock: whether `Entry.at` is one clock's time, whichever machine wrote.
        look_every: seconds between two looks while somebody writes.
    """

    address: str
    own_clock: bool
    look_every: float

    def read(self, key: str, version: str = "") -> bytes | None:
        """The bytes, or None when there are none of that name."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Put the bytes there; what was there is replaced whole."""
        ...

    def entries(self, prefix: str, after: str = "") -> list[Entry]:
        """What lies directly below a prefix that ends in a slash, by key, behind the key `after`."""
        ...

    def versions(self, key: str) -> list[Entry]:
        """Earlier versions of one piece; none in a store that keeps none."""
        ...

    def delete(self, key: str) -> None:
        """Remove it; nothing happens when it is gone already."""
        ...

    def mend(self, key: str) -> None:
        """Remove what a killed writer left beside a piece and its readers fall over; the piece itself stays as it is."""
        ...

    def require_room(self) -> None:
        """Raise when it cannot be written: the engine leaves a damaged state behind when it finds out half-way."""
        ...

    def look(self, key: str, kept: str) -> str:
        """What keeps the piece from being written, as a predicate; empty when nothing does.

        What can be damaged by being written stays under a second name, as it was when it was whole last.
        """
        ...

    def put_back(self, key: str, kept: str) -> bool:
        """Put what was whole last in the place of a damaged piece; whether that was needed."""
        ...


class FolderStore:
    """`file://` backends."""

    own_clock = False
    look_every = 1.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder)

    def read(self, key: str, version: str = "") -> bytes | None:
        """The file's bytes."""
        try:
            return (self.folder / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise EngineError("The state cannot be read.", where=str(error), fix="check the permissions of the state directory") from error

    def write(self, key: str, data: bytes) -> None:
        """Write a file beside it and put that in its place; the engine's attributes file would tell of the old bytes."""
        path = self.folder / key
        beside = path.with_name(f".{path.name}.{uuid.uuid4()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            (self.folder / f"{key}.attrs").unlink(missing_ok=True)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise _unchanged(error) from error

    def entries(self, prefix: str, after: str = "") -> list[Entry]:
        """Plain files in one folder."""
        try:
            with os.scandir(self.folder / prefix) as found:
                files = [file for file in found if f"{prefix}{file.name}" > after and file.is_file()]
                return sorted((Entry(f"{prefix}{file.name}", file.stat().st_mtime) for file in files), key=lambda entry: entry.key)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def versions(self, key: str) -> list[Entry]:
        """A folder keeps none."""
        return []

    def delete(self, key: str) -> None:
        """Remove the file and the engine's attributes file beside it."""
        try:
            (self.folder / key).unlink(missing_ok=True)
            (self.folder / f"{key}.attrs").unlink(missing_ok=True)
        except OSError as error:
            raise _unchanged(error) from error

    def mend(self, key: str) -> None:
        """The engine empties a file's attributes before it writes them, and reads no file whose attributes it cannot read."""
        beside = self.folder / f"{key}.attrs"
        try:
            json.loads(beside.read_bytes())
        except FileNotFoundError:
            return
        except ValueError:
            beside.unlink(missing_ok=True)

    def require_room(self) -> None:
        """A folder that can be written, on a disk that is not full."""
        place = next((folder for folder in (self.folder, *self.folder.parents) if folder.is_dir()), self.folder)
        if not os.access(place, os.W_OK):
            raise EngineError("The state cannot be written.", where=str(place), fix="make the state directory writable")
        free = shutil.disk_usage(place).free
        if free < _ROOM:
            raise EngineError(f"Only {free >> 20} MB are free where the state is kept.", where=str(place), fix=f"free {_ROOM >> 20} MB")

    def look(self, key: str, kept: str) -> str:
        """The engine puts a new file in the place of the old one, also where the disk was too full for all of it.

        A second name for the file costs no room.
        """
        path, second = self.folder / key, self.folder / kept
        beside = second.with_name(f".{second.name}")
        try:
            second.parent.mkdir(parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            os.link(path, beside)
            whole = _is_whole(beside)
            if whole:
                beside.replace(second)
            beside.unlink(missing_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError:
            return ""  # no state yet, or a disk that knows no second names
        return "" if whole and free >= _LEAST else f"cannot be written: {free >> 10} KB are free on its disk"

    def put_back(self, key: str, kept: str) -> bool:
        """The second name becomes the first."""
        path, second = self.folder / key, self.folder / kept
        try:
            if not second.exists():
                return False
            if _is_whole(path):
                second.unlink()
                return False
            second.replace(path)
            (self.folder / f"{key}.attrs").unlink(missing_ok=True)
        except OSError as error:
            raise _unchanged(error) from error
        return True


def _is_whole(path: Path) -> bool:
    try:
        return latest(path.read_bytes(), "") is not None
    except (EngineError, FileNotFoundError):
        return False


def _unchanged(error: OSError) -> EngineError:
    fix = "check the permissions of the state directory and the room on its disk"
    return EngineError("The state cannot be changed.", where=str(error), fix=fix)


class BucketStore:
    """`s3://` backends.

    Args:
        client: a boto3 S3 client.
        bucket: name of the bucket.
        prefix: where in the bucket the state lives, without slashes at either end.
    """

    own_clock = True
    look_every = 15.0

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{self._prefix}".rstrip("/")

    def _call(self, operation: str, doing: str, **parameters: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(Bucket=self._bucket, **parameters)
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, f"{doing} in s3://{self._bucket}") from error

    def read(self, key: str, version: str = "") -> bytes | None:
        """The object's bytes."""
        which = {"VersionId": version} if version else {}
        try:
            answer = self._call("get_object", "reading the state", Key=self._prefix + key, **which)
        except NotFoundError:
            return None
        return bytes(answer["Body"].read())

    def write(self, key: str, data: bytes) -> None:
        """Put the object."""
        self._call("put_object", "writing the state", Key=self._prefix + key, Body=data)

    def entries(self, prefix: str, after: str = "") -> list[Entry]:
        """Objects below the prefix: one request for each thousand."""
        behind = {"StartAfter": self._prefix + after} if after else {}
        pages = self._pages("list_objects_v2", "Contents", "ContinuationToken", Prefix=self._prefix + prefix, **behind)
        return [self._entry(one) for one in pages]

    def versions(self, key: str) -> list[Entry]:
        """The object's earlier versions, and the last one where it was deleted."""
        found = self._pages("list_object_versions", "Versions", "KeyMarker", Prefix=self._prefix + key)
        ours = [one for one in found if one["Key"] == self._prefix + key and not one.get("IsLatest")]
        return [self._entry(one) for one in ours]

    def _pages(self, operation: str, what: str, marker: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """What a listing has, page by page; nothing where there is no bucket."""
        try:
            answer = self._call(operation, "listing the state", **parameters)
        except NotFoundError:
            return
        yield from answer.get(what, [])
        if answer.get("IsTruncated"):
            more = {marker: answer[f"Next{marker}"]}
            if "NextVersionIdMarker" in answer:
                more["VersionIdMarker"] = answer["NextVersionIdMarker"]
            yield from self._pages(operation, what, marker, **{**parameters, **more})

    def _entry(self, one: Mapping[str, Any]) -> Entry:
        digest = str(one.get("ETag", "")).strip('"')
        return Entry(one["Key"].removeprefix(self._prefix), one["LastModified"].timestamp(), one.get("VersionId", ""), digest)

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._call("delete_object", "removing a lock", Key=self._prefix + key)

    def mend(self, key: str) -> None:
        """An object is written whole or not at all."""

    def require_room(self) -> None:
        """A bucket is never full."""

    def look(self, key: str, kept: str) -> str:
        """An object is written whole or not at all: it is enough that the bucket answers."""
        with suppress(NotFoundError):
            self._call("head_object", "looking at the state", Key=self._prefix + key)
        return ""

    def put_back(self, key: str, kept: str) -> bool:
        """Never needed."""
        return False


def open_store(environment: EngineEnvironment, clients: Clients | None) -> Store | None:
    """The store behind the backend; None for one that only the engine itself can read (Pulumi Cloud, gs://, azblob://)."""
    url = urlsplit(environment.backend_url)
    if url.scheme == "file":
        return FolderStore(_folder(environment.backend_url, environment.project_dir))
    if url.scheme == "s3" and clients is not None:
        region = parse_qs(url.query).get("region", [None])[0]
        return BucketStore(clients("s3", region), url.netloc, unquote(url.path).strip("/"))
    return None


def _folder(url: str, project: Path) -> Path:
    text = unquote(url.removeprefix("file://").split("?", 1)[0])
    return (project / Path(text).expanduser()).resolve()


@dataclass(frozen=True)
class RawLock:
    """A lock as it lies in the store."""

    key: str
    user: str
    host: str
    pid: int
    since: datetime


@dataclass(frozen=True)
class Copy:
    """A copy of the checkpoint that a backend holds besides it.

    Attributes:
        name: what tells it from the others: a file's name, or the identifier of an object's version.
        kind: where it is from.
        at: when it was written.
        entry: where it lies.
    """

    name: str
    kind: str
    at: datetime
    entry: Entry


def checkpoint_key(project: str, stack: str) -> str:
    """Where the engine keeps a stack's state in a folder or bucket."""
    return f".pulumi/stacks/{project}/{stack}.json"


@dataclass(frozen=True)
class FailedCreate:
    """A creation that failed, of which nobody has made sure yet that nothing exists.

    Attributes:
        resource: what was to be created, as the state would hold it; secrets were filtered out by the engine.
        at: when it failed, seconds since 1970.
        unsure: it may exist: the answer was lost, or said that it exists already.
        clash: it was said to exist already.
        replaces: it was to take the place of another one, which the state holds.
    """

    resource: dict[str, Any]
    at: float
    unsure: bool
    clash: bool = False
    replaces: bool = False

    @property
    def urn(self) -> str:
        """Which resource."""
        return str(self.resource["urn"])


class StateFiles:
    """What a store holds of one stack, by the engine's own layout."""

    def __init__(self, store: Store, project: str, stack: str) -> None:
        self._store = store
        self._stack = stack
        self._checkpoint = checkpoint_key(project, stack)
        self._history = f".pulumi/history/{project}/{stack}/"
        self._backups = f".pulumi/backups/{project}/{stack}/"
        self._kept = f"{self._backups}{stack}.last-whole.json"
        self._failed = f".pulumi/failed/{project}/{stack}.json"
        self._locks = f".pulumi/locks/organization/{project}/{stack}/"

    @property
    def address(self) -> str:
        """Where the checkpoint lies, for a person."""
        return f"{self._store.address}/{self._checkpoint}"

    # -- the checkpoint and its copies

    def checkpoint(self) -> bytes | None:
        """The state as it lies there; None when there is no stack."""
        data = self._store.read(self._checkpoint)
        return data if data is not None else _unpacked(self._store.read(f"{self._checkpoint}.gz"))

    def copies(self) -> list[Copy]:
        """Every copy, newest first: the engine's backups and history, the file it replaced last, and a bucket's earlier versions."""
        found = [_stamped("backup", entry) for entry in self._store.entries(self._backups)]
        found += [_stamped("history", entry) for entry in self._store.entries(self._history) if _is_recorded(entry)]
        folder, _, name = self._checkpoint.rpartition("/")
        replaced = {f"{name}.bak", f"{name}.gz.bak"}
        found += [_timed("replaced", entry) for entry in self._store.entries(f"{folder}/") if entry.name in replaced]
        found += [_timed("version", entry) for key in (self._checkpoint, f"{self._checkpoint}.gz") for entry in self._store.versions(key)]
        return sorted((one for one in found if not one.name.endswith(".attrs")), key=lambda one: one.at, reverse=True)

    def read_copy(self, copy: Copy) -> bytes | None:
        """The checkpoint that a copy holds; None where it is gone or cannot be unpacked."""
        return _unpacked(self._store.read(copy.entry.key, copy.entry.version))

    def recorded(self, since: datetime | None) -> Copy | None:
        """The checkpoint in the history's newest entry after a moment; a bucket's clock says which is newest."""
        after = f"{self._history}{self._stack}-{_nanoseconds(since)}" if since else ""
        found = [_stamped("history", entry) for entry in self._store.entries(self._history, after) if _is_recorded(entry)]
        return max(found, key=lambda one: (one.entry.at if self._store.own_clock else 0.0, _stamp(one.name)), default=None)

    def replace(self, data: bytes, message: str) -> str:
        """Put another checkpoint in the place of this one, which is kept first; gives the key of what was kept, if anything.

        The history gets an entry as for an import, so that what is there now is the newest known.
        """
        present, now = self.checkpoint(), time.time_ns()
        kept = f"{self._backups}{self._stack}.{now}.json" if present not in (None, data) else ""
        if kept and present is not None:
            self._store.write(kept, present)
        if present != data:
            self._store.write(self._checkpoint, data)
            self._store.delete(f"{self._checkpoint}.gz")
        last = max((_stamp(entry.name) for entry in self._store.entries(self._history)), default=0)
        name = f"{self._history}{self._stack}-{max(now, last + 1)}"
        self._store.write(f"{name}.history.json", json.dumps(_imported(message, now // 10**9)).encode())
        self._store.write(f"{name}{_CHECKPOINT}", data)
        return kept

    # -- locks

    def failed(self) -> list[FailedCreate]:
        """Creations that failed and were not looked up yet. The engine's state has no place for them: importing it drops them."""
        data = self._store.read(self._failed)
        try:
            return [FailedCreate(**one) for one in json.loads(data or b"[]")]
        except (ValueError, TypeError):
            return []  # nothing that we wrote

    def keep_failed(self, failed: Sequence[FailedCreate]) -> None:
        """Replace the list of them."""
        if failed:
            self._store.write(self._failed, json.dumps([asdict(one) for one in failed]).encode())
        else:
            self._store.delete(self._failed)

    def locks(self) -> list[RawLock]:
        """Every lock, oldest first."""
        found = []
        for entry in self._store.entries(self._locks):
            data = self._store.read(entry.key) if entry.key.endswith(".json") else None
            if data is not None:
                found.append(_lock(entry, data))
        return sorted(found, key=lambda lock: lock.since)

    def lock(self) -> str:
        """Take a lock as the engine does; gives its key. Whether there is another one is to be looked at afterwards."""
        key = f"{self._locks}{uuid.uuid4()}.json"
        content = {
            "pid": os.getpid(),
            "username": getpass.getuser(),
            "hostname": socket.gethostname(),
            "timestamp": datetime.now().astimezone().isoformat(),
        }
        self._store.write(key, json.dumps(content).encode())
        return key

    def mend(self) -> None:
        """Bring in order what a writer that was killed, or a disk that was full, left beside the checkpoint."""
        for key in (self._checkpoint, f"{self._checkpoint}.bak"):
            self._store.mend(key)

    def require_room(self) -> None:
        """Raise when the state could not be written."""
        self._store.require_room()

    # -- while the engine writes

    @property
    def place(self) -> str:
        """The folder or bucket, for a person."""
        address = self._store.address
        return f"bucket {address}" if address.startswith("s3://") else f"folder {address}"

    @property
    def look_every(self) -> float:
        """Seconds between two looks."""
        return self._store.look_every

    def look(self) -> str:
        """What keeps the state from being written now, as a predicate; empty when nothing does. A whole checkpoint is kept for `put_back`.

        Raises:
            AmianaiError: it does not answer, or refuses.
        """
        return self._store.look(self._checkpoint, self._kept)

    def put_back(self) -> bool:
        """Put the checkpoint that was whole last in the place of a damaged one; whether that was needed."""
        return self._store.put_back(self._checkpoint, self._kept)

    def remove_lock(self, key: str) -> None:
        """Release a lock."""
        self._store.delete(key)


_CHECKPOINT = ".checkpoint.json"


def latest(data: bytes | None, where: str) -> Deployment | None:
    """The latest deployment in a checkpoint: empty for a new stack, None when there is no stack.

    Raises:
        EngineError: the checkpoint is damaged.
    """
    if data is None:
        return None
    try:
        found: Deployment = json.loads(data)["checkpoint"].get("latest") or {}
        if not isinstance(found.get("resources") or [], list) or not isinstance(found.get("manifest") or {}, dict):
            raise TypeError("resources or manifest")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EngineError("The stack's state cannot be understood.", where=where, fix="restore a copy: `amianai state restore`") from error
    return found


def written_at(deployment: Deployment) -> datetime | None:
    """When the engine made a deployment; None for a new stack's."""
    stamp = (deployment.get("manifest") or {}).get("time")
    return _instant(str(stamp), datetime.fromtimestamp(0, UTC)) if stamp else None


def _unpacked(data: bytes | None) -> bytes | None:
    """What may be compressed."""
    if data is None or not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return b""


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 10**6) * 1000


def _stamp(name: str) -> int:
    """The nanoseconds since 1970 that the engine names what it keeps by; 0 without any."""
    return max((int(digits) for digits in re.findall(r"[.-](\d{19})(?=\.)", name)), default=0)


def _is_recorded(entry: Entry) -> bool:
    return entry.name.endswith((_CHECKPOINT, f"{_CHECKPOINT}.gz"))


def _stamped(kind: str, entry: Entry) -> Copy:
    moment = _stamp(entry.name) / 10**9 or entry.at
    return Copy(entry.name, kind, datetime.fromtimestamp(moment, UTC), entry)


def _timed(kind: str, entry: Entry) -> Copy:
    return Copy(entry.version or entry.name, kind, datetime.fromtimestamp(entry.at, UTC), entry)


def _imported(message: str, at: int) -> dict[str, Any]:
    """An entry of the engine's history for a checkpoint that was put there."""
    empty: dict[str, Any] = {"environment": {}, "config": {}, "resourceChanges": {}}
    return {"kind": "import", "startTime": at, "message": message, **empty, "result": "succeeded", "endTime": at}


def _lock(entry: Entry, data: bytes) -> RawLock:
    """A lock, whatever lies in it: the engine takes any object there for one. One that nobody can read is held since it was written.

    Only its name has to be one that `state unlock` can be given.
    """
    if not is_id(entry.key.rpartition("/")[2].removesuffix(".json")):
        raise EngineError(
            f"An object among the state's locks has a name that is no lock's: {entry.key!r}.",
            where="names of locks are 1 to 64 letters, digits, dots, hyphens and underscores",
            fix="find out who put it there, and delete it",
        )
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = {}
    said: Mapping[str, Any] = content if isinstance(content, dict) else {}
    pid = said.get("pid")
    return RawLock(
        key=entry.key,
        user=str(said.get("username", "unknown")),
        host=str(said.get("hostname", "unknown")),
        pid=pid if type(pid) is int and 0 < pid < 1 << 31 else 0,
        since=_instant(str(said.get("timestamp", "")), datetime.fromtimestamp(entry.at, UTC)),
    )


def _instant(stamp: str, otherwise: datetime) -> datetime:
    """Go writes nanoseconds; Python reads microseconds."""
    head, dot, tail = stamp.partition(".")
    digits = "".join(character for character in tail if character.isdigit())
    zone = tail.lstrip("0123456789") or "+00:00"
    whole = f"{head}.{digits[:6]}{zone}" if dot else head
    try:
        instant = datetime.fromisoformat(whole.replace("Z", "+00:00"))
        return instant if instant.tzinfo else instant.astimezone()
    except (ValueError, OverflowError):
        return otherwise


# How the engine marks an encrypted value: a mapping with this key.
ENCRYPTED = "4dabf18193072939515e22adb298388d"
MASKED = "[secret]"


def mask(value: Any) -> Any:
    """A value from the state with every secret in it replaced by `[secret]`."""
    if isinstance(value, dict):
        if ENCRYPTED in value:
            return MASKED
        return {key: mask(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [mask(inner) for inner in value]
    return value


@dataclass(frozen=True)
class StateResource:
    """One resource as the state knows it. Secrets are masked.

    `external` ones are merely read: they belong to somebody else. `retained` ones stay when the stack goes. `imported` ones were made
    elsewhere and adopted.
    """

    urn: str
    type: str
    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    protect: bool = False
    external: bool = False
    retained: bool = False
    imported: bool = False

    @cached_property
    def name(self) -> str:
        """The logical name."""
        return self.urn.rpartition("::")[2]


def state_resources(deployment: Deployment, *, superseded: bool = False) -> list[StateResource]:
    """The live resources of a deployment, in its order; or those that were replaced and wait for their deletion."""
    return [
        StateResource(
            urn=entry["urn"],
            type=entry["type"],
            id=entry.get("id", ""),
            inputs=mask(entry.get("inputs", {})),
            outputs=mask(entry.get("outputs", {})),
            protect=bool(entry.get("protect")),
            external=bool(entry.get("external")),
            retained=bool(entry.get("retainOnDelete")),
            imported=bool(entry.get("importID")),
        )
        for entry in deployment.get("resources", [])
        if bool(entry.get("delete")) == superseded
    ]


def secrets_lines(deployment: Deployment) -> dict[str, str]:
    """What a stack file has to say beside its configuration, for the engine to decrypt this state; empty where no secret is the file's."""
    provider = deployment.get("secrets_providers") or {}
    state = provider.get("state") or {}
    names = {"passphrase": {"encryptionsalt": "salt"}, "cloud": {"secretsprovider": "url", "encryptedkey": "encryptedkey"}}
    return {line: str(state[name]) for line, name in names.get(provider.get("type", ""), {}).items() if state.get(name)}


def stack_outputs(deployment: Deployment) -> dict[str, Any]:
    """What the program exported, as it lies in the state: secrets are still encrypted."""
    for entry in deployment.get("resources", []):
        if entry["type"] == "pulumi:pulumi:Stack" and not entry.get("delete"):
            return dict(entry.get("outputs", {}))
    return {}
