"""What the database is doing, on one screen: load, statements, locks, connections, tables, indexes, replication.

Everything is read in one read-only transaction under the role `pg_monitor`, to which the master user steps down: it sees the
statistics of all sessions and no row of any table.

Statements are shown without the values in them. `pg_stat_statements` replaces the constants of statements that are planned, but not
those of utility statements (`ALTER ROLE ... PASSWORD '...'`), nor, now and then, those of an entry that was thrown out while it ran;
`pg_stat_activity` replaces nothing. So nothing from either is shown but through `shown`.

Source: PostgreSQL documentation, "The Cumulative Statistics System", "pg_stat_statements" and "Predefined Roles".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, LiteralString

from amianai_infra.database.session import translate
from amianai_infra.database.sql_text import shape

if TYPE_CHECKING:
    from psycopg import Connection

ROLE = "pg_monitor"
_KEPT = 200  # statements a look remembers, so that two looks can be compared


@dataclass(frozen=True)
class Server:
    """The server and the counters of its database since they were last reset."""

    database: str
    version: str
    started: datetime
    measured: datetime
    counted_since: datetime | None
    recovery: bool
    size: int
    oldest_transaction_age: int
    transactions: int
    rollbacks: int
    blocks_hit: int
    blocks_read: int
    deadlocks: int
    temporary_bytes: int

    @property
    def hit_ratio(self) -> float | None:
        """Share of the blocks that were found in memory."""
        return _ratio(self.blocks_hit, self.blocks_read)


@dataclass(frozen=True)
class Wait:
    """What active sessions wait for."""

    type: str
    event: str
    sessions: int


@dataclass(frozen=True)
class Client:
    """Connections of one user and application."""

    user: str
    application: str
    connections: int
    active: int


@dataclass(frozen=True)
class Load:
    """Sessions by state, and the connections they take.

    Attributes:
        states: number of client sessions by state (`active`, `idle`, `idle in transaction`, ...).
        waits: what active sessions wait for, most first.
        clients: who is connected, most first.
        connections: client connections in use.
        limit: how many ordinary users may have.
        longest_transaction: seconds since the oldest open transaction began.
    """

    states: Mapping[str, int]
    waits: Sequence[Wait]
    clients: Sequence[Client]
    connections: int
    limit: int
    longest_transaction: float


@dataclass(frozen=True)
class Statement:
    """One normalised statement and what it cost."""

    id: int
    text: str
    calls: int
    total_ms: float
    rows: int
    blocks_hit: int
    blocks_read: int

    @property
    def mean_ms(self) -> float:
        """Time of one call."""
        return self.total_ms / self.calls if self.calls else 0.0

    def since(self, before: Statement | None) -> Statement:
        """What was added to it since an earlier look; all of it when the counters were reset meanwhile."""
        if before is None or before.calls > self.calls:
            return self
        return replace(
            self,
            calls=self.calls - before.calls,
            total_ms=self.total_ms - before.total_ms,
            rows=self.rows - before.rows,
            blocks_hit=self.blocks_hit - before.blocks_hit,
            blocks_read=self.blocks_read - before.blocks_read,
        )


@dataclass(frozen=True)
class Blocked:
    """A session that waits for a lock, and the sessions that hold it."""

    pid: int
    user: str
    application: str
    seconds: float
    lock: str
    relation: str
    statement: str
    by: Sequence[int]


@dataclass(frozen=True)
class Blocker:
    """A session that others wait for, itself waiting for none."""

    pid: int
    user: str
    application: str
    state: str
    seconds: float
    statement: str


@dataclass(frozen=True)
class Table:
    """A table's size and the rows that a vacuum would free."""

    name: str
    size: int
    indexes: int
    rows: int
    dead: int
    vacuumed: datetime | None

    @property
    def dead_share(self) -> float:
        """Dead rows among all: the estimate of bloat."""
        return self.dead / (self.rows + self.dead) if self.dead else 0.0


@dataclass(frozen=True)
class Index:
    """An index that no query on this server used since the counters were reset, or that is not valid."""

    name: str
    table: str
    size: int
    valid: bool


@dataclass(frozen=True)
class Replica:
    """One receiver of the write-ahead log, or a slot that nobody reads."""

    name: str
    state: str
    lag_seconds: float | None
    lag_bytes: int | None


@dataclass(frozen=True)
class Overview:
    """One look. `notes` say what could not be seen and why."""

    server: Server
    load: Load
    statements: Sequence[Statement]
    blocked: Sequence[Blocked]
    blockers: Sequence[Blocker]
    locks: Mapping[str, int]
    tables: Sequence[Table]
    bloated: Sequence[Table]
    unused: Sequence[Index]
    replicas: Sequence[Replica]
    notes: Sequence[str] = ()

    def as_dict(self, before: Overview | None = None, rows: int = 20) -> dict[str, Any]:
        """For `--json`; with an earlier look, statements and rates are those of the time between."""
        found = asdict(self)
        found["server"]["hit_ratio"] = self.server.hit_ratio
        found["statements"] = [{**asdict(one), "mean_ms": one.mean_ms} for one in slowest(self, before)[:rows]]
        found["transactions_per_second"] = rate(self, before)
        return found


def slowest(now: Overview, before: Overview | None = None) -> list[Statement]:
    """Statements by the time they took together, most first; since an earlier look where there is one."""
    known = {one.id: one for one in before.statements} if before else {}
    added = [one.since(known.get(one.id)) for one in now.statements]
    return sorted((one for one in added if one.calls > 0), key=lambda one: -one.total_ms)


def rate(now: Overview, before: Overview | None) -> float | None:
    """Transactions a second between two looks."""
    if before is None:
        return None
    seconds = (now.server.measured - before.server.measured).total_seconds()
    done = now.server.transactions - before.server.transactions
    return done / seconds if seconds > 0 and done >= 0 else None


def _ratio(hit: int, read: int) -> float | None:
    return hit / (hit + read) if hit + read else None


_PLANNED = frozenset({"select", "insert", "update", "delete", "merge", "with", "values", "table"})


def shown(statement: str) -> str:
    """One line without a value in it; of what is not planned (definitions, roles, settings) only the first two words."""
    line = shape(statement)
    words = line.split(" ")
    if not line or words[0].strip("(;").lower() in _PLANNED:
        return line
    return " ".join(words[:2]) + (" …" if len(words) > 2 else "")


# -- looking

_SERVER: LiteralString = """
    SELECT current_database() AS database, current_setting('server_version') AS version, pg_postmaster_start_time() AS started,
           clock_timestamp() AS measured, stats_reset AS counted_since, pg_is_in_recovery() AS recovery,
           pg_database_size(d.oid) AS size, age(d.datfrozenxid)::bigint AS oldest_transaction_age,
           s.xact_commit + s.xact_rollback AS transactions, s.xact_rollback AS rollbacks, s.blks_hit AS blocks_hit,
           s.blks_read AS blocks_read, s.deadlocks, s.temp_bytes AS temporary_bytes
    FROM pg_database d JOIN pg_stat_database s ON s.datid = d.oid WHERE d.datname = current_database()"""

_STATES: LiteralString = """
    SELECT coalesce(state, 'unknown') AS state, count(*) AS sessions,
           coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8 AS longest
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1"""

_WAITS: LiteralString = """
    SELECT wait_event_type AS type, wait_event AS event, count(*) AS sessions FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND state = 'active' AND wait_event IS NOT NULL AND pid <> pg_backend_pid()
    GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 20"""

_CLIENTS: LiteralString = """
    SELECT coalesce(usename, '') AS user, coalesce(application_name, '') AS application, count(*) AS connections,
           count(*) FILTER (WHERE state = 'active') AS active
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
    GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 20"""

# Everybody but superusers; `reserved_connections` exists from PostgreSQL 16 on.
_LIMIT: LiteralString = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS limit"""

_EXTENSION: LiteralString = """
    SELECT n.nspname AS schema, has_schema_privilege(n.oid, 'USAGE') AS usable
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'"""

_STATEMENTS: LiteralString = """
    SELECT queryid AS id, max(query) AS text, sum(calls)::bigint AS calls, sum(total_exec_time)::float8 AS total_ms,
           sum(rows)::bigint AS rows, sum(shared_blks_hit)::bigint AS blocks_hit, sum(shared_blks_read)::bigint AS blocks_read
    FROM {}.pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL
    GROUP BY queryid ORDER BY sum(total_exec_time) DESC LIMIT %s"""

# When the wait began is known from PostgreSQL 14 on.
_BLOCKED: LiteralString = """
    SELECT a.pid, coalesce(a.usename, '') AS user, coalesce(a.application_name, '') AS application,
           extract(epoch FROM clock_timestamp() - coalesce((to_jsonb(l)->>'waitstart')::timestamptz, a.state_change))::float8 AS seconds,
           coalesce(l.mode, a.wait_event, '') AS lock, coalesce(c.relname, l.locktype, '') AS relation, a.query AS statement,
           pg_blocking_pids(a.pid) AS by
    FROM pg_stat_activity a
    LEFT JOIN LATERAL (SELECT * FROM pg_locks w WHERE w.pid = a.pid AND NOT w.granted LIMIT 1) l ON true
    LEFT JOIN pg_class c ON c.oid = l.relation AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    WHERE a.wait_event_type = 'Lock' ORDER BY seconds DESC LIMIT 50"""

_SESSIONS: LiteralString = """
    SELECT pid, coalesce(usename, '') AS user, coalesce(application_name, '') AS application, coalesce(state, '') AS state,
           extract(epoch FROM clock_timestamp() - coalesce(xact_start, state_change))::float8 AS seconds,
           coalesce(query, '') AS statement
    FROM pg_stat_activity WHERE pid = ANY(%s) ORDER BY seconds DESC"""

_LOCKS: LiteralString = """
    SELECT mode, count(*) AS held FROM pg_locks
    WHERE granted AND pid <> pg_backend_pid() AND locktype NOT IN ('virtualxid', 'transactionid') GROUP BY 1 ORDER BY 2 DESC"""

_TABLES: LiteralString = """
    SELECT CASE schemaname WHEN 'public' THEN relname ELSE schemaname || '.' || relname END AS name,
           pg_total_relation_size(relid) AS size, pg_indexes_size(relid) AS indexes, n_live_tup AS rows, n_dead_tup AS dead,
           greatest(last_vacuum, last_autovacuum) AS vacuumed
    FROM pg_stat_user_tables ORDER BY size DESC, name LIMIT 500"""

_UNUSED: LiteralString = """
    SELECT s.indexrelname AS name, CASE s.schemaname WHEN 'public' THEN s.relname ELSE s.schemaname || '.' || s.relname END AS table,
           pg_relation_size(s.indexrelid) AS size, i.indisvalid AS valid
    FROM pg_stat_user_indexes s JOIN pg_index i ON i.indexrelid = s.indexrelid
    WHERE NOT i.indisvalid OR (s.idx_scan = 0 AND NOT i.indisunique
          AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = s.indexrelid))
    ORDER BY i.indisvalid, size DESC, name LIMIT 50"""

_REPLICAS: LiteralString = """
    SELECT coalesce(nullif(application_name, ''), host(client_addr), 'replica') AS name, state || ', ' || sync_state AS state,
           extract(epoch FROM replay_lag)::float8 AS lag_seconds,
           pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
                           replay_lsn)::bigint AS lag_bytes
    FROM pg_stat_replication ORDER BY 1"""

_IDLE_SLOTS: LiteralString = """
    SELECT slot_name::text AS name, 'slot nobody reads' AS state, NULL::float8 AS lag_seconds,
           pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
                           restart_lsn)::bigint AS lag_bytes
    FROM pg_replication_slots WHERE NOT active ORDER BY 1"""

_OWN_LAG: LiteralString = """
    SELECT 'this server' AS name, 'replays' AS state, extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8 AS lag_seconds,
           pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint AS lag_bytes WHERE pg_is_in_recovery()"""


def look(connection: Connection[Any]) -> Overview:
    """One look at the server.

    Args:
        connection: the master user's (or anybody's who may become `pg_monitor`), in autocommit mode.

    Raises:
        UnreachableError, ForbiddenError, AmianaiError: as the names say.
    """
    import psycopg

    try:
        with _monitoring(connection):
            return _look(connection)
    except psycopg.Error as error:
        raise translate(error, "looking at what the database does") from error


def _look(connection: Connection[Any]) -> Overview:
    statements, notes = _statements(connection)
    blocked, blockers = _blocking(connection)
    tables = [Table(**row) for row in _rows(connection, _TABLES)]
    return Overview(
        server=Server(**_rows(connection, _SERVER)[0]),
        load=_load(connection),
        statements=statements,
        blocked=blocked,
        blockers=blockers,
        locks={row["mode"]: row["held"] for row in _rows(connection, _LOCKS)},
        tables=tables[:20],
        bloated=sorted((one for one in tables if one.dead), key=lambda one: -one.dead)[:20],
        unused=[Index(**row) for row in _rows(connection, _UNUSED)],
        replicas=[Replica(**row) for query in (_OWN_LAG, _REPLICAS, _IDLE_SLOTS) for row in _rows(connection, query)],
        notes=notes,
    )


@contextmanager
def _monitoring(connection: Connection[Any]) -> Iterator[None]:
    """A read-only transaction with the rights of `pg_monitor` alone, which neither waits for locks nor runs for long."""
    from psycopg.sql import SQL, Identifier

    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute("SET LOCAL statement_timeout = '10s'")
        connection.execute("SET LOCAL lock_timeout = '1s'")
        connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(ROLE)))
        yield


def _rows(connection: Connection[Any], query: Any, *values: Any) -> list[dict[str, Any]]:
    from psycopg.rows import dict_row

    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values or None).fetchall()


def _load(connection: Connection[Any]) -> Load:
    states = _rows(connection, _STATES)
    return Load(
        states={row["state"]: row["sessions"] for row in states},
        waits=[Wait(**row) for row in _rows(connection, _WAITS)],
        clients=[Client(**row) for row in _rows(connection, _CLIENTS)],
        connections=sum(row["sessions"] for row in states) + 1,
        limit=_rows(connection, _LIMIT)[0]["limit"],
        longest_transaction=max((row["longest"] for row in states), default=0.0),
    )


def _statements(connection: Connection[Any]) -> tuple[list[Statement], list[str]]:
    """The costliest statements; without the extension none, and why."""
    from psycopg import errors
    from psycopg.sql import SQL, Identifier

    found = _rows(connection, _EXTENSION)
    if not found:
        return [], ["statements: the extension pg_stat_statements is not there; `amianai db migrate` creates it"]
    # In a schema where the stepped-down role has no right (not the one of `db migrate`) this one query runs as who connected.
    role = SQL("SET LOCAL ROLE {}").format(Identifier(ROLE) if found[0]["usable"] else SQL("NONE"))
    try:
        with connection.transaction():
            connection.execute(role)
            rows = _rows(connection, SQL(_STATEMENTS).format(Identifier(found[0]["schema"])), _KEPT)
    except errors.ObjectNotInPrerequisiteState:
        return [], ["statements: pg_stat_statements was not loaded when the server started (shared_preload_libraries)"]
    finally:
        connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(ROLE)))
    return [Statement(**{**row, "text": shown(row["text"])}) for row in rows], []


def _blocking(connection: Connection[Any]) -> tuple[list[Blocked], list[Blocker]]:
    rows = _rows(connection, _BLOCKED)
    blocked = [Blocked(**{**row, "statement": shown(row["statement"]), "by": sorted(set(row["by"]))}) for row in rows]
    heads = {pid for one in blocked for pid in one.by} - {one.pid for one in blocked}
    sessions = _rows(connection, _SESSIONS, sorted(heads)) if heads else []
    return blocked, [Blocker(**{**row, "statement": shown(row["statement"])}) for row in sessions]
