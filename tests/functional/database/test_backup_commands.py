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
from amianai_infra.config import Settings
from amianai_infra.database import backups
from amianai_infra.database import fetch as operation
from amianai_infra.database.audit import Trail
from amianai_infra.errors import ConfigurationError, NotFoundError, RefusedError
from tests.database import DOMAIN, Database


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


@pytest.fixture
def elsewhere(app: App, trail: Trail, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As on AWS, with backups in another region; gives what was performed."""
    app.sandbox, app.environ = False, {"ENABLE_DB_ADMIN": "true"}
    app.__dict__["settings"] = Settings(domain_name=DOMAIN)
    kept = backups.Automated("us-west-2", "replicating", backups.Window(), 7, True, "arn:x", "db-1")
    monkeypatch.setattr(operation, "survey", lambda *given: operation.Found([kept]))
    done: list[str] = []
    monkeypatch.setattr(operation.Fetch, "run", lambda self: done.append("run"))
    return done


FETCH = ("fetch", "--from-region", "us-west-2")


def test_a_fetch_is_behind_the_gate_and_on_record(app: App, elsewhere: list[str], trail: Trail) -> None:
    allowed = ("--reason", "lost", "--confirm", DOMAIN)
    for missing in ((), allowed[:2], allowed[2:]):
        with pytest.raises(RefusedError):
            run(app, *FETCH, *missing)
    app.environ = {}
    with pytest.raises(RefusedError, match="not enabled"):
        run(app, *FETCH, *allowed)
    assert (elsewhere, list(trail.read())) == ([], [])
    app.environ = {"ENABLE_DB_ADMIN": "true"}
    assert "amianai db restore --to" in run(app, *FETCH, *allowed).stdout
    begun, ended = sorted(trail.read(), key=lambda one: str(one["phase"]))
    assert (begun["action"], begun["reason"], ended["outcome"]) == ("db backup fetch", "lost", "done")
    assert "without a public address" in begun["detail"]
    assert elsewhere == ["run"]


def test_a_dry_run_of_a_fetch_changes_nothing(app: App, elsewhere: list[str], trail: Trail) -> None:
    app.environ = {}
    found = json.loads(run(app, *FETCH, "--dry-run", as_json=True).stdout)
    assert [one["name"] for one in found["steps"]] == ["restore", "snapshot", "copy", "delete-instance", "delete-snapshot"]
    assert "nothing to do" in run(app, *FETCH, "--abandon").stdout
    assert elsewhere == []
    assert list(trail.read()) == []


def test_a_fetch_needs_a_region_and_is_not_for_the_sandbox(app: App, elsewhere: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="backup_region is empty"):
        run(app, "fetch")
    app.sandbox = True
    with pytest.raises(RefusedError, match="sandbox has no backups"):
        run(app, *FETCH)
    assert elsewhere == []


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
