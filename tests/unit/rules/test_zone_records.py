from __future__ import annotations

from typing import Any

import pytest

from amianai_infra.rules import zone_records
from amianai_infra.rules.zone_records import Distribution

NAMES = ("example.com", "www.example.com")
CDN = Distribution("d1.cloudfront.net", "Z2FDTNDATAQYW2")


def record(name: str, kind: str, *values: str, **more: Any) -> dict[str, Any]:
    return {"Name": f"{name}.", "Type": kind, "TTL": 300, "ResourceRecords": [{"Value": value} for value in values], **more}


def alias(name: str, target: str, kind: str = "A", **more: Any) -> dict[str, Any]:
    target_of = {"HostedZoneId": "Z2FDTNDATAQYW2", "DNSName": target, "EvaluateTargetHealth": False}
    return {"Name": f"{name}.", "Type": kind, "AliasTarget": target_of, **more}


@pytest.mark.parametrize(
    ("found", "stands"),
    [
        (record("example.com", "A", "192.0.2.1"), True),
        (record("Example.com", "AAAA", "2001:db8::1"), True),
        (record("www.example.com", "CNAME", "old.example.net"), True),
        (record("www.example.com", "HTTPS", "1 . alpn=h3"), True),
        (record("www.example.com", "NS", "ns.example.net"), True),
        (record("example.com", "NS", "ns.awsdns.test"), False),
        (record("example.com", "MX", "10 mail.example.net"), False),
        (record("shop.example.com", "A", "192.0.2.1"), False),
        (record("\\052.example.com", "A", "192.0.2.1"), False),
        (alias("example.com", "D1.cloudfront.net."), False),
        (alias("example.com", "d1.cloudfront.net", SetIdentifier="blue", Weight=1), True),
        (alias("example.com", "d2.cloudfront.net"), True),
    ],
)
def test_what_stands_in_the_way(found: dict[str, Any], stands: bool) -> None:
    assert bool(zone_records.competing([found], "example.com", NAMES, CDN)) is stands


def test_before_there_is_a_distribution_every_address_is_somebody_elses() -> None:
    assert zone_records.competing([alias("example.com", "d1.cloudfront.net")], "example.com", NAMES, None)


def test_the_apex_of_the_zone_may_be_above_the_site() -> None:
    above = record("app.example.com", "NS", "ns.example.net")
    assert zone_records.competing([above], "example.com", ("app.example.com", "www.app.example.com"), CDN) == [above]


def test_an_exchange_names_all_and_undoes_itself() -> None:
    foreign = [record("example.com", "A", "192.0.2.1"), record("www.example.com", "CNAME", "old.example.net")]
    ours = zone_records.addresses(NAMES, CDN)
    batch = zone_records.take_over(foreign, ours)["Changes"]
    assert [(one["Action"], one["ResourceRecordSet"]["Type"]) for one in batch] == [
        ("DELETE", "A"),
        ("DELETE", "CNAME"),
        *[("UPSERT", kind) for kind in ("A", "AAAA", "A", "AAAA")],
    ]
    back = zone_records.put_back(foreign, ours)["Changes"]
    assert [one["Action"] for one in back] == ["DELETE"] * 4 + ["CREATE"] * 2
    assert [one["ResourceRecordSet"] for one in back[4:]] == foreign


def test_a_record_in_one_line() -> None:
    assert zone_records.described(record("example.com", "A", "192.0.2.1", "192.0.2.2")) == "example.com A 192.0.2.1, 192.0.2.2"
    assert zone_records.described(alias("example.com", "x.test.", SetIdentifier="blue")) == "example.com A alias of x.test (blue)"


@pytest.mark.parametrize(
    ("sets", "forbids"),
    [
        ([], None),
        ([record("example.com", "CAA", '0 issue "letsencrypt.org"')], "example.com"),
        ([record("example.com", "CAA", '0 issue "letsencrypt.org"', '0 issue "AmazonTrust.com; x=y"')], None),
        ([record("example.com", "CAA", '0 issue ";"')], "example.com"),
        ([record("example.com", "CAA", '0 issuewild "letsencrypt.org"', '0 iodef "mailto:a@example.com"')], None),
        ([record("com", "CAA", '0 issue "letsencrypt.org"')], "com"),
        (
            [record("example.com", "CAA", '0 issue "letsencrypt.org"'), record("www.example.com", "CAA", '0 issue "amazon.com"')],
            None,
        ),
    ],
)
def test_the_nearest_caa_record_says_who_may_issue(sets: list[dict[str, Any]], forbids: str | None) -> None:
    found = zone_records.forbids_amazon(sets, "www.example.com")
    assert (found and zone_records.identity(found)[0]) == forbids
