"""What `amianai env` writes is all that the documented program needs, and no more than it needs."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from amianai_infra.cli.main import cli
from amianai_infra.cli.options import App
from amianai_infra.config import load_settings
from amianai_infra.database import Pool, schema
from tests.database import DOMAIN, Database


@pytest.mark.parametrize("role", ["application", "readonly"])
def test_the_documented_program_is_the_application_and_cannot_change_the_schema(
    shared: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    with shared.connect(statement_timeout=None) as connection:
        schema.apply(connection, shared.target, shared.outputs, None, say=lambda _: None)
    monkeypatch.setattr(App, "root", tmp_path)
    monkeypatch.setattr(App, "target", shared.target)
    monkeypatch.setattr(App, "settings", load_settings({"domain_name": DOMAIN}, {}, {}))
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: shared.outputs)
    monkeypatch.setattr("amianai_infra.site.environment.public_environment", lambda *_, **__: {})
    file = tmp_path / ".env.local"
    result = CliRunner().invoke(
        cli, ["--sandbox", "env", "--file", str(file), *(["--read-only"] if role == "readonly" else [])], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    written = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
    for name, value in written.items():
        monkeypatch.setenv(name, value.strip("'"))
    with Pool.from_environment() as pool:
        assert pool.fetch("SELECT current_user::text") == [(f"{shared.name}_{role}",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            pool.run(lambda db: db.execute("CREATE TABLE mine (one int)"))
