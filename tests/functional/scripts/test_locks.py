from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(file: str) -> dict[str, str]:
    """Name and version of what a lock file installs; environment markers may list a name twice."""
    text = (CHECKOUT / file).read_text().replace("\\\n", " ")
    return {normal(found[1]): found[2] for found in re.finditer(r"^([A-Za-z0-9_.-]+)==(\S+)", text, re.MULTILINE)}


def declared(*groups: str) -> set[str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    for group in groups:
        wanted += project["dependency-groups"][group]
    names = {normal(re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]) for line in wanted}
    return names - {"amianai-infra"}


@pytest.mark.parametrize(("file", "groups"), [("requirements.lock", ("build",)), ("requirements-dev.lock", ("build", "dev"))])
def test_the_lock_names_everything_that_is_declared(file: str, groups: tuple[str, ...]) -> None:
    assert declared(*groups) - set(locked(file)) == set(), "scripts/lock.sh makes the lock files"


def test_the_tests_run_with_the_versions_that_people_get() -> None:
    tests = locked("requirements-dev.lock")
    assert {name: tests[name] for name in locked("requirements.lock")} == locked("requirements.lock")


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-dev.lock"])
def test_every_version_has_hashes_and_no_address(file: str) -> None:
    text = (CHECKOUT / file).read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
