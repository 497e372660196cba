"""Who did what to the database, when and why: in a CloudWatch log group first, and in a table that nobody changes.

The log group is the record that counts: it is written before the work, it is outside the database, and without it nothing runs.
The table is a copy beside the data. What it missed while the database was down is filled in from the log group later. Its owner can
forge it: `listed` compares the two.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from amianai_infra.database.session import connect as open_session
from amianai_infra.database.session import driver
from amianai_infra.errors import AmianaiError, MissingToolError, NotFoundError, RefusedError, UnreachableError
from amianai_infra.interrupts import finishing, signals_as_interrupts
from amianai_infra.outputs import StackOutputs
from amianai_infra.progress import Progress
from amianai_infra.rules.records import Entry, compare
from amianai_infra.target import Target, aws_error

if TYPE_CHECKING:
    from psycopg import Connection

Phase = Literal["begun", "ended"]
COLUMNS: Final = ("id", "phase", "at", "who", "host", "action", "detail", "reason", "outcome", "rows", "error")
TABLE: Final = "amianai_audit.records"
PART: Final = 50_000
"""Characters of one log event. It holds 256 KiB: a character takes up to four bytes, and text in JSON in JSON up to two for each of one.

Source: Amazon CloudWatch Logs API Reference, PutLogEvents.
"""

# Events may reach a reader of the log group late, and clocks of two machines differ.
_MARGIN = timedelta(days=1)
# PostgreSQL takes no NUL, UTF-8 no lone surrogate, and a terminal does as the others say.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
Event = dict[str, Any]


def _now() -> datetime:
    return datetime.now(UTC)


def _text(text: str) -> str:
    """A text that a log group, a table and a terminal can hold: control characters as escapes. It is never cut: what follows counts."""
    return _UNPRINTABLE.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


@dataclass
class Record:
    """One piece of work, as it is recorded before and after.

    Attributes:
        who: ARN of the caller, as STS names it.
        host: the machine it was done from.
        action: which work, one or two words.
        detail: on what, or the text of the SQL.
        reason: why, in the caller's words.
        rows: how many rows it concerned, where that is known.
        outcome: `begun`, then `done`, `failed` or `interrupted`.
        error: what went wrong.
    """

    who: str
    host: str
    action: str
    detail: str
    reason: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: datetime = field(default_factory=_now)
    rows: int | None = None
    outcome: str = "begun"
    error: str = ""

    def event(self, phase: Phase) -> Event:
        """What is written: plain values that every reader can hold, times in UTC."""
        at = self.began if phase == "begun" else _now()
        return {
            "id": self.id,
            "phase": phase,
            "at": at.isoformat(timespec="milliseconds"),
            "who": _text(self.who),
            "host": _text(self.host),
            "action": _text(self.action),
            "detail": _text(self.detail),
            "reason": _text(self.reason),
            "outcome": _text(self.outcome),
            "rows": self.rows,
            "error": _text(self.error),
        }

    def end(self, error: BaseException | None = None) -> None:
        """Note how it went."""
        if error is None:
            self.outcome = "done"
        else:
            self.outcome = "failed" if isinstance(error, Exception) else "interrupted"
            what = error.what if isinstance(error, AmianaiError) else str(error)
            self.error = f"{type(error).__name__}: {what}".rstrip(": ")


class Trail:
    """The log group.

    Args:
        logs: a boto3 client for `logs`.
        group: the group's name; empty where the stack has none.
    """

    def __init__(self, logs: Any, group: str) -> None:
        self._logs = logs
        self.group = group

    def exists(self) -> bool:
        """Whether the stack names a group that is there; True where that cannot be asked, because writing will tell."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not self.group:
            return False
        try:
            found = self._logs.describe_log_groups(logGroupNamePrefix=self.group)["logGroups"]
        except (BotoCoreError, ClientError):
            return True
        return any(one["logGroupName"] == self.group for one in found)

    def write(self, event: Event) -> None:
        """Append one event, in as many log events as it takes.

        Raises:
            RefusedError: there is no such group, or it did not take the event.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        at = datetime.fromisoformat(event["at"])
        try:
            answers = [self._append(f"{at:%Y-%m}", message, int(at.timestamp() * 1000)) for message in messages(event)]
        except (BotoCoreError, ClientError) as error:
            translated = aws_error(error, f"writing to the audit log group {self.group}")
            raise (_missing(self.group) if isinstance(translated, NotFoundError) else translated) from error
        if any(answer.get("rejectedLogEventsInfo") for answer in answers):
            raise RefusedError("The audit log group did not take the record.", where=self.group, fix="check this machine's clock")

    def _append(self, stream: str, message: str, milliseconds: int) -> Mapping[str, Any]:
        if not self.group:
            raise _missing(self.group)
        with suppress(self._logs.exceptions.ResourceAlreadyExistsException):
            self._logs.create_log_stream(logGroupName=self.group, logStreamName=stream)
        answer: Mapping[str, Any] = self._logs.put_log_events(
            logGroupName=self.group, logStreamName=stream, logEvents=[{"timestamp": milliseconds, "message": message}]
        )
        return answer

    def read(self, since: datetime | None = None, *, incomplete: bool = False) -> Iterator[Event]:
        """The events since a time, oldest first; what is not ours is passed over.

        Args:
            since: the time; None for all.
            incomplete: give also those of which a part is missing, at the end, with the number of missing parts for their detail.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        if not self.group:
            raise _missing(self.group)
        parts = _Parts()
        start = {} if since is None else {"startTime": max(0, int(since.timestamp() * 1000))}
        try:
            for page in self._logs.get_paginator("filter_log_events").paginate(logGroupName=self.group, **start):
                for one in page["events"]:
                    event = _parsed(parts.joined(one["message"]))
                    if event is not None:
                        yield event
        except (BotoCoreError, ClientError) as error:
            translated = aws_error(error, f"reading the audit log group {self.group}")
            raise (_missing(self.group) if isinstance(translated, NotFoundError) else translated) from error
        yield from parts.incomplete() if incomplete else ()


_LONG: Final = ("detail", "reason", "error")


def messages(event: Event) -> list[str]:
    """An event as the texts of log events: one, or parts of its JSON with its length in characters and SHA-256. Each says whose it is."""
    whole = _json(event)
    if len(whole) <= PART:
        return [whole]
    pieces = [whole[place : place + PART] for place in range(0, len(whole), PART)]
    head = {name: event[name] for name in COLUMNS if name not in _LONG}
    proof = {"of": len(pieces), "length": len(whole), "sha256": hashlib.sha256(whole.encode()).hexdigest()}
    return [_json({**head, "part": number, **proof, "text": text}) for number, text in enumerate(pieces, 1)]


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


class _Parts:
    """Events that came in parts, until they are whole."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], dict[int, Event]] = {}

    def joined(self, message: str) -> str:
        """The message; of an event in parts the whole with the last one that comes, and nothing before."""
        try:
            found = json.loads(message)
            key, number = (found["sha256"], found["of"]), found["part"]
            if not (isinstance(found["text"], str) and isinstance(number, int) and 0 < number <= found["of"]):
                return message
        except (ValueError, KeyError, TypeError, RecursionError):
            return message
        known = self._open.setdefault(key, {})
        known[number] = found
        if len(known) < found["of"]:
            return ""
        whole = "".join(part["text"] for _, part in sorted(self._open.pop(key).items()))
        return whole if hashlib.sha256(whole.encode()).hexdigest() == found["sha256"] else ""

    def incomplete(self) -> Iterator[Event]:
        """Those of which a part is missing."""
        for (_, count), known in self._open.items():
            lack = f"({count - len(known)} of the {count} parts of this record are missing)"
            event = _parsed(_json({**next(iter(known.values())), **dict.fromkeys(_LONG, ""), "detail": lack}))
            if event is not None:
                yield event


def made_by(group: str) -> str:
    """The command that makes the log group. One that the stack has, and somebody deleted, is missed only by who looks."""
    return "run `amianai up --refresh`, which sees that it was deleted and makes it again" if group else "run `amianai up`, which makes it"


def _missing(group: str) -> RefusedError:
    return RefusedError(
        "There is no audit log group, and nothing is done to the database without a record.",
        where=group or "the stack's outputs name none",
        fix=made_by(group),
    )


def _parsed(message: str) -> Event | None:
    try:
        found = json.loads(message)
        return {name: found[name] for name in COLUMNS} | {"at": _moment(found["at"])} if _ours(found) else None
    except (ValueError, OverflowError, RecursionError):
        return None


def _moment(text: str) -> str:
    """A time as we write it; ValueError for what is none: PostgreSQL would also take `infinity`."""
    return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds")


def _ours(found: Any) -> bool:
    if not isinstance(found, dict) or not found.keys() >= set(COLUMNS):
        return False
    if not all(isinstance(found[name], str) for name in COLUMNS if name != "rows"):
        return False
    return found["rows"] is None or type(found["rows"]) is int


def store(connection: Connection[Any], events: Iterable[Event]) -> int:
    """Put events into the table; those that are there already stay as they are. Gives how many were new."""
    places = ", ".join(f"%({name})s" for name in COLUMNS)
    statement = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({places}) ON CONFLICT (id, phase) DO NOTHING"  # noqa: S608
    new = 0
    with connection.transaction():
        for event in events:
            new += connection.execute(statement.encode(), event).rowcount
    return new


def fill_in(connection: Connection[Any], trail: Trail) -> int:
    """Copy what the table missed from the log group; gives how many events.

    An event that the table cannot hold stays in the log group alone: it must not keep out those after it, or all work for ever.
    """
    psycopg = driver()
    # A record with a time to come, of a clock that was wrong, must not hide what is missing until then.
    row = connection.execute(f"SELECT max(at) FROM {TABLE} WHERE at <= now()".encode()).fetchone()  # noqa: S608
    latest: datetime | None = row[0] if row else None
    new = 0
    with connection.transaction():
        for event in trail.read(latest and latest - _MARGIN):
            with suppress(psycopg.DataError, psycopg.IntegrityError, ValueError):
                new += store(connection, [event])  # a transaction inside another is a savepoint
    return new


def recorded(connection: Connection[Any], limit: int) -> list[Event]:
    """The newest events of the table, newest first; whatever its owner put there, as the log group would say it.

    Raises:
        NotFoundError: there is no such table.
    """
    if connection.execute("SELECT to_regclass(%s)", (TABLE,)).fetchone() == (None,):
        raise NotFoundError(f"There is no table {TABLE}.", fix="run `amianai db migrate`, which makes it")
    # PostgreSQL knows times that Python has no word for.
    at = "CASE WHEN isfinite(at) THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"+00:00\"') ELSE at::text END"
    columns = ", ".join({"id": "id::text", "at": at}.get(name, name) for name in COLUMNS)
    statement = f"SELECT {columns} FROM {TABLE} r ORDER BY r.at DESC, phase DESC, r.id DESC LIMIT %s"  # noqa: S608
    return [dict(zip(COLUMNS, row, strict=True)) for row in connection.execute(statement.encode(), (limit,)).fetchall()]


def listed(trail: Trail, table: list[Event] | None, limit: int) -> list[Entry]:
    """The newest records of the log group and the table, compared.

    Args:
        trail: the log group.
        table: the table's `limit` newest; None where it cannot be read.
        limit: how many to give.
    """
    since: datetime | None = None
    if table is not None and len(table) == limit:  # else the log group may hold older ones that belong to the list
        with suppress(ValueError, OverflowError):
            since = datetime.fromisoformat(table[-1]["at"]) - _MARGIN
    return compare(trail.read(since, incomplete=True), table, limit)


Connect = Callable[[], "Connection[Any]"]


def owner_connection(target: Target, outputs: StackOutputs) -> Connect:
    """Opens connections as the owner of the database."""

    return lambda: open_session(target, outputs, "owner")


@contextmanager
def audited(
    target: Target,
    outputs: StackOutputs,
    *,
    action: str,
    detail: str,
    reason: str,
    table_must_be_written: bool = True,
    log_must_be_written: bool = True,
    connect: Connect | None = None,
) -> Iterator[Record]:
    """Record a piece of work before and after it is done.

    Args:
        target: where.
        outputs: of which stack.
        action: which work, one or two words.
        detail: on what.
        reason: why.
        table_must_be_written: nothing runs where the table cannot be written; without it, the table is filled in later.
        log_must_be_written: as said; without it (what makes things safer must not wait for a record) a lack is passed over.
        connect: opens a connection as owner; the default is `session.connect`.

    Raises:
        RefusedError: there is no log group; nothing was done.
    """
    trail = Trail(target.client("logs"), outputs.audit_log_group)
    kept = _Kept(target.local / "audit", trail)
    kept.deliver()
    record = Record(target.identity().arn, socket.gethostname(), action, detail, reason)
    table = _Table(connect or owner_connection(target, outputs), trail)
    begun = record.event("begun")
    with suppress(*(() if log_must_be_written else (AmianaiError,))):
        trail.write(begun)
    try:
        with signals_as_interrupts():
            table.write(begun, must=table_must_be_written)
            yield record
    except BaseException as error:
        record.end(error)
        with finishing(), suppress(AmianaiError):  # what went wrong in the work is what the caller has to hear
            _finish(trail, table, record, kept)
        raise
    record.end()
    with suppress(*(() if log_must_be_written else (AmianaiError,))):
        _finish(trail, table, record, kept)


def _finish(trail: Trail, table: _Table, record: Record, kept: _Kept) -> None:
    event = record.event("ended")
    try:
        trail.write(event)
    except AmianaiError as error:
        if isinstance(error, RefusedError) or not kept.keep(event):
            raise AmianaiError(
                f"{record.action}: {record.outcome}, but the end could not be recorded.",
                where=str(error),
                fix="write down what was done and why",
            ) from error
        Progress().note(
            f"{record.action}: {record.outcome}. The audit log group did not answer: the end of it is kept in {kept.folder} and"
            " written by the next command that is on record."
        )
    table.write(event, must=False)


class _Kept:
    """Events that the log group did not take when they happened, on this machine until it takes them.

    Args:
        folder: where.
        trail: the log group.
    """

    def __init__(self, folder: Path, trail: Trail) -> None:
        self.folder = folder / trail.group.strip("/").replace("/", "_")
        self._trail = trail

    def keep(self, event: Event) -> bool:
        """Keep one; False where that cannot be done."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = self.folder / f"{event['id']}.new"
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps(event), encoding="utf-8")
            fresh.replace(fresh.with_suffix(".json"))
        except OSError:
            return False
        return True

    def deliver(self) -> None:
        """Write what is kept, the oldest first; what is still not taken stays. An event keeps the time when it happened."""
        files = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files:
            event = _parsed(path.read_text(encoding="utf-8"))
            try:
                if event is not None:
                    self._trail.write(event)
            except AmianaiError:
                return
            path.unlink(missing_ok=True)


class _Table:
    """The table behind one piece of work."""

    def __init__(self, connect: Connect, trail: Trail) -> None:
        self._connect = connect
        self._trail = trail

    def write(self, event: Event, *, must: bool) -> None:
        try:
            psycopg = driver()
        except MissingToolError:
            if must:
                raise
            return
        try:
            with self._connect() as connection:
                fill_in(connection, self._trail)
                store(connection, [event])
        except psycopg.errors.UndefinedTable as error:
            if must:
                raise RefusedError(
                    "The database has no table of audit records yet.", where=TABLE, fix="run `amianai db migrate`, which makes it"
                ) from error
        except psycopg.Error as error:
            if must:
                raise UnreachableError("The audit table could not be written.", where=f"{TABLE}: {type(error).__name__}") from error
        except AmianaiError:
            if must:
                raise
