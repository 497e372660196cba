"""Settings: what a person writes in a flag, the environment or the stack file.

One setting has one dotted key (`database.instance_class`), from which its other spellings follow:

* environment: `AMIANAI_DATABASE_INSTANCE_CLASS` (`DOMAIN_NAME` and `GITHUB_USERNAME` go without the prefix),
* stack file: `amianai-infra:databaseInstanceClass`.

Precedence: flag, environment, stack file, default.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from amianai_infra.dns_records import ADDRESS_KINDS, record_sets
from amianai_infra.errors import ConfigurationError
from amianai_infra.naming import (
    BUDGET,
    COGNITO_RESERVED,
    CSP_SOURCES,
    DOMAIN,
    ORIGIN,
    PROJECT,
    SANDBOX_VARIABLE,
    database_identifier,
    tag_problems,
)

_HEADER = r"[\x20-\x7e]+"
_ADDRESS = r"[A-Za-z][A-Za-z0-9+.-]*:[^\s#\"<>\\^`{|}]+"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_WINDOW = r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"
_WEEKLY = r"^(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]$"

_CUSTOM_ATTRIBUTE = re.compile(r"^custom:\w{1,20}$")
# The standard attributes that Cognito lets people write, without the e-mail address, which every client writes and Cognito verifies.
PROFILE_ATTRIBUTES = (
    "address",
    "birthdate",
    "family_name",
    "gender",
    "given_name",
    "locale",
    "middle_name",
    "name",
    "nickname",
    "phone_number",
    "picture",
    "preferred_username",
    "profile",
    "website",
    "zoneinfo",
)

# Sign-in returns to a page over TLS, to this machine, or to an application by a scheme of its own; no other scheme of the web is one.
# Source: Cognito Developer Guide, "Configuring app client settings".
_RETURN = re.compile(
    r"^(https://[^/]|http://localhost([:/]|$)|(?!(https?|ftps?|wss?|file|data|javascript|mailto|blob|about):)[a-z][a-z0-9+.-]*://.)", re.I
)
_LONGEST_RETURN = 1024  # Source: Amazon Cognito API Reference, CreateUserPoolClient, CallbackURLs
# RDS refuses most of them itself, late; `postgres` is the superuser of the sandbox's server and a database of every server.
# The roles of `db migrate` are other ones than the master user.
_RESERVED = frozenset({"admin", "user", "public", "none", "postgres", "template0", "template1", "amianai_application", "amianai_readonly"})
# Source: PostgreSQL 16, appendix "SQL Key Words", what is reserved there (categories R and T of `pg_get_keywords()`). RDS API reference,
# CreateDBInstance: neither the database nor the master user may bear a word that the engine reserves.
_KEY_WORDS = re.compile(
    "all|analyse|analyze|and|any|array|as|asc|asymmetric|authorization|binary|both|case|cast|check|collate|collation|column|"
    "concurrently|constraint|create|cross|current_catalog|current_date|current_role|current_schema|current_time|"
    "current_timestamp|current_user|default|deferrable|desc|distinct|do|else|end|except|false|fetch|for|foreign|freeze|from|"
    "full|grant|group|having|ilike|in|initially|inner|intersect|into|is|isnull|join|lateral|leading|left|like|limit|"
    "localtime|localtimestamp|natural|not|notnull|null|offset|on|only|or|order|outer|overlaps|placing|primary|references|"
    "returning|right|select|session_user|similar|some|symmetric|system_user|table|tablesample|then|to|trailing|true|union|"
    "unique|user|using|variadic|verbose|when|where|window|with"
)

LogRetention = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]


def _list_from_text(value: Any) -> Any:
    """Let one string hold a list: JSON, or values separated by commas."""
    if not isinstance(value, str):
        return value
    if value.strip().startswith("["):
        return _json(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _map_from_text(value: Any) -> Any:
    """Let one string hold a mapping: JSON, or `name=value` pairs separated by commas."""
    if not isinstance(value, str):
        return value
    if value.strip().startswith("{"):
        return _json(value)
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(sign for _, sign, _ in pairs):
        raise ValueError('must be name=value pairs separated by commas, or a JSON object such as {"Team": "web"}')
    return {name.strip(): text.strip() for name, _, text in pairs}


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not valid JSON ({error})") from error


def _number(value: Any) -> Any:
    """Environment and stack file hold text; a `Literal` of integers wants an integer."""
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


def _each(form: str, what: str) -> Callable[[Iterable[str]], Iterable[str]]:
    """A validator: every text has this form."""

    def check(values: Iterable[str]) -> Iterable[str]:
        for value in values:
            if not re.fullmatch(form, value):
                raise ValueError(f"{value!r} is not {what}")
        return values

    return check


def _headers(values: dict[str, str]) -> dict[str, str]:
    _each(_HEADER, "a header's value such as no-store")(values.values())
    return values


def _lines_from_text(value: Any) -> Any:
    """Let one string hold lines, which may have commas in them: JSON, or one a line."""
    if not isinstance(value, str):
        return value
    if value.strip().startswith("["):
        return _json(value)
    return [line.strip() for line in value.splitlines() if line.strip()]


TextLines = Annotated[list[str], BeforeValidator(_lines_from_text)]
TextList = Annotated[list[str], BeforeValidator(_list_from_text)]
TextMap = Annotated[dict[str, str], BeforeValidator(_map_from_text)]
Addresses = Annotated[TextList, AfterValidator(_each(_ADDRESS, "an address such as http://localhost:3000/, without a fragment"))]
Budgets = Annotated[
    TextList,
    AfterValidator(_each(BUDGET, "a path, one of document, stylesheet, script, image, media, font, other, total, and KiB: /* script 300")),
]
CspSources = Annotated[TextList, AfterValidator(_each(CSP_SOURCES, "a directive and origins such as font-src https://fonts.gstatic.com"))]
Origins = Annotated[TextList, AfterValidator(_each(ORIGIN, "an origin such as https://api.example.com"))]
Variables = Annotated[TextMap, AfterValidator(_each(_VARIABLE, "a variable's name"))]
Days = Annotated[LogRetention, BeforeValidator(_number)]


def _unit(name: str) -> dict[str, Any]:
    return {"unit": name}


class Once(NamedTuple):
    """What becomes of another value once the stack is built.

    Attributes:
        kind: `any time`; `restarts the database`; `only upwards` or `fixed`, which refuse a value that the stack cannot take any more.
        why: what keeps it; empty where nothing does.
        instead: what to do for who needs another value all the same.
    """

    kind: Literal["any time", "restarts the database", "only upwards", "fixed"] = "any time"
    why: str = ""
    instead: str = "it takes a new stack: `destroy` and `setup`"


_MOVE = "`db backup create`, then a new stack with the other value and its data from `pg_dump`"


def _fixed(why: str, instead: str = Once().instead) -> dict[str, Any]:
    return {"once": Once("fixed", why, instead)}


def _upwards(why: str, instead: str) -> dict[str, Any]:
    return {"once": Once("only upwards", why, instead)}


_RESTARTS: dict[str, Any] = {"once": Once("restarts the database")}


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, coerce_numbers_to_str=True)

    @field_validator("*")
    @classmethod
    def _prints(cls, value: Any) -> Any:
        """Settings reach headers, files, command lines and terminals: none of them is more than a line of text."""
        texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        texts = [*value, *value.values()] if isinstance(value, dict) else texts
        if not all(text.isprintable() for text in texts):
            raise ValueError("must not hold line breaks, control characters or other signs that do not print")
        return value


_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))  # RFC 1918


class NetworkSettings(_Group):
    """The VPC."""

    cidr: IPv4Network = Field(
        IPv4Network("10.0.0.0/16"),
        description="Address range of the VPC, /16 to /20",
        json_schema_extra=_fixed("the range is the VPC's for good, and the database cannot leave its subnets for those of another VPC"),
    )
    availability_zones: int = Field(
        2,
        ge=2,
        le=3,
        description="Availability zones in use",
        json_schema_extra=_unit("zones")
        | _upwards("the database may run in the zone that would go, and its subnet group keeps every subnet in use", "leave it as it is"),
    )
    nat: Literal["none", "single", "per-az"] = Field("none", description="NAT gateways: private subnets need no egress by default")
    flow_log_days: Days = Field(30, description="Retention of the VPC flow logs", json_schema_extra=_unit("days"))

    @field_validator("cidr")
    @classmethod
    def _roomy(cls, value: IPv4Network) -> IPv4Network:
        if not 16 <= value.prefixlen <= 20:
            raise ValueError("must be a /16 to /20: the plan needs thirteen /24 blocks and a VPC holds at most a /16")
        if not any(value.subnet_of(range_) for range_ in _PRIVATE):
            raise ValueError("must be a private range (10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16)")
        return value


class DatabaseSettings(_Group):
    """The PostgreSQL instance."""

    identifier: str = Field(
        "",
        max_length=63,
        pattern=r"^([a-z][a-z0-9]*(-[a-z0-9]+)*)?$",
        description="RDS instance identifier; empty: PREFIX-postgres",
        json_schema_extra=_fixed("the address, the backups, the groups and the secrets of the database bear it", _MOVE),
    )
    engine_version: str = Field(
        "16",
        pattern=r"^1[3-9](\.[0-9]{1,2})?$",
        description="PostgreSQL version; a major version follows its minor releases; another major one needs database.apply_immediately",
        json_schema_extra=_upwards("RDS takes no server back to an older release", _MOVE),
    )
    instance_class: str = Field(
        "db.t3.micro", pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$", description="RDS instance class", json_schema_extra=_RESTARTS
    )
    storage_gib: int = Field(
        20,
        ge=20,
        le=65536,
        description="Allocated gp3 storage",
        json_schema_extra=_unit("GiB") | _upwards("RDS never takes storage back", _MOVE),
    )
    max_storage_gib: int = Field(100, ge=20, le=65536, description="Ceiling of storage autoscaling", json_schema_extra=_unit("GiB"))
    name: str = Field(
        "amianai",
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="Name of the application's database",
        json_schema_extra=_fixed("RDS makes the database with the instance, and another name replaces both", _MOVE),
    )
    username: str = Field(
        "amianai_admin",
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="Name of the master user",
        json_schema_extra=_fixed("RDS names the master user with the instance, and another name replaces it with its data", _MOVE),
    )
    port: int = Field(
        5432,
        ge=1150,
        le=65535,
        description="Port the database listens on",
        json_schema_extra=_fixed("applications, open accesses and the rules of the security groups name it", _MOVE),
    )
    multi_az: bool = Field(False, description="Keep a standby in a second availability zone")
    backup_days: int = Field(7, ge=1, le=35, description="Retention of automated backups", json_schema_extra=_unit("days"))
    backup_window: str = Field("03:00-04:00", pattern=_WINDOW, description="Daily backup window, UTC")
    maintenance_window: str = Field("sun:04:00-sun:05:00", pattern=_WEEKLY, description="Weekly maintenance window, UTC")
    insights: Literal["standard", "advanced"] = Field("standard", description="CloudWatch Database Insights mode")
    monitoring_seconds: Annotated[Literal[0, 1, 5, 10, 15, 30, 60], BeforeValidator(_number)] = Field(
        60, description="Interval of enhanced monitoring; 0 is off", json_schema_extra=_unit("seconds")
    )
    slow_statement_ms: int = Field(
        1000, ge=0, le=3_600_000, description="Statements slower than this are logged", json_schema_extra=_unit("ms")
    )
    log_days: Days = Field(30, description="Retention of the exported PostgreSQL logs", json_schema_extra=_unit("days"))
    deletion_protection: bool = Field(True, description="Refuse deletion; `destroy` lifts it itself after confirmation")
    final_snapshot_suffix: str = Field("", pattern=r"^[a-z0-9]{0,16}$", description="Suffix of the final snapshot; `setup` draws it once")
    managed_password: bool = Field(
        True, description="RDS keeps and rotates the master password; off: a secret of the stack's own, which read replicas need"
    )
    rotation_days: int = Field(
        7, ge=1, le=365, description="How often the master password of a secret of the stack's own changes", json_schema_extra=_unit("days")
    )
    replicas: int = Field(0, ge=0, le=15, description="Read replicas; they need database.managed_password = false")
    proxy: bool = Field(False, description="RDS Proxy in front of the instance, for applications with many short connections")
    apply_immediately: bool = Field(False, description="Apply changes at once, not in the next maintenance window: some restart the server")
    adopt: bool = Field(
        False,
        description="Adopt the instance of this identifier that was made elsewhere; `db adopt` says what it takes",
        json_schema_extra=_fixed("the stack has a database that it made itself, which adopting would replace"),
    )
    backup_region: str = Field(
        "", pattern=r"^([a-z]{2}(-[a-z]+)+-[0-9])?$", description="Second region that keeps a copy of the automated backups; empty: none"
    )
    old_instance_days: int = Field(
        7, ge=1, le=90, description="How long `db restore` keeps the instance it replaced", json_schema_extra=_unit("days")
    )
    migrations: str = Field("", description="Folder of the project's own migrations, relative to the project; empty: none")
    migrations_by: Literal["amianai", "external"] = Field(
        "amianai",
        description="Who makes the application's schema: `db migrate`, or a tool of the team's own (Alembic, Prisma, Drizzle, Django)",
    )

    @field_validator("username", "name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in _RESERVED or value.startswith(("pg_", "rds")):
            raise ValueError("is a name that RDS, PostgreSQL or the stack keeps for itself (in the sandbox, too): choose another one")
        if _KEY_WORDS.fullmatch(value):
            raise ValueError("is a reserved word of PostgreSQL's SQL, which RDS refuses: choose another one")
        return value

    @field_validator("migrations")
    @classmethod
    def _inside(cls, value: str) -> str:
        if ".." in Path(value).parts or value.startswith("/"):
            raise ValueError("must be a folder inside the project")
        return value

    @model_validator(mode="after")
    def _ceiling(self) -> DatabaseSettings:
        if self.max_storage_gib < self.storage_gib:
            raise ValueError(
                f"database.max_storage_gib = {self.max_storage_gib} GiB must not be below database.storage_gib = {self.storage_gib} GiB"
            )
        return self

    @model_validator(mode="after")
    def _one_tool(self) -> DatabaseSettings:
        if self.migrations and self.migrations_by == "external":
            raise ValueError(
                f"database.migrations = {self.migrations}, but with database.migrations_by = external a tool of the team's own makes the"
                " schema: leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _replicated(self) -> DatabaseSettings:
        if self.replicas and self.managed_password:
            raise ValueError(
                f"database.replicas = {self.replicas}, but RDS refuses read replicas while it manages the master password:"
                " set database.managed_password = false, which keeps it in a secret of the stack's own"
            )
        return self

    @model_validator(mode="after")
    def _windows(self) -> DatabaseSettings:
        backup, upkeep = _minutes(self.backup_window), _minutes(self.maintenance_window)
        for key, window in (("backup_window", backup), ("maintenance_window", upkeep)):
            if not 30 <= window[1] <= 24 * 60:
                raise ValueError(f"database.{key} must last from 30 minutes to 24 hours")
        if any(_overlap((backup[0] + day * 1440, backup[1]), upkeep) for day in range(7)):
            raise ValueError("database.backup_window and database.maintenance_window must not overlap")
        return self


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK = 7 * 1440


def _minutes(window: str) -> tuple[int, int]:
    """Start, in minutes since Monday 00:00 (or since midnight), and length of a window."""
    weekly = window[0].isalpha()
    ends = []
    for end in window.split("-"):
        *day, hour, minute = end.split(":")
        ends.append((_DAYS.index(day[0]) * 1440 if day else 0) + int(hour) * 60 + int(minute))
    return ends[0], (ends[1] - ends[0]) % (_WEEK if weekly else 1440)


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two windows share a minute of the (circular) week."""
    return (other[0] - one[0]) % _WEEK < one[1] or (one[0] - other[0]) % _WEEK < other[1]


def _has_port(url: str) -> bool:
    """Whether an address names a port that there is, or none."""
    try:
        return urlsplit(url).port != 0
    except ValueError:  # what is beyond 65535, no number, or a host in brackets that is no address
        return False


class AuthSettings(_Group):
    """Sign-in."""

    password_length: int = Field(12, ge=8, le=99, description="Shortest password", json_schema_extra=_unit("characters"))
    mfa: Literal["OFF", "OPTIONAL", "ON"] = Field("OPTIONAL", description="Time-based one-time passwords (TOTP)")
    hosted_domain: str = Field(
        "",
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$",  # Cognito API reference, CreateUserPoolDomain
        description="Prefix of the hosted domain; empty: made from prefix and domain",
        json_schema_extra=_fixed(
            "sign-in pages and what other identity providers were told live there, and anybody may take a name given up"
        ),
    )
    ses_identity_arn: str = Field(
        "",
        pattern=r"^(arn:aws[a-z-]*:ses:[a-z0-9-]+:[0-9]{12}:identity/[A-Za-z0-9@._+-]+)?$",
        description="SES identity that sends e-mail; empty: Cognito's own, 50 a day",
    )
    callback_urls: Addresses = Field(default=[], description="Sign-in return addresses besides the site's own")
    development_urls: Addresses = Field(
        default=["http://localhost:3000/"],
        description="Sign-in return addresses of a second application client, for development; empty: no such client",
    )
    profile_attributes: TextList = Field(
        default=[], description="Attributes besides the e-mail address that people may read and set about themselves, such as name"
    )
    self_sign_up: bool = Field(True, description="Whether people make accounts themselves; otherwise operators do (AdminCreateUser)")
    request_limit: int = Field(
        0,
        ge=0,
        le=2_000_000_000,
        description="Requests for an e-mail (sign-up, code again, forgotten password) from one address in five minutes; 0: no limit;"
        " from 10 on AWS WAF blocks what is over it, about $6 a month",
    )
    user_pool_id: str = Field(
        "",
        pattern=r"^([a-z0-9-]+_[A-Za-z0-9]+)?$",
        description="User pool to adopt (one that `destroy` kept)",
        json_schema_extra=_fixed("the accounts of people are in the pool that the stack has"),
    )
    deletion_protection: bool = Field(True, description="Refuse deletion of the user pool; `destroy` lifts it itself after confirmation")

    @field_validator("hosted_domain")
    @classmethod
    def _unreserved(cls, value: str) -> str:
        if found := [word for word in COGNITO_RESERVED if word in value]:
            raise ValueError(f"must not contain {found[0]}: Cognito refuses {', '.join(COGNITO_RESERVED)} anywhere in it")
        return value

    @field_validator("callback_urls", "development_urls")
    @classmethod
    def _returns(cls, value: list[str]) -> list[str]:
        if long := [f"{url[:40]}…" for url in value if len(url) > _LONGEST_RETURN]:
            raise ValueError(f"{', '.join(long)}: longer than {_LONGEST_RETURN} characters")
        wrong = [url for url in value if not _RETURN.match(url) or "#" in url]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)}: must be https://, http://localhost or an application's scheme such as myapp://, without a fragment"
            )
        if unreachable := [url for url in value if not _has_port(url)]:
            raise ValueError(f"{', '.join(unreachable)}: the host or its port is none; a port is 1 to 65535")
        return value

    @field_validator("profile_attributes")
    @classmethod
    def _writable(cls, value: list[str]) -> list[str]:
        wrong = [name for name in value if name not in PROFILE_ATTRIBUTES and not _CUSTOM_ATTRIBUTE.fullmatch(name)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: must be custom:NAME or of {', '.join(PROFILE_ATTRIBUTES)}")
        return value

    @field_validator("request_limit")
    @classmethod
    def _least(cls, value: int) -> int:
        if 0 < value < 10:
            raise ValueError("must be 0 or at least 10, which is the least that AWS WAF counts to")
        return value


class SiteSettings(_Group):
    """The static site and its CDN."""

    directory: str = Field(
        "examples/site",
        min_length=1,
        description="Directory of the site, relative to the project; ../web where the repository holds both",
    )
    build_command: str = Field(
        "",
        description="Command that builds the site, run in its directory; empty: its own build script by its own package manager, nothing"
        " where package.json has none; `true`: nothing",
    )
    output: str = Field("out", min_length=1, description="Folder the build fills, relative to the site's directory")
    base_path: Annotated[str, AfterValidator(lambda value: value.strip("/"))] = Field(
        "", pattern=r"^/?([A-Za-z0-9_][A-Za-z0-9._~-]*/?)*$", description="Path that the site lives below, such as docs; empty: the root"
    )
    fallback: str = Field(
        "",
        pattern=r"^([^/\s].*\.html?)?$",
        description="Page that answers a browser's navigation to an address the site does not have: index.html of a single-page app",
    )
    inputs: TextList = Field(
        default=[],
        description="All that the build depends on (files, folders, patterns relative to the directory). A deploy builds only when"
        " they changed; empty: every deploy builds (the example declares its folder)",
    )
    empty_output: bool = Field(
        True,
        description="Build into an empty output folder; off for a build that goes on from its last output, whose leftovers are released",
    )
    price_class: Literal["PriceClass_100", "PriceClass_200", "PriceClass_All"] = Field(
        "PriceClass_100", description="CloudFront edge locations"
    )
    connect_src: Origins = Field(default=[], description="Origins the pages may call, added to the Content-Security-Policy")
    content_security_policy: str = Field(
        "", pattern=r"^[\x20-\x7e]*$", description="The whole Content-Security-Policy; empty: the default of the site rules"
    )
    csp_sources: CspSources = Field(
        default=[],
        description="What pages may load from elsewhere, added to the Content-Security-Policy, each a directive and origins:"
        " font-src https://fonts.gstatic.com. `deploy` says what pages need",
    )
    inline_scripts: Literal["hashed", "allowed"] = Field(
        "hashed", description="Scripts within pages that run: those of the release, by their hashes, or any, as `'unsafe-inline'` allows"
    )
    hsts_seconds: int = Field(
        31_536_000, ge=0, le=63_072_000, description="Strict-Transport-Security max-age", json_schema_extra=_unit("seconds")
    )
    hsts_include_subdomains: bool = Field(False, description="Strict-Transport-Security for every name below the domain, too")
    hsts_preload: bool = Field(
        False, description="Let browsers list the domain as HTTPS only; hard to undo, and needs the sub-domains and a year of max-age"
    )
    old_version_days: int = Field(30, ge=1, le=3650, description="How long replaced files stay restorable", json_schema_extra=_unit("days"))
    old_asset_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="How long assets with a hash in their name stay served when no release names them any more",
        json_schema_extra=_unit("days"),
    )
    cache_rules: Annotated[TextMap, AfterValidator(_headers)] = Field(
        default={}, description="Cache-Control by path pattern, before our own rules; * stays inside a folder, ** crosses folders"
    )
    headers: TextLines = Field(
        default=[],
        description="Headers by address, types among them, one a line: `/feeds/* Content-Type: application/rss+xml`; the site's `_headers` "
        "says the same in its own form",
    )
    allow: TextLines = Field(
        default=[],
        description="What may be published although it looks like a secret or names a file that is not there, one a line: path pattern, "
        "then the reason; shown at each release",
    )
    budgets: Budgets = Field(
        default=[],
        description="Most that a page may weigh with what it loads, each a path, a type of Lighthouse's and KiB:"
        " /* total 500,/docs/ total 800; the last that matches holds. A release over it is refused",
    )
    environment: Variables = Field(default={}, description="Public variables added to the environment of the site's build; never a secret")
    pass_environment: TextList = Field(
        default=[], description="Names of your own variables that the site's build gets, too; PREFIX* for several"
    )
    log_days: int = Field(90, ge=1, le=3650, description="Expiry of the access logs", json_schema_extra=_unit("days"))
    bucket_logging: bool = Field(False, description="Keep S3's access log of the site's bucket beside that of the CDN")
    previews: bool = Field(
        False, description="Have a distribution for previews of the site: *.preview.DOMAIN, with a certificate and a bucket of its own"
    )

    @field_validator("hsts_preload")
    @classmethod
    def _preloaded(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not (info.data.get("hsts_include_subdomains") and info.data.get("hsts_seconds", 0) >= 31_536_000):
            raise ValueError("needs site.hsts_include_subdomains = true and site.hsts_seconds of at least 31536000 (a year)")
        return value

    @field_validator("allow")
    @classmethod
    def _reasoned(cls, value: list[str]) -> list[str]:
        wrong = [line for line in value if len(line.split()) < 2]
        if wrong:
            raise ValueError(f"{wrong[0]!r} has no reason: a line is a path pattern, then why what it matches may be published")
        return value

    @field_validator("pass_environment")
    @classmethod
    def _variables(cls, value: list[str]) -> list[str]:
        if not all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\*?", name) for name in value):
            raise ValueError("must be names of variables such as NPM_TOKEN, or beginnings such as VITE_*; a value never belongs here")
        return value

    @field_validator("output", "inputs")
    @classmethod
    def _relative(cls, value: str | list[str]) -> str | list[str]:
        if any(Path(one).is_absolute() for one in ([value] if isinstance(value, str) else value)):
            raise ValueError("must be relative to the site's directory")
        return value

    @field_validator("output")
    @classmethod
    def _is_its_own(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must name a folder, such as out")
        if Path(os.path.normpath(value)).name == "..":
            raise ValueError("is a folder that the site lies in: all of it would be published. It must be inside the site, or beside it")
        return value


class DnsSettings(_Group):
    """The hosted zone."""

    zone_id: str = Field(
        "",
        pattern=r"^(Z[A-Z0-9]{1,31})?$",
        description="Hosted zone to adopt; empty: create one. An adopted zone is never deleted",
        json_schema_extra=_fixed("the domain is delegated to the name servers of the zone that the stack has"),
    )
    dnssec: bool = Field(False, description="Sign the zone; `status` shows the DS record for the registrar. Not for an adopted zone")
    query_logging: bool = Field(False, description="Log the queries that the zone's name servers answer. Not for an adopted zone")
    query_log_days: Days = Field(30, description="Retention of the query log", json_schema_extra=_unit("days"))
    records: TextLines = Field(
        default=[],
        description="Records to carry over from the domain's old zone, as NAME TTL TYPE VALUE; they stay as long as the zone does",
    )

    @model_validator(mode="after")
    def _own_zone(self) -> DnsSettings:
        chosen = [name for name in ("dnssec", "query_logging") if getattr(self, name)]
        if self.zone_id and chosen:
            raise ValueError(
                f"{chosen[0]} = true, but the zone {self.zone_id} is adopted: it serves more than this stack, and its owner decides that"
            )
        return self


class DeliverySettings(_Group):
    """Continuous delivery from GitHub Actions."""

    repository: str = Field(
        "", pattern=r"^([A-Za-z0-9._-]{1,100}(@[0-9]+)?)?$", description="GitHub repository; empty: the name of git's origin"
    )
    branch: str = Field("main", pattern=r"^[A-Za-z0-9._/-]{1,200}$", description="Branch that may deploy")
    environment: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,100}$", description="GitHub environment that may deploy, instead of the branch"
    )
    oidc_provider_arn: str = Field(
        "",
        pattern=r"^(arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/[A-Za-z0-9._/-]+)?$",
        description="GitHub OIDC provider to adopt; empty: create one",
        json_schema_extra=_fixed("an account has one provider for GitHub, and every role of the account may trust it", "leave it as it is"),
    )


class AuditSettings(_Group):
    """The record of administrative work on the database."""

    days: Days = Field(1096, description="Retention of the audit log group", json_schema_extra=_unit("days"))
    deletion_protection: bool = Field(True, description="Refuse deletion of the audit log group; `destroy --delete-audit` lifts it itself")
    log_group: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._/#-]{1,511})?$",
        description="Audit log group to adopt (one that `destroy` kept); empty: create it",
        json_schema_extra=_fixed("the record of what was done is in the group that the stack has", "leave it as it is"),
    )


class AccessSettings(_Group):
    """Reaching the database from outside for a while."""

    alarm_email: str = Field(
        "",
        pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$",
        description="Address told when an access could not be closed; AWS asks it to confirm first",
    )


class IamSettings(_Group):
    """The roles that the stack makes."""

    permissions_boundary: str = Field(
        "",
        pattern=r"^(arn:aws[a-z-]*:iam::[0-9]{12}:policy/[A-Za-z0-9+=,.@_/-]{1,640})?$",
        description="ARN of a managed policy that bounds every role of the stack; empty: none. docs/aws.md says how to make it",
    )


class Settings(_Group):
    """Everything a person can choose about the production stack."""

    domain_name: str = Field(
        description="Domain of the product, for example example.com",
        json_schema_extra=_fixed("zone, certificate, buckets and sign-in bear it", "`destroy` first, or another prefix for another stack"),
    )
    github_username: str = Field(
        "",
        pattern=r"^([A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?(@[0-9]+)?)?$",  # @id: subjects of repositories made since July 2026
        description="GitHub user or organisation that owns the repository",
    )
    region: str = Field(
        "us-east-1",
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$",
        description="AWS region",
        json_schema_extra=_fixed("nothing in AWS moves to another region", _MOVE),
    )
    account: str = Field(
        "",
        pattern=r"^([0-9]{12})?$",
        description="AWS account of the stack; empty: that of the credentials, which `setup` and `up` write down",
        json_schema_extra=_fixed("nothing in AWS moves to another account", _MOVE),
    )
    prefix: str = Field(
        "eeyore",
        max_length=20,
        pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
        description="Prefix of every resource name",
        json_schema_extra=_fixed("every resource bears it, the database and the user pool among them", _MOVE),
    )
    tags: TextMap = Field(default={}, description="Tags added to every resource")
    network: NetworkSettings = NetworkSettings()
    database: DatabaseSettings = DatabaseSettings()
    auth: AuthSettings = AuthSettings()
    site: SiteSettings = SiteSettings()
    dns: DnsSettings = DnsSettings()
    delivery: DeliverySettings = DeliverySettings()
    audit: AuditSettings = AuditSettings()
    access: AccessSettings = AccessSettings()
    iam: IamSettings = IamSettings()

    @field_validator("tags")
    @classmethod
    def _allowed_tags(cls, value: dict[str, str]) -> dict[str, str]:
        problems = tag_problems(value)
        if problems:
            raise ValueError("; ".join(problems))
        return value

    @model_validator(mode="after")
    def _named(self) -> Settings:
        if not self.database.identifier:
            database = self.database.model_copy(update={"identifier": database_identifier(self.prefix)})
            object.__setattr__(self, "database", database)  # the model is frozen for everybody else
        return self

    @model_validator(mode="after")
    def _carried(self) -> Settings:
        try:
            carried = record_sets(self.dns.records, self.domain_name)
        except ValueError as error:
            raise ValueError(f"dns.records: {error}") from error
        of_previews = f"*.preview.{self.domain_name}"
        if self.site.previews and any(one.name == of_previews and one.kind in ADDRESS_KINDS for one in carried):
            raise ValueError(f"dns.records has addresses of {of_previews}, where site.previews = true puts the stack's own")
        return self

    @model_validator(mode="after")
    def _elsewhere(self) -> Settings:
        if self.database.backup_region == self.region:
            raise ValueError(f"database.backup_region = {self.region} is the stack's own region: a copy there would be lost with it")
        return self

    @field_validator("domain_name")
    @classmethod
    def _plain_domain(cls, value: str) -> str:
        if not re.fullmatch(DOMAIN, value):
            raise ValueError("must be a bare lower-case domain such as example.com: no scheme, path, port, space or trailing dot")
        if value.startswith("www."):
            raise ValueError("must be the apex: www is added and redirected to it")
        return value


class Setting(BaseModel):
    """One setting and its spellings."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    key: str
    environment: str
    pulumi: str
    field: FieldInfo
    unit: str
    once: Once

    @property
    def path(self) -> tuple[str, ...]:
        """The dotted key, split: `("database", "instance_class")`."""
        return tuple(self.key.split("."))


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _setting(path: tuple[str, ...], field: FieldInfo) -> Setting:
    joined = "_".join(path)
    bare = joined in ("domain_name", "github_username")
    extra: Any = field.json_schema_extra or {}
    return Setting(
        key=".".join(path),
        environment=joined.upper() if bare else f"AMIANAI_{joined.upper()}",
        pulumi=f"{PROJECT}:{_camel(joined)}",
        field=field,
        unit=extra.get("unit", ""),
        once=extra.get("once", Once()),
    )


@cache
def every_setting() -> tuple[Setting, ...]:
    """All settings, groups flattened, in the order of the models."""
    found = []
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, _Group):
            found += [_setting((name, inner), inner_field) for inner, inner_field in group.model_fields.items()]
        else:
            found.append(_setting((name,), field))
    return tuple(found)


# Environment variables of the family AMIANAI_* that choose how a command runs, not what the stack is.
NOT_SETTINGS = frozenset(
    {
        "AMIANAI_TARGET",
        "AMIANAI_ROOT",
        "AMIANAI_CONFIG",
        "AMIANAI_BUILD_ID",
        "AMIANAI_CACHE",
        "AMIANAI_DATABASE_AT",
        "AMIANAI_DEBUG",
        "AMIANAI_SANDBOX_PORT",
        SANDBOX_VARIABLE,
    }
)


_PULLED = "`amianai config pull`, which writes it back from what the stack was last built from"
_CONFLICT = re.compile(r"[<>]{7}(\s|$)")


def read_stack_document(path: Path, *, required: bool = False) -> dict[str, Any]:
    """The whole of `Pulumi.<stack>.yaml`; empty when the file is absent and not required.

    Raises:
        ConfigurationError: absent though required, unreadable, with a merge's conflict markers, or not a stack file.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        _require_merged(path, text)
        # Every scalar stays text: YAML would read version 16.10 as the number 16.1.
        document = yaml.load(text, Loader=yaml.BaseLoader) or {}  # noqa: S506 (BaseLoader makes text only)
    except FileNotFoundError as error:
        if not required:
            return {}
        raise ConfigurationError("The stack file does not exist.", where=str(path), fix="name an existing file with --config") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        fix = f"correct it, or remove it and run {_PULLED}"
        raise ConfigurationError("The stack file cannot be read.", where=f"{path}: {error}", fix=fix) from error
    if not isinstance(document, dict):
        raise ConfigurationError("The stack file has no `config:` mapping.", where=str(path), fix="docs/settings.md shows its form")
    if twice := _twice(path):
        raise ConfigurationError(
            "The stack file says something twice, as after a merge; the engine takes no such file.",
            where=f"{path}: {', '.join(twice)}",
            fix="leave one line of each",
        )
    return document


def _require_merged(path: Path, text: str) -> None:
    marks = [str(number) for number, line in enumerate(text.splitlines(), start=1) if _CONFLICT.match(line)]
    if marks:
        raise ConfigurationError(
            "The stack file has the conflict markers of a merge.",
            where=f"{path}: lines {', '.join(marks)}",
            fix=f"keep one side of each and remove the markers, or run {_PULLED}",
        )


def agreed_lines(text: str) -> str:
    """What both sides of a merge agree on; the text as it is where it has no conflict markers."""
    kept, apart = [], False
    for line in text.splitlines(keepends=True):
        marker = _CONFLICT.match(line)
        apart = line.startswith("<") if marker else apart
        if not (marker or apart):
            kept.append(line)
    return "".join(kept)


def _twice(path: Path) -> list[str]:
    """Keys that a stack file has more than once, with the lines: YAML's reader would silently take the last."""
    import yaml

    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    top = root.value if isinstance(root, yaml.MappingNode) else []
    inner = [pair for key, node in top if key.value == "config" and isinstance(node, yaml.MappingNode) for pair in node.value]
    lines: dict[str, list[str]] = {}
    for level, pairs in (("", top), ("config", inner)):
        for key, _ in pairs:
            lines.setdefault(f"{level} {key.value}", []).append(str(key.start_mark.line + 1))
    return [f"{key.split()[-1]} (lines {' and '.join(found)})" for key, found in lines.items() if len(found) > 1]


def read_stack_file(path: Path, *, required: bool = False) -> dict[str, Any]:
    """The `config:` mapping of `Pulumi.<stack>.yaml`; empty when the file is absent and not required.

    Raises:
        ConfigurationError: absent though required, unreadable, or not a stack file.
    """
    values = read_stack_document(path, required=required).get("config") or {}
    if not isinstance(values, dict):
        raise ConfigurationError("The stack file has no `config:` mapping.", where=str(path), fix="docs/settings.md shows its form")
    return {str(key): value for key, value in values.items()}


class _Sources:
    """Raw values by dotted key, with the place each one came from, lowest precedence first."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.problems: list[str] = []

    def add(self, key: str, value: Any, place: str) -> None:
        self.values[key] = value
        self.places[key] = place

    def nested(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key, value in self.values.items():
            *groups, leaf = key.split(".")
            node = tree
            for group in groups:
                node = node.setdefault(group, {})
            node[leaf] = value
        return tree


def _add_layer(sources: _Sources, values: Mapping[str, Any], spelling: str, place: str, prefix: str, ignore: frozenset[str]) -> None:
    known = {getattr(setting, spelling): setting.key for setting in every_setting()}
    for name, value in values.items():
        if name in known:
            if spelling == "environment" and value == "":
                continue  # set but empty, as CI systems do, means not set
            sources.add(known[name], value, f"{place} {name}")
        elif name.startswith(prefix) and name not in ignore:
            sources.problems.append(f"{name}: unknown key ({place}){_nearest(name, known)}")


def _nearest(name: str, known: Mapping[str, str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


def load_settings(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    stack_file: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
    file: str = "stack file",
) -> Settings:
    """Resolve every setting, or report every problem at once.

    Args:
        flags: dotted keys from the command line (`--set network.cidr=10.1.0.0/16`).
        environ: the process environment.
        stack_file: the `config:` mapping of `Pulumi.<stack>.yaml`.
        defaults: dotted keys a target provides below all of these.
        file: what to call the stack file where one of its values is wrong.

    Raises:
        ConfigurationError: unknown keys, bad values, with key, value, place, unit and range of each.
    """
    sources = _Sources()
    _add_layer(sources, defaults or {}, "key", "default of the target", "", frozenset())
    _add_layer(sources, _with_region(stack_file), "pulumi", file, f"{PROJECT}:", frozenset())
    _add_layer(sources, environ, "environment", "environment", "AMIANAI_", NOT_SETTINGS)
    _add_layer(sources, flags, "key", "flag", "", frozenset())
    return _validate(sources)


def require_shared(directory: str, where: str) -> None:
    """Refuse a site's directory that only this machine has, where colleagues and CI read it.

    Args:
        directory: the value of site.directory.
        where: the file that is committed.

    Raises:
        ConfigurationError: it is absolute.
    """
    if Path(directory).is_absolute():
        raise ConfigurationError(
            f"site.directory = {directory} is a path of this machine alone, and this file is committed.",
            where=where,
            fix="write it relative to the project, such as ../web; `deploy --set site.directory=/...` takes an absolute one for once",
        )


def _with_region(stack_file: Mapping[str, Any]) -> Mapping[str, Any]:
    """Pulumi's own `aws:region` is our region where ours is not written."""
    ours = f"{PROJECT}:region"
    return {ours: stack_file["aws:region"], **stack_file} if "aws:region" in stack_file else stack_file


def _validate(sources: _Sources) -> Settings:
    settings = None
    problems = list(sources.problems)
    try:
        settings = Settings.model_validate(sources.nested())
    except ValidationError as error:
        problems += [_explain(problem, sources) for problem in error.errors()]
    if settings is None or problems:
        raise ConfigurationError(
            "The configuration is not valid:",
            details=problems,
            fix="correct the values named above; docs/settings.md lists every setting",
        )
    return settings


def _explain(problem: Any, sources: _Sources) -> str:
    key = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
    setting = next((one for one in every_setting() if one.key == key), None)
    if problem["type"] == "missing" and setting is not None:
        return f"{key}: not set; {setting.field.description} (environment {setting.environment}, flag --set {key}=…)"
    message = _message(problem, setting)
    if setting is None:
        return _between(key, message, sources)
    unit = f" {setting.unit}" if setting.unit else ""
    place = sources.places.get(key, "default")
    return f"{key} = {problem['input']!s}{unit} ({place}): {message}{_range(setting)}. {setting.field.description}"


def _between(key: str, message: str, sources: _Sources) -> str:
    """A problem between several settings, which the message names, with the place of each that somebody wrote."""
    named = [name for name in sources.places if re.search(rf"(?<![\w.]){re.escape(name)}\b", message)]
    places = f" ({', '.join(sources.places[name] for name in named)})" if named else ""
    return f"{message}{places}" if named or not key else f"{key}: {message}"


def _message(problem: Any, setting: Setting | None) -> str:
    if problem["type"] == "string_pattern_mismatch" and setting is not None:
        default = _text(setting.field.default)
        return "does not have the right form" + (f" (such as {default})" if default else "")
    if problem["type"] == "ip_v4_network":
        return "is not an IPv4 range such as 10.0.0.0/16 (no host bits set)"
    return str(problem["msg"]).removeprefix("Value error, ")


def _range(setting: Setting) -> str:
    bounds = {type(item).__name__: item for item in setting.field.metadata}
    low, high = getattr(bounds.get("Ge"), "ge", None), getattr(bounds.get("Le"), "le", None)
    if low is None and high is None:
        return ""
    unit = f" {setting.unit}" if setting.unit else ""
    return f"; allowed: {low} to {high}{unit}"


def to_pulumi(settings: Settings, written: Collection[str] = ()) -> dict[str, str]:
    """The settings as flat stack configuration (`amianai-infra:...`), defaults left out.

    Args:
        settings: what was resolved.
        written: keys the stack file holds already; they are stated even where they are back at their default.
    """
    baseline = Settings(domain_name="example.com", database=DatabaseSettings(identifier=database_identifier(settings.prefix)))
    flat: dict[str, str] = {}
    for setting in every_setting():
        value = _value(settings, setting.path)
        if setting.key in ("domain_name", "region") or setting.pulumi in written or value != _value(baseline, setting.path):
            flat[setting.pulumi] = _text(value)
    return flat


def text_of(settings: Settings, setting: Setting) -> str:
    """The value of one setting, as the stack file has it."""
    return _text(_value(settings, setting.path))


def _value(settings: BaseModel, path: tuple[str, ...]) -> Any:
    node: Any = settings
    for name in path:
        node = getattr(node, name)
    return node


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    return str(value)
