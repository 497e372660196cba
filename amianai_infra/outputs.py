"""What the stack publishes about itself: the JSON in SSM parameter `/<prefix>/stack`.

Operations read this instead of the engine's state. It holds no secret: the database's password is named by the ARN of
the Secrets Manager secret that holds it.

Plain dataclasses with the method names of pydantic's models, because a release reads its outputs before anything else
and importing pydantic alone takes longer than releasing an unchanged site.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from amianai_infra.naming import DOMAIN


@dataclass(frozen=True)
class _Part:
    _PARTS: ClassVar[Mapping[str, type[_Part]]] = {}

    @classmethod
    def model_validate(cls, data: Any) -> Self:
        """Read a mapping; keys that we do not know are ignored, so that an older program reads newer outputs.

        Raises:
            ValueError: a value is missing or of the wrong type; the message names it.
        """
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping):
            raise ValueError(f"{cls.__name__}: expected an object, not {data!r}")  # noqa: TRY004
        values = {}
        for one in fields(cls):
            if one.name in data:
                values[one.name] = cls._value(one.name, str(one.type), data[one.name])
            elif one.default is MISSING and one.default_factory is MISSING:
                raise ValueError(f"{cls.__name__}.{one.name}: missing")
        return cls(**values)

    @classmethod
    def _value(cls, name: str, kind: str, value: Any) -> Any:
        if name in cls._PARTS:
            return cls._PARTS[name].model_validate(value)
        if kind == "int" and isinstance(value, (int, float, str)) and not isinstance(value, bool) and str(value).isdigit():
            return int(value)
        if kind == "str" and _plain(value):
            return value
        if kind == "list[str]" and isinstance(value, list) and all(map(_plain, value)):
            return list(value)
        raise ValueError(f"{cls.__name__}.{name}: expected {kind}, not {value!r}")

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Read JSON text, as `model_validate` does."""
        return cls.model_validate(json.loads(text))

    def model_dump(self) -> dict[str, Any]:
        """Nested dictionaries of plain values."""
        return asdict(self)

    def model_dump_json(self, indent: int | None = None) -> str:
        """JSON text."""
        return json.dumps(self.model_dump(), indent=indent, separators=None if indent else (",", ":"))

    def model_copy(self, update: Mapping[str, Any] | None = None) -> Self:
        """A copy with some fields changed."""
        return replace(self, **(update or {}))


def _plain(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


@dataclass(frozen=True)
class SiteOutputs(_Part):
    """Where the site lives, the headers of every answer (`name: value`), and whether pages have policies of their own (1)."""

    bucket: str
    distribution_id: str
    distribution_domain: str
    distribution_arn: str
    url: str
    routes_arn: str = ""
    headers: list[str] = field(default_factory=list)
    page_policies: int = 0

    @property
    def answered(self) -> dict[str, str]:
        """The headers of every answer by name; empty where the stack is older than that."""
        parts = (line.partition(": ") for line in self.headers)
        return {name: value for name, _, value in parts}


@dataclass(frozen=True)
class PreviewsOutputs(_Part):
    """Where previews of the site live; empty where the stack has none."""

    domain: str = ""
    bucket: str = ""
    distribution_id: str = ""
    distribution_domain: str = ""
    routes_arn: str = ""
    role_arn: str = ""


@dataclass(frozen=True)
class DatabaseOutputs(_Part):
    """Where the database listens and which secret opens it."""

    identifier: str
    host: str
    port: int
    name: str
    username: str
    secret_arn: str
    security_group_id: str
    resource_id: str
    instance_class: str
    subnet_ids: list[str]
    application_secret_arn: str = ""
    readonly_secret_arn: str = ""
    proxy_host: str = ""
    replica_hosts: list[str] = field(default_factory=list)
    migrator_secret_arn: str = ""

    @property
    def external(self) -> bool:
        """Whether a migration tool of the team's own makes the schema, as a role of its own."""
        return bool(self.migrator_secret_arn)


@dataclass(frozen=True)
class AuthOutputs(_Part):
    """What an application needs to sign people in."""

    user_pool_id: str
    client_id: str
    issuer: str
    hosted_domain: str
    development_client_id: str = ""


@dataclass(frozen=True)
class DnsOutputs(_Part):
    """The zone and the name servers to enter at the registrar."""

    zone_id: str
    name_servers: list[str]
    certificate_arn: str
    ds_record: str = ""


@dataclass(frozen=True)
class NetworkOutputs(_Part):
    """The VPC and its subnets, one per availability zone, in order."""

    vpc_id: str
    internet_gateway_id: str
    public_subnet_ids: list[str]
    private_subnet_ids: list[str]
    private_route_table_ids: list[str]


@dataclass(frozen=True)
class AccessOutputs(_Part):
    """What opens the database for a while and closes it again; empty where the stack is older than that."""

    schedule_group: str = ""
    scheduler_role_arn: str = ""
    dead_letter_arn: str = ""
    topic_arn: str = ""
    launch_template_id: str = ""
    bastion_security_group_id: str = ""


@dataclass(frozen=True, kw_only=True)
class StackOutputs(_Part):
    """All published outputs of the production stack."""

    version: int = 1
    domain: str
    region: str
    account: str
    prefix: str
    site: SiteOutputs
    database: DatabaseOutputs
    auth: AuthOutputs
    dns: DnsOutputs
    network: NetworkOutputs
    access: AccessOutputs = AccessOutputs()
    audit_log_group: str = ""
    deploy_role_arn: str = ""
    previews: PreviewsOutputs = PreviewsOutputs()

    def __post_init__(self) -> None:
        if not re.fullmatch(DOMAIN, self.domain):
            raise ValueError(f"StackOutputs.domain: {self.domain!r} is no domain")

    _PARTS: ClassVar[Mapping[str, type[_Part]]] = {
        "site": SiteOutputs,
        "database": DatabaseOutputs,
        "auth": AuthOutputs,
        "dns": DnsOutputs,
        "network": NetworkOutputs,
        "access": AccessOutputs,
        "previews": PreviewsOutputs,
    }
