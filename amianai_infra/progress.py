"""Progress on standard error: live lines in a terminal, plain lines elsewhere. Data belongs on standard output."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from amianai_infra import printing

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class Task(Protocol):
    """One piece of long work that is under way."""

    def say(self, text: str) -> None:
        """Replace the note behind the title."""
        ...

    def total(self, amount: int) -> None:
        """State how much there is to do; turns the spinner into a bar."""
        ...

    def advance(self, amount: int = 1) -> None:
        """Report that `amount` more is done."""
        ...


class Progress:
    """Where work reports what it is doing. Tasks may be nested and may run in several threads.

    Args:
        quiet: report nothing but `note`s.
        verbose: also report `detail`s.
        console: where to draw; standard error when not given.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, console: Console | None = None) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self._given = console
        self._lock = threading.RLock()
        self._bars: Bars | None = None
        self._open = 0

    @cached_property
    def console(self) -> Console:
        """The standard-error console that everything live is drawn on."""
        return self._given or printing.screen(stderr=True, soft_wrap=not sys.stderr.isatty())

    @cached_property
    def _bare(self) -> bool:
        """Whether plain lines do: then rich, which takes 0.1 s to import, is not loaded."""
        return self._given is None and not sys.stderr.isatty() and not printing.coloured()

    def note(self, text: printing.Text) -> None:
        """One lasting line, or several. That nobody reads it any more does not end the work."""
        if self._bare:
            printing.show(text, err=True)
        else:
            for line in [text] if isinstance(text, str) else text:
                self._draw(line)

    def detail(self, text: printing.Text) -> None:
        """What only `--verbose` shows."""
        if self.verbose:
            self.note(text)

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:
        """Show `title` while the block runs, then one lasting line with what was last said and the time it took."""
        started = time.monotonic()
        if self.quiet:
            yield _Plain()
        elif not self._bare and self.console.is_terminal:
            with self._shown(title, started) as task:
                yield task
        else:
            with self._told(title, started) as task:
                yield task

    @contextmanager
    def _told(self, title: str, started: float) -> Iterator[Task]:
        self.note(f"{title} ...")
        task = _Plain()
        try:
            yield task
        except BaseException:
            self.note(f"{title}: failed after {duration(time.monotonic() - started)}")
            raise
        self.note(f"{title}: {task.last or 'done'} ({duration(time.monotonic() - started)})")

    @contextmanager
    def _shown(self, title: str, started: float) -> Iterator[Task]:
        bars = self._acquire()
        task = _Live(bars, bars.add_task(printing.line(title), total=None, note=""))
        mark, said = ("✗", "red"), ""
        try:
            yield task
            mark, said = ("✓", "green"), task.last
        finally:
            bars.remove_task(task.id)
            self._release()
            self._draw(mark, f" {title} ", (f"{said or task.shown} {duration(time.monotonic() - started)}", "dim"))

    def _draw(self, *parts: str | tuple[str, str]) -> None:
        with self._lock:  # bars begin and end with it, too
            printing.draw(self.console, *parts)

    def _acquire(self) -> Bars:
        with self._lock:
            if self._bars is None:
                self._bars = _bars(self.console)
                self._bars.start()
            self._open += 1
            return self._bars

    def _release(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None


class _Plain:
    last = ""

    def say(self, text: str) -> None:
        self.last = text

    def total(self, amount: int) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass


def _bars(console: Console) -> Bars:
    from rich import progress as bars

    return bars.Progress(
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=24),
        bars.TaskProgressColumn(),
        bars.TextColumn("{task.fields[note]}", style="dim", markup=False),
        bars.TimeElapsedColumn(),
        console=console,
        transient=True,
    )


_NOTE = 80
"""Characters of what is said beside a bar. Of work that ended well the whole of it stays."""


class _Live:
    def __init__(self, shown: Bars, identity: TaskID) -> None:
        self._shown = shown
        self.id = identity
        self.last = ""

    @property
    def shown(self) -> str:
        """What was last said, as far as it fits beside the bar."""
        return printing.line(self.last if len(self.last) <= _NOTE else f"{self.last[: _NOTE - 1]}…")

    def say(self, text: str) -> None:
        self.last = text
        self._shown.update(self.id, note=self.shown)

    def total(self, amount: int) -> None:
        self._shown.update(self.id, total=amount)

    def advance(self, amount: int = 1) -> None:
        self._shown.advance(self.id, amount)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 5 min`, `1 d 2 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 1440 else f"{minutes // 1440} d {minutes // 60 % 24} h"
