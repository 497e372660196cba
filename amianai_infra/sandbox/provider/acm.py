"""Certificate Manager: certificates, and the wait until they are issued."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from amianai_infra.sandbox.provider.properties import text, text_set
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, given, tag_list, tag_map
from amianai_infra.sandbox.provider.route53 import bare


class Certificate(Resource):
    """A certificate that ACM issues once DNS proves the domain."""

    token = "aws:acm/certificate:Certificate"
    service = "acm"
    tagged = True
    missing = ("ResourceNotFoundException",)
    props = {
        "domainName": text(required=True, force_new=True),
        "subjectAlternativeNames": text_set(computed=True, force_new=True),
        "validationMethod": text(default="DNS", force_new=True, choices=("DNS",)),
        "keyAlgorithm": text(computed=True, force_new=True),
    }
    outputs = (
        "arn",
        "domainValidationOptions",
        "notAfter",
        "notBefore",
        "pendingRenewal",
        "renewalEligibility",
        "renewalSummaries",
        "status",
        "type",
        "validationEmails",
    )

    def create(self, ctx: Context, inputs: Inputs) -> str:
        tags = ctx.tags(inputs)
        found = ctx.client().request_certificate(
            DomainName=inputs["domainName"],
            ValidationMethod=inputs["validationMethod"],
            IdempotencyToken=uuid.uuid4().hex,
            **given(
                SubjectAlternativeNames=inputs.get("subjectAlternativeNames") or None,
                KeyAlgorithm=inputs.get("keyAlgorithm"),
                Tags=tag_list(tags) if tags else None,
            ),
        )
        return str(found["CertificateArn"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().describe_certificate(CertificateArn=ident)["Certificate"]
        tags = ctx.client().list_tags_for_certificate(CertificateArn=ident)["Tags"]
        return {
            "domainName": found["DomainName"],
            "subjectAlternativeNames": _other_names(found, known),
            "validationMethod": "DNS",
            "keyAlgorithm": found.get("KeyAlgorithm"),
            "arn": ident,
            "domainValidationOptions": [_validation(option) for option in found.get("DomainValidationOptions", [])],
            "notAfter": _moment(found.get("NotAfter")),
            "notBefore": _moment(found.get("NotBefore")),
            "pendingRenewal": False,
            "renewalEligibility": found.get("RenewalEligibility", "INELIGIBLE"),
            "renewalSummaries": [],
            "status": found["Status"],
            "type": found.get("Type"),
            "validationEmails": [],
            "tags": tag_map(tags),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        """Nothing but tags can change without a replacement."""

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        users = _users(ctx, ident)
        if users:
            raise ProviderError(f"ResourceInUseException: the certificate {ident} is in use by the distribution {', '.join(users)}")
        ctx.client().delete_certificate(CertificateArn=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().remove_tags_from_certificate(CertificateArn=ident, Tags=[{"Key": key} for key in removed])
        if tags:
            ctx.client().add_tags_to_certificate(CertificateArn=ident, Tags=tag_list(tags))


def _other_names(certificate: Mapping[str, Any], known: Inputs) -> list[str]:
    """ACM lists the domain itself among the other names; the program usually does not."""
    names = list(certificate.get("SubjectAlternativeNames", []))
    declared = known.get("subjectAlternativeNames") or []
    return [name for name in names if name != certificate["DomainName"] or name in declared]


def _validation(option: Mapping[str, Any]) -> dict[str, str]:
    record = option.get("ResourceRecord", {})
    return {
        "domainName": option["DomainName"],
        "resourceRecordName": record.get("Name", ""),
        "resourceRecordType": record.get("Type", ""),
        "resourceRecordValue": record.get("Value", ""),
    }


def _moment(value: Any) -> str | None:
    return None if value is None else str(value.isoformat())


def _users(ctx: Context, arn: str) -> list[str]:
    found = []
    for page in ctx.client("cloudfront").get_paginator("list_distributions").paginate():
        for one in page["DistributionList"].get("Items", []):
            if one.get("ViewerCertificate", {}).get("ACMCertificateArn") == arn:
                found.append(one["Id"])
    return found


class CertificateValidation(Resource):
    """Proof that a certificate is issued.

    The emulator issues at once. What would make AWS wait for ever fails here: a validation record that does not exist.
    """

    token = "aws:acm/certificateValidation:CertificateValidation"
    service = "acm"
    missing = ("ResourceNotFoundException",)
    props = {
        "certificateArn": text(required=True, force_new=True),
        "validationRecordFqdns": text_set(force_new=True, write_only=True),
    }

    def create(self, ctx: Context, inputs: Inputs) -> str:
        certificate = ctx.client().describe_certificate(CertificateArn=inputs["certificateArn"])["Certificate"]
        if "validationRecordFqdns" in inputs:
            _refuse_unproven(ctx, certificate, {bare(name) for name in inputs["validationRecordFqdns"]})
        if certificate["Status"] != "ISSUED":
            raise ProviderError(f"the certificate {inputs['certificateArn']} is {certificate['Status']}, not ISSUED")
        return str(certificate["IssuedAt"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        arn = known.get("certificateArn")
        if arn is None:
            raise ProviderError("a certificate validation cannot be imported: create it again, which changes nothing in AWS")
        found = ctx.client().describe_certificate(CertificateArn=arn)["Certificate"]
        return {"certificateArn": arn} if found["Status"] == "ISSUED" else None

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        """Nothing exists that could be deleted."""


def _refuse_unproven(ctx: Context, certificate: Mapping[str, Any], names: set[str]) -> None:
    wanted = {bare(option["resourceRecordName"]): option for option in map(_validation, certificate["DomainValidationOptions"])}
    left_out = sorted(set(wanted) - names)
    if left_out:
        raise ProviderError(f"missing DNS validation records: {', '.join(left_out)}")
    there = _published(ctx)
    absent = [name for name, option in sorted(wanted.items()) if there.get(name) != bare(option["resourceRecordValue"])]
    if absent:
        raise ProviderError(f"AWS would wait for ever: no hosted zone has the validation record(s) {', '.join(absent)}")


def _published(ctx: Context) -> dict[str, str]:
    """Every CNAME of every zone."""
    client = ctx.client("route53")
    found: dict[str, str] = {}
    for page in client.get_paginator("list_hosted_zones").paginate():
        for zone in page["HostedZones"]:
            for records in client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone["Id"]):
                found |= {
                    bare(one["Name"]): bare(one["ResourceRecords"][0]["Value"])
                    for one in records["ResourceRecordSets"]
                    if one["Type"] == "CNAME" and one.get("ResourceRecords")
                }
    return found


RESOURCES = (Certificate, CertificateValidation)
