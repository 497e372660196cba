"""Alembic, Django and Drizzle on a stack with `database.migrations_by = external`, with the lines that docs/database.md shows.

The stack had our tables before, which is the hard case: each tool would propose to drop them. What this cannot prove: Prisma, whose engine
is not in the registry.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from amianai_infra.cli.main import cli
from amianai_infra.cli.options import App
from amianai_infra.config import load_settings
from amianai_infra.database import schema
from tests.database import DOMAIN, Database, external

pytestmark = pytest.mark.clients

DOCUMENTED = (Path(__file__).parents[3] / "docs" / "database.md").read_text()
OURS = ("users", "personas", "conversations", "conversation_participants", "messages")
Run = Callable[..., str]


def block(language: str, word: str) -> str:
    """The one block of the page in a language that has a word."""
    (found,) = [part.partition("```")[0] for part in DOCUMENTED.split(f"```{language}\n")[1:] if word in part.partition("```")[0]]
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment with Alembic and Django."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/pip", "install", "-q", "alembic", "django", "psycopg[binary]"], check=True)
    return folder / "bin"


@pytest.fixture
def team(database: Database) -> Database:
    """A stack that had our tables and has gone over to a tool of its own."""
    group = f"/{database.name}/audit"
    database.target.client("logs").create_log_group(logGroupName=group)
    made = Database(database.target, database.outputs.model_copy({"audit_log_group": group}))
    for one in (made, went := external(made)):
        with one.connect(statement_timeout=None) as connection:
            schema.apply(connection, one.target, one.outputs, None, say=lambda _: None)
    return went


@pytest.fixture
def run(team: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a program as `amianai db run` does, in `tmp_path`; gives all that it said."""
    monkeypatch.setenv("AMIANAI_ROOT", str(tmp_path))
    monkeypatch.setenv("ENABLE_DB_ADMIN", "true")
    monkeypatch.setattr(App, "root", tmp_path)
    monkeypatch.setattr(App, "target", team.target)
    monkeypatch.setattr(App, "settings", load_settings({"domain_name": DOMAIN, "database.migrations_by": "external"}, {}, {}))
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: team.outputs)
    monkeypatch.chdir(tmp_path)

    def call(*command: str, code: int = 0) -> str:
        words = ["--sandbox", "db", "run", "--reason", "a test", "--confirm", DOMAIN, "--", *command]
        result = CliRunner().invoke(cli, words)
        said = "".join(capfd.readouterr())
        assert result.exit_code == code, said + result.output
        assert team.secret("migrator")["password"] not in said + result.output
        return said

    return call


def tables(team: Database) -> set[str]:
    with team.connect() as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


ENV = """
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table, create_engine
{documented}
metadata = MetaData()
Table("pages", metadata, Column("id", Integer, primary_key=True))
with connectable.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata{filter})
    with context.begin_transaction():
        context.run_migrations()
"""


def test_alembic(run: Run, team: Database, python: Path, tmp_path: Path) -> None:
    alembic = str(python / "alembic")
    subprocess.run([alembic, "init", "versions_of"], check=True, capture_output=True)
    env = tmp_path / "versions_of" / "env.py"

    def revision(filtered: str) -> str:
        env.write_text(ENV.format(documented=block("python", "include_name"), filter=filtered))
        run(alembic, "revision", "--autogenerate", "-m", "pages")
        (made,) = (tmp_path / "versions_of" / "versions").glob("*.py")
        return made.read_text()

    unfiltered = revision("")
    assert all(f"op.drop_table('{name}')" in unfiltered for name in OURS), "or the filter would filter nothing"
    for file in (tmp_path / "versions_of" / "versions").glob("*.py"):
        file.unlink()
    text = revision(", include_name=include_name")
    assert "op.create_table('pages'" in text
    assert "drop_table" not in text.partition("def downgrade")[0]
    run(alembic, "upgrade", "head")
    run(alembic, "check")
    assert tables(team) == {*OURS, "pages", "alembic_version"}
    with team.connect("application") as connection:
        connection.execute("INSERT INTO pages VALUES (1)")


def test_django(run: Run, team: Database, python: Path, tmp_path: Path) -> None:
    settings = (
        f"import os\n{block('python', 'django.db.backends')}\nINSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth']\n"
    )
    (tmp_path / "settings.py").write_text(f"{settings}DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'\nUSE_TZ = True\n")
    django = ("env", "DJANGO_SETTINGS_MODULE=settings", f"PYTHONPATH={tmp_path}", str(python / "django-admin"))
    run(*django, "migrate")
    run(*django, "makemigrations", "--check")
    assert tables(team) > {*OURS, "django_migrations", "auth_user"}
    assert "class Pages" not in run(*django, "inspectdb", "auth_user")


def test_drizzle(run: Run, team: Database, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "drizzle-kit", "drizzle-orm", "pg"], check=True)
    (tmp_path / "drizzle.config.mjs").write_text(block("js", "tablesFilter"))
    (tmp_path / "schema.mjs").write_text(
        'import { integer, pgTable } from "drizzle-orm/pg-core";\nexport const pages = pgTable("pages", { id: integer().primaryKey() });\n'
    )
    drizzle = str(tmp_path / "node_modules" / ".bin" / "drizzle-kit")
    subprocess.run([drizzle, "generate", "--dialect", "postgresql", "--schema", "schema.mjs", "--out", "drizzle"], check=True)
    run(drizzle, "migrate", "--config", "drizzle.config.mjs")
    with team.connect() as connection:
        assert connection.execute("SELECT count(*) FROM drizzle.__drizzle_migrations").fetchone() == (1,)
    assert tables(team) == {*OURS, "pages"}
