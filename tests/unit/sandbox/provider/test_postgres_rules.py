"""The pure rules of the real databases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.sandbox.provider.postgres import Setting, parameter_problem, snapshot_database

SETTINGS = {
    "work_mem": Setting("work_mem", "user", "integer", "64", "2147483647", None),
    "max_connections": Setting("max_connections", "postmaster", "integer", "1", "262143", None),
    "log_statement": Setting("log_statement", "superuser", "enum", None, None, ["none", "ddl", "mod", "all"]),
    "search_path": Setting("search_path", "user", "string", None, None, None),
}


@pytest.mark.parametrize(
    ("name", "value", "method", "said"),
    [
        ("work_mem", "4096", "immediate", ""),
        ("work_mem", "4MB", "immediate", "is not a number"),
        ("work_mem", "1", "immediate", "is not between 64 and 2147483647"),
        ("work_mem", "{DBInstanceClassMemory/32768}", "immediate", ""),
        ("max_connections", "100", "immediate", "cannot use immediate apply method for static parameter"),
        ("max_connections", "100", "pending-reboot", ""),
        ("log_statement", "everything", "immediate", "is not one of none, ddl, mod, all"),
        ("search_path", "anything", "immediate", ""),
        ("wrok_mem", "1", "immediate", "Could not find parameter with name: wrok_mem"),
        ("rds.force_ssl", "1", "immediate", ""),
        ("pg_stat_statements.track", "all", "immediate", ""),
    ],
)
def test_parameters_that_rds_refuses(name: str, value: str, method: str, said: str) -> None:
    found = parameter_problem(name, value, method, SETTINGS)
    assert said in found
    assert bool(said) == bool(found)


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,254}", fullmatch=True)


@given(NAMES, NAMES)
def test_each_snapshot_has_a_database_of_its_own(one: str, other: str) -> None:
    assert len(snapshot_database(one)) <= 63
    assert (snapshot_database(one) == snapshot_database(other)) == (one == other)
