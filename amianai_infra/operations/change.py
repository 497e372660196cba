"""Bringing the stack to its settings: write them down, recover what a killed run left, preview, up."""

from __future__ import annotations

import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amianai_infra.config import Settings, every_setting, read_stack_document, read_stack_file, require_shared, to_pulumi
from amianai_infra.errors import AmianaiError, ForbiddenError, LockedError, NotFoundError, RefusedError
from amianai_infra.naming import stack_parameter
from amianai_infra.operations import zones
from amianai_infra.operations.built import Built, refused
from amianai_infra.operations.context import Context
from amianai_infra.operations.state_storage import StateStorage, has_bucket
from amianai_infra.rules.zone_records import described
from amianai_infra.target import aws_error, fetch_outputs, forget_outputs

if TYPE_CHECKING:
    from amianai_infra.engine import Engine, Existing, StateResource, Summary
    from amianai_infra.target import EngineEnvironment

ACCOUNT = "amianai-infra:account"
SUFFIX = "amianai-infra:databaseFinalSnapshotSuffix"
MIGRATIONS = "amianai-infra:databaseMigrations"
DIRECTORY = "amianai-infra:siteDirectory"
POOL_TYPE = "aws:cognito/userPool:UserPool"
ZONE_TYPE = zones.ZONE_TYPE
_DOMAIN_OF = {ZONE_TYPE: "name", "aws:acm/certificate:Certificate": "domainName", "pulumi:pulumi:Stack": "domain"}


def draw_suffix() -> str:
    """A name part for the final snapshot that no earlier snapshot has."""
    return secrets.token_hex(4)


def stack_file(environment: EngineEnvironment) -> Path:
    """The stack file that the engine reads and writes."""
    return environment.project_dir / f"Pulumi.{environment.stack}.yaml"


def wanted(settings: Settings, configured: Mapping[str, str]) -> dict[str, str]:
    """The stack configuration that says what `settings` say.

    The final snapshot's suffix is drawn once and then kept: a new one would change the database on every run.
    """
    values = to_pulumi(settings, written={key for key in configured if key in _spellings()})
    values["aws:region"] = settings.region
    if not values.get(SUFFIX):
        values[SUFFIX] = configured.get(SUFFIX) or draw_suffix()
    return values


def named(values: Iterable[str]) -> str:
    """Keys of the stack file in the spelling of everywhere else; the engine's own `aws:region` is the region once more."""
    keys = {setting.pulumi: setting.key for setting in every_setting()}
    return ", ".join(sorted({keys.get(key, "region") for key in values}))


def _spellings() -> set[str]:
    return {setting.pulumi for setting in every_setting()}


def differences(context: Context) -> dict[str, str]:
    """What must be written into the stack configuration before it says what the settings say.

    Raises:
        ConfigurationError: a new folder of migrations is none, or a folder of this machine alone would get into the committed file.
    """
    configured = read_stack_file(stack_file(context.target.engine()))
    values = wanted(context.settings, configured)
    if context.target.name == "aws":
        values[ACCOUNT] = context.target.identity().account
    found = {key: value for key, value in values.items() if configured.get(key) != value}
    if context.target.name == "aws":
        require_shared(found.get(DIRECTORY, ""), str(stack_file(context.target.engine())))
    if MIGRATIONS in found:
        from amianai_infra.database.schema import project_folder

        project_folder(context.root, found[MIGRATIONS])
    return found


def configure(context: Context, engine: Engine) -> dict[str, str]:
    """Write the resolved settings into the stack configuration; gives what was written.

    Raises:
        RefusedError: the stack was built for another domain, its state is elsewhere, or it cannot take a setting any more.
    """
    values = news(context, engine)
    if values:
        engine.configure(values)
    return values


def news(context: Context, engine: Engine) -> dict[str, str]:
    """What the settings say that the stack configuration does not say yet.

    Raises:
        RefusedError: the stack was built for another domain, or cannot take a setting any more.
    """
    resources = engine.resources()
    require_same_domain(context, resources)
    require_unpublished(context, resources)
    require_its_file(context, engine, resources)
    require_possible(context, Built(resources, engine.superseded()))
    require_offered(context, resources)
    return differences(context)


def require_possible(context: Context, built: Built) -> None:
    """Refuse settings that a stack cannot take any more once it is built, before anything is written or changed.

    Raises:
        RefusedError: naming each, what it was and is, why, and what to do instead.
    """
    found = list(refused(context.settings, built))
    if found:
        raise RefusedError(
            "The stack is built, and these settings cannot change any more; nothing was changed.",
            details=[str(one) for one in found],
            where=f"state of {context.target.engine().project}/{context.target.engine().stack}",
            fix="leave them as they were in flag, environment and stack file: " + " ".join(f"--set {one.key}={one.set}" for one in found),
        )


def require_offered(context: Context, resources: Sequence[StateResource]) -> None:
    """Refuse an instance class or minor version that RDS does not have: it would say so in the middle. New ones alone are asked about.

    In the sandbox nobody can be asked; its provider looks at the family and the size.

    Raises:
        RefusedError: RDS does not offer it in the region; nothing was changed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    wanted, version = context.settings.database.instance_class, context.settings.database.engine_version
    known = {(one.inputs.get("instanceClass"), one.inputs.get("engineVersion")) for one in resources}
    if context.target.name != "aws" or (wanted, version) in known:
        return
    minor = {"EngineVersion": version} if "." in version else {}
    try:
        offered = context.target.client("rds").describe_orderable_db_instance_options(Engine="postgres", DBInstanceClass=wanted, **minor)
    except (BotoCoreError, ClientError) as error:
        translated = aws_error(error, "asking RDS about the instance class")
        if isinstance(translated, ForbiddenError):
            return  # RDS itself will say it, later
        raise translated from error
    if not offered["OrderableDBInstanceOptions"]:
        raise RefusedError(
            f"RDS for PostgreSQL {version} has no instance class {wanted} in {context.settings.region}; nothing was changed.",
            where="database.instance_class, database.engine_version",
            fix="choose of those that `aws rds describe-orderable-db-instance-options --engine postgres --output text"
            " --query 'OrderableDBInstanceOptions[].[EngineVersion,DBInstanceClass]'` lists",
        )


def domain_of(resources: Sequence[StateResource]) -> str:
    """The domain a stack was built for, from its zone, its certificate or what it published; empty where the state does not say."""
    for kind, name in _DOMAIN_OF.items():
        for one in resources:
            found = {**one.outputs, **one.inputs}.get(name) if one.type == kind and not is_read(one) else None
            if isinstance(found, str) and found:
                return found.rstrip(".").lower()
    return ""


def require_same_place(context: Context) -> None:
    """Refuse another account, region or prefix than that of the stack which the stack file was written for.

    On AWS each of them leads to a bucket of state of its own: nothing there would say that the stack exists already, and `setup` would
    begin a second one and write over the file.

    Raises:
        RefusedError: naming what differs; nothing was changed.
    """
    if context.target.name != "aws":
        return
    file, identity = stack_file(context.target.engine()), context.target.identity()
    configured = read_stack_file(file)
    if not configured.get(SUFFIX):  # nothing but `setup` and `up` writes it
        return
    plain = Settings(domain_name=context.settings.domain_name)
    pairs = {
        "account": (configured.get(ACCOUNT) or context.settings.account, identity.account),
        "region": (configured.get("amianai-infra:region") or plain.region, context.settings.region),
        "prefix": (configured.get("amianai-infra:prefix") or plain.prefix, context.settings.prefix),
    }
    other = {key: pair for key, pair in pairs.items() if pair[0] and pair[0] != pair[1]}
    if other:
        told = ", ".join(f"{key} {was}, not {now}" for key, (was, now) in other.items())
        raise RefusedError(
            f"The stack file belongs to a stack in {told}; nothing was changed.",
            where=f"{file}, credentials {identity.arn}",
            fix="use the credentials, region and prefix of that stack, or a checkout of its own for another one;"
            f" after a `destroy`, remove {', '.join(sorted(key for key in configured if key in (ACCOUNT, SUFFIX)))} from the file",
        )


def require_its_file(context: Context, engine: Engine, resources: Sequence[StateResource]) -> None:
    """Refuse a stack file that says nothing of the stack: it would be set back to the defaults, and its secrets encrypted anew.

    Raises:
        RefusedError: the file is missing, lacks what every `up` leaves in it, or names the key of other secrets; nothing was changed.
    """
    if not is_published(resources):
        return
    file = stack_file(context.target.engine())
    wrong, present = wrong_lines(file, engine.secrets_lines()), read_stack_document(file)
    if wrong or not read_stack_file(file).get(SUFFIX):
        missing = [key for key in wrong if not present.get(key)]
        reason = f"its {', '.join(wrong)} is not the state's" if wrong and not missing else f"it lacks {', '.join(missing or [SUFFIX])}"
        raise RefusedError(
            f"The stack is built, and this stack file is not the one that it was built from: {reason}; nothing was changed.",
            where=str(file),
            fix="bring the file from the branch or the machine where the stack was set up (it belongs into git),"
            " or run `amianai config pull`, which writes it from the state",
        )


def wrong_lines(file: Path, lines: Mapping[str, str]) -> dict[str, str]:
    """Those of the lines beside the configuration that a stack file does not have, or has with another value, as after a merge."""
    present = read_stack_document(file)
    return {key: value for key, value in lines.items() if present.get(key) != value}


def require_same_domain(context: Context, resources: Sequence[StateResource]) -> str:
    """The domain that both the state and the settings name.

    Raises:
        RefusedError: they name different ones.
    """
    configured = context.settings.domain_name
    built = domain_of(resources) or configured
    file = stack_file(context.target.engine())
    if built != configured and file.exists() and not read_stack_file(file):
        raise RefusedError(
            f"The stack was built for {built}, and its stack file is empty; nothing was changed.",
            where=f"{file}; without it the settings say {configured}",
            fix=f"bring it from git, or run `DOMAIN_NAME={built} amianai config pull`, which writes it back from the state",
        )
    if built != configured:
        raise RefusedError(
            f"The stack was built for {built}, and the settings say {configured}; nothing was changed.",
            where=f"state of {context.target.engine().project}/{context.target.engine().stack}, prefix {context.settings.prefix}",
            fix=f"work on {built} (DOMAIN_NAME={built}); for {configured}, first destroy the stack of {built} or choose another prefix",
        )
    return built


@contextmanager
def variant(environment: EngineEnvironment) -> Iterator[EngineEnvironment]:
    """The same stack with a stack file that may be changed without a trace.

    Yields:
        The environment, on a copy of the project folder that is gone afterwards. A kill in between leaves the real stack file
        as it was, so that the next `up` brings back what the variant changed.
    """
    with tempfile.TemporaryDirectory(prefix="amianai-") as name:
        yield environment.in_folder(Path(name))


@dataclass(frozen=True)
class Foreseen:
    """What `up` would do.

    Attributes:
        plan: what it would change.
        drift: what was found changed or gone since the last `up`; None where it was not looked for.
        existing: what it would take into the state first, because AWS has it and the state lost it.
    """

    plan: Summary
    drift: Summary | None = None
    existing: Sequence[Existing] = ()


def preview(context: Context, *, refresh: bool = False) -> Foreseen:
    """What `up` would change, found out on a copy of the stack: stack, stack file and lock stay as they are, and so does AWS.

    Args:
        context: where.
        refresh: first read what is really there, as `up --refresh` would, so that drift shows.
    """
    require_same_place(context)
    engine = context.engine()
    if not engine.exists():
        require_state(context)
    with engine.copy() as rehearsal:
        found = look_at_the_zone(context, rehearsal, offer=False)
        for record in found.foreign if found else ():
            context.progress.note(f"`up` would be refused without --switch: {described(record)} leads a name of the site elsewhere")
        return _foresee(context, rehearsal, refresh=refresh)


def _foresee(context: Context, rehearsal: Engine, *, refresh: bool) -> Foreseen:
    configure(context, rehearsal)
    drift = _make_ready(context, rehearsal, refresh=refresh)
    if not is_published(rehearsal.resources()):
        return Foreseen(rehearsal.preview(), drift)
    plan, existing = rehearsal.foresee()
    for one in existing:
        context.progress.note(f"{one.title}: AWS has it and the state lost it. `up` adopts {one.id} and makes no second one")
        for other in one.others:
            context.progress.note(f"{other} (carries the same tag and is not in use)")
    return Foreseen(plan, drift, existing)


@dataclass(frozen=True)
class Switch:
    """What is done about records of others under the site's names.

    Attributes:
        wanted: replace them, at the very end; otherwise they stand in the way.
        before: what is done between the building and the replacing.
    """

    wanted: bool = False
    before: Callable[[], object] | None = None


def up(context: Context, engine: Engine | None = None, *, refresh: bool = False, switch: Switch = Switch()) -> Summary:
    """Bring the stack to the settings and write them down. The engine itself recovers first what a killed run left.

    What is new is written into the stack file once the stack has it: until then `up` works on a variant of the file, and one that
    fails or is killed leaves the real one as it was. Only where nothing is built yet is it written first.

    Args:
        context: where.
        engine: the engine on the stack.
        refresh: first read what is really there.
        switch: what is done about records of others.

    Raises:
        RefusedError: something that exists already stands in the way.
    """
    require_same_place(context)
    engine = engine or context.engine()
    if not engine.exists():
        require_state(context)
    found = require_free_names(context, engine, switch=switch, thorough=refresh)
    return _up(context, engine, found, refresh=refresh, switch=switch)


def _up(
    context: Context,
    engine: Engine,
    found: zones.Survey | None,
    *,
    refresh: bool,
    switch: Switch,
    existing: Sequence[Existing] = (),
) -> Summary:
    """`up` after the look at the zone; what the plan found to exist is adopted first."""
    values = news(context, engine)

    def bring(through: Engine) -> Summary:
        if values:
            through.configure(values)
        _make_ready(context, through, refresh=refresh)
        through.adopt(existing)
        return _bring(context, through, found, switch)

    before = engine.resources()
    if not values or not is_built(before):
        summary = bring(engine)
    else:
        summary = _try_out(context, bring, before)
        engine.configure(values)
    if summary.changed:
        forget_outputs(context.target)
    return summary


def look_at_the_zone(context: Context, engine: Engine, *, offer: bool = True, thorough: bool = False) -> zones.Survey | None:
    """What the domain's hosted zone says already, before anything is made.

    Raises:
        RefusedError: the stack was built for another domain, its state is elsewhere (so that its zone is none to adopt), or a zone
            exists and was not adopted.
    """
    resources = engine.resources()
    require_same_domain(context, resources)
    require_unpublished(context, resources)
    zones.settle(context, engine, offer=offer)
    return zones.survey(context, engine, thorough=thorough)


def require_free_names(context: Context, engine: Engine, *, switch: Switch, thorough: bool = False) -> zones.Survey | None:
    """What the domain's zone says already; nothing of it stands in the way of the stack's own records.

    Raises:
        RefusedError: something does.
    """
    found = look_at_the_zone(context, engine, thorough=thorough or switch.wanted)
    if found:
        zones.require_free(found, switch=switch.wanted)
    return found


def _switching(context: Context, engine: Engine, before: Callable[[], object] | None) -> Summary:
    """Build all but the address records, then replace those that exist, at once, and let the engine take them in."""
    from amianai_infra.stack import ADDRESS_URNS

    built = engine.up(exclude=ADDRESS_URNS)
    if before is not None:
        before()
    found = zones.survey(context, engine, thorough=True)
    if found and found.foreign:
        zones.take_over(context, found)
    taken = _overwriting(context, engine)
    counts = Counter({kind: count for kind, count in built.counts.items() if kind != "same"}) + Counter(taken.counts)
    steps, seconds = [*built.steps, *taken.steps], built.seconds + taken.seconds
    return replace(taken, counts=counts, steps=steps, seconds=seconds, changed=built.changed or taken.changed)


def _overwriting(context: Context, engine: Engine) -> Summary:
    """`up` that takes in address records which exist, with a stack file that nobody keeps."""
    from amianai_infra.stack import OVERWRITE

    with variant(engine.environment) as environment:
        other = context.engine(environment)
        other.configure({OVERWRITE: "true"})
        return other.up()


@dataclass(frozen=True)
class Consent:
    """How a person agrees to a plan.

    Attributes:
        ask: whether creations and updates are asked about.
        domain: the domain, where `--confirm` gave it.
    """

    ask: bool = True
    domain: str | None = None


def agreed_up(
    context: Context,
    consent: Consent,
    engine: Engine | None = None,
    *,
    refresh: bool = False,
    switch: Switch = Switch(),
) -> Summary:
    """Plan on a copy, ask about what it would change, then `up`. Without a change nothing is asked and the engine is not started again.

    Raises:
        RefusedError: not agreed, or the stack is another one by then; nothing was changed.
    """
    require_same_place(context)
    engine = engine or context.engine()
    if not engine.exists():
        require_state(context)
    found = require_free_names(context, engine, switch=switch, thorough=refresh)
    with engine.copy() as rehearsal:
        planned = engine.resources()
        foreseen = _foresee(context, rehearsal, refresh=refresh)
    waiting = found is not None and bool(found.foreign or found.ours > found.recorded)
    drift = foreseen.drift is not None and foreseen.drift.changed
    if not (foreseen.plan.changed or drift or waiting or foreseen.existing or differences(context)):
        for line in engine.recover():
            context.progress.note(line)
        return replace(foreseen.plan, operation="up")
    _agree(context, consent, foreseen.plan)
    require_as_planned(context, engine, planned)
    return _up(context, engine, found, refresh=refresh, switch=switch, existing=foreseen.existing)


def require_as_planned(context: Context, engine: Engine, planned: Sequence[StateResource]) -> None:
    """Refuse a plan that somebody agreed to and that is none any more, because the stack was changed after it had been made.

    Raises:
        RefusedError: somebody else changed the stack meanwhile.
    """
    if engine.resources() != list(planned):
        raise RefusedError(
            "Somebody changed the stack after this was planned; nothing was changed.",
            where=f"state of {context.target.engine().project}/{context.target.engine().stack}",
            fix="run the command again: it plans anew and asks again",
        )


def _agree(context: Context, consent: Consent, plan: Summary) -> None:
    """A yes for what is created or updated; the domain for what is replaced or deleted, because that can lose data."""
    if plan.counts.get("replace") or plan.counts.get("delete"):
        doing = f"Would be: {tally(plan)}. What is replaced or deleted loses what it holds"
        context.confirm_domain(consent.domain, doing, context.settings.domain_name)
    elif plan.changed and consent.ask:
        where = "the sandbox's stack" if context.target.name == "sandbox" else "the production stack"
        context.confirm(f"Change {where}? Would be: {tally(plan)}")


def tally(summary: Summary) -> str:
    """`12 created, 1 updated`, or `no changes`."""
    words = {"create": "created", "update": "updated", "delete": "deleted", "replace": "replaced", "import": "imported"}
    parts = [f"{summary.counts[name]} {word}" for name, word in words.items() if summary.counts.get(name)]
    return ", ".join(parts) or "no changes"


def _try_out(context: Context, bring: Callable[[Engine], Summary], before: Sequence[StateResource]) -> Summary:
    with variant(context.target.engine()) as other:
        engine = context.engine(other)
        try:
            return bring(engine)
        except LockedError:
            raise
        except BaseException:
            if not _is_still(engine, before):
                context.progress.note(
                    "The stack file stays as it was: `up` with the same settings goes on, `up` without them takes back what was done."
                )
            raise


def _is_still(engine: Engine, before: Sequence[StateResource]) -> bool:
    """Whether the state holds what it did; False where it cannot be read, too."""
    try:
        return engine.resources() == before
    except AmianaiError:
        return False


def _bring(context: Context, engine: Engine, found: zones.Survey | None, switch: Switch) -> Summary:
    if found and found.foreign:
        return _switching(context, engine, switch.before)
    if found and found.ours > found.recorded:
        # Address records that an interrupted run made are the stack's own, though the state does not know them.
        return _overwriting(context, engine)
    return engine.up()


def is_published(resources: Sequence[StateResource]) -> bool:
    """Whether a whole `up` ended well: from then on there is something to lose."""
    return any(one.type == "pulumi:pulumi:Stack" and one.outputs for one in resources)


def is_built(resources: Sequence[StateResource]) -> bool:
    """Whether anything of the stack exists."""
    return any(one.id and not one.external and not one.type.startswith("pulumi:") for one in resources)


def _make_ready(context: Context, engine: Engine, *, refresh: bool) -> Summary | None:
    """All that comes between the settings and `up`, in the stack or in a copy of it; gives what the refresh found."""
    release_adopted(context, engine)
    bring_network_back(context, engine)
    return engine.refresh() if refresh and engine.exists() else None


def bring_network_back(context: Context, engine: Engine) -> None:
    """Undo the replacement of a network that ended half-way, when the settings want the old one again.

    RDS takes no subnets of another VPC, so such a replacement cannot go on; and without this, taking the setting back would make a
    third VPC, which RDS refuses as well.
    """
    lost = Built(engine.resources(), engine.superseded()).lost_network(context.settings)
    if lost:
        engine.take_back(lost.id)
        context.progress.note(f"The database's network {lost.id} was being replaced; it counts again, and what was made instead goes")


def require_state(context: Context) -> None:
    """Refuse on AWS while `setup` has not made the place where the state lives.

    Raises:
        NotFoundError: there is no state bucket.
    """
    if context.target.name != "aws":
        return
    storage = StateStorage.of(context.target, context.settings.prefix)
    if storage.bucket in context.target.engine().backend_url and not has_bucket(context.target, storage):
        raise NotFoundError("The stack is not set up.", where=f"state bucket {storage.bucket}", fix="run `amianai setup`")


def require_unpublished(context: Context, resources: Sequence[StateResource]) -> None:
    """Refuse to take a stack for new that has published what it built: this is not its state. With resources in it nothing is asked.

    Raises:
        RefusedError: naming the backend.
    """
    if resources:
        return
    wrong = "lead PULUMI_BACKEND_URL, region and prefix to where the stack was built from; `amianai state copies` lists what is left here"
    emptied = "`amianai state copies` lists what is left here; where that is nothing, `amianai sandbox reset`, then `amianai setup`"
    try:
        published = fetch_outputs(context.target, context.settings.prefix)
    except NotFoundError:
        return
    forget_outputs(context.target)
    raise RefusedError(
        f"The stack of {published.domain} has published what it built, and this state knows nothing of it; nothing was changed.",
        where=f"state backend {context.target.engine().backend_url}; SSM parameter {stack_parameter(context.settings.prefix)}",
        fix=emptied if context.target.name == "sandbox" else wrong,
    )


def release_adopted(context: Context, engine: Engine) -> None:
    """Forget a zone that the settings say is adopted and the state still says is ours.

    `destroy --keep-zone` records the zone before it forgets it. Were it killed in between, `up` would see a zone that the program no
    longer declares, and delete it. (An adopted user pool is imported: the program declares it in either case.)
    """
    adopted = context.settings.dns.zone_id
    if not adopted:
        return
    urns = [one.urn for one in engine.resources() if one.type == ZONE_TYPE and one.id == adopted and not is_read(one)]
    if urns:
        engine.forget(urns)
        context.progress.note(f"The hosted zone {adopted} is adopted and no longer managed")


def is_read(resource: StateResource) -> bool:
    """Whether the state merely refers to it (`get`): such a resource is never deleted."""
    return resource.external
