"""Where the stack's extensions are: not in `public`, which tools that read a schema out take for the team's."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from amianai_infra.database import schema, top
from amianai_infra.database.admin import Administrator
from amianai_infra.naming import EXTENSIONS_SCHEMA, PROJECT, STACK
from amianai_infra.sandbox import postgres as server
from amianai_infra.sandbox.provider.postgres import Postgres
from tests.database import QUIET, Database

PLACE = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_stat_statements'"


def migrate(database: Database) -> list[str]:
    """Gives what was said."""
    said: list[str] = []
    with database.connect(statement_timeout=None) as connection:
        schema.apply(connection, database.target, database.outputs, None, say=said.append)
    return said


def place(connection: psycopg.Connection[Any]) -> str | None:
    row = connection.execute(PLACE).fetchone()
    return None if row is None else str(row[0])


@pytest.fixture(scope="module")
def migrated(shared: Database) -> Database:
    migrate(shared)
    return shared


def test_public_holds_what_the_migrations_made_and_nothing_of_an_extension(migrated: Database) -> None:
    assert migrate(migrated) == []
    with migrated.connect() as connection:
        assert place(connection) == EXTENSIONS_SCHEMA
        query = "SELECT count(*) FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid"
        of_extensions = connection.execute(f"{query} WHERE d.deptype = 'e' AND c.relnamespace = 'public'::regnamespace").fetchone()
        assert of_extensions == (0,)


def test_statements_are_seen_there_and_by_no_role_of_the_application(migrated: Database) -> None:
    with migrated.connect() as connection:
        connection.execute("SELECT 'a statement of my own'")
        found = top.look(connection)
        assert "SELECT $1" in {one.text for one in found.statements}
        assert found.notes == []
        usable = "SELECT has_schema_privilege(%s, %s, 'USAGE')"
        assert connection.execute(usable, ("pg_monitor", EXTENSIONS_SCHEMA)).fetchone() == (True,)
        for role in ("application", "readonly"):
            assert connection.execute(usable, (f"{migrated.name}_{role}", EXTENSIONS_SCHEMA)).fetchone() == (False,)


def test_the_owners_own_moves_and_a_reset_leaves_it_there(database: Database) -> None:
    """As on RDS, whose master user makes it."""
    owner = Identifier(database.outputs.database.username)
    with database.superuser() as superuser:
        superuser.execute("DROP EXTENSION pg_stat_statements")
        superuser.execute(SQL("ALTER ROLE {} SUPERUSER").format(owner))
        superuser.execute(SQL("SET ROLE {}").format(owner))
        superuser.execute("CREATE EXTENSION pg_stat_statements SCHEMA public")
        superuser.execute("RESET ROLE")
        superuser.execute(SQL("ALTER ROLE {} NOSUPERUSER").format(owner))
    assert migrate(database) == []
    with database.connect() as connection:
        assert place(connection) == EXTENSIONS_SCHEMA
    steps = "\n".join(Administrator(database.target, database.outputs, {}).reset().steps)
    assert "users" in steps
    assert "pg_stat_statements" not in steps
    assert EXTENSIONS_SCHEMA not in steps


def test_what_the_owner_may_not_move_is_told_and_the_sandbox_moves_it(database: Database) -> None:
    """A database of an earlier version of the sandbox, where the superuser made it in `public`."""
    with database.superuser() as superuser:
        superuser.execute("ALTER EXTENSION pg_stat_statements SET SCHEMA public")
        assert place(superuser) == "public"
        (said,) = set(migrate(database))
        assert said.startswith("The extension pg_stat_statements stays in public")
        with database.connect() as connection:
            assert top.look(connection).notes == []
        Postgres(server.locate(database.target.local).sockets, database.outputs.database.port).extend()
        assert place(superuser) == EXTENSIONS_SCHEMA
    assert migrate(database) == []


def test_where_the_owner_may_not_make_it_the_migration_goes_on(database: Database) -> None:
    with database.superuser() as superuser:
        superuser.execute("DROP EXTENSION pg_stat_statements")
    (said,) = set(migrate(database))
    assert said.startswith("The extension pg_stat_statements is not made")


@pytest.mark.soak
def test_a_sandbox_of_an_earlier_version_is_seen_to_when_it_starts(database: Database) -> None:
    """One whose stack exists: another has no database yet."""
    sandbox = database.target.sandbox
    stack = sandbox.project.state / ".pulumi" / "stacks" / PROJECT / f"{STACK}.json"
    stack.parent.mkdir(parents=True, exist_ok=True)
    stack.touch()
    try:
        with database.superuser() as superuser:
            superuser.execute("ALTER EXTENSION pg_stat_statements SET SCHEMA public")
        sandbox.stop(QUIET)
        database.target.ready()
        with database.superuser() as superuser:
            assert place(superuser) == EXTENSIONS_SCHEMA
    finally:
        stack.unlink()
