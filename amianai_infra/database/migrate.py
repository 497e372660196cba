"""Migrations: plain SQL files, each applied once, whole or not at all, in order, by one command at a time.

Those that say `-- no-transaction` run statement by statement instead (`no_transaction`).

Applied files are recorded with the checksum of their content in `amianai_migrations.applied`; one that was edited since is
refused by name. Ours come first, then the project's own folder (`database.migrations`).
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

from amianai_infra.database import no_transaction
from amianai_infra.database.copy_rows import execute, line_of, without_rows
from amianai_infra.database.guard import RESERVED, one_transaction
from amianai_infra.database.no_transaction import Begun, begun
from amianai_infra.database.session import said, translate
from amianai_infra.database.sql_text import COPY, COPY_FIX, copies, decoded, in_transaction, tokens, transaction_control, value
from amianai_infra.errors import AmianaiError, ConfigurationError, LockedError, RefusedError, UnreachableError

if TYPE_CHECKING:
    from psycopg import Connection, Error

OURS = "amianai"
PROJECT = "project"
APPLICATION = (OURS, 1)
"""Makes the application's tables. Where a team has a tool of its own for that, it comes late or never."""
FOLDER = Path(__file__).parent / "migrations"

# "amianai", as PostgreSQL's advisory locks want it: two numbers of 32 bits.
LOCK = (0x616D6961, 0x6E6169)
LOCK_WAIT = timedelta(minutes=15)
LOCK_POLL = 0.2
_OTHERS = "Another `db migrate`, `db rotate` or `db admin reset`"
# A migration that waits for a table's lock makes everybody behind it wait too: it gives up soon, and tries again a little later.
LOCK_TIMEOUT = timedelta(seconds=5)
ATTEMPTS = 5

# A number, or a time in UTC as other tools write it. Every number comes before every time.
_FILE = re.compile(r"^(\d{4,8}|\d{14})_([a-z0-9][a-z0-9_]*)\.sql$")
TIME = "%Y%m%d%H%M%S"

_READ_ONLY = "25006"
_NOT_IN_A_TRANSACTION = "25001"

_LEDGER: LiteralString = """
CREATE SCHEMA IF NOT EXISTS amianai_migrations;
REVOKE ALL ON SCHEMA amianai_migrations FROM PUBLIC;
CREATE TABLE IF NOT EXISTS amianai_migrations.applied (
    source text NOT NULL,
    version text NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by text NOT NULL,
    duration interval NOT NULL,
    PRIMARY KEY (source, version)
);
REVOKE ALL ON amianai_migrations.applied FROM PUBLIC;
"""
TABLES = _LEDGER + no_transaction.TABLE

# What one file leaves in the session is not for the next one. The lock is the session's too, and stays.
_CLEAN = (
    b"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; DEALLOCATE ALL; DISCARD TEMP; DISCARD SEQUENCES;"
    b" SELECT set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false)"
)

_ANY_TABLE = """
SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
"""


@dataclass(frozen=True)
class Migration:
    """One SQL file.

    Attributes:
        source: `amianai` or `project`.
        version: the number or the time its name begins with, as text.
        name: the rest of its name.
        sha256: checksum of its content, whatever the line ends.
        sql: its content.
        path: where it is.
        transaction: whether it runs in one.
    """

    source: str
    version: str
    name: str
    sha256: str
    sql: str = field(repr=False)
    path: Path = field(repr=False)
    transaction: bool = field(default=True, repr=False)

    def __str__(self) -> str:
        return f"{self.source} {self.version}_{self.name}"


@dataclass(frozen=True)
class Applied:
    """One line of the ledger."""

    source: str
    version: str
    name: str
    sha256: str
    applied_at: datetime
    applied_by: str
    duration: timedelta

    def __str__(self) -> str:
        return f"{self.source} {self.version}_{self.name}"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        when = {"applied_at": self.applied_at.isoformat(), "applied_by": self.applied_by, "seconds": self.duration.total_seconds()}
        return {"source": self.source, "version": self.version, "name": self.name, "sha256": self.sha256, **when}


def read_folder(folder: Path, source: str) -> list[Migration]:
    """The migrations in a folder, in order.

    Raises:
        ConfigurationError: a name has another form, a number is there twice, a file begins or ends a transaction, or one of the project's
            names a schema that keeps records.
    """
    found = [_read(path, source) for path in sql_files(folder)]
    found.sort(key=lambda one: int(one.version))
    for one, other in pairwise(found):
        if int(one.version) == int(other.version):
            raise ConfigurationError(f"Two migrations have the number {one.version}.", where=f"{one.path.name}, {other.path.name}")
    return found


def sql_files(folder: Path) -> list[Path]:
    """What is there to be read: also names that another system would not tell from ours (0007_ADD.SQL), which are then refused."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".sql")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        broken = path.is_symlink() and not path.exists()
        raise ConfigurationError(
            f"A migration cannot be read: {'a link to nothing' if broken else str(error.strerror).lower()}.",
            where=str(path),
            fix="put the file there, or take the name away",
        ) from error


def _read(path: Path, source: str) -> Migration:
    named = _FILE.match(path.name)
    if named is None or not _is_version(named[1]):
        raise ConfigurationError(
            "The name of a migration has another form.",
            where=str(path),
            fix="name it like 0007_add_avatars.sql or 20261130074500_add_avatars.sql: a number or a time, then words"
            " (`amianai db new add_avatars` does)",
        )
    sql = decoded(_content(path), str(path)).replace("\r\n", "\n").replace("\r", "\n")
    transaction = not no_transaction.wanted(sql, str(path))
    line = copies(without_rows(sql, statements=True) if transaction else sql)
    if line:
        raise ConfigurationError(COPY, where=f"{path}:{line}", fix=COPY_FIX)
    text = without_rows(sql)
    control = transaction_control(text)
    if control:
        raise ConfigurationError(
            f"A migration says {control}, but the transactions are ours: one for each file, or with -- no-transaction for each statement.",
            where=str(path),
            fix="leave the statement out",
        )
    named_schema = reserved(text) if source == PROJECT else ""
    if named_schema:
        raise ConfigurationError(
            f"A migration names {named_schema}, which keeps the record of what was done.", where=str(path), fix="leave that schema alone"
        )
    checksum = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(source, named[1], named[2], checksum, sql, path, transaction)


def _is_version(text: str) -> bool:
    """Whether what has the length of a time is one: a slip of the hand would come after everything for years."""
    try:
        return len(text) < len("20261130074500") or bool(datetime.strptime(text, TIME))
    except ValueError:
        return False


def reserved(sql: str) -> str:
    """The first schema of ours that the SQL names, in whatever kind of token but a comment; empty where there is none. Pure."""
    said = (value(kind, token).lower() for kind, token in tokens(sql) if kind != "space")
    return next((name for token in said for name in RESERVED if name in token), "")


def read_all(own: Path | None) -> list[Migration]:
    """Our migrations, then those of the project's own folder."""
    return [*read_folder(FOLDER, OURS), *(read_folder(own, PROJECT) if own else ())]


def plan(files: Sequence[Migration], ledger: Sequence[Applied], half: Sequence[Begun] = (), *, external: bool = False) -> list[Migration]:
    """What is to be applied, in order. Pure.

    Args:
        files: every migration.
        ledger: what has been applied.
        half: what was begun outside a transaction and is not done.
        external: whether a tool of the team's own makes the application's tables.

    Raises:
        RefusedError: files and ledger contradict each other; every contradiction is named.
    """
    known = {(one.source, int(one.version)): one for one in ledger}
    by_key = {(one.source, int(one.version)): one for one in files}
    problems = [f"{one} {_change(one, known[key])}" for key, one in by_key.items() if key in known and _change(one, known[key])]
    problems += [
        f"{one} has been applied, but its file is not there (an older checkout?)" for key, one in known.items() if key not in by_key
    ]
    latest = {source: max(number for other, number in known if other == source) for source, _ in known}
    problems += [
        f"{one} was added before {known[one.source, latest[one.source]]}, which has been applied{_order(one, latest[one.source])}"
        for key, one in by_key.items()
        if key not in known and key[1] < latest.get(one.source, 0) and key != APPLICATION
    ]
    problems += [problem for one in half for problem in _half(one, by_key.get((one.source, int(one.version))))]
    if problems:
        raise RefusedError(
            "The migrations do not follow from what has been applied:",
            details=problems,
            fix="restore the files as they were, and put changes into a new migration (`amianai db new`); a new one that comes too early"
            " gets a later name; what was edited on purpose and reviewed, `amianai db repair` takes on record",
        )
    return [one for key, one in by_key.items() if key not in known and not (external and key == APPLICATION)]


def _order(one: Migration, latest: int) -> str:
    """Why a number cannot follow where times have begun."""
    return " (numbers come before times)" if int(one.version) < 10**8 <= latest else ""


def _half(one: Begun, file: Migration | None) -> Iterator[str]:
    if file is None:
        yield f"{one} was begun outside a transaction, but its file is not there (an older checkout?)"
    elif one.done and file.transaction:
        yield f"{one} was begun outside a transaction and has to go on so: its first line is no longer -- no-transaction"
    elif not one.fits(file):
        yield f"{one} was begun outside a transaction, and of its first {one.done} statements, which are done, one was edited since"


def _change(one: Migration, line: Applied) -> str:
    """What became of a file since it was applied; empty where it is the same."""
    if line.sha256 != one.sha256:
        return "was edited after it had been applied"
    return f"was renamed after it had been applied as {line.version}_{line.name}" if line.name != one.name else ""


def ledger(connection: Connection[Any]) -> list[Applied]:
    """What has been applied, in order; nothing where there is no ledger yet."""
    if connection.execute("SELECT to_regclass('amianai_migrations.applied')").fetchone() == (None,):
        return []
    query = "SELECT source, version, name, sha256, applied_at, applied_by, duration FROM amianai_migrations.applied"
    lines = [Applied(*row) for row in connection.execute(query)]
    return sorted(lines, key=lambda one: (one.source != OURS, one.source, int(one.version)))


@dataclass(frozen=True)
class Done:
    """What a run did.

    Attributes:
        applied: the ledger's new lines.
        waited: whether another run had to be waited for.
    """

    applied: list[Applied]
    waited: bool


def migrate(
    connection: Connection[Any],
    files: Sequence[Migration],
    *,
    by: str,
    say: Callable[[str], None],
    before: Callable[[], object] | None = None,
    around: Callable[[], None] | None = None,
    external: bool = False,
    wait: timedelta = LOCK_WAIT,
    sleep: Callable[[float], None] = time.sleep,
) -> Done:
    """Apply what has not been applied. Two at once: one runs, the other waits.

    Args:
        connection: the owner's, without a statement timeout; it holds the lock, which ends with it, however it ends.
        files: every migration.
        by: who runs it, for the ledger.
        say: told what happens.
        before: called under the lock before anything is applied to a database that has a ledger or any table already: a snapshot.
        around: called under the lock first and last: the roles and their rights.
        external: as for `plan`.
        wait: how long to wait for another run.
        sleep: waits between the attempts at a migration that does not get a lock.

    Raises:
        RefusedError: files and ledger contradict each other; nothing was changed.
        LockedError: another run takes longer than `wait`.
        AmianaiError: a migration failed; it left nothing behind, and those before it stay.
    """
    with locked(connection, say, wait) as waited:
        known = ledger(connection)
        pending = plan(files, known, begun(connection), external=external)
        holds_data = known or connection.execute(_ANY_TABLE).fetchone() == (True,)
        if pending and holds_data and before is not None:
            before()
        connection.execute(TABLES)
        if around is not None:
            around()
        done = [_apply(connection, one, by, say, sleep) for one in pending]
        if around is not None and done:
            around()
    return Done(done, waited)


@contextmanager
def locked(connection: Connection[Any], say: Callable[[str], None], wait: timedelta = LOCK_WAIT) -> Iterator[bool]:
    """Keep every other run out; gives whether one had to be waited for.

    Raises:
        LockedError: it took longer than `wait`.
        RefusedError, UnreachableError: the database only reads.
    """
    from psycopg.pq import TransactionStatus

    _require_writable(connection)
    free = _taken(connection)
    if not free:
        holder = _holder(connection)
        say(f"{_OTHERS} is running ({holder}); waiting for it")
        deadline = time.monotonic() + wait.total_seconds()
        # Asked again and again: a statement that waits holds a snapshot, for which CREATE INDEX CONCURRENTLY elsewhere waits in turn.
        while not _taken(connection):
            if time.monotonic() > deadline:
                raise LockedError(
                    f"{_OTHERS} is still running.", where=holder, fix="wait for it; a lock ends with the connection that holds it"
                )
            time.sleep(LOCK_POLL)
    try:
        yield not free
    finally:
        # In a transaction that has failed nothing can be said any more; the lock then ends with the connection.
        if connection.info.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", LOCK)


def _require_writable(connection: Connection[Any]) -> None:
    row = connection.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'").fetchone()
    if row is None or not any(row):
        return
    if row[0]:
        raise UnreachableError("This server is a standby, which only reads; nothing was changed.", fix="run it again in a minute")
    raise RefusedError(
        "The database only reads; nothing was changed.",
        where="default_transaction_read_only = on",
        fix="ALTER DATABASE (or ROLE) ... RESET default_transaction_read_only, or the parameter group, when it may be written again",
    )


def _taken(connection: Connection[Any]) -> bool:
    return connection.execute("SELECT pg_try_advisory_lock(%s, %s)", LOCK).fetchone() == (True,)


def _holder(connection: Connection[Any]) -> str:
    query = (
        "SELECT format('%%s, process %%s, since %%s', a.usename, a.pid, date_trunc('second', a.backend_start))"
        " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.granted"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    row = connection.execute(query, LOCK).fetchone()
    return str(row[0]) if row else "it has just ended"


def _apply(connection: Connection[Any], one: Migration, by: str, say: Callable[[str], None], sleep: Callable[[float], None]) -> Applied:
    from psycopg import Error, errors
    from psycopg.pq import TransactionStatus

    if not one.transaction:
        if connection.info.transaction_status == TransactionStatus.IDLE:
            return _outside(connection, one, by, say)
        one = replace(one, sql=in_transaction(one.sql))  # a reset: nobody is kept waiting by what nobody sees yet
    for attempt in range(1, ATTEMPTS + 1):
        try:
            done = _once(connection, one, by)
            connection.execute(_CLEAN, prepare=False)
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            if attempt == ATTEMPTS:
                raise LockedError(
                    f"The migration {one} did not get its locks in {ATTEMPTS} attempts; nothing of it was applied.",
                    where=_place(one, error),
                    fix="end long transactions (pg_stat_activity), or run it at a quieter time",
                ) from error
            say(f"{one} did not get a lock within {LOCK_TIMEOUT.seconds} s; attempt {attempt + 1} follows")
            sleep(attempt * (1 + random.random()))  # noqa: S311 - only spreads attempts
        except Error as error:
            raise _failed(one, error) from error
        else:
            return done
    raise AssertionError("unreachable")


def _outside(connection: Connection[Any], one: Migration, by: str, say: Callable[[str], None]) -> Applied:
    from psycopg import Error

    try:
        return no_transaction.run(connection, one, by, say, lambda taken: record(connection, one, by, taken))
    except Error as error:
        raise AmianaiError(
            f"How far the migration {one} came could not be recorded; it runs outside a transaction, so what is done stays.",
            where=f"{one.path}: {error.sqlstate}: {said(error)}",
            fix="leave SET ROLE and the like to transactions, and look at what is there before it is run again",
        ) from error
    finally:
        if not connection.closed:
            connection.execute(_CLEAN, prepare=False)


def record(connection: Connection[Any], one: Migration, by: str, taken: timedelta) -> Applied:
    """Write a file's line in the ledger, in place of what said that it was begun."""
    connection.execute("DELETE FROM amianai_migrations.begun WHERE (source, version) = (%s, %s)", (one.source, one.version))
    row = connection.execute(
        "INSERT INTO amianai_migrations.applied (source, version, name, sha256, applied_by, duration)"
        " VALUES (%s, %s, %s, %s, %s, %s) RETURNING applied_at",
        (one.source, one.version, one.name, one.sha256, by, taken),
    ).fetchone()
    assert row is not None  # noqa: S101
    return Applied(one.source, one.version, one.name, one.sha256, row[0], by, taken)


def _once(connection: Connection[Any], one: Migration, by: str) -> Applied:
    started = time.monotonic()
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (str(LOCK_TIMEOUT.seconds * 1000),))
        if one.source == OURS:
            connection.execute(one.sql.encode())
        else:
            with one_transaction(connection, f"The migration {one}"):
                execute(connection, one.sql)
        return record(connection, one, by, timedelta(seconds=time.monotonic() - started))


def _failed(one: Migration, error: Error) -> AmianaiError:
    if error.sqlstate == _READ_ONLY:
        return AmianaiError(
            f"The migration {one} makes its transaction read-only; nothing of it was applied.",
            where=_place(one, error),
            fix="take SET TRANSACTION READ ONLY (or transaction_read_only) out of the file; the migrations before it stay",
        )
    if error.sqlstate == _NOT_IN_A_TRANSACTION:
        return AmianaiError(
            f"The migration {one} has a statement that PostgreSQL does not run in a transaction; nothing of it was applied.",
            where=_place(one, error),
            fix="put such statements alone into a file whose first line is -- no-transaction; what it leaves when it fails is told then",
        )
    translated = translate(error, f"applying {one}")
    if isinstance(translated, UnreachableError):
        return UnreachableError(
            f"The connection was lost while {one} was applied.",
            where=translated.where,
            fix="run it again: what was committed is in the ledger, and nothing else is left behind",
        )
    return AmianaiError(
        f"The migration {one} failed; nothing of it was applied.",
        where=_place(one, error),
        fix="correct the file and run it again; the migrations before it stay",
    )


def _place(one: Migration, error: Error) -> str:
    """File, line and what PostgreSQL says; without its detail, which may quote rows."""
    found = line_of(one.sql, error)
    line = f":{found}" if found else ""
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    return f"{one.path}{line}: {error.sqlstate}: {said(error)}{hint}"
