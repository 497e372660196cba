"""`amianai db backup ...`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from amianai_infra.cli.db import found_outputs, not_connected, require_gate
from amianai_infra.cli.lazy import Commands, LazyGroup
from amianai_infra.cli.options import App, confirm_option, dry_run_option
from amianai_infra.errors import ConfigurationError, RefusedError
from amianai_infra.printing import show

if TYPE_CHECKING:
    from amianai_infra.database.backups import Backups, Wanted
    from amianai_infra.database.instances import Rds
    from amianai_infra.outputs import StackOutputs

COMMANDS: Commands = {
    "list": ("amianai_infra.cli.db_backup:listed", "Times and snapshots that can be restored."),
    "create": ("amianai_infra.cli.db_backup:create", "Make a snapshot and wait for it."),
    "fetch": ("amianai_infra.cli.db_backup:fetch", "Bring a backup from a second region here, as a snapshot."),
    "verify": ("amianai_infra.cli.db_backup:verify", "Check that the backups would help today."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def backup() -> None:
    """Backups of the database.

    \b
    Examples:
      amianai db backup list
      amianai db backup create --note "before the big import"
      amianai db backup verify
    """


def rds(app: App, region: str | None = None) -> Rds:
    """The instances and snapshots of the stack's region, or of another one."""
    from amianai_infra.database.instances import Rds

    return Rds(app.target.client("rds", region), app.progress)


def look(app: App, outputs: StackOutputs) -> Backups:
    """Everything that could be restored."""
    from amianai_infra.database import backups

    copies = app.settings.database.backup_region
    elsewhere = {copies: rds(app, copies)} if copies else {}
    return backups.look(rds(app), outputs.database.identifier, outputs.region, elsewhere)


def _wanted(app: App) -> Wanted:
    from amianai_infra.database.backups import Wanted

    chosen = app.settings.database
    return Wanted(chosen.backup_days, chosen.backup_window, chosen.deletion_protection, chosen.backup_region, automated=not app.sandbox)


@click.command("list")
@click.pass_obj
def listed(app: App) -> None:
    """Times and snapshots that the database can be restored to.

    \b
    amianai db backup list
    amianai --json db backup list
    """
    from amianai_infra.database import backups

    now = datetime.now(UTC)
    found = look(app, found_outputs(app))
    app.print(found.as_dict(now), backups.listing(found, now))


@click.command()
@click.option("--note", default="", metavar="TEXT", help="Why, for the snapshot's tags and the record.")
@click.pass_obj
def create(app: App, note: str) -> None:
    """Make a snapshot under a new name, and wait until it can be restored.

    \b
    amianai db backup create --note "before the big import"

    Ctrl-C ends the waiting; the snapshot finishes by itself. It stays until somebody deletes it, also when the stack is removed.
    """
    from amianai_infra.database import backups
    from amianai_infra.database.audit import audited

    outputs, now = found_outputs(app), datetime.now(UTC)
    name = backups.snapshot_name(outputs.database.identifier, now)
    with audited(
        app.target,
        outputs,
        action="db backup create",
        detail=name,
        reason=note,
        table_must_be_written=False,
        log_must_be_written=False,  # a backup makes things safer
        connect=not_connected,
    ) as record:
        made = backups.create(rds(app), outputs.database.identifier, now, made_by=record.who, note=note, name=name)
    if app.sandbox:
        app.progress.note("The sandbox keeps a record of this snapshot, no data: docs/sandbox.md")
    app.print(made.as_dict(now), made.name)


@click.command()
@click.option("--from-region", "region", metavar="REGION", help="Where the backups are; default database.backup_region.")
@click.option("--of", "origin", metavar="INSTANCE", help="Whose backups; default the stack's own instance.")
@click.option("--to", "to", default="latest", show_default=True, metavar="TIME", help="latest, or a moment such as 2026-03-01T11:55:00Z.")
@click.option("--subnet-group", default="", metavar="NAME", help="For the instance there; default that region's default VPC.")
@click.option("--abandon", is_flag=True, help="Delete what an unfinished fetch made there.")
@click.option("--reason", default="", metavar="TEXT", help="Why; written into the audit log.")
@confirm_option
@dry_run_option
@click.pass_obj
def fetch(
    app: App,
    region: str | None,
    origin: str | None,
    to: str,
    subnet_group: str,
    abandon: bool,
    reason: str,
    confirm: str | None,
    dry_run: bool,
) -> None:
    """Bring a backup from a second region into this one, as a snapshot that `db restore` takes.

    \b
    amianai db backup fetch --to latest --dry-run
    ENABLE_DB_ADMIN=true amianai db backup fetch --to latest --reason "the backups here are gone" --confirm example.com

    RDS restores such a backup only where it is: as an instance there, without a public address, of which a snapshot is copied here and
    which is then deleted. Both take hours for a large database. Interrupted, the same command goes on where it stopped.
    """
    from amianai_infra.database import fetch as operation
    from amianai_infra.database.gate import administration
    from amianai_infra.database.restore import parse_source

    if app.sandbox:
        raise RefusedError("The sandbox has no backups in another region; nothing was fetched.", where="docs/sandbox.md")
    outputs = found_outputs(app)
    identifier, where = outputs.database.identifier, region or app.settings.database.backup_region
    if not where:
        raise ConfigurationError("Say where the backups are: database.backup_region is empty.", fix="--from-region us-west-2")
    places = operation.Places(rds(app), rds(app, where), where, outputs.region)
    app.announce()
    wanted = operation.Wanted(identifier, origin or identifier, parse_source(to), subnet_group)
    found = operation.survey(places, wanted.identifier, wanted.origin)
    steps = operation.abandoned(found, where) if abandon else operation.plan(wanted, found, where, datetime.now(UTC))
    if dry_run or not steps.steps:
        app.print(steps.as_dict(), steps.screen())
        return
    show(steps.screen(), err=True)
    require_gate(app, outputs, "amianai db backup fetch", confirm, reason)
    app.confirm_domain(confirm, f"This makes and deletes a database instance in {where}", outputs.domain)
    with administration(
        app.target,
        outputs,
        action="db backup fetch",
        detail="\n".join(steps.screen()),
        reason=reason,
        confirmed=outputs.domain,
        environ=app.environ,
        table_must_be_written=False,
        connect=not_connected,
    ):
        operation.Fetch(places, steps, identifier).run()
    app.print(steps.as_dict(), f"Restore it with `amianai db restore --to {steps.snapshot}`" if steps.snapshot else "Deleted.")


@click.command()
@click.pass_obj
def verify(app: App) -> None:
    """Check that the backups would help today; exit code 1 when something is wrong.

    \b
    amianai db backup verify
    amianai --json db backup verify

    It looks at the restorable window, retention, encryption, snapshots, deletion protection, the copy in another
    region, and what restores left behind.
    """
    from amianai_infra.database import backups

    found = look(app, found_outputs(app))
    findings = backups.verify(found, _wanted(app), datetime.now(UTC))
    data = [{"level": one.level, "what": one.what, "fact": one.fact, "fix": one.fix} for one in findings]
    app.print({"ok": backups.healthy(findings), "findings": data}, backups.report(findings))
    if not backups.healthy(findings):
        click.get_current_context().exit(1)
