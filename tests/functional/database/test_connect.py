"""Connections: verified TLS and nothing less, logins that are read again, errors that say what is wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from amianai_infra.database import schema
from amianai_infra.database.credentials import FixedCredentials, Login, role_name
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.session import connect, open_connection
from amianai_infra.database.shell import sweep
from amianai_infra.errors import AmianaiError, ForbiddenError, NotFoundError, UnreachableError, UntrustedError
from amianai_infra.sandbox.certificates import ensure_certificates
from tests.database import Database


def endpoint_of(database: Database) -> Endpoint:
    return Endpoint.of(database.target, database.outputs)


def refused(endpoint: Endpoint, database: Database) -> AmianaiError:
    login = database.secret()
    source = FixedCredentials(Login(login["username"], login["password"]))
    with pytest.raises(AmianaiError) as caught:
        open_connection(endpoint, source, application_name="test")
    assert login["password"] not in str(caught.value)
    return caught.value


def test_it_connects_as_the_owner_over_verified_tls(shared: Database) -> None:
    with shared.connect() as connection:
        query = "SELECT current_user, current_database(), ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert connection.execute(query).fetchone() == (f"{shared.name}_admin", shared.name, True, "TLSv1.3")
        shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in ("application_name", "statement_timeout")}
        assert shown == {"application_name": ("amianai owner",), "statement_timeout": ("30s",)}
        assert connection.autocommit


def test_the_limits_of_a_connection(shared: Database) -> None:
    with shared.connect(statement_timeout=None) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
    with shared.connect(database="postgres") as connection:
        assert connection.info.dbname == "postgres"


def test_another_authority(shared: Database, tmp_path: Path) -> None:
    other = ensure_certificates(tmp_path / "tls").ca
    error = refused(dataclasses.replace(endpoint_of(shared), ca=other), shared)
    assert isinstance(error, UntrustedError)
    assert "authority that is not trusted" in error.what
    assert str(other) in error.where


def test_the_authorities_of_rds_do_not_vouch_for_the_sandbox(shared: Database) -> None:
    from amianai_infra.database.endpoint import RDS_CA

    assert "authority that is not trusted" in refused(dataclasses.replace(endpoint_of(shared), ca=RDS_CA), shared).what


def test_another_host_name(shared: Database) -> None:
    endpoint = dataclasses.replace(endpoint_of(shared), host="db.example.com", address="127.0.0.1")
    error = refused(endpoint, shared)
    assert isinstance(error, UntrustedError)
    assert "for another name than db.example.com" in error.what


def test_a_missing_authority(shared: Database, tmp_path: Path) -> None:
    error = refused(dataclasses.replace(endpoint_of(shared), ca=tmp_path / "none.pem"), shared)
    assert "does not exist" in error.what


@contextmanager
def impostor(certificate: Path | None, key: Path | None) -> Iterator[int]:
    """A server that answers PostgreSQL's TLS request with a certificate of its own, or with no TLS at all."""
    context = None
    if certificate and key:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                try:
                    client.recv(8)
                    client.sendall(b"S" if context else b"N")
                    if context:
                        context.wrap_socket(client, server_side=True).close()
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_an_expired_certificate(shared: Database, tmp_path: Path) -> None:
    ensure_certificates(tmp_path, datetime.now(UTC) - timedelta(days=400))
    with impostor(tmp_path / "server.pem", tmp_path / "server.key") as port:
        error = refused(dataclasses.replace(endpoint_of(shared), port=port, ca=tmp_path / "ca.pem"), shared)
    assert isinstance(error, UntrustedError)
    assert "certificate has expired" in error.what


def test_a_server_without_tls(shared: Database) -> None:
    with impostor(None, None) as port:
        error = refused(dataclasses.replace(endpoint_of(shared), port=port), shared)
    assert isinstance(error, UntrustedError)
    assert "offers no TLS" in error.what


OUTRANKED = ("PGHOSTADDR=10.255.255.1", "PGREQUIREAUTH=none", "PGTARGETSESSIONATTRS=standby", "PGSSLCERTMODE=require", "PGSSLCRL=/nowhere")


@pytest.mark.parametrize("variable", ["PGSSLMODE=disable", "PGSSLROOTCERT=/nowhere", "PGHOST=elsewhere", "PGUSER=postgres", *OUTRANKED])
def test_the_environment_does_not_lower_it(shared: Database, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(*variable.split("="))
    with shared.connect() as connection:
        assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)


def test_a_refused_password_is_read_again_once(database: Database) -> None:
    class Stale:
        """Answers with the password as it was, then with the one that is right."""

        def __init__(self) -> None:
            self.answers = [json.dumps({**database.secret(), "password": "was"}), json.dumps(database.secret())]
            self.asked = 0

        def get_secret_value(self, **_: Any) -> dict[str, str]:
            self.asked += 1
            return {"SecretString": self.answers[min(self.asked, 2) - 1]}

    stale = Stale()
    from amianai_infra.database.credentials import SecretCredentials

    clock = iter(range(0, 1000, 10))
    source = SecretCredentials(lambda: stale, "arn", clock=lambda: float(next(clock)))
    with open_connection(endpoint_of(database), source, application_name="test") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert stale.asked == 2


def test_a_wrong_password_is_forbidden(shared: Database) -> None:
    source = FixedCredentials(Login(f"{shared.name}_admin", "wrong-password"))
    with pytest.raises(ForbiddenError) as caught:
        open_connection(endpoint_of(shared), source, application_name="test")
    assert "wrong-password" not in str(caught.value)
    assert "wrong-password" not in repr(source.get())


def test_what_is_absent(shared: Database) -> None:
    with pytest.raises(NotFoundError, match="no such database"):
        shared.connect(database="nowhere")
    with pytest.raises(NotFoundError, match="has no password yet"):
        shared.connect("application")
    without = shared.outputs.model_copy({"database": dataclasses.replace(shared.outputs.database, readonly_secret_arn="")})
    with pytest.raises(NotFoundError, match="amianai up"):
        connect(shared.target, without, "readonly")


def test_nobody_answers(shared: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = refused(dataclasses.replace(endpoint_of(shared), port=port), shared)
    assert isinstance(error, UnreachableError)
    assert "db open" in error.fix


# ---- psql


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_psql_gets_a_private_password_file_that_is_gone_afterwards(shared: Database, tmp_path: Path) -> None:
    from amianai_infra.database.shell import run

    login, out = shared.secret(), tmp_path / "out"
    query = f"SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid() \\g (format=unaligned tuples_only=on) {out}\n"
    script = tmp_path / "script.sql"
    script.write_text(query + f"\\! stat -c '%a %n' $PGPASSFILE >{out}.file; tr '\\0' '\\n' </proc/$PPID/cmdline >{out}.arguments\n")
    environ = {**os.environ, "PGSSLMODE": "disable", "PGPASSWORD": "other", "PGHOST": "elsewhere"}
    code = run(endpoint_of(shared), Login(login["username"], login["password"]), ["-X", "-f", str(script)], environ)
    assert code == 0
    assert out.read_text() == f"{shared.name}_admin|t\n"
    mode, _, file = Path(f"{out}.file").read_text().strip().partition(" ")
    assert mode == "600"
    assert not Path(file).parent.exists()
    assert login["password"] not in Path(f"{out}.arguments").read_text()


SHELL = """
import json, os, sys
from pathlib import Path
from amianai_infra.database.credentials import Login
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.shell import run
user, password, host, port, name, ca = json.loads(sys.stdin.read())
sys.exit(run(Endpoint(host, port, name, Path(ca)), Login(user, password), ["-X", "-c", "SELECT pg_sleep(60)"], os.environ))
"""


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_shell_that_is_ended_leaves_no_password_file(
    shared: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    login, database = shared.secret(), shared.outputs.database
    known = (login["username"], login["password"], database.host, database.port, database.name, str(shared.target.database_ca()))
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", SHELL], stdin=subprocess.PIPE, env=environ, text=True, start_new_session=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(known))
        process.stdin.close()
        deadline = time.monotonic() + 20
        while not list(tmp_path.glob("*/pgpass")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)
        sweep()
        assert list(tmp_path.glob("*/pgpass")), "it is in use"
        process.send_signal(number)
        assert process.wait(20) == (128 + number if number == signal.SIGTERM else -number)
        with suppress(ProcessLookupError):  # psql outlives a kill
            os.killpg(process.pid, signal.SIGKILL)
    sweep()
    assert list(tmp_path.iterdir()) == []


def test_in_the_sandbox_the_url_of_each_role_finds_its_password(shared: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `psql "$(amianai --sandbox db url)"`, in a shell of the sandbox (PGPASSFILE) and in any other (the URL names the file)."""
    with shared.connect(statement_timeout=None) as connection:
        schema.apply(connection, shared.target, shared.outputs, None, say=lambda _: None)
    monkeypatch.setattr("amianai_infra.sandbox.target.cached_outputs", lambda target: shared.outputs)
    file = shared.target.password_file()
    assert file is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    endpoint = Endpoint.of(shared.target, shared.outputs)
    for role in ("owner", "application", "readonly"):
        user = role_name(shared.outputs, role)
        for url, found_by in ((endpoint.url(user, file), ""), (endpoint.url(user), str(file))):
            monkeypatch.setenv("PGPASSFILE", found_by or "/nonexistent")
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT current_user").fetchone() == (user,)
    assert shared.target.sandbox.environment()["PGUSER"] == role_name(shared.outputs, "application"), "not the owner, unless asked for"
