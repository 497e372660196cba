"""DNS."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from amianai_infra.components.dns import Dns, DnsArgs, SiteRecords, SiteRecordsArgs
from tests.components.recorder import ACCOUNT, Record, Recording

ARGS: DnsArgs = {"prefix": "eeyore", "account": ACCOUNT, "domain": "example.com", "names": ["example.com", "www.example.com"]}


def records(found: Recording) -> set[tuple[str, str, str]]:
    return {(one.inputs["zoneId"], one.inputs["name"], one.inputs["type"]) for one in found.of("Record")}


def test_a_zone_with_caa_and_a_validated_certificate(record: Record) -> None:
    seen: list[Any] = []

    def build() -> None:
        dns = Dns("dns", ARGS)
        pulumi.Output.all(dns.zone_id, dns.name_servers, dns.certificate_arn).apply(seen.extend)

    found = record(build)
    assert found.counts() == {"Zone": 1, "Record": 3, "Certificate": 1, "CertificateValidation": 1}
    assert records(found) == {
        ("ZNEW", "example.com", "CAA"),
        ("ZNEW", "_check.example.com.", "CNAME"),
        ("ZNEW", "_check.www.example.com.", "CNAME"),
    }
    assert found.one("Record", "dns-caa").inputs["records"] == ['0 issue "amazon.com"']
    assert found.one("Record", "dns-validation-example.com").inputs["records"] == ["_answer.example.com.acm.test."]
    assert seen == ["ZNEW", ["ns-1.example", "ns-2.example"], found.one("CertificateValidation").inputs["certificateArn"]]


def test_the_certificate_is_in_us_east_1_whatever_the_region(record: Record) -> None:
    found = record(lambda: Dns("dns", ARGS))
    certificate = found.one("Certificate").inputs
    assert certificate["region"] == "us-east-1"
    assert (certificate["domainName"], certificate["subjectAlternativeNames"]) == ("example.com", ["www.example.com"])
    assert certificate["validationMethod"] == "DNS"
    validation = found.one("CertificateValidation").inputs
    assert validation["region"] == "us-east-1"
    assert validation["validationRecordFqdns"] == ["_check.example.com.", "_check.www.example.com."]


def test_a_wildcard_shares_the_record_of_its_domain(record: Record) -> None:
    found = record(lambda: Dns("dns", {**ARGS, "names": ["example.com", "*.example.com"]}))
    assert [one.name for one in found.of("Record") if "validation" in one.name] == ["dns-validation-example.com"]


def test_an_adopted_zone_is_looked_up_and_not_managed(record: Record) -> None:
    found = record(lambda: Dns("dns", {**ARGS, "zone_id": "ZOLD"}))
    assert not found.of("Zone")
    assert {one.inputs["zoneId"] for one in found.of("Record")} == {"ZOLD"}
    assert "CAA" not in {one.inputs["type"] for one in found.of("Record")}, "what an adopted zone says about authorities is its owner's"
    assert [token for token, _ in found.calls] == ["aws:route53/getZone:getZone"]


def test_every_name_leads_to_the_distribution_over_ipv4_and_ipv6(record: Record) -> None:
    found = record(
        lambda: SiteRecords(
            "records",
            {"zone_id": "Z1", "names": ARGS["names"], "distribution_domain": "d1.cloudfront.net", "distribution_zone_id": "ZCDN"},
        )
    )
    assert records(found) == {("Z1", name, kind) for name in ("example.com", "www.example.com") for kind in ("A", "AAAA")}
    for one in found.of("Record"):
        assert one.inputs["aliases"] == [{"name": "d1.cloudfront.net", "zoneId": "ZCDN", "evaluateTargetHealth": False}]


@pytest.mark.parametrize("overwrite", [True, False])
def test_an_address_of_somebody_else_is_replaced_only_when_told_to(record: Record, overwrite: bool) -> None:
    args: SiteRecordsArgs = {
        "zone_id": "Z1",
        "names": ARGS["names"],
        "distribution_domain": "d1.cloudfront.net",
        "distribution_zone_id": "ZCDN",
        "overwrite": overwrite,
    }
    found = record(lambda: SiteRecords("records", args))
    assert {one.inputs.get("allowOverwrite") for one in found.of("Record")} == {True if overwrite else None}


def test_two_domains_coexist(record: Record) -> None:
    def both() -> None:
        Dns("one", ARGS)
        Dns("two", {**ARGS, "domain": "example.org", "names": ["example.org"]})

    found = record(both)
    names = [one.name for one in found.resources]
    assert len(names) == len(set(names))
    assert {one.inputs["name"] for one in found.of("Zone")} == {"example.com", "example.org"}


def test_a_signed_zone(record: Record) -> None:
    seen: list[Any] = []

    def build() -> None:
        dns = Dns("dns", {**ARGS, "prefix": "my-shop", "dnssec": True})
        dns.ds_record.apply(seen.append)

    found = record(build)
    key = found.one("Key")
    assert key.inputs["region"] == "us-east-1"
    assert (key.inputs["keyUsage"], key.inputs["customerMasterKeySpec"]) == ("SIGN_VERIFY", "ECC_NIST_P256")
    _owner, sign, grant = key.json("policy")["Statement"]
    assert sign["Principal"] == grant["Principal"] == {"Service": "dnssec-route53.amazonaws.com"}
    assert sign["Action"] == ["kms:DescribeKey", "kms:GetPublicKey", "kms:Sign"]
    assert sign["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnEquals": {"aws:SourceArn": "arn:aws:route53:::hostedzone/ZNEW"},
    }
    assert grant["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    ksk = found.one("KeySigningKey").inputs
    assert (ksk["hostedZoneId"], ksk["keyManagementServiceArn"]) == ("ZNEW", f"arn:aws:kms:us-east-1:{ACCOUNT}:key/dns-signing-key")
    assert ksk["name"] == "my_shop_ksk", "letters, digits and underscores alone"
    assert found.one("HostedZoneDnsSec").inputs["hostedZoneId"] == "ZNEW"
    assert [one.pulumi_resource_name for one in found.options["dns-dnssec"]["depends_on"]] == ["dns-ksk"]
    assert seen == ["12345 13 2 ABCDEF"]


def test_a_query_log(record: Record) -> None:
    found = record(lambda: Dns("dns", {**ARGS, "query_logging": True, "query_log_days": 90}))
    group = found.one("LogGroup").inputs
    assert (group["name"], group["region"], group["retentionInDays"]) == ("/eeyore/dns/queries", "us-east-1", 90)
    leave = found.one("LogResourcePolicy")
    assert leave.inputs["region"] == "us-east-1"
    (statement,) = leave.json("policyDocument")["Statement"]
    assert statement["Principal"] == {"Service": "route53.amazonaws.com"}
    assert statement["Resource"] == f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/eeyore/dns/queries:*"
    assert statement["Condition"]["ArnLike"] == {"aws:SourceArn": "arn:aws:route53:::hostedzone/ZNEW"}
    assert found.one("QueryLog").inputs["zoneId"] == "ZNEW"
    assert [one.pulumi_resource_name for one in found.options["dns-query-log"]["depends_on"]] == ["dns-queries-policy"]


def test_neither_by_default_nor_in_an_adopted_zone(record: Record) -> None:
    kinds = {"Key", "KeySigningKey", "HostedZoneDnsSec", "LogGroup", "LogResourcePolicy", "QueryLog"}
    assert not kinds & set(record(lambda: Dns("dns", ARGS)).counts())
    adopted = record(lambda: Dns("dns", {**ARGS, "zone_id": "ZOLD", "dnssec": True, "query_logging": True}))
    assert not kinds & set(adopted.counts())


CARRIED = ["@ 300 MX 10 mail.test.", "@ 300 MX 20 mail.test.", '@ 300 CAA 0 issue "letsencrypt.org"', '_dmarc 60 TXT "v=DMARC1; p=none"']


def test_records_are_carried_over_into_a_zone_of_ours(record: Record) -> None:
    found = record(lambda: Dns("dns", {**ARGS, "records": CARRIED}))
    mail = found.one("Record", "dns-carried-example.com-mx").inputs
    assert (mail["zoneId"], mail["name"], mail["ttl"], mail["records"]) == ("ZNEW", "example.com", 300, ["10 mail.test.", "20 mail.test."])
    assert found.one("Record", "dns-carried-_dmarc.example.com-txt").inputs["records"] == ["v=DMARC1; p=none"]
    assert found.one("Record", "dns-caa").inputs["records"] == ['0 issue "amazon.com"', '0 issue "letsencrypt.org"']
    assert len(found.of("Record")) == 5


def test_in_an_adopted_zone_they_are_what_the_setting_says(record: Record) -> None:
    found = record(lambda: Dns("dns", {**ARGS, "zone_id": "ZOLD", "records": CARRIED}))
    assert found.one("Record", "dns-carried-example.com-caa").inputs["records"] == ['0 issue "letsencrypt.org"']
