"""`amianai sandbox ...`: start, stop and look at the local stand-in for AWS."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amianai_infra.cli.options import App
from amianai_infra.errors import AmianaiError, NotFoundError, RefusedError
from amianai_infra.naming import SANDBOX_VARIABLE
from amianai_infra.printing import GUTTER, answer, show, table
from amianai_infra.printing import line as printed

if TYPE_CHECKING:
    from amianai_infra.sandbox import SandboxTarget, Service

SERVICES = ("emulator", "postgres", "provider")


def _target(app: App) -> SandboxTarget:
    from amianai_infra.sandbox import SandboxTarget

    return SandboxTarget(app.root, app.progress, app.environ)


@click.group()
def sandbox() -> None:
    """The local stand-in for AWS: an emulator, a real PostgreSQL and a provider for the engine, all on 127.0.0.1.

    \b
    Examples:
      amianai sandbox up
      eval "$(amianai sandbox env)" && aws s3 ls && psql

    Every command with --sandbox starts it by itself. docs/sandbox.md says what it proves and what it cannot.
    """


@sandbox.command()
@click.pass_obj
def up(app: App) -> None:
    """Start what does not run; install it first where needed.

    AMIANAI_SANDBOX_PORT=N asks for the ports N, N+1 and N+2; without it free ones are chosen and kept.
    """
    target = _target(app)
    target.ready()
    _print(app, target.sandbox.status())


@sandbox.command()
@click.pass_obj
def stop(app: App) -> None:
    """Stop it. Nothing is lost: databases, buckets and users are there again after the next start."""
    stopped = _target(app).sandbox.stop(app.progress)
    app.print({"stopped": stopped}, f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


@sandbox.command()
@click.pass_obj
def status(app: App) -> None:
    """Show each service: state, process, address, memory, since when."""
    _print(app, _target(app).sandbox.status())


@sandbox.command()
@click.option("--shell", type=click.Choice(["sh", "fish"]), default="sh", show_default=True, help="Whose syntax to print.")
@click.option("--unset", "leave", is_flag=True, help="Print what leads the shell away from the sandbox again.")
@click.pass_obj
def env(app: App, shell: str, leave: bool) -> None:
    """Print what lets the AWS CLI, any AWS SDK, `pulumi` and psql talk to the sandbox.

    \b
    Examples:
      eval "$(amianai sandbox env)"          (fish: amianai sandbox env --shell fish | source)
      eval "$(amianai sandbox env --unset)"

    The database's passwords are in a file of mode 0600 that PGPASSFILE names; none is printed. A plain psql is the application, which
    reads and writes rows; `psql "$(amianai --sandbox db url --role owner)"` is the owner. In such a shell every other command wants
    --sandbox: without it, it would take the sandbox for an AWS account.
    """
    if leave:
        _leave(app, fish=shell == "fish")
        return
    target = _target(app)
    if target.sandbox.serves():
        target.password_file()
    ours = target.sandbox.environment()
    unset = _misleading(app.environ, ours)
    path = _engine_folder(app.environ)
    if app.json:
        app.print(ours)
    else:
        lines = list(_lines(ours, unset, path, fish=shell == "fish"))
        if any(printed(one) != one for one in lines):
            raise AmianaiError(
                "A folder's name holds what must not be printed, so that no shell can be told it.",
                where=f"{app.root}, {path or ''}",
                fix="give the folder another name, or read the variables from `amianai --json sandbox env`",
            )
        show(lines)


def _leave(app: App, *, fish: bool) -> None:
    """Every variable of those families goes: `env` had unset what was not the sandbox's."""
    names = [*_misleading(app.environ, {}), SANDBOX_VARIABLE]
    if app.json:
        app.print({"unset": names})
    else:
        show(_lines({}, names, None, fish=fish))


def _misleading(environ: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    from amianai_infra.sandbox.project import foreign

    return foreign(environ, ours)


def _engine_folder(environ: Mapping[str, str]) -> Path | None:
    """Where our cache has the engine, when the one on PATH is none or too old."""
    from amianai_infra.engine import find_engine

    found = find_engine(environ)
    on_path = shutil.which("pulumi", path=environ.get("PATH"))
    return None if found is None or str(found) == on_path else found.parent


def _lines(values: Mapping[str, str], unset: Iterable[str], path: Path | None, *, fish: bool) -> Iterable[str]:
    for name in unset:
        yield f"set -e {name}" if fish else f"unset {name}"
    for name, value in values.items():
        yield f"set -gx {name} {shlex.quote(value)}" if fish else f"export {name}={shlex.quote(value)}"
    if path is not None:
        yield f"set -gx PATH {shlex.quote(str(path))} $PATH" if fish else f'export PATH={shlex.quote(str(path))}:"$PATH"'


@sandbox.command()
@click.option("--confirm", metavar="sandbox", help="Confirm without a prompt, with the word `sandbox`.")
@click.pass_obj
def reset(app: App, confirm: str | None) -> None:
    """Stop it and remove all its data: databases, buckets, users and the engine's state of this checkout.

    The installed programs stay in the cache. --yes is not an answer: data is lost. While an `up` or `destroy` works on the stack it is
    refused: its engine would write its state into what comes next.
    """
    said = confirm
    if said is None and sys.stdin.isatty():
        said = answer(f"All data in {app.root / '.sandbox'} will be removed. Type sandbox to confirm")
    if said != "sandbox":
        raise RefusedError("Not confirmed; nothing was changed.", fix="run `amianai sandbox reset --confirm sandbox`")
    target = _target(app)
    _require_idle(app, target)
    target.sandbox.reset(app.progress)
    app.print({"reset": True}, "Removed. `amianai --sandbox setup` builds everything again.")


def _require_idle(app: App, target: SandboxTarget) -> None:
    """Refuse while an engine works on the sandbox's stack.

    Raises:
        LockedError: naming its process.
    """
    if not target.sandbox.project.settled:
        return
    from amianai_infra.engine import Engine
    from amianai_infra.engine.locks import refuse

    if working := [lock for lock in Engine(target.engine(), lambda: None, app.progress).locks() if lock.alive]:
        raise refuse(working[0])


@sandbox.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.option("--follow", "-f", is_flag=True, help="Keep printing what is added, until Ctrl-C.")
@click.option("--lines", "-n", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many lines to begin with.")
@click.pass_obj
def logs(app: App, service: str, follow: bool, lines: int) -> None:
    """Print a service's log, each line behind the service's name."""
    file = _target(app).sandbox.log_files()[service]
    if not file.is_file():
        raise NotFoundError(f"There is no log of the {service} yet.", where=str(file), fix="run `amianai sandbox up`")
    with file.open(errors="replace") as source:
        show(f"{service} {GUTTER}{line.rstrip()}" for line in source.readlines()[-lines:])
        while follow:
            line = source.readline()
            if line:
                show(f"{service} {GUTTER}{line.rstrip()}")
            else:
                time.sleep(0.3)


def _print(app: App, services: list[Service]) -> None:
    rows = [("SERVICE", "STATE", "PID", "ADDRESS", "MEMORY", "SINCE")]
    rows += [(one.name, one.state, str(one.pid or ""), one.address, _megabytes(one.memory), _local_time(one.since)) for one in services]
    data = [{**vars(one), "log": str(one.log)} for one in services]
    app.print(data, table(rows))


def _megabytes(amount: int | None) -> str:
    return "" if amount is None else f"{amount / 1_000_000:.0f} MB"


def _local_time(stamp: str | None) -> str:
    from datetime import datetime

    return "" if stamp is None else datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")
