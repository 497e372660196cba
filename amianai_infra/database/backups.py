"""Backups of the database: what there is, making one, and whether they would help today.

Source: Amazon RDS User Guide, "Backing up, restoring, and exporting data", "Replicating automated backups to another AWS Region".
"""

from __future__ import annotations

import re
import secrets
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from amianai_infra.database.instances import Described, Rds, tag_list, tags_of
from amianai_infra.errors import AmianaiError
from amianai_infra.naming import default_tags
from amianai_infra.printing import GUTTER, printable, table

Level = Literal["ok", "note", "problem"]
TAG_KEPT_UNTIL = "amianai:kept-until"
TAG_RESTORE_OF = "amianai:restore-of"
TAG_REPLACED_BY = "amianai:replaced-by"
TAG_FETCHED = "amianai:fetched-for"
TAG_NOTE = "amianai:note"
TAG_MADE_BY = "amianai:made-by"

# RDS ships transaction logs every five minutes; a copy in another region trails behind by their transfer.
FRESH = timedelta(minutes=30)
FRESH_ELSEWHERE = timedelta(hours=2)
NO_AUTOMATED = "the sandbox has no automated backups (docs/sandbox.md); on AWS this is checked"
# Automated snapshots are daily, within a window of at most a day.
DAILY = timedelta(hours=26)


@dataclass(frozen=True)
class Window:
    """The times that the database can be restored to; None where there is none."""

    earliest: datetime | None = None
    latest: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """One snapshot."""

    name: str
    kind: str
    created: datetime | None
    status: str
    size_gib: int
    encrypted: bool
    version: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """For `--json`."""
        age = (now - self.created).total_seconds() if self.created else None
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "age_seconds": age}


@dataclass(frozen=True)
class Automated:
    """The automated backups of one instance in one region.

    Attributes:
        region: where they lie.
        status: `active`, `retained` (the instance is gone) or `replicating`.
        window: what they can be restored to.
        retention_days: how long they are kept.
        encrypted: whether they are encrypted.
        arn: their name, which a restore in another region takes.
        resource_id: the instance's `db-...` id.
    """

    region: str
    status: str
    window: Window
    retention_days: int
    encrypted: bool
    arn: str = ""
    resource_id: str = ""


@dataclass(frozen=True)
class Backups:
    """Everything that could be restored.

    Attributes:
        identifier: the instance.
        instance: as RDS describes it; None when it is gone.
        automated: its automated backups, also those that outlived an earlier instance of the name.
        elsewhere: copies of them in other regions.
        snapshots: newest first.
        beside: instances that a restore left beside it (copies and replaced ones).
    """

    identifier: str
    instance: Described | None
    automated: Sequence[Automated] = ()
    elsewhere: Sequence[Automated] = ()
    snapshots: Sequence[Snapshot] = ()
    beside: Sequence[Described] = ()

    @property
    def window(self) -> Window:
        """The times the running instance can be restored to."""
        resource = (self.instance or {}).get("DbiResourceId")
        return next((one.window for one in self.automated if one.resource_id == resource), Window())

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """For `--json`."""
        window = self.window
        return {
            "identifier": self.identifier,
            "earliest_restorable": window.earliest,
            "latest_restorable": window.latest,
            "automated": [_plain(one) for one in self.automated],
            "elsewhere": [_plain(one) for one in self.elsewhere],
            "snapshots": [one.as_dict(now) for one in self.snapshots],
        }


def _plain(one: Automated) -> dict[str, Any]:
    rest = {name: getattr(one, name) for name in one.__dataclass_fields__ if name != "window"}
    return {**rest, "earliest": one.window.earliest, "latest": one.window.latest}


# -- what there is


def look(rds: Rds, identifier: str, region: str, elsewhere: Mapping[str, Rds] | None = None) -> Backups:
    """Ask for everything that could be restored.

    Args:
        rds: the stack's region.
        identifier: the instance.
        region: the stack's region.
        elsewhere: further regions that may hold copies.
    """
    instance = rds.find(identifier)
    resource = str((instance or {}).get("DbiResourceId", ""))
    return Backups(
        identifier=identifier,
        instance=instance,
        automated=_automated(rds, region, identifier, instance),
        elsewhere=[
            found
            for name, other in (elsewhere or {}).items()
            for found in _automated(other, name, identifier, None)
            if not resource or found.resource_id == resource
        ],
        snapshots=snapshots(rds, identifier),
        beside=[one for one in rds.instances() if _beside(one, identifier)],
    )


def _beside(one: Described, identifier: str) -> bool:
    copied = tags_of(one).get(TAG_RESTORE_OF) == identifier
    return one["DBInstanceIdentifier"] != identifier and (copied or replaced(one, identifier))


def replaced(one: Described, identifier: str) -> bool:
    """Whether a restore of this instance put that one aside. An account may hold those of other stacks."""
    return tags_of(one).get(TAG_REPLACED_BY) == identifier and "-old-" in one["DBInstanceIdentifier"]


def _automated(rds: Rds, region: str, identifier: str, instance: Described | None) -> list[Automated]:
    try:
        found = rds.call(
            "describe_db_instance_automated_backups", f"looking for automated backups in {region}", DBInstanceIdentifier=identifier
        )
    except AmianaiError as error:
        if "InvalidAction" not in error.where:  # an endpoint that has no automated backups at all
            raise
        return []
    return [_backup(one, region, instance) for one in found.get("DBInstanceAutomatedBackups", [])]


def _backup(one: Described, region: str, instance: Described | None) -> Automated:
    window = one.get("RestoreWindow") or {}
    resource = str(one.get("DbiResourceId") or (instance or {}).get("DbiResourceId", ""))
    running = instance or {}
    of_running = bool(instance) and resource == running.get("DbiResourceId")
    return Automated(
        region=region,
        status=str(one.get("Status", "active")),
        window=Window(
            window.get("EarliestTime"), window.get("LatestTime") or (running.get("LatestRestorableTime") if of_running else None)
        ),
        retention_days=int(one.get("BackupRetentionPeriod") or (running.get("BackupRetentionPeriod", 0) if of_running else 0)),
        encrypted=bool(one.get("Encrypted", running.get("StorageEncrypted", False) if of_running else False)),
        arn=str(one.get("DBInstanceAutomatedBackupsArn", "")),
        resource_id=resource,
    )


def snapshots(rds: Rds, identifier: str) -> list[Snapshot]:
    """The snapshots of an instance, and those fetched for it from another region; newest first."""
    doing = f"looking for snapshots of {identifier}"
    own = rds.pages("describe_db_snapshots", "DBSnapshots", doing, DBInstanceIdentifier=identifier)
    fetched = (one for one in manual(rds) if tags_of(one).get(TAG_FETCHED) == identifier)
    oldest = datetime.min.replace(tzinfo=UTC)
    found = [_snapshot(one) for one in (*own, *fetched)]
    return sorted(found, key=lambda one: (one.created or oldest, one.name), reverse=True)


def manual(rds: Rds) -> Iterator[Described]:
    """Every snapshot of the region that was not made by RDS itself, as RDS describes it."""
    return rds.pages("describe_db_snapshots", "DBSnapshots", "looking for snapshots", SnapshotType="manual")


def _snapshot(one: Described) -> Snapshot:
    return Snapshot(
        name=one["DBSnapshotIdentifier"],
        kind=str(one.get("SnapshotType", "manual")),
        created=one.get("SnapshotCreateTime"),
        status=str(one.get("Status", "")),
        size_gib=int(one.get("AllocatedStorage", 0)),
        encrypted=bool(one.get("Encrypted", False)),
        version=str(one.get("EngineVersion", "")),
        tags=tags_of(one),
    )


# -- making one


def snapshot_name(identifier: str, now: datetime) -> str:
    """A name that no other snapshot has: `eeyore-postgres-20260301-120000-9f3a`."""
    return f"{identifier}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def tag_text(text: str) -> str:
    """Text as a tag value may hold it: other characters become spaces, at most 256.

    Source: Tagging AWS Resources User Guide, "Tag naming limits and requirements".
    """
    return re.sub(r"\s+", " ", re.sub(r"[^\w\s.:/=+\-@]", " ", text, flags=re.ASCII)).strip()[:256]


def create(rds: Rds, identifier: str, now: datetime, *, made_by: str = "", note: str = "", name: str = "") -> Snapshot:
    """Make a snapshot and wait until it can be restored. An interrupted wait leaves the snapshot, which finishes by itself.

    Args:
        rds: the stack's region.
        identifier: the instance.
        now: goes into its name.
        made_by: who, for its tags.
        note: why, for its tags.
        name: its name; empty for a unique one.
    """
    name = name or snapshot_name(identifier, now)
    own = {TAG_MADE_BY: tag_text(made_by), TAG_NOTE: tag_text(note)}
    tags = {**default_tags(), **{key: value for key, value in own.items() if value}}
    rds.call(
        "create_db_snapshot",
        f"making the snapshot {name}",
        DBSnapshotIdentifier=name,
        DBInstanceIdentifier=identifier,
        Tags=tag_list(tags),
    )
    return wait_for_snapshot(rds, name)


def wait_for_snapshot(rds: Rds, name: str) -> Snapshot:
    """Wait until a snapshot is complete."""
    found: Described = {}

    def state() -> str | None:
        nonlocal found
        answer = rds.call("describe_db_snapshots", f"looking at the snapshot {name}", DBSnapshotIdentifier=name)
        found = answer["DBSnapshots"][0]
        if found["Status"] == "failed":
            raise AmianaiError(f"The snapshot {name} failed.", fix="look at its events in the RDS console, then make another one")
        return None if found["Status"] == "available" else f"{found['Status']}, {found.get('PercentProgress', 0)} %"

    rds.wait(f"Snapshot {name}", state)
    return _snapshot(found)


# -- whether they would help


@dataclass(frozen=True)
class Wanted:
    """What the settings say about backups.

    Attributes:
        retention_days: how long automated ones are kept.
        window: when they are made.
        deletion_protection: whether the instance is protected.
        region: where copies of them are; empty for nowhere.
        automated: whether there can be automated ones at all: the sandbox has none, whatever the settings say.
    """

    retention_days: int
    window: str
    deletion_protection: bool
    region: str = ""
    automated: bool = True


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    fact: str
    fix: str = ""


def verify(found: Backups, wanted: Wanted, now: datetime) -> list[Finding]:
    """Judge the backups. Pure."""
    if found.instance is None:
        empty = "make an empty one: `amianai up --refresh`"
        fix = "restore it: `amianai db restore`, docs/disaster-recovery.md" if wanted.automated else empty
        return [Finding("problem", "instance", f"{found.identifier} does not exist", fix), *_beside_findings(found, now)]
    parts = (_window_findings, _instance_findings, _snapshot_findings, _elsewhere_findings)
    return [finding for part in parts for finding in part(found, wanted, now)] + list(_beside_findings(found, now))


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing is wrong."""
    return not any(one.level == "problem" for one in findings)


def _window_findings(found: Backups, wanted: Wanted, now: datetime) -> Iterator[Finding]:
    window = found.window
    if not wanted.automated:
        yield Finding("problem", "point in time", NO_AUTOMATED)
        return
    if window.latest is None:
        kept = bool((found.instance or {}).get("BackupRetentionPeriod"))
        fix = "look at the instance's events: there are no automated backups" if kept else "run `amianai up`: backups are off"
        yield Finding("problem", "point in time", "there is no time to restore to", fix)
        return
    behind = now - window.latest
    text = f"{instant(window.earliest)} to {instant(window.latest)} ({_ago(behind)})"
    fix = "look at the instance's events: transaction logs are not shipped"
    yield Finding("ok", "point in time", text) if behind <= FRESH else Finding("problem", "point in time", text, fix)


def _instance_findings(found: Backups, wanted: Wanted, now: datetime) -> Iterator[Finding]:
    instance = found.instance or {}
    days = int(instance.get("BackupRetentionPeriod", 0))
    yield _same("retention", f"{days} days", days == wanted.retention_days, f"{wanted.retention_days} days")
    window = str(instance.get("PreferredBackupWindow", ""))
    yield _same("backup window", f"{window} UTC", window == wanted.window, wanted.window)
    encrypted = bool(instance.get("StorageEncrypted"))
    fix = "restore a snapshot of it with encryption: an instance cannot be encrypted later"
    yield Finding("ok", "encryption", "storage is encrypted") if encrypted else Finding("problem", "encryption", "NOT encrypted", fix)
    if instance.get("DeletionProtection"):
        yield Finding("ok", "deletion protection", "on")
    elif wanted.deletion_protection:
        yield Finding("problem", "deletion protection", "OFF, although the settings say on", "run `amianai up`")
    else:
        yield Finding("note", "deletion protection", "off, as database.deletion_protection says")


def _same(what: str, fact: str, same: bool, wanted: str) -> Finding:
    return Finding("ok", what, fact) if same else Finding("problem", what, f"{fact}, but the settings say {wanted}", "run `amianai up`")


def _snapshot_findings(found: Backups, wanted: Wanted, now: datetime) -> Iterator[Finding]:
    done = [one for one in found.snapshots if one.status == "available" and one.created is not None]
    automated = [one for one in done if one.kind == "automated"]
    made: datetime | None = (found.instance or {}).get("InstanceCreateTime")
    if automated:
        age = now - (automated[0].created or now)
        text = f"newest automated one {_ago(age)}; {len(automated)} automated, {len(done) - len(automated)} manual"
        fix = "look at the instance's events"
        yield Finding("ok", "snapshots", text) if age <= DAILY else Finding("problem", "snapshots", text, fix)
    elif not wanted.automated:
        yield Finding("problem", "snapshots", f"no automated one; {len(done)} manual, records without data")
    elif made is not None and now - made <= DAILY:
        yield Finding("note", "snapshots", "no automated one yet: the instance is younger than a day")
    else:
        yield Finding("problem", "snapshots", "there is no automated snapshot", "look at the instance's events")
    open_ones = [one.name for one in found.snapshots if not one.encrypted]
    if open_ones:
        yield Finding("problem", "snapshots", f"not encrypted: {', '.join(open_ones[:5])}", "copy them with a key, then delete them")


def _elsewhere_findings(found: Backups, wanted: Wanted, now: datetime) -> Iterator[Finding]:
    if not wanted.region:
        yield Finding("note", "another region", "backups are in one region (database.backup_region is empty)")
        return
    copy = next((one for one in found.elsewhere if one.region == wanted.region), None)
    what = f"copy in {wanted.region}"
    if copy is None or copy.window.latest is None:
        yield Finding("problem", what, "there is none", "run `amianai up`; the first copy takes hours")
        return
    behind = now - copy.window.latest
    text = f"{copy.status}, up to {instant(copy.window.latest)} ({_ago(behind)}), kept {copy.retention_days} days"
    late = behind > FRESH_ELSEWHERE
    yield Finding("problem", what, text, "look at the events of the replication in that region") if late else Finding("ok", what, text)
    if not copy.encrypted:
        yield Finding("problem", what, "NOT encrypted", "replace the replication")


def _beside_findings(found: Backups, now: datetime) -> Iterator[Finding]:
    for one in found.beside:
        name, tags = one["DBInstanceIdentifier"], tags_of(one)
        until = _day(tags.get(TAG_KEPT_UNTIL, ""))
        if until is None:
            yield Finding("problem", "unfinished restore", f"{name} ({one['DBInstanceStatus']})", "run the same `amianai db restore` again")
        elif until <= now:
            yield Finding("problem", "replaced instance", f"{name} was kept until {until:%Y-%m-%d}", "run `amianai db restore --cleanup`")
        else:
            yield Finding("note", "replaced instance", f"{name} is kept until {until:%Y-%m-%d}, and paid for")


def _day(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None


# -- for people


def listing(found: Backups, now: datetime) -> list[str]:
    """The list of backups."""
    window = found.window
    lines = [
        f"instance {found.identifier}",
        f"  any time from {instant(window.earliest)} to {instant(window.latest)}" if window.latest else "  no point-in-time recovery",
    ]
    lines += [f"  copy in {one.region}: {one.status}, up to {instant(one.window.latest)}" for one in found.elsewhere]
    if not found.snapshots:
        return [*lines, "  no snapshots"]
    rows: list[tuple[str, ...]] = [("SNAPSHOT", "KIND", "MADE (UTC)", "AGE", "GiB", "ENCRYPTED", "STATUS")]
    rows += [_row(one, now) for one in found.snapshots]
    notes = ["", *(one.tags.get(TAG_NOTE, "") for one in found.snapshots)]
    for row, note in zip(table(rows, GUTTER), notes, strict=True):
        lines.append(row)
        lines += textwrap.wrap(printable(note), 100, initial_indent=f"{GUTTER}    ", subsequent_indent=f"{GUTTER}    ")
    return lines


def _row(one: Snapshot, now: datetime) -> tuple[str, ...]:
    age = _age(now - one.created) if one.created else ""
    made = f"{one.created:%Y-%m-%d %H:%M}" if one.created else ""
    return (one.name, one.kind, made, age, str(one.size_gib), "yes" if one.encrypted else "NO", one.status)


_MARKS: Mapping[Level, str] = {"ok": "✓", "note": "·", "problem": "✗"}


def report(findings: Sequence[Finding]) -> list[str]:
    """The findings, one line each, and what to do about what is wrong."""
    lines = []
    for one in findings:
        lines.append(f"{_MARKS[one.level]} {one.what:<20} {one.fact}")
        if one.level == "problem" and one.fix:
            lines.append(f"    next: {one.fix}")
    return lines


def instant(moment: datetime | None) -> str:
    """A moment for a person: `2026-03-01 12:00:00 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "?"


def _age(age: timedelta) -> str:
    minutes = max(int(age.total_seconds() // 60), 0)
    return f"{age.days} d" if age.days > 0 else f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min"


def _ago(age: timedelta) -> str:
    return f"{_age(age)} ago"
