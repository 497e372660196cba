"""`db backup` against the sandbox's emulator: real snapshots of the control plane, and a plain word about what is missing there.

What this cannot prove: restorable windows and copies in other regions, which the emulator does not have.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from amianai_infra.cli.db import db
from amianai_infra.cli.options import App
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


def test_verify_says_what_is_missing_and_ends_with_one(app: App) -> None:
    found = run(app, "verify", as_json=True)
    assert found.exit_code == 1
    findings = {one["what"]: one for one in json.loads(found.stdout)["findings"]}
    assert findings["point in time"]["level"] == "problem", "the emulator has no automated backups"
    assert findings["encryption"]["level"] == findings["retention"]["level"] == findings["deletion protection"]["level"] == "ok"


def test_without_the_instance(app: App, shared: Database) -> None:
    from dataclasses import replace

    gone = replace(shared.outputs, database=replace(shared.outputs.database, identifier="eeyore-gone"))
    app.outputs = lambda *, fresh=False: gone  # type: ignore[method-assign]
    assert "eeyore-gone does not exist" in run(app, "verify").stdout
    with pytest.raises(NotFoundError, match="eeyore-gone"):
        run(app, "create")
