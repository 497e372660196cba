"""The CIDR plan of the VPC. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

PUBLIC_FIRST = 1
PRIVATE_FIRST = 10
MOST_ZONES = 3


@dataclass(frozen=True)
class SubnetPlan:
    """Address ranges by availability zone, in order."""

    public: tuple[str, ...]
    private: tuple[str, ...]


def subnet_plan(cidr: str, zones: int = MOST_ZONES) -> SubnetPlan:
    """One public and one private /24 a zone, at fixed places, so that a third zone moves nothing.

    In 10.0.0.0/16: public 10.0.1.0 to 10.0.3.0, private 10.0.10.0 to 10.0.12.0.

    Args:
        cidr: the VPC's range, /16 to /20.
        zones: availability zones in use, 2 or 3.

    Raises:
        ValueError: the range is no network, too small, larger than a VPC may be, or the zones are out of range.

    Source: Amazon VPC User Guide, "VPC CIDR blocks": a VPC holds a /16 at most.
    """
    network = IPv4Network(cidr)
    if not 16 <= network.prefixlen <= 20:
        raise ValueError(f"{cidr}: must be a /16 to /20")
    if not 2 <= zones <= MOST_ZONES:
        raise ValueError(f"{zones} availability zones: must be 2 or {MOST_ZONES}")
    blocks = list(network.subnets(new_prefix=24))
    return SubnetPlan(
        public=tuple(str(block) for block in blocks[PUBLIC_FIRST : PUBLIC_FIRST + zones]),
        private=tuple(str(block) for block in blocks[PRIVATE_FIRST : PRIVATE_FIRST + zones]),
    )


def nat_count(nat: str, zones: int) -> int:
    """How many NAT gateways a mode means.

    Raises:
        ValueError: the mode is unknown.
    """
    counts = {"none": 0, "single": 1, "per-az": zones}
    if nat not in counts:
        raise ValueError(f"{nat}: NAT is one of {', '.join(counts)}")
    return counts[nat]
