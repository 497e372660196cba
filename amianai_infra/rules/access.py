"""Who may reach the database from outside, until when, and the steps that bring what is there to that. Pure.

A *door* is one address: a security-group rule and, in every private route table, a route to the internet gateway. The *flag* makes the
instance publicly reachable at all; it is shared, and stays until the last door is closed. Every one of these has a schedule of its own
that undoes it, made before it.

`docs/adr/` tells why it is done this way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from amianai_infra.naming import TAG_STACK, default_tags

PUBLIC = "public"
"""Name of the schedule that takes the flag away."""

LONGEST_HOURS = 12
"""What is open is open for a working day at most."""

TAG_ACCESS = "amianai:access"
_HOLDER = "amianai:open:"
_LONGEST_TAG_KEY = 128
_TARGET = "arn:aws:scheduler:::aws-sdk:"


def address_of(text: str) -> str:
    """A single public IPv4 address, as it is written.

    Raises:
        ValueError: it is none; a range, a private or a local address would open something else than the caller's own.
    """
    address = IPv4Address(text.strip().removesuffix("/32"))
    documentation = any(str(address).startswith(block) for block in ("192.0.2.", "198.51.100.", "203.0.113."))
    if address.is_multicast or not (address.is_global or documentation):
        raise ValueError(f"{address} is not an address of the internet")
    return str(address)


def person(arn: str) -> str:
    """Whose door it is, from the caller's ARN: `user/alice`, `Admin/alice@example.com` for an assumed role, `root`."""
    resource = arn.split(":", 5)[-1].removeprefix("assumed-role/")
    return re.sub(r"[^\w+\-=.:/@ ]", ".", resource, flags=re.ASCII)[: _LONGEST_TAG_KEY - len(_HOLDER)]


@dataclass(frozen=True)
class Door:
    """What was found of one address.

    Attributes:
        address: the IPv4 address.
        rule: id of the security group's rule; empty where there is none.
        holders: who opened it, and until when for each.
        rule_closes: when the rule's schedule fires; None where there is none.
        routes: tables that have a route to it.
        route_closes: when the schedule of each table's route fires.
        tagged: the holders as the rule's tags have them.
    """

    address: str
    rule: str = ""
    holders: Mapping[str, datetime] = field(default_factory=dict)
    rule_closes: datetime | None = None
    routes: frozenset[str] = frozenset()
    route_closes: Mapping[str, datetime] = field(default_factory=dict)
    tagged: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def until(self) -> datetime | None:
        """When the last who holds it has to be out."""
        return max(self.holders.values(), default=None)

    @property
    def ours(self) -> bool:
        """Whether it is known to be of our making: routes carry no tags, so that a route alone may be anybody's."""
        return bool(self.rule or self.rule_closes or self.route_closes)


@dataclass(frozen=True)
class Found:
    """Everything that was found.

    Attributes:
        doors: by address.
        public: whether the instance is publicly reachable.
        public_closes: when the flag's schedule fires.
    """

    doors: Mapping[str, Door] = field(default_factory=dict)
    public: bool = False
    public_closes: datetime | None = None

    @property
    def nothing(self) -> bool:
        """Whether all is as if nobody had ever opened it."""
        return not self.doors and not self.public and self.public_closes is None


@dataclass(frozen=True)
class Scope:
    """What may be opened.

    Attributes:
        group: the database's security group.
        port: its port.
        tables: route tables of the private subnets, which hold the database alone.
        gateway: the internet gateway.
        instance: the instance's identifier.
    """

    group: str
    port: int
    tables: Sequence[str]
    gateway: str
    instance: str


@dataclass(frozen=True)
class Schedule:
    """One undoing that AWS does at its time.

    Attributes:
        name: name within the group.
        at: when.
        service: `ec2` or `rds`, as the scheduler's universal targets name it.
        operation: the API operation.
        request: its parameters in the spelling of the Java SDK, which universal targets take (`DbInstanceIdentifier`).
        note: what the schedule's description holds: the holders of a door, as JSON.
    """

    name: str
    at: datetime
    service: str
    operation: str
    request: Mapping[str, Any]
    note: str = ""

    @property
    def target(self) -> str:
        """ARN of the universal target."""
        return f"{_TARGET}{self.service}:{self.operation}"

    @property
    def expression(self) -> str:
        """When, as the scheduler takes it; the time zone is UTC."""
        return f"at({self.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S})"

    def __str__(self) -> str:
        return f"schedule {self.name}: {self.operation} at {self.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def parse_expression(expression: str) -> datetime:
    """The time in `at(2026-11-23T20:30:00)`.

    Raises:
        ValueError: it is no one-time expression.
    """
    if not (expression.startswith("at(") and expression.endswith(")")):
        raise ValueError(f"{expression!r} is not at(...)")
    return datetime.fromisoformat(expression[3:-1]).replace(tzinfo=UTC)


def rule_schedule(scope: Scope, address: str, holders: Mapping[str, datetime]) -> Schedule:
    """Takes the rule of an address away when the last who holds it has to be out."""
    permission = {"IpProtocol": "tcp", "FromPort": scope.port, "ToPort": scope.port, "IpRanges": [{"CidrIp": f"{address}/32"}]}
    request = {"GroupId": scope.group, "IpPermissions": [permission]}
    return Schedule(rule_name(address), max(holders.values()), "ec2", "revokeSecurityGroupIngress", request, note_of(holders))


def route_schedule(scope: Scope, address: str, table: str, at: datetime) -> Schedule:
    """Takes the route to an address out of one table."""
    request = {"RouteTableId": table, "DestinationCidrBlock": f"{address}/32"}
    return Schedule(route_name(address, table), at, "ec2", "deleteRoute", request)


def public_schedule(scope: Scope, at: datetime) -> Schedule:
    """Takes the flag away."""
    request = {"DbInstanceIdentifier": scope.instance, "PubliclyAccessible": False, "ApplyImmediately": True}
    return Schedule(PUBLIC, at, "rds", "modifyDBInstance", request)


def termination(instance: str, at: datetime) -> Schedule:
    """Ends a bastion."""
    return Schedule(f"bastion-{instance}", at, "ec2", "terminateInstances", {"InstanceIds": [instance]})


def user_data(minutes: int) -> str:
    """What a bastion does when it starts: end itself in time."""
    return f"#!/bin/sh\nshutdown -h +{minutes}\n"


def bastion_tags(prefix: str) -> dict[str, str]:
    """The tags of a bastion, its disk and its network interface; policies name them."""
    return {"Name": f"{prefix}-bastion", TAG_ACCESS: "bastion", TAG_STACK: default_tags()[TAG_STACK]}


def rule_name(address: str) -> str:
    """Name of the schedule that takes the rule of an address away."""
    return f"rule-{address}"


def route_name(address: str, table: str) -> str:
    """Name of the schedule that takes the route to an address out of a table."""
    return f"route-{address}-{table}"


def parse_name(name: str) -> tuple[str, str, str]:
    """What a schedule of ours is for: `("rule", address, "")`, `("route", address, table)`, `("public", "", "")`; else empty."""
    kind, _, rest = name.partition("-")
    if name == PUBLIC:
        return PUBLIC, "", ""
    if kind == "rule":
        return kind, rest, ""
    address, _, table = rest.partition("-")
    return (kind, address, table) if kind == "route" and table else ("", "", "")


def note_of(holders: Mapping[str, datetime]) -> str:
    """The holders as a schedule's description keeps them: at most 512 characters, so the earliest are left out if need be."""
    kept = sorted(holders.items(), key=lambda holder: holder[1], reverse=True)
    while True:
        text = json.dumps({name: _stamp(until) for name, until in kept}, separators=(",", ":"))
        if len(text) <= 512 or len(kept) == 1:
            return text
        kept.pop()


def parse_note(text: str) -> dict[str, datetime]:
    """The holders in a schedule's description; none where it holds something else."""
    try:
        return {str(name): datetime.fromisoformat(until) for name, until in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def tags_of(holders: Mapping[str, datetime]) -> dict[str, str]:
    """The tags of a door's rule: that it is one, of which stack, and for each holder until when."""
    return {
        TAG_ACCESS: "door",
        TAG_STACK: default_tags()[TAG_STACK],
        **{f"{_HOLDER}{name}": _stamp(until) for name, until in sorted(holders.items())},
    }


def holders_in(tags: Mapping[str, str]) -> dict[str, datetime]:
    """The holders as a rule's tags have them."""
    found = {}
    for key, value in tags.items():
        if key.startswith(_HOLDER):
            try:
                found[key.removeprefix(_HOLDER)] = datetime.fromisoformat(value)
            except ValueError:
                continue
    return found


@dataclass(frozen=True)
class Put:
    """Make the schedule, or bring the one of its name to it."""

    schedule: Schedule

    def __str__(self) -> str:
        return str(self.schedule)


@dataclass(frozen=True)
class MakePublic:
    """Give the instance a public address, or take it away."""

    public: bool

    def __str__(self) -> str:
        return "give the instance a public address" if self.public else "take the instance's public address away"


@dataclass(frozen=True)
class AddRoute:
    """Let one table answer an address through the internet gateway."""

    address: str
    table: str

    def __str__(self) -> str:
        return f"add the route to {self.address}/32 in {self.table}"


@dataclass(frozen=True)
class AddRule:
    """Let an address in."""

    address: str
    holders: Mapping[str, datetime] = field(hash=False)

    def __str__(self) -> str:
        return f"let {self.address}/32 in, for {', '.join(sorted(self.holders))}"


@dataclass(frozen=True)
class TagRule:
    """Bring the tags of a door's rule to its holders."""

    address: str
    rule: str
    holders: Mapping[str, datetime] = field(hash=False)
    gone: frozenset[str] = frozenset()

    @property
    def removed(self) -> list[str]:
        """The tags that go."""
        return [f"{_HOLDER}{name}" for name in sorted(self.gone)]

    def __str__(self) -> str:
        return f"note who holds {self.address}: {', '.join(sorted(self.holders))}"


@dataclass(frozen=True)
class RemoveRule:
    """Let an address in no more."""

    address: str
    rule: str

    def __str__(self) -> str:
        return f"let {self.address}/32 in no more"


@dataclass(frozen=True)
class RemoveRoute:
    """Take the route to an address out of one table."""

    address: str
    table: str

    def __str__(self) -> str:
        return f"remove the route to {self.address}/32 from {self.table}"


@dataclass(frozen=True)
class Unschedule:
    """Delete a schedule whose work is done."""

    name: str

    def __str__(self) -> str:
        return f"delete the schedule {self.name}"


Action = Put | MakePublic | AddRoute | AddRule | TagRule | RemoveRule | RemoveRoute | Unschedule
OPENS = (MakePublic, AddRoute, AddRule)
"""What must not be done once its schedule has fired."""

Wish = Mapping[str, Mapping[str, datetime]]
"""Who is to hold each address, and until when."""


def to_open(found: Found, address: str, who: str, until: datetime, now: datetime) -> dict[str, dict[str, datetime]]:
    """What is wished when somebody opens: all that is in force, and this one, never shorter than before."""
    wish = in_force(found, now)
    mine = wish.setdefault(address, {})
    whole = until.replace(microsecond=0)  # what schedules and tags keep
    mine[who] = max(whole, mine.get(who, whole))
    return wish


def to_close(found: Found, who: str | None, now: datetime) -> dict[str, dict[str, datetime]]:
    """What is wished when somebody closes what is theirs, or (with None) everybody's."""
    if who is None:
        return {}
    left = {address: {name: until for name, until in holders.items() if name != who} for address, holders in in_force(found, now).items()}
    return {address: holders for address, holders in left.items() if holders}


def to_leave(found: Found, address: str, who: str, now: datetime) -> dict[str, dict[str, datetime]]:
    """What is wished when somebody gives one address up."""
    wish = in_force(found, now)
    wish.get(address, {}).pop(who, None)
    return {one: holders for one, holders in wish.items() if holders}


def in_force(found: Found, now: datetime) -> dict[str, dict[str, datetime]]:
    """Every door's holders whose time is not over; a door without any is over itself."""
    held = {address: {name: until for name, until in door.holders.items() if until > now} for address, door in found.doors.items()}
    return {address: holders for address, holders in held.items() if holders}


def plan(found: Found, wish: Wish, scope: Scope, *, opened: str | None = None, everything: bool = False) -> list[Action]:
    """The steps from what was found to what is wished, in an order that may stop anywhere.

    Opening: first every schedule, then the flag and the routes, the rule last, so that nothing is open that does not close by itself.
    Closing: first the rule, then routes and flag, the schedules last, so that what is left undone is undone by them.
    Doors of others are closed when their time is over, but never opened: only the one that is being opened is completed.

    Args:
        found: what there is.
        wish: who is to hold which address.
        scope: what may be opened.
        opened: the address that is being opened; None while closing.
        everything: also remove routes of which nothing tells that they are ours.
    """
    over = [door for address, door in sorted(found.doors.items()) if address not in wish and (door.ours or everything)]
    steps: list[Action] = [*_schedules(found, wish, scope, opened)]
    if opened is not None:
        steps += _opening(found, wish[opened], scope, opened)
    steps += _changed_holders(found, wish)
    steps += [step for door in over for step in _closing(door)]
    if not wish and found.public:
        steps.append(MakePublic(False))
    steps += [Unschedule(name) for door in over for name in _scheduled(door)]
    if not wish and found.public_closes is not None:
        steps.append(Unschedule(PUBLIC))
    return steps


def _schedules(found: Found, wish: Wish, scope: Scope, opened: str | None) -> Iterator[Action]:
    for address, holders in sorted(wish.items()):
        door = found.doors.get(address, Door(address))
        until = max(holders.values())
        if door.rule_closes != until or dict(door.holders) != parse_note(note_of(holders)):
            yield Put(rule_schedule(scope, address, holders))
        tables = scope.tables if address == opened else sorted(door.routes | door.route_closes.keys())
        for table in tables:
            if door.route_closes.get(table) != until:
                yield Put(route_schedule(scope, address, table, until))
    last = max((until for holders in wish.values() for until in holders.values()), default=None)
    if last is not None and found.public_closes != last:
        yield Put(public_schedule(scope, last))


def _opening(found: Found, holders: Mapping[str, datetime], scope: Scope, address: str) -> Iterator[Action]:
    door = found.doors.get(address, Door(address))
    if not found.public:
        yield MakePublic(True)
    for table in scope.tables:
        if table not in door.routes:
            yield AddRoute(address, table)
    if not door.rule:
        yield AddRule(address, dict(holders))


def _changed_holders(found: Found, wish: Wish) -> Iterator[Action]:
    for address, holders in sorted(wish.items()):
        door = found.doors.get(address)
        if door is not None and door.rule and dict(door.tagged) != dict(holders):
            yield TagRule(address, door.rule, dict(holders), frozenset(door.tagged.keys() - holders.keys()))


def _closing(door: Door) -> Iterator[Action]:
    if door.rule:
        yield RemoveRule(door.address, door.rule)
    for table in sorted(door.routes):
        yield RemoveRoute(door.address, table)


def _scheduled(door: Door) -> Iterator[str]:
    if door.rule_closes is not None:
        yield rule_name(door.address)
    for table in sorted(door.route_closes):
        yield route_name(door.address, table)


def warnings(found: Found, now: datetime) -> list[str]:
    """What does not close by itself any more, one sentence each."""
    said = []
    for address, door in sorted(found.doors.items()):
        if door.rule and (door.rule_closes is None or door.rule_closes < now):
            said.append(f"the rule for {address} has no schedule that removes it")
        said += [
            f"the route to {address} in {table} has no schedule that removes it"
            for table in sorted(door.routes)
            if door.route_closes.get(table) is None or door.route_closes[table] < now
        ]
    if found.public and (found.public_closes is None or found.public_closes < now):
        said.append("the instance has a public address, and no schedule takes it away")
    return said
