"""`cp -a` of a checkout with the whole stack while it runs: both stand side by side, and `destroy` in the copy is the copy's own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from amianai_infra.sandbox import Sandbox
from amianai_infra.sandbox import postgres as database
from tests.project import Deployed, Project

pytestmark = pytest.mark.sandbox

DOMAIN = "example.test"


@pytest.fixture
def copy(deployed: Deployed, tmp_path: Path) -> Iterator[Project]:
    place = tmp_path / "copy"
    subprocess.run(("cp", "-a", str(deployed.project.root), str(place)), check=True)
    made = Project(place)
    yield made
    made.run("sandbox", "reset", "--confirm", "sandbox")


def roles(root: Path) -> set[str]:
    """The roles of the PostgreSQL server behind a checkout, as its superuser sees them."""
    place, port = database.locate(root / ".sandbox"), Sandbox(root).ports().postgres
    with psycopg.connect(host=str(place.sockets), port=port, user="postgres", dbname="postgres") as connection:
        return {name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'")}


def everything(project: Project) -> dict[str, object]:
    """What would be missing if another checkout had touched it."""
    services = {one["name"]: (one["state"], one["pid"]) for one in project.json("sandbox", "status")}
    buckets = sorted(one["Name"] for one in project.aws("s3").list_buckets()["Buckets"])
    state = project.root / ".sandbox/state/.pulumi/stacks/amianai-infra/prod.json"
    return {"services": services, "buckets": buckets, "roles": roles(project.root), "state": state.read_bytes()}


def test_a_copy_is_built_and_destroyed_beside_the_original(deployed: Deployed, copy: Project) -> None:
    before = everything(deployed.project)
    built = copy.run("setup", "--no-deploy")
    assert f"a copy of {deployed.project.root}" in built.stderr
    assert everything(deployed.project) == before
    theirs = copy.json("sandbox", "status")
    assert {one["address"] for one in theirs}.isdisjoint({one["address"] for one in deployed.project.json("sandbox", "status")})
    assert len(copy.aws("rds").describe_db_instances()["DBInstances"]) == 1
    assert len(roles(copy.root)) > 1
    copy.run("destroy", "--confirm", DOMAIN)
    assert copy.aws("rds").describe_db_instances()["DBInstances"] == []
    assert everything(deployed.project) == before
    assert "no changes" in deployed.project.said("preview")
