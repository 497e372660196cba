"""Whose lock it is, and whether that process lives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from amianai_infra.engine import process
from amianai_infra.engine.backend import RawLock
from amianai_infra.engine.locks import Runs, judge, refuse


def raw(pid: int, host: str = "box", ago: float = 60.0) -> RawLock:
    return RawLock(
        ".pulumi/locks/organization/amianai-infra/prod/0a1b.json", "alice", host, pid, datetime.now(UTC) - timedelta(seconds=ago)
    )


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_another_machine_tells_nothing() -> None:
    assert judge(raw(os.getpid(), host="elsewhere"), host="box").alive is None


def test_a_dead_process_here() -> None:
    assert judge(raw(dead_pid()), host="box").alive is False


def test_a_living_process_here() -> None:
    assert judge(raw(os.getpid(), ago=0), host="box").alive is True


def test_a_process_that_started_after_the_lock_is_another_one() -> None:
    """Process ids are used again, above all after a restart of the machine."""
    if process.started_at(os.getpid()) is None:
        return
    assert judge(raw(os.getpid(), ago=10 * 365 * 86400), host="box").alive is False


def test_a_lock_says_who_where_and_how_long() -> None:
    lock = judge(raw(4711, host="elsewhere", ago=125), host=socket.gethostname())
    assert str(lock) == "alice@elsewhere (process 4711), for 2 min 5 s"
    assert lock.id == "0a1b"
    assert json.dumps(lock.as_dict())
    error = refuse(lock)
    assert error.exit_code == 4
    assert "alice@elsewhere (process 4711)" in str(error)
    assert "state unlock" in error.fix


def test_an_engine_is_orphaned_when_its_starter_is_gone(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs")
    with runs.recorded() as record:
        record(4711)
        assert not runs.orphaned(4711), "we live"
        path = tmp_path / "runs" / "4711.json"
        path.write_text(json.dumps({"owner": dead_pid(), "began": None}))
        assert runs.orphaned(4711)
        path.write_text(json.dumps({"owner": os.getpid(), "began": time.time() - 10**6}))
        assert runs.orphaned(4711) == (process.started_at(os.getpid()) is not None), "our id, another process"
    assert not runs.orphaned(4711), "ended in order"
    assert not runs.orphaned(1), "not ours"


def test_a_record_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with Runs(blocked / "runs").recorded() as record:
        record(4711)
