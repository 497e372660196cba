from __future__ import annotations

import errno
import io
import itertools
import os
import re
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from amianai_infra import printing
from amianai_infra.progress import Progress, duration


def terminal() -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(console=Console(file=out, force_terminal=True, width=100, color_system=None)), out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.3, "12 s"),
        (59.4, "59 s"),
        (185, "3 min 5 s"),
        (3599.9, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86399, "23 h 59 min"),
        (1544 * 60, "1 d 1 h"),
        (30 * 86400, "30 d 0 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress().task("Building") as task:
        task.total(3)
        task.advance()
        task.say("42 files")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Building ...\nBuilding: 42 files (0.")


def test_a_failure_is_told_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), Progress().task("Building"):
        raise ValueError("no")
    assert "Building: failed after" in capsys.readouterr().err


def test_quiet_says_notes_only(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=True)
    with progress.task("Building"):
        progress.note("important")
    assert capsys.readouterr().err == "important\n"


def test_details_are_for_the_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    Progress().detail("x")
    assert capsys.readouterr().err == ""
    Progress(verbose=True).detail("x")
    assert capsys.readouterr().err == "x\n"


def test_notes_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Progress().note("[red]as it is[/]")
    assert capsys.readouterr().err == "[red]as it is[/]\n"


def test_in_a_terminal_one_line_stays() -> None:
    progress, out = terminal()
    with progress.task("Building [x]") as task:
        task.total(2)
        task.advance()
        task.say("half [of] it")
    assert "✓ Building [x] half [of] it 0." in out.getvalue()


def test_a_failure_in_a_terminal_is_marked() -> None:
    progress, out = terminal()
    with pytest.raises(KeyboardInterrupt), progress.task("Building"):
        raise KeyboardInterrupt
    assert "✗ Building" in out.getvalue()


def test_tasks_may_be_nested() -> None:
    progress, out = terminal()
    with progress.task("Outer"):
        with progress.task("Inner"):
            progress.note("between")
        assert "✓ Inner" in out.getvalue()
    assert "✓ Outer" in out.getvalue()


def test_tasks_may_run_in_threads() -> None:
    progress, out = terminal()
    together = threading.Barrier(4, timeout=5)

    def work(number: int) -> None:
        with progress.task(f"Task {number}"):
            together.wait()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(f"✓ Task {number}" in out.getvalue() for number in range(4))
    with progress.task("After"):
        pass
    assert "✓ After" in out.getvalue()


@pytest.mark.parametrize("forced", [False, True])
def test_that_nobody_reads_the_progress_does_not_end_the_work(forced: bool) -> None:
    code = (
        "from amianai_infra.progress import Progress\n"
        "progress = Progress()\n"
        "with progress.task('Work') as task:\n"
        "    for number in range(3): progress.note(str(number))\n"
        "print('done')\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    environ = {**os.environ, **({"FORCE_COLOR": "1"} if forced else {})}
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, text=True, check=False, env=environ)
    os.close(writing)
    assert (done.stdout, done.returncode) == ("done\n", 0)


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_colours_may_be_forced_into_a_log_but_no_cursor_that_moves(variable: str) -> None:
    code = (
        "from amianai_infra.engine.display import display_for\n"
        "from amianai_infra.engine.events import Record\n"
        "from amianai_infra.printing import draw, screen\n"
        "from amianai_infra.progress import Progress\n"
        "import time\n"
        "progress = Progress()\n"
        "with progress.task('Work') as task: task.total(3); task.advance(); time.sleep(0.3)\n"
        "display = display_for(progress)\n"
        "display.begin(Record('up', 3, display.changed)); time.sleep(0.3); display.end(None)\n"
        "draw(progress.console, ('coloured', 'green'))\n"
        "assert not screen().is_terminal\n"
    )
    environ = {**os.environ, variable: "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert "\x1b[32mcoloured" in done.stderr
    assert set(re.findall(r"\x1b\[[0-9;?]*(.)", done.stderr)) == {"m"}
    assert "Work ..." in done.stderr


class Screen:
    """A terminal without a scroll region: what stands on each row after all that was written."""

    def __init__(self) -> None:
        self.rows = [""]
        self.row = 0
        self.encoding = "utf-8"

    def write(self, text: str) -> int:
        for part in re.findall(r"\x1b\[(?:\?\d+[hl]|\d*[A-Za-z])|[\r\n]|[^\x1b\r\n]+", text):
            if part == "\n":
                self.row += 1
                self.rows += [""] * (self.row + 1 - len(self.rows))
            elif part == "\x1b[2K":
                self.rows[self.row] = ""
            elif part.endswith("A") and part.startswith("\x1b"):
                self.row -= int(part[2:-1])
            elif not part.startswith(("\x1b", "\r")):
                self.rows[self.row] += part
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_what_moves_and_what_stays_keep_out_of_each_others_rows() -> None:
    """rich draws what moves in a thread of its own; the height changes with what is under way."""
    from rich.live import Live

    screen, drawn = Screen(), threading.Event()
    console = Console(file=screen, force_terminal=True, width=60, color_system=None)  # type: ignore[arg-type]

    def moving() -> str:
        return "\n".join(f"moving {number}" for number in range(1 + next(heights) % 5))

    def refresh() -> None:
        while not drawn.is_set():
            live.refresh()

    def draw(name: str) -> None:
        for number in range(100):
            printing.draw(console, f"{name} {number}")

    heights = itertools.count()
    live = Live(get_renderable=moving, console=console, auto_refresh=False, transient=True)
    with live:
        drawing = threading.Thread(target=refresh)
        drawing.start()
        threads = [threading.Thread(target=draw, args=(name,)) for name in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        drawn.set()
        drawing.join()
    assert sorted(filter(None, screen.rows)) == sorted(f"{name} {number}" for name in ("a", "b", "c") for number in range(100))


def test_what_work_that_ended_well_said_last_stays_whole() -> None:
    progress, out = terminal()
    with progress.task("Configuration") as task:
        task.say("x" * 90)
    with pytest.raises(ValueError, match="no"), progress.task("Build") as task:
        task.say("y" * 90)
        raise ValueError("no")
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\s", "", out.getvalue())
    assert "x" * 90 in said
    assert "y" * 79 + "…" in said
    assert "y" * 80 not in said


class Closed(io.StringIO):
    """A terminal whose window was closed."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


def test_a_terminal_that_was_closed_ends_no_work_and_hides_no_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Closed())
    progress = Progress()
    with progress.task("Building") as task:
        task.say("half of it")
        progress.note("still at work")
    with pytest.raises(KeyboardInterrupt), progress.task("Building"):
        raise KeyboardInterrupt
    printing.show("Interrupted.", err=True)
