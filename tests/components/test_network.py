"""The network."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from amianai_infra.components.network import Network, NetworkArgs
from tests.components.recorder import ACCOUNT, Record

ARGS: NetworkArgs = {"prefix": "eeyore", "region": "us-east-1", "account": ACCOUNT}


def test_the_defaults(record: Record) -> None:
    found = record(lambda: Network("network", ARGS))

    assert found.counts() == {
        "Vpc": 1,
        "InternetGateway": 1,
        "DefaultSecurityGroup": 1,
        "Subnet": 4,
        "RouteTable": 3,
        "Route": 1,
        "RouteTableAssociation": 4,
        "VpcEndpoint": 1,
        "LogGroup": 1,
        "Role": 1,
        "RolePolicy": 1,
        "FlowLog": 1,
    }
    vpc = found.one("Vpc").inputs
    assert vpc["cidrBlock"] == "10.0.0.0/16"
    assert vpc["enableDnsHostnames"] is True
    assert vpc["tags"] == {"Name": "eeyore-vpc"}
    subnets = {one.name: (one.inputs["cidrBlock"], one.inputs["availabilityZone"]) for one in found.of("Subnet")}
    assert subnets == {
        "network-public-1": ("10.0.1.0/24", "us-east-1a"),
        "network-public-2": ("10.0.2.0/24", "us-east-1b"),
        "network-private-1": ("10.0.10.0/24", "us-east-1a"),
        "network-private-2": ("10.0.11.0/24", "us-east-1b"),
    }


def test_nothing_is_public_by_accident(record: Record) -> None:
    found = record(lambda: Network("network", ARGS))
    assert all(one.inputs["mapPublicIpOnLaunch"] is False for one in found.of("Subnet"))
    group = found.one("DefaultSecurityGroup").inputs
    assert not group.get("ingress")
    assert not group.get("egress")
    public = found.one("Route").inputs
    assert public == {"routeTableId": "network-public-rt-id", "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "network-igw-id"}
    associations = {one.inputs["subnetId"]: one.inputs["routeTableId"] for one in found.of("RouteTableAssociation")}
    assert associations == {
        "network-public-1-id": "network-public-rt-id",
        "network-public-2-id": "network-public-rt-id",
        "network-private-1-id": "network-private-rt-1-id",
        "network-private-2-id": "network-private-rt-2-id",
    }


def test_a_third_zone_moves_nothing(record: Record) -> None:
    two = record(lambda: Network("network", ARGS))
    three = record(lambda: Network("network", {**ARGS, "availability_zones": 3}))
    placed = [(one.name, one.inputs["cidrBlock"], one.inputs["availabilityZone"]) for one in three.of("Subnet")]
    assert {(one.name, one.inputs["cidrBlock"], one.inputs["availabilityZone"]) for one in two.of("Subnet")} < set(placed)
    assert three.options["network-public-1"]["ignore_changes"] == ["availabilityZone"]


@pytest.mark.parametrize(("nat", "zones", "gateways"), [("none", 2, 0), ("single", 3, 1), ("per-az", 3, 3)])
def test_nat_gateways(record: Record, nat: str, zones: int, gateways: int) -> None:
    found = record(lambda: Network("network", {**ARGS, "nat": nat, "availability_zones": zones}))
    assert found.counts().get("NatGateway", 0) == found.counts().get("Eip", 0) == gateways
    routes = [one.inputs for one in found.of("Route") if "natGatewayId" in one.inputs]
    assert len(routes) == (zones if gateways else 0)
    assert len({route["natGatewayId"] for route in routes}) == gateways
    assert {one.inputs["subnetId"] for one in found.of("NatGateway")} == {f"network-public-{i + 1}-id" for i in range(gateways)}


def test_flow_logs_may_write_into_their_own_group_alone(record: Record) -> None:
    found = record(lambda: Network("network", {**ARGS, "flow_log_days": 90}))
    group = found.one("LogGroup").inputs
    assert (group["name"], group["retentionInDays"]) == ("/eeyore/vpc/flow-logs", 90)
    log = found.one("FlowLog").inputs
    assert log["trafficType"] == "ALL"
    assert found.options["network-flow-log"]["delete_before_replace"] is True, "AWS refuses a second one beside it"
    assert log["logDestination"] == f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/eeyore/vpc/flow-logs"
    policy = found.one("RolePolicy").json("policy")
    assert all("/eeyore/vpc/flow-logs" in arn for statement in policy["Statement"] for arn in statement["Resource"])
    trust = found.one("Role").json("assumeRolePolicy")["Statement"][0]
    assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_the_s3_endpoint_serves_every_route_table(record: Record) -> None:
    endpoint = record(lambda: Network("network", {**ARGS, "region": pulumi.Output.from_input("eu-west-1")})).one("VpcEndpoint").inputs
    assert endpoint["vpcEndpointType"] == "Gateway"
    assert endpoint["serviceName"] == "com.amazonaws.eu-west-1.s3"
    assert endpoint["routeTableIds"] == ["network-public-rt-id", "network-private-rt-1-id", "network-private-rt-2-id"]


@pytest.mark.parametrize("wrong", [{"cidr": "10.0.0.0/21"}, {"cidr": "nonsense"}, {"availability_zones": 4}, {"nat": "double"}], ids=str)
def test_plain_mistakes_fail_at_once(record: Record, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        record(lambda: Network("network", {**ARGS, **wrong}))  # type: ignore[typeddict-item]


def test_a_mistake_in_an_output_fails_through_the_same_check(record: Record) -> None:
    with pytest.raises(ValueError, match="must be a /16 to /20"):
        record(lambda: Network("network", {**ARGS, "cidr": pulumi.Output.from_input("10.0.0.0/21")}))


def test_too_few_zones_in_the_region(record: Record) -> None:
    with pytest.raises(ValueError, match="the region has 1: only"):
        record(lambda: Network("network", {**ARGS, "zone_names": ["only"]}))


def test_two_networks_coexist(record: Record) -> None:
    def both() -> None:
        Network("one", ARGS)
        Network("two", {**ARGS, "prefix": "other", "cidr": "10.1.0.0/16"})

    found = record(both)
    names = [one.name for one in found.resources]
    assert len(names) == len(set(names))
    assert {one.inputs["name"] for one in found.of("Role")} == {"eeyore-vpc-flow-logs", "other-vpc-flow-logs"}
