"""What the live schema has that no migration made, held against a real server; and that looking leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from amianai_infra.database import schema
from amianai_infra.database.catalog import Difference, described
from amianai_infra.database.diff import PREFIX, diff
from amianai_infra.database.migrate import Migration, read_all
from amianai_infra.errors import AmianaiError, LockedError, RefusedError
from tests.database import Database

OWN = {
    "0001_kinds": """
CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN word AS text CHECK (VALUE <> ''); CREATE TYPE span AS RANGE (SUBTYPE = int4);
CREATE TYPE pair AS (one int, two text);
CREATE TABLE facts (id serial PRIMARY KEY, m mood NOT NULL DEFAULT 'sad', w word, one int GENERATED ALWAYS AS (1) STORED)
    PARTITION BY RANGE (id);
CREATE TABLE facts_1 PARTITION OF facts FOR VALUES FROM (1) TO (10); CREATE INDEX facts_w ON facts (w);
CREATE VIEW sad AS SELECT * FROM facts WHERE m = 'sad'; CREATE MATERIALIZED VIEW happy AS SELECT * FROM facts WHERE m = 'happy';
CREATE RULE none AS ON DELETE TO facts DO INSTEAD NOTHING; ALTER TABLE personas ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON personas USING (name = current_user); CREATE STATISTICS pairs ON id, m FROM facts;
CREATE PUBLICATION news FOR TABLE users;
CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int); CREATE COLLATION plain FROM "C";
CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple)
""",
    "0002_outside": "-- no-transaction\nCREATE INDEX CONCURRENTLY users_created ON users (created_at);\nVACUUM users",
    "0003_role": "DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$; COMMENT ON ROLE {role} IS 'x'",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, shared: Database) -> Iterator[Path]:
    """The project's own migrations, applied."""
    folder = tmp_path_factory.mktemp("own")
    for name, text in OWN.items():
        (folder / f"{name}.sql").write_text(text.replace("{role}", f"{shared.name}_reporting"))
    with shared.connect(statement_timeout=None) as connection:
        schema.apply(connection, shared.target, shared.outputs, folder, say=lambda _: None)
    yield folder
    with shared.superuser() as connection:
        connection.execute(f"DROP ROLE IF EXISTS {shared.name}_reporting".encode())


def looked(database: Database, own: Path | None) -> list[str]:
    found, pending = diff(lambda name: database.connect(database=name, statement_timeout=None), read_all(own), lambda _: None)
    assert pending == []
    return [one.text() for one in found]


def untouched(database: Database) -> tuple[list[Difference], list[Migration]]:
    """Of a database in which no migration has run."""
    return diff(lambda name: database.connect(database=name, statement_timeout=None), read_all(None), lambda _: None)


def databases(database: Database) -> set[str]:
    with database.superuser() as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def test_what_migrations_made_is_no_difference_whatever_its_kind(shared: Database, own: Path) -> None:
    before = databases(shared)
    assert looked(shared, own) == []
    with shared.connect() as connection:
        kinds = {kind for kind, _ in described(connection)}
    assert kinds >= {
        *("schema", "table", "column", "constraint", "index", "view", "materialized view", "sequence", "function", "aggregate", "trigger"),
        *("rule", "policy", "type", "domain", "statistics", "collation", "text search configuration", "publication"),
    }
    assert databases(shared) == before


def test_what_somebody_did_by_hand_is_told_and_the_live_schema_is_left_alone(shared: Database, own: Path) -> None:
    by_hand = (
        "CREATE SCHEMA extra; CREATE TABLE extra.one (i int); CREATE INDEX one_i ON extra.one (i); DROP TABLE messages;"
        " ALTER TABLE users ALTER email TYPE varchar(99), ADD nickname text; CREATE INDEX users_nickname ON users (nickname);"
        " ALTER TABLE users DISABLE TRIGGER users_updated_at; CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'; ALTER TYPE mood ADD VALUE 'bored'; DROP PUBLICATION news"
    )
    with shared.superuser() as superuser, shared.connect() as connection:
        superuser.execute(f"ALTER DATABASE {shared.name} SET default_transaction_read_only = off".encode())
        connection.execute(by_hand.encode())
        before = described(connection)
        found = looked(shared, own)
        assert described(connection) == before
    assert [line.split("  ")[0] for line in found] == [
        "~ column public.users.email",
        "+ column public.users.nickname",
        "~ constraint users_email_form on public.users",
        "~ function public.set_updated_at()",
        "~ index public.users_email_key",
        "+ index public.users_nickname",
        "- publication news",
        "+ schema extra",
        "+ table extra.one",
        "- table public.messages",
        "~ trigger users_updated_at on public.users",
        "~ type public.mood",
    ]
    assert any("'sad', 'happy', 'bored'; by the migrations ENUM 'sad', 'happy'" in line for line in found)


def test_what_concerns_the_whole_server_is_not_kept(database: Database, tmp_path: Path) -> None:
    role = f"{database.name}_once"
    (tmp_path / "0001_role.sql").write_text(f"CREATE ROLE {role}")
    with database.connect(statement_timeout=None) as connection:
        schema.apply(connection, database.target, database.outputs, tmp_path, say=lambda _: None)
        with pytest.raises(AmianaiError, match="cannot be run anew") as caught:
            looked(database, tmp_path)
        assert "already exists" in caught.value.where
        connection.execute(f"DROP ROLE {role}".encode())
        assert looked(database, tmp_path) == []
        assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None
    assert not [name for name in databases(database) if name.startswith(PREFIX)]


def test_one_at_a_time_and_what_a_killed_one_left_goes(database: Database) -> None:
    left = f"{PREFIX}{'0' * 16}"
    with database.connect() as connection:
        connection.execute(f"CREATE DATABASE {left} TEMPLATE template0".encode())
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (0x616D6961, 0x64696666))
        with pytest.raises(LockedError, match="Another `db diff`"):
            untouched(database)
        connection.execute("SELECT pg_advisory_unlock_all()")
        assert untouched(database) == ([], read_all(None))
    assert left not in databases(database)


def test_files_and_ledger_that_contradict_each_other_are_not_compared(database: Database, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    with database.connect(statement_timeout=None) as connection:
        schema.apply(connection, database.target, database.outputs, tmp_path, say=lambda _: None)
    (tmp_path / "0001_a.sql").write_text("SELECT 2")
    with pytest.raises(RefusedError, match="was edited"):
        looked(database, tmp_path)
