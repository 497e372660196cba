"""`amianai db run`: a migration tool of the team's own, as a role of its own, behind the gate."""

from __future__ import annotations

import shlex
from datetime import timedelta

import click

from amianai_infra.cli.db import at_option, connected, found_outputs, require_gate, snapshot_maker
from amianai_infra.cli.db_admin import reason_option
from amianai_infra.cli.options import App, DurationType, confirm_option


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--for", "lasting", type=DurationType(60, 12 * 3600), default="1h", show_default=True, help="How long the role may log in at most."
)
@confirm_option
@reason_option
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@click.pass_obj
def run(app: App, lasting: timedelta, confirm: str | None, reason: str, command: tuple[str, ...]) -> None:
    """Run a migration tool of the team's own as the migrator: Alembic, Prisma, Drizzle, Django.

    \b
    ENABLE_DB_ADMIN=true amianai --sandbox db run --reason "add avatars" --confirm example.test -- alembic upgrade head
    ENABLE_DB_ADMIN=true amianai db run --reason "look" --confirm example.com -- psql

    For a stack with database.migrations_by=external. The role may make and alter what is in the schema `public` and in schemas of its own,
    and reaches none of our records. It can log in while this command runs, with a password drawn for it, and no longer. On AWS a
    snapshot is made first; two runs at once wait for each other; the command is recorded before and after: leave secrets out of it.

    COMMAND finds the database in the variables of libpq (PGHOST, PGUSER, PGSSLROOTCERT, ...) and in DATABASE_URL, and the password in the
    file that PGPASSFILE names, which is gone afterwards. At its end the application gets its rights on what was made.
    """
    from amianai_infra.database import migrator, schema, shell
    from amianai_infra.database.credentials import secret_arn
    from amianai_infra.database.endpoint import Endpoint
    from amianai_infra.database.gate import administration
    from amianai_infra.database.migrate import locked
    from amianai_infra.errors import AmianaiError

    outputs, shown = found_outputs(app), shlex.join(command)
    secret_arn(outputs, "migrator")  # refused before anything is asked where there is none
    words = (shell.program(command[0], app.environ), *command[1:])
    require_gate(app, outputs, "amianai db run", confirm, reason)
    app.announce()
    app.confirm_domain(confirm, f"This lets {command[0]} change the schema", outputs.domain)
    snapshot = snapshot_maker(app, outputs)
    with administration(
        app.target,
        outputs,
        action="run",
        detail=f"as the migrator: {shown}",
        reason=reason,
        confirmed=outputs.domain,
        environ=app.environ,
        connect=lambda: connected(app, outputs=outputs),
    ) as record:
        if snapshot is not None:
            record.detail += f" (after the snapshot {snapshot('db run')})"
        with connected(app, outputs=outputs, timeout=None) as connection, locked(connection, app.progress.note):
            manager = app.target.client("secretsmanager")
            with migrator.door(
                connection, outputs, manager, lasting, lambda: schema.settle(connection, app.target, outputs, app.progress.note)
            ) as login:
                code = shell.run_program(Endpoint.of(app.target, outputs).at(at_option()), login, words, app.environ)
        if code:
            raise AmianaiError(f"{command[0]} ended with exit code {code}; what it has committed stays.", where=shown)
