"""A domain that is in use already: its zone is adopted and never doubled, what it says is respected, taken over and put back.

What this cannot prove: that resolvers of the internet follow, and how the official provider takes records in that exist already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.project import Deployed, Project, copy_project
from tests.sandbox.test_life_cycle import get

pytestmark = pytest.mark.sandbox
DOMAIN = "example.test"
OLD = [
    {"Name": f"{DOMAIN}.", "Type": "A", "TTL": 300, "ResourceRecords": [{"Value": "192.0.2.1"}]},
    {"Name": f"www.{DOMAIN}.", "Type": "CNAME", "TTL": 300, "ResourceRecords": [{"Value": "old.example.net."}]},
]
MAIL = {"Name": f"{DOMAIN}.", "Type": "MX", "TTL": 300, "ResourceRecords": [{"Value": "10 mail.example.net."}]}
SITE = {(name, kind) for name in (f"{DOMAIN}.", f"www.{DOMAIN}.") for kind in ("A", "AAAA")}


@pytest.fixture
def in_use(tmp_path: Path) -> Iterator[Project]:
    made = copy_project(tmp_path / "checkout")
    (made.root / "site").mkdir()
    for name in ("index.html", "404.html"):
        (made.root / "site" / name).write_text("<html>hello</html>")
    made.run("sandbox", "up")
    yield made
    made.run("sandbox", "reset", "--confirm", "sandbox")


def change(project: Project, zone: str, action: str, *records: dict[str, Any]) -> None:
    changes = [{"Action": action, "ResourceRecordSet": record} for record in records]
    project.aws("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})


def records(project: Project, zone: str) -> dict[tuple[str, str], Any]:
    found = project.aws("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return {(one["Name"], one["Type"]): one for one in found}


def made(project: Project) -> list[str]:
    """What was made that costs money, and every zone."""
    vpcs = [vpc["VpcId"] for vpc in project.aws("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
    return vpcs + [zone["Id"].removeprefix("/hostedzone/") for zone in project.aws("route53").list_hosted_zones()["HostedZones"]]


@pytest.mark.soak
def test_a_zone_in_use_is_adopted_switched_put_back_and_left(in_use: Project) -> None:
    project = in_use
    site = {"AMIANAI_SITE_DIRECTORY": "site", "AMIANAI_SITE_BUILD_COMMAND": "mkdir -p out && cp index.html 404.html out/"}
    answer = project.aws("route53").create_hosted_zone(Name=DOMAIN, CallerReference="the registrar")
    zone = answer["HostedZone"]["Id"].removeprefix("/hostedzone/")
    change(project, zone, "CREATE", *OLD, MAIL)

    for command in ("setup", "up", "preview"):
        refused = project.run(command, code=3, env=site)
        assert f"--sandbox setup --set dns.zone_id={zone}`" in refused.stderr
        assert made(project) == [zone]
    adopted = ("--set", f"dns.zone_id={zone}")
    for command in ("setup", "up"):
        refused = project.run(*adopted, command, code=3, env=site)
        assert f"{DOMAIN} A 192.0.2.1" in refused.stderr
        assert f"www.{DOMAIN} CNAME old.example.net." in refused.stderr
        assert "MX" not in refused.stderr
        assert made(project) == [zone]
    assert "refused without --switch" in project.run(*adopted, "preview", env=site).stderr

    switched = project.run(*adopted, "setup", "--switch", env=site)
    there = records(project, zone)
    assert {key for key in there if "AliasTarget" in there[key]} == SITE
    assert (f"www.{DOMAIN}.", "CNAME") not in there
    assert there[f"{DOMAIN}.", "MX"]["ResourceRecords"] == MAIL["ResourceRecords"]
    assert f"www.{DOMAIN} CNAME old.example.net." in switched.stderr
    assert get(project.json("status")["site"]["url"], "/")[0] == 200
    assert "no changes" in project.said("up", env=site)
    assert "overwrite" not in (project.root / ".sandbox/project/Pulumi.prod.yaml").read_text()

    (kept,) = (project.root / ".sandbox/replaced-records").iterdir()
    assert f"--hosted-zone-id {zone} --change-batch file://{kept}" in switched.stderr
    project.aws("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch=json.loads(kept.read_text()))
    there = records(project, zone)
    assert {key: there[key] for key in there if key[1] in ("A", "AAAA", "CNAME") and not key[0].startswith("_")} == {
        (one["Name"], one["Type"]): one for one in OLD
    }
    assert "elsewhere" in project.run("up", "--refresh", code=3, env=site).stderr
    project.run("up", "--switch", env=site)
    assert {key for key, one in records(project, zone).items() if "AliasTarget" in one} == SITE
    assert "no changes" in project.said("up", "--refresh", env=site)

    project.run("destroy", "--confirm", DOMAIN)
    assert made(project) == [zone]
    assert {kind for _, kind in records(project, zone)} == {"NS", "SOA", "MX"}


def test_destroy_takes_nothing_while_others_have_records_in_the_zone(deployed: Deployed) -> None:
    project, zone = deployed.project, deployed.status["dns"]["zone_id"]
    before = records(project, zone)
    change(project, zone, "CREATE", MAIL)
    try:
        assert f"{DOMAIN} MX 10 mail.example.net." in project.run("destroy", "--dry-run").stdout
        refused = project.run("destroy", "--confirm", DOMAIN, code=3)
        assert f"{DOMAIN} MX 10 mail.example.net." in refused.stderr
        assert "--keep-zone" in refused.stderr
        assert project.aws("rds").describe_db_instances()["DBInstances"]
    finally:
        change(project, zone, "DELETE", MAIL)
    assert records(project, zone) == before
    assert "in the way" not in project.run("destroy", "--dry-run").stdout


def test_destroy_takes_nothing_while_others_have_something_in_the_network(deployed: Deployed) -> None:
    project, ec2 = deployed.project, deployed.project.aws("ec2")
    assert "in the way" not in project.run("destroy", "--dry-run").stdout
    (vpc,) = [one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"] if not one["IsDefault"]]
    subnet = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"][0]["SubnetId"]
    group = ec2.create_security_group(GroupName="application", Description="of others", VpcId=vpc)["GroupId"]
    interface = ec2.create_network_interface(SubnetId=subnet, Description="of a function")["NetworkInterface"]["NetworkInterfaceId"]
    try:
        planned = project.run("destroy", "--dry-run").stdout
        refused = project.run("destroy", "--confirm", DOMAIN, code=3).stderr
        for told in (planned, refused):
            assert f"security group {group} in {vpc} (application)" in told
            assert f"network interface {interface} in {subnet} (of a function)" in told
        assert project.aws("rds").describe_db_instances()["DBInstances"]
    finally:
        ec2.delete_network_interface(NetworkInterfaceId=interface)
        ec2.delete_security_group(GroupId=group)
    assert "in the way" not in project.run("destroy", "--dry-run").stdout


@pytest.mark.soak
def test_carried_records_stay_in_a_zone_that_is_kept_and_are_taken_in_again(in_use: Project) -> None:
    project = in_use
    (project.root / "zone.txt").write_text("@ 300 IN MX 10 mail.example.net.\n@ 300 IN A 192.0.2.1\nwww 300 IN CNAME old.example.net.\n")
    project.run("setup", "--no-deploy", "--records", "zone.txt")
    (zone,) = [one for one in made(project) if one.startswith("Z")]
    there = records(project, zone)
    assert there[f"{DOMAIN}.", "MX"]["ResourceRecords"] == MAIL["ResourceRecords"]
    assert {key for key in there if "AliasTarget" in there[key]} == SITE
    project.run("destroy", "--keep-zone", "--confirm", DOMAIN)
    assert made(project) == [zone]
    assert {kind for _, kind in records(project, zone)} == {"NS", "SOA", "MX"}
    project.run("up")
    assert records(project, zone)[f"{DOMAIN}.", "MX"] == there[f"{DOMAIN}.", "MX"]
    assert "no changes" in project.said("up")
