"""What our reading of SQL says, against the real server's own: its scanner, its splitting, its transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import ExecStatus, TransactionStatus

from amianai_infra.database.sql_text import statements, transaction_control
from tests.database import Database

Link = psycopg.Connection[tuple[object, ...]]
FEW, MANY = 60, 5_000

INSIDE = st.text(st.sampled_from("a;$'\"\\-/*()\n\r\t\v\xa0\u2003é€%e1 "), max_size=8)
TAG = st.text(st.sampled_from("aé€_\u2003"), max_size=2)
SPACE = st.one_of(
    st.sampled_from([" ", "\n", "\r", "\t", " -- ;\n", " -- COMMIT;\r", "/**/", " /* ; /* COMMIT; */ ' */ "]),
    INSIDE.map(lambda text: f"/*{text.replace('/', '').replace('*', '')}*/"),
    st.tuples(INSIDE, st.sampled_from("\n\r")).map(lambda pair: f"--{pair[0].translate({10: None, 13: None})}{pair[1]}"),
)
LITERAL = st.one_of(
    INSIDE.map(lambda text: "'" + text.replace("'", "''") + "'"),
    INSIDE.map(lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    st.tuples(INSIDE, INSIDE).map(lambda pair: "e'" + "'\n  '".join(text.replace("\\", "\\\\").replace("'", "\\'") for text in pair) + "'"),
    st.tuples(TAG, INSIDE).map(lambda pair: f"${pair[0]}${pair[1].replace('$', '')}${pair[0]}$"),
    st.sampled_from(["1", "1.5", "1e-3", ".5", "0x1F", "1_000", "NULL::text"]),
)
NAME = st.one_of(
    INSIDE.map(lambda text: '"' + text.replace('"', '""') + 'x"'),
    st.sampled_from(["€$$", "é", "a$b$", "begin", "atomic", "\xa0", "\u2003$a$", "commit", "end"]),
)
COLUMN = st.tuples(LITERAL, SPACE, NAME).map(lambda parts: f"{parts[0]}{parts[1]} AS {parts[2]}")
SELECT = st.tuples(SPACE, st.lists(COLUMN, min_size=1, max_size=3), SPACE).map(
    lambda parts: f"SELECT{parts[0]} {', '.join(parts[1])}{parts[2]}"
)
BODY = (
    "CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT CASE WHEN true THEN 1 END end; END",
    "CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int RETURN 1",
    "CREATE OR REPLACE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); INSERT INTO u VALUES (2))",
    "SELECT begin, atomic FROM (VALUES (1, 2)) v (begin, atomic)",
    "SELECT 1 AS commit",
    "SAVEPOINT a",
    "",
)
SCRIPT = st.lists(st.one_of(SELECT, st.sampled_from(BODY)), max_size=6).map(";".join)
PIECES = (
    "SELECT 1|SELECT|;|;|COMMIT|ROLLBACK|END|ABORT|; COMMIT;|AND CHAIN|START TRANSACTION|begin|atomic|BEGIN ATOMIC|AS|FROM t|(|)|,|'|''"
    "|E'|\\'|\\|U&'|U&\"|\"|$$|$a$|$é$|€$$|x$$|$1|1|1.|.5|0x|--|/*|*/|\n|\r|\t|\v|\xa0|%s|%(a)s|CREATE FUNCTION pg_temp.f() RETURNS int"
    "|CREATE PROCEDURE pg_temp.p()|CASE WHEN true THEN 1 END|end|PREPARE TRANSACTION 'x'|ROLLBACK TO a|SAVEPOINT a"
)
PIECE = st.one_of(
    st.sampled_from(PIECES.split("|")),
    SPACE,
    LITERAL,
    NAME,
)
SOUP = st.lists(st.one_of(PIECE, st.just(" ")), max_size=14).map("".join)


@pytest.fixture(scope="module")
def link(shared: Database) -> Iterator[Link]:
    with shared.connect() as connection:
        connection.execute("CREATE TABLE t (one int); CREATE TABLE u (one int); SET client_min_messages = error")
        yield connection


def results(link: Link, text: str) -> tuple[int, str]:
    """How many statements the server found in a text, and the state of the error that ended it; empty where none did."""
    link.pgconn.send_query(text.encode())
    count, state = 0, ""
    while (result := link.pgconn.get_result()) is not None:
        if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            count += 1
        elif result.status != ExecStatus.EMPTY_QUERY:
            state = (result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"?").decode()
    return count, state


def number(link: Link) -> bytes:
    """The transaction's, which it keeps to its end."""
    return link.pgconn.exec_(b"SELECT pg_current_xact_id()").get_value(0, 0) or b""


def splitting_agrees(link: Link, text: str) -> None:
    results(link, "BEGIN")
    count, state = results(link, text)
    results(link, "ROLLBACK")
    assert state[:2] not in ("42", "0A") or state in ("42601", "42P01"), ascii(text)
    if not state:
        assert len(list(statements(text))) == count, ascii(text)


def what_ends_a_transaction_is_seen(link: Link, text: str) -> None:
    results(link, "BEGIN")
    before = number(link)
    results(link, text)
    status = link.info.transaction_status
    if status == TransactionStatus.INERROR:
        results(link, "ROLLBACK")
        ended = link.pgconn.exec_(b"SELECT pg_xact_status('" + before + b"'::xid8)").get_value(0, 0) != b"aborted"
    else:
        ended = status == TransactionStatus.IDLE or number(link) != before
        results(link, "ROLLBACK")
    assert transaction_control(text) or not ended, ascii(text)


def tried(link: Link, check: Callable[[Link, str], None], texts: st.SearchStrategy[str], examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(texts)
    def run(text: str) -> None:
        check(link, text)

    run()


CASES = ((splitting_agrees, SCRIPT), (what_ends_a_transaction_is_seen, SOUP))


@pytest.mark.parametrize(("check", "texts"), CASES, ids=["splitting", "transactions"])
def test_we_read_sql_as_the_server_does(link: Link, check: Callable[[Link, str], None], texts: st.SearchStrategy[str]) -> None:
    tried(link, check, texts, FEW)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("check", "texts"), CASES, ids=["splitting", "transactions"])
def test_we_read_sql_as_the_server_does_many_times(link: Link, check: Callable[[Link, str], None], texts: st.SearchStrategy[str]) -> None:
    tried(link, check, texts, MANY)


HIDDEN = (
    "SELECT 1 -- x\r; COMMIT",
    "SELECT 1 AS €$$; COMMIT; SELECT 1 AS €$$",
    "SELECT 1 AS é$a$; COMMIT; SELECT 1 AS é$a$",
    "SELECT 1 AS \xa0$$; COMMIT; SELECT 1 AS \u2003$$",
    "SELECT begin, atomic FROM (VALUES (1, 2)) v (begin, atomic); COMMIT",
    "SELECT 1 AS begin, 2 AS atomic; SELECT 1 AS begin; COMMIT",
    "SELECT E'a'\n'\\''; COMMIT; SELECT ''",
    "CREATE OR REPLACE FUNCTION pg_temp.g() RETURNS int BEGIN ATOMIC SELECT 1 AS case; END; COMMIT",
    "CREATE OR REPLACE FUNCTION pg_temp.h() RETURNS int BEGIN ATOMIC SELECT 1 case; END; COMMIT",
)


@pytest.mark.parametrize("text", HIDDEN, ids=ascii)
def test_a_commit_that_other_scanners_miss(link: Link, text: str) -> None:
    what_ends_a_transaction_is_seen(link, text)
    results(link, "BEGIN")
    before = number(link)
    assert results(link, text)[1] == ""
    assert link.info.transaction_status == TransactionStatus.IDLE or number(link) != before, "this text ends a transaction"
    results(link, "ROLLBACK")
