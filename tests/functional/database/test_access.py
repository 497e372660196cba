"""Opening and closing against the emulator: real rules, routes, flag and schedules, killed between any two steps.

What this cannot show: that AWS takes minutes for the flag, and that EventBridge Scheduler calls what its schedules say. The latter are
read, checked against botocore's models in the spelling of the Java SDK, and carried out by the test.
"""

from __future__ import annotations

import json
import random
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from amianai_infra.cli import db_access
from amianai_infra.cli.main import cli
from amianai_infra.cli.options import App
from amianai_infra.config import load_settings
from amianai_infra.database.access import Access, Tools, describe
from amianai_infra.database.audit import Trail
from amianai_infra.errors import AmianaiError, ConfigurationError, NotFoundError, UnreachableError
from amianai_infra.operations import status
from amianai_infra.outputs import AccessOutputs, NetworkOutputs, StackOutputs
from amianai_infra.rules import access as rules
from amianai_infra.sandbox import SandboxTarget
from tests.cloud import fire
from tests.database import DOMAIN, Database
from tests.functional.database.conftest import NewDatabase

HOME, WORK = "203.0.113.7", "198.51.100.9"
ALICE, BOB = "user/alice", "Admin/bob@example.com"
START = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
"""So far ahead that the emulator, which goes by the real time, fires none of these schedules itself."""


class Killed(BaseException):
    """As kill -9: nothing of the program runs any more."""


@dataclass
class Place:
    """One stack's network and instance in the emulator, and a clock."""

    target: SandboxTarget
    outputs: StackOutputs
    now: datetime = START

    def access(self, stop: int | None = None) -> Access:
        """What opens and closes; dies before its `stop`-th step."""
        made = Access(self.target, self.outputs, Tools(lambda: self.now, lambda _: None))
        if stop is not None:
            perform, left = made.perform, iter(range(stop))

            def mortal(step: Any) -> None:
                if next(left, None) is None:
                    raise Killed
                perform(step)

            made.perform = mortal
        return made

    def look(self) -> dict[str, Any]:
        """Everything that opening touches, as an outsider sees it."""
        ec2, network = self.target.client("ec2"), self.outputs.network
        group = [{"Name": "group-id", "Values": [self.outputs.database.security_group_id]}]
        listed = ec2.describe_security_group_rules(Filters=group)["SecurityGroupRules"]
        tables = ec2.describe_route_tables(RouteTableIds=network.private_route_table_ids)["RouteTables"]
        instance = self.target.client("rds").describe_db_instances(DBInstanceIdentifier=self.outputs.database.identifier)["DBInstances"][0]
        schedules = self.target.client("scheduler").list_schedules(GroupName=self.outputs.access.schedule_group)["Schedules"]
        return {
            "rules": sorted((rule.get("CidrIpv4"), rule.get("FromPort")) for rule in listed if not rule["IsEgress"]),
            "routes": sorted((table["RouteTableId"], route["DestinationCidrBlock"]) for table in tables for route in table["Routes"]),
            "public": instance["PubliclyAccessible"],
            "schedules": sorted(one["Name"] for one in schedules),
        }

    def fire(self, minutes: float) -> list[str]:
        """Let time pass; AWS does what is due."""
        self.now += timedelta(minutes=minutes)
        return fire(self.target, self.outputs.access.schedule_group, self.now)

    def until(self, minutes: float) -> datetime:
        return self.now + timedelta(minutes=minutes)


@pytest.fixture(scope="module")
def network(make_database: NewDatabase) -> Iterator[Database]:
    """A network with one private instance in it, as the stack makes it."""
    database = make_database()
    ec2, rds, mark = database.target.client("ec2"), database.target.client("rds"), secrets.token_hex(3)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    tables = [ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2)]
    group = ec2.create_security_group(GroupName=f"db-{mark}", Description="database", VpcId=vpc)["GroupId"]
    inside = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "10.0.10.0/24"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[inside])
    rds.create_db_instance(
        DBInstanceIdentifier=f"eeyore-{mark}", Engine="postgres", DBInstanceClass="db.t3.micro", AllocatedStorage=20,
        MasterUsername="u", MasterUserPassword="password-1", PubliclyAccessible=False,
    )  # fmt: skip
    schedules = f"eeyore-{mark}"
    database.target.client("scheduler").create_schedule_group(Name=schedules)
    database.target.client("logs").create_log_group(logGroupName=f"/eeyore/{mark}/audit")
    outputs = database.outputs.model_copy(
        {
            "database": database.outputs.database.model_copy({"identifier": f"eeyore-{mark}", "security_group_id": group}),
            "network": NetworkOutputs(vpc, gateway, ["subnet-3"], ["subnet-1", "subnet-2"], tables),
            "audit_log_group": f"/eeyore/{mark}/audit",
            "access": AccessOutputs(
                schedules, "arn:aws:iam::000000000000:role/eeyore-database-closer", "arn:aws:sqs:us-east-1:000000000000:failed"
            ),
        }
    )
    yield Database(database.target, outputs)
    rds.delete_db_instance(DBInstanceIdentifier=f"eeyore-{mark}", SkipFinalSnapshot=True)


@pytest.fixture
def place(network: Database) -> Iterator[Place]:
    """The network, closed before and after."""
    made = Place(network.target, network.outputs)
    yield made
    made.access().close(None)


STEPS = 8  # four schedules, flag, two routes, rule


def test_open_and_close_leave_what_was_there(place: Place) -> None:
    before = place.look()
    done = place.access().open(HOME, ALICE, place.until(30))
    assert len(done.steps) == STEPS
    opened = place.look()
    assert (f"{HOME}/32", place.outputs.database.port) in opened["rules"]
    assert [route for _, route in opened["routes"]].count(f"{HOME}/32") == 2
    assert opened["public"] is True
    assert place.access().close(ALICE).found.nothing
    assert place.look() == before


def test_after_its_time_everything_is_as_it_was(place: Place) -> None:
    before = place.look()
    place.access().open(HOME, ALICE, place.until(30))
    assert place.fire(29) == []
    assert place.look()["public"] is True
    assert place.fire(2) == [], "every call succeeds, in the spelling that AWS wants"
    assert place.look() == before


@pytest.mark.parametrize("stop", range(STEPS + 1))
def test_killed_while_opening_it_closes_by_itself_and_by_hand(place: Place, stop: int) -> None:
    before = place.look()
    for undo in (lambda: place.access().close(ALICE), lambda: place.fire(31)):
        try:
            place.access(stop).open(HOME, ALICE, place.until(30))
        except Killed:
            assert stop < STEPS
        undo()
        assert place.look() == before


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 6])
def test_killed_while_closing_it_closes_by_itself_and_by_hand(place: Place, stop: int) -> None:
    before = place.look()
    for undo in (lambda: place.access().close(ALICE), lambda: place.fire(31)):
        place.access().open(HOME, ALICE, place.until(30))
        try:
            place.access(stop).close(ALICE)
        except Killed:
            assert stop < STEPS
        undo()
        assert place.look() == before


def test_opening_after_a_kill_goes_on(place: Place) -> None:
    with pytest.raises(Killed):
        place.access(5).open(HOME, ALICE, place.until(30))
    done = place.access().open(HOME, ALICE, place.until(30))
    assert 0 < len(done.steps) < STEPS
    assert done.found.doors[HOME].rule


def test_opening_again_extends(place: Place) -> None:
    place.access().open(HOME, ALICE, place.until(30))
    place.access().open(HOME, ALICE, place.until(10))
    extended = place.access().open(HOME, ALICE, place.until(60))
    assert extended.found.doors[HOME].until == place.until(60)
    assert place.fire(31) == []
    assert place.look()["public"] is True
    assert (f"{HOME}/32", place.outputs.database.port) in place.look()["rules"]
    place.fire(30)
    assert place.access().find().nothing


def test_a_second_person_has_an_own_rule_and_an_own_time(place: Place) -> None:
    before = place.look()
    place.access().open(HOME, ALICE, place.until(30))
    place.access().open(WORK, BOB, place.until(60))
    doors = place.access().find().doors
    assert {address: dict(door.holders) for address, door in doors.items()} == {
        HOME: {ALICE: place.until(30)},
        WORK: {BOB: place.until(60)},
    }
    assert doors[HOME].rule != doors[WORK].rule
    assert dict(doors[WORK].tagged) == {BOB: place.until(60)}
    assert place.fire(31) == []
    assert list(place.access().find().doors) == [WORK]
    assert place.look()["public"] is True, "until the last has to be out"
    place.access().close(BOB)
    assert place.look() == before


def test_one_of_two_behind_one_address_leaves(place: Place) -> None:
    place.access().open(HOME, ALICE, place.until(30))
    place.access().open(HOME, BOB, place.until(60))
    left = place.access().close(BOB).found.doors[HOME]
    assert dict(left.holders) == dict(left.tagged) == {ALICE: place.until(30)}
    assert left.rule_closes == place.until(30)


def test_what_fired_without_doing_anything_is_removed_by_the_next(place: Place) -> None:
    """As in the sandbox, or where a schedule has failed."""
    place.access().open(HOME, ALICE, place.until(30))
    scheduler, group = place.target.client("scheduler"), place.outputs.access.schedule_group
    for one in scheduler.list_schedules(GroupName=group)["Schedules"]:
        scheduler.delete_schedule(Name=one["Name"], GroupName=group)
    place.now += timedelta(minutes=31)
    found = place.access().find()
    assert len(rules.warnings(found, place.now)) == 4
    assert any(line.startswith("WARNING") for line in describe(found, place.now))
    place.access().open(WORK, BOB, place.until(30))
    assert list(place.access().find().doors) == [WORK]


def test_a_busy_instance_is_waited_for(place: Place) -> None:
    opening = place.access()
    states = iter(["modifying", "modifying", "available"])
    instance = opening._instance

    def described() -> dict[str, Any]:
        return {**instance(), "DBInstanceStatus": next(states, "available")}

    opening._instance = described  # type: ignore[method-assign]
    opening.perform(rules.MakePublic(True))
    assert place.look()["public"] is True
    opening._instance = lambda: {"DBInstanceStatus": "modifying", "PubliclyAccessible": True}  # type: ignore[method-assign]
    opening._tools = Tools(lambda: place.now, lambda _: setattr(place, "now", place.now + timedelta(minutes=2)))
    with pytest.raises(UnreachableError, match="in time"):
        opening.perform(rules.MakePublic(False))


def slow(place: Place, kind: type[Any], minutes: float, nth: int = 1) -> Access:
    """What opens, where one step takes so long; schedules that are due fire meanwhile."""
    made = place.access()
    perform, seen = made.perform, iter(range(nth - 1))

    def take(step: Any) -> None:
        perform(step)
        if isinstance(step, kind) and next(seen, None) is None:
            place.fire(minutes)

    made.perform = take
    return made


def test_the_time_counts_from_when_the_instance_is_public(place: Place) -> None:
    done = slow(place, rules.MakePublic, 6).open(HOME, ALICE, place.until(10))
    assert done.found.doors[HOME].until == place.until(10)
    assert rules.warnings(done.found, place.now) == []
    assert place.fire(9) == []
    assert (f"{HOME}/32", place.outputs.database.port) in place.look()["rules"]
    place.fire(2)
    assert place.access().find().nothing


@pytest.mark.parametrize(
    ("kind", "minutes"), [(rules.Put, 4.5), (rules.Put, 6), (rules.MakePublic, 4.5), (rules.MakePublic, 15), (rules.AddRoute, 20)]
)
def test_nothing_is_opened_after_what_closes_it_has_fired(place: Place, kind: type[Any], minutes: float) -> None:
    before = place.look()
    with pytest.raises(AmianaiError, match="would end before it begins") as caught:
        slow(place, kind, minutes).open(HOME, ALICE, place.until(5))
    assert "--for" in caught.value.fix
    assert place.look() == before


def test_what_comes_too_late_leaves_the_doors_of_others(place: Place) -> None:
    place.access().open(WORK, BOB, place.until(60))
    before = place.look()
    with pytest.raises(AmianaiError, match="would end before it begins"):
        slow(place, rules.AddRoute, 6).open(HOME, ALICE, place.until(5))
    assert place.look() == before


def test_a_time_that_is_over_changes_nothing(place: Place) -> None:
    place.access().open(HOME, ALICE, place.until(30))
    before = place.look()
    for attempt in (place.access().open, place.access().plan_open):
        with pytest.raises(AmianaiError, match="would end before it begins"):
            attempt(HOME, ALICE, place.until(-5))
    assert place.look() == before


def test_steps_that_are_done_already_are_no_errors(place: Place) -> None:
    opening = place.access()
    opening.open(HOME, ALICE, place.until(30))
    rule = opening.find().doors[HOME].rule
    table = place.outputs.network.private_route_table_ids[0]
    for step in (rules.RemoveRule(HOME, rule), rules.RemoveRoute(HOME, table), rules.Unschedule(rules.PUBLIC)):
        opening.perform(step)
        opening.perform(step)


def test_a_stack_of_before(place: Place) -> None:
    with pytest.raises(NotFoundError, match="does not have"):
        Access(place.target, place.outputs.model_copy({"access": AccessOutputs()}))


def test_a_change_that_never_settles_is_said(place: Place) -> None:
    opening = place.access()
    opening.perform = lambda step: None
    with pytest.raises(AmianaiError, match="keeps changing"):
        opening.open(HOME, ALICE, place.until(30))


# ---- two at once, and kill -9 for real


def test_two_who_open_and_close_at_once(place: Place) -> None:
    before = place.look()
    people = ((HOME, ALICE, 30), (WORK, BOB, 60))

    def both(act: Callable[[str, str, int], object]) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda one: act(*one), people))

    for _ in range(3):
        both(lambda address, who, minutes: place.access().open(address, who, place.until(minutes)))
        found = place.access().find()
        assert {address: set(door.holders) for address, door in found.doors.items()} == {HOME: {ALICE}, WORK: {BOB}}
        assert all(door.rule and len(door.routes) == 2 for door in found.doors.values())
        assert rules.warnings(found, place.now) == []
        assert (found.public, found.public_closes) == (True, place.until(60))
        both(lambda address, who, minutes: place.access().close(who))
        assert place.look() == before


PROGRAM = """
import sys, time
from datetime import datetime
from pathlib import Path
from amianai_infra.database.access import Access
from amianai_infra.outputs import StackOutputs
from amianai_infra.sandbox import SandboxTarget

root, outputs, act, address, who, until = sys.argv[1:]
access = Access(SandboxTarget(Path(root)), StackOutputs.model_validate_json(outputs))
print("ready", flush=True)
if act == "open":
    access.open(address, who, datetime.fromisoformat(until))
else:
    access.close(who)
"""


def killed(place: Place, act: str, seconds: float) -> None:
    """Let another process open or close, and end it with SIGKILL a moment after it has begun."""
    given = [str(place.target.root), place.outputs.model_dump_json(), act, HOME, ALICE, place.until(30).isoformat()]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *given], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()


def kill_often(place: Place, seed: int, times: int) -> None:
    place.now = datetime.now(UTC).replace(microsecond=0)
    before, moments = place.look(), random.Random(seed)
    for number in range(times):
        killed(place, "open", moments.uniform(0.0, 0.35))
        found = place.access().find()
        assert rules.warnings(found, place.now) == [], "whatever is open closes by itself"
        if moments.random() < 0.5:
            killed(place, "close", moments.uniform(0.0, 0.35))
        place.fire(31) if number % 2 else place.access().close(ALICE)
        assert place.look() == before
        place.now = datetime.now(UTC).replace(microsecond=0)


def test_killed_at_random_moments(place: Place) -> None:
    kill_often(place, seed=5, times=3)


@pytest.mark.soak
def test_killed_at_very_many_random_moments(place: Place) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    kill_often(place, seed, times=60)


# ---- as a person types it


@pytest.fixture
def run(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(App, "root", tmp_path)
    monkeypatch.setattr(App, "target", place.target)
    monkeypatch.setattr(App, "settings", load_settings({"domain_name": DOMAIN}, {}, {}))
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: place.outputs)

    def call(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(cli, ["--sandbox", "--json", *arguments])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if code == 0 else result.stderr

    return call


def test_the_commands(run: Any, place: Place) -> None:
    before = place.look()
    assert len(run("db", "open", "--for", "10m", "--dry-run")) == STEPS
    assert place.look() == before
    shown = run("db", "open", "--for", "10m", "--address", HOME, "--reason", "a test")
    assert shown["address"] == HOME
    assert shown["port"] == place.outputs.database.port
    assert run("db", "open", "--for", "20m", "--address", HOME)["until"] > shown["until"]
    assert len(run("db", "close", "--dry-run")) == STEPS
    assert run("db", "close")["open"] == []
    assert place.look() == before
    recorded = list(Trail(place.target.client("logs"), place.outputs.audit_log_group).read())
    assert [(one["action"], one["outcome"]) for one in recorded][-6:] == [
        ("open", "begun"),
        ("open", "done"),
        ("open", "begun"),
        ("open", "done"),
        ("close", "begun"),
        ("close", "done"),
    ]
    assert recorded[0]["reason"] == "a test"


def test_close_all_takes_what_others_opened(run: Any, place: Place) -> None:
    place.now = datetime.now(UTC)
    place.access().open(WORK, BOB, place.until(60))
    assert run("db", "close")["open"] != []
    assert run("db", "close", "--all")["open"] == []
    assert place.access().find().nothing


def test_without_a_record_it_closes_and_does_not_open(run: Any, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run("db", "open", "--address", HOME)
    without = place.outputs.model_copy({"audit_log_group": ""})
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: without)
    assert "no audit log group" in run("db", "open", "--address", WORK, code=3)
    assert list(place.access().find().doors) == [HOME]
    run("db", "close")
    assert place.access().find().nothing


@pytest.mark.parametrize("wrong", ["0.0.0.0/0", "10.0.0.1", "127.0.0.1", "203.0.113.0/24", "everybody"])
def test_only_one_public_address_is_opened(run: Any, wrong: str) -> None:
    assert "--address" in run("db", "open", "--address", wrong, code=2)


@pytest.mark.parametrize("length", ["1m", "13h", "forever"])
def test_only_for_a_while(run: Any, length: str) -> None:
    run("db", "open", "--for", length, code=2)


def test_lengths_are_the_rules() -> None:
    assert db_access._LENGTH.most == rules.LONGEST_HOURS * 3600


def test_a_tunnel_is_explained_in_the_sandbox(run: Any) -> None:
    assert "listens on this machine" in run("db", "tunnel", code=2)


def test_status_shows_what_is_open(place: Place) -> None:
    place.now = datetime.now(UTC)
    parts = {part.name: part for part in status.look(place.target, place.outputs)}
    assert (parts["access"].ok, parts["access"].state) == (True, "closed")
    place.access().open(HOME, ALICE, place.until(30))
    part = {part.name: part for part in status.look(place.target, place.outputs)}["access"]
    assert (part.ok, part.state) == (True, f"open to {ALICE}")
    assert ALICE in part.facts[HOME]
    place.target.client("scheduler").delete_schedule(Name=rules.PUBLIC, GroupName=place.outputs.access.schedule_group)
    part = {part.name: part for part in status.look(place.target, place.outputs)}["access"]
    assert part.ok is False
    assert "no schedule takes it away" in part.facts["problem"]


def test_a_place_that_is_not_there(place: Place) -> None:
    with pytest.raises(ConfigurationError):
        db_access._address(App(), "nowhere")
