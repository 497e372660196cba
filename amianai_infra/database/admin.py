"""Dangerous work on the database, as a Python API: planned first, then let through the gate, recorded and done.

    administrator = Administrator(target, outputs, environ=os.environ, snapshot=...)
    plan = administrator.truncate(["messages"])
    administrator.execute(plan, reason="test data", confirmed="example.com")

A plan changes nothing and can be shown. Only `execute` does anything, and only behind `gate.administration`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import file_digest
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from amianai_infra.database import foreign_ledgers
from amianai_infra.database.audit import Connect, Event, Trail, audited, listed, recorded
from amianai_infra.database.credentials import role_name
from amianai_infra.database.gate import administration
from amianai_infra.database.guard import RESERVED, one_transaction
from amianai_infra.database.session import connect, credentials, said, translate
from amianai_infra.database.sql_text import COPY, COPY_FIX, copies, require_text, statements, tokens, transaction_control, value
from amianai_infra.errors import AmianaiError, ConfigurationError, NotFoundError, RefusedError, first
from amianai_infra.naming import EXTENSIONS_SCHEMA
from amianai_infra.outputs import StackOutputs
from amianai_infra.printing import quoted
from amianai_infra.rules.records import Entry
from amianai_infra.target import Target

if TYPE_CHECKING:
    from psycopg import Connection

LONGEST_RESULT = 1000
QUERY_TIMEOUT = timedelta(seconds=30)

# What belongs to an extension is the extension's, and what a type made for itself (constructors of a range) goes with it.
_OWN = "NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = '{catalog}'::regclass AND d.objid = {oid} AND d.deptype IN ('e', 'i'))"
_RELATIONS = f"""
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
    ELSE 'TABLE' END, c.oid::regclass::text
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    AND {_OWN.format(catalog="pg_class", oid="c.oid")}
    AND NOT EXISTS (  -- a column's own sequence goes with its table
        SELECT 1 FROM pg_depend d
        WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
    )
ORDER BY c.relkind, c.relname
"""  # noqa: S608
_ROUTINES = f"""
SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND {_OWN.format(catalog="pg_proc", oid="p.oid")} ORDER BY 2
"""  # noqa: S608
_TYPES = f"""
SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::regtype::text FROM pg_type t
WHERE t.typnamespace = 'public'::regnamespace AND t.typelem = 0 AND t.typtype IN ('d', 'e', 'c', 'r')
    AND NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
    AND {_OWN.format(catalog="pg_type", oid="t.oid")} ORDER BY 2
"""  # noqa: S608
_SCHEMAS = f"""
SELECT 'SCHEMA', quote_ident(n.nspname) FROM pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public', 'amianai_audit', '{EXTENSIONS_SCHEMA}')
    AND {_OWN.format(catalog="pg_namespace", oid="n.oid")} ORDER BY 2
"""  # noqa: S608
# Kind, its catalog, the prefix of the catalog's columns, and how a name is written.
_IN_PUBLIC = (
    ("OPERATOR", "pg_operator", "opr", "oid::regoperator::text"),
    ("COLLATION", "pg_collation", "coll", "oid::regcollation::text"),
    ("CONVERSION", "pg_conversion", "con", "format('public.%I', conname)"),
    ("TEXT SEARCH CONFIGURATION", "pg_ts_config", "cfg", "oid::regconfig::text"),
    ("TEXT SEARCH DICTIONARY", "pg_ts_dict", "dict", "oid::regdictionary::text"),
)
_OF_THE_OWNER = (
    ("PUBLICATION", "pg_publication", "pub", ""),
    ("EVENT TRIGGER", "pg_event_trigger", "evt", ""),
    ("SERVER", "pg_foreign_server", "srv", ""),
    ("EXTENSION", "pg_extension", "ext", f" AND extnamespace IS DISTINCT FROM to_regnamespace('{EXTENSIONS_SCHEMA}')"),
)
_OTHERS = " UNION ALL ".join(
    f"SELECT '{kind}', {name} FROM {catalog} x WHERE {whose} AND {_OWN.format(catalog=catalog, oid='x.oid')}"  # noqa: S608
    for kind, catalog, name, whose in (
        *((kind, catalog, name, f"{prefix}namespace = 'public'::regnamespace") for kind, catalog, prefix, name in _IN_PUBLIC),
        *(
            (kind, catalog, f"quote_ident({prefix}name)", f"{prefix}owner = current_user::regrole{besides}")
            for kind, catalog, prefix, besides in _OF_THE_OWNER
        ),
    )
)
_LARGE_OBJECTS = "FROM pg_largeobject_metadata WHERE lomowner = current_user::regrole"
_ROLES = """
SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|rds)' AND NOT rolsuper AND rolname <> current_user AND rolname <> ALL (%s) ORDER BY 1
"""
_DEPENDENTS = """
WITH RECURSIVE emptied(oid) AS (
    SELECT unnest(%s::oid[]) UNION SELECT f.conrelid FROM pg_constraint f JOIN emptied e ON f.confrelid = e.oid WHERE f.contype = 'f'
)
SELECT oid, oid::regclass::text FROM emptied ORDER BY 2
"""


@dataclass(frozen=True)
class Dump:
    """A dump that is to be loaded.

    Attributes:
        file: where it is.
        entries: lines of its list that are loaded.
        programs: the folder of the programs that do it.
    """

    file: Path
    entries: Sequence[str]
    programs: Path


@dataclass(frozen=True)
class Plan:
    """What would be done.

    Attributes:
        action: which work.
        detail: on what, for the record.
        steps: the SQL, in order, in one transaction.
        affected: rows by table, where that is known beforehand.
        notes: what else is to be known before it is confirmed.
        snapshot: whether a snapshot is made first.
        migrates: whether the migrations run afterwards.
        dump: what is loaded after the steps.
    """

    action: str
    detail: str
    steps: Sequence[str]
    affected: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    snapshot: bool = False
    migrates: bool = False
    dump: Dump | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "action": self.action,
            "detail": self.detail,
            "steps": list(self.steps),
            "rows": dict(self.affected),
            "notes": list(self.notes),
            "snapshot": self.snapshot,
        }

    def text(self) -> list[str]:
        """For a person."""
        shown_below = self.steps == [self.detail]
        lines = [self.action if shown_below or not self.detail else f"{self.action}: {self.detail.splitlines()[0]}"]
        lines += [f"  {count} row{'' if count == 1 else 's'} in {table}" for table, count in self.affected.items()]
        lines += [f"  {note}" for note in self.notes]
        lines += ["  first a snapshot of the instance"] if self.snapshot else []
        lines += [line for step in self.steps for line in quoted(step)]
        lines += [f"  then {self.dump.file}, and the migrations that it lacks"] if self.dump else []
        return [*lines, *(["  then every migration again"] if self.migrates else [])]


@dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        rows: rows that were changed.
        columns: names of the columns of the last result.
        values: its rows, at most `LONGEST_RESULT`.
        cut: whether there were more.
        snapshot: the snapshot that was made first.
    """

    rows: int = 0
    columns: Sequence[str] = ()
    values: Sequence[Sequence[Any]] = ()
    cut: bool = False
    snapshot: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        names = _distinct(self.columns)
        return {
            "rows": self.rows,
            "snapshot": self.snapshot,
            "result": [dict(zip(names, row, strict=True)) for row in self.values],
            "cut": self.cut,
        }


def _distinct(names: Sequence[str]) -> list[str]:
    """The names of columns, each once: the second `id` is `id_2`."""
    found: list[str] = []
    for name in names:
        again = (name if number == 1 else f"{name}_{number}" for number in count(1))
        found.append(next(one for one in again if one not in found))
    return found


@dataclass
class Administrator:
    """Dangerous work on one stack's database.

    Args:
        target: where.
        outputs: of which stack.
        environ: the process environment, which has to enable it.
        snapshot: makes a snapshot of the instance and gives its name; None where snapshots hold nothing.
        migrate: runs every migration on the connection it is given, after a reset or a load.
        programs: gives the folder of PostgreSQL's client programs for a major version, for a load.
        at: address and port to connect to instead, as through a tunnel.
        say: told what happens.
    """

    target: Target
    outputs: StackOutputs
    environ: Mapping[str, str] = field(repr=False)
    snapshot: Callable[[str], str] | None = None
    migrate: Callable[[Connection[Any]], None] | None = None
    programs: Callable[[int], Path] | None = None
    at: tuple[str, int] | None = None
    say: Callable[[str], None] = lambda _: None

    @property
    def _owner(self) -> Connect:
        return lambda: connect(self.target, self.outputs, "owner", statement_timeout=None, at=self.at)

    @contextmanager
    def _connected(self, doing: str, *, public: bool = False) -> Iterator[Connection[Any]]:
        """The owner's; with `public`, names that somebody gave may leave that schema out."""
        import psycopg

        with self._owner() as connection:
            _show_any_time(connection)
            if public and self.outputs.database.external:
                connection.execute("SET search_path = public")
            try:
                yield connection
            except psycopg.Error as error:
                raise translate(error, doing) from error

    # -- plans: they look, and change nothing

    def reset(self) -> Plan:
        """Drop everything of the application's and make it anew. The record of administrative work stays.

        The plan's detail, which goes on record, holds the ledger as it is and the rows by table.
        """
        from amianai_infra.database.migrate import ledger

        with self._connected("looking at the schema") as connection:
            queries = (_RELATIONS, _TYPES, _ROUTINES, _OTHERS, _SCHEMAS)
            found = [row for query in queries for row in connection.execute(query.encode()).fetchall()]
            counts = {name: _count(connection, name) for kind, name in found if kind == "TABLE"}
            objects = _count_of(connection, f"SELECT count(*) {_LARGE_OBJECTS}")
            roles = [name for (name,) in connection.execute(_ROLES, (self._our_roles(),)).fetchall()]
            before = [f"{one} sha256:{one.sha256}" for one in ledger(connection)]
            foreign = foreign_ledgers.found(connection)
        steps = [f"DROP {kind} IF EXISTS {name} CASCADE" for kind, name in found]
        steps += [f"SELECT count(lo_unlink(oid)) {_LARGE_OBJECTS}"] if objects else []
        detail = [self.outputs.database.name, *before, *map(str, foreign), *(f"{count} rows in {name}" for name, count in counts.items())]
        notes = [*self._notes(), *([f"{objects} large objects go"] if objects else [])]
        notes += [f"the ledger of {one} goes, too: that tool then begins anew" for one in foreign]
        notes += [f"roles stay: {', '.join(first(roles, 10))}; a migration must bear that they are there"] if roles else []
        return Plan("reset", "\n".join(detail), steps, counts, snapshot=self.snapshot is not None, migrates=True, notes=notes)

    def load(self, file: Path) -> Plan:
        """Drop everything of the application's and put a dump in its place. The record of administrative work stays.

        Raises:
            RefusedError: it is no dump that can be loaded.
            MissingToolError: there are no client programs of the server's version.
        """
        from amianai_infra.database import dumps

        if self.programs is None:
            raise ConfigurationError("Nobody said where PostgreSQL's client programs are.")
        with self._connected("looking at the server") as connection:
            folder = self.programs(connection.info.server_version // 10_000)
        found, now = dumps.contents(folder, file), self.reset()
        notes = [f"{found.tables} tables come, as they were {found.made}", *now.notes]
        detail = f"{file.name} sha256:{_sha256(file)} in the place of {now.detail}"
        return replace(now, action="load", detail=detail, notes=notes, migrates=False, dump=Dump(file, found.entries, folder))

    def _our_roles(self) -> list[str]:
        from amianai_infra.database.roles import Names

        names = Names.of(self.outputs)
        return [*names.twins, *names.twins.values(), role_name(self.outputs, "migrator")]

    def truncate(self, tables: Sequence[str], *, cascade: bool = False) -> Plan:
        """Take every row out of tables.

        Args:
            tables: their names, with or without schema.
            cascade: also out of the tables whose rows refer to them.

        Raises:
            NotFoundError: there is no such table.
            RefusedError: other tables refer to them, or they are not the application's.
        """
        if not tables:
            raise ConfigurationError("No table was named.", fix="name one or more tables")
        with self._connected("looking at the tables", public=True) as connection:
            oids = [_table(connection, name) for name in tables]
            emptied = dict(connection.execute(_DEPENDENTS, (oids,)).fetchall())
            others = [name for oid, name in emptied.items() if oid not in oids]
            if others and not cascade:
                raise RefusedError(
                    f"Other tables refer to {', '.join(emptied[oid] for oid in oids)}; nothing was changed.",
                    where=", ".join(others),
                    fix="name them too, or say --cascade",
                )
            counts = {name: _count(connection, name) for name in emptied.values()}
        step = f"TRUNCATE {', '.join(counts)}"
        return Plan("truncate", ", ".join(counts), [step], counts, snapshot=self.snapshot is not None, notes=self._notes())

    def _notes(self) -> list[str]:
        return [] if self.snapshot else ["no snapshot is made here: what is gone is gone"]

    def sql(self, text: str) -> Plan:
        """Run SQL that writes, as the owner, in one transaction.

        Raises:
            RefusedError: it names a password or the audit records, or ends the transaction.
        """
        _require_plain(text)
        return Plan("sql", text.strip(), [text.strip()])

    def drop_role(self, role: str) -> Plan:
        """Drop a role; what it owns in this database becomes the owner's.

        Raises:
            NotFoundError: there is no such role.
            RefusedError: it is the owner, or a role of the server.
        """
        with self._connected(f"looking at the role {role}") as connection:
            row = connection.execute(
                "SELECT quote_ident(rolname), rolsuper, rolname = current_user,"
                " (SELECT count(*) FROM pg_stat_activity a WHERE a.usename = rolname) FROM pg_roles WHERE rolname = %s",
                (role,),
            ).fetchone()
        if row is None:
            raise NotFoundError("There is no such role.", where=role)
        name, superuser, own, sessions = row
        if superuser or own or role == self.outputs.database.username or role.startswith(("pg_", "rds")):
            raise RefusedError(f"{role} is not a role that can be dropped; nothing was changed.")
        notes = [f"{sessions} session{'' if sessions == 1 else 's'} of it now"]
        if role.startswith(f"{self.outputs.database.name}_"):
            notes.append("`db migrate` makes the application's own roles again")
        steps = [
            f"GRANT {name} TO CURRENT_USER",
            f"REASSIGN OWNED BY {name} TO CURRENT_USER",
            f"DROP OWNED BY {name}",
            f"DROP ROLE {name}",
        ]
        return Plan("drop role", role, steps, notes=notes)

    # -- the one way to do it

    def execute(self, plan: Plan, *, reason: str, confirmed: str) -> Result:
        """Do what was planned: enabled, confirmed and on record, or not at all.

        Args:
            plan: one of the above.
            reason: why.
            confirmed: the domain, as the caller typed or gave it.

        Raises:
            RefusedError: the gate did not open; nothing was done.
            AmianaiError: it failed; nothing of its SQL was kept.
        """
        with administration(
            self.target,
            self.outputs,
            action=plan.action,
            detail=plan.detail,
            reason=reason,
            confirmed=confirmed,
            environ=self.environ,
            connect=self._owner,
        ) as record:
            made = self.snapshot(plan.action) if plan.snapshot and self.snapshot else ""
            record.detail += f" (after the snapshot {made})" if made else ""
            result = self._perform(plan)
            record.rows = result.rows
        return Result(result.rows, result.columns, result.values, result.cut, made)

    def _perform(self, plan: Plan) -> Result:
        doing = f"the {plan.action}"
        if plan.dump is not None:
            self._load(plan, plan.dump)
            return Result(sum(plan.affected.values()))
        if plan.action != "reset":
            with self._connected(doing, public=True) as connection:
                if plan.action == "sql":
                    with one_transaction(connection, "The SQL", roles=_alters_roles(plan.detail)):
                        return _run(connection, plan.steps)
                with connection.transaction():
                    _run(connection, plan.steps)
            return Result(sum(plan.affected.values()))
        from amianai_infra.database.migrate import locked

        with self._connected(doing) as connection, locked(connection, self.say), connection.transaction():
            _run(connection, plan.steps)
            self._migrated(
                connection,
                "The database cannot be made anew; nothing was dropped, and it is as it was.",
                "correct that migration; where something it makes outlives a reset (a role), let it look first",
            )
        return Result(sum(plan.affected.values()))

    def _load(self, plan: Plan, dump: Dump) -> None:
        from amianai_infra.database import dumps
        from amianai_infra.database.endpoint import Endpoint
        from amianai_infra.database.migrate import locked

        login = credentials(self.target, self.outputs, "owner").get()
        endpoint = Endpoint.of(self.target, self.outputs).at(self.at)
        with self._connected("the load") as connection:
            with locked(connection, self.say):
                dumps.load(dump.programs, endpoint, login, dump.file, dump.entries, plan.steps, self.environ)
            self._migrated(
                connection,
                "The dump is loaded, but the migrations that it lacks are not applied and the roles not settled.",
                "correct that, then run `amianai db migrate`",
            )

    def _migrated(self, connection: Connection[Any], failed: str, fix: str) -> None:
        """Run the migrations, where there is somebody to; `failed` and `fix` say what it means that they do not."""
        if self.migrate is None:
            return
        try:
            self.migrate(connection)
        except AmianaiError as error:
            raise AmianaiError(failed, where=error.cause, fix=fix) from error

    # -- looking

    def query(self, text: str, *, reason: str = "") -> Result:
        """Run one statement that reads, as the role that can only read; on record, but not behind the gate.

        Three things keep it from writing: the role has no right to, its transaction is read-only, and the protocol takes one statement,
        so that it cannot end that transaction.

        Raises:
            RefusedError: it would write, or there is no audit log group.
        """
        import psycopg

        _require_plain(text)
        with audited(
            self.target,
            self.outputs,
            action="query",
            detail=text.strip(),
            reason=reason.strip(),
            table_must_be_written=False,
            connect=self._owner,
        ) as record:
            with connect(self.target, self.outputs, "readonly", statement_timeout=QUERY_TIMEOUT, at=self.at) as connection:
                connection.read_only = True
                _show_any_time(connection)
                try:
                    with connection.transaction(force_rollback=True):  # what is not read any more is cancelled, which ends it
                        result = _streamed(connection, text.strip().rstrip(";"))
                except (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege) as error:
                    raise RefusedError(
                        "This statement does more than read; nothing was changed.",
                        where=said(error),
                        fix="run it with --write, which needs ENABLE_DB_ADMIN=true, --confirm and --reason",
                    ) from error
                except psycopg.Error as error:
                    raise translate(error, "the query") from error
            record.rows = len(result.values)
        return result

    def records(self, limit: int) -> list[Entry]:
        """The newest records, newest first: the log group and the table, compared. Nothing is filled in, lest a trace be lost."""
        trail = Trail(self.target.client("logs"), self.outputs.audit_log_group)
        table: list[Event] | None = None
        try:
            with self._connected("reading the audit records") as connection:
                table = recorded(connection, limit)
        except AmianaiError as error:
            self.say(f"The log group alone is listed, because the table cannot be read: {error.what}")
        return listed(trail, table, limit)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def _count(connection: Connection[Any], table: str) -> int:
    return _count_of(connection, f"SELECT count(*) FROM {table}")  # noqa: S608 (quoted by the server)


def _count_of(connection: Connection[Any], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0


def _table(connection: Connection[Any], name: str) -> int:
    row = connection.execute(
        "SELECT c.oid, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p')",
        (name,),
    ).fetchone()
    if row is None:
        raise NotFoundError("There is no such table.", where=name)
    if row[1] in RESERVED or row[1].startswith("pg_"):
        raise RefusedError(f"{name} is not the application's; nothing was changed.")
    return int(row[0])


def _require_plain(text: str) -> None:
    """Refuse what must not be in a record, what would tamper with it, and what would leave the one transaction."""
    require_text(text)
    if not any(statements(text)):
        raise ConfigurationError("There is no SQL to run.")
    line = copies(text)
    if line:
        raise RefusedError(COPY, where=f"line {line}", fix=COPY_FIX)
    control = transaction_control(text)
    if control:
        raise RefusedError(f"The SQL says {control}, but it runs in one transaction of its own.", fix="leave the statement out")
    found = [(kind, value(kind, token)) for kind, token in tokens(text)]
    if any(RESERVED[0] in token.lower() for _, token in found):
        raise RefusedError("The audit records are not for SQL of one's own.", fix="`amianai db admin audit` lists them")
    if _holds_password([one for one in found if one[0] != "space"]):
        raise RefusedError("The SQL holds a password, which the audit record would keep.", fix="`amianai db rotate` sets passwords")
    if any(
        a[1].upper() == "U" and b[1] == "&" and c[0] in (*_LITERALS, "quoted") for a, b, c in zip(found, found[1:], found[2:], strict=False)
    ):
        raise RefusedError("The SQL has text in Unicode escapes, which could hide anything.", fix="write the characters themselves")


def _alters_roles(text: str) -> bool:
    """Whether the text says so itself: what it builds and runs (EXECUTE) could hold a password in pieces."""
    return any(words[0] in ("CREATE", "ALTER") and words[1:2] in (("ROLE",), ("USER",), ("GROUP",)) for words in statements(text))


_LITERALS = ("literal", "escaped", "dollar")
_PASSWORD = re.compile(r"\bpassword\b", re.IGNORECASE)


def _holds_password(found: Sequence[tuple[str, str]]) -> bool:
    """Whether a password may be in it: after the word, in whatever form of a literal, or in text that may be run as SQL."""
    for place, (kind, token) in enumerate(found):
        if kind in _LITERALS and _PASSWORD.search(token):
            return True
        if kind == "word" and token.upper() == "PASSWORD":
            # In U&'...', N'...', B'...' and X'...', what stands before the quote is a token of its own here.
            after = [one for one in found[place + 1 : place + 4] if one[1].upper() not in ("U", "&", "N", "B", "X")]
            if after and after[0][0] in _LITERALS:
                return True
    return False


def _run(connection: Connection[Any], steps: Sequence[str]) -> Result:
    rows, last = 0, Result()
    for step in steps:
        cursor = connection.execute(step.encode())
        while True:
            if (cursor.statusmessage or "").startswith(("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")):
                rows += max(cursor.rowcount, 0)
            if cursor.description is not None:
                last = _fetched(cursor)
            if not cursor.nextset():
                break
    return Result(rows, last.columns, last.values, last.cut)


def _streamed(connection: Connection[Any], text: str) -> Result:
    """The first rows of one statement. The rest is not fetched: a table may have millions."""
    import psycopg

    with connection.cursor() as cursor, closing(cast("Generator[Any]", cursor.stream(text.encode()))) as rows:
        try:
            found = list(islice(rows, LONGEST_RESULT + 1))
        except psycopg.ProgrammingError as error:
            if error.sqlstate:
                raise
            return Result()  # it has no rows to give
        columns = [column.name for column in cursor.description or ()]
        return Result(0, columns, found[:LONGEST_RESULT], len(found) > LONGEST_RESULT)


def _show_any_time(connection: Connection[Any]) -> None:
    """Give dates and times that Python has no word for (infinity, before Christ) as PostgreSQL writes them."""
    from psycopg import DataError
    from psycopg.types import datetime as types

    def lenient(base: Any) -> Any:
        class Loader(base):  # type: ignore[misc]
            def load(self, data: Any) -> Any:
                try:
                    return super().load(data)
                except DataError:
                    return bytes(data).decode()

        return Loader

    for name, base in (
        ("date", types.DateLoader),
        ("time", types.TimeLoader),
        ("timetz", types.TimetzLoader),
        ("timestamp", types.TimestampLoader),
        ("timestamptz", types.TimestamptzLoader),
        ("interval", types.IntervalLoader),
    ):
        connection.adapters.register_loader(name, lenient(base))


def _fetched(cursor: Any) -> Result:
    if cursor.description is None:
        return Result()
    rows = cursor.fetchmany(LONGEST_RESULT + 1)
    return Result(0, [column.name for column in cursor.description], rows[:LONGEST_RESULT], len(rows) > LONGEST_RESULT)
