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
from typing import Any

from amianai_infra.engine import process
from amianai_infra.engine.backend import RawLock
from amianai_infra.engine.locks import Runs, judge, refuse
from amianai_infra.machine import machine


def raw(pid: int, host: str = "box", ago: float = 60.0) -> RawLock:
    return RawLock(
        ".pulumi/locks/organization/amianai-infra/prod/0a1b.json", "alice", host, pid, datetime.now(UTC) - timedelta(seconds=ago)
    )


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_another_machine_tells_nothing() -> None:
    assert judge(raw(os.getpid(), host="elsewhere"), here=True, host="box").alive is None


def test_a_dead_process_here() -> None:
    assert judge(raw(dead_pid()), here=True, host="box").alive is False


def test_a_living_process_here() -> None:
    assert judge(raw(os.getpid(), ago=0), here=True, host="box").alive is True


def test_a_process_that_started_after_the_lock_is_another_one() -> None:
    """Process ids are used again, above all after a restart of the machine."""
    if process.started_at(os.getpid()) is None:
        return
    assert judge(raw(os.getpid(), ago=10 * 365 * 86400), here=True, host="box").alive is False


def test_a_lock_says_who_where_and_how_long() -> None:
    lock = judge(raw(4711, host="elsewhere", ago=125), here=True, host=socket.gethostname())
    assert str(lock) == "alice@elsewhere (process 4711), for 2 min 5 s"
    assert lock.id == "0a1b"
    assert json.dumps(lock.as_dict())
    error = refuse(lock)
    assert error.exit_code == 4
    assert "alice@elsewhere (process 4711)" in str(error)
    assert "state unlock" in error.fix


def test_a_process_missing_here_may_live_on_a_machine_of_the_same_name() -> None:
    assert judge(raw(dead_pid()), here=False, host="box").alive is None
    assert judge(raw(os.getpid(), ago=0), here=False, host="box").alive is True


def entry(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({"owner": os.getpid(), "began": None, "machine": machine(), "at": 0.0, **values}))


def test_an_engine_is_orphaned_when_its_starter_is_gone(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs")
    runs.record(4711)
    assert not runs.orphaned(4711), "we live"
    path = tmp_path / "runs" / "4711.json"
    entry(path, owner=dead_pid())
    assert runs.orphaned(4711)
    entry(path, owner=dead_pid(), machine="another")
    assert not runs.orphaned(4711), "recorded by another machine"
    entry(path, began=time.time() - 10**6)
    assert runs.orphaned(4711) == (process.started_at(os.getpid()) is not None), "our id, another process"
    runs.forget(4711)
    assert not runs.orphaned(4711), "ended in order"
    assert not runs.orphaned(1), "not ours"


def test_a_process_that_got_the_id_of_an_engine_later_is_not_that_engine(tmp_path: Path) -> None:
    if process.started_at(os.getpid()) is None:
        return
    entry(tmp_path / f"{os.getpid()}.json", owner=dead_pid(), engine=1.0)
    assert not Runs(tmp_path).orphaned(os.getpid())


def test_what_this_machine_ran_is_known_until_it_ended_well(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs")
    assert not runs.ran(4711, time.time())
    runs.record(4711)
    assert runs.ran(4711, time.time())
    assert not runs.ran(4711, time.time() - 60), "that lock was taken before this engine began"
    entry(tmp_path / "runs" / "4711.json", machine="another")
    assert not runs.ran(4711, time.time()), "a shared folder, another machine"
    runs.record(4711)
    runs.forget(4711)
    assert not runs.ran(4711, time.time())


def test_old_records_are_dropped(tmp_path: Path) -> None:
    old = tmp_path / "1.json"
    entry(old)
    os.utime(old, (0, 0))
    Runs(tmp_path).record(4711)
    assert [path.name for path in tmp_path.iterdir()] == ["4711.json"]


def test_a_record_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    Runs(blocked / "runs").record(4711)
