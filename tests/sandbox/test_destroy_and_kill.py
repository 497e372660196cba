"""What interrupts and what ends a stack: kill -9 at any moment, a dead lock, a refused and a confirmed destruction.

A project of its own with a site of one page, so that nothing here disturbs the shared stack.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.project import Project, copy_project

pytestmark = pytest.mark.sandbox

SITE = {
    "AMIANAI_SITE_DIRECTORY": "site",
    "AMIANAI_SITE_BUILD_COMMAND": "mkdir -p out/about && cp index.html out/ && cp index.html out/about/ && cp index.html out/404.html",
}
DOMAIN = "example.test"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a site of one page; nothing of it is set up."""
    made = copy_project(tmp_path_factory.mktemp("small") / "checkout")
    (made.root / "site").mkdir()
    (made.root / "site/index.html").write_text("<!doctype html><html lang='en'><title>One page</title><h1>One page, 404 or not</h1></html>")
    yield made
    made.run("sandbox", "reset", "--confirm", "sandbox")


@pytest.fixture(scope="module")
def small(bare: Project) -> Project:
    """The same one, set up."""
    bare.run("setup", env=SITE)
    return bare


def kill_after(project: Project, seconds: float) -> bool:
    """Start `setup` and kill its whole process group; False when it was done before."""
    process = subprocess.Popen(
        project.command("setup"),
        cwd=project.root,
        env=project.environment(SITE),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def own_resources(project: Project) -> dict[str, int]:
    """How many of each thing that a double creation would show."""
    return {
        "vpcs": len([vpc for vpc in project.aws("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]),
        "databases": len(project.aws("rds").describe_db_instances()["DBInstances"]),
        "pools": len(project.aws("cognito-idp").list_user_pools(MaxResults=10)["UserPools"]),
        "distributions": len(project.aws("cloudfront").list_distributions()["DistributionList"].get("Items", [])),
        "zones": len(project.aws("route53").list_hosted_zones()["HostedZones"]),
        "certificates": len(project.aws("acm").list_certificates()["CertificateSummaryList"]),
    }


def audit_group(project: Project) -> tuple[str, int]:
    """Name and birth of the audit log group."""
    (group,) = project.aws("logs").describe_log_groups(logGroupNamePrefix="/eeyore/database/audit")["logGroups"]
    return group["logGroupName"], group["creationTime"]


@pytest.mark.soak
def test_killed_at_random_moments_setup_converges_and_creates_nothing_twice(bare: Project) -> None:
    bare.run("sandbox", "up")
    moments = random.Random(20)
    for _ in range(4):
        kill_after(bare, moments.uniform(2.0, 9.0))
        time.sleep(0.2)
    bare.run("setup", env=SITE)
    assert set(own_resources(bare).values()) == {1}
    assert "no changes" in bare.said("setup", env=SITE)
    assert bare.json("state", "locks") == []


def test_destroy_without_the_domain_is_refused_and_changes_nothing(small: Project) -> None:
    before = own_resources(small)
    small.run("--yes", "destroy", code=3, env=SITE)
    small.run("--yes", "destroy", "--confirm", "another.test", code=3, env=SITE)
    assert own_resources(small) == before


def test_destroy_keeps_the_people_and_the_zone_when_asked_and_setup_adopts_them(small: Project) -> None:
    pools, zones = small.aws("cognito-idp"), small.aws("route53")
    (pool,) = pools.list_user_pools(MaxResults=10)["UserPools"]
    (zone,) = zones.list_hosted_zones()["HostedZones"]
    record = audit_group(small)
    small.run("destroy", "--confirm", DOMAIN, "--keep-users", "--keep-zone", env=SITE)
    left = own_resources(small)
    assert (left["pools"], left["zones"]) == (1, 1)
    assert (left["vpcs"], left["databases"], left["distributions"]) == (0, 0, 0)
    snapshots = small.aws("rds").describe_db_snapshots()["DBSnapshots"]
    assert any(snapshot["DBSnapshotIdentifier"].startswith("eeyore-postgres-final-") for snapshot in snapshots)
    small.run("setup", env=SITE)
    assert pools.list_user_pools(MaxResults=10)["UserPools"][0]["Id"] == pool["Id"]
    assert [found["Id"] for found in zones.list_hosted_zones()["HostedZones"]] == [zone["Id"]]
    assert audit_group(small) == record, "the record of what was done to the database goes on"


def test_destroy_keeps_the_record_of_the_database_until_it_is_asked_for(small: Project) -> None:
    before = audit_group(small)
    assert "/eeyore/database/audit" in small.said("destroy", "--dry-run", env=SITE)
    assert audit_group(small) == before


def test_destroy_leaves_nothing_but_what_it_says_it_kept(small: Project) -> None:
    said = small.said("destroy", "--confirm", DOMAIN, "--delete-audit", env=SITE)
    left = own_resources(small)
    assert {kind: count for kind, count in left.items() if count} == {"zones": 1, "pools": 1}, "what was adopted is never deleted"
    assert "zone" in said
    assert "user pool" in said
    assert small.aws("s3").list_buckets()["Buckets"] == []
    assert small.aws("logs").describe_log_groups(logGroupNamePrefix="/eeyore/")["logGroups"] == []
    assert small.json("state", "locks") == []
