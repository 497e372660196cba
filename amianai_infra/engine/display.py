"""An operation on the screen: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from amianai_infra.engine.events import SIGNS, Item, Operation, Record, Summary, done_word, short_type
from amianai_infra.printing import Text, draw, line, show
from amianai_infra.progress import Progress, duration

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.text import Text as Styled

TITLES: dict[Operation, str] = {
    "preview": "Comparing the program with the stack",
    "up": "Updating the stack",
    "refresh": "Reading what is really there",
    "destroy": "Removing the stack",
}
_DOING = {
    "create": "creating",
    "update": "updating",
    "delete": "deleting",
    "replace": "replacing",
    "import": "importing",
    "refresh": "reading",
}
_COLOURS = {"create": "green", "update": "yellow", "delete": "red", "replace": "magenta", "import": "cyan"}
_ROWS = 8
_HEARTBEAT = 60.0
_LONGEST_MESSAGE = 2000


class Display(Protocol):
    """Where an operation is shown."""

    def begin(self, record: Record) -> None:
        """The operation starts."""
        ...

    def changed(self, item: Item) -> None:
        """A resource is finished and differs, or it failed."""
        ...

    def tick(self) -> None:
        """Called about twice a second."""
        ...

    def note(self, text: Text) -> None:
        """One lasting line."""
        ...

    def end(self, summary: Summary | None) -> None:
        """The operation ended; None when it failed or was interrupted."""
        ...


def display_for(progress: Progress) -> Display:
    """The display that fits where `progress` writes."""
    if progress.quiet:
        return Silent()
    if progress.console.is_terminal:
        return Live(progress)
    return Lines(progress)


class Silent:
    """Shows nothing."""

    def begin(self, record: Record) -> None:
        """Nothing."""

    def changed(self, item: Item) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Nothing."""

    def note(self, text: Text) -> None:
        """Even a silent run says that it is being stopped."""
        show(text, err=True)

    def end(self, summary: Summary | None) -> None:
        """Nothing."""


class Lines:
    """One line for each resource that changes, nothing for the others, a sign of life once a minute."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._record: Record | None = None
        self._spoke = time.monotonic()
        self._waited = False

    def begin(self, record: Record) -> None:
        """Says what starts."""
        self._record = record
        self.note(f"{TITLES[record.operation]} ...")

    def changed(self, item: Item) -> None:
        """The resource's line."""
        self.note(f"  {describe(item, _operation(self._record))}")

    def tick(self) -> None:
        """Names what is still under way when nothing was said for a minute; what is waited for at once."""
        if self._record is None:
            return
        waiting, waited = self._record.waiting, self._waited
        self._waited = bool(waiting)
        if bool(waiting) == waited and time.monotonic() - self._spoke < _HEARTBEAT:
            return
        if waiting or waited:
            self.note(f"  ! {waiting}; the engine waits for it" if waiting else "  the state can be written again")
            return
        names = [f"{item.name} ({duration(self._record.clock() - item.started)})" for item in self._record.running()[:3]]
        self.note(f"  still {', '.join(names) or 'waiting for the engine'}")

    def note(self, text: Text) -> None:
        """One line."""
        self._spoke = time.monotonic()
        self._progress.note(text)

    def end(self, summary: Summary | None) -> None:
        """The summary line."""
        if summary is not None and self._record is not None:
            self.note(f"{TITLES[self._record.operation]}: {summary}")


class Live:
    """A table that moves: a bar, what is under way with its time, and a lasting line for everything that changed."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stack = ExitStack()
        self._record: Record | None = None
        self._bar: RenderableType | None = None

    def begin(self, record: Record) -> None:
        """Starts drawing; falls back to lasting lines alone where something else is being drawn already."""
        from rich.errors import LiveError
        from rich.live import Live as Screen

        self._record = record
        screen = Screen(get_renderable=self._draw, console=self._progress.console, refresh_per_second=8, transient=True)
        try:
            self._stack.enter_context(screen)
        except LiveError:
            self.note(f"{TITLES[record.operation]} ...")

    def changed(self, item: Item) -> None:
        """A lasting line above the table."""
        colour = "red" if item.state == "failed" else _COLOURS.get(item.op, "")
        draw(self._progress.console, (f"  {describe(item, _operation(self._record))}", colour))

    def tick(self) -> None:
        """The table draws itself."""

    def note(self, text: Text) -> None:
        """One lasting line."""
        self._progress.note(text)

    def end(self, summary: Summary | None) -> None:
        """Removes the table and leaves the summary line."""
        self._stack.close()
        if self._record is None:
            return
        mark = ("✗ ", "red") if summary is None else ("✓ ", "green")
        said = "stopped after " + duration(self._record.seconds()) if summary is None else str(summary)
        draw(self._progress.console, mark, f"{TITLES[self._record.operation]}: ", (said, "dim"))

    def _draw(self) -> Group:
        from rich.columns import Columns
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text as Styled

        record = self._record
        if record is None:
            return Group()
        done, expected = record.done(), record.expected
        total = max(expected, done) if expected else None
        if self._bar is None:
            self._bar = Spinner("dots", TITLES[record.operation])
        count = f"{done}/{total}" if total else str(done)
        bar = ProgressBar(total=total, completed=done, width=24, pulse=total is None)
        head = Columns([self._bar, bar, Styled(f"{count} {duration(record.seconds())}", "dim")])
        running = record.running()
        waiting = [Styled(line(f"  ! {record.waiting}; the engine waits for it"), "yellow")] if record.waiting else []
        table = Table.grid(padding=(0, 2))
        for item in running[:_ROWS]:
            table.add_row(*_row(item, record.clock()))
        if len(running) > _ROWS:
            table.add_row("", Styled(f"and {len(running) - _ROWS} more", "dim"))
        return Group(head, *waiting, table)


def _row(item: Item, now: float) -> tuple[Styled, ...]:
    from rich.text import Text as Styled

    colour = _COLOURS.get(item.op, "dim")
    return (
        Styled(f"  {SIGNS.get(item.op, ' ')} {_DOING.get(item.op, 'looking at')}", colour),
        Styled(line(item.name)),
        Styled(line(short_type(item.type)), "dim"),
        Styled(duration(now - item.started), "dim"),
    )


def _operation(record: Record | None) -> Operation:
    return record.operation if record is not None else "up"


def describe(item: Item, operation: Operation = "up") -> str:
    """One resource in one line: `+ created ec2 Vpc network-vpc (1.2 s)`, `~ update rds Instance database-instance: storage`."""
    what = f"{short_type(item.type)} {item.name}"
    sign = SIGNS.get(item.op, " ")
    if item.state == "failed":
        return f"! failed to {item.op} {what} ({duration(item.seconds)})"
    diffs = f": {', '.join(item.diffs[:6])}{', ...' if len(item.diffs) > 6 else ''}" if item.diffs and item.op != "create" else ""
    if item.planning:
        return f"{sign} {item.op} {what}{diffs}"
    return f"{sign} {done_word(operation, item.op)} {what} ({duration(item.seconds)}){diffs}"


def shorten(message: str) -> str:
    """A message cut to what still fits a screen."""
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} ..."
