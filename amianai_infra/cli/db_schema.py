"""`amianai db migrate`, `status`, `rotate` and `seed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from amianai_infra.cli.db import at_option, connected, found_outputs, own_migrations, snapshot_maker
from amianai_infra.cli.options import App, confirm_option, dry_run_option, recommended
from amianai_infra.errors import RefusedError

if TYPE_CHECKING:
    from amianai_infra.database.audit import Record
    from amianai_infra.database.credentials import Role
    from amianai_infra.database.migrate import Done, Migration
    from amianai_infra.database.schema import State
    from amianai_infra.outputs import StackOutputs


@click.command()
@dry_run_option
@click.pass_obj
def migrate(app: App, dry_run: bool) -> None:
    """Apply the migrations that have not been applied, and settle the roles.

    \b
    amianai --sandbox db migrate
    amianai db migrate --dry-run

    Each file runs in one transaction (or, with `-- no-transaction` as its first line, each of its statements); two runs at once wait for
    each other. On AWS a snapshot is made first where the database holds
    data already. The roles and their passwords are made as the secrets say. What is applied is recorded before and after.
    """
    from amianai_infra.database import schema
    from amianai_infra.database.migrate import plan, read_all

    outputs, files = found_outputs(app), read_all(own_migrations(app))
    with connected(app, outputs=outputs, timeout=None) as connection:
        state = schema.look(connection, outputs, lambda: files)
        if dry_run:
            pending = plan(files, state.applied, state.half, external=outputs.database.external)
            app.print({"pending": [str(one) for one in pending]}, _would(state))
            return

        def apply() -> Done:
            return schema.apply(
                connection, app.target, outputs, own_migrations(app), say=app.progress.note, snapshot=_snapshot(app, outputs)
            )

        done = _on_record(app, outputs, state.pending, apply) if state.pending else apply()
    app.target.password_file()  # a shell of the sandbox looks passwords up there
    lines = [f"✓ {one}  {one.duration.total_seconds():.2f} s" for one in done.applied] or ["Nothing to apply."]
    app.print({"applied": [one.as_dict() for one in done.applied], "waited": done.waited}, lines)


def _on_record(app: App, outputs: StackOutputs, pending: Sequence[Migration], apply: Callable[[], Done]) -> Done:
    """Ask, and apply between two records; the table of records may be what is being made."""
    _ask(app, len(pending))
    detail = "\n".join(f"{one} sha256:{one.sha256}" for one in pending)
    with _recorded(app, outputs, "db migrate", detail, "migrations") as record:
        done = apply()
        record.rows = len(done.applied)
    return done


def _recorded(app: App, outputs: StackOutputs, action: str, detail: str, reason: str) -> AbstractContextManager[Record]:
    from amianai_infra.database.audit import audited

    return audited(
        app.target,
        outputs,
        action=action,
        detail=detail,
        reason=reason,
        table_must_be_written=False,
        # A leaked password must not stay because nothing can be recorded.
        log_must_be_written=action != "db rotate",
        connect=lambda: connected(app, outputs=outputs),
    )


def _would(state: State) -> list[str]:
    lines = [f"would apply {one} ({one.path}){'' if one.transaction else ', outside a transaction'}" for one in state.pending]
    return lines or ["Nothing to apply."]


def _ask(app: App, count: int) -> None:
    """On AWS, ordinarily: the sandbox is there to be changed."""
    app.announce()
    if not app.sandbox:
        app.confirm(f"Apply {count} migration{'s' if count > 1 else ''} to the production database?")


def _snapshot(app: App, outputs: StackOutputs) -> Callable[[], str] | None:
    make = snapshot_maker(app, outputs)
    return None if make is None else lambda: make("db migrate")


@click.command()
@click.pass_obj
def status(app: App) -> None:
    """Show which migrations are applied, which are not, and whether the roles are there.

    \b
    amianai --sandbox db status
    amianai --json db status
    """
    from amianai_infra.database import schema
    from amianai_infra.database.migrate import read_all

    outputs = found_outputs(app)
    with connected(app, outputs=outputs) as connection:
        state = schema.look(connection, outputs, lambda: read_all(own_migrations(app)))
    app.print(state.as_dict(), recommended(state.text(), sandbox=app.sandbox))
    if state.problem:
        click.get_current_context().exit(1)


@click.command()
@click.option(
    "--role", type=click.Choice(["application", "readonly", "owner"]), default="application", show_default=True, help="Whose password."
)
@click.pass_obj
def rotate(app: App, role: Role) -> None:
    """Give a role a new password, and write it to its secret.

    \b
    amianai --sandbox db rotate
    amianai db rotate --role readonly

    Open connections stay; new ones read the secret again when the old password is refused, as the pool of this package does. The owner's
    password RDS makes anew every seven days by itself; --role owner has it do so now.
    """
    from amianai_infra.database import schema

    outputs = found_outputs(app)
    app.announce()
    if not app.sandbox:
        app.confirm(f"Change the password of the {role} role?")
    with _recorded(app, outputs, "db rotate", role, "rotation"):
        if role == "owner":
            from amianai_infra.cli.db_backup import rds
            from amianai_infra.database.rotation import rotate_owner

            rotate_owner(app.target, outputs, rds(app), say=app.progress.note, at=at_option())
        else:
            with connected(app, outputs=outputs) as connection:
                schema.rotate(connection, app.target, outputs, role, say=app.progress.note, at=at_option())
    app.target.password_file()
    app.print(
        {"role": role, "rotated": True}, "The owner has a new password." if role == "owner" else f"The {role} role has a new password."
    )


@click.command()
@confirm_option
@click.pass_obj
def seed(app: App, confirm: str | None) -> None:
    """Insert rows to work with: two people, an AI, a conversation.

    \b
    amianai --sandbox db seed

    For local work. On AWS the domain has to be typed, or given with --confirm. Rows that are there stay as they are.
    """
    from amianai_infra.database.seed import seed as insert

    outputs = found_outputs(app)
    if outputs.database.external:
        raise RefusedError(
            "The rows are for tables of ours, and a tool of the team's own makes the schema.",
            where="setting database.migrations_by = external",
            fix="seed it with that tool",
        )
    if not app.sandbox:
        app.announce()
        app.confirm_domain(confirm, "This inserts made-up people into the production database", outputs.domain)
    with _recorded(app, outputs, "db seed", outputs.database.name, "made-up rows") as record:
        with connected(app, "application", outputs=outputs) as connection:
            added = insert(connection)
        record.rows = sum(added.values())
    app.print(added, ", ".join(f"{table} {count}" for table, count in added.items() if count) or "Everything was there already.")
