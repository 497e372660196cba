"""The VPC: public and private subnets in two or three zones, nothing public that need not be."""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.default_security_group import DefaultSecurityGroup
from pulumi_aws.ec2.eip import Eip
from pulumi_aws.ec2.flow_log import FlowLog
from pulumi_aws.ec2.internet_gateway import InternetGateway
from pulumi_aws.ec2.nat_gateway import NatGateway
from pulumi_aws.ec2.route import Route
from pulumi_aws.ec2.route_table import RouteTable
from pulumi_aws.ec2.route_table_association import RouteTableAssociation
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.ec2.vpc_endpoint import VpcEndpoint
from pulumi_aws.get_availability_zones import get_availability_zones_output
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy

from amianai_infra.components.inputs import checked, policy_json, tagged
from amianai_infra.config import NetworkSettings
from amianai_infra.rules.network import nat_count, subnet_plan
from amianai_infra.rules.policies import account_condition, flow_log_writer, service_trust

_DEFAULT = NetworkSettings()
_ANYWHERE = "0.0.0.0/0"


class NetworkArgs(TypedDict):
    """What a `Network` takes."""

    prefix: str
    """Prefix of every resource's name."""

    region: pulumi.Input[str]
    """Region the network is in."""

    account: pulumi.Input[str]
    """Account number; the flow logs' role trusts the service on its behalf alone."""

    cidr: NotRequired[pulumi.Input[str]]
    """Address range, /16 to /20. Default 10.0.0.0/16."""

    availability_zones: NotRequired[int]
    """Zones in use, 2 or 3. Default 2."""

    zone_names: NotRequired[pulumi.Input[list[str]]]
    """Names of the zones, in order. Default: the region's, by name."""

    nat: NotRequired[str]
    """NAT gateways: `none`, `single` or `per-az`. Default `none`: nothing private needs egress."""

    flow_log_days: NotRequired[pulumi.Input[int]]
    """Retention of the flow logs in days. Default 30."""


_DEFAULTS = {
    "cidr": str(_DEFAULT.cidr),
    "availability_zones": _DEFAULT.availability_zones,
    "nat": _DEFAULT.nat,
    "flow_log_days": _DEFAULT.flow_log_days,
}


class Network(pulumi.ComponentResource):
    """A VPC whose subnets are numbered so that a third zone moves nothing.

    Creates: a VPC; an internet gateway; one public and one private /24 subnet a zone; one public route table and one
    private one a zone; NAT gateways on request; an S3 gateway endpoint; flow logs to CloudWatch with their role; and takes
    every rule out of the VPC's default security group.

    Cost: nothing but flow logs ($0.50 a GB). A NAT gateway with its address is about $36 a month, plus $0.045 a GB.

    Source: Amazon VPC User Guide, "VPC with servers in private subnets and NAT"; Amazon VPC pricing, us-east-1.
    """

    vpc_id: pulumi.Output[str]
    """Id of the VPC."""
    internet_gateway_id: pulumi.Output[str]
    """Id of the internet gateway."""
    public_subnet_ids: pulumi.Output[list[str]]
    """Ids of the public subnets, one a zone, in order."""
    private_subnet_ids: pulumi.Output[list[str]]
    """Ids of the private subnets, one a zone, in order."""
    private_subnet_cidrs: pulumi.Output[list[str]]
    """Address ranges of the private subnets, in order."""
    private_route_table_ids: pulumi.Output[list[str]]
    """Ids of the private subnets' route tables, one a zone, in order."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:network:Network", name, None, opts)
        self._name_of = name
        self._args: NetworkArgs = {**_DEFAULTS, **args}  # type: ignore[typeddict-item]
        self._zones = self._args["availability_zones"]
        self._nats = nat_count(self._args["nat"], self._zones)
        self._plan = checked(self._args["cidr"], lambda cidr: subnet_plan(cidr, self._zones))
        self._public_cidrs = [self._block("public", index) for index in range(self._zones)]
        self._private_cidrs = [self._block("private", index) for index in range(self._zones)]

        self._create_vpc()
        self._create_subnets()
        self._create_public_routes()
        self._create_private_routes()
        self._create_s3_endpoint()
        self._create_flow_logs()

        self.vpc_id = self.vpc.id
        self.internet_gateway_id = self.internet_gateway.id
        self.public_subnet_ids = pulumi.Output.all(*(subnet.id for subnet in self.public_subnets))
        self.private_subnet_ids = pulumi.Output.all(*(subnet.id for subnet in self.private_subnets))
        self.private_subnet_cidrs = pulumi.Output.all(*self._private_cidrs)
        self.private_route_table_ids = pulumi.Output.all(*(table.id for table in self.private_route_tables))
        outputs = ("vpc_id", "internet_gateway_id", "public_subnet_ids", "private_subnet_ids", "private_subnet_cidrs")
        self.register_outputs({output: getattr(self, output) for output in (*outputs, "private_route_table_ids")})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on) or None)

    def _tags(self, what: str) -> dict[str, pulumi.Input[str]]:
        return tagged(f"{self._args['prefix']}-{what}")

    def _block(self, kind: str, index: int) -> pulumi.Output[str]:
        return self._plan.apply(lambda plan: str(getattr(plan, kind)[index]))

    def _create_vpc(self) -> None:
        self.vpc = Vpc(
            f"{self._name_of}-vpc",
            cidr_block=self._args["cidr"],
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=self._tags("vpc"),
            opts=self._child(),
        )
        self.internet_gateway = InternetGateway(f"{self._name_of}-igw", vpc_id=self.vpc.id, tags=self._tags("igw"), opts=self._child())
        self.default_security_group = DefaultSecurityGroup(
            f"{self._name_of}-default-sg",
            vpc_id=self.vpc.id,
            ingress=[],
            egress=[],
            tags=self._tags("default-unused"),
            opts=self._child(),
        )

    def _zone_names(self) -> list[pulumi.Output[str]]:
        names = self._args.get("zone_names")
        if names is None:
            # Without a filter on the state: a zone that is impaired today must not shift the others.
            names = get_availability_zones_output(
                filters=[{"name": "opt-in-status", "values": ["opt-in-not-required"]}], opts=pulumi.InvokeOptions(parent=self)
            ).names
        found = pulumi.Output.from_input(names)
        return [self._zone(found, index) for index in range(self._zones)]

    def _zone(self, names: pulumi.Output[list[str]], index: int) -> pulumi.Output[str]:
        def choose(zones: list[str]) -> str:
            if len(zones) < self._zones:
                raise ValueError(f"availability_zones = {self._zones}, but the region has {len(zones)}: {', '.join(zones)}")
            return zones[index]

        return names.apply(choose)

    def _create_subnets(self) -> None:
        zones = self._zone_names()
        self.public_subnets = [self._subnet("public", i, cidr, zones[i]) for i, cidr in enumerate(self._public_cidrs)]
        self.private_subnets = [self._subnet("private", i, cidr, zones[i]) for i, cidr in enumerate(self._private_cidrs)]

    def _subnet(self, kind: str, index: int, cidr: pulumi.Output[str], zone: pulumi.Output[str]) -> Subnet:
        return Subnet(
            f"{self._name_of}-{kind}-{index + 1}",
            vpc_id=self.vpc.id,
            cidr_block=cidr,
            availability_zone=zone,
            map_public_ip_on_launch=False,
            tags=self._tags(f"{kind}-{index + 1}"),
            # A subnet never moves: should the region's list of zones change, the ones that exist stay where they are.
            opts=pulumi.ResourceOptions.merge(self._child(), pulumi.ResourceOptions(ignore_changes=["availabilityZone"])),
        )

    def _create_public_routes(self) -> None:
        self.public_route_table = RouteTable(
            f"{self._name_of}-public-rt", vpc_id=self.vpc.id, tags=self._tags("public"), opts=self._child()
        )
        self.public_route = Route(
            f"{self._name_of}-public-default",
            route_table_id=self.public_route_table.id,
            destination_cidr_block=_ANYWHERE,
            gateway_id=self.internet_gateway.id,
            opts=self._child(),
        )
        for index, subnet in enumerate(self.public_subnets, 1):
            RouteTableAssociation(
                f"{self._name_of}-public-rta-{index}",
                subnet_id=subnet.id,
                route_table_id=self.public_route_table.id,
                opts=self._child(),
            )

    def _create_private_routes(self) -> None:
        self.nat_gateways = [self._nat_gateway(index) for index in range(self._nats)]
        self.private_route_tables = [self._private_route_table(index) for index in range(self._zones)]

    def _nat_gateway(self, index: int) -> NatGateway:
        address = Eip(f"{self._name_of}-nat-{index + 1}-ip", domain="vpc", tags=self._tags(f"nat-{index + 1}"), opts=self._child())
        return NatGateway(
            f"{self._name_of}-nat-{index + 1}",
            allocation_id=address.id,
            subnet_id=self.public_subnets[index].id,
            tags=self._tags(f"nat-{index + 1}"),
            opts=self._child(self.internet_gateway, self.public_route),
        )

    def _private_route_table(self, index: int) -> RouteTable:
        number = index + 1
        table = RouteTable(
            f"{self._name_of}-private-rt-{number}", vpc_id=self.vpc.id, tags=self._tags(f"private-{number}"), opts=self._child()
        )
        RouteTableAssociation(
            f"{self._name_of}-private-rta-{number}",
            subnet_id=self.private_subnets[index].id,
            route_table_id=table.id,
            opts=self._child(),
        )
        if self.nat_gateways:
            Route(
                f"{self._name_of}-private-default-{number}",
                route_table_id=table.id,
                destination_cidr_block=_ANYWHERE,
                nat_gateway_id=self.nat_gateways[min(index, self._nats - 1)].id,
                opts=self._child(),
            )
        return table

    def _create_s3_endpoint(self) -> None:
        self.s3_endpoint = VpcEndpoint(
            f"{self._name_of}-s3",
            vpc_id=self.vpc.id,
            vpc_endpoint_type="Gateway",
            service_name=pulumi.Output.concat("com.amazonaws.", self._args["region"], ".s3"),
            route_table_ids=[table.id for table in (self.public_route_table, *self.private_route_tables)],
            tags=self._tags("s3"),
            opts=self._child(),
        )

    def _create_flow_logs(self) -> None:
        prefix = self._args["prefix"]
        self.flow_log_group = LogGroup(
            f"{self._name_of}-flow-logs",
            name=f"/{prefix}/vpc/flow-logs",
            retention_in_days=self._args["flow_log_days"],
            tags=self._tags("flow-logs"),
            opts=self._child(),
        )
        trust = pulumi.Output.from_input(self._args["account"]).apply(
            lambda account: service_trust("vpc-flow-logs.amazonaws.com", account_condition(account))
        )
        role = Role(
            f"{self._name_of}-flow-logs-role",
            name=f"{prefix}-vpc-flow-logs",
            description="VPC flow logs write to CloudWatch Logs",
            assume_role_policy=policy_json(trust),
            tags=self._tags("vpc-flow-logs"),
            opts=self._child(),
        )
        policy = RolePolicy(
            f"{self._name_of}-flow-logs-policy",
            name="write-flow-logs",
            role=role.name,
            policy=policy_json(self.flow_log_group.arn.apply(flow_log_writer)),
            opts=self._child(),
        )
        self.flow_log = FlowLog(
            f"{self._name_of}-flow-log",
            vpc_id=self.vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=self.flow_log_group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=600,
            tags=self._tags("flow-log"),
            # AWS refuses a second flow log of the same network into the same group.
            opts=pulumi.ResourceOptions.merge(self._child(policy), pulumi.ResourceOptions(delete_before_replace=True)),
        )
