"""Independent pieces of work at the same time, with an end when a person interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path


def side_by_side(work: Sequence[Callable[[], object]]) -> None:
    """Run the pieces in threads and wait for all; the first error is raised.

    An interruption reaches the main thread alone. What the others wait for are programs (compilers, package managers) in sessions of
    their own, which the terminal's Ctrl-C does not reach either: they are ended here, so that nobody waits for minutes.
    """
    with ThreadPoolExecutor(max_workers=max(len(work), 1)) as pool:
        futures = [pool.submit(piece) for piece in work]
        try:
            for future in futures:
                future.result()
        except KeyboardInterrupt:
            _end(futures)
            raise


def _end(futures: Sequence[Future[object]]) -> None:
    for future in futures:
        future.cancel()
    unfinished: set[Future[object]] = set(futures)
    while unfinished:
        for child in _children():
            _terminate(child)
        unfinished = wait(unfinished, timeout=0.5).not_done


def _terminate(process: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process) == process:
            os.killpg(process, signal.SIGTERM)
        else:
            os.kill(process, signal.SIGTERM)


def _children() -> list[int]:
    """The processes that this one started."""
    return [process for process, parent in _processes() if parent == os.getpid()]


def _processes() -> Iterator[tuple[int, int]]:
    """Every process and its parent: from /proc where there is one, else from `ps`."""
    entries = [entry for entry in Path("/proc").glob("[0-9]*/stat")] if Path("/proc/self/stat").exists() else None
    if entries is None:
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, errors="replace", check=False).stdout
        yield from ((int(process), int(parent)) for process, parent in map(str.split, listed.splitlines()))
        return
    for entry in entries:
        with suppress(OSError):
            # The name in parentheses may hold anything; what follows it is: state, parent.
            yield int(entry.parent.name), int(entry.read_text(errors="replace").rpartition(")")[2].split()[1])
