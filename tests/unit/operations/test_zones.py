from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from amianai_infra.engine import StateResource, Summary
from amianai_infra.errors import AmianaiError, ConfigurationError, NotFoundError, RefusedError, UnreachableError
from amianai_infra.operations import change, destroy, setup, zones
from amianai_infra.stack import ADDRESS_URNS, OVERWRITE
from tests.unit.operations.fakes import Context, Route53, names, resource, summary

A = {"Name": "example.com.", "Type": "A", "TTL": 300, "ResourceRecords": [{"Value": "192.0.2.1"}]}
CNAME = {"Name": "www.example.com.", "Type": "CNAME", "TTL": 300, "ResourceRecords": [{"Value": "old.example.net."}]}
MX = {"Name": "example.com.", "Type": "MX", "TTL": 300, "ResourceRecords": [{"Value": "10 mail.example.net."}]}
CAA = {"Name": "example.com.", "Type": "CAA", "TTL": 300, "ResourceRecords": [{"Value": '0 issue "letsencrypt.org"'}]}
OWN = [{"Name": "example.com.", "Type": kind, "TTL": 300, "ResourceRecords": [{"Value": "ns-1.awsdns.test."}]} for kind in ("NS", "SOA")]
DISTRIBUTION = StateResource(
    "urn::cdn", zones.DISTRIBUTION_TYPE, "E1", {}, {"domainName": "d1.cloudfront.net", "hostedZoneId": "Z2FDTNDATAQYW2"}
)
ZONE = resource("urn::zone", zones.ZONE_TYPE, "Z1", {"name": "example.com"})
ISSUED = resource("urn::issued", zones.ISSUED_TYPE, "arn")


def address(name: str, kind: str) -> StateResource:
    return resource(f"urn::{name}-{kind}", zones.RECORD_TYPE, f"Z1_{name}_{kind}", {"name": name, "type": kind})


ADDRESSES = [address(name, kind) for name in ("example.com", "www.example.com") for kind in ("A", "AAAA")]


def place(tmp_path: Path, route53: Route53, **flags: str) -> Context:
    context = Context(tmp_path, flags={name.replace("__", "."): value for name, value in flags.items()})
    context.target.clients["route53"] = route53
    return context


def adopting(tmp_path: Path, *records: dict[str, Any]) -> tuple[Context, Route53]:
    route53 = Route53({"Z1": "example.com"}, [*OWN, *records])
    return place(tmp_path, route53, dns__zone_id="Z1"), route53


# -- a zone exists


@pytest.mark.parametrize("attempt", [change.up, change.preview])
def test_a_second_zone_is_never_made(tmp_path: Path, attempt: Any) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com", "Z2": "other.example", "Z3": "a.example.com"}))
    with pytest.raises(RefusedError, match=r"A public hosted zone for example\.com exists") as caught:
        attempt(context)
    assert "`amianai setup --set dns.zone_id=Z1`" in caught.value.fix
    assert "ns-of-z1.test" in caught.value.where
    assert caught.value.exit_code == 3
    assert set(names(context.log)) <= {"offer", "recover"}


def test_several_are_listed_with_what_tells_them_apart(tmp_path: Path) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com", "Z2": "example.com", "Z9": "example.com"}, Z9=True))
    with pytest.raises(RefusedError, match="2 public hosted zones") as caught:
        change.up(context)
    assert caught.value.where.splitlines() == ["Z1: ns-of-z1.test (comment of Z1)", "Z2: ns-of-z2.test (comment of Z2)"]
    assert "Z1|Z2" in caught.value.fix
    assert context.did("offer") == []


def test_a_person_may_adopt_it_on_the_spot(tmp_path: Path) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com"}))
    context.accept = True
    change.up(context)
    assert context.settings.dns.zone_id == "Z1"
    assert context.did("configure")[0][1]["amianai-infra:dnsZoneId"] == "Z1"


def test_a_preview_asks_nothing(tmp_path: Path) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com"}))
    context.accept = True
    with pytest.raises(RefusedError):
        change.preview(context)
    assert context.did("offer") == []


@pytest.mark.parametrize(
    "route53", [Route53(), Route53({"Z1": "example.com"}, Z1=True), Route53({"Z1": "example.org", "Z2": "www.example.com"})]
)
def test_private_zones_and_other_names_do_not_count(tmp_path: Path, route53: Route53) -> None:
    context = place(tmp_path, route53)
    change.up(context)
    assert len(context.did("up")) == 1


def test_the_stacks_own_zone_is_no_other(tmp_path: Path) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com"}, OWN))
    context.state = [ZONE]
    change.up(context)
    assert len(context.did("up")) == 1


def test_a_zone_whose_creation_was_interrupted_is_the_stacks_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com"}, OWN))
    original = context.engine

    def engine(environment: Any = None) -> Any:
        made = original(environment)

        def recover() -> list[str]:
            context.state[:] = [ZONE]
            return ["adopted Z1"]

        made.recover = recover
        return made

    monkeypatch.setattr(context, "engine", engine)
    change.up(context)
    assert context.notes == ["adopted Z1"]
    assert context.did("offer") == []


# -- what an adopted zone says


def test_an_adopted_zone_must_exist_be_public_and_hold_the_domain(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="Z1 does not exist") as caught:
        change.up(place(tmp_path, Route53(), dns__zone_id="Z1"))
    assert "dns.zone_id = Z1" in caught.value.where
    with pytest.raises(ConfigurationError, match="private zone"):
        change.up(place(tmp_path, Route53({"Z1": "example.com"}, Z1=True), dns__zone_id="Z1"))
    with pytest.raises(ConfigurationError, match=r"the zone of ample\.com, which does not hold example\.com"):
        change.up(place(tmp_path, Route53({"Z1": "ample.com"}), dns__zone_id="Z1"))


def test_the_zone_of_a_domain_above_may_be_adopted(tmp_path: Path) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com"}, [*OWN, A, MX]), dns__zone_id="Z1", domain_name="app.example.com")
    change.up(context)
    assert len(context.did("up")) == 1
    assert setup._zone(context, context.engine()).name == "example.com", "whose delegation is checked"


@pytest.mark.parametrize("record", [A, CNAME])
def test_records_of_others_are_named_before_anything_is_made(tmp_path: Path, record: dict[str, Any]) -> None:
    context, _ = adopting(tmp_path, record, MX)
    with pytest.raises(RefusedError) as caught:
        change.up(context)
    assert str(record["ResourceRecords"][0]["Value"]) in caught.value.where
    assert "mail" not in caught.value.where
    assert "setup --switch" in caught.value.fix
    assert context.log == []


def test_a_preview_names_them_and_goes_on(tmp_path: Path) -> None:
    context, _ = adopting(tmp_path, A)
    change.preview(context)
    assert "example.com A 192.0.2.1" in context.notes[0]
    assert len(context.did("preview")) == 1


def test_a_caa_record_that_forbids_amazon_is_named_before_a_certificate_hangs(tmp_path: Path) -> None:
    context, _ = adopting(tmp_path, CAA)
    with pytest.raises(RefusedError, match="forbids Amazon") as caught:
        change.up(context, switch=change.Switch(True))
    assert '0 issue "amazon.com"' in caught.value.fix
    context.state = [ISSUED]
    change.up(context)
    assert len(context.did("up")) == 1, "it is issued already"


def test_the_stacks_own_zone_is_looked_at_until_its_addresses_are_made(tmp_path: Path) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com"}, [*OWN, A]))
    context.state = [ZONE]
    with pytest.raises(RefusedError, match="leads the site's names elsewhere"):
        change.up(context)
    context.state = [ZONE, *ADDRESSES]
    change.up(context)
    with pytest.raises(RefusedError, match="leads the site's names elsewhere"):
        change.up(context, refresh=True)


def test_a_switch_builds_first_then_publishes_then_replaces_all_at_once(tmp_path: Path) -> None:
    context, route53 = adopting(tmp_path, A, CNAME, MX)
    context.state = [DISTRIBUTION]
    context.answers["up"] = [
        Summary("up", {"create": 70, "same": 1}, [], 2.0, True),
        Summary("up", {"create": 4, "same": 71}, [], 1.0, True),
    ]
    done = change.up(context, switch=change.Switch(True, lambda: context.log.append(("publish", len(route53.batches)))))
    assert names(context.log) == ["configure", "up", "publish", "configure", "up", "configure"], "the settings are written once it is done"
    assert context.did("up")[0][3:] == ADDRESS_URNS
    assert OVERWRITE not in context.did("up")[0][2]
    assert context.did("up")[1][2][OVERWRITE] == "true"
    assert context.did("publish") == [("publish", 0)], "nothing was replaced before"
    assert OVERWRITE not in context.engine().configuration()
    assert (done.counts, done.changed, done.seconds) == ({"create": 74, "same": 71}, True, 3.0)
    assert len(route53.batches) == 1
    kinds = {(one["Name"].rstrip("."), one["Type"]) for one in route53.records}
    assert {("example.com", "A"), ("example.com", "AAAA"), ("www.example.com", "A"), ("www.example.com", "AAAA")} <= kinds
    assert ("example.com", "MX") in kinds
    assert ("www.example.com", "CNAME") not in kinds
    assert "Replaced: www.example.com CNAME old.example.net." in context.notes
    (kept,) = (context.target.local / "replaced-records").iterdir()
    assert f"--hosted-zone-id Z1 --change-batch file://{kept}" in context.notes[-1]
    route53.change_resource_record_sets(HostedZoneId="Z1", ChangeBatch=json.loads(kept.read_text()))
    assert sorted(route53.records, key=str) == sorted([*OWN, A, CNAME, MX], key=str)


def test_a_switch_that_publishing_refuses_replaces_nothing(tmp_path: Path) -> None:
    context, route53 = adopting(tmp_path, A)
    context.state = [DISTRIBUTION]

    def refuse() -> None:
        raise RefusedError("no site")

    with pytest.raises(RefusedError, match="no site"):
        change.up(context, switch=change.Switch(True, refuse))
    assert route53.batches == []


def switching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, made: bool, silent: bool = False) -> tuple[Context, Route53]:
    """A switch that is answered with a failure, whether or not it was made; then nobody answers, where it is to be silent."""
    context, route53 = adopting(tmp_path, A, CNAME)
    context.state = [DISTRIBUTION]
    change_records = route53.change_resource_record_sets

    def fail(**given: Any) -> None:
        if made:
            change_records(**given)
        if silent:
            monkeypatch.setattr(route53, "paginate", Mock(side_effect=ConnectTimeoutError(endpoint_url="https://route53")))
        raise ClientError({"Error": {"Code": "InvalidChangeBatch", "Message": "but it was not found"}}, "ChangeResourceRecordSets")

    monkeypatch.setattr(route53, "change_resource_record_sets", fail)
    return context, route53


def replaced(context: Context) -> list[Path]:
    return list((context.target.local / "replaced-records").iterdir())


def test_a_switch_whose_answer_was_lost_is_one_that_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, route53 = switching(tmp_path, monkeypatch, made=True)
    change.up(context, switch=change.Switch(True))
    assert len(route53.batches) == 1
    (kept,) = replaced(context)
    assert any(str(kept) in note for note in context.notes), "what was replaced can be put back"


def test_a_switch_that_was_refused_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, route53 = switching(tmp_path, monkeypatch, made=False)
    with pytest.raises(AmianaiError, match="none was changed"):
        change.up(context, switch=change.Switch(True))
    assert replaced(context) == []
    assert CNAME in route53.records


def test_a_switch_of_which_nobody_knows_keeps_what_it_may_have_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, _ = switching(tmp_path, monkeypatch, made=True, silent=True)
    with pytest.raises(UnreachableError, match="cannot be found out") as caught:
        change.up(context, switch=change.Switch(True))
    assert str(replaced(context)[0]) in caught.value.fix


def test_addresses_that_an_interrupted_switch_left_are_taken_in(tmp_path: Path) -> None:
    target = {"HostedZoneId": "Z2FDTNDATAQYW2", "DNSName": "d1.cloudfront.net.", "EvaluateTargetHealth": False}
    context, _ = adopting(tmp_path, {"Name": "example.com.", "Type": "A", "AliasTarget": target})
    context.state = [DISTRIBUTION]
    change.up(context)
    assert context.did("up")[0][2][OVERWRITE] == "true"
    context.state.append(address("example.com", "A"))
    change.up(context)
    assert OVERWRITE not in context.did("up")[1][2]


def test_the_zone_is_read_once_in_a_run_that_plans_asks_and_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, route53 = adopting(tmp_path)
    read: list[str] = []

    def counted(name: str) -> Any:
        whole = getattr(route53, name)

        def call(**given: Any) -> Any:
            read.append(name)
            return whole(**given)

        return call

    for name in ("get_hosted_zone", "paginate"):
        monkeypatch.setattr(route53, name, counted(name))
    context.answers["preview"] = summary("preview", {"create": 1}, changed=True)
    change.agreed_up(context, change.Consent(ask=False))
    assert context.did("up")
    assert read == ["get_hosted_zone", "paginate"]


# -- destroy


def test_destroy_lists_the_records_of_others_and_takes_nothing(tmp_path: Path) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com"}, [*OWN, A, MX]))
    context.state = [ZONE, resource("urn::a", zones.RECORD_TYPE, "Z1_example.com_A", {"name": "example.com", "type": "A"})]
    options = destroy.Options()
    engine, plan = destroy.prepare(context, options)
    assert plan.foreign == ["example.com MX 10 mail.example.net."]
    assert plan.as_dict()["records_of_others"] == list(plan.foreign)
    assert "example.com MX 10 mail.example.net." in "\n".join(destroy.screen(plan))
    with pytest.raises(RefusedError, match="nothing was removed") as caught:
        destroy.execute(context, engine, plan, options)
    assert "--keep-zone" in caught.value.fix
    assert names(context.log) == ["recover"]


def test_a_zone_that_is_kept_or_was_adopted_may_hold_anything(tmp_path: Path) -> None:
    context = place(tmp_path, Route53({"Z1": "example.com"}, [*OWN, MX]))
    context.state = [ZONE]
    assert destroy.prepare(context, destroy.Options(keep_zone=True))[1].foreign == ()
    context.state = [resource("urn::zone", zones.ZONE_TYPE, "Z1", {"name": "example.com"}, external=True)]
    assert destroy.prepare(context, destroy.Options())[1].foreign == ()


def test_names_in_the_state_may_be_relative_to_the_zone(tmp_path: Path) -> None:
    relative = {**MX, "Name": "mail.example.com."}
    context = place(tmp_path, Route53({"Z1": "example.com"}, [*OWN, relative]))
    context.state = [ZONE, resource("urn::mx", zones.RECORD_TYPE, "Z1_mail_MX", {"name": "mail", "type": "MX"})]
    assert destroy.prepare(context, destroy.Options())[1].foreign == []


def test_a_zone_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    context = place(tmp_path, Route53())
    context.state = [ZONE]
    assert destroy.prepare(context, destroy.Options())[1].foreign == []
    assert change.up(context) == summary()
