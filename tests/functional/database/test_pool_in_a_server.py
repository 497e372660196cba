"""Both pools in a FastAPI application of two workers while the password changes and the server is killed under them.

pip installs FastAPI for it: `pytest -n0 -m soak tests/functional/database/test_pool_in_a_server.py`.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from amianai_infra.database import schema
from tests.database import Database

pytestmark = pytest.mark.soak
APPLICATION = """
from contextlib import asynccontextmanager
from uuid import UUID

from fastapi import FastAPI

from amianai_infra.database import AsyncPool, Options, Pool

OPTIONS = Options(timeout=120.0, patience=120.0)  # on a busy machine a recovery of PostgreSQL takes half a minute
INSERT = "INSERT INTO once VALUES (%s) ON CONFLICT DO NOTHING"


@asynccontextmanager
async def pools(app):
    async with AsyncPool.from_environment(options=OPTIONS) as app.state.tasks:
        with Pool.from_environment(options=OPTIONS) as app.state.threads:
            yield


app = FastAPI(lifespan=pools)


@app.get("/threads")
def fetched_by_a_thread():
    return app.state.threads.fetch("SELECT count(*) >= 0 FROM users")


@app.get("/tasks")
async def fetched_by_a_task():
    return await app.state.tasks.fetch("SELECT count(*) >= 0 FROM users")


@app.post("/threads/{identity}")
def written_by_a_thread(identity: UUID):
    app.state.threads.run(lambda db: db.execute(INSERT, (identity,)), idempotent=True)


@app.post("/tasks/{identity}")
async def written_by_a_task(identity: UUID):
    await app.state.tasks.run(lambda db: db.execute(INSERT, (identity,)), idempotent=True)
"""


@dataclass
class Seen:
    """What the clients were answered."""

    statuses: dict[int, int] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    last: dict[int, float] = field(default_factory=dict)


@pytest.fixture
def data(database: Database) -> Database:
    with database.connect(statement_timeout=None) as connection:
        schema.apply(connection, database.target, database.outputs, None, say=lambda _: None)
        connection.execute("CREATE TABLE once (id uuid NOT NULL UNIQUE)")
    return database


@pytest.fixture
def port(data: Database, tmp_path: Path) -> Iterator[int]:
    """Where the application listens."""
    packages = tmp_path / "packages"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, "fastapi", "uvicorn"], check=True)
    (tmp_path / "application.py").write_text(APPLICATION, "utf-8")
    known = data.outputs.database
    environment = {
        **os.environ,
        **{name: value for name, value in data.target.sandbox.environment().items() if name.startswith("AWS_")},
        "DATABASE_HOST": known.host,
        "DATABASE_PORT": str(known.port),
        "DATABASE_NAME": known.name,
        "DATABASE_SECRET_ARN": known.application_secret_arn,
        "DATABASE_CA": str(data.target.database_ca()),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(packages), str(Path(__file__).parents[3])]),
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    arguments = [sys.executable, "-m", "uvicorn", "application:app", "--workers", "2", "--port", str(number), "--log-level", "warning"]
    server = subprocess.Popen(arguments, env=environment, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", number), 1):
                break
            time.sleep(0.1)
        yield number
    finally:
        server.terminate()
        assert server.wait(30) in (0, -signal.SIGTERM)


def client(port: int, number: int, seen: Seen, stop: threading.Event) -> None:
    """Asks without a pause, as a browser with one connection would."""
    kind, connection = ("threads", "tasks")[number % 2], http.client.HTTPConnection("127.0.0.1", port, timeout=180)
    while not stop.is_set():
        identity = str(uuid.uuid4()) if number % 4 < 2 else ""
        connection.request("POST" if identity else "GET", f"/{kind}/{identity}" if identity else f"/{kind}")
        answer = connection.getresponse()
        answer.read()
        seen.statuses[answer.status] = seen.statuses.get(answer.status, 0) + 1
        if identity and answer.status == 200:
            seen.written.add(identity)
        seen.last[number] = time.monotonic()
    connection.close()


def until_all_answer(seen: Seen, since: float, clients: int) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and not all(seen.last.get(number, 0) > since for number in range(clients)):
        time.sleep(0.05)
    assert all(seen.last.get(number, 0) > since for number in range(clients))


def disturb(data: Database, settled: Callable[[float], None]) -> None:
    """Two rotations, a kill and a restart, each once all answer again."""
    settled(time.monotonic())
    for disturbance in ("rotation", "kill", "rotation", "restart"):
        if disturbance == "rotation":
            with data.connect() as connection:
                schema.rotate(connection, data.target, data.outputs, "application", say=lambda _: None)
            settled(time.monotonic())
        else:
            settled(data.restart(signal.SIGKILL if disturbance == "kill" else signal.SIGINT))
        time.sleep(5)


@pytest.mark.timeout(1200)
def test_every_answer_is_200(data: Database, port: int) -> None:
    seen, stop, clients = Seen(), threading.Event(), 16
    threads = [threading.Thread(target=client, args=(port, number, seen, stop)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        disturb(data, lambda since: until_all_answer(seen, since, clients))
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    print(seen.statuses, "written:", len(seen.written))
    assert set(seen.statuses) == {200}
    assert seen.statuses[200] > 1000
    with data.connect("application") as reader:
        there = {str(row[0]) for row in reader.execute("SELECT id FROM once")}
    assert seen.written <= there, "nothing that was acknowledged is lost"
