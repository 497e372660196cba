"""The engine's folder in the sandbox and the environment for hand-typed tools."""

from __future__ import annotations

import stat
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml

from amianai_infra.sandbox.ports import Ports
from amianai_infra.sandbox.project import Project, foreign

PORTS = Ports(21_000, 21_001, 21_002)


def project(root: Path) -> Project:
    (root / ".sandbox").mkdir()
    return Project(root, root / ".sandbox")


def test_the_engines_project_is_the_checkouts_own_with_its_program_elsewhere(tmp_path: Path) -> None:
    tracked = "name: amianai-infra\nruntime: python\nbackend: {url: s3://real}\nconfig:\n  amianai-infra:domainName: {type: string}\n"
    (tmp_path / "Pulumi.yaml").write_text(tracked)
    made = project(tmp_path)
    made.prepare()
    written = yaml.safe_load((made.folder / "Pulumi.yaml").read_text())
    assert written["main"] == str(tmp_path)
    assert written["runtime"]["name"] == "python"
    assert written["config"] == {"amianai-infra:domainName": {"type": "string"}}
    assert "backend" not in written
    assert (tmp_path / "Pulumi.yaml").read_text() == tracked


def test_a_command_reads_the_checkouts_project_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: amianai-infra\nruntime: python\n")
    made, load = project(tmp_path), Mock(wraps=yaml.safe_load)
    monkeypatch.setattr(yaml, "safe_load", load)
    for _ in range(3):
        made.prepare()
    assert load.call_count == 1


def test_the_passphrase_is_random_private_and_kept(tmp_path: Path) -> None:
    made = project(tmp_path)
    made.prepare()
    first = made.passphrase_file.read_text()
    made.prepare()
    assert made.passphrase_file.read_text() == first
    assert len(first) >= 32
    assert stat.S_IMODE(made.passphrase_file.stat().st_mode) == 0o600


def test_what_is_printed_leads_to_this_machine_and_holds_no_password(tmp_path: Path) -> None:
    made = project(tmp_path)
    made.keep_passwords(PORTS.postgres, "amianai", {"amianai_admin": "se:cr\\et"})
    values = made.aws_variables(PORTS) | made.engine_variables(PORTS) | made.database_variables(PORTS, tmp_path / "ca.pem")
    assert values["AWS_ENDPOINT_URL"] == "http://127.0.0.1:21000"
    assert values["PULUMI_DEBUG_PROVIDERS"] == "aws:21002"
    assert (values["PGPORT"], values["PGUSER"], values["PGDATABASE"], values["PGSSLMODE"]) == (
        "21001",
        "amianai_admin",
        "amianai",
        "verify-full",
    )
    assert "cr" not in "".join(values[name] for name in values if name.startswith("PG") and name != "PGPASSFILE")


def test_the_password_file_is_private_and_escaped(tmp_path: Path) -> None:
    made = project(tmp_path)
    made.keep_passwords(5432, "amianai", {"amianai_admin": "se:cr\\et"})
    assert stat.S_IMODE(made.password_file.stat().st_mode) == 0o600
    assert made.password_file.read_text().splitlines()[0] == r"localhost:5432:amianai:amianai_admin:se\:cr\\et"


def test_before_there_is_a_database_nothing_names_a_user(tmp_path: Path) -> None:
    assert "PGUSER" not in project(tmp_path).database_variables(PORTS, tmp_path / "ca.pem")


def test_settled_once_the_engine_has_a_stack(tmp_path: Path) -> None:
    made = project(tmp_path)
    assert not made.settled
    stack = made.state / ".pulumi" / "stacks" / "amianai-infra" / "prod.json"
    stack.parent.mkdir(parents=True)
    stack.write_text("{}")
    assert made.settled


def test_misleading_surroundings_are_named() -> None:
    ambient = {"AWS_PROFILE": "prod", "AWS_REGION": "eu-west-1", "PULUMI_ACCESS_TOKEN": "x", "PGSERVICE": "real", "PATH": "/bin"}
    assert foreign(ambient, {"AWS_REGION": "us-east-1"}) == ["AWS_PROFILE", "PGSERVICE", "PULUMI_ACCESS_TOKEN"]
