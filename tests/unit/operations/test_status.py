from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from amianai_infra.naming import secret_name
from amianai_infra.operations import status
from amianai_infra.target import SiteAddress
from tests.unit.operations.fakes import OUTPUTS, Target


class Rds:
    def describe_db_instances(self, **_: Any) -> dict[str, Any]:
        return {
            "DBInstances": [
                {
                    "DBInstanceStatus": "available",
                    "DBInstanceClass": "db.t3.micro",
                    "AllocatedStorage": 20,
                    "EngineVersion": "16.4",
                    "DeletionProtection": True,
                    "BackupRetentionPeriod": 7,
                }
            ]
        }


class Gone:
    def describe_user_pool(self, **_: Any) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "gone"}}, "DescribeUserPool")


class CloudFront:
    def get_distribution(self, **_: Any) -> dict[str, Any]:
        return {"Distribution": {"Status": "Deployed"}}


class Route53:
    def get_hosted_zone(self, **_: Any) -> dict[str, Any]:
        return {"HostedZone": {"ResourceRecordSetCount": 9}}


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    hosts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hosts.append(str(self.headers["Host"]))
            self.send_response(200 if self.path == "/" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield http.server_port, hosts
        http.shutdown()
        thread.join()


def test_the_site_is_asked_by_its_name_at_its_address(server: tuple[int, list[str]]) -> None:
    port, hosts = server
    address = SiteAddress("http://site.test/", "site.test", ("127.0.0.1", port), tls=False)
    assert status.answers(address) == 200
    assert status.answers(address, "/nothing") == 404
    assert hosts == ["site.test", "site.test"]


def test_a_site_that_does_not_answer() -> None:
    assert status.answers(SiteAddress("http://x/", "x", ("127.0.0.1", 9), tls=False), timeout=1) == 0


def test_one_part_that_is_gone_does_not_hide_the_others(tmp_path: Path, server: tuple[int, list[str]]) -> None:
    target: Any = Target(tmp_path, clients={"rds": Rds(), "cognito-idp": Gone(), "cloudfront": CloudFront(), "route53": Route53()})
    target.site_address = lambda outputs: SiteAddress("http://s.test/", "s.test", ("127.0.0.1", server[0]), tls=False)
    parts = {part.name: part for part in status.look(target, OUTPUTS)}
    assert {name: part.ok for name, part in parts.items()} == {"site": True, "database": True, "auth": False, "dns": True}
    assert parts["auth"].state == "notfound"
    assert "gone" in parts["auth"].facts["problem"]
    data = parts["database"].as_dict()
    assert data["secret_arn"] == OUTPUTS.database.secret_arn
    assert data["ok"] is True
    assert parts["database"].facts["login"].endswith(f"secret {secret_name(OUTPUTS.database.application_secret_arn)}")
    assert parts["database"].facts["owner's login"].endswith(f"secret {secret_name(OUTPUTS.database.secret_arn)}")
    assert parts["site"].as_dict()["url"] == "http://s.test/"
    text = "\n".join(status.screen("title", list(parts.values())))
    assert "✗ auth" in text
    assert "PostgreSQL 16.4" in text


def test_the_screen_is_a_hundred_columns_wide() -> None:
    servers = [f"ns-{number}.awsdns-{number}.co.uk" for number in range(1234, 1238)]
    part = status.Part("dns", True, "served", {"name servers": " ".join(servers), "zone": "Z" * 90})
    _, _, *lines = status.screen("title", [part])
    assert lines == [f"    name servers  {' '.join(servers[:3])}", f"{'':16}| {servers[3]}", f"    zone{'':10}{'Z' * 90}"]


def test_the_ds_record_is_shown_where_the_zone_is_signed() -> None:
    route53 = Mock(spec=["get_hosted_zone"])
    route53.get_hosted_zone.return_value = {"HostedZone": {"ResourceRecordSetCount": 5}}
    signed = OUTPUTS.model_copy({"dns": OUTPUTS.dns.model_copy({"ds_record": "12345 13 2 ABCDEF"})})
    assert status._dns(route53, signed).facts["DS record"] == "12345 13 2 ABCDEF"
    assert "DS record" not in status._dns(route53, OUTPUTS).facts


def test_replicas_are_shown_where_there_are_some() -> None:
    assert "replicas" not in status._database(Rds(), OUTPUTS).facts
    outputs = OUTPUTS.model_copy({"database": OUTPUTS.database.model_copy({"replica_hosts": ["one.internal", "two.internal"]})})
    assert status._database(Rds(), outputs).facts["replicas"] == "one.internal, two.internal"


def test_the_client_for_development_is_shown_where_there_is_one() -> None:
    class Cognito:
        def describe_user_pool(self, UserPoolId: str) -> dict[str, Any]:
            return {"UserPool": {"Id": UserPoolId}}

    assert "development" not in status._auth(Cognito(), OUTPUTS).facts
    outputs = OUTPUTS.model_copy({"auth": OUTPUTS.auth.model_copy({"development_client_id": "local"})})
    assert status._auth(Cognito(), outputs).facts["development"] == "local"
