"""The release lock: one object in the site's bucket that only conditional writes change.

A free lock is an empty object (or none), so that a listing shows whether a release is under way or was cut off. A held
lock says who, where, since when and what new files it is about to write. Its holder renews it; one that is not renewed is
taken over, which is always said. A release that fails leaves a note in its place, so that the next one finishes what it
began. No lock has to be cleared by hand.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from amianai_infra.errors import AmianaiError, LockedError, NotFoundError
from amianai_infra.machine import machine
from amianai_infra.naming import is_id
from amianai_infra.progress import duration
from amianai_infra.site.manifest import LOCK
from amianai_infra.site.store import ConflictError

if TYPE_CHECKING:
    from amianai_infra.site.store import Content, Written

HEARTBEAT = 10.0
"""Seconds between two renewals."""

STALE = 60.0
"""Seconds without a renewal after which the holder counts as dead."""

_ATTRIBUTES = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}


class LockStore(Protocol):
    """What the lock needs of the bucket."""

    def get(self, key: str, version: str | None = None) -> Content:
        """Read an object; NotFoundError when it is not there."""
        ...

    def put(self, key: str, data: bytes, attributes: dict[str, str], *, replaces: str | None) -> Written:
        """Write it, provided that it is what it was; ConflictError otherwise."""
        ...


@dataclass(frozen=True)
class Holder:
    """Who holds the lock.

    Attributes:
        token: unique to one release.
        who: user and host, for people.
        machine: which machine and process table the process id belongs to.
        process: process id.
        born: when that process started, as the system tells it; process ids are used again.
        started: seconds since 1970.
        doing: `deploy`, `rollback` or `takedown`.
        release: number of the release in the making.
        pending: files that it is about to add to the bucket.
        ended: it gave up, and what it began is not finished.
    """

    token: str
    who: str
    machine: str
    process: int
    born: str
    started: float
    doing: str
    release: int
    pending: tuple[str, ...] = ()
    ended: bool = False


def whoami() -> str:
    """User and host, for people."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def born(process: int) -> str:
    """When a process started, in a form that only serves to compare; empty where the system does not tell."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def alive(process: int, started: str) -> bool:
    """Whether that very process still runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return not started or born(process) in ("", started)


class Lock:
    """The lock of one bucket, as one release holds it. Use it as a context manager, after `acquire`.

    Args:
        store: the bucket.
        say: where to tell what happens.
        clock: seconds since 1970.
        sleep: how to wait.
        heartbeat: seconds between renewals.
        stale: seconds without renewal after which a holder counts as dead.
    """

    def __init__(
        self,
        store: LockStore,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        heartbeat: float = HEARTBEAT,
        stale: float = STALE,
    ) -> None:
        self._store = store
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._heartbeat = heartbeat
        self._stale = stale
        self._etag: str | None = None
        self._holder: Holder | None = None
        self._lost = ""
        self._renewed = (0.0, 0.0)
        self._ended = threading.Event()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self.settled = True
        """Whether everything that was begun is finished; decides what is left when the lock is given back."""

    def acquire(self, doing: str, release: int, pending: tuple[str, ...] = (), wait: float = 0.0) -> Holder | None:
        """Take the lock.

        Args:
            doing: `deploy`, `rollback` or `takedown`.
            release: number of the release in the making.
            pending: files it is about to add to the bucket; whoever takes the lock over accounts for them.
            wait: seconds to wait for another holder to finish.

        Returns:
            The holder it was taken over from, None when it was free.

        Raises:
            LockedError: somebody else holds it and is at work.
        """
        deadline = time.monotonic() + wait
        told = False
        while True:
            found = self._read()
            holder = _parse(found.data) if found and found.data else None
            if holder and found and self._holds(holder, found):
                if time.monotonic() >= deadline:
                    raise self._refusal(holder, found)
                if not told:
                    self._say(f"Waiting for the release of {holder.who} (since {_ago(self._clock() - holder.started)}).")
                    told = True
                self._sleep(min(2.0, self._heartbeat))
                continue
            before = holder.pending if holder else ()
            if self._take(doing, release, tuple(dict.fromkeys((*before, *pending))), found.etag if found else None):
                if holder:
                    self.settled = False
                    self._say(f"Finishing what {holder.who} began: its {holder.doing} was cut off {_ago(self._age(found))}.")
                return holder

    def holder(self) -> Holder | None:
        """Whose it is, whether at work or cut off; None where it is free."""
        found = self._read()
        return _parse(found.data) if found and found.data else None

    def _take(self, doing: str, release: int, pending: tuple[str, ...], replaces: str | None) -> bool:
        from uuid import uuid4

        process, now = os.getpid(), self._now()
        holder = Holder(uuid4().hex, whoami(), machine(), process, born(process), self._clock(), doing, release, pending)
        try:
            self._etag = self._store.put(LOCK, _encode(holder), _ATTRIBUTES, replaces=replaces).etag
        except (ConflictError, NotFoundError):
            return False
        self._holder = holder
        self._renewed = now
        return True

    def _read(self) -> Content | None:
        try:
            return self._store.get(LOCK)
        except NotFoundError:
            return None

    def _holds(self, holder: Holder, found: Content) -> bool:
        """Whether that holder is still at work."""
        if holder.ended:
            return False
        if holder.machine == machine():
            living = alive(holder.process, holder.born)
            if not living or holder.born:
                return living
            # The system does not tell when a process started: this one may be another that got the same id.
        if self._age(found) < self._stale:
            return True
        # Our clock may be wrong: a holder that lives renews the lock within a heartbeat and a half.
        self._sleep(1.5 * self._heartbeat)
        again = self._read()
        return again is not None and again.etag != found.etag and bool(again.data)

    def _age(self, found: Content | None) -> float:
        return self._clock() - found.modified if found else 0.0

    def _refusal(self, holder: Holder, found: Content) -> LockedError:
        return LockedError(
            f"{holder.who} is releasing right now ({holder.doing} {holder.release}, since {_ago(self._clock() - holder.started)}, "
            f"last sign of life {_ago(self._age(found))}).",
            where=f"{LOCK} in the site's bucket",
            fix=self._way_out(holder, self._stale - self._age(found)),
        )

    @staticmethod
    def _way_out(holder: Holder, left: float) -> str:
        """What to do, where the holder may be taken for dead after so many seconds."""
        if left > 0:
            return f"wait for it (--wait 5m); if it has died, the lock is taken over by any release {duration(left)} from now"
        if holder.machine != machine():
            return "wait for it (--wait 5m): it renews the lock, though by this machine's clock, which is ahead, it did not"
        return (
            f"its process {holder.process} on this machine is stopped or hangs: `kill -CONT {holder.process}` lets it go on, "
            f"`kill -KILL {holder.process}` ends it; once it has ended, any release takes the lock over"
        )

    def announce(self, pending: tuple[str, ...]) -> None:
        """Correct what is about to be added, when the plan had to be made again."""
        if self._holder is not None and not set(pending) <= set(self._holder.pending):
            self._holder = replace(self._holder, pending=tuple(dict.fromkeys((*self._holder.pending, *pending))))
            self._renew()

    def check(self) -> None:
        """Make sure that the lock is still ours.

        Raises:
            LockedError: it is not, or it could not be renewed for so long that somebody may have taken it.
        """
        silent = max(now - then for now, then in zip(self._now(), self._renewed, strict=True))
        if self._lost or silent > self._stale * 0.7:
            raise LockedError(
                self._lost or f"The release lock could not be renewed for {duration(silent)}.",
                where=f"{LOCK} in the site's bucket",
                fix="run the command again: it goes on where this one stopped",
            )

    def confirm(self) -> None:
        """Renew the lock now, before something that must not happen without it.

        Raises:
            LockedError: it is not ours any more.
            AmianaiError: it could not be renewed.
        """
        self._renew()
        self.check()

    def _now(self) -> tuple[float, float]:
        """Both clocks: the monotonic one may stand still while a laptop sleeps, the other one may be set back."""
        return time.monotonic(), self._clock()

    def _renew(self) -> None:
        with self._turn:
            if self._holder is None:
                return
            now = self._now()  # before the write: the machine may be asleep for long until its answer is read
            try:
                self._etag = self._store.put(LOCK, _encode(self._holder, time.time()), _ATTRIBUTES, replaces=self._etag).etag
            except (ConflictError, NotFoundError):
                self._lost = "Somebody else took over the release lock."
                self._holder = None
                return
            self._renewed = now

    def _beat(self) -> None:
        while not self._ended.wait(self._heartbeat):
            try:
                self._renew()
            except AmianaiError:
                continue

    def __enter__(self) -> Lock:
        self._thread = threading.Thread(target=self._beat, name="release lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with self._turn:
            if self._holder is None:
                return
            left = b"" if self.settled else _encode(replace(self._holder, ended=True))
            self._holder = None
            try:
                self._store.put(LOCK, left, _ATTRIBUTES, replaces=self._etag)
            except AmianaiError as failure:
                self._say(f"The release lock could not be given back ({failure.what}); the next release takes it over.")


def _encode(holder: Holder, renewed: float = 0.0) -> bytes:
    return json.dumps({**asdict(holder), "renewed": renewed}).encode()


def _parse(data: bytes) -> Holder | None:
    """The holder; None when the lock holds something that we did not write, which is then as good as free."""
    try:
        raw = json.loads(data)
        found = Holder(**{name: raw[name] for name in Holder.__dataclass_fields__} | {"pending": tuple(raw["pending"])})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if _ours(found) else None


def _ours(found: Holder) -> bool:
    """Whether every field holds what we write into it."""
    texts = (found.who, found.machine, found.born, *found.pending)
    return (
        is_id(found.token)
        and all(isinstance(one, str) for one in texts)
        and found.doing in ("deploy", "rollback", "takedown")
        and type(found.ended) is bool
        and all(type(one) is int and 0 < one < 1 << 31 for one in (found.process, found.release))
        and type(found.started) in (int, float)
        and abs(found.started) < 1e12
    )


def _ago(seconds: float) -> str:
    return f"{duration(max(0.0, seconds))} ago"
