"""Bringing the stack to its settings: write them down, recover what a killed run left, preview, up."""

from __future__ import annotations

import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amianai_infra.config import Settings, every_setting, read_stack_file, to_pulumi
from amianai_infra.errors import NotFoundError, RefusedError
from amianai_infra.naming import stack_parameter
from amianai_infra.operations import zones
from amianai_infra.operations.context import Context
from amianai_infra.operations.state_storage import StateStorage, has_bucket
from amianai_infra.rules.zone_records import described
from amianai_infra.target import fetch_outputs, forget_outputs

if TYPE_CHECKING:
    from amianai_infra.engine import Engine, StateResource, Summary
    from amianai_infra.target import EngineEnvironment

SUFFIX = "amianai-infra:databaseFinalSnapshotSuffix"
MIGRATIONS = "amianai-infra:databaseMigrations"
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


def _spellings() -> set[str]:
    return {setting.pulumi for setting in every_setting()}


def differences(context: Context) -> dict[str, str]:
    """What must be written into the stack configuration before it says what the settings say.

    Raises:
        ConfigurationError: a new folder of migrations is none.
    """
    configured = read_stack_file(stack_file(context.target.engine()))
    values = wanted(context.settings, configured)
    found = {key: value for key, value in values.items() if configured.get(key) != value}
    if MIGRATIONS in found:
        from amianai_infra.database.schema import project_folder

        project_folder(context.root, found[MIGRATIONS])
    return found


def configure(context: Context, engine: Engine) -> dict[str, str]:
    """Write the resolved settings into the stack configuration; gives what was written.

    Raises:
        RefusedError: the stack was built for another domain, or its state is elsewhere.
    """
    resources = engine.resources()
    require_same_domain(context, resources)
    require_unpublished(context, resources)
    values = differences(context)
    if values:
        engine.configure(values)
    return values


def domain_of(resources: Sequence[StateResource]) -> str:
    """The domain a stack was built for, from its zone, its certificate or what it published; empty where the state does not say."""
    for kind, name in _DOMAIN_OF.items():
        for one in resources:
            found = {**one.outputs, **one.inputs}.get(name) if one.type == kind and not is_read(one) else None
            if isinstance(found, str) and found:
                return found.rstrip(".").lower()
    return ""


def require_same_domain(context: Context, resources: Sequence[StateResource]) -> str:
    """The domain that both the state and the settings name.

    Raises:
        RefusedError: they name different ones.
    """
    configured = context.settings.domain_name
    built = domain_of(resources) or configured
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
    """

    plan: Summary
    drift: Summary | None = None


def preview(context: Context, *, refresh: bool = False) -> Foreseen:
    """What `up` would change, found out on a copy of the stack: stack, stack file and lock stay as they are, and so does AWS.

    Args:
        context: where.
        refresh: first read what is really there, as `up --refresh` would, so that drift shows.
    """
    engine = context.engine()
    if not engine.exists():
        require_state(context)
    with engine.copy() as rehearsal:
        found = look_at_the_zone(context, rehearsal, offer=False)
        for record in found.foreign if found else ():
            context.progress.note(f"`up` would be refused without --switch: {described(record)} leads a name of the site elsewhere")
        drift = _make_ready(context, rehearsal, refresh=refresh)
        return Foreseen(rehearsal.preview(), drift)


def up(
    context: Context,
    engine: Engine | None = None,
    *,
    refresh: bool = False,
    switch: bool = False,
    before_switch: Callable[[], object] | None = None,
) -> Summary:
    """Write the settings down and bring the stack to them. The engine itself recovers first what a killed run left.

    Args:
        context: where.
        engine: the engine on the stack.
        refresh: first read what is really there.
        switch: replace records of others under the site's names, at the very end.
        before_switch: what is done between the building and the replacing.

    Raises:
        RefusedError: something that exists already stands in the way.
    """
    engine = engine or context.engine()
    if not engine.exists():
        require_state(context)
    found = look_at_the_zone(context, engine, thorough=refresh or switch)
    if found:
        zones.require_free(found, switch=switch)
    _make_ready(context, engine, refresh=refresh)
    if found and found.foreign:
        summary = _switching(context, engine, before_switch)
    elif found and found.ours > found.recorded:
        # Address records that an interrupted run made are the stack's own, though the state does not know them.
        summary = _overwriting(context, engine)
    else:
        summary = engine.up()
    if summary.changed:
        forget_outputs(context.target)
    return summary


def look_at_the_zone(context: Context, engine: Engine, *, offer: bool = True, thorough: bool = False) -> zones.Survey | None:
    """What the domain's hosted zone says already, before anything is made.

    Raises:
        RefusedError: the stack was built for another domain, or a zone exists and was not adopted.
    """
    require_same_domain(context, engine.resources())
    zones.settle(context, engine, offer=offer)
    return zones.survey(context, engine, thorough=thorough)


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


def _make_ready(context: Context, engine: Engine, *, refresh: bool) -> Summary | None:
    """All that comes before `up`, in the stack or in a copy of it; gives what the refresh found."""
    configure(context, engine)
    release_adopted(context, engine)
    return engine.refresh() if refresh and engine.exists() else None


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
    try:
        published = fetch_outputs(context.target, context.settings.prefix)
    except NotFoundError:
        return
    forget_outputs(context.target)
    raise RefusedError(
        f"The stack of {published.domain} has published what it built, and this state knows nothing of it; nothing was changed.",
        where=f"state backend {context.target.engine().backend_url}; SSM parameter {stack_parameter(context.settings.prefix)}",
        fix="lead PULUMI_BACKEND_URL, region and prefix to where the stack was built from; `amianai state copies` lists what is left here",
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
