"""The database of a whole stack, operated as a person does, and no secret left anywhere it does not belong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.project import Deployed, Project

pytestmark = pytest.mark.sandbox

ROLES = ("owner", "application", "readonly")


def passwords(deployed: Deployed) -> set[str]:
    """Every password that a secret of the database holds or has held, as an independent client reads them."""
    manager = deployed.project.aws("secretsmanager")
    found = set()
    for secret in manager.list_secrets()["SecretList"]:
        for version in manager.list_secret_version_ids(SecretId=secret["ARN"], IncludeDeprecated=True)["Versions"]:
            value = manager.get_secret_value(SecretId=secret["ARN"], VersionId=version["VersionId"]).get("SecretString")
            if value:
                found.add(str(json.loads(value)["password"]))
    return found


@contextmanager
def watched(project: Project, said: list[str]) -> Iterator[None]:
    """Keep the arguments of every process of the project while the block runs."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    try:
                        arguments = (entry / "cmdline").read_bytes()
                    except OSError:
                        continue
                    if b"amianai" in arguments or b"psql" in arguments:
                        said.append(arguments.decode(errors="replace"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def ours(project: Project) -> Iterator[tuple[Path, bytes]]:
    """Every file of the project, but for the two that are there to hold the secrets: the emulator's own, and psql's password file."""
    for path in project.root.rglob("*"):
        inside = path.relative_to(project.root).parts
        if "node_modules" in inside or inside[:2] in ((".sandbox", "emulator"), (".sandbox", "postgres")):
            continue
        if path.is_file() and path.name != "pgpass":
            yield path, path.read_bytes()


def test_a_whole_day_with_the_database_leaves_no_secret(deployed: Deployed, env_file: Path) -> None:
    project, said = deployed.project, list[str]()
    before = passwords(deployed)
    assert before

    def run(*words: str, code: int = 0, **env: str) -> str:
        done = subprocess.run(
            project.command("--debug", "-v", *words),
            cwd=project.root,
            env=project.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout + done.stderr)
        return done.stdout

    with watched(project, said):
        run("db", "migrate")
        run("db", "seed")
        state = json.loads(run("--json", "db", "status"))
        assert (state["pending"], set(state["roles"].values())) == ([], {True})
        for role in ROLES:
            assert "sslmode=verify-full" in run("db", "url", "--role", role)
        run("db", "rotate")
        run("db", "--at", "127.0.0.1:1", "status", code=1)
        if shutil.which("psql"):
            as_owner = ("db", "shell", "--role", "owner", "--reason", "test", "--confirm", "example.test", "--", "-XAtc", "SELECT 1")
            run("db", "shell", "--", "-XAtc", "SELECT count(*) FROM users")
            run("db", "shell", "--", "-XAtc", "DELETE FROM users", code=1)
            run(*as_owner, code=3)
            run(*as_owner, ENABLE_DB_ADMIN="true")
        run("env")
        run("status")

    every = before | passwords(deployed)
    assert len(every) > len(before), "a new password at least"
    for password in every:
        assert not [text[:200] for text in said if password in text]
        assert not [str(path) for path, content in ours(project) if password.encode() in content]
