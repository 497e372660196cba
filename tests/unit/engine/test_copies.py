"""Which checkpoint is the one that was written last, and which copies may take its place."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.engine.backend import Entry, FolderStore, StateFiles
from amianai_infra.engine.copies import Copies, examine
from amianai_infra.errors import NotFoundError, RefusedError

PREFIX = "urn:pulumi:prod::amianai-infra::"
CHECKPOINT = ".pulumi/stacks/amianai-infra/prod.json"
HISTORY = ".pulumi/history/amianai-infra/prod/"
BACKUPS = ".pulumi/backups/amianai-infra/prod/"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def state(minute: float | None = 0, resources: int = 2, **entry: Any) -> bytes:
    """A checkpoint that the engine made some minutes after noon."""
    entries = [{"urn": f"{PREFIX}t::{number}", "type": "t", "custom": True, "id": "i", **entry} for number in range(resources)]
    latest: dict[str, Any] = {"resources": entries} if entries else {}
    if minute is not None:
        latest["manifest"] = {"time": datetime.fromtimestamp(NOON + minute * 60, UTC).isoformat()}
    return json.dumps({"version": 3, "checkpoint": {"latest": latest}}).encode()


def stamp(minute: float) -> int:
    return int((NOON + minute * 60) * 10**9)


class Bench:
    """The state's folder and what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.store = FolderStore(folder)
        self.files = StateFiles(self.store, "amianai-infra", "prod")
        self.copies = Copies(self.files, "amianai-infra", "prod")

    def put(self, key: str, data: bytes, minute: float | None = None) -> None:
        self.store.write(key, data)
        if minute is not None:
            os.utime(self.store.folder / key, (NOON + minute * 60,) * 2)

    def record(self, minute: float, data: bytes, written: float | None = None) -> None:
        """An entry of the history; `written` is the minute on the store's clock."""
        self.put(f"{HISTORY}prod-{stamp(minute)}.history.json", b"{}", written)
        self.put(f"{HISTORY}prod-{stamp(minute)}.checkpoint.json", data, written)

    def fault(self) -> str:
        return self.copies.fault(self.files.checkpoint())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_nothing_at_all_is_a_new_stack(bench: Bench) -> None:
    assert bench.fault() == ""


@pytest.mark.parametrize("data", [state(1), state(1.5), state(9), gzip.compress(state(1))])
def test_the_last_state_and_any_later_one_are_right(bench: Bench, data: bytes) -> None:
    """Later: a run that was killed writes no history; the same: a recovery imports what it exported."""
    bench.record(0, state(0))
    bench.record(1.1, state(1))
    bench.put(CHECKPOINT if data.startswith(b"{") else f"{CHECKPOINT}.gz", data)
    assert bench.fault() == ""


def test_a_recovery_before_the_next_run_is_right(bench: Bench) -> None:
    bench.record(1.1, state(1, resources=3))
    bench.put(CHECKPOINT, state(1, resources=2))
    assert bench.fault() == ""


@pytest.mark.parametrize("data", [state(0), state(1), state(1, resources=9), state(None, resources=0), state(0, resources=0)])
def test_an_older_state_is_noticed(bench: Bench, data: bytes) -> None:
    bench.record(0.1, state(0))
    bench.record(1.1, state(1))
    bench.record(2.1, state(2))
    bench.put(CHECKPOINT, data)
    assert "older" in bench.fault()


def test_a_new_state_after_everything_was_destroyed_is_right(bench: Bench) -> None:
    bench.record(0.1, state(0))
    bench.record(1.1, state(1, resources=0))
    assert bench.fault() == "", "gone, and nothing is lost"
    bench.put(CHECKPOINT, state(None, resources=0))
    assert bench.fault() == ""
    bench.put(CHECKPOINT, state(0))
    assert "older" in bench.fault(), "what was destroyed is not there any more"


def test_where_the_store_has_a_clock_it_says_which_entry_is_newest(bench: Bench) -> None:
    """Two operators, one clock five minutes ahead: the other's later work is not an older state."""
    bench.record(5, state(5), written=0)
    bench.record(2.1, state(2), written=2)
    bench.put(CHECKPOINT, state(2))
    assert "older" in bench.fault()
    bench.store.own_clock = True
    assert bench.fault() == ""


def test_a_bucket_is_not_read_again_while_its_digest_is_the_states(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    bench.put(CHECKPOINT, state(1))
    bench.record(1.1, state(1))
    digest = hashlib.md5(state(1), usedforsecurity=False).hexdigest()
    found = [Entry(one.key, one.at, digest=digest) for one in bench.store.entries(HISTORY)]
    monkeypatch.setattr(bench.store, "entries", lambda *_: found)
    data = bench.files.checkpoint()
    monkeypatch.setattr(bench.store, "read", None)
    assert bench.copies.fault(data) == ""


@pytest.mark.parametrize("key", [f"{BACKUPS}prod.{stamp(1)}.json", f"{CHECKPOINT}.bak", f"{HISTORY}prod-{stamp(1)}.checkpoint.json"])
def test_a_missing_state_is_noticed_by_any_copy(bench: Bench, key: str) -> None:
    bench.put(key, state(1))
    assert "gone" in bench.fault()
    refused = bench.copies.refuse(bench.fault())
    assert key.rpartition("/")[2] in refused.where
    assert str(bench.store.folder / CHECKPOINT) in refused.where
    assert "2026-03-01 12:01:00 UTC, 2 resources" in refused.where


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"{", b"[]", b"[" * 99_999, b'{"checkpoint": 3}', b'{"checkpoint": {"latest": 3}}', b"\x1f\x8bcut", state(1)[:90]),
        *(b'{"checkpoint": {"latest": {"manifest": 5, "resources": []}}}', b'{"checkpoint": {"latest": {"resources": {"a": 1}}}}'),
    ],
)
def test_a_damaged_state_is_noticed_and_never_put_back(bench: Bench, damage: bytes) -> None:
    bench.put(CHECKPOINT, damage)
    bench.put(f"{CHECKPOINT}.bak", damage)
    assert bench.fault()
    with pytest.raises(NotFoundError):
        bench.copies.choose(None)
    with pytest.raises(RefusedError):
        bench.copies.choose("prod.json.bak")
    with pytest.raises(NotFoundError):
        bench.copies.choose("prod.1.json")
    bench.record(1.1, state(1))
    assert bench.copies.choose(None).data == state(1)


def test_a_copy_is_read_whole() -> None:
    assert examine(state(0, parent=f"{PREFIX}t::0"), PREFIX).problem == ""
    assert "is not in it" in examine(state(0, parent=f"{PREFIX}t::9"), PREFIX).problem
    assert examine(state(0), "urn:pulumi:prod::another::").problem == "another stack's"
    assert examine(state(0, delete=True), PREFIX).resources == 0


def test_what_is_replaced_is_kept_and_what_is_put_back_is_the_newest(bench: Bench) -> None:
    bench.record(0.1, state(0))
    bench.record(1.1, state(1))
    bench.put(f"{CHECKPOINT}.gz", gzip.compress(b"damaged"))
    alone: Callable[[str], None] = lambda key: None  # noqa: E731
    kept = bench.copies.restore(bench.copies.choose(None), alone)
    assert bench.files.checkpoint() == state(1)
    assert bench.store.read(kept) == b"damaged"
    assert not (bench.store.folder / f"{CHECKPOINT}.gz").exists()
    older = bench.copies.choose(f"prod-{stamp(0.1)}.checkpoint.json")
    assert bench.store.read(bench.copies.restore(older, alone)) == state(1)
    assert bench.fault() == "", "an earlier one that was chosen is the newest from then on"
    assert bench.files.locks() == []


def test_a_clock_that_was_ahead_does_not_hide_what_was_put_back(bench: Bench) -> None:
    far = 60 * 24 * 365 * 20
    bench.record(far, state(far))
    bench.put(CHECKPOINT, state(1))
    assert "older" in bench.fault()
    bench.copies.restore(bench.copies.choose("present"), lambda key: None)
    assert bench.fault() == ""


def test_nothing_is_written_while_somebody_else_has_a_lock(bench: Bench) -> None:
    bench.record(1.1, state(1))

    def refuse(key: str) -> None:
        assert [lock.key for lock in bench.files.locks()] == [key], "ours is there when others are looked for"
        raise RefusedError("another lock")

    with pytest.raises(RefusedError):
        bench.copies.restore(bench.copies.choose(None), refuse)
    assert bench.files.checkpoint() is None
    assert bench.files.locks() == []
