"""Where rows are in a text, and what is left of it for whoever reads SQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.database.copy_rows import blocks, without_rows
from amianai_infra.database.sql_text import copies, transaction_control

ROW = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\\\0"), max_size=12)
HEAD = "COPY t FROM stdin;\n"


def table(rows: list[str]) -> str:
    return HEAD + "".join(f"{row}\n" for row in rows) + "\\.\nSELECT 1;\n"


@given(st.lists(st.lists(ROW, max_size=4), max_size=3))
def test_no_row_is_taken_for_sql(tables: list[list[str]]) -> None:
    text = "".join(map(table, tables))
    assert [text[block.rows : block.mark].split("\n")[:-1] for block in blocks(text)] == tables
    left = without_rows(text)
    assert (len(left), left.count("\n"), transaction_control(left)) == (len(text), text.count("\n"), "")
    assert left.split() == [*HEAD.split(), "SELECT", "1;"] * len(tables)
    assert copies(without_rows(text, statements=True)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "COPY t FROM stdin; 1\n\\.\n",
        "COPY t TO stdout;\n1\n\\.\n",
        "SELECT 'COPY t FROM stdin;\n1\n\\.\n'",
        "COPY t FROM 'file';\n\\.\n",
        "COPY t FROM stdin;\n1\n",
        "SELECT '\\restrict a'",
    ],
)
def test_what_only_looks_like_rows_is_sql(text: str) -> None:
    assert without_rows(text) == text


def test_what_is_for_psql_alone_is_passed_over() -> None:
    assert without_rows("\\restrict Ab1\nSELECT 1;\n\\unrestrict Ab1\n").split() == ["SELECT", "1;"]
