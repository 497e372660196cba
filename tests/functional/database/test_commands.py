"""The `db` commands in one process, against a real server: what they print, what they ask first, and that no secret is in it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from amianai_infra.cli.main import cli
from amianai_infra.cli.options import App
from amianai_infra.config import Settings, load_settings
from amianai_infra.database import backups
from tests.database import DOMAIN, Database

Run = Callable[..., Result]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_avatars.sql").write_text("ALTER TABLE personas ADD avatar text;\n")
    return folder


@pytest.fixture
def run(database: Database, own: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `amianai db ...` on the database: as on AWS, with `sandbox=True` as in the sandbox."""
    settings: Settings = load_settings({"domain_name": DOMAIN, "database.migrations": own.name}, {}, {})
    monkeypatch.setenv("AMIANAI_ROOT", str(own.parent))
    monkeypatch.setattr(App, "root", own.parent)
    monkeypatch.setattr(App, "target", database.target)
    monkeypatch.setattr(App, "settings", settings)
    database.target.client("logs").create_log_group(logGroupName=_group(database))
    recording = database.outputs.model_copy({"audit_log_group": _group(database)})
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: recording)

    def call(*arguments: str, code: int = 0, sandbox: bool = True) -> Result:
        result = CliRunner().invoke(cli, [*(["--sandbox"] if sandbox else []), "db", *arguments])
        assert result.exit_code == code, result.output
        for role in ("owner", "application", "readonly"):
            assert _password(database, role) not in result.output
        return result

    return call


def _group(database: Database) -> str:
    return f"/{database.name}/audit"


def _password(database: Database, role: str) -> str:
    try:
        return str(database.secret(role)["password"])
    except KeyError:
        return "there is none yet"


def test_migrate_status_and_dry_run(run: Run, own: Path) -> None:
    assert "would apply project 0001_avatars" in run("migrate", "--dry-run").stdout
    before = run("status").stdout
    assert "· amianai 0001_application  not applied" in before
    assert before.endswith("  next:  `amianai --sandbox db migrate`\n")
    data = json.loads(run("migrate", "--json").stdout)
    assert [f"{one['source']} {one['version']}" for one in data["applied"]][-1] == "project 0001"
    assert "Nothing to apply." in run("migrate").stdout
    assert json.loads(run("migrate", "--dry-run", "--json").stdout) == {"pending": []}
    state = json.loads(run("status", "--json").stdout)
    assert (state["pending"], state["problem"], set(state["roles"].values())) == ([], "", {True})
    assert "next:" not in run("status").stdout
    (own / "0001_avatars.sql").write_text("ALTER TABLE personas ADD avatar bytea;\n")
    edited = run("status", code=1).stdout
    assert "project 0001_avatars was edited" in edited
    assert "db migrate" not in edited
    assert "project 0001_avatars was edited" in run("migrate", code=3).output
    assert "project 0001_avatars was edited" in run("migrate", "--dry-run", code=3).output


def test_a_new_file_is_the_next_and_is_found(run: Run, own: Path) -> None:
    assert run("new", "Add", "avatars").stdout == f"{own / '0002_add_avatars.sql'}\n"
    assert "would apply project 0002_add_avatars" in run("migrate", "--dry-run").stdout
    assert json.loads(run("new", "--time", "--no-transaction", "index", "--json").stdout)["path"].endswith("_index.sql")
    assert "_index.sql), outside a transaction" in run("migrate", "--dry-run").stdout


def kept(database: Database, action: str) -> list[tuple[Any, ...]]:
    query = "SELECT outcome, detail, reason, rows FROM amianai_audit.records WHERE action = %s ORDER BY at, phase"
    with database.connect() as connection:
        return connection.execute(query, (action,)).fetchall()


GIVEN = ("--reason", "a test", "--confirm", DOMAIN)


def test_a_database_that_has_the_schema_takes_the_ledger_without_running_anything(
    run: Run, own: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another tool has made it: what the files would make is there."""
    (own / "0001_avatars.sql").write_text("CREATE TABLE avatars (id int);\n")
    (own / "0002_more.sql").write_text("CREATE TABLE more (id int);\n")
    with database.connect() as connection:
        connection.execute("CREATE TABLE avatars (id int)")
    assert "project 0001_avatars  sha256:" in run("baseline", "1", "--dry-run").stdout
    assert "ENABLE_DB_ADMIN" in run("baseline", "1", *GIVEN, code=3).output
    monkeypatch.setenv("ENABLE_DB_ADMIN", "true")
    assert "no reason" in run("baseline", "1", "--confirm", DOMAIN, code=3).output
    assert "has the version 7" in run("baseline", "7", *GIVEN, code=1).output
    assert "is no version" in run("baseline", "one", *GIVEN, code=2).output
    shown = run("baseline", "1", *GIVEN)
    assert f"project 0001_avatars  sha256:{hashlib.sha256((own / '0001_avatars.sql').read_bytes()).hexdigest()}" in shown.stderr
    assert "0002_more" not in shown.output
    assert "in the ledger already" in run("baseline", "1", *GIVEN, code=3).output
    done = json.loads(run("migrate", "--json").stdout)["applied"]
    assert [one["name"] for one in done][-1] == "more"
    assert "avatars" not in [one["name"] for one in done]
    assert "(baseline: not run)" in run("status").stdout
    assert [(one[0], one[2], one[3]) for one in kept(database, "baseline")] == [("begun", "a test", None), ("done", "a test", 1)]
    assert run("diff").stdout == "The schema is what its migrations make.\n"
    with database.connect() as connection:
        connection.execute("ALTER TABLE avatars ADD url text; DROP TABLE more")
    shown = run("diff", code=1)
    assert [line.split("  ")[0] for line in shown.stdout.splitlines()] == ["+ column public.avatars.url", "- table public.more"]
    assert len(json.loads(run("diff", "--json", code=1).stdout)["differences"]) == 2


def test_an_edited_file_is_taken_on_record_after_review(run: Run, own: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run("migrate")
    assert "No migration was edited" in run("repair", "--dry-run", code=3).output
    old = hashlib.sha256((own / "0001_avatars.sql").read_bytes()).hexdigest()
    (own / "0001_avatars.sql").write_text("-- Pictures.\nALTER TABLE personas ADD avatar text;\n")
    new = hashlib.sha256((own / "0001_avatars.sql").read_bytes()).hexdigest()
    assert "was edited" in run("status", code=1).stdout
    assert "ENABLE_DB_ADMIN" in run("repair", *GIVEN, code=3).output
    monkeypatch.setenv("ENABLE_DB_ADMIN", "true")
    shown = run("repair", *GIVEN).stderr
    assert (old in shown, new in shown) == (True, True)
    assert "was edited" not in run("status").stdout
    (begun, ended) = kept(database, "repair")
    assert (old in begun[1], new in begun[1], begun[2], ended[0], ended[3]) == (True, True, "a test", "done", 1)
    assert "Nothing to apply." in run("migrate").stdout


def test_a_setting_that_names_no_migrations_stops_only_what_reads_them(run: Run, own: Path, tmp_path: Path) -> None:
    run("migrate")
    own.rename(tmp_path / "elsewhere")
    for words in ("migrate", "migrate --dry-run"):
        assert "setting database.migrations = migrations" in run(*words.split(), code=2).output
    state = run("status", code=1).stdout
    assert "setting database.migrations = migrations" in state
    assert "✓ amianai 0001_application" in state
    assert "`amianai --sandbox up --set database.migrations=FOLDER`" in state
    for words in ("url", "seed", "rotate", "top", "admin audit"):
        run(*words.split())
    run("admin", "reset", "--dry-run", code=2)


def test_what_is_applied_is_on_record(run: Run, own: Path, database: Database) -> None:
    def kept() -> list[tuple[Any, ...]]:
        with database.connect() as connection:
            return connection.execute(
                "SELECT phase, detail, reason, outcome, rows FROM amianai_audit.records ORDER BY at, phase"
            ).fetchall()

    run("migrate")
    begun, ended = kept()
    checksum = hashlib.sha256((own / "0001_avatars.sql").read_bytes()).hexdigest()
    assert f"project 0001_avatars sha256:{checksum}" in begun[1]
    assert (begun[2:4], ended[3:]) == (("migrations", "begun"), ("done", begun[1].count("\n") + 1))
    run("migrate")
    assert len(kept()) == 2, "nothing was applied"
    (own / "0002_broken.sql").write_text("SELECT nothing;\n")
    run("migrate", code=1)
    (own / "0002_broken.sql").unlink()
    run("seed")
    run("rotate")
    assert [(one[0], one[3]) for one in kept()[2:]] == [
        (phase, outcome) for last in ("failed", "done", "done") for phase, outcome in (("begun", "begun"), ("ended", last))
    ]


def test_without_the_log_group_nothing_is_applied(run: Run, database: Database) -> None:
    database.target.client("logs").delete_log_group(logGroupName=_group(database))
    assert "There is no audit log group" in run("migrate", code=3).output
    assert "· amianai 0001_application  not applied" in run("status").stdout


def test_on_aws_it_asks_and_makes_a_snapshot_of_what_is_there(
    run: Run, own: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def create(rds: object, identifier: str, now: datetime, *, made_by: str, note: str) -> Any:
        made.append(f"{identifier} {note}")
        return SimpleNamespace(name="named")

    monkeypatch.setattr(backups, "create", create)
    assert "--yes was not given" in run("migrate", sandbox=False, code=3).output
    run("migrate", "--yes", sandbox=False)
    assert made == [], "there was nothing in it"
    run("migrate", "--yes", sandbox=False)
    assert made == [], "there was nothing to apply"
    (own / "0002_more.sql").write_text("CREATE TABLE more (id int);\n")
    run("migrate")
    assert made == [], "the sandbox's snapshots would hold nothing"
    (own / "0003_last.sql").write_text("CREATE TABLE last (id int);\n")
    run("migrate", "--yes", sandbox=False)
    assert made == [f"{database.outputs.database.identifier} before db migrate"]


def test_seed_asks_for_the_domain_on_aws(run: Run) -> None:
    early = run("seed", code=1).stderr
    assert "has no password yet" in early
    assert "`amianai --sandbox db migrate`" in early
    assert "There is no role" in run("rotate", code=1).stderr
    run("migrate")
    assert "users 2, personas 3, conversations 1," in run("seed").stdout
    assert "Everything was there already" in run("seed").stdout
    assert DOMAIN in run("seed", "--yes", sandbox=False, code=3).output
    run("seed", "--confirm", DOMAIN, sandbox=False)


def test_rotate(run: Run, database: Database) -> None:
    run("migrate")
    before = database.secret("application")["password"]
    assert "--yes was not given" in run("rotate", sandbox=False, code=3).output
    shown = run("rotate")
    assert "new password" in shown.stdout
    assert before not in shown.output
    assert database.secret("application")["password"] != before
    owner = database.secret()["password"]
    shown = run("rotate", "--role", "owner")
    assert database.secret()["password"] != owner
    assert owner not in shown.output


def test_after_a_rotation_the_printed_url_goes_on_working(run: Run, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL that somebody kept, too: the file that it names is written anew. Before there is a password that is said."""
    monkeypatch.setattr("amianai_infra.sandbox.target.cached_outputs", lambda target: database.outputs)
    assert "has no password yet" in run("url").stderr
    run("migrate")
    for role in ("application", "readonly", "owner"):
        told = run("--json", "url", "--role", role)
        url, user = (json.loads(told.stdout)[name] for name in ("url", "user"))
        assert told.stderr == ""
        psycopg.connect(url).close()
        run("rotate", "--role", role)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (user,)


def test_url_has_no_password(run: Run, database: Database) -> None:
    assert run("url").stdout.startswith(f"postgresql://{database.name}_application@localhost:")
    assert "sslmode=verify-full" in run("url").stdout
    data = json.loads(run("--at", "127.0.0.1:15432", "url", "--role", "readonly", "--json").stdout)
    assert (data["user"], data["port"]) == (f"{database.name}_readonly", 15432)
    assert data["secret_arn"] == database.outputs.database.readonly_secret_arn


def test_through_another_port_the_certificate_still_counts(run: Run, database: Database) -> None:
    port = database.outputs.database.port
    assert "PostgreSQL 16" in run("--at", f"127.0.0.1:{port}", "status").stdout
    assert "does not answer" in run("--at", "127.0.0.1:1", "status", code=1).output


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_the_shell_reads_and_does_not_write(run: Run, tmp_path: Path) -> None:
    run("migrate")
    out = tmp_path / "out"
    run("shell", "--", "-XAtq", "-o", str(out), "-c", "SELECT current_user, current_setting('transaction_read_only')")
    assert out.read_text().endswith("_readonly|on\n")
    run("shell", "--", "-XAtq", "-c", "SET default_transaction_read_only = off", "-c", "DELETE FROM users", code=1)
    assert "was not started" in run("shell", "--", "-d", "sslmode=require sslrootcert=/nonexistent", "-c", "SELECT 1", code=3).output


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
@pytest.mark.parametrize("role", ["application", "owner"])
def test_a_shell_that_can_write_goes_through_the_gate(run: Run, database: Database, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    """Each of its four conditions alone is not enough, whatever --yes says."""
    run("migrate")
    with_group = database.outputs.model_copy({"audit_log_group": _group(database)})
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: database.outputs)
    query = ("--", "-XAtq", "-c", "INSERT INTO users (email, cognito_sub) VALUES ('by-shell@example.test', 'x')")

    def rows() -> int:
        with database.connect() as connection:
            (found,) = connection.execute("SELECT count(*) FROM users WHERE email LIKE 'by-shell%'").fetchall()
        return int(found[0])

    whole = ("--reason", "a test", "--confirm", DOMAIN)
    assert "ENABLE_DB_ADMIN" in run("--yes", "shell", "--role", role, *whole, *query, code=3).output
    monkeypatch.setenv("ENABLE_DB_ADMIN", "true")
    assert "log group" in run("shell", "--role", role, *whole, *query, code=3).output
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: with_group)
    assert DOMAIN in run("--yes", "shell", "--role", role, "--reason", "a test", *query, code=3).output
    assert "is not example.test" in run("shell", "--role", role, "--reason", "a test", "--confirm", "other.test", *query, code=3).output
    assert "no reason" in run("shell", "--role", role, "--confirm", DOMAIN, *query, code=3).output
    assert rows() == 0
    run("shell", "--role", role, *whole, *query)
    assert rows() == 1
    with database.connect() as connection:
        kept = connection.execute("SELECT * FROM amianai_audit.records").fetchall()
    assert f"psql as {role}" in str(kept)
