"""What a person hears while the state cannot be written, and what is left of it."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from amianai_infra.engine.backend import BucketStore, FolderStore, StateFiles, checkpoint_key
from amianai_infra.engine.display import Lines, Live
from amianai_infra.engine.events import Item, Record
from amianai_infra.engine.failures import without_state
from amianai_infra.engine.watch import Watch
from amianai_infra.errors import UnreachableError
from amianai_infra.progress import Progress

KEY = checkpoint_key("amianai-infra", "prod")


def checkpoint(name: str) -> bytes:
    return json.dumps({"checkpoint": {"latest": {"resources": [{"urn": name}]}}}).encode()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class S3:
    """A bucket that answers, is silent until it is let go, or fails."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = threading.Event()
        self.error: Exception | None = None

    def head_object(self, **_: Any) -> dict[str, Any]:
        self.asked.set()
        if self.error:
            raise self.error
        self.gate.wait(10)
        return {}


def files(s3: S3) -> StateFiles:
    return StateFiles(BucketStore(s3, "eeyore-state"), "amianai-infra", "prod")


def test_a_bucket_that_is_silent_is_named_with_its_time_and_heard_again() -> None:
    s3, clock = S3(), Clock()
    watch = Watch(files(s3), every=0.01, patience=10, clock=clock)
    with watch.looking():
        assert s3.asked.wait(5)
        clock.now = 9.0
        assert watch.trouble() == ""
        clock.now = 240.0
        assert watch.trouble() == "the state's bucket s3://eeyore-state does not answer for 4 min 0 s"
        s3.gate.set()
        deadline = time.monotonic() + 5
        while watch.trouble() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert watch.trouble() == ""


def test_an_outage_counts_from_its_beginning_however_often_it_is_asked() -> None:
    from botocore.exceptions import ClientError, EndpointConnectionError

    s3, clock = S3(), Clock()
    watch = Watch(files(s3), patience=10, clock=clock)
    s3.error = EndpointConnectionError(endpoint_url="https://s3")
    for clock.now in (5.0, 20.0, 35.0):
        watch.look(files(s3))
    assert watch.trouble().endswith("does not answer for 30 s")
    s3.error = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "HeadObject")
    watch.look(files(s3))
    assert "AccessDenied" in watch.trouble()
    s3.error = ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")
    watch.look(files(s3))
    assert watch.trouble() == "", "a stack that has no state yet"


def test_a_state_that_was_cut_off_is_told_and_the_last_whole_one_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = StateFiles(FolderStore(tmp_path), "amianai-infra", "prod")
    path = tmp_path / KEY
    assert kept.look() == "", "nothing there yet"
    path.parent.mkdir(parents=True)
    for name in ("first", "second", "third"):
        beside = path.with_suffix(".tmp")
        beside.write_bytes(checkpoint(name))
        beside.replace(path)  # as the engine does
        assert kept.look() == ""
        assert kept.look() == ""
    for cut in (b"", checkpoint("fourth")[:20]):
        beside.write_bytes(cut)
        beside.replace(path)
        path.with_name(f"{path.name}.attrs").write_text("{}")
        told = Watch(kept)
        told.look(kept)
        assert told.trouble().startswith(f"the state's folder {tmp_path} cannot be written: ")
        assert kept.put_back()
        assert path.read_bytes() == checkpoint("third")
        assert not path.with_name(f"{path.name}.attrs").exists()
        kept.look()
    assert not kept.put_back()
    assert not [one for one in kept.copies() if one.kind == "backup"], "no trace where nothing was wrong"
    monkeypatch.setattr("amianai_infra.engine.backend.shutil.disk_usage", lambda _: SimpleNamespace(free=300 << 10))
    assert kept.look() == "cannot be written: 300 KB are free on its disk"


def waiting(display: Lines | Live, record: Record) -> None:
    display.begin(record)
    record.waiting = "the state's bucket s3://eeyore-state does not answer for 42 s"
    for _ in range(3):
        display.tick()


def test_lines_say_at_once_what_is_waited_for_and_when_it_is_over() -> None:
    screen = io.StringIO()
    record, display = Record("up"), Lines(Progress(console=Console(file=screen, width=140)))
    waiting(display, record)
    record.waiting = ""
    display.tick()
    display.tick()
    assert screen.getvalue().splitlines() == [
        "Updating the stack ...",
        "  ! the state's bucket s3://eeyore-state does not answer for 42 s; the engine waits for it",
        "  the state can be written again",
    ]


def test_the_table_has_a_line_for_what_is_waited_for_instead_of_a_resource() -> None:
    screen = io.StringIO()
    table = Item("urn:a", "aws:ec2/routeTable:RouteTable", "network-private-rt", "create", 0.0)
    record = Record("up", items={"urn:a": table})
    display = Live(Progress(console=Console(file=screen, width=140, force_terminal=True)))
    waiting(display, record)
    time.sleep(0.3)
    display.end(None)
    assert "does not answer for 42 s; the engine waits for it" in screen.getvalue()


def test_the_end_says_what_was_changed_that_the_next_run_goes_on_and_that_a_lock_stays() -> None:
    done = Item("urn:a", "aws:ec2/vpc:Vpc", "network-vpc", "create", 0.0, state="done")
    error = without_state(
        UnreachableError("Updating the stack failed; 1 resources had been changed.", where="network-private-rt: failed to save snapshot"),
        Record("up", finished={"urn:a": done}),
        "the state's bucket s3://eeyore-state does not answer for 4 min 2 s",
    )
    assert isinstance(error, UnreachableError)
    assert error.details == ("The state's bucket s3://eeyore-state does not answer for 4 min 2 s", "created ec2 Vpc network-vpc")
    assert "run the command again: it goes on" in error.fix
    assert "amianai state unlock" in error.fix
