"""The site's build: a deterministic id, nothing built twice, failures shown, secrets kept from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amianai_infra.errors import BuildError, MissingToolError
from tests.functional.site.site_world import Stage

COMMAND = (
    "mkdir -p out && cp src/page.html out/index.html && echo built >> ../builds.txt && "
    'printf \'{"build":"%s"}\' "$AMIANAI_BUILD_ID" > out/version.json && env > ../environment.txt'
)


@pytest.fixture
def sources(stage: Stage) -> Path:
    folder = stage.target.root / "site"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "page.html").write_text("<html>one</html>")
    return folder


def builds(stage: Stage) -> int:
    log = stage.target.root / "builds.txt"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_equal_sources_are_built_once_and_named_alike(stage: Stage, sources: Path) -> None:
    first = stage.deploy(build=True, build_command=COMMAND)
    assert builds(stage) == 1
    assert len(first.build) == 16
    assert json.loads((sources / "out" / "version.json").read_text()) == {"build": first.build}
    stage.world.forget()
    (sources / "src" / "page.html").touch()
    again = stage.deploy(build=True, build_command=COMMAND)
    assert builds(stage) == 1
    assert not again.changed
    assert stage.world.requests == [("GET", "")]
    (sources / "src" / "page.html").write_text("<html>two</html>")
    other = stage.deploy(build=True, build_command=COMMAND)
    assert builds(stage) == 2
    assert other.build != first.build


def test_a_fresh_checkout_of_what_is_live_is_not_built(stage: Stage, sources: Path) -> None:
    stage.deploy(build=True, build_command=COMMAND)
    import shutil

    shutil.rmtree(sources / "out")
    shutil.rmtree(stage.target.local)
    stage.world.forget()
    release = stage.deploy(build=True, build_command=COMMAND)
    assert not release.changed
    assert builds(stage) == 1
    assert stage.world.count("PUT") == 0
    stage.world.store("index.html", b"defaced")
    assert stage.deploy(build=True, build_command=COMMAND).uploaded == ("index.html",)
    assert builds(stage) == 2


def test_an_output_that_somebody_changed_is_built_again(stage: Stage, sources: Path) -> None:
    stage.deploy(build=True, build_command=COMMAND)
    (sources / "out" / "index.html").write_text("tampered")
    assert not stage.deploy(build=True, build_command=COMMAND).changed
    assert builds(stage) == 2


def test_public_settings_are_part_of_the_build(stage: Stage, sources: Path) -> None:
    first = stage.deploy(build=True, build_command=COMMAND)
    other = stage.deploy(build=True, build_command=COMMAND, environment={"NEXT_PUBLIC_COLOUR": "blue"})
    assert first.build != other.build
    environment = (stage.target.root / "environment.txt").read_text()
    assert "NEXT_PUBLIC_COLOUR=blue" in environment
    assert "NEXT_PUBLIC_USER_POOL_ID=x" in environment


def test_the_build_does_not_learn_secrets(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "MY_SECRET", "PGPASSFILE", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("HARMLESS", "yes")
    stage.deploy(build=True, build_command=COMMAND)
    environment = (stage.target.root / "environment.txt").read_text()
    assert "hunter2" not in environment
    assert "HARMLESS=yes" in environment


def test_a_failing_build_shows_its_last_lines_and_publishes_nothing(stage: Stage, sources: Path) -> None:
    command = "for i in $(seq 100); do echo line $i; done; echo 'Type error: no such thing' >&2; exit 3"
    with pytest.raises(BuildError, match=r"exit code 3") as caught:
        stage.deploy(build=True, build_command=command)
    text = str(caught.value)
    assert "Type error: no such thing" in text
    assert "line 100" in text
    assert "line 10\n" not in text
    log = stage.target.local / "logs" / "site-build.log"
    assert "line 10\n" in log.read_text()
    assert stage.world.count("PUT") == 0


def test_a_missing_site_directory_is_said(stage: Stage) -> None:
    with pytest.raises(BuildError, match="directory does not exist"):
        stage.deploy(build=True, build_command=COMMAND)


def test_packages_are_installed_when_the_lock_file_changed(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = stage.target.root / "bin"
    tools.mkdir()
    npm = tools / "npm"
    npm.write_text('#!/bin/sh\necho "$@" >> ../npm.txt\nmkdir -p node_modules\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    (sources / "package.json").write_text("{}")
    (sources / "package-lock.json").write_text('{"one": 1}')
    stage.deploy(build=True, build_command=COMMAND)
    (sources / "src" / "page.html").write_text("<html>two</html>")
    stage.deploy(build=True, build_command=COMMAND)
    log = stage.target.root / "npm.txt"
    assert log.read_text().splitlines() == ["ci --no-audit --no-fund"]
    (sources / "package-lock.json").write_text('{"two": 2}')
    stage.deploy(build=True, build_command=COMMAND)
    assert len(log.read_text().splitlines()) == 2
    npm.unlink()
    (sources / "package-lock.json").write_text('{"three": 3}')
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(MissingToolError, match="npm is not installed"):
        stage.deploy(build=True, build_command=COMMAND)
