"""What is shown of what others print."""

from __future__ import annotations

import subprocess
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.engine.process import alive
from amianai_infra.errors import BuildError
from amianai_infra.progress import Progress
from amianai_infra.site.process import Excerpt, run


def fail(folder: Path, script: str) -> str:
    with pytest.raises(BuildError) as caught, Progress(quiet=True).task("x") as task:
        run(("/bin/sh", "-c", script), folder, {"PATH": "/usr/bin:/bin"}, folder / "log", task, "It failed")
    return str(caught.value)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "(exit code 3)"),
        ("kill -KILL $$", "(ended by SIGKILL, as the system does when memory runs out)"),
        ("sh -c 'kill -KILL $$'; exit $?", "(exit code 137: ended by SIGKILL, as the system does when memory runs out)"),
        ("kill -TERM $$", "(ended by SIGTERM)"),
        ("exit 128", "(exit code 128)"),
        ("exit 255", "(exit code 255)"),
    ],
)
def test_how_it_ended(tmp_path: Path, script: str, told: str) -> None:
    assert f"It failed {told}:" in fail(tmp_path, script)


def test_a_long_line_is_cut_and_kept_whole_in_the_log(tmp_path: Path) -> None:
    tracemalloc.start()
    shown = fail(tmp_path, "head -c 20000000 /dev/zero | tr '\\0' x; echo; echo last; exit 1")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(shown) < 2000
    assert "last" in shown
    assert (tmp_path / "log").stat().st_size > 20_000_000
    assert peak < 3_000_000


@given(st.lists(st.sampled_from(["plain", "error: x", "0 errors"]), max_size=120))
def test_an_excerpt_begins_with_the_cause_and_says_what_is_missing(kinds: list[str]) -> None:
    lines = [f"{number} {kind}" for number, kind in enumerate(kinds)]
    excerpt = Excerpt()
    for line in lines:
        excerpt.add(line)
    shown = excerpt.lines()
    assert shown[-25:] == lines[-25:]
    cause = next((number for number, kind in enumerate(kinds) if kind == "error: x"), len(lines))
    assert set(lines[cause : cause + 15]) <= set(shown)
    between = len(lines) - 25 - (cause + 15)
    assert [line for line in shown if line not in lines] == ([f"… {between} more lines, which the log has …"] if between > 0 else [])
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize(("then", "presses"), [("wait", 2), ("trap 'exit 1' TERM; wait", 1)])
def test_what_does_not_heed_an_interruption_is_ended_and_a_second_one_waits_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, presses: int
) -> None:
    class Pressed:
        def say(self, text: str) -> None:
            raise KeyboardInterrupt

    wait = subprocess.Popen.wait
    waited: list[float | None] = []

    def pressed_again(self: subprocess.Popen[str], timeout: float | None = None) -> int:
        waited.append(timeout)
        if presses > len(waited):
            raise KeyboardInterrupt
        return wait(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", pressed_again)
    script = f"trap '' TERM; sleep 60 & echo $! > pid; echo begun; {then}"
    with pytest.raises(KeyboardInterrupt):
        run(("/bin/sh", "-c", script), tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path / "log", Pressed(), "It failed")  # type: ignore[arg-type]
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 3
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)
    assert waited[0] == 5.0
