"""Migrations that PostgreSQL does not run in a transaction (CREATE INDEX CONCURRENTLY): statement by statement, each kept as it ends.

How far a file came is in `amianai_migrations.begun`, from before its first statement until its line in the ledger takes that place. A run
that failed or was killed goes on with the first statement that is not known to be done; those before it must stay as they were.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, LiteralString

from amianai_infra.database.guard import RESERVED, kept_records
from amianai_infra.database.session import said
from amianai_infra.database.sql_text import spans
from amianai_infra.errors import AmianaiError, ConfigurationError, RefusedError, UnreachableError

if TYPE_CHECKING:
    from psycopg import Connection, Error

    from amianai_infra.database.migrate import Applied, Migration

TABLE = """
CREATE TABLE IF NOT EXISTS amianai_migrations.begun (
    source text NOT NULL,
    version text NOT NULL,
    name text NOT NULL,
    done integer NOT NULL DEFAULT 0,
    sha256 text NOT NULL,
    invalid oid[] NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    begun_by text NOT NULL,
    error text NOT NULL DEFAULT '',
    PRIMARY KEY (source, version)
);
REVOKE ALL ON amianai_migrations.begun FROM PUBLIC;
"""
# Not those of partitioned tables, which may wait for their partitions' by design.
_INVALID: LiteralString = """
SELECT c.oid, c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE NOT i.indisvalid AND c.relkind = 'i' ORDER BY 2
"""

_MARK = re.compile(r"--[ \t]*no-transaction\b")
_MEANT = re.compile(r"^[ \t]*--[ \t]*no[-_ ]?transaction[ \t]*$", re.IGNORECASE | re.MULTILINE)
# What holds for the session is said again where a run goes on in another one.
_OF_THE_SESSION = frozenset({"SET", "RESET"})


def wanted(sql: str, where: str) -> bool:
    """Whether a file is to run outside a transaction: its first line is `-- no-transaction`.

    Raises:
        ConfigurationError: it says so in another place, or almost so.
    """
    if _MARK.match(sql):
        return True
    meant = _MEANT.search(sql)
    if meant:
        line = sql.count("\n", 0, meant.start()) + 1
        raise ConfigurationError(
            f"Line {line} does not take the migration out of its transaction.", where=where, fix="write -- no-transaction as its first line"
        )
    return False


@dataclass(frozen=True)
class Begun:
    """A file that was begun and is not done.

    Attributes:
        source: `amianai` or `project`.
        version: of the file.
        name: of the file.
        done: how many of its statements are done.
        sha256: checksum of those.
        invalid: indexes that were not valid before it, by object identifier.
        begun_at: when.
        begun_by: by whom.
        error: why it stopped; empty where it was killed or is running.
    """

    source: str
    version: str
    name: str
    done: int
    sha256: str
    invalid: Sequence[int]
    begun_at: datetime
    begun_by: str
    error: str

    def __str__(self) -> str:
        return f"{self.source} {self.version}_{self.name}"

    def text(self) -> str:
        """For a person."""
        why = f": {self.error}" if self.error else ", where it was ended"
        when = f"{self.begun_at:%Y-%m-%d %H:%M} by {self.begun_by}"
        return f"{self} stopped in statement {self.done + 1}{why}; what came before it stays  {when}"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        file = {"source": self.source, "version": self.version, "name": self.name}
        return {**file, "done": self.done, "error": self.error, "begun_at": self.begun_at.isoformat(), "begun_by": self.begun_by}

    def fits(self, one: Migration) -> bool:
        """Whether the statements that are done are still the file's first ones. Pure."""
        return _checksum(_statements(one)[: self.done]) == self.sha256


@dataclass(frozen=True)
class _Statement:
    sql: str
    line: int
    word: str


def _statements(one: Migration) -> list[_Statement]:
    return [_Statement(one.sql[start:end], one.sql.count("\n", 0, start) + 1, "".join(words[:1])) for words, start, end in spans(one.sql)]


def _checksum(statements: Sequence[_Statement]) -> str:
    return hashlib.sha256("\0".join(each.sql for each in statements).encode()).hexdigest()


def begun(connection: Connection[Any]) -> list[Begun]:
    """The files that were begun and are not done."""
    if connection.execute("SELECT to_regclass('amianai_migrations.begun')").fetchone() == (None,):
        return []
    columns = "source, version, name, done, sha256, invalid, begun_at, begun_by, error"
    return [Begun(*row) for row in connection.execute(f"SELECT {columns} FROM amianai_migrations.begun ORDER BY begun_at".encode())]  # noqa: S608


def run(
    connection: Connection[Any], one: Migration, by: str, say: Callable[[str], None], record: Callable[[timedelta], Applied]
) -> Applied:
    """Run a file's statements, or those that are left of it, each in a transaction of its own.

    Args:
        connection: the owner's, outside any transaction, holding the lock of `migrate.locked`.
        one: the file.
        by: who runs it.
        say: told where it goes on.
        record: writes its line in the ledger, given how long it took.

    Raises:
        AmianaiError: a statement failed, or an index is not valid; what is done stays, and is said.
        RefusedError: it touched our records.
    """
    started, steps = time.monotonic(), _statements(one)
    work = _Work(connection, one, _known(connection, one, by), kept_records(connection))
    known = work.known
    if known.done or known.error:
        say(f"{one} goes on with statement {known.done + 1} of {len(steps)}")
    for number, step in enumerate(steps, 1):
        if number > known.done or step.word in _OF_THE_SESSION:
            work.do(step, f"{number} of {len(steps)}")
        if number > known.done:
            work.note(done=number, sha256=_checksum(steps[:number]), error="")
    work.require_valid()
    with connection.transaction():
        return record(timedelta(seconds=time.monotonic() - started))


def _known(connection: Connection[Any], one: Migration, by: str) -> Begun:
    found = next((each for each in begun(connection) if (each.source, int(each.version)) == (one.source, int(one.version))), None)
    if found is not None:
        return found
    invalid = [oid for oid, _ in connection.execute(_INVALID)]
    connection.execute(
        "INSERT INTO amianai_migrations.begun (source, version, name, sha256, invalid, begun_by) VALUES (%s, %s, %s, %s, %s::oid[], %s)",
        (one.source, one.version, one.name, _checksum([]), invalid, by),
    )
    return _known(connection, one, by)


@dataclass(frozen=True)
class _Work:
    """One file at work.

    Attributes:
        connection: the owner's.
        one: the file.
        known: how far it was when this run began.
        records: our records, which it must not touch.
    """

    connection: Connection[Any]
    one: Migration
    known: Begun
    records: object

    def do(self, step: _Statement, which: str) -> None:
        """One statement; `which` is its number."""
        from psycopg import Error

        try:
            self.connection.execute(step.sql.encode(), prepare=False)
        except Error as error:
            raise self._stopped(step, which, error) from error
        if self._rolled_back():
            self.note(error="it began a transaction")
            raise AmianaiError(f"Statement {which} of the migration {self.one} begins a transaction.", where=f"{self.one.path}:{step.line}")
        self._require_untouched()

    def _rolled_back(self) -> bool:
        """Whether the statement began a transaction that our reading of it had missed; it is ended then."""
        from psycopg.pq import TransactionStatus

        begun = self.connection.info.transaction_status != TransactionStatus.IDLE
        if begun:
            self.connection.execute("ROLLBACK")
        return begun

    def note(self, **values: object) -> None:
        """Keep how far it is."""
        columns = ", ".join(f"{name} = %({name})s" for name in values)
        query = f"UPDATE amianai_migrations.begun SET {columns} WHERE (source, version) = (%(source)s, %(version)s)"  # noqa: S608
        self.connection.execute(query.encode(), {**values, "source": self.one.source, "version": self.one.version})

    def _stopped(self, step: _Statement, which: str, error: Error) -> AmianaiError:
        position = error.diag.statement_position
        line = step.line + (step.sql.count("\n", 0, int(position) - 1) if position else 0)
        if self.connection.closed:
            return UnreachableError(
                f"The connection was lost in statement {which} of {self.one}, which runs outside a transaction; what came before stays.",
                where=f"{self.one.path}:{line}: {said(error)}",
                fix="look whether the statement has ended all the same (an index may be there, valid or not), then run it again:"
                " it goes on there",
            )
        why = f"{error.sqlstate}: {said(error)}"
        self._rolled_back()
        self._require_untouched()
        self.note(error=why)
        return AmianaiError(
            f"The migration {self.one} stopped in statement {which}; it runs outside a transaction, so what came before stays.",
            details=[f"{name} is not valid: DROP INDEX CONCURRENTLY {name} before it is made again" for name in self._broken()],
            where=f"{self.one.path}:{line}: {why}",
            fix="correct that statement or those after it, and run it again: it goes on there, and what is done is not done again",
        )

    def _require_untouched(self) -> None:
        if kept_records(self.connection) == self.records:
            return
        self.note(error="it touched our records")
        raise RefusedError(
            f"The migration {self.one} touches {' or '.join(RESERVED)}, and what runs outside a transaction cannot be taken back.",
            where=str(self.one.path),
            fix="`amianai db admin audit` shows what the table lacks; set right what was changed, and take it out of the file",
        )

    def require_valid(self) -> None:
        """Refuse to call a file done that left an index behind which no query uses."""
        broken = self._broken()
        if broken:
            self.note(error=f"{', '.join(broken)}: not valid")
            raise AmianaiError(
                f"The migration {self.one} ran to its end, but left what is not valid: {', '.join(broken)}",
                where=str(self.one.path),
                fix="add to the end of the file: DROP INDEX CONCURRENTLY, then CREATE INDEX CONCURRENTLY; and run it again",
            )

    def _broken(self) -> list[str]:
        """Indexes that are not valid and were not so before the file began."""
        return [name for oid, name in self.connection.execute(_INVALID) if oid not in self.known.invalid]
