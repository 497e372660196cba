"""The emulator dies, or stops answering, in the middle of `setup`: the next run ends well, nothing exists twice, nothing is forgotten.

What this cannot prove: how long AWS takes to show what a request made whose answer nobody heard.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.project import Project, copy_project

pytestmark = [pytest.mark.sandbox, pytest.mark.soak]

SITE = {
    "AMIANAI_SITE_DIRECTORY": "site",
    "AMIANAI_SITE_BUILD_COMMAND": "mkdir -p out && cp index.html out/ && cp index.html out/404.html",
    "AMIANAI_NETWORK_NAT": "single",
}


def small(root: Path) -> Project:
    made = copy_project(root)
    (made.root / "site").mkdir()
    (made.root / "site/index.html").write_text("<!doctype html><html lang='en'><title>One page</title><h1>One page, 404 or not</h1></html>")
    made.run("sandbox", "up")
    return made


def begin(project: Project) -> subprocess.Popen[bytes]:
    with (project.root / "setup.log").open("wb") as log:
        return subprocess.Popen(
            project.command("setup"), cwd=project.root, env=project.environment(SITE), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def emulator(project: Project) -> int:
    return int(json.loads((project.root / ".sandbox/run/emulator.json").read_text())["pid"])


def listed(project: Project) -> dict[str, int]:
    """By a client of its own: how many of each kind exist that a second creation would double."""
    ec2 = project.aws("ec2")

    def tagged(items: list[dict[str, Any]]) -> int:
        return sum(any(tag["Key"] == "amianai:urn" for tag in item.get("Tags", [])) for item in items)

    return {
        "vpcs": tagged(ec2.describe_vpcs()["Vpcs"]),
        "subnets": tagged(ec2.describe_subnets()["Subnets"]),
        "gateways": tagged(ec2.describe_internet_gateways()["InternetGateways"]),
        "tables": tagged(ec2.describe_route_tables()["RouteTables"]),
        "addresses": tagged(ec2.describe_addresses()["Addresses"]),
        "nats": tagged([one for one in ec2.describe_nat_gateways()["NatGateways"] if one["State"] != "deleted"]),
        "groups": tagged(ec2.describe_security_groups()["SecurityGroups"]),
        "templates": len(ec2.describe_launch_templates()["LaunchTemplates"]),
        "roles": len(project.aws("iam").list_roles()["Roles"]),
        "databases": len(project.aws("rds").describe_db_instances()["DBInstances"]),
        "pools": len(project.aws("cognito-idp").list_user_pools(MaxResults=10)["UserPools"]),
        "distributions": len(project.aws("cloudfront").list_distributions()["DistributionList"].get("Items", [])),
        "zones": len(project.aws("route53").list_hosted_zones()["HostedZones"]),
        "certificates": len(project.aws("acm").list_certificates()["CertificateSummaryList"]),
    }


def known(project: Project) -> dict[str, int]:
    """The same kinds as the state has them: what exists and is not here was forgotten."""
    state = json.loads((project.root / ".sandbox/state/.pulumi/stacks/amianai-infra/prod.json").read_text())
    kinds = {
        "vpcs": "ec2/vpc:Vpc",
        "subnets": "ec2/subnet:Subnet",
        "gateways": "ec2/internetGateway:InternetGateway",
        "tables": "ec2/routeTable:RouteTable",
        "addresses": "ec2/eip:Eip",
        "nats": "ec2/natGateway:NatGateway",
        "groups": "ec2/securityGroup:SecurityGroup",
        "templates": "ec2/launchTemplate:LaunchTemplate",
        "roles": "iam/role:Role",
        "databases": "rds/instance:Instance",
        "pools": "cognito/userPool:UserPool",
        "distributions": "cloudfront/distribution:Distribution",
        "zones": "route53/zone:Zone",
        "certificates": "acm/certificate:Certificate",
    }
    held = [entry["type"] for entry in state["checkpoint"]["latest"]["resources"] if entry.get("custom") and not entry.get("external")]
    found = {name: held.count(f"aws:{kind}") for name, kind in kinds.items()}
    found["groups"] += held.count("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    return found


def ends_well(project: Project) -> None:
    project.run("sandbox", "up")
    project.run("setup", env=SITE)
    assert listed(project) == known(project)
    assert "no changes" in project.said("setup", env=SITE)


@pytest.mark.parametrize("seed", range(20))
def test_the_emulator_is_killed_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    project = small(tmp_path / "checkout")
    try:
        running = begin(project)
        time.sleep(random.Random(seed).uniform(2.0, 9.0))
        os.kill(emulator(project), signal.SIGKILL)
        running.wait(400)
        ends_well(project)
    finally:
        project.run("sandbox", "reset", "--confirm", "sandbox")


@pytest.mark.parametrize("seed", range(10))
def test_the_emulator_hangs_and_ctrl_c_is_pressed_twice(tmp_path: Path, seed: int) -> None:
    project = small(tmp_path / "checkout")
    try:
        running = begin(project)
        time.sleep(random.Random(seed).uniform(2.0, 9.0))
        pid = emulator(project)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.0)
        for _ in range(2):
            running.send_signal(signal.SIGINT)
            time.sleep(1.5)
        running.wait(60)
        os.kill(pid, signal.SIGCONT)
        ends_well(project)
    finally:
        project.run("sandbox", "reset", "--confirm", "sandbox")
