"""The pool against a real server that is restarted under it, and whose passwords change."""

from __future__ import annotations

import cProfile
import dataclasses
import logging
import os
import random
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier, Literal
from psycopg_pool import ConnectionPool

from amianai_infra.database import ConnectionLostError, Options, Pool, RolledBackError, UnfinishedError, UnknownOutcomeError, schema
from amianai_infra.database.credentials import FixedCredentials, Login, SecretCredentials
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.session import credentials
from amianai_infra.errors import AmianaiError, ConfigurationError, ForbiddenError, NotFoundError, UnreachableError, UntrustedError
from amianai_infra.rules.connections import PoolSize
from amianai_infra.sandbox.certificates import ensure_certificates
from tests.database import Database


def silent(text: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def data(shared: Database) -> Database:
    """The application's tables, and one in which a row that is written twice is seen."""
    with shared.connect(statement_timeout=None) as connection:
        schema.apply(connection, shared.target, shared.outputs, None, say=silent)
        connection.execute("CREATE TABLE drops (id uuid NOT NULL)")
        connection.execute("CREATE TABLE once (id uuid PRIMARY KEY)")
        connection.execute("CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'")
        connection.execute("CREATE TABLE lingering (id uuid NOT NULL)")
        deferred = "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION linger()"
        connection.execute(f"CREATE CONSTRAINT TRIGGER lingers AFTER INSERT ON lingering {deferred}")
    return shared


@pytest.fixture
def pool(data: Database) -> Iterator[Pool]:
    with Pool.of(data.target, data.outputs) as made:
        yield made


@pytest.fixture
def alone(data: Database) -> Iterator[Pool]:
    """A pool of one connection: whatever is left on it meets the next caller."""
    with Pool.of(data.target, data.outputs, options=Options(size=PoolSize(1, 1), patience=1.0)) as made:
        yield made


def count(pool: Pool, table: str, identity: uuid.UUID) -> int:
    return int(pool.fetch(SQL("SELECT count(*) FROM {} WHERE id = %s").format(Identifier(table)), (identity,))[0][0])


# ---- what it is


def test_the_stacks_replicas_are_its_own(data: Database) -> None:
    outputs = dataclasses.replace(data.outputs, database=dataclasses.replace(data.outputs.database, replica_hosts=["localhost"]))
    with Pool.of(data.target, outputs) as pool:
        (replica,) = pool._replicas
        assert replica.link.endpoint.port == data.outputs.database.port
        assert not replica.link.primary, "a standby is no failure there"


def test_it_is_sized_by_the_instance_class_and_says_who_it_is(data: Database, pool: Pool) -> None:
    assert pool.options.size == PoolSize(2, 8)
    assert pool.stats()["queries"] == 0, "what the pool asks itself is not the team's"
    row = pool.fetch("SELECT current_user, current_setting('application_name'), current_setting('statement_timeout')")[0]
    assert row == (f"{data.name}_application", "amianai application", "30s")
    assert pool.fetch("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(True, "TLSv1.3")]
    stats = pool.stats()
    assert (stats["pool_max"], stats["queries"] >= 2, stats["slow"]) == (8, True, 0)


def test_reading_cannot_write(pool: Pool) -> None:
    """What is repeated as reading must not have been writing: the server sees to it."""
    with pytest.raises(errors.ReadOnlySqlTransaction):
        pool.fetch("INSERT INTO drops VALUES (gen_random_uuid()) RETURNING id")
    with pytest.raises(errors.ReadOnlySqlTransaction):
        pool.read(lambda db: db.execute("INSERT INTO drops VALUES (gen_random_uuid())"))
    assert pool.read(lambda db: db.execute("SELECT count(*) FROM drops").fetchone()) == pool.fetch("SELECT count(*) FROM drops")[0]


def test_writing_is_one_transaction(pool: Pool) -> None:
    one, two = uuid.uuid4(), uuid.uuid4()
    assert pool.run(lambda db: db.execute("INSERT INTO drops VALUES (%s)", (one,)).rowcount) == 1
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda db: [db.execute("INSERT INTO drops VALUES (%s)", (two,)), 1 / 0])
    with pool.transaction() as db:
        with pytest.raises(errors.UndefinedTable), db.transaction():
            db.execute("SELECT * FROM nowhere")
        db.execute("INSERT INTO drops VALUES (%s)", (one,))
    assert (count(pool, "drops", one), count(pool, "drops", two)) == (2, 0)
    with pytest.raises(errors.CheckViolation):
        pool.run(lambda db: db.execute("INSERT INTO users (email, cognito_sub) VALUES ('x', 'y')"), idempotent=True)


def test_a_failure_that_was_kept_quiet_is_no_success(pool: Pool) -> None:
    def work(db: psycopg.Connection[Any]) -> str:
        with pytest.raises(errors.UndefinedTable):
            db.execute("SELECT * FROM nowhere")
        return "done"

    with pytest.raises(RolledBackError):
        pool.run(work)
    with pytest.raises(RolledBackError), pool.transaction() as db:
        work(db)


def test_no_call_asks_the_server_more_often_than_psycopg_would(alone: Pool, tmp_path: Path) -> None:
    """Once for a statement, and once each to begin and to end a transaction."""
    connection = alone._primary.take()
    alone._primary.give(connection)

    def written() -> None:
        with alone.transaction() as db:
            db.execute("UPDATE drops SET id = id")

    calls: list[tuple[Callable[[], Any], int]] = [
        (lambda: alone.fetch("SELECT count(*) FROM drops"), 1),
        (lambda: alone.read(lambda db: db.execute("SELECT count(*) FROM drops").fetchall()), 3),
        (lambda: alone.run(lambda db: db.execute("UPDATE drops SET id = id")), 3),
        (written, 3),
    ]
    for call, expected in calls:
        for _ in range(7):  # the driver prepares at the sixth
            call()
        with (trace := tmp_path / "trace").open("wb") as file:
            connection.pgconn.trace(os.dup(file.fileno()))
            call()
            connection.pgconn.untrace()
        sent = [line.split(b"\t") for line in trace.read_bytes().splitlines()]
        assert len([parts for parts in sent if parts[1] == b"F" and parts[3] in (b"Query", b"Sync")]) == expected, sent


def effort(call: Callable[[], Any]) -> int:
    """Function calls that the interpreter makes in twenty calls, once statements are prepared; the same on a busy machine."""
    for _ in range(7):
        call()
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(20):
        call()
    profile.disable()
    return sum(entry.callcount for entry in profile.getstats())


def test_a_call_takes_no_more_than_psycopg_pool_itself(data: Database, alone: Pool) -> None:
    login, endpoint = data.secret("application"), Endpoint.of(data.target, data.outputs)
    known = {**endpoint.parameters(login["username"], "bare"), "password": login["password"], "autocommit": True}
    query, change = "SELECT count(*) FROM drops WHERE id = %s", "UPDATE drops SET id = id WHERE id = %s"
    values = (uuid.uuid4(),)
    with ConnectionPool(kwargs=known, min_size=1, max_size=1, open=True) as bare:

        def fetched() -> None:
            with bare.connection() as connection:
                connection.execute(query, values).fetchall()

        def read() -> None:
            with bare.connection() as connection, connection.transaction():
                connection.execute(query, values).fetchall()

        def written() -> None:
            with bare.connection() as connection, connection.transaction():
                connection.execute(change, values)

        assert effort(lambda: alone.fetch(query, values)) <= effort(fetched)
        assert effort(lambda: alone.read(lambda db: db.execute(query, values).fetchall())) <= effort(read)
        assert effort(lambda: alone.run(lambda db: db.execute(change, values))) <= effort(written)


def test_rows_of_another_form(data: Database) -> None:
    with Pool.of(data.target, data.outputs, options=Options(row_factory=dict_row)) as pool:
        assert pool.fetch("SELECT 1 AS one") == [{"one": 1}]


def test_a_statement_has_a_time_limit(data: Database) -> None:
    with Pool.of(data.target, data.outputs, options=Options(statement_timeout=timedelta(milliseconds=100))) as pool:
        with pytest.raises(errors.QueryCanceled):
            pool.fetch("SELECT pg_sleep(5)")
        assert pool.fetch("SELECT 1") == [(1,)]


def test_a_slow_statement_is_logged_without_its_values(data: Database, caplog: pytest.LogCaptureFixture) -> None:
    secret = "hunter2"
    with Pool.of(data.target, data.outputs, options=Options(slow=timedelta(milliseconds=30))) as pool, caplog.at_level(logging.DEBUG):
        pool.fetch("SELECT pg_sleep(0.05),   %s, 'hunter2'", (secret,))
        pool.fetch(SQL("SELECT pg_sleep(0.05), {} AS {}").format(Literal(secret), Identifier("a b")))
        pool.fetch(b"SELECT pg_sleep(0.05), $$hunter2$$")
        pool.fetch("SELECT 1")
        assert pool.stats()["slow"] == 3
    said = [record.getMessage() for record in caplog.records if record.name == "amianai_infra.database"]
    assert [text.partition(" s: ")[2] for text in said] == [
        "SELECT pg_sleep(?), %s, ?",
        'SELECT pg_sleep(?), ? AS "a b"',
        "SELECT pg_sleep(?), ?",
    ]
    assert secret not in caplog.text
    assert data.secret("application")["password"] not in caplog.text


# ---- what it does not connect to


def source(database: Database, password: str | None = None) -> FixedCredentials:
    login = database.secret("application")
    return FixedCredentials(Login(login["username"], password or login["password"]))


def refused(endpoint: Endpoint, credentials: FixedCredentials, timeout: float = 1.0) -> AmianaiError:
    started = time.monotonic()
    with pytest.raises(AmianaiError) as caught:
        Pool(endpoint, credentials, Options(timeout=timeout))
    assert time.monotonic() - started < timeout + 3
    return caught.value


def test_each_refusal_has_its_own_message(data: Database, tmp_path: Path) -> None:
    endpoint = Endpoint.of(data.target, data.outputs)
    other = refused(dataclasses.replace(endpoint, ca=ensure_certificates(tmp_path).ca), source(data), 30)
    assert isinstance(other, UntrustedError)
    assert "not trusted" in other.what
    name = refused(dataclasses.replace(endpoint, host="db.example.com", address="127.0.0.1"), source(data), 30)
    assert "for another name" in name.what
    absent = refused(dataclasses.replace(endpoint, database="nowhere"), source(data), 30)
    assert isinstance(absent, NotFoundError)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert isinstance(refused(dataclasses.replace(endpoint, port=port), source(data)), UnreachableError)
    forbidden = refused(endpoint, source(data, "wrong"))
    assert isinstance(forbidden, ForbiddenError)
    assert "wrong" not in str(forbidden)


def test_from_the_environment(data: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in data.target.sandbox.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    database = data.outputs.database
    environ = {
        "DATABASE_HOST": database.host,
        "DATABASE_PORT": str(database.port),
        "DATABASE_NAME": database.name,
        "DATABASE_SECRET_ARN": database.application_secret_arn,
        "DATABASE_CA": str(data.target.database_ca()),
    }
    with Pool.from_environment({**environ, "DATABASE_REPLICA_HOSTS": database.host}) as pool:
        assert pool.fetch("SELECT current_user") == [(f"{data.name}_application",)]
        assert [one.link.endpoint.host for one in pool._replicas] == [database.host]
    with pytest.raises(ConfigurationError, match="DATABASE_SECRET_ARN"):
        Pool.from_environment({**environ, "DATABASE_SECRET_ARN": ""})
    with pytest.raises(ConfigurationError, match="lowers sslmode"):
        Pool.from_environment({**environ, "DATABASE_URL": f"postgresql://a@{database.host}/{database.name}?sslmode=require"})


def test_a_closed_pool_says_so(data: Database) -> None:
    pool = Pool.of(data.target, data.outputs)
    pool.close()
    with pytest.raises(AmianaiError, match="pool is closed"):
        pool.fetch("SELECT 1")


# ---- what passes


def raising(state: str) -> bytes:
    return f"DO $$ BEGIN RAISE EXCEPTION 'passing' USING ERRCODE = '{state}'; END $$".encode()


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_conflicts_are_repeated_where_that_is_declared(pool: Pool, state: str) -> None:
    attempts: list[int] = []

    def work(db: psycopg.Connection[Any]) -> int:
        attempts.append(1)
        if len(attempts) < 3:
            db.execute(raising(state))
        return len(attempts)

    assert pool.run(work, idempotent=True) == 3
    attempts.clear()
    with pytest.raises((errors.SerializationFailure, errors.DeadlockDetected)):
        pool.run(work)
    assert len(attempts) == 1


def test_a_migration_does_not_break_what_was_prepared_before_it(data: Database) -> None:
    """psycopg prepares a statement at its sixth use, and PostgreSQL then refuses it when its columns change."""
    with data.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS changing; CREATE TABLE changing (id int)")
    with Pool.of(data.target, data.outputs, options=Options(size=PoolSize(1, 1))) as pool:
        query = "SELECT * FROM changing WHERE id > %s"
        for _ in range(8):
            pool.fetch(query, (0,))
            pool.read(lambda db: db.execute("SELECT * FROM changing").fetchall())
        for column in ("a", "b"):
            with data.connect() as connection:
                connection.execute(f"ALTER TABLE changing ADD {column} int")
            pool.run(lambda db: db.execute("INSERT INTO changing (id) VALUES (1)"))
            assert len(pool.fetch(query, (0,))[0]) == len(pool.fetch(query, (0,))[0]) >= 2
            assert pool.read(lambda db: db.execute("SELECT * FROM changing").fetchall())
            for _ in range(8):
                pool.fetch(query, (0,))


def test_work_that_failed_leaves_no_statement_prepared_for_what_it_took_back(data: Database) -> None:
    def work(db: psycopg.Connection[Any], kind: LiteralString) -> None:
        db.execute(SQL("CREATE TABLE passing (a {})").format(SQL(kind)))
        for _ in range(7):
            db.execute("SELECT * FROM passing")
        raise ZeroDivisionError

    with Pool.of(data.target, data.outputs, "owner", Options(size=PoolSize(1, 1))) as pool:
        for _ in range(7):  # as often as the driver needs to prepare a statement, also one that ends a transaction
            with pytest.raises(ZeroDivisionError):
                pool.run(lambda db: 1 / 0)
        for kind in ("int", "text"):
            with pytest.raises(ZeroDivisionError):
                pool.run(partial(work, kind=kind))


def terminate(data: Database) -> None:
    with data.superuser() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'amianai%'")


def test_connections_that_died_while_idle_harm_nobody(data: Database, pool: Pool) -> None:
    """Also work that must not be repeated: it is not begun on a dead connection."""
    identity = uuid.uuid4()
    barrier = threading.Barrier(8)

    def occupy() -> None:
        with pool.transaction() as db:
            db.execute("SELECT 1")
            barrier.wait(10)

    threads = [threading.Thread(target=occupy) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    terminate(data)
    time.sleep(0.1)
    started = time.monotonic()
    pool.run(lambda db: db.execute("INSERT INTO drops VALUES (%s)", (identity,)))
    assert time.monotonic() - started < 2, "eight dead ones are not eight pauses"
    assert count(pool, "drops", identity) == 1


def test_work_that_loses_its_connection_is_not_repeated_unless_declared(data: Database, pool: Pool) -> None:
    identity = uuid.uuid4()
    calls: list[int] = []

    def work(db: psycopg.Connection[Any]) -> None:
        calls.append(1)
        db.execute("INSERT INTO drops VALUES (%s)", (identity,))
        if len(calls) == 1:
            terminate(data)
            db.execute("SELECT 1")

    with pytest.raises(ConnectionLostError, match="rolled back"):
        pool.run(work)
    assert (len(calls), count(pool, "drops", identity)) == (1, 0)
    calls.clear()
    with pytest.raises(ConnectionLostError), pool.transaction() as db:
        work(db)
    assert (len(calls), count(pool, "drops", identity)) == (1, 0)
    calls.clear()
    pool.run(work, idempotent=True)
    assert (len(calls), count(pool, "drops", identity)) == (2, 1)


def test_a_commit_whose_outcome_is_not_known_is_an_error_of_its_own(data: Database, pool: Pool) -> None:
    calls: list[int] = []

    def work(db: psycopg.Connection[Any]) -> None:
        calls.append(1)
        db.execute("INSERT INTO lingering VALUES (gen_random_uuid())")
        threading.Timer(0.3, terminate, [data]).start()

    with pytest.raises(UnknownOutcomeError, match="during COMMIT"):
        pool.run(work)
    assert len(calls) == 1


def closed_cursor(db: psycopg.Connection[Any]) -> None:
    cursor = db.cursor()
    cursor.close()
    cursor.fetchall()


def misfit(db: psycopg.Connection[Any]) -> None:
    db.execute("SELECT $2::int, %s::int", (1,))


@pytest.mark.parametrize("mistake", [closed_cursor, misfit])
def test_a_mistake_of_the_work_is_no_outage(data: Database, mistake: Callable[[psycopg.Connection[Any]], None]) -> None:
    """Also where psycopg calls it an operational error: the connection outlived it, so that it is said at once, as it is."""
    attempts: list[int] = []

    def work(db: psycopg.Connection[Any]) -> None:
        attempts.append(1)
        mistake(db)

    with Pool.of(data.target, data.outputs, options=Options(size=PoolSize(1, 1), patience=0.3)) as pool:
        for call in (pool.read, partial(pool.run, idempotent=True), pool.run):
            with pytest.raises(psycopg.Error):
                call(work)
        with pytest.raises(psycopg.Error), pool.transaction() as db:
            work(db)
        with pytest.raises(errors.ProtocolViolation):
            pool.fetch("SELECT $2::int, %s::int", (1,))
        assert pool.fetch("SELECT 1") == [(1,)]
    assert len(attempts) == 4


ROWS = "SELECT generate_series(1, 200000)"


def stream_broken_off(db: psycopg.Connection[Any], kept: list[Any]) -> None:
    for _ in db.cursor().stream(ROWS):
        raise ZeroDivisionError


def stream_left_open(db: psycopg.Connection[Any], kept: list[Any]) -> None:
    kept.append(db.cursor().stream(ROWS))
    next(kept[-1])


def copy_broken_off(db: psycopg.Connection[Any], kept: list[Any]) -> None:
    with db.cursor().copy(f"COPY ({ROWS}) TO STDOUT") as copy:
        copy.read()
        raise ZeroDivisionError


def copy_left_early(db: psycopg.Connection[Any], kept: list[Any]) -> None:
    with db.cursor().copy(f"COPY ({ROWS}) TO STDOUT") as copy:
        copy.read()


def copy_left_open(db: psycopg.Connection[Any], kept: list[Any]) -> None:
    kept.append(db.cursor().copy("COPY drops FROM STDIN"))
    kept[-1].__enter__().write_row((uuid.uuid4(),))


def copy_left_open_and_broken_off(db: psycopg.Connection[Any], kept: list[Any]) -> None:
    copy_left_open(db, kept)
    raise ZeroDivisionError


def copy_without_its_method(db: psycopg.Connection[Any], kept: list[Any]) -> None:
    db.execute("COPY drops FROM STDIN")


def copy_kept_quiet(db: psycopg.Connection[Any], kept: list[Any]) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        copy_without_its_method(db, kept)


def pipeline_left_open(db: psycopg.Connection[Any], kept: list[Any]) -> None:
    kept.append(db.pipeline())
    kept[-1].__enter__()


@pytest.mark.timeout(60)  # where it fails, it hangs
@pytest.mark.parametrize(
    ("mistake", "raised"),
    [
        (stream_broken_off, ZeroDivisionError),
        (stream_left_open, UnfinishedError),
        (copy_broken_off, ZeroDivisionError),
        (copy_left_early, UnfinishedError),
        (copy_left_open, UnfinishedError),
        (copy_left_open_and_broken_off, ZeroDivisionError),
        (copy_without_its_method, psycopg.ProgrammingError),
        (copy_kept_quiet, UnfinishedError),
        (pipeline_left_open, UnfinishedError),
    ],
)
def test_work_that_leaves_its_connection_in_use_ends_at_once(
    alone: Pool, mistake: Callable[[psycopg.Connection[Any], list[Any]], None], raised: type[Exception]
) -> None:
    """A COPY, a stream or a pipeline that is left open: its lock on the connection would be waited for without an end."""
    kept: list[Any] = []
    with pytest.raises(raised):
        alone.run(lambda db: mistake(db, kept), idempotent=True)
    with pytest.raises(raised), alone.transaction() as db:
        mistake(db, kept)
    assert len(alone.fetch("SELECT 1")) == 1


def test_a_thread_that_still_works_when_its_work_ends_is_told(alone: Pool) -> None:
    said: list[BaseException] = []
    working = threading.Event()

    def outlasting(db: psycopg.Connection[Any]) -> None:
        working.set()
        try:
            db.execute("SELECT pg_sleep(20)")
        except psycopg.Error as error:
            said.append(error)

    def work(db: psycopg.Connection[Any]) -> None:
        threads.append(threading.Thread(target=outlasting, args=(db,)))
        threads[-1].start()
        working.wait(10)
        while not db.lock.locked():
            time.sleep(0.001)

    threads: list[threading.Thread] = []
    with pytest.raises(UnfinishedError):
        alone.run(work)
    threads[0].join(10)
    assert isinstance(said[0], psycopg.OperationalError)
    assert alone.fetch("SELECT 1") == [(1,)]


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


SOON = Options(
    size=PoolSize(1, 1), timeout=0.3, patience=0.3, statement_timeout=timedelta(milliseconds=200), answer=timedelta(milliseconds=100)
)


@pytest.mark.timeout(60)  # where it fails, it hangs
def test_a_server_process_that_is_frozen_is_given_up(data: Database) -> None:
    """Its connection is whole, and the limits are its own: nothing but a limit on our side ends the wait."""

    with Pool.of(data.target, data.outputs, options=dataclasses.replace(SOON, timeout=10.0)) as pool:

        def pid() -> int:
            return int(pool.fetch("SELECT pg_backend_pid()")[0][0])

        with frozen(old := pid()):
            assert pid() != old, "what reads is repeated on another connection"
        with frozen(pid()), pytest.raises(UnreachableError, match=r"did not answer for 0\.1 s"):
            pool.ping(0.1)
        with ExitStack() as stack, pytest.raises(ConnectionLostError):
            pool.run(lambda db: [stack.enter_context(frozen(db.info.backend_pid)), db.execute("SELECT 1")])
        pool.run(lambda db: db.execute("SET LOCAL statement_timeout = 0; SELECT pg_sleep(0.5)"))


@pytest.mark.timeout(60)  # where it fails, it hangs
def test_a_server_that_is_frozen_as_a_whole_is_unreachable(data: Database) -> None:
    (server,) = [one.pid for one in data.target.sandbox.status() if one.name == "postgres"]
    assert server is not None
    with Pool.of(data.target, data.outputs, options=SOON) as pool:
        with frozen(server, pool.fetch("SELECT pg_backend_pid()")[0][0]):
            with pytest.raises(UnreachableError):
                pool.fetch("SELECT 1")
            with pytest.raises(UnreachableError):
                pool.ping(0.1)
        deadline = time.monotonic() + 20
        while pool._primary.link.failed and time.monotonic() < deadline:
            time.sleep(0.01)
        assert pool.ping(10.0) < 10


def test_patience_has_an_end(data: Database) -> None:
    attempts: list[int] = []

    def work(db: psycopg.Connection[Any]) -> None:
        attempts.append(1)
        db.execute(raising("40001"))

    with Pool.of(data.target, data.outputs, options=Options(patience=0.3)) as pool, pytest.raises(AmianaiError):
        pool.run(work, idempotent=True)
    assert 3 <= len(attempts) <= 20


def test_a_replica_answers_what_may_be_stale_and_its_loss_is_not_noticed(data: Database) -> None:
    endpoint = Endpoint.of(data.target, data.outputs)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = dataclasses.replace(endpoint, port=taken.getsockname()[1])
    with Pool(endpoint, credentials(data.target, data.outputs, "application"), replicas=[endpoint, dead]) as pool:
        replica, lost = pool._replicas
        deadline = time.monotonic() + 5
        while replica.link.failed and time.monotonic() < deadline:
            time.sleep(0.01)
        for _ in range(20):
            assert pool.fetch("SELECT 1", stale=True) == [(1,)]
            assert pool.read(lambda db: db.execute("SELECT 2").fetchall(), stale=True) == [(2,)]
        assert replica.connections.get_stats()["requests_num"] == 40
        assert lost.connections.get_stats().get("requests_num", 0) == 0
        pool.fetch("SELECT 1")
        assert replica.connections.get_stats()["requests_num"] == 40, "what must be fresh is asked of the primary"


# ---- fifty at work while everything is pulled from under them


@dataclass
class Tally:
    """What fifty workers saw.

    Attributes:
        failed: errors that reached a reader.
        written: rows that were acknowledged.
        lost: rows of which the pool said that they were rolled back.
        unknown: rows of which it said that it does not know.
        answers: when each worker got an answer.
    """

    failed: list[str] = field(default_factory=list)
    written: set[uuid.UUID] = field(default_factory=set)
    lost: set[uuid.UUID] = field(default_factory=set)
    unknown: set[uuid.UUID] = field(default_factory=set)
    answers: dict[int, list[float]] = field(default_factory=dict)


def reader(pool: Pool, tally: Tally, number: int, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            if number % 2:
                assert pool.fetch("SELECT %s::int", (number,)) == [(number,)]
            else:
                assert pool.read(lambda db: db.execute("SELECT count(*) >= 0 FROM users").fetchone()) == (True,)
        except Exception as error:
            tally.failed.append(repr(error))
        tally.answers[number].append(time.monotonic())
        stop.wait(0.01)


def insert(statement: LiteralString, identity: uuid.UUID, db: psycopg.Connection[Any]) -> None:
    db.execute(statement, (identity,))


def careful(pool: Pool, tally: Tally, number: int, stop: threading.Event) -> None:
    """Writes what may be written twice and must be there once."""
    while not stop.is_set():
        identity = uuid.uuid4()
        try:
            pool.run(partial(insert, "INSERT INTO once VALUES (%s) ON CONFLICT DO NOTHING", identity), idempotent=True)
            tally.written.add(identity)
        except Exception as error:
            tally.failed.append(repr(error))
        tally.answers[number].append(time.monotonic())
        stop.wait(0.01)


def careless(pool: Pool, tally: Tally, number: int, stop: threading.Event) -> None:
    """Writes what must not be written twice."""
    while not stop.is_set():
        identity = uuid.uuid4()
        try:
            pool.run(partial(insert, "INSERT INTO drops VALUES (%s)", identity))
            tally.written.add(identity)
        except ConnectionLostError:
            tally.lost.add(identity)
        except UnknownOutcomeError:
            tally.unknown.add(identity)
        except Exception as error:
            tally.failed.append(repr(error))
        tally.answers[number].append(time.monotonic())
        stop.wait(0.01)


def work_of(number: int) -> Callable[[Pool, Tally, int, threading.Event], None]:
    return reader if number < 30 else careful if number < 40 else careless


def ordeal(data: Database, seed: int, rounds: int) -> list[float]:
    """Fifty workers while the password changes and the server crashes; gives the seconds until all had an answer again."""
    chance, tally, stop = random.Random(seed), Tally(), threading.Event()
    recoveries: list[float] = []
    # On a busy machine a recovery of PostgreSQL takes half a minute.
    with Pool.of(data.target, data.outputs, options=Options(timeout=120.0, patience=120.0)) as pool:
        threads = []
        for number in range(50):
            tally.answers[number] = []
            threads.append(threading.Thread(target=work_of(number), args=(pool, tally, number, stop)))
            threads[-1].start()
        for _ in range(rounds):
            time.sleep(chance.uniform(0.2, 0.8))
            with data.connect() as connection:
                schema.rotate(connection, data.target, data.outputs, "application", say=silent)
            time.sleep(chance.uniform(0.0, 0.3))
            up = data.restart()
            deadline = up + 10
            while not all(seen and seen[-1] > up for seen in tally.answers.values()) and time.monotonic() < deadline:
                time.sleep(0.01)
            recoveries.append(max(next((when for when in seen if when > up), up + 99.0) - up for seen in tally.answers.values()))
        stop.set()
        for thread in threads:
            thread.join(30)
        assert tally.failed == []
        rows = [row[0] for row in pool.fetch("SELECT id FROM drops UNION ALL SELECT id FROM once")]
    there = set(rows)
    assert len(rows) == len(there), "nothing is there twice"
    assert tally.written <= there, "nothing that was acknowledged is lost"
    assert not tally.lost & there, "what was said to be rolled back was"
    assert there <= tally.written | tally.unknown, "nothing is there that nobody wrote"
    assert len(tally.written) > 100
    return recoveries


@pytest.fixture
def empty(data: Database) -> Database:
    with data.connect() as connection:
        connection.execute("TRUNCATE drops, once")
    return data


def test_fifty_workers_three_rotations_and_three_crashes(empty: Database) -> None:
    recoveries = ordeal(empty, 1, 3)
    assert max(recoveries) < 5, recoveries
    print("recovered within", [round(one, 2) for one in recoveries])


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_fifty_workers_for_minutes(empty: Database, seed: int) -> None:
    recoveries = ordeal(empty, seed, 10)
    assert max(recoveries) < 5, recoveries
    print("recovered within", [round(one, 2) for one in recoveries])


def test_a_login_that_is_refused_for_a_moment_is_waited_for(data: Database) -> None:
    """Between the server's learning a new password and everybody else's there are milliseconds; here it is a second."""
    wrong = Login(f"{data.name}_application", "not yet")
    right = source(data).get()
    opened = time.monotonic()

    class Late(SecretCredentials):
        def _read(self) -> Login:
            return right if time.monotonic() - opened > 1 else wrong

    with Pool(Endpoint.of(data.target, data.outputs), Late(lambda: None, "arn")) as pool:
        assert pool.fetch("SELECT 1") == [(1,)]
