"""`amianai`: the command group. Commands load when they run; exceptions become exit codes here and nowhere else."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from amianai_infra.cli.lazy import Commands, LazyGroup
from amianai_infra.cli.options import App, parse_sets, recommended
from amianai_infra.errors import AmianaiError, ConfigurationError
from amianai_infra.folders import set_umask
from amianai_infra.interrupts import signals_as_interrupts
from amianai_infra.printing import OutputClosedError, guard, printable, quoted, show

# name: (where the command is, one line of help); in the order of a working day.
COMMANDS: Commands = {
    "setup": ("amianai_infra.cli.stack:setup", "Build the whole stack, or go on where the last run stopped."),
    "preview": ("amianai_infra.cli.stack:preview", "Show what `up` would change."),
    "up": ("amianai_infra.cli.stack:up", "Bring the stack to the configured state."),
    "status": ("amianai_infra.cli.stack:status", "One screen: site, database, sign-in, DNS."),
    "env": ("amianai_infra.cli.stack:env", "Write the application's .env.local."),
    "destroy": ("amianai_infra.cli.stack:destroy", "Remove the stack, after showing what goes and what stays."),
    "doctor": ("amianai_infra.cli.stack:doctor", "Check every prerequisite and say how to fix it."),
    "deploy": ("amianai_infra.cli.site:deploy", "Build the site and publish it."),
    "rollback": ("amianai_infra.cli.site:rollback", "Publish an earlier release again."),
    "takedown": ("amianai_infra.cli.site:takedown", "Take a page down, for good and from every release."),
    "previews": ("amianai_infra.cli.site:previews", "List and remove previews of the site."),
    "releases": ("amianai_infra.cli.site:releases", "List the site's releases."),
    "ci": ("amianai_infra.cli.ci:ci", "Release the site from GitHub Actions."),
    "db": ("amianai_infra.cli.db:db", "Operate the database: migrate, look, connect."),
    "sandbox": ("amianai_infra.cli.sandbox:sandbox", "The local stand-in for AWS."),
    "config": ("amianai_infra.cli.config:config", "Write the stack file back from the state."),
    "state": ("amianai_infra.cli.state:state", "Look at and release the locks of the stack's state."),
}

_COLLECTED = (50_000, 20, 20)
"""How often cycles are looked for. A release makes a hundred thousand objects that stay, and no cycles: as often as Python does by default
takes a twentieth of its time."""
_SWITCHES = frozenset({"--sandbox", "--json", "--yes", "-y", "--debug", "-v", "--verbose"})
_WORDS = "amianai.words"  # where a context keeps what was typed
_WITH_VALUE = frozenset({"--config", "--set"})


def hoist(arguments: Sequence[str]) -> list[str]:
    """Move the global options to the front, so that `amianai up --sandbox` means `amianai --sandbox up`.

    What follows `--` stays where it is.
    """
    front: list[str] = []
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += [word, *queue]
            break
        if word in _SWITCHES or word.partition("=")[0] in _WITH_VALUE:
            front.append(word)
            if word in _WITH_VALUE and queue:
                front.append(queue.pop(0))
        else:
            rest.append(word)
    return front + rest


class MainGroup(LazyGroup):
    """The outermost group: global options anywhere on the line, exceptions as exit codes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Accept the global options before and after the command."""
        ctx.meta[_WORDS] = args
        try:
            return super().parse_args(ctx, hoist(args))
        except BrokenPipeError as error:  # parsing prints nothing but help and version
            raise OutputClosedError from error

    def invoke(self, ctx: click.Context) -> Any:
        """As click, which would end without a word when a pipe or connection breaks in the middle of the work."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            if not {"--help", "-h"}.isdisjoint(ctx.meta.get(_WORDS, ())):
                raise OutputClosedError from error
            fix = "run the same command again: it goes on where it stopped"
            raise AmianaiError("A pipe or connection broke in the middle of the work.", where=str(error), fix=fix) from error

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run one invocation; every exception becomes a message and an exit code."""
        extra["standalone_mode"] = False
        if not standalone_mode:
            return super().main(*args, **extra)
        words = (args[0] if args else extra.get("args")) or sys.argv[1:]
        debug = "--debug" in words or bool(os.environ.get("AMIANAI_DEBUG"))
        try:
            result = super().main(*args, **extra)
            _flush()
        except (Exception, KeyboardInterrupt) as error:
            sandbox = "--sandbox" in words or os.environ.get("AMIANAI_TARGET") == "sandbox"
            sys.exit(report(error, debug=debug, sandbox=sandbox))
        sys.exit(result if isinstance(result, int) else 0)


def report(error: BaseException, *, debug: bool = False, sandbox: bool = False) -> int:
    """Tell a person what went wrong on standard error, and give the exit code."""
    if isinstance(error, OutputClosedError):
        return _close_stdout()
    try:
        return _report(error, debug=debug, sandbox=sandbox)
    except BrokenPipeError:  # nobody reads standard error either
        return 1


def _report(error: BaseException, *, debug: bool, sandbox: bool) -> int:
    if debug:
        import traceback

        _withhold_rows(error)
        show(quoted("".join(traceback.format_exception(error))), err=True)
    if isinstance(error, click.ClickException):
        show(_usage(error), err=True)
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        show(["", "Interrupted. What was done stays done; run the same command again to go on."], err=True)
        return 130
    known = translate(error) or AmianaiError(f"unexpected {type(error).__name__}: {error}", fix="run it again with --debug to see where")
    first, *further = recommended(known.lines(), sandbox=sandbox)
    show([f"Error: {first}", *further], err=True)
    return known.exit_code


def _withhold_rows(error: BaseException) -> None:
    """Have the database's errors in a chain say what a command says of them: their own text quotes rows, and ends up in tickets."""
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        chain += [one.__cause__, one.__context__]
        if type(one).__module__.partition(".")[0] == "psycopg":
            from psycopg import Error

            from amianai_infra.database.session import said

            if isinstance(one, Error):
                one.args = (said(one),)


def _usage(error: click.ClickException) -> list[str]:
    """What click says about a command line, whose words may hold anything."""
    from io import StringIO

    said = StringIO()
    error.show(said)
    text = said.getvalue()
    return (text.replace(error.message, printable(error.message)) if error.message else text).splitlines()


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise OutputClosedError from error


def _close_stdout() -> int:
    """Whoever read our output has gone while the result was printed, which is no error: leave without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def translate(error: BaseException) -> AmianaiError | None:
    """Our own error for one that a library raised; None where we do not know better."""
    if isinstance(error, AmianaiError):
        return error
    module = type(error).__module__.partition(".")[0]
    if module == "botocore" and isinstance(error, Exception):
        from amianai_infra.target import aws_error

        return aws_error(error, "a call to AWS")
    if module.startswith("pydantic"):
        return ConfigurationError("Something that was read does not have the expected shape.", where=str(error))
    if isinstance(error, OSError) and error.errno in _DISK:
        what, fix = _DISK[error.errno]
        return AmianaiError(what, where=str(error.filename or _without_room() or error), fix=fix)
    return None


def _without_room() -> str:
    """Which folder that commands write to has no room left, where the system does not say it; empty where all have some."""
    import shutil
    import tempfile

    from amianai_infra.folders import cache_folder

    folders = (Path(tempfile.gettempdir()), Path.cwd(), cache_folder())
    return next((str(folder) for folder in folders if folder.is_dir() and shutil.disk_usage(folder).free < _LEAST_ROOM), "")


_LEAST_ROOM = 1 << 20


_DISK = {
    errno.ENOSPC: ("The disk is full.", "free some space and run the command again: it goes on where it stopped"),
    errno.EDQUOT: ("The disk quota is used up.", "free some space and run the command again: it goes on where it stopped"),
    errno.EROFS: ("This folder is on a read-only file system.", "make it writable, or work in a checkout that is"),
    errno.EACCES: ("Permission denied.", "make it yours (chown) or writable (chmod u+w), then run the command again"),
    errno.EPERM: ("The operation is not permitted.", "make it yours (chown) or writable (chmod u+w), then run the command again"),
}

_EPILOG = """\b
Examples:
  amianai --sandbox setup                     everything, on this machine, without an AWS account
  DOMAIN_NAME=example.com amianai setup       the same on AWS
  amianai up --set database.storage_gib=50    change one setting

Global options may also follow the command. Settings come from --set, the environment (DOMAIN_NAME, GITHUB_USERNAME, AMIANAI_*), the
stack file and the defaults, in that order; docs/settings.md lists them. Exit codes: 0 done, 1 failed, 2 usage or configuration,
3 refused by a safety gate, 4 somebody else holds the lock."""


def _width() -> int:
    """Columns of the terminal, asked without `shutil`, whose import takes a tenth of the time that help may take."""
    try:
        return min(int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns) - 2, 110)
    except (OSError, ValueError):
        return 100


def _wants_sandbox(flag: bool) -> bool:
    chosen = os.environ.get("AMIANAI_TARGET", "")
    if chosen not in ("", "aws", "sandbox"):
        raise ConfigurationError(f"AMIANAI_TARGET = {chosen!r} is neither 'aws' nor 'sandbox'.", where="environment", fix="unset it")
    return flag or chosen == "sandbox"


@click.group(
    cls=MainGroup, table=COMMANDS, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "terminal_width": _width()}
)
@click.option("--sandbox", is_flag=True, help="Act on the sandbox on this machine, not on AWS (or AMIANAI_TARGET=sandbox).")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="AMIANAI_CONFIG",
    metavar="FILE",
    help="Stack file to read settings from.",
)
@click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="Choose one setting; repeat for more.")
@click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")
@click.option("--yes", "-y", is_flag=True, help="Answer ordinary questions with yes (never what can lose data).")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--verbose", "-v", is_flag=True, help="Say more on standard error.")
@click.version_option(package_name="amianai-infra", prog_name="amianai")
@click.pass_context
def cli(
    ctx: click.Context,
    sandbox: bool,
    config_file: Path | None,
    sets: tuple[str, ...],
    as_json: bool,
    yes: bool,
    debug: bool,
    verbose: bool,
) -> None:
    """Put a web product on AWS and keep it there: network, PostgreSQL, sign-in, site and DNS as one production stack."""
    ctx.obj = App(_wants_sandbox(sandbox), config_file, parse_sets(sets), as_json, yes, debug, verbose)


def main() -> None:
    """Console script."""
    gc.set_threshold(*_COLLECTED)
    set_umask()
    guard()
    with signals_as_interrupts():
        cli()
