"""The ledgers of other migration tools: which are there, how far they are, and that the application does not write them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

if TYPE_CHECKING:
    from psycopg import Connection

# Table: whose it is, and how it says how far it is. The tables' names are the tools' defaults.
_TOOLS: Final[dict[str, tuple[str, LiteralString]]] = {
    "alembic_version": ("Alembic", "SELECT string_agg(version_num, ', ' ORDER BY version_num) FROM {}"),
    "_prisma_migrations": (
        "Prisma",
        "SELECT migration_name FROM {} WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL ORDER BY finished_at DESC LIMIT 1",
    ),
    "__drizzle_migrations": ("Drizzle", "SELECT left(hash, 12) FROM {} ORDER BY created_at DESC LIMIT 1"),
    "django_migrations": ("Django", "SELECT app || '.' || name FROM {} ORDER BY id DESC LIMIT 1"),
    "schema_migrations": ("dbmate or Rails", "SELECT max(version) FROM {}"),
}
# Only those that the owner may alter, as itself or as a member of whoever owns them.
_FOUND: LiteralString = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ANY (%s) AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND pg_has_role(c.relowner, 'USAGE') ORDER BY 1, 2
"""


@dataclass(frozen=True)
class ForeignLedger:
    """One ledger.

    Attributes:
        tool: whose.
        table: where, with its schema.
        rows: how many lines it has.
        latest: what it says was applied last; empty where it says nothing, or is made otherwise than we know.
    """

    tool: str
    table: str
    rows: int
    latest: str

    def __str__(self) -> str:
        at = f", at {self.latest}" if self.latest else ""
        return f"{self.tool}: {self.table}, {self.rows} row{'' if self.rows == 1 else 's'}{at}"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"tool": self.tool, "table": self.table, "rows": self.rows, "latest": self.latest}


def found(connection: Connection[Any]) -> list[ForeignLedger]:
    """Those that are there. Changes nothing."""
    return [_read(connection, schema, name) for schema, name in connection.execute(_FOUND, (list(_TOOLS),)).fetchall()]


def _read(connection: Connection[Any], schema: str, name: str) -> ForeignLedger:
    from psycopg import Error
    from psycopg.sql import SQL, Identifier

    tool, query = _TOOLS[name]
    table, latest = Identifier(schema, name), None
    (rows,) = connection.execute(SQL("SELECT count(*) FROM {}").format(table)).fetchone() or (0,)
    with suppress(Error), connection.transaction():  # of that name, and with other columns
        latest = connection.execute(SQL(query).format(table)).fetchone()
    return ForeignLedger(tool, f"{schema}.{name}", int(rows), str(latest[0]) if latest and latest[0] is not None else "")


def protect(connection: Connection[Any], roles: list[str]) -> None:
    """Take the right to write them from everybody but their owners: what says which migrations ran is no data of the application's."""
    from psycopg.sql import SQL, Identifier

    everybody = SQL(", ").join([SQL("PUBLIC"), *(Identifier(role) for role in roles)])
    for schema, name in connection.execute(_FOUND, (list(_TOOLS),)).fetchall():
        query = SQL("REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON {} FROM {}")
        connection.execute(query.format(Identifier(schema, name), everybody))
