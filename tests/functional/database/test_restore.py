"""Restores against moto's RDS: every step, cut off at every call, and what must never happen before the copy was checked.

What this cannot prove: how long AWS takes, and that a copy holds data; the data's checks are tried on a real PostgreSQL elsewhere.
moto restores at once, keeps no restore window, and gives a new instance the settings of its source where AWS gives defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.rds.models import rds_backends

from amianai_infra.database import backups
from amianai_infra.database import restore as operation
from amianai_infra.database.checks import Contents, Facts
from amianai_infra.database.instances import Described, Patience, Rds, tags_of
from amianai_infra.database.recipe import Recipe
from amianai_infra.errors import AmianaiError, ConfigurationError, NotFoundError, RefusedError, UnreachableError, VerificationError
from amianai_infra.progress import Progress
from tests.components.recorder import ACCOUNT
from tests.unit.database.test_recipe import INPUTS
from tests.unit.operations.fakes import OUTPUTS

ID = "eeyore-postgres"
RECIPE = Recipe.of({**INPUTS, "backupWindow": "02:00-03:00"})  # moto takes windows that touch for windows that overlap
MUTATING = ("copy_", "create_", "delete_", "modify_", "restore_", "reboot_", "add_tags", "remove_tags")
HELD = Facts(ledger={"1": ("application", "aa")}, tables={"public.users": Contents(10)})


class KilledError(BaseException):
    """The process ends here: not an `Exception`, so that nothing tidies up after it."""


@dataclass
class Cloud:
    """A boto3 client that notes what is changed, and ends the process at a chosen change."""

    client: Any
    log: list[str] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)
    kill_at: int = 0
    kill_before: bool = False
    kill_after: str = ""
    kill_instead: str = ""
    changes: int = 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)
        return self._noted(name, call) if name.startswith(MUTATING) else call

    def _noted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(**parameters: Any) -> Any:
            self.changes += 1
            if name == self.kill_instead or (self.kill_before and self.kill_at == self.changes):
                raise KilledError
            rename = "rename" if "NewDBInstanceIdentifier" in parameters else ""
            self.log.append(rename or name)
            if "MasterUserPassword" in parameters:
                self.passwords[parameters["DBInstanceIdentifier"]] = parameters["MasterUserPassword"]
            answer = call(**parameters)
            if name.startswith("restore_"):
                self._renew_resource_ids()
            if self.log[-1] == self.kill_after or (not self.kill_before and self.kill_at == self.changes):
                raise KilledError
            return answer

        return noted

    @staticmethod
    def _renew_resource_ids() -> None:
        """RDS gives a restored instance an id of its own; moto copies its source's."""
        seen: set[str] = set()
        for database in rds_backends[ACCOUNT]["us-east-1"].databases.values():
            if database.dbi_resource_id in seen:
                database.dbi_resource_id = f"db-RESTORED{len(seen)}"
            seen.add(database.dbi_resource_id)


@dataclass
class World:
    """One production instance, and a restore of it with everything but RDS stubbed."""

    cloud: Cloud
    held: Facts | AmianaiError = HELD
    running: Facts | AmianaiError = HELD
    refuse: bool = False
    adopted: list[str] = field(default_factory=list)
    fail_adoption: bool = False
    seen: list[backups.Finding] = field(default_factory=list)
    password: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @property
    def rds(self) -> Rds:
        ticks = iter(range(1_000_000))
        return Rds(self.cloud, Progress(quiet=True), Patience(0.0, 500.0, sleep=lambda _: None, clock=lambda: float(next(ticks))))

    def inspect(self, described: Described) -> Facts:
        self.cloud.log.append("check")
        found = self.held if tags_of(described).get(backups.TAG_RESTORE_OF) else self.running
        if isinstance(found, AmianaiError):
            raise found
        return found

    def accept(self, findings: Any) -> None:
        self.seen = list(findings)
        if self.refuse:
            raise RefusedError("no")
        self.cloud.log.append("accepted")

    def roles(self, described: Described) -> None:
        assert tags_of(described)[operation.TAG_STEP] == operation.ACCEPTED
        self.cloud.log.append("roles")

    def adopt(self, resource_id: str) -> None:
        if self.fail_adoption:
            raise AmianaiError("somebody holds the lock")
        self.adopted.append(resource_id)

    def plan(self, to: str = "latest", mode: operation.Mode = "replace") -> operation.Plan:
        source = operation.parse_source(to)
        situation = operation.survey(self.rds, ID, source, mode)
        return operation.plan(source, mode, RECIPE, situation, self.look(), self.now, old_days=7)

    def look(self) -> backups.Backups:
        return backups.look(self.rds, ID, "us-east-1")

    def restore(self, to: str = "latest", mode: operation.Mode = "replace") -> operation.Result:
        hands = operation.Hands(self.inspect, self.accept, self.roles, self.adopt, lambda: self.password)
        return operation.Restore(self.rds, self.plan(to, mode), hands).run()

    def instances(self) -> dict[str, Described]:
        found = self.cloud.client.describe_db_instances()["DBInstances"]
        for one in found:
            one.pop("LatestRestorableTime", None)
        return {one["DBInstanceIdentifier"]: one for one in found}


@dataclass
class Amazon:
    """moto, with clients that are made once: that takes longer than a whole restore."""

    rds: Any
    subnets: list[str]


@pytest.fixture(scope="module")
def amazon() -> Iterator[Amazon]:
    with mock_aws():
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        ec2 = session.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"]
            for number, zone in enumerate("ab")
        ]
        yield Amazon(session.client("rds"), subnets)


@pytest.fixture
def world(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> World:
    client = amazon.rds
    monkeypatch.setattr(operation, "_LOOKS", 2)  # moto never reports some settings
    rds_backends[ACCOUNT]["us-east-1"].reset()
    client.create_db_subnet_group(DBSubnetGroupName=ID, DBSubnetGroupDescription="x", SubnetIds=amazon.subnets)
    client.create_db_parameter_group(DBParameterGroupName=f"{ID}-postgres16", DBParameterGroupFamily="postgres16", Description="x")
    client.create_db_instance(
        DBInstanceIdentifier=ID,
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="amianai_admin",
        ManageMasterUserPassword=True,
        DBSubnetGroupName=ID,
        DeletionProtection=True,
        BackupRetentionPeriod=7,
        PreferredBackupWindow="02:00-03:00",
        Tags=[{"Key": "Name", "Value": ID}],
    )
    return World(Cloud(client))


def before_acceptance(log: list[str]) -> list[str]:
    return log[: log.index("accepted")] if "accepted" in log else log


def unfinished(world: World) -> bool:
    return any(backups.TAG_RESTORE_OF in tags_of(one) for one in world.instances().values())


def assert_nothing_lost(world: World) -> None:
    """Nothing is renamed or deleted before the copy was checked and accepted."""
    assert not {"rename", "delete_db_instance"} & set(before_acceptance(world.cloud.log)), world.cloud.log


def test_the_copy_takes_the_place_and_the_old_one_is_kept(world: World) -> None:
    before = world.instances()[ID]
    result = world.restore()
    found = world.instances()
    (old,) = [name for name in found if name != ID]
    assert old.startswith(f"{ID}-old-")
    assert found[old]["DbiResourceId"] == before["DbiResourceId"]
    assert found[old]["DeletionProtection"], "still protected"
    assert tags_of(found[old])[backups.TAG_KEPT_UNTIL] == (world.now + timedelta(days=7)).replace(tzinfo=None).isoformat()
    assert found[ID]["DbiResourceId"] == result.resource_id != before["DbiResourceId"]
    assert found[ID]["MasterUserSecret"]["SecretArn"] != before["MasterUserSecret"]["SecretArn"], "a new secret, which must be published"
    assert world.adopted == [result.resource_id]
    assert_nothing_lost(world)
    assert not set(tags_of(found[ID])) & set(operation.WORKING_TAGS), "nothing is left that `preview` would take away"
    assert list(result.seconds) == ["create", "settle", "check", "accept", "roles", "set-aside", "take-over", "adopt"]
    assert result.rows == 10


def test_what_is_asked_of_rds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    real = world.cloud.client.restore_db_instance_to_point_in_time
    monkeypatch.setattr(
        world.cloud.client, "restore_db_instance_to_point_in_time", lambda **given: asked.update(given) or real(**given), raising=False
    )
    moment = (world.now - timedelta(hours=2)).isoformat()
    world.restore(moment)
    assert asked["SourceDBInstanceIdentifier"] == ID
    assert asked["TargetDBInstanceIdentifier"].startswith(f"{ID}-copy-")
    assert asked["RestoreTime"] == world.now - timedelta(hours=2)
    assert asked["DBParameterGroupName"] == f"{ID}-postgres16"
    assert asked["VpcSecurityGroupIds"] == ["sg-1", "sg-2"]
    assert asked["PubliclyAccessible"] is False
    assert asked["ManageMasterUserPassword"] is True
    assert {"Name", "amianai:stack", backups.TAG_RESTORE_OF} <= {tag["Key"] for tag in asked["Tags"]}


# One more than the changes a whole restore makes, so that the last one runs to its end.
@pytest.mark.parametrize("kill_before", [True, False], ids=["before the call", "after the call"])
@pytest.mark.parametrize("kill_at", range(1, 9))
def test_killed_at_any_change_the_same_command_finishes(world: World, kill_at: int, kill_before: bool) -> None:
    before = world.instances()[ID]["DbiResourceId"]
    world.cloud.kill_at, world.cloud.kill_before = kill_at, kill_before
    try:
        world.restore()
    except KilledError:
        assert_nothing_lost(world)
        world.cloud.kill_at = 0
        world.now += timedelta(minutes=3)
        if not world.adopted or unfinished(world):
            world.restore()
    else:
        assert kill_at > 7, "every change was cut off once"
    found = world.instances()
    assert len(found) == 2, sorted(found)
    (old,) = [one for name, one in found.items() if name != ID]
    assert old["DbiResourceId"] == before
    assert found[ID]["DbiResourceId"] != before
    assert world.cloud.log.count("restore_db_instance_to_point_in_time") == 1, "one copy, however often it was cut off"
    assert world.cloud.log.count("rename") == 2
    assert world.adopted[-1] == found[ID]["DbiResourceId"]
    assert_nothing_lost(world)


def test_a_copy_with_a_problem_stops_it(world: World) -> None:
    world.held = Facts(ledger={"1": ("application", "edited")}, tables={"public.users": Contents(10)})
    with pytest.raises(VerificationError, match="must not take over") as failed:
        world.restore()
    assert "other contents under the same version: 1" in failed.value.where
    assert ID in world.instances()
    assert_nothing_lost(world)


def test_a_copy_that_cannot_be_read_stops_it(world: World) -> None:
    world.held = UnreachableError("no route")
    with pytest.raises(UnreachableError):
        world.restore()
    assert_nothing_lost(world)


def test_a_running_database_that_cannot_be_read_does_not(world: World) -> None:
    world.running = UnreachableError("The database does not answer.")
    world.restore()
    assert ("note", "running database") in [(one.level, one.what) for one in world.seen]


def test_a_copy_that_is_not_accepted_stays_beside_and_can_be_accepted_later(world: World) -> None:
    world.refuse = True
    with pytest.raises(RefusedError):
        world.restore()
    assert_nothing_lost(world)
    assert world.plan().resumes
    world.refuse = False
    world.restore()
    assert world.cloud.log.count("restore_db_instance_to_point_in_time") == 1


def test_an_adoption_that_fails_is_repeated_alone(world: World) -> None:
    world.fail_adoption = True
    with pytest.raises(AmianaiError, match="holds the lock"):
        world.restore()
    assert [step.name for step in world.plan().steps] == ["adopt"]
    world.fail_adoption = False
    world.restore()
    assert len(world.adopted) == 1


def test_a_rehearsal_leaves_everything_as_it_was(world: World) -> None:
    before = world.instances()
    result = world.restore("latest", "rehearse")
    assert world.instances() == before
    assert result.rows == 10
    assert world.adopted == []
    assert world.cloud.log.index("check") < world.cloud.log.index("delete_db_instance")
    assert "rename" not in world.cloud.log


@pytest.mark.parametrize("kill_at", range(1, 6))
def test_a_rehearsal_that_was_killed_is_finished(world: World, kill_at: int) -> None:
    before = world.instances()
    world.cloud.kill_at = kill_at
    try:
        world.restore("latest", "rehearse")
    except KilledError:
        world.cloud.kill_at = 0
        if len(world.instances()) > 1:
            world.restore("latest", "rehearse")
    assert world.instances() == before
    assert world.cloud.log.count("restore_db_instance_to_point_in_time") == 1


def test_settings_that_take_effect_later_are_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """RDS calls an instance available for some seconds after a modification; only then does it say `modifying`."""
    monkeypatch.setattr(operation, "_LOOKS", 30)
    left = iter([{"MonitoringInterval": 60}] * 4 + [{}] * 50)
    asked: list[str] = []
    monkeypatch.setattr(Recipe, "differences", lambda self, described: next(left))
    real = world.cloud.client.modify_db_instance

    def modify(**given: Any) -> Any:
        asked.append(str(given))
        return real(**given)

    monkeypatch.setattr(world.cloud.client, "modify_db_instance", modify, raising=False)
    world.restore()
    assert "MonitoringInterval" in asked[0], "asked for once"
    assert not any("MonitoringInterval" in one for one in asked[1:])
    assert next(left) == {}, "and looked at until it was there"


def test_from_a_snapshot(world: World) -> None:
    made = backups.create(world.rds, ID, world.now, made_by="arn:aws:iam::123456789012:user/me", note="before (the) import")
    assert made.name in {one.name for one in world.look().snapshots}
    assert made.tags[backups.TAG_NOTE] == "before the import"
    world.restore(made.name)
    assert "restore_db_instance_from_db_snapshot" in world.cloud.log
    with pytest.raises(ConfigurationError, match="no snapshot eeyore-postgres-nothing"):
        world.plan("eeyore-postgres-nothing")


def test_a_lost_instance_is_restored_from_its_snapshot(world: World) -> None:
    made = backups.create(world.rds, ID, world.now)
    world.cloud.client.modify_db_instance(DBInstanceIdentifier=ID, DeletionProtection=False)
    world.cloud.client.delete_db_instance(DBInstanceIdentifier=ID, SkipFinalSnapshot=True)
    with pytest.raises(NotFoundError, match="no automated backups"):
        world.plan()
    plan = world.plan(made.name)
    assert "set-aside" not in [step.name for step in plan.steps]
    world.restore(made.name)
    assert list(world.instances()) == [ID]


def accepted_and_killed(world: World, to: str = "latest", *, hours: float) -> str:
    """A copy that somebody accepted, cut off before anything was renamed, that long ago; gives its name."""
    world.cloud.kill_after = "add_tags_to_resource"
    with pytest.raises(KilledError):
        world.restore(to)
    world.cloud.kill_after = ""
    (name,) = set(world.instances()) - {ID}
    rds_backends[ACCOUNT]["us-east-1"].databases[name].instance_create_time = world.now - timedelta(hours=hours)
    return name


def test_a_copy_that_was_accepted_earlier_is_read_and_accepted_again(world: World) -> None:
    """What was written in between is not in it: only who looks at its newest rows today can say whether that may go."""
    name = accepted_and_killed(world, hours=20)
    world.refuse = True
    with pytest.raises(RefusedError):
        world.restore()
    made = f"{world.now - timedelta(hours=20):%Y-%m-%d %H:%M:%S} UTC"
    assert [one.fact for one in world.seen if one.what == "copy"] == [f"of latest, made on {made}"]
    assert made in operation.screen(world.plan())[0]
    assert world.plan().as_dict()["copy_made"] == world.now - timedelta(hours=20)
    assert set(world.instances()) == {ID, name}
    world.refuse = False
    world.restore()
    assert world.cloud.log.count("accepted") == 2
    assert world.cloud.log.count("rename") == 2


def test_a_copy_of_latest_that_is_days_old_does_not_take_over(world: World) -> None:
    accepted_and_killed(world, hours=25)
    with pytest.raises(RefusedError, match=r"latest was made on .* what was written since is not in it") as refused:
        world.restore()
    assert "--abandon" in refused.value.fix
    assert "rename" not in world.cloud.log
    operation.clean(world.rds, ID, operation.leftovers(world.look(), world.now, abandon=True))
    world.restore()
    assert world.cloud.log.count("rename") == 2


def test_a_swap_that_was_begun_is_finished_however_old_the_copy_is(world: World) -> None:
    half_swapped(world)
    (name,) = [one for one in world.instances() if "-copy-" in one]
    rds_backends[ACCOUNT]["us-east-1"].databases[name].instance_create_time = world.now - timedelta(days=3)
    assert [step.name for step in world.plan().steps] == ["roles", "take-over", "adopt"]
    world.restore()
    assert world.cloud.log.count("accepted") == 1
    assert ID in world.instances()


def test_an_old_copy_of_a_moment_is_as_good_as_a_new_one(world: World) -> None:
    moment = (world.now - timedelta(days=3)).isoformat()
    accepted_and_killed(world, moment, hours=48)
    world.restore(moment)
    assert world.cloud.log.count("restore_db_instance_to_point_in_time") == 1


def test_a_copy_that_rds_is_still_making_counts_as_new(world: World) -> None:
    accepted_and_killed(world, hours=0)
    source = operation.parse_source("latest")
    situation = operation.survey(world.rds, ID, source, "replace")
    assert situation.copy
    creating = {key: value for key, value in situation.copy.items() if key != "InstanceCreateTime"}
    plan = operation.plan(source, "replace", RECIPE, replace(situation, copy=creating), world.look(), world.now, old_days=7)
    assert plan.made is None
    assert operation.screen(plan)[0].startswith(f"Restore {ID} to latest (goes on where it stopped):")
    assert max(len(line) for line in operation.screen(plan)) <= 100


@pytest.mark.parametrize("other", [timedelta(seconds=1), timedelta(hours=1)])
def test_a_copy_of_one_moment_is_not_taken_for_that_of_another(world: World, other: timedelta) -> None:
    moment = world.now - timedelta(hours=3)
    accepted_and_killed(world, moment.isoformat(), hours=1)
    with pytest.raises(RefusedError, match="was begun and not finished") as refused:
        world.restore((moment + other).isoformat())
    assert "--abandon" in refused.value.fix


def test_two_different_restores_do_not_mix(world: World) -> None:
    world.refuse = True
    with pytest.raises(RefusedError):
        world.restore()
    for to, mode in ((world.now.isoformat(), "replace"), ("latest", "rehearse")):
        with pytest.raises(RefusedError, match="A restore to latest was begun"):
            world.plan(to, mode)  # type: ignore[arg-type]
    gone = operation.leftovers(world.look(), world.now, abandon=True)
    assert [one.why for one in gone] == ["copy of latest, not finished"]
    operation.clean(world.rds, ID, gone)
    assert list(world.instances()) == [ID]


def test_replaced_instances_go_when_their_time_is_over_with_a_last_snapshot(world: World) -> None:
    world.restore()
    assert operation.leftovers(world.look(), world.now, abandon=False) == []
    (one,) = operation.leftovers(world.look(), world.now + timedelta(days=8), abandon=False)
    operation.clean(world.rds, ID, [one])
    assert list(world.instances()) == [ID]
    assert one.final_snapshot in {made["DBSnapshotIdentifier"] for made in world.cloud.client.describe_db_snapshots()["DBSnapshots"]}


def half_swapped(world: World) -> World:
    """Killed when the running instance was set aside: nothing has the stack's name."""
    world.cloud.kill_after = "rename"
    with pytest.raises(KilledError):
        world.restore()
    world.cloud.kill_after = ""
    assert ID not in world.instances()
    return world


@pytest.mark.parametrize(("abandon", "why"), [(True, "stopped between its renames"), (False, "No instance has the name")])
def test_between_the_renames_nothing_is_deleted(world: World, abandon: bool, why: str) -> None:
    before = set(half_swapped(world).instances())
    with pytest.raises(RefusedError, match=why) as refused:
        operation.leftovers(world.look(), world.now + timedelta(days=8), abandon=abandon)
    assert refused.value.fix == "finish that restore: `amianai db restore --to latest`"
    world.restore()
    assert len(before) == len(world.instances()) == 2


@pytest.mark.parametrize(("kind", "why"), [("copy", "stopped between its renames"), ("old", "No instance has the name")])
def test_what_was_planned_before_a_swap_is_not_deleted_during_it(world: World, kind: str, why: str) -> None:
    before = set(half_swapped(world).instances())
    (name,) = [one for one in before if f"-{kind}-" in one]
    with pytest.raises(RefusedError, match=why) as refused:
        operation.clean(world.rds, ID, [operation.Leftover(name, "planned before")])
    assert refused.value.fix == "finish that restore: `amianai db restore --to latest`"
    assert set(world.instances()) == before


def test_a_copy_that_took_over_is_not_abandoned(world: World) -> None:
    world.fail_adoption = True
    with pytest.raises(AmianaiError, match="holds the lock"):
        world.restore()
    with pytest.raises(RefusedError, match="is the running instance") as refused:
        operation.leftovers(world.look(), world.now, abandon=True)
    assert refused.value.fix == "finish that restore: `amianai db restore --to latest`"
    assert ID in world.instances()


@pytest.mark.parametrize("abandon", [True, False])
def test_an_instance_that_is_being_renamed_does_not_serve_any_more(world: World, abandon: bool) -> None:
    """RDS answers under the old name until the new one exists."""
    found = half_swapped(world).look()
    (old,) = [one for one in found.beside if backups.replaced(one, ID)]
    renaming = replace(found, instance={**old, "DBInstanceIdentifier": ID, "DBInstanceStatus": "renaming"})
    with pytest.raises(RefusedError, match="Nothing was deleted"):
        operation.leftovers(renaming, world.now + timedelta(days=8), abandon=abandon)


def test_what_was_replaced_stays_while_the_instance_is_lost(world: World) -> None:
    world.restore()
    world.cloud.client.modify_db_instance(DBInstanceIdentifier=ID, DeletionProtection=False)
    world.cloud.client.delete_db_instance(DBInstanceIdentifier=ID, SkipFinalSnapshot=True)
    with pytest.raises(RefusedError, match="may be all there is") as refused:
        operation.leftovers(world.look(), world.now + timedelta(days=8), abandon=False)
    assert "restore the database first" in refused.value.fix


def test_the_copy_of_a_lost_instance_can_be_abandoned(world: World) -> None:
    """Else a copy that must not take over would stand in the way of every other restore."""
    made = backups.create(world.rds, ID, world.now)
    world.cloud.client.modify_db_instance(DBInstanceIdentifier=ID, DeletionProtection=False)
    world.cloud.client.delete_db_instance(DBInstanceIdentifier=ID, SkipFinalSnapshot=True)
    world.refuse = True
    with pytest.raises(RefusedError):
        world.restore(made.name)
    operation.clean(world.rds, ID, operation.leftovers(world.look(), world.now, abandon=True))
    assert not world.instances()


def test_what_another_stack_replaced_stays(world: World) -> None:
    theirs = "piglet-postgres-old-260301120000"
    tags = {backups.TAG_KEPT_UNTIL: "2026-03-01T12:00:00", backups.TAG_REPLACED_BY: "piglet-postgres"}
    world.cloud.client.create_db_instance(
        DBInstanceIdentifier=theirs,
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    assert world.look().beside == []
    found = replace(world.look(), beside=world.rds.instances())
    assert operation.leftovers(found, world.now, abandon=False) == []
    with pytest.raises(RefusedError, match="not what a restore left"):
        operation.clean(world.rds, ID, [operation.Leftover(theirs, "a mistake")])
    assert theirs in world.instances()


@pytest.mark.parametrize("name", [ID, "somebody-else"])
def test_nothing_else_is_ever_deleted(world: World, name: str) -> None:
    if name != ID:
        world.cloud.client.create_db_instance(
            DBInstanceIdentifier=name, Engine="postgres", DBInstanceClass="db.t3.micro", AllocatedStorage=20
        )
    with pytest.raises(RefusedError, match="not what a restore left"):
        operation.clean(world.rds, ID, [operation.Leftover(name, "a mistake")])
    assert name in world.instances()


def test_replicas_would_be_left_behind(world: World) -> None:
    world.cloud.client.create_db_instance_read_replica(DBInstanceIdentifier="replica", SourceDBInstanceIdentifier=ID)
    with pytest.raises(RefusedError, match="read replicas"):
        world.plan()


@pytest.mark.parametrize(
    ("text", "kind", "canonical"),
    [
        ("latest", "time", "latest"),
        ("2026-03-01T11:55:00Z", "time", "2026-03-01T11:55:00Z"),
        ("2026-03-01 13:55:00+02:00", "time", "2026-03-01T11:55:00Z"),
        ("eeyore-postgres-20260301-120000-9f3a", "snapshot", "eeyore-postgres-20260301-120000-9f3a"),
        ("rds:eeyore-postgres-2026-03-01-03-05", "snapshot", "rds:eeyore-postgres-2026-03-01-03-05"),
    ],
)
def test_what_a_person_may_ask_for(text: str, kind: str, canonical: str) -> None:
    found = operation.parse_source(text)
    assert (found.kind, found.text) == (kind, canonical)


def test_a_moment_needs_its_zone() -> None:
    with pytest.raises(ConfigurationError, match="time zone"):
        operation.parse_source("2026-03-01T11:55:00")


def test_names_beside_fit(world: World) -> None:
    assert operation.beside("x" * 63, "copy", "260301120000") == "x" * 45 + "-copy-260301120000"
    assert operation.beside(ID, "old", "260301120000") == f"{ID}-old-260301120000"


def test_a_time_outside_the_window_is_refused() -> None:
    window = backups.Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    found = backups.Backups(ID, {"DbiResourceId": "db-1"}, [backups.Automated("us-east-1", "active", window, 7, True, "arn", "db-1")])
    nothing = operation.Situation({"DbiResourceId": "db-1"}, None)
    for text in ("2026-02-28T23:59:59Z", "2026-03-02T00:00:01Z"):
        with pytest.raises(ConfigurationError, match="restorable: 2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z"):
            operation.plan(operation.parse_source(text), "replace", RECIPE, nothing, found, datetime.now(UTC), old_days=7)
    inside = operation.parse_source("2026-03-01T12:00:00Z")
    assert operation.plan(inside, "replace", RECIPE, nothing, found, datetime.now(UTC), old_days=7).steps


def test_a_wait_without_end_ends_and_says_how_to_go_on(world: World) -> None:
    with pytest.raises(UnreachableError, match="not done after") as failed:
        world.rds.wait("Something", lambda: "creating")
    assert "same command again" in failed.value.fix


def test_a_copy_gets_the_password_of_a_secret_that_goes_on(world: World) -> None:
    world.password = "the-current-one"
    world.restore()
    (name,) = world.cloud.passwords
    assert name != ID, "the copy has the password of its backup; the running instance has the right one"
    assert world.cloud.passwords == {name: "the-current-one"}
    assert world.cloud.log.index("modify_db_instance") < world.cloud.log.index("check"), "else it could not be read"


def test_rds_makes_the_copys_password_where_it_keeps_it(world: World) -> None:
    world.restore()
    assert not world.cloud.passwords


def test_a_copys_secret_is_its_own_or_the_stacks(world: World) -> None:
    described = {
        "DBInstanceIdentifier": "copy",
        "Endpoint": {"Address": "copy.example", "Port": 5432},
        "DbiResourceId": "db-2",
        "MasterUserSecret": {"SecretArn": "arn:aws:secretsmanager:us-east-1:1:secret:rds!db-2"},
    }
    assert operation.outputs_of(OUTPUTS, described).database.secret_arn == described["MasterUserSecret"]["SecretArn"]  # type: ignore[index]
    unmanaged = {**described, "MasterUserSecret": None}
    own = "arn:aws:secretsmanager:us-east-1:1:secret:eeyore/database/eeyore-postgres/owner-1"
    kept = replace(OUTPUTS, database=replace(OUTPUTS.database, secret_arn=own))
    assert operation.outputs_of(kept, unmanaged).database.secret_arn == own
    managed = replace(OUTPUTS, database=replace(OUTPUTS.database, secret_arn="arn:aws:secretsmanager:us-east-1:1:secret:rds!db-1"))
    with pytest.raises(NotFoundError, match="no managed secret"):
        operation.outputs_of(managed, unmanaged)
