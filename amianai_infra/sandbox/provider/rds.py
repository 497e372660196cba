"""RDS for PostgreSQL: the control plane in the emulator, the data in the sandbox's real server."""

from __future__ import annotations

import json
import re
import secrets
import string
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from amianai_infra.sandbox.install import POSTGRES_VERSION
from amianai_infra.sandbox.provider.postgres import Postgres, parameter_problem
from amianai_infra.sandbox.provider.properties import Problem, Props, flag, number, objects, text, text_set
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, tag_list, tag_map
from amianai_infra.sandbox.provider.values import Unknown


@cache
def _server(socket_dir: Path, port: int) -> Postgres:
    return Postgres(socket_dir, port)


def server(ctx: Context) -> Postgres:
    """The sandbox's PostgreSQL."""
    return _server(ctx.world.socket_dir, ctx.world.postgres_port)


class _Tagged(Resource):
    service = "rds"
    tagged = True

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().remove_tags_from_resource(ResourceName=state["arn"], TagKeys=removed)
        if tags:
            ctx.client().add_tags_to_resource(ResourceName=state["arn"], Tags=tag_list(tags))

    @staticmethod
    def tags_of(ctx: Context, arn: str) -> dict[str, str]:
        """The tags of a resource."""
        return tag_map(ctx.client().list_tags_for_resource(ResourceName=arn)["TagList"])


class SubnetGroup(_Tagged):
    """`aws.rds.SubnetGroup`; its id is its name."""

    token = "aws:rds/subnetGroup:SubnetGroup"
    props = {
        "name": text(force_new=True, autoname=True),
        "description": text(default="Managed by Pulumi"),
        "subnetIds": text_set(required=True),
    }
    outputs = ("arn", "vpcId", "supportedNetworkTypes")
    name_prop = "name"
    missing = ("DBSubnetGroupNotFoundFault",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        rds, name = ctx.client(), inputs["name"]
        taken = [
            group["DBSubnetGroupName"]
            for page in rds.get_paginator("describe_db_subnet_groups").paginate()
            for group in page["DBSubnetGroups"]
        ]
        if name in taken:
            raise ProviderError(f"DBSubnetGroupAlreadyExists: there is a subnet group {name} already")
        self._cover_zones(ctx, inputs)
        rds.create_db_subnet_group(
            DBSubnetGroupName=name,
            DBSubnetGroupDescription=inputs["description"],
            SubnetIds=inputs["subnetIds"],
            Tags=tag_list(ctx.tags(inputs)),
        )
        return str(name)

    @staticmethod
    def _cover_zones(ctx: Context, inputs: Inputs) -> None:
        found = ctx.client("ec2").describe_subnets(SubnetIds=inputs["subnetIds"])["Subnets"]
        if len({subnet["AvailabilityZone"] for subnet in found}) < 2:
            raise ProviderError(
                "DBSubnetGroupDoesNotCoverEnoughAZs: the subnets of a DB subnet group must be in two or more availability zones"
            )

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().describe_db_subnet_groups(DBSubnetGroupName=ident)["DBSubnetGroups"][0]
        return {
            "name": found["DBSubnetGroupName"],
            "description": found["DBSubnetGroupDescription"],
            "subnetIds": sorted(subnet["SubnetIdentifier"] for subnet in found["Subnets"]),
            "arn": found["DBSubnetGroupArn"],
            "vpcId": found["VpcId"],
            "supportedNetworkTypes": found.get("SupportedNetworkTypes", ["IPV4"]),
            "tags": self.tags_of(ctx, found["DBSubnetGroupArn"]),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        self._cover_zones(ctx, new)
        ctx.client().modify_db_subnet_group(
            DBSubnetGroupName=ident, DBSubnetGroupDescription=new["description"], SubnetIds=new["subnetIds"]
        )

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_db_subnet_group(DBSubnetGroupName=ident)


_PARAMETER: Props = {
    "name": text(required=True),
    "value": text(required=True),
    "applyMethod": text(default="immediate", choices=("immediate", "pending-reboot")),
}
_PARAMETERS_A_CALL: Final = 20


class ParameterGroup(_Tagged):
    """`aws.rds.ParameterGroup`; its id is its name. Names, values and methods are checked against the real server."""

    token = "aws:rds/parameterGroup:ParameterGroup"
    props = {
        "name": text(force_new=True, autoname=True),
        "family": text(required=True, force_new=True),
        "description": text(default="Managed by Pulumi", force_new=True),
        "parameters": objects(_PARAMETER, unordered=True),
        "skipDestroy": flag(default=False, write_only=True),
    }
    outputs = ("arn",)
    name_prop = "name"
    missing = ("DBParameterGroupNotFound",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        if not re.fullmatch(r"postgres\d+", inputs["family"]):
            raise ProviderError(f"InvalidParameterValue: the sandbox has PostgreSQL only; {inputs['family']} is not like postgres16")
        self._refuse_bad(ctx, inputs)
        ctx.client().create_db_parameter_group(
            DBParameterGroupName=inputs["name"],
            DBParameterGroupFamily=inputs["family"],
            Description=inputs["description"],
            Tags=tag_list(ctx.tags(inputs)),
        )
        return str(inputs["name"])

    @staticmethod
    def _refuse_bad(ctx: Context, inputs: Inputs) -> None:
        declared = inputs.get("parameters") or []
        if not declared:
            return
        settings = server(ctx).settings()
        found = (parameter_problem(item["name"], item["value"], item["applyMethod"], settings) for item in declared)
        problems = [problem for problem in found if problem]
        if problems:
            raise ProviderError("; ".join(problems))

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        self._set(ctx, ident, inputs.get("parameters") or [])

    @staticmethod
    def _set(ctx: Context, ident: str, parameters: list[Mapping[str, str]]) -> None:
        for start in range(0, len(parameters), _PARAMETERS_A_CALL):
            batch = [
                {"ParameterName": item["name"], "ParameterValue": item["value"], "ApplyMethod": item["applyMethod"]}
                for item in parameters[start : start + _PARAMETERS_A_CALL]
            ]
            ctx.client().modify_db_parameter_group(DBParameterGroupName=ident, Parameters=batch)

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().describe_db_parameter_groups(DBParameterGroupName=ident)["DBParameterGroups"][0]
        methods = {item["name"]: item.get("applyMethod", "immediate") for item in known.get("parameters") or []}
        parameters = [
            {
                "name": item["ParameterName"],
                "value": item["ParameterValue"],
                "applyMethod": methods.get(item["ParameterName"], item["ApplyMethod"]),
            }
            for item in _group_parameters(ctx, ident)
        ]
        return {
            "name": found["DBParameterGroupName"],
            "family": found["DBParameterGroupFamily"],
            "description": found["Description"],
            "parameters": parameters,
            "arn": found["DBParameterGroupArn"],
            "tags": self.tags_of(ctx, found["DBParameterGroupArn"]),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        if "parameters" not in changed:
            return
        self._refuse_bad(ctx, new)
        before = {item["name"]: item for item in old.get("parameters") or []}
        after = {item["name"]: item for item in new.get("parameters") or []}
        gone = sorted(before.keys() - after.keys())
        if gone:
            resets = [{"ParameterName": name, "ApplyMethod": before[name].get("applyMethod", "immediate")} for name in gone]
            ctx.client().reset_db_parameter_group(DBParameterGroupName=ident, ResetAllParameters=False, Parameters=resets)
        self._set(ctx, ident, [item for name, item in after.items() if before.get(name) != item])
        if _in_use(ctx, ident):
            server(ctx).apply({name: item["value"] for name, item in after.items()}, frozenset(gone))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        if state.get("skipDestroy"):
            return
        if _in_use(ctx, ident):
            raise ProviderError(f"InvalidDBParameterGroupState: an instance uses the parameter group {ident}")
        ctx.client().delete_db_parameter_group(DBParameterGroupName=ident)


def _group_parameters(ctx: Context, group: str) -> list[dict[str, Any]]:
    pages = ctx.client("rds").get_paginator("describe_db_parameters").paginate(DBParameterGroupName=group, Source="user")
    return [item for page in pages for item in page["Parameters"]]


def _instances(ctx: Context) -> list[dict[str, Any]]:
    return [item for page in ctx.client("rds").get_paginator("describe_db_instances").paginate() for item in page["DBInstances"]]


def _in_use(ctx: Context, group: str) -> bool:
    return any(used["DBParameterGroupName"] == group for found in _instances(ctx) for used in found["DBParameterGroups"])


# -- instances


def _same_version(declared: Any, real: Any) -> bool:
    """`16` is what is there when `16.4` is there."""
    return str(real) == str(declared) or str(real).startswith(f"{declared}.")


# input -> parameter of CreateDBInstance and ModifyDBInstance
_BOTH: Final = {
    "allocatedStorage": "AllocatedStorage",
    "autoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "backupRetentionPeriod": "BackupRetentionPeriod",
    "backupWindow": "PreferredBackupWindow",
    "caCertIdentifier": "CACertificateIdentifier",
    "copyTagsToSnapshot": "CopyTagsToSnapshot",
    "databaseInsightsMode": "DatabaseInsightsMode",
    "dbSubnetGroupName": "DBSubnetGroupName",
    "deletionProtection": "DeletionProtection",
    "engineVersion": "EngineVersion",
    "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "instanceClass": "DBInstanceClass",
    "iops": "Iops",
    "licenseModel": "LicenseModel",
    "maintenanceWindow": "PreferredMaintenanceWindow",
    "maxAllocatedStorage": "MaxAllocatedStorage",
    "monitoringInterval": "MonitoringInterval",
    "monitoringRoleArn": "MonitoringRoleArn",
    "multiAz": "MultiAZ",
    "networkType": "NetworkType",
    "optionGroupName": "OptionGroupName",
    "parameterGroupName": "DBParameterGroupName",
    "performanceInsightsEnabled": "EnablePerformanceInsights",
    "performanceInsightsKmsKeyId": "PerformanceInsightsKMSKeyId",
    "performanceInsightsRetentionPeriod": "PerformanceInsightsRetentionPeriod",
    "publiclyAccessible": "PubliclyAccessible",
    "storageThroughput": "StorageThroughput",
    "storageType": "StorageType",
    "vpcSecurityGroupIds": "VpcSecurityGroupIds",
}
_CREATE_ONLY: Final = {
    "availabilityZone": "AvailabilityZone",
    "dbName": "DBName",
    "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
    "engine": "Engine",
    "engineLifecycleSupport": "EngineLifecycleSupport",
    "identifier": "DBInstanceIdentifier",
    "kmsKeyId": "KmsKeyId",
    "manageMasterUserPassword": "ManageMasterUserPassword",
    "masterUserSecretKmsKeyId": "MasterUserSecretKmsKeyId",
    "password": "MasterUserPassword",
    "storageEncrypted": "StorageEncrypted",
    "username": "MasterUsername",
}
# Source: RDS User Guide, "DB instance class types" and "Supported DB engines for DB instance classes", column PostgreSQL: burstable (t),
# general purpose (m) and memory optimized (r, x), with their sizes. Generations come with the years and regions, and are not checked.
_CLASS: Final = r"db\.(t\d[a-z]*\.(micro|small|medium|large|xlarge|2xlarge)|[mrx]\d[a-z]*\.(medium|large|\d{0,2}xlarge))"
_LOGS: Final = ("postgresql", "upgrade", "iam-db-auth-error")
_RESERVED_USERS: Final = ("admin", "postgres", "rdsadmin", "rds_superuser", "public", "none", "user")
_PASSWORD_ALPHABET: Final = string.ascii_letters + string.digits + "!#$%&()*+,-.:;<=>?[]^_{|}~"


class Instance(_Tagged):
    """`aws.rds.Instance` of engine postgres; its id is its resource id (`db-...`), as in pulumi-aws 7.

    Imported by that or by its identifier.
    """

    token = "aws:rds/instance:Instance"
    props = {
        "identifier": text(autoname=True),
        "instanceClass": text(required=True),
        "engine": text(computed=True, force_new=True, choices=("postgres",)),
        "engineVersion": text(computed=True, drift_same=_same_version),
        "engineLifecycleSupport": text(computed=True, force_new=True, unreported=True),
        "dbName": text(computed=True, force_new=True),
        "username": text(computed=True, force_new=True),
        "password": text(secret=True, write_only=True),
        # Two passwords are equal here: only another version has one sent.
        "passwordWo": text(secret=True, write_only=True, canonical=lambda _: "a password"),
        "passwordWoVersion": number(write_only=True),
        "manageMasterUserPassword": flag(),
        "masterUserSecretKmsKeyId": text(computed=True, unreported=True),
        "port": number(default=5432, write_only=True),
        "allocatedStorage": number(computed=True),
        "maxAllocatedStorage": number(),
        "storageType": text(computed=True, choices=("standard", "gp2", "gp3", "io1", "io2")),
        "iops": number(computed=True),
        "storageThroughput": number(computed=True),
        "storageEncrypted": flag(default=False, force_new=True),
        "kmsKeyId": text(computed=True, force_new=True),
        "availabilityZone": text(computed=True, force_new=True),
        "multiAz": flag(default=False),
        "dbSubnetGroupName": text(computed=True),
        "vpcSecurityGroupIds": text_set(computed=True),
        "publiclyAccessible": flag(default=False),
        "networkType": text(computed=True, choices=("IPV4", "DUAL")),
        "parameterGroupName": text(computed=True),
        "optionGroupName": text(computed=True),
        "licenseModel": text(computed=True),
        "caCertIdentifier": text(computed=True),
        "iamDatabaseAuthenticationEnabled": flag(default=False),
        "enabledCloudwatchLogsExports": text_set(unreported=True),
        "databaseInsightsMode": text(computed=True, unreported=True, choices=("standard", "advanced")),
        "performanceInsightsEnabled": flag(default=False),
        "performanceInsightsKmsKeyId": text(computed=True, unreported=True),
        "performanceInsightsRetentionPeriod": number(computed=True, unreported=True),
        "monitoringInterval": number(default=0, choices=(0, 1, 5, 10, 15, 30, 60)),
        "monitoringRoleArn": text(computed=True),
        "backupRetentionPeriod": number(computed=True),
        "backupWindow": text(computed=True),
        "maintenanceWindow": text(computed=True),
        "copyTagsToSnapshot": flag(default=False),
        "autoMinorVersionUpgrade": flag(default=True),
        "allowMajorVersionUpgrade": flag(write_only=True),
        "applyImmediately": flag(write_only=True),
        "deletionProtection": flag(default=False),
        "deleteAutomatedBackups": flag(default=True, write_only=True),
        "skipFinalSnapshot": flag(default=False, write_only=True),
        "finalSnapshotIdentifier": text(write_only=True),
        "snapshotIdentifier": text(computed=True, force_new=True, write_only=True),
        "replicateSourceDb": text(force_new=True),
    }
    outputs = (
        "address",
        "arn",
        "endpoint",
        "engineVersionActual",
        "hostedZoneId",
        "latestRestorableTime",
        "listenerEndpoints",
        "masterUserSecrets",
        "replicas",
        "resourceId",
        "status",
    )
    volatile = ("engineVersionActual", "latestRestorableTime")
    real_outputs = ("port",)
    name_prop = "identifier"
    missing = ("DBInstanceNotFound", "DBInstanceNotFoundFault")

    def check(self, inputs: Inputs) -> list[Problem]:
        known = {name: value for name, value in inputs.items() if not isinstance(value, Unknown)}
        return [Problem(path, reason) for path, reason in (*_check_identity(inputs, known), *_check_operation(inputs, known))]

    # -- creation

    def create(self, ctx: Context, inputs: Inputs) -> str:
        self._refuse_absent(ctx, inputs)
        if inputs.get("replicateSourceDb"):
            return _create_replica(ctx, inputs)
        snapshot = inputs.get("snapshotIdentifier")
        asked = {**inputs, **(self._from_snapshot(ctx, snapshot) if snapshot else {})}
        parameters = {name: asked[key] for key, name in {**_BOTH, **_CREATE_ONLY}.items() if asked.get(key) not in (None, [])}
        # The emulator says `MINISTACK_HOST:<Port given here>` is the endpoint: the real server's.
        parameters.update(Port=ctx.world.postgres_port, Tags=tag_list(ctx.tags(inputs)))
        found = ctx.client().create_db_instance(**parameters)["DBInstance"]
        return str(found["DbiResourceId"])

    @staticmethod
    def _refuse_absent(ctx: Context, inputs: Inputs) -> None:
        """What the emulator takes on trust and RDS looks up."""
        if inputs.get("dbSubnetGroupName"):
            ctx.client().describe_db_subnet_groups(DBSubnetGroupName=inputs["dbSubnetGroupName"])
        if inputs.get("vpcSecurityGroupIds"):
            ctx.client("ec2").describe_security_groups(GroupIds=inputs["vpcSecurityGroupIds"])

    @staticmethod
    def _from_snapshot(ctx: Context, snapshot: str) -> dict[str, Any]:
        """What a snapshot decides: the emulator's own restore gives the instance another port, so it is created instead."""
        found = ctx.client().describe_db_snapshots(DBSnapshotIdentifier=snapshot)["DBSnapshots"][0]
        return {
            "engine": found["Engine"],
            "username": found["MasterUsername"],
            "dbName": server(ctx).kept_name(snapshot),
            "storageEncrypted": found["Encrypted"],
            "kmsKeyId": found.get("KmsKeyId") or None,
        }

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        found = _find(ctx, ident)
        if found is None:
            raise ProviderError(f"{ident} does not exist although the emulator accepted it")
        if inputs.get("backupWindow") and found["PreferredBackupWindow"] != inputs["backupWindow"]:  # ignored at creation
            ctx.client().modify_db_instance(
                DBInstanceIdentifier=found["DBInstanceIdentifier"], PreferredBackupWindow=inputs["backupWindow"]
            )
        if inputs.get("replicateSourceDb"):
            _settle_replica(ctx, found, inputs)
        else:
            self._serve(ctx, found, inputs)

    @staticmethod
    def _serve(ctx: Context, found: Mapping[str, Any], inputs: Inputs) -> None:
        """Make what RDS makes behind the API: the database, the master user with its password, the settings."""
        postgres, user = server(ctx), found["MasterUsername"]
        instances = {instance["DbiResourceId"] for instance in _instances(ctx)}
        database, snapshot = found.get("DBName") or None, inputs.get("snapshotIdentifier")
        postgres.create(found["DbiResourceId"], database, user, instances=instances, snapshot=snapshot)
        if inputs.get("manageMasterUserPassword"):
            postgres.set_password(user, _managed_password(ctx, found))
        else:
            _drop_secret(ctx, found)
            password = inputs.get("password") or inputs.get("passwordWo")
            if password:
                postgres.set_password(user, password)
        _apply_group(ctx, found["DBParameterGroups"][0]["DBParameterGroupName"])

    # -- reading

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _find(ctx, ident)
        if found is None:
            return None
        secret, source = _secret(ctx, found), found.get("ReadReplicaSourceDBInstanceIdentifier") or None
        database = found.get("DBName") or None
        if not known and not source and database and not server(ctx).exists(found["DbiResourceId"], database):
            # A creation that was cut short and is now imported: RDS would have finished it by itself.
            self._serve(ctx, found, {"manageMasterUserPassword": True})
            secret = _secret(ctx, found)
        address, port = found["Endpoint"]["Address"], ctx.world.postgres_port
        return {
            "id": found["DbiResourceId"],
            **_described(found),
            **_chosen(ctx, found, known),
            "manageMasterUserPassword": True if secret else None,
            "port": port,
            "address": address,
            "endpoint": f"{address}:{port}",
            "arn": found["DBInstanceArn"],
            "engineVersionActual": server(ctx).version,
            "hostedZoneId": found["Endpoint"].get("HostedZoneId"),
            "latestRestorableTime": found["LatestRestorableTime"].isoformat() if found.get("LatestRestorableTime") else None,
            "listenerEndpoints": [],
            "masterUserSecrets": [secret] if secret else [],
            "replicas": _replicas(ctx, found),
            "replicateSourceDb": source,
            "resourceId": found["DbiResourceId"],
            "status": found["DBInstanceStatus"],
            "tags": self.tags_of(ctx, found["DBInstanceArn"]),
        }

    # -- change

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        found = _find(ctx, ident)
        if found is None:
            raise ProviderError(f"DBInstanceNotFound: {ident}")
        name = found["DBInstanceIdentifier"]
        if new["identifier"] != name:
            raise ProviderError(
                f"the emulator cannot rename an instance; identifier = {new['identifier']!r} must stay {name!r} in the sandbox"
            )
        if "manageMasterUserPassword" in changed and new.get("manageMasterUserPassword") and _replicas(ctx, found):
            raise ProviderError(f"InvalidParameterCombination: {name} has read replicas, for which RDS does not manage the password")
        self._modify(ctx, name, old, new, changed)
        served = {"password", "passwordWoVersion", "manageMasterUserPassword", "parameterGroupName", "snapshotIdentifier"}
        if changed & served and not new.get("replicateSourceDb"):
            self._serve(ctx, _find(ctx, ident) or found, new)

    @staticmethod
    def _modify(ctx: Context, name: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        rds = ctx.client()
        parameters = {api: new[key] for key, api in _BOTH.items() if key in changed and new.get(key) not in (None, [])}
        if "maxAllocatedStorage" in changed and "maxAllocatedStorage" not in new:
            parameters["MaxAllocatedStorage"] = new["allocatedStorage"]  # how RDS is told to switch autoscaling off
        exports = _log_changes(old, new)
        if exports:
            parameters["CloudwatchLogsExportConfiguration"] = exports
        at_once = {api: parameters.pop(api) for api in ("BackupRetentionPeriod",) if api in parameters}
        if at_once:  # RDS applies it at once whatever applyImmediately says
            rds.modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=True, **at_once)
        if parameters:
            rds.modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=bool(new.get("applyImmediately")), **parameters)

    # -- deletion

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        found = _find(ctx, ident)
        if found is None:
            return
        name, snapshot = found["DBInstanceIdentifier"], self._final_snapshot(ctx, state)
        if found["DeletionProtection"]:
            raise ProviderError(
                f"InvalidParameterCombination: cannot delete the DB instance {name} while deletion protection is enabled; disable it first"
            )
        if not found.get("ReadReplicaSourceDBInstanceIdentifier"):
            server(ctx).remove(found["DbiResourceId"], found.get("DBName") or None, found["MasterUsername"], snapshot=snapshot)
        final = {"FinalDBSnapshotIdentifier": snapshot} if snapshot else {}
        ctx.client().delete_db_instance(
            DBInstanceIdentifier=name,
            SkipFinalSnapshot=snapshot is None,
            DeleteAutomatedBackups=bool(state.get("deleteAutomatedBackups", True)),
            **final,
        )
        _drop_secret(ctx, found)

    @staticmethod
    def _final_snapshot(ctx: Context, state: Inputs) -> str | None:
        if state.get("skipFinalSnapshot"):
            return None
        snapshot: str | None = state.get("finalSnapshotIdentifier")
        if not snapshot:
            raise ProviderError("finalSnapshotIdentifier is required when skipFinalSnapshot is false")
        taken = ctx.client().describe_db_snapshots().get("DBSnapshots", [])
        if any(found["DBSnapshotIdentifier"] == snapshot for found in taken):
            raise ProviderError(f"DBSnapshotAlreadyExists: there is a snapshot {snapshot} already")
        return snapshot


def _check_identity(inputs: Inputs, known: Inputs) -> list[tuple[str, str]]:
    """Name, user and password: the rules of CreateDBInstance that its model does not hold."""
    found = []
    identifier, user = known.get("identifier"), known.get("username")
    password = known.get("password") or known.get("passwordWo")
    if identifier is not None and not re.fullmatch(r"(?=.{1,63}$)[A-Za-z](-?[A-Za-z0-9])*", identifier):
        found.append(("identifier", f"identifier = {identifier!r} must be 1-63 letters, digits and single hyphens, starting with a letter"))
    if {"password", "passwordWo"} & set(inputs) and inputs.get("manageMasterUserPassword"):
        found.append(("password", "password does not go with manageMasterUserPassword"))
    if password is not None and (not 8 <= len(password) <= 128 or re.search(r'[/"@ ]|[^ -~]', password)):
        found.append(("password", 'the password must have 8 to 128 printable ASCII characters, without /, ", @ and space'))
    if user is not None and user.lower() in _RESERVED_USERS:
        found.append(("username", f"username = {user!r} is reserved by the engine"))
    found += _check_version(known)
    if not {"snapshotIdentifier", "replicateSourceDb"} & set(inputs):
        needed = [name for name in ("engine", "username", "allocatedStorage") if name not in inputs]
        found.extend((name, f"{name} is required unless snapshotIdentifier is given") for name in needed)
        if not {"password", "passwordWo"} & set(inputs) and not inputs.get("manageMasterUserPassword"):
            found.append(("password", "password, passwordWo or manageMasterUserPassword is required"))
    if ("passwordWo" in inputs) != ("passwordWoVersion" in inputs):
        found.append(("passwordWo", "passwordWo and passwordWoVersion go together"))
    return found


def _check_version(known: Inputs) -> list[tuple[str, str]]:
    """An instance is served by the one real server."""
    version, real = str(known.get("engineVersion") or ""), POSTGRES_VERSION.partition(".")[0]
    if not version or version.partition(".")[0] == real:
        return []
    return [("engineVersion", f"the sandbox's PostgreSQL is {real}, not {version}; leave database.engine_version at that here")]


def _check_operation(inputs: Inputs, known: Inputs) -> list[tuple[str, str]]:
    """Class, storage, monitoring, logs: the rules of CreateDBInstance that its model does not hold."""
    found = []
    storage = known.get("allocatedStorage")
    if storage is not None and not 20 <= storage <= 65536:
        found.append(("allocatedStorage", f"allocatedStorage = {storage} GiB must be 20 to 65536"))
    kind = known.get("instanceClass")
    if kind is not None and not re.fullmatch(_CLASS, kind):
        reason = f"RDS for PostgreSQL has no class {kind!r}, such as db.t4g.micro or db.m7g.large: database.instance_class"
        found.append(("instanceClass", reason))
    if not 1150 <= known.get("port", 5432) <= 65535:
        found.append(("port", f"port = {known['port']} must be 1150 to 65535"))
    if inputs["monitoringInterval"] and not inputs.get("monitoringRoleArn"):
        found.append(("monitoringRoleArn", "monitoringRoleArn is required when monitoringInterval is not 0"))
    if not 0 <= known.get("backupRetentionPeriod", 0) <= 35:
        found.append(("backupRetentionPeriod", "backupRetentionPeriod must be 0 to 35 days"))
    strange = [name for name in known.get("enabledCloudwatchLogsExports", []) if isinstance(name, str) and name not in _LOGS]
    if strange:
        found.append(("enabledCloudwatchLogsExports", f"{', '.join(strange)}: PostgreSQL exports {', '.join(_LOGS)}"))
    if known.get("databaseInsightsMode") == "advanced" and not inputs["performanceInsightsEnabled"]:
        found.append(("databaseInsightsMode", "advanced mode needs performanceInsightsEnabled"))
    return found


def _find(ctx: Context, ident: str) -> dict[str, Any] | None:
    """An instance by its resource id or its identifier."""
    return next((found for found in _instances(ctx) if ident in (found["DbiResourceId"], found["DBInstanceIdentifier"])), None)


def _described(found: Mapping[str, Any]) -> State:
    """The inputs that the emulator reports."""
    return {
        "identifier": found["DBInstanceIdentifier"],
        "instanceClass": found["DBInstanceClass"],
        "engine": found["Engine"],
        "engineVersion": found["EngineVersion"],
        "dbName": found.get("DBName") or None,
        "username": found["MasterUsername"],
        "allocatedStorage": found["AllocatedStorage"],
        "maxAllocatedStorage": found.get("MaxAllocatedStorage"),
        "storageType": found["StorageType"],
        "iops": found.get("Iops") or None,
        "storageThroughput": found.get("StorageThroughput") or None,
        "storageEncrypted": found["StorageEncrypted"],
        "availabilityZone": found["AvailabilityZone"],
        "multiAz": found["MultiAZ"],
        "dbSubnetGroupName": found["DBSubnetGroup"]["DBSubnetGroupName"],
        "vpcSecurityGroupIds": sorted(group["VpcSecurityGroupId"] for group in found["VpcSecurityGroups"]),
        "publiclyAccessible": found["PubliclyAccessible"],
        "networkType": found.get("NetworkType"),
        "parameterGroupName": found["DBParameterGroups"][0]["DBParameterGroupName"],
        "iamDatabaseAuthenticationEnabled": found["IAMDatabaseAuthenticationEnabled"],
        "performanceInsightsEnabled": found.get("PerformanceInsightsEnabled", False),
        "monitoringInterval": found["MonitoringInterval"],
        "monitoringRoleArn": found.get("MonitoringRoleArn") or None,
        "backupRetentionPeriod": found["BackupRetentionPeriod"],
        "backupWindow": found["PreferredBackupWindow"],
        "maintenanceWindow": found["PreferredMaintenanceWindow"],
        "copyTagsToSnapshot": found["CopyTagsToSnapshot"],
        "autoMinorVersionUpgrade": found["AutoMinorVersionUpgrade"],
        "deletionProtection": found["DeletionProtection"],
        "licenseModel": "postgresql-license",
        "optionGroupName": next((item["OptionGroupName"] for item in found.get("OptionGroupMemberships", [])), None),
        "caCertIdentifier": found.get("CACertificateIdentifier"),
    }


def _chosen(ctx: Context, found: Mapping[str, Any], known: Inputs) -> State:
    """What RDS reports and the emulator keeps no record of: the declared value, or RDS's default."""
    insights = {"performanceInsightsRetentionPeriod": 7} if found.get("PerformanceInsightsEnabled") else {}
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"aws/rds/{ctx.region}")
    return {
        "kmsKeyId": found.get("KmsKeyId") or (ctx.arn(f"key/{key}", "kms") if found["StorageEncrypted"] else None),
        "databaseInsightsMode": "standard",
        "engineLifecycleSupport": "open-source-rds-extended-support",
        **insights,
        **{name: known[name] for name in ("enabledCloudwatchLogsExports", "databaseInsightsMode") if name in known},
    }


def _log_changes(old: Inputs, new: Inputs) -> dict[str, list[str]]:
    before, after = set(old.get("enabledCloudwatchLogsExports") or []), set(new.get("enabledCloudwatchLogsExports") or [])
    found = {"EnableLogTypes": sorted(after - before), "DisableLogTypes": sorted(before - after)}
    return {name: types for name, types in found.items() if types}


def _apply_group(ctx: Context, group: str) -> None:
    if not group.startswith("default."):
        server(ctx).apply({item["ParameterName"]: item["ParameterValue"] for item in _group_parameters(ctx, group)})


# -- read replicas: entries of the emulator that lead to the one server


_REPLICA_ONLY_AFTER: Final = ("AllocatedStorage", "EngineVersion", "BackupRetentionPeriod", "PreferredBackupWindow", "LicenseModel")


def _create_replica(ctx: Context, inputs: Inputs) -> str:
    source = _find(ctx, inputs["replicateSourceDb"])
    if source is None:
        raise ProviderError(f"DBInstanceNotFound: there is no instance {inputs['replicateSourceDb']} to replicate")
    if _secret(ctx, source):
        raise ProviderError("InvalidDBInstanceState: RDS makes no read replica of an instance whose master password it manages")
    if not source["BackupRetentionPeriod"]:
        raise ProviderError("InvalidDBInstanceState: automated backups must be on to make a read replica")
    made = ctx.client().create_db_instance_read_replica(
        DBInstanceIdentifier=inputs["identifier"],
        SourceDBInstanceIdentifier=inputs["replicateSourceDb"],
        Tags=tag_list(ctx.tags(inputs)),
    )["DBInstance"]
    return str(made["DbiResourceId"])


def _settle_replica(ctx: Context, found: Mapping[str, Any], inputs: Inputs) -> None:
    """The emulator copies all of the source and hears nothing of what is asked."""
    asked = {api: inputs[key] for key, api in _BOTH.items() if inputs.get(key) not in (None, []) and api not in _REPLICA_ONLY_AFTER}
    ctx.client().modify_db_instance(
        DBInstanceIdentifier=found["DBInstanceIdentifier"], ApplyImmediately=True, BackupRetentionPeriod=0, **asked
    )


def _replicas(ctx: Context, found: Mapping[str, Any]) -> list[str]:
    """The emulator goes on naming replicas that are deleted."""
    name = found["DBInstanceIdentifier"]
    return sorted(one["DBInstanceIdentifier"] for one in _instances(ctx) if one.get("ReadReplicaSourceDBInstanceIdentifier") == name)


# -- the managed master secret, which the emulator does not make


def _secret_name(found: Mapping[str, Any]) -> str:
    return f"rds!db-{uuid.uuid5(uuid.NAMESPACE_URL, found['DbiResourceId'])}"


def _secret(ctx: Context, found: Mapping[str, Any]) -> dict[str, str] | None:
    """An entry of `masterUserSecrets`, None where there is no managed secret."""
    manager = ctx.client("secretsmanager")
    try:
        described = manager.describe_secret(SecretId=_secret_name(found))
    except manager.exceptions.ResourceNotFoundException:
        return None
    if described.get("DeletedDate"):
        return None
    return {
        "secretArn": described["ARN"],
        "secretStatus": "active",
        "kmsKeyId": described.get("KmsKeyId") or ctx.arn("alias/aws/secretsmanager", "kms"),
    }


def _managed_password(ctx: Context, found: Mapping[str, Any]) -> str:
    """The password in the managed secret, which is made where it is missing."""
    manager, name = ctx.client("secretsmanager"), _secret_name(found)
    if _secret(ctx, found):
        return str(json.loads(manager.get_secret_value(SecretId=name)["SecretString"])["password"])
    password = "".join(secrets.choice(_PASSWORD_ALPHABET) for _ in range(28))
    manager.create_secret(
        Name=name,
        Description=f"Secret associated with primary RDS DB instance: {found['DBInstanceArn']}",
        SecretString=json.dumps({"username": found["MasterUsername"], "password": password}),
        Tags=tag_list({"aws:secretsmanager:owningService": "rds", "aws:rds:primaryDBInstanceArn": found["DBInstanceArn"]}),
    )
    return password


def _drop_secret(ctx: Context, found: Mapping[str, Any]) -> None:
    if _secret(ctx, found):
        ctx.client("secretsmanager").delete_secret(SecretId=_secret_name(found), ForceDeleteWithoutRecovery=True)


class BackupCopy(Resource):
    """`aws.rds.InstanceAutomatedBackupsReplication`: the emulator has none, which is said in the preview."""

    token = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
    service = "rds"
    props = {
        "sourceDbInstanceArn": text(required=True, force_new=True),
        "kmsKeyId": text(force_new=True),
        "preSignedUrl": text(force_new=True),
        "retentionPeriod": number(default=7, force_new=True),
    }

    def check(self, inputs: Inputs) -> list[Problem]:
        reason = "the sandbox cannot copy backups to another region; leave database.backup_region empty here"
        return [Problem("sourceDbInstanceArn", reason)]


_AUTH: Props = {
    "authScheme": text(choices=("SECRETS",)),
    "clientPasswordAuthType": text(),
    "description": text(),
    "iamAuth": text(choices=("DISABLED", "REQUIRED")),
    "secretArn": text(),
    "username": text(),
}


class _OfProxy(Resource):
    """The emulator's proxies lead nowhere, which is said in the preview."""

    service = "rds"

    def check(self, inputs: Inputs) -> list[Problem]:
        return [Problem(next(iter(self.props)), "the sandbox has no database proxy; leave database.proxy off here")]


class ProxyTargetGroup(_OfProxy):
    """`aws.rds.ProxyDefaultTargetGroup`."""

    token = "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup"
    props = {"dbProxyName": text(required=True, force_new=True)}


class ProxyTarget(_OfProxy):
    """`aws.rds.ProxyTarget`."""

    token = "aws:rds/proxyTarget:ProxyTarget"
    props = {
        "dbProxyName": text(required=True, force_new=True),
        "targetGroupName": text(required=True, force_new=True),
        "dbInstanceIdentifier": text(force_new=True),
    }


class DatabaseProxy(_OfProxy):
    """`aws.rds.Proxy`."""

    token = "aws:rds/proxy:Proxy"
    tagged = True
    props = {
        "name": text(force_new=True, autoname=True),
        "engineFamily": text(required=True, force_new=True),
        "roleArn": text(required=True),
        "auths": objects(_AUTH, unordered=True),
        "requireTls": flag(default=False),
        "idleClientTimeout": number(computed=True),
        "debugLogging": flag(default=False),
        "vpcSubnetIds": text_set(required=True, force_new=True),
        "vpcSecurityGroupIds": text_set(computed=True),
    }
    outputs = ("arn", "endpoint")
    name_prop = "name"


RESOURCES = (SubnetGroup, ParameterGroup, Instance, BackupCopy, DatabaseProxy, ProxyTargetGroup, ProxyTarget)
