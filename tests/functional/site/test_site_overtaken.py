"""Something else was released while a release was being made: it is not undone without a word."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from amianai_infra.errors import RefusedError
from amianai_infra.progress import Progress
from amianai_infra.site.release import Publisher, Release
from tests.functional.site.site_world import Stage, next_site, release_settings

BUILD = "touch ../begun; until [ -e ../go ]; do sleep 0.02; done; mkdir -p out && cp page.html out/index.html"


def page(stage: Stage) -> str:
    return stage.world.live()["index.html"].data.decode()


def building(stage: Stage, meanwhile: Callable[[], object], **options: object) -> Release:
    """Deploy with a build that ends only after `meanwhile`."""
    site = stage.target.root / "site"
    (site / "page.html").write_text(f"<html>of the slow build {time.time_ns()}</html>")
    ended: list[Release | BaseException] = []

    def deploy() -> None:
        settings = release_settings(build_command=BUILD)
        publisher = Publisher(stage.target, settings, stage.outputs, Progress(quiet=True), verify=False, **options)  # type: ignore[arg-type]
        try:
            ended.append(publisher.deploy(build=True))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=deploy)
    thread.start()
    deadline = time.monotonic() + 20
    while not (stage.target.root / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    meanwhile()
    (stage.target.root / "go").touch()
    thread.join(30)
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


@pytest.fixture
def two(stage: Stage) -> Stage:
    for version in ("one", "two"):
        stage.write(next_site(version))
        stage.deploy(verify=False)
    return stage


def test_a_rollback_during_a_build_stops_the_release_and_says_who_and_when(two: Stage) -> None:
    with pytest.raises(RefusedError) as caught:
        building(two, lambda: two.rollback(verify=False))
    assert "release 3 (rollback to 1) by " in str(caught.value)
    assert "UTC" in str(caught.value)
    assert "run the command again" in caught.value.fix
    assert "one 0" in page(two)
    assert [one.summary.number for one in two.releases()] == [3, 2, 1]
    lock = two.world.records().get(".amianai/lock")
    assert lock is None or lock.data == b""
    again = two.publisher(verify=False, build_command=BUILD).deploy(build=True)
    assert again.number == 4
    assert "slow build" in page(two)


def test_waiting_agrees_to_deploys_and_never_to_a_rollback(two: Stage) -> None:
    def another() -> None:
        two.write(next_site("three"))
        two.deploy(verify=False)

    assert building(two, another, wait=5.0).number == 4
    for name in ("begun", "go"):
        (two.target.root / name).unlink()
    with pytest.raises(RefusedError, match="rollback to 3"):
        building(two, lambda: two.rollback(verify=False), wait=5.0)


def test_a_deploy_during_a_build_is_named_too(two: Stage) -> None:
    def another() -> None:
        two.write(next_site("three"))
        two.deploy(verify=False)

    with pytest.raises(RefusedError, match=r"release 3 \(deploy\) by"):
        building(two, another)


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_is_asked_once(two: Stage, answer: bool) -> None:
    asked: list[str] = []

    def agreed(told: str) -> bool:
        asked.append(told)
        return answer

    if answer:
        assert building(two, lambda: two.rollback(verify=False), agreed=agreed).number == 4
    else:
        with pytest.raises(RefusedError):
            building(two, lambda: two.rollback(verify=False), agreed=agreed)
    assert len(asked) == 1
    assert "rollback to 1" in asked[0]


def test_what_was_rolled_back_and_forward_again_stops_nothing(two: Stage) -> None:
    def there_and_back() -> None:
        two.rollback(verify=False)
        two.rollback(2, verify=False)

    assert building(two, there_and_back).number == 5


@pytest.mark.parametrize("number", [None, 1])
def test_a_release_between_the_plan_of_a_rollback_and_its_lock(two: Stage, number: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = Publisher._locked

    def late(self: Publisher, *arguments: object) -> object:
        monkeypatch.setattr(Publisher, "_locked", locked)
        two.write(next_site("three"))
        two.deploy(verify=False)
        return locked(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Publisher, "_locked", late)
    with pytest.raises(RefusedError, match=r"release 3 \(deploy\)"):
        two.rollback(number, verify=False)
    assert "three 0" in page(two)


def test_the_command_ends_with_code_3(two: Stage) -> None:
    two.prepare_command()
    site = two.target.root / "site"
    (site / "page.html").write_text("<html>slow</html>")
    (two.target.root / "Pulumi.prod.yaml").write_text(f"config:\n  amianai-infra:siteBuildCommand: {BUILD!r}\n")
    process = two.command("--yes", "deploy", "--no-verify")
    deadline = time.monotonic() + 30
    while not (two.target.root / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    two.rollback(verify=False)
    (two.target.root / "go").touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "rollback to 1" in errors


def now() -> float:
    """A whole second later than everything that was released before."""
    time.sleep(1.1)
    return float(int(time.time()))


def built_elsewhere(two: Stage) -> tuple[float, Publisher]:
    """A build of its own job: its files are there, and it began before what comes now."""
    begun = now()
    two.write(next_site("early"))
    time.sleep(1.1)
    return begun, two.publisher(verify=False)


def test_a_rollback_between_a_build_and_the_release_of_it_stops_that(two: Stage) -> None:
    begun, publisher = built_elsewhere(two)
    two.rollback(verify=False)
    with pytest.raises(RefusedError, match=r"release 3 \(rollback to 1\)") as caught:
        publisher.deploy(build=False, begun=begun)
    assert "from the build on" in caught.value.fix
    assert "one 0" in page(two)
    assert two.publisher(verify=False).deploy(build=False, begun=now()).number == 4, "a build that began afterwards"
    assert "early 0" in page(two)


def test_without_a_release_between_it_is_released(two: Stage) -> None:
    begun, publisher = built_elsewhere(two)
    assert publisher.deploy(build=False, begun=begun).number == 3


def test_the_first_release_of_all_may_have_been_built_before(stage: Stage) -> None:
    begun = now()
    stage.write(next_site("one"))
    assert stage.publisher(verify=False).deploy(build=False, begun=begun).number == 1


def test_as_the_workflow_does_it_waiting_agrees_to_deploys_and_not_to_a_rollback(two: Stage) -> None:
    two.prepare_command()
    begun, _ = built_elsewhere(two)
    moment = datetime.fromtimestamp(begun, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    two.rollback(verify=False)
    process = two.command("deploy", "--no-build", "--no-verify", "--wait", "2s", "--begun", moment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "rollback to 1" in errors
    two.rollback(2, verify=False)
    process = two.command("deploy", "--no-build", "--no-verify", "--wait", "2s", "--begun", moment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, "what was rolled back and forward again stops nothing"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--begun", "2026-01-01T00:00:00Z"), "--no-build"), (("--no-build", "--begun", "2999-01-01T00:00:00Z"), "in the future")],
)
def test_a_moment_that_says_nothing_is_refused(two: Stage, arguments: tuple[str, ...], told: str) -> None:
    two.prepare_command()
    _, errors = (process := two.command("deploy", *arguments)).communicate(timeout=60)
    assert process.returncode == 2
    assert told in errors
