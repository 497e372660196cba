"""Performs a plan: groups in order, many connections, everything checked as it is read.

A partial failure names what was done and what was not. Running again goes on: what arrived is recognised by its content.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from amianai_infra.errors import AmianaiError, BuildError, LockedError, UnreachableError
from amianai_infra.rules.addresses import MISSING
from amianai_infra.rules.header_rules import attributes
from amianai_infra.rules.viewer_function import STATUS
from amianai_infra.site.manifest import Entry
from amianai_infra.site.plan import Group, Upload
from amianai_infra.site.store import CONNECTIONS, ConflictError, Written
from amianai_infra.site.tree import PART, etag_of_parts, located, parts, read_small

IN_FLIGHT = 12 * 1024 * 1024
"""Bytes of files above 64 KiB that are held in memory at a time; smaller ones are bounded by the connections."""

_SMALL = 64 * 1024
_TRIES = 4
_GRACE = 5.0
_STACK = 256 * 1024


class Store(Protocol):
    """What an upload needs of the bucket."""

    def put(self, key: str, data: bytes, attributes: dict[str, str], *, replaces: str | None) -> Written:
        """Write an object, provided that it is what it was."""
        ...

    def put_parts(self, key: str, parts: Iterator[bytes], attributes: dict[str, str]) -> Written:
        """Write a big object in parts."""
        ...


class _Budget:
    """Lets through as many bytes at a time as fit; a file that is bigger waits until it is alone."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._turn = threading.Condition()

    def take(self, amount: int) -> int:
        wanted = min(amount, self._size)
        with self._turn:
            self._turn.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        return wanted

    def give(self, amount: int) -> None:
        with self._turn:
            self._free += amount
            self._turn.notify_all()


@dataclass
class _Run:
    """One group under way, shared by its threads. A deque and a dictionary need no lock for what is done to them here."""

    waiting: deque[Upload]
    done: dict[str, Entry]
    failed: list[tuple[Upload, BaseException]] = field(default_factory=list)

    def next(self) -> Upload | None:
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def stop(self) -> None:
        self.waiting.clear()


class Executor:
    """Uploads files from one folder.

    Args:
        root: the folder.
        store: the bucket.
        check: raises when the release must not go on; asked before every group, every file and every part of a big one.
        advance: told after every file.
        connections: uploads at a time.
    """

    def __init__(
        self, root: Path, store: Store, check: Callable[[], None], advance: Callable[[int], None], connections: int = CONNECTIONS
    ) -> None:
        self._root = str(root)
        self._store = store
        self._check = check
        self._advance = advance
        self._connections = connections
        self._budget = _Budget(IN_FLIGHT)
        self._alone = threading.Lock()

    def run(self, uploads: Sequence[Upload], before_pages: Callable[[], None] = lambda: None) -> dict[str, Entry]:
        """Upload everything; a group begins when the one before it is complete.

        Args:
            uploads: what to upload.
            before_pages: called when all that is new is there, and before anything that names it.

        Raises:
            BuildError: a file changed while it was read.
            LockedError: somebody else wrote to the bucket.
            AmianaiError: a file could not be uploaded after all tries.
        """
        done: dict[str, Entry] = {}
        for group in Group:
            if group is Group.PAGES:
                before_pages()
            members = [upload for upload in uploads if upload.group == group]
            if members:
                self._check()
                self._run_group(members, done, len(uploads))
        return done

    def _run_group(self, members: Sequence[Upload], done: dict[str, Entry], total: int) -> None:
        run = _Run(deque(members), done)
        threads = [
            threading.Thread(target=self._work, args=(run,), name=f"upload {number}", daemon=True)
            for number in range(min(self._connections, len(members)))
        ]
        before = threading.stack_size(_STACK)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            run.stop()
            leave(threads)
            raise
        finally:
            threading.stack_size(before)
        if run.failed:
            raise _failure(run.failed, len(done), total)

    def _work(self, run: _Run) -> None:
        while (upload := run.next()) is not None:
            try:
                entry = self._upload(upload)
            except BaseException as error:
                run.failed.append((upload, error))
                run.stop()
                return
            run.done[upload.path] = entry
            self._advance(1)

    def _upload(self, upload: Upload) -> Entry:
        kept = {"Content-Type": upload.content_type, "Cache-Control": upload.cache_control, **dict(attributes(upload.headers))}
        if upload.path.endswith(f"/{MISSING}"):
            kept[STATUS] = "404"
        where = located(self._root, upload)
        if upload.size > PART:
            with self._alone:
                written = self._upload_parts(where, upload, kept)
        elif upload.size <= _SMALL:
            written = self._put(where, upload, kept)
        else:
            taken = self._budget.take(upload.size)
            try:
                written = self._put(where, upload, kept)
            finally:
                self._budget.give(taken)
        same = written.etag == upload.etag  # then one text is kept, not two
        etag, digest = (upload.etag, "") if same else (written.etag, upload.etag)
        return Entry(etag, upload.size, upload.content_type, upload.cache_control, written.version, digest, upload.headers)

    def _put(self, where: str, upload: Upload, attributes: dict[str, str]) -> Written:
        data = _checked(where, upload)
        self._check()  # last of all: whoever waited for the budget may have lost the lock meanwhile
        return self._store.put(upload.path, data, attributes, replaces=upload.replaces)

    def _upload_parts(self, where: str, upload: Upload, attributes: dict[str, str]) -> Written:
        """Upload one big file; what begins and ends an upload in parts is not repeated by the library."""
        for attempt in range(1, _TRIES + 1):
            self._check()
            try:
                return self._store.put_parts(upload.path, _checked_parts(where, upload, self._check), attributes)
            except UnreachableError:
                if attempt == _TRIES:
                    raise
        raise AssertionError("unreachable")


def _checked(where: str, upload: Upload) -> bytes:
    """The file's content, which must be what was planned."""
    try:
        descriptor = os.open(where, os.O_RDONLY)
    except OSError as error:
        raise _changed(upload) from error
    try:
        data = read_small(descriptor)
    finally:
        os.close(descriptor)
    if data is None or hashlib.md5(data, usedforsecurity=False).hexdigest() != upload.etag:
        raise _changed(upload)
    return data


def _checked_parts(where: str, upload: Upload, check: Callable[[], None]) -> Iterator[bytes]:
    """The file in parts, each after a check. The last one is held back until the whole is known to be what was planned."""
    digests: list[bytes] = []
    held: bytes | None = None
    try:
        with open(where, "rb") as stream:  # noqa: PTH123
            for part in parts(stream):
                if held is not None:
                    check()
                    yield held
                digests.append(hashlib.md5(part, usedforsecurity=False).digest())
                held = part
    except OSError as error:
        raise _changed(upload) from error
    if held is None or etag_of_parts(digests) != upload.etag:
        raise _changed(upload)
    check()
    yield held


def _changed(upload: Upload) -> BuildError:
    return BuildError(
        f"{upload.path} changed while it was being published.",
        where=upload.path,
        fix="let the build finish, then run the command again; the pages that name it were not touched",
    )


def _failure(failed: Sequence[tuple[Upload, BaseException]], done: int, total: int) -> AmianaiError:
    upload, error = failed[0]
    progress = f"{done} of {total} files were uploaded, {total - done} were not (first: {upload.path})"
    if isinstance(error, ConflictError):
        return LockedError(
            f"Somebody else changed {upload.path} during this release; {progress}.",
            where=error.where,
            fix="see `amianai releases`, then run the command again",
        )
    if isinstance(error, AmianaiError):
        error.what = f"{error.what.rstrip('.')}; {progress}."
        error.fix = error.fix or "run the command again: it goes on where this one stopped"
        return error
    failure = AmianaiError(f"Uploading {upload.path} failed ({error}); {progress}.", where=upload.path, fix="run the command again")
    failure.__cause__ = error
    return failure


def leave(threads: Sequence[threading.Thread]) -> None:
    """Wait a moment for what is under way. A thread that still waits for the network must not meet the interpreter's end."""
    deadline = time.monotonic() + _GRACE
    for thread in threads:
        if thread.is_alive():
            thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        atexit.register(os._exit, 130)
