"""The PostgreSQL server behind the sandbox's RDS endpoint: where its files live, its configuration, its first start.

PostgreSQL refuses to run as root. When we are root it runs as `nobody`, which usually may not enter root's home: then
its programs are copied to, and its data kept in, `/var/lib/amianai-infra`. No existing folder's permissions change.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import secrets
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amianai_infra.errors import AmianaiError, MissingToolError
from amianai_infra.folders import require_ours
from amianai_infra.sandbox.certificates import Certificates, write_private
from amianai_infra.sandbox.processes import LOOPBACK, Daemon, base_environment, birth

SUPERUSER = "postgres"
SYSTEM_HOME = Path("/var/lib/amianai-infra")
# A Unix socket's path may have 107 characters on Linux and 103 on macOS.
_SOCKET_LIMIT = 103
_CHILDREN_LEAVE_WITHIN = 10.0
_CANNOT_CONNECT_NOW = b"C57P03\0"
"""In an answer that refuses: the server is starting up. Source: PostgreSQL, "Error and Notice Message Fields" and its error codes."""


@dataclass(frozen=True)
class Place:
    """Where one checkout's server keeps its files.

    Attributes:
        data: the database cluster.
        sockets: folder of the Unix socket on which our user is the superuser.
        user: numeric user and group the server runs as, where that is not us.
    """

    data: Path
    sockets: Path
    user: tuple[int, int] | None


def server_user() -> tuple[int, int] | None:
    """`nobody` when we are root, else None: the server runs as we do."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise MissingToolError(
            "PostgreSQL refuses to run as root, and there is no user `nobody` it could run as.",
            where="/etc/passwd",
            fix="run the command as an ordinary user",
        ) from error
    return entry.pw_uid, entry.pw_gid


def _may_enter(path: Path, user: tuple[int, int] | None) -> bool:
    """Whether the server's user gets there: asked of the system, which knows more than permission bits."""
    if user is None:
        return True
    try:
        asked = subprocess.run(
            ("/bin/sh", "-c", 'test -x "$0"', str(path)), user=user[0], group=user[1], extra_groups=[], cwd="/", check=False
        )
    except PermissionError as error:
        raise AmianaiError(
            "This root may not start a process as another user, and PostgreSQL refuses to run as root.",
            where="setuid",
            fix="run the command as an ordinary user",
        ) from error
    return asked.returncode == 0


def locate(local: Path) -> Place:
    """Where the server's files go; makes the folders that are not there yet.

    Args:
        local: the checkout's `.sandbox`.
    """
    user = server_user()
    data = _data_folder(local, user)
    return Place(data, _socket_folder(data, user), user)


def programs(installed: Path, user: tuple[int, int] | None) -> Path:
    """PostgreSQL's folder in the cache, or a copy that the server's user may enter."""
    return installed if _may_enter(installed / "bin" / "postgres", user) else _shared_programs(installed)


def _shared_programs(installed: Path) -> Path:
    target = SYSTEM_HOME / installed.name
    require_ours(target, inside=True)
    if not target.is_dir():
        SYSTEM_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=SYSTEM_HOME, prefix="new-") as scratch:
            fresh = Path(scratch) / installed.name
            shutil.copytree(installed, fresh, symlinks=True)
            for path in (fresh, *fresh.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
            with contextlib.suppress(OSError):  # another checkout was quicker
                fresh.rename(target)
    return target


def _data_folder(local: Path, user: tuple[int, int] | None) -> Path:
    """`.sandbox/postgres`, or what it links to when the server's user may not enter the checkout."""
    link = local / "postgres"
    if link.is_symlink():
        home = link.readlink()
    elif link.is_dir() or _may_enter(local, user):
        home = link
    else:
        # Not after the checkout's path: one that was moved keeps its data, and another may come in its place.
        home = SYSTEM_HOME / f"sandbox-{secrets.token_hex(6)}"
        link.symlink_to(home)
        _sweep()
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    (home / "checkout").write_text(f"{local.parent}\n")  # for a person who finds this folder
    if user is not None:
        os.chown(home, *user)
    home.chmod(0o700)
    return home / "data"


def _sweep() -> None:
    """Remove the data of checkouts in the system's temporary folder that are gone: tests leave those behind, people do not."""
    for note in SYSTEM_HOME.glob("sandbox-*/checkout"):
        owner = Path(note.read_text().strip())
        gone = owner.is_relative_to(tempfile.gettempdir()) and not owner.exists()
        if gone and not _in_cluster(note.parent / "data"):
            shutil.rmtree(note.parent, ignore_errors=True)


def _socket_folder(data: Path, user: tuple[int, int] | None) -> Path:
    """A folder of mode 0700 whose path is short enough for a socket."""
    folder = data.parent / "socket"
    if len(str(folder)) + len("/.s.PGSQL.65535") > _SOCKET_LIMIT:
        note = data.parent / "socket-folder"
        remembered = Path(note.read_text()) if note.is_file() else None
        folder = remembered if remembered is not None and _is_private(remembered, user) else _short_folder(note)
    folder.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        os.chown(folder, *user)
    return folder


def _short_folder(note: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="amianai-", dir="/tmp"))
    note.write_text(str(folder))
    return folder


def _is_private(folder: Path, user: tuple[int, int] | None) -> bool:
    """Whether nobody else could have put the folder there."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return found.st_uid == (user[0] if user else os.geteuid()) and found.st_mode & 0o170777 == 0o040700


def forget(local: Path) -> None:
    """Remove the cluster, its socket folder, and what `.sandbox/postgres` links to."""
    link = local / "postgres"
    home = link.readlink() if link.is_symlink() else link
    note = home / "socket-folder"
    if note.is_file():
        shutil.rmtree(note.read_text(), ignore_errors=True)
    if home.is_dir():
        shutil.rmtree(home)
    if link.is_symlink():
        link.unlink()


def fingerprint(local: Path, installed: Path, port: int, certificates: Certificates) -> str:
    """What a running server must have been started with to be up to date; asks for no more than a few small files."""
    parts = [str(local), str(installed), str(port), Path(__file__).read_text(encoding="utf-8")]
    if certificates.server.is_file():
        parts.append(certificates.server.read_text())
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def prepare(place: Place, binaries: Path, certificates: Certificates, port: int) -> None:
    """Make the cluster when there is none, and write its configuration."""
    if not (place.data / "PG_VERSION").is_file():
        _initdb(place, binaries)
    files = {
        "postgresql.conf": _configuration(place, port),
        "pg_hba.conf": _ACCESS,
        "pg_ident.conf": f'sandbox "{_our_name()}" {SUPERUSER}\n',
        "server.crt": certificates.server.read_text(),
        "server.key": certificates.server_key.read_text(),
    }
    for name, text in files.items():
        path = place.data / name
        if not path.is_file() or path.read_text() != text:
            write_private(path, text.encode())
        if place.user is not None:
            os.chown(path, *place.user)


def _our_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _configuration(place: Place, port: int) -> str:
    return f"""# Written by `amianai sandbox`: change settings with ALTER SYSTEM instead.
listen_addresses = '{LOOPBACK}'
port = {port}
unix_socket_directories = '{_quoted(str(place.sockets))}'
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = 64MB
ssl = on
ssl_min_protocol_version = 'TLSv1.2'
password_encryption = 'scram-sha-256'
shared_preload_libraries = 'pg_stat_statements'
log_min_duration_statement = 1000
log_line_prefix = '%t:%r:%u@%d:[%p]:'
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, mdy'
"""


def _quoted(text: str) -> str:
    return text.replace("'", "''")


# Over TCP: TLS and a password, or nothing. Over the socket: the person who runs the sandbox is the superuser.
_ACCESS = """# TYPE  DATABASE  USER      ADDRESS       METHOD
local   all       postgres                peer map=sandbox
hostssl all       all       127.0.0.1/32  scram-sha-256
"""


def _initdb(place: Place, binaries: Path) -> None:
    """Make the cluster beside its place and move it there when it is whole.

    Each attempt has a folder of its own: the initdb of a command that was killed may still be at work in the last one.
    """
    for earlier in place.data.parent.glob("data.new-*"):
        shutil.rmtree(earlier, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(dir=place.data.parent, prefix="data.new-"))
    identity: dict[str, object] = {}
    if place.user is not None:
        os.chown(fresh, *place.user)
        identity = {"user": place.user[0], "group": place.user[1], "extra_groups": []}
    command = (
        str(binaries / "bin" / "initdb"),
        f"--pgdata={fresh}",
        f"--username={SUPERUSER}",
        "--auth=reject",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=icu",
        "--icu-locale=en-US",
    )
    done = subprocess.run(  # type: ignore[call-overload]
        command, env=base_environment({}), cwd="/", capture_output=True, text=True, errors="replace", check=False, **identity
    )
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise AmianaiError(
            f"PostgreSQL could not make its data folder:\n{last}", where=str(fresh), fix="free some space or correct what it says"
        )
    fresh.rename(place.data)


def postgres(place: Place, binaries: Path, certificates: Certificates, port: int, stamp: str, environ: Mapping[str, str]) -> Daemon:
    """The server's daemon.

    Args:
        place: where it keeps its files.
        binaries: folder with bin, lib and share.
        certificates: what it shows to clients.
        port: where it listens.
        stamp: its fingerprint.
        environ: the caller's environment, of which little is passed on.
    """

    def before() -> None:
        prepare(place, binaries, certificates, port)
        clear_stale_locks(place, port)

    return Daemon(
        name="postgres",
        command=(str(binaries / "bin" / "postgres"), "-D", str(place.data)),
        environment={name: value for name, value in base_environment(environ).items() if name in ("PATH", "TZ")},
        port=port,
        answers=lambda: answers(place.sockets, port),
        begins=lambda: recovers(place.sockets, port),
        fingerprint=stamp,
        before=before,
        user=place.user,
        folder=place.data,
    )


def clear_stale_locks(place: Place, port: int) -> None:
    """Remove the lock files of a server that was killed: their process id may by now be a zombie or somebody else.

    A killed server's own children may outlive it for a moment and still hold its shared memory: wait for them.
    """
    deadline = time.monotonic() + _CHILDREN_LEAVE_WITHIN
    while _in_cluster(place.data) and time.monotonic() < deadline:
        time.sleep(0.05)
    for lock in (place.data / "postmaster.pid", place.sockets / f".s.PGSQL.{port}.lock"):
        try:
            pid = int(lock.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            continue
        if birth(pid) is None or not _in_cluster(place.data):
            lock.unlink(missing_ok=True)


def _in_cluster(data: Path) -> bool:
    """Whether any process still works in this cluster's folder."""
    proc = Path("/proc")
    if not (proc / "self" / "cwd").exists():
        return False
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink() == data:
                    return True
    return False


def answers(sockets: Path, port: int) -> bool:
    """Whether the server lets us in."""
    return _answer(sockets, port).startswith(b"R")


def recovers(sockets: Path, port: int) -> bool:
    """Whether it says that it cannot let anybody in yet: after a crash it repeats what was written last, however long that takes."""
    return _CANNOT_CONNECT_NOW in _answer(sockets, port)


def _answer(sockets: Path, port: int) -> bytes:
    """What it says to PostgreSQL's start-up message over the Unix socket, as any client sends it; empty where it says nothing."""
    parameters = b"".join(word + b"\0" for word in (b"user", SUPERUSER.encode(), b"database", b"postgres")) + b"\0"
    message = struct.pack("!ii", 8 + len(parameters), 3 << 16) + parameters
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(3.0)
        try:
            connection.connect(str(sockets / f".s.PGSQL.{port}"))
            connection.sendall(message)
            answer = connection.recv(1024)
            if answer.startswith(b"R"):
                connection.sendall(b"X" + struct.pack("!i", 4))
        except OSError:
            return b""
        return answer
