"""The database."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from amianai_infra.components.database import Database, DatabaseArgs
from amianai_infra.errors import ConfigurationError
from amianai_infra.rules.policies import RDS_MONITORING_POLICY
from tests.components import recorder
from tests.components.recorder import ACCOUNT, Record
from tests.unit.database.test_recipe import INPUTS

ARGS: DatabaseArgs = {
    "prefix": "eeyore",
    "account": ACCOUNT,
    "vpc_id": "vpc-1",
    "subnet_ids": ["subnet-a", "subnet-b"],
    "client_cidrs": ["10.0.10.0/24", "10.0.11.0/24"],
}


def test_the_defaults(record: Record) -> None:
    found = record(lambda: Database("database", {**ARGS, "final_snapshot_suffix": "k3x9"}))

    assert found.counts() == {
        "SecurityGroup": 1,
        "SecurityGroupIngressRule": 2,
        "SubnetGroup": 1,
        "ParameterGroup": 1,
        "LogGroup": 2,
        "Role": 1,
        "RolePolicyAttachment": 1,
        "Instance": 1,
        "Secret": 2,
    }
    assert found.one("Instance").inputs == {
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
        "vpcSecurityGroupIds": ["database-sg-id"],
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
        "enabledCloudwatchLogsExports": ["postgresql", "upgrade"],
        "databaseInsightsMode": "standard",
        "performanceInsightsEnabled": True,
        "performanceInsightsRetentionPeriod": 7,
        "monitoringInterval": 60,
        "monitoringRoleArn": f"arn:aws:iam::{ACCOUNT}:role/eeyore-postgres-monitoring",
        "tags": {"Name": "eeyore-postgres"},
    }


def test_only_the_given_ranges_may_connect_and_nothing_goes_out(record: Record) -> None:
    found = record(lambda: Database("database", {**ARGS, "port": 5544}))
    rules = [one.inputs for one in found.of("SecurityGroupIngressRule")]
    assert {rule["cidrIpv4"] for rule in rules} == {"10.0.10.0/24", "10.0.11.0/24"}
    assert all((rule["fromPort"], rule["toPort"], rule["ipProtocol"]) == (5544, 5544, "tcp") for rule in rules)
    group = found.one("SecurityGroup").inputs
    assert "egress" not in group
    assert "ingress" not in group
    assert not found.of("SecurityGroupEgressRule")


@pytest.mark.parametrize(("version", "family"), [("16", "postgres16"), ("16.4", "postgres16"), ("17", "postgres17")])
def test_version_and_parameter_family_have_one_source(record: Record, version: str, family: str) -> None:
    found = record(lambda: Database("database", {**ARGS, "engine_version": version}))
    group = found.one("ParameterGroup").inputs
    assert (group["family"], group["name"]) == (family, f"eeyore-postgres-{family}")
    assert found.one("Instance").inputs["engineVersion"] == version


def test_a_major_upgrade_is_allowed_where_changes_are_made_at_once(record: Record) -> None:
    at_once = record(lambda: Database("database", {**ARGS, "apply_immediately": True})).one("Instance").inputs
    assert (at_once["applyImmediately"], at_once["allowMajorVersionUpgrade"]) == (True, True)


def test_parameters(record: Record) -> None:
    found = record(lambda: Database("database", {**ARGS, "slow_statement_ms": 250}))
    parameters = {one["name"]: (one["value"], one["applyMethod"]) for one in found.one("ParameterGroup").inputs["parameters"]}
    assert parameters == {
        "rds.force_ssl": ("1", "immediate"),
        "log_min_duration_statement": ("250", "immediate"),
        "shared_preload_libraries": ("pg_stat_statements", "pending-reboot"),
        "pg_stat_statements.track": ("all", "immediate"),
    }


def test_log_groups_come_before_the_instance_and_expire(record: Record) -> None:
    found = record(lambda: Database("database", {**ARGS, "log_days": 90}))
    groups = {one.inputs["name"]: one.inputs["retentionInDays"] for one in found.of("LogGroup")}
    assert groups == {"/aws/rds/instance/eeyore-postgres/postgresql": 90, "/aws/rds/instance/eeyore-postgres/upgrade": 90}
    before = {one.pulumi_resource_name for one in found.options["database-instance"]["depends_on"]}
    assert before == {"database-log-postgresql", "database-log-upgrade", "database-monitoring-policy"}


def test_enhanced_monitoring(record: Record) -> None:
    found = record(lambda: Database("database", ARGS))
    trust = found.one("Role").json("assumeRolePolicy")["Statement"][0]
    assert trust["Principal"] == {"Service": "monitoring.rds.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert found.one("RolePolicyAttachment").inputs["policyArn"] == RDS_MONITORING_POLICY

    for identifier, role in (("eeyore-postgres", "tigger-eeyore-postgres"), ("tigger-main", "tigger-main")):
        tigger = record(lambda identifier=identifier: Database("database", {**ARGS, "prefix": "tigger", "identifier": identifier}))
        assert tigger.one("Role").inputs["name"] == f"{role}-monitoring", "the operator may create roles of the prefix only"

    without = record(lambda: Database("database", {**ARGS, "monitoring_seconds": 0}))
    assert not without.of("Role")
    assert without.one("Instance").inputs["monitoringInterval"] == 0
    assert "monitoringRoleArn" not in without.one("Instance").inputs


def test_advanced_insights_keep_fifteen_months(record: Record) -> None:
    instance = record(lambda: Database("database", {**ARGS, "insights": "advanced"})).one("Instance").inputs
    assert (instance["databaseInsightsMode"], instance["performanceInsightsRetentionPeriod"]) == ("advanced", 465)


@pytest.mark.parametrize(("storage", "ceiling", "expected"), [(20, 100, 100), (100, 100, None), (100, 105, None), (100, 110, 110)])
def test_autoscaling_needs_room(record: Record, storage: int, ceiling: int, expected: int | None) -> None:
    instance = record(lambda: Database("database", {**ARGS, "storage_gib": storage, "max_storage_gib": ceiling})).one("Instance").inputs
    assert instance.get("maxAllocatedStorage") == expected


@pytest.mark.parametrize("on", [True, False])
def test_one_setting_protects_in_aws_and_in_the_engine(record: Record, on: bool) -> None:
    found = record(lambda: Database("database", {**ARGS, "deletion_protection": on}))
    assert found.one("Instance").inputs["deletionProtection"] is on
    assert found.options["database-instance"]["protect"] is on


def test_the_secret_is_named_and_never_read(record: Record) -> None:
    seen: list[Any] = []

    def build() -> None:
        database = Database("database", ARGS)
        pulumi.Output.all(database.secret_arn, database.host, database.port, database.resource_id).apply(seen.extend)

    found = record(build)
    assert seen == [f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:rds!db-1", "db.example.internal", 5432, "db-ABC"]
    assert "password" not in str(found.one("Instance").inputs).replace("manageMasterUserPassword", "").lower()


@pytest.mark.parametrize("secrets", [[], None], ids=["none yet", "not told"])
def test_an_instance_whose_creation_failed_tells_no_secret_yet(
    record: Record, monkeypatch: pytest.MonkeyPatch, secrets: list[Any] | None
) -> None:
    """It is in the state without one: the next preview went on with an element that is not there."""
    whole = recorder.computed

    def failed(kind: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        return {**whole(kind, name, inputs), **({"masterUserSecrets": secrets} if kind == "aws:rds/instance:Instance" else {})}

    monkeypatch.setattr(recorder, "computed", failed)
    seen: list[Any] = []

    def build() -> None:
        Database("database", ARGS).secret_arn.apply(seen.append, run_with_unknowns=True)

    with pytest.raises(ConfigurationError, match="does not tell the secret") as caught:
        record(build)
    assert "eeyore-postgres" in str(caught.value)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    record(build)
    assert seen == [pulumi.UNKNOWN], "a preview shows what depends on it as not yet known"


def test_two_databases_coexist(record: Record) -> None:
    def both() -> None:
        Database("one", ARGS)
        Database("two", {**ARGS, "prefix": "tigger"})

    found = record(both)
    for kind, name in (
        ("Instance", "identifier"),
        ("ParameterGroup", "name"),
        ("SubnetGroup", "name"),
        ("Role", "name"),
        ("LogGroup", "name"),
        ("Secret", "name"),
    ):
        names = [one.inputs[name] for one in found.of(kind)]
        assert len(names) == len(set(names)) >= 2


def test_a_version_that_is_none_fails_at_once(record: Record) -> None:
    with pytest.raises(ValueError, match="is not a PostgreSQL version"):
        record(lambda: Database("database", {**ARGS, "engine_version": "latest"}))


def test_the_secrets_of_the_roles_are_empty(record: Record) -> None:
    """No password is in the state: `db migrate` makes it and writes it to Secrets Manager."""
    found = record(lambda: Database("database", ARGS))
    assert {one.inputs["name"] for one in found.of("Secret")} == {
        f"eeyore/database/eeyore-postgres/{role}" for role in ("application", "readonly")
    }
    assert all(one.inputs["recoveryWindowInDays"] == 0 for one in found.of("Secret"))
    assert not found.of("SecretVersion")


def test_a_tool_of_the_teams_own_gets_a_secret_of_its_own(record: Record) -> None:
    found = record(lambda: Database("database", {**ARGS, "migrations_by": "external"}))
    names = {one.inputs["name"].rpartition("/")[2]: one.inputs for one in found.of("Secret")}
    assert set(names) == {"application", "readonly", "migrator"}
    assert names["migrator"]["policy"] == names["application"]["policy"]
    assert not found.of("SecretVersion")


def test_a_restore_knows_every_input_of_the_instance(record: Record) -> None:
    """The tests of `database/recipe.py` start from these inputs: a new one must be restored, too, or be left out on purpose."""
    declared = record(lambda: Database("database", {**ARGS, "final_snapshot_suffix": "k3x9"})).one("Instance").inputs
    lists = {"tags", "vpcSecurityGroupIds", "enabledCloudwatchLogsExports"}
    assert set(declared) == set(INPUTS)
    assert {name: value for name, value in INPUTS.items() if name not in lists} == {
        name: value for name, value in declared.items() if name not in lists
    }


def test_backups_are_copied_to_a_second_region_under_a_key_of_that_region(record: Record) -> None:
    assert not record(lambda: Database("database", ARGS)).of("InstanceAutomatedBackupsReplication")
    found = record(lambda: Database("database", {**ARGS, "backup_region": "us-west-2", "backup_days": 14}))
    key, copy = found.one("Key").inputs, found.one("InstanceAutomatedBackupsReplication").inputs
    assert (key["region"], copy["region"]) == ("us-west-2", "us-west-2")
    assert (key["enableKeyRotation"], key["deletionWindowInDays"]) == (True, 30)
    assert copy["kmsKeyId"] == f"arn:aws:kms:us-west-2:{ACCOUNT}:key/database-backup-key"
    assert copy["retentionPeriod"] == 14
    assert copy["sourceDbInstanceArn"] == f"arn:aws:rds:us-east-1:{ACCOUNT}:db:eeyore-postgres"
    assert found.options["database-backup-copy"]["replacement_trigger"] is not None, "a restored instance has the same ARN"


OWN: DatabaseArgs = {**ARGS, "managed_password": False}


def test_a_password_of_its_own_is_sent_once_and_kept_by_nobody(record: Record) -> None:
    seen: list[Any] = []

    def build() -> None:
        pulumi.Output.all(Database("database", OWN).secret_arn).apply(seen.extend)

    found, again = record(build), record(build)
    instance = found.one("Instance").inputs
    assert "manageMasterUserPassword" not in instance
    assert instance["passwordWoVersion"] == 1
    assert len(instance["passwordWo"]) >= 40
    assert instance["passwordWo"] != again.one("Instance").inputs["passwordWo"], "drawn anew, sent with the first version only"
    assert found.secrets["database-instance"] == {"passwordWo"}
    assert seen[0] == f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:eeyore/database/eeyore-postgres/owner"


def test_replicas(record: Record) -> None:
    seen: list[Any] = []

    def build() -> None:
        pulumi.Output.all(Database("database", {**OWN, "replicas": 2}).replica_hosts).apply(seen.extend)

    found = record(build)
    instances = {one.inputs["identifier"]: one.inputs for one in found.of("Instance")}
    assert sorted(instances) == ["eeyore-postgres", "eeyore-postgres-replica-1", "eeyore-postgres-replica-2"]
    replica = instances["eeyore-postgres-replica-1"]
    assert replica["replicateSourceDb"] == "eeyore-postgres"
    assert replica["skipFinalSnapshot"] is True, "RDS takes no final snapshot of a replica"
    assert (replica["storageEncrypted"], replica["publiclyAccessible"]) == (True, False)
    assert replica["vpcSecurityGroupIds"] == ["database-sg-id"]
    assert not {"dbSubnetGroupName", "passwordWo", "username", "dbName", "backupRetentionPeriod", "allocatedStorage"} & set(replica)
    assert not found.options["database-replica-1"].get("protect")
    first = {one.pulumi_resource_name for one in found.options["database-master"]["depends_on"]}
    assert first == {"database-replica-1", "database-replica-2"}, "RDS makes none while the password is being set"
    groups = {one.inputs["name"] for one in found.of("LogGroup")}
    assert {f"/aws/rds/instance/eeyore-postgres-replica-{number}/{log}" for number in (1, 2) for log in ("postgresql", "upgrade")} < groups
    assert seen == [["db.example.internal"] * 2]
