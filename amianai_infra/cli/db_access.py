"""`amianai db open`, `close` and `tunnel`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from amianai_infra.cli.db import found_outputs, not_connected
from amianai_infra.cli.options import App, DurationType, dry_run_option
from amianai_infra.errors import ConfigurationError

if TYPE_CHECKING:
    from amianai_infra.database.access import Access, Opened
    from amianai_infra.database.tunnel import Forwarding
    from amianai_infra.outputs import StackOutputs
    from amianai_infra.rules.access import Action

# As rules.access.LONGEST_HOURS, which must not be imported before a command runs; a test keeps them the same.
_LENGTH = DurationType(300, 12 * 3600)
_SANDBOX_ADDRESS = "203.0.113.1"  # nobody's: the sandbox's database is on this machine and takes connections from it alone


def _person(app: App) -> str:
    from amianai_infra.rules.access import person

    return person(app.target.identity().arn)


def _access(app: App, outputs: StackOutputs) -> Access:
    from amianai_infra.database.access import Access

    return Access(app.target, outputs)


def _plan(app: App, steps: Sequence[Action]) -> None:
    app.print([str(step) for step in steps], [f"would {step}" for step in steps] or "Nothing to do.")


@click.command("open")
@click.option("--for", "length", type=_LENGTH, default="30m", show_default=True, metavar="DURATION", help="How long: 5m to 12h.")
@click.option("--address", metavar="IP", help="Which address; default this machine's public one, as AWS sees it.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the database answers from here.")
@dry_run_option
@click.pass_obj
def open_(app: App, length: timedelta, address: str | None, reason: str, no_wait: bool, dry_run: bool) -> None:
    """Let this machine's address reach the database for a while; it closes by itself.

    \b
    amianai db open --for 30m
    amianai db open --for 2h --address 203.0.113.7 --reason "import"

    One address, TLS and password as ever. Every step has a schedule inside AWS that undoes it, made before it, so that it closes even if
    this machine dies. Opening again extends; other people have their own time. `db close` closes it now, `status` shows it.
    """
    outputs = found_outputs(app)
    access, who, until = _access(app, outputs), _person(app), datetime.now(UTC) + length
    where = _address(app, address)
    if dry_run:
        _plan(app, access.plan_open(where, who, until))
        return
    app.announce()
    if not app.sandbox:
        app.confirm(f"Open the production database to {where}/32 until {until:%H:%M} UTC?")
    from amianai_infra.database.audit import audited

    detail = f"{where}/32 until {until:%Y-%m-%d %H:%M} UTC"
    with (
        audited(
            app.target, outputs, action="open", detail=detail, reason=reason, table_must_be_written=False, connect=not_connected
        ) as record,
        app.progress.task(f"Opening the database to {where}") as task,
    ):
        done = access.open(where, who, until, app.progress)
        record.detail = f"{where}/32 until {done.found.doors[where].until or until:%Y-%m-%d %H:%M} UTC"
        task.say(f"{len(done.steps)} steps" if done.steps else "as it was")
    _wait(app, outputs, no_wait)
    app.print(*_opened(outputs, where, done, str(app.target.database_ca())))


def _address(app: App, given: str | None) -> str:
    from amianai_infra.database.access import given_address, own_address

    if given is not None:
        return given_address(given)
    return _SANDBOX_ADDRESS if app.sandbox else own_address()


def _wait(app: App, outputs: StackOutputs, no_wait: bool) -> None:
    from amianai_infra.database.access import wait_reachable

    if no_wait:
        return
    with app.progress.task("Waiting for the database to answer from here") as task:
        wait_reachable(outputs.database.host, outputs.database.port)
        task.say("it does")


def _opened(outputs: StackOutputs, address: str, done: Opened, ca: str) -> tuple[dict[str, Any], str]:
    until = done.found.doors[address].until
    database = outputs.database
    data = {
        "address": address,
        "until": until.isoformat() if until else "",
        "host": database.host,
        "port": database.port,
        "ca": ca,
        "steps": [str(step) for step in done.steps],
    }
    text = f"{database.host}:{database.port} is open to {address}/32 until {until:%Y-%m-%d %H:%M} UTC; `db close` closes it now"
    return data, text


@click.command()
@click.option("--all", "everybody", is_flag=True, help="What others opened, too.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@dry_run_option
@click.pass_obj
def close(app: App, everybody: bool, reason: str, dry_run: bool) -> None:
    """Undo now what `db open` did.

    \b
    amianai db close
    amianai db close --all

    What you opened, wherever from; the rest stays until its time. It also removes what is over and was left, as after a kill.
    """
    outputs = found_outputs(app)
    access, who = _access(app, outputs), None if everybody else _person(app)
    if dry_run:
        _plan(app, access.plan_close(who))
        return
    app.announce()
    if everybody and not app.sandbox:
        app.confirm("Close the database also for others?")
    from amianai_infra.database.access import describe
    from amianai_infra.database.audit import audited

    with (
        # Closing makes things safer: it does not wait for a record.
        audited(
            app.target,
            outputs,
            action="close",
            detail="everything" if everybody else str(who),
            reason=reason,
            table_must_be_written=False,
            log_must_be_written=False,
            connect=not_connected,
        ),
        app.progress.task("Closing the database") as task,
    ):
        done = access.close(who, app.progress)
        task.say(f"{len(done.steps)} steps" if done.steps else "as it was")
    left = describe(done.found, datetime.now(UTC))
    app.print(
        {"steps": [str(step) for step in done.steps], "open": left}, [f"Still open: {one}" for one in left] or "The database is closed."
    )


def _beside(app: App, outputs: StackOutputs, name: str) -> StackOutputs:
    from amianai_infra.cli.db_backup import rds
    from amianai_infra.database.restore import outputs_of

    return outputs_of(outputs, rds(app).get(name))


@click.command()
@click.option("--for", "length", type=_LENGTH, default="1h", show_default=True, metavar="DURATION", help="How long at most: 5m to 12h.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=15432, show_default=True, help="Which port of this machine; another if taken."
)
@click.option("--instance", metavar="NAME", help="Another instance beside the stack's own, such as the copy of a restore.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@click.pass_obj
def tunnel(app: App, length: timedelta, port: int, instance: str | None, reason: str) -> None:
    """Lead a port of this machine to the database, without opening anything. Ctrl-C ends it.

    \b
    amianai db tunnel --for 1h
    amianai db --at 127.0.0.1:15432 shell          (in another terminal)

    Through a bastion that exists only meanwhile: nobody can reach it but Session Manager. It ends with this command, by its own clock,
    and by a schedule inside AWS. Needs AWS's session-manager-plugin.
    """
    if app.sandbox:
        raise ConfigurationError(
            "The sandbox has no bastions and no Session Manager, and needs none: its database listens on this machine.",
            fix="amianai --sandbox db shell; amianai --sandbox env --open writes .env.local",
        )
    from amianai_infra.database.audit import audited
    from amianai_infra.database.tunnel import Tools, Tunnel, require_plugin

    require_plugin(Tools())
    outputs = found_outputs(app)
    there = outputs if instance is None else _beside(app, outputs, instance)
    made = Tunnel(app.target, there, app.environ, app.progress)
    app.announce()

    def ready(forwarding: Forwarding) -> None:
        data = {"host": "127.0.0.1", "port": forwarding.local_port, "server_name": forwarding.host, "until": forwarding.until.isoformat()}
        here, until = f"127.0.0.1:{forwarding.local_port}", f"{forwarding.until:%H:%M} UTC"
        text = f"{here} leads to {forwarding.host}:{forwarding.port} until {until}; Ctrl-C ends it"
        app.print(data, [text, f"  amianai db --at {here} shell"])

    with audited(
        app.target,
        outputs,
        action="tunnel",
        detail=f"for {length} to {there.database.identifier}",
        reason=reason,
        table_must_be_written=False,
        connect=not_connected,
    ):
        why = made.run(length, port, ready)
    app.progress.note(f"The tunnel is gone: {why}")
