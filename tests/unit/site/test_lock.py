"""The release lock: who gets it, who keeps it, who may take it over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from amianai_infra.errors import LockedError, NotFoundError, UnreachableError
from amianai_infra.machine import machine
from amianai_infra.site.lock import Holder, Lock, alive, born
from amianai_infra.site.store import ConflictError, Content, Written


class Store:
    """One object with conditional writes, on a clock of its own."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.now = 1000.0
        self.modified = 0.0
        self.number = 0
        self.down = False

    def get(self, key: str, version: str | None = None) -> Content:
        if self.data is None:
            raise NotFoundError("not there")
        return Content(self.data, f"e{self.number}", None, self.modified)

    def put(self, key: str, data: bytes, attributes: Any, *, replaces: str | None) -> Written:
        if self.down:
            raise UnreachableError("no answer")
        if replaces != (None if self.data is None else f"e{self.number}"):
            raise ConflictError("changed")
        self.data, self.modified, self.number = data, self.now, self.number + 1
        return Written(f"e{self.number}", None)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def a_lock(store: Store, say: Callable[[str], None] = lambda text: None) -> Lock:
    return Lock(store, say, clock=lambda: store.now, sleep=store.sleep, heartbeat=10.0, stale=60.0)


def elsewhere(store: Store, **changes: Any) -> None:
    """Somebody on another machine takes the lock."""
    holder = replace(Holder("t", "ann@laptop", "other machine", 1, "1", store.now, "deploy", 7, ("new.js",)), **changes)
    store.data, store.modified, store.number = json.dumps(holder.__dict__).encode(), store.now, store.number + 1


def test_a_free_lock_is_taken_and_given_back() -> None:
    store = Store()
    held = a_lock(store)
    assert held.acquire("deploy", 1) is None
    with held:
        assert store.data
        held.check()
    assert store.data == b""
    assert a_lock(store).acquire("deploy", 2) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "a\nb"},
        {"who": 5},
        {"machine": None},
        {"process": "1"},
        {"process": -1},
        {"process": 10**30},
        {"born": 1},
        {"started": "now"},
        {"started": float("nan")},
        {"doing": "deploy\x1b[2J"},
        {"release": 1.5},
        {"pending": (1,)},
        {"ended": "no"},
    ],
)
def test_a_lock_that_holds_what_is_never_written_is_as_good_as_free(changes: dict[str, Any]) -> None:
    store = Store()
    elsewhere(store, **changes)
    assert a_lock(store).acquire("deploy", 1) is None


def test_a_lock_that_is_nested_deeply_is_as_good_as_free() -> None:
    store = Store()
    store.data = b"[" * 200_000
    assert a_lock(store).acquire("deploy", 1) is None


def test_a_held_lock_is_refused_with_who_since_when_and_what_to_do() -> None:
    store = Store()
    elsewhere(store)
    store.now += 20
    with pytest.raises(LockedError) as caught:
        a_lock(store).acquire("deploy", 1)
    text = str(caught.value)
    assert caught.value.exit_code == 4
    assert "ann@laptop is releasing right now (deploy 7, since 20 s ago, last sign of life 20 s ago)" in text
    assert "any release 40 s from now" in text


@pytest.mark.parametrize("doing", ["deploy", "rollback", "takedown"])
def test_whatever_a_holder_is_doing_keeps_others_out(doing: str) -> None:
    store = Store()
    assert a_lock(store).acquire(doing, 7) is None
    store.data = (store.data or b"").replace(machine().encode(), b"other machine")
    with pytest.raises(LockedError, match=doing):
        a_lock(store).acquire("deploy", 7)


def test_a_holder_that_does_not_renew_is_taken_over_and_that_is_said() -> None:
    store, said = Store(), list[str]()
    elsewhere(store)
    store.now += 61
    before = a_lock(store, said.append).acquire("deploy", 8)
    assert before is not None
    assert before.pending == ("new.js",)
    assert "ann@laptop" in said[0]
    assert "cut off" in said[0]


def test_a_holder_that_lives_is_not_taken_over_whatever_our_clock_says() -> None:
    store = Store()
    elsewhere(store)
    real_sleep = store.sleep

    def renewing(seconds: float) -> None:
        real_sleep(seconds)
        elsewhere(store)

    store.sleep = renewing  # type: ignore[method-assign]
    store.now += 10_000  # our clock is far ahead of the store's
    with pytest.raises(LockedError) as caught:
        a_lock(store).acquire("deploy", 8)
    assert "taken over" not in caught.value.fix
    assert "clock" in caught.value.fix


def test_waiting_ends_when_the_holder_is_done() -> None:
    store, said = Store(), list[str]()
    elsewhere(store)
    real_sleep = store.sleep

    def finishing(seconds: float) -> None:
        real_sleep(seconds)
        if store.now > 1010:
            store.data, store.number = b"", store.number + 1

    store.sleep = finishing  # type: ignore[method-assign]
    assert a_lock(store, said.append).acquire("deploy", 8, wait=1e9) is None
    assert said == ["Waiting for the release of ann@laptop (since 0.0 s ago)."]


def test_a_dead_process_of_this_machine_is_taken_over_at_once() -> None:
    store = Store()
    elsewhere(store, machine=machine(), process=os.getpid(), born="another start")
    assert a_lock(store).acquire("deploy", 8) is not None


def test_a_living_process_of_this_machine_keeps_the_lock() -> None:
    store = Store()
    elsewhere(store, machine=machine(), process=os.getpid(), born=born(os.getpid()))
    store.now += 10_000
    with pytest.raises(LockedError):
        a_lock(store).acquire("deploy", 8)


def test_of_a_stopped_process_nothing_is_promised_and_both_ways_out_are_named() -> None:
    store = Store()
    with subprocess.Popen(["sleep", "60"]) as stopped:
        stopped.send_signal(signal.SIGSTOP)
        elsewhere(store, machine=machine(), process=stopped.pid, born=born(stopped.pid))
        store.now += 1544 * 60
        with pytest.raises(LockedError) as caught:
            a_lock(store).acquire("deploy", 8)
        stopped.kill()
    text = str(caught.value)
    assert "from now" not in text
    assert "since 1 d 1 h ago" in text
    assert f"`kill -CONT {stopped.pid}`" in text
    assert f"`kill -KILL {stopped.pid}`" in text
    assert a_lock(store).acquire("deploy", 8) is not None, "once it has ended"


def test_a_release_that_gave_up_is_finished_by_the_next() -> None:
    store = Store()
    first = a_lock(store)
    first.acquire("deploy", 1, ("a.js",))
    with first:
        first.settled = False
    before = a_lock(store).acquire("deploy", 2, ("b.js",))
    assert before is not None
    assert before.ended
    assert store.data is not None
    assert json.loads(store.data)["pending"] == ["a.js", "b.js"], "what nobody accounted for yet is passed on"


def test_what_somebody_else_put_there_is_no_holder() -> None:
    for junk in (b"hello", b"{}", b"[1]", b'{"token": 1}'):
        store = Store()
        store.data = junk
        assert a_lock(store).acquire("deploy", 1) is None


def test_a_lost_lock_is_noticed_and_left_alone() -> None:
    store = Store()
    held = a_lock(store)
    held.acquire("deploy", 1)
    elsewhere(store)
    held._renew()
    with pytest.raises(LockedError, match="took over"):
        held.check()
    kept = store.data
    with held:
        pass
    assert store.data == kept


def test_a_lock_that_cannot_be_renewed_stops_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    held = a_lock(store)
    held.acquire("deploy", 1)
    start = time.monotonic()
    monkeypatch.setattr("amianai_infra.site.lock.time.monotonic", lambda: start + 43)
    with pytest.raises(LockedError, match="could not be renewed for 43 s"):
        held.check()


def test_a_laptop_that_slept_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    monkeypatch.setattr("amianai_infra.site.lock.time.monotonic", lambda: 5.0)  # stands still during sleep
    held = a_lock(store)
    held.acquire("deploy", 1)
    store.now += 43
    with pytest.raises(LockedError, match="could not be renewed for 43 s"):
        held.check()


def test_sleep_between_a_renewal_and_its_answer_counts() -> None:
    store = Store()
    held = a_lock(store)
    held.acquire("deploy", 1)
    real_put = store.put

    def slow(*words: Any, **options: Any) -> Written:
        written = real_put(*words, **options)
        store.now += 3600
        return written

    store.put = slow  # type: ignore[method-assign]
    with pytest.raises(LockedError, match="could not be renewed"):
        held.confirm()


def test_confirming_renews_and_notices_a_loss_at_once() -> None:
    store = Store()
    held = a_lock(store)
    held.acquire("deploy", 1)
    store.now += 30
    held.confirm()
    assert store.modified == store.now
    elsewhere(store)
    held.check()  # which only knows what the last renewal told it
    with pytest.raises(LockedError, match="took over"):
        held.confirm()


def test_where_the_system_tells_no_start_a_living_process_must_also_renew() -> None:
    store = Store()
    elsewhere(store, machine=machine(), process=os.getpid(), born="")
    store.now += 50
    with pytest.raises(LockedError):
        a_lock(store).acquire("deploy", 8)
    store.now += 11
    assert a_lock(store).acquire("deploy", 8) is not None, "another process got the same id"


def test_two_at_once_one_wins() -> None:
    store = Store()
    first, second = a_lock(store), a_lock(store)
    assert first.acquire("deploy", 1) is None
    with pytest.raises(LockedError):
        second.acquire("deploy", 1)


def test_processes() -> None:
    assert alive(os.getpid(), born(os.getpid()))
    assert not alive(os.getpid(), "long ago")
    assert not alive(2**22 - 1, "")
