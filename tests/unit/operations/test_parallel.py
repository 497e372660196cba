from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from amianai_infra.operations.parallel import side_by_side

SLOW = r"""
import subprocess, sys
from amianai_infra.operations.parallel import side_by_side

def slow(own_session):
    print("begun\n", end="", flush=True)
    subprocess.run(["sleep", "60"], check=True, start_new_session=own_session)

side_by_side([lambda: slow(True), lambda: slow(False)])
"""


def test_the_pieces_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=5)
    side_by_side([together.wait] * 3)


def test_an_error_is_raised_after_the_others_ended() -> None:
    ended: list[str] = []

    def fails() -> None:
        raise ValueError("no")

    def works() -> None:
        time.sleep(0.1)
        ended.append("yes")

    with pytest.raises(ValueError, match="no"):
        side_by_side([fails, works])
    assert ended == ["yes"]


def test_no_work_is_no_problem() -> None:
    side_by_side([])


def test_an_interruption_ends_the_programs_that_are_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline(), process.stdout.readline()] == ["begun\n", "begun\n"]
        time.sleep(0.5)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert time.monotonic() - started < 20
    assert "KeyboardInterrupt" in said
