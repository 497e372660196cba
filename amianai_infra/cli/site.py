"""The commands about the site: deploy, rollback, takedown, releases.

`deploy` of an unchanged site takes a fifth of a second, so this module loads neither pydantic nor boto3 nor rich before
there is something to do.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from amianai_infra.cli.options import App, DurationType, dry_run_option
from amianai_infra.naming import PREVIEW_DAYS

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from amianai_infra.outputs import StackOutputs
    from amianai_infra.site.given import Given
    from amianai_infra.site.release import Agreed
    from amianai_infra.site.settings import ReleaseSettings
    from amianai_infra.target import Target

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_CLOCKS_DIFFER = 60.0
_wait = click.option("--wait", type=DurationType(0, 86400), default="0s", help="How long to wait while somebody else releases.")
_for = click.option("--for", "lasts", type=DurationType(60, PREVIEW_DAYS * 86400), help="How long a preview answers. [default: 14d]")
_no_verify = click.option("--no-verify", is_flag=True, help="Do not look at the site afterwards.")


@click.command()
@click.argument("path", required=False)
@click.option("--no-build", is_flag=True, help="Publish the output folder as it is.")
@click.option(
    "--begun",
    type=click.DateTime([_MOMENT]),
    metavar="TIME",
    help="With --no-build or PATH: when the build began (UTC), as 2026-03-01T11:55:00Z. What was released since is not undone unasked.",
)
@_no_verify
@_wait
@click.option("--preview", is_flag=False, flag_value="", metavar="[NAME]", help="Publish it as a preview; without NAME, the branch's.")
@_for
@click.option("--everything", is_flag=True, help="Build and upload everything, also what is there already.")
@click.option("--over-budget", is_flag=True, help="Release pages that weigh more than site.budgets allows, too.")
@dry_run_option
@click.pass_obj
def deploy(
    app: App,
    path: str | None,
    no_build: bool,
    begun: datetime | None,
    no_verify: bool,
    wait: timedelta,
    preview: str | None,
    lasts: timedelta | None,
    everything: bool,
    over_budget: bool,
    dry_run: bool,
) -> None:
    """Build the site and publish what changed; or publish PATH as it is: a folder, a .tar.gz or .zip, or - for a tar stream on stdin.

    \b
    amianai --sandbox deploy
    amianai deploy --no-build --wait 5m
    tar -C public -cz . | amianai --yes deploy -
    amianai deploy --preview pr-12 --for 7d

    The site's own build runs each time (site.inputs declares when it need not), and files are compared by content and headers. Another
    folder or archive than the live release's is asked for (--yes). What pages name goes up before the pages; what the site no longer has
    answers 404 then, but for assets with a hash in their name; a release that does not answer as it should is rolled back.

    A preview is published under an unguessable address of its own, unknown to search engines, and ends by itself; the live site is
    not touched (needs site.previews).
    """
    from amianai_infra import site

    if lasts is not None and preview is None:
        raise click.UsageError("--for goes with --preview: a release has no end.")
    if preview is not None:
        if begun or everything or dry_run or wait or over_budget:
            raise click.UsageError(
                "--begun, --wait, --everything, --over-budget and --dry-run are about releases: a preview replaces nothing."
            )
        _publish_preview(app, preview, path, lasts, build=not (no_build or path), verify=not no_verify)
        return
    moment = _seconds(begun, no_build or path is not None) if begun else None
    target, settings, outputs = _release_context(app)
    with _given(path, target) as given:
        release = site.deploy(
            target,
            settings,
            outputs,
            app.progress,
            build=not (no_build or path),
            verify=not no_verify,
            wait=wait.total_seconds(),
            dry_run=dry_run,
            everything=everything,
            agreed=_agreed(app),
            begun=moment,
            confirm=app.confirm,
            given=given,
            over_budget=over_budget,
        )
    app.print(asdict(release), site.describe(release))


@click.command()
@click.argument("release", type=click.IntRange(1), required=False)
@_no_verify
@_wait
@dry_run_option
@click.pass_obj
def rollback(app: App, release: int | None, no_verify: bool, wait: timedelta, dry_run: bool) -> None:
    """Make RELEASE live again; without a number, the one before the one that is live.

    \b
    amianai --sandbox rollback
    amianai rollback 41

    Needs no build: the bucket keeps replaced files for a while (site.old_version_days). `amianai releases` lists the numbers; a
    rollback is a release of its own and can be rolled back, too.
    """
    from amianai_infra import site

    target, settings, outputs = _release_context(app)
    done = site.rollback(
        target,
        settings,
        outputs,
        app.progress,
        number=release,
        verify=not no_verify,
        wait=wait.total_seconds(),
        dry_run=dry_run,
        agreed=_agreed(app),
    )
    app.print(asdict(done), site.describe(done))


@click.command()
@click.argument("address", required=False)
@click.option("--reason", "why", metavar="TEXT", help="Why; it is kept with the record.")
@_no_verify
@click.pass_obj
def takedown(app: App, address: str | None, why: str | None, no_verify: bool) -> None:
    """Take the page at ADDRESS down for good; without an address, list what was taken down.

    \b
    amianai takedown /blog/first --reason "names a customer"
    amianai --sandbox takedown

    The page answers 404 within seconds, and every stored version of it is deleted: no rollback brings it back, and a release that has
    the same content again is published without it. Who did it, when and why stays in the releases' records. It is not a build: take
    the page out of the sources, too.
    """
    from amianai_infra.site.takedown import Remover, described, listed

    target, settings, outputs = _release_context(app)
    remover = Remover(target, settings, outputs, app.progress, verify=not no_verify)
    if address is None:
        last = remover.state().last
        taken = dict(last.taken) if last else {}
        app.print({path: asdict(one) for path, one in taken.items()}, listed(taken) or ["Nothing was taken down."])
        return
    if not why:
        raise click.UsageError("Say why: --reason TEXT. It is kept with the record.")
    app.confirm(f"Take {address} down and delete every stored version of it? This cannot be undone.")
    done = remover.takedown(address, why)
    app.print(asdict(done), described(done))


@click.group(invoke_without_command=True)
@click.option("-n", "--number", "count", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many to list.")
@click.pass_context
def releases(context: click.Context, count: int) -> None:
    """List the site's releases, newest first.

    \b
    amianai --sandbox releases
    amianai --json releases -n 5
    amianai releases diff
    """
    if context.invoked_subcommand is not None:
        return
    from amianai_infra import site

    app: App = context.obj
    target, settings, outputs = _release_context(app)
    found = site.releases(target, settings, outputs, app.progress)[:count]
    app.print([asdict(one) for one in found], site.table(found))


@releases.command("diff")
@click.argument("before", type=click.IntRange(1), required=False)
@click.argument("after", type=click.IntRange(1), required=False)
@click.pass_obj
def releases_diff(app: App, before: int | None, after: int | None) -> None:
    """Show the pages and assets that differ from release BEFORE to release AFTER, with their sizes and growth.

    \b
    amianai --sandbox releases diff
    amianai releases diff 41
    amianai --json releases diff 41 43

    Without AFTER: what is live; without BEFORE, too: what was live before it. An asset that has another hash in its name is the same asset.
    """
    from amianai_infra import site
    from amianai_infra.site.diff import told

    target, settings, outputs = _release_context(app)
    found = site.compare(target, settings, outputs, app.progress, before, after)
    changes = [{**asdict(one), "growth": one.growth} for one in found.changes]
    app.print({**asdict(found), "changes": changes}, told(found))


@click.group(invoke_without_command=True)
@click.pass_context
def previews(ctx: click.Context) -> None:
    """List the previews of the site, newest first.

    \b
    amianai --sandbox previews
    amianai previews remove pr-12
    """
    if ctx.invoked_subcommand is not None:
        return
    from amianai_infra.site.deploy_previews import Previews, listing

    app: App = ctx.obj
    target, settings, outputs = _release_context(app)
    found = Previews(target, settings, outputs, app.progress).listed()
    app.print([asdict(one) for one in found], listing(found))


@previews.command()
@click.argument("name")
@_no_verify
@click.pass_obj
def remove(app: App, name: str, no_verify: bool) -> None:
    """Have the preview NAME answer 404, and delete its files.

    \b
    amianai previews remove pr-12
    """
    from amianai_infra.site.deploy_previews import Previews, name_of

    target, settings, outputs = _release_context(app)
    gone = Previews(target, settings, outputs, app.progress, verify=not no_verify).remove(name_of(name))
    app.print(asdict(gone), f"Preview {gone.preview.name} is removed: {gone.url} answers 404.")


def _publish_preview(app: App, name: str, path: str | None, lasts: timedelta | None, *, build: bool, verify: bool) -> None:
    from amianai_infra.site.deploy_previews import DAYS, Previews, branch_of, described, name_of

    target, settings, outputs = _release_context(app)
    called = name_of(name or branch_of(target.root))
    with _given(path, target) as given:
        publisher = Previews(target, settings, outputs, app.progress, given=given, verify=verify)
        shown = publisher.publish(called, lasts.total_seconds() if lasts else DAYS * 86400, build=build)
    app.print(asdict(shown), described(shown))


def _given(path: str | None, target: Target) -> AbstractContextManager[Given | None]:
    """The finished site that was named; None where none was."""
    from contextlib import nullcontext

    if path is None:
        return nullcontext()
    from amianai_infra.site.given import given

    return given(path, target.root, target.local / "site")


def _seconds(begun: datetime, no_build: bool) -> float:
    """Seconds since 1970; refused where it says nothing about what is published."""
    from datetime import UTC

    seconds = begun.replace(tzinfo=UTC).timestamp()
    if not no_build:
        raise click.UsageError("--begun goes with --no-build or PATH: without one the build begins now.")
    if seconds > time.time() + _CLOCKS_DIFFER:
        raise click.BadParameter("it is in the future: no release could be noticed.", param_hint="--begun")
    return seconds


def _agreed(app: App) -> Agreed | None:
    """Asks in a terminal whether to release over what was released meanwhile; `--yes` was given before anybody knew of that."""
    import sys

    from amianai_infra.printing import agreed as asked
    from amianai_infra.printing import show

    if not sys.stdin.isatty() or app.yes:
        return None

    def agreed(told: str) -> bool:
        show(told, err=True)
        return asked("This release was begun before that and would undo it. Release all the same?")

    return agreed


def _release_context(app: App) -> tuple[Target, ReleaseSettings, StackOutputs]:
    """Target, settings and outputs, without pydantic and boto3 where they are known from the last time."""
    from amianai_infra.site.settings import ReleaseSettings, fingerprint, remember, remembered
    from amianai_infra.target import AwsTarget, cached_outputs, fetch_outputs

    if app.sandbox:
        target: Target = app.target
        target.ready()
        return target, ReleaseSettings.of(app.settings), app.outputs()
    memory = app.root / ".amianai" / "release-settings.json"
    mark = fingerprint(app.flags, app.environ, app.stack_file)
    settings = remembered(memory, mark)
    if settings is None:
        settings = ReleaseSettings.of(app.settings)
        remember(memory, mark, settings)
    target = AwsTarget(app.root, settings.region, settings.prefix, app.environ)
    target.credentials()  # a code may be asked for: nothing is drawn yet
    outputs = cached_outputs(target)
    if outputs is None or (outputs.domain, outputs.region, outputs.prefix) != (settings.domain, settings.region, settings.prefix):
        outputs = fetch_outputs(target, settings.prefix)
    app.progress.note(f"AWS account {outputs.account}, region {outputs.region}, domain {outputs.domain}")
    return target, settings, outputs
