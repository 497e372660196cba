"""Settings of a running database that change without replacing it, and an instance made elsewhere that becomes the stack's.

Real engine, emulator and PostgreSQL. What this cannot prove: how long AWS takes, whether a class is offered, and the move into the
stack's subnets, which the emulator does not make.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pulumi
import pulumi_aws as aws
import pytest

from amianai_infra.components.database import Database, DatabaseArgs
from amianai_infra.engine import Summary
from amianai_infra.errors import EngineError
from tests.functional.conftest import Bench, changed
from tests.functional.test_provider import stack
from tests.functional.test_provider_rds import connect, one

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")]

ID, NAME = "scale-postgres", "scale"


def program(args: dict[str, Any]) -> Any:
    def run() -> None:
        vpc = aws.ec2.Vpc("vpc", cidr_block="10.6.0.0/16")
        subnets = [
            aws.ec2.Subnet(f"subnet{number}", vpc_id=vpc.id, cidr_block=f"10.6.{number}.0/24", availability_zone=f"us-east-1{zone}")
            for number, zone in enumerate("ab")
        ]
        given: DatabaseArgs = {
            "prefix": "scale",
            "account": "000000000000",
            "vpc_id": vpc.id,
            "subnet_ids": [subnet.id for subnet in subnets],
            "client_cidrs": ["10.6.0.0/24"],
            "identifier": ID,
            "database": NAME,
            "username": f"{NAME}_admin",
            "deletion_protection": False,
            "final_snapshot_suffix": "x",
            **args,  # type: ignore[typeddict-item]
        }
        database = Database("database", given)
        pulumi.export("port", database.port)
        pulumi.export("secret", database.secret_arn)
        pulumi.export("replicas", database.replica_hosts)

    return run


def operations(summary: Summary) -> dict[str, tuple[str, ...]]:
    return {step.name: (step.op, *step.diffs) for step in summary.steps if step.op not in ("same", "read")}


SETTINGS: tuple[tuple[dict[str, Any], dict[str, tuple[str, ...]]], ...] = (
    ({"multi_az": True}, {"database-instance": ("update", "multiAz")}),
    ({"instance_class": "db.m7g.large"}, {"database-instance": ("update", "instanceClass")}),
    ({"storage_gib": 50}, {"database-instance": ("update", "allocatedStorage")}),
    ({"max_storage_gib": 500}, {"database-instance": ("update", "maxAllocatedStorage")}),
    ({"backup_days": 35}, {"database-instance": ("update", "backupRetentionPeriod")}),
    ({"insights": "advanced"}, {"database-instance": ("update", "databaseInsightsMode", "performanceInsightsRetentionPeriod")}),
    ({"apply_immediately": True}, {"database-instance": ("update", "allowMajorVersionUpgrade", "applyImmediately")}),
    ({"slow_statement_ms": 250}, {"database-parameters": ("update", "parameters[0].value")}),
)


def test_settings_change_without_replacement(bench: Bench, tmp_path: Path) -> None:
    args: dict[str, Any] = {}
    rds = bench.client("rds")
    with stack(bench, tmp_path, program(args)) as made:
        made.up()
        for change, expected in SETTINGS:
            args.clear()
            args.update(change)
            found = operations(made.preview())
            assert {name: step[0] for name, step in found.items()} == {name: step[0] for name, step in expected.items()}, change
            assert {name: set(step[1:]) for name, step in found.items() if name == "database-instance"} == {
                name: set(step[1:]) for name, step in expected.items() if name == "database-instance"
            }, change
        with connect(bench, made, NAME) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        args.clear()
        args.update(multi_az=True, instance_class="db.m7g.large", storage_gib=50, apply_immediately=True)
        made.up()
        described = rds.describe_db_instances(DBInstanceIdentifier=ID)["DBInstances"][0]
        assert (described["MultiAZ"], described["DBInstanceClass"], described["AllocatedStorage"]) == (True, "db.m7g.large", 50)
        assert changed(made.preview()) == {}
        with connect(bench, made, NAME) as connection:
            assert one(connection, "SELECT answer FROM kept") == 42
        args["database"] = "other"
        assert operations(made.preview())["database-instance"][0] == "replace", "and what would replace it is announced"


OWN = {"managed_password": False}


def test_replicas_come_and_go_with_a_rotated_password(bench: Bench, tmp_path: Path) -> None:
    args: dict[str, Any] = {"final_snapshot_suffix": "replicated"}
    rds, manager = bench.client("rds"), bench.client("secretsmanager")
    with stack(bench, tmp_path, program(args)) as made:
        made.up()
        managed = made.outputs()["secret"]
        with connect(bench, made, NAME) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

        args["replicas"] = 1
        with pytest.raises(EngineError, match="whose master password it manages"):
            made.up()

        args |= OWN | {"replicas": 2}
        made.up()
        assert changed(made.up()) == {}, "another throw-away password is no change"
        assert changed(made.refresh()) == {}
        secret = made.outputs()["secret"]
        assert secret != managed
        described = manager.describe_secret(SecretId=secret)
        assert (described["RotationEnabled"], described["RotationRules"]["AutomaticallyAfterDays"]) == (True, 7)
        with connect(bench, made, NAME) as connection:
            assert one(connection, "SELECT answer FROM kept") == 42, "with the rotated secret's password"
        found = {each["DBInstanceIdentifier"]: each for each in rds.describe_db_instances()["DBInstances"]}
        assert {name: each.get("ReadReplicaSourceDBInstanceIdentifier") or None for name, each in found.items()} == {
            ID: None,
            f"{ID}-replica-1": ID,
            f"{ID}-replica-2": ID,
        }
        assert made.outputs()["replicas"] == ["localhost", "localhost"]

        args["rotation_days"] = 30
        assert operations(made.up()) == {"database-master-rotation": ("update", "rotationRules.automaticallyAfterDays")}

        args |= {"managed_password": True}
        with pytest.raises(EngineError, match="has read replicas"):
            made.up()
        args |= OWN | {"replicas": 0}
        made.up()
        args["managed_password"] = True
        made.preview()  # which knows no secret of RDS's yet
        made.up()
        assert ":secret:rds!db-" in managed
        assert ":secret:rds!db-" in made.outputs()["secret"], "RDS keeps it again"
        with connect(bench, made, NAME) as connection:
            assert one(connection, "SELECT answer FROM kept") == 42


def by_hand(bench: Bench, **other: Any) -> str:
    """An instance as Terraform or a person might have left it."""
    given: dict[str, Any] = {
        "DBInstanceIdentifier": ID,
        "Engine": "postgres",
        "EngineVersion": "16",
        "DBInstanceClass": "db.m5.large",
        "AllocatedStorage": 30,
        "StorageType": "gp2",
        "StorageEncrypted": True,
        "DBName": NAME,
        "MasterUsername": f"{NAME}_admin",
        "MasterUserPassword": "chosen-by-hand",
        "PubliclyAccessible": True,
        "BackupRetentionPeriod": 1,
        "Port": int(bench.variables["PGPORT"]),
        **other,
    }
    return str(bench.client("rds").create_db_instance(**given)["DBInstance"]["DbiResourceId"])


def test_an_instance_made_elsewhere_becomes_the_stacks(bench: Bench, tmp_path: Path) -> None:
    resource_id, rds = by_hand(bench), bench.client("rds")
    args: dict[str, Any] = {"adopt": True, "storage_gib": 30, "final_snapshot_suffix": "adopted"}
    with stack(bench, tmp_path, program(args)) as made:
        assert operations(made.preview())["database-instance"][0] in ("import", "update")
        made.up()
        (found,) = [each for each in made.resources() if each.type == "aws:rds/instance:Instance"]
        assert found.id == resource_id, "the very instance"
        described = rds.describe_db_instances(DBInstanceIdentifier=ID)["DBInstances"][0]
        assert described["DbiResourceId"] == resource_id
        assert (described["PubliclyAccessible"], described["BackupRetentionPeriod"], described["DeletionProtection"]) == (False, 7, False)
        with connect(bench, made, NAME) as connection:
            assert one(connection, "SELECT current_user") == f"{NAME}_admin", "with the managed password"
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(
                host="localhost",
                port=made.outputs()["port"],
                dbname=NAME,
                user=f"{NAME}_admin",
                password="chosen-by-hand",
                sslmode="require",
            )
        assert changed(made.up()) == {}, "it is imported once"
        args["adopt"] = False
        assert changed(made.preview()) == {}, "and stays the stack's"


def test_an_instance_that_would_be_replaced_is_not_adopted(bench: Bench, tmp_path: Path) -> None:
    resource_id, rds = by_hand(bench, StorageEncrypted=False), bench.client("rds")
    args: dict[str, Any] = {"adopt": True, "storage_gib": 30, "deletion_protection": True}
    with stack(bench, tmp_path, program(args)) as made:
        with pytest.raises(EngineError, match="protect"):
            made.up()
        described = rds.describe_db_instances(DBInstanceIdentifier=ID)["DBInstances"][0]
        assert described["DbiResourceId"] == resource_id, "it is still there"
        made.unprotect([each.urn for each in made.resources() if each.protect])
        rds.modify_db_instance(DBInstanceIdentifier=ID, DeletionProtection=False, ApplyImmediately=True)
        made.forget([each.urn for each in made.resources() if each.type == "aws:rds/instance:Instance"])
        rds.delete_db_instance(DBInstanceIdentifier=ID, SkipFinalSnapshot=True)
