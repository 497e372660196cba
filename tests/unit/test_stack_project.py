"""Pulumi.yaml and Pulumi.prod.yaml say the same as the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_core import PydanticUndefined

from amianai_infra.config import Setting, every_setting, load_settings
from amianai_infra.naming import PROJECT, STACK

ROOT = Path(__file__).parents[2]
PROJECT_FILE = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
SETTINGS = list(every_setting())


def schema(setting: Setting) -> dict[str, Any]:
    """How Pulumi.yaml declares a setting.

    Lists and mappings are declared as text: the engine takes a list for a declared list alone, and `pulumi config set` and the
    environment can only write text.
    """
    default = setting.field.get_default(call_default_factory=True)
    unit = f" ({setting.unit})" if setting.unit else ""
    described = {"description": f"{setting.field.description}{unit}"}
    if default is PydanticUndefined:
        return {"type": "string", **described}
    if isinstance(default, bool):
        return {"type": "boolean", **described, "default": default}
    if isinstance(default, int):
        return {"type": "integer", **described, "default": default}
    if isinstance(default, list):
        return {"type": "string", **described, "default": ",".join(default)}
    if isinstance(default, dict):
        return {"type": "string", **described, "default": ",".join(f"{name}={text}" for name, text in default.items())}
    return {"type": "string", **described, "default": str(default)}


@pytest.mark.parametrize("setting", SETTINGS, ids=[setting.key for setting in SETTINGS])
def test_every_setting_is_declared(setting: Setting) -> None:
    assert PROJECT_FILE["config"][setting.pulumi] == schema(setting)


def test_nothing_else_is_declared() -> None:
    assert set(PROJECT_FILE["config"]) == {setting.pulumi for setting in SETTINGS}


def test_the_project_is_ours() -> None:
    assert PROJECT_FILE["name"] == PROJECT
    assert PROJECT_FILE["runtime"] == {"name": "python", "options": {"virtualenv": ".venv"}}


def test_the_declared_defaults_change_nothing() -> None:
    """The engine hands them to the program like values that somebody wrote."""
    declared = {name: one["default"] for name, one in PROJECT_FILE["config"].items() if "default" in one}
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in declared.items()}
    plain = load_settings({"domain_name": "example.com"}, {}, {})
    assert load_settings({"domain_name": "example.com"}, {}, declared) == plain
    assert load_settings({"domain_name": "example.com"}, {}, texts) == plain


def test_the_tracked_stack_file_chooses_nothing_for_anybody() -> None:
    stack = yaml.safe_load((ROOT / f"Pulumi.{STACK}.yaml").read_text())
    assert stack == {"config": {"aws:region": "us-east-1"}}
