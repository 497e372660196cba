"""Daemons on this machine: start one detached, recognise it again, stop it, and name who holds a port.

A process is known by its id *and* its birth, so that a recycled id never passes for ours.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from amianai_infra.errors import UnreachableError

LOOPBACK = "127.0.0.1"
ROOT_VARIABLE = "AMIANAI_SANDBOX_ROOT"
NAME_VARIABLE = "AMIANAI_SANDBOX_DAEMON"
_LOG_LIMIT = 5_000_000
_LEAST_ROOM = 1 << 20
_PROC = Path("/proc")
_LINUX = (_PROC / "self" / "stat").exists()
_ESTABLISHED, _LISTEN = "01", "0A"  # as /proc/net/tcp has them
# Children of this very process, kept so that they can be reaped; daemons of earlier commands belong to init.
# PostgreSQL's fast shutdown is SIGINT: at SIGTERM it would wait for every client to leave.
_STOP_SIGNALS = {"postgres": signal.SIGINT}
_children: dict[int, subprocess.Popen[bytes]] = {}


class _Detached(subprocess.Popen[bytes]):
    """A process that is meant to outlive this one."""

    def __del__(self) -> None:
        """Say nothing: Popen would warn that it still runs."""


@dataclass(frozen=True)
class Daemon:
    """How one daemon runs.

    Attributes:
        name: what commands call it.
        command: program and arguments.
        environment: its whole environment.
        port: where it listens on 127.0.0.1.
        answers: whether it does its work, asked by a real call.
        fingerprint: changes whenever a running one is out of date.
        before: last preparations, once no earlier process of it is left.
        user: numeric user and group to run as, where that is not ours.
        patience: seconds until it has to answer.
        begins: whether it says itself that it is still beginning, and patience has to go on.
        folder: where it keeps its data; None where it keeps none.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    port: int
    answers: Callable[[], bool]
    fingerprint: str
    before: Callable[[], None] = lambda: None
    user: tuple[int, int] | None = None
    patience: float = 40.0
    begins: Callable[[], bool] = lambda: False
    folder: Path | None = None


@dataclass(frozen=True)
class Running:
    """What is remembered of a daemon that was started."""

    pid: int
    birth: str
    since: str
    port: int
    fingerprint: str


class Keeper:
    """Starts, finds and stops the daemons of one checkout.

    Args:
        root: the checkout, handed to each daemon so that one without a record is still known as ours.
        records: folder of the records of running daemons.
        logs: folder of their logs.
    """

    def __init__(self, root: Path, records: Path, logs: Path) -> None:
        self._root = root
        self._records = records
        self._logs = logs

    def log(self, name: str) -> Path:
        """The daemon's log file."""
        return self._logs / f"{name}.log"

    def recorded(self, name: str) -> Running | None:
        """What was remembered, whether or not it still runs."""
        try:
            return Running(**json.loads((self._records / f"{name}.json").read_bytes()))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def running(self, name: str) -> Running | None:
        """The daemon, if the very process that was started is still alive."""
        known = self.recorded(name)
        return known if known is not None and birth(known.pid) == known.birth else None

    def died(self, name: str) -> bool:
        """Whether it ended without having been stopped."""
        return self.recorded(name) is not None and self.running(name) is None

    def serves(self, name: str, port: int, fingerprint: str) -> bool:
        """Whether it runs, is up to date and accepts connections: the quick look before every command."""
        known = self.running(name)
        return known is not None and known.port == port and known.fingerprint == fingerprint and listening(port)

    def start(self, daemon: Daemon) -> None:
        """Start it, ending an outdated one first, and wait until it does its work.

        Raises:
            UnreachableError: it ended or did not come up; the message ends with its log's last lines.
        """
        self.stop(daemon.name)
        daemon.before()
        process = self._spawn(daemon)
        deadline = time.monotonic() + daemon.patience
        while not daemon.answers():
            code = process.poll()
            if code is not None or (time.monotonic() > deadline and not daemon.begins()):
                self._give_up(daemon, code)
            time.sleep(0.05)

    def _strays(self, name: str) -> list[int]:
        """Ours without a record: the command that started them was killed before it could write one."""
        ours = {pid for pid in _processes() if self._is_ours(pid, name)}
        return [pid for pid in ours if _parent(pid) not in ours]  # the daemon itself, not its children

    def _is_ours(self, pid: int, name: str) -> bool:
        found = environment_of(pid)
        return found.get(ROOT_VARIABLE) == str(self._root) and found.get(NAME_VARIABLE) == name

    def holds_port(self, name: str, port: int) -> bool:
        """Whether whoever listens on `port` is this checkout's own daemon."""
        known = self.running(name)
        if known is not None and known.port == port:
            return True
        owner = port_owner(port)
        return owner is not None and self._is_ours(owner, name)

    def _spawn(self, daemon: Daemon) -> subprocess.Popen[bytes]:
        log = self.log(daemon.name)
        _rotate(log)
        environment = {**daemon.environment, ROOT_VARIABLE: str(self._root), NAME_VARIABLE: daemon.name}
        user, group = daemon.user or (None, None)
        with log.open("ab") as sink:
            process = _Detached(
                daemon.command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        _children[process.pid] = process
        known = Running(process.pid, birth(process.pid) or "", _now(), daemon.port, daemon.fingerprint)
        _write(self._records / f"{daemon.name}.json", json.dumps(asdict(known)))
        return process

    def _give_up(self, daemon: Daemon, code: int | None) -> None:
        self.stop(daemon.name)
        what = f"ended with status {code}" if code is not None else f"did not answer within {daemon.patience:.0f} s"
        log = self.log(daemon.name)
        last = tail(log, 12)
        full = _without_room((daemon.folder or log.parent, log.parent), last)
        if full is not None:
            raise UnreachableError(
                f"The sandbox's {daemon.name} {what}: no room is left where it writes. The last lines of its log:\n{last}",
                where=str(full),
                fix=f"free some space there (`df -h {full}`), then run the command again: it goes on where it stopped",
            )
        raise UnreachableError(
            f"The sandbox's {daemon.name} {what}. The last lines of its log:\n{last}",
            where=str(log),
            fix="correct what the log says and run the command again; `amianai sandbox reset` starts from nothing",
        )

    def stop(self, name: str, patience: float = 40.0) -> bool:
        """End the daemon in an orderly way; whether there was one."""
        known = self.running(name)
        mine = [known.pid] if known is not None else self._strays(name)
        for pid in mine:
            end(pid, _stop_signal(name), patience)
        (self._records / f"{name}.json").unlink(missing_ok=True)
        return bool(mine)


def _without_room(folders: Sequence[Path], log: str) -> Path | None:
    """The folder in which nothing more can be written; the first one where only the log says so."""
    for folder in folders:
        with contextlib.suppress(OSError):
            if shutil.disk_usage(folder).free < _LEAST_ROOM:
                return folder
    return folders[0] if any(os.strerror(number) in log for number in (errno.ENOSPC, errno.EDQUOT)) else None


def _stop_signal(name: str) -> signal.Signals:
    return _STOP_SIGNALS.get(name, signal.SIGTERM)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def _rotate(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))


def tail(log: Path, lines: int) -> str:
    """The last lines of a log."""
    try:
        with log.open("rb") as source:
            source.seek(max(0, log.stat().st_size - 200 * lines - 4000))
            found = source.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        found = []
    return "\n".join(found) or "(the log is empty)"


def birth(pid: int) -> str | None:
    """When the process began, in a form only good for comparing; None when there is none (a zombie is none)."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
        return None
    return _birth_linux(pid) if _LINUX else _birth_ps(pid)


def _birth_linux(pid: int) -> str | None:
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    # Of a killed process the first thread is a zombie before the last one has let go of the ports.
    gone = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if gone else f"{boot}:{fields[19]}"


def _birth_ps(pid: int) -> str | None:
    shown = _output("ps", "-o", "state=,lstart=", "-p", str(pid)).split(maxsplit=1)
    return None if len(shown) < 2 or shown[0].startswith("Z") else shown[1].strip()


def end(pid: int, stop_signal: signal.Signals, patience: float) -> None:
    """Signal the process and wait; kill it when it does not listen."""
    born = birth(pid)
    for number, wait in ((stop_signal, patience), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + wait
        while birth(pid) == born and born is not None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            return


def listening(port: int, host: str = LOOPBACK) -> bool:
    """Whether somebody accepts connections there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def free(port: int) -> bool:
    """Whether the port is free on both loopback addresses: a browser asks ::1 first for `localhost`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    try:
        return not listening(port) and not listening(port, "::1")
    except OSError:
        return True


def port_owner(port: int) -> int | None:
    """The process that listens on the port, where this user may know."""
    if not _LINUX:
        shown = _output("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fp")
        return next((int(line[1:]) for line in shown.splitlines() if line.startswith("p")), None)
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return next((pid for pid, link in _sockets() if link in wanted), None) if wanted else None


def connected_by(client: int, server: int) -> int | None:
    """The user whose process connected from port `client` of 127.0.0.1 to port `server` there.

    None where that cannot be said: the process has closed the connection, or (macOS) is another user's.
    """
    if not _LINUX:
        ours = os.geteuid()
        shown = _output("lsof", "-nP", "-a", "-u", str(ours), f"-iTCP@{LOOPBACK}:{client}", "-sTCP:ESTABLISHED", "-Fn")
        return ours if f"n{LOOPBACK}:{client}->{LOOPBACK}:{server}" in shown.splitlines() else None
    here = f"{int.from_bytes(socket.inet_aton(LOOPBACK), sys.byteorder):08X}"  # an IPv6 socket's address ends in the same digits
    for fields in _tcp_sockets():
        ends = fields[1].endswith(f"{here}:{client:04X}") and fields[2].endswith(f"{here}:{server:04X}")
        # A socket that its process has let go of shows root as its owner.
        if ends and fields[3] == _ESTABLISHED and fields[9] != "0":
            return int(fields[7])
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    return (fields[9] for fields in _tcp_sockets() if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port)


def _tcp_sockets() -> Iterator[list[str]]:
    """The lines of the kernel's tables: address, peer's address, state, ..., user (7), ..., inode (9)."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                yield line.split()


def _sockets() -> Iterator[tuple[int, str]]:
    for pid in _processes():
        with contextlib.suppress(OSError):
            for link in (_PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    yield pid, str(link.readlink())


def _processes() -> Iterator[int]:
    """Every process id, where the system lists them as files."""
    if _LINUX:
        yield from (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _parent(pid: int) -> int | None:
    try:
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def describe(pid: int | None) -> str:
    """`python3 -m http.server (process 4711)`, or what can be said."""
    if pid is None:
        return "another process"
    command = _output("ps", "-o", "command=", "-p", str(pid)) if not _LINUX else _command_line(pid)
    return f"{command.strip()[:80]} (process {pid})"


def _command_line(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "another process"


def environment_of(pid: int) -> dict[str, str]:
    """The environment the process was started with, where this user may read it."""
    try:
        pairs = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(pair.decode(errors="replace").partition("=")[::2] for pair in pairs if b"=" in pair)


def memory(pid: int) -> int:
    """Bytes of memory of the process and its children, shared pages counted once (Linux), else as `ps` has it."""
    if not _LINUX:
        return int(_output("ps", "-o", "rss=", "-p", str(pid)).strip() or 0) * 1024
    return sum(_memory_linux(one) for one in (pid, *_children_of(pid)))


def _memory_linux(pid: int) -> int:
    for file, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with contextlib.suppress(OSError):
            for line in (_PROC / str(pid) / file).read_text().splitlines():
                if line.startswith(key):
                    return int(line.split()[1]) * 1024
    return 0


def _children_of(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            yield from (int(child) for child in (task / "children").read_text().split())


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What every daemon inherits: enough to find programs, nothing that could lead it to AWS or change how it works."""
    kept = {name: environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT") if name in environ}
    return {"PATH": os.defpath, "PYTHONUNBUFFERED": "1", **kept}
