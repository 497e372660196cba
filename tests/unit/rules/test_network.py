"""The CIDR plan."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.network import nat_count, subnet_plan

NETWORKS = st.builds(lambda address, bits: str(IPv4Network((address, bits), strict=False)), st.integers(0, 2**32 - 1), st.integers(16, 20))


def test_the_default_plan() -> None:
    plan = subnet_plan("10.0.0.0/16", 3)
    assert plan.public == ("10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24")
    assert plan.private == ("10.0.10.0/24", "10.0.11.0/24", "10.0.12.0/24")


@given(NETWORKS)
def test_a_third_zone_moves_nothing(cidr: str) -> None:
    two, three = subnet_plan(cidr, 2), subnet_plan(cidr, 3)
    assert three.public[:2] == two.public
    assert three.private[:2] == two.private


@given(NETWORKS, st.sampled_from([2, 3]))
def test_blocks_lie_inside_and_never_overlap(cidr: str, zones: int) -> None:
    plan = subnet_plan(cidr, zones)
    blocks = [IPv4Network(one) for one in plan.public + plan.private]
    assert len(blocks) == 2 * zones
    assert all(block.subnet_of(IPv4Network(cidr)) and block.prefixlen == 24 for block in blocks)
    assert not any(one.overlaps(other) for index, one in enumerate(blocks) for other in blocks[index + 1 :])


@pytest.mark.parametrize(
    ("cidr", "zones"), [("10.0.0.0/21", 2), ("10.0.0.0/15", 2), ("10.0.0.1/16", 2), ("x", 2), ("10.0.0.0/16", 1), ("10.0.0.0/16", 4)]
)
def test_what_cannot_be_planned_is_refused(cidr: str, zones: int) -> None:
    with pytest.raises(ValueError):
        subnet_plan(cidr, zones)


def test_nat_modes() -> None:
    assert [nat_count(mode, 3) for mode in ("none", "single", "per-az")] == [0, 1, 3]
    with pytest.raises(ValueError, match="none, single, per-az"):
        nat_count("some", 2)
