"""What the live schema has that no migration made, and the other way round.

The migrations that the ledger knows are run in a temporary, empty database of the same server, in one transaction that is never committed:
what concerns the whole server (a role) is not kept either. Both catalogs are then compared. The live database is only read.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from amianai_infra.database.catalog import Catalog, Difference, described, differences
from amianai_infra.database.migrate import LOCK, Migration, ledger, migrate, plan
from amianai_infra.database.no_transaction import begun
from amianai_infra.database.session import translate
from amianai_infra.errors import AmianaiError, LockedError

if TYPE_CHECKING:
    from psycopg import Connection

    Connected = Callable[[str | None], Connection[Any]]

PREFIX = "amianai_diff_"
_LOCK = (LOCK[0], 0x64696666)  # "diff"
_LEFT = """
SELECT datname FROM pg_database d WHERE datname ~ '^amianai_diff_[0-9a-f]{16}$' AND datdba = current_user::regrole
AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.datid = d.oid)
"""


def diff(connect: Connected, files: Sequence[Migration], say: Callable[[str], None]) -> tuple[list[Difference], list[Migration]]:
    """The differences, and the migrations that are not applied yet, which are not part of the comparison.

    Args:
        connect: opens a connection as the owner to a database of the server; None is the live one.
        files: every migration.
        say: told what happens.

    Raises:
        RefusedError: files and ledger contradict each other.
        LockedError: another one is at it.
        AmianaiError: the migrations cannot be run anew, or no database can be made.
    """
    with connect(None) as live:
        known = ledger(live)
        pending = plan(files, known, begun(live))
        applied = [one for one in files if one not in pending]
        found = _live(live)
        say(f"running {len(applied)} migrations in a temporary database of the same server")
        with _temporary(live) as name:
            expected = _built(connect, name, applied)
    return differences(found, expected), pending


def _live(connection: Connection[Any]) -> Catalog:
    from psycopg import Error

    try:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return described(connection)
    except Error as error:
        raise translate(error, "reading the schema") from error


@contextmanager
def _temporary(live: Connection[Any]) -> Iterator[str]:
    """An empty database that goes with the block; what a killed run left goes first."""
    from psycopg import Error
    from psycopg.sql import SQL, Identifier

    if live.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK).fetchone() != (True,):
        raise LockedError("Another `db diff` is running on this database.", fix="wait for it")
    drop, name = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)"), f"{PREFIX}{secrets.token_hex(8)}"
    try:
        for (left,) in live.execute(_LEFT).fetchall():
            with suppress(Error):  # somebody has just connected to it
                live.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(left)))
        live.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
    except Error as error:
        raise translate(error, "making a temporary database") from error
    try:
        yield name
    finally:
        live.execute(drop.format(Identifier(name)))


def _built(connect: Connected, name: str, files: Sequence[Migration]) -> Catalog:
    from psycopg import Error

    try:
        with connect(name) as connection, connection.transaction(force_rollback=True):
            migrate(connection, files, by="amianai db diff", say=lambda _: None)
            return described(connection)
    except AmianaiError as error:
        raise AmianaiError(
            "The migrations cannot be run anew, so there is nothing to compare the schema with; nothing was changed.",
            where=error.cause,
            fix="a role, or whatever else of the whole server a migration makes, is there already: let it look first",
        ) from error
    except Error as error:
        raise translate(error, "running the migrations in a temporary database") from error
