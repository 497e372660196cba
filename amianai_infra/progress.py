"""Progress on standard error: live lines in a terminal, plain lines elsewhere. Data belongs on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


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
    """Where work reports what it is doing.

    Args:
        quiet: report nothing but `note`s.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet

    @property
    def console(self) -> Console:
        """The standard-error console that everything live is drawn on."""
        from rich.console import Console

        if not hasattr(self, "_console"):
            self._console = Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())
        return self._console

    def note(self, text: str) -> None:
        """One lasting line."""
        self.console.print(text, markup=False)

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:
        """Show `title` while the block runs, then one lasting line with the time it took."""
        started = time.monotonic()
        if self.quiet:
            yield _Silent()
            return
        if not self.console.is_terminal:
            self.note(f"{title} ...")
            yield _Silent()
            self.note(f"{title}: done in {duration(time.monotonic() - started)}")
            return
        with _live(self.console, title) as task:
            yield task
        self.console.print(f"[green]✓[/] {title} [dim]{task.last} {duration(time.monotonic() - started)}[/]")


class _Silent:
    def say(self, text: str) -> None:
        pass

    def total(self, amount: int) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass


@contextmanager
def _live(console: Console, title: str) -> Iterator[_Live]:
    from rich import progress as bars

    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}"),
        bars.BarColumn(bar_width=24),
        bars.TaskProgressColumn(),
        bars.TextColumn("[dim]{task.fields[note]}"),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True) as shown:
        yield _Live(shown, shown.add_task(title, total=None, note=""))


class _Live:
    def __init__(self, shown: object, task: object) -> None:
        self._shown = shown
        self._task = task
        self.last = ""

    def say(self, text: str) -> None:
        from rich.markup import escape

        self.last = escape(text[:80])
        self._shown.update(self._task, note=self.last)  # type: ignore[attr-defined]

    def total(self, amount: int) -> None:
        self._shown.update(self._task, total=amount)  # type: ignore[attr-defined]

    def advance(self, amount: int = 1) -> None:
        self._shown.advance(self._task, amount)  # type: ignore[attr-defined]


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
