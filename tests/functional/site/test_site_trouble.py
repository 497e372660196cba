"""Failing requests, two releases at once, interrupted processes."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from unittest.mock import Mock

import pytest

from amianai_infra.errors import ForbiddenError, LockedError, UnreachableError
from amianai_infra.site.lock import Lock
from amianai_infra.site.manifest import LOCK
from tests.functional.site.s3_server import Faults
from tests.functional.site.site_world import Stage, next_site


def many(count: int, version: str = "one") -> dict[str, str]:
    files = {f"files/{number % 20}/{number}.css": f"/* {version} {number} */" for number in range(count)}
    return {**files, "index.html": f"<!DOCTYPE html><html>{version}</html>"}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_release_of_a_thousand_files_survives_failures(stage: Stage, seed: int) -> None:
    site = many(1000)
    stage.write(site)
    stage.world.faults = Faults(rate=0.05, seed=seed)
    release = stage.deploy(verify=False)
    live = stage.world.live()
    assert {path: live[path].data.decode() for path in site} == site
    assert len(release.uploaded) == 1002, "with a page of ours for what is missing"
    repeated = {key: times for key, times in stage.world.confirmed.items() if times > 1 and not key.startswith(".amianai/")}
    assert repeated == {}, "uploaded again although it was confirmed"
    stage.world.faults = Faults()
    stage.world.forget()
    assert not stage.deploy(verify=False).changed
    assert stage.world.puts() == []


@pytest.mark.parametrize("seed", [3, 4])
def test_a_big_file_survives_failures(stage: Stage, seed: int) -> None:
    big = bytes(range(256)) * (45 << 10)
    stage.write({"index.html": "<html>film</html>", "film.mp4": big})
    stage.world.faults = Faults(rate=0.25, seed=seed, only=lambda method, key: key == "film.mp4")
    stage.deploy(verify=False)
    assert stage.world.live()["film.mp4"].data == big
    stage.world.faults = Faults()
    assert not stage.deploy(verify=False).changed


def test_every_lost_answer_is_recognised_as_ours(stage: Stage) -> None:
    site = next_site("one")
    stage.write(site)
    lost: Counter[str] = Counter()

    def first_only(method: str, key: str) -> bool:
        lost[key] += method == "PUT"
        return method == "PUT" and lost[key] == 1

    stage.world.faults = Faults(rate=1.0, kinds=("lost",), only=first_only)
    release = stage.deploy()
    assert release.number == 1
    versions = stage.world.bucket.versions
    assert all(len(versions[path]) == 1 for path in site), "nothing was written twice"


def test_a_store_that_stays_away_is_told_and_what_is_missing_is_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    import amianai_infra.site.store as store

    monkeypatch.setattr(store, "RETRY", {"max_retries": 1, "retry_timeout": timedelta(seconds=2)})
    monkeypatch.setattr(store, "_TRIES", 2)
    stage.write(next_site("one"))
    stage.world.faults = Faults(rate=1.0, kinds=("503",), only=lambda method, key: method == "PUT" and key == "page-3/index.html")
    with pytest.raises(UnreachableError, match=r"writing page-3/index\.html; \d+ of \d+ files were uploaded, \d+ were not") as caught:
        stage.deploy()
    assert caught.value.exit_code == 1
    assert "404.html" not in stage.world.live()
    stage.world.faults = Faults()
    stage.deploy()
    assert "404.html" in stage.world.live()


def test_two_releases_at_once_one_wins_and_the_other_says_who(stage: Stage) -> None:
    stage.prepare_command()
    stage.write(many(150))
    ended = threading.Event()

    def hold(method: str, key: str) -> None:
        if method == "PUT" and not key.startswith(".amianai/"):
            ended.wait(60)

    stage.world.hooks.append(hold)
    both = [stage.command("deploy", "--no-build", "--no-verify") for _ in range(2)]
    deadline = time.monotonic() + 60
    while all(process.poll() is None for process in both) and time.monotonic() < deadline:
        time.sleep(0.02)
    ended.set()
    ends = [(process.communicate(timeout=60), process.returncode) for process in both]
    assert sorted(code for _, code in ends) == [0, 4], ends
    loser = next(text for (_, text), code in ends if code == 4)
    assert "is releasing right now" in loser
    assert "--wait" in loser
    assert [one.summary.number for one in stage.releases()] == [1]


def test_the_second_release_waits_when_asked_to(stage: Stage) -> None:
    stage.prepare_command()
    stage.write(many(150))
    stage.world.latency = 0.02
    both = [stage.command("deploy", "--no-build", "--no-verify", "--wait", "1m") for _ in range(2)]
    ends = [(process.communicate(timeout=60), process.returncode) for process in both]
    assert [code for _, code in ends] == [0, 0], ends
    assert [one.summary.number for one in stage.releases()] == [1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_release_gives_the_lock_back(stage: Stage, number: signal.Signals) -> None:
    stage.prepare_command()
    stage.write(many(400))
    stage.world.latency = 0.05
    process = stage.command("deploy", "--no-build", "--no-verify")
    deadline = time.monotonic() + 30
    while stage.world.count("PUT", "files/") < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert json.loads(stage.world.records()[LOCK].data)["ended"]
    stage.world.latency = 0.0
    assert stage.deploy(verify=False).number == 1
    assert stage.world.records()[LOCK].data == b""


def test_an_invalidation_that_failed_is_made_good_by_the_next_release(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.write(next_site("one"))
    stage.deploy(verify=False)
    stage.write(next_site("two"))
    with monkeypatch.context() as patch:
        patch.setattr("amianai_infra.site.cdn.invalidate", Mock(side_effect=ForbiddenError("not allowed")))
        with pytest.raises(ForbiddenError):
            stage.deploy(verify=False)
    assert stage.world.invalidated == []
    stage.world.forget()
    release = stage.deploy(verify=False)
    assert not release.uploaded
    assert stage.world.puts() == []
    assert stage.world.invalidated == [["/*"]]
    assert [one.summary.number for one in stage.releases()] == [2, 1]
    stage.world.forget()
    stage.deploy(verify=False)
    assert stage.world.requests == [("GET", "")]


def test_a_release_that_lost_its_lock_stops_before_the_pages(stage: Stage) -> None:
    stage.write(next_site("one"))
    stage.deploy(verify=False)
    stage.write(next_site("two"))
    taken: list[str] = []

    def take_over(method: str, key: str) -> None:
        if method == "PUT" and key.startswith("_next/") and not taken:
            taken.append(key)
            stage.world.store(LOCK, b'{"token": "somebody else"}')
            publisher_lock[0]._renew()

    publisher_lock: list[Lock] = []
    kept = Lock.__enter__

    def enter(self: Lock) -> Lock:
        publisher_lock.append(self)
        return kept(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lock, "__enter__", enter)
        stage.world.hooks.append(take_over)
        with pytest.raises(LockedError, match="took over the release lock"):
            stage.deploy(verify=False)
    assert stage.world.live()["index.html"].data.decode() == next_site("one")["index.html"]
    assert stage.world.records()[LOCK].data == b'{"token": "somebody else"}', "another's lock is not given back"


def test_a_page_that_somebody_else_writes_meanwhile_is_not_overwritten(stage: Stage) -> None:
    stage.write(next_site("one"))
    stage.deploy(verify=False)
    stage.write(next_site("two"))
    done: list[str] = []

    def interfere(method: str, key: str) -> None:
        if method == "PUT" and key == "page-2/index.html" and not done:
            done.append(key)
            stage.world.store("page-2/index.html", b"by somebody else")

    stage.world.hooks.append(interfere)
    with pytest.raises(LockedError, match=r"Somebody else changed page-2/index\.html during this release") as caught:
        stage.deploy(verify=False)
    assert caught.value.exit_code == 4
    assert stage.world.live()["page-2/index.html"].data == b"by somebody else"
