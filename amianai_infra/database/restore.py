"""Restoring the database beside the running one, proving the copy, and putting it in the other's place.

The plan is computed first from what is there, so that a restore that was cut off (kill -9, a lost connection, a closed laptop) goes on
with the step it was in: what was done is seen in RDS itself, and what cannot be seen there (that a person accepted the copy) is
written into the copy's tags. Nothing is renamed or deleted before the copy was checked and accepted.

Source: Amazon RDS User Guide, "Restoring a DB instance to a specified time", "Restoring to a DB instance", "Renaming a DB instance".
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from amianai_infra.database.backups import (
    TAG_KEPT_UNTIL,
    TAG_REPLACED_BY,
    TAG_RESTORE_OF,
    Automated,
    Backups,
    Finding,
    healthy,
    instant,
    replaced,
    tag_text,
)
from amianai_infra.database.checks import Facts, compare
from amianai_infra.database.credentials import rds_keeps
from amianai_infra.database.instances import Described, Rds, tag_list, tags_of
from amianai_infra.database.recipe import Recipe
from amianai_infra.errors import AmianaiError, ConfigurationError, NotFoundError, RefusedError, VerificationError
from amianai_infra.outputs import StackOutputs
from amianai_infra.printing import printable

TAG_SOURCE = "amianai:restore-to"
TAG_MODE = "amianai:restore-mode"
TAG_STEP = "amianai:restore-step"
ACCEPTED = "accepted"
WORKING_TAGS = (TAG_RESTORE_OF, TAG_SOURCE, TAG_MODE, TAG_STEP)

Mode = Literal["replace", "rehearse"]
StepName = Literal["create", "settle", "check", "accept", "roles", "set-aside", "take-over", "adopt", "delete-copy"]

_LOOKS = 30  # at settings that were asked for: five minutes
# RDS names an instance with at most 63 characters.
_LONGEST = 63
# A copy of `latest` that is older is not the latest any more.
_LATEST = timedelta(hours=24)


# -- what to restore


@dataclass(frozen=True)
class Source:
    """A moment, or a snapshot.

    Attributes:
        kind: which.
        text: `latest`, a moment in ISO 8601, or the snapshot's name.
        moment: the moment; None for `latest` and for a snapshot.
    """

    kind: Literal["time", "snapshot"]
    text: str
    moment: datetime | None = None


def parse_source(text: str) -> Source:
    """Understand what a person asks for.

    Args:
        text: `latest`, a moment such as `2026-03-01T11:55:00Z`, or a snapshot's name.

    Raises:
        ConfigurationError: a moment without a zone.
    """
    word = text.strip()
    if word == "latest":
        return Source("time", word)
    try:
        moment = datetime.fromisoformat(word.replace("Z", "+00:00"))
    except ValueError:
        return Source("snapshot", word)
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"--to {word!r} does not say in which time zone.", fix=f"write {word}Z for UTC, or {word}+02:00 for another zone"
        )
    moment = moment.astimezone(UTC).replace(microsecond=0)
    return Source("time", f"{moment:%Y-%m-%dT%H:%M:%SZ}", moment)


# -- where we are


@dataclass(frozen=True)
class Situation:
    """The instances that matter.

    Attributes:
        current: the one that has the stack's name.
        copy: the one that this restore made; after the swap it is the current one.
        swapping: whether the swap was cut off in its middle.
    """

    current: Described | None
    copy: Described | None
    swapping: bool = False

    @property
    def swapped(self) -> bool:
        """Whether the copy has the stack's name already."""
        return self.copy is not None and self.current is not None and self.copy["DbiResourceId"] == self.current["DbiResourceId"]

    @property
    def decided(self) -> bool:
        """Whether the copy has to take over. That somebody accepted it once is not enough: it may be days old by now."""
        return self.swapped or self.swapping

    @property
    def made(self) -> datetime | None:
        """When the copy was made; None where there is none, or RDS does not say yet."""
        return self.copy.get("InstanceCreateTime") if self.copy else None


def survey(rds: Rds, identifier: str, source: Source, mode: Mode) -> Situation:
    """Look where a restore stands.

    Raises:
        RefusedError: another restore was begun and not finished.
    """
    instances, current = rds.instances(), rds.find(identifier)
    copies = [one for one in instances if tags_of(one).get(TAG_RESTORE_OF) == identifier]
    wanted = [one for one in copies if tags_of(one).get(TAG_SOURCE) == tag_text(source.text) and tags_of(one).get(TAG_MODE) == mode]
    others = [one for one in copies if one not in wanted]
    if others:
        tags = tags_of(others[0])
        verb = "rehearsal of" if tags.get(TAG_MODE) == "rehearse" else "restore to"
        raise RefusedError(
            f"A {verb} {tags.get(TAG_SOURCE)} was begun and not finished; nothing was changed.",
            where=f"instance {others[0]['DBInstanceIdentifier']} ({others[0]['DBInstanceStatus']})",
            fix="run that command again to finish it, or `amianai db restore --abandon` to delete its copy",
        )
    return Situation(current, wanted[0] if wanted else None, swapping(current, instances, identifier))


def swapping(current: Described | None, others: Sequence[Described], identifier: str) -> bool:
    """Whether a swap was cut off in its middle: the old instance is set aside, and the accepted copy has not its name yet.

    Args:
        current: the instance that has the stack's name.
        others: the instances beside it.
        identifier: the stack's name of it.
    """
    if not any(tags_of(one).get(TAG_RESTORE_OF) == identifier and tags_of(one).get(TAG_STEP) == ACCEPTED for one in others):
        return False
    if current is not None:
        return not _serves(current)
    # An instance that was lost is not one that was set aside: then nothing depends on the copy yet.
    return any(replaced(one, identifier) for one in others)


def _serves(current: Described | None) -> bool:
    """Whether an instance has the stack's name, and keeps it: one that is renamed answers under its old name for a while."""
    return current is not None and current.get("DBInstanceStatus") != "renaming"


# -- the plan


@dataclass(frozen=True)
class Step:
    """One step. Each can be repeated: done twice, it does nothing the second time."""

    name: StepName
    text: str


@dataclass(frozen=True)
class Plan:
    """Everything a restore will do, in order.

    Attributes:
        source: what is restored.
        mode: whether the copy replaces the running instance or only proves the backup.
        recipe: what the copy has to be.
        copy: the copy's name.
        old: the name that the replaced instance gets; empty when there is none.
        kept_until: how long it is kept.
        backup: automated backups to restore from when the instance is gone.
        steps: what is left to do.
        resumes: whether it goes on where an earlier one stopped.
        made: when the copy was made that it goes on with.
    """

    source: Source
    mode: Mode
    recipe: Recipe
    copy: str
    old: str
    kept_until: datetime | None
    backup: Automated | None
    steps: Sequence[Step]
    resumes: bool = False
    made: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "identifier": self.recipe.identifier,
            "to": self.source.text,
            "mode": self.mode,
            "copy": self.copy,
            "old": self.old,
            "kept_until": self.kept_until,
            "resumes": self.resumes,
            "copy_made": self.made,
            "steps": [{"name": step.name, "text": step.text} for step in self.steps],
        }


def plan(source: Source, mode: Mode, recipe: Recipe, situation: Situation, backups: Backups, now: datetime, *, old_days: int) -> Plan:
    """Decide, from what is there, what is left to do. Pure.

    Args:
        source: what to restore.
        mode: replace the running instance, or only rehearse.
        recipe: the stack's own settings.
        situation: where a restore stands.
        backups: what can be restored.
        now: for the names.
        old_days: days that the replaced instance is kept.

    Raises:
        ConfigurationError: there is no such time or snapshot to restore.
        RefusedError: the running instance has replicas, which would be left behind, or the copy of `latest` is old.
    """
    identifier = recipe.identifier
    stamp = f"{now:%y%m%d%H%M%S}"
    copy = str(situation.copy["DBInstanceIdentifier"]) if situation.copy else beside(identifier, "copy", stamp)
    backup = None
    if situation.copy is None:
        backup = _require_source(source, backups)
    if mode == "rehearse":
        steps = [*_copying(source, situation, recipe, copy), Step("delete-copy", f"delete {copy} again, without a snapshot of it")]
        return Plan(source, mode, recipe.unprotected(), copy, "", None, backup, steps, situation.copy is not None, situation.made)
    _require_fresh(source, situation, copy, now)
    current = situation.current
    if current and current.get("ReadReplicaDBInstanceIdentifiers") and not situation.swapped:
        raise RefusedError(
            "The running instance has read replicas, which would be left with the data that is replaced.",
            where=", ".join(current["ReadReplicaDBInstanceIdentifiers"]),
            fix="set database.replicas=0 and run `amianai up`; after the restore set it again",
        )
    old = beside(identifier, "old", stamp) if current and not situation.swapped else ""
    until = (now + timedelta(days=old_days)).replace(microsecond=0)
    steps = _copying(source, situation, recipe, copy)
    if not situation.decided:
        steps.append(Step("accept", "show what was found and have it accepted"))
    if not situation.swapped:
        steps.append(Step("roles", f"give the roles of {copy} their rights, and the passwords that their secrets hold today"))
    if old:
        steps.append(Step("set-aside", f"rename {identifier} to {old}, kept until {until:%Y-%m-%d}; from here the database is away"))
    if not situation.swapped:
        steps.append(Step("take-over", f"rename {copy} to {identifier}: the endpoint's name stays"))
    steps.append(Step("adopt", "adopt it in the engine's state, publish the new secret and resource id, see that `preview` is empty"))
    return Plan(source, mode, recipe, copy, old, until if old else None, backup, steps, situation.copy is not None, situation.made)


def _copying(source: Source, situation: Situation, recipe: Recipe, copy: str) -> list[Step]:
    if situation.decided:
        return []  # reading it all again would only keep the database away for longer
    what = f"the snapshot {source.text}" if source.kind == "snapshot" else f"the state of {source.text}"
    made = [] if situation.copy else [Step("create", f"restore {what} beside the running instance, as {copy}")]
    settle = Step("settle", f"wait for {copy} and set what a restore does not set")
    return [*made, settle, Step("check", f"read all of {copy} and compare it with the running database")]


def _require_fresh(source: Source, situation: Situation, copy: str, now: datetime) -> None:
    made = situation.made
    if source.text != "latest" or made is None or situation.decided or now - made <= _LATEST:
        return
    raise RefusedError(
        f"The copy of latest was made on {instant(made)}: what was written since is not in it. Nothing was changed.",
        where=f"instance {copy}",
        fix="delete it with `amianai db restore --abandon`, then begin again",
    )


def beside(identifier: str, kind: str, stamp: str) -> str:
    """The name of an instance beside the stack's own, at most 63 characters: `eeyore-postgres-copy-260301120000`."""
    suffix = f"-{kind}-{stamp}"
    return identifier[: _LONGEST - len(suffix)].rstrip("-") + suffix


def _require_source(source: Source, backups: Backups) -> Automated | None:
    """Refuse what cannot be restored; gives the automated backups where the instance itself is gone."""
    if source.kind == "snapshot":
        if source.text not in {one.name for one in backups.snapshots if one.status == "available"} and ":" not in source.text:
            raise ConfigurationError(
                f"There is no snapshot {source.text} that can be restored.",
                where=f"snapshots of {backups.identifier}",
                fix="`amianai db backup list` shows them; a moment looks like 2026-03-01T11:55:00Z",
            )
        return None
    retained = next((one for one in backups.automated if one.status == "retained" and one.arn), None)
    if backups.instance is None and retained is None:
        raise NotFoundError(
            "There are no automated backups to restore from: they went with the instance.",
            where=backups.identifier,
            fix="restore the newest snapshot: `amianai db backup list`",
        )
    window = backups.window if backups.instance is not None else retained.window if retained else backups.window
    if source.moment is not None:
        _require_inside(source, window.earliest, window.latest)
    return retained if backups.instance is None else None


def _require_inside(source: Source, earliest: datetime | None, latest: datetime | None) -> None:
    moment = source.moment
    if moment is None or ((earliest is None or earliest <= moment) and (latest is None or moment <= latest)):
        return
    window = " to ".join(f"{one:%Y-%m-%dT%H:%M:%SZ}" if one else "?" for one in (earliest, latest))
    raise ConfigurationError(
        f"{source.text} cannot be restored.", where=f"restorable: {window}", fix="choose a time inside, or a snapshot (`db backup list`)"
    )


def screen(found: Plan) -> list[str]:
    """The plan for a person."""
    made = f" with the copy made on {instant(found.made)}" if found.made else ""
    goes_on = f" (goes on where it stopped{made})" if found.resumes else ""
    title = f"{'Rehearse' if found.mode == 'rehearse' else 'Restore'} {found.recipe.identifier} to {found.source.text}{goes_on}:"
    options: dict[str, Any] = {"subsequent_indent": "     ", "break_long_words": False, "break_on_hyphens": False}
    numbered = enumerate((printable(step.text) for step in found.steps), 1)
    return [title, *(line for number, text in numbered for line in textwrap.wrap(text, 100, initial_indent=f"  {number}. ", **options))]


# -- performing it


@dataclass(frozen=True)
class Hands:
    """What a restore does with other rooms' tools; tests bring their own.

    Attributes:
        inspect: reads a database; takes the instance as RDS describes it.
        accept: shows the findings and has them accepted; raises RefusedError otherwise.
        roles: gives the roles of the copy their rights, and the passwords that their secrets hold.
        adopt: makes the engine's state and everything that is published follow; takes the resource id.
        password: the master password that the copy has to have; None where RDS makes one.
    """

    inspect: Callable[[Described], Facts]
    accept: Callable[[Sequence[Finding]], None]
    roles: Callable[[Described], None]
    adopt: Callable[[str], None]
    password: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class Result:
    """What a restore came to.

    Attributes:
        plan: what was planned.
        findings: what the checks found.
        seconds: how long each step took.
        resource_id: the id of the instance that serves now; empty after a rehearsal.
        rows: rows that the copy holds.
    """

    plan: Plan
    findings: Sequence[Finding]
    seconds: dict[str, float]
    resource_id: str = ""
    rows: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        findings = [{"level": one.level, "what": one.what, "fact": one.fact} for one in self.findings]
        seconds = {name: round(value, 1) for name, value in self.seconds.items()}
        return {**self.plan.as_dict(), "findings": findings, "seconds": seconds, "resource_id": self.resource_id, "rows": self.rows}


class Restore:
    """Performs a plan.

    Args:
        rds: instances of the stack's region.
        plan: what to do.
        hands: the tools of other rooms.
    """

    def __init__(self, rds: Rds, plan: Plan, hands: Hands) -> None:
        self._rds = rds
        self._plan = plan
        self._hands = hands
        self._findings: list[Finding] = []
        self._rows = 0

    def run(self) -> Result:
        """Every step in order.

        Raises:
            VerificationError: the copy must not take over; nothing was renamed or deleted.
        """
        work: dict[StepName, Callable[[], object]] = {
            "create": self._create,
            "settle": self._settle,
            "check": self._check,
            "accept": self._accept,
            "roles": self._roles,
            "set-aside": self._set_aside,
            "take-over": self._take_over,
            "adopt": self._adopt,
            "delete-copy": self._delete_copy,
        }
        seconds: dict[str, float] = {}
        clock = self._rds.patience.clock
        for step in self._plan.steps:
            started = clock()
            work[step.name]()
            seconds[step.name] = clock() - started
        current = None if self._plan.mode == "rehearse" else self._rds.find(self._plan.recipe.identifier)
        return Result(self._plan, self._findings, seconds, str((current or {}).get("DbiResourceId", "")), self._rows)

    def _create(self) -> None:
        """Nothing is asked for twice: a copy that exists is found by its tags before this step is planned."""
        found = self._plan
        tags = {
            **found.recipe.tags,
            TAG_RESTORE_OF: found.recipe.identifier,
            TAG_SOURCE: tag_text(found.source.text),
            TAG_MODE: found.mode,
        }
        parameters = {**found.recipe.at_restore(found.source.kind), "Tags": tag_list(tags)}
        if found.source.kind == "snapshot":
            operation = "restore_db_instance_from_db_snapshot"
            parameters |= {"DBInstanceIdentifier": found.copy, "DBSnapshotIdentifier": found.source.text}
        else:
            operation = "restore_db_instance_to_point_in_time"
            parameters |= {"TargetDBInstanceIdentifier": found.copy, **self._origin(), **self._moment()}
        self._rds.call(operation, f"restoring {found.source.text} as {found.copy}", **parameters)

    def _origin(self) -> dict[str, str]:
        if self._plan.backup is not None:
            return {"SourceDbiResourceId": self._plan.backup.resource_id}
        return {"SourceDBInstanceIdentifier": self._plan.recipe.identifier}

    def _moment(self) -> dict[str, Any]:
        moment = self._plan.source.moment
        return {"RestoreTime": moment} if moment else {"UseLatestRestorableTime": True}

    def _copy(self) -> Described:
        """The copy, whatever its name is by now, and nothing else: told by its tags."""
        found = next((one for one in self._rds.instances() if self._is_copy(one)), None)
        if found is None:
            raise NotFoundError(f"The copy {self._plan.copy} is gone.", fix="run the same command again: it restores another one")
        return found

    def _is_copy(self, one: Described) -> bool:
        tags = tags_of(one)
        return tags.get(TAG_RESTORE_OF) == self._plan.recipe.identifier and tags.get(TAG_SOURCE) == tag_text(self._plan.source.text)

    def _settle(self) -> None:
        rds, recipe, name = self._rds, self._plan.recipe, self._plan.copy
        described = rds.wait_available(name, f"Restoring {self._plan.source.text} as {name}")
        if why := recipe.misplaced(described):
            raise VerificationError(f"The copy {name} cannot take over: {why}.", fix="delete it with `amianai db restore --abandon`")
        if changes := recipe.differences(described):
            rds.call(
                "modify_db_instance", f"setting {', '.join(changes)} of {name}", DBInstanceIdentifier=name, ApplyImmediately=True, **changes
            )
            described = self._wait_settled(name)
        if password := self._hands.password():
            self._set_password(password)
        if _needs_reboot(described):
            rds.call("reboot_db_instance", f"restarting {name} with its parameters", DBInstanceIdentifier=name)
            rds.wait_available(name, f"Restarting {name}")

    def _set_password(self, password: str) -> None:
        """A copy has the password of its backup, and the secret is the stack's own and goes on."""
        rds, name = self._rds, self._plan.copy
        rds.call("modify_db_instance", f"setting the master password of {name}", DBInstanceIdentifier=name, MasterUserPassword=password)

        def state() -> str | None:
            return "not set yet" if "MasterUserPassword" in (rds.get(name).get("PendingModifiedValues") or {}) else None

        rds.wait(f"The master password of {name}", state)
        rds.wait_available(name, f"The master password of {name}")

    def _wait_settled(self, name: str) -> Described:
        """An instance is still `available` for some seconds after it was told to change; what never changes is reported later."""
        rds, recipe, looks = self._rds, self._plan.recipe, 0

        def state() -> str | None:
            nonlocal looks
            looks += 1
            left = recipe.differences(rds.get(name))
            return f"waits for {', '.join(sorted(left))}" if left and looks < _LOOKS else None

        rds.wait(f"Settings of {name}", state)
        return rds.wait_available(name, f"Changes of {name}")

    def _check(self) -> None:
        copy = self._copy()
        current = self._rds.find(self._plan.recipe.identifier)
        with self._rds.progress.task(f"Reading all of {self._plan.copy}") as task:
            held = self._hands.inspect(copy)
            task.say(f"{held.rows} rows in {len(held.tables)} tables")
        self._rows = held.rows
        running, why = self._running(current)
        self._findings = [*self._made(copy), *([why] if why else []), *compare(held, running), *self._left(copy)]
        if not healthy(self._findings):
            wrong = "; ".join(f"{one.what}: {one.fact}" for one in self._findings if one.level == "problem")
            raise VerificationError(
                f"The copy {self._plan.copy} must not take over; nothing was renamed or deleted.",
                where=wrong,
                fix="restore another time; `amianai db restore --abandon` deletes this copy",
            )

    def _running(self, current: Described | None) -> tuple[Facts | None, Finding | None]:
        """What the running database holds; that it cannot be read is no reason to stop: it may be why there is a restore."""
        if current is None:
            return None, Finding("note", "running database", "does not exist any more")
        try:
            return self._hands.inspect(current), None
        except AmianaiError as error:
            return None, Finding("note", "running database", f"cannot be read: {error.what}")

    def _made(self, copy: Described) -> list[Finding]:
        made = copy.get("InstanceCreateTime")
        return [Finding("note", "copy", f"of {self._plan.source.text}, made on {instant(made)}")] if made else []

    def _left(self, copy: Described) -> list[Finding]:
        """Settings that the copy still does not have: `up` will bring them."""
        left = self._plan.recipe.differences(copy)
        return [Finding("note", "settings", f"still to be set by `amianai up`: {', '.join(sorted(left))}")] if left else []

    def _accept(self) -> None:
        self._hands.accept(self._findings)
        self._rds.tag(self._copy()["DBInstanceArn"], {TAG_STEP: ACCEPTED})

    def _require_accepted(self) -> Described:
        copy = self._copy()
        if tags_of(copy).get(TAG_STEP) != ACCEPTED:
            raise RefusedError("The copy was not accepted; nothing was renamed.", where=str(copy["DBInstanceIdentifier"]))
        return copy

    def _roles(self) -> None:
        """Passwords that were changed since the restored moment are not in the copy."""
        self._hands.roles(self._require_accepted())

    def _set_aside(self) -> None:
        """From here until the copy has the name, nobody reaches the database under it."""
        rds, identifier, old = self._rds, self._plan.recipe.identifier, self._plan.old
        copy, current = self._require_accepted(), rds.find(identifier)
        if current is None or current["DbiResourceId"] == copy["DbiResourceId"] or self._plan.kept_until is None:
            return
        until = self._plan.kept_until.astimezone(UTC).replace(tzinfo=None).isoformat()
        rds.tag(current["DBInstanceArn"], {TAG_KEPT_UNTIL: until, TAG_REPLACED_BY: identifier})
        self._rename(identifier, old)

    def _take_over(self) -> None:
        copy, identifier = self._require_accepted(), self._plan.recipe.identifier
        if copy["DBInstanceIdentifier"] != identifier:
            self._rename(str(copy["DBInstanceIdentifier"]), identifier)
            self._rds.wait_available(identifier, f"Waiting for {identifier}")

    def _rename(self, before: str, after: str) -> None:
        rds = self._rds
        if rds.get(before)["DBInstanceStatus"] != "renaming":  # else an earlier run asked for it
            rds.call(
                "modify_db_instance",
                f"renaming {before} to {after}",
                DBInstanceIdentifier=before,
                NewDBInstanceIdentifier=after,
                ApplyImmediately=True,
            )
        # The old name answers until the new one exists; then something else may take it, while the renamed one still restarts.
        rds.wait(f"Renaming {before} to {after}", lambda: "renaming" if rds.find(before) else None)

    def _adopt(self) -> None:
        current = self._rds.wait_available(self._plan.recipe.identifier)
        self._hands.adopt(str(current["DbiResourceId"]))
        left = [key for key in WORKING_TAGS if key in tags_of(self._rds.get(self._plan.recipe.identifier))]
        if left:  # `up` takes away tags that the program does not name; this is for what it leaves
            self._rds.untag(current["DBInstanceArn"], left)

    def _delete_copy(self) -> None:
        copy = self._copy()
        require_deletable(copy, self._plan.recipe.identifier)
        delete(self._rds, copy, final_snapshot="")


def _needs_reboot(described: Described) -> bool:
    return any(group.get("ParameterApplyStatus") == "pending-reboot" for group in described.get("DBParameterGroups") or [])


def outputs_of(outputs: StackOutputs, described: Described) -> StackOutputs:
    """The stack's outputs with another instance in the database's place: its own address, and its own secret where RDS keeps one.

    Raises:
        NotFoundError: it has no address, or no managed secret yet.
    """
    endpoint, secret = described.get("Endpoint") or {}, described.get("MasterUserSecret") or {}
    arn = str(secret.get("SecretArn") or ("" if rds_keeps(outputs.database.secret_arn) else outputs.database.secret_arn))
    if not endpoint.get("Address") or not arn:
        raise NotFoundError(f"{described['DBInstanceIdentifier']} has no address or no managed secret.", fix="run the same command again")
    database = replace(
        outputs.database,
        identifier=str(described["DBInstanceIdentifier"]),
        host=str(endpoint["Address"]),
        port=int(endpoint["Port"]),
        secret_arn=arn,
        resource_id=str(described["DbiResourceId"]),
    )
    return replace(outputs, database=database)


# -- deleting what a restore left


def require_deletable(one: Described, identifier: str) -> None:
    """Refuse to delete anything but a copy that never took over, or an instance that was replaced.

    Raises:
        RefusedError: it is the stack's own instance, or not of a restore's making.
    """
    name, tags = one["DBInstanceIdentifier"], tags_of(one)
    copied = tags.get(TAG_RESTORE_OF) == identifier
    aside = replaced(one, identifier) and TAG_KEPT_UNTIL in tags and tags.get(TAG_RESTORE_OF) is None
    if name == identifier or not (copied or aside):
        raise RefusedError(f"{name} is not what a restore left behind; it was not deleted.", where=str(one.get("DBInstanceArn", "")))


def delete(rds: Rds, one: Described, *, final_snapshot: str) -> None:
    """Delete an instance and wait until it is gone.

    Args:
        rds: the stack's region.
        one: the instance.
        final_snapshot: name of the snapshot it leaves; empty for none.
    """
    name = str(one["DBInstanceIdentifier"])
    if one.get("DeletionProtection"):
        rds.call(
            "modify_db_instance",
            f"lifting the protection of {name}",
            DBInstanceIdentifier=name,
            DeletionProtection=False,
            ApplyImmediately=True,
        )
        rds.wait_available(name)
    final: dict[str, Any] = {"FinalDBSnapshotIdentifier": final_snapshot} if final_snapshot else {"SkipFinalSnapshot": True}
    if one.get("DBInstanceStatus") != "deleting":
        rds.call("delete_db_instance", f"deleting {name}", DBInstanceIdentifier=name, DeleteAutomatedBackups=True, **final)
    rds.wait(f"Deleting {name}", lambda: "deleting" if rds.find(name) else None)


@dataclass(frozen=True)
class Leftover:
    """An instance that may go.

    Attributes:
        name: its name.
        why: what it is.
        final_snapshot: name of the snapshot it leaves; empty for none.
    """

    name: str
    why: str
    final_snapshot: str = ""


def leftovers(found: Backups, now: datetime, *, abandon: bool) -> list[Leftover]:
    """What may be deleted. Pure.

    Args:
        found: what there is.
        now: whether a replaced instance's time is over.
        abandon: the copies of unfinished restores instead of replaced instances.

    Raises:
        RefusedError: a restore has to be finished first: its copy took over, or nothing has the stack's name.
    """
    gone = []
    today = now.astimezone(UTC).replace(tzinfo=None).isoformat()
    if abandon:
        _require_abandonable(found.instance, found.beside, found.identifier)
    else:
        _require_serving(found.instance, found.beside, found.identifier)
    for one in found.beside:
        name, tags = str(one["DBInstanceIdentifier"]), tags_of(one)
        if abandon and tags.get(TAG_RESTORE_OF) == found.identifier:
            gone.append(Leftover(name, f"copy of {tags.get(TAG_SOURCE, '?')}, not finished"))
        elif not abandon and replaced(one, found.identifier) and TAG_KEPT_UNTIL in tags and tags[TAG_KEPT_UNTIL] <= today:
            gone.append(Leftover(name, f"replaced, kept until {tags[TAG_KEPT_UNTIL][:10]}", f"{name}-final"))
    return gone


def _require_abandonable(current: Described | None, others: Sequence[Described], identifier: str) -> None:
    if current is not None and tags_of(current).get(TAG_RESTORE_OF) == identifier:
        raise RefusedError(
            f"The copy took over as {identifier} already: it is the running instance. Nothing was deleted.",
            fix=_finish([current], identifier),
        )
    if swapping(current, others, identifier):
        raise RefusedError(
            f"A restore stopped between its renames: the copy is what will be {identifier}. Nothing was deleted.",
            fix=_finish(others, identifier),
        )


def _require_serving(current: Described | None, others: Sequence[Described], identifier: str) -> None:
    if not _serves(current):
        raise RefusedError(
            f"No instance has the name {identifier}: what was replaced may be all there is. Nothing was deleted.",
            fix=_finish(others, identifier),
        )


def _finish(others: Sequence[Described], identifier: str) -> str:
    for tags in map(tags_of, others):
        if tags.get(TAG_RESTORE_OF) == identifier and tags.get(TAG_MODE) == "replace":
            return f"finish that restore: `amianai db restore --to {tags[TAG_SOURCE]}`"
    return "restore the database first: `amianai db backup list` shows from what"


def clean(rds: Rds, identifier: str, gone: Sequence[Leftover]) -> None:
    """Delete leftovers, each after a last look at what it is."""
    for one in gone:
        described = rds.find(one.name)
        if described is not None:
            require_deletable(described, identifier)
            # As things are now: the plan is as old as the person's answer, or as the deletion before this one.
            require = _require_serving if replaced(described, identifier) else _require_abandonable
            require(rds.find(identifier), rds.instances(), identifier)
            delete(rds, described, final_snapshot=one.final_snapshot)
