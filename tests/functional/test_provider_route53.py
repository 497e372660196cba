"""Zones and records with the real engine and the emulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from amianai_infra.errors import EngineError
from tests.functional.conftest import Bench, Program, changed
from tests.functional.test_provider import stack, steps

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")


@dataclass
class Settings:
    domain: str
    ttl: int = 300
    kind: str = "CNAME"
    value: str = "elsewhere.example.net"
    force: bool = False
    comment: str = "of the bench"


def domain(settings: Settings) -> Program:
    def program() -> None:
        zone = aws.route53.Zone(
            "zone", name=settings.domain, comment=settings.comment, force_destroy=settings.force, tags={"amianai:urn": "urn:x"}
        )
        caa = ['0 issue "amazon.com"', '0 issuewild "amazon.com"']
        aws.route53.Record("caa", zone_id=zone.zone_id, name=settings.domain, type="CAA", ttl=settings.ttl, records=caa)
        for kind in ("A", "AAAA"):
            alias = aws.route53.RecordAliasArgs(name="D123.cloudfront.net", zone_id="Z2FDTNDATAQYW2", evaluate_target_health=False)
            aws.route53.Record(f"apex{kind}", zone_id=zone.zone_id, name=f"{settings.domain}.", type=kind, aliases=[alias])
        www = aws.route53.Record("short", zone_id=zone.zone_id, name="www", type=settings.kind, ttl=60, records=[settings.value])
        proof = f"_a79865eb.{settings.domain}."
        aws.route53.Record("proof", zone_id=zone.zone_id, name=proof, type="CNAME", ttl=60, records=["_x.acm-validations.aws."])
        aws.route53.Record("text", zone_id=zone.zone_id, name="t", type="TXT", ttl=60, records=["v=spf1 -all"])
        found = aws.route53.get_zone_output(zone_id=zone.zone_id)
        pulumi.export("zone", zone.zone_id)
        pulumi.export("name", found.name)
        pulumi.export("servers", zone.name_servers)
        pulumi.export("fqdn", www.fqdn)
        pulumi.export("id", www.id)

    return program


def records(bench: Bench, zone: str) -> dict[tuple[str, str], Any]:
    found = bench.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return {(one["Name"], one["Type"]): one for one in found}


def test_the_whole_life_of_a_domain(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("life.test")
    with stack(bench, tmp_path, domain(settings)) as made:
        assert changed(made.up()) == {"create": 7}
        out = made.outputs()
        assert out["name"] == "life.test"
        assert len(out["servers"]) == 4
        assert not any(server.endswith(".") for server in out["servers"])
        assert (out["fqdn"], out["id"]) == ("www.life.test", f"{out['zone']}_www_CNAME")
        there = records(bench, out["zone"])
        assert there["life.test.", "A"]["AliasTarget"]["HostedZoneId"] == "Z2FDTNDATAQYW2"
        assert there["t.life.test.", "TXT"]["ResourceRecords"] == [{"Value": '"v=spf1 -all"'}]
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}

        settings.ttl, settings.comment = 60, "changed"
        assert steps(made.up()) == {"zone": ("comment",), "caa": ("ttl",)}

        settings.kind, settings.value = "A", "192.0.2.1"
        assert changed(made.up()) == {"update": 1}
        there = records(bench, out["zone"])
        assert ("www.life.test.", "CNAME") not in there
        assert there["www.life.test.", "A"]["ResourceRecords"] == [{"Value": "192.0.2.1"}]
        assert changed(made.refresh()) == {}

        settings.domain = "other.test"
        assert changed(made.preview()) == {"replace": 7}
        settings.domain = "life.test"


def test_drift_of_records_is_found_and_put_right(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("drift.test")
    with stack(bench, tmp_path, domain(settings)) as made:
        made.up()
        zone = made.outputs()["zone"]
        there = records(bench, zone)
        changes = [
            {"Action": "DELETE", "ResourceRecordSet": there["drift.test.", "AAAA"]},
            {
                "Action": "UPSERT",
                "ResourceRecordSet": {**there["drift.test.", "CAA"], "ResourceRecords": [{"Value": '0 issue "other.org"'}]},
            },
        ]
        bench.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
        assert changed(made.refresh()) == {"update": 1, "delete": 1}
        assert changed(made.up()) == {"update": 1, "create": 1}
        assert records(bench, zone) == there


def test_a_zone_with_foreign_records_goes_only_by_force(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("full.test")
    with stack(bench, tmp_path, domain(settings)) as made:
        made.up()
        zone = made.outputs()["zone"]
        foreign = {"Name": "mail.full.test", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.9"}]}
        batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": foreign}]}
        bench.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
        with pytest.raises(EngineError, match="HostedZoneNotEmpty"):
            made.destroy()
        settings.force = True
        made.up()
    left = bench.client("route53").list_hosted_zones()["HostedZones"]
    assert "full.test." not in [one["Name"] for one in left]


def test_zones_and_records_can_be_imported(bench: Bench, tmp_path: Path) -> None:
    route53 = bench.client("route53")
    ident = route53.create_hosted_zone(Name="import.test", CallerReference="import")["HostedZone"]["Id"].rpartition("/")[2]
    record = {"Name": "_a.import.test", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "b.example.net"}]}
    batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    route53.change_resource_record_sets(HostedZoneId=ident, ChangeBatch=batch)

    def program() -> None:
        options = pulumi.ResourceOptions(import_=ident)
        zone = aws.route53.Zone("zone", name="import.test", comment="", opts=options)
        options = pulumi.ResourceOptions(import_=f"{ident}__a.import.test_CNAME")
        aws.route53.Record("proof", zone_id=zone.zone_id, name="_a.import.test", type="CNAME", ttl=60, records=["b.example.net"], opts=options)

    with stack(bench, tmp_path, program) as made:
        assert changed(made.up()) == {"import": 2}
        assert changed(made.up()) == {}


def test_two_records_of_one_name_and_a_cname(bench: Bench, tmp_path: Path) -> None:
    def program() -> None:
        zone = aws.route53.Zone("zone", name="clash.test", force_destroy=True)
        first = aws.route53.Record("first", zone_id=zone.zone_id, name="www", type="A", ttl=60, records=["192.0.2.1"])
        options = pulumi.ResourceOptions(depends_on=[first])
        aws.route53.Record("second", zone_id=zone.zone_id, name="www", type="CNAME", ttl=60, records=["a.example.net"], opts=options)

    with stack(bench, tmp_path, program) as made, pytest.raises(EngineError, match="a CNAME stands alone"):
        made.up()


def test_a_record_that_is_there_is_not_taken_over_unless_allowed(bench: Bench, tmp_path: Path) -> None:
    allowed = False

    def program() -> None:
        zone = aws.route53.Zone("zone", name="twice.test", force_destroy=True)
        first = aws.route53.Record("first", zone_id=zone.zone_id, name="www", type="A", ttl=60, records=["192.0.2.1"])
        options = pulumi.ResourceOptions(depends_on=[first])
        aws.route53.Record(
            "second", zone_id=zone.zone_id, name="www", type="A", ttl=60, records=["192.0.2.2"], allow_overwrite=allowed, opts=options
        )

    with stack(bench, tmp_path, program) as made:
        with pytest.raises(EngineError, match="already exists"):
            made.up()
        allowed = True
        assert changed(made.up()) == {"create": 1}
