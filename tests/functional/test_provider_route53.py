"""Zones and records with the real engine and the emulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from amianai_infra.errors import EngineError
from amianai_infra.sandbox.provider.route53 import Record, Zone
from tests.functional.conftest import Bench, Program, changed
from tests.functional.provider_attempt import attempt, context
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

        there = records(bench, out["zone"])
        other = {**there["life.test.", "CAA"], "ResourceRecords": [{"Value": '0 issue "other.org"'}]}
        change(bench, out["zone"], ("DELETE", there["life.test.", "AAAA"]), ("UPSERT", other))
        assert changed(made.refresh()) == {"update": 1, "delete": 1}
        assert changed(made.up()) == {"update": 1, "create": 1}
        assert records(bench, out["zone"]) == there

        foreign = {"Name": "mail.life.test", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.9"}]}
        change(bench, out["zone"], ("CREATE", foreign))
        with pytest.raises(EngineError, match="HostedZoneNotEmpty"):
            made.destroy()
        settings.force = True
        made.up()
    left = bench.client("route53").list_hosted_zones()["HostedZones"]
    assert "life.test." not in [one["Name"] for one in left]


def change(bench: Bench, zone: str, *changes: tuple[str, dict[str, Any]]) -> None:
    """Change records behind the provider's back."""
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record} for action, record in changes]}
    bench.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)


def test_zones_and_records_can_be_imported(bench: Bench, tmp_path: Path) -> None:
    route53 = bench.client("route53")
    ident = route53.create_hosted_zone(Name="import.test", CallerReference="import")["HostedZone"]["Id"].rpartition("/")[2]
    record = {"Name": "_a.import.test", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "b.example.net"}]}
    change(bench, ident, ("CREATE", record))

    def program() -> None:
        options = pulumi.ResourceOptions(import_=ident)
        zone = aws.route53.Zone("zone", name="import.test", comment="", opts=options)
        options = pulumi.ResourceOptions(import_=f"{ident}__a.import.test_CNAME")
        aws.route53.Record(
            "proof", zone_id=zone.zone_id, name="_a.import.test", type="CNAME", ttl=60, records=["b.example.net"], opts=options
        )

    with stack(bench, tmp_path, program) as made:
        assert changed(made.up()) == {"import": 2}
        assert changed(made.up()) == {}


def test_records_that_clash(bench: Bench) -> None:
    route53 = bench.client("route53")
    zone = route53.create_hosted_zone(Name="clash.test", CallerReference="clash")["HostedZone"]["Id"].rpartition("/")[2]
    first = {"zoneId": zone, "name": "www", "type": "A", "ttl": 60, "records": ["192.0.2.1"]}
    assert attempt(bench, Record(), first) == ""
    assert "already exists" in attempt(bench, Record(), first)
    assert attempt(bench, Record(), {**first, "records": ["192.0.2.2"], "allowOverwrite": True}) == ""
    assert "a CNAME stands alone" in attempt(bench, Record(), {**first, "type": "CNAME", "records": ["a.example.net"]})
    assert "NoSuchHostedZone" in attempt(bench, Record(), {**first, "zoneId": "Z0"})
    Zone().delete(context(bench, Zone()), zone, {"forceDestroy": True})
    assert "clash.test." not in [one["Name"] for one in route53.list_hosted_zones()["HostedZones"]]
