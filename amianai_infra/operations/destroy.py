"""Removing the stack: what goes and what stays is computed first, shown, confirmed, and then performed.

Every step leaves a state that agrees with AWS, so that an interrupted `destroy` goes on when it is run again, and a change of mind
(`up`) brings everything back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from amianai_infra.config import Settings, read_stack_file
from amianai_infra.errors import EngineError, NotFoundError, RefusedError
from amianai_infra.operations import change, state_storage, tenants, zones
from amianai_infra.operations.buckets import empty
from amianai_infra.operations.context import Context
from amianai_infra.rules.postgres import final_snapshot
from amianai_infra.target import aws_error, forget_outputs

if TYPE_CHECKING:
    from amianai_infra.engine import Engine, StateResource

BUCKET_TYPE = "aws:s3/bucket:Bucket"
INSTANCE_TYPE = "aws:rds/instance:Instance"
AUDIT_TYPE = "amianai:audit:AuditLog$aws:cloudwatch/logGroup:LogGroup"
# What the stack configuration calls a thing that was kept, so that the next setup adopts it.
ADOPTION = {
    change.POOL_TYPE: "amianai-infra:authUserPoolId",
    change.ZONE_TYPE: "amianai-infra:dnsZoneId",
    AUDIT_TYPE: "amianai-infra:auditLogGroup",
}
PROTECTION = {
    AUDIT_TYPE: ("amianai-infra:auditDeletionProtection", "deletionProtectionEnabled", True),
    INSTANCE_TYPE: ("amianai-infra:databaseDeletionProtection", "deletionProtection", True),
    change.POOL_TYPE: ("amianai-infra:authDeletionProtection", "deletionProtection", "ACTIVE"),
}
_ATTEMPTS = 3


@dataclass(frozen=True)
class Options:
    """What is kept, and whether the state goes too."""

    keep_users: bool = False
    keep_zone: bool = False
    delete_state: bool = False
    delete_audit: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything `destroy` will do, in order.

    Attributes:
        keep: the configuration that lets setup adopt again what is forgotten instead of deleted.
        kept_urns: what is forgotten.
        lift: resources whose deletion protection is on, which is lifted first.
        unprotect: URNs that the engine itself protects.
        empty: names of the buckets that are emptied.
        goes: number of resources of each type that are deleted.
        snapshot: identifier of the final snapshot; empty when there is no database.
        stays: sentences about what is left afterwards.
        delete_state: whether the state's bucket and key go too.
        drop: configuration that names what is gone then.
        suffix: a new suffix of the snapshot's name, where the configured one is taken.
        domain: the domain of the stack, as its state has it.
        foreign: records of others in the zone that would go; while there are any, nothing goes.
        tenants: what others have in the network that would go; the same.
        planned: the state that it was made from.
    """

    keep: Mapping[str, str] = field(default_factory=dict)
    kept_urns: Sequence[str] = ()
    lift: Sequence[str] = ()
    unprotect: Sequence[str] = ()
    empty: Sequence[str] = ()
    goes: Mapping[str, int] = field(default_factory=dict)
    snapshot: str = ""
    stays: Sequence[str] = ()
    delete_state: bool = False
    drop: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""
    domain: str = ""
    foreign: Sequence[str] = ()
    tenants: Sequence[str] = ()
    planned: Sequence[StateResource] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "domain": self.domain,
            "goes": dict(self.goes),
            "empties": list(self.empty),
            "lifts_protection": [_name(urn) for urn in self.lift],
            "final_snapshot": self.snapshot,
            "stays": list(self.stays),
            "deletes_state": self.delete_state,
            "records_of_others": list(self.foreign),
            "network_of_others": list(self.tenants),
        }


def kind_of(resource: StateResource) -> str:
    """Its type; that of the audit log group also says whose it is, because the stack has other log groups."""
    return AUDIT_TYPE if f"::{AUDIT_TYPE}::" in resource.urn else resource.type


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _real(resource: StateResource) -> bool:
    """Whether AWS has it: not a component, provider or the stack itself, and not merely referred to."""
    return resource.type.startswith("aws:") and bool(resource.id) and not change.is_read(resource)


def plan(resources: Sequence[StateResource], options: Options, settings: Settings) -> Plan:
    """Decide, from the state alone, what goes and what stays. Pure."""
    managed = [one for one in resources if _real(one)]
    kept = [one for one in managed if _is_kept(one, options, settings)]
    going = [one for one in managed if one not in kept]
    return Plan(
        keep={ADOPTION[kind_of(one)]: one.id for one in kept if kind_of(one) in ADOPTION},
        kept_urns=[one.urn for one in kept],
        lift=[one.urn for one in going if _is_protected(one)],
        unprotect=[one.urn for one in resources if one.protect and one.urn not in {each.urn for each in kept}],
        empty=[one.id for one in going if one.type == BUCKET_TYPE],
        goes=dict(sorted(Counter(_plain_type(one.type) for one in going).items())),
        snapshot=next((_snapshot(one, settings) for one in going if one.type == INSTANCE_TYPE), ""),
        stays=list(_stays(kept, options, settings)),
        delete_state=options.delete_state,
        drop={ADOPTION[kind]: "" for kind in (AUDIT_TYPE,) if any(kind_of(one) == kind for one in going)},
    )


def _is_kept(resource: StateResource, options: Options, settings: Settings) -> bool:
    """What was asked for, what was adopted (that is never deleted), and the record of what was done to the database."""
    if kind_of(resource) == AUDIT_TYPE:
        return not options.delete_audit
    if zones.is_carried(resource):
        return options.keep_zone or bool(settings.dns.zone_id)
    if resource.type == change.POOL_TYPE:
        return options.keep_users or resource.id == settings.auth.user_pool_id
    return resource.type == change.ZONE_TYPE and (options.keep_zone or resource.id == settings.dns.zone_id)


def _is_protected(resource: StateResource) -> bool:
    if kind_of(resource) not in PROTECTION:
        return False
    _, name, on = PROTECTION[kind_of(resource)]
    return bool(resource.inputs.get(name) == on)


def _snapshot(resource: StateResource, settings: Settings) -> str:
    if resource.inputs.get("skipFinalSnapshot"):
        return ""
    named = resource.inputs.get("finalSnapshotIdentifier")
    return str(named or final_snapshot(settings.database.identifier, settings.database.final_snapshot_suffix))


def _plain_type(kind: str) -> str:
    """`aws:ec2/vpc:Vpc` as `ec2 Vpc`."""
    module, _, name = kind.removeprefix("aws:").partition(":")
    return f"{module.partition('/')[0]} {name}"


def _stays(kept: Iterable[StateResource], options: Options, settings: Settings) -> Iterable[str]:
    adopted = {change.POOL_TYPE: settings.auth.user_pool_id, change.ZONE_TYPE: settings.dns.zone_id}
    words = {change.POOL_TYPE: "user pool", change.ZONE_TYPE: "hosted zone"}
    for one in kept:
        if kind_of(one) == AUDIT_TYPE:
            yield f"the audit log group {one.id} (--delete-audit removes it): setup adopts it again"
        elif one.type in words and one.id != adopted[one.type]:
            yield f"the {words[one.type]} {one.id}: setup adopts it again"
    carried = [f"{one.inputs.get('name')} {one.inputs.get('type')}" for one in kept if zones.is_carried(one)]
    if carried:
        yield f"the records of dns.records in the zone: {', '.join(carried)}"
    for kind, identity in adopted.items():
        if identity:
            yield f"the {words[kind]} {identity}, which was adopted and is never deleted; setup adopts it again"
    if not options.delete_state:
        yield "the engine's state (on AWS its bucket and key; --delete-state removes them)"


def screen(found: Plan) -> list[str]:
    """The plan for a person."""
    lines = [f"This removes the production stack of {found.domain}:"]
    lines += [f"  - {service}: {', '.join(parts)}" for service, parts in _by_service(found.goes).items()]
    lines += [f"  - everything in the bucket {name}, all versions" for name in found.empty]
    lines += [f"  - deletion protection of {_name(urn)} is lifted first" for urn in found.lift]
    if found.delete_state:
        lines.append("  - the engine's state, and on AWS its bucket and key")
    lines.append("What stays:")
    if found.snapshot:
        lines.append(f"  - the database's final snapshot {found.snapshot}")
    lines += [f"  - {line}" for line in found.stays]
    if found.foreign:
        lines.append("What stands in the way: records in the stack's zone that others made:")
        lines += [f"  - {record}" for record in found.foreign]
    if found.tenants:
        lines.append("What stands in the way: in the stack's network, of others:")
        lines += [f"  - {one}" for one in found.tenants]
    return lines


def _by_service(goes: Mapping[str, int]) -> dict[str, list[str]]:
    """`{"ec2": ["4 Subnet", "1 Vpc"]}`."""
    grouped: dict[str, list[str]] = {}
    for name, count in goes.items():
        service, _, kind = name.partition(" ")
        grouped.setdefault(service, []).append(f"{count} {kind}")
    return grouped


@dataclass(frozen=True)
class Result:
    """What was done."""

    plan: Plan
    counts: Mapping[str, int]
    notes: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"plan": self.plan.as_dict(), "counts": dict(self.counts), "notes": list(self.notes)}

    def text(self) -> list[str]:
        """For a person."""
        deleted = self.counts.get("delete", 0)
        lines = [f"{deleted} resources deleted" if deleted else "There was nothing to delete", *self.notes]
        if self.plan.snapshot:
            lines.append(f"final snapshot: {self.plan.snapshot}")
        return lines


def prepare(context: Context, options: Options) -> tuple[Engine, Plan]:
    """Recover what a killed run left, and plan.

    Raises:
        RefusedError: the state belongs to another domain than the settings name.
    """
    engine = context.engine()
    resources = engine.resources()
    domain = change.require_same_domain(context, resources)
    change.require_unpublished(context, resources)
    if not engine.exists():
        return engine, Plan(delete_state=options.delete_state, domain=domain)
    for line in engine.recover():
        context.progress.note(line)
    resources = engine.resources()
    found = replace(plan(resources, options, context.settings), domain=domain, planned=resources)
    if zones.in_state(resources) and change.ZONE_TYPE not in {one.type for one in resources if one.urn in found.kept_urns}:
        found = replace(found, foreign=zones.of_others(context, resources))
    found = replace(found, tenants=tenants.of_others(context.target, resources))
    return engine, _with_free_snapshot_name(context, found)


def require_nothing_of_others(found: Plan) -> None:
    """Refuse while others have something in the stack's zone or network: AWS would, once everything else is gone.

    Raises:
        RefusedError: naming it.
    """
    if found.tenants:
        raise RefusedError(
            "Others have something in the stack's network, which cannot go while it is there; nothing was removed.",
            where="\n".join(found.tenants),
            fix="remove it first, or end what it belongs to (`amianai db restore --cleanup` removes replaced databases)",
        )
    if found.foreign:
        raise RefusedError(
            "Others made records in the stack's zone, which cannot go while they are there; nothing was removed.",
            where="\n".join(found.foreign),
            fix="keep the zone and what is in it with --keep-zone (the next setup adopts it), or delete these records first",
        )


def _with_free_snapshot_name(context: Context, found: Plan) -> Plan:
    """Another name when a snapshot of the planned one exists already: RDS would refuse to delete the database."""
    if not found.snapshot or not _snapshot_exists(context, found.snapshot):
        return found
    suffix = change.draw_suffix()
    return replace(found, snapshot=final_snapshot(context.settings.database.identifier, suffix), suffix=suffix)


def _snapshot_exists(context: Context, name: str) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        context.target.client("rds").describe_db_snapshots(DBSnapshotIdentifier=name)
    except (BotoCoreError, ClientError) as error:
        translated = aws_error(error, f"looking for a snapshot called {name}")
        if isinstance(translated, NotFoundError):
            return False
        raise translated from error
    return True


def execute(context: Context, engine: Engine, found: Plan, options: Options) -> Result:
    """Perform the plan. Running it again after an interruption goes on with what is left.

    Raises:
        RefusedError: the zone or the network holds what is of others, or the stack was changed after this was planned.
    """
    require_nothing_of_others(found)
    change.require_as_planned(context, engine, found.planned)
    _lift(context, engine, found)
    _keep(context, engine, found, options)
    if found.unprotect:
        engine.unprotect(list(found.unprotect))
    counts = _delete(context, engine, found.empty)
    forget_outputs(context.target)
    if engine.exists():
        engine.configure({change.SUFFIX: change.draw_suffix(), **found.drop})
    notes = list(_remove_state(context, options))
    return Result(found, counts, notes)


def _keep(context: Context, engine: Engine, found: Plan, options: Options) -> None:
    """Record what is kept, then forget it: from here on nothing that is kept may be in the state.

    This comes after the last `up`, which would import a recorded user pool again and leave it to be deleted.
    """
    engine.configure(dict(found.keep))
    kept = plan(engine.resources(), options, context.settings).kept_urns
    if not kept:
        return
    with context.progress.task("Keeping what was asked to be kept") as task:
        engine.forget(list(kept))
        task.say(", ".join(found.keep.values()))
    if plan(engine.resources(), options, context.settings).kept_urns:
        raise RefusedError("What is to be kept is still in the engine's state; nothing was deleted.", where=", ".join(kept))


def _lift(context: Context, engine: Engine, found: Plan) -> None:
    """Take deletion protection away through an ordinary update of the protected resources, with a stack file nobody keeps.

    So the state always says what AWS has, and after an interruption the next `up` protects them again.
    """
    targets = list(found.lift)
    if found.suffix:
        targets += [one.urn for one in engine.resources() if one.type == INSTANCE_TYPE and one.urn not in targets]
    if not targets:
        return
    environment = context.target.engine()
    lifted_types = {kind_of(one) for one in engine.resources() if one.urn in found.lift}
    values = {PROTECTION[kind][0]: "false" for kind in lifted_types} | ({change.SUFFIX: found.suffix} if found.suffix else {})
    configured = read_stack_file(change.stack_file(environment))
    with context.progress.task("Lifting deletion protection") as task, change.variant(environment) as other:
        lifted = context.engine(other)
        lifted.configure({key: value for key, value in values.items() if configured.get(key) != value})
        lifted.up(targets=targets)
        task.say(", ".join(_name(urn) for urn in targets))


def _delete(context: Context, engine: Engine, buckets: Sequence[str]) -> Mapping[str, int]:
    """Empty the buckets and delete everything; again where a log arrived in a bucket meanwhile."""
    counts: Counter[str] = Counter()
    if not engine.exists():
        return counts
    for attempt in range(1, _ATTEMPTS + 1):
        _empty(context, buckets)
        try:
            counts.update(engine.destroy().counts)
        except EngineError as error:
            if "BucketNotEmpty" not in str(error) or attempt == _ATTEMPTS:
                raise
            context.progress.note("A bucket filled again meanwhile (late access logs); emptying it once more.")
        else:
            break
    return counts


def _empty(context: Context, buckets: Sequence[str]) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    s3 = context.target.client("s3")
    for name in buckets:
        try:
            empty(s3, name, context.progress)
        except (BotoCoreError, ClientError) as error:
            translated = aws_error(error, f"emptying the bucket {name}")
            if not isinstance(translated, NotFoundError):
                raise translated from error


def _remove_state(context: Context, options: Options) -> Iterable[str]:
    if not options.delete_state:
        return
    if context.target.name != "aws":
        yield "the sandbox's state goes with `amianai sandbox reset`"
        return
    storage = state_storage.StateStorage.of(context.target, context.settings.prefix)
    yield from state_storage.remove(context.target, storage, context.progress)
