from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.database.migrate import FOLDER
from amianai_infra.database.sql_text import LONGEST, copies, in_transaction, shape, spans, statements, tokens, transaction_control, value

CALM = (
    "CREATE TABLE a (b text DEFAULT 'COMMIT; ROLLBACK')",
    "-- BEGIN\nSELECT 1 /* ; COMMIT /* nested */ ; END */",
    "DO $$ BEGIN PERFORM 1; END; $$",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $body$ BEGIN RETURN 1; COMMIT; END; $body$",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 ELSE 2 END; SELECT 2; END; SELECT 3",
    "SELECT \"COMMIT;\" FROM a; SELECT E'it\\'s; COMMIT'",
    "SAVEPOINT a; ROLLBACK TO a; ROLLBACK TRANSACTION TO SAVEPOINT a; RELEASE a",
    "SELECT $tag$ $$ ; COMMIT; $$ $tag$",
    "SELECT a$b$c; SELECT 1 AS committed",
    "SELECT 1 AS \xa0$$ -- ; COMMIT\r, 2 AS €$$",
    "SELECT E'a'\n  '\\'; COMMIT'",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b); SELECT 1",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT 1 case; END",
    "SELECT COMM\u0131T; COMM\u0131T",
)


@pytest.mark.parametrize("text", CALM)
def test_what_only_looks_like_the_end_of_a_transaction(text: str) -> None:
    assert transaction_control(text) == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1; COMMIT", "COMMIT"),
        ("  begin;", "BEGIN"),
        ("START TRANSACTION", "START TRANSACTION"),
        ("SELECT 1;; end", "END"),
        ("/* x */ rollback -- y", "ROLLBACK"),
        ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
        ("SELECT $$a$$; COMMIT", "COMMIT"),
        ("SELECT $a$ $$ $a$; COMMIT AND CHAIN", "COMMIT AND"),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT", "COMMIT"),
        ("SELECT 1 -- x\r; COMMIT", "COMMIT"),
        ("SELECT 1 AS €$$; COMMIT; SELECT 1 AS €$$", "COMMIT"),
        ("SELECT begin, atomic FROM t; COMMIT", "COMMIT"),
        ("SELECT begin atomic; COMMIT", "COMMIT"),
        ("CREATE FUNCTION f(begin atomic) RETURNS int RETURN 1; COMMIT", "COMMIT"),
        ("SELECT E'a'\n'\\''; COMMIT; SELECT ''", "COMMIT"),
    ],
)
def test_what_ends_a_transaction(text: str, found: str) -> None:
    assert transaction_control(text) == found


@pytest.mark.parametrize(
    ("kind", "token", "meant"),
    [
        ("escaped", r"E'\x61mianai\137\u0061u\U00000064it'", "E'amianai_audit'"),
        ("escaped", "e'ami'\n 'an\\ai'", "e'amianai'"),
        ("escaped", r"E'\\x61\''", r"E'\x61''"),
        ("literal", r"'\x61'", r"'\x61'"),
    ],
)
def test_escapes_are_what_they_stand_for(kind: str, token: str, meant: str) -> None:
    assert value(kind, token) == meant


def test_our_own_files_are_many_statements() -> None:
    first = list(statements((FOLDER / "0001_application.sql").read_text()))
    assert [words[:2] for words in first].count(("CREATE", "TABLE")) == 5
    assert all(words[0] in ("CREATE", "COMMENT") for words in first)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SELECT *\n  FROM users WHERE id = %s", "SELECT * FROM users WHERE id = %s"),
        ("ALTER ROLE a PASSWORD 'hunter2'", "ALTER ROLE a PASSWORD ?"),
        ("SELECT E'hunter\\'2', $$hunter2$$, $a$hunter2$a$, 12345, 1.5e-3", "SELECT ?, ?, ?, ?, ?"),
        ('SELECT a1, "b 2" FROM t -- hunter2', 'SELECT a1, "b 2" FROM t'),
        ("SELECT /* hunter2 */ $1", "SELECT $1"),
        ("SELECT 'unfinished hunter2", "SELECT ?"),
    ],
)
def test_a_logged_statement_has_no_values(text: str, line: str) -> None:
    assert shape(text) == line


@given(st.text(st.characters(exclude_characters="'\\\0"), max_size=200))
def test_no_literal_reaches_a_log(secret: str) -> None:
    assert shape(f"SELECT '{secret}'") == "SELECT ?"


def test_comments_behind_a_literal_are_read_once() -> None:
    """Each of them may be where a literal goes on: read in every way there is, a few of them take for ever."""
    assert transaction_control("SELECT 'a' " + "-- " * 2_000 + "\n x; COMMIT") == "COMMIT"


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    list(tokens(text))
    places = [(start, end) for _, start, end in spans(text)]
    assert all(one < other for one, other in pairwise(place for span in places for place in span)), "in order, none empty"
    assert len(in_transaction(text)) == len(text)
    assert len(shape(text * 10)) <= LONGEST + 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("COPY users FROM STDIN;", 1),
        ("SELECT 1;\n\ncopy public.users (id, email)\nfrom stdin with (format csv);\n1\tit's a\n\\.\n", 3),
        ("/* COPY */ COPY (SELECT 1) TO STDOUT", 1),
        ("COPY t FROM /* here */ stdin", 1),
        ("SELECT 1; -- COPY\nCOPY t TO stdin", 2),
        ("COPY (SELECT 'a;' FROM b) TO STDOUT", 1),
        ("COPY t FROM 'file'", 0),
        ("COPY t TO PROGRAM 'stdout'", 0),
        ("SELECT 'COPY t FROM STDIN'", 0),
        ("CREATE TABLE copy (stdin int); SELECT stdin FROM copy", 0),
        ("SELECT 1 AS copy FROM stdin", 0),
        ("DO $$ BEGIN PERFORM 'COPY t FROM STDIN'; END $$", 0),
    ],
)
def test_the_line_of_a_copy_through_the_client(text: str, line: int) -> None:
    assert copies(text) == line


def test_each_statement_has_its_place() -> None:
    text = " -- first;\nCREATE INDEX CONCURRENTLY i ON t (a) ; ;\n1;DO $$ BEGIN; END $$\n"
    assert [(words[:1], text[start:end]) for words, start, end in spans(text)] == [
        (("CREATE",), "CREATE INDEX CONCURRENTLY i ON t (a)"),
        ((), "1"),
        (("DO",), "DO $$ BEGIN; END $$"),
    ]


def test_the_same_work_for_a_transaction_keeps_every_place() -> None:
    text = "CREATE INDEX CONCURRENTLY i ON t ((a = 'CONCURRENTLY'));\nVACUUM\n t;REINDEX (CONCURRENTLY) TABLE t; SELECT 1"
    assert in_transaction(text) == f"CREATE INDEX{' ' * 13} i ON t ((a = 'CONCURRENTLY'));\n{' ' * 6}\n{' ' * 2};{' ' * 30}; SELECT 1"
