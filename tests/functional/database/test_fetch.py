"""Bringing a backup from a second region, against moto's RDS in two regions, cut off after every change.

What this cannot prove: that RDS restores and copies as its documentation says. moto knows no replicated backups and no copies
between regions: the restore and the copy are stubbed, and what they are asked for is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.rds.models import DBSnapshot, rds_backends

from amianai_infra.database import backups, fetch
from amianai_infra.database.instances import Described, Patience, Rds, tag_list, tags_of
from amianai_infra.database.restore import parse_source
from amianai_infra.errors import AmianaiError, ConfigurationError, NotFoundError, RefusedError
from amianai_infra.progress import Progress
from tests.components.recorder import ACCOUNT
from tests.functional.database.test_restore import Cloud, KilledError

ID, HERE, THERE = "eeyore-postgres", "us-east-1", "us-west-2"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ARN = f"arn:aws:rds:{THERE}:{ACCOUNT}:auto-backup:ab-1"


@dataclass
class Stub:
    """A region's client, with what moto lacks.

    Attributes:
        client: moto's.
        automated: the backups that lie there.
        asked: the parameters of the calls that are stubbed.
    """

    client: Any
    automated: list[Described] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def describe_db_instance_automated_backups(self, **given: Any) -> dict[str, Any]:
        return {
            "DBInstanceAutomatedBackups": [one for one in self.automated if one["DBInstanceIdentifier"] == given["DBInstanceIdentifier"]]
        }

    def restore_db_instance_to_point_in_time(self, **given: Any) -> None:
        self.asked = given
        name, tags = given["TargetDBInstanceIdentifier"], given["Tags"]
        instance(self.client, name, tags_of({"TagList": tags}))

    def copy_db_snapshot(self, **given: Any) -> None:
        self.asked = given
        name = given["SourceDBSnapshotIdentifier"].rpartition(":")[2]
        source = rds_backends[ACCOUNT][given.get("SourceRegion", THERE)].database_snapshots[name]
        backend = rds_backends[ACCOUNT][self.client.meta.region_name]
        target = given["TargetDBSnapshotIdentifier"]
        backend.database_snapshots[target] = DBSnapshot(backend, source.database, target, tags=given["Tags"])


def instance(client: Any, name: str, tags: dict[str, str] | None = None) -> None:
    client.create_db_instance(
        DBInstanceIdentifier=name, Engine="postgres", DBInstanceClass="db.t3.micro", AllocatedStorage=20, Tags=tag_list(tags or {})
    )


def backup(resource: str, latest: datetime = NOW, arn: str = ARN) -> Described:
    window = {"EarliestTime": latest - timedelta(days=7), "LatestTime": latest}
    return {"DBInstanceIdentifier": ID, "DbiResourceId": resource, "DBInstanceAutomatedBackupsArn": arn, "RestoreWindow": window}


@dataclass
class World:
    """Two regions. The stack's instance is lost with all backups of its own region."""

    here: Cloud
    there: Cloud

    @property
    def places(self) -> fetch.Places:
        return fetch.Places(self._rds(self.here), self._rds(self.there), self.there.client.meta.region_name, HERE)

    @staticmethod
    def _rds(cloud: Cloud) -> Rds:
        ticks = iter(range(1_000_000))
        return Rds(cloud, Progress(quiet=True), Patience(0.0, 500.0, sleep=lambda _: None, clock=lambda: float(next(ticks))))

    def plan(self, to: str = "latest", **more: Any) -> fetch.Plan:
        wanted = replace(fetch.Wanted(ID, ID, parse_source(to)), **more)
        places = self.places
        return fetch.plan(wanted, fetch.survey(places, ID, wanted.origin), places.region, NOW)

    def fetch(self, to: str = "latest", **more: Any) -> fetch.Plan:
        plan = self.plan(to, **more)
        fetch.Fetch(self.places, plan, ID).run()
        return plan

    def left(self) -> list[str]:
        """What is in the second region."""
        snapshots = self.there.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        instances = self.there.describe_db_instances()["DBInstances"]
        return sorted([*(one["DBSnapshotIdentifier"] for one in snapshots), *(one["DBInstanceIdentifier"] for one in instances)])

    def arrived(self) -> list[str]:
        return [one.name for one in backups.snapshots(self.places.here, ID)]


@pytest.fixture(scope="module")
def clients() -> Iterator[list[Any]]:
    with mock_aws():
        session = boto3.Session("testing", "testing")
        yield [session.client("rds", region_name=region) for region in (HERE, THERE)]


@pytest.fixture
def world(clients: list[Any]) -> World:
    for region in (HERE, THERE):
        rds_backends[ACCOUNT][region].reset()
    here, there = clients
    return World(Cloud(Stub(here)), Cloud(Stub(there, [backup("db-1")])))


def test_the_snapshot_arrives_and_nothing_stays_there(world: World) -> None:
    plan = world.fetch(subnet_group="private")
    assert world.arrived() == [plan.snapshot] == [f"{ID}-fetched-260301120000"]
    assert world.left() == []
    asked = world.there.client.asked
    assert asked["SourceDBInstanceAutomatedBackupsArn"] == ARN
    assert asked["PubliclyAccessible"] is False
    assert asked["UseLatestRestorableTime"] is True
    assert asked["DBSubnetGroupName"] == "private"
    copied = world.here.client.asked
    assert copied["SourceRegion"] == THERE
    assert copied["SourceDBSnapshotIdentifier"].startswith(f"arn:aws:rds:{THERE}:")
    assert copied["KmsKeyId"] == "alias/aws/rds"
    assert world.here.log == ["copy_db_snapshot"], "nothing else of the stack's region is touched"


def test_a_stack_in_the_second_region_gets_a_snapshot_under_its_own_key(world: World) -> None:
    """Under the key of the stack that was lost, the database would be lost with that key."""
    world.here, new = world.there, "piglet-postgres"
    places = replace(world.places, home=THERE)
    plan = fetch.plan(fetch.Wanted(new, ID, parse_source("latest")), fetch.survey(places, new, ID), THERE, NOW)
    fetch.Fetch(places, plan, new).run()
    assert "SourceRegion" not in world.there.client.asked
    assert world.there.client.asked["SourceDBSnapshotIdentifier"] == plan.name
    assert world.left() == [plan.snapshot]


@pytest.mark.parametrize(
    "operation",
    ["restore_db_instance_to_point_in_time", "create_db_snapshot", "copy_db_snapshot", "delete_db_instance", "delete_db_snapshot"],
)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_any_change_the_same_command_finishes(world: World, operation: str, before: bool) -> None:
    for cloud in (world.here, world.there):
        if before:
            cloud.kill_instead = operation
        else:
            cloud.kill_after = operation
    with pytest.raises(KilledError):
        world.fetch()
    for cloud in (world.here, world.there):
        cloud.kill_instead = cloud.kill_after = ""
    arrived = world.arrived()
    if operation.startswith("delete"):
        assert len(arrived) == 1, "nothing goes there before it is here"
    if world.left() or not arrived:
        world.fetch()
    assert world.left() == []
    assert len(world.arrived()) == 1
    assert world.there.log.count("restore_db_instance_to_point_in_time") == 1
    assert world.here.log.count("copy_db_snapshot") == 1


def test_an_incomplete_copy_keeps_what_it_was_made_of(world: World) -> None:
    plan = world.plan()
    deletions = replace(plan, steps=[step for step in plan.steps if step.name.startswith("delete")])
    with pytest.raises(RefusedError, match="not complete; nothing was deleted"):
        fetch.Fetch(world.places, deletions, ID).run()


def begun(world: World, to: str = "latest") -> None:
    world.there.kill_after = "create_db_snapshot"
    with pytest.raises(KilledError):
        world.fetch(to)
    world.there.kill_after = ""


@pytest.mark.parametrize("other", [{"to": "2026-03-01T11:00:00Z"}, {"origin": "eeyore-other"}])
def test_another_fetch_is_not_mixed_with_one_that_was_begun(world: World, other: dict[str, str]) -> None:
    begun(world)
    with pytest.raises(RefusedError, match="eeyore-postgres latest") as refused:
        world.plan(**other)
    assert "--abandon" in refused.value.fix


def test_given_up_it_is_deleted_there(world: World) -> None:
    begun(world)
    instance(world.there.client, "somebody-elses")
    plan = fetch.abandoned(fetch.survey(world.places, ID, ID), THERE)
    fetch.Fetch(world.places, plan, ID).run()
    assert world.left() == ["somebody-elses"]
    assert world.arrived() == []
    assert fetch.abandoned(fetch.survey(world.places, ID, ID), THERE).screen() == ["There is nothing to do."]


def test_what_another_stack_fetches_is_left_alone(world: World) -> None:
    theirs = "piglet-postgres-away-260301120000"
    instance(world.there.client, theirs, {fetch.TAG_FETCH_FOR: "piglet-postgres"})
    world.there.client.create_db_snapshot(DBSnapshotIdentifier=theirs, DBInstanceIdentifier=theirs)
    plan = world.fetch()
    assert world.left() == [theirs, theirs]
    mistaken = replace(plan, name=theirs, snapshot="", steps=[step for step in plan.steps if step.name.startswith("delete")])
    fetch.Fetch(world.places, mistaken, ID).run()
    assert world.left() == [theirs, theirs]


def test_the_newest_backups_that_hold_the_moment_are_taken(world: World) -> None:
    world.there.client.automated = [backup("db-0", NOW - timedelta(days=20), "arn:old"), backup("db-1", arn="arn:new")]
    assert world.plan().backup.arn == "arn:new"  # type: ignore[union-attr]
    assert world.plan("2026-02-05T12:00:00Z").backup.arn == "arn:old"  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError, match="cannot be restored") as failed:
        world.plan("2026-02-15T12:00:00Z")
    assert "2026-02-22 12:00:00 UTC to 2026-03-01 12:00:00 UTC" in failed.value.where


def test_the_own_backups_of_an_instance_there_are_no_fetched_ones(world: World) -> None:
    instance(world.there.client, ID)
    own = world.there.describe_db_instances()["DBInstances"][0]["DbiResourceId"]
    world.there.client.automated = [backup(own)]
    with pytest.raises(NotFoundError, match="no backups of eeyore-postgres"):
        world.plan()


@pytest.mark.parametrize(("to", "error"), [("a-snapshot", ConfigurationError), ("latest", NotFoundError)])
def test_what_is_not_there_is_not_fetched(world: World, to: str, error: type[AmianaiError]) -> None:
    world.there.client.automated = []
    with pytest.raises(error):
        world.plan(to)
