"""`amianai db restore`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from amianai_infra.cli.db import at_option, found_outputs, require_gate
from amianai_infra.cli.db_backup import look, rds
from amianai_infra.cli.options import App, confirm_option, dry_run_option
from amianai_infra.errors import ConfigurationError, RefusedError
from amianai_infra.printing import show

if TYPE_CHECKING:
    from amianai_infra.database.backups import Finding
    from amianai_infra.database.checks import Facts
    from amianai_infra.database.instances import Described
    from amianai_infra.database.restore import Hands, Plan
    from amianai_infra.outputs import StackOutputs

_SANDBOX = "The sandbox cannot restore: it keeps neither point-in-time backups nor snapshots with data."


@click.command()
@click.option("--to", "to", metavar="TIME|SNAPSHOT", help="latest, a moment such as 2026-03-01T11:55:00Z, or a snapshot's name.")
@click.option("--rehearse", is_flag=True, help="Restore beside, check, and delete the copy again.")
@click.option("--cleanup", is_flag=True, help="Delete replaced instances whose time is over, each with a last snapshot.")
@click.option("--abandon", is_flag=True, help="Delete the copy of a restore that was not finished.")
@click.option("--reason", default="", metavar="TEXT", help="Why; written into the audit log.")
@confirm_option
@dry_run_option
@click.pass_obj
def restore(
    app: App, to: str | None, rehearse: bool, cleanup: bool, abandon: bool, reason: str, confirm: str | None, dry_run: bool
) -> None:
    """Restore the database beside the running one, check the copy, and put it in the other's place.

    \b
    amianai db restore --to 2026-03-01T11:55:00Z --dry-run
    ENABLE_DB_ADMIN=true amianai db restore --to latest --rehearse --reason "monthly proof" --confirm example.com
    ENABLE_DB_ADMIN=true amianai db restore --to eeyore-postgres-20260301-120000-9f3a --reason "bad import" --confirm example.com

    The endpoint's name stays. What was written after the restored moment is not in the copy: stop the application first. The replaced
    instance is kept for database.old_instance_days. Interrupted, the same command goes on where it stopped. docs/disaster-recovery.md
    has a page for each case.
    """
    if [bool(to), cleanup, abandon].count(True) != 1:
        raise ConfigurationError("Say what to do: --to TIME|SNAPSHOT, --cleanup or --abandon.", fix="`amianai db restore --help`")
    outputs = found_outputs(app)
    app.announce()
    if to is None:
        _clean(app, outputs, abandon=abandon, reason=reason, confirm=confirm, dry_run=dry_run)
    else:
        _restore(app, outputs, to, rehearse=rehearse, reason=reason, confirm=confirm, dry_run=dry_run)


def _restore(app: App, outputs: StackOutputs, to: str, *, rehearse: bool, reason: str, confirm: str | None, dry_run: bool) -> None:
    from amianai_infra.database import restore as operation
    from amianai_infra.database.gate import administration
    from amianai_infra.database.recipe import Recipe
    from amianai_infra.operations.adoption import instance_of

    if not dry_run:
        _refuse_sandbox(app)
    identifier, instances = outputs.database.identifier, rds(app)
    source = operation.parse_source(to)
    mode: operation.Mode = "rehearse" if rehearse else "replace"
    recipe = Recipe.of(instance_of(app.engine(), identifier).inputs)
    situation = operation.survey(instances, identifier, source, mode)
    days = app.settings.database.old_instance_days
    found = operation.plan(source, mode, recipe, situation, look(app, outputs), datetime.now(UTC), old_days=days)
    _show(app, found, dry_run=dry_run)
    if dry_run:
        if app.sandbox:
            app.progress.note(f"{_SANDBOX} On AWS this is what would be done.")
        return
    require_gate(app, outputs, "amianai db restore", confirm, reason)
    app.confirm_domain(confirm, f"This {'rehearses a restore' if rehearse else 'replaces the database'}", outputs.domain)
    with administration(
        app.target,
        outputs,
        action="db restore",
        detail="\n".join(operation.screen(found)),
        reason=reason,
        confirmed=outputs.domain,
        environ=app.environ,
        table_must_be_written=False,
    ) as record:
        result = operation.Restore(instances, found, _hands(app, outputs)).run()
        record.rows = result.rows
    from amianai_infra.progress import duration

    took = ", ".join(f"{name} {duration(seconds)}" for name, seconds in result.seconds.items())
    done = "Rehearsed" if rehearse else "Restored"
    app.print(result.as_dict(), [*_findings(result.findings), f"{done}: {source.text}, {result.rows} rows ({took})"])


def _refuse_sandbox(app: App) -> None:
    if app.sandbox:
        raise RefusedError(
            f"{_SANDBOX} Nothing was restored.",
            where="what the emulator lacks: docs/sandbox.md",
            fix="see what AWS would do: the same with --dry-run; begin again with an empty database: `amianai --sandbox db admin reset`",
        )


def _show(app: App, found: Plan, *, dry_run: bool) -> None:
    from amianai_infra.database import restore as operation

    if dry_run and app.json:
        app.print(found.as_dict())
    else:
        show(operation.screen(found), err=not dry_run)


def _findings(findings: Sequence[Finding]) -> list[str]:
    from amianai_infra.database.backups import report

    return report(findings)


def _hands(app: App, outputs: StackOutputs) -> Hands:
    from amianai_infra.database.restore import Hands
    from amianai_infra.operations.adoption import follow

    def accept(findings: Sequence[Finding]) -> None:
        show(_findings(findings), err=True)
        app.confirm("Put this copy in the place of the running database?")

    return Hands(
        inspect=lambda described: _inspect(app, outputs, described),
        accept=accept,
        roles=lambda described: _roles(app, outputs, described),
        adopt=lambda resource_id: follow(app, outputs.database.identifier, resource_id),
        password=lambda: _password(app, outputs),
    )


def _password(app: App, outputs: StackOutputs) -> str | None:
    """The master user's, where the secret is the stack's own."""
    from amianai_infra.database.credentials import rds_keeps
    from amianai_infra.database.session import credentials

    return None if rds_keeps(outputs.database.secret_arn) else credentials(app.target, outputs, "owner").get().password


def _inspect(app: App, outputs: StackOutputs, described: Described) -> Facts:
    """Read an instance as its master user: its own address and its own secret."""
    from amianai_infra.database import checks, session
    from amianai_infra.database.restore import outputs_of

    with session.connect(app.target, outputs_of(outputs, described), "owner", statement_timeout=None, at=at_option()) as connection:
        return checks.facts(connection)


def _roles(app: App, outputs: StackOutputs, described: Described) -> None:
    from amianai_infra.database import roles, session
    from amianai_infra.database.restore import outputs_of

    there = outputs_of(outputs, described)
    with session.connect(app.target, there, "owner", at=at_option()) as connection:
        roles.ensure(connection, roles.Names.of(there))
        roles.ensure_passwords(connection, there, app.target.client("secretsmanager"))


def _clean(app: App, outputs: StackOutputs, *, abandon: bool, reason: str, confirm: str | None, dry_run: bool) -> None:
    from amianai_infra.database import restore as operation
    from amianai_infra.database.gate import administration

    gone = operation.leftovers(look(app, outputs), datetime.now(UTC), abandon=abandon)
    lines = [f"delete {one.name} ({one.why})" + (f", leaving {one.final_snapshot}" if one.final_snapshot else "") for one in gone]
    data = [{"name": one.name, "why": one.why, "final_snapshot": one.final_snapshot} for one in gone]
    if dry_run or not gone:
        app.print(data, lines or "There is nothing to delete.")
        return
    show(lines, err=True)
    require_gate(app, outputs, "amianai db restore", confirm, reason)
    app.confirm_domain(confirm, "This deletes database instances", outputs.domain)
    with administration(
        app.target,
        outputs,
        action="db restore",
        detail="\n".join(lines),
        reason=reason,
        confirmed=outputs.domain,
        environ=app.environ,
        table_must_be_written=False,
    ):
        operation.clean(rds(app), outputs.database.identifier, gone)
    app.print(data, f"{len(gone)} deleted")
