"""What is in a database, and whether a restored copy can take the place of the running one.

The reading counts rows exactly, which reads every page of every table: a copy that cannot be read to the end fails here, before
anything depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, LiteralString

from amianai_infra.database.backups import Finding
from amianai_infra.database.session import translate

if TYPE_CHECKING:
    from psycopg import Connection

LEDGER = "amianai_migrations.applied"
_MOMENTS = ("updated_at", "created_at")


@dataclass(frozen=True)
class Contents:
    """One table.

    Attributes:
        rows: exact number of rows.
        newest: the latest moment in `updated_at` or `created_at`; None where the table has neither, or no row.
    """

    rows: int
    newest: datetime | None = None


@dataclass(frozen=True)
class Facts:
    """What is in a database.

    Attributes:
        ledger: name and checksum of the applied migrations by source and version; None where there is no ledger.
        tables: by schema and name.
        constraints: definitions by table and name.
        unvalid: constraints that were never validated, and indexes that are not valid.
    """

    ledger: Mapping[str, tuple[str, str]] | None
    tables: Mapping[str, Contents]
    constraints: Mapping[str, str] = field(default_factory=dict)
    unvalid: Sequence[str] = ()

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(one.rows for one in self.tables.values())


_USER_TABLES: LiteralString = """
    SELECT n.nspname, c.relname,
           (SELECT array_agg(a.attname::text) FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attname = ANY(%s) AND NOT a.attisdropped)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2"""

_CONSTRAINTS: LiteralString = """
    SELECT n.nspname || '.' || c.relname || ': ' || k.conname, pg_get_constraintdef(k.oid), k.convalidated
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1"""

_BAD_INDEXES: LiteralString = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"


def facts(connection: Connection[Any]) -> Facts:
    """Read a database; takes as long as reading all of its tables once.

    Args:
        connection: the master user's, in autocommit mode.
    """
    import psycopg

    try:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.execute("SET LOCAL statement_timeout = 0")
            return _facts(connection)
    except psycopg.Error as error:
        raise translate(error, "checking what the database holds") from error


def _facts(connection: Connection[Any]) -> Facts:
    tables: dict[str, Contents] = {}
    for schema, name, moments in connection.execute(_USER_TABLES, (list(_MOMENTS),)).fetchall():
        tables[f"{schema}.{name}"] = _contents(connection, schema, name, moments or [])
    constraints = connection.execute(_CONSTRAINTS).fetchall()
    unvalid = [name for name, _, valid in constraints if not valid]
    unvalid += [str(row[0]) for row in connection.execute(_BAD_INDEXES)]
    return Facts(
        ledger=_ledger(connection) if LEDGER in tables else None,
        tables=tables,
        constraints={name: definition for name, definition, _ in constraints},
        unvalid=unvalid,
    )


def _contents(connection: Connection[Any], schema: str, name: str, moments: list[str]) -> Contents:
    from psycopg.sql import SQL, Identifier

    newest = (
        SQL("greatest({})").format(SQL(", ").join(SQL("max({})").format(Identifier(one)) for one in moments)) if moments else SQL("NULL")
    )
    query = SQL("SELECT count(*), {} FROM {}").format(newest, Identifier(schema, name))
    row = connection.execute(query).fetchone()
    return Contents(int(row[0]), row[1]) if row else Contents(0)


def _ledger(connection: Connection[Any]) -> dict[str, tuple[str, str]]:
    rows = connection.execute("SELECT source || ' ' || version, name, sha256 FROM amianai_migrations.applied ORDER BY 1").fetchall()
    return {version: (name, digest) for version, name, digest in rows}


# -- judging


def compare(copy: Facts, running: Facts | None) -> list[Finding]:
    """Whether the copy can take over, and what changes with it. Pure.

    Differences that follow from the copy being older are stated; what no age explains is a problem.

    Args:
        copy: what the restored instance holds.
        running: what the running one holds; None when it cannot be read any more.
    """
    parts = [_ledger_findings(copy, running), _table_findings(copy, running), _constraint_findings(copy, running)]
    return [finding for part in parts for finding in part]


def _ledger_findings(copy: Facts, running: Facts | None) -> Iterator[Finding]:
    known = running.ledger if running else None
    if copy.ledger is None:
        lost = bool(known)
        fact = "the copy has none, the running database has" if lost else "there is none: `amianai db migrate` never ran"
        yield Finding("problem" if lost else "note", "migrations", fact, "restore to a later time")
        return
    if known is None:
        yield Finding("ok", "migrations", f"{len(copy.ledger)} applied; nothing to compare with")
        return
    changed = sorted(version for version, entry in copy.ledger.items() if version in known and known[version] != entry)
    missing = sorted(set(known) - set(copy.ledger))
    unknown = sorted(set(copy.ledger) - set(known))
    if changed:
        yield Finding("problem", "migrations", f"other contents under the same version: {', '.join(changed)}", "find out who edited them")
    if missing:
        yield Finding("note", "migrations", f"not in the copy, applied later: {', '.join(missing)}; `db migrate` applies them again")
    if unknown:
        yield Finding("note", "migrations", f"only in the copy: {', '.join(unknown)}; the running database lost them")
    if not (changed or missing or unknown):
        yield Finding("ok", "migrations", f"{len(copy.ledger)}, the same as in the running database")


def _table_findings(copy: Facts, running: Facts | None) -> Iterator[Finding]:
    known = running.tables if running else {}
    if not copy.tables:
        yield Finding("problem", "tables", "the copy has no table", "restore another snapshot or time")
    for name in sorted({*copy.tables, *known}):
        yield _table_finding(name, copy.tables.get(name), known.get(name), compared=running is not None)


def _table_finding(name: str, copy: Contents | None, running: Contents | None, *, compared: bool) -> Finding:
    if copy is None:
        return Finding("note", name, f"not in the copy; the running database has {running.rows if running else 0} rows")
    text = f"{copy.rows} rows" + (f", newest {copy.newest:%Y-%m-%d %H:%M:%S}" if copy.newest else "")
    if not compared:
        return Finding("ok", name, text)
    if running is None:
        return Finding("note", name, f"{text}; the running database does not have it")
    if copy.rows == running.rows and copy.newest == running.newest:
        return Finding("ok", name, f"{text}; the same")
    newest = f", newest {running.newest:%Y-%m-%d %H:%M:%S}" if running.newest else ""
    return Finding("note", name, f"{text}; the running database {running.rows} rows{newest}")


def _constraint_findings(copy: Facts, running: Facts | None) -> Iterator[Finding]:
    if copy.unvalid and not (running and set(copy.unvalid) <= set(running.unvalid)):
        yield Finding("problem", "validity", f"not valid in the copy: {', '.join(copy.unvalid[:5])}", "restore to another time")
    if running is None:
        yield Finding("ok", "constraints", f"{len(copy.constraints)}; nothing to compare with")
        return
    shared = [name for name in copy.constraints if _table_of(name) in running.tables]
    lacking = [name for name in running.constraints if _table_of(name) in copy.tables and name not in copy.constraints]
    other = [name for name in shared if running.constraints.get(name, copy.constraints[name]) != copy.constraints[name]]
    if lacking or other:
        same_schema = copy.ledger is not None and copy.ledger == running.ledger
        text = f"differ from the running database: {', '.join(sorted({*lacking, *other})[:5])}"
        fix = "the ledgers are equal, so somebody changed the schema by hand; find out which one is right"
        yield Finding("problem", "constraints", text, fix) if same_schema else Finding("note", "constraints", f"{text} (other migrations)")
    else:
        yield Finding("ok", "constraints", f"{len(copy.constraints)}, none missing")


def _table_of(constraint: str) -> str:
    return constraint.partition(": ")[0]
