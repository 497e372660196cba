"""The snapshot before a migration, on moto's RDS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import WaiterError
from moto import mock_aws

from amianai_infra.database.schema import take_snapshot
from amianai_infra.errors import AmianaiError, NotFoundError
from amianai_infra.outputs import StackOutputs
from tests.unit.test_outputs import example

NOW = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
OUTPUTS = StackOutputs.model_validate(example())


@pytest.fixture
def rds() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("rds", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test")


def target(rds: Any) -> Any:
    return SimpleNamespace(client=lambda service: rds)


def test_a_snapshot_is_made_and_waited_for(rds: Any) -> None:
    rds.create_db_instance(DBInstanceIdentifier="eeyore-postgres", Engine="postgres", DBInstanceClass="db.t3.micro")
    said: list[str] = []
    name = take_snapshot(target(rds), OUTPUTS, said.append, NOW)
    assert name == "eeyore-postgres-before-migration-20270102-030405"
    (found,) = rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"]
    assert found["Status"] == "available"
    assert name in said[0]


def test_without_an_instance_there_is_none(rds: Any) -> None:
    with pytest.raises(NotFoundError):
        take_snapshot(target(rds), OUTPUTS, print, NOW)


def test_one_that_fails_stops_the_migration(rds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rds.create_db_instance(DBInstanceIdentifier="eeyore-postgres", Engine="postgres", DBInstanceClass="db.t3.micro")

    class Waiter:
        def wait(self, **_: Any) -> None:
            raise WaiterError("db_snapshot_available", "Max attempts exceeded", {})

    monkeypatch.setattr(rds, "get_waiter", lambda name: Waiter())
    with pytest.raises(AmianaiError, match="did not become available; nothing was changed"):
        take_snapshot(target(rds), OUTPUTS, print, NOW)
