"""Runs what others wrote, a build or a package manager: folded to one line while it runs, and explained when it fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from amianai_infra.errors import BuildError

if TYPE_CHECKING:
    from amianai_infra.progress import Task

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_CAUSE = re.compile(r"\b(?:error|err!|fatal|failed|cannot|can't|exception)(?!\w)|\bERR_", re.IGNORECASE)
_HEAD = 15
_TAIL = 25
_LONGEST = 400
_PIECE = 64 * 1024
_PATIENCE = 5.0
"""Seconds that an interrupted program has to end by itself."""


class Excerpt:
    """What is shown of a long output: the first lines of the cause, and the last ones."""

    def __init__(self) -> None:
        self._count = 0
        self._head: list[tuple[int, str]] = []
        self._tail: deque[tuple[int, str]] = deque(maxlen=_TAIL)

    def add(self, line: str) -> None:
        """Take the next line. An error may be followed by a page of advice, so what comes first counts as its cause."""
        self._count += 1
        numbered = (self._count, line if len(line) <= _LONGEST else line[:_LONGEST] + "…")
        if len(self._head) < _HEAD and (self._head or _CAUSE.search(line)):
            self._head.append(numbered)
        self._tail.append(numbered)

    def lines(self) -> list[str]:
        """What to show."""
        first = self._tail[0][0] if self._tail else 0
        head = [one for one in self._head if one[0] < first]
        left_out = first - head[-1][0] - 1 if head else 0
        gap = [f"… {left_out} more lines, which the log has …"] if left_out else []
        return [line for _, line in head] + gap + [line for _, line in self._tail]


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, task: Task, what: str) -> None:
    """Run a program to its end; what it started ends with it when it is interrupted.

    Args:
        command: program and arguments.
        folder: where.
        environment: all that it gets.
        log: file for all of its output.
        task: is told each line.
        what: what has failed when it fails.

    Raises:
        BuildError: it failed; the beginning of the cause and the last lines are shown.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    excerpt = Excerpt()
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None  # noqa: S101
            for line in _lines(process.stdout, kept):
                plain = _CONTROL.sub("", line).strip()
                if plain:
                    excerpt.add(plain)
                    task.say(plain)
        except BaseException:
            _end(process)
            raise
        code = process.wait()
    if code != 0:
        shown = "\n".join(excerpt.lines())
        raise BuildError(
            f"{what} ({_ending(code)}):\n{shown}", where=f"{folder}; all of its output: {log}", fix="correct it and run it again"
        )


def _lines(stream: IO[str], kept: IO[str]) -> Iterator[str]:
    """The beginning of each line. All is kept in the log, and no line has to fit into memory."""
    begins = True
    while piece := stream.readline(_PIECE):
        kept.write(piece)
        if begins:
            yield piece
        begins = piece.endswith("\n")


def _ending(code: int) -> str:
    """How a program ended: its exit code, or the signal that ended it, which a shell tells as 128 and its number."""
    number = -code if code < 0 else code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"exit code {code}"
    told = f"ended by {name}" if code < 0 else f"exit code {code}: ended by {name}"
    return f"{told}, as the system does when memory runs out" if name == "SIGKILL" else told


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and everything it started; at once where somebody cannot wait."""
    try:
        _signal(process, signal.SIGTERM)
        process.wait(timeout=_PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        _signal(process, signal.SIGKILL)  # what it started may not have heeded the first


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
