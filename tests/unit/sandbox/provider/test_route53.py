"""Record names, values and ids, without an emulator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.sandbox.provider import route53
from amianai_infra.sandbox.provider.diff import compare
from amianai_infra.sandbox.provider.resource import ProviderError
from amianai_infra.sandbox.provider.route53 import Record, bare, full_name, known_as, record_set
from amianai_infra.sandbox.provider.values import UNKNOWN

NAMES = st.from_regex(r"[a-z_*][a-z0-9_-]{0,10}(\.[a-z0-9_-]{1,10}){0,3}", fullmatch=True)


@given(NAMES, st.sampled_from(["A", "AAAA", "CAA", "CNAME", "TXT"]))
def test_an_id_gives_back_what_it_was_made_of(name: str, kind: str) -> None:
    assert known_as(f"Z0123_{name}_{kind}", {}) == ("Z0123", name, kind)


def test_the_state_knows_better_than_the_id() -> None:
    assert known_as("Z1_www_CNAME", {"name": "www", "type": "A"}) == ("Z1", "www", "A")


@pytest.mark.parametrize("ident", ["Z1", "Z1_www", "", "_www_A"])
def test_bad_ids(ident: str) -> None:
    with pytest.raises(ProviderError, match="no id of a record"):
        known_as(ident, {})


@given(NAMES)
def test_short_and_full_names_are_one(name: str) -> None:
    assert full_name(name, "example.com") == full_name(f"{name}.example.com.", "example.com") == full_name(name.upper(), "example.com")


def test_the_apex_and_the_wildcard() -> None:
    assert full_name("example.com.", "example.com") == "example.com"
    assert full_name("notexample.com", "example.com") == "notexample.com.example.com"
    assert bare("\\052.Example.com.") == "*.example.com"


def test_two_spellings_of_a_name_are_no_difference() -> None:
    alias = {"name": "D1.cloudfront.net.", "zoneId": "Z2", "evaluateTargetHealth": False}
    old = {"name": "_a.Example.com.", "aliases": [alias]}
    new = {"name": "_a.example.com", "aliases": [{**alias, "name": "d1.cloudfront.net"}]}
    assert compare(Record().table, old, new) == []
    assert [change.path for change in compare(Record().table, old, {**new, "name": "_b.example.com"})] == ["name"]


def test_record_sets() -> None:
    alias = {"name": "d1.cloudfront.net", "zoneId": "Z2", "evaluateTargetHealth": False}
    assert record_set({"name": "www", "type": "A", "aliases": [alias]}, "example.com") == {
        "Name": "www.example.com",
        "Type": "A",
        "AliasTarget": {"DNSName": "d1.cloudfront.net", "HostedZoneId": "Z2", "EvaluateTargetHealth": False},
    }
    text = record_set({"name": "t", "type": "TXT", "ttl": 60, "records": ["v=spf1 -all"]}, "example.com")
    assert text["ResourceRecords"] == [{"Value": '"v=spf1 -all"'}]


ALIAS = [{"name": "d", "zoneId": "Z", "evaluateTargetHealth": False}]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"type": "A"}, "either records or aliases"),
        ({"type": "A", "ttl": 1, "records": ["1.2.3.4"], "aliases": ALIAS}, "either records or aliases"),
        ({"type": "A", "records": ["1.2.3.4"]}, "needs a ttl"),
        ({"type": "A", "aliases": ALIAS, "ttl": 60}, "no ttl"),
        ({"type": "A", "aliases": ALIAS * 2}, "one alias"),
        ({"type": "A", "ttl": 60, "records": ["example.com"]}, "no value of a record of type A"),
        ({"type": "AAAA", "ttl": 60, "records": ["1.2.3.4"]}, "no value of a record of type AAAA"),
        ({"type": "CAA", "ttl": 60, "records": ["amazon.com"]}, "no value of a record of type CAA"),
        ({"type": "CAA", "ttl": 60, "records": ['256 issue "amazon.com"']}, "no value of a record of type CAA"),
        ({"type": "CNAME", "ttl": 60, "records": ["a.", "b."]}, "one value"),
        ({"type": "MX", "ttl": 60, "records": ["mail.example.com"]}, "no value of a record of type MX"),
    ],
)
def test_records_route_53_refuses(inputs: dict[str, Any], reason: str) -> None:
    assert any(reason in problem.reason for problem in Record().check({"zoneId": "Z", "name": "n", **inputs}))


@pytest.mark.parametrize(
    "inputs",
    [
        {"type": "A", "aliases": ALIAS},
        {"type": "A", "aliases": UNKNOWN},
        {"type": "CAA", "ttl": 300, "records": ['0 issue "amazon.com"', '128 issuewild ";"']},
        {"type": UNKNOWN, "ttl": 300, "records": [UNKNOWN]},
        {"type": "CNAME", "ttl": 300, "records": [UNKNOWN]},
        {"type": "CNAME", "ttl": 300, "records": ["_x.acm-validations.aws."]},
    ],
)
def test_records_route_53_takes(inputs: dict[str, Any]) -> None:
    assert Record().check({"zoneId": "Z", "name": "n", **inputs}) == []


def test_a_deletion_that_was_carried_out_though_its_answer_was_lost_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"Name": "_a.example.com.", "Type": "CNAME"}
    there: list[dict[str, str] | None] = [record, None, record, record]

    def refuse(*_: Any) -> None:
        raise ClientError({"Error": {"Code": "InvalidChangeBatch", "Message": "it was not found"}}, "ChangeResourceRecordSets")

    monkeypatch.setattr(route53, "_find", lambda *_: there.pop(0))
    monkeypatch.setattr(route53, "_change", refuse)
    zone = {"HostedZone": {"Name": "example.com."}}
    ctx: Any = SimpleNamespace(client=lambda: SimpleNamespace(get_hosted_zone=lambda Id: zone))
    Record().delete(ctx, "Z1__a.example.com_CNAME", {})
    with pytest.raises(ClientError):
        Record().delete(ctx, "Z1__a.example.com_CNAME", {})
