"""Visitors never meet a broken page, whatever happens on our side meanwhile."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.functional.site.site_world import Stage, next_site
from tests.functional.site.visitor import Visitors

PAGES = 5


def _pages() -> list[str]:
    return [path for path in next_site("one", PAGES) if path.endswith("index.html")]


def _alternate(stage: Stage, releases: int, rollbacks: int) -> Visitors:
    stage.write(next_site("one", PAGES))
    stage.deploy()
    with Visitors(stage.cdn, _pages()) as visitors:
        for number in range(releases):
            stage.write(next_site(("two", "one")[number % 2], PAGES))
            assert stage.deploy().changed
        for number in range(rollbacks):
            assert stage.rollback(2 - number % 2).changed
    return visitors


@pytest.mark.parametrize("caching", [True, False])
def test_releases_and_rollbacks_under_visitors(stage: Stage, caching: bool) -> None:
    stage.world.caching = caching
    visitors = _alternate(stage, 4, 2)
    assert visitors.problems == []
    assert len(visitors.versions) >= 2 * PAGES, "visitors saw both versions of every page"


@pytest.mark.soak
def test_twenty_releases_and_five_rollbacks_under_visitors(stage: Stage) -> None:
    visitors = _alternate(stage, 20, 5)
    assert visitors.problems == []
    assert visitors.seen > 1000


def _kill_at_random(stage: Stage, kills: int, seed: int) -> Visitors:
    draw = random.Random(seed)
    stage.prepare_command()
    one, two = next_site("one", PAGES), next_site("two", PAGES)
    stage.write(one)
    stage.deploy(verify=False)
    stage.world.latency = 0.02
    stage.write(two)
    started = time.monotonic()
    whole = stage.command("deploy", "--no-build", "--no-verify")
    assert whole.wait(60) == 0, whole.communicate()[1]
    whole.communicate()
    longest = time.monotonic() - started
    killed = 0
    with Visitors(stage.cdn, _pages(), count=1) as visitors:
        for number in range(kills):
            site = (one, two)[number % 2]
            stage.write(site)
            process = stage.command("deploy", "--no-build", "--no-verify")
            time.sleep(draw.uniform(0.25 * longest, longest))
            process.send_signal(signal.SIGKILL)
            killed += process.wait(60) == -signal.SIGKILL
            process.communicate()
            _finish(stage, site)
    assert killed > kills / 3, "the kills came too late to mean anything"
    return visitors


def _finish(stage: Stage, site: dict[str, str]) -> None:
    """The next release finishes the job: no lock to clear, nothing half registered, nothing mixed."""
    again = stage.command("deploy", "--no-build", "--no-verify")
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    live = stage.world.live()
    assert {path: live[path].data.decode() for path in site} == site
    assert stage.world.records()[".amianai/lock"].data == b""
    listed = stage.releases()
    assert [one.summary.number for one in listed] == list(range(len(listed), 0, -1))
    for path in stage.world.cdn_cache:
        assert stage.world.cdn_cache[path].data == live[path[1:]].data, f"{path}: the CDN still has an old page"


def test_killed_in_the_middle_the_site_stays_whole_and_the_next_release_finishes(stage: Stage) -> None:
    assert _kill_at_random(stage, 4, seed=7).problems == []


@pytest.mark.soak
def test_thirty_kills(stage: Stage) -> None:
    assert _kill_at_random(stage, 30, seed=11).problems == []


def test_what_a_killed_release_left_is_pruned_in_time(stage: Stage) -> None:
    stage.prepare_command()
    stage.write(next_site("one"))
    stage.deploy(verify=False)
    stage.world.latency = 0.03
    stage.write(next_site("two"))

    def kill_at_the_first_page(method: str, key: str) -> None:
        if method == "PUT" and key.endswith(".txt"):
            process.kill()

    process = stage.command("deploy", "--no-build", "--no-verify")
    stage.world.hooks.append(kill_at_the_first_page)
    process.wait(60)
    process.communicate()
    stage.world.hooks.clear()
    stage.world.latency = 0.0
    left = next_site("two").keys() & stage.world.live().keys() - next_site("one").keys()
    assert left
    assert stage.world.records()[".amianai/lock"].data
    stage.write(next_site("three"))
    stage.deploy(verify=False)
    assert left <= stage.world.live().keys()
    stage.write({**next_site("three"), "more.txt": "x"})
    stage.deploy(verify=False, later=31 * 86400)
    assert not left & stage.world.live().keys()
