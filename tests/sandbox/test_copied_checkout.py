"""`cp -a` of a checkout with the whole stack while it runs: both stand side by side, and `destroy` in the copy is the copy's own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from amianai_infra.sandbox import Sandbox
from amianai_infra.sandbox import postgres as database
from tests.project import Project, copy_project

pytestmark = [pytest.mark.sandbox, pytest.mark.soak]

DOMAIN = "example.test"


@pytest.fixture
def original(tmp_path: Path) -> Iterator[Project]:
    made = copy_project(tmp_path / "original")
    made.run("setup", "--no-deploy")
    yield made
    made.run("sandbox", "reset", "--confirm", "sandbox")


@pytest.fixture
def copy(original: Project, tmp_path: Path) -> Iterator[Project]:
    place = tmp_path / "copy"
    subprocess.run(("cp", "-a", str(original.root), str(place)), check=True)
    made = Project(place)
    yield made
    made.run("sandbox", "reset", "--confirm", "sandbox")


def roles(project: Project) -> set[str]:
    """The roles of the PostgreSQL server behind a checkout, as its superuser sees them."""
    place, port = database.locate(project.root / ".sandbox"), Sandbox(project.root).ports().postgres
    with psycopg.connect(host=str(place.sockets), port=port, user="postgres", dbname="postgres") as connection:
        return {name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'")}


def addresses(project: Project) -> set[str]:
    return {one["address"] for one in project.json("sandbox", "status")}


def everything(project: Project) -> dict[str, object]:
    """What would be another one if the copy had touched it."""
    state = project.root / ".sandbox/state/.pulumi/stacks/amianai-infra/prod.json"
    return {
        "services": {one["name"]: (one["state"], one["pid"], one["address"]) for one in project.json("sandbox", "status")},
        "buckets": sorted(one["Name"] for one in project.aws("s3").list_buckets()["Buckets"]),
        "databases": [one["DBInstanceIdentifier"] for one in project.aws("rds").describe_db_instances()["DBInstances"]],
        "roles": roles(project),
        "state": state.read_bytes(),
    }


def test_a_copy_is_built_and_destroyed_beside_the_original(original: Project, copy: Project) -> None:
    before = everything(original)
    built = copy.run("setup", "--no-deploy")
    assert f"a copy of {original.root}" in built.stderr
    assert everything(original) == before
    assert addresses(copy).isdisjoint(addresses(original))
    assert len(copy.aws("rds").describe_db_instances()["DBInstances"]) == 1
    assert len(roles(copy)) == len(roles(original)) > 1
    copy.run("destroy", "--confirm", DOMAIN)
    assert copy.aws("rds").describe_db_instances()["DBInstances"] == []
    assert everything(original) == before
    assert "no changes" in original.said("preview")
