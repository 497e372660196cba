"""The stack's own settings of its instance, for an instance that is restored. Pure.

A restore takes next to nothing from its source: without being told it goes to the default VPC with the default groups and
parameters, without logs, monitoring, protection or a managed password. So every setting is stated, at the restore where the API
takes it there, else by a modification before anybody uses the instance.

Source: Amazon RDS API Reference, RestoreDBInstanceToPointInTime, RestoreDBInstanceFromDBSnapshot, ModifyDBInstance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Inputs = Mapping[str, Any]
Described = Mapping[str, Any]


@dataclass(frozen=True)
class _Setting:
    """One setting: its name in the stack, in the calls, and in the description of an instance.

    Attributes:
        input: name among the inputs of `aws.rds.Instance`.
        parameter: name in the calls.
        real: what a description says; by default the value under `parameter`.
        at: which calls take it: `restore` (both), `time` (point in time only), `after` (only a modification).
    """

    input: str
    parameter: str
    at: str = "restore"
    real: Callable[[Described], Any] | None = None

    def read(self, described: Described) -> Any:
        return self.real(described) if self.real else described.get(self.parameter)


def _named(key: str) -> Callable[[Described], Any]:
    return lambda described: described.get(key)


def _parameter_group(described: Described) -> Any:
    groups = described.get("DBParameterGroups") or [{}]
    return groups[0].get("DBParameterGroupName")


def _security_groups(described: Described) -> Any:
    return sorted(group["VpcSecurityGroupId"] for group in described.get("VpcSecurityGroups") or [])


def _subnet_group(described: Described) -> Any:
    return (described.get("DBSubnetGroup") or {}).get("DBSubnetGroupName")


def _managed(described: Described) -> Any:
    return bool(described.get("MasterUserSecret"))


_SETTINGS = (
    _Setting("instanceClass", "DBInstanceClass"),
    _Setting("dbSubnetGroupName", "DBSubnetGroupName", real=_subnet_group),
    _Setting("vpcSecurityGroupIds", "VpcSecurityGroupIds", real=_security_groups),
    _Setting("parameterGroupName", "DBParameterGroupName", real=_parameter_group),
    _Setting("publiclyAccessible", "PubliclyAccessible"),
    _Setting("multiAz", "MultiAZ"),
    _Setting("storageType", "StorageType"),
    _Setting("iops", "Iops"),
    _Setting("storageThroughput", "StorageThroughput"),
    _Setting("networkType", "NetworkType"),
    _Setting("iamDatabaseAuthenticationEnabled", "EnableIAMDatabaseAuthentication", real=_named("IAMDatabaseAuthenticationEnabled")),
    _Setting("caCertIdentifier", "CACertificateIdentifier"),
    _Setting("autoMinorVersionUpgrade", "AutoMinorVersionUpgrade"),
    _Setting("copyTagsToSnapshot", "CopyTagsToSnapshot"),
    _Setting("deletionProtection", "DeletionProtection"),
    _Setting("backupRetentionPeriod", "BackupRetentionPeriod"),
    _Setting("backupWindow", "PreferredBackupWindow"),
    _Setting("manageMasterUserPassword", "ManageMasterUserPassword", real=_managed),
    _Setting("maxAllocatedStorage", "MaxAllocatedStorage", at="time"),
    _Setting("maintenanceWindow", "PreferredMaintenanceWindow", at="after"),
    _Setting("monitoringInterval", "MonitoringInterval", at="after"),
    _Setting("monitoringRoleArn", "MonitoringRoleArn", at="after"),
    _Setting("performanceInsightsEnabled", "EnablePerformanceInsights", at="after", real=_named("PerformanceInsightsEnabled")),
    _Setting("performanceInsightsRetentionPeriod", "PerformanceInsightsRetentionPeriod", at="after"),
    _Setting("databaseInsightsMode", "DatabaseInsightsMode", at="after"),
)
# What a modification cannot correct: a restore must have got it right.
_FIXED = frozenset({"DBSubnetGroupName"})
# Both are taken or refused together.
_TOGETHER = (
    {"MonitoringInterval", "MonitoringRoleArn"},
    {"EnablePerformanceInsights", "PerformanceInsightsRetentionPeriod", "DatabaseInsightsMode"},
)


@dataclass(frozen=True)
class Recipe:
    """What an instance of the stack has to be.

    Attributes:
        identifier: the instance's name.
        settings: values by parameter of the calls.
        logs: logs that are exported.
        port: port it listens on; only a restore sets it.
        tags: the stack's tags of it.
    """

    identifier: str
    settings: Mapping[str, Any]
    logs: tuple[str, ...]
    port: int
    tags: Mapping[str, str]

    @classmethod
    def of(cls, inputs: Inputs) -> Recipe:
        """From the inputs of the stack's instance, as the engine's state has them."""
        settings = {one.parameter: inputs[one.input] for one in _SETTINGS if inputs.get(one.input) is not None}
        settings |= {"PubliclyAccessible": False}
        if "VpcSecurityGroupIds" in settings:
            settings["VpcSecurityGroupIds"] = sorted(settings["VpcSecurityGroupIds"])
        return cls(
            identifier=str(inputs["identifier"]),
            settings=settings,
            logs=tuple(sorted(inputs.get("enabledCloudwatchLogsExports") or ())),
            port=int(inputs.get("port") or 5432),
            tags={str(key): str(value) for key, value in (inputs.get("tags") or {}).items()},
        )

    def unprotected(self) -> Recipe:
        """The same for a copy that is deleted again: without protection and without backups of its own."""
        return Recipe(
            self.identifier,
            {**self.settings, "DeletionProtection": False, "BackupRetentionPeriod": 0, "MultiAZ": False},
            self.logs,
            self.port,
            self.tags,
        )

    def at_restore(self, kind: str) -> dict[str, Any]:
        """Parameters of the restore itself.

        Args:
            kind: `time` or `snapshot`.
        """
        taken = {one.parameter for one in _SETTINGS if one.at in ("restore", kind)}
        found = {name: value for name, value in self.settings.items() if name in taken}
        return {**found, "EnableCloudwatchLogsExports": list(self.logs), "Port": self.port}

    def differences(self, described: Described) -> dict[str, Any]:
        """What a modification has to set, as its parameters; empty when the instance is as it has to be."""
        found = {
            one.parameter: self.settings[one.parameter]
            for one in _SETTINGS
            if one.parameter in self.settings
            and one.parameter not in _FIXED
            and not _same(self.settings[one.parameter], one.read(described))
        }
        for group in _TOGETHER:
            if group & set(found):
                found |= {name: self.settings[name] for name in group if name in self.settings}
        real = set(described.get("EnabledCloudwatchLogsExports") or ())
        changes = {"EnableLogTypes": sorted(set(self.logs) - real), "DisableLogTypes": sorted(real - set(self.logs))}
        if any(changes.values()):
            found["CloudwatchLogsExportConfiguration"] = {name: types for name, types in changes.items() if types}
        return found

    def misplaced(self, described: Described) -> str:
        """Why the instance can never become the stack's: it is in other subnets. Empty when it can."""
        wanted, real = self.settings.get("DBSubnetGroupName"), _subnet_group(described)
        return f"it is in the subnet group {real}, not in {wanted}" if wanted and real != wanted else ""


def _same(wanted: Any, real: Any) -> bool:
    if isinstance(wanted, bool):
        return bool(real) == wanted
    return bool(wanted == real) or str(wanted) == str(real)
