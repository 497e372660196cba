"""docs/sandbox.md says what the code does."""

from __future__ import annotations

import pytest

from amianai_infra.sandbox import Sandbox
from amianai_infra.sandbox.documentation import PAGE, with_table
from amianai_infra.sandbox.install import EMULATOR_VERSION, POSTGRES_VERSION
from amianai_infra.sandbox.ports import PORT_VARIABLE


def test_the_table_of_gaps_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "run `python -m amianai_infra.sandbox.documentation`"


def test_versions_services_and_variables_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for word in (EMULATOR_VERSION, POSTGRES_VERSION.partition("-")[0], PORT_VARIABLE, "AMIANAI_CACHE", *Sandbox.NAMES):
        assert word in page


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        with_table("# The sandbox\n")
