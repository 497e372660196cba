"""What the stack costs a month: a first estimate from settings alone, without a call to AWS."""

from __future__ import annotations

from dataclasses import dataclass

from amianai_infra.config import Settings

REGION = "us-east-1"
DATE = "June 2026"
_PAGES = "aws.amazon.com/rds/postgresql/pricing, /vpc, /route53, /secrets-manager, /kms, /waf"
SOURCE = f"AWS list prices, on demand, {REGION}, as of {DATE} ({_PAGES})"
HOURS = 730

# PostgreSQL, Single-AZ, USD an hour.
DATABASE_HOUR = {
    "db.t3.micro": 0.018,
    "db.t3.small": 0.036,
    "db.t3.medium": 0.072,
    "db.t3.large": 0.145,
    "db.t3.xlarge": 0.29,
    "db.t3.2xlarge": 0.579,
    "db.t4g.micro": 0.016,
    "db.t4g.small": 0.032,
    "db.t4g.medium": 0.065,
    "db.t4g.large": 0.129,
    "db.t4g.xlarge": 0.258,
    "db.t4g.2xlarge": 0.517,
    "db.m5.large": 0.178,
    "db.m5.xlarge": 0.356,
    "db.m6g.large": 0.159,
    "db.m6g.xlarge": 0.318,
    "db.m6i.large": 0.178,
    "db.m6i.xlarge": 0.356,
    "db.m7g.large": 0.168,
    "db.m7g.xlarge": 0.337,
    "db.r5.large": 0.25,
    "db.r6g.large": 0.225,
    "db.r6i.large": 0.25,
    "db.r7g.large": 0.239,
}
STORAGE_GIB = 0.115
PROXY_HOUR = 0.015  # a virtual CPU of the instance
NAT_HOUR = 0.045
ADDRESS_HOUR = 0.005
ZONE = 0.50
DATABASE_ROLES = ("owner", "application", "readonly")
SECRET = 0.40
ALARM = 0.10
KEY = 1.00
WEB_ACL = 5.00
WEB_ACL_RULE = 1.00
QUERY_LOG_ASSUMED_GIB = 0.1
LOGS_GIB = 0.50
LOGS_ASSUMED_GIB = 1


@dataclass(frozen=True)
class Line:
    """One part of the bill. `dollars` is None where the price is not known."""

    name: str
    dollars: float | None
    basis: str


@dataclass(frozen=True)
class Estimate:
    """The estimate and what it rests on."""

    lines: list[Line]
    source: str = SOURCE

    @property
    def total(self) -> float:
        """Dollars a month, without the lines whose price is not known."""
        return sum(line.dollars or 0 for line in self.lines)

    @property
    def complete(self) -> bool:
        """Whether every line has a price."""
        return all(line.dollars is not None for line in self.lines)


def _secrets(settings: Settings) -> Line:
    roles = (*DATABASE_ROLES, *(("migrator",) if settings.database.migrations_by == "external" else ()))
    return Line("Database secrets", len(roles) * SECRET, f"{', '.join(roles)} at ${SECRET:.2f} in Secrets Manager")


def estimate(settings: Settings) -> Estimate:
    """Price the parts that cost money whether or not anybody uses them, and a small allowance for logs.

    Traffic, requests and sign-ins come on top; at small volumes the free allowances of CloudFront (1 TB a month), S3 and Cognito
    (10 000 active users) cover them.
    """
    lines = [_instance(settings), _storage(settings)]
    if settings.database.proxy:
        lines.append(_proxy(settings))
    if settings.database.backup_region:
        lines.append(Line("Backup copy", KEY, "its KMS key; $0.095 a GiB kept and $0.02 a GiB copied come on top"))
    if settings.network.nat != "none":
        lines.append(_nat(settings))
    if settings.auth.request_limit:
        lines.append(Line("Request limit", WEB_ACL + WEB_ACL_RULE, "one AWS WAF web ACL with one rule; $0.60 a million requests on top"))
    lines += [
        Line("Hosted zone", 0.0 if settings.dns.zone_id else ZONE, "adopted: paid already" if settings.dns.zone_id else "one zone"),
        _secrets(settings),
        *_zone_options(settings),
        Line("State key", KEY, "one KMS key"),
        Line("Alarm", ALARM, "one CloudWatch alarm, on schedules that fail"),
        Line("Logs", LOGS_GIB * LOGS_ASSUMED_GIB, f"assumes {LOGS_ASSUMED_GIB} GiB a month at ${LOGS_GIB:.2f}"),
    ]
    return Estimate(lines)


def _zone_options(settings: Settings) -> list[Line]:
    lines = []
    if settings.dns.dnssec:
        lines.append(Line("Zone key", KEY, "one KMS key that signs the zone"))
    if settings.dns.query_logging:
        basis = f"assumes {QUERY_LOG_ASSUMED_GIB} GiB a month at ${LOGS_GIB:.2f}, a query about 150 bytes"
        lines.append(Line("Query log", QUERY_LOG_ASSUMED_GIB * LOGS_GIB, basis))
    if settings.access.alarm_email:
        lines.append(Line("Alarm key", KEY, "one KMS key of the topic that the alarm tells"))
    return lines


def _instance(settings: Settings) -> Line:
    database = settings.database
    hourly = DATABASE_HOUR.get(database.instance_class)
    if hourly is None:
        return Line("Database instance", None, f"no price known for {database.instance_class}; see aws.amazon.com/rds/postgresql/pricing")
    copies = _copies(settings)
    return Line("Database instance", hourly * HOURS * copies, f"{copies} x {database.instance_class} at ${hourly} an hour")


def _copies(settings: Settings) -> int:
    """The instance, its standby and its read replicas, each with storage of its own."""
    return 1 + int(settings.database.multi_az) + settings.database.replicas


def _storage(settings: Settings) -> Line:
    database, copies = settings.database, _copies(settings)
    basis = f"{copies} x {database.storage_gib} GiB gp3 at ${STORAGE_GIB:.3f}"
    return Line("Database storage", database.storage_gib * STORAGE_GIB * copies, basis)


def _proxy(settings: Settings) -> Line:
    """Every class in the price list has two virtual CPUs up to `large`."""
    size = settings.database.instance_class.rpartition(".")[2]
    processors = {"xlarge": 4, "2xlarge": 8}.get(size, 2)
    if settings.database.instance_class not in DATABASE_HOUR:
        return Line("Database proxy", None, f"${PROXY_HOUR} an hour and virtual CPU of {settings.database.instance_class}")
    return Line("Database proxy", processors * PROXY_HOUR * HOURS, f"{processors} virtual CPUs at ${PROXY_HOUR} an hour")


def _nat(settings: Settings) -> Line:
    gateways = 1 if settings.network.nat == "single" else settings.network.availability_zones
    return Line(
        "NAT", gateways * (NAT_HOUR + ADDRESS_HOUR) * HOURS, f"{gateways} with an address each; traffic at $0.045 a GB comes on top"
    )


def describe(found: Estimate, settings: Settings) -> list[str]:
    """One paragraph for the summary."""
    known = ", ".join(f"{line.name.lower()} ${line.dollars:.2f}" for line in found.lines if line.dollars)
    unknown = [f"not included: {line.name.lower()} ({line.basis})" for line in found.lines if line.dollars is None]
    elsewhere = [] if settings.region == REGION else [f"{settings.region} differs from these prices by some percent"]
    return [f"about ${found.total:.0f} a month before traffic ({known})", *unknown, *elsewhere, found.source]
