"""Whether a copy may take over: explained differences are notes, unexplained ones stop the restore."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from amianai_infra.database.backups import healthy
from amianai_infra.database.checks import Contents, Facts, compare

NEWEST = datetime(2026, 3, 1, 11, tzinfo=UTC)
RUNNING = Facts(
    ledger={"1": ("application", "aa"), "2": ("audit", "bb")},
    tables={"public.users": Contents(10, NEWEST), "public.messages": Contents(500, NEWEST)},
    constraints={"public.users: users_pkey": "PRIMARY KEY (id)", "public.messages: fk": "FOREIGN KEY (x)"},
)


def levels(copy: Facts, running: Facts | None = RUNNING) -> dict[str, str]:
    return {one.what: one.level for one in compare(copy, running)}


def test_the_same() -> None:
    assert set(levels(RUNNING).values()) == {"ok"}
    assert RUNNING.rows == 510


def test_older_data_is_explained() -> None:
    older = replace(RUNNING, tables={**RUNNING.tables, "public.messages": Contents(400, NEWEST.replace(hour=9))})
    found = compare(older, RUNNING)
    assert healthy(found)
    (messages,) = [one for one in found if one.what == "public.messages"]
    assert messages.fact == "400 rows, newest 2026-03-01 09:00:00; the running database 500 rows, newest 2026-03-01 11:00:00"


def test_a_dropped_table_is_only_in_the_copy() -> None:
    broken = replace(RUNNING, tables={"public.users": Contents(10, NEWEST)}, constraints={"public.users: users_pkey": "PRIMARY KEY (id)"})
    assert levels(RUNNING, broken) == {"migrations": "ok", "public.messages": "note", "public.users": "ok", "constraints": "ok"}


def test_a_bad_migration_is_not_in_the_copy() -> None:
    migrated = replace(RUNNING, ledger={**(RUNNING.ledger or {}), "3": ("bad", "cc")})
    found = compare(RUNNING, migrated)
    assert healthy(found)
    assert "applied later: 3" in found[0].fact


def test_what_no_age_explains_stops_the_restore() -> None:
    assert levels(replace(RUNNING, ledger={"1": ("application", "XX"), "2": ("audit", "bb")}))["migrations"] == "problem"
    assert levels(replace(RUNNING, ledger=None))["migrations"] == "problem"
    assert levels(replace(RUNNING, tables={}))["tables"] == "problem"
    assert levels(replace(RUNNING, unvalid=["public.messages: fk"]))["validity"] == "problem"
    assert levels(replace(RUNNING, constraints={"public.users: users_pkey": "PRIMARY KEY (id)"}))["constraints"] == "problem"


def test_constraints_of_other_migrations_are_explained() -> None:
    copy = replace(RUNNING, ledger={"1": ("application", "aa")}, constraints={"public.users: users_pkey": "PRIMARY KEY (id)"})
    assert levels(copy)["constraints"] == "note"


def test_what_was_not_valid_before_is_not_the_copys_fault() -> None:
    same = replace(RUNNING, unvalid=["public.messages: fk"])
    assert "validity" not in levels(same, same)


def test_without_a_running_database_there_is_nothing_to_compare() -> None:
    assert set(levels(RUNNING, None).values()) == {"ok"}
    assert levels(replace(RUNNING, ledger=None), None)["migrations"] == "note"
