"""`db restore` on the command line: no way around enablement, confirmation, reason and audit, and what it says where it cannot work.

The restore itself is tried in test_restore.py: the emulator has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from click.testing import CliRunner, Result

from amianai_infra.cli.db import db
from amianai_infra.cli.options import App
from amianai_infra.config import Settings
from amianai_infra.database.audit import Trail
from amianai_infra.errors import AmianaiError, ConfigurationError, RefusedError
from tests.database import DOMAIN, Database
from tests.unit.database.test_recipe import INPUTS
from tests.unit.operations.fakes import resource

ENABLED = {"ENABLE_DB_ADMIN": "true"}
RIGHT = ("restore", "--to", "latest", "--reason", "a test", "--confirm", DOMAIN)
GROUP = "/eeyore/restore/audit"


class Engine:
    """Knows the instance, and nothing else."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier

    def resources(self) -> list[Any]:
        return [resource("urn:x::instance", "aws:rds/instance:Instance", "db-1", {**INPUTS, "identifier": self._identifier})]


@pytest.fixture(scope="module")
def stack(shared: Database) -> Iterator[Database]:
    """A database with an instance in the emulator and an audit log group; gives both."""
    target = shared.target
    target.client("rds").create_db_instance(
        DBInstanceIdentifier=shared.outputs.database.identifier,
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="someone",
        MasterUserPassword="not-used-here",
    )
    target.client("logs").create_log_group(logGroupName=GROUP)
    yield Database(target, shared.outputs.model_copy({"audit_log_group": GROUP}))
    with suppress(Exception):
        target.client("logs").delete_log_group(logGroupName=GROUP)


@pytest.fixture
def app(stack: Database) -> App:
    """As on AWS: the sandbox's own refusal comes before the gate."""
    made = App(sandbox=False, yes=True, environ=dict(ENABLED))
    made.__dict__.update(target=stack.target, root=stack.target.root, settings=Settings(domain_name=DOMAIN))
    made.outputs = lambda *, fresh=False: stack.outputs  # type: ignore[method-assign]
    made.engine = lambda environment=None: Engine(stack.outputs.database.identifier)  # type: ignore[method-assign,assignment,return-value]
    return made


def run(app: App, *words: str) -> Result:
    return CliRunner().invoke(db, list(words), obj=app, catch_exceptions=False)


def instances(stack: Database) -> set[str]:
    return {one["DBInstanceIdentifier"] for one in stack.target.client("rds").describe_db_instances()["DBInstances"]}


def events(stack: Database) -> list[dict[str, Any]]:
    return list(Trail(stack.target.client("logs"), GROUP).read())


@pytest.mark.parametrize("environ", [{}, {"ENABLE_DB_ADMIN": "1"}, {"ENABLE_DB_ADMIN": "TRUE"}, {"AMIANAI_ENABLE_DB_ADMIN": "true"}])
def test_not_enabled(app: App, stack: Database, environ: dict[str, str]) -> None:
    app.environ = environ
    with pytest.raises(RefusedError, match="not enabled"):
        run(app, *RIGHT)
    assert events(stack) == []


@pytest.mark.parametrize("words", [("--confirm", "example.com"), ()], ids=["another domain", "nobody to type it"])
def test_not_confirmed(app: App, stack: Database, words: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError):
        run(app, "restore", "--to", "latest", "--reason", "a test", *words)
    assert events(stack) == []


@pytest.mark.parametrize("extra", [(), ("--rehearse",)])
def test_without_a_reason(app: App, stack: Database, extra: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match="no reason"):
        run(app, "restore", "--to", "latest", "--confirm", DOMAIN, *extra)
    assert events(stack) == []


def test_without_a_log_group_nothing_runs(app: App, stack: Database) -> None:
    before = instances(stack)
    app.outputs = lambda *, fresh=False: stack.outputs.model_copy({"audit_log_group": "/not/there"})  # type: ignore[method-assign]
    with pytest.raises(RefusedError):
        run(app, *RIGHT)
    assert instances(stack) == before


def test_behind_the_gate_it_is_recorded_before_and_after(app: App, stack: Database) -> None:
    before = instances(stack)
    with pytest.raises(AmianaiError, match="restoring latest"):
        run(app, *RIGHT)  # the emulator cannot restore to a point in time
    begun, ended = sorted(events(stack), key=lambda one: str(one["phase"]))
    assert (begun["action"], begun["reason"], begun["outcome"]) == ("db restore", "a test", "begun")
    assert "rename" in begun["detail"], "the whole plan is in the record"
    assert ended["outcome"] == "failed"
    assert instances(stack) == before


def test_a_dry_run_needs_nothing_and_changes_nothing(app: App, stack: Database) -> None:
    app.environ, app.json = {}, True
    before = instances(stack)
    found = json.loads(run(app, "restore", "--to", "latest", "--dry-run").stdout)
    assert [one["name"] for one in found["steps"]] == ["create", "settle", "check", "accept", "roles", "set-aside", "take-over", "adopt"]
    app.json = False
    assert "restore the state of latest beside the running instance" in run(app, "restore", "--to", "latest", "--dry-run").stdout
    assert "nothing to delete" in run(app, "restore", "--cleanup", "--dry-run").stdout
    assert instances(stack) == before


def test_the_sandbox_says_that_it_cannot(app: App) -> None:
    app.sandbox = True
    for to in ("latest", "a-snapshot-that-is-not-there"):
        with pytest.raises(RefusedError, match="keeps neither point-in-time backups nor snapshots with data") as refused:
            run(app, "restore", "--to", to, "--reason", "a test", "--confirm", DOMAIN)
        assert refused.value.exit_code == 3
        assert "`amianai --sandbox db admin reset`" in refused.value.fix


def test_a_dry_run_in_the_sandbox_says_that_it_stays_one(app: App, stack: Database) -> None:
    assert "sandbox" not in run(app, "restore", "--to", "latest", "--dry-run").output
    app.sandbox = True
    found = run(app, "restore", "--to", "latest", "--dry-run")
    assert "restore the state of latest" in found.stdout
    assert "The sandbox cannot restore" in found.stderr
    assert "On AWS this is what would be done" in found.stderr


@pytest.mark.parametrize("words", [(), ("--cleanup", "--abandon"), ("--to", "latest", "--cleanup")])
def test_one_thing_at_a_time(app: App, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="--to TIME"):
        run(app, "restore", *words)
