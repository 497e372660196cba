"""`db dump` and `db load` against a real server, with the programs that the sandbox brings."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from amianai_infra.cli.main import cli
from amianai_infra.cli.options import App
from amianai_infra.config import load_settings
from amianai_infra.database import dumps, schema
from amianai_infra.database.gate import ENABLE
from tests.database import DOMAIN, Database

Run = Callable[..., Result]
GIVEN = ("--confirm", DOMAIN, "--reason", "a test")


@pytest.fixture
def run(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `amianai --sandbox db ...` in a folder of its own, on a migrated database with a few rows, no programs of PostgreSQL on PATH."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "0001_more.sql").write_text(
        "CREATE EXTENSION citext;\nCREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY, name citext UNIQUE);\n"
        "CREATE VIEW names AS SELECT name FROM things;\nINSERT INTO things (name) VALUES ('one'), ('two');\n"
    )
    group = f"/{database.name}/audit"
    database.target.client("logs").create_log_group(logGroupName=group)
    outputs = database.outputs.model_copy({"audit_log_group": group})
    monkeypatch.setattr(App, "root", tmp_path)
    monkeypatch.setattr(App, "target", database.target)
    monkeypatch.setattr(App, "settings", load_settings({"domain_name": DOMAIN, "database.migrations": "own"}, {}, {}))
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: outputs)
    monkeypatch.setattr(dumps, "_folders", lambda environ: iter(()))
    monkeypatch.chdir(tmp_path)
    with database.connect(statement_timeout=None) as connection:
        schema.apply(connection, database.target, outputs, tmp_path / "own", say=lambda _: None)

    def call(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["--sandbox", "db", *arguments])
        assert result.exit_code == code, result.output
        return result

    return call


def rows(database: Database, query: Any) -> list[Any]:
    with database.connect() as connection:
        return connection.execute(query).fetchall()


STATE = """SELECT array(SELECT name::text FROM names ORDER BY 1), (SELECT last_value FROM things_id_seq),
    (SELECT count(*) FROM amianai_migrations.applied), to_regclass('newer'), has_table_privilege(%s, 'things', 'UPDATE')"""


def test_what_was_dumped_is_what_is_loaded(run: Run, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENABLE, "true")

    def state() -> Any:
        with database.connect() as connection:
            return connection.execute(STATE, (f"{database.name}_application",)).fetchone()

    before = state()
    assert before == (["one", "two"], 2, 3, None, True)
    assert "before.dump" in run("dump", "before.dump").stdout
    assert stat.S_IMODE((tmp_path / "before.dump").stat().st_mode) == 0o600
    with database.connect() as connection:
        connection.execute("DELETE FROM things; INSERT INTO things (name) VALUES ('three'); CREATE TABLE newer (id int)")
        connection.execute("DELETE FROM amianai_migrations.applied WHERE source <> 'amianai'")
    records = rows(database, "SELECT count(*) FROM amianai_audit.records")[0][0]
    plan = run("load", "before.dump", "--dry-run").stdout
    assert "DROP TABLE IF EXISTS newer CASCADE" in plan
    assert "tables come" in plan
    assert "is loaded" in run("load", "before.dump", *GIVEN).stdout
    assert state() == before
    assert rows(database, "SELECT count(*) FROM amianai_audit.records")[0][0] == records + 2
    last = rows(database, "SELECT action, outcome, detail FROM amianai_audit.records WHERE outcome = 'done' ORDER BY at DESC LIMIT 1")[0]
    assert last[0] == "load"
    assert "before.dump sha256:" in last[2]
    with database.connect("application") as connection:
        connection.execute("INSERT INTO things (name) VALUES ('four')")


def test_one_that_is_cut_off_changes_nothing(run: Run, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its list is whole, at its beginning; the rows are not."""
    monkeypatch.setenv(ENABLE, "true")
    with database.connect() as connection:
        connection.execute("INSERT INTO things (name) SELECT md5(n::text) FROM generate_series(1, 20000) n")
    run("dump", "whole.dump")
    whole = (tmp_path / "whole.dump").read_bytes()
    (tmp_path / "cut.dump").write_bytes(whole[: len(whole) - 100_000])
    shown = run("load", "cut.dump", *GIVEN, code=1)
    assert "nothing was changed" in shown.output
    assert rows(database, "SELECT count(*) FROM things") == [(20_002,)]


def test_without_the_gate_nothing_is_loaded(run: Run, database: Database, tmp_path: Path) -> None:
    run("dump", "a.dump")
    shown = run("load", "a.dump", *GIVEN, code=3)
    assert ENABLE in shown.output
    assert "exists" in run("dump", "a.dump", code=3).output
    assert rows(database, "SELECT DISTINCT outcome FROM amianai_audit.records WHERE action = 'dump' AND phase = 'ended'") == [("done",)]
    (tmp_path / "none.dump").write_text("CREATE TABLE t ();")
    assert "not a dump that can be loaded" in run("load", "none.dump", "--dry-run", code=3).output


def test_the_programs_are_the_servers_version_and_verify_it(database: Database) -> None:
    folder = database.target.client_programs()
    assert folder is not None
    assert dumps._major(folder) == 16
