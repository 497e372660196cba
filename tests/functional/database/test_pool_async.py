"""The pool for asyncio: the same promises."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import errors

from amianai_infra.database import AsyncPool, ConnectionLostError, Options, RolledBackError, UnfinishedError, UnknownOutcomeError, schema
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.session import credentials
from amianai_infra.errors import AmianaiError, UnreachableError, UntrustedError
from amianai_infra.rules.connections import PoolSize
from amianai_infra.sandbox.certificates import ensure_certificates
from tests.database import Database

Result = TypeVar("Result")
Connection = psycopg.AsyncConnection[Any]


@pytest.fixture(scope="module")
def data(shared: Database) -> Database:
    with shared.connect(statement_timeout=None) as connection:
        schema.apply(connection, shared.target, shared.outputs, None, say=lambda _: None)
        connection.execute("CREATE TABLE drops (id uuid NOT NULL)")
        connection.execute("CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'")
        connection.execute("CREATE TABLE lingering (id uuid NOT NULL)")
        deferred = "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION linger()"
        connection.execute(f"CREATE CONSTRAINT TRIGGER lingers AFTER INSERT ON lingering {deferred}")
    return shared


def within(data: Database, work: Callable[[AsyncPool], Awaitable[Result]], **options: Any) -> Result:
    async def main() -> Result:
        async with AsyncPool.of(data.target, data.outputs, options=Options(**options) if options else None) as pool:
            return await work(pool)

    return asyncio.run(main())


def terminate(data: Database) -> None:
    with data.superuser() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'amianai%'")


async def count(pool: AsyncPool, identity: uuid.UUID) -> int:
    return int((await pool.fetch("SELECT count(*) FROM drops WHERE id = %s", (identity,)))[0][0])


def test_reading_and_writing(data: Database) -> None:
    one, two = uuid.uuid4(), uuid.uuid4()

    async def insert(db: Connection) -> int:
        return (await db.execute("INSERT INTO drops VALUES (%s)", (one,))).rowcount

    async def quiet(db: Connection) -> None:
        with pytest.raises(errors.UndefinedTable):
            await db.execute("SELECT * FROM nowhere")

    async def work(pool: AsyncPool) -> None:
        assert await pool.fetch("SELECT current_user") == [(f"{data.name}_application",)]
        assert await pool.run(insert) == 1
        with pytest.raises(errors.ReadOnlySqlTransaction):
            await pool.read(insert)
        with pytest.raises(errors.ReadOnlySqlTransaction):
            await pool.fetch("INSERT INTO drops VALUES (%s) RETURNING id", (two,))
        with pytest.raises(RolledBackError):
            await pool.run(quiet)
        with pytest.raises(ZeroDivisionError):
            async with pool.transaction() as db:
                await db.execute("INSERT INTO drops VALUES (%s)", (two,))
                raise ZeroDivisionError
        async with pool.transaction() as db:
            await db.execute("INSERT INTO drops VALUES (%s)", (one,))
        assert (await count(pool, one), await count(pool, two)) == (2, 0)
        assert pool.stats()["queries"] > 5

    within(data, work)


def test_each_refusal_has_its_own_message(data: Database, tmp_path: Path) -> None:
    endpoint = dataclasses.replace(Endpoint.of(data.target, data.outputs), ca=ensure_certificates(tmp_path).ca)

    async def main() -> None:
        await AsyncPool(endpoint, credentials(data.target, data.outputs, "application")).open()

    with pytest.raises(UntrustedError, match="not trusted"):
        asyncio.run(main())


def test_a_slow_statement_is_logged_without_its_values(data: Database, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        within(data, lambda pool: pool.fetch("SELECT pg_sleep(0.05), %s", ("hunter2",)), slow=timedelta(milliseconds=30))
    assert "SELECT pg_sleep(?), %s" in caplog.text
    assert "hunter2" not in caplog.text


def test_what_is_repeated_and_what_is_not(data: Database) -> None:
    identity, calls = uuid.uuid4(), []

    async def loses(db: Connection) -> None:
        calls.append(1)
        await db.execute("INSERT INTO drops VALUES (%s)", (identity,))
        if len(calls) == 1:
            await asyncio.to_thread(terminate, data)
            await db.execute("SELECT 1")

    async def lingers(db: Connection) -> None:
        await db.execute("INSERT INTO lingering VALUES (gen_random_uuid())")
        asyncio.get_running_loop().call_later(0.3, terminate, data)

    async def work(pool: AsyncPool) -> None:
        with pytest.raises(ConnectionLostError):
            await pool.run(loses)
        calls.clear()
        with pytest.raises(ConnectionLostError):
            async with pool.transaction() as db:
                await loses(db)
        assert await count(pool, identity) == 0
        calls.clear()
        await pool.run(loses, idempotent=True)
        assert (len(calls), await count(pool, identity)) == (2, 1)
        with pytest.raises(UnknownOutcomeError):
            await pool.run(lingers)

    within(data, work)


def test_a_mistake_of_the_work_is_no_outage(data: Database) -> None:
    attempts: list[int] = []

    async def closed_cursor(db: Connection) -> None:
        attempts.append(1)
        cursor = db.cursor()
        await cursor.close()
        await cursor.fetchall()

    async def work(pool: AsyncPool) -> None:
        for call in (pool.read(closed_cursor), pool.run(closed_cursor, idempotent=True), pool.run(closed_cursor)):
            with pytest.raises(psycopg.InterfaceError):
                await call
        with pytest.raises(psycopg.InterfaceError):
            async with pool.transaction() as db:
                await closed_cursor(db)
        with pytest.raises(errors.ProtocolViolation):
            await pool.fetch("SELECT $2::int, %s::int", (1,))

    within(data, work, patience=0.3)
    assert len(attempts) == 4


@pytest.mark.timeout(60)  # where it fails, it hangs
def test_work_that_leaves_its_connection_in_use_ends_at_once(data: Database) -> None:
    kept: list[Any] = []
    rows = "SELECT generate_series(1, 200000)"

    async def stream_broken_off(db: Connection) -> None:
        kept.append(db.cursor().stream(rows))
        await anext(kept[-1])
        raise ZeroDivisionError

    async def stream_left_open(db: Connection) -> None:
        kept.append(db.cursor().stream(rows))
        await anext(kept[-1])

    async def copy_left_early(db: Connection) -> None:
        async with db.cursor().copy(f"COPY ({rows}) TO STDOUT") as copy:
            await copy.read()

    async def task_left_behind(db: Connection) -> None:
        kept.append(asyncio.create_task(db.execute("SELECT pg_sleep(20)")))
        await asyncio.sleep(0.05)

    async def work(pool: AsyncPool) -> None:
        for mistake, raised in (
            (stream_broken_off, ZeroDivisionError),
            (stream_left_open, UnfinishedError),
            (copy_left_early, UnfinishedError),
            (task_left_behind, UnfinishedError),
        ):
            with pytest.raises(raised):
                await pool.run(mistake, idempotent=True)
            with pytest.raises(raised):
                async with pool.transaction() as db:
                    await mistake(db)
            assert len(await pool.fetch("SELECT 1")) == 1
        for one in kept:
            if isinstance(one, asyncio.Task):
                with pytest.raises(psycopg.OperationalError):
                    await one
            else:
                await one.aclose()

    within(data, work, size=PoolSize(1, 1), patience=1.0)


@pytest.mark.timeout(60)  # where it fails, it hangs
def test_a_server_process_that_is_frozen_is_given_up(data: Database) -> None:
    async def work(pool: AsyncPool) -> None:
        for call in (pool.fetch("SELECT 1"), pool.ping(0.1)):
            pid = (await pool.fetch("SELECT pg_backend_pid()"))[0][0]
            os.kill(pid, signal.SIGSTOP)
            try:
                assert await call == [(1,)]
            except UnreachableError as error:
                assert "did not answer for 0.1 s" in error.where
            finally:
                os.kill(pid, signal.SIGCONT)

    limits = {"statement_timeout": timedelta(milliseconds=200), "answer": timedelta(milliseconds=100)}
    within(data, work, size=PoolSize(1, 1), patience=1.0, **limits)


def test_patience_has_an_end_and_so_has_the_pool(data: Database) -> None:
    async def conflict(db: Connection) -> None:
        await db.execute("DO $$ BEGIN RAISE EXCEPTION 'passing' USING ERRCODE = '40001'; END $$")

    async def work(pool: AsyncPool) -> AsyncPool:
        with pytest.raises(AmianaiError):
            await pool.run(conflict, idempotent=True)
        with pytest.raises(errors.SerializationFailure):
            await pool.run(conflict)
        await pool.close()
        with pytest.raises(AmianaiError, match="pool is closed"):
            await pool.fetch("SELECT 1")
        return pool

    within(data, work, patience=0.2)


def test_fifty_tasks_while_the_password_changes_and_the_server_crashes(data: Database) -> None:
    def disturb() -> float:
        with data.connect() as connection:
            schema.rotate(connection, data.target, data.outputs, "application", say=lambda _: None)
        return data.restart()

    async def work(pool: AsyncPool) -> None:
        seen: dict[int, float] = {}
        stop = asyncio.Event()

        async def task(number: int) -> None:
            while not stop.is_set():
                assert await pool.fetch("SELECT %s::int", (number,)) == [(number,)]
                seen[number] = time.monotonic()
                await asyncio.sleep(0.02)

        tasks = [asyncio.create_task(task(number)) for number in range(50)]
        await asyncio.sleep(0.3)
        up = await asyncio.to_thread(disturb)
        while not all(seen.get(number, 0) > up for number in range(50)) and time.monotonic() < up + 5:
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(*tasks)
        assert all(seen[number] > up for number in range(50))

    within(data, work, timeout=120.0, patience=120.0)  # on a busy machine a recovery of PostgreSQL takes half a minute


def test_cancelled_work_leaves_the_pool_whole(data: Database) -> None:
    identity = uuid.uuid4()

    async def slow(db: Connection) -> None:
        await db.execute("INSERT INTO drops VALUES (%s)", (identity,))
        await db.execute("SELECT pg_sleep(10)")

    async def work(pool: AsyncPool) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.run(slow), 0.2)
        assert await count(pool, identity) == 0

    within(data, work)
