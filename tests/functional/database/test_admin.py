"""Dangerous work one by one: what each does, and that none gets past a gate that any one condition keeps shut."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amianai_infra.cli.main import cli
from amianai_infra.cli.options import App
from amianai_infra.config import load_settings
from amianai_infra.database import admin, schema
from amianai_infra.database.admin import Administrator
from amianai_infra.database.audit import Trail
from amianai_infra.database.gate import ENABLE
from amianai_infra.database.session import said, translate
from amianai_infra.errors import AmianaiError, ConfigurationError, RefusedError
from tests.database import DOMAIN, Database
from tests.functional.database.conftest import NewDatabase
from tests.hostile import HOSTILE, faults

Run = Callable[..., Result]
GIVEN = ("--confirm", DOMAIN, "--reason", "a test")
DANGEROUS = {
    "reset": ("reset",),
    "truncate": ("truncate", "messages"),
    "sql": ("sql", "--write", "DELETE FROM users"),
    "drop-role": ("drop-role", "analyst"),
}
USER = "INSERT INTO users (email, cognito_sub) VALUES ('a@example.com', gen_random_uuid()::text)"


@pytest.fixture(scope="module")
def migrated(make_database: NewDatabase) -> Iterator[Database]:
    """A database with the application's schema and roles, whose stack has a log group."""
    database = make_database()
    group = f"/eeyore/{secrets.token_hex(4)}/audit"
    database.target.client("logs").create_log_group(logGroupName=group)
    made = Database(database.target, database.outputs.model_copy({"audit_log_group": group}))
    with made.connect(statement_timeout=None) as connection:
        schema.apply(connection, made.target, made.outputs, None, say=lambda _: None)
    yield made
    with suppress(database.target.client("logs").exceptions.ResourceNotFoundException):
        database.target.client("logs").delete_log_group(logGroupName=group)


@pytest.fixture
def work(migrated: Database) -> Database:
    """The same with one person in it, and a role that has nothing to do with us."""
    with migrated.connect() as connection:
        connection.execute("DELETE FROM users")
        connection.execute(USER.encode())
    with migrated.connect() as connection, suppress(psycopg.errors.DuplicateObject):
        connection.execute("CREATE ROLE analyst")
    return migrated


@pytest.fixture
def run(work: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `amianai --sandbox db admin ...` in this process."""
    monkeypatch.setattr(App, "root", tmp_path)
    monkeypatch.setattr(App, "target", work.target)
    monkeypatch.setattr(App, "settings", load_settings({"domain_name": DOMAIN, "database.migrations": ""}, {}, {}))
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: work.outputs)

    def call(*arguments: str, code: int = 0, enabled: str | None = "true", stdin: str = "") -> Result:
        environ = {} if enabled is None else {ENABLE: enabled}
        result = CliRunner(env=environ).invoke(cli, ["--sandbox", "--json", "db", "admin", *arguments], input=stdin)
        assert result.exit_code == code, result.output
        for role in ("owner", "application", "readonly"):
            assert work.secret(role)["password"] not in result.output
        return result

    return call


def events(database: Database) -> list[dict[str, Any]]:
    return list(Trail(database.target.client("logs"), database.outputs.audit_log_group).read())


def fingerprint(database: Database) -> tuple[Any, ...]:
    """What any of the commands would change."""
    with database.connect() as connection:
        return tuple(
            connection.execute(query.encode()).fetchone()
            for query in (
                "SELECT count(*) FROM users",
                "SELECT count(*) FROM pg_roles WHERE rolname = 'analyst'",
                "SELECT min(applied_at) FROM amianai_migrations.applied",
            )
        )


# ---- the gate, for each command and each condition


@pytest.mark.parametrize("command", DANGEROUS)
@pytest.mark.parametrize("enabled", [None, "yes"])
def test_without_enablement_nothing_happens(run: Run, work: Database, command: str, enabled: str | None) -> None:
    before, known = fingerprint(work), events(work)
    result = run(*DANGEROUS[command], *GIVEN, code=3, enabled=enabled)
    assert "not enabled" in result.stderr
    assert (fingerprint(work), events(work)) == (before, known)


@pytest.mark.parametrize("command", DANGEROUS)
def test_all_that_is_missing_is_named_before_anything_is_asked(run: Run, command: str) -> None:
    error = run(*DANGEROUS[command], code=3, enabled=None).stderr
    assert all(one in error for one in (f"db admin {command}", f"{ENABLE}=true", f"--confirm {DOMAIN}", "--reason"))


@pytest.mark.parametrize("command", DANGEROUS)
@pytest.mark.parametrize("given", [(), ("--confirm", "other.test")], ids=str)
def test_without_the_domain_nothing_happens(run: Run, work: Database, command: str, given: tuple[str, ...]) -> None:
    before, known = fingerprint(work), events(work)
    run(*DANGEROUS[command], *given, "--reason", "a test", code=3)
    assert (fingerprint(work), events(work)) == (before, known)


@pytest.mark.parametrize("command", DANGEROUS)
def test_without_a_reason_nothing_happens(run: Run, work: Database, command: str) -> None:
    before, known = fingerprint(work), events(work)
    assert "no reason" in run(*DANGEROUS[command], "--confirm", DOMAIN, code=3).stderr
    assert (fingerprint(work), events(work)) == (before, known)


@pytest.mark.parametrize("command", DANGEROUS)
@pytest.mark.parametrize("group", ["", "/eeyore/there/is/none"])
def test_without_the_log_group_nothing_happens(run: Run, work: Database, monkeypatch: pytest.MonkeyPatch, command: str, group: str) -> None:
    before = fingerprint(work)
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: work.outputs.model_copy({"audit_log_group": group}))
    assert "no audit log group" in run(*DANGEROUS[command], *GIVEN, code=3).stderr
    assert fingerprint(work) == before


@pytest.mark.parametrize("command", DANGEROUS)
def test_no_configuration_opens_the_gate(run: Run, work: Database, tmp_path: Path, command: str) -> None:
    """Neither a setting nor a stack file: the words mean nothing there."""
    before = fingerprint(work)
    for name in ("Pulumi.prod.yaml", ".env", ".env.local"):
        (tmp_path / name).write_text(f"config:\n  amianai-infra:enableDbAdmin: 'true'\n{ENABLE}=true\n")
    environ = {"AMIANAI_ENABLE_DB_ADMIN": "true", "AMIANAI_DATABASE_ADMIN": "true"}
    result = CliRunner(env=environ).invoke(cli, ["--sandbox", "--yes", "db", "admin", *DANGEROUS[command], *GIVEN])
    assert result.exit_code == 3
    assert fingerprint(work) == before


@pytest.mark.parametrize("command", DANGEROUS)
def test_a_dry_run_shows_the_plan_and_needs_no_gate(run: Run, work: Database, command: str) -> None:
    before, known = fingerprint(work), events(work)
    shown = json.loads(run(*DANGEROUS[command], "--dry-run", enabled=None).stdout)
    assert shown["action"] == command.replace("-", " ")
    assert shown["steps"]
    assert (fingerprint(work), events(work)) == (before, known)


@pytest.mark.parametrize("command", ["truncate", "sql", "drop-role", "reset"])
def test_with_everything_it_is_done_and_on_record(run: Run, work: Database, command: str) -> None:
    before, known = fingerprint(work), len(events(work))
    run(*DANGEROUS[command], *GIVEN)
    begun, ended = events(work)[known:]
    assert (begun["action"], begun["reason"], begun["outcome"]) == (command.replace("-", " "), "a test", "begun")
    assert (ended["id"], ended["outcome"]) == (begun["id"], "done")
    if command != "truncate":  # which empties what was empty
        assert fingerprint(work) != before
    listed = json.loads(run("audit", enabled=None).stdout)
    assert [one["phase"] for one in listed if one["id"] == begun["id"]] == ["ended", "begun"]


# ---- each command


def test_truncate_names_what_else_it_would_empty(run: Run, work: Database) -> None:
    refused = run("truncate", "users", *GIVEN, code=3)
    assert "personas" in refused.stderr
    shown = json.loads(run("truncate", "users", "--cascade", "--dry-run").stdout)
    assert shown["rows"] == {"conversation_participants": 0, "messages": 0, "personas": 0, "users": 1}
    assert json.loads(run("truncate", "public.users", "--cascade", *GIVEN).stdout)["rows"] == 1
    assert fingerprint(work)[0] == (0,)


@pytest.mark.parametrize("table", ["amianai_audit.records", "amianai_migrations.applied", "pg_catalog.pg_authid"])
def test_truncate_takes_the_applications_tables_only(run: Run, table: str) -> None:
    run("truncate", table, *GIVEN, code=3)


@pytest.mark.parametrize("table", ["nobody", "users; DROP TABLE users", "messages_pkey", ""])
def test_truncate_knows_tables_only(run: Run, work: Database, table: str) -> None:
    with suppress(psycopg.Error):
        assert CliRunner(env={ENABLE: "true"}).invoke(cli, ["--sandbox", "db", "admin", "truncate", table, *GIVEN]).exit_code == 1
    assert fingerprint(work)[0] == (1,)


def test_reset_makes_everything_anew_and_keeps_the_record(run: Run, work: Database) -> None:
    with work.connect() as connection:
        connection.execute(
            "CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN short AS text; CREATE SCHEMA other; CREATE TABLE other.t (one int);"
            "CREATE VIEW people AS SELECT email FROM users; CREATE SEQUENCE counter; CREATE MATERIALIZED VIEW frozen AS SELECT 1 AS one;"
            'CREATE TABLE "Odd name" (one mood)'
        )
        extensions = connection.execute("SELECT array_agg(extname ORDER BY extname) FROM pg_extension").fetchone()
        known = connection.execute("SELECT count(*) FROM amianai_audit.records").fetchone()
    assert json.loads(run("reset", *GIVEN).stdout)["rows"] == 1
    with work.connect() as connection:
        left = connection.execute(
            "SELECT (SELECT count(*) FROM users), to_regclass('people'), to_regclass('counter'), to_regtype('mood'),"
            " to_regnamespace('other'), to_regclass('\"Odd name\"'), to_regtype('short'), to_regclass('frozen')"
        ).fetchone()
        assert left == (0, None, None, None, None, None, None, None)
        assert connection.execute("SELECT array_agg(extname ORDER BY extname) FROM pg_extension").fetchone() == extensions
        after = connection.execute("SELECT count(*) FROM amianai_audit.records").fetchone()
    assert known is not None
    assert after is not None
    assert after[0] == known[0] + 2
    with work.connect("application") as connection:
        connection.execute(USER.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM amianai_audit.records")


# Kinds of what a migration may make; `{n}` tells one from the next.
MAKES = (
    "CREATE EXTENSION citext",
    "CREATE EXTENSION hstore",
    "CREATE TYPE span{n} AS RANGE (subtype = int)",
    "CREATE TYPE pair{n} AS (a int, b text); CREATE TABLE pairs{n} (one pair{n}[]); CREATE FUNCTION of{n}(pair{n}) RETURNS int RETURN 1",
    "CREATE COLLATION german{n} (provider = icu, locale = 'de')",
    "CREATE TEXT SEARCH DICTIONARY words{n} (TEMPLATE = simple)",
    "CREATE TEXT SEARCH CONFIGURATION plain{n} (COPY = simple)",
    "CREATE PUBLICATION told{n}",
    "SELECT lo_create(7000{n})",
    "CREATE FUNCTION l{n}(int, text) RETURNS int RETURN 1; CREATE OPERATOR <{signs}> (LEFTARG = int, RIGHTARG = text, FUNCTION = l{n})",
    "CREATE AGGREGATE total{n} (int) (SFUNC = int4pl, STYPE = int)",
    "CREATE SCHEMA more{n}; CREATE TABLE more{n}.t (one int); CREATE VIEW seen{n} AS SELECT * FROM more{n}.t",
    'CREATE TABLE "Odd; -- name{n}" (one int GENERATED ALWAYS AS IDENTITY, two text COLLATE "C"); CREATE SEQUENCE alone{n}',
    "CREATE PROCEDURE p{n}() LANGUAGE sql AS $$$$",
    "CREATE DOMAIN short{n} AS text CHECK (length(VALUE) < 9); CREATE TABLE uses{n} (one short{n})",
    "CREATE CONVERSION turned{n} FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
)


def administrator_of(work: Database, own: Path) -> Administrator:
    """As the command line makes it, with a project's own migrations."""

    def migrate(connection: psycopg.Connection[Any]) -> None:
        schema.apply(connection, work.target, work.outputs, own, say=lambda _: None)

    return Administrator(work.target, work.outputs, {ENABLE: "true"}, migrate=migrate)


CATALOGS = (
    "pg_class pg_type pg_proc pg_operator pg_collation pg_conversion pg_ts_config pg_ts_dict pg_extension pg_publication pg_namespace"
)


def everything(work: Database) -> list[tuple[Any, ...]]:
    """Each object of the database by kind and name, and what is in the ledger, without times."""
    query = "SELECT i.type, i.identity FROM {0} x, pg_identify_object('{0}'::regclass, x.oid, 0) i WHERE x.oid >= 16384"
    with work.connect() as connection:
        found = [row for one in CATALOGS.split() for row in connection.execute(query.format(one).encode()) if "pg_toast" not in row[1]]
        found += connection.execute("SELECT 'large object', oid::text FROM pg_largeobject_metadata").fetchall()
        return sorted(found) + connection.execute("SELECT source, version, sha256 FROM amianai_migrations.applied ORDER BY 1, 2").fetchall()


def resets_to_the_same(work: Database, folder: Path, chosen: tuple[str, ...]) -> None:
    folder.mkdir()
    for number, text in enumerate(chosen, 1):
        (folder / f"{number:04d}_made.sql").write_text(text.format(n=number, signs="#" * number))
    administrator = administrator_of(work, folder)
    administrator.execute(administrator.reset(), reason="a test", confirmed=DOMAIN)
    before = everything(work)
    with work.connect() as connection:
        connection.execute(USER.encode())
    administrator.execute(administrator.reset(), reason="a test", confirmed=DOMAIN)
    assert everything(work) == before
    assert fingerprint(work)[0] == (0,)


def test_whatever_migrations_make_a_reset_makes_anew(work: Database, tmp_path: Path) -> None:
    resets_to_the_same(work, tmp_path / "own", MAKES)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_any_choice_of_what_migrations_make_is_made_anew(work: Database, tmp_path: Path) -> None:
    numbers = itertools.count()

    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(MAKES), unique=True, min_size=1).map(tuple))
    def run(chosen: tuple[str, ...]) -> None:
        resets_to_the_same(work, tmp_path / str(next(numbers)), chosen)

    run()


def test_a_reset_whose_migrations_fail_loses_nothing_and_says_so(work: Database, tmp_path: Path) -> None:
    """A role outlives a reset: it belongs to the server."""
    role = f"robot_{secrets.token_hex(4)}"
    file = tmp_path / "0001_role.sql"
    file.write_text(f"CREATE ROLE {role}; CREATE TABLE kept (one int); INSERT INTO kept VALUES (1)")
    administrator = administrator_of(work, tmp_path)
    administrator.execute(administrator.reset(), reason="a test", confirmed=DOMAIN)
    with work.connect() as connection:
        connection.execute(USER.encode())
    before, plan = everything(work), administrator.reset()
    (note,) = [one for one in plan.notes if one.startswith("roles stay: ")]
    assert "analyst" in note
    with pytest.raises(AmianaiError, match="nothing was dropped, and it is as it was") as caught:
        administrator.execute(plan, reason="a test", confirmed=DOMAIN)
    assert "0001_role" in caught.value.where
    assert "42710" in caught.value.where
    assert (everything(work), fingerprint(work)[0]) == (before, (1,))
    with work.connect() as connection:
        assert connection.execute("SELECT * FROM kept").fetchall() == [(1,)]
    detail = events(work)[-1]["detail"]
    assert f"project 0001_role sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" in detail
    assert "1 rows in kept" in detail


def test_a_reset_that_cannot_be_finished_leaves_everything(work: Database) -> None:
    """Somebody else's schema: the owner may not drop it, and nothing at all is dropped."""
    with work.superuser() as connection:
        connection.execute("CREATE SCHEMA foreign_one; CREATE TABLE foreign_one.t (one int)")
    try:
        before = fingerprint(work)
        administrator = Administrator(work.target, work.outputs, {ENABLE: "true"})
        with pytest.raises(Exception, match="does not allow"):
            administrator.execute(administrator.reset(), reason="a test", confirmed=DOMAIN)
        assert fingerprint(work) == before
        assert events(work)[-1]["outcome"] == "failed"
    finally:
        with work.superuser() as connection:
            connection.execute("DROP SCHEMA foreign_one CASCADE")


def test_sql_is_whole_or_not_there(run: Run, work: Database, tmp_path: Path) -> None:
    file = tmp_path / "fix.sql"
    file.write_text("UPDATE users SET email = 'b@example.com';\nINSERT INTO nowhere VALUES (1);\n")
    assert "nowhere" in run("sql", "--write", "--file", str(file), *GIVEN, code=1).stderr
    with work.connect() as connection:
        assert connection.execute("SELECT email FROM users").fetchone() == ("a@example.com",)
    file.write_text("UPDATE users SET email = 'b@example.com';\nDELETE FROM personas;\nSELECT email FROM users;\n")
    done = json.loads(run("sql", "--write", "--file", "-", *GIVEN, stdin=file.read_text()).stdout)
    assert done == {"rows": 1, "snapshot": "", "result": [{"email": "b@example.com"}], "cut": False}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ALTER ROLE analyst PASSWORD 'hunter2'", "holds a password"),
        ("CREATE ROLE x LOGIN ENCRYPTED PASSWORD $$hunter2$$", "holds a password"),
        ("ALTER ROLE analyst PASSWORD /* so */ E'hunter2'", "holds a password"),
        ("ALTER ROLE analyst PASSWORD U&'hunter2'", "holds a password"),
        ("ALTER ROLE analyst password u&'hunter2' UESCAPE '!'", "holds a password"),
        ("ALTER ROLE analyst PASSWORD N'hunter2'", "holds a password"),
        ("DO $$ BEGIN EXECUTE 'CREATE ROLE z PASSWORD ''hunter2'''; END $$", "holds a password"),
        ("SELECT query_to_xml('ALTER ROLE z Password ''hunter2''', true, true, '')", "holds a password"),
        ("SELECT query_to_xml(U&'ALTER ROLE z P\\0041SSWORD ''hunter2''', true, true, '')", "Unicode escapes"),
        ("DROP TRIGGER only_appended ON amianai_audit.records", "audit records"),
        ("DO $$ BEGIN EXECUTE 'DROP SCHEMA amianai_audit CASCADE'; END $$", "audit records"),
        ("SELECT query_to_xml('TRUNCATE Amianai_Audit.records', true, true, '')", "audit records"),
        ('DELETE FROM U&"amianai\\005faudit".records', "Unicode escapes"),
        ('DELETE FROM "amianai_audit".records', "audit records"),
        ("DROP TABLE E'\\x61mianai_audit'", "audit records"),
        ("DO E'BEGIN EXECUTE \\'DROP SCHEMA \\x61mianai\\137audit\\'; END'", "audit records"),
        ("SELECT query_to_xml(E'ALTER ROLE z \\x50ASSWORD ''hunter2''', true, true, '')", "holds a password"),
        ("SELECT 1 AS €$$; ALTER ROLE z PASSWORD 'hunter2'; SELECT 1 AS €$$", "holds a password"),
        ("DELETE FROM users -- \r; COMMIT", "COMMIT"),
        ("SELECT 1 AS €$$; COMMIT; SELECT 1 AS €$$", "COMMIT"),
        ("DELETE FROM users; COMMIT", "COMMIT"),
        ("ROLLBACK; DELETE FROM users", "ROLLBACK"),
        ("DELETE FROM users;\nCOPY users FROM STDIN;\nCOMMIT\n\\.", "line 2"),
        ("COPY users TO STDOUT", "moves rows through psql"),
    ],
)
def test_sql_that_is_refused(run: Run, work: Database, text: str, why: str) -> None:
    before, known = fingerprint(work), events(work)
    for options in (("--write", *GIVEN), ()):
        result = run("sql", *options, text, code=3)
        assert why in result.stderr
        assert "hunter2" not in result.output
    assert (fingerprint(work), events(work)) == (before, known)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT password, password_hash FROM users WHERE password = 'x' AND kind = 'password_hash'",
        "ALTER ROLE z PASSWORD NULL",
        "SELECT 1 AS u, 3 & 2",
    ],
)
def test_sql_that_only_looks_like_it_is_not_refused(text: str) -> None:
    admin._require_plain(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("DELETE FROM personas; COMMIT", "ended the transaction"),
        ("DO $$ BEGIN EXECUTE 'DROP TRIGGER only_appended ON amianai_' || 'audit.records'; END $$", "keep the record"),
        ("DO $$ BEGIN EXECUTE 'ALTER ROLE analyst PASS' || 'WORD ''hunter2'''; END $$", "changes roles in a way that its text"),
        ("DO $$ BEGIN EXECUTE 'CREATE ROLE ' || 'hidden'; END $$", "changes roles in a way that its text"),
    ],
)
def test_what_the_text_hides_the_server_tells(work: Database, text: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(work)
    monkeypatch.setattr(admin, "_require_plain", lambda _: None)
    administrator = Administrator(work.target, work.outputs, {ENABLE: "true"})
    with pytest.raises(AmianaiError, match=why):
        administrator.execute(administrator.sql(text), reason="a test", confirmed=DOMAIN)
    assert everything(work) == before
    with work.superuser() as connection:
        assert connection.execute("SELECT count(*) FROM pg_authid WHERE rolname = 'hidden' OR rolpassword ~ 'hunter2'").fetchone() == (0,)
        assert connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'analyst'").fetchone() == (None,)


def test_roles_are_changed_where_the_text_says_so(work: Database) -> None:
    administrator = Administrator(work.target, work.outputs, {ENABLE: "true"})
    plan = administrator.sql("ALTER ROLE analyst LOGIN; ALTER ROLE analyst NOLOGIN")
    administrator.execute(plan, reason="a test", confirmed=DOMAIN)


@pytest.mark.parametrize("content", [b"DELETE FROM users;\0SELECT 1", "DELETE FROM users".encode("utf-16-le"), b"SELECT '\xff'"])
def test_a_file_that_would_not_reach_the_server_as_it_stands_is_refused(run: Run, work: Database, tmp_path: Path, content: bytes) -> None:
    before, file = fingerprint(work), tmp_path / "fix.sql"
    file.write_bytes(content)
    assert "fix.sql" in run("sql", "--write", "--file", str(file), *GIVEN, code=2).stderr
    assert fingerprint(work) == before
    file.write_bytes(b"\xef\xbb\xbfSELECT 1 AS one")
    assert json.loads(run("sql", "--file", str(file)).stdout) == [{"one": 1}]


SECRET = "alice@hunter2.example"
DATA = (
    f"'{SECRET}'::int",
    f"'{SECRET}'::timestamptz",
    f"'{SECRET}'::jsonb",
    f"'{SECRET}'::int[]",
    f"'{SECRET}'::uuid",
    f"to_date('{SECRET}', 'YYYY')",
    "'9999999999999999999'::int",
    f"convert_from('\\xe9{SECRET.encode().hex()}', 'UTF8')",
    f"""'say "{SECRET}" "'::numeric""",
)


@pytest.mark.parametrize("expression", DATA)
def test_what_the_server_says_of_data_is_told_without_the_value(work: Database, expression: str) -> None:
    with work.connect() as connection, pytest.raises(psycopg.DataError) as caught:
        connection.execute(f"SELECT {expression}".encode())
    shown = f"{said(caught.value)} {translate(caught.value, 'a test')}"
    assert "where: 22" in shown
    assert not any(one in shown for one in ("hunter2", "99999", "0x"))


def test_an_error_does_not_quote_rows(run: Run, work: Database) -> None:
    """Neither on the screen, which shows the SQL itself before, nor in the record."""
    raises = f"DO $$ BEGIN RAISE unique_violation USING MESSAGE = 'there is {SECRET} already'; END $$"
    for text, code in ((f"UPDATE users SET preferences = to_jsonb('{SECRET}'::int)", "22P02"), (raises, "23505: unique violation")):
        error = run("sql", "--write", text, *GIVEN, code=1).stderr.partition("Error: ")[2]
        assert code in error
        assert "hunter2" not in error + events(work)[-1]["error"]
    assert "hunter2" not in run("sql", f"SELECT '{SECRET}'::int", code=1).stderr


def test_sql_that_reads_needs_no_gate_and_is_on_record(run: Run, work: Database) -> None:
    found = json.loads(run("sql", "SELECT email, 1 AS one FROM users;", enabled=None).stdout)
    assert found == [{"email": "a@example.com", "one": 1}]
    begun, ended = events(work)[-2:]
    assert (begun["action"], begun["detail"], ended["rows"]) == ("query", "SELECT email, 1 AS one FROM users;", 1)


@pytest.mark.parametrize("write", [(), ("--write", *GIVEN)])
def test_rows_that_python_has_no_word_for_are_shown_as_the_server_writes_them(run: Run, write: tuple[str, ...]) -> None:
    text = (
        "SELECT 'infinity'::timestamptz AS a, date '0044-03-15 BC' AS a, '-infinity'::timestamp AS b, '24:00'::time AS a_2,"
        " ARRAY['infinity'::date] AS c, '2026-03-01'::date AS d"
    )
    found = json.loads(run("sql", *write, text).stdout)
    rows = found["result"] if write else found
    assert rows == [{"a": "infinity", "a_2": "0044-03-15 BC", "b": "-infinity", "a_2_2": "24:00:00", "c": ["infinity"], "d": "2026-03-01"}]


def test_of_many_rows_those_that_are_shown_are_read(run: Run, work: Database) -> None:
    """The server sends them one by one, and is told to stop: the last of them would divide by zero."""
    found = run("sql", "SELECT number, 1 / (5000000 - number) FROM generate_series(1, 5000000) number")
    assert len(json.loads(found.stdout)) == 1000
    assert "first 1000 rows" in found.stderr
    assert events(work)[-1]["rows"] == 1000


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM users",
        "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
        "SELECT set_config('transaction_read_only', 'off', false); DELETE FROM users",
        "SELECT 1; DELETE FROM users",
        "CREATE TABLE mine (one int)",
        "CREATE TEMP TABLE mine (one int)",
        "SELECT lo_create(0)",
        "SELECT nextval('numbers')",
        "SELECT * FROM amianai_audit.records",
        "SET ROLE product_admin",
        "SELECT * FROM users FOR UPDATE",
        "COPY users TO PROGRAM 'cat'",
        "DO $$ BEGIN DELETE FROM users; END $$",
        "SET TRANSACTION READ WRITE",
        "SET default_transaction_read_only = off",
    ],
)
def test_sql_that_does_more_than_read_changes_nothing(run: Run, work: Database, text: str) -> None:
    before = fingerprint(work)
    result = CliRunner().invoke(cli, ["--sandbox", "db", "admin", "sql", text])
    assert fingerprint(work) == before
    if not text.startswith("SET "):  # which changes a session that is over
        assert result.exit_code in (1, 3), result.output
    with work.connect() as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)


def test_reading_without_the_log_group_is_refused_too(run: Run, work: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: work.outputs.model_copy({"audit_log_group": ""}))
    run("sql", "SELECT 1", code=3)


def test_a_role_goes_and_what_it_owns_stays(run: Run, work: Database) -> None:
    with work.superuser() as connection:
        connection.execute("CREATE SCHEMA theirs AUTHORIZATION analyst")
    run("drop-role", "analyst", *GIVEN)
    with work.connect() as connection:
        owner = connection.execute("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'theirs'").fetchone()
        assert owner == (work.outputs.database.username,)
        connection.execute("DROP SCHEMA theirs")


def test_some_roles_are_not_for_dropping(run: Run, work: Database) -> None:
    for role in (work.outputs.database.username, "postgres", "pg_monitor", "rds_superuser"):
        run("drop-role", role, *GIVEN, code=3)
    run("drop-role", "nobody_here", *GIVEN, code=1)
    run("drop-role", 'analyst"; DROP TABLE users; --', *GIVEN, code=1)


def test_a_snapshot_comes_first_and_its_failure_ends_it(work: Database) -> None:
    made: list[str] = []

    def snapshot(action: str) -> str:
        made.append(action)
        if len(made) > 1:
            raise RefusedError("no snapshot")
        return "eeyore-1"

    administrator = Administrator(work.target, work.outputs, {ENABLE: "true"}, snapshot=snapshot)
    plan = administrator.truncate(["users"], cascade=True)
    assert "  first a snapshot of the instance" in plan.text()
    assert administrator.execute(plan, reason="a test", confirmed=DOMAIN).snapshot == "eeyore-1"
    assert "eeyore-1" in events(work)[-1]["detail"]
    with work.connect() as connection:
        connection.execute(USER.encode())
    with pytest.raises(RefusedError, match="no snapshot"):
        administrator.execute(plan, reason="a test", confirmed=DOMAIN)
    assert fingerprint(work)[0] == (1,)


def test_the_list_without_the_database(work: Database) -> None:
    gone = work.outputs.model_copy({"database": work.outputs.database.model_copy({"port": 1})})
    said: list[str] = []
    found = Administrator(work.target, gone, {}, say=said.append).records(3)
    assert [one.found_in for one in found] == ["not compared"] * 3
    assert "does not answer" in said[0]
    there = Administrator(work.target, work.outputs, {}).records(3)
    assert [one.event for one in there] == [one.event for one in found]
    assert {one.found_in for one in there} == {"both"}


FORGED = "INSERT INTO amianai_audit.records VALUES (gen_random_uuid(), 'ended', {at}, 'me', 'h', {action}, '', '', 'done', 1, '')"


def test_the_list_marks_what_the_owner_forged(run: Run, work: Database) -> None:
    run("truncate", "messages", *GIVEN)
    begun, ended = events(work)[-2:]
    with work.connect() as connection:
        connection.execute("ALTER TABLE amianai_audit.records DISABLE TRIGGER only_appended")
        connection.execute("UPDATE amianai_audit.records SET who = 'another' WHERE id = %s AND phase = 'begun'", (begun["id"],))
        connection.execute("DELETE FROM amianai_audit.records WHERE id = %s AND phase = 'ended'", (ended["id"],))
        connection.execute(FORGED.format(at="now()", action="E'x\\x1b[2J\\n2026'").encode())
    try:
        shown = run("audit", "-n", "3", enabled=None)
        forged, second, first = json.loads(shown.stdout)
        assert (forged["who"], forged["found_in"], forged["differs"]) == ("me", "table", [])
        assert second == {**ended, "found_in": "log group", "differs": []}
        assert first == {**begun, "found_in": "both", "differs": ["who"]}
        assert "do not agree on 3 of these 3" in shown.stderr
        text = CliRunner().invoke(cli, ["--sandbox", "db", "admin", "audit", "-n", "3"]).stdout
        assert "\x1b" not in text
        assert "x\\x1b[2J\\n2026" in text
        assert "only in the table" in text
    finally:
        with work.connect() as connection:
            connection.execute("DELETE FROM amianai_audit.records WHERE who IN ('me', 'another')")
            connection.execute("ALTER TABLE amianai_audit.records ENABLE ALWAYS TRIGGER only_appended")


@pytest.mark.parametrize("at", ["'infinity'", "'-infinity'", "'20000-01-01'", "'0044-03-15 BC'"])
def test_a_time_that_python_has_no_word_for_is_listed(run: Run, work: Database, at: str) -> None:
    with work.connect() as connection:
        connection.execute("ALTER TABLE amianai_audit.records DISABLE TRIGGER only_appended")
        connection.execute(FORGED.format(at=at, action="'x'").encode())
    try:
        assert "me" in {one["who"] for one in json.loads(run("audit", "-n", "1000", enabled=None).stdout)}
    finally:
        with work.connect() as connection:
            connection.execute("DELETE FROM amianai_audit.records WHERE who = 'me'")
            connection.execute("ALTER TABLE amianai_audit.records ENABLE ALWAYS TRIGGER only_appended")


def test_the_list_before_there_is_a_table(run: Run, work: Database) -> None:
    with work.connect() as connection:
        connection.execute("ALTER SCHEMA amianai_audit RENAME TO hidden")
    try:
        shown = run("audit", "-n", "1", enabled=None)
        assert [one["found_in"] for one in json.loads(shown.stdout)] == ["not compared"]
        assert "amianai_audit.records" in shown.stderr
    finally:
        with work.connect() as connection:
            connection.execute("ALTER SCHEMA hidden RENAME TO amianai_audit")


def test_nothing_to_run() -> None:
    for text in ("", "  ", "-- nothing", ";"):
        with pytest.raises(ConfigurationError):
            Administrator(None, None, {}).sql(text)  # type: ignore[arg-type]


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_rows_columns_and_errors_of_a_real_server_are_shown_and_never_obeyed(run: Run) -> None:
    """Whatever PostgreSQL can hold: anything but NUL and halves of surrogate pairs."""
    texts = [text for text in HOSTILE if "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)]
    assert len(texts) > 200
    query = ", ".join(f"({number}, {literal(text)}, {literal(text)})" for number, text in enumerate(texts))
    found = CliRunner().invoke(cli, ["--sandbox", "db", "admin", "sql", f"SELECT b, a, c FROM (VALUES {query}) AS v (a, b, c) ORDER BY a"])
    assert found.exit_code == 0, found.stderr
    assert len(found.stdout.splitlines()) == 1 + len(texts)
    assert faults(found.stdout + found.stderr) == []
    for text in texts[::24]:
        name = '"' + text.replace('"', '""')[:60] + '"'
        for statement in (f"SELECT 1 AS {name}", f"SELECT {name}", f"SELECT {literal(text)}::int", f"SELECT * FROM {name}"):
            said = CliRunner().invoke(cli, ["--sandbox", "db", "admin", "sql", statement])
            assert isinstance(said.exception, (SystemExit, type(None))), said.exception
            assert faults(said.stdout + said.stderr) == [], ascii(statement)
    listed = CliRunner().invoke(cli, ["--sandbox", "db", "admin", "audit", "-n", "500"])
    assert listed.exit_code == 0
    assert faults(listed.stdout + listed.stderr) == []
