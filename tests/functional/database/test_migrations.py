"""Migrations against a real PostgreSQL: whole or not at all, once, in order, one run at a time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from amianai_infra.database import schema
from amianai_infra.database.migrate import LOCK, Migration, ledger, locked, migrate, plan, read_all, read_folder
from amianai_infra.errors import AmianaiError, ConfigurationError, LockedError, RefusedError
from tests.database import Database

TABLES = {"users", "personas", "conversations", "conversation_participants", "messages"}


def silent(text: str) -> None:
    """Nobody listens."""


def apply(database: Database, own: Path | None = None, **options: Any) -> list[str]:
    with database.connect(statement_timeout=None) as connection:
        done = schema.apply(connection, database.target, database.outputs, own, say=options.pop("say", silent), **options)
    return [str(one) for one in done.applied]


def tables(database: Database, schema_name: str = "public") -> set[str]:
    with database.connect() as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema_name,))
        return {name for (name,) in rows}


def recorded(database: Database) -> list[str]:
    with database.connect() as connection:
        return [str(one) for one in ledger(connection)]


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.removeprefix('n')}.sql").write_text(text)
    return folder


def run(database: Database, files: list[Migration], **options: Any) -> list[str]:
    """Without the roles: what a test of the runner alone needs."""
    with database.connect(statement_timeout=None) as connection:
        options = {"say": silent, "by": "the test", **options}
        return [str(one) for one in migrate(connection, files, **options).applied]


# ---- once, in order


def test_an_empty_database_gets_the_schema_and_the_next_run_nothing(database: Database) -> None:
    with database.connect() as connection:
        assert ledger(connection) == []
        state = schema.look(connection, database.outputs, lambda: read_all(None))
    assert str(state.pending[0]) == "amianai 0001_application"
    assert state.roles == {f"{database.name}_application": False, f"{database.name}_readonly": False}
    first = apply(database)
    assert first[0] == "amianai 0001_application"
    assert tables(database) >= TABLES
    assert recorded(database) == first
    assert apply(database) == []
    with database.connect() as connection:
        (line, *_) = ledger(connection)
        after = schema.look(connection, database.outputs, lambda: read_all(None))
    assert line.applied_by == database.target.identity().arn
    assert line.duration > timedelta(0)
    assert (after.pending, after.problem, set(after.roles.values())) == ([], "", {True})
    assert "✓ amianai 0001_application" in "\n".join(after.text())


def test_the_projects_own_come_after_ours_and_may_use_them(database: Database, tmp_path: Path) -> None:
    own = write(tmp_path / "own", n0001_avatars="ALTER TABLE personas ADD avatar text", n0002_more="CREATE TABLE more (id int)")
    done = apply(database, own)
    assert done[-2:] == ["project 0001_avatars", "project 0002_more"]
    write(own, n0003_last="CREATE TABLE last (id int)")
    assert apply(database, own) == ["project 0003_last"]
    with database.connect("application") as connection:
        connection.execute("INSERT INTO more VALUES (1)")
        connection.execute("INSERT INTO last VALUES (1)")


def test_what_a_file_sets_does_not_reach_the_next(database: Database, tmp_path: Path) -> None:
    own = write(tmp_path, n0001_a="SET search_path = ''; SET statement_timeout = '1ms'", n0002_b="CREATE TABLE plain (id int)")
    run(database, read_folder(own, "project"))
    assert "plain" in tables(database)


def test_what_a_file_leaves_in_the_session_does_not_reach_the_next(database: Database, tmp_path: Path) -> None:
    """A temporary table would take the place of the real one, and what was meant for that be on record as done."""
    own = write(
        tmp_path,
        n0001_a="CREATE TABLE people (id int)",
        n0002_b="CREATE TEMP TABLE people AS SELECT 1; CREATE ROLE somebody; GRANT somebody TO CURRENT_USER;"
        " PREPARE one AS SELECT 1; DECLARE one CURSOR WITH HOLD FOR SELECT 1; LISTEN one; SET statement_timeout = '1ms'; SET ROLE somebody",
        n0003_c="ALTER TABLE people ADD nickname text; PREPARE one AS SELECT 1; DECLARE one CURSOR WITH HOLD FOR SELECT 1;"
        " DO $$ BEGIN ASSERT current_setting('statement_timeout') = '0' AND NOT EXISTS (SELECT pg_listening_channels()) ; END $$",
    )
    with database.connect(statement_timeout=None) as connection:
        connection.execute(f"ALTER ROLE {database.outputs.database.username} SET statement_timeout = '7min'")
    try:
        run(database, read_folder(own, "project"))
    finally:
        with database.connect() as connection:
            connection.execute("DROP ROLE IF EXISTS somebody")
    with database.connect() as connection:
        found = connection.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'public.people'::regclass AND attnum > 0")
        assert found.fetchall() == [("id",), ("nickname",)]


@pytest.mark.parametrize(
    "text", ["SET TRANSACTION READ ONLY; CREATE TABLE t (id int)", "SET transaction_read_only = on; CREATE TABLE t (id int)"]
)
def test_a_file_that_makes_its_transaction_read_only_is_named(database: Database, tmp_path: Path, text: str) -> None:
    with pytest.raises(AmianaiError, match="0001_a makes its transaction read-only"):
        run(database, read_folder(write(tmp_path, n0001_a=text), "project"))
    assert recorded(database) == []


def test_a_database_that_only_reads_is_said_to(database: Database) -> None:
    with database.superuser() as connection:
        connection.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    with pytest.raises(RefusedError, match="only reads; nothing was changed"):
        apply(database)


# ---- whole or not at all


def test_a_file_that_fails_in_the_middle_leaves_the_schema_as_it_was(database: Database, tmp_path: Path) -> None:
    own = write(
        tmp_path,
        n0001_good="CREATE TABLE good (id int)",
        n0002_bad="CREATE TABLE half (id int);\nINSERT INTO half VALUES (1);\nSELECT nothing FROM nowhere;\n",
        n0003_after="CREATE TABLE after (id int)",
    )
    with pytest.raises(AmianaiError) as caught:
        run(database, read_folder(own, "project"))
    assert "project 0002_bad failed; nothing of it was applied" in caught.value.what
    assert "0002_bad.sql:3: 42P01" in caught.value.where
    assert tables(database) == {"good"}
    assert recorded(database) == ["project 0001_good"]
    write(own, n0002_bad="CREATE TABLE half (id int)")
    assert run(database, read_folder(own, "project")) == ["project 0002_bad", "project 0003_after"]


def test_what_cannot_run_in_a_transaction_is_refused_by_the_server(database: Database, tmp_path: Path) -> None:
    own = write(tmp_path, n0001_a="CREATE TABLE a (id int)", n0002_b="CREATE INDEX CONCURRENTLY a_idx ON a (id)")
    with pytest.raises(AmianaiError, match="0002_b has a statement that PostgreSQL does not run in a transaction") as caught:
        run(database, read_folder(own, "project"))
    assert "-- no-transaction" in caught.value.fix


def test_an_error_does_not_quote_rows(database: Database, tmp_path: Path) -> None:
    own = write(tmp_path, n0001_a="CREATE TABLE a (id text PRIMARY KEY); INSERT INTO a VALUES ('hunter2'), ('hunter2')")
    with pytest.raises(AmianaiError) as caught:
        run(database, read_folder(own, "project"))
    assert "hunter2" not in str(caught.value)


# ---- rows in the file, as pg_dump writes them

DUMP = """--
-- PostgreSQL database dump
--

\\restrict 8EvbZ1
SET standard_conforming_strings = on;
CREATE TABLE public.a (i integer, t text);
CREATE TABLE public.b (i integer);

--
-- Data for Name: a; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.a (i, t) FROM stdin;
1\tit's; COMMIT; $$ /* --
2\ttwo\\nlines
3\t\\N
\\.

COPY public.b (i) FROM stdin;
\\.
ALTER TABLE ONLY public.a ADD CONSTRAINT a_pkey PRIMARY KEY (i);

\\unrestrict 8EvbZ1
"""


def test_rows_that_follow_a_copy_are_taken(database: Database, tmp_path: Path) -> None:
    files = read_folder(write(tmp_path, n0001_a=DUMP), "project")
    assert run(database, files) == ["project 0001_a"]
    with database.connect() as connection:
        assert connection.execute("SELECT * FROM a ORDER BY i").fetchall() == [(1, "it's; COMMIT; $$ /* --"), (2, "two\nlines"), (3, None)]
        assert connection.execute("SELECT count(*) FROM b").fetchone() == (0,)


@pytest.mark.parametrize(
    ("old", "new", "line", "state"),
    [
        ("2\ttwo", "hunter2\ttwo", 16, "22P02"),
        ("COPY public.b", "COPY public.c", 20, "42P01"),
        ("PRIMARY KEY (i)", "PRIMARY KEYS (i)", 22, "42601"),
        ("3\t\\N", "1\t\\N", 22, "23505"),
    ],
)
def test_an_error_in_a_dump_has_its_line_and_no_row(database: Database, tmp_path: Path, old: str, new: str, line: int, state: str) -> None:
    assert old in DUMP
    with pytest.raises(AmianaiError) as caught:
        run(database, read_folder(write(tmp_path, n0001_a=DUMP.replace(old, new)), "project"))
    assert f"{state}: " in caught.value.where
    if state != "23505":  # of which the server gives no place
        assert f"0001_a.sql:{line}: " in caught.value.where
    assert "hunter2" not in str(caught.value)
    assert (tables(database), recorded(database)) == (set(), [])


# ---- outside a transaction


def half(database: Database) -> str:
    with database.connect() as connection:
        return "\n".join(schema.look(connection, database.outputs, list).text())


def indexes(database: Database) -> dict[str, bool]:
    with database.connect() as connection:
        return dict(connection.execute("SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid::regclass::text = 'a'"))


def outside(folder: Path, *statements: str) -> list[Migration]:
    """A file that makes a table with a value that is there twice, and one of these statements outside a transaction."""
    text = "-- no-transaction\n" + ";\n".join(statements)
    return read_folder(write(folder, n0001_a="CREATE TABLE a (i int); INSERT INTO a VALUES (1), (1)", n0002_b=text), "project")


def test_what_cannot_run_in_a_transaction_runs_where_the_file_says_so(database: Database, tmp_path: Path) -> None:
    files = outside(tmp_path, "CREATE INDEX CONCURRENTLY x ON a (i)", "VACUUM a", "SET work_mem = '1MB'", "CREATE TABLE c (i int)")
    assert run(database, files) == ["project 0001_a", "project 0002_b"]
    assert (indexes(database), recorded(database)) == ({"x": True}, ["project 0001_a", "project 0002_b"])
    assert run(database, files) == []
    assert "stopped" not in half(database)


def test_what_fails_half_way_outside_a_transaction_is_recorded_and_said(database: Database, tmp_path: Path) -> None:
    first = "CREATE INDEX CONCURRENTLY x ON a (i)"
    with pytest.raises(AmianaiError, match="stopped in statement 3 of 4") as caught:
        run(database, outside(tmp_path, "SET work_mem = '3MB'", first, "\nSELECT\n nothing", "CREATE TABLE c (i int)"))
    assert "what came before stays" in caught.value.what
    assert "0002_b.sql:6: 42703" in caught.value.where
    assert (indexes(database), recorded(database)) == ({"x": True}, ["project 0001_a"])
    assert "✗ project 0002_b stopped in statement 3: 42703" in half(database)
    with pytest.raises(RefusedError, match="of its first 2 statements, which are done, one was edited"):
        run(database, outside(tmp_path, "SET work_mem = '4MB'", first))
    said: list[str] = []
    again = outside(
        tmp_path, "SET work_mem = '3MB'", first, "DO $$ BEGIN ASSERT current_setting('work_mem') = '3MB'; END $$", "CREATE TABLE c (i int)"
    )
    assert run(database, again, say=said.append) == ["project 0002_b"], "the index is not made twice, and the setting holds"
    assert said == ["project 0002_b goes on with statement 3 of 4"]
    assert "c" in tables(database)
    assert "stopped" not in half(database)


def test_an_index_that_is_not_valid_is_never_called_done(database: Database, tmp_path: Path) -> None:
    unique = "CREATE UNIQUE INDEX CONCURRENTLY x ON a (i)"
    with pytest.raises(AmianaiError, match="stopped in statement 1 of 1") as caught:
        run(database, outside(tmp_path, unique))
    assert caught.value.details == ("x is not valid: DROP INDEX CONCURRENTLY x before it is made again",)
    assert indexes(database) == {"x": False}
    passed_over = unique.replace("INDEX CONCURRENTLY", "INDEX CONCURRENTLY IF NOT EXISTS")
    with pytest.raises(AmianaiError, match="left what is not valid: x"):
        run(database, outside(tmp_path, passed_over))
    assert recorded(database) == ["project 0001_a"]
    mended = (passed_over, "DELETE FROM a WHERE ctid = '(0,1)'", "DROP INDEX CONCURRENTLY x", unique)
    assert run(database, outside(tmp_path, *mended)) == ["project 0002_b"]
    assert indexes(database) == {"x": True}


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DO $$ BEGIN EXECUTE 'DELETE FROM amianai_' || 'migrations.applied'; END $$", "touches amianai_audit or amianai_migrations"),
        ("DO $$ BEGIN EXECUTE 'CREATE TABLE amianai_' || 'migrations.mine ()'; COMMIT; PERFORM 1/0; END $$", "touches amianai_audit or"),
        ("BEGIN", "begins a transaction"),
    ],
)
def test_what_it_must_not_touch_outside_a_transaction_is_seen(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, why: str
) -> None:
    unseen(monkeypatch)
    with pytest.raises(AmianaiError, match=why):
        run(database, outside(tmp_path, statement, "CREATE TABLE c (i int)"))
    assert tables(database) == {"a"}
    assert "project 0002_b" not in recorded(database)


def test_killed_outside_a_transaction_it_goes_on_where_it_was(database: Database, tmp_path: Path) -> None:
    files = outside(tmp_path, "CREATE TABLE c (i int)", "SELECT pg_sleep(60)", "CREATE TABLE d (i int)")
    process = child(database, tmp_path)
    within(20, lambda: sleeping(database))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()
    with database.superuser() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'child'")
    assert "project 0002_b stopped in statement 2, where it was ended" in half(database)
    (tmp_path / "0002_b.sql").write_text(files[1].sql.replace("(60)", "(0)"))
    assert run(database, read_folder(tmp_path, "project"), wait=timedelta(seconds=20)) == ["project 0002_b"]
    assert tables(database) == {"a", "c", "d"}


# ---- edited


def test_an_edited_file_is_refused_by_name_and_nothing_else_runs(database: Database, tmp_path: Path) -> None:
    own = write(tmp_path, n0001_a="CREATE TABLE a (id int)")
    run(database, read_folder(own, "project"))
    write(own, n0001_a="CREATE TABLE a (id bigint)", n0002_b="CREATE TABLE b (id int)")
    with pytest.raises(RefusedError, match="project 0001_a was edited"):
        run(database, read_folder(own, "project"))
    assert tables(database) == {"a"}
    with database.connect() as connection:
        state = schema.look(connection, database.outputs, lambda: read_folder(own, "project"))
    assert "0001_a was edited" in state.problem


# ---- a snapshot first


def test_a_snapshot_comes_before_changes_to_data_and_not_otherwise(database: Database, tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def snapshot() -> None:
        seen.append(tables(database))

    own = write(tmp_path, n0001_a="CREATE TABLE a (id int)")
    run(database, read_folder(own, "project"), before=snapshot)
    run(database, read_folder(own, "project"), before=snapshot)
    assert seen == [], "an empty database, and nothing to apply"
    write(own, n0002_b="CREATE TABLE b (id int)")
    run(database, read_folder(own, "project"), before=snapshot)
    assert seen == [{"a"}]


def test_a_database_that_was_filled_by_something_else_gets_one_too(database: Database, tmp_path: Path) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TABLE theirs (id int)")
    made: list[int] = []
    run(database, read_folder(write(tmp_path, n0001_a="CREATE TABLE a (id int)"), "project"), before=lambda: made.append(1))
    assert made == [1]


def test_without_its_snapshot_nothing_is_applied(database: Database, tmp_path: Path) -> None:
    def fails() -> None:
        raise AmianaiError("no snapshot")

    own = write(tmp_path, n0001_a="CREATE TABLE a (id int)")
    run(database, read_folder(own, "project"))
    write(own, n0002_b="CREATE TABLE b (id int)")
    with pytest.raises(AmianaiError, match="no snapshot"):
        run(database, read_folder(own, "project"), before=fails)
    assert tables(database) == {"a"}


# ---- two at once, and killed


def within(seconds: float, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_at_once_one_runs_and_one_waits(database: Database, tmp_path: Path) -> None:
    own = write(tmp_path, n0001_a="CREATE TABLE a (id int); SELECT pg_sleep(0.5)", n0002_b="CREATE TABLE b (id int)")
    files = read_folder(own, "project")
    results: list[list[str]] = []
    said: list[str] = []

    def one() -> None:
        results.append(run(database, files, say=said.append))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == [[], [], ["project 0001_a", "project 0002_b"]]
    assert len(said) == 2
    assert all("Another `db migrate`, `db rotate` or `db admin reset` is running" in text and "process" in text for text in said)
    assert recorded(database) == ["project 0001_a", "project 0002_b"]


def test_waiting_has_an_end(database: Database) -> None:
    with database.connect() as holder, locked(holder, silent), pytest.raises(LockedError, match="still running"):
        run(database, [], wait=timedelta(milliseconds=200))
    assert run(database, []) == []


def test_waiting_holds_no_snapshot(database: Database) -> None:
    """For one that is held CREATE INDEX CONCURRENTLY waits, whoever runs it."""
    said: list[str] = []
    with database.connect() as holder, locked(holder, silent):
        waiter = threading.Thread(target=lambda: run(database, [], say=said.append))
        waiter.start()
        within(20, lambda: bool(said))
        with database.superuser() as connection:
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND NOT granted"
            for _ in range(10):
                time.sleep(0.02)
                assert connection.execute(waiting, LOCK).fetchone() == (0,)
    waiter.join(20)
    assert not waiter.is_alive()


CHILD = """
import json, sys
from pathlib import Path
import psycopg
from amianai_infra.database.migrate import migrate, read_folder
parameters = json.loads(sys.stdin.read())
connection = psycopg.connect(**parameters, autocommit=True)
print("started", flush=True)
migrate(connection, read_folder(Path(sys.argv[1]), "project"), by="the child", say=print)
"""


def child(database: Database, own: Path) -> subprocess.Popen[str]:
    import json

    from amianai_infra.database.endpoint import Endpoint

    login = database.secret()
    parameters = Endpoint.of(database.target, database.outputs).parameters(login["username"], "child") | {"password": login["password"]}
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(own)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(parameters))
    process.stdin.close()
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def sleeping(database: Database) -> bool:
    with database.superuser() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'child' AND wait_event = 'PgSleep'"
        return connection.execute(query).fetchone() == (1,)


def test_killed_in_the_middle_the_next_run_is_right(database: Database, tmp_path: Path) -> None:
    own = write(
        tmp_path,
        n0001_a="CREATE TABLE a (id int)",
        n0002_b="CREATE TABLE b (id int); SELECT pg_sleep(60)",
        n0003_c="CREATE TABLE c (id int)",
    )
    process = child(database, own)
    within(20, lambda: sleeping(database))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()
    # The server notices the dead client when it next talks to it; what it does for it until then is not committed.
    with database.superuser() as connection:
        connection.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'child'")
    assert tables(database) == {"a"}
    write(own, n0002_b="CREATE TABLE b (id int)")
    assert run(database, read_folder(own, "project"), wait=timedelta(seconds=20)) == ["project 0002_b", "project 0003_c"]
    assert recorded(database) == ["project 0001_a", "project 0002_b", "project 0003_c"]


def kills(database: Database, own: Path, seed: int) -> int:
    """Run it again and again, killed at any moment, until it ends by itself; gives how often it was killed."""
    chance, killed = random.Random(seed), 0
    while True:
        with child(database, own) as process:
            try:
                process.wait(chance.uniform(0.02, 0.5))
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
        if process.returncode == 0:
            return killed


def killed_at_any_moment(database: Database, tmp_path: Path, seed: int) -> None:
    steps = {
        f"n000{number}_t": f"CREATE TABLE t{number} (id int); INSERT INTO t{number} VALUES (1); SELECT pg_sleep(0.1)"
        for number in range(1, 8)
    }
    killed = kills(database, write(tmp_path, **steps), seed)
    assert recorded(database) == [f"project 000{number}_t" for number in range(1, 8)]
    with database.connect() as connection:
        for number in range(1, 8):
            assert connection.execute(f"SELECT count(*) FROM t{number}").fetchone() == (1,)
    assert killed >= 1


def test_killed_at_any_moment_it_ends_right(database: Database, tmp_path: Path) -> None:
    killed_at_any_moment(database, tmp_path, 1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_any_moment_many_times(database: Database, tmp_path: Path, seed: int) -> None:
    killed_at_any_moment(database, tmp_path, seed)


def test_the_server_crashes_in_the_middle_and_the_next_run_is_right(database: Database, tmp_path: Path) -> None:
    own = write(tmp_path, n0001_a="CREATE TABLE a (id int)", n0002_b="CREATE TABLE b (id int); SELECT pg_sleep(1)")
    failed: list[Exception] = []

    def one() -> None:
        try:
            run(database, read_folder(own, "project"))
        except AmianaiError as error:
            failed.append(error)

    thread = threading.Thread(target=one)
    thread.start()
    within(10, lambda: tables(database) == {"a"})
    time.sleep(0.2)
    database.restart()
    thread.join(30)
    assert "connection was lost while project 0002_b" in str(failed[0])
    assert run(database, read_folder(own, "project")) == ["project 0002_b"]


def test_a_lock_that_is_not_had_is_asked_for_again(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amianai_infra.database.migrate.LOCK_TIMEOUT", timedelta(seconds=1))
    own = write(tmp_path, n0001_a="CREATE TABLE a (id int)")
    run(database, read_folder(own, "project"))
    write(own, n0002_b="ALTER TABLE a ADD b int")
    said: list[str] = []
    with database.connect() as busy:
        busy.execute("BEGIN")
        busy.execute("SELECT * FROM a")

        def pause(seconds: float) -> None:
            busy.execute("COMMIT")

        assert run(database, read_folder(own, "project"), say=said.append, sleep=pause) == ["project 0002_b"]
        assert "did not get a lock" in said[0]
        write(own, n0003_c="ALTER TABLE a ADD c int")
        busy.execute("BEGIN")
        busy.execute("SELECT * FROM a")
        monkeypatch.setattr("amianai_infra.database.migrate.ATTEMPTS", 2)
        with pytest.raises(LockedError, match="did not get its locks in 2 attempts"):
            run(database, read_folder(own, "project"), sleep=lambda _: None)


def test_looking_takes_no_lock(database: Database) -> None:
    with database.connect() as holder, locked(holder, silent), database.connect() as other:
        assert plan(read_all(None), ledger(other))
        assert other.execute("SELECT pg_try_advisory_lock(%s, %s)", LOCK).fetchone() == (False,)


# ---- the application's data


@pytest.fixture(scope="module")
def data(shared: Database) -> Database:
    apply(shared)
    return shared


def test_seed_is_repeatable_and_everything_hangs_together(data: Database) -> None:
    from amianai_infra.database.seed import seed

    with data.connect("application") as connection:
        added = seed(connection)
        assert added == {"users": 2, "personas": 3, "conversations": 1, "conversation_participants": 3, "messages": 3}
        assert set(seed(connection).values()) == {0}
        found = connection.execute(
            "SELECT content FROM messages WHERE search @@ websearch_to_tsquery('english', 'persons calling')"
        ).fetchall()
        assert len(found) == 1
        connection.execute("UPDATE users SET preferences = '{}' WHERE email = 'ada@example.test'")
        query = "SELECT updated_at > created_at FROM users WHERE email = 'ada@example.test'"
        assert connection.execute(query).fetchone() == (True,)
        order = connection.execute("SELECT array_agg(sequence ORDER BY created_at, sequence) FROM messages").fetchone()
        assert order is not None
        assert order[0] == sorted(order[0])
        connection.execute("DELETE FROM users WHERE email = 'ada@example.test'")
        left = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in sorted(TABLES)}
        assert left == {"users": (1,), "personas": (2,), "conversations": (1,), "conversation_participants": (2,), "messages": (2,)}
        connection.execute("DELETE FROM conversations")
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (0,)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO users (email, cognito_sub) VALUES ('nobody', 'x')", errors.CheckViolation),
        ("INSERT INTO users (email, cognito_sub, preferences) VALUES ('a@b', 'x', '[]')", errors.CheckViolation),
        ("INSERT INTO users (email, cognito_sub) VALUES ('a@b', 'x'), ('A@B', 'y')", errors.UniqueViolation),
        ("INSERT INTO personas (type, name) VALUES ('human', 'x')", errors.CheckViolation),
        ("INSERT INTO personas (type, name) VALUES ('robot', 'x')", errors.CheckViolation),
        ("INSERT INTO conversations (status) VALUES ('lost')", errors.CheckViolation),
        (
            "INSERT INTO messages (conversation_id, author_persona_id, content) VALUES (gen_random_uuid(), gen_random_uuid(), 'x')",
            errors.ForeignKeyViolation,
        ),
    ],
)
def test_what_the_schema_does_not_take(data: Database, statement: Any, error: type[psycopg.Error]) -> None:
    with data.connect("application") as connection, pytest.raises(error):
        connection.execute(statement)


def test_every_foreign_key_has_an_index_that_begins_with_it(data: Database) -> None:
    query = """SELECT conrelid::regclass || '.' || a.attname FROM pg_constraint c JOIN pg_attribute a
        ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1])"""
    with data.connect() as connection:
        assert connection.execute(query).fetchall() == []


# ---- SQL that does not keep to its transaction, or to its own tables


def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if our reading of SQL had missed it: what the server says must be enough."""
    monkeypatch.setattr("amianai_infra.database.migrate.transaction_control", lambda _: "")
    monkeypatch.setattr("amianai_infra.database.migrate.reserved", lambda _: "")


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE half (id int); COMMIT; SELECT 1/0",
        "CREATE TABLE half (id int); COMMIT; BEGIN; SELECT 1/0",
        "CREATE TABLE half (id int); COMMIT",
        "CREATE TABLE half (id int); COMMIT; BEGIN",
        "ROLLBACK; CREATE TABLE half (id int)",
        "ROLLBACK; BEGIN; CREATE TABLE half (id int); COMMIT; BEGIN; SELECT 1/0",
        "ROLLBACK; CREATE TABLE half (id int); COMMIT; BEGIN; SAVEPOINT a; SELECT 1/0",
    ],
)
def test_what_left_its_transaction_is_never_said_to_have_left_nothing(
    data: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    unseen(monkeypatch)
    before = recorded(data)
    with pytest.raises(AmianaiError, match="ended the transaction that it ran in") as caught:
        run(data, [*read_all(None), *read_folder(write(tmp_path, n0001_a=text), "project")])
    assert "A part of it may be applied" in caught.value.what
    assert (tables(data), recorded(data)) == (TABLES | {"half"}, before)
    with data.connect() as connection:
        connection.execute("DROP TABLE half")


LATE = """
CREATE TABLE late (i int);
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM amianai_migrations.applied; RETURN NULL; END';
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later();
INSERT INTO late VALUES (1)
"""


@pytest.mark.parametrize(
    "text",
    [
        "DROP SCHEMA amianai_audit CASCADE",
        "DO $$ BEGIN EXECUTE 'DROP TRIGGER only_appended ON amianai_' || 'audit.records'; END $$",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE amianai_' || 'audit.records DISABLE TRIGGER ALL'; END $$",
        "CREATE VIEW seen AS SELECT * FROM amianai_audit.records",
        "CREATE TABLE kept (id uuid, phase text, FOREIGN KEY (id, phase) REFERENCES amianai_audit.records)",
        "CREATE TABLE heir () INHERITS (amianai_audit.records)",
        "GRANT USAGE ON SCHEMA amianai_audit TO PUBLIC",
        "CREATE OR REPLACE FUNCTION amianai_audit.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "DELETE FROM amianai_migrations.applied",
        "DO $$ BEGIN UPDATE amianai_migrations.applied SET sha256 = repeat('0', 64); EXCEPTION WHEN OTHERS THEN END $$",
        "TRUNCATE amianai_migrations.applied",
        "REASSIGN OWNED BY CURRENT_USER TO CURRENT_USER; ALTER SCHEMA amianai_audit RENAME TO mine",
        "INSERT INTO amianai_audit.records VALUES (gen_random_uuid(), 'ended', now(), 'me', 'h', 'a', '', '', 'done', 1, '')",
        LATE,
        "SET search_path = mine, pg_catalog; SET ROLE pg_monitor; RESET ROLE; DELETE FROM amianai_migrations.applied",
    ],
)
def test_what_touches_our_records_is_not_kept_whatever_its_text(
    data: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    unseen(monkeypatch)
    before = recorded(data)
    with pytest.raises(RefusedError, match="touches amianai_audit or amianai_migrations"):
        run(data, [*read_all(None), *read_folder(write(tmp_path, n0001_a=text), "project")])
    assert recorded(data) == before
    assert tables(data) == TABLES


def test_what_keeps_to_itself_is_let_through(database: Database, tmp_path: Path) -> None:
    """Savepoints, roles, blocks that catch errors, constraints put off: none of it touches our records."""
    own = write(
        tmp_path,
        n0001_a="CREATE TABLE a (id int PRIMARY KEY); SAVEPOINT x; INSERT INTO a VALUES (1); ROLLBACK TO x; ANALYZE; RELEASE x",
        n0002_b="DO $$ BEGIN CREATE ROLE pg_x; EXCEPTION WHEN OTHERS THEN END $$; SET ROLE pg_monitor; SET search_path = ''",
        n0003_c="CREATE TABLE c (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (2); INSERT INTO a VALUES (2)",
    )
    with database.superuser() as connection:
        connection.execute(f"GRANT pg_monitor TO {database.outputs.database.username}".encode())
    assert apply(database, own)[-3:] == ["project 0001_a", "project 0002_b", "project 0003_c"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"CREATE TABLE a (i int);\n\0CREATE TABLE b (i int);", r"U\+0000 .* in line 2"),
        ("CREATE TABLE a (i int);".encode("utf-16-le"), r"U\+0000 \(is it UTF-16\?\)"),
        ("CREATE TABLE a (i int);".encode("utf-16"), "not UTF-8"),
        (b"SELECT '\xe9'", "not UTF-8"),
    ],
)
def test_a_file_that_would_not_reach_the_server_as_it_stands_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "0001_a.sql").write_bytes(content)
    with pytest.raises(ConfigurationError, match=why) as caught:
        read_folder(tmp_path, "project")
    assert "0001_a.sql" in caught.value.where


def test_the_mark_of_utf_8_at_the_beginning_is_passed_over(database: Database, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_bytes(b"\xef\xbb\xbfCREATE TABLE a (i int);\r\n")
    assert run(database, read_folder(tmp_path, "project")) == ["project 0001_a"]
    (tmp_path / "0001_a.sql").write_bytes(b"CREATE TABLE a (i int);\n")
    assert run(database, read_folder(tmp_path, "project")) == []
