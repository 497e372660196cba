"""What others put into the stack's network. While it is there AWS does not delete the network, and says so after all else is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amianai_infra.target import Target, aws_error

if TYPE_CHECKING:
    from amianai_infra.engine import StateResource

VPC_TYPE = "aws:ec2/vpc:Vpc"
SUBNET_GROUP_TYPE = "aws:rds/subnetGroup:SubnetGroup"


@dataclass(frozen=True)
class _Kind:
    """One kind of thing that lives in a VPC.

    Attributes:
        words: what it is called.
        operation: lists it.
        answer: where the answer has it.
        key: its id.
        name: what else says what it is.
    """

    words: str
    operation: str
    answer: str
    key: str
    name: str


_KINDS = (
    _Kind("network interface", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", "Description"),
    _Kind("security group", "describe_security_groups", "SecurityGroups", "GroupId", "GroupName"),
    _Kind("subnet", "describe_subnets", "Subnets", "SubnetId", "CidrBlock"),
    _Kind("route table", "describe_route_tables", "RouteTables", "RouteTableId", ""),
    _Kind("VPC endpoint", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", "ServiceName"),
    _Kind("network ACL", "describe_network_acls", "NetworkAcls", "NetworkAclId", ""),
)


def of_others(target: Target, resources: Sequence[StateResource]) -> list[str]:
    """What is in the stack's own VPC, or its database's subnet group, that the stack did not make, one line each."""
    from botocore.exceptions import BotoCoreError, ClientError

    vpcs = [one.id for one in resources if one.type == VPC_TYPE and one.id and not one.external]
    groups = {one.id for one in resources if one.type == SUBNET_GROUP_TYPE and one.id and not one.external}
    named = ((one.id, one.inputs.get("identifier"), one.outputs.get("networkInterfaceId")) for one in resources)
    ours = {str(identity) for each in named for identity in each if identity}
    try:
        found = [line for vpc in vpcs for line in _in_vpc(target.client("ec2"), vpc, ours)]
        return found + (list(_instances(target.client("rds"), groups, ours)) if groups else [])
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, "looking for what others have in the stack's network") from error


def _in_vpc(ec2: Any, vpc: str, ours: set[str]) -> Iterator[str]:
    for kind in _KINDS:
        for page in ec2.get_paginator(kind.operation).paginate(Filters=[{"Name": "vpc-id", "Values": [vpc]}]):
            for one in page[kind.answer]:
                if one["VpcId"] == vpc and one[kind.key] not in ours and not _comes_and_goes(one, ours):
                    yield f"{kind.words} {one[kind.key]} in {one.get('SubnetId') or vpc}" + _told(one, kind)


def _comes_and_goes(one: Mapping[str, Any], ours: set[str]) -> bool:
    """Whether it goes with the VPC, or is a service's own interface for what is the stack's, such as that of RDS."""
    if one.get("GroupName") == "default" or one.get("IsDefault") or any(each.get("Main") for each in one.get("Associations") or ()):
        return True
    groups = {each["GroupId"] for each in one.get("Groups") or ()}
    return bool(one.get("RequesterManaged") and groups and groups <= ours) or str(one.get("State")).lower() in ("deleting", "deleted")


def _told(one: Mapping[str, Any], kind: _Kind) -> str:
    """What a person knows it by: its name, what it is attached to, what its owner wrote."""
    tags = {tag["Key"]: tag["Value"] for tag in one.get("TagSet") or one.get("Tags") or ()}
    attached = (one.get("Attachment") or {}).get("InstanceId")
    words = [tags.get("Name"), attached and f"of instance {attached}", one.get(kind.name)]
    known = ", ".join(dict.fromkeys(str(word) for word in words if word))
    return f" ({known})" if known else ""


def _instances(rds: Any, groups: set[str], ours: set[str]) -> Iterator[str]:
    for page in rds.get_paginator("describe_db_instances").paginate():
        for one in page["DBInstances"]:
            group = (one.get("DBSubnetGroup") or {}).get("DBSubnetGroupName")
            if group in groups and not {one["DBInstanceIdentifier"], one.get("DbiResourceId")} & ours:
                yield f"database instance {one['DBInstanceIdentifier']} in the subnet group {group}"
