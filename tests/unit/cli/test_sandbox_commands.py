"""`amianai sandbox ...` without daemons: what it prints and what it refuses."""

from __future__ import annotations

import json
import os
import shlex
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from amianai_infra.cli.main import cli
from amianai_infra.cli.sandbox import _lines
from amianai_infra.sandbox import Sandbox


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: amianai-infra\nruntime: python\n")
    monkeypatch.setenv("AMIANAI_ROOT", str(tmp_path))
    return tmp_path


def amianai(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_status_before_the_first_start(checkout: Path) -> None:
    shown = amianai("sandbox", "status")
    assert shown.exit_code == 0
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [[name, "stopped"] for name in Sandbox.NAMES]


def test_status_for_programs(checkout: Path) -> None:
    data = json.loads(amianai("sandbox", "status", "--json").stdout)
    assert [(one["name"], one["state"], one["pid"]) for one in data] == [(name, "stopped", None) for name in Sandbox.NAMES]


def test_env_is_what_a_shell_takes_and_unsets_what_would_mislead(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    lines = amianai("sandbox", "env").stdout.splitlines()
    assert "unset AWS_PROFILE" in lines
    exported = dict(shlex.split(line)[1].partition("=")[::2] for line in lines if line.startswith("export "))
    plain = json.loads(amianai("sandbox", "env", "--json").stdout)
    assert {name: exported[name] for name in plain} == plain
    assert plain["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")


def test_a_shell_can_be_led_away_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in json.loads(amianai("sandbox", "env", "--json").stdout).items():
        monkeypatch.setenv(name, value)
    refused = amianai("doctor", "--policy")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"AMIANAI_SANDBOX = {checkout}" in refused.stderr
    printed = amianai("sandbox", "env", "--unset").stdout.splitlines()
    assert amianai("sandbox", "env", "--unset", "--shell", "fish").stdout.splitlines()[0] == "set -e AWS_CONFIG_FILE"
    for line in printed:
        word, name = line.split()
        assert word == "unset"
        monkeypatch.delenv(name, raising=False)
    assert not [name for name in os.environ if name.startswith(("AWS_", "PULUMI_", "PG", "AMIANAI_SANDBOX"))]
    monkeypatch.setenv("DOMAIN_NAME", "example.com")
    assert amianai("doctor", "--policy").exit_code == 0


def test_env_for_fish_and_for_odd_paths() -> None:
    lines = list(_lines({"PGSSLROOTCERT": "/a b/it's.pem"}, ["AWS_PROFILE"], Path("/cache/bin"), fish=True))
    assert lines[0] == "set -e AWS_PROFILE"
    assert lines[1].startswith("set -gx PGSSLROOTCERT ")
    assert lines[2] == "set -gx PATH /cache/bin $PATH"
    assert shlex.split(next(iter(_lines({"A": "/a b/it's.pem"}, [], None, fish=False)))) == ["export", "A=/a b/it's.pem"]


@pytest.mark.parametrize("arguments", [[], ["--yes"], ["--confirm", "yes"], ["--confirm", "example.test"]])
def test_reset_needs_the_word(checkout: Path, arguments: list[str]) -> None:
    Sandbox(checkout).ports()
    refused = amianai("sandbox", "reset", *arguments)
    assert refused.exit_code == 3
    assert "nothing was changed" in refused.stderr
    assert (checkout / ".sandbox" / "ports.json").is_file()


def test_reset_removes_what_is_there(checkout: Path) -> None:
    Sandbox(checkout).ports()
    assert amianai("sandbox", "reset", "--confirm", "sandbox").exit_code == 0
    assert [path.name for path in (checkout / ".sandbox").iterdir()] == ["lock"]


@pytest.mark.parametrize(("pid", "code"), [(os.getpid(), 4), (2**22 + 1, 0)], ids=["of a process", "of none"])
def test_reset_waits_for_nobody_and_takes_nothing_from_under_an_engine(checkout: Path, pid: int, code: int) -> None:
    Sandbox(checkout).ports()
    backend = checkout / ".sandbox/state/.pulumi"
    lock = backend / "locks/organization/amianai-infra/prod/6f2c.json"
    state = backend / "stacks/amianai-infra/prod.json"
    for file, text in (
        (state, "{}"),
        (lock, json.dumps({"pid": pid, "username": "ada", "hostname": socket.gethostname(), "timestamp": f"{datetime.now(UTC):%FT%TZ}"})),
    ):
        file.parent.mkdir(parents=True)
        file.write_text(text)
    done = amianai("sandbox", "reset", "--confirm", "sandbox")
    assert done.exit_code == code, done.output
    assert state.exists() is bool(code)
    assert (f"process {pid}" in done.stderr) is bool(code)


def test_logs_before_there_are_any(checkout: Path) -> None:
    shown = amianai("sandbox", "logs", "emulator")
    assert shown.exit_code == 1
    assert "amianai sandbox up" in shown.stderr


def test_the_last_lines_of_a_log(checkout: Path) -> None:
    made = Sandbox(checkout)
    made.ports()
    made.log_files()["postgres"].write_text("".join(f"line {number}\n" for number in range(10)))
    assert amianai("sandbox", "logs", "-n", "2", "postgres").stdout == "postgres | line 8\npostgres | line 9\n"
    assert amianai("sandbox", "logs", "dynamo").exit_code == 2


def test_a_bad_port_is_a_usage_error(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMIANAI_SANDBOX_PORT", "http")
    for command in ("up", "env"):
        refused = amianai("sandbox", command)
        assert refused.exit_code == 2
        assert "1150 to 65533" in refused.stderr
