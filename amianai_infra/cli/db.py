"""`amianai db ...`: operate the database. Commands load when they run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import click

from amianai_infra.cli.lazy import Commands, LazyGroup
from amianai_infra.cli.options import AnyCallable, App
from amianai_infra.errors import UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection

    from amianai_infra.database.credentials import Role
    from amianai_infra.outputs import StackOutputs

# name: (where the command is, one line of help); in the order of a working day.
COMMANDS: Commands = {
    "migrate": ("amianai_infra.cli.db_schema:migrate", "Apply the migrations that have not been applied, and settle the roles."),
    "status": ("amianai_infra.cli.db_schema:status", "Show which migrations are applied, and whether the roles are there."),
    "new": ("amianai_infra.cli.db_ledger:new", "Make an empty file for a migration."),
    "diff": ("amianai_infra.cli.db_ledger:diff", "Show what the live schema has that no migration made."),
    "url": ("amianai_infra.cli.db_connect:url", "Print how a client reaches the database, without a password."),
    "shell": ("amianai_infra.cli.db_connect:shell", "Open psql, verified and read-only."),
    "seed": ("amianai_infra.cli.db_schema:seed", "Insert rows to work with, for local work."),
    "rotate": ("amianai_infra.cli.db_schema:rotate", "Give a role a new password, and write it to its secret."),
    "dump": ("amianai_infra.cli.db_dump:dump", "Write the schema and every row to a file, with pg_dump."),
    "load": ("amianai_infra.cli.db_dump:load", "Put a dump in the place of everything that is there."),
    "top": ("amianai_infra.cli.db_top:top", "Load, slowest statements, locks, tables on one screen."),
    "backup": ("amianai_infra.cli.db_backup:backup", "List, make and check backups."),
    "restore": ("amianai_infra.cli.db_restore:restore", "Restore beside, check, and put the copy in the place."),
    "open": ("amianai_infra.cli.db_access:open_", "Let this machine's address reach the database for a while."),
    "close": ("amianai_infra.cli.db_access:close", "Undo now what `open` did."),
    "tunnel": ("amianai_infra.cli.db_access:tunnel", "Reach the database without opening anything."),
    "baseline": ("amianai_infra.cli.db_ledger:baseline", "Record migrations as applied without running them."),
    "repair": ("amianai_infra.cli.db_ledger:repair", "Take on record that applied migrations were edited."),
    "adopt": ("amianai_infra.cli.db_adopt:adopt", "Say what adopting an instance made elsewhere takes."),
    "run": ("amianai_infra.cli.db_run:run", "Run a migration tool of the team's own as the migrator."),
    "admin": ("amianai_infra.cli.db_admin:admin", "Dangerous work: enabled, confirmed, on record."),
}

_AT = "amianai.database.at"  # where a context keeps --at


class AddressType(click.ParamType["tuple[str, int]"]):
    """An IP address and a port: `127.0.0.1:15432`."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Parse the text, or fail with an example."""
        from ipaddress import ip_address

        if isinstance(value, tuple):
            return value
        host, _, port = str(value).rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host.strip("[]")
        try:
            address = str(ip_address(host))
        except ValueError:
            self.fail(f"{value!r} is not an IP address and a port, such as 127.0.0.1:15432", param, ctx)
        if not port.isdigit() or not 1 <= int(port) <= 65535:
            self.fail(f"{value!r}: the port must be a number from 1 to 65535", param, ctx)
        return address, int(port)


@click.group(cls=LazyGroup, table=COMMANDS)
@click.option(
    "--at",
    type=AddressType(),
    envvar="AMIANAI_DATABASE_AT",
    metavar="ADDRESS:PORT",
    help="Connect there instead, as through a tunnel; the certificate must still be the database's own.",
)
@click.pass_context
def db(ctx: click.Context, at: tuple[str, int] | None) -> None:
    """Operate the database: schema, roles, connections.

    \b
    Examples:
      amianai --sandbox db url
      amianai db --at 127.0.0.1:15432 shell

    Every connection is TLS, verified against the authorities of RDS (or the sandbox's own). docs/database.md tells how it works.
    """
    ctx.meta[_AT] = at


def at_option() -> tuple[str, int] | None:
    """The place that `db --at` names."""
    return click.get_current_context().meta.get(_AT)


def role_option(default: str) -> Callable[[AnyCallable], AnyCallable]:
    """`--role`: which of the database's roles to act as."""
    return click.option(
        "--role", type=click.Choice(["owner", "application", "readonly"]), default=default, show_default=True, help="As which role."
    )


def found_outputs(app: App) -> StackOutputs:
    """What the stack published, once it can be reached. What a killed `db shell` left of a password goes first."""
    from amianai_infra.database.shell import sweep

    sweep()
    app.target.ready()
    return app.outputs(fresh=True)


def connected(
    app: App, role: Role = "owner", *, outputs: StackOutputs | None = None, timeout: timedelta | None = timedelta(seconds=30)
) -> Connection[Any]:
    """A connection to the stack's database as one of its roles."""
    from amianai_infra.database.session import connect

    return connect(app.target, outputs or found_outputs(app), role, statement_timeout=timeout, at=at_option())


def own_migrations(app: App) -> Path | None:
    """The folder of the project's own migrations."""
    from amianai_infra.database.schema import project_folder

    return project_folder(app.root, app.settings.database.migrations)


def not_connected() -> NoReturn:
    """For records of work beside the database, which may be closed: its table of records is filled in later."""
    raise UnreachableError("The database is not needed for this.")


def require_gate(app: App, outputs: StackOutputs, action: str, confirm: str | None, reason: str) -> None:
    """Before anybody is asked: refuse what the gate would refuse, all of it at once."""
    from amianai_infra.database.gate import require

    asked_for = confirm is None and sys.stdin.isatty()
    confirmed = None if asked_for else confirm or ""
    require(app.target, outputs, action=action, confirmed=confirmed, reason=reason, environ=app.environ)


def snapshot_maker(app: App, outputs: StackOutputs) -> Callable[[str], str] | None:
    """Makes a snapshot before a piece of work, which is named; on AWS. The sandbox's hold no data, so there it would be for show."""
    if app.sandbox:
        return None
    from datetime import UTC, datetime

    from amianai_infra.database import backups
    from amianai_infra.database.instances import Rds

    def make(work: str) -> str:
        rds = Rds(app.target.client("rds"), app.progress)
        made_by = app.target.identity().arn
        return backups.create(rds, outputs.database.identifier, datetime.now(UTC), made_by=made_by, note=f"before {work}").name

    return make
