"""Who may call the provider: our own user, over the port that the engine is given."""

from __future__ import annotations

import os
import socket
import stat
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from amianai_infra.sandbox.emulator import Key
from amianai_infra.sandbox.processes import free
from amianai_infra.sandbox.provider import listener
from amianai_infra.sandbox.provider.clients import Clients
from amianai_infra.sandbox.provider.resource import Resource, World
from amianai_infra.sandbox.provider.server import VERSION, serve
from amianai_infra.sandbox.provider.values import encode

# What every gRPC connection begins with: the preface of HTTP/2 and an empty SETTINGS frame.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
# Says hello and prints how many bytes come back; in bash, because another user may not be allowed to run this Python.
PROGRAM = r"""trap "" PIPE; exec 3<>/dev/tcp/127.0.0.1/$0 && { printf "$1" >&3; head -c 9 <&3 | wc -c; }"""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[int]:
    """A provider without resource types; its folder is in `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    none: dict[str, Resource] = {}
    with serve(World(Clients("http://127.0.0.1:1", Key("AKIAEXAMPLE", "secret"))), 0, none) as bound:
        yield bound


def answers(port: int, user: str | None = None) -> int:
    """How many bytes a program of the user gets back that says hello."""
    hello = "".join(f"\\x{byte:02x}" for byte in HELLO)
    command = ("bash", "-c", PROGRAM, str(port), hello)
    return int(subprocess.run(command, user=user, cwd="/", capture_output=True, text=True, timeout=30, check=True).stdout)


def test_our_own_user_is_answered(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = provider_pb2_grpc.ResourceProviderStub(channel)
        with pytest.raises(grpc.RpcError, match="does not implement the function"):
            stub.Invoke(provider_pb2.InvokeRequest(tok="x", args=encode({"large": "x" * 8_000_000})))
        assert stub.GetPluginInfo(Empty()).version == VERSION
    assert answers(port) > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as another user")
def test_another_user_is_not(port: int, caplog: pytest.LogCaptureFixture) -> None:
    assert answers(port, "nobody") == 0
    assert "turned away a connection of user" in caplog.text
    assert answers(port) > 0, "and that hinders nobody else"


def test_the_socket_behind_it_is_in_a_folder_of_our_own(port: int, tmp_path: Path) -> None:
    (inner,) = tmp_path.glob("amianai-provider-*/grpc")
    folder = inner.parent.stat()
    assert (stat.S_IMODE(folder.st_mode), folder.st_uid) == (0o700, os.geteuid())


def test_a_look_whether_it_listens_is_no_news(port: int, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        socket.create_connection(("127.0.0.1", port)).close()
    assert answers(port) > 0
    assert caplog.text == ""


def test_what_was_reset_is_not_taken_for_whoever_has_its_port_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reset = threading.Event()

    def looked_up_late(_client: int, _server: int) -> int:
        assert reset.wait(10)
        return os.geteuid()

    monkeypatch.setattr(listener, "connected_by", looked_up_late)
    with socket.socket(socket.AF_UNIX) as inner:
        inner.bind(str(tmp_path / "inner"))
        inner.listen()
        inner.settimeout(0.5)
        with listener.own_user_only(0, tmp_path / "inner") as port:
            stranger = socket.create_connection(("127.0.0.1", port))
            stranger.sendall(HELLO)
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stranger.close()
            reset.set()
            with pytest.raises(TimeoutError):
                inner.accept()
            with socket.create_connection(("127.0.0.1", port)):
                inner.accept()[0].close()


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    world = World(Clients("http://127.0.0.1:1", Key("AKIAEXAMPLE", "secret")))
    with serve(world, 0, {}) as port:
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        provider_pb2_grpc.ResourceProviderStub(channel).GetPluginInfo(Empty())
        with pytest.raises(OSError, match="in use"), serve(world, port, {}):
            pass
    assert free(port)
    assert list(tmp_path.iterdir()) == []
    channel.close()
    assert caplog.text == "", "also where a connection was open at the end"
