"""Reading calls do not write, and no caller meets what another one left, whatever they try.

What it cannot show: a view, an operator, a policy or a trigger of the schema that changes the session by itself, and code that takes the
driver's own connection apart (`db.pgconn`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row

from amianai_infra.database import AsyncPool, Options, Pool, schema
from amianai_infra.errors import AmianaiError
from amianai_infra.rules.connections import PoolSize
from tests.database import Database

Connection = psycopg.Connection[Any]
WRITE = "INSERT INTO booty VALUES (1)"
REFUSALS = (psycopg.Error, AmianaiError)
ONE = Options(size=PoolSize(1, 1), patience=1.0)

SET_UP = """
CREATE TABLE booty (id int);
CREATE SEQUENCE numbers;
CREATE FUNCTION settles(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN set_config('search_path', what, false); END $$;
CREATE FUNCTION holds() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(7); END $$;
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'INSERT INTO booty VALUES (1) RETURNING id';
CREATE PROCEDURE ends() LANGUAGE plpgsql AS $$
BEGIN COMMIT; SET TRANSACTION READ WRITE; INSERT INTO booty VALUES (1); END $$;
"""


@pytest.fixture(scope="module")
def data(shared: Database) -> Database:
    with shared.connect(statement_timeout=None) as connection:
        connection.execute(SET_UP)
        schema.apply(connection, shared.target, shared.outputs, None, say=lambda _: None)
    return shared


@pytest.fixture(scope="module")
def pool(data: Database) -> Iterator[Pool]:
    with Pool.of(data.target, data.outputs, options=ONE) as made:
        yield made


@pytest.fixture(scope="module")
def fresh(pool: Pool) -> list[Any]:
    """A session as nobody has used it."""
    return state(pool)


STATE = (
    # Not the transaction's own, nor what a language brings with it when it is first used.
    "SELECT name || ' = ' || setting FROM pg_settings WHERE name NOT LIKE 'transaction%' AND name NOT LIKE 'plpgsql.%' ORDER BY name",
    "SELECT current_user, session_user, nullif(current_setting('app.who', true), ''), current_schemas(true)",
    "SELECT name FROM pg_prepared_statements WHERE name NOT LIKE '\\_pg3\\_%'",
    "SELECT name FROM pg_cursors WHERE name <> ''",
    "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "SELECT pg_listening_channels()",
    "SELECT relname FROM pg_class WHERE relpersistence = 't'",
    "SELECT count(*) FROM booty",
)


def state(pool: Pool) -> list[Any]:
    """All that a caller could meet, and what there is to steal."""

    def attributes(db: Connection) -> tuple[Any, ...]:
        return (db.row_factory, db.prepare_threshold, db.prepared_max, db.cursor_factory, db.server_cursor_factory, db.autocommit)

    return [*(pool.fetch(query) for query in STATE), pool.read(attributes)]


LEFT_OFF = "set_config('default_transaction_read_only', 'off', false)"
FETCHED = [
    "RESET ALL",
    "DISCARD ALL",
    "DISCARD TEMP",
    f"BEGIN READ WRITE; {WRITE}; COMMIT",
    f"COMMIT; BEGIN READ WRITE; {WRITE}; COMMIT; SELECT 1",
    f"SELECT 1; COMMIT; BEGIN READ WRITE; {WRITE}; COMMIT",
    f"ROLLBACK; START TRANSACTION READ WRITE; {WRITE}; END",
    f"SET default_transaction_read_only = off; {WRITE}",
    "BEGIN READ WRITE",
    "START TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "RESET default_transaction_read_only",
    f"SELECT {LEFT_OFF}",
    f"SELECT pg_catalog.{LEFT_OFF}",
    f"SELECT {LEFT_OFF}".replace("set_config(", "set_config/* of */ -- it\n("),
    "SELECT \"set_config\"('default_transaction_read_only', 'off', false)",
    "SELECT U&\"set\\005fconfig\"('default_transaction_read_only', 'off', false)",
    f"SELECT * FROM (VALUES ({LEFT_OFF})) AS t(a)",
    f"SELECT {LEFT_OFF}, writes()",
    "SELECT set_config('transaction_read_only', 'off', true), writes()",
    "SELECT set_config('search_path', 'pg_catalog', false)",
    "SELECT set_config('app.who', 'somebody', false)",
    "SELECT settles('pg_catalog')",
    "SELECT public.settles('pg_catalog')",
    "SELECT writes()",
    "DO $$ BEGIN COMMIT; SET TRANSACTION READ WRITE; INSERT INTO booty VALUES (1); END $$",
    f"DO $$ BEGIN PERFORM {LEFT_OFF}; COMMIT; INSERT INTO booty VALUES (1); END $$",
    "DO $$ BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', false); END $$",
    "CALL ends()",
    f"WITH x AS ({WRITE} RETURNING id) SELECT * FROM x",
    f"EXPLAIN ANALYZE {WRITE}",
    "EXPLAIN ANALYZE SELECT settles('pg_catalog')",
    "COPY booty FROM STDIN",
    f"COPY ({WRITE} RETURNING id) TO STDOUT",
    f"PREPARE kept AS {WRITE}",
    f"PREPARE kept AS {WRITE}; EXECUTE kept",
    "CREATE TABLE more AS SELECT 1",
    "CREATE TEMP TABLE more (id int)",
    "SELECT 1 AS id INTO more",
    "SELECT nextval('numbers')",
    "SELECT lo_create(0)",
    "SELECT pg_advisory_lock(7)",
    "SELECT pg_advisory_lock_shared(7)",
    "SELECT holds()",
    "LISTEN booty",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'default_transaction_read_only'",
    "SET search_path = pg_catalog",
    "SET TIME ZONE 'Asia/Tokyo'",
    "SET statement_timeout = 0",
    "SET ROLE NONE",
    "DECLARE kept CURSOR WITH HOLD FOR SELECT 1",
    "TRUNCATE booty",
    "SELECT * FROM users FOR UPDATE",
    "COMMIT AND CHAIN",
    "PREPARE TRANSACTION 'kept'",
    "LOAD 'auto_explain'",
    f"-- \rCOMMIT; BEGIN READ WRITE; {WRITE}; COMMIT",
    f"SELECT $\u20ac$; SELECT $\u20ac$; COMMIT; BEGIN READ WRITE; {WRITE}; COMMIT",
    f"/* /* */ */ BEGIN READ WRITE; {WRITE}; COMMIT",
    f"SELECT '\\'; BEGIN READ WRITE; {WRITE}; COMMIT; --'",
]
READ = [
    ["SET TRANSACTION READ WRITE", WRITE],
    ["SET LOCAL TRANSACTION READ WRITE", WRITE],
    ["SET transaction_read_only = off", WRITE],
    ["SET LOCAL transaction_read_only = off", WRITE],
    ['SET LOCAL "transaction_read_only" TO off', WRITE],
    ["SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", WRITE],
    ["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE", WRITE],
    ["BEGIN READ WRITE", WRITE],
    ["COMMIT", "BEGIN READ WRITE", WRITE, "COMMIT"],
    ["END", "START TRANSACTION READ WRITE", WRITE, "END"],
    ["ABORT", "BEGIN READ WRITE", WRITE, "COMMIT"],
    ["COMMIT AND CHAIN", "SET TRANSACTION READ WRITE", WRITE],
    ["ROLLBACK AND CHAIN", "SET TRANSACTION READ WRITE", WRITE],
    [f"COMMIT; BEGIN READ WRITE; {WRITE}; COMMIT"],
    ["SAVEPOINT a", "SET TRANSACTION READ WRITE", WRITE],
    [f"SELECT {LEFT_OFF}", "COMMIT", WRITE],
    [f"SELECT {LEFT_OFF}"],
    ["SET search_path = pg_catalog"],
    ["SELECT set_config('search_path', 'pg_catalog', false)", "SELECT pg_advisory_lock(7)"],
    ["SELECT settles('pg_catalog')", "SELECT holds()"],
    ["PREPARE kept AS SELECT 1"],
    ["DECLARE kept CURSOR WITH HOLD FOR SELECT 1"],
    ["DEALLOCATE ALL"],
    ["CALL ends()"],
]


def commits(db: Connection) -> None:
    db.commit()
    db.read_only = False
    with db.transaction():
        db.execute(WRITE)


def rolls_back(db: Connection) -> None:
    db.rollback()
    db.read_only = False
    with db.transaction():
        db.execute(f"WITH x AS ({WRITE} RETURNING id) SELECT * FROM x")


def is_told_to_write(db: Connection) -> None:
    db.read_only = False
    db.execute(WRITE)


def is_left_by_with(db: Connection) -> None:
    with db:
        pass
    db.execute(WRITE)


def in_a_savepoint(db: Connection) -> None:
    with db.transaction():
        db.execute("SET TRANSACTION READ WRITE")
        db.execute(WRITE)


def many(db: Connection) -> None:
    db.cursor().executemany("SET TRANSACTION READ WRITE", [()])
    db.cursor().executemany(WRITE, [()])
    db.cursor().executemany("COMMIT", [()])


def pipelined(db: Connection) -> None:
    with db.pipeline():
        for text in ("SET TRANSACTION READ WRITE", WRITE, "COMMIT"):
            db.execute(text)


def streamed(db: Connection) -> None:
    for text in ("SET TRANSACTION READ WRITE", WRITE, "COMMIT"):
        with suppress(psycopg.ProgrammingError):
            list(db.cursor().stream(text))


def copied(db: Connection) -> None:
    with db.cursor().copy("COPY booty FROM STDIN") as copy:
        copy.write_row((1,))


def by_a_named_cursor(db: Connection) -> None:
    with db.cursor("kept", withhold=True) as cursor:
        cursor.execute("SELECT settles('pg_catalog')")
        cursor.fetchall()


def changes_the_driver(db: Connection) -> None:
    db.row_factory = dict_row
    db.prepare_threshold = None
    db.prepared_max = 1
    db.cursor_factory = psycopg.ClientCursor
    db.server_cursor_factory = psycopg.ServerCursor


def turns_autocommit_off(db: Connection) -> None:
    db.autocommit = False


def with_a_cursor_of_its_own(db: Connection) -> None:
    psycopg.Cursor(db).execute("SET TRANSACTION READ WRITE")
    psycopg.Cursor(db).execute(WRITE)


WORK: list[Callable[[Connection], None]] = [
    commits,
    rolls_back,
    is_told_to_write,
    is_left_by_with,
    in_a_savepoint,
    many,
    pipelined,
    streamed,
    copied,
    by_a_named_cursor,
    changes_the_driver,
    turns_autocommit_off,
    with_a_cursor_of_its_own,
]


def executing(texts: list[str]) -> Callable[[Connection], None]:
    def work(db: Connection) -> None:
        for text in texts:
            db.execute(text.encode())

    return work


def unharmed(pool: Pool, fresh: list[Any]) -> None:
    assert state(pool) == fresh
    with pytest.raises(errors.ReadOnlySqlTransaction):
        pool.fetch(f"{WRITE} RETURNING id")


@pytest.mark.parametrize("text", FETCHED)
def test_fetch_writes_nothing_and_leaves_nothing(pool: Pool, fresh: list[Any], text: str) -> None:
    with suppress(*REFUSALS):
        pool.fetch(text)
    unharmed(pool, fresh)


@pytest.mark.parametrize("texts", READ, ids=" / ".join)
def test_read_writes_nothing_and_leaves_nothing(pool: Pool, fresh: list[Any], texts: list[str]) -> None:
    with suppress(*REFUSALS):
        pool.read(executing(texts))
    unharmed(pool, fresh)


@pytest.mark.parametrize("work", WORK)
def test_read_cannot_be_talked_into_writing(pool: Pool, fresh: list[Any], work: Callable[[Connection], None]) -> None:
    with suppress(*REFUSALS):
        pool.read(work)
    unharmed(pool, fresh)


LEFT = [
    "SET search_path = pg_catalog",
    "SET TIME ZONE 'Asia/Tokyo'",
    "SET default_transaction_read_only = off",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    f"SELECT {LEFT_OFF}",
    "SELECT set_config('app.who', 'somebody', false)",
    "SELECT settles('pg_catalog')",
    "SELECT 1 WHERE settles('pg_catalog') = ''",
    "WITH a AS (SELECT settles('pg_catalog')) SELECT * FROM a",
    "INSERT INTO users (email, cognito_sub) SELECT settles('pg_catalog'), '' WHERE false",
    "DO $$ BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', false); END $$",
    "SELECT 1; SET search_path = pg_catalog",
    "LISTEN booty",
    "SELECT pg_advisory_lock(7)",
    "SELECT holds()",
    "PREPARE kept AS SELECT 1",
    "DECLARE kept CURSOR WITH HOLD FOR SELECT 1",
    "RESET ALL",
    "DISCARD PLANS",
    "DEALLOCATE ALL",
    "UPDATE pg_settings SET setting = 'Asia/Tokyo' WHERE name = 'TimeZone'",
]


@pytest.mark.parametrize("text", LEFT)
def test_what_writing_work_does_to_its_session_is_gone(pool: Pool, fresh: list[Any], text: str) -> None:
    for _ in range(2):
        pool.run(lambda db: db.execute(text.encode()))
    assert state(pool) == fresh
    with pool.transaction() as db, db.cursor() as cursor:
        cursor.executemany(text, [()]) if ";" not in text else cursor.execute(text.encode())
    unharmed(pool, fresh)


def test_what_is_streamed_or_read_by_a_named_cursor_is_seen_too(pool: Pool, fresh: list[Any]) -> None:
    pool.run(lambda db: list(db.cursor().stream("SELECT settles('pg_catalog')")))
    unharmed(pool, fresh)
    pool.run(by_a_named_cursor)
    unharmed(pool, fresh)
    pool.run(changes_the_driver)
    unharmed(pool, fresh)


@pytest.mark.parametrize("text", ["COMMIT", "ROLLBACK", "BEGIN", "SELECT 1; COMMIT", "COMMIT AND CHAIN"])
def test_work_does_not_end_its_transaction(pool: Pool, fresh: list[Any], text: str) -> None:
    with pytest.raises(AmianaiError, match="the pool begins and ends"):
        pool.run(executing([WRITE, text]))
    with pytest.raises(psycopg.ProgrammingError, match="is the pool's"):
        pool.run(commits)
    unharmed(pool, fresh)


def test_what_is_of_the_transaction_alone_works(pool: Pool, fresh: list[Any]) -> None:
    """And costs no cleaning: the session is the same one."""

    def work(db: Connection) -> Any:
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        db.execute("SET LOCAL search_path = pg_catalog")
        with db.transaction():
            db.execute("SAVEPOINT a")
            db.execute("ROLLBACK TO SAVEPOINT a")
        with db.cursor("named") as cursor:
            assert cursor.execute("SELECT generate_series(1, 3)").fetchall() == [(1,), (2,), (3,)]
        return db.execute("SELECT pg_backend_pid(), current_setting('search_path')").fetchone()

    pid = pool.fetch("SELECT pg_backend_pid()")[0][0]
    assert pool.read(work) == (pid, "pg_catalog")
    assert pool.run(work) == (pid, "pg_catalog")
    assert pool.fetch("SELECT settles('pg_catalog'), pg_backend_pid()") == [("pg_catalog", pid)]
    unharmed(pool, fresh)


def test_hooks_as_those_of_psycopg_pool(data: Database) -> None:
    seen: list[str] = []

    def configure(db: Connection) -> None:
        db.execute("SET TIME ZONE 'Asia/Tokyo'")
        db.row_factory = dict_row
        seen.append("configure")

    options = Options(size=PoolSize(1, 1), configure=configure, reset=lambda db: seen.append("reset"))
    with Pool.of(data.target, data.outputs, options=options) as pool:
        assert pool.fetch("SHOW TimeZone") == [{"TimeZone": "Asia/Tokyo"}]
        pool.run(lambda db: db.execute("SET TIME ZONE 'Europe/Rome'"))
        assert pool.fetch("SHOW TimeZone") == [{"TimeZone": "Asia/Tokyo"}], "what was cleaned is configured again"
    assert seen.count("configure") == 2
    assert seen.count("reset") >= 3


def executing_async(texts: list[str]) -> Callable[[psycopg.AsyncConnection[Any]], Any]:
    async def work(db: psycopg.AsyncConnection[Any]) -> None:
        db.row_factory = dict_row
        for text in texts:
            await db.execute(text.encode())

    return work


async def tries(pool: AsyncPool) -> None:
    for text in FETCHED:
        with suppress(*REFUSALS):
            await pool.fetch(text)
    for texts in READ:
        with suppress(*REFUSALS):
            await pool.read(executing_async(texts))
    for text in LEFT:
        await pool.run(executing_async([text]))
    with pytest.raises(psycopg.ProgrammingError, match="is the pool's"):
        await pool.run(lambda db: db.commit())
    with pytest.raises(errors.ReadOnlySqlTransaction):
        await pool.fetch(f"{WRITE} RETURNING id")


def test_the_pool_for_asyncio_refuses_the_same(data: Database, pool: Pool, fresh: list[Any]) -> None:
    seen: list[str] = []

    async def configure(db: psycopg.AsyncConnection[Any]) -> None:
        seen.append("configure")

    async def main() -> list[Any]:
        options = Options(size=PoolSize(1, 1), configure=configure)
        async with AsyncPool.of(data.target, data.outputs, options=options) as made:
            await tries(made)
            return [await made.fetch(query) for query in STATE]

    assert asyncio.run(main()) == fresh[: len(STATE)]
    assert seen
    unharmed(pool, fresh)
