"""What follows from the PostgreSQL version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules import postgres


@given(st.integers(10, 99), st.integers(0, 99))
def test_a_minor_release_keeps_the_family(major: int, minor: int) -> None:
    assert postgres.parameter_family(f"{major}.{minor}") == postgres.parameter_family(str(major)) == f"postgres{major}"


@pytest.mark.parametrize("text", ["", "latest", "9.6", "sixteen", "-16"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a PostgreSQL version"):
        postgres.parameter_family(text)


@given(st.integers(20, 65536), st.integers(20, 65536))
def test_a_ceiling_leaves_a_tenth_to_grow(storage: int, ceiling: int) -> None:
    found = postgres.storage_ceiling(storage, ceiling)
    assert found is None or found >= storage * 1.1
    assert (found is None) == (ceiling * 10 < storage * 11)


def test_final_snapshots_have_names_of_their_own() -> None:
    assert postgres.final_snapshot("db", "a1") == "db-final-a1"
    assert postgres.final_snapshot("db", "") == "db-final"


def test_tls_is_forced_and_statements_are_counted() -> None:
    found = {one.name: one for one in postgres.parameters(1000)}
    assert found["rds.force_ssl"].value == "1"
    assert found["shared_preload_libraries"].apply == "pending-reboot"
    assert found["log_min_duration_statement"].value == "1000"
