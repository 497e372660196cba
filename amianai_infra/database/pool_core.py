"""What both pools share: which failures are repeated, how statements are timed, what a connection is made of."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from psycopg import Error
from psycopg_pool import PoolClosed, PoolTimeout

from amianai_infra.database.credentials import Credentials, SecretCredentials
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.pool_session import Meaning, Work
from amianai_infra.database.session import failure, said, translate
from amianai_infra.database.sql_text import shape
from amianai_infra.errors import AmianaiError, ConfigurationError, ForbiddenError, UnreachableError
from amianai_infra.rules.connections import Backoff, Kind, PoolSize

logger = logging.getLogger("amianai_infra.database")

# Sessions read unless a transaction says otherwise: what is repeated as reading cannot have written.
SETTINGS = """SELECT set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', %s, false),
 set_config('idle_in_transaction_session_timeout', %s, false)"""
BEGIN: dict[Work, bytes] = {"read": b"BEGIN READ ONLY", "write": b"BEGIN READ WRITE"}

CONNECTING = Backoff(first=0.05, most=0.4)
REPEATING = Backoff(first=0.02, most=0.5)
# A worker of the pool goes on trying for so long before the pool itself waits; that wait doubles from a second. A failover of
# RDS takes one to two minutes, after which nobody should wait for a wait.
CONNECT_PATIENCE = 120.0
# Seconds that another thread or task is given to leave a connection that was shut down under it.
LEAVE = 0.2

# Seconds that a health check waits for a connection, and for its answer.
PING = 5.0

DEFAULT_SIZE = PoolSize(2, 8)

_PASSING: frozenset[Kind] = frozenset({"gone", "busy", "standby", "conflict", "outdated"})
_PATIENT: frozenset[Kind] = frozenset({"gone", "busy", "login"})
Phase = Literal["before", "work", "commit"]


class ConnectionLostError(UnreachableError):
    """The connection was lost while work was under way; its transaction was rolled back, and it was not repeated."""


class UnknownOutcomeError(AmianaiError):
    """The connection was lost while a transaction was being committed: it may be there or not. It was not repeated."""


@dataclass(frozen=True)
class Options:
    """How a pool behaves.

    Attributes:
        name: application name, as `pg_stat_activity` shows it.
        size: connections at least and at most.
        timeout: seconds to wait for a free connection.
        patience: seconds for which a failed call is repeated, where it may be.
        statement_timeout: longest a statement may take; None for no limit.
        answer: how long after that limit an answer may still come; a server that says nothing until then is taken for lost.
        idle_in_transaction: longest a transaction may do nothing.
        slow: statements that take longer are logged.
        max_lifetime: seconds after which a connection is replaced.
        max_idle: seconds after which an unused connection beyond the least is closed.
        row_factory: psycopg's row factory; tuples where it is None.
        configure: as psycopg_pool's: called with each new connection, and again when its session had to be cleaned; a coroutine function
            for `AsyncPool`.
        reset: as psycopg_pool's: called with each connection that comes back, in a worker of the pool.
    """

    name: str = "amianai"
    size: PoolSize = DEFAULT_SIZE
    timeout: float = 30.0
    patience: float = 30.0
    statement_timeout: timedelta | None = timedelta(seconds=30)
    answer: timedelta = timedelta(seconds=5)
    idle_in_transaction: timedelta | None = timedelta(seconds=60)
    slow: timedelta = timedelta(seconds=1)
    max_lifetime: float = 1800.0
    max_idle: float = 300.0
    row_factory: Any = None
    configure: Callable[[Any], Any] | None = None
    reset: Callable[[Any], Any] | None = None

    @property
    def silence(self) -> float | None:
        """Seconds after which a server that owes an answer is given up."""
        return (self.statement_timeout + self.answer).total_seconds() if self.statement_timeout else None


class Timings:
    """How long statements took, all in all. Counted without a lock: under contention a few may be missing.

    Args:
        options: what counts as slow, and the pool's name for the log.
    """

    _COUNTED = ("queries", "seconds", "slow", "slowest")

    def __init__(self, options: Options) -> None:
        self._name = options.name
        self._limit = options.slow.total_seconds()
        self.queries = 0
        self.seconds = 0.0
        self.slow = 0
        self.slowest = 0.0

    def note(self, query: Any, seconds: float) -> None:
        """Count a statement, and log it without its values where it was slow."""
        self.queries += 1
        self.seconds += seconds
        self.slowest = max(self.slowest, seconds)
        if seconds >= self._limit:
            self.slow += 1
            logger.warning("slow statement in %s: %.3f s: %s", self._name, seconds, shown(query))

    def as_dict(self) -> dict[str, float]:
        """For a metrics page."""
        return {name: getattr(self, name) for name in self._COUNTED}


def shown(query: Any) -> str:
    """A statement for a log: no value that is in its text, and none of its parameters."""
    if isinstance(query, bytes):
        return shape(query.decode("utf-8", "replace"))
    if isinstance(query, str):
        return shape(query)
    from psycopg.sql import SQL, Composed, Identifier

    if isinstance(query, Composed):
        return shape("".join(shown(part) if isinstance(part, Composed) else _part(part) for part in query))
    return shape(query.as_string(None)) if isinstance(query, (SQL, Identifier)) else f"({type(query).__name__})"


def _part(part: Any) -> str:
    from psycopg.sql import SQL, Identifier

    return str(part.as_string(None)) if isinstance(part, (SQL, Identifier)) else " ? "


@dataclass
class Link:
    """One server as a pool sees it: how to connect, and what the last attempt came to.

    Attributes:
        endpoint: the server.
        credentials: whose login.
        primary: whether a standby is refused.
        failed: why the last attempt to connect failed, or that there was none; None after one that succeeded.
        stop: set when the pool closes.
        read: tells what a text means on this server; None before the first connection.
    """

    endpoint: Endpoint
    credentials: Credentials
    primary: bool
    name: str
    failed: Exception | None = field(default_factory=lambda: UnreachableError("There was no connection yet."))
    stop: threading.Event = field(default_factory=threading.Event)
    read: Callable[[Any], Meaning] | None = None

    def parameters(self, user: str) -> dict[str, Any]:
        """The driver's parameters without the password."""
        session = {"target_session_attrs": "primary"} if self.primary else {}
        return {**self.endpoint.parameters(user, self.name), **session, "autocommit": True}

    def again(self, error: Exception, deadline: float) -> bool:
        """Remember why an attempt failed; gives whether to try again at once."""
        self.failed = error
        if isinstance(error, AmianaiError):
            in_a_server(error)
        if not isinstance(error, Error):
            return False
        return failure(error) in _PATIENT and not self.stop.is_set() and time.monotonic() < deadline

    @property
    def hopeless(self) -> bool:
        """Whether waiting would not help: another authority, no such database."""
        error = self.failed
        if isinstance(error, Error):
            return failure(error) not in _PATIENT
        return isinstance(error, AmianaiError) and not isinstance(error, UnreachableError)

    def explained(self, fallback: str) -> AmianaiError:
        """Why there is no connection."""
        if isinstance(self.failed, AmianaiError):
            return self.failed
        if isinstance(self.failed, Error):
            return in_a_server(translate(self.failed, "connecting", self.endpoint))
        return UnreachableError(
            fallback, where=f"{self.endpoint.host}:{self.endpoint.port}", fix="use a larger pool, or shorter transactions"
        )


def said_something(connection: Any) -> bool:
    """Whether the server has said something on an idle connection, which is its farewell. Asks the system, not the server."""
    try:
        poller = select.poll()
        poller.register(connection.pgconn.socket, select.POLLIN)
    except Error:  # it has no socket any more
        return True
    return bool(poller.poll(0))


def in_a_server(error: AmianaiError) -> AmianaiError:
    """The error with advice for a server's log: there is no command to be run again, and the pool tries again by itself."""
    if isinstance(error, UnreachableError):
        error.fix = "the pool goes on trying; where this lasts, see whether the network leads from this process to there"
    elif isinstance(error, ForbiddenError):
        error.fix = "the pool goes on trying; see whether this process's AWS credentials and its secret are the ones that they should be"
    return error


def hang_up(connection: Any) -> None:
    """Shut the socket of a connection down, which wakes whoever waits on it."""
    with suppress(OSError, Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as line:
        line.shutdown(socket.SHUT_RDWR)


def outdated(error: BaseException) -> bool:
    """Whether a connection has statements prepared from before a migration: it is dropped, with them."""
    return isinstance(error, Error) and failure(error) == "outdated"


@dataclass(slots=True)
class Attempt:
    """How far an attempt at some work came, and how it failed.

    Attributes:
        phase: before anything was executed, while the work was done, or while it was committed.
        lost: whether it ended with its connection closed or broken; so it did as well where there was none.
    """

    phase: Phase = "before"
    lost: bool = True

    def failed(self, error: BaseException, connection: Any) -> None:
        """Look whether the connection outlived an error. The server's farewell can come before the end of the connection."""
        farewell = isinstance(error, Error) and error.diag.severity_nonlocalized in ("FATAL", "PANIC")
        self.lost = connection.closed or farewell


def judge(error: Exception, attempt: Attempt, *, idempotent: bool) -> Exception | None:
    """What to raise after a failure, or None where the work is done again.

    Args:
        error: what psycopg raised.
        attempt: how far it came.
        idempotent: whether doing the work twice is doing it once.
    """
    phase = attempt.phase
    if isinstance(error, PoolClosed):
        return AmianaiError("The pool is closed.")
    if isinstance(error, PoolTimeout) or not isinstance(error, Error):
        return error
    kind = failure(error)
    if kind == "gone" and not attempt.lost:  # a closed cursor, parameters that do not fit
        return error
    # Once a transaction has begun for writing, "read-only" is of the work's own making.
    passing = kind in _PASSING and (phase == "before" or kind != "standby")
    if passing and (phase == "before" or idempotent):
        return None
    return error if kind != "gone" else _lost(error, phase)


def _lost(error: Error, phase: Phase) -> AmianaiError:
    if phase == "commit":
        return UnknownOutcomeError(
            "The connection was lost during COMMIT: whether the work is there is not known.",
            where=said(error),
            fix="look whether it is there before doing it again, or make it idempotent and say so",
        )
    return ConnectionLostError(
        "The connection was lost; the transaction was rolled back.",
        where=said(error),
        fix="do it again, or make the work idempotent and say so: then it is repeated by itself",
    )


class RolledBackError(AmianaiError):
    """The work ended without an error, but its transaction had failed in the middle."""

    def __init__(self) -> None:
        super().__init__(
            "The transaction was rolled back: a statement in it had failed.", fix="let the error out of the work, or use a savepoint"
        )


def environment_credentials(environ: Mapping[str, str]) -> SecretCredentials:
    """The login in the secret that DATABASE_SECRET_ARN names, read with the ambient AWS credentials.

    Raises:
        ConfigurationError: it is not set.
    """
    arn = environ.get("DATABASE_SECRET_ARN")
    if not arn:
        raise ConfigurationError("DATABASE_SECRET_ARN is not set.", where="environment", fix="`amianai env` writes it")

    def client() -> Any:
        import boto3

        return boto3.client("secretsmanager", region_name=environ.get("AWS_REGION") or _region(arn))

    return SecretCredentials(client, arn)


def _region(arn: str) -> str | None:
    parts = arn.split(":")
    return parts[3] if len(parts) > 3 and parts[0] == "arn" else None


# ---- what threads and tasks do in different ways


def pause(stop: threading.Event, seconds: float) -> None:
    """Wait, but not longer than the pool is open."""
    stop.wait(seconds)


async def pause_async(stop: threading.Event, seconds: float) -> None:
    """As `pause`, for asyncio, where whoever ends the pool also ends its tasks."""
    await asyncio.sleep(seconds)


def acquired(lock: threading.Lock) -> bool:
    """Whether a lock could be had within the moment that its holder is given."""
    return lock.acquire(timeout=LEAVE)


async def acquired_async(lock: asyncio.Lock) -> bool:
    """As `acquired`, for asyncio."""
    with suppress(TimeoutError):
        return await asyncio.wait_for(lock.acquire(), LEAVE)
    return False
