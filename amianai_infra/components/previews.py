"""Previews of the site: a distribution of their own, each under a name of its own."""

from typing import TypedDict

import pulumi
from pulumi_aws.acm.certificate import Certificate
from pulumi_aws.acm.certificate_validation import CertificateValidation
from pulumi_aws.route53.record import Record

from amianai_infra.components.dns import CERTIFICATE_REGION, validation_record
from amianai_infra.components.inputs import tagged
from amianai_infra.components.static_site import StaticSite, StaticSiteArgs
from amianai_infra.rules.domains import validation_domains


class PreviewsArgs(TypedDict):
    """What `Previews` take."""

    domain: str
    """The name below which they answer."""

    zone_id: pulumi.Input[str]
    """Hosted zone that holds the records."""

    site: StaticSiteArgs
    """What their distribution and bucket are made like, without domain, names and certificate."""


class Previews(pulumi.ComponentResource):
    """Where previews of the site are published: nothing of it is shared with the live site.

    Creates: a certificate for every name directly below the domain, in us-east-1, with its validation; a `StaticSite` of its own that
    answers to these names, which search engines are told to leave out and whose objects are deleted after the longest that a preview lasts;
    a wildcard alias record for IPv4 and one for IPv6.

    Cost: nothing besides what is stored and served.

    Source: CloudFront Developer Guide, "Restrictions on CloudFront Functions" (a function reads one key-value store; leave to write to
    one is leave to write all its keys); AWS Certificate Manager User Guide, "Wildcard names".
    """

    domain: pulumi.Output[str]
    """The name below which they answer."""

    def __init__(self, name: str, args: PreviewsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:site:Previews", name, None, opts)
        self._name_of = name
        self._args = args
        self._names = [f"*.{args['domain']}"]

        self._create_certificate()
        self._create_site()
        self._create_records()

        self.domain = pulumi.Output.from_input(args["domain"])
        self.register_outputs({"domain": self.domain})

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _create_certificate(self) -> None:
        (wildcard,) = self._names
        (domain,) = validation_domains(self._names)
        self.certificate = Certificate(
            f"{self._name_of}-certificate",
            region=CERTIFICATE_REGION,
            domain_name=wildcard,
            validation_method="DNS",
            tags=tagged(domain),
            opts=self._child(),
        )
        proof = validation_record(f"{self._name_of}-validation", self.certificate, domain, self._args["zone_id"], self._child())
        self.issued = CertificateValidation(
            f"{self._name_of}-certificate-issued",
            region=CERTIFICATE_REGION,
            certificate_arn=self.certificate.arn,
            validation_record_fqdns=[proof.fqdn],
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create="45m")),
        )

    def _create_site(self) -> None:
        chosen: StaticSiteArgs = {
            **self._args["site"],
            "domain": self._args["domain"],
            "names": self._names,
            "certificate_arn": self.issued.certificate_arn,
            "previews": True,
        }
        self.site = StaticSite(f"{self._name_of}-site", chosen, self._child())

    def _create_records(self) -> None:
        target = {
            "name": self.site.distribution_domain,
            "zone_id": self.site.distribution_zone_id,
            "evaluate_target_health": False,
        }
        for kind in ("A", "AAAA"):
            Record(
                f"{self._name_of}-{kind.lower()}",
                zone_id=self._args["zone_id"],
                name=self._names[0],
                type=kind,
                aliases=[target],  # type: ignore[list-item]
                opts=self._child(),
            )
