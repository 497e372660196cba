from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.records import WIDTH, compare, lines


def event(identity: str, at: str = "2026-01-01T00:00:00.000+00:00", **changes: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "phase": "ended",
        "at": at,
        "who": "arn",
        "host": "here",
        "action": "sql",
        "detail": "SELECT 1",
        "reason": "",
        "outcome": "done",
        "rows": 1,
        "error": "",
        **changes,
    }


def test_where_each_was_found() -> None:
    log = [event("same"), event("other"), event("gone"), event("other", who="a later word")]
    table = [event("same"), event("other", who="me", rows=2), event("made up")]
    found = {one.event["id"]: (one.found_in, list(one.differs)) for one in compare(log, table, 10)}
    assert found == {"same": ("both", []), "other": ("both", ["who", "rows"]), "gone": ("log group", []), "made up": ("table", [])}


def test_without_the_table_nothing_is_said_about_it() -> None:
    (only,) = compare([event("one")], None, 10)
    assert (only.found_in, only.mark) == ("not compared", "")


def test_the_newest_first_and_no_more_than_asked_for() -> None:
    log = [event(str(year), f"20{year}-01-01T00:00:00.000+00:00") for year in range(20, 26)]
    table = [event("31", "2031-01-01T00:00:00.000+00:00")]
    assert [one.event["id"] for one in compare(log, table, 3)] == ["31", "25", "24"]


def test_columns_are_aligned() -> None:
    text = lines(compare([event("a"), event("b", action="drop role", outcome="interrupted", rows=None)], None, 2))
    heads = [line for line in text if line.startswith("2026")]
    assert len(heads) == 2
    assert {line.index("done" if "done" in line else "interrupted") for line in heads} == {
        len("2026-01-01T00:00:00.000+00:00  drop role  ")
    }


_ANYTHING = st.text(st.characters(exclude_categories=()))


@given(_ANYTHING, _ANYTHING, st.integers())
def test_whatever_a_record_holds_is_harmless_and_fits(one: str, other: str, rows: int) -> None:
    found = event("a", who=one, host=other, action=one, detail=other, reason=one, outcome=other, error=one, rows=rows)
    head, *below = lines(compare([found], [], 1))
    assert all(line.isprintable() and len(line) <= WIDTH for line in (head, *below))
    assert head.startswith("2026")
    assert all(line.startswith("    ") for line in below)
