"""The gate before dangerous work and its records: tried one condition at a time, with a real log group and a real table."""

from __future__ import annotations

import hashlib
import json
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from amianai_infra.database import audit
from amianai_infra.database.audit import Trail, audited, fill_in, listed, messages, recorded, store
from amianai_infra.database.gate import ENABLE, administration
from amianai_infra.errors import AmianaiError, RefusedError, UnreachableError
from tests.database import DOMAIN, Database

ENABLED = {ENABLE: "true"}
MIGRATION = Path(audit.__file__).parent / "migrations" / "0002_audit.sql"


@pytest.fixture
def watched(database: Database) -> Iterator[Database]:
    """A database with the audit table, whose stack has a log group."""
    group = f"/eeyore/{secrets.token_hex(4)}/audit"
    logs = database.target.client("logs")
    logs.create_log_group(logGroupName=group)
    with database.connect() as connection:
        connection.execute(MIGRATION.read_bytes())
    yield Database(database.target, database.outputs.model_copy({"audit_log_group": group}))
    with suppress(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_group(logGroupName=group)


def trail(database: Database) -> Trail:
    return Trail(database.target.client("logs"), database.outputs.audit_log_group)


def events(database: Database) -> list[dict[str, Any]]:
    return list(trail(database).read())


def table(database: Database) -> list[dict[str, Any]]:
    with database.connect() as connection:
        return recorded(connection, 100)


def attempt(database: Database, **changes: Any) -> None:
    """Work behind the gate that leaves a trace in the database."""
    options: dict[str, Any] = {
        "action": "truncate",
        "detail": "messages",
        "reason": "a test",
        "confirmed": DOMAIN,
        "environ": ENABLED,
        **changes,
    }
    with administration(database.target, database.outputs, **options) as record, database.connect() as connection:
        connection.execute("CREATE TABLE trace (one int)")
        record.rows = 3


def traces(database: Database) -> int:
    with database.connect() as connection:
        row = connection.execute("SELECT count(*) FROM pg_class WHERE relname = 'trace'").fetchone()
    assert row is not None
    return int(row[0])


def test_work_is_recorded_before_and_after_in_both_places(watched: Database) -> None:
    attempt(watched)
    assert traces(watched) == 1
    begun, ended = events(watched)
    assert (begun["phase"], begun["outcome"], begun["rows"]) == ("begun", "begun", None)
    assert (ended["phase"], ended["outcome"], ended["rows"], ended["error"]) == ("ended", "done", 3, "")
    assert begun["id"] == ended["id"]
    assert begun["who"] == watched.target.identity().arn
    assert (begun["action"], begun["detail"], begun["reason"]) == ("truncate", "messages", "a test")
    assert begun["host"]
    assert datetime.fromisoformat(begun["at"]) <= datetime.fromisoformat(ended["at"])
    assert table(watched) == [ended, begun]


@pytest.mark.parametrize(
    "environ", [{}, {ENABLE: ""}, {ENABLE: "True"}, {ENABLE: "1"}, {ENABLE: "yes"}, {"AMIANAI_" + ENABLE: "true"}], ids=str
)
def test_it_must_be_enabled_in_the_environment(watched: Database, environ: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match="not enabled") as caught:
        attempt(watched, environ=environ)
    assert caught.value.exit_code == 3
    assert (traces(watched), events(watched)) == (0, [])


@pytest.mark.parametrize("confirmed", ["", "yes", "example.com", DOMAIN + "."])
def test_it_must_be_confirmed_by_name(watched: Database, confirmed: str) -> None:
    with pytest.raises(RefusedError, match=f"is not {DOMAIN}" if confirmed else "domain was not confirmed"):
        attempt(watched, confirmed=confirmed)
    assert (traces(watched), events(watched)) == (0, [])


def test_it_must_have_a_reason(watched: Database) -> None:
    with pytest.raises(RefusedError, match="no reason"):
        attempt(watched, reason="  ")
    assert traces(watched) == 0


def test_everything_that_is_missing_is_named_at_once_with_its_fix(watched: Database) -> None:
    watched.target.client("logs").delete_log_group(logGroupName=watched.outputs.audit_log_group)
    with pytest.raises(RefusedError) as caught:
        attempt(watched, environ={}, confirmed="", reason="")
    assert str(caught.value).splitlines() == [
        "truncate: the gate is closed; nothing was changed.",
        "  where: administration is not enabled: ENABLE_DB_ADMIN is not set",
        "       | the domain was not confirmed",
        "       | no reason was given",
        f"       | there is no audit log group {watched.outputs.audit_log_group}",
        "  next:  put ENABLE_DB_ADMIN=true before this one command",
        f"       | add --confirm {DOMAIN}",
        "       | add --reason TEXT",
        "       | run `amianai up --refresh`, which sees that it was deleted and makes it again",
    ]
    assert traces(watched) == 0


def test_a_log_group_that_may_not_be_looked_for_is_tried(watched: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(**_: str) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeLogGroups")

    monkeypatch.setattr(watched.target.client("logs"), "describe_log_groups", forbidden)
    attempt(watched)
    assert len(events(watched)) == 2


def test_without_the_log_group_nothing_runs(watched: Database) -> None:
    watched.target.client("logs").delete_log_group(logGroupName=watched.outputs.audit_log_group)
    for kind in (True, False):
        with pytest.raises(RefusedError, match="no audit log group") as caught:
            attempt(watched, table_must_be_written=kind)
        assert caught.value.exit_code == 3
        assert "amianai up --refresh" in str(caught.value), "`up` alone takes the state's word for it"
    assert traces(watched) == 0
    assert table(watched) == []


def test_a_stack_that_names_no_log_group(watched: Database) -> None:
    older = Database(watched.target, watched.outputs.model_copy({"audit_log_group": ""}))
    with pytest.raises(RefusedError, match="no audit log group"):
        attempt(older)
    assert traces(watched) == 0


def test_without_the_table_nothing_runs_unless_the_database_may_be_down(database: Database, watched: Database) -> None:
    with watched.connect() as connection:
        connection.execute("DROP SCHEMA amianai_audit CASCADE")
    with pytest.raises(RefusedError, match="no table of audit records"):
        attempt(watched)
    assert traces(watched) == 0
    assert [one["outcome"] for one in events(watched)] == ["begun", "failed"], "the attempt is on record"
    attempt(watched, table_must_be_written=False)
    assert traces(watched) == 1


def test_records_of_one_moment_are_found_in_both_however_many_are_listed(watched: Database) -> None:
    attempt(watched)
    first = events(watched)[0]
    with watched.connect() as connection:
        for number in (3, 1, 4, 2):
            trail(watched).write({**first, "id": f"00000000-0000-0000-0000-00000000000{number}"})
        fill_in(connection, trail(watched))
        for limit in range(1, 7):
            assert {one.found_in for one in listed(trail(watched), recorded(connection, limit), limit)} == {"both"}


def down() -> psycopg.Connection[Any]:
    raise UnreachableError("The database does not answer.")


def test_what_happened_while_the_database_was_down_is_filled_in(watched: Database) -> None:
    with pytest.raises(UnreachableError):
        attempt(watched, connect=down)
    assert traces(watched) == 0
    attempt(watched, action="restore", table_must_be_written=False, connect=down)
    assert table(watched) == []
    with audited(watched.target, watched.outputs, action="sql", detail="SELECT 1", reason="later"):
        pass
    assert [one["id"] for one in table(watched)] == [one["id"] for one in reversed(events(watched))]
    assert {one["action"] for one in table(watched)} == {"truncate", "restore", "sql"}


def test_filling_in_adds_nothing_twice_and_passes_foreign_events(watched: Database) -> None:
    attempt(watched)
    logs = watched.target.client("logs")
    logs.create_log_stream(logGroupName=watched.outputs.audit_log_group, logStreamName="other")
    now = int(datetime.now(UTC).timestamp() * 1000)
    foreign = [{"timestamp": now, "message": message} for message in ("no JSON", '{"id": 1}', "[]")]
    logs.put_log_events(logGroupName=watched.outputs.audit_log_group, logStreamName="other", logEvents=foreign)
    with watched.connect() as connection:
        assert fill_in(connection, trail(watched)) == 0


def test_a_failure_is_recorded_and_raised(watched: Database) -> None:
    with pytest.raises(ZeroDivisionError), administration_of(watched):
        _ = 1 / 0
    assert [one["outcome"] for one in events(watched)] == ["begun", "failed"]
    assert events(watched)[1]["error"] == "ZeroDivisionError: division by zero"
    with pytest.raises(KeyboardInterrupt), administration_of(watched):
        raise KeyboardInterrupt
    assert table(watched)[0]["outcome"] == "interrupted"


def test_work_that_is_ended_is_recorded_as_interrupted(watched: Database) -> None:
    """SIGTERM, as from a CI job that is cancelled: without a handler the process is gone, and the record says `begun` for ever."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        with pytest.raises(KeyboardInterrupt), administration_of(watched):
            assert callable(signal.getsignal(number))
            signal.raise_signal(number)
        assert not callable(signal.getsignal(number))
        assert table(watched)[0]["outcome"] == "interrupted"


def test_a_second_press_does_not_keep_the_end_from_the_record(watched: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Trail.write

    def pressed(self: Trail, event: dict[str, Any]) -> None:
        if event["phase"] == "ended":
            signal.raise_signal(signal.SIGINT)
        write(self, event)

    monkeypatch.setattr(Trail, "write", pressed)
    with pytest.raises(KeyboardInterrupt), administration_of(watched):
        raise KeyboardInterrupt
    assert table(watched)[0]["outcome"] == "interrupted"


def administration_of(database: Database, **options: Any) -> Any:
    return administration(
        database.target,
        database.outputs,
        **{"action": "sql", "detail": "x", "reason": "r", "confirmed": DOMAIN, "environ": ENABLED, **options},
    )


def test_work_whose_end_cannot_be_recorded_says_so(watched: Database) -> None:
    with pytest.raises(AmianaiError, match="done, but the end could not be recorded"), administration_of(watched):
        watched.target.client("logs").delete_log_group(logGroupName=watched.outputs.audit_log_group)


def test_an_end_that_the_log_group_does_not_take_now_is_kept_and_written_later(
    watched: Database, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write = Trail.write

    def away(self: Trail, event: dict[str, Any]) -> None:
        if event["phase"] == "ended":
            raise UnreachableError("AWS did not answer.")
        write(self, event)

    monkeypatch.setattr(Trail, "write", away)
    with administration_of(watched):
        pass
    assert "written by the next command that is on record" in " ".join(capfd.readouterr().err.split())
    monkeypatch.setattr(Trail, "write", write)
    assert [one["phase"] for one in events(watched)] == ["begun"]
    (kept,) = (watched.target.local / "audit").rglob("*.json")
    assert kept.stat().st_mode & 0o077 == 0
    at = json.loads(kept.read_text())["at"]
    with administration_of(watched):
        pass
    found = events(watched)
    assert sorted(one["phase"] for one in found) == ["begun", "begun", "ended", "ended"]
    assert at in {one["at"] for one in found}
    assert not list((watched.target.local / "audit").rglob("*.json"))


def test_rows_may_be_counted_afterwards(watched: Database) -> None:
    with administration_of(watched, rows_of=lambda: 7):
        pass
    assert events(watched)[1]["rows"] == 7


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE amianai_audit.records SET outcome = 'done'",
        "DELETE FROM amianai_audit.records",
        "TRUNCATE amianai_audit.records",
        "TRUNCATE amianai_audit.records CASCADE",
        "INSERT INTO amianai_audit.records SELECT * FROM amianai_audit.records ON CONFLICT (id, phase) DO UPDATE SET who = 'me'",
    ],
)
def test_the_owner_adds_records_and_changes_none(watched: Database, statement: str) -> None:
    attempt(watched)
    before = table(watched)
    with watched.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())
    assert table(watched) == before


@pytest.mark.parametrize(
    "statement", ["SELECT * FROM amianai_audit.records", "INSERT INTO amianai_audit.records (id) VALUES (gen_random_uuid())"]
)
def test_another_role_reaches_nothing_of_it(watched: Database, statement: str) -> None:
    with watched.superuser() as connection:
        connection.execute("CREATE ROLE stranger")
        try:
            connection.execute("SET ROLE stranger")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
        finally:
            connection.execute("RESET ROLE")
            connection.execute("DROP ROLE stranger")


def test_the_migration_may_run_again(watched: Database) -> None:
    attempt(watched)
    with watched.connect() as connection:
        connection.execute(MIGRATION.read_bytes())
    assert len(table(watched)) == 2


def test_old_events_are_looked_for_only_where_the_table_may_miss_them(watched: Database) -> None:
    attempt(watched)
    old = {**events(watched)[0], "id": "00000000-0000-0000-0000-000000000001"}
    for days, added in ((30, 0), (0.5, 1)):
        at = datetime.now(UTC) - timedelta(days=days)
        trail(watched).write({**old, "at": at.isoformat(timespec="milliseconds")})
        with watched.connect() as connection:
            assert fill_in(connection, trail(watched)) == added


LONG = "UPDATE users SET email = 'a';\n" * 300 + '-- é𝄞"\\' * 30_000 + "\nDELETE FROM users"


@pytest.mark.parametrize("detail", [LONG[:8_100], LONG, "\x01" * 60_000], ids=["one event", "parts", "escapes"])
def test_the_record_holds_the_whole_text(watched: Database, detail: str) -> None:
    attempt(watched, detail=detail)
    whole = detail.replace("\x01", "\\x01")
    assert {one["detail"] for one in events(watched)} == {whole}
    assert {one["detail"] for one in table(watched)} == {whole}
    assert [one.found_in for one in listed(trail(watched), table(watched), 10)] == ["both", "both"]
    with watched.connect() as connection:
        assert store(connection, events(watched)) == 0


def test_a_record_in_parts_says_whose_it_is_and_how_long(watched: Database) -> None:
    attempt(watched, detail=LONG)
    logs = watched.target.client("logs")
    raw = [one["message"] for one in logs.filter_log_events(logGroupName=watched.outputs.audit_log_group)["events"]]
    parts = [json.loads(one) for one in raw]
    assert all(len(one.encode()) < 256 * 1024 - 26 for one in raw)
    begun = [one for one in parts if one["phase"] == "begun"]
    whole = "".join(one["text"] for one in begun)
    assert [one["part"] for one in begun] == list(range(1, begun[0]["of"] + 1))
    assert {(one["who"], one["action"], one["length"]) for one in begun} == {(begun[0]["who"], "truncate", len(whole))}
    assert {one["sha256"] for one in begun} == {hashlib.sha256(whole.encode()).hexdigest()}


def test_a_record_that_lacks_a_part_is_listed_as_such_and_not_copied(watched: Database) -> None:
    attempt(watched)
    event = {**events(watched)[0], "id": "00000000-0000-0000-0000-000000000001", "detail": LONG, "at": datetime.now(UTC).isoformat()}
    logs, now = watched.target.client("logs"), int(datetime.now(UTC).timestamp() * 1000)
    sent = [{"timestamp": now, "message": one} for one in messages(event)]

    def put(some: list[dict[str, Any]]) -> None:
        logs.put_log_events(logGroupName=watched.outputs.audit_log_group, logStreamName=f"{datetime.now(UTC):%Y-%m}", logEvents=some)

    put(sent[:1] + sent[2:])
    found = [one.event["detail"] for one in listed(trail(watched), table(watched), 10) if one.event["id"] == event["id"]]
    assert found == [f"(1 of the {len(sent)} parts of this record are missing)"]
    with watched.connect() as connection:
        assert fill_in(connection, trail(watched)) == 0
        put(sent[1:2])
        assert fill_in(connection, trail(watched)) == 1


def test_what_no_table_holds_is_recorded_as_escapes(watched: Database) -> None:
    attempt(watched, detail="SELECT '\0\x1b[2J\x85'\n\t-- ü", reason="why \udcff")
    assert {(one["detail"], one["reason"]) for one in events(watched)} == {("SELECT '\\x00\\x1b[2J\\x85'\n\t-- ü", "why \\udcff")}
    assert [one["outcome"] for one in table(watched)] == ["done", "begun"]


@pytest.mark.parametrize(
    "changes",
    [
        {"detail": "\0"},
        {"reason": "\ud800"},
        {"id": "none"},
        {"phase": "middle"},
        {"who": None},
        {"detail": {"a": 1}},
        {"rows": "many"},
        {"rows": 10**30},
        {"rows": True},
        {"at": "infinity"},
        {"at": "soon"},
        {"at": 1},
    ],
    ids=str,
)
def test_an_event_that_the_table_cannot_hold_stops_nothing(watched: Database, changes: dict[str, Any]) -> None:
    attempt(watched)
    logs, now = watched.target.client("logs"), datetime.now(UTC)
    good = {**events(watched)[0], "id": "00000000-0000-0000-0000-000000000001"}
    wrong = {**good, "id": "00000000-0000-0000-0000-000000000002", **changes}
    both = [{"timestamp": int(now.timestamp() * 1000) + place, "message": json.dumps(one)} for place, one in enumerate((wrong, good))]
    logs.put_log_events(logGroupName=watched.outputs.audit_log_group, logStreamName=f"{now:%Y-%m}", logEvents=both)
    with watched.connect() as connection:
        assert fill_in(connection, trail(watched)) == 1
    with administration_of(watched):
        pass
    assert [one["outcome"] for one in table(watched)][:2] == ["done", "begun"]


def test_events_nested_too_deep_are_passed_over(watched: Database) -> None:
    assert audit._parsed("[" * 100_000) is None


def test_a_record_with_a_time_to_come_hides_nothing(watched: Database) -> None:
    attempt(watched)
    first = events(watched)[0]
    with watched.connect() as connection:
        future = (datetime.now(UTC) + timedelta(days=400)).isoformat()
        store(connection, [{**first, "id": "00000000-0000-0000-0000-000000000001", "at": future}])
        missed = {**first, "id": "00000000-0000-0000-0000-000000000002", "at": datetime.now(UTC).isoformat(timespec="milliseconds")}
        trail(watched).write(missed)
        assert fill_in(connection, trail(watched)) == 1
