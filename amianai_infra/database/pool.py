# Made from pool_async.py by scripts/unasync.py: change that file, and run the script.
"""A connection pool: psycopg_pool underneath, with verified TLS, logins that rotate, and failures that pass.

with Pool.from_environment() as pool:
    rows = pool.fetch("SELECT title FROM conversations WHERE id = %s", (identity,))
    pool.run(lambda db: db.execute("INSERT INTO ... ON CONFLICT DO NOTHING", row), idempotent=True)
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar

from psycopg import Connection, Cursor, Error, ServerCursor
from psycopg.errors import _WaitTimeout as WaitTimeout
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from amianai_infra.database import pool_core as core
from amianai_infra.database.credentials import Credentials, Role
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.pool_core import Attempt, Link, Options, Timings
from amianai_infra.database.pool_session import CLEAN, KNOWN, Session, Work, reader, still_reads, unfinished, watched
from amianai_infra.database.session import credentials as credentials_of
from amianai_infra.database.session import failure, settings, translate
from amianai_infra.outputs import StackOutputs
from amianai_infra.rules.connections import pool_size
from amianai_infra.target import Target

Result = TypeVar("Result")
_SLICE = 0.2
_INTERVAL = 0.1  # psycopg's own
_clock = time.perf_counter
_NamedCursor = watched(ServerCursor)


class PooledConnection(Session, Connection[Any]):
    """A connection of a pool."""

    def control(self, command: bytes) -> bytes:
        """What the server says to a command of the pool's own, which begins or ends a transaction."""
        with self.lock:
            tag: bytes = self.wait(self.sent(command))
            return tag

    def wait(self, gen: Any, interval: float = _INTERVAL, timeout: float | None = None) -> Any:
        """As psycopg's, but not for ever: a server that is frozen keeps its connections, and its own limits do not end anything."""
        limit = timeout
        if limit is None and self._pipeline is None:  # in a pipeline one wait is for many answers, of which each has the server's limit
            limit = self.answer
        try:
            return super().wait(gen, interval, limit)
        except WaitTimeout:
            if timeout is not None:
                raise
            error = self.gave_up()
            if error is not None:
                raise error from None
        return super().wait(gen, interval)


def _timed(timings: Timings) -> type[Cursor[Any]]:
    """A cursor class that times what it executes."""
    base: Any = watched(Cursor)

    class TimedCursor(base):  # type: ignore[misc]
        """psycopg's cursor with a clock."""

        def execute(self, query: Any, params: Any = None, **extra: Any) -> Any:
            """As psycopg's, timed."""
            started = _clock()
            try:
                done = super().execute(query, params, **extra)
                if self._conn.work == "read":
                    self._conn.saw(self)
                return done
            finally:
                timings.note(query, _clock() - started)

        def executemany(self, query: Any, params_seq: Any, **extra: Any) -> Any:
            """As psycopg's, timed."""
            started = _clock()
            try:
                return super().executemany(query, params_seq, **extra)
            finally:
                timings.note(query, _clock() - started)

    return TimedCursor


def _connection_class(link: Link, cursor: Any, options: Options) -> type[PooledConnection]:
    limits = settings(options.statement_timeout, options.idle_in_transaction)

    class LinkedConnection(PooledConnection):
        """A connection to one server that knows how it is made."""

        @classmethod
        def connect(cls, conninfo: str = "", **_: Any) -> Self:
            """Connect with the login as it is now; a server that starts, stops or changes its password is waited for."""
            deadline = time.monotonic() + core.CONNECT_PATIENCE
            delays = core.CONNECTING.delays(random.random)
            while True:
                try:
                    return cls._attempt()
                except Exception as error:
                    if not link.again(error, deadline):
                        raise
                core.pause(link.stop, next(delays))

        @classmethod
        def _attempt(cls) -> Self:
            login = link.credentials.get()
            try:
                made = super().connect(
                    **link.parameters(login.user), password=login.password, cursor_factory=cursor, row_factory=options.row_factory
                )
            except Error as error:
                if failure(error) == "login":
                    link.credentials.renew(login)
                raise
            made.server_cursor_factory = _NamedCursor
            own = Cursor(made, row_factory=tuple_row)  # not timed: what is slow here is no statement of the team's
            try:
                own.execute(core.SETTINGS, limits)
                if link.read is None:
                    own.execute(KNOWN)
                    rows = own.fetchall()
                    link.read = reader(rows[0][0])
            except BaseException:
                made.close()
                raise
            made.read, made.answer = link.read, options.silence
            link.failed = None
            return made

    return LinkedConnection


class _Server:
    """The connections to one server."""

    def __init__(self, link: Link, cursor: Any, timings: Timings, options: Options) -> None:
        self.link = link
        self._cursor = cursor
        self._timings = timings
        self._timeout = options.timeout
        self._configure = options.configure
        self._cleaning = CLEAN.format(*settings(options.statement_timeout, options.idle_in_transaction))
        self.connections: ConnectionPool[PooledConnection] = ConnectionPool(
            connection_class=_connection_class(link, cursor, options),
            min_size=options.size.least,
            max_size=options.size.most,
            timeout=options.timeout,
            max_lifetime=options.max_lifetime,
            max_idle=options.max_idle,
            name=options.name,
            configure=options.configure,
            reset=options.reset,
            open=False,
        )

    def start(self) -> None:
        """Start, and wait for the first connection.

        Raises:
            AmianaiError: there is none, with the reason.
        """
        self.connections.open()
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self.give(self.connections.getconn(_SLICE))
            except PoolTimeout as error:
                if self.link.hopeless or time.monotonic() > deadline:
                    self.close()
                    raise self.link.explained("The database does not answer.") from error
            else:
                return

    def take(self, timeout: float | None = None) -> PooledConnection:
        """A connection. Whether it is alive shows when it is used: whatever is begun on a dead one is begun again on another."""
        seconds = self._timeout if timeout is None else timeout
        try:
            return self.connections.getconn(seconds)
        except PoolTimeout as error:
            raise self.link.explained(f"No connection became free within {seconds:.0f} s.") from error

    def weed(self) -> None:
        """Drop idle connections that have died, so that the next attempt is not spent on one of them."""
        with suppress(PoolTimeout, PoolClosed):
            for _ in range(self.connections.max_size):
                connection = self.connections.getconn(0.001)
                dead = core.said_something(connection)
                if dead:
                    connection.close()
                self.connections.putconn(connection)
                if not dead:
                    return

    def fetch(self, query: Any, params: Any, attempt: Attempt) -> list[Any]:
        """All rows of one statement."""
        attempt.phase, attempt.lost = "work", True
        connection = self.take()
        try:
            if connection.read(query).plain:
                return self._plain(connection, query, params)
            return _apart(connection, query, params, attempt)
        except Error as error:
            attempt.failed(error, connection)
            if core.outdated(error):
                connection.close()
            raise
        finally:
            self.give(connection)

    def _plain(self, connection: PooledConnection, query: Any, params: Any) -> list[Any]:
        """All rows of a statement that need not be watched: by psycopg's own cursor."""
        cursor = Cursor(connection) if connection.cursor_factory is self._cursor else connection.cursor()
        started = _clock()
        try:
            cursor.execute(query, params)
        finally:
            self._timings.note(query, _clock() - started)
        rows = cursor.fetchall()
        if not still_reads(connection):
            connection.close()
        return rows

    def ping(self, timeout: float) -> None:
        """Hear from the server within so many seconds."""
        connection = self.take(timeout)
        usual, connection.answer = connection.answer, timeout
        try:
            connection.execute("SELECT 1")
        finally:
            connection.answer = usual
            self.give(connection)

    def give(self, connection: PooledConnection) -> None:
        """Take it back, with nothing left of the caller's; one that is broken is replaced."""
        if connection.leaves and not connection.closed:
            self._clean(connection)
        self.connections.putconn(connection)

    def _clean(self, connection: PooledConnection) -> None:
        try:
            if connection.spent:
                connection.close()
                return
            connection.execute(self._cleaning, prepare=False)
            if self._configure is not None:
                self._configure(connection)
            connection.cleaned()
        except Error:
            connection.close()

    def close(self) -> None:
        """End every connection."""
        self.link.stop.set()
        self.connections.close()


class Pool:
    """Connections to the database, for any number of threads.

    `fetch` and `read` only read, which the server enforces, and are repeated when a connection is lost, the server restarts or fails
    over, or the password rotates. `run` writes, in one transaction; it is repeated only where the caller says that doing it twice is
    doing it once.

    Args:
        endpoint: the server.
        credentials: where the login comes from.
        options: how it behaves.
        replicas: servers that reading which tolerates a lag may go to.

    Raises:
        AmianaiError: when it opens and there is no connection, with the reason: untrusted, forbidden, absent or unreachable.
    """

    def __init__(
        self, endpoint: Endpoint, credentials: Credentials, options: Options | None = None, *, replicas: Sequence[Endpoint] = ()
    ) -> None:
        self.options = options or Options()
        self._timings = Timings(self.options)
        cursor = _timed(self._timings)

        def server(place: Endpoint, *, primary: bool) -> _Server:
            return _Server(Link(place, credentials, primary, self.options.name), cursor, self._timings, self.options)

        self._primary = server(endpoint, primary=True)
        self._replicas = [server(place, primary=False) for place in replicas]
        self._open()

    @classmethod
    def of(cls, target: Target, outputs: StackOutputs, role: Role = "application", options: Options | None = None) -> Self:
        """A pool for a stack's database and its read replicas, of the size that their instance class bears."""
        chosen = options or Options(name=f"amianai {role}", size=pool_size(outputs.database.instance_class))
        replicas = Endpoint.replicas(target, outputs)
        return cls(Endpoint.of(target, outputs), credentials_of(target, outputs, role), chosen, replicas=replicas)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, options: Options | None = None) -> Self:
        """A pool for what DATABASE_URL, or DATABASE_HOST, DATABASE_PORT and DATABASE_NAME, say, with the login in DATABASE_SECRET_ARN.

        DATABASE_REPLICA_HOSTS may name read replicas, separated by commas.
        """
        endpoint, _ = Endpoint.from_environment(environ)
        replicas = endpoint.replicas_from_environment(environ)
        return cls(endpoint, core.environment_credentials(environ), options, replicas=replicas)

    def _open(self) -> None:
        """Connect, and wait for the first connection; raises as the class says."""
        self._primary.start()
        for one in self._replicas:  # a replica that is down must not keep us from starting
            one.connections.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every connection; what is under way ends first."""
        for server in (self._primary, *self._replicas):
            server.close()

    def ping(self, timeout: float = core.PING) -> float:
        """Seconds that the database takes to answer, for a health check; raises as `fetch` does, without repeating.

        Args:
            timeout: seconds to wait for a free connection, and again for the answer.
        """
        started = time.perf_counter()
        try:
            self._primary.ping(timeout)
        except Error as error:
            raise core.in_a_server(translate(error, "asking for a sign of life", self._primary.link.endpoint)) from error
        return time.perf_counter() - started

    def stats(self) -> dict[str, float]:
        """Numbers for a metrics page: statements, their time, slow ones, and the pool's own."""
        return {**self._timings.as_dict(), **self._primary.connections.get_stats()}

    # -- reading

    def fetch(self, query: Any, params: Any = None, *, stale: bool = False) -> list[Any]:
        """All rows of one statement that reads. Repeated when the connection is lost.

        Args:
            query: the statement.
            params: its parameters.
            stale: it may be answered by a replica, which lags behind.
        """
        server, attempt = self._reader() if stale else self._primary, Attempt()
        try:
            return server.fetch(query, params, attempt)
        except Error as error:
            first = error
        return self._repeated(lambda: (self._reader(but=server) if stale else server).fetch(query, params, attempt), first, attempt)

    def read(self, work: Callable[[Connection[Any]], Result], *, stale: bool = False) -> Result:
        """What `work` makes of a transaction that only reads. Repeated when the connection is lost: it may run more than once."""
        return self._transacted(work, "read", idempotent=True, stale=stale)

    def _reader(self, but: _Server | None = None) -> _Server:
        """A replica of those that are up; else the primary."""
        able = [one for one in self._replicas if one is not but and one.link.failed is None]
        return random.choice(able) if able else self._primary  # noqa: S311 - spreads load

    # -- writing

    def run(self, work: Callable[[Connection[Any]], Result], *, idempotent: bool = False) -> Result:
        """What `work` makes of a transaction, which is then committed.

        Args:
            work: given a connection; it must not commit, and let errors out.
            idempotent: doing it twice is doing it once; then it is repeated after lost connections, serialization failures and
                deadlocks. Otherwise it runs at most once.

        Raises:
            ConnectionLostError: the connection was lost before the commit; nothing was written.
            UnfinishedError: the work left its connection in use; nothing was written.
            UnknownOutcomeError: it was lost during the commit.
            RolledBackError: a statement had failed, and `work` kept its error to itself.
            psycopg.Error: what the database says of the work itself.
        """
        return self._transacted(work, "write", idempotent=idempotent)

    @contextmanager
    def transaction(self) -> Iterator[Connection[Any]]:
        """A transaction for a block of `with`, committed at its end. Runs once; raises as `run` does."""
        connection = self._begun()
        attempt = Attempt("work")
        try:
            connection.lend("write")
            try:
                yield connection
                connection.finished()
            except BaseException as error:
                _roll_back(connection, error, attempt)
                raise
            _commit(connection, attempt)
        except Error as error:
            raised = core.judge(error, attempt, idempotent=False)
            if raised is None or raised is error:
                raise
            raise raised from error
        finally:
            self._primary.give(connection)

    # -- repetition

    def _transacted(self, work: Callable[[Connection[Any]], Result], doing: Work, *, idempotent: bool, stale: bool = False) -> Result:
        attempt = Attempt()

        def once() -> Result:
            attempt.phase, attempt.lost = "before", True
            server = self._reader() if stale else self._primary
            connection = server.take()
            try:
                connection.control(core.BEGIN[doing])
                attempt.phase = "work"
                connection.lend(doing)
                try:
                    result = work(connection)
                    connection.finished()
                except BaseException as error:
                    _roll_back(connection, error, attempt)
                    raise
                (_commit if doing == "write" else _let_go)(connection, attempt)
                return result
            finally:
                server.give(connection)

        try:
            return once()
        except Error as error:
            first = error
        return self._repeated(once, first, attempt, idempotent=idempotent)

    def _begun(self) -> PooledConnection:
        """A connection in a transaction: nothing was done on it yet, so that this may be repeated."""

        def once() -> PooledConnection:
            connection = self._primary.take()
            try:
                connection.control(core.BEGIN["write"])
            except BaseException:
                self._primary.give(connection)
                raise
            return connection

        try:
            return once()
        except Error as error:
            first = error
        return self._repeated(once, first, Attempt())

    def _repeated(self, once: Callable[[], Result], error: Error, attempt: Attempt, *, idempotent: bool = True) -> Result:
        """Do it again after a failure, for as long as the failures are of the passing kind and patience lasts."""
        deadline = time.monotonic() + self.options.patience
        delays = core.REPEATING.delays(random.random)
        while True:
            raised = core.judge(error, attempt, idempotent=idempotent)
            if raised is not None:
                raise raised from (None if raised is error else error)
            self._primary.weed()
            delay = next(delays)
            if time.monotonic() + delay > deadline:
                raise core.in_a_server(translate(error, "repeating what failed", self._primary.link.endpoint)) from error
            core.pause(self._primary.link.stop, delay)
            try:
                return once()
            except Error as another:
                error = another


def _commit(connection: PooledConnection, attempt: Attempt) -> None:
    attempt.phase = "commit"
    try:
        done = connection.control(b"COMMIT")
    except Error as error:
        attempt.failed(error, connection)
        raise
    if done != b"COMMIT":
        raise core.RolledBackError


def _roll_back(connection: PooledConnection, because: BaseException, attempt: Attempt) -> None:
    """End a transaction whose error is on its way; where that fails too, the pool drops the connection."""
    connection.back()
    attempt.failed(because, connection)
    if unfinished(connection):
        _cut(connection)
        return
    try:
        connection.rollback()
    except Error:
        connection.close()
    if core.outdated(because):
        connection.close()


def _let_go(connection: PooledConnection, attempt: Attempt) -> None:
    """End a transaction that read: whatever was done in it is taken back."""
    failed = connection.pgconn.transaction_status == TransactionStatus.INERROR
    try:
        connection.control(b"ROLLBACK")
    except Error as error:
        attempt.failed(error, connection)
        raise
    if failed:
        raise core.RolledBackError


def _apart(connection: PooledConnection, query: Any, params: Any, attempt: Attempt) -> list[Any]:
    """All rows of one statement, in a transaction of its own."""
    connection.control(core.BEGIN["read"])
    connection.lend("read")
    try:
        cursor = connection.cursor().execute(query, params)
        rows = cursor.fetchall()
        connection.finished()
    except BaseException as error:
        _roll_back(connection, error, attempt)
        raise
    _let_go(connection, attempt)
    return rows


def _cut(connection: Connection[Any]) -> None:
    """End a connection that is still in use: whoever waits on it hears of it, and nobody waits for them."""
    core.hang_up(connection)
    ended = core.acquired(connection.lock)
    connection.close()
    if ended:
        connection.lock.release()
