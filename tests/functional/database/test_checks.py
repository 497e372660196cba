"""What is read from a running database and from a copy of it, on a real PostgreSQL with the real migrations."""

from __future__ import annotations

import pytest
from psycopg.sql import SQL, Identifier

from amianai_infra.database import checks, schema
from amianai_infra.database.backups import Finding, healthy
from amianai_infra.database.seed import seed
from amianai_infra.errors import AmianaiError
from tests.database import Database


def silent(text: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def seeded(shared: Database) -> Database:
    with shared.connect(statement_timeout=None) as connection:
        schema.apply(connection, shared.target, shared.outputs, None, say=silent)
        seed(connection)
    return shared


@pytest.fixture
def copy(seeded: Database) -> str:
    """A copy of it, as a restore makes one; gives the name of its database."""
    name = f"{seeded.name}_copy"
    with seeded.superuser("postgres") as connection:
        connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
        connection.execute(
            SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                Identifier(name), Identifier(seeded.name), Identifier(seeded.outputs.database.username)
            )
        )
    return name


def compared(seeded: Database, copy: str) -> dict[str, Finding]:
    with seeded.connect() as running, seeded.connect(database=copy) as other:
        found = checks.compare(checks.facts(other), checks.facts(running))
    return {one.what: one for one in found}


def test_a_faithful_copy(seeded: Database, copy: str) -> None:
    found = compared(seeded, copy)
    assert {one.level for one in found.values()} == {"ok"}, found
    core = {f"public.{name}" for name in ("users", "personas", "conversations", "conversation_participants", "messages")}
    assert core <= set(found)
    assert "newest 20" in found["public.messages"].fact


def test_a_dropped_table_and_lost_rows_are_told(seeded: Database, copy: str) -> None:
    with seeded.connect(database=copy) as connection:
        connection.execute("DELETE FROM messages")
        connection.execute("DROP TABLE conversation_participants")
    found = compared(seeded, copy)
    assert healthy(list(found.values())), "the copy may be from before"
    assert found["public.messages"].level == "note"
    assert "0 rows; the running database" in found["public.messages"].fact
    assert "not in the copy" in found["public.conversation_participants"].fact


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            "UPDATE amianai_migrations.applied SET sha256 = repeat('0', 64)",
            "migrations",
        ),
        ("DROP SCHEMA amianai_migrations CASCADE", "migrations"),
        ("ALTER TABLE messages DROP CONSTRAINT messages_pkey CASCADE", "constraints"),
        ("ALTER TABLE messages ADD CONSTRAINT later CHECK (sequence > 1000) NOT VALID", "validity"),
    ],
)
def test_what_no_age_explains(seeded: Database, copy: str, change: str, what: str) -> None:
    with seeded.connect(database=copy) as connection:
        connection.execute(change)
    assert compared(seeded, copy)[what].level == "problem"


def test_a_copy_with_a_broken_page_is_not_read_to_its_end(seeded: Database, copy: str) -> None:
    """Counting reads every page; a page whose rows cannot be decoded ends it with an error of ours."""
    with seeded.superuser(copy) as connection, seeded.connect(database=copy) as other:
        connection.execute("CREATE FUNCTION fail() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE data_corrupted; END $$")
        connection.execute("ALTER TABLE messages RENAME TO kept")
        connection.execute("CREATE TABLE messages (id int)")
        connection.execute(SQL("ALTER TABLE messages OWNER TO {}").format(Identifier(seeded.outputs.database.username)))
        connection.execute("INSERT INTO messages VALUES (1)")
        connection.execute("ALTER TABLE messages ENABLE ROW LEVEL SECURITY")
        connection.execute("ALTER TABLE messages FORCE ROW LEVEL SECURITY")
        connection.execute("CREATE POLICY broken ON messages USING (fail())")
        with pytest.raises(AmianaiError, match="checking what the database holds"):
            checks.facts(other)
