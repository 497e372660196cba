"""Who holds the stack's lock, and whether that process still lives."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from amianai_infra.engine import process
from amianai_infra.engine.backend import RawLock
from amianai_infra.errors import LockedError
from amianai_infra.machine import machine
from amianai_infra.progress import duration

_CLOCK_SLACK = 5.0
_KEPT = 30 * 86400.0  # how long the record of an engine that did not end well may serve


@dataclass(frozen=True)
class Lock:
    """A lock on the stack.

    Attributes:
        key: its name in the state backend.
        owner: user that runs the operation.
        host: machine it runs on.
        pid: process id there.
        since: when it was taken.
        age: seconds since then.
        alive: whether the process lives; None when it is, or may be, on another machine.
    """

    key: str
    owner: str
    host: str
    pid: int
    since: datetime
    age: float
    alive: bool | None

    @property
    def id(self) -> str:
        """What tells it from other locks: the last part of its key."""
        return self.key.rpartition("/")[2].removesuffix(".json")

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"id": self.id, **asdict(self), "since": self.since.isoformat(), "age": round(self.age, 1)}

    def __str__(self) -> str:
        return f"{self.owner}@{self.host} (process {self.pid}), for {duration(self.age)}"


def judge(raw: RawLock, *, here: bool, host: str | None = None, now: float | None = None) -> Lock:
    """Find out whether the process behind a lock lives.

    A process of the same id that started after the lock was taken is somebody else's.

    Args:
        raw: the lock.
        here: it is known that this machine ran the process. Else its absence tells nothing: containers and copied machines share
            a host name, not their processes.
        host: name of this machine.
        now: seconds since 1970.
    """
    alive: bool | None = None
    if raw.host == (host or socket.gethostname()):
        alive = _lives(raw) or (False if here else None)
    age = max(0.0, (now or time.time()) - raw.since.timestamp())
    return Lock(raw.key, raw.user, raw.host, raw.pid, raw.since, age, alive)


def _lives(raw: RawLock) -> bool:
    if not process.alive(raw.pid):
        return False
    began = process.started_at(raw.pid)
    return began is None or began <= raw.since.timestamp() + _CLOCK_SLACK


def refuse(lock: Lock) -> LockedError:
    """The error for a lock that somebody else holds."""
    return LockedError(
        "Another operation is working on this stack.",
        where=f"locked by {lock}",
        fix="wait until it ends; if that process is gone, release the lock with `amianai state unlock`",
    )


class Runs:
    """Which engine processes this machine ran for us, so that one left behind by a kill, and its lock, are recognised.

    The record of an engine that ended well is dropped at once; any other one may have left a lock, and stays.

    Args:
        folder: where to keep one small file per engine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, engine: int) -> None:
        """Note that an engine was started by this process."""
        me = os.getpid()
        entry = {
            "owner": me,
            "began": process.started_at(me),
            "engine": process.started_at(engine),
            "machine": machine(),
            "at": time.time(),
        }
        with suppress(OSError):  # a full disk costs the convenience of recovering by itself, nothing else
            self._folder.mkdir(parents=True, exist_ok=True)
            self._prune()
            self._path(engine).write_text(json.dumps(entry))

    def forget(self, engine: int) -> None:
        """The engine ended well."""
        with suppress(OSError):
            self._path(engine).unlink()

    def ran(self, engine: int, since: float) -> bool:
        """Whether this machine ran that engine, and did before it took a lock at `since` (seconds since 1970)."""
        found = self._read(engine)
        return bool(found) and float(found.get("at") or 0) <= since + _CLOCK_SLACK

    def orphaned(self, engine: int) -> bool:
        """Whether the process is an engine of ours whose starter is gone."""
        found = self._read(engine)
        try:
            owner, began, engine_began = int(found["owner"]), found["began"], found.get("engine")
        except (ValueError, KeyError, TypeError):
            return False
        if engine_began is not None and process.started_at(engine) not in (None, engine_began):
            return False  # the id was given to another process since
        return not process.alive(owner) or (began is not None and process.started_at(owner) != began)

    def _read(self, engine: int) -> dict[str, Any]:
        """What was recorded on this machine; empty when nothing was."""
        try:
            found = json.loads(self._path(engine).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("machine") == machine() else {}

    def _prune(self) -> None:
        for path in self._folder.glob("*.json"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _KEPT:
                    path.unlink()

    def _path(self, engine: int) -> Path:
        return self._folder / f"{engine}.json"
