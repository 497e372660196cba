"""Who holds the stack's lock, and whether that process still lives."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from amianai_infra.engine import process
from amianai_infra.engine.backend import RawLock
from amianai_infra.errors import LockedError
from amianai_infra.progress import duration

_CLOCK_SLACK = 5.0


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
        alive: whether the process lives; None when it is on another machine.
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


def judge(raw: RawLock, *, host: str | None = None, now: float | None = None) -> Lock:
    """Find out whether the process behind a lock lives.

    A process of the same id that started after the lock was taken is somebody else's.
    """
    alive: bool | None = None
    if raw.host == (host or socket.gethostname()):
        alive = process.alive(raw.pid)
        began = process.started_at(raw.pid) if alive else None
        if began is not None and began > raw.since.timestamp() + _CLOCK_SLACK:
            alive = False
    age = max(0.0, (now or time.time()) - raw.since.timestamp())
    return Lock(raw.key, raw.user, raw.host, raw.pid, raw.since, age, alive)


def refuse(lock: Lock) -> LockedError:
    """The error for a lock that somebody else holds."""
    return LockedError(
        "Another operation is working on this stack.",
        where=f"locked by {lock}",
        fix="wait until it ends; if that process is gone, release the lock with `amianai state unlock`",
    )


class Runs:
    """Which of our processes started which engine process, so that one left behind by a kill is recognised.

    Args:
        folder: where to keep one small file per running engine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def recorded(self) -> Iterator[Callable[[int], None]]:
        """Gives a function that records the engine's process id; the record is dropped at the end of the block."""
        paths: list[Path] = []

        def record(engine: int) -> None:
            path = self._path(engine)
            paths.append(path)
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"owner": os.getpid(), "began": process.started_at(os.getpid())}))
            except OSError:
                return  # a full disk costs the convenience of waiting, nothing else

        try:
            yield record
        finally:
            for path in paths:
                with suppress(OSError):
                    path.unlink()

    def orphaned(self, engine: int) -> bool:
        """Whether the process is an engine of ours whose starter is gone."""
        try:
            record = json.loads(self._path(engine).read_text())
            owner, began = int(record["owner"]), record["began"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return not process.alive(owner) or (began is not None and process.started_at(owner) != began)

    def _path(self, engine: int) -> Path:
        return self._folder / f"{engine}.json"
