"""RDS instances with the real engine, the emulator and a real PostgreSQL server.

What this cannot prove: point-in-time recovery, replicas and failover, which the emulator does not have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pulumi
import pulumi_aws as aws
import pytest

from amianai_infra.errors import EngineError
from amianai_infra.sandbox.postgres import locate
from amianai_infra.sandbox.provider.postgres import Postgres
from tests.functional.conftest import Bench, Program, Stack, changed
from tests.functional.test_provider import assert_importable, stack, steps

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")

IDENTIFIER = "bench-postgres"
DATABASE = "bench"
USER = "bench_admin"


class Settings:
    """What the test changes between two runs of the program."""

    def __init__(self) -> None:
        self.slow = "1000"
        self.method = "immediate"
        self.backups = 7
        self.protected = True
        self.final: str | None = None
        self.restore: str | None = None
        self.parameter = "log_min_duration_statement"
        self.zones = 2


def database(settings: Settings) -> Program:
    def program() -> None:
        vpc = aws.ec2.Vpc("vpc", cidr_block="10.5.0.0/16")
        zones = ["us-east-1a", "us-east-1b"]
        subnets = [
            aws.ec2.Subnet(
                f"subnet{number}", vpc_id=vpc.id, cidr_block=f"10.5.{number}.0/24", availability_zone=zones[number % settings.zones]
            )
            for number in range(2)
        ]
        group = aws.ec2.SecurityGroup("group", name="bench-db", vpc_id=vpc.id)
        places = aws.rds.SubnetGroup("places", name="bench", subnet_ids=[subnet.id for subnet in subnets])
        parameters = aws.rds.ParameterGroup(
            "parameters",
            name="bench-postgres16",
            family="postgres16",
            parameters=[
                {"name": "rds.force_ssl", "value": "1"},
                {"name": settings.parameter, "value": settings.slow, "apply_method": settings.method},
                {"name": "shared_preload_libraries", "value": "pg_stat_statements", "apply_method": "pending-reboot"},
            ],
        )
        instance = aws.rds.Instance(
            "instance",
            identifier=IDENTIFIER,
            engine="postgres",
            engine_version="16",
            instance_class="db.t3.micro",
            allocated_storage=20,
            max_allocated_storage=100,
            storage_type="gp3",
            storage_encrypted=True,
            db_name=DATABASE,
            username=USER,
            manage_master_user_password=True,
            port=5432,
            db_subnet_group_name=places.name,
            vpc_security_group_ids=[group.id],
            parameter_group_name=parameters.name,
            backup_retention_period=settings.backups,
            backup_window="02:00-03:00",
            maintenance_window="sun:04:00-sun:05:00",
            copy_tags_to_snapshot=True,
            deletion_protection=settings.protected,
            enabled_cloudwatch_logs_exports=["postgresql", "upgrade"],
            skip_final_snapshot=settings.final is None,
            final_snapshot_identifier=settings.final,
            snapshot_identifier=settings.restore,
            tags={"Name": IDENTIFIER},
        )
        pulumi.export("port", instance.port)
        pulumi.export("endpoint", instance.endpoint)
        pulumi.export("secret", instance.master_user_secrets[0].secret_arn)

    return program


def connect(bench: Bench, made: Stack, database: str = DATABASE) -> psycopg.Connection[Any]:
    """As the application does: over TLS, with the managed secret."""
    out = made.outputs()
    secret = json.loads(bench.client("secretsmanager").get_secret_value(SecretId=out["secret"])["SecretString"])
    return psycopg.connect(
        host="localhost",
        port=out["port"],
        dbname=database,
        user=secret["username"],
        password=secret["password"],
        sslmode="verify-full",
        sslrootcert=str(bench.sandbox.certificates.ca),
        autocommit=True,
    )


def one(connection: psycopg.Connection[Any], query: Any) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def test_the_whole_life_of_a_database(bench: Bench, tmp_path: Path) -> None:
    settings, rds = Settings(), bench.client("rds")
    with stack(bench, tmp_path, database(settings)) as made:
        made.up()
        assert changed(made.up()) == {}
        assert changed(made.refresh()) == {}
        told_later = {"enabledCloudwatchLogsExports", "skipFinalSnapshot", "parameters"}
        assert_importable(bench, made, told_later)

        found = rds.describe_db_instances(DBInstanceIdentifier=IDENTIFIER)["DBInstances"][0]
        assert (found["StorageEncrypted"], found["PubliclyAccessible"], found["BackupRetentionPeriod"]) == (True, False, 7)
        assert (found["DeletionProtection"], found["PreferredBackupWindow"]) == (True, "02:00-03:00")
        out = made.outputs()
        assert out["port"] == found["Endpoint"]["Port"] == int(bench.variables["PGPORT"])
        assert out["endpoint"] == f"{found['Endpoint']['Address']}:{out['port']}"
        password = json.loads(bench.client("secretsmanager").get_secret_value(SecretId=out["secret"])["SecretString"])["password"]
        assert password not in made.state()

        with connect(bench, made) as connection:
            assert one(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
            assert one(connection, "SELECT rolsuper OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = current_user") is False
            assert one(connection, "SELECT rolcreaterole AND rolcreatedb FROM pg_roles WHERE rolname = current_user") is True
            assert one(connection, "SHOW log_min_duration_statement") == "1s"
            connection.execute("CREATE TABLE kept (text text)")
            connection.execute("INSERT INTO kept VALUES ('data')")
            connection.execute("CREATE ROLE application LOGIN")
            connection.execute("GRANT rds_iam TO application")
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            connection.execute("CREATE EXTENSION pgcrypto")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("ALTER SYSTEM SET work_mem = '1GB'")

        settings.backups = 14
        assert steps(made.up()) == {"instance": ("backupRetentionPeriod",)}
        settings.slow = "500"
        assert list(steps(made.up())) == ["parameters"]
        with connect(bench, made) as connection:
            assert one(connection, "SHOW log_min_duration_statement") == "500ms"
        rds.modify_db_instance(DBInstanceIdentifier=IDENTIFIER, BackupRetentionPeriod=1, ApplyImmediately=True)
        assert changed(made.refresh()) == {"update": 1}
        assert steps(made.up()) == {"instance": ("backupRetentionPeriod",)}

        with pytest.raises(EngineError, match="deletion protection"):
            made.destroy()
        settings.protected, settings.final = False, "bench-final-1"
        made.up()
    assert not rds.describe_db_instances()["DBInstances"]
    left = [snapshot["DBSnapshotIdentifier"] for snapshot in rds.describe_db_snapshots()["DBSnapshots"]]
    assert [name for name in left if name.startswith("bench-final")] == ["bench-final-1"]
    secrets = bench.client("secretsmanager").list_secrets()["SecretList"]
    assert not [secret for secret in secrets if secret.get("Description", "").endswith(f":db:{IDENTIFIER}")]

    settings.restore, settings.final = "bench-final-1", None
    with stack(bench, tmp_path, database(settings)) as made:
        made.up()
        with connect(bench, made) as connection:
            assert one(connection, "SELECT text FROM kept") == "data"
            assert one(connection, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'application'") is True
            assert one(connection, "SHOW log_min_duration_statement") == "500ms"
        settings.restore = None
        assert changed(made.up()) == {}, "no longer naming the snapshot is no change"
    rds.delete_db_snapshot(DBSnapshotIdentifier="bench-final-1")


REFUSED = (
    ("parameter", "log_min_duration", "Could not find parameter with name: log_min_duration"),
    ("parameter", "max_connections", "cannot use immediate apply method for static parameter max_connections"),
    ("slow", "1s", "is not a number"),
    ("restore", "no-such-snapshot", "DBSnapshotNotFound"),
)


@pytest.mark.soak
def test_what_rds_would_refuse_is_refused(bench: Bench, tmp_path: Path) -> None:
    settings = Settings()
    settings.zones = 1
    with stack(bench, tmp_path, database(settings)) as made:
        with pytest.raises(EngineError, match="DBSubnetGroupDoesNotCoverEnoughAZs"):
            made.up()
        for name, value, reason in REFUSED:
            settings.__dict__.update(Settings().__dict__, protected=False, **{name: value})
            with pytest.raises(EngineError, match=reason):
                made.up()
        assert not bench.client("rds").describe_db_instances()["DBInstances"]


def test_the_data_of_a_forgotten_instance_goes_over_to_the_one_made_in_its_place(bench: Bench, tmp_path: Path) -> None:
    """A killed emulator forgets; here it is made to, by deleting the instance behind the provider's back."""
    rds, settings = bench.client("rds"), Settings()
    settings.protected, settings.final = False, "bench-forgotten"
    server = Postgres(locate(bench.sandbox.local).sockets, int(bench.variables["PGPORT"]))
    with stack(bench, tmp_path, database(settings)) as made:
        made.up()
        with connect(bench, made) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'data' AS text")
        rds.delete_db_instance(DBInstanceIdentifier=IDENTIFIER, SkipFinalSnapshot=True)
        made.refresh()
        made.up()
        with connect(bench, made) as connection:
            assert one(connection, "SELECT text FROM kept") == "data"
        assert changed(made.refresh()) == {}

    with stack(bench, tmp_path, database(settings)) as made:
        settings.final = None
        made.up()
        with connect(bench, made) as connection:
            assert one(connection, "SELECT to_regclass('kept')") is None, "another instance, after the first was deleted"
            connection.execute("CREATE TABLE newer (text text)")
        rds.delete_db_instance(DBInstanceIdentifier=IDENTIFIER, SkipFinalSnapshot=True)
        made.refresh()
        settings.restore = "bench-forgotten"
        made.up()
        with connect(bench, made) as connection:
            assert one(connection, "SELECT text FROM kept") == "data"
    with server.connected(f"{DATABASE}_forgotten") as connection:
        assert one(connection, "SELECT to_regclass('newer')") is not None, "set aside, not dropped"
    with server.connected() as connection:
        connection.execute(f"DROP DATABASE {DATABASE}_forgotten")
    rds.delete_db_snapshot(DBSnapshotIdentifier="bench-forgotten")


def test_an_instance_cut_short_is_imported_whole(bench: Bench, tmp_path: Path) -> None:
    rds = bench.client("rds")
    made_by_hand = rds.create_db_instance(
        DBInstanceIdentifier="bench-cut",
        Engine="postgres",
        EngineVersion="16",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        DBName="cut",
        MasterUsername="cut_admin",
        ManageMasterUserPassword=True,
    )["DBInstance"]

    def program() -> None:
        options = pulumi.ResourceOptions(import_="bench-cut")
        instance = aws.rds.Instance(
            "instance",
            identifier="bench-cut",
            engine="postgres",
            engine_version="16",
            instance_class="db.t3.micro",
            allocated_storage=20,
            db_name="cut",
            username="cut_admin",
            manage_master_user_password=True,
            skip_final_snapshot=True,
            opts=options,
        )
        pulumi.export("id", instance.id)
        pulumi.export("port", instance.port)
        pulumi.export("secret", instance.master_user_secrets[0].secret_arn)

    with stack(bench, tmp_path, program) as made:
        assert changed(made.up()) == {"update": 1}, "imported, then told what only the state knows: skipFinalSnapshot"
        out = made.outputs()
        assert out["id"] == made_by_hand["DbiResourceId"]
        with connect(bench, made, "cut") as connection:
            assert one(connection, "SELECT 1") == 1
        assert changed(made.up()) == {}
