from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from click.testing import CliRunner, Result
from psycopg.errors import UniqueViolation
from psycopg.pq import DiagnosticField

from amianai_infra.cli import main as module
from amianai_infra.cli.main import COMMANDS, cli, hoist, report, translate
from amianai_infra.cli.options import App
from amianai_infra.errors import (
    AmianaiError,
    ConfigurationError,
    EngineError,
    ForbiddenError,
    LockedError,
    MissingToolError,
    NotFoundError,
    RefusedError,
)

AMIANAI = str(Path(sys.executable).with_name("amianai"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A command `probe` that does what the test says and keeps the App it was given."""
    doing: dict[str, Any] = {}

    @click.command()
    @click.option("--raises", is_flag=True)
    @click.argument("words", nargs=-1)
    @click.pass_obj
    def probe(app: App, raises: bool, words: tuple[str, ...]) -> None:
        doing["app"], doing["words"] = app, words
        if "error" in doing:
            raise doing["error"]

    monkeypatch.setattr(module, "probe", probe, raising=False)
    monkeypatch.setitem(COMMANDS, "probe", ("amianai_infra.cli.main:probe", "A probe."))
    return doing


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_loads_and_its_help_begins_with_what_it_does_and_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert "amianai" in result.output.partition("\n")[2], "the help shows an example"


def test_help_names_every_command_without_loading_any() -> None:
    code = (
        "import sys; sys.argv = ['amianai', '--help']\n"
        "from amianai_infra.cli.main import cli\n"
        "try: cli()\n"
        "except SystemExit: pass\n"
        "heavy = {'pulumi', 'boto3', 'botocore', 'pydantic', 'rich', 'yaml', 'psycopg', 'amianai_infra.config'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for name, (_, text) in COMMANDS.items():
        assert name in done.stdout
        assert text[:30] in done.stdout


def test_help_takes_little_longer_than_importing_click() -> None:
    """The best of many pairs: on a busy machine a single run says nothing."""

    def seconds(command: list[str]) -> float:
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - started

    ours, theirs = [], []
    for _ in range(40):
        ours.append(seconds([AMIANAI, "--help"]))
        theirs.append(seconds([sys.executable, "-c", "import click"]))
        if len(ours) >= 5 and min(ours) <= 2.2 * min(theirs):
            return
    pytest.fail(f"{min(ours):.3f} s for --help, {min(theirs):.3f} s for importing click")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("up --sandbox", "--sandbox up"),
        ("setup --set a=b --no-deploy --json", "--set a=b --json setup --no-deploy"),
        ("up --set=a=b --config=f", "--set=a=b --config=f up"),
        ("db shell -- --json -v", "db shell -- --json -v"),
        ("--yes destroy -y", "--yes -y destroy"),
        ("destroy --confirm example.com", "destroy --confirm example.com"),
        ("up --set", "--set up"),
    ],
)
def test_global_options_may_follow_the_command(given: str, meant: str) -> None:
    assert hoist(given.split()) == meant.split()


def test_the_app_holds_what_was_asked_for(command: dict[str, Any]) -> None:
    result = run("probe", "--sandbox", "--set", "a.b=c=d", "--set", "e=", "--json", "-y", "--config", "f.yaml", "-v", "word")
    assert result.exit_code == 0, result.output
    app: App = command["app"]
    assert (app.sandbox, app.json, app.yes, app.verbose, app.debug) == (True, True, True, True, False)
    assert app.flags == {"a.b": "c=d", "e": ""}
    assert app.config_file == Path("f.yaml")
    assert command["words"] == ("word",)


@pytest.mark.parametrize(("value", "sandbox"), [("sandbox", True), ("aws", False), ("", False)])
def test_the_target_may_come_from_the_environment(
    command: dict[str, Any], monkeypatch: pytest.MonkeyPatch, value: str, sandbox: bool
) -> None:
    monkeypatch.setenv("AMIANAI_TARGET", value)
    run("probe")
    assert command["app"].sandbox is sandbox


def test_a_target_that_does_not_exist_is_refused(command: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMIANAI_TARGET", "azure")
    result = run("probe")
    assert result.exit_code == 2
    assert "azure" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AmianaiError("x"), 1),
        (ConfigurationError("x"), 2),
        (RefusedError("x"), 3),
        (LockedError("x"), 4),
        (MissingToolError("x"), 1),
        (EngineError("x"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("x"), 2),
        (RuntimeError("x"), 1),
        (NoCredentialsError(), 1),
    ],
)
def test_exit_codes(command: dict[str, Any], error: BaseException, code: int) -> None:
    command["error"] = error
    result = run("probe")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_an_error_says_what_where_and_what_next(command: dict[str, Any]) -> None:
    command["error"] = NotFoundError("It is gone.", where="over there", fix="look again")
    assert run("probe").stderr == "Error: It is gone.\n  where: over there\n  next:  look again\n"


def test_a_traceback_only_with_debug(command: dict[str, Any]) -> None:
    command["error"] = ConfigurationError("bad")
    assert "Traceback" not in run("probe").stderr
    assert "Traceback" in run("probe", "--debug").stderr


def test_a_traceback_shows_no_rows(command: dict[str, Any]) -> None:
    primary = b'duplicate key value violates unique constraint "users_email_key"'
    raised = UniqueViolation(
        f"{primary.decode()}\nDETAIL:  Key (email)=(alice@example.com) already exists.", info={DiagnosticField.MESSAGE_PRIMARY: primary}
    )
    between = RuntimeError("while writing")
    between.__context__ = raised
    command["error"] = AmianaiError("The migration failed.")
    command["error"].__cause__ = between
    told = run("probe", "--debug").stderr
    assert 'UniqueViolation: duplicate key value violates unique constraint "users_email_key"' in told
    assert "while writing" in told
    assert "alice@example.com" not in told


def test_an_interruption_says_that_it_is_safe(command: dict[str, Any]) -> None:
    command["error"] = KeyboardInterrupt()
    assert "run the same command again" in run("probe").stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk_is_told_plainly(number: int) -> None:
    known = translate(OSError(number, os.strerror(number), "/some/file"))
    assert isinstance(known, AmianaiError)
    assert known.where == "/some/file"
    assert known.fix


def test_a_full_disk_that_the_system_does_not_name_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0 if folder == tmp_path else 1 << 30))
    known = translate(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert known is not None
    assert known.where == str(tmp_path)


def test_errors_of_aws_are_translated() -> None:
    expired = ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "GetCallerIdentity")
    known = translate(expired)
    assert isinstance(known, ForbiddenError)
    assert "aws sso login" in known.fix


def test_an_error_nobody_expected_asks_for_debug(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError("oops")) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in said
    assert "--debug" in said


def test_what_an_error_recommends_in_the_sandbox_is_for_the_sandbox(capsys: pytest.CaptureFixture[str]) -> None:
    error = AmianaiError("no", fix="run `amianai db migrate`, `amianai sandbox up` or `amianai --sandbox setup`")
    report(error, sandbox=True)
    assert "`amianai --sandbox db migrate`, `amianai sandbox up` or `amianai --sandbox setup`" in capsys.readouterr().err
    report(error)
    assert "`amianai db migrate`" in capsys.readouterr().err


def test_a_mistyped_command_is_suggested() -> None:
    result = run("stup")
    assert result.exit_code == 2
    assert "Did you mean 'setup'?" in result.stderr


@pytest.mark.parametrize("pair", ["novalue", "=x"])
def test_a_setting_without_key_or_value_is_refused(pair: str) -> None:
    result = run("--set", pair, "status")
    assert result.exit_code == 2
    assert "KEY=VALUE" in result.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"'{AMIANAI}' --help | head -c 1 >/dev/null"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [("--help",), ("up", "--help"), ("doctor", "--policy", "--set", "domain_name=example.com")])
def test_nobody_reads_the_result(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([AMIANAI, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_connection_that_breaks_in_the_middle_of_the_work_is_an_error(command: dict[str, Any]) -> None:
    command["error"] = BrokenPipeError(errno.EPIPE, "Broken pipe")
    result = run("probe")
    assert result.exit_code == 1
    assert "in the middle of the work" in result.stderr
    assert report(BrokenPipeError(errno.EPIPE, "Broken pipe")) == 1


def test_the_version_is_told() -> None:
    assert run("--version").output.startswith("amianai, version ")
