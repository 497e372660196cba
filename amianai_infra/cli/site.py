"""The commands about the site: deploy, rollback, releases.

`deploy` of an unchanged site takes a fifth of a second, so this module loads neither pydantic nor boto3 nor rich before
there is something to do.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from amianai_infra.cli.options import App, DurationType, dry_run_option

if TYPE_CHECKING:
    from datetime import timedelta

    from amianai_infra.outputs import StackOutputs
    from amianai_infra.site.release import Agreed
    from amianai_infra.site.settings import ReleaseSettings
    from amianai_infra.target import Target

_wait = click.option("--wait", type=DurationType(0, 86400), default="0s", help="How long to wait while somebody else releases.")
_no_verify = click.option("--no-verify", is_flag=True, help="Do not look at the site afterwards.")


@click.command()
@click.option("--no-build", is_flag=True, help="Publish the output folder as it is.")
@_no_verify
@_wait
@click.option("--everything", is_flag=True, help="Build and upload everything, also what is there already.")
@dry_run_option
@click.pass_obj
def deploy(app: App, no_build: bool, no_verify: bool, wait: timedelta, everything: bool, dry_run: bool) -> None:
    """Build the site and publish what changed.

    \b
    amianai --sandbox deploy
    amianai deploy --no-build --wait 5m

    The site's own build runs each time (site.inputs declares when it need not), and files are compared by content and headers. Another
    folder than the live release's is asked for (--yes). What pages name goes up before the pages; nothing is deleted; a release that does
    not answer as it should is rolled back.
    """
    from amianai_infra import site

    target, settings, outputs = _release_context(app)
    with _interruptible():
        release = site.deploy(
            target,
            settings,
            outputs,
            app.progress,
            build=not no_build,
            verify=not no_verify,
            wait=wait.total_seconds(),
            dry_run=dry_run,
            everything=everything,
            agreed=_agreed(app),
            confirm=app.confirm,
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
    with _interruptible():
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
@click.option("-n", "--number", "count", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many to list.")
@click.pass_obj
def releases(app: App, count: int) -> None:
    """List the site's releases, newest first.

    \b
    amianai --sandbox releases
    amianai --json releases -n 5
    """
    from amianai_infra import site

    target, settings, outputs = _release_context(app)
    found = site.releases(target, settings, outputs, app.progress)[:count]
    app.print([asdict(one) for one in found], site.table(found))


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
    outputs = cached_outputs(target)
    if outputs is None or (outputs.domain, outputs.region, outputs.prefix) != (settings.domain, settings.region, settings.prefix):
        outputs = fetch_outputs(target, settings.prefix)
    app.progress.note(f"AWS account {outputs.account}, region {outputs.region}, domain {outputs.domain}")
    return target, settings, outputs


@contextmanager
def _interruptible() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C, so that a cancelled CI job gives the release lock back."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
