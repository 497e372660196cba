"""The state backend without the engine: the checkpoint and the locks of one stack, read straight from folder or bucket.

A look at the state costs milliseconds this way; through the engine each look is a process of about 0.4 s.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from amianai_infra.errors import EngineError, NotFoundError
from amianai_infra.target import EngineEnvironment, aws_error

Clients = Callable[[str, str | None], Any]
Deployment = dict[str, Any]
# An operation writes the state after every step, and keeps backups and a history.
_ROOM = 64 << 20


class Store(Protocol):
    """Named pieces of bytes: a folder or a bucket."""

    def read(self, key: str) -> bytes | None:
        """The bytes, or None when there are none of that name."""
        ...

    def names(self, prefix: str) -> list[str]:
        """The keys below a prefix that ends in a slash."""
        ...

    def delete(self, key: str) -> None:
        """Remove it; nothing happens when it is gone already."""
        ...

    def require_room(self) -> None:
        """Raise when it cannot be written: the engine leaves a damaged state behind when it finds out half-way."""
        ...


class FolderStore:
    """`file://` backends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> bytes | None:
        """The file's bytes."""
        try:
            return (self.folder / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise EngineError("The state cannot be read.", where=str(error), fix="check the permissions of the state directory") from error

    def names(self, prefix: str) -> list[str]:
        """Plain files in one folder."""
        try:
            return sorted(f"{prefix}{path.name}" for path in (self.folder / prefix).iterdir() if path.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def delete(self, key: str) -> None:
        """Remove the file and the engine's attributes file beside it."""
        try:
            (self.folder / key).unlink(missing_ok=True)
            (self.folder / f"{key}.attrs").unlink(missing_ok=True)
        except OSError as error:
            raise EngineError(
                "The state cannot be changed.", where=str(error), fix="check the permissions of the state directory"
            ) from error

    def require_room(self) -> None:
        """A folder that can be written, on a disk that is not full."""
        place = next((folder for folder in (self.folder, *self.folder.parents) if folder.is_dir()), self.folder)
        if not os.access(place, os.W_OK):
            raise EngineError("The state cannot be written.", where=str(place), fix="make the state directory writable")
        free = shutil.disk_usage(place).free
        if free < _ROOM:
            raise EngineError(f"Only {free >> 20} MB are free where the state is kept.", where=str(place), fix=f"free {_ROOM >> 20} MB")


class BucketStore:
    """`s3://` backends.

    Args:
        client: a boto3 S3 client.
        bucket: name of the bucket.
        prefix: where in the bucket the state lives, without slashes at either end.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def _call(self, operation: str, doing: str, **parameters: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(Bucket=self._bucket, **parameters)
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, f"{doing} in s3://{self._bucket}") from error

    def read(self, key: str) -> bytes | None:
        """The object's bytes."""
        try:
            answer = self._call("get_object", "reading the state", Key=self._prefix + key)
        except NotFoundError:
            return None
        return bytes(answer["Body"].read())

    def names(self, prefix: str) -> list[str]:
        """Keys below the prefix; at most a thousand, which locks never reach."""
        try:
            answer = self._call("list_objects_v2", "looking for locks", Prefix=self._prefix + prefix)
        except NotFoundError:
            return []
        return [entry["Key"].removeprefix(self._prefix) for entry in answer.get("Contents", [])]

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._call("delete_object", "removing a lock", Key=self._prefix + key)

    def require_room(self) -> None:
        """A bucket is never full."""


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


def checkpoint_key(project: str, stack: str) -> str:
    """Where the engine keeps a stack's state in a folder or bucket."""
    return f".pulumi/stacks/{project}/{stack}.json"


class StateFiles:
    """Checkpoint and locks of one stack in a store, by the engine's own layout."""

    def __init__(self, store: Store, project: str, stack: str) -> None:
        self._store = store
        self._checkpoint = checkpoint_key(project, stack)
        self._locks = f".pulumi/locks/organization/{project}/{stack}/"

    def exists(self) -> bool:
        """Whether the stack exists."""
        return self.checkpoint() is not None

    def deployment(self) -> Deployment | None:
        """The latest deployment: empty for a new stack, None when there is no stack.

        Raises:
            EngineError: the checkpoint is damaged.
        """
        data = self.checkpoint()
        if data is None:
            return None
        try:
            latest = json.loads(data)["checkpoint"].get("latest")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(
                "The stack's state cannot be understood.",
                where=self._checkpoint,
                fix="restore the newest copy below .pulumi/backups of the same backend",
            ) from error
        return latest or {}

    def checkpoint(self) -> bytes | None:
        """The state as it lies there; None when there is no stack."""
        data = self._store.read(self._checkpoint)
        if data is None and (packed := self._store.read(f"{self._checkpoint}.gz")) is not None:
            return gzip.decompress(packed)
        return data

    def locks(self) -> list[RawLock]:
        """Every lock, oldest first."""
        found = []
        for key in self._store.names(self._locks):
            data = self._store.read(key) if key.endswith(".json") else None
            if data is not None:
                found.append(_lock(key, data))
        return sorted(found, key=lambda lock: lock.since)

    def require_room(self) -> None:
        """Raise when the state could not be written."""
        self._store.require_room()

    def remove_lock(self, key: str) -> None:
        """Release a lock."""
        self._store.delete(key)


def _lock(key: str, data: bytes) -> RawLock:
    try:
        content: Mapping[str, Any] = json.loads(data)
    except ValueError:
        content = {}
    stamp = str(content.get("timestamp", ""))
    return RawLock(
        key=key,
        user=str(content.get("username", "unknown")),
        host=str(content.get("hostname", "unknown")),
        pid=int(content.get("pid", 0)),
        since=_instant(stamp),
    )


def _instant(stamp: str) -> datetime:
    """Go writes nanoseconds; Python reads microseconds."""
    head, dot, tail = stamp.partition(".")
    digits = "".join(character for character in tail if character.isdigit())
    zone = tail.lstrip("0123456789") or "+00:00"
    whole = f"{head}.{digits[:6]}{zone}" if dot else head
    try:
        instant = datetime.fromisoformat(whole.replace("Z", "+00:00"))
    except ValueError:
        return datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return instant if instant.tzinfo else instant.astimezone()


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

    `external` ones are merely read: they belong to somebody else. `retained` ones stay when the stack goes.
    """

    urn: str
    type: str
    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    protect: bool = False
    external: bool = False
    retained: bool = False

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
