"""A restored instance gets every setting of the stack's own, at the restore or right after it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.session import Session

from amianai_infra.database.recipe import Recipe
from tests.components.recorder import ACCOUNT

INPUTS: dict[str, Any] = {
    "identifier": "eeyore-postgres",
    "engine": "postgres",
    "engineVersion": "16",
    "autoMinorVersionUpgrade": True,
    "instanceClass": "db.t3.micro",
    "allocatedStorage": 20,
    "maxAllocatedStorage": 100,
    "storageType": "gp3",
    "storageEncrypted": True,
    "dbName": "amianai",
    "username": "amianai_admin",
    "manageMasterUserPassword": True,
    "iamDatabaseAuthenticationEnabled": True,
    "port": 5432,
    "multiAz": False,
    "publiclyAccessible": False,
    "dbSubnetGroupName": "eeyore-postgres",
    "vpcSecurityGroupIds": ["sg-2", "sg-1"],
    "parameterGroupName": "eeyore-postgres-postgres16",
    "caCertIdentifier": "rds-ca-rsa2048-g1",
    "backupRetentionPeriod": 7,
    "backupWindow": "03:00-04:00",
    "maintenanceWindow": "sun:04:00-sun:05:00",
    "copyTagsToSnapshot": True,
    "deleteAutomatedBackups": True,
    "skipFinalSnapshot": False,
    "finalSnapshotIdentifier": "eeyore-postgres-final-k3x9",
    "deletionProtection": True,
    "enabledCloudwatchLogsExports": ["upgrade", "postgresql"],
    "databaseInsightsMode": "standard",
    "performanceInsightsEnabled": True,
    "performanceInsightsRetentionPeriod": 7,
    "monitoringInterval": 60,
    "monitoringRoleArn": f"arn:aws:iam::{ACCOUNT}:role/eeyore-postgres-monitoring",
    "tags": {"Name": "eeyore-postgres", "amianai:stack": "amianai-infra/prod"},
}
RECIPE = Recipe.of(INPUTS)
RIGHT: dict[str, Any] = {
    "DBInstanceClass": "db.t3.micro",
    "DBSubnetGroup": {"DBSubnetGroupName": "eeyore-postgres"},
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1"}, {"VpcSecurityGroupId": "sg-2"}],
    "DBParameterGroups": [{"DBParameterGroupName": "eeyore-postgres-postgres16", "ParameterApplyStatus": "in-sync"}],
    "PubliclyAccessible": False,
    "MultiAZ": False,
    "StorageType": "gp3",
    "IAMDatabaseAuthenticationEnabled": True,
    "CACertificateIdentifier": "rds-ca-rsa2048-g1",
    "AutoMinorVersionUpgrade": True,
    "CopyTagsToSnapshot": True,
    "DeletionProtection": True,
    "BackupRetentionPeriod": 7,
    "PreferredBackupWindow": "03:00-04:00",
    "MasterUserSecret": {"SecretArn": "arn:secret"},
    "MaxAllocatedStorage": 100,
    "PreferredMaintenanceWindow": "sun:04:00-sun:05:00",
    "MonitoringInterval": 60,
    "MonitoringRoleArn": f"arn:aws:iam::{ACCOUNT}:role/eeyore-postgres-monitoring",
    "PerformanceInsightsEnabled": True,
    "PerformanceInsightsRetentionPeriod": 7,
    "DatabaseInsightsMode": "standard",
    "EnabledCloudwatchLogsExports": ["postgresql", "upgrade"],
}
# Inputs of the instance that a restore takes from the backup, or that concern its deletion alone.
NOT_RESTORED = {
    "identifier",
    "engine",
    "engineVersion",
    "allocatedStorage",
    "storageEncrypted",
    "dbName",
    "username",
    "deleteAutomatedBackups",
    "skipFinalSnapshot",
    "finalSnapshotIdentifier",
    "tags",
    "port",
    "enabledCloudwatchLogsExports",
}


def members(operation: str) -> set[str]:
    shape = Session().get_service_model("rds").operation_model(operation).input_shape
    assert shape is not None
    return set(shape.members)


@pytest.mark.parametrize(
    ("kind", "operation"), [("time", "RestoreDBInstanceToPointInTime"), ("snapshot", "RestoreDBInstanceFromDBSnapshot")]
)
def test_everything_that_a_restore_takes_is_stated(kind: str, operation: str) -> None:
    stated = RECIPE.at_restore(kind)
    assert set(stated) <= members(operation)
    shared = set(RECIPE.settings) & members(operation)
    assert shared <= set(stated), "what the call takes is not left to a later modification"
    assert stated["DBSubnetGroupName"] == "eeyore-postgres"
    assert (stated["PubliclyAccessible"], stated["ManageMasterUserPassword"], stated["Port"]) == (False, True, 5432)
    assert stated["EnableCloudwatchLogsExports"] == ["postgresql", "upgrade"]


def test_no_setting_of_the_stack_is_forgotten() -> None:
    from amianai_infra.database import recipe

    known = {one.input for one in recipe._SETTINGS}
    assert set(INPUTS) - NOT_RESTORED <= known, "a new input of the component needs a line in the recipe"
    assert {one.parameter for one in recipe._SETTINGS} - {"DBSubnetGroupName"} <= members("ModifyDBInstance")


def test_what_is_right_is_left_alone() -> None:
    assert RECIPE.differences(RIGHT) == {}
    assert RECIPE.misplaced(RIGHT) == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"PubliclyAccessible": True}, {"PubliclyAccessible": False}),
        ({"DeletionProtection": False}, {"DeletionProtection": True}),
        ({"MasterUserSecret": None}, {"ManageMasterUserPassword": True}),
        ({"VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-default"}]}, {"VpcSecurityGroupIds": ["sg-1", "sg-2"]}),
        ({"DBParameterGroups": [{"DBParameterGroupName": "default.postgres16"}]}, {"DBParameterGroupName": "eeyore-postgres-postgres16"}),
        ({"EnabledCloudwatchLogsExports": []}, {"CloudwatchLogsExportConfiguration": {"EnableLogTypes": ["postgresql", "upgrade"]}}),
        (
            {"MonitoringInterval": 0, "MonitoringRoleArn": None},
            {"MonitoringInterval": 60, "MonitoringRoleArn": INPUTS["monitoringRoleArn"]},
        ),
        (
            {"DatabaseInsightsMode": "advanced"},
            {"DatabaseInsightsMode": "standard", "EnablePerformanceInsights": True, "PerformanceInsightsRetentionPeriod": 7},
        ),
    ],
)
def test_what_differs_is_modified(change: dict[str, Any], expected: dict[str, Any]) -> None:
    assert RECIPE.differences({**RIGHT, **change}) == expected


def test_the_default_network_can_not_be_corrected() -> None:
    assert "subnet group default, not in eeyore-postgres" in RECIPE.misplaced({**RIGHT, "DBSubnetGroup": {"DBSubnetGroupName": "default"}})


def test_a_copy_that_goes_again_is_not_protected() -> None:
    settings = RECIPE.unprotected().settings
    assert (settings["DeletionProtection"], settings["BackupRetentionPeriod"], settings["MultiAZ"]) == (False, 0, False)
    assert settings["PubliclyAccessible"] is False
    assert json.dumps(RECIPE.tags)
