"""The whole stack from one command, in phases. Each is checked, skipped when done, and says what it did and how long it took."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amianai_infra.errors import NotFoundError, RefusedError, VerificationError
from amianai_infra.naming import secret_name
from amianai_infra.operations import carry_over, change, cost, delegation, doctor, state_storage, zones
from amianai_infra.operations.context import Context
from amianai_infra.operations.parallel import side_by_side
from amianai_infra.operations.status import answers
from amianai_infra.target import SiteAddress, cached_outputs, fetch_outputs

if TYPE_CHECKING:
    from amianai_infra.engine import Engine, Summary
    from amianai_infra.outputs import DatabaseOutputs, StackOutputs
    from amianai_infra.progress import Progress


@dataclass(frozen=True)
class Options:
    """How setup goes about it.

    Attributes:
        deploy: build and publish the site.
        wait: how long to wait for the delegation of the domain, seconds; 0 does not check it.
        switch: replace records of others under the site's names, once the site is published.
        records: what a new zone carries on: `found`, `none` or a zone file; empty asks.
        confirm: the domain, which agrees to what is replaced or deleted in a stack that is there already.
    """

    deploy: bool = True
    wait: float = 7200
    switch: bool = False
    records: str = ""
    confirm: str | None = None


@dataclass(frozen=True)
class Hands:
    """What setup does with other rooms' tools; tests bring their own."""

    ensure_engine: Callable[[Progress], Path]
    ensure_plugin: Callable[[Progress, Path], Path]
    deploy_site: Callable[..., Any]
    cache: Path
    prepare_site: Callable[[], Any] | None = None
    resolver: Callable[[str, str], frozenset[str]] = delegation.resolve
    answers: Callable[..., int] = answers
    ask: carry_over.Ask = delegation.ask


@dataclass
class Report:
    """What setup did, and what the person needs to know now."""

    summary: Summary
    outputs: StackOutputs
    url: str
    seconds: float
    written: dict[str, str] = field(default_factory=dict)
    release: Any = None

    @property
    def changed(self) -> bool:
        """Whether the stack changed."""
        return bool(self.summary.changed or self.written)


def setup(context: Context, options: Options, hands: Hands) -> Report:
    """Run every phase in order; running it again goes on where it stopped."""
    started = time.monotonic()
    _ = context.settings  # a bad configuration ends here, before anything is touched
    _prerequisites(context, options, hands)
    if context.target.name == "aws":
        _credentials(context)
    _tools(context, options, hands)
    change.require_same_place(context)
    engine = context.engine()
    if context.target.name == "aws":
        engine.reach()
    change.require_free_names(context, engine, switch=change.Switch(options.switch))
    if not (context.settings.dns.zone_id or zones.in_state(engine.resources())):
        carry_over.choose(context, options.records, hands.ask if context.target.name == "aws" and options.wait else None)
    if context.target.name == "aws":
        _state(context)
    written = _configuration(context, engine)
    if context.target.name == "aws" and options.wait:
        _delegation(context, options, hands, engine)
    released: list[Any] = []
    before = (lambda: released.append(_release_aside(context, hands))) if options.deploy else None
    summary = _stack(context, options, engine, change.Switch(options.switch, before))
    outputs = _published(context, summary)
    # After a switch resolvers remember for a while where the names led before: the release was verified at the distribution.
    release = released[0] if released else _site(context, hands, outputs) if options.deploy else None
    url = context.target.site_address(outputs).url
    return Report(summary, outputs, url, time.monotonic() - started, written, release)


def _prerequisites(context: Context, options: Options, hands: Hands) -> None:
    with context.progress.task("Prerequisites") as task:
        checks = doctor.machine(context.root, context.target.local, hands.cache)
        if context.target.name == "aws":
            checks.append(doctor.provider())
        if options.deploy:
            checks.append(doctor.site_directory(context.root, context.settings))
        doctor.require(checks)
        task.say(f"{len(checks)} checked, all there")


def _credentials(context: Context) -> None:
    context.target.ready()  # a code may be asked for: nothing is drawn meanwhile
    context.announce()
    context.confirm("Build or change the production stack there?")


def _tools(context: Context, options: Options, hands: Hands) -> None:
    """The engine with its provider, what the target needs to run, and what the site's build needs: none depends on another."""

    def engine() -> None:
        binary = hands.ensure_engine(context.progress)
        if context.target.name == "aws":
            hands.ensure_plugin(context.progress, binary)

    work: list[Callable[[], object]] = [engine]
    if context.target.name != "aws":
        work.append(context.target.ready)
    if options.deploy and hands.prepare_site is not None:
        work.append(hands.prepare_site)
    with context.progress.task("Tools") as task:
        side_by_side(work)
        task.say("all there")


def _state(context: Context) -> None:
    environment = context.target.engine()
    storage = state_storage.StateStorage.of(context.target, context.settings.prefix)
    with context.progress.task("State storage") as task:
        done = state_storage.ensure(
            context.target,
            storage,
            bucket=storage.bucket in environment.backend_url,
            key=storage.alias in environment.secrets_provider,
        )
        task.say("; ".join(done) or f"{environment.backend_url} is there")


def _configuration(context: Context, engine: Engine) -> dict[str, str]:
    with context.progress.task("Configuration") as task:
        written = change.news(context, engine)
        names = change.named(written)
        file = change.stack_file(context.target.engine())
        if written and not change.is_built(engine.resources()):
            engine.configure(written)
            task.say(f"wrote {names} into {file}")
        else:
            task.say(f"new: {names}; written into {file} once the stack has it" if written else "as it was")
    return written


def _stack(context: Context, options: Options, engine: Engine, switch: change.Switch) -> Summary:
    """A stack that is there already is planned first, as `up` does; the yes to the rest was given before, or is not needed."""
    if not change.is_published(engine.resources()):
        return change.up(context, engine, switch=switch)
    return change.agreed_up(context, change.Consent(ask=False, domain=options.confirm), engine, switch=switch)


def _delegation(context: Context, options: Options, hands: Hands, engine: Engine) -> None:
    """The zone first: a certificate cannot be validated before the domain is delegated to it."""
    with context.progress.task("Domain") as task:
        if _is_published(context):
            task.say("set up before")
            return
        zone = _zone(context, engine)
        task.say(delegation.wait(zone.name, zone.servers, context.progress, options.wait, resolver=hands.resolver))


def _is_published(context: Context) -> bool:
    try:
        fetch_outputs(context.target, context.settings.prefix)
    except NotFoundError:
        return False
    return True


def _zone(context: Context, engine: Engine) -> zones.Zone:
    """The zone, which is created when it is neither adopted nor there."""
    zone = context.settings.dns.zone_id or zones.in_state(engine.resources())
    if not zone:
        from amianai_infra.stack import ZONE_TARGETS

        engine.up(targets=ZONE_TARGETS)
        zone = zones.in_state(engine.resources())
    return zones.look(context.target, zone, context.settings.domain_name)


def _published(context: Context, summary: Summary) -> StackOutputs:
    known = None if summary.changed else cached_outputs(context.target)
    return known or fetch_outputs(context.target, context.settings.prefix)


class _AtDistribution:
    """The target, with the site where the distribution itself answers: the domain leads elsewhere still."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def site_address(self, outputs: StackOutputs) -> SiteAddress:
        """Connects to the distribution and asks it for the domain."""
        address: SiteAddress = self._target.site_address(outputs)
        return replace(address, connect=(outputs.site.distribution_domain, 443)) if address.tls else address


def _release_aside(context: Context, hands: Hands) -> Any:
    """Publish the site before its names lead to it."""
    outputs = fetch_outputs(context.target, context.settings.prefix)
    return hands.deploy_site(_AtDistribution(context.target), context.settings, outputs, context.progress)


def require_release(context: Context) -> None:
    """Refuse to let visitors come to an empty site.

    Raises:
        RefusedError: nothing was published yet.
    """
    from amianai_infra import site

    outputs = fetch_outputs(context.target, context.settings.prefix)
    if not site.releases(context.target, context.settings, outputs, context.progress):
        raise RefusedError(
            "The stack is built, but no site is published, so its names lead where they led before.",
            fix="`amianai setup --switch` publishes the site and then switches",
        )


def _site(context: Context, hands: Hands, outputs: StackOutputs) -> Any:
    release = hands.deploy_site(context.target, context.settings, outputs, context.progress)
    address = context.target.site_address(outputs)
    status = hands.answers(address)
    if status != 200:
        raise VerificationError(
            f"The site answers {status}." if status else "The site does not answer.",
            where=address.url,
            fix="`amianai status` shows every part; run setup again once it is corrected",
        )
    return release


def screen(report: Report, context: Context, program: str = "amianai") -> list[str]:
    """The one-screen summary.

    Args:
        report: what setup did.
        context: where.
        program: how this person calls us.
    """
    outputs = report.outputs
    prefix = f"{program} --sandbox" if context.target.name == "sandbox" else program
    database = outputs.database
    price = cost.describe(cost.estimate(context.settings), context.settings)
    would = " (on AWS; the sandbox costs nothing)" if context.target.name == "sandbox" else ""
    return [
        "",
        f"The stack is up: {change.tally(report.summary)}, {report.seconds:.0f} s",
        "",
        f"  Site       {report.url}",
        f"  Sign-in    user pool {outputs.auth.user_pool_id}, client {outputs.auth.client_id}",
        *_mail(context),
        f"  Database   {database.host}:{database.port}/{database.name}, over TLS",
        *(f"             {line}" for line in _secrets(database)),
        f"  Cost{would}",
        *(line for part in price for line in textwrap.wrap(part, 100, initial_indent=" " * 13, subsequent_indent=" " * 13)),
        "",
        f"  Next       {prefix} status      one screen about every part",
        f"             {prefix} db migrate  create the application's tables and roles",
        f"             {prefix} deploy      publish a new version of the site",
        f"             {prefix} env         write the application's .env.local",
        f"             {prefix} up          apply changed settings",
        f"             {prefix} destroy     remove everything",
    ]


def _secrets(database: DatabaseOutputs) -> list[str]:
    """Which secret is whose: an application that signed in as the owner could change the schema."""
    whose = {"an application": database.application_secret_arn, "the owner, for migrations": database.secret_arn}
    return [f"login of {who}: secret {secret_name(arn)}" for who, arn in whose.items() if arn]


def _mail(context: Context) -> list[str]:
    """What has to be done about e-mail before strangers come; the sandbox sends none."""
    check = doctor.sign_in_mail(context.settings)
    if check.ok or context.target.name != "aws":
        return []
    return textwrap.wrap(f"! {check.found}: {check.fix}", 100, initial_indent=" " * 13, subsequent_indent=" " * 13)


def as_dict(report: Report, context: Context) -> dict[str, Any]:
    """For `--json`."""
    found = cost.estimate(context.settings)
    return {
        "changed": report.changed,
        "counts": dict(report.summary.counts),
        "seconds": round(report.seconds, 1),
        "url": report.url,
        "outputs": report.outputs.model_dump(),
        "monthly_dollars": round(found.total, 2),
        "price_source": found.source,
    }
