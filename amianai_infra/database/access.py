"""Opening the database to one address for a while, and closing it again.

What there is and what is wished make a plan (`rules.access`); here it is looked at and carried out. Every step may be the last one before
this machine dies: what is open then has a schedule inside AWS that closes it.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import singledispatchmethod
from typing import Any

from amianai_infra.database.schedules import Schedules
from amianai_infra.errors import AmianaiError, ConfigurationError, NotFoundError, UnreachableError
from amianai_infra.outputs import StackOutputs
from amianai_infra.progress import Progress
from amianai_infra.rules import access as rules
from amianai_infra.target import Target, aws_error

CHECK_IP = "checkip.amazonaws.com"
_ROUNDS = 5
_FLAG_SECONDS = 900.0
# A schedule fires within a minute of its time. What is opened after it has fired stays open.
_LEAST_LEFT = timedelta(minutes=1)


class TooLateError(AmianaiError):
    """Opening took so long that what closes it again would have been over."""


@dataclass(frozen=True)
class Opened:
    """What `open` or `close` did.

    Attributes:
        steps: every step, in order.
        found: what there is now.
    """

    steps: Sequence[rules.Action]
    found: rules.Found


@dataclass(frozen=True)
class Tools:
    """What tests bring themselves: time and the way it passes."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


@dataclass
class _State:
    """What is gathered about each address."""

    doors: dict[str, rules.Door] = field(default_factory=dict)

    def change(self, address: str, **changes: Any) -> None:
        self.doors[address] = replace(self.doors.get(address, rules.Door(address)), **changes)

    def door(self, address: str) -> rules.Door:
        return self.doors.get(address, rules.Door(address))


class Access:
    """The doors of one stack's database.

    Args:
        target: where.
        outputs: of which stack.
        tools: clock and sleep.

    Raises:
        NotFoundError: the stack was built before there was such a thing.
    """

    def __init__(self, target: Target, outputs: StackOutputs, tools: Tools | None = None) -> None:
        if not outputs.access.schedule_group:
            raise NotFoundError("The stack does not have what opens and closes the database yet.", fix="run `amianai up`, which makes it")
        self._ec2, self._rds = target.client("ec2"), target.client("rds")
        self.schedules = Schedules(target.client("scheduler"), outputs.access)
        self._tools = tools or Tools()
        self.scope = rules.Scope(
            group=outputs.database.security_group_id,
            port=outputs.database.port,
            tables=tuple(outputs.network.private_route_table_ids),
            gateway=outputs.network.internet_gateway_id,
            instance=outputs.database.identifier,
        )

    # -- what there is

    def find(self) -> rules.Found:
        """Look at rules, routes, flag and schedules."""
        with _translated("looking at what is open"):
            state = _State()
            self._find_rules(state)
            self._find_routes(state)
            public_closes = self._find_schedules(state)
            return rules.Found(state.doors, bool(self._instance()["PubliclyAccessible"]), public_closes)

    def _find_rules(self, state: _State) -> None:
        filters = [{"Name": "group-id", "Values": [self.scope.group]}]
        for page in self._ec2.get_paginator("describe_security_group_rules").paginate(Filters=filters):
            for one in page["SecurityGroupRules"]:
                tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])}
                cidr = one.get("CidrIpv4", "")
                if rules.TAG_ACCESS in tags and not one["IsEgress"] and cidr.endswith("/32"):
                    tagged = rules.holders_in(tags)
                    state.change(cidr.removesuffix("/32"), rule=one["SecurityGroupRuleId"], tagged=tagged, holders=tagged)

    def _find_routes(self, state: _State) -> None:
        tables = self._ec2.describe_route_tables(RouteTableIds=list(self.scope.tables))["RouteTables"]
        for table in tables:
            for route in table.get("Routes", []):
                cidr = route.get("DestinationCidrBlock", "")
                if route.get("GatewayId") == self.scope.gateway and cidr.endswith("/32"):
                    address = cidr.removesuffix("/32")
                    state.change(address, routes=state.door(address).routes | {table["RouteTableId"]})

    def _find_schedules(self, state: _State) -> datetime | None:
        public: datetime | None = None
        for kept in self.schedules.all():
            kind, address, table = rules.parse_name(kept.name)
            if kind == rules.PUBLIC:
                public = kept.at
            elif kind == "rule":
                # The schedule counts, not the tags: it is changed first.
                state.change(address, rule_closes=kept.at, holders=rules.parse_note(kept.note))
            elif kind == "route":
                state.change(address, route_closes={**state.door(address).route_closes, table: kept.at})
        return public

    def _instance(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._rds.describe_db_instances(DBInstanceIdentifier=self.scope.instance)["DBInstances"][0]
        return found

    # -- what is done

    def plan_open(self, address: str, who: str, until: datetime) -> list[rules.Action]:
        """The steps that `open` would take."""
        self._require_time(until)
        found = self.find()
        return rules.plan(found, rules.to_open(found, address, who, until, self._tools.now()), self.scope, opened=address)

    def plan_close(self, who: str | None) -> list[rules.Action]:
        """The steps that `close` would take."""
        found = self.find()
        return rules.plan(found, rules.to_close(found, who, self._tools.now()), self.scope, everything=who is None)

    def open(self, address: str, who: str, until: datetime, progress: Progress | None = None) -> Opened:
        """Let an address in until a time; opening again extends.

        What RDS takes for the public address is added to the time.

        Raises:
            TooLateError: what closes it would have been over before it was open; what was opened is closed again.
        """
        self._require_time(until)

        def take(step: rules.Action) -> bool:
            nonlocal until
            before = self._tools.now()
            if isinstance(step, rules.OPENS) and step != rules.MakePublic(False):
                self._require_time(until)
            self.perform(step)
            if step != rules.MakePublic(True):
                return True
            self._require_time(until)  # else what takes the address away again is under way
            until += self._tools.now() - before
            return False

        try:
            return self._settle(lambda: self.plan_open(address, who, until), progress, take)
        except TooLateError:
            self._settle(lambda: self._plan_leave(address, who), progress, self._taken)
            raise

    def close(self, who: str | None, progress: Progress | None = None) -> Opened:
        """Undo what somebody opened, or (with None) everything."""
        return self._settle(lambda: self.plan_close(who), progress, self._taken)

    def _plan_leave(self, address: str, who: str) -> list[rules.Action]:
        found = self.find()
        return rules.plan(found, rules.to_leave(found, address, who, self._tools.now()), self.scope)

    def _require_time(self, until: datetime) -> None:
        if self._tools.now() >= until - _LEAST_LEFT:
            raise TooLateError(
                "The database's access would end before it begins; what was opened is closed again.",
                where=f"until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
                fix="run the command again with a longer time, for example `--for 30m`",
            )

    def _taken(self, step: rules.Action) -> bool:
        self.perform(step)
        return True

    def _settle(self, plan: Callable[[], list[rules.Action]], progress: Progress | None, take: Callable[[rules.Action], bool]) -> Opened:
        """Carry the plan out and look again: others may open and close at the same time, and schedules fire.

        What takes a step says whether the plan still holds after it.
        """
        done: list[rules.Action] = []
        for _ in range(_ROUNDS):
            steps = plan()
            if not steps:
                return Opened(done, self.find())
            for step in steps:
                if progress is not None:
                    progress.detail(str(step))
                with _translated(str(step)):
                    holds = take(step)
                done.append(step)
                if not holds:
                    break
        raise AmianaiError(
            "The database's access keeps changing while it is being changed.",
            where="; ".join(str(step) for step in steps),
            fix="see `amianai status` for who else is at it, then run the command again",
        )

    @singledispatchmethod
    def perform(self, step: Any) -> None:
        """Take one step. One that is done already is no error: somebody else, or a schedule, was faster."""
        raise NotImplementedError(step)

    @perform.register
    def _(self, step: rules.Put) -> None:
        self.schedules.put(step.schedule)

    @perform.register
    def _(self, step: rules.Unschedule) -> None:
        self.schedules.delete(step.name)

    @perform.register
    def _(self, step: rules.AddRule) -> None:
        with _unless("InvalidPermission.Duplicate"):
            self._ec2.authorize_security_group_ingress(
                GroupId=self.scope.group,
                IpPermissions=[self._permission(step)],
                TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": _tags(rules.tags_of(step.holders))}],
            )

    def _permission(self, step: rules.AddRule) -> dict[str, Any]:
        said = f"opened by {', '.join(sorted(step.holders))}"[:255]
        ranges = [{"CidrIp": f"{step.address}/32", "Description": said}]
        return {"IpProtocol": "tcp", "FromPort": self.scope.port, "ToPort": self.scope.port, "IpRanges": ranges}

    @perform.register
    def _(self, step: rules.TagRule) -> None:
        if step.removed:
            self._ec2.delete_tags(Resources=[step.rule], Tags=[{"Key": key} for key in step.removed])
        self._ec2.create_tags(Resources=[step.rule], Tags=_tags(rules.tags_of(step.holders)))

    @perform.register
    def _(self, step: rules.RemoveRule) -> None:
        with _unless("InvalidSecurityGroupRuleId.NotFound", "InvalidPermission.NotFound"):
            self._ec2.revoke_security_group_ingress(GroupId=self.scope.group, SecurityGroupRuleIds=[step.rule])

    @perform.register
    def _(self, step: rules.AddRoute) -> None:
        with _unless("RouteAlreadyExists"):
            self._ec2.create_route(RouteTableId=step.table, DestinationCidrBlock=f"{step.address}/32", GatewayId=self.scope.gateway)

    @perform.register
    def _(self, step: rules.RemoveRoute) -> None:
        with _unless("InvalidRoute.NotFound"):
            self._ec2.delete_route(RouteTableId=step.table, DestinationCidrBlock=f"{step.address}/32")

    @perform.register
    def _(self, step: rules.MakePublic) -> None:
        """RDS takes a minute or two, and refuses while it is busy with another change."""
        deadline = self._tools.now().timestamp() + _FLAG_SECONDS
        asked = False
        while True:
            found = self._instance()
            if found["DBInstanceStatus"] == "available" and found["PubliclyAccessible"] == step.public:
                return
            if found["DBInstanceStatus"] == "available" and not asked:
                asked = self._set_flag(step.public)
                continue
            if self._tools.now().timestamp() > deadline:
                raise UnreachableError(
                    "RDS has not changed the instance's public address in time.",
                    where=f"{self.scope.instance} is {found['DBInstanceStatus']}",
                    fix="run the command again; `amianai status` shows the instance",
                )
            self._tools.sleep(5)

    def _set_flag(self, public: bool) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._rds.modify_db_instance(DBInstanceIdentifier=self.scope.instance, PubliclyAccessible=public, ApplyImmediately=True)
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidDBInstanceState":
                raise
            return False
        return True


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@contextmanager
def _unless(*codes: str) -> Iterator[None]:
    """Let these errors pass."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, doing) from error


def own_address(host: str = CHECK_IP, timeout: float = 10) -> str:
    """The caller's public IPv4 address, as AWS sees it, asked over verified TLS.

    Raises:
        UnreachableError: nobody answered, or with something else than an address of the internet.
    """
    connection = http.client.HTTPSConnection(host, timeout=timeout, context=ssl.create_default_context())
    fix = "name your address yourself: --address 203.0.113.7"
    try:
        connection.request("GET", "/", headers={"User-Agent": "amianai"})
        answer = connection.getresponse()
        text = answer.read(200).decode("ascii", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError("Your public address could not be found out.", where=f"https://{host}/: {error}", fix=fix) from error
    finally:
        connection.close()
    try:
        return rules.address_of(text)
    except ValueError as error:
        raise UnreachableError(
            "Your public address could not be found out.", where=f"https://{host}/ said {text[:40]!r}", fix=fix
        ) from error


def given_address(text: str) -> str:
    """An address that a person typed.

    Raises:
        ConfigurationError: it is no single public IPv4 address.
    """
    try:
        return rules.address_of(text)
    except ValueError as error:
        raise ConfigurationError(f"--address {text}: {error}.", fix="give one public IPv4 address, for example 203.0.113.7") from error


def wait_reachable(host: str, port: int, tools: Tools | None = None, seconds: float = 300) -> float:
    """Wait until the database takes connections from here; gives the seconds it took.

    Raises:
        UnreachableError: it did not in time.
    """
    import socket

    tools = tools or Tools()
    started = tools.now()
    while True:
        waited = (tools.now() - started).total_seconds()
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError as error:
            if waited > seconds:
                raise UnreachableError(
                    "The database is open, and does not answer from here.",
                    where=f"{host}:{port}: {error}",
                    fix="the name may still lead to the private address: try again in a minute; or your network lets no such port out",
                ) from error
        else:
            return waited
        tools.sleep(3)


def describe(found: rules.Found, now: datetime) -> list[str]:
    """What is open, for whom and until when, and what does not close by itself: one line each."""
    lines = []
    for address, door in sorted(found.doors.items()):
        held = ", ".join(f"{who} until {moment(until, now)}" for who, until in sorted(door.holders.items()))
        lines.append(f"{address}: {held or 'nobody'}{'' if door.rule and found.public else ' (not open now: `db open` opens it)'}")
    return [*lines, *(f"WARNING: {text}" for text in rules.warnings(found, now))]


def moment(at: datetime, now: datetime) -> str:
    """`21:30 UTC (in 12 min)`."""
    left = (at - now).total_seconds() / 60
    when = f"{at.astimezone(UTC):%H:%M}" if at.date() == now.date() else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
    return f"{when} UTC ({f'in {left:.0f} min' if left >= 0 else f'{-left:.0f} min ago'})"
