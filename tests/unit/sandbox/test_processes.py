"""Daemons: recognised by id and birth, started, stopped, named."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from amianai_infra.errors import UnreachableError
from amianai_infra.sandbox import processes
from amianai_infra.sandbox.ports import choose
from amianai_infra.sandbox.postgres import answers, recovers
from amianai_infra.sandbox.processes import (
    Daemon,
    Keeper,
    base_environment,
    birth,
    connected_by,
    describe,
    end,
    free,
    listening,
    memory,
    port_owner,
    tail,
)

SERVE = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("serving", flush=True)
while True:
    time.sleep(1)
"""


@pytest.fixture
def port(tmp_path: Path) -> int:
    return choose(tmp_path).emulator


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    (tmp_path / "run").mkdir()
    (tmp_path / "logs").mkdir()
    made = Keeper(tmp_path, tmp_path / "run", tmp_path / "logs")
    yield made
    made.stop("emulator")


def daemon(port: int, code: str = SERVE, patience: float = 20.0, begins: Callable[[], bool] = lambda: False) -> Daemon:
    return Daemon(
        name="emulator",
        command=(sys.executable, "-c", code, str(port)),
        environment=base_environment(os.environ),
        port=port,
        answers=lambda: listening(port),
        fingerprint="one",
        patience=patience,
        begins=begins,
    )


def test_starts_detached_and_is_known_again_by_another_keeper(keeper: Keeper, port: int, tmp_path: Path) -> None:
    keeper.start(daemon(port))
    known = Keeper(tmp_path, tmp_path / "run", tmp_path / "logs").running("emulator")
    assert known is not None
    assert os.getsid(known.pid) == known.pid != os.getsid(0)
    assert keeper.serves("emulator", port, "one")
    assert not keeper.serves("emulator", port, "two"), "an outdated daemon does not count"
    assert "serving" in tail(keeper.log("emulator"), 5)
    assert memory(known.pid) > 1_000_000


def test_a_killed_daemon_is_not_running_and_is_started_again(keeper: Keeper, port: int) -> None:
    keeper.start(daemon(port))
    first = keeper.running("emulator")
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    while birth(first.pid) is not None:
        time.sleep(0.01)
    assert keeper.running("emulator") is None
    keeper.start(daemon(port))
    second = keeper.running("emulator")
    assert second is not None
    assert second.pid != first.pid


def test_a_recycled_process_id_is_not_ours(keeper: Keeper, port: int, tmp_path: Path) -> None:
    keeper.start(daemon(port))
    record = tmp_path / "run" / "emulator.json"
    known = keeper.recorded("emulator")
    assert known is not None
    record.write_text(record.read_text().replace(known.birth, "another boot:1"))
    assert keeper.running("emulator") is None
    end(known.pid, signal.SIGTERM, 5)


def test_one_without_a_record_is_found_and_replaced(keeper: Keeper, port: int, tmp_path: Path) -> None:
    keeper.start(daemon(port))
    stray = keeper.running("emulator")
    assert stray is not None
    (tmp_path / "run" / "emulator.json").unlink()
    assert keeper.holds_port("emulator", port)
    assert not keeper.holds_port("postgres", port)
    keeper.start(daemon(port))
    assert birth(stray.pid) is None
    assert keeper.serves("emulator", port, "one")


def test_one_without_a_record_is_ended_before_it_even_listens(keeper: Keeper, port: int, tmp_path: Path) -> None:
    slow = keeper._spawn(daemon(port, "import time; time.sleep(60)"))
    while not processes.environment_of(slow.pid):  # the system shows it a moment after the process
        time.sleep(0.01)
    (tmp_path / "run" / "emulator.json").unlink()
    assert keeper.stop("emulator")
    assert slow.poll() is not None


def test_one_that_ends_at_once_shows_its_last_words(keeper: Keeper, port: int) -> None:
    with pytest.raises(UnreachableError, match=r"ended with status 3.*(?s:.)*no space for me") as caught:
        keeper.start(daemon(port, "import sys; print('no space for me'); sys.exit(3)"))
    assert caught.value.where.endswith("emulator.log")
    assert keeper.recorded("emulator") is None


def test_one_that_never_answers_is_ended(keeper: Keeper, port: int) -> None:
    with pytest.raises(UnreachableError, match="did not answer within 0 s"):
        keeper.start(daemon(port, "import time; time.sleep(60)", patience=0.3))
    assert keeper.running("emulator") is None


def test_one_that_says_that_it_still_begins_is_waited_for(keeper: Keeper, port: int) -> None:
    keeper.start(daemon(port, f"import time; time.sleep(1)\n{SERVE}", patience=0.1, begins=lambda: True))
    assert keeper.running("emulator") is not None
    with pytest.raises(UnreachableError, match="ended with status 3"):
        keeper.start(daemon(port, "import sys, time; time.sleep(0.5); sys.exit(3)", patience=0.1, begins=lambda: True))


@pytest.mark.parametrize(
    ("said", "lets_in", "begins"),
    [
        (b"R\0\0\0\x08\0\0\0\0", True, False),
        (b"E\0\0\0\x3cSFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0", False, True),
        (b"E\0\0\0\x2cSFATAL\0VFATAL\0C28000\0Mno entry\0\0", False, False),
    ],
    ids=["lets in", "recovers", "refuses"],
)
def test_a_server_that_recovers_after_a_crash_says_so(tmp_path: Path, said: bytes, lets_in: bool, begins: bool) -> None:
    assert not answers(tmp_path, 5432)
    assert not recovers(tmp_path, 5432)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / ".s.PGSQL.5432"))
        server.listen()

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(1024)
                    connection.sendall(said)
                    connection.recv(1024)

        thread = threading.Thread(target=serve)
        thread.start()
        assert (answers(tmp_path, 5432), recovers(tmp_path, 5432)) == (lets_in, begins)
        thread.join()


def test_one_that_ignores_its_signal_is_killed() -> None:
    code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        end(stubborn.pid, signal.SIGTERM, 0.2)
        assert stubborn.wait(5) == -signal.SIGKILL


def test_a_zombie_is_not_alive() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 10
    while birth(gone.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert birth(gone.pid) is None
    gone.wait()


def test_a_taken_port_is_seen_and_its_owner_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        assert not free(number)
        assert port_owner(number) == os.getpid()
        assert str(os.getpid()) in describe(port_owner(number))
    assert free(number)
    assert port_owner(number) is None
    assert describe(None) == "another process"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_port_taken_on_the_other_loopback_address_is_not_free() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("::1 is not configured")
    with server:
        assert not free(server.getsockname()[1]), "a browser would reach the stranger: it asks ::1 first"


def test_nothing_about_aws_or_python_reaches_a_daemon() -> None:
    ambient = {
        "PATH": "/bin",
        "AWS_PROFILE": "prod",
        "PYTHONPATH": "/x",
        "PULUMI_BACKEND_URL": "s3://real",
        "HTTP_PROXY": "http://p",
        "HOME": "/h",
    }
    assert base_environment(ambient).keys() == {"PATH", "HOME", "PYTHONUNBUFFERED"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS shows no threads of a process that ends")
def test_a_process_lives_as_long_as_its_last_thread() -> None:
    code = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); ctypes.CDLL(None).pthread_exit(None)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        state = Path(f"/proc/{process.pid}/stat")
        deadline = time.monotonic() + 10
        while state.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert state.read_text().rpartition(")")[2].split()[0] == "Z"
        assert birth(process.pid) is not None
        process.kill()
        process.wait()
        assert birth(process.pid) is None


@pytest.mark.parametrize("linux", [True, False], ids=["proc", "lsof"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_user_of_a_connection_is_known_while_it_is_open(
    family: socket.AddressFamily, linux: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if linux and not processes._LINUX:
        pytest.skip("no /proc here")
    if not linux and shutil.which("lsof") is None:
        pytest.skip("no lsof here")
    monkeypatch.setattr(processes, "_LINUX", linux)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(family) as client:
        port = listener.getsockname()[1]
        client.connect(("127.0.0.1" if family == socket.AF_INET else "::ffff:127.0.0.1", port))
        accepted, (_, source) = listener.accept()
        with accepted:
            if linux or family == socket.AF_INET:
                assert connected_by(source, port) == os.geteuid()
            assert connected_by(port, source) in (None, os.geteuid()), "the other direction is the listener's own"
            assert connected_by(source, 1) is None
            client.close()
            assert connected_by(source, port) is None, "what its process has let go of is nobody's"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as another user")
@pytest.mark.parametrize("linux", [True, False], ids=["proc", "lsof"])
def test_a_connection_of_another_user_is_told(linux: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not linux and shutil.which("lsof") is None:
        pytest.skip("no lsof here")
    monkeypatch.setattr(processes, "_LINUX", linux)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # In bash, because another user may not be allowed to run this Python.
        with subprocess.Popen(("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}; head -c 1 <&3"), user="nobody", cwd="/"):
            accepted, (_, source) = listener.accept()
            with accepted:
                assert connected_by(source, port) == (pwd.getpwnam("nobody").pw_uid if linux else None)
