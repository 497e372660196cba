"""What each client is told: verified in its own terms, and no password."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from psycopg.conninfo import conninfo_to_dict

from amianai_infra.database.clients import CLIENTS, ConnectionDetails, lines, note
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.rules.connections import max_connections, pool_size

HERE = Endpoint("db.example.com", 5432, "amianai", Path('/a "b"/it\'s/ca.pem'))
SECRET = "arn:aws:secretsmanager:us-east-1:1:secret:x"
AWS = ConnectionDetails(HERE, "amianai_application", SECRET)
SANDBOX = ConnectionDetails(HERE, "amianai_application", SECRET, Path("/a b/pgpass"))
TUNNEL = ConnectionDetails(HERE.at(("127.0.0.1", 15432)), "amianai_application", SECRET)
JAVASCRIPT = ("node-postgres", "postgres.js", "prisma", "drizzle")
WEAK = re.compile(r"sslmode\W+(?!verify-full)\w|rejectUnauthorized: false|CERT_NONE|no-verify|check_hostname")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("details", [AWS, SANDBOX, TUNNEL])
def test_every_form_verifies_and_names_the_authority(client: str, details: ConnectionDetails) -> None:
    text = "\n".join(lines(client, details))
    assert not WEAK.search(text)
    assert re.search(r"verify-full|rejectUnauthorized: true|create_default_context", text)
    assert "ca.pem" in text
    assert "amianai_application" in text
    assert "db.example.com" in text


@pytest.mark.parametrize("client", ["sqlalchemy", "sqlalchemy-asyncpg", "django"])
@pytest.mark.parametrize("details", [AWS, SANDBOX, TUNNEL])
def test_python_is_python_and_its_paths_are_whole(client: str, details: ConnectionDetails) -> None:
    tree = ast.parse("\n".join(lines(client, details)))
    texts = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    in_url = {value for text in texts for value in parse_qs(urlsplit(text).query).get("sslrootcert", [])}
    assert str(HERE.ca) in texts | in_url


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript_is_javascript_and_its_paths_are_whole(tmp_path: Path) -> None:
    for client in JAVASCRIPT:
        code = "\n".join(lines(client, TUNNEL))
        assert ("// The password comes from PGPASSWORD;" in code) == (client == "postgres.js")
        (tmp_path / f"{client}.mjs").write_text(code)
        checked = subprocess.run(["node", "--check", str(tmp_path / f"{client}.mjs")], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert r'readFileSync("/a \"b\"/it' in code


def test_through_a_tunnel_the_name_is_verified_and_the_address_connected_to() -> None:
    for client in JAVASCRIPT:
        code = "\n".join(lines(client, TUNNEL))
        assert 'host: "127.0.0.1",\n  port: 15432,' in code
        assert 'servername: "db.example.com"' in code
    known = conninfo_to_dict(lines("libpq", TUNNEL)[0])
    assert (known["host"], known["hostaddr"], known["port"]) == ("db.example.com", "127.0.0.1", "15432")
    assert django(TUNNEL)["OPTIONS"]["hostaddr"] == "127.0.0.1"
    told = {client for client in CLIENTS if note(client, TUNNEL)}
    assert told == {"sqlalchemy-asyncpg", "jdbc"}, "they know one name, for both"
    assert not any(note(client, SANDBOX) for client in CLIENTS)


def django(details: ConnectionDetails) -> Any:
    code = "\n".join(lines("django", details))
    return ast.literal_eval(code[code.index("{") :])["default"]


def test_djangos_options_are_libpqs() -> None:
    found = django(SANDBOX)
    assert (found["HOST"], found["PORT"], found["NAME"], found["USER"]) == ("db.example.com", 5432, "amianai", "amianai_application")
    assert found["OPTIONS"] == {"sslmode": "verify-full", "sslrootcert": str(HERE.ca), "passfile": "/a b/pgpass"}


def test_a_url_is_one_line_and_nothing_else() -> None:
    for client in ("libpq", "jdbc"):
        (line,) = lines(client, SANDBOX)
        assert parse_qs(urlsplit(line.removeprefix("jdbc:")).query)["sslrootcert"] == [str(HERE.ca)]


def test_where_the_password_is() -> None:
    """In code as a comment: the secret on AWS, the file in the sandbox where the client takes one."""
    for client in set(CLIENTS) - {"libpq", "jdbc"}:
        assert SECRET in "\n".join(lines(client, AWS))
        assert ("/a b/pgpass" in "\n".join(lines(client, SANDBOX)).replace("%20", " ")) == (client not in JAVASCRIPT)


PAGE = (Path(__file__).parents[3] / "docs" / "servers.md").read_text(encoding="utf-8")


def test_the_page_has_every_client() -> None:
    assert tuple(re.findall(r"^\| `([a-z][a-z.-]+)`", PAGE, re.MULTILINE)) == CLIENTS


def test_the_page_has_the_sizes_of_the_code() -> None:
    rows = re.findall(r"^\| (db\.\S+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for name, most, size, processes in rows:
        assert (int(most), int(size)) == (max_connections(name), pool_size(name).most)
        assert 2 * int(processes) * int(size) <= int(most) < 2 * (int(processes) + 1) * int(size)
