"""`amianai db admin ...`: dangerous work, behind the gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from amianai_infra.cli.db import at_option, found_outputs, own_migrations, require_gate, snapshot_maker
from amianai_infra.cli.lazy import Commands, LazyGroup
from amianai_infra.cli.options import AnyCallable, App, confirm_option, dry_run_option
from amianai_infra.printing import GUTTER, show, table

if TYPE_CHECKING:
    from psycopg import Connection

    from amianai_infra.database.admin import Administrator, Plan, Result
    from amianai_infra.outputs import StackOutputs

COMMANDS: Commands = {
    "sql": ("amianai_infra.cli.db_admin:sql", "Run SQL: reading as it is, writing behind the gate."),
    "truncate": ("amianai_infra.cli.db_admin:truncate", "Take every row out of tables."),
    "reset": ("amianai_infra.cli.db_admin:reset", "Drop everything of the application's and make it anew."),
    "drop-role": ("amianai_infra.cli.db_admin:drop_role", "Drop a role of the database."),
    "audit": ("amianai_infra.cli.db_admin:audit", "List what was done to the database, by whom and why."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def admin() -> None:
    """Dangerous work on the database: enabled, confirmed, on record.

    \b
    Examples:
      ENABLE_DB_ADMIN=true amianai db admin truncate messages --reason "test data" --confirm example.com
      amianai db admin sql 'SELECT count(*) FROM users'
      amianai db admin audit

    What changes something needs ENABLE_DB_ADMIN=true in the environment, the domain (--confirm or typed) and a reason, and is recorded
    before and after. docs/database.md tells more.
    """


def reason_option(function: AnyCallable) -> AnyCallable:
    """`--reason TEXT`, which the gate wants."""
    return click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")(function)


def administrator(app: App, outputs: StackOutputs) -> Administrator:
    """The API behind these commands, for this invocation."""
    from amianai_infra.database.admin import Administrator

    return Administrator(
        app.target,
        outputs,
        environ=app.environ,
        snapshot=snapshot_maker(app, outputs),
        migrate=_migrate(app, outputs),
        at=at_option(),
        say=app.progress.note,
    )


def _migrate(app: App, outputs: StackOutputs) -> Callable[[Connection[Any]], None]:
    from amianai_infra.database import schema

    def run(connection: Connection[Any]) -> None:
        schema.apply(connection, app.target, outputs, own_migrations(app), say=app.progress.note)

    return run


def _through(app: App, outputs: StackOutputs, plan: Callable[[Administrator], Plan], options: dict[str, Any]) -> Result | None:
    """Show the plan; unless it is a dry run, ask for the domain and do it. None for a dry run."""
    found = administrator(app, outputs)
    if options["dry_run"]:
        planned = plan(found)
        app.print(planned.as_dict(), planned.text())
        return None
    require_gate(app, outputs, click.get_current_context().command_path, options["confirm"], options["reason"])
    planned = plan(found)
    app.announce()
    show(planned.text(), err=True)
    app.confirm_domain(options["confirm"], f"This does {planned.action} on the database", outputs.domain)
    return found.execute(planned, reason=options["reason"], confirmed=outputs.domain)


@click.command()
@confirm_option
@reason_option
@dry_run_option
@click.pass_obj
def reset(app: App, /, **options: Any) -> None:
    """Drop everything of the application's and make it anew; on AWS after a snapshot.

    \b
    ENABLE_DB_ADMIN=true amianai --sandbox db admin reset --reason "start over" --confirm example.test
    amianai db admin reset --dry-run

    The record of administrative work, the server's roles and extensions that are not the owner's stay. Every migration runs again in the
    same transaction: if one fails, nothing was dropped.
    """
    from amianai_infra.database.migrate import read_all

    read_all(own_migrations(app))  # or nothing is dropped that could not be made again
    result = _through(app, found_outputs(app), lambda found: found.reset(), options)
    if result is not None:
        app.print(result.as_dict(), f"The database is as new; {_gone(result)}")


def _gone(result: Result) -> str:
    rows = f"{result.rows} row{' is' if result.rows == 1 else 's are'} gone."
    return f"{rows} Snapshot: {result.snapshot}" if result.snapshot else rows


@click.command()
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@click.option("--cascade", is_flag=True, help="Also the tables whose rows refer to them.")
@confirm_option
@reason_option
@dry_run_option
@click.pass_obj
def truncate(app: App, /, tables: tuple[str, ...], cascade: bool, **options: Any) -> None:
    """Take every row out of TABLES; on AWS after a snapshot.

    \b
    ENABLE_DB_ADMIN=true amianai --sandbox db admin truncate messages --reason "test data" --confirm example.test
    amianai db admin truncate users --cascade --dry-run
    """
    result = _through(app, found_outputs(app), lambda found: found.truncate(tables, cascade=cascade), options)
    if result is not None:
        app.print(result.as_dict(), _gone(result))


@click.command()
@click.argument("text", required=False, metavar="[SQL]")
@click.option("--file", "file", type=click.File("rb"), help="Read the SQL from a file; - is standard input.")
@click.option("--write", is_flag=True, help="Let it write: as the owner, in one transaction, behind the gate.")
@confirm_option
@reason_option
@dry_run_option
@click.pass_obj
def sql(app: App, /, text: str | None, file: Any, write: bool, **options: Any) -> None:
    """Run SQL of one's own.

    \b
    amianai --sandbox db admin sql 'SELECT count(*) FROM users'
    ENABLE_DB_ADMIN=true amianai db admin sql --write --file fix.sql --reason "wrong status" --confirm example.com

    Without --write it is one statement, run by the role that can only read in a transaction that can only read. Both are recorded with
    the text of the SQL: leave secrets out.
    """
    from amianai_infra.database.sql_text import decoded

    given = decoded(file.read(), getattr(file, "name", "standard input")) if file is not None else text
    if not given or (file is not None and text):
        raise click.UsageError("Give the SQL, or --file; not both.")
    outputs = found_outputs(app)
    if write:
        result = _through(app, outputs, lambda found: found.sql(given), options)
        if result is not None:
            app.print(result.as_dict(), [*rows(result), f"{result.rows} row{'' if result.rows == 1 else 's'} changed."])
        return
    result = administrator(app, outputs).query(given, reason=options["reason"])
    app.print(result.as_dict()["result"], rows(result) or "No rows.")
    if result.cut:
        show(f"Only the first {len(result.values)} rows are shown.", err=True)


def rows(result: Result) -> list[str]:
    """The rows under the names of their columns."""
    found = [["" if value is None else value for value in row] for row in result.values]
    return table([result.columns, *found], GUTTER) if result.columns else []


@click.command("drop-role")
@click.argument("role")
@confirm_option
@reason_option
@dry_run_option
@click.pass_obj
def drop_role(app: App, /, role: str, **options: Any) -> None:
    """Drop ROLE; what it owns in this database becomes the owner's.

    \b
    ENABLE_DB_ADMIN=true amianai --sandbox db admin drop-role analyst --reason "has left" --confirm example.test
    amianai db admin drop-role analyst --dry-run
    """
    result = _through(app, found_outputs(app), lambda found: found.drop_role(role), options)
    if result is not None:
        app.print(result.as_dict(), f"The role {role} is gone.")


@click.command()
@click.option("-n", "--number", "count", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many records to list.")
@click.pass_obj
def audit(app: App, count: int) -> None:
    """List what was done to the database, newest first: who, when, what, why, and what came of it.

    \b
    amianai --sandbox db admin audit
    amianai --json db admin audit -n 200

    The log group, which is the record that counts, and the table beside the data are compared: a record that only one of them has, or
    that the table has otherwise, is marked, and has found_in and differs in --json. Nothing is changed.
    """
    from amianai_infra.rules.records import lines

    entries = administrator(app, found_outputs(app)).records(count)
    app.print([entry.as_dict() for entry in entries], lines(entries) or "Nothing is on record.")
    marked = sum(bool(entry.mark) for entry in entries)
    if marked:
        show(f"The log group and the table do not agree on {marked} of these {len(entries)} records.", err=True)
