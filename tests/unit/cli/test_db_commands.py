"""The `db` group: what it asks before it acts, and what it prints. The work itself is tested against a real server."""

from __future__ import annotations

import pytest

from amianai_infra.cli.db import COMMANDS
from tests.unit.cli.test_main import run


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_loads_and_its_help_shows_an_example(name: str) -> None:
    result = run("db", name, "--help")
    assert result.exit_code == 0, result.output
    assert "amianai" in result.output.partition("\n")[2]


def test_a_mistyped_command_gets_a_suggestion() -> None:
    assert "Did you mean 'migrate'" in run("db", "migrat").output


@pytest.mark.parametrize("value", ["nowhere:1", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "db.example.com:5432", ":1"])
def test_where_to_connect_is_an_address(value: str) -> None:
    result = run("db", "--at", value, "url")
    assert result.exit_code == 2
    assert "--at" in result.output
