"""The lines of `db url --for`, run by the very clients: `pytest -n0 -m clients` (needs the npm, PyPI and Maven registries).

What is installed stays in `AMIANAI_TEST_CLIENTS`, or pytest's cache. Prisma's command line needs an engine that its own host serves; what
is tested of it is the adapter, which is all of the connection that Prisma Client has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from amianai_infra.database import schema
from amianai_infra.database.clients import CLIENTS, ConnectionDetails, lines
from amianai_infra.database.credentials import role_name, secret_arn
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.sandbox.certificates import ensure_certificates
from tests.database import Database

pytestmark = pytest.mark.clients

NPM = ("pg@8.23.1", "postgres@3.4.9", "drizzle-orm@0.45.4", "drizzle-kit@0.31.11", "@prisma/adapter-pg@7.10.1")
PYPI = ("SQLAlchemy==2.1.9", "psycopg[binary]==3.3.9", "asyncpg==0.32.0", "greenlet", "Django==5.2.19")
MAVEN = "org.postgresql:postgresql:42.7.8"
QUERY = "SELECT current_user || ' ' || ssl::text AS who FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

# What each one's program says after the lines.
AFTER = {
    "node-postgres": "console.log((await pool.query(QUERY)).rows[0].who); await pool.end();",
    "postgres.js": "console.log((await sql.unsafe(QUERY))[0].who); await sql.end();",
    "prisma": "const at = await adapter.connect();"
    "console.log((await at.queryRaw({ sql: QUERY, args: [], argTypes: [] })).rows[0][0]); await at.dispose();",
    "drizzle": "console.log((await db.execute(QUERY)).rows[0].who); await db.$client.end();",
    "sqlalchemy": "with engine.connect() as c: print(c.exec_driver_sql(QUERY).scalar_one())",
    "sqlalchemy-asyncpg": """
import asyncio
async def main():
    async with engine.connect() as c: print((await c.exec_driver_sql(QUERY)).scalar_one())
    await engine.dispose()
asyncio.run(main())""",
    "django": """
import django; from django.conf import settings; settings.configure(DATABASES=DATABASES); django.setup()
from django.db import connection
with connection.cursor() as c:
    c.execute(QUERY); print(c.fetchone()[0])""",
}
JAVA = """
import java.sql.*;
public class Main {
  public static void main(String[] given) throws Exception {
    try (Connection c = DriverManager.getConnection(given[0]); ResultSet r = c.createStatement().executeQuery(given[1])) {
      r.next(); System.out.println(r.getString(1));
    }
  }
}
"""


@dataclass(frozen=True)
class Installed:
    """Where the clients are."""

    node: Path
    python: Path
    jar: Path


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest) -> Installed:
    chosen = os.environ.get("AMIANAI_TEST_CLIENTS")
    home = Path(chosen) if chosen else request.config.cache.mkdir("clients")
    node, python, java = home / "node", home / "python", home / "java"
    environ = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    if not (node / "node_modules" / "pg").is_dir():
        node.mkdir(parents=True, exist_ok=True)
        (node / "package.json").write_text('{"type": "module", "private": true}')
        subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *NPM], cwd=node, env=environ, check=True)
    if not (python / "bin" / "django-admin").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(python)], env=environ, check=True)
        subprocess.run([str(python / "bin" / "pip"), "install", "--quiet", *PYPI], env=environ, check=True)
    if shutil.which("mvn") and not list(java.glob("*.jar")):
        options = (f"-Dartifact={MAVEN}", f"-DoutputDirectory={java}")
        subprocess.run(["mvn", "-q", "-B", "dependency:copy", *options], env=environ, check=True)
    return Installed(node, python / "bin" / "python", next(java.glob("*.jar"), java))


@pytest.fixture(scope="module")
def details(shared: Database) -> ConnectionDetails:
    with shared.connect(statement_timeout=None) as connection:
        schema.apply(connection, shared.target, shared.outputs, None, say=lambda _: None)
    logins = {shared.secret(role)["username"]: shared.secret(role)["password"] for role in ("application", "readonly")}
    project, database = shared.target.sandbox.project, shared.outputs.database
    project.keep_passwords(database.port, database.name, logins)
    endpoint = Endpoint.of(shared.target, shared.outputs)
    return ConnectionDetails(
        endpoint, role_name(shared.outputs, "application"), secret_arn(shared.outputs, "application"), project.password_file
    )


Run = Callable[[str, ConnectionDetails], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(installed: Installed, tmp_path: Path, shared: Database) -> Run:
    """Runs a client's own program with its lines; the password as its documentation says, from the environment."""

    def call(client: str, details: ConnectionDetails) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "PYTHONPATH"}
        if client == "postgres.js":
            environ["PGPASSWORD"] = shared.secret("application")["password"]
        elif client not in ("libpq", "sqlalchemy", "sqlalchemy-asyncpg", "django"):
            environ["PGPASSFILE"] = str(details.password_file)
        code = "\n".join(lines(client, details))
        if client == "libpq":
            command = [shutil.which("psql") or pytest.skip("psql is not installed"), "-XAtwc", QUERY, code]
        elif client == "jdbc":
            if shutil.which("java") is None or not installed.jar.is_file():
                pytest.skip("Java and Maven are not installed")
            (tmp_path / "Main.java").write_text(JAVA)
            command = ["java", "-cp", str(installed.jar), str(tmp_path / "Main.java"), code, QUERY]
        elif code.startswith("//"):
            file = installed.node / f"{tmp_path.name}.mjs"
            file.write_text(f"{code}\nconst QUERY = {json.dumps(QUERY)};\n{AFTER[client]}\n")
            command = ["node", str(file)]
        else:
            file = tmp_path / "main.py"
            file.write_text(f"{code}\nQUERY = {QUERY!r}\n{AFTER[client]}\n")
            command = [str(installed.python), str(file)]
        return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    return call


@pytest.mark.parametrize("client", CLIENTS)
def test_it_connects_as_the_role_over_tls(run: Run, details: ConnectionDetails, client: str) -> None:
    done = run(client, details)
    assert done.stdout == f"{details.user} true\n", done.stderr


@pytest.mark.parametrize("client", CLIENTS)
def test_another_authority_is_refused(run: Run, details: ConnectionDetails, tmp_path: Path, client: str) -> None:
    other = replace(details.endpoint, ca=ensure_certificates(tmp_path / "tls").ca)
    done = run(client, replace(details, endpoint=other))
    assert done.returncode != 0
    assert details.user not in done.stdout
    assert re.search(r"certificate|unable to get local issuer|PKIX|self.signed", done.stdout + done.stderr, re.IGNORECASE), done.stderr


@pytest.mark.parametrize("client", CLIENTS)
def test_another_name_is_refused(run: Run, details: ConnectionDetails, client: str) -> None:
    """A name that leads to the same server, which shows a certificate for others."""
    done = run(client, replace(details, endpoint=replace(details.endpoint, host="db.localhost", address="127.0.0.1")))
    assert done.returncode != 0
    assert details.user not in done.stdout


def test_drizzle_pulls_the_teams_tables_and_no_others(installed: Installed, details: ConnectionDetails, tmp_path: Path) -> None:
    folder = installed.node
    shutil.rmtree(folder / "pulled", ignore_errors=True)
    (folder / "connection.mjs").write_text("\n".join(lines("drizzle", details)))
    (folder / "drizzle.config.mjs").write_text(
        'import { connection } from "./connection.mjs";\n'
        'export default { dialect: "postgresql", out: "./pulled", dbCredentials: connection };\n'
    )
    environ = {**os.environ, "PGPASSFILE": str(details.password_file)}
    command = ["npx", "--no-install", "drizzle-kit", "pull", "--config=drizzle.config.mjs"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)
    found = (folder / "pulled" / "schema.ts").read_text() if done.returncode == 0 else done.stdout + done.stderr
    assert "conversationParticipants" in found
    assert "pg_stat" not in found


def test_django_inspects_the_teams_tables_and_no_others(installed: Installed, details: ConnectionDetails, tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("\n".join(lines("django", details)))
    command = [str(installed.python), "-m", "django", "inspectdb", "--include-views", "--settings=settings", f"--pythonpath={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "class ConversationParticipants" in done.stdout
    assert "PgStat" not in done.stdout
