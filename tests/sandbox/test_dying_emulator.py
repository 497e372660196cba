"""The emulator dies, stops answering, or fails a fifth of its calls: the next run ends well, nothing exists twice, nothing is forgotten.

What this cannot prove: how long AWS takes to show what a request made whose answer nobody heard.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.sandbox import Sandbox
from tests.faults import Relay, relayed
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


ADDRESS = "203.0.113.7"
# What `setup` makes, and what `up` changes afterwards: a tag of everything, and a NAT gateway with its address and routes.
EARLIER = {**SITE, "AMIANAI_NETWORK_NAT": "none", "AMIANAI_DATABASE_MIGRATIONS": "migrations"}
LATER = {**EARLIER, "AMIANAI_NETWORK_NAT": "single", "AMIANAI_TAGS": "round=later"}
SHARE = 0.2


@dataclass
class Rounds:
    """One life of a stack, each command of it once through a relay that fails a fifth of the calls, and once without.

    Attributes:
        told: a line for each command.
        wrong: what did not end as it has to.
    """

    project: Project
    relay: Relay
    seed: int
    told: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def attempt(self, *arguments: str, env: Mapping[str, str] = LATER, check: Callable[[], object] = lambda: None) -> None:
        """It succeeds, or fails with a clear message; the next run ends well; then `check` raises where something is twice or forgotten."""
        began = time.monotonic()
        self.relay.fail(SHARE, self.seed * 100 + len(self.told))
        first = self._run(arguments, env)
        calls, failed, took = self.relay.calls, dict(self.relay.failed), time.monotonic() - began
        self.relay.fail(0.0, 0)
        then = self._run(arguments, env)
        self.told.append(
            f"{self.seed} {' '.join(arguments)}: exit {first.returncode}, then {then.returncode}; {took:.0f} s, {calls} {failed}"
        )
        print(self.told[-1], flush=True)
        if first.returncode:
            print(first.stderr[-3000:], flush=True)
        if first.returncode and ("Error: " not in first.stderr or "Traceback" in first.stderr):
            self.wrong.append(f"{self.told[-1]}: no clear message:\n{first.stdout}\n{first.stderr}")
        if then.returncode:
            self.wrong.append(f"{self.told[-1]}: the next run failed:\n{first.stderr}\n{then.stdout}\n{then.stderr}")
        try:
            check()
        except AssertionError as error:
            self.wrong.append(f"{self.told[-1]}: {error}\n{first.stderr}\n{then.stderr}")

    def _run(self, arguments: tuple[str, ...], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        command, environment = self.project.command(*arguments), self.project.environment(env)
        return subprocess.run(
            command, check=False, cwd=self.project.root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    # -- what an outsider finds

    def same(self) -> None:
        """Everything of which there is one kind or another is what the state says."""
        assert listed(self.project) == known(self.project)

    def doors(self, rules: int) -> Callable[[], None]:
        """So many rules, so many routes for each table, the flag, and what closes each of them."""

        def check() -> None:
            outputs = self.published
            ec2, tables = self.project.aws("ec2"), outputs["network"]["private_route_table_ids"]
            group = [{"Name": "group-id", "Values": [outputs["database"]["security_group_id"]]}]
            found = [one.get("CidrIpv4") for one in ec2.describe_security_group_rules(Filters=group)["SecurityGroupRules"]]
            routes = [
                route.get("DestinationCidrBlock")
                for table in ec2.describe_route_tables(RouteTableIds=tables)["RouteTables"]
                for route in table["Routes"]
            ]
            (instance,) = self.project.aws("rds").describe_db_instances()["DBInstances"]
            schedules = self.project.aws("scheduler").list_schedules(GroupName=outputs["access"]["schedule_group"])["Schedules"]
            assert found.count(f"{ADDRESS}/32") == rules
            assert routes.count(f"{ADDRESS}/32") == rules * len(tables)
            assert instance["PubliclyAccessible"] is bool(rules)
            assert len(schedules) == rules * (2 + len(tables))
            self.recorded()

        return check

    def recorded(self) -> None:
        """Every piece of recorded work has one beginning and one end in what is shown, and an end in the log group itself."""
        shown = Counter((one["id"], one["phase"]) for one in self.project.json("db", "admin", "audit", "-n", "500"))
        assert set(shown.values()) == {1}, shown
        pages = self.project.aws("logs").get_paginator("filter_log_events").paginate(logGroupName=self.published["audit_log_group"])
        kept = {(one["id"], one["phase"]) for page in pages for one in (json.loads(event["message"]) for event in page["events"])}
        assert kept == {(identity, phase) for identity, _ in kept for phase in ("begun", "ended")}, kept

    @property
    def published(self) -> dict[str, Any]:
        """What the stack says of itself."""
        return dict(json.loads(self.project.aws("ssm").get_parameter(Name="/eeyore/stack")["Parameter"]["Value"]))

    def applied(self) -> None:
        """The new migration is applied once, and on record."""
        self.recorded()
        assert not self.project.json("db", "status", env=LATER)["pending"]

    def shown(self, text: str) -> Callable[[], None]:
        """The site shows it."""

        def check() -> None:
            bucket, s3 = self.published["site"]["bucket"], self.project.aws("s3")
            assert text in s3.get_object(Bucket=bucket, Key="index.html")["Body"].read().decode()

        return check

    def gone(self) -> None:
        """Nothing of the stack is left but what `destroy` keeps."""
        left = listed(self.project)
        assert not any(count for kind, count in left.items() if kind not in ("groups", "roles")), left
        assert not [one for one in self.project.aws("s3").list_buckets()["Buckets"] if "state" not in one["Name"]]


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(10))
def test_a_fifth_of_the_calls_fails_through_a_stack_s_life(tmp_path: Path, seed: int) -> None:
    project = small(tmp_path / "checkout")
    (project.root / "migrations").mkdir()
    (project.root / "migrations/0001_first.sql").write_text("CREATE TABLE first (id int PRIMARY KEY);\n")
    try:
        with relayed(Sandbox(project.root, project.environment())) as relay:
            rounds = Rounds(project, relay, seed)
            rounds.attempt("setup", env=EARLIER, check=rounds.same)
            rounds.attempt("up", "--yes", check=rounds.same)
            (project.root / "migrations/0002_notes.sql").write_text("CREATE TABLE notes (id int PRIMARY KEY);\n")
            rounds.attempt("db", "migrate", check=rounds.applied)
            page = project.root / "site/index.html"
            page.write_text(page.read_text().replace("One page, 404", f"Another page {seed}, 404"))
            rounds.attempt("deploy", check=rounds.shown(f"Another page {seed}"))
            rounds.attempt("db", "open", "--for", "30m", "--address", ADDRESS, check=rounds.doors(1))
            rounds.attempt("db", "close", check=rounds.doors(0))
            rounds.attempt("destroy", "--confirm", "example.test", check=rounds.gone)
        assert not rounds.wrong, "\n\n".join(rounds.wrong)
    finally:
        project.run("sandbox", "reset", "--confirm", "sandbox")
