"""What is said before an instance that was made elsewhere is adopted."""

from __future__ import annotations

from typing import Any

import pytest

from amianai_infra.config import DatabaseSettings
from amianai_infra.database.adoption import judge

CHOSEN = DatabaseSettings()
FOUND: dict[str, Any] = {
    "DBInstanceIdentifier": "eeyore-postgres",
    "Engine": "postgres",
    "EngineVersion": "16.4",
    "DBInstanceClass": "db.t3.micro",
    "DBName": "amianai",
    "MasterUsername": "amianai_admin",
    "AllocatedStorage": 20,
    "StorageType": "gp3",
    "StorageEncrypted": True,
    "MultiAZ": False,
    "PubliclyAccessible": False,
    "BackupRetentionPeriod": 7,
    "DBParameterGroups": [{"DBParameterGroupName": "default.postgres16"}],
    "DBSubnetGroup": {"VpcId": "vpc-default"},
    "MasterUserSecret": {"SecretArn": "arn"},
}


def levels(change: dict[str, Any], chosen: DatabaseSettings = CHOSEN, vpc: str = "") -> dict[str, str]:
    return {one.what: one.level for one in judge({**FOUND, **change}, chosen, vpc)}


def test_a_fitting_instance_is_only_moved() -> None:
    assert levels({}) == {"parameters": "note", "network": "note"}
    assert levels({}, vpc="vpc-default")["network"] == "ok"


@pytest.mark.parametrize(
    ("change", "what", "fix"),
    [
        ({"Engine": "mysql"}, "engine", "cannot be adopted"),
        ({"StorageEncrypted": False}, "encryption", "copy a snapshot"),
        ({"DBName": "eeyore"}, "name", "--set database.name=eeyore"),
        ({"DBName": None}, "name", "by hand"),
        ({"MasterUsername": "postgres"}, "username", "--set database.username=postgres"),
        ({"EngineVersion": "17.2"}, "engine_version", "--set database.engine_version=17"),
        ({"EngineVersion": "15.8"}, "engine_version", "--set database.engine_version=15, upgrade afterwards"),
        ({"AllocatedStorage": 500}, "storage_gib", "--set database.storage_gib=500 --set database.max_storage_gib=1000"),
        ({"MultiAZ": True}, "network", "--no-multi-az"),
        ({"ReadReplicaDBInstanceIdentifiers": ["one"]}, "network", "delete them"),
    ],
)
def test_what_stands_in_the_way_and_how_to_go_round(change: dict[str, Any], what: str, fix: str) -> None:
    (found,) = [one for one in judge({**FOUND, **change}, CHOSEN) if one.level == "problem"]
    assert found.what == what
    assert fix in found.fix


@pytest.mark.parametrize(
    ("change", "what", "fact"),
    [
        ({"DBInstanceClass": "db.m5.large"}, "instance_class", "db.m5.large becomes db.t3.micro"),
        ({"StorageType": "gp2"}, "storage", "gp2 becomes gp3"),
        ({"MasterUserSecret": None}, "master password", "the one in use ends"),
        ({"PubliclyAccessible": True}, "public", "becomes private"),
        ({"BackupRetentionPeriod": 30}, "backup_days", "30 becomes 7; older backups go"),
        ({"AllocatedStorage": 50}, "parameters", "TLS is required"),
    ],
)
def test_what_changes_in_place(change: dict[str, Any], what: str, fact: str) -> None:
    found = judge({**FOUND, **change}, CHOSEN)
    assert not [one for one in found if one.level == "problem"], found
    assert fact in next(one.fact for one in found if one.what == what)


def test_a_password_that_rds_keeps_ends_where_the_stack_keeps_its_own() -> None:
    own = CHOSEN.model_copy(update={"managed_password": False})
    (found,) = [one for one in judge(FOUND, own) if one.what == "master password"]
    assert "the stack's rotation makes a new one" in found.fact
    assert not [one for one in judge(FOUND, CHOSEN) if one.what == "master password"]
