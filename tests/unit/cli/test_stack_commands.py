from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner, Result

from amianai_infra.cli.main import cli
from amianai_infra.cli.options import App
from amianai_infra.config import read_stack_file
from amianai_infra.engine import Engine, Existing, Lock, Step, Summary
from amianai_infra.errors import RefusedError
from amianai_infra.operations import change, state_copies, status
from amianai_infra.operations.status import Part
from amianai_infra.site.environment import public_environment
from amianai_infra.target import EngineEnvironment
from tests.project import checkout
from tests.unit.operations.fakes import OUTPUTS, Context, names, resource


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The command line with stand-ins behind it."""
    made = Context(tmp_path)
    monkeypatch.setenv("AMIANAI_ROOT", str(checkout(tmp_path)))
    monkeypatch.setattr(App, "target", made.target)
    monkeypatch.setattr(App, "settings", made.settings)
    monkeypatch.setattr(App, "engine", lambda self, environment=None: made.engine(environment))
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: OUTPUTS)
    change.configure(made, made.engine())
    made.log.clear()
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--sandbox", *arguments])


STEP = Step("update", "urn::db", "aws:rds/instance:Instance", "db", ("backupRetentionPeriod",))


def test_up_tells_what_it_did(context: Context) -> None:
    context.answers["preview"] = Summary("preview", {"update": 1, "same": 9}, [STEP], 1.0, True)
    context.answers["up"] = Summary("up", {"update": 1, "same": 9}, [STEP], 2.5, True)
    result = run("up")
    assert result.exit_code == 0, result.output
    assert "update    aws:rds/instance:Instance db (backupRetentionPeriod)" in result.stdout
    assert "1 updated (2.5 s)" in result.stdout
    data = json.loads(run("up", "--json").stdout)
    assert data["changed"] is True
    assert data["steps"][0]["diffs"] == ["backupRetentionPeriod"]


def test_up_says_whom_the_database_is_open_to(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    context.answers["up"] = Summary("up", {"same": 9}, [], 2.5, False)
    monkeypatch.setattr(status, "open_access", lambda target, read: [f"{read().prefix}: user/alice until 21:30 UTC"])
    assert "The database is open to eeyore: user/alice until 21:30 UTC" in run("up").stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [((), 3), (("--yes",), 3), (("--confirm", "example.org"), 3), (("--confirm", "example.com"), 0)]
)
@pytest.mark.parametrize("lost", ["replace", "delete"])
def test_what_is_replaced_or_deleted_wants_the_domain(context: Context, lost: str, arguments: tuple[str, ...], code: int) -> None:
    context.answers["preview"] = Summary("preview", {lost: 1, "update": 2}, [STEP], 1.0, True)
    result = run("up", *arguments)
    assert result.exit_code == code, result.output
    assert names(context.log) == (["preview", "up"] if code == 0 else ["preview"])


def test_without_the_domain_the_plan_in_numbers_is_told(context: Context) -> None:
    context.answers["preview"] = Summary("preview", {"replace": 24, "delete": 1, "update": 2}, [STEP], 1.0, True)
    assert "Would be: 2 updated, 1 deleted, 24 replaced. What is replaced or deleted" in " ".join(run("up").stderr.split())


def test_up_without_a_change_says_so(context: Context) -> None:
    assert "no changes" in run("up").stdout


def test_preview_tells_programs_what_up_would_adopt(context: Context) -> None:
    assert json.loads(run("preview", "--json").stdout)["adopts"] == []
    context.state = [replace(resource("urn::stack", "pulumi:pulumi:Stack", ""), outputs={"domain": "example.com"})]
    context.answers["secrets_lines"] = {}
    found = {"urn": "urn:pulumi:prod::p::aws:ec2/eip:Eip::address", "type": "aws:ec2/eip:Eip", "inputs": {}}
    context.answers["existing"] = [Existing(found, "eipalloc-1", ("resource address: eipalloc-2: aws ec2 release-address ...",))]
    (adopted,) = json.loads(run("preview", "--json").stdout)["adopts"]
    assert (adopted["urn"], adopted["id"]) == (found["urn"], "eipalloc-1")
    assert "eipalloc-2" in adopted["others"][0]


def test_preview_may_refresh_first(context: Context) -> None:
    context.answers["preview"] = Summary("preview", {"create": 2}, [], 1.0, True)
    shown = run("preview", "--refresh").stdout
    assert shown.startswith("Nothing was changed outside since the last `up`.\n")
    assert "Would be: 2 created" in shown
    assert names(context.log) == ["refresh", "preview"]
    assert "drift" not in json.loads(run("preview", "--json").stdout)


def test_what_was_changed_outside_is_told_and_nothing_of_it_is_called_deleted(context: Context) -> None:
    gone = Step("delete", "urn::vpc", "aws:ec2/vpc:Vpc", "vpc")
    context.answers["refresh"] = Summary("refresh", {"update": 1, "delete": 1}, [STEP, gone], 1.0, True)
    shown = run("preview", "--refresh")
    assert shown.stdout.splitlines()[:3] == [
        "Changed outside since the last `up`:",
        "  changed   aws:rds/instance:Instance db (backupRetentionPeriod)",
        "  gone      aws:ec2/vpc:Vpc vpc",
    ]
    assert "deleted" not in shown.output
    found = json.loads(run("preview", "--refresh", "--json").stdout)["drift"]
    assert [(one["found"], one["name"]) for one in found] == [("changed", "db"), ("gone", "vpc")]


@pytest.mark.parametrize("arguments", [("destroy",), ("destroy", "--yes"), ("destroy", "--confirm", "example.org")])
def test_destroy_wants_the_domain(context: Context, arguments: tuple[str, ...]) -> None:
    context.state = [resource("urn::vpc", "aws:ec2/vpc:Vpc", "vpc-1")]
    result = run(*arguments)
    assert result.exit_code == 3
    assert "ec2: 1 Vpc" in result.stderr
    assert names(context.log) == ["recover"]


def test_a_dry_run_of_destroy_shows_and_does_nothing(context: Context) -> None:
    context.state = [resource("urn::vpc", "aws:ec2/vpc:Vpc", "vpc-1")]
    result = run("destroy", "--dry-run")
    assert result.exit_code == 0
    assert "ec2: 1 Vpc" in result.stdout
    assert names(context.log) == ["recover"]


def test_destroy_with_the_domain(context: Context) -> None:
    context.state = [resource("urn::vpc", "aws:ec2/vpc:Vpc", "vpc-1")]
    context.target.clients["s3"] = object()
    context.answers["destroy"] = Summary("destroy", {"delete": 1}, [], 1.0, True)
    result = run("destroy", "--confirm", "example.com", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["counts"] == {"delete": 1}


@pytest.mark.parametrize(("good", "code"), [(True, 0), (False, 1)])
def test_status_ends_as_the_stack_is(context: Context, monkeypatch: pytest.MonkeyPatch, good: bool, code: int) -> None:
    monkeypatch.setattr(status, "look", lambda *_: [Part("database", good, "available", {"class": "small"}, {"port": 5432})])
    result = run("status")
    assert result.exit_code == code
    assert "class" in result.stdout
    assert json.loads(run("status", "--json").stdout)["database"]["port"] == 5432


def test_env_writes_into_the_sites_folder(context: Context, tmp_path: Path) -> None:
    assert run("env").exit_code == 2  # there is no such folder yet
    (tmp_path / "examples/site").mkdir(parents=True)
    assert "DATABASE_SECRET_ARN" in run("env").stdout
    assert "no changes" in run("env").stdout
    text = (tmp_path / "examples/site/.env.local").read_text()
    assert f"NEXT_PUBLIC_USER_POOL_ID={OUTPUTS.auth.user_pool_id}\n" in text
    assert "\nAWS_ENDPOINT_URL=http://127.0.0.1:1\n" in text
    assert not [line for line in text.splitlines() if "NEXT_PUBLIC_AWS_" in line and "REGION" not in line]
    other = tmp_path / "other.env"
    run("env", "--file", str(other))
    assert other.read_text() == text


LOCK = Lock("locks/one.json", "somebody", "elsewhere", 7, datetime(2025, 1, 1, tzinfo=UTC), 60.0, None)


def test_locks_are_listed_and_released(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[Any] = []
    found = [LOCK]

    class Locked:
        def locks(self) -> list[Lock]:
            return found

        def unlock(self, lock: Lock) -> None:
            released.append(lock)

    monkeypatch.setattr(App, "engine", lambda self: Locked())
    assert "somebody@elsewhere (process 7)" in run("state", "locks").stdout
    assert json.loads(run("state", "locks", "--json").stdout)[0]["id"] == "one"
    assert run("state", "unlock").exit_code == 3
    assert run("state", "unlock", "--yes", "other").exit_code == 1
    assert released == []
    assert run("state", "unlock", "--yes", "one").exit_code == 0
    assert released == [LOCK]
    found.clear()
    assert "no locks" in run("state", "locks").stdout


def test_a_lost_state_is_shown_and_put_back_after_a_yes(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    environment = EngineEnvironment(tmp_path, f"file://{state}", "passphrase", {})
    monkeypatch.setattr(App, "engine", lambda self: Engine(environment, lambda: None, self.progress))
    assert run("state", "copies").stdout == "no copies\n"
    assert run("state", "restore", "--yes").exit_code == 1
    backups = state / ".pulumi" / "backups" / "amianai-infra" / "prod"
    backups.mkdir(parents=True)
    entry = {"urn": "urn:pulumi:prod::amianai-infra::t::a", "type": "t", "custom": True}
    good = json.dumps({"checkpoint": {"latest": {"manifest": {"time": "2026-03-01T12:01:00Z"}, "resources": [entry]}}})
    (backups / "prod.1772366460000000000.json").write_text(good)
    shown = "prod.1772366460000000000.json  backup, 2026-03-01 12:01:00 UTC, 1 resources"
    assert shown in run("state", "copies").stdout
    assert json.loads(run("--json", "state", "copies").stdout)[0]["resources"] == 1
    refused = run("preview")
    assert refused.exit_code == 3
    assert shown in refused.stderr
    assert "`amianai --sandbox state restore`" in refused.stderr
    checkpoint = state / ".pulumi" / "stacks" / "amianai-infra" / "prod.json"
    planned = run("state", "restore", "--dry-run").stdout
    assert f"{checkpoint} (gone)" in planned
    assert shown in planned
    assert run("state", "restore").exit_code == 3, "nobody said yes"
    assert not checkpoint.exists()
    done = run("--json", "state", "restore", "--yes")
    assert json.loads(done.stdout) == {"restored": json.loads(run("--json", "state", "copies").stdout)[-1], "kept": ""}
    assert checkpoint.read_text() == good


def test_a_state_that_somebody_changed_while_it_was_asked_about_stays(context: Context) -> None:
    engine = Mock(spec=Engine)
    engine.state_at_hand.side_effect = ["prod.json (gone)", "prod.json (80 resources)"]
    found = state_copies.plan(engine, None)
    with pytest.raises(RefusedError, match="Somebody changed the stack's state after this was planned; nothing was changed"):
        state_copies.restore(context, engine, found)
    engine.restore.assert_not_called()


def test_env_names_the_client_for_development_and_a_release_the_sites(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples/site").mkdir(parents=True)
    run("env")
    written = tmp_path / "examples/site/.env.local"
    assert "NEXT_PUBLIC_USER_POOL_CLIENT_ID=client\n" in written.read_text(), "an older stack has one client"
    outputs = OUTPUTS.model_copy({"auth": OUTPUTS.auth.model_copy({"development_client_id": "local"})})
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: outputs)
    run("env")
    assert "NEXT_PUBLIC_USER_POOL_CLIENT_ID=local\n" in written.read_text()
    assert public_environment(context.target, outputs)["NEXT_PUBLIC_USER_POOL_CLIENT_ID"] == "client"


def test_env_speaks_to_the_sites_own_framework(context: Context, tmp_path: Path) -> None:
    (tmp_path / "examples/site").mkdir(parents=True)
    (tmp_path / "examples/site/package.json").write_text('{"devDependencies": {"vite": "7"}}')
    run("env")
    assert "\nVITE_USER_POOL_CLIENT_ID=client\n" in (tmp_path / "examples/site/.env.local").read_text()


CONFLICT = """\
secretsprovider: passphrase
config:
  amianai-infra:domainName: example.com
<<<<<<< HEAD
  amianai-infra:databaseBackupDays: "14"
=======
  amianai-infra:databaseBackupDays: "21"
>>>>>>> theirs
"""


@pytest.mark.parametrize("built", [True, False])
def test_config_pull_settles_the_merge_of_a_stack_file_or_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: bool) -> None:
    made = Context(tmp_path)
    file = change.stack_file(made.target.engine())
    file.write_text(CONFLICT)
    monkeypatch.setenv("AMIANAI_ROOT", str(checkout(tmp_path)))
    monkeypatch.setattr(App, "target", made.target)
    monkeypatch.setattr(App, "stack_file", file)
    monkeypatch.setattr(App, "engine", lambda self, environment=None: made.engine(environment))
    if built:
        settings = {"amianai-infra:domainName": "example.com", "amianai-infra:databaseBackupDays": "9"}
        made.state.append(
            replace(resource("urn::stack", "pulumi:pulumi:Stack", ""), outputs={"domain": "example.com", "settings": settings})
        )
    result = run("config", "pull")
    assert result.exit_code == (0 if built else 1), result.output
    if built:
        assert "git add Pulumi.prod.yaml" in result.stderr
        assert read_stack_file(file)["amianai-infra:databaseBackupDays"] == "9"
    else:
        assert file.read_text() == CONFLICT
