"""`db backup` against the sandbox's emulator: real snapshots of the control plane, and a plain word about what is missing there.

What this cannot prove: restorable windows and copies in other regions, which the emulator does not have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from amianai_infra.cli.db import db
from amianai_infra.cli.options import App
from amianai_infra.database.audit import Trail
from amianai_infra.errors import NotFoundError
from tests.database import Database


@pytest.fixture
def app(shared: Database) -> App:
    made = App(sandbox=True)
    made.__dict__.update(target=shared.target, root=shared.target.root)
    made.outputs = lambda *, fresh=False: shared.outputs  # type: ignore[method-assign]
    return made


@pytest.fixture(scope="module", autouse=True)
def instance(shared: Database) -> dict[str, Any]:
    made = shared.target.client("rds").create_db_instance(
        DBInstanceIdentifier=shared.outputs.database.identifier,
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="someone",
        MasterUserPassword="not-used-here",
        StorageEncrypted=True,
        DeletionProtection=True,
        BackupRetentionPeriod=7,
    )
    return dict(made["DBInstance"])


def run(app: App, *words: str, as_json: bool = False) -> Result:
    app.json = as_json
    return CliRunner().invoke(db, ["backup", *words], obj=app, catch_exceptions=False)


def test_a_snapshot_is_made_named_and_listed(app: App, shared: Database) -> None:
    identifier = shared.outputs.database.identifier
    made = json.loads(run(app, "create", "--note", 'before the "big" import', as_json=True).stdout)
    assert made["name"].startswith(f"{identifier}-20")
    assert made["status"] == "available"
    assert made["tags"]["amianai:note"] == "before the big import"
    assert made["tags"]["amianai:made-by"] == shared.target.identity().arn
    assert made["tags"]["amianai:stack"] == "amianai-infra/prod", "found by the stack's tag"
    second = run(app, "create")
    assert second.stdout.strip() not in ("", made["name"])
    assert "no data" in second.stderr
    listed = json.loads(run(app, "list", as_json=True).stdout)
    assert {made["name"], second.stdout.strip()} <= {one["name"] for one in listed["snapshots"]}
    text = run(app, "list").stdout
    assert "no point-in-time recovery" in text
    assert "before the big import" in text


@pytest.fixture
def trail(app: App, shared: Database) -> Iterator[Trail]:
    """The audit log group that the stack publishes."""
    logs, group = shared.target.client("logs"), "/eeyore/backup/audit"
    logs.create_log_group(logGroupName=group)
    app.outputs = lambda *, fresh=False: replace(shared.outputs, audit_log_group=group)  # type: ignore[method-assign]
    yield Trail(logs, group)
    logs.delete_log_group(logGroupName=group)


def test_a_snapshot_is_on_record(app: App, shared: Database, trail: Trail) -> None:
    name = run(app, "create", "--note", "before the import").stdout.strip()
    begun, ended = sorted(trail.read(), key=lambda one: str(one["phase"]))
    assert (begun["action"], begun["detail"], begun["reason"], begun["outcome"]) == ("db backup create", name, "before the import", "begun")
    assert (ended["outcome"], ended["who"]) == ("done", shared.target.identity().arn)


def test_a_snapshot_that_fails_is_on_record(app: App, shared: Database, trail: Trail) -> None:
    gone = replace(shared.outputs, audit_log_group=trail.group, database=replace(shared.outputs.database, identifier="eeyore-gone"))
    app.outputs = lambda *, fresh=False: gone  # type: ignore[method-assign]
    with pytest.raises(NotFoundError):
        run(app, "create")
    assert sorted(one["outcome"] for one in trail.read()) == ["begun", "failed"]


def test_verify_says_what_is_missing_and_ends_with_one(app: App) -> None:
    found = run(app, "verify", as_json=True)
    assert found.exit_code == 1
    findings = {one["what"]: one for one in json.loads(found.stdout)["findings"]}
    assert findings["point in time"]["level"] == "problem", "the emulator has no automated backups"
    assert {one["fix"] for one in findings.values() if one["level"] == "problem" and "sandbox" in one["fact"]} == {""}, (
        "no way to get them there"
    )
    assert findings["encryption"]["level"] == findings["retention"]["level"] == findings["deletion protection"]["level"] == "ok"


def test_without_the_instance(app: App, shared: Database) -> None:
    gone = replace(shared.outputs, database=replace(shared.outputs.database, identifier="eeyore-gone"))
    app.outputs = lambda *, fresh=False: gone  # type: ignore[method-assign]
    text = run(app, "verify").stdout
    assert "eeyore-gone does not exist" in text
    assert "up --refresh" in text
    assert "db restore" not in text, "which the sandbox refuses"
    with pytest.raises(NotFoundError, match="eeyore-gone"):
        run(app, "create")
