"""DNS: the hosted zone, the certificate, and the records of the site."""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws.acm.certificate import Certificate
from pulumi_aws.acm.certificate_validation import CertificateValidation
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.cloudwatch.log_resource_policy import LogResourcePolicy
from pulumi_aws.kms.key import Key
from pulumi_aws.route53.get_zone import get_zone_output
from pulumi_aws.route53.hosted_zone_dns_sec import HostedZoneDnsSec
from pulumi_aws.route53.key_signing_key import KeySigningKey
from pulumi_aws.route53.query_log import QueryLog
from pulumi_aws.route53.record import Record
from pulumi_aws.route53.zone import Zone

from amianai_infra.components.inputs import policy_json, tagged
from amianai_infra.config import DnsSettings
from amianai_infra.dns_records import CarriedSet, record_sets
from amianai_infra.naming import query_log_group
from amianai_infra.rules.domains import CAA_ISSUER, validation_domains, validation_option
from amianai_infra.rules.policies import query_log_writer, signing_key

_DEFAULT = DnsSettings()


CARRIED = "carried"
"""What the names of carried records have in them: `dns-carried-example.com-mx`."""

CERTIFICATE_REGION = "us-east-1"
"""CloudFront takes certificates from here alone, and Route 53 keys and log groups, whatever the stack's region."""


class DnsArgs(TypedDict):
    """What a `Dns` takes."""

    prefix: str
    """Prefix of every resource's name."""

    account: pulumi.Input[str]
    """Account number; key and log serve its zone alone."""

    domain: str
    """The apex domain."""

    names: list[str]
    """Every name the certificate covers, the domain first."""

    zone_id: NotRequired[str]
    """A hosted zone to adopt. Default: create one."""

    dnssec: NotRequired[bool]
    """Whether the zone that is created is signed. Default no."""

    query_logging: NotRequired[bool]
    """Whether the queries to the zone that is created are logged. Default no."""

    query_log_days: NotRequired[int]
    """Retention of the query log in days. Default 30."""

    records: NotRequired[list[str]]
    """Records to carry over from an old zone, as NAME TTL TYPE VALUE. Default: none."""


_DEFAULTS = {"dnssec": _DEFAULT.dnssec, "query_logging": _DEFAULT.query_logging, "query_log_days": _DEFAULT.query_log_days}


class Dns(pulumi.ComponentResource):
    """A hosted zone, created or adopted, and a certificate that DNS validates.

    Creates: the zone, unless one is adopted, with a CAA record for Amazon (an adopted zone serves more than us: what other
    authorities it names is its owner's affair); the records that are carried over; the certificate in us-east-1; one validation
    record for every name that needs its own; the wait until the certificate is issued. With `dnssec` a key in us-east-1 that signs
    the zone: it becomes effective with the DS record at the registrar, and AWS refuses to end it while that record is there. With
    `query_logging` a log group in us-east-1 and Route 53's leave to write there.

    Cost: $0.50 a month for the zone; the certificate is free; $1 for the key; $0.50 a GB of query log.

    Source: AWS Certificate Manager User Guide, "AWS Certificate Manager DNS validation" and "Configure a CAA record"; Route 53 Developer
    Guide, "Configuring DNSSEC signing in Amazon Route 53" and "Public DNS query logging".
    """

    zone_id: pulumi.Output[str]
    """Id of the hosted zone."""
    name_servers: pulumi.Output[list[str]]
    """Name servers to enter at the registrar."""
    certificate_arn: pulumi.Output[str]
    """ARN of the certificate, known once it is issued."""
    ds_record: pulumi.Output[str]
    """DS record to enter at the registrar; empty while the zone is not signed."""

    def __init__(self, name: str, args: DnsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:dns:Dns", name, None, opts)
        self._name_of = name
        self._args: DnsArgs = {**_DEFAULTS, **args}  # type: ignore[typeddict-item]

        self._carried = record_sets(self._args.get("records", []), self._args["domain"])
        self._create_zone()
        self._create_signature()
        self._create_query_log()
        self._carry_over()
        self._create_certificate()

        outputs = ("zone_id", "name_servers", "certificate_arn", "ds_record")
        self.register_outputs({output: getattr(self, output) for output in outputs})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on) or None)

    def _create_zone(self) -> None:
        self.zone: Zone | None = None
        adopted = self._args.get("zone_id")
        if adopted:
            found = get_zone_output(zone_id=adopted, opts=pulumi.InvokeOptions(parent=self))
            self.zone_id, self.name_servers = found.zone_id, found.name_servers.apply(list)
            return
        domain = self._args["domain"]
        self.zone = Zone(f"{self._name_of}-zone", name=domain, comment=f"Zone of {domain}", tags=tagged(domain), opts=self._child())
        self.zone_id, self.name_servers = self.zone.zone_id, self.zone.name_servers.apply(list)
        Record(
            f"{self._name_of}-caa",
            zone_id=self.zone_id,
            name=domain,
            type="CAA",
            ttl=3600,
            records=list(dict.fromkeys([CAA_ISSUER, *(value for one in self._carried if self._is_caa(one) for value in one.values)])),
            opts=self._child(),
        )

    def _create_signature(self) -> None:
        self.signing_key: Key | None = None
        self.ds_record = pulumi.Output.from_input("")
        if self.zone is None or not self._args["dnssec"]:
            return
        domain = self._args["domain"]
        known = pulumi.Output.all(self._args["account"], self.zone.arn)
        self.signing_key = Key(
            f"{self._name_of}-signing-key",
            region=CERTIFICATE_REGION,
            description=f"Signs the zone of {domain}",
            key_usage="SIGN_VERIFY",
            customer_master_key_spec="ECC_NIST_P256",
            policy=policy_json(known.apply(lambda found: signing_key(*found))),
            deletion_window_in_days=30,
            tags=tagged(f"{domain}-dnssec"),
            opts=self._child(),
        )
        key = KeySigningKey(
            f"{self._name_of}-ksk",
            name=f"{self._args['prefix'].replace('-', '_')}_ksk",
            hosted_zone_id=self.zone_id,
            key_management_service_arn=self.signing_key.arn,
            opts=self._child(),
        )
        HostedZoneDnsSec(f"{self._name_of}-dnssec", hosted_zone_id=self.zone_id, opts=self._child(key))
        self.ds_record = key.ds_record

    def _create_query_log(self) -> None:
        self.query_log_group: LogGroup | None = None
        if self.zone is None or not self._args["query_logging"]:
            return
        prefix = self._args["prefix"]
        self.query_log_group = LogGroup(
            f"{self._name_of}-queries",
            region=CERTIFICATE_REGION,
            name=query_log_group(prefix),
            retention_in_days=self._args["query_log_days"],
            tags=tagged(f"{prefix}-dns-queries"),
            opts=self._child(),
        )
        known = pulumi.Output.all(self.query_log_group.arn, self._args["account"], self.zone.arn)
        leave = LogResourcePolicy(
            f"{self._name_of}-queries-policy",
            region=CERTIFICATE_REGION,
            policy_name=f"{prefix}-dns-queries",
            policy_document=policy_json(known.apply(lambda found: query_log_writer(*found))),
            opts=self._child(),
        )
        QueryLog(
            f"{self._name_of}-query-log",
            zone_id=self.zone_id,
            cloudwatch_log_group_arn=self.query_log_group.arn,
            opts=self._child(leave),
        )

    def _is_caa(self, one: CarriedSet) -> bool:
        """Whether it is the domain's own CAA record, whose values join the one that a zone of ours has anyway."""
        return self.zone is not None and (one.name, one.kind) == (self._args["domain"], "CAA")

    def _carry_over(self) -> None:
        for one in self._carried:
            if self._is_caa(one):
                continue
            Record(
                f"{self._name_of}-{CARRIED}-{one.name}-{one.kind.lower()}",
                zone_id=self.zone_id,
                name=one.name,
                type=one.kind,
                ttl=one.ttl,
                records=one.values,
                # Said word for word by whoever runs the stack: one that is there, in a zone that was kept, is that one.
                allow_overwrite=True,
                opts=self._child(),
            )

    def _create_certificate(self) -> None:
        domain, *others = self._args["names"]
        self.certificate = Certificate(
            f"{self._name_of}-certificate",
            region=CERTIFICATE_REGION,
            domain_name=domain,
            subject_alternative_names=others,
            validation_method="DNS",
            tags=tagged(domain),
            opts=self._child(),
        )
        self.validation_records = [
            validation_record(f"{self._name_of}-validation-{one}", self.certificate, one, self.zone_id, self._child())
            for one in validation_domains(self._args["names"])
        ]
        self.validation = CertificateValidation(
            f"{self._name_of}-certificate-issued",
            region=CERTIFICATE_REGION,
            certificate_arn=self.certificate.arn,
            validation_record_fqdns=[record.fqdn for record in self.validation_records],
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create="45m")),
        )
        self.certificate_arn = self.validation.certificate_arn


def validation_record(name: str, certificate: Certificate, domain: str, zone_id: pulumi.Input[str], opts: pulumi.ResourceOptions) -> Record:
    """The record that proves to ACM whose `domain` is, one of a certificate's names."""
    option = certificate.domain_validation_options.apply(lambda options: validation_option(options, domain))
    return Record(
        name,
        zone_id=zone_id,
        name=option.apply(lambda one: one["name"]),
        type=option.apply(lambda one: one["type"]),
        records=[option.apply(lambda one: one["value"])],
        ttl=300,
        # The same account and domain always get the same record: one left by an earlier stack is ours.
        allow_overwrite=True,
        opts=opts,
    )


class SiteRecordsArgs(TypedDict):
    """What `SiteRecords` take."""

    zone_id: pulumi.Input[str]
    """Hosted zone that holds the records."""

    names: list[str]
    """Names that lead to the distribution."""

    distribution_domain: pulumi.Input[str]
    """CloudFront's own host name of the distribution."""

    distribution_zone_id: pulumi.Input[str]
    """Hosted zone of that host name."""

    overwrite: NotRequired[bool]
    """Whether a record of the same name and type that exists already is replaced. Default no: it is somebody's."""


class SiteRecords(pulumi.ComponentResource):
    """The addresses of the site: an alias record for IPv4 and one for IPv6, for every name.

    Creates: an A and an AAAA record a name.

    Cost: nothing; queries for alias records are free.

    Source: Route 53 Developer Guide, "Routing traffic to an Amazon CloudFront distribution by using your domain name".
    """

    names: pulumi.Output[list[str]]
    """The names that lead to the distribution."""

    def __init__(self, name: str, args: SiteRecordsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:dns:SiteRecords", name, None, opts)
        self._name_of = name
        # A component does not hand on what it depends on, and the names are to lead nowhere before that is there.
        self._after = opts.depends_on if opts else None
        self._args = args
        self.records = [self._create_record(host, kind) for host in args["names"] for kind in ("A", "AAAA")]
        self.names = pulumi.Output.from_input(list(args["names"]))
        self.register_outputs({"names": self.names})

    def _create_record(self, host: str, kind: str) -> Record:
        target = {
            "name": self._args["distribution_domain"],
            "zone_id": self._args["distribution_zone_id"],
            "evaluate_target_health": False,
        }
        return Record(
            f"{self._name_of}-{host}-{kind.lower()}",
            zone_id=self._args["zone_id"],
            name=host,
            type=kind,
            aliases=[target],  # type: ignore[list-item]
            allow_overwrite=True if self._args.get("overwrite") else None,
            # Whether it was written over another one says nothing about the record.
            opts=pulumi.ResourceOptions(parent=self, depends_on=self._after, ignore_changes=["allowOverwrite"]),
        )
