"""Bringing a backup from a second region into the stack's own, as a snapshot that `db restore` takes.

RDS restores a replicated automated backup only in the region that it is in, and only as an instance. So one is made there, private and
without anything of the stack's, a snapshot of it is copied here under a key of this region, and both are deleted there. All three have
one name and tags that say what they are for: that is how a second run goes on where the first one stopped.

Source: Amazon RDS User Guide, "Restoring to a specified time from a replicated backup", "Copying a DB snapshot".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from amianai_infra.database.backups import TAG_FETCHED, Automated, Window, instant, look, manual, tag_text, wait_for_snapshot
from amianai_infra.database.instances import Described, Rds, tag_list, tags_of
from amianai_infra.database.restore import Source, beside, delete
from amianai_infra.errors import ConfigurationError, NotFoundError, RefusedError
from amianai_infra.naming import default_tags

TAG_FETCH_FOR = "amianai:fetch-for"
TAG_FETCH_FROM = "amianai:fetch-from"
# Snapshots of other regions come under a key of this one; this is what the stack's instance is under, too.
_KEY = "alias/aws/rds"

StepName = Literal["restore", "snapshot", "copy", "delete-instance", "delete-snapshot"]


@dataclass(frozen=True)
class Places:
    """The two regions, which may be one: after a loss the stack may live in the second one.

    Attributes:
        here: the stack's region.
        there: the one that holds the backups.
        region: name of that one.
        home: name of the stack's.
    """

    here: Rds
    there: Rds
    region: str
    home: str


@dataclass(frozen=True)
class Wanted:
    """What to fetch.

    Attributes:
        identifier: the stack's instance, which it is for.
        origin: the instance whose backups they are.
        source: `latest` or a moment.
        subnet_group: where the instance there goes; empty for the region's default VPC.
    """

    identifier: str
    origin: str
    source: Source
    subnet_group: str = ""

    @property
    def text(self) -> str:
        """As a tag says it."""
        return tag_text(f"{self.origin} {self.source.text}")


@dataclass(frozen=True)
class Found:
    """How far it is.

    Attributes:
        automated: backups to restore from.
        instance: the one that was made there.
        snapshot: the one that was made of it there.
        copy: the copy of that here.
    """

    automated: Sequence[Automated]
    instance: Described | None = None
    snapshot: Described | None = None
    copy: Described | None = None

    @property
    def begun(self) -> Described | None:
        """What was made there, whatever there is of it."""
        return self.instance or self.snapshot


def survey(places: Places, identifier: str, origin: str) -> Found:
    """Look how far a fetch for the stack's instance is, and what there is to fetch."""
    there = look(places.there, origin, places.region)
    own = (there.instance or {}).get("DbiResourceId")
    automated = [one for one in there.automated if one.arn and one.resource_id != own]
    instance = next((one for one in places.there.instances() if _made_for(one, identifier)), None)
    snapshot = next((one for one in manual(places.there) if _made_for(one, identifier)), None)
    found = Found(automated, instance, snapshot)
    if found.begun is None:
        return found
    copied = _here(identifier, _begun_name(found.begun))
    return replace(found, copy=next((one for one in manual(places.here) if _name(one) == copied), None))


def _made_for(one: Described, identifier: str) -> bool:
    return tags_of(one).get(TAG_FETCH_FOR) == identifier


def _name(one: Described) -> str:
    return str(one.get("DBSnapshotIdentifier"))


def _here(identifier: str, name: str) -> str:
    return f"{identifier}-fetched-{name.rpartition('-')[2]}"


def _complete(snapshot: Described | None) -> bool:
    return snapshot is not None and snapshot.get("Status") == "available"


@dataclass(frozen=True)
class Step:
    """One step. Each can be repeated: done twice, it does nothing the second time."""

    name: StepName
    text: str


@dataclass(frozen=True)
class Plan:
    """Everything a fetch will do, in order.

    Attributes:
        wanted: what to fetch; None to give it up.
        name: of the instance and the snapshot there.
        snapshot: name of the snapshot here.
        backup: what to restore from; None when that is done.
        steps: what is left to do.
    """

    wanted: Wanted | None
    name: str
    snapshot: str
    backup: Automated | None
    steps: Sequence[Step]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"snapshot": self.snapshot, "steps": [{"name": step.name, "text": step.text} for step in self.steps]}

    def screen(self) -> list[str]:
        """For a person."""
        return [f"{number}. {step.text}" for number, step in enumerate(self.steps, 1)] or ["There is nothing to do."]


def plan(wanted: Wanted, found: Found, region: str, now: datetime) -> Plan:
    """Decide, from what is there, what is left to do. Pure.

    Raises:
        ConfigurationError: there is no such moment in that region.
        NotFoundError: there are no backups of the instance in that region.
        RefusedError: another fetch was begun.
    """
    if wanted.source.kind != "time":
        raise ConfigurationError(
            f"--to {wanted.source.text!r} is neither latest nor a moment.", fix="write 2026-03-01T11:55:00Z, or latest"
        )
    begun = found.begun
    if begun is not None and tags_of(begun).get(TAG_FETCH_FROM) != wanted.text:
        raise RefusedError(
            f"Another fetch was begun and not finished: {tags_of(begun).get(TAG_FETCH_FROM)}. Nothing was changed.",
            where=region,
            fix="finish it with the command that began it, or delete what it made with --abandon",
        )
    backup = None if begun is not None else _newest(wanted, found.automated, region)
    name = _begun_name(begun) if begun is not None else beside(wanted.identifier, "away", f"{now:%y%m%d%H%M%S}")
    steps = []
    if backup is not None:
        steps.append(Step("restore", f"restore {wanted.origin} to {wanted.source.text} in {region}, as {name}, without a public address"))
    if not _complete(found.snapshot) and not _complete(found.copy):
        steps.append(Step("snapshot", f"make the snapshot {name} of it there"))
    if not _complete(found.copy):
        steps.append(Step("copy", f"copy that here as {_here(wanted.identifier, name)}, under this region's key"))
    return Plan(wanted, name, _here(wanted.identifier, name), backup, [*steps, *_deleting(name, region)])


def abandoned(found: Found, region: str) -> Plan:
    """Delete what an unfinished fetch made there. Pure."""
    name = _begun_name(found.begun) if found.begun is not None else ""
    return Plan(None, name, "", None, _deleting(name, region) if name else [])


def _deleting(name: str, region: str) -> list[Step]:
    instance = Step("delete-instance", f"delete the instance {name} in {region}")
    return [instance, Step("delete-snapshot", f"delete the snapshot {name} in {region}")]


def _begun_name(begun: Described) -> str:
    return str(begun.get("DBSnapshotIdentifier") or begun["DBInstanceIdentifier"])


def _newest(wanted: Wanted, automated: Sequence[Automated], region: str) -> Automated:
    if not automated:
        raise NotFoundError(
            f"There are no backups of {wanted.origin} from another region.",
            where=region,
            fix="`amianai db backup list`; --of names another instance",
        )
    moment = wanted.source.moment
    fits = [one for one in automated if moment is None or _inside(one.window, moment)]
    if not fits:
        windows = ", ".join(f"{instant(one.window.earliest)} to {instant(one.window.latest)}" for one in automated)
        raise ConfigurationError(f"{wanted.source.text} cannot be restored.", where=f"{region}: {windows}", fix="choose a time inside")
    return max(fits, key=lambda one: one.window.latest.timestamp() if one.window.latest else 0.0)


def _inside(window: Window, moment: datetime) -> bool:
    return (window.earliest is None or window.earliest <= moment) and (window.latest is None or moment <= window.latest)


class Fetch:
    """Performs a plan.

    Args:
        places: the two regions.
        plan: what to do.
        identifier: the stack's instance, which it is for.
    """

    def __init__(self, places: Places, plan: Plan, identifier: str) -> None:
        self._places, self._plan, self._identifier = places, plan, identifier

    def run(self) -> None:
        """Every step in order."""
        work: dict[StepName, Callable[[], None]] = {
            "restore": self._restore,
            "snapshot": self._snapshot,
            "copy": self._copy,
            "delete-instance": self._delete_instance,
            "delete-snapshot": self._delete_snapshot,
        }
        for step in self._plan.steps:
            work[step.name]()

    def _tags(self) -> list[dict[str, str]]:
        text = self._plan.wanted.text if self._plan.wanted else ""
        return tag_list({**default_tags(), TAG_FETCH_FOR: self._identifier, TAG_FETCH_FROM: text})

    def _restore(self) -> None:
        wanted, backup = self._plan.wanted, self._plan.backup
        if wanted is None or backup is None:
            return
        when: dict[str, Any] = {"RestoreTime": wanted.source.moment} if wanted.source.moment else {"UseLatestRestorableTime": True}
        self._places.there.call(
            "restore_db_instance_to_point_in_time",
            f"restoring {wanted.origin} in {self._places.region}",
            SourceDBInstanceAutomatedBackupsArn=backup.arn,
            TargetDBInstanceIdentifier=self._plan.name,
            PubliclyAccessible=False,
            MultiAZ=False,
            DeletionProtection=False,
            BackupRetentionPeriod=0,
            Tags=self._tags(),
            **when,
            **({"DBSubnetGroupName": wanted.subnet_group} if wanted.subnet_group else {}),
        )

    def _snapshot(self) -> None:
        there, name = self._places.there, self._plan.name
        if self._snapshot_there() is None:
            there.wait_available(name, f"Restoring {name} in {self._places.region}")
            tags = self._tags()
            there.call("create_db_snapshot", f"making the snapshot {name}", DBSnapshotIdentifier=name, DBInstanceIdentifier=name, Tags=tags)
        wait_for_snapshot(there, name)

    def _copy(self) -> None:
        here, copied, region = self._places.here, self._plan.snapshot, self._places.region
        source = self._snapshot_there()
        if source is None:
            raise NotFoundError(f"The snapshot {self._plan.name} is gone.", where=region, fix="run the same command again")
        # One of the same region is named by its name, another region's by its ARN.
        named = {"SourceDBSnapshotIdentifier": self._plan.name}
        if region != self._places.home:
            named = {"SourceDBSnapshotIdentifier": str(source["DBSnapshotArn"]), "SourceRegion": region}
        if not any(_name(one) == copied for one in manual(here)):
            here.call(
                "copy_db_snapshot",
                f"copying {self._plan.name} from {region}",
                TargetDBSnapshotIdentifier=copied,
                KmsKeyId=_KEY,
                Tags=tag_list({**default_tags(), TAG_FETCHED: self._identifier}),
                **named,
            )
        wait_for_snapshot(here, copied)

    def _require_spare(self) -> None:
        """Nothing goes there before the copy is complete here, unless it is given up."""
        copied = self._plan.snapshot
        if copied and not any(_complete(one) for one in manual(self._places.here) if _name(one) == copied):
            raise RefusedError(f"The snapshot {copied} is not complete; nothing was deleted.", fix="run the same command again")

    def _delete_instance(self) -> None:
        self._require_spare()
        found = self._places.there.find(self._plan.name)
        if found is not None and _made_for(found, self._identifier):
            delete(self._places.there, found, final_snapshot="")

    def _delete_snapshot(self) -> None:
        self._require_spare()
        if self._snapshot_there() is not None:
            name = self._plan.name
            self._places.there.call("delete_db_snapshot", f"deleting the snapshot {name}", DBSnapshotIdentifier=name)

    def _snapshot_there(self) -> Described | None:
        ours = (one for one in manual(self._places.there) if _made_for(one, self._identifier))
        return next((one for one in ours if _name(one) == self._plan.name), None)
