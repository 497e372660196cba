"""The one way out: whatever is printed, on standard output or standard error, goes through here.

What others wrote (names, messages, rows, logs) may hold escape sequences that a terminal obeys, line breaks that forge a line of ours, and
commands that a CI system obeys. So a text is a list of lines, and a `str` is one line: a line break inside it is shown, not obeyed, like
every other character that does not print. Only this module writes.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

Text = str | Iterable[str]
"""One line, or several."""

GUTTER = "| "
"""Stands before every line that is not the first of a text that others wrote."""

_COMMAND = r"^(\s*):(?=:.*::)|#(?=#\w*\[)"
"""What a runner of GitHub Actions (or of Azure Pipelines, TeamCity) takes for a command: `::name ...::` after any space, `##[` anywhere.

Source: actions/runner, ActionCommand.cs.
"""


_GONE = (errno.EPIPE, errno.EIO)
"""How a pipe that nobody reads answers, and a terminal that was closed."""


class OutputClosedError(Exception):
    """Whoever read our standard output has gone. It is not an `OSError`, so that it is told from a connection that broke."""


def printable(text: object) -> str:
    """A value on one line, whatever it holds: what does not print (controls, line breaks, bidirectional marks) is escaped as in Python."""
    shown = str(text)
    return shown if shown.isprintable() else "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in shown)


def line(text: str) -> str:
    """A line as it is printed: tabs stay, what a CI system would take for a command is broken with an escape that JSON knows, too."""
    shown = "\t".join(map(printable, text.split("\t")))
    return re.sub(_COMMAND, lambda found: f"{found[1] or ''}\\u{ord(found[0][-1]):04x}", shown)


def under(head: str, text: str) -> list[str]:
    """A text of several lines behind its head, each further one below the first and marked as part of it."""
    first, *further = text.splitlines() or [""]
    indent = " " * max(len(head) - len(GUTTER), 2)
    return [printable(f"{head}{first}"), *(f"{indent}{GUTTER}{printable(one)}" for one in further)]


def quoted(text: str) -> list[str]:
    """A text of several lines that others wrote, each line marked."""
    return [f"  {GUTTER}{printable(one)}" for one in text.splitlines()]


def table(rows: Sequence[Sequence[object]], edge: str = "") -> list[str]:
    """Rows in columns.

    Args:
        rows: the heading first.
        edge: before each row; needed where others chose what is in the first column.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [edge + "  ".join(map(str.ljust, row, widths)).rstrip() for row in shown]


def show(text: Text, *, err: bool = False) -> None:
    """Print on standard output, or on standard error; that nobody reads the latter any more ends nothing.

    Raises:
        OutputClosedError: nobody reads standard output any more.
    """
    stream = sys.stderr if err else sys.stdout
    block = "".join(f"{line(one)}\n" for one in ([text] if isinstance(text, str) else text))
    encoding = stream.encoding or "utf-8"
    try:
        print(block.encode(encoding, "backslashreplace").decode(encoding), end="", file=stream, flush=True)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        if not err:
            raise OutputClosedError from error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def draw(console: Console, *parts: str | tuple[str, str]) -> None:
    """One lasting line on a console of rich, of pieces that may have a style each; nothing in them is markup."""
    from rich.text import Text as Styled

    with _still(console):
        console.print(Styled.assemble(*(line(one) if isinstance(one, str) else (line(one[0]), one[1]) for one in parts)))


def _still(console: Console) -> AbstractContextManager[object]:
    """Keep what moves on a console from being drawn meanwhile.

    rich finds out where the moving part is and writes in two steps: in between its own thread may draw, and a line ends up in the place of
    another one, or what should have gone stays.
    """
    moving = console._live_stack
    return moving[0]._lock if moving else nullcontext()


def answer(question: str) -> str:
    """What a person types in answer; the question is on standard error."""
    import click

    return str(click.prompt(line(printable(question)), default="", show_default=False, err=True))


def hidden_answer(question: str) -> str | None:
    """What a person types unseen at this process's terminal, wherever standard input comes from; None where there is no terminal."""
    import getpass

    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return None
    return getpass.getpass(f"{line(printable(question))}: ")


def agreed(question: str) -> bool:
    """Whether a person agrees; the question is on standard error."""
    import click

    return click.confirm(line(printable(question)), err=True)


def screen(*, stderr: bool = False, **options: Any) -> Console:
    """A console of rich, for what is drawn. Whatever is drawn on it, only rich's own escape sequences come out.

    Elsewhere than in a terminal nothing moves: colours may be forced into a log, a cursor may not.

    Args:
        stderr: on standard error; that nobody reads it any more ends nothing.
        options: as rich's `Console` takes them.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Screen(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for one in super().render(renderable, options):
                yield one if one.control else Segment(_lines(one.text), one.style)

        def on_broken_pipe(self) -> None:
            if not stderr:
                raise OutputClosedError
            self.quiet = True

    stream = sys.stderr.stream if isinstance(sys.stderr, _Guard) else sys.stderr
    if not (stream if stderr else sys.stdout).isatty():
        options = {"force_terminal": False, "color_system": "truecolor" if coloured() else None, **options}
    return Screen(file=cast("TextIO", _Closable(stream)) if stderr else None, highlight=False, **options)


def coloured() -> bool:
    """Whether colours are wanted where there is no terminal, by the variables that rich knows."""
    return any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))


class _Stream(io.TextIOBase):
    """A stream before another one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()


class _Guard(_Stream):
    """A stream that escapes what does not print. Only rich writes past it. That nobody reads it any more ends nothing."""

    def write(self, text: str) -> int:
        try:
            super().write(_lines(text))
        except OSError as error:
            if error.errno not in _GONE:
                raise
        return len(text)


class _Closable(_Stream):
    """A terminal whose closing is a broken pipe, which is what rich knows."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    def write(self, text: str) -> int:
        with _broken():
            return super().write(text)

    def flush(self) -> None:
        with _broken():
            super().flush()


@contextmanager
def _broken() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error


def _lines(text: str) -> str:
    return "\n".join(map(line, text.split("\n")))


def guard() -> None:
    """For what is not ours: libraries' log records, warnings and tracebacks of threads pass standard error, too, and quote servers."""
    sys.stderr = cast("TextIO", _Guard(sys.stderr))
