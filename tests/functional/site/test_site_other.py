"""One site never takes the place of another one unasked."""

from __future__ import annotations

import json
import subprocess

import pytest

from amianai_infra.errors import RefusedError
from tests.functional.site.site_world import Stage, next_site


@pytest.fixture
def two(stage: Stage) -> Stage:
    """A site that is live, and another one that somebody's settings name."""
    stage.write(next_site("mine"))
    stage.deploy(verify=False)
    other = stage.target.root / "example" / "out"
    other.mkdir(parents=True)
    (other / "index.html").write_text("the example")
    stage.world.forget()
    return stage


def front(stage: Stage) -> str:
    return stage.world.live()["index.html"].data.decode()


@pytest.mark.parametrize(("directory", "output"), [("example", "out"), ("site", "../example/out")])
def test_another_folder_than_the_live_releases_is_refused_where_nobody_can_be_asked(two: Stage, directory: str, output: str) -> None:
    with pytest.raises(RefusedError, match=r"release 1 was published from site/out; this is example/out") as caught:
        two.deploy(directory=directory, output=output)
    assert caught.value.exit_code == 3
    assert "mine 0" in front(two)
    assert two.world.count("PUT") == 0


def test_the_same_folder_spelled_otherwise_is_the_same(two: Stage) -> None:
    two.write(next_site("new"))
    assert two.deploy(directory="example/../site", verify=False).number == 2


def test_a_rollback_brings_back_what_was_published_from_there(two: Stage) -> None:
    publisher = two.publisher(verify=False, directory="example")
    publisher._confirm = lambda question: None
    publisher.deploy(build=False)
    two.rollback(verify=False)
    assert "mine 0" in front(two)
    with pytest.raises(RefusedError):
        two.deploy(directory="example", verify=False)
    two.write(next_site("new"))
    assert two.deploy(verify=False).number == 4


def test_what_is_the_same_needs_no_question(two: Stage) -> None:
    copy = two.target.root / "copy"
    (two.target.root / "site").rename(copy)
    assert not two.deploy(directory="copy", verify=False).changed


def run(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    process = stage.command(*words)
    out, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, out, errors)


def test_the_command_asks_and_yes_is_an_answer(two: Stage) -> None:
    """A rollback brings the other one back: nothing is lost that would need the domain as confirmation."""
    two.prepare_command()
    words = ("--set", "site.directory=example", "deploy", "--no-build", "--no-verify")
    refused = run(two, *words)
    assert refused.returncode == 3
    assert "published from site/out; this is example/out. Publish it in its place?" in refused.stderr
    assert "--yes" in refused.stderr
    assert "mine 0" in front(two)
    assert "published from site/out; this is example/out" in run(two, *words, "--dry-run").stderr
    assert json.loads(run(two, "--yes", "--json", *words).stdout)["number"] == 2
    assert front(two) == "the example"
