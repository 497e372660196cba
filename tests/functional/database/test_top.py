"""`db top` against the real PostgreSQL of a sandbox: real sessions, locks, statements, dead rows and indexes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import psycopg.sql
import pytest
from click.testing import CliRunner

from amianai_infra.cli.options import App
from amianai_infra.database import top
from tests.database import Database


@pytest.fixture(scope="module")
def watched(shared: Database) -> Database:
    with shared.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, name text, CONSTRAINT one_name UNIQUE (name))")
        connection.execute("CREATE INDEX never_used ON items (lower(name))")
        connection.execute("INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 1000) n")
        connection.execute("UPDATE items SET name = name || '!'")
    return shared


@pytest.fixture
def me(watched: Database) -> Iterator[psycopg.Connection[Any]]:
    with watched.connect() as connection:
        yield connection


def test_statements_tables_and_indexes(watched: Database, me: psycopg.Connection[Any]) -> None:
    for number in range(3):
        me.execute(f"SELECT count(*) FROM items WHERE name <> 'secret value {number}'")
    me.execute(f"ALTER ROLE {watched.outputs.database.username} SET application_name = 'secret setting'")
    me.execute(f"ALTER ROLE {watched.outputs.database.username} RESET application_name")
    me.execute("SELECT pg_stat_force_next_flush()")
    found = top.look(me)
    assert found.server.database == watched.name
    assert found.server.version.startswith("16.")
    assert found.server.size > 1_000_000
    counted = next(one for one in found.statements if "count(*) FROM items" in one.text)
    assert (counted.calls, counted.rows, counted.text) == (3, 3, "SELECT count(*) FROM items WHERE name <> $1")
    assert "secret" not in json.dumps(found.as_dict(rows=500), default=str)
    assert found.notes == []
    (items,) = [one for one in found.tables if one.name == "items"]
    assert items.size > items.indexes > 0
    assert items.rows == 1000
    assert items.dead == 1000
    assert items.dead_share == 0.5
    assert [(one.name, one.table, one.valid) for one in found.unused] == [("never_used", "items", True)], "keys and constraints are used"


def test_load_waits_and_who_blocks_whom(watched: Database, me: psycopg.Connection[Any]) -> None:
    def wait_for_it() -> None:
        with watched.connect() as other:
            other.execute("SET application_name = 'waiting'")
            other.execute("UPDATE items SET name = 'private' WHERE id = 1")

    with watched.connect() as holder:
        holder.execute("SET application_name = 'holder'")
        with holder.transaction():
            holder.execute("UPDATE items SET name = 'also private' WHERE id = 1")
            blocked = threading.Thread(target=wait_for_it)
            blocked.start()
            found = until(me, lambda seen: bool(seen.blocked))
        blocked.join()
    (one,) = found.blocked
    (head,) = found.blockers
    assert list(one.by) == [head.pid]
    assert (one.application, one.statement) == ("waiting", "UPDATE items SET name = ? WHERE id = ?")
    assert (head.application, head.state) == ("holder", "idle in transaction")
    assert head.statement == "UPDATE items SET name = ? WHERE id = ?"
    assert found.load.states == {"active": 1, "idle in transaction": 1}
    assert any(wait.type == "Lock" for wait in found.load.waits)
    assert found.locks["RowExclusiveLock"] >= 2
    assert found.load.connections == 3
    assert 50 <= found.load.limit <= 200
    assert found.load.longest_transaction > 0
    assert {client.application for client in found.load.clients} == {"waiting", "holder"}


def until(connection: psycopg.Connection[Any], seen: Any) -> top.Overview:
    deadline = time.monotonic() + 10
    while True:
        found = top.look(connection)
        if seen(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_it_can_neither_write_nor_read_rows_while_it_looks(watched: Database, me: psycopg.Connection[Any]) -> None:
    with top._monitoring(me):
        assert me.execute("SELECT current_user, current_setting('transaction_read_only')").fetchone() == ("pg_monitor", "on")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), me.transaction():
            me.execute("SELECT * FROM items")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), me.transaction():
            me.execute("CREATE TABLE written ()")
    assert me.execute("SELECT current_user").fetchone() == (watched.outputs.database.username,), "and afterwards it is itself again"


def test_statements_are_seen_where_the_schema_is_closed(database: Database) -> None:
    """As `db migrate` leaves it."""
    with database.connect() as connection:
        with database.superuser() as superuser:
            superuser.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            superuser.execute(
                psycopg.sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(psycopg.sql.Identifier(f"{database.name}_admin"))
            )
        connection.execute("SELECT 'a statement of my own'")
        with top._monitoring(connection):
            found, notes = top._statements(connection)
            assert connection.execute("SELECT current_user").fetchone() == ("pg_monitor",)
        assert notes == []
        assert "SELECT $1" in {one.text for one in found}


def test_without_the_extension_the_rest_is_shown(database: Database) -> None:
    with database.superuser() as connection:
        connection.execute("DROP EXTENSION pg_stat_statements")
    with database.connect() as connection:
        found = top.look(connection)
    assert found.statements == []
    assert "pg_stat_statements is not there" in found.notes[0]
    assert found.server.database == database.name


def test_the_command(watched: Database) -> None:
    from amianai_infra.cli.db import db

    target = watched.target
    app = App(sandbox=True)
    app.__dict__.update(target=target, root=target.root)
    app.outputs = lambda *, fresh=False: watched.outputs  # type: ignore[method-assign]
    shown = CliRunner().invoke(db, ["top"], obj=app, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert f"{watched.name} · PostgreSQL 16." in shown.stdout
    assert "STATEMENT" in shown.stdout
    assert len(shown.stdout.splitlines()) <= 40
    app.json = True
    data = json.loads(CliRunner().invoke(db, ["top"], obj=app, catch_exceptions=False).stdout)
    assert data["server"]["database"] == watched.name
