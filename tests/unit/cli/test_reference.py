from __future__ import annotations

from pathlib import Path

import pytest

from amianai_infra.cli.main import COMMANDS
from amianai_infra.cli.reference import cli_page, main, pages, settings_page
from amianai_infra.config import every_setting

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", ["cli.md", "settings.md"])
def test_the_generated_pages_are_up_to_date(name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == pages()[name], "run `python -m amianai_infra.cli.reference`"


def test_every_command_is_there_with_its_subcommands() -> None:
    text = cli_page()
    for name in COMMANDS:
        assert f"## amianai {name}\n" in text
    assert "## amianai state unlock\n" in text
    assert "`--confirm DOMAIN`" in text


def test_every_setting_is_there_with_all_its_spellings() -> None:
    text = settings_page()
    for setting in every_setting():
        assert f"| `{setting.key}` | `{setting.environment}` | `{setting.pulumi.partition(':')[2]}` |" in text
    assert "none, single, per-az" in text
    assert "20 to 65536" in text


def test_writing(tmp_path: Path) -> None:
    main(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cli.md", "settings.md"]
