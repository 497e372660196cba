"""docs/aws.md says what the operator policy is."""

from __future__ import annotations

from pathlib import Path

from amianai_infra.config import Settings
from amianai_infra.operations.cost import estimate
from amianai_infra.rules.operator_policy import operator_policies

PAGE = (Path(__file__).parents[3] / "docs" / "aws.md").read_text()
SETTINGS = Settings(domain_name="example.com")


def test_the_number_of_policies() -> None:
    assert len(operator_policies(SETTINGS)) == 4, "docs/aws.md splits the list into four files"
    assert "for i in 0 1 2 3; do" in PAGE


def test_the_cost() -> None:
    found = estimate(SETTINGS)
    assert f"**{found.total:.2f}**" in PAGE
    for line in found.lines:
        assert f"{line.dollars:.2f}" in PAGE, line.name
