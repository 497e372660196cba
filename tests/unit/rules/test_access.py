"""The plan that opens and closes: what it wishes, and that it may stop anywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.naming import TAG_STACK
from amianai_infra.rules import access
from amianai_infra.rules.access import Door, Found, Scope

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
SCOPE = Scope("sg-1", 5432, ("rtb-1", "rtb-2"), "igw-1", "eeyore-postgres")
HOME, WORK = "203.0.113.7", "198.51.100.9"


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


class World:
    """What there is, as the steps change it."""

    def __init__(self) -> None:
        self.rules: dict[str, dict[str, datetime]] = {}
        self.routes: set[tuple[str, str]] = set()
        self.schedules: dict[str, access.Schedule] = {}
        self.public = False

    def found(self) -> Found:
        addresses = {*self.rules, *(address for address, _ in self.routes), *(access.parse_name(name)[1] for name in self.schedules)} - {""}
        doors = {}
        for address in addresses:
            rule = self.schedules.get(access.rule_name(address))
            tagged = self.rules.get(address, {})
            doors[address] = Door(
                address,
                f"sgr-{address}" if address in self.rules else "",
                access.parse_note(rule.note) if rule else tagged,
                rule.at if rule else None,
                frozenset(table for other, table in self.routes if other == address),
                {access.parse_name(name)[2]: one.at for name, one in self.schedules.items() if name.startswith(f"route-{address}-")},
                tagged,
            )
        flag = self.schedules.get(access.PUBLIC)
        return Found(doors, self.public, flag.at if flag else None)

    def perform(self, step: access.Action) -> None:
        match step:
            case access.Put():
                self.schedules[step.schedule.name] = step.schedule
            case access.Unschedule():
                self.schedules.pop(step.name, None)
            case access.MakePublic():
                self.public = step.public
            case access.AddRoute():
                self.routes.add((step.address, step.table))
            case access.RemoveRoute():
                self.routes.discard((step.address, step.table))
            case access.AddRule():
                self.rules[step.address] = dict(step.holders)
            case access.TagRule():
                self.rules[step.address] = dict(step.holders)
            case access.RemoveRule():
                self.rules.pop(step.address, None)

    def guarded(self) -> None:
        """Everything that is open has a schedule that closes it."""
        for address in self.rules:
            assert access.rule_name(address) in self.schedules
        for address, table in self.routes:
            assert access.route_name(address, table) in self.schedules
        assert not self.public or access.PUBLIC in self.schedules

    def fire(self, now: datetime) -> None:
        """What AWS does by itself until then."""
        for name, one in list(self.schedules.items()):
            if one.at > now:
                continue
            kind, address, table = access.parse_name(name)
            if kind == "rule":
                self.rules.pop(address, None)
            elif kind == "route":
                self.routes.discard((address, table))
            else:
                self.public = False
            del self.schedules[name]

    @property
    def closed(self) -> bool:
        return not (self.rules or self.routes or self.schedules or self.public)


def opening(world: World, address: str, who: str, until: datetime, now: datetime = NOW) -> list[access.Action]:
    found = world.found()
    return access.plan(found, access.to_open(found, address, who, until, now), SCOPE, opened=address)


def closing(world: World, who: str | None, now: datetime = NOW) -> list[access.Action]:
    found = world.found()
    return access.plan(found, access.to_close(found, who, now), SCOPE, everything=who is None)


def run(world: World, steps: list[access.Action], stop: int | None = None) -> None:
    for step in steps[:stop]:
        world.perform(step)
        world.guarded()


def opened(world: World, address: str = HOME, who: str = "user/alice", minutes: float = 30) -> World:
    run(world, opening(world, address, who, at(minutes)))
    return world


def test_everything_is_scheduled_before_anything_is_opened_and_the_rule_comes_last() -> None:
    steps = opening(World(), HOME, "user/alice", at(30))
    kinds = [type(step).__name__ for step in steps]
    assert kinds == ["Put"] * 4 + ["MakePublic", "AddRoute", "AddRoute", "AddRule"]
    assert {step.schedule.name for step in steps if isinstance(step, access.Put)} == {
        "rule-203.0.113.7",
        "route-203.0.113.7-rtb-1",
        "route-203.0.113.7-rtb-2",
        "public",
    }


def test_the_rule_goes_first_and_the_schedules_last() -> None:
    kinds = [type(step).__name__ for step in closing(opened(World()), "user/alice")]
    assert kinds == ["RemoveRule", "RemoveRoute", "RemoveRoute", "MakePublic"] + ["Unschedule"] * 4


def test_nothing_is_planned_twice() -> None:
    world = opened(World())
    assert opening(world, HOME, "user/alice", at(30)) == []
    assert opening(world, HOME, "user/alice", at(10)) == [], "never shorter"
    run(world, closing(world, "user/alice"))
    assert world.closed
    assert closing(world, "user/alice") == []


def test_opening_again_extends_everything() -> None:
    world = opened(World())
    steps = opening(world, HOME, "user/alice", at(90))
    assert [type(step).__name__ for step in steps] == ["Put"] * 4 + ["TagRule"]
    run(world, steps)
    assert {one.at for one in world.schedules.values()} == {at(90)}
    assert world.rules == {HOME: {"user/alice": at(90)}}


def test_a_second_person_has_an_own_door_and_the_flag_stays_for_the_last() -> None:
    world = opened(opened(World()), WORK, "user/bob", 60)
    assert world.rules == {HOME: {"user/alice": at(30)}, WORK: {"user/bob": at(60)}}
    assert world.schedules["public"].at == at(60)
    assert world.schedules[access.rule_name(HOME)].at == at(30)
    run(world, closing(world, "user/bob"))
    assert list(world.rules) == [HOME]
    assert world.public
    assert world.schedules["public"].at == at(30)
    run(world, closing(world, "user/alice"))
    assert world.closed


def test_two_people_behind_one_address_share_a_door_until_the_last() -> None:
    world = opened(opened(World()), HOME, "user/bob", 60)
    assert world.rules == {HOME: {"user/alice": at(30), "user/bob": at(60)}}
    run(world, closing(world, "user/bob"))
    assert world.rules == {HOME: {"user/alice": at(30)}}
    assert {one.at for one in world.schedules.values()} == {at(30)}
    run(world, closing(world, "user/alice"))
    assert world.closed


def test_what_is_over_is_closed_by_whoever_comes_next() -> None:
    """As where a schedule failed, or fires without doing anything."""
    world = opened(World())
    later = at(45)
    run(world, opening(world, WORK, "user/bob", at(90), later))
    assert list(world.rules) == [WORK]
    assert {address for address, _ in world.routes} == {WORK}


def test_what_others_began_is_neither_finished_nor_undone() -> None:
    world = World()
    run(world, opening(world, HOME, "user/alice", at(30)), stop=6)
    assert not world.rules
    run(world, opening(world, WORK, "user/bob", at(60)))
    assert list(world.rules) == [WORK], "alice's rule is for alice to add"
    assert (HOME, "rtb-1") in world.routes
    run(world, closing(world, "user/bob"))
    assert access.rule_name(HOME) in world.schedules
    assert world.public, "until alice's time is over"
    world.fire(at(31))
    assert world.closed


def test_routes_that_may_be_anybodys_are_left_alone_unless_everything_goes() -> None:
    world = World()
    world.routes.add(("192.0.2.1", "rtb-1"))
    assert closing(world, "user/alice") == []
    assert not any("192.0.2.1" in str(step) for step in opening(world, HOME, "user/alice", at(30)))
    assert closing(world, None) == [access.RemoveRoute("192.0.2.1", "rtb-1")]


def test_a_flag_that_nothing_takes_away_goes_with_the_next_close() -> None:
    world = World()
    world.public = True
    assert closing(world, "user/alice") == [access.MakePublic(False)]


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "all", "wait"]),
        st.sampled_from([HOME, WORK]),
        st.sampled_from(["user/alice", "Role/bob@example.com"]),
        st.integers(5, 90),
        st.one_of(st.none(), st.integers(0, 12)),
    ),
    max_size=12,
)


@given(ACTS)
def test_whatever_happens_and_wherever_it_is_killed_it_ends_closed(acts: list[Any]) -> None:
    """After any history, with kills between any two steps, everything that is open closes by itself, and by `close` as well."""
    world, now = World(), NOW
    for act, address, who, minutes, stop in acts:
        if act == "wait":
            now += timedelta(minutes=minutes)
            world.fire(now)
        elif act == "open":
            run(world, opening(world, address, who, now + timedelta(minutes=minutes), now), stop)
        else:
            run(world, closing(world, who if act == "close" else None, now), stop)
        world.guarded()
    other = World()
    other.rules, other.routes, other.schedules = dict(world.rules), set(world.routes), dict(world.schedules)
    other.public = world.public
    run(world, closing(world, None, now))
    assert world.closed
    other.fire(now + timedelta(days=2))
    assert other.closed


@given(st.integers(0, 12), st.integers(0, 12))
def test_closing_what_was_opened_in_part_leaves_nothing(first: int, second: int) -> None:
    world = World()
    run(world, opening(world, HOME, "user/alice", at(30)), first)
    run(world, closing(world, "user/alice"), second)
    run(world, closing(world, "user/alice"))
    assert world.closed


def test_warnings_name_what_stays_open() -> None:
    door = Door(HOME, "sgr-1", {}, at(-5), frozenset({"rtb-1", "rtb-2"}), {"rtb-1": at(5)})
    said = access.warnings(Found({HOME: door}, public=True), NOW)
    assert len(said) == 3
    assert access.warnings(opened(World()).found(), NOW) == []


@pytest.mark.parametrize("text", ["203.0.113.7", " 203.0.113.7/32 ", "8.8.8.8", "198.51.100.1", "192.0.2.200"])
def test_addresses(text: str) -> None:
    assert access.address_of(text) == text.strip().removesuffix("/32")


@pytest.mark.parametrize(
    "text", ["", "0.0.0.0", "10.0.0.1", "127.0.0.1", "203.0.113.0/24", "::1", "example.com", "169.254.0.1", "224.0.0.1"]
)
def test_what_is_no_single_public_address(text: str) -> None:
    with pytest.raises(ValueError):
        access.address_of(text)


@pytest.mark.parametrize(
    ("arn", "who"),
    [
        ("arn:aws:iam::123456789012:user/alice", "user/alice"),
        ("arn:aws:sts::123456789012:assumed-role/Admin/alice@example.com", "Admin/alice@example.com"),
        ("arn:aws:iam::123456789012:root", "root"),
        ("arn:aws:iam::123456789012:user/a,b", "user/a.b"),
    ],
)
def test_people(arn: str, who: str) -> None:
    assert access.person(arn) == who
    tags = access.tags_of({who: NOW})
    assert tags[TAG_STACK] == "amianai-infra/prod"
    assert access.holders_in(tags) == {who: NOW}


def test_long_names_stay_within_what_tags_and_schedules_take() -> None:
    people = {access.person(f"arn:aws:iam::1:user/{letter * 300}"): at(index) for index, letter in enumerate("abcdefghij")}
    assert all(len(key) <= 128 for key in access.tags_of(people))
    note = access.note_of(people)
    assert len(note) <= 512
    assert max(access.parse_note(note).values()) == at(9), "the last to leave is never forgotten"
    assert len(access.route_name("255.255.255.255", "rtb-0123456789abcdef0")) <= 64


@pytest.mark.parametrize("name", ["", "rule", "route-1.2.3.4", "bastion-i-1", "something", "public-2"])
def test_names_of_others(name: str) -> None:
    assert access.parse_name(name)[0] in ("", "rule")


def test_expressions() -> None:
    schedule = access.public_schedule(SCOPE, at(30))
    assert schedule.expression == "at(2026-11-23T20:30:00)"
    assert access.parse_expression(schedule.expression) == at(30)
    with pytest.raises(ValueError, match="not at"):
        access.parse_expression("rate(1 hour)")
    assert access.parse_note("nonsense") == access.parse_note("[1]") == access.parse_note('{"a": 1}') == {}
