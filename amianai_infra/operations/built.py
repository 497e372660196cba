"""What the stack was built from, as its state says, and which wanted settings it cannot take any more. Pure.

The state is what is there: it also tells after an `up` that ended half-way, and for stacks that published less than today's do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from amianai_infra.config import Setting, Settings, every_setting, text_of
from amianai_infra.naming import audit_log_group, database_identifier, user_pool_domain
from amianai_infra.rules.postgres import major_version

if TYPE_CHECKING:
    from amianai_infra.engine import StateResource

VPC = "aws:ec2/vpc:Vpc"
_SUBNETS = "aws:rds/subnetGroup:SubnetGroup"
_INSTANCE = "aws:rds/instance:Instance"
_ZONE = "aws:route53/zone:Zone"
_OWN = "the stack's own"
_MAJOR = (
    "a major upgrade cannot wait for the maintenance window, because the parameters of the old version go with it. Instead:"
    " `db backup create`, then both at once with `--set database.apply_immediately=true`, which stops the database for minutes"
)


@dataclass(frozen=True)
class Refused:
    """A setting that the stack cannot take any more.

    Attributes:
        key: its dotted key.
        built: what the stack was built from.
        wanted: what the settings say now.
        why: what keeps it, and what to do instead.
    """

    key: str
    built: str
    wanted: str
    why: str

    def __str__(self) -> str:
        return f"{self.key}: {self.built} -> {self.wanted}: {self.why}"

    @property
    def set(self) -> str:
        """The value that the stack can take."""
        return "" if self.built.startswith(_OWN) else self.built


@dataclass(frozen=True)
class Built:
    """A stack as its state has it.

    Args:
        resources: the live ones.
        superseded: those that were replaced and wait for their deletion.
    """

    resources: Sequence[StateResource]
    superseded: Sequence[StateResource] = field(default=())

    def facts(self) -> dict[str, str]:
        """The settings that must stay, by dotted key, as far as the state says: what is not built yet may still change."""
        readers: dict[str, Callable[[], str]] = {
            "region": lambda: self._input("pulumi:providers:aws", "region"),
            "account": lambda: self._exported("account"),
            "prefix": lambda: self._input("aws:ssm/parameter:Parameter", "name", "outputs").removeprefix("/").removesuffix("/stack"),
            "network.cidr": self.network,
            "network.availability_zones": self._zones,
            "database.identifier": lambda: self._database("identifier"),
            "database.engine_version": lambda: self._database("engineVersion"),
            "database.storage_gib": lambda: self._exported("settings", "amianai-infra:databaseStorageGib"),
            "database.name": lambda: self._database("dbName"),
            "database.username": lambda: self._database("username"),
            "database.port": lambda: self._database("port"),
            "database.adopt": self._not_adopted,
            "auth.hosted_domain": lambda: self._input("aws:cognito/userPoolDomain:UserPoolDomain", "domain"),
            "audit.log_group": lambda: self._input("aws:cloudwatch/logGroup:LogGroup", "name", "audit-log"),
            "auth.user_pool_id": self._pool,
            "dns.zone_id": self._zone,
            "delivery.oidc_provider_arn": self._oidc_provider,
        }
        return {key: found for key, read in readers.items() if (found := read())}

    def network(self) -> str:
        """The range of the VPC that the database is in; empty without a database."""
        found = self.database_network()
        return str(found.inputs.get("cidrBlock", "")) if found else ""

    def database_network(self) -> StateResource | None:
        """The VPC that the database is in, which is not the live one where its replacement ended half-way."""
        group = self._first(_SUBNETS)
        vpcs = [one for one in (*self.resources, *self.superseded) if one.type == VPC]
        return next((one for one in vpcs if group and one.id == group.outputs.get("vpcId")), None)

    def lost_network(self, settings: Settings) -> StateResource | None:
        """The database's VPC where it was replaced, half-way, and the settings want it back; None where all is well."""
        found = self.database_network()
        back = found is not None and found in self.superseded and found.inputs.get("cidrBlock") == str(settings.network.cidr)
        return found if back else None

    def _first(self, kind: str, name: str = "") -> StateResource | None:
        named = (one for one in self.resources if one.type == kind and not one.external and (not name or one.name == name))
        return next(named, None)

    def _input(self, kind: str, key: str, name: str = "") -> str:
        found = self._first(kind, name)
        return str(found.inputs.get(key) or "") if found else ""

    def _database(self, key: str) -> str:
        return self._input(_INSTANCE, key, "database-instance")

    def _not_adopted(self) -> str:
        found = self._first(_INSTANCE, "database-instance")
        return "false" if found and not found.imported else ""

    def _zones(self) -> str:
        group = self._first(_SUBNETS)
        return str(len(group.inputs.get("subnetIds") or [])) if group else ""

    def _exported(self, *path: str) -> str:
        stack = self._first("pulumi:pulumi:Stack")
        found: Any = stack.outputs if stack else {}
        for key in path:
            found = found.get(key, "") if isinstance(found, dict) else ""
        return str(found)

    def _pool(self) -> str:
        found = self._first("aws:cognito/userPool:UserPool")
        return self._adopted(found, adopted=found.retained) if found else ""

    @staticmethod
    def _adopted(found: StateResource, *, adopted: bool) -> str:
        return found.id if adopted else f"{_OWN} ({found.id})"

    def _zone(self) -> str:
        own = self._first(_ZONE, "dns-zone")
        return self._adopted(own, adopted=False) if own else self._input("aws:route53/record:Record", "zoneId")

    def _oidc_provider(self) -> str:
        own = self._first("aws:iam/openIdConnectProvider:OpenIdConnectProvider")
        if own:
            return _OWN
        return _federated(self._input("aws:iam/role:Role", "assumeRolePolicy", "delivery-role"))


def _federated(trust: str) -> str:
    try:
        return str(json.loads(trust)["Statement"][0]["Principal"]["Federated"])
    except (ValueError, LookupError, TypeError):
        return ""


def refused(settings: Settings, built: Built) -> Iterator[Refused]:
    """The wanted settings that the stack cannot take any more, in the order of the model."""
    facts = built.facts()
    for setting in every_setting():
        was, wanted = facts.get(setting.key, ""), _effective(settings, setting.key, text_of(settings, setting), facts)
        why = _why_not(setting, was, wanted, settings) if was else ""
        if why:
            yield Refused(setting.key, was, wanted or _OWN, why)


def _why_not(setting: Setting, was: str, wanted: str, settings: Settings) -> str:
    """What keeps a value; empty where nothing does."""
    if _is_refused(setting.once.kind, was, wanted):
        return f"{setting.once.why}. Instead: {setting.once.instead}"
    waits = setting.key == "database.engine_version" and not settings.database.apply_immediately
    return _MAJOR if waits and major_version(was) != major_version(wanted) else ""


def _effective(settings: Settings, key: str, text: str, facts: Mapping[str, str]) -> str:
    """What the program makes of a value that is left open, with the prefix that the stack has: another one is refused by itself."""
    prefix = facts.get("prefix") or settings.prefix
    if not text and key == "account":  # that of the credentials, which the stack file answers for
        return facts.get(key, "")
    if not text and key == "auth.hosted_domain":
        return user_pool_domain(prefix, settings.domain_name)
    if key == "database.identifier" and text == database_identifier(settings.prefix):
        return database_identifier(prefix)
    return audit_log_group(prefix) if not text and key == "audit.log_group" else text


def _is_refused(kind: str, was: str, wanted: str) -> bool:
    if kind == "only upwards":
        pairs = zip(was.split("."), wanted.split("."), strict=False)
        return next((int(new) < int(old) for old, new in pairs if new != old), False)
    if was.startswith(_OWN):  # a setting that names what is adopted: the stack's own may be named, nothing else
        return bool(wanted) and f"({wanted})" not in was
    return wanted != was
