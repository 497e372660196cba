"""The real engine takes the plugin that we have checked, runs that one, and fetches none by itself."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pulumi
import pytest

from amianai_infra.engine import Engine, plugin, plugin_version
from amianai_infra.engine.plugin import archive_name, ensure_plugin
from amianai_infra.errors import EngineError, MissingToolError, RefusedError
from amianai_infra.naming import PROJECT
from amianai_infra.progress import Progress
from amianai_infra.target import EngineEnvironment
from tests.downloads import packed, serving

QUIET = Progress(quiet=True)
# No provider at all: it says that it was run, and ends.
PROGRAM = '#!/bin/sh\necho ran >> "{log}"\nexit 1\n'


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    files: dict[str, bytes] = {}
    with serving(files) as address:
        monkeypatch.setattr(plugin, "_SOURCES", (address,))
        yield files


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PULUMI_HOME": str(tmp_path / "home"), "AMIANAI_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}


def test_the_engine_lists_what_was_handed_over(
    tmp_path: Path, host: dict[str, bytes], environ: dict[str, str], engine_binary: Path
) -> None:
    host[archive_name("7.99.1")] = packed({"pulumi-resource-aws": "#!/bin/sh\n"})
    path = ensure_plugin(QUIET, engine_binary, tmp_path, environ, "7.99.1")
    assert path.stat().st_mode & 0o022 == 0
    listed = subprocess.run([engine_binary, "plugin", "ls", "--json"], env=environ, capture_output=True, text=True, check=True)
    assert [(one["name"], one["version"]) for one in json.loads(listed.stdout)] == [("aws", "7.99.1")]
    # What lay there before is replaced, not kept.
    path.write_text("#!/bin/sh\necho exchanged\n")
    assert ensure_plugin(QUIET, engine_binary, tmp_path, environ, "7.99.1").read_text() == "#!/bin/sh\n"


def make_engine(home: Path, environ: dict[str, str], binary: Path) -> Engine:
    """An engine whose provider nobody has attached; its own folder is the project."""
    for folder in ("project", "state"):
        (home / folder).mkdir(exist_ok=True)
    (home / "project" / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
    variables = {"AWS_REGION": "us-east-1", "PULUMI_CONFIG_PASSPHRASE": "test"}
    environment = EngineEnvironment(home / "project", f"file://{home / 'state'}", "passphrase", variables)
    return Engine(environment, program, QUIET, binary, environ=environ)


def program() -> None:
    options = pulumi.ResourceOptions(version=plugin_version())
    pulumi.CustomResource("aws:ec2/vpc:Vpc", "vpc", {"cidrBlock": "10.0.0.0/16"}, options)


def test_an_operation_runs_the_plugin_that_was_checked_and_no_other(
    tmp_path: Path, host: dict[str, bytes], environ: dict[str, str], engine_binary: Path
) -> None:
    log = tmp_path / "log"
    name = archive_name(plugin_version())
    host[name] = packed({"pulumi-resource-aws": PROGRAM.format(log=log)})
    with pytest.raises(EngineError):
        make_engine(tmp_path, environ, engine_binary).preview()
    assert "ran" in log.read_text()
    assert name in (tmp_path / "project" / "amianai.lock.json").read_text()
    log.unlink()
    host[name] += b"changed"
    elsewhere = environ | {"PULUMI_HOME": str(tmp_path / "home2"), "AMIANAI_CACHE": str(tmp_path / "cache2")}
    with pytest.raises(RefusedError, match="first set up with"):
        make_engine(tmp_path, elsewhere, engine_binary).preview()
    assert not log.exists()
    assert not (tmp_path / "home2" / "plugins" / f"resource-aws-v{plugin_version()}").exists()


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """Where the engine's own downloads would have to pass; gives the address and what came."""
    seen: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    seen.append(connection.recv(200).decode(errors="replace").partition("\r")[0])

    threading.Thread(target=listen, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", seen
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def test_without_the_plugin_the_engine_fetches_nothing(
    tmp_path: Path, environ: dict[str, str], engine_binary: Path, monkeypatch: pytest.MonkeyPatch, proxy: tuple[str, list[str]]
) -> None:
    monkeypatch.setattr(Engine, "_ensure_plugins", lambda _self: None)
    address, seen = proxy
    with pytest.raises(MissingToolError, match="Comparing the program with the stack failed") as caught:
        make_engine(tmp_path, environ | {"HTTPS_PROXY": address, "HTTP_PROXY": address}, engine_binary).preview()
    assert "no resource plugin 'pulumi-resource-aws'" in caught.value.where
    assert seen == []
