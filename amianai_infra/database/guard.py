"""SQL that others wrote, in one transaction of ours: whole or not at all, and away from our records.

What decides is what the server says afterwards, not our reading of the text: whether the transaction is still the one that we began,
and whether the catalog or the rows of our schemas have changed in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from amianai_infra.database.catalog import described
from amianai_infra.errors import AmianaiError, RefusedError

if TYPE_CHECKING:
    from psycopg import Connection

# What the record of changes is in: not for SQL of others, which may run as the owner of it.
RESERVED = ("amianai_audit", "amianai_migrations")

# An older server's text would be read otherwise than ours.
_PREPARE = "SET LOCAL standard_conforming_strings = on"
_NUMBER = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text"
# What is put off to the end happens now; nothing that was set or assumed outlives the text, nor answers for us.
_SETTLE = "SET CONSTRAINTS ALL IMMEDIATE; RESET ROLE; RESET ALL"

# Each row of the catalog that makes our schemas what they are, with its version (whoever changes it makes another), what depends on
# them, and how many rows of their tables this transaction has changed.
_OF_RELATIONS = (
    ("pg_attribute", "attrelid"),
    ("pg_attrdef", "adrelid"),
    ("pg_constraint", "conrelid"),
    ("pg_constraint", "confrelid"),
    ("pg_trigger", "tgrelid"),
    ("pg_rewrite", "ev_class"),
    ("pg_policy", "polrelid"),
    ("pg_inherits", "inhrelid"),
    ("pg_inherits", "inhparent"),
)
_RECORDS = f"""
WITH spaces AS (SELECT tableoid, oid, xmin, ctid FROM pg_catalog.pg_namespace WHERE nspname = ANY (%(schemas)s)),
relations AS (SELECT c.tableoid, c.oid, c.xmin, c.ctid FROM pg_catalog.pg_class c JOIN spaces s ON c.relnamespace = s.oid),
routines AS (SELECT p.tableoid, p.oid, p.xmin, p.ctid FROM pg_catalog.pg_proc p JOIN spaces s ON p.pronamespace = s.oid),
everything AS (SELECT * FROM spaces UNION ALL SELECT * FROM relations UNION ALL SELECT * FROM routines),
found AS (
    SELECT pg_catalog.concat_ws(' ', oid, xmin, ctid) AS one FROM everything
    UNION ALL SELECT pg_catalog.concat_ws(' ', 'dependent', d.classid, d.objid, d.xmin, d.ctid)
        FROM pg_catalog.pg_depend d JOIN everything e ON (d.refclassid, d.refobjid) = (e.tableoid, e.oid)
    UNION ALL SELECT pg_catalog.concat_ws(' ', 'rows', oid, pg_catalog.pg_stat_get_xact_tuples_inserted(oid),
        pg_catalog.pg_stat_get_xact_tuples_updated(oid), pg_catalog.pg_stat_get_xact_tuples_deleted(oid)) FROM relations
    UNION ALL {
    " UNION ALL ".join(
        f"SELECT pg_catalog.concat_ws(' ', '{catalog}', x.xmin, x.ctid) FROM pg_catalog.{catalog} x JOIN relations r ON x.{column} = r.oid"
        for catalog, column in _OF_RELATIONS
    )
}
)
SELECT pg_catalog.array_agg(one ORDER BY one) FROM found
"""  # noqa: S608
_ROLES = """
SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(oid), pg_catalog.pg_stat_get_xact_tuples_updated(oid)
FROM pg_catalog.pg_class WHERE oid = 'pg_catalog.pg_authid'::pg_catalog.regclass
"""


@contextmanager
def one_transaction(connection: Connection[Any], what: str, *, roles: bool = True) -> Iterator[None]:
    """A transaction, or a part of one, for SQL that others wrote.

    Args:
        connection: the owner's.
        what: runs in it, for messages, as a noun.
        roles: whether it may make and alter roles.

    Raises:
        AmianaiError: the SQL ended the transaction; what it did may stay in part.
        RefusedError: it touched our records, or roles; nothing of it is kept.
    """
    from psycopg import Error

    mark = f'"amianai_{secrets.token_hex(8)}"'
    with connection.transaction():
        connection.execute(_PREPARE)
        number, before = _number(connection), _evidence(connection)
        connection.execute(f"SAVEPOINT {mark}".encode())
        try:
            yield
            if not _in_transaction(connection) or _number(connection) != number:
                raise _ended(what)
            connection.execute(_SETTLE)
        except Error as error:
            if not connection.closed and not _back(connection, mark, number):
                raise _ended(what, error.sqlstate) from error
            raise
        for kind, found in _evidence(connection).items():
            if found != before[kind] and not (roles and kind == "roles"):
                raise RefusedError(f"{what} {_TOUCHED[kind][0]}; nothing of it is kept.", fix=_TOUCHED[kind][1])


def kept_records(connection: Connection[Any]) -> object:
    """Our schemas and the ledger's lines as they are, for comparison, where SQL ran outside a transaction of ours."""
    rows = connection.execute(b"SELECT a::text FROM amianai_migrations.applied a ORDER BY 1").fetchall()
    return described(connection, RESERVED), rows


_TOUCHED = {
    "records": (f"touches {' or '.join(RESERVED)}, which keep the record of what was done", "leave those schemas alone"),
    "roles": ("changes roles in a way that its text does not show", "write CREATE ROLE or ALTER ROLE as a statement of its own"),
}


def _evidence(connection: Connection[Any]) -> dict[str, Sequence[Any] | None]:
    records = connection.execute(_RECORDS.encode(), {"schemas": list(RESERVED)}).fetchone()
    return {"records": records, "roles": connection.execute(_ROLES).fetchone()}


def _number(connection: Connection[Any]) -> str:
    """The transaction's number, which it keeps to its end."""
    row = connection.execute(_NUMBER).fetchone()
    return str(row[0]) if row else ""


def _in_transaction(connection: Connection[Any]) -> bool:
    from psycopg.pq import TransactionStatus

    return connection.info.transaction_status == TransactionStatus.INTRANS


def _back(connection: Connection[Any], mark: str, number: str) -> bool:
    """Take everything back to the mark; gives whether that was possible, in the transaction in which the mark was set."""
    from psycopg import Error

    try:
        connection.execute(f"ROLLBACK TO SAVEPOINT {mark}".encode())
    except Error:
        return connection.closed
    return _number(connection) == number


def _ended(what: str, state: str | None = None) -> AmianaiError:
    failed = f"; then it failed ({state})" if state else ""
    return AmianaiError(
        f"{what} ended the transaction that it ran in{failed}. A part of it may be applied.",
        fix="look at what is there, take COMMIT and ROLLBACK out of the text, and set right what stayed",
    )
