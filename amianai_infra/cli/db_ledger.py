"""`amianai db new`, `diff`, `baseline` and `repair`: files of migrations, the schema, and the ledger between them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from amianai_infra.cli.db import at_option, connected, found_outputs, own_migrations, require_gate
from amianai_infra.cli.db_admin import reason_option
from amianai_infra.cli.options import App, confirm_option, dry_run_option
from amianai_infra.errors import RefusedError
from amianai_infra.printing import show

if TYPE_CHECKING:
    from psycopg import Connection

    from amianai_infra.outputs import StackOutputs

_DEFAULT_FOLDER = "migrations"


@click.command()
@click.argument("name", nargs=-1, required=True)
@click.option("--time", "time", is_flag=True, help="Name it by the time (14 digits), although the folder has numbers; after that all are.")
@click.option(
    "--no-transaction", is_flag=True, help="For what PostgreSQL runs outside a transaction alone: CREATE INDEX CONCURRENTLY, VACUUM."
)
@click.pass_obj
def new(app: App, name: tuple[str, ...], time: bool, no_transaction: bool) -> None:
    """Make an empty file for a migration, under the next number or the time.

    \b
    amianai db new add avatars               # migrations/0007_add_avatars.sql
    amianai db new --time add avatars        # migrations/20261130074500_add_avatars.sql

    It goes into the folder that database.migrations names, else into `migrations`, in the form that the last file there has. Times suit a
    team whose branches would take the same number. Nothing is connected to.
    """
    from amianai_infra.database.new_migration import create

    setting = app.settings.database.migrations
    folder = app.root / (setting or _DEFAULT_FOLDER)
    path = create(folder, " ".join(name), datetime.now(UTC), time=time, transaction=not no_transaction)
    app.print({"path": str(path)}, str(path))
    if not setting:
        show(f"Nothing reads that folder yet: `amianai up --set database.migrations={_DEFAULT_FOLDER}`", err=True)


@click.command()
@click.pass_obj
def diff(app: App) -> None:
    """Show what the live schema has that no migration made, and what it lacks.

    \b
    amianai --sandbox db diff
    amianai --json db diff

    The applied migrations are run anew in a temporary, empty database of the same server, in one transaction that is never committed, and
    both catalogs are compared. The live database is only read. Exit code 1 when they differ.

    Compared are schemas, tables, columns, constraints, indexes, views, sequences, functions, triggers, rules, policies, types, extensions
    and the like; not rights (`db migrate` settles them), owners, comments, rows or the order of columns.
    """
    from amianai_infra.database import diff as work
    from amianai_infra.database.migrate import read_all
    from amianai_infra.database.session import connect

    files, outputs = read_all(own_migrations(app)), found_outputs(app)
    if outputs.database.external:
        raise RefusedError(
            "The schema is made by a tool of the team's own, which alone knows what it should be.",
            where="setting database.migrations_by = external",
            fix="ask it: `alembic check`, `prisma migrate diff`, `drizzle-kit check`, `manage.py makemigrations --check`",
        )

    def opened(database: str | None) -> Connection[Any]:
        return connect(app.target, outputs, "owner", database=database, statement_timeout=None, at=at_option())

    found, pending = work.diff(opened, files, app.progress.note)
    lines = [one.text() for one in found] or ["The schema is what its migrations make."]
    lines += [f"· {one}  not applied, so not compared" for one in pending]
    app.print({"differences": [one.as_dict() for one in found], "pending": [str(one) for one in pending]}, lines)
    if found:
        click.get_current_context().exit(1)


@click.command()
@click.argument("version")
@click.option("--source", type=click.Choice(["project", "amianai"]), default="project", show_default=True, help="Whose migrations.")
@confirm_option
@reason_option
@dry_run_option
@click.pass_obj
def baseline(app: App, /, version: str, source: str, **options: Any) -> None:
    """Record the migrations up to VERSION as applied, without running them: for a database that has the schema already.

    \b
    amianai db baseline 0003 --dry-run
    ENABLE_DB_ADMIN=true amianai db baseline 0003 --reason "made by dbmate until now" --confirm example.com
    amianai db diff                                     # then: whether that was true

    Behind the gate, like `db admin`: nothing looks whether the schema is what the files would make. `db diff` does afterwards.
    """
    from amianai_infra.database import ledger as work
    from amianai_infra.database.migrate import ledger, read_all
    from amianai_infra.database.no_transaction import begun

    if not version.isdigit():
        raise click.UsageError(f"{version!r} is no version: give the digits that the file's name begins with.")
    outputs, files = found_outputs(app), read_all(own_migrations(app))

    def look(connection: Connection[Any]) -> tuple[list[str], Any]:
        chosen = work.to_baseline(files, ledger(connection), begun(connection), source, version)
        return [f"{one}  sha256:{one.sha256}" for one in chosen], chosen

    def do(connection: Connection[Any], chosen: Any) -> int:
        return len(work.baseline(connection, chosen, app.target.identity().arn, app.progress.note))

    heading = "These are recorded as applied, and not run; the schema is not looked at:"
    done = _through(app, outputs, "baseline", heading, look, do, options)
    if done is not None:
        app.print(
            {"recorded": done}, f"{done} recorded as applied.\n  next:  `amianai db diff`, which compares the schema with them".split("\n")
        )


@click.command()
@click.argument("versions", nargs=-1, metavar="[VERSION...]")
@confirm_option
@reason_option
@dry_run_option
@click.pass_obj
def repair(app: App, /, versions: tuple[str, ...], **options: Any) -> None:
    """Take on record that applied migrations were edited or renamed: the ledger follows the files. Nothing runs.

    \b
    amianai db repair --dry-run
    ENABLE_DB_ADMIN=true amianai db repair 0003 --reason "only a comment, reviewed in #42" --confirm example.com

    The old and the new checksum are shown, and who did it and why is recorded. What the edit would change in the database is not done:
    that belongs into a new migration. Without VERSION it is every file that was edited.
    """
    from amianai_infra.database import ledger as work
    from amianai_infra.database.migrate import ledger, read_all

    outputs, files = found_outputs(app), read_all(own_migrations(app))

    def look(connection: Connection[Any]) -> tuple[list[str], Any]:
        chosen = work.to_repair(files, ledger(connection), versions)
        return [line for one in chosen for line in one.text()], chosen

    def do(connection: Connection[Any], chosen: Any) -> int:
        work.repair(connection, chosen, app.progress.note)
        return len(chosen)

    done = _through(app, outputs, "repair", "The ledger follows these files; nothing of them runs:", look, do, options)
    if done is not None:
        app.print({"repaired": done}, f"The ledger follows {done} file{'' if done == 1 else 's'}.")


def _through(
    app: App,
    outputs: StackOutputs,
    action: str,
    heading: str,
    look: Callable[[Connection[Any]], tuple[list[str], Any]],
    do: Callable[[Connection[Any], Any], int],
    options: dict[str, Any],
) -> int | None:
    """Show what would be done; unless it is a dry run, do it behind the gate. None for a dry run."""
    from amianai_infra.database.gate import administration

    if not options["dry_run"]:
        require_gate(app, outputs, click.get_current_context().command_path, options["confirm"], options["reason"])
    with connected(app, outputs=outputs) as connection:
        lines, chosen = look(connection)
        if options["dry_run"]:
            app.print({action: lines}, [heading, *lines])
            return None
        app.announce()
        show([heading, *lines], err=True)
        app.confirm_domain(options["confirm"], "This changes the ledger of the database's migrations", outputs.domain)
        with administration(
            app.target,
            outputs,
            action=action,
            detail="\n".join(lines),
            reason=options["reason"],
            confirmed=outputs.domain,
            environ=app.environ,
            table_must_be_written=False,  # a baseline may be what comes before the migration that makes it
            connect=lambda: connected(app, outputs=outputs),
        ) as record:
            record.rows = do(connection, chosen)
    return record.rows
