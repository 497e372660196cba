"""What keeps one caller of a pool from writing where it reads, and from leaving anything in the session for the next one.

The server decides: sessions only read, transactions for reading are rolled back, and within them a text is one statement. What it cannot
know is whether a text means to leave something in the session. That is told by the text where it is sure, and looked after where it is not:
a statement is plain when it reads and calls nothing but functions of the server that cannot change anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from psycopg import OperationalError, ProgrammingError
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn

from amianai_infra.database.sql_text import statements, tokens, transaction_control
from amianai_infra.errors import AmianaiError, RefusedError

Work = Literal["", "read", "write"]

# Words before a parenthesis that call nothing that could change a session: the grammar's own, and functions that are not volatile.
KNOWN = """
SELECT array_agg(word) FROM (
    SELECT word::text FROM pg_get_keywords() WHERE catcode <> 'U'
    UNION SELECT proname::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    GROUP BY proname HAVING bool_and(provolatile <> 'v')
) AS known (word)
"""
_HARMLESS = frozenset(
    {"random", "random_normal", "gen_random_uuid", "clock_timestamp", "timeofday", "pg_sleep", "by", "over", "filter", "materialized"}
    | {"sets", "rollup", "cube", "set", "insert", "explain", "zone", "analyze"}
)
# What may be left in a session, of whatever kind, but for prepared statements: the driver counts on its own.
CLEAN = (
    "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all();"
    " DISCARD TEMP; DISCARD SEQUENCES; SET default_transaction_read_only = on;"
    " SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}"
)

_READS = re.compile(r"[ \t\r\n]*(?:SELECT|WITH|VALUES|TABLE|SHOW|EXPLAIN)\b", re.IGNORECASE | re.ASCII)
_WRITES = re.compile(r"[ \t\r\n]*(?:INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE | re.ASCII)
# After these words a name with a parenthesis is a table, an alias or a list of columns.
_CALL = re.compile(r'(?:\b(INTO|AS|WITH|RECURSIVE|CONFLICT)\s+)?((?:[\w$."]|[^\x00-\x7f])+)\s*\(', re.IGNORECASE)
_WITHIN = frozenset(
    {"SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE", "SAVEPOINT", "RELEASE", "ROLLBACK", "FETCH", "MOVE"}
    | {"CLOSE", "SHOW", "EXPLAIN", "LOCK", "COPY", "TRUNCATE"}
)
_SPENDING = frozenset({"PREPARE", "DEALLOCATE", "LOAD"})
# Longer ones are not read, and looked after as if they could leave anything.
_LONGEST = 32_768
_READING_TAGS = frozenset(
    {"SELECT", "FETCH", "MOVE", "SHOW", "EXPLAIN", "DECLARE", "CLOSE", "SAVEPOINT", "RELEASE", "ROLLBACK", "LOCK", "COPY", "DO", "CALL"}
)
_LOCAL = re.compile(
    rb"\s*SET\s+(?:LOCAL\s+(?!TRANSACTION|SESSION)[A-Za-z_.]+\s*(?:=|TO\b)"
    rb"|TRANSACTION\s+ISOLATION\s+LEVEL\s+[A-Za-z ]+(?:,?\s*(?:READ\s+ONLY|DEFERRABLE))*\s*;?\s*$)",
    re.IGNORECASE,
)


class Meaning(NamedTuple):
    """What a text may do to its session.

    Attributes:
        plain: it is one statement that reads and cannot leave anything behind.
        leaves: it may leave something behind that the end of its transaction does not take back.
        spends: it makes what only the end of the session takes back.
        control: the statement in it that begins or ends a transaction; empty where there is none.
        unlimited: it may take longer than the limit on a statement: it says so itself, or holds several.
    """

    plain: bool
    leaves: bool
    spends: bool = False
    control: str = ""
    unlimited: bool = False


_UNKNOWN = Meaning(plain=False, leaves=True, unlimited=True)


def reader(words: Iterable[str]) -> Callable[[Any], Meaning]:
    """A function that tells what a query means, given the words that `KNOWN` finds. It remembers what it was asked."""
    cached = lru_cache(maxsize=512)(partial(meaning, frozenset(words) | _HARMLESS))

    def read(query: Any) -> Meaning:
        if not isinstance(query, (str, bytes)):
            query = query.as_bytes() if hasattr(query, "as_bytes") else b""
        return cached(query) if 0 < len(query) <= _LONGEST else _UNKNOWN

    return read


def meaning(known: frozenset[str], query: str | bytes) -> Meaning:
    """What a text may do, by its words. Pure."""
    text = query.decode("utf-8", "replace") if isinstance(query, bytes) else query
    calls = _calls(known, text)
    unlimited = "statement_timeout" in text.lower()
    sets = "pg_settings" in text.lower()  # a rule on this view sets what it is told
    one = ";" not in text.rstrip("; \t\r\n")
    if one and (_READS.match(text) or _WRITES.match(text)):
        reads = bool(_READS.match(text))
        return Meaning(plain=reads and not calls, leaves=calls or (sets and not reads), unlimited=unlimited)
    found = list(statements(text))
    return Meaning(
        plain=False,
        leaves=calls or len(found) > 1 or not all(_within(words, text) for words in found),
        spends=any(words[0] in _SPENDING for words in found),
        control=transaction_control(text),
        unlimited=unlimited or len(found) > 1,
    )


def _within(words: tuple[str, ...], text: str) -> bool:
    """Whether nothing of a statement but its calls outlives its transaction."""
    if words[0] == "DECLARE":
        return "hold" not in text.lower()
    return words[0] in _WITHIN or (words[0] == "SET" and words[1:2] in (("LOCAL",), ("TRANSACTION",), ("CONSTRAINTS",)))


def _calls(known: frozenset[str], text: str) -> bool:
    """Whether it calls, or may call, anything else than what is known. What looks like a call in a literal counts."""
    if "--" in text or "/*" in text:
        text = "".join(" " if kind == "space" else token for kind, token in tokens(text))
    return any(not leader and name.lower() not in known for leader, name in _CALL.findall(text))


class Session:
    """A connection of a pool, with what there is to know of whom it is lent to.

    Attributes:
        work: what its transaction is for; empty while it is not lent.
        leaves: whether something may have been left in the session.
        spent: whether only its end takes that back.
        read: tells what a text means.
        answer: seconds of silence after which a server that owes an answer is given up; None for no limit.
    """

    work: Work = ""
    leaves = False
    spent = False
    read: Callable[[Any], Meaning]
    answer: float | None = None
    _kept: tuple[Any, ...] = ()
    _said = b""

    def lend(self, work: Work) -> None:
        """Hand it to a caller's work, whose transaction has begun."""
        if not self._kept:
            self._kept = _ATTRIBUTES(self)
        self.work = work

    def finished(self) -> None:
        """Take it back after work that went well.

        Raises:
            UnfinishedError: the work left something under way.
        """
        self.back()
        if unfinished(self):
            raise UnfinishedError

    def back(self) -> None:
        """Take it back: how it behaves is as it was."""
        if _ATTRIBUTES(self) != self._kept:
            for name, value in zip(_NAMES, self._kept, strict=True):
                setattr(self, name, value)
        self.work = ""

    def cleaned(self) -> None:
        """Note that nothing is left in the session."""
        self.leaves, self._kept = False, ()

    def admit(self, text: bytes) -> None:
        """Look at a statement of the work's before it is sent.

        Raises:
            RefusedError: it begins or ends a transaction.
        """
        found = self.read(text)
        if found.control:
            raise RefusedError(
                f"The work says {found.control}, but the pool begins and ends its transaction.",
                fix="leave it out; `with db.transaction():` is a savepoint in it",
            )
        self._said = text
        self.leaves |= found.leaves
        self.spent |= found.spends
        if found.unlimited:
            self.answer = None

    def saw(self, cursor: Any) -> None:
        """Look at what the server did in a transaction that reads.

        Raises:
            RefusedError: it did something else, or the transaction is over; the connection is closed, so that nothing is committed.
        """
        if (tag := cursor.statusmessage) is None:
            return
        open_ = self.pgconn.transaction_status != TransactionStatus.IDLE  # type: ignore[attr-defined]
        if open_ and (tag.partition(" ")[0] in _READING_TAGS or (tag == "SET" and _LOCAL.match(self._said))):
            return
        self.pgconn.finish()  # type: ignore[attr-defined]
        raise RefusedError(
            f"This does more than read: {tag}. Nothing of it is kept.",
            fix="`run` and `transaction` write; settings for one transaction are set with SET LOCAL",
        )

    def gave_up(self) -> OperationalError | None:
        """What to raise after waiting that long; None where the statement that was sent meanwhile may take longer."""
        if self.answer is None:
            return None
        self.pgconn.finish()  # type: ignore[attr-defined]
        return OperationalError(f"the server did not answer for {self.answer:g} s")

    def sent(self, command: bytes) -> Generator[Any, Any, bytes]:
        """Send a command that begins or ends a transaction, for `wait`: without a cursor, and without what it prepares. Gives its tag."""
        pgconn: PGconn = self.pgconn  # type: ignore[attr-defined]
        pgconn.send_query(command)
        results = yield from execute(pgconn)
        for result in results:
            if result.status != ExecStatus.COMMAND_OK:
                raise error_from_result(result, encoding=self.info.encoding)  # type: ignore[attr-defined]
        return results[-1].command_status or b""

    def commit(self) -> Any:
        """As psycopg's, but not for the work that it is lent to."""
        self._require_own("commit")
        return super().commit()  # type: ignore[misc]

    def rollback(self) -> Any:
        """As psycopg's, but not for the work that it is lent to."""
        self._require_own("rollback")
        return super().rollback()  # type: ignore[misc]

    def _require_own(self, what: str) -> None:
        if self.work:
            raise ProgrammingError(f"{what}() is the pool's: it ends the transaction when the work ends")


_NAMES = ("answer", "row_factory", "prepare_threshold", "prepared_max", "cursor_factory", "server_cursor_factory")
_ATTRIBUTES = attrgetter(*_NAMES)


class UnfinishedError(AmianaiError):
    """The work ended while its connection was still in use."""

    def __init__(self) -> None:
        super().__init__(
            "The work ended while a COPY, a stream, a pipeline or another thread used its connection; the transaction was rolled back.",
            fix="read each COPY and stream to its end or let an error out of its `with` block, and wait for what runs beside the work",
        )


def unfinished(connection: Any) -> bool:
    """Whether something is still under way on a connection: a COPY, a stream or a pipeline that was left open, or another thread's call.

    psycopg keeps a lock for as long as a stream or a COPY is open, so that the next statement would wait for ever.
    """
    pgconn = connection.pgconn
    return bool(connection.lock.locked() or pgconn.transaction_status == TransactionStatus.ACTIVE or pgconn.pipeline_status)


def still_reads(connection: Any) -> bool:
    """Whether a session that is not lent still refuses to write, as far as the server has said."""
    said: bytes | None = connection.pgconn.parameter_status(b"default_transaction_read_only")
    return said != b"off"


def watched(base: Any) -> Any:
    """A cursor class that shows its connection what it sends. In a transaction that reads, the protocol takes one statement a text."""

    class WatchedCursor(base):  # type: ignore[misc]
        """psycopg's cursor, watched."""

        def _execute_send(self, query: Any, *, force_extended: bool = False, binary: bool | None = None) -> None:
            if work := self._conn.work:
                self._conn.admit(query.query)
            super()._execute_send(query, force_extended=force_extended or work == "read", binary=binary)

        def _send_query_prepared(self, name: bytes, pgq: Any, *, binary: bool | None = None) -> None:
            if self._conn.work:
                self._conn.admit(pgq.query)
            super()._send_query_prepared(name, pgq, binary=binary)

    return WatchedCursor
