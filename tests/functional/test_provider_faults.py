"""The provider with the real engine while a fifth of the calls fails: refused, throttled, reset before or after they were carried out.

What this cannot prove: which of its calls AWS carries out when it answers with a failure.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from amianai_infra.naming import PROJECT, STACK, TAG_STACK, TAG_URN, urn_tag
from amianai_infra.sandbox.provider.clients import Clients
from amianai_infra.sandbox.provider.resource import World
from amianai_infra.sandbox.provider.server import serve
from tests.functional.conftest import Bench, Program

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")

TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


class Raw:
    """The body of an answer that nobody sent."""

    def stream(self, **_: Any) -> Any:
        yield b""


class Faulty(Clients):
    """Clients whose calls fail at random."""

    share = 0.2

    def __init__(self, endpoint: str, key: Any, seed: int) -> None:
        super().__init__(endpoint, key)
        self.draw = random.Random(seed)
        self.failed: dict[str, int] = {}
        self._wire = URLLib3Session()

    def _make(self, service: str, region: str) -> Any:
        client = super()._make(service, region)
        client.meta.events.register_last("before-send", self._fail)
        return client

    def _fail(self, request: Any, **_: Any) -> Any:
        if self.draw.random() >= self.share:
            return None
        kind = self.draw.choice(("500", "503", "reset", "lost", "timeout"))
        self.failed[kind] = self.failed.get(kind, 0) + 1
        if kind == "reset":
            raise ConnectionClosedError(endpoint_url=request.url)
        if kind in ("500", "503"):
            return AWSResponse(request.url, int(kind), HTTPHeaders(), Raw())
        self._wire.send(request)
        raise (ConnectionClosedError if kind == "lost" else ReadTimeoutError)(endpoint_url=request.url)


def program(name: str, cidr: str) -> Program:
    def build() -> None:
        def tags(kind: str, child: str) -> dict[str, str]:
            urn = f"urn:pulumi:{STACK}::{PROJECT}::{kind}::{child}"
            return {"Name": f"{name}-{child}", TAG_STACK: f"{PROJECT}/{STACK}", TAG_URN: urn_tag(urn)}

        vpc = aws.ec2.Vpc("vpc", cidr_block=cidr, tags=tags("aws:ec2/vpc:Vpc", "vpc"))
        parts = [
            aws.ec2.Subnet(
                f"subnet{number}",
                vpc_id=vpc.id,
                cidr_block=cidr.replace("0.0/16", f"{number}.0/24"),
                tags=tags("aws:ec2/subnet:Subnet", f"subnet{number}"),
            )
            for number in range(4)
        ]
        gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, tags=tags("aws:ec2/internetGateway:InternetGateway", "gateway"))
        table = aws.ec2.RouteTable("table", vpc_id=vpc.id, tags=tags("aws:ec2/routeTable:RouteTable", "table"))
        aws.ec2.Route("route", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id)
        address = aws.ec2.Eip("address", domain="vpc", tags=tags("aws:ec2/eip:Eip", "address"))
        aws.ec2.NatGateway("nat", allocation_id=address.id, subnet_id=parts[0].id, tags=tags("aws:ec2/natGateway:NatGateway", "nat"))
        aws.ec2.SecurityGroup("group", name=name, vpc_id=vpc.id, tags=tags("aws:ec2/securityGroup:SecurityGroup", "group"))
        aws.iam.Role("role", name=name, assume_role_policy=TRUST, tags=tags("aws:iam/role:Role", "role"))
        aws.cloudwatch.LogGroup("logs", name=f"/{name}", tags=tags("aws:cloudwatch/logGroup:LogGroup", "logs"))
        aws.cloudfront.OriginAccessControl(
            "access", name=name, origin_access_control_origin_type="s3", signing_behavior="always", signing_protocol="sigv4"
        )
        pulumi.export("vpc", vpc.id)

    return build


def listed(bench: Bench, name: str) -> dict[str, int]:
    """What exists, by an outside client: how many of each kind bear the name."""
    ec2 = bench.client("ec2")
    mine = [{"Name": "tag:Name", "Values": [f"{name}-*"]}]

    def named(items: list[dict[str, Any]]) -> int:
        return sum(any(t["Key"] == "Name" and t["Value"].startswith(f"{name}-") for t in item.get("Tags", [])) for item in items)

    return {
        "vpc": named(ec2.describe_vpcs()["Vpcs"]),
        "subnet": named(ec2.describe_subnets()["Subnets"]),
        "gateway": named(ec2.describe_internet_gateways()["InternetGateways"]),
        "table": named(ec2.describe_route_tables()["RouteTables"]),
        "address": named(ec2.describe_addresses()["Addresses"]),
        "nat": sum(one["State"] != "deleted" for one in ec2.describe_nat_gateways(Filters=mine[:0])["NatGateways"] if named([one])),
        "group": named(ec2.describe_security_groups()["SecurityGroups"]),
        "role": sum(one["RoleName"] == name for one in bench.client("iam").list_roles()["Roles"]),
        "logs": len(bench.client("logs").describe_log_groups(logGroupNamePrefix=f"/{name}")["logGroups"]),
    }


def through_faults(bench: Bench, home: Path, seed: int) -> Faulty:
    """Up, no-op, replacement and destroy, each in one run, with nothing twice and nothing forgotten."""
    clients = Faulty(bench.variables["AWS_ENDPOINT_URL"], bench.sandbox.key(), seed)
    name = f"faults{seed}"
    with serve(World(clients), 0) as port:
        faulty = bench.with_provider(port)
        stack = faulty.stack(home, program(name, "10.1.0.0/16"))
        stack.up()
        once = {"vpc": 1, "subnet": 4, "gateway": 1, "table": 1, "address": 1, "nat": 1, "group": 1, "role": 1, "logs": 1}
        assert listed(bench, name) == once
        assert not stack.up().changed
        again = faulty.stack(home, program(name, "10.2.0.0/16"))
        first = stack.outputs()["vpc"]
        again.up()
        assert again.outputs()["vpc"] != first, "what is being replaced is not taken for what was made"
        assert listed(bench, name) == once
        again.destroy()
        assert listed(bench, name) == dict.fromkeys(once, 0)
    return clients


def test_a_fifth_of_the_calls_fails_and_every_run_ends_well(bench: Bench, tmp_path: Path) -> None:
    clients = through_faults(bench, tmp_path, 1)
    assert {"500", "503", "reset", "lost", "timeout"} <= clients.failed.keys()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_ten_rounds(bench: Bench, tmp_path: Path, seed: int) -> None:
    through_faults(bench, tmp_path, seed)
