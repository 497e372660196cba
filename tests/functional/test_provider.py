"""The provider with the real engine and the emulator: up, no-op, update, replace, drift, import, destroy, refusals.

What this cannot prove: that pulumi-aws or AWS behave the same; the tables are compared with pulumi-aws in tests/unit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pulumi
import pulumi_aws as aws
import pytest
from botocore.exceptions import ClientError
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from pulumi_aws.iam.get_open_id_connect_provider import get_open_id_connect_provider
from pulumi_aws.route53.get_zone import get_zone

from amianai_infra.engine import Summary
from amianai_infra.errors import EngineError
from amianai_infra.sandbox.provider.clients import Clients
from amianai_infra.sandbox.provider.logs import LogGroup
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, World
from amianai_infra.sandbox.provider.server import serve
from amianai_infra.sandbox.provider.values import encode
from tests.functional.conftest import Bench, Program, Stack, changed

# pulumi-aws warns of other types' names when one of its modules is first used.
pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "vpc-flow-logs.amazonaws.com"}}],
    }
)
WRITE_LOGS = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["logs:PutLogEvents", "logs:CreateLogStream"], "Resource": "*"}]}
)


@contextmanager
def stack(bench: Bench, home: Path, program: Program) -> Iterator[Stack]:
    """A stack that is destroyed at the end."""
    made = bench.stack(home, program)
    try:
        yield made
    finally:
        made.destroy()


def steps(summary: Summary) -> dict[str, tuple[str, ...]]:
    """The changed resources and their properties."""
    return {step.name: step.diffs for step in summary.steps}


class Settings:
    """What the test changes between two runs of the program."""

    def __init__(self) -> None:
        self.retention = 7
        self.log_name = "/bench/flow"
        self.cidr = "10.1.0.0/16"
        self.name = "bench"
        self.parameter = "one"


def network(settings: Settings) -> Program:
    """A network with everything in it, a role, a log group and a parameter."""

    def program() -> None:
        zones = aws.get_availability_zones(state="available").names
        vpc = aws.ec2.Vpc("vpc", cidr_block=settings.cidr, enable_dns_hostnames=True, tags={"Name": settings.name, "a:b": "c"})
        aws.ec2.DefaultSecurityGroup("default", vpc_id=vpc.id)
        gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id)
        table = aws.ec2.RouteTable("table", vpc_id=vpc.id)
        aws.ec2.Route("route", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id)
        subnets = []
        for number, zone in enumerate(zones[:2]):
            block = f"{settings.cidr.rsplit('.', 2)[0]}.{number}.0/24"
            subnet = aws.ec2.Subnet(
                f"subnet{number}", vpc_id=vpc.id, cidr_block=block, availability_zone=zone, map_public_ip_on_launch=True
            )
            aws.ec2.RouteTableAssociation(f"association{number}", subnet_id=subnet.id, route_table_id=table.id)
            subnets.append(subnet)
        address = aws.ec2.Eip("address", domain="vpc")
        nat = aws.ec2.NatGateway("nat", allocation_id=address.allocation_id, subnet_id=subnets[0].id, tags={"Name": "nat"})
        private = aws.ec2.RouteTable("private", vpc_id=vpc.id)
        aws.ec2.Route("out", route_table_id=private.id, destination_cidr_block="0.0.0.0/0", nat_gateway_id=nat.id)
        aws.ec2.VpcEndpoint("s3", vpc_id=vpc.id, service_name="com.amazonaws.us-east-1.s3", route_table_ids=["type", "property", "pattern"])
        group = aws.ec2.SecurityGroup("group", name="bench-db", vpc_id=vpc.id, description="database")
        aws.vpc.SecurityGroupIngressRule(
            "in", security_group_id=group.id, ip_protocol="tcp", from_port=5432, to_port=5432, cidr_ipv4=block, description="PostgreSQL"
        )
        aws.vpc.SecurityGroupEgressRule("egress", security_group_id=group.id, ip_protocol="-1", cidr_ipv4="0.0.0.0/0")
        logs = aws.cloudwatch.LogGroup("logs", name=settings.log_name, retention_in_days=settings.retention)
        role = aws.iam.Role("role", name="bench-flow", assume_role_policy=TRUST, tags={"Name": "flow"})
        aws.iam.RolePolicy("policy", role=role.name, policy=WRITE_LOGS)
        aws.iam.RolePolicyAttachment("attachment", role=role.name, policy_arn="arn:aws:iam::aws:policy/ReadOnlyAccess")
        aws.ec2.FlowLog("flow", vpc_id=vpc.id, traffic_type="ALL", log_destination=logs.arn, iam_role_arn=role.arn, tags={"Name": "flow"})
        aws.iam.OpenIdConnectProvider(
            "github",
            url="https://token.actions.githubusercontent.com",
            client_id_lists=["sts.amazonaws.com"],
            tags={"Name": settings.name},
        )
        aws.ssm.Parameter("parameter", name="/bench/one", type="String", value=settings.parameter, region="eu-west-1")
        pulumi.export("vpc", vpc.id)
        pulumi.export("group", group.id)
        pulumi.export("default", vpc.default_security_group_id)
        pulumi.export("table", table.id)
        pulumi.export("account", aws.get_caller_identity().account_id)

    return program


def test_the_whole_life_of_a_network(bench: Bench, tmp_path: Path) -> None:
    settings = Settings()
    with stack(bench, tmp_path, network(settings)) as made:
        planned, created = made.preview(), made.up()
        assert set(changed(planned)) == {"create"}
        assert planned.counts == created.counts
        out = made.outputs()
        assert changed(made.up()) == {}
        assert changed(made.refresh()) == {}
        assert out["account"] == "000000000000"

        settings.retention = 14
        update = made.up()
        assert steps(update) == {"logs": ("retentionInDays",)}
        assert changed(update) == {"update": 1}

        settings.name = "renamed"
        update = made.up()
        assert steps(update) == {"vpc": ("tags.Name",), "github": ("tags.Name",)}
        tags = bench.client("ec2").describe_vpcs(VpcIds=[out["vpc"]])["Vpcs"][0]["Tags"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"Name": "renamed", "a:b": "c"}

        settings.log_name = "/bench/other"
        replaced = made.preview()
        assert replaced.counts["replace"] == 2, "the flow log's destination is force-new too"
        made.up()
        groups = bench.client("logs").describe_log_groups(logGroupNamePrefix="/bench")["logGroups"]
        assert [group["logGroupName"] for group in groups] == ["/bench/other"]
        vpc = out["vpc"]
    assert not [found for found in bench.client("ec2").describe_vpcs()["Vpcs"] if found["VpcId"] == vpc]
    assert not [found for found in bench.client("iam").list_roles()["Roles"] if found["RoleName"].startswith("bench")]


def assert_importable(bench: Bench, made: Stack, told_later: set[str]) -> None:
    """Each resource, read by nothing but its id, differs from its declaration in nothing that replaces it.

    Args:
        bench: the sandbox.
        made: a stack that is up.
        told_later: properties that only the state or the program knows.
    """
    _, _, port = bench.variables["PULUMI_DEBUG_PROVIDERS"].partition(":")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = provider_pb2_grpc.ResourceProviderStub(channel)
        for found in made.resources():
            if not found.id or found.type.startswith("pulumi:"):
                continue
            region = found.inputs.get("region")
            ident = f"{found.id}@{region}" if region else found.id
            read = stub.Read(provider_pb2.ReadRequest(urn=found.urn, id=ident))
            assert read.id == found.id, found.urn
            request = provider_pb2.DiffRequest(urn=found.urn, id=found.id, old_inputs=read.inputs, news=encode(found.inputs))
            answer = stub.Diff(request)
            assert not answer.replaces, (found.urn, list(answer.replaces))
            assert set(answer.diffs) <= told_later, (found.urn, list(answer.diffs))


def test_a_second_route_to_a_destination_is_refused_whoever_asks(bench: Bench) -> None:
    ec2 = bench.client("ec2")
    vpc, gateway = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"], ec2.create_internet_gateway()["InternetGateway"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    asked = {"RouteTableId": table, "DestinationCidrBlock": "203.0.113.7/32", "GatewayId": gateway["InternetGatewayId"]}
    ec2.create_route(**asked)
    with pytest.raises(ClientError, match="RouteAlreadyExists"):
        ec2.create_route(**asked)
    (found,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    assert [one["DestinationCidrBlock"] for one in found["Routes"]].count("203.0.113.7/32") == 1
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
    ec2.delete_vpc(VpcId=vpc)


def test_drift_is_found_and_put_right(bench: Bench, tmp_path: Path) -> None:
    settings = Settings()
    settings.cidr = "10.2.0.0/16"
    with stack(bench, tmp_path, network(settings)) as made:
        made.up()
        assert_importable(bench, made, {"allocationId", "iamRoleArn", "forceDetachPolicies", "value"})
        out = made.outputs()
        ec2, logs = bench.client("ec2"), bench.client("logs")
        anyone = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ec2.authorize_security_group_ingress(GroupId=out["default"], IpPermissions=[anyone])
        ec2.modify_vpc_attribute(VpcId=out["vpc"], EnableDnsHostnames={"Value": False})
        ec2.create_tags(Resources=[out["table"]], Tags=[{"Key": "Name", "Value": "by hand"}])
        ec2.delete_route(RouteTableId=out["table"], DestinationCidrBlock="0.0.0.0/0")
        logs.put_retention_policy(logGroupName="/bench/flow", retentionInDays=1)
        bench.client("ssm", "eu-west-1").put_parameter(Name="/bench/one", Value="by hand", Overwrite=True)
        bench.client("iam").detach_role_policy(RoleName="bench-flow", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")

        found = made.refresh()
        assert changed(found) == {"update": 5, "delete": 2}

        mended = made.up()
        assert changed(mended) == {"update": 5, "create": 2}
        assert changed(made.refresh()) == {}
        assert ec2.describe_security_groups(GroupIds=[out["default"]])["SecurityGroups"][0]["IpPermissions"] == []


def test_what_exists_can_be_imported(bench: Bench, tmp_path: Path) -> None:
    ec2, logs = bench.client("ec2"), bench.client("logs")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    logs.create_log_group(logGroupName="/bench/imported", tags={"Name": "there"})
    logs.put_retention_policy(logGroupName="/bench/imported", retentionInDays=30)

    def program() -> None:
        aws.ec2.Vpc("vpc", cidr_block="10.9.0.0/16", opts=pulumi.ResourceOptions(import_=vpc))
        options = pulumi.ResourceOptions(import_="/bench/imported")
        aws.cloudwatch.LogGroup("logs", name="/bench/imported", retention_in_days=30, tags={"Name": "there"}, opts=options)

    with stack(bench, tmp_path, program) as made:
        assert changed(made.up()) == {"import": 2}
        assert changed(made.up()) == {}
        assert changed(made.refresh()) == {}


@pytest.mark.parametrize(
    ("declare", "reason"),
    [
        (lambda: aws.sfn.Activity("x"), "does not implement the resource type aws:sfn/activity:Activity"),
        (lambda: aws.ec2.Vpc("x", cidr_block="10.3.0.0/16", ipv4_ipam_pool_id="p"), "no property 'ipv4IpamPoolId'"),
        (lambda: aws.cloudwatch.LogGroup("x", name="a b"), "does not match the pattern"),
    ],
    ids=["type", "property", "pattern"],
)
def test_what_aws_would_refuse_is_refused(bench: Bench, tmp_path: Path, declare: Any, reason: str) -> None:
    with stack(bench, tmp_path, declare) as made, pytest.raises(EngineError) as caught:
        made.up()
    assert reason in str(caught.value)


def test_functions_find_what_is_there(bench: Bench, tmp_path: Path) -> None:
    zone = bench.client("route53").create_hosted_zone(Name="bench-functions.test", CallerReference="bench")["HostedZone"]["Id"]
    ours = bench.client("iam").create_open_id_connect_provider(Url="https://bench-functions.test", ClientIDList=["a"])[
        "OpenIDConnectProviderArn"
    ]
    url = "https://bench-functions.test"

    def program() -> None:
        found = get_zone(name="bench-functions.test")
        pulumi.export("zone", found.zone_id)
        pulumi.export("servers", found.name_servers)
        pulumi.export("provider", get_open_id_connect_provider(url=url).arn)
        pulumi.export("region", aws.get_region().region)
        pulumi.export("zones", aws.get_availability_zones(state="available", region="eu-west-1").names)

    with stack(bench, tmp_path, program) as made:
        made.up()
        out = made.outputs()
        assert out["zone"] == zone.removeprefix("/hostedzone/")
        assert len(out["servers"]) == 4
        assert (out["provider"], out["region"]) == (ours, "us-east-1")
        assert out["zones"][:2] == ["eu-west-1a", "eu-west-1b"]
        url = "https://elsewhere.test"
        with pytest.raises(EngineError, match="no OpenID Connect provider for"):
            made.up()

    def second() -> None:
        aws.iam.OpenIdConnectProvider("taken", url="https://bench-functions.test", client_id_lists=["a"])

    with stack(bench, tmp_path, second) as made, pytest.raises(EngineError, match="EntityAlreadyExists"):
        made.up()
    bench.client("route53").delete_hosted_zone(Id=zone)
    bench.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=ours)


class Flaky(LogGroup):
    """A log group whose retention cannot be set the first time."""

    failing = True

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        if self.failing:
            raise ProviderError("the retention cannot be set")
        super().configure(ctx, ident, inputs)


def test_a_creation_that_fails_half_way_stays_in_the_state(bench: Bench, tmp_path: Path) -> None:
    kind = Flaky()
    world = World(Clients(bench.variables["AWS_ENDPOINT_URL"], bench.sandbox.key()))

    def program() -> None:
        aws.cloudwatch.LogGroup("logs", name="/bench/half", retention_in_days=7)

    with serve(world, 0, {kind.token: kind}) as port, stack(bench.with_provider(port), tmp_path, program) as made:
        with pytest.raises(EngineError, match="the retention cannot be set"):
            made.up()
        kept = [found.id for found in made.resources() if "LogGroup" in found.type]
        assert kept == ["/bench/half"]
        kind.failing = False
        assert changed(made.up()) == {"update": 1}
        assert bench.client("logs").describe_log_groups(logGroupNamePrefix="/bench/half")["logGroups"][0]["retentionInDays"] == 7
    assert not bench.client("logs").describe_log_groups(logGroupNamePrefix="/bench/half")["logGroups"]


def test_secrets_stay_secret(bench: Bench, tmp_path: Path) -> None:
    def program() -> None:
        aws.ssm.Parameter("plain", name="/bench/secret", type="SecureString", value="correct horse")
        group = aws.cloudwatch.LogGroup("logs", name="/bench/secrets", tags=pulumi.Output.secret({"Name": "battery staple"}))
        pulumi.export("tags", group.tags)

    with stack(bench, tmp_path, program) as made:
        made.up()
        for _ in range(2):
            assert "correct horse" not in made.state()
            assert "battery staple" not in made.state()
            made.refresh()
