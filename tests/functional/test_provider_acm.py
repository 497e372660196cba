"""Certificates with the real engine and the emulator.

What this cannot prove: that AWS sees the validation records; the emulator issues at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pytest

from amianai_infra.sandbox.provider.acm import CertificateValidation
from tests.functional.conftest import Bench, Program, changed
from tests.functional.provider_attempt import attempt
from tests.functional.test_provider import stack, steps

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")


@dataclass
class Settings:
    domain: str
    other: str = "www"


def certificate(settings: Settings) -> Program:
    def program() -> None:
        names = [settings.domain, f"{settings.other}.{settings.domain}"]
        made = aws.acm.Certificate(
            "certificate",
            domain_name=names[0],
            subject_alternative_names=names[1:],
            validation_method="DNS",
            region="us-east-1",
            tags={"a": "b"},
        )
        zone = aws.route53.Zone("zone", name=settings.domain, force_destroy=True)
        proofs: list[pulumi.Input[str]] = []
        for index in range(2):
            option = made.domain_validation_options[index]
            record = aws.route53.Record(
                f"proof{index}",
                zone_id=zone.zone_id,
                name=option.resource_record_name,
                type=option.resource_record_type,
                records=[option.resource_record_value],
                ttl=60,
            )
            proofs.append(record.fqdn)
        issued = aws.acm.CertificateValidation("issued", certificate_arn=made.arn, validation_record_fqdns=proofs, region="us-east-1")
        pulumi.export("arn", issued.certificate_arn)

    return program


def test_a_certificate_is_proven_by_records_and_lives_in_us_east_1(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("life.test")
    acm = bench.client("acm")
    with stack(bench, tmp_path, certificate(settings)) as made:
        made.configure({"aws:region": "eu-central-1"})
        assert changed(made.up()) == {"create": 5}
        arn = made.outputs()["arn"]
        assert ":us-east-1:" in arn
        names = acm.describe_certificate(CertificateArn=arn)["Certificate"]["SubjectAlternativeNames"]
        assert sorted(names) == ["life.test", "www.life.test"]
        assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}

        settings.other = "app"
        planned = made.preview()
        assert steps(planned)["certificate"] == ("subjectAlternativeNames",)
        assert planned.counts["replace"] >= 2, "the certificate and the proof that it is issued"
        made.up()
        assert changed(made.refresh()) == {}

        (left,) = acm.list_certificates()["CertificateSummaryList"]
        acm.delete_certificate(CertificateArn=left["CertificateArn"])
        assert changed(made.refresh()) == {"delete": 2}
    assert acm.list_certificates()["CertificateSummaryList"] == []


def test_what_would_make_aws_wait_for_ever_fails_at_once(bench: Bench) -> None:
    acm = bench.client("acm")
    names = {"DomainName": "wait.test", "SubjectAlternativeNames": ["www.wait.test"]}
    arn = acm.request_certificate(ValidationMethod="DNS", **names)["CertificateArn"]
    options = acm.describe_certificate(CertificateArn=arn)["Certificate"]["DomainValidationOptions"]
    proofs = [option["ResourceRecord"]["Name"] for option in options]
    left_out = attempt(bench, CertificateValidation(), {"certificateArn": arn, "validationRecordFqdns": proofs[:1]})
    assert f"missing DNS validation records: {proofs[1].rstrip('.')}" in left_out
    absent = attempt(bench, CertificateValidation(), {"certificateArn": arn, "validationRecordFqdns": proofs})
    assert "AWS would wait for ever" in absent
    assert attempt(bench, CertificateValidation(), {"certificateArn": arn}) == ""
    acm.delete_certificate(CertificateArn=arn)


def test_certificates_can_be_imported(bench: Bench, tmp_path: Path) -> None:
    requested = bench.client("acm").request_certificate(DomainName="import.test", ValidationMethod="DNS", Tags=[{"Key": "a", "Value": "b"}])

    def program() -> None:
        options = pulumi.ResourceOptions(import_=requested["CertificateArn"])
        aws.acm.Certificate(
            "certificate", domain_name="import.test", validation_method="DNS", region="us-east-1", tags={"a": "b"}, opts=options
        )

    with stack(bench, tmp_path, program) as made:
        assert changed(made.up()) == {"import": 1}
        assert changed(made.up()) == {}
