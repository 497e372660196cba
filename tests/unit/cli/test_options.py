from __future__ import annotations

import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.cli.options import App, DurationType, find_root
from amianai_infra.errors import ConfigurationError, RefusedError


def project(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Pulumi.yaml").write_text("name: amianai-infra\nruntime: python\n")
    return folder


def test_the_root_is_the_nearest_project_above(tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    inside = root / "a" / "b"
    inside.mkdir(parents=True)
    assert find_root({}, inside) == root


def test_a_foreign_pulumi_project_is_not_the_root(tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    foreign = root / "other"
    foreign.mkdir()
    (foreign / "Pulumi.yaml").write_text("name: something-else\n")
    assert find_root({}, foreign) == root


def test_the_root_may_be_named(tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    assert find_root({"AMIANAI_ROOT": str(root)}, Path("/")) == root


@pytest.mark.parametrize("name", ["", "name: something-else\n"])
def test_a_named_root_that_is_no_project_is_refused(tmp_path: Path, name: str) -> None:
    if name:
        (tmp_path / "Pulumi.yaml").write_text(name)
    project(tmp_path / "inner")
    with pytest.raises(ConfigurationError, match="not an amianai-infra project") as caught:
        find_root({"AMIANAI_ROOT": str(tmp_path)}, tmp_path / "inner")
    assert caught.value.exit_code == 2
    assert caught.value.where == f"AMIANAI_ROOT = {tmp_path}"


def test_elsewhere_the_checkout_of_the_code_is_the_root(tmp_path: Path) -> None:
    checkout = Path(__file__).parents[3]
    assert find_root({}, tmp_path) == checkout


def app(tmp_path: Path, **more: object) -> App:
    root = project(tmp_path)
    return App(environ={"AMIANAI_ROOT": str(root), "DOMAIN_NAME": "example.com"}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ["target", "settings"])
@pytest.mark.parametrize(
    "led",
    [
        {"AMIANAI_SANDBOX": "/another/checkout"},
        {"AMIANAI_SANDBOX": "/another/checkout", "AMIANAI_TARGET": "aws"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:21000"},
        {"AWS_ENDPOINT_URL_S3": "http://localhost:21000/"},
    ],
)
def test_a_shell_that_is_led_to_the_sandbox_is_not_taken_for_aws(tmp_path: Path, led: dict[str, str], command: str) -> None:
    made = app(tmp_path)
    made.environ = {**made.environ, **led}
    (tmp_path / ".sandbox").mkdir()
    (tmp_path / ".sandbox" / "ports.json").write_text('{"emulator": 21000, "postgres": 21001, "provider": 21002}')
    with pytest.raises(ConfigurationError, match="leads AWS clients to a sandbox") as caught:
        getattr(made, command)
    name, value = next(iter(led.items()))
    assert caught.value.where == f"environment: {name} = {value}"
    assert "--sandbox" in caught.value.fix
    assert "amianai sandbox env --unset" in caught.value.fix
    assert caught.value.exit_code == 2
    made.sandbox = True
    assert getattr(made, command)


@pytest.mark.parametrize(
    "led",
    [
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"},
        {"AWS_ENDPOINT_URL": "https://vpce-1.s3.us-east-1.vpce.amazonaws.com:21000"},
        {"AWS_ENDPOINT_URL": "http://[::1"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:21000", "AMIANAI_TARGET": "aws"},
        {"AWS_ENDPOINT_URL": ""},
    ],
)
def test_an_address_of_ones_own_is_respected(tmp_path: Path, led: dict[str, str]) -> None:
    made = app(tmp_path)
    made.environ = {**made.environ, **led}
    (tmp_path / ".sandbox").mkdir()
    (tmp_path / ".sandbox" / "ports.json").write_text('{"emulator": 21000, "postgres": 21001, "provider": 21002}')
    assert made.target.name == "aws"
    assert made.target.endpoint("s3") == led["AWS_ENDPOINT_URL"]


def test_settings_come_from_flag_environment_and_stack_file(tmp_path: Path) -> None:
    made = app(tmp_path, flags={"database.storage_gib": "30"})
    (tmp_path / "Pulumi.prod.yaml").write_text("config:\n  amianai-infra:domainName: example.org\n  amianai-infra:databaseName: other\n")
    assert made.settings.domain_name == "example.com"
    assert made.settings.database.storage_gib == 30
    assert made.settings.database.name == "other"


def test_another_stack_file_is_read_instead_and_must_exist(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    made = app(tmp_path, config_file=file)
    with pytest.raises(ConfigurationError, match="does not exist"):
        _ = made.settings
    file.write_text("config:\n  amianai-infra:prefix: piglet\n")
    assert app(tmp_path, config_file=file).settings.prefix == "piglet"


def test_the_sandbox_has_a_stack_file_of_its_own(tmp_path: Path) -> None:
    assert app(tmp_path, sandbox=True).stack_file == tmp_path / ".sandbox/project/Pulumi.prod.yaml"


def test_the_sandbox_never_becomes_aws_and_aws_never_the_sandbox(tmp_path: Path) -> None:
    assert app(tmp_path).target.name == "aws"
    assert app(tmp_path, sandbox=True).target.name == "sandbox"


def test_the_sandbox_starts_on_the_screen_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that draw at the same time write escape sequences over each other's lines."""
    drawn: list[object] = []
    monkeypatch.setattr("amianai_infra.sandbox.sandbox.Sandbox.start", lambda self, progress: drawn.append(progress))
    made = app(tmp_path, sandbox=True)
    made.target.ready()
    assert drawn == [made.progress]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_yes_answers_ordinary_questions(tmp_path: Path) -> None:
    app(tmp_path, yes=True).confirm("Change it?")


def test_without_a_terminal_nobody_is_taken_to_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("y\n"))
    with pytest.raises(RefusedError, match="--yes"):
        app(tmp_path).confirm("Change it?")


def test_a_person_may_say_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(click, "confirm", lambda *_, **__: False)
    with pytest.raises(RefusedError, match="nothing was changed"):
        app(tmp_path).confirm("Change it?")


@pytest.mark.parametrize("given", ["example.org", "", "yes", "Example.com"])
def test_only_the_domain_confirms_what_can_lose_data(tmp_path: Path, given: str) -> None:
    with pytest.raises(RefusedError) as caught:
        app(tmp_path, yes=True).confirm_domain(given, "This removes it", "example.com")
    assert caught.value.exit_code == 3


def test_yes_is_no_confirmation_of_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO())
    with pytest.raises(RefusedError, match="as confirmation"):
        app(tmp_path, yes=True).confirm_domain(None, "This removes it", "example.com")


@pytest.mark.parametrize("answer", [True, False])
def test_what_is_offered_is_asked_of_a_person_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr(click, "confirm", lambda *_, **__: answer)
    monkeypatch.setattr(sys, "stdin", StringIO())
    assert not app(tmp_path).offer("Adopt it?")
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert app(tmp_path).offer("Adopt it?") is answer
    assert not app(tmp_path, yes=True).offer("Adopt it?"), "--yes chooses nothing"


def test_what_was_chosen_is_a_setting_from_then_on(tmp_path: Path) -> None:
    made = app(tmp_path, flags={"domain_name": "example.com"})
    assert made.settings.dns.zone_id == ""
    made.choose("dns.zone_id", "Z1")
    assert made.settings.dns.zone_id == "Z1"


def test_the_domain_confirms_given_or_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app(tmp_path).confirm_domain("example.com", "This removes it", "example.com")
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(click, "prompt", lambda *_, **__: " example.com ")
    app(tmp_path).confirm_domain(None, "This removes it", "example.com")


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("2d", 172800), (" 5M ", 300)])
def test_durations(text: str, seconds: int) -> None:
    assert DurationType().convert(text, None, None) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "30", "m", "1.5h", "-3m", "3 m", "0s", "31d"])
def test_what_is_no_duration_or_out_of_range(text: str) -> None:
    with pytest.raises(click.BadParameter):
        DurationType().convert(text, None, None)


@given(st.integers(1, 29), st.integers(0, 23), st.integers(0, 59))
def test_durations_add_up(days: int, hours: int, minutes: int) -> None:
    assert DurationType().convert(f"{days}d{hours}h{minutes}m", None, None) == timedelta(days=days, hours=hours, minutes=minutes)


def test_an_absolute_directory_is_for_once_and_not_for_the_committed_file(tmp_path: Path) -> None:
    environ = {"AMIANAI_ROOT": str(project(tmp_path)), "DOMAIN_NAME": "example.com"}
    assert App(flags={"site.directory": "/home/me/web"}, environ=environ).settings.site.directory == "/home/me/web"
    (tmp_path / "Pulumi.prod.yaml").write_text("config:\n  amianai-infra:siteDirectory: /home/me/web\n")
    with pytest.raises(ConfigurationError, match="this file is committed") as caught:
        _ = App(environ=environ).settings
    assert caught.value.where.endswith("Pulumi.prod.yaml")
