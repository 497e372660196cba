from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.database.migrate import FOLDER
from amianai_infra.database.sql_text import LONGEST, shape, statements, tokens, transaction_control

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
    ],
)
def test_what_ends_a_transaction(text: str, found: str) -> None:
    assert transaction_control(text) == found


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


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    list(tokens(text))
    list(statements(text))
    assert len(shape(text * 10)) <= LONGEST + 3
