"""What others have in the stack's network stands in the way of `destroy`, before anything is removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from amianai_infra.engine import StateResource
from amianai_infra.errors import ForbiddenError, RefusedError
from amianai_infra.operations import destroy, tenants
from tests.unit.operations.fakes import Context, Target, names, resource


class Place:
    """A VPC as the stack makes it, and what others add."""

    def __init__(self, root: Path) -> None:
        key = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        self.ec2, self.rds = boto3.client("ec2", **key), boto3.client("rds", **key)  # type: ignore[call-overload]
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.state: list[StateResource] = [resource("urn::vpc", tenants.VPC_TYPE, self.vpc)]
        self.subnets = [self.ours("Subnet", self.subnet(number)) for number in (1, 2)]
        self.group = self.ours("SecurityGroup", self.group_called("eeyore-postgres"))
        self.ours("RouteTable", self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"])
        nat = self.ec2.create_nat_gateway(SubnetId=self.subnets[0], ConnectivityType="private")["NatGateway"]
        self.ours("NatGateway", nat["NatGatewayId"])
        interface = self.ec2.describe_network_interfaces()["NetworkInterfaces"][0]["NetworkInterfaceId"]
        self.state[-1].outputs["networkInterfaceId"] = interface
        self.rds.create_db_subnet_group(DBSubnetGroupName="eeyore-postgres", DBSubnetGroupDescription="x", SubnetIds=self.subnets)
        self.state.append(resource("urn::group", tenants.SUBNET_GROUP_TYPE, "eeyore-postgres"))
        self.database("eeyore-postgres")
        self.state.append(resource("urn::db", destroy.INSTANCE_TYPE, "db-1", {"identifier": "eeyore-postgres"}))
        self.target = Target(root, clients={"ec2": self.ec2, "rds": self.rds})

    def ours(self, kind: str, identity: str) -> str:
        self.state.append(resource(f"urn::{identity}", f"aws:ec2/x:{kind}", identity))
        return identity

    def subnet(self, number: int) -> str:
        return str(self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"])

    def group_called(self, name: str) -> str:
        return str(self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"])

    def database(self, name: str) -> None:
        self.rds.create_db_instance(
            DBInstanceIdentifier=name, DBInstanceClass="db.t3.micro", Engine="postgres", DBSubnetGroupName="eeyore-postgres"
        )

    def others(self) -> list[str]:
        return tenants.of_others(self.target, self.state)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with mock_aws():
        yield Place(tmp_path)


def test_the_stack_alone_has_no_tenants(place: Place) -> None:
    assert place.others() == []


def test_everything_that_keeps_a_network_from_going_is_named_with_what_it_is(place: Place) -> None:
    subnet = place.subnets[0]
    image = place.ec2.register_image(Name="ours")["ImageId"]
    server = place.ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        SecurityGroupIds=[place.group],
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "Name", "Value": "application"}]}],
    )["Instances"][0]["InstanceId"]
    lone = place.ec2.create_network_interface(SubnetId=subnet, Description="of a function")["NetworkInterface"]["NetworkInterfaceId"]
    group, other = place.group_called("application"), place.subnet(9)
    table = place.ec2.create_route_table(VpcId=place.vpc)["RouteTable"]["RouteTableId"]
    endpoint = place.ec2.create_vpc_endpoint(VpcId=place.vpc, ServiceName="com.amazonaws.us-east-1.s3")["VpcEndpoint"]["VpcEndpointId"]
    acl = place.ec2.create_network_acl(VpcId=place.vpc)["NetworkAcl"]["NetworkAclId"]
    place.database("eeyore-postgres-old-1")
    found = place.others()
    told = "\n".join(found)
    for one in (
        f"network interface {lone} in {subnet} (of a function)",
        f"security group {group} in {place.vpc} (application)",
        f"subnet {other} in {other} (10.0.9.0/24)",
        f"route table {table} in {place.vpc}",
        f"VPC endpoint {endpoint} in {place.vpc} (com.amazonaws.us-east-1.s3)",
        f"network ACL {acl} in {place.vpc}",
        "database instance eeyore-postgres-old-1 in the subnet group eeyore-postgres",
    ):
        assert one in found, told
    assert f"of instance {server}" in told, "also with the stack's own security group"
    assert len(found) == 8, told


def test_a_services_own_interface_goes_with_what_is_ours(place: Place) -> None:
    """RDS, a proxy, a rotation function: AWS makes their interfaces, in the stack's groups, and takes them away late."""
    subnet, group = place.subnets[0], [{"GroupId": place.group}]

    def listed(**values: Any) -> list[str]:
        found = {"NetworkInterfaceId": "eni-1", "VpcId": place.vpc, "SubnetId": subnet, "Description": "RDSNetworkInterface", **values}
        pages = SimpleNamespace(
            paginate=lambda **_: [{kind.answer: [found] if "Interface" in kind.answer else [] for kind in tenants._KINDS}]
        )
        place.target.clients["ec2"] = SimpleNamespace(get_paginator=lambda _: pages)
        return place.others()

    assert listed(RequesterManaged=True, Groups=group) == []
    assert listed(RequesterManaged=True, Groups=[*group, {"GroupId": "sg-other"}]) != []
    assert listed(RequesterManaged=True, Groups=[]) != []
    assert listed(RequesterManaged=False, Groups=group) != []


def test_another_networks_tenants_and_an_adopted_network_do_not_matter(place: Place) -> None:
    vpc = place.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    place.ec2.create_security_group(GroupName="elsewhere", Description="x", VpcId=vpc)
    place.state.append(resource("urn::other", tenants.VPC_TYPE, vpc, external=True))
    assert place.others() == []
    place.group_called("here")
    assert len(place.others()) == 1


def test_destroy_names_them_in_its_plan_and_takes_nothing(place: Place, tmp_path: Path) -> None:
    context = Context(tmp_path, place.target)
    context.state = place.state
    group = place.group_called("application")
    options = destroy.Options()
    engine, plan = destroy.prepare(context, options)
    line = f"security group {group} in {place.vpc} (application)"
    assert plan.as_dict()["network_of_others"] == [line]
    assert f"  - {line}" in destroy.screen(plan)
    with pytest.raises(RefusedError, match="nothing was removed") as caught:
        destroy.execute(context, engine, plan, options)
    assert line in caught.value.where
    assert names(context.log) == ["recover"]


def test_who_may_not_look_is_told(place: Place) -> None:
    def refuse(_: str) -> None:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, "DescribeNetworkInterfaces")

    place.target.clients["ec2"] = SimpleNamespace(get_paginator=refuse)
    with pytest.raises(ForbiddenError, match="the stack's network"):
        place.others()
