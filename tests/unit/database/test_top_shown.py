"""Statements as `db top` shows them: no value in them survives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.database.top import shown


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT name FROM users\n  WHERE email = 'a@example.com' AND age > 30", "SELECT name FROM users WHERE email = ? AND age > ?"),
        ("select $1, $2 from t2 where a.b_3 = $10", "select $1, $2 from t2 where a.b_3 = $10"),
        ("INSERT INTO t VALUES (1.5, -2, 0x1F, E'a\\'b', $x$y'z$x$)", "INSERT INTO t VALUES (?, -?, ?, ?, ?)"),
        ("SELECT 'it''s' || 'x' AS \"Column 'one'\"", "SELECT ? || ? AS \"Column 'one'\""),
        ("SELECT 1 -- the password is x\n+ 2 /* and y */", "SELECT ? + ?"),
        ("SELECT 1 /* a /* b */ c */ + 2", "SELECT ? + ?"),
        ("(SELECT 1)", "(SELECT ?)"),
        ("/* route */ WITH a AS (SELECT 'x') TABLE a", "WITH a AS (SELECT ?) TABLE a"),
        ("ALTER ROLE app PASSWORD 'secret'", "ALTER ROLE …"),
        ("SET app.key = 'secret'", "SET app.key …"),
        ("DO $$ BEGIN PERFORM 1; END $$", "DO ?"),
        ("VACUUM", "VACUUM"),
        ("COMMIT;", "COMMIT;"),
        ("SELECT 'cut off he", "SELECT ?"),
        ("SELECT E'cut off \\", "SELECT ?"),
        ("SELECT $tag$cut off", "SELECT ?"),
        ("", ""),
    ],
)
def test_examples(statement: str, expected: str) -> None:
    assert shown(statement) == expected


SECRET = "hunter2Zq"
PIECES = st.sampled_from(
    ["SELECT ", "a ", "= ", "'x' ", "$1 ", '"n" ', "/* c */ ", "-- c\n", "$t$y$t$ ", "(", ") ", "e", "12 ", "\\ ", ", "]
)
LITERALS = st.sampled_from(
    [
        "'{}'",
        "'a''{}'",
        " E'\\'{}'",
        " e'{}\\\\'",
        "U&'{}'",
        "$${}$$",
        "$q$'{}$q$",
        "$q$ $$ {} $q$",
        "'\\{}'",
        "'\n{}\n'",
        "'/*{}'",
        "'--{}'",
    ]
)


@given(st.lists(PIECES, max_size=12), LITERALS, st.lists(PIECES, max_size=12), st.booleans())
def test_a_literal_never_shows_whatever_surrounds_it(before: list[str], literal: str, after: list[str], cut: bool) -> None:
    head = "SELECT " + "".join(before) + " "
    statement = head + literal.format(SECRET) + " " + "".join(after)
    if cut:
        statement = statement[: len(head) + literal.index("{") + len(SECRET)]
    assert SECRET not in shown(statement)


@given(st.text(max_size=200))
def test_any_text_is_one_line(text: str) -> None:
    found = shown(text)
    assert "\n" not in found
    assert shown("SELECT " + text).count("\n") == 0
