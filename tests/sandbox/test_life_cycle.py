"""The production stack, from nothing to a site that answers, changed, drifted, killed and destroyed, with the real engine.

What this cannot prove: that AWS itself accepts every value (the provider checks them against botocore's service model) and
how the official `pulumi-aws` plugin computes its differences.
"""

from __future__ import annotations

import http.client
import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.project import Deployed

pytestmark = pytest.mark.sandbox


def get(url: str, path: str) -> tuple[int, dict[str, str], str]:
    """A visitor's request: the distribution's host name, connected to on loopback."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=10)
    connection.request("GET", path, headers={"Host": parts.netloc})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def changed(summary: dict[str, Any]) -> dict[str, int]:
    return {kind: count for kind, count in summary["counts"].items() if kind != "same" and count}


def test_the_site_answers_with_the_right_page(deployed: Deployed) -> None:
    home = get(deployed.site_url, "/")
    assert home[0] == 200
    assert "<html" in home[2]
    with_slash, without = get(deployed.site_url, "/about/"), get(deployed.site_url, "/about")
    assert (with_slash[0], without[0], without[1]["location"]) == (200, 301, "/about/")
    assert with_slash[2] != home[2]


def test_an_unknown_path_answers_with_the_sites_own_404(deployed: Deployed) -> None:
    status, headers, body = get(deployed.site_url, "/no/such/page/")
    assert status == 404
    assert headers["content-type"].startswith("text/html")
    assert "404" in body
    assert "<html" in body


def test_security_headers_are_there(deployed: Deployed) -> None:
    headers = get(deployed.site_url, "/")[1]
    assert "max-age=31536000" in headers["strict-transport-security"]
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_the_bucket_itself_is_closed(deployed: Deployed) -> None:
    endpoint = deployed.project.variables()["AWS_ENDPOINT_URL"]
    assert get(endpoint, f"/{deployed.status['site']['bucket']}/index.html")[0] == 403


def test_an_independent_client_sees_the_network_and_the_database(deployed: Deployed) -> None:
    ec2 = deployed.project.aws("ec2")
    (vpc,) = [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    assert sorted(subnet["CidrBlock"] for subnet in subnets) == ["10.0.1.0/24", "10.0.10.0/24", "10.0.11.0/24", "10.0.2.0/24"]
    (database,) = deployed.project.aws("rds").describe_db_instances()["DBInstances"]
    assert database["DBInstanceIdentifier"] == "eeyore-postgres"
    assert database["StorageEncrypted"] is True
    assert database["PubliclyAccessible"] is False
    assert database["BackupRetentionPeriod"] == 7
    assert database["DeletionProtection"] is True


def test_an_independent_client_sees_sign_in_and_the_site(deployed: Deployed) -> None:
    (pool,) = deployed.project.aws("cognito-idp").list_user_pools(MaxResults=10)["UserPools"]
    assert pool["Name"] == "eeyore-user-pool"
    (distribution,) = deployed.project.aws("cloudfront").list_distributions()["DistributionList"]["Items"]
    assert all(origin["OriginAccessControlId"] for origin in distribution["Origins"]["Items"])
    (zone,) = deployed.project.aws("route53").list_hosted_zones()["HostedZones"]
    records = deployed.project.aws("route53").list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    kinds = {(record["Name"].rstrip("."), record["Type"]) for record in records}
    domain = zone["Name"].rstrip(".")
    assert {(domain, "A"), (domain, "AAAA"), (f"www.{domain}", "A"), (f"www.{domain}", "AAAA"), (domain, "CAA")} <= kinds
    (certificate,) = deployed.project.aws("acm").list_certificates()["CertificateSummaryList"]
    assert certificate["DomainName"] == domain


def test_the_database_is_reached_over_verified_tls_only(deployed: Deployed) -> None:
    import psycopg

    database = deployed.status["database"]
    secret = json.loads(deployed.project.aws("secretsmanager").get_secret_value(SecretId=database["secret_arn"])["SecretString"])
    env = deployed.project.variables()
    where = {"host": database["host"], "port": database["port"], "dbname": database["name"], "user": secret["username"]}
    with psycopg.connect(**where, password=secret["password"], sslmode="verify-full", sslrootcert=env["PGSSLROOTCERT"]) as connection:
        row = connection.execute("select version(), (select ssl from pg_stat_ssl where pid = pg_backend_pid())").fetchone()
    assert row is not None
    assert row[0].startswith("PostgreSQL 16.")
    assert row[1] is True
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry|no encryption"):
        psycopg.connect(**where, password=secret["password"], sslmode="disable")


def test_a_second_setup_changes_nothing(deployed: Deployed) -> None:
    assert "no changes" in deployed.project.said("setup")


def test_up_without_a_change_changes_nothing(deployed: Deployed) -> None:
    assert changed(deployed.project.json("up", "--yes")) == {}


def test_one_changed_value_is_exactly_one_update(deployed: Deployed) -> None:
    longer = deployed.project.json("--set", "database.backup_days=9", "up", "--yes")
    assert changed(longer) == {"update": 1}
    assert [step["type"] for step in longer["steps"] if step["op"] == "update"] == ["aws:rds/instance:Instance"]
    assert changed(deployed.project.json("--set", "database.backup_days=7", "up", "--yes")) == {"update": 1}


@pytest.mark.parametrize("command", ["preview", "up", "setup"])
def test_a_setting_that_must_stay_is_refused_before_the_engine_starts(deployed: Deployed, command: str) -> None:
    file = deployed.project.root / ".sandbox/project/Pulumi.prod.yaml"
    before = file.read_bytes()
    for value in ("network.cidr=10.9.0.0/16", "prefix=other", "database.name=other", "domain_name=example.org"):
        done = deployed.project.run("--set", value, command, "--yes", code=3)
        assert value.partition("=")[2] in done.stderr
        assert "nothing was changed" in done.stderr
        assert file.read_bytes() == before


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 3), pytest.param(b"y\n", 0, marks=pytest.mark.soak)])
def test_on_a_terminal_the_sandbox_asks_after_the_plan(deployed: Deployed, answer: bytes, code: int) -> None:
    project = deployed.project
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    command = project.command("--set", "site.old_version_days=31", "up")
    done = subprocess.run(command, check=False, cwd=project.root, env=project.environment(), stdin=theirs, capture_output=True, text=True)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code, done.stderr
    shown = done.stderr
    assert shown.index("update") < shown.index("Change the sandbox's stack? Would be: ")
    assert project.json("--set", "site.old_version_days=31", "preview")["changed"] == bool(code)


def test_drift_made_by_an_outside_client_is_found_and_mended(deployed: Deployed) -> None:
    rds = deployed.project.aws("rds")
    rds.modify_db_instance(DBInstanceIdentifier="eeyore-postgres", BackupRetentionPeriod=1, ApplyImmediately=True)
    found = deployed.project.json("preview", "--refresh")
    assert [step["type"] for step in found["steps"] if step["op"] == "update"] == ["aws:rds/instance:Instance"]
    deployed.project.run("up", "--refresh", "--yes")
    (database,) = rds.describe_db_instances()["DBInstances"]
    assert database["BackupRetentionPeriod"] == 7


def test_no_secret_reaches_output_state_or_files(deployed: Deployed, env_file: Path) -> None:
    secret = deployed.project.aws("secretsmanager").get_secret_value(SecretId=deployed.status["database"]["secret_arn"])
    password = json.loads(secret["SecretString"])["password"]
    shown = [deployed.project.run(*words) for words in (("sandbox", "env"), ("status",), ("--debug", "preview"), ("env",))]
    assert not [done.args for done in shown if password in done.stdout + done.stderr]
    root = deployed.project.root
    kept = [env_file, *(root / ".sandbox/state").rglob("*"), *(root / ".sandbox").rglob("*.log")]
    assert not [path for path in kept if path.is_file() and password.encode() in path.read_bytes()]
