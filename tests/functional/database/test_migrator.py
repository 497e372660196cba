"""A team's own migration tool: what its role may do and when, what it cannot reach, and what of its ledger is kept from the application.

The tool is a program of a few lines here, as Alembic and others do it; `-m clients` runs the real ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from amianai_infra.cli.main import cli
from amianai_infra.cli.options import App
from amianai_infra.config import load_settings
from amianai_infra.database import foreign_ledgers, migrator, schema
from amianai_infra.database.credentials import FixedCredentials, Login
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.migrate import read_all
from amianai_infra.database.session import open_connection
from amianai_infra.errors import ForbiddenError, NotFoundError
from tests.database import DOMAIN, Database, external
from tests.functional.database.conftest import NewDatabase

Run = Callable[..., Result]
GIVEN = ("--reason", "a test", "--confirm", DOMAIN)
TOOL = """
import os, sys, psycopg
with psycopg.connect("", autocommit=True) as connection:
    connection.execute(sys.argv[1])
"""


def applied(database: Database) -> list[str]:
    with database.connect(statement_timeout=None) as connection:
        done = schema.apply(connection, database.target, database.outputs, None, say=lambda _: None).applied
    return [str(one) for one in done]


@pytest.fixture(scope="module")
def team(make_database: NewDatabase) -> Iterator[Database]:
    """A database of a team with its own tool, with roles and the table of records."""
    made = external(make_database())
    group = f"/{made.name}/audit"
    logs = made.target.client("logs")
    logs.create_log_group(logGroupName=group)
    found = Database(made.target, made.outputs.model_copy({"audit_log_group": group}))
    assert applied(found) == ["amianai 0002_audit"], "nothing of ours is in public"
    yield found
    with suppress(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_group(logGroupName=group)


@pytest.fixture
def run(team: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `amianai --sandbox db ...`, enabled."""
    monkeypatch.setenv("AMIANAI_ROOT", str(tmp_path))
    monkeypatch.setenv("ENABLE_DB_ADMIN", "true")
    monkeypatch.setattr(App, "root", tmp_path)
    monkeypatch.setattr(App, "target", team.target)
    monkeypatch.setattr(App, "settings", load_settings({"domain_name": DOMAIN, "database.migrations_by": "external"}, {}, {}))
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: team.outputs)

    def call(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["--sandbox", "db", *arguments])
        assert result.exit_code == code, result.output
        with suppress(KeyError):
            assert team.secret("migrator")["password"] not in result.output
        return result

    return call


def tool(run: Run, sql: str, code: int = 0) -> Result:
    return run("run", *GIVEN, "--", sys.executable, "-c", TOOL, sql, code=code)


def one(database: Database, query: str, role: Any = "owner") -> Any:
    with database.connect(role) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def test_the_tool_works_as_its_own_role_and_the_application_gets_its_rights(run: Run, team: Database) -> None:
    tool(
        run,
        "CREATE TABLE pages (id int PRIMARY KEY); CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (hash text)",
    )
    assert one(team, "SELECT tableowner FROM pg_tables WHERE tablename = 'pages'") == f"{team.name}_migrator"
    with team.connect("application") as connection:
        connection.execute("INSERT INTO pages VALUES (1)")
    assert one(team, "SELECT count(*) FROM pages", "readonly") == 1
    tool(run, "ALTER TABLE pages ADD title text; DROP SCHEMA drizzle CASCADE; CREATE VIEW all_pages AS TABLE pages")
    assert one(team, "SELECT count(*) FROM all_pages", "application") == 1
    tool(run, "DROP TABLE pages CASCADE")


def test_each_run_is_on_record_and_takes_the_gate(run: Run, team: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(run, "SELECT 1")
    shown = tool(run, "SELECT nothing", code=1)
    assert "ended with exit code 1; what it has committed stays" in shown.stderr
    with team.connect() as connection:
        kept = connection.execute(
            "SELECT outcome, detail, reason FROM amianai_audit.records WHERE action = 'run' ORDER BY at DESC, phase DESC"
        )
        (ended, begun, *_) = kept.fetchall()
    assert (ended[0], begun[0], begun[2]) == ("failed", "begun", "a test")
    assert begun[1].startswith("as the migrator: ")
    assert "SELECT nothing" in begun[1]
    command = ("--", "true")
    assert "no reason" in run("run", "--confirm", DOMAIN, *command, code=3).output
    assert "the domain was not confirmed" in run("run", "--reason", "a test", *command, code=3).output
    assert "was not found" in run("run", *GIVEN, "--", "no-such-tool", code=1).output
    monkeypatch.delenv("ENABLE_DB_ADMIN")
    assert "ENABLE_DB_ADMIN" in run("run", *GIVEN, *command, code=3).output


def test_outside_of_a_run_its_password_is_worth_nothing(run: Run, team: Database) -> None:
    endpoint = Endpoint.of(team.target, team.outputs)

    def login() -> None:
        found = team.secret("migrator")
        open_connection(endpoint, FixedCredentials(Login(found["username"], found["password"])), application_name="test").close()

    with team.connect() as connection:
        opened = migrator.door(connection, team.outputs, team.target.client("secretsmanager"), timedelta(hours=1), lambda: None)
        with opened as first:
            login()
            assert migrator.open_until(connection, team.outputs)
            assert "may log in until" in run("status").stdout
            inside = open_connection(endpoint, FixedCredentials(first), application_name="test")
        with pytest.raises(psycopg.OperationalError):
            inside.execute("SELECT 1")
        assert migrator.open_until(connection, team.outputs) == ""
        assert "may log in until" not in run("status").stdout
        with pytest.raises(ForbiddenError):
            login()
        brief = migrator.door(connection, team.outputs, team.target.client("secretsmanager"), timedelta(0), lambda: None)
        with brief as second, pytest.raises(ForbiddenError):
            login()
    assert first.password != second.password, "each opening has one of its own"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM amianai_migrations.applied",
        "SELECT * FROM amianai_audit.records",
        "DROP SCHEMA amianai_audit CASCADE",
        "CREATE TABLE amianai_migrations.mine ()",
        "DROP SCHEMA public CASCADE",
        "CREATE ROLE friend",
        "CREATE DATABASE shadow",
        "SET ROLE {owner}",
        "GRANT {owner} TO {migrator}",
        "ALTER ROLE {application} SUPERUSER",
        "ALTER ROLE {migrator} VALID UNTIL 'infinity'",
        "ALTER DATABASE {database} OWNER TO {migrator}",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ],
)
def test_what_is_not_the_teams_is_out_of_its_reach(team: Database, sql: str) -> None:
    name = team.name
    names = {"owner": f"{name}_admin", "migrator": f"{name}_migrator", "application": f"{name}_application", "database": name}
    with team.superuser() as connection:
        connection.execute(f"SET SESSION AUTHORIZATION {name}_migrator".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.format(**names).encode())


def test_a_function_of_the_migrators_does_not_run_as_the_owner(run: Run, team: Database) -> None:
    """One that fits better than the server's own (`name` instead of `text`) would, in any query of ours that calls it."""
    tool(
        run,
        "CREATE TABLE caught (who text); CREATE FUNCTION quote_ident(name) RETURNS text LANGUAGE plpgsql SECURITY INVOKER AS $$"
        " BEGIN INSERT INTO public.caught VALUES (current_user); RETURN pg_catalog.quote_ident($1::text); END $$",
    )
    run("migrate")
    run("status")
    run("admin", "reset", "--dry-run")
    assert one(team, "SELECT count(*) FROM public.caught") == 0
    tool(run, "DROP FUNCTION quote_ident(name); DROP TABLE caught")


LEDGERS = (
    "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('3f2a');"
    " CREATE TABLE django_migrations (id serial, app text, name text);"
    " INSERT INTO django_migrations (app, name) VALUES ('auth', '0001_initial');"
    " CREATE TABLE _prisma_migrations (odd int); CREATE SCHEMA drizzle;"
    " CREATE TABLE drizzle.__drizzle_migrations (hash text, created_at bigint);"
    " INSERT INTO drizzle.__drizzle_migrations VALUES ('abcdef', 1)"
)
SAID = [
    "Drizzle: drizzle.__drizzle_migrations, 1 row, at abcdef",
    "Prisma: public._prisma_migrations, 0 rows",
    "Alembic: public.alembic_version, 1 row, at 3f2a",
    "Django: public.django_migrations, 1 row, at auth.0001_initial",
]


def test_ledgers_of_other_tools_are_shown_and_not_the_applications_to_write(run: Run, team: Database) -> None:
    tool(run, f"{LEDGERS}; GRANT USAGE ON SCHEMA drizzle TO PUBLIC; GRANT ALL ON drizzle.__drizzle_migrations TO {team.name}_application")
    shown = run("status").stdout
    assert [line.removeprefix("· ") for line in shown.splitlines() if line.startswith("· ")] == SAID
    assert [found["tool"] for found in json.loads(run("status", "--json").stdout)["foreign"]] == [line.split(":")[0] for line in SAID]
    with team.connect("application") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("3f2a",)
        for table in ("alembic_version", "django_migrations", "_prisma_migrations", "drizzle.__drizzle_migrations"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"DELETE FROM {table}".encode())
    plan = run("admin", "reset", "--dry-run").stdout
    assert all(f"the ledger of {line} goes, too" in plan for line in SAID)
    run("admin", "reset", *GIVEN)
    with team.connect() as connection:
        assert foreign_ledgers.found(connection) == []
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    tool(run, "CREATE TABLE again (i int); DROP TABLE again")


def test_what_asks_for_tables_of_ours_says_whose_they_are(run: Run) -> None:
    assert "a tool of the team's own makes the schema" in run("seed", code=3).output
    assert "alembic check" in run("diff", code=3).output


def test_the_ledger_is_kept_from_the_application_where_the_owner_ran_the_tool(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
    applied(database)
    with database.connect("application") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("INSERT INTO alembic_version VALUES ('x')")


def test_a_stack_goes_over_and_comes_back(database: Database) -> None:
    """The team's tables, which the owner had to make until now, become the migrator's; ours stay, and so does what is in them."""
    applied(database)
    with database.connect() as connection:
        connection.execute(
            "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE pages (id serial, m mood); CREATE FUNCTION two() RETURNS int RETURN 2"
        )
    went = external(database)
    assert applied(went) == []
    with went.superuser() as connection:
        owners = dict(connection.execute("SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall())
        assert {owners.pop("pages")} == {f"{went.name}_migrator"}
        assert set(owners.values()) == {f"{went.name}_admin"}
        connection.execute(f"SET SESSION AUTHORIZATION {went.name}_migrator".encode())
        connection.execute("ALTER TABLE pages ADD who uuid REFERENCES users; ALTER TYPE mood ADD VALUE 'happy'; DROP FUNCTION two()")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE messages")
    assert applied(database) == []
    with database.superuser() as connection:
        connection.execute(f"SET SESSION AUTHORIZATION {went.name}_migrator".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE public.more (i int)")


def test_what_was_left_out_comes_when_the_team_leaves_its_tool(database: Database) -> None:
    assert applied(external(database)) == ["amianai 0002_audit"]
    assert applied(database) == [str(read_all(None)[0])]


def test_a_stack_without_the_setting_has_no_migrator(database: Database) -> None:
    applied(database)
    assert one(database, f"SELECT 1 FROM pg_roles WHERE rolname = '{database.name}_migrator'") is None
    with pytest.raises(NotFoundError, match=r"database\.migrations_by=external"):
        database.connect("migrator")
