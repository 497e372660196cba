"""What it takes to adopt an instance that was made elsewhere, by Terraform or by hand. Pure.

The engine imports the instance under its identifier and then updates it to the settings, in place. What could only be changed by
replacing it is a problem here, and refused by the engine as well, which protects the instance.

Source: Amazon RDS User Guide, "Modifying an Amazon RDS DB instance", settings and whether they cause downtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from amianai_infra.config import DatabaseSettings
from amianai_infra.database.backups import Finding
from amianai_infra.rules.postgres import major_version, parameter_family

Described = Mapping[str, Any]


def judge(found: Described, chosen: DatabaseSettings, vpc_id: str = "") -> list[Finding]:
    """What would change, and what stands in the way.

    Args:
        found: the instance, as RDS describes it.
        chosen: the settings.
        vpc_id: the stack's VPC, where there is one already.
    """
    return [*_fixed(found, chosen), *_in_place(found, chosen), *_place(found, vpc_id)]


def _set(key: str, value: object) -> str:
    return f"--set database.{key}={value}"


def _fixed(found: Described, chosen: DatabaseSettings) -> Iterator[Finding]:
    """What cannot be changed in place: the settings have to follow the instance."""
    engine = str(found.get("Engine"))
    if engine != "postgres":
        yield Finding("problem", "engine", f"{engine}, not postgres", "it cannot be adopted")
        return
    if not found.get("StorageEncrypted"):
        fix = "copy a snapshot of it with a key, restore that under the identifier, and adopt the restored instance"
        yield Finding("problem", "encryption", "its storage is not encrypted, which cannot be changed", fix)
    pairs = (("name", "DBName"), ("username", "MasterUsername"))
    for key, field in pairs:
        real, wanted = str(found.get(field) or ""), getattr(chosen, key)
        if real != wanted:
            fix = _set(key, real) if real else "make the database by hand, then adopt: RDS knows none"
            yield Finding("problem", key, f"{real or 'none'}, and the settings say {wanted}", fix)
    version = str(found.get("EngineVersion", ""))
    if major_version(version) > major_version(chosen.engine_version):
        yield Finding("problem", "engine_version", f"{version}: RDS does not go back", _set("engine_version", major_version(version)))
    elif major_version(version) < major_version(chosen.engine_version):
        text = f"{version}: `up` would be a major upgrade"
        yield Finding("problem", "engine_version", text, f"adopt with {_set('engine_version', major_version(version))}, upgrade afterwards")
    storage = int(found.get("AllocatedStorage", 0))
    if storage > chosen.storage_gib and storage > chosen.max_storage_gib:
        fix = f"{_set('storage_gib', storage)} {_set('max_storage_gib', max(storage * 2, chosen.max_storage_gib))}"
        yield Finding("problem", "storage_gib", f"{storage} GiB: storage never shrinks", fix)


def _in_place(found: Described, chosen: DatabaseSettings) -> Iterator[Finding]:
    """What `up` changes while the data stays."""
    if found.get("DBInstanceClass") != chosen.instance_class:
        text = f"{found.get('DBInstanceClass')} becomes {chosen.instance_class}: minutes without the database"
        yield Finding("note", "instance_class", text, _set("instance_class", found.get("DBInstanceClass")))
    if found.get("StorageType") != "gp3":
        yield Finding("note", "storage", f"{found.get('StorageType')} becomes gp3, in the background")
    if not (found.get("MasterUserSecret") and chosen.managed_password):
        keeper = "RDS makes a new one" if chosen.managed_password else "the stack's rotation makes a new one"
        yield Finding("note", "master password", f"{keeper} and keeps it in Secrets Manager: the one in use ends")
    if bool(found.get("MultiAZ")) != chosen.multi_az:
        yield Finding(
            "note", "multi_az", f"becomes {'on' if chosen.multi_az else 'off'}", _set("multi_az", str(bool(found.get("MultiAZ"))).lower())
        )
    if found.get("PubliclyAccessible"):
        yield Finding("note", "public", "becomes private: who reaches it from outside the VPC no longer does")
    groups = ", ".join(str(group.get("DBParameterGroupName")) for group in found.get("DBParameterGroups") or [])
    wanted = f"{chosen.identifier}-{parameter_family(chosen.engine_version)}"
    if groups != wanted:
        yield Finding("note", "parameters", f"{groups} becomes {wanted}, after a restart; TLS is required then")
    days = int(found.get("BackupRetentionPeriod", 0))
    if days != chosen.backup_days:
        cut = "; older backups go" if days > chosen.backup_days else ""
        yield Finding("note", "backup_days", f"{days} becomes {chosen.backup_days}{cut}", _set("backup_days", days))


def _place(found: Described, vpc_id: str) -> Iterator[Finding]:
    """The stack has a VPC of its own, into which RDS moves an instance; a standby or a replica stands in the way."""
    there = str((found.get("DBSubnetGroup") or {}).get("VpcId", ""))
    if there and there == vpc_id:
        yield Finding("ok", "network", f"in {there} already")
        return
    if found.get("ReadReplicaDBInstanceIdentifiers"):
        yield Finding("problem", "network", f"it has read replicas, so that RDS does not move it out of {there}", "delete them first")
    elif found.get("MultiAZ"):
        fix = "aws rds modify-db-instance --no-multi-az --apply-immediately; switch it on again afterwards"
        yield Finding("problem", "network", f"it is Multi-AZ, so that RDS does not move it out of {there}", fix)
    else:
        yield Finding("note", "network", f"moves from {there or 'its VPC'} into the stack's: minutes without the database, another address")
