"""`Sandbox`: the local stand-in for AWS of one checkout, as a whole.

Everything it keeps is under `<root>/.sandbox/`: each daemon's data, records and logs, certificates, the engine's project
folder and state.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from amianai_infra.errors import AmianaiError
from amianai_infra.folders import locked, require_ours
from amianai_infra.progress import Progress
from amianai_infra.sandbox import emulator as aws
from amianai_infra.sandbox import origin
from amianai_infra.sandbox import postgres as database
from amianai_infra.sandbox.certificates import certificate_files, ensure_certificates, worth_checking
from amianai_infra.sandbox.install import emulator_home, install_emulator, install_postgres, postgres_home
from amianai_infra.sandbox.ports import Ports, asked, remember, remembered, resolve, without_clash
from amianai_infra.sandbox.processes import LOOPBACK, Daemon, Keeper, base_environment, listening, memory
from amianai_infra.sandbox.project import Project
from amianai_infra.target import require_project

State = Literal["running", "not answering", "ended", "stopped"]
_PACKAGE = Path(__file__).parents[1]
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EIO)


@dataclass(frozen=True)
class Service:
    """One daemon as `sandbox status` shows it.

    Attributes:
        name: what it is called.
        state: `ended` means that it ended without being told to.
        pid: process, where it runs.
        address: where it listens.
        memory: bytes, with its children.
        since: when it was started, ISO 8601.
        log: its log file.
    """

    name: str
    state: State
    pid: int | None
    address: str
    memory: int | None
    since: str | None
    log: Path


class Sandbox:
    """The emulator, PostgreSQL and the provider of one checkout.

    One that came along with a copy of another checkout is set aside before anything of it is used.

    Args:
        root: the checkout.
        environ: the process environment (cache folder, tools, AMIANAI_SANDBOX_PORT).
        progress: where it is told that this checkout is a copy.

    Raises:
        RefusedError: somebody else could have written what is kept there.
        ConfigurationError: the root is no project of ours; nothing was written.
    """

    NAMES = ("emulator", "postgres", "provider")

    def __init__(self, root: Path, environ: Mapping[str, str] = os.environ, progress: Progress | None = None) -> None:
        self.root = require_project(root.resolve())
        self.local = self.root / ".sandbox"
        require_ours(self.local)
        self.project = Project(self.root, self.local)
        self.certificates = certificate_files(self.local / "tls")
        self._environ = environ
        self._ports_file = self.local / "ports.json"
        self._died = self.local / "emulator" / "died"
        self._keeper = Keeper(self.root, self.local / "run", self.local / "logs")
        if origin.copied_from(self.local) is not None:
            self._become_its_own(progress or Progress())

    def _become_its_own(self, progress: Progress) -> None:
        with self._locked(progress):
            other = origin.copied_from(self.local)
            if other is None:
                return  # another command was quicker
            kept = origin.set_aside(self.local)
        progress.note(f"This checkout is a copy of {other.parent}, whose sandbox stays as it is; here another one begins, which is empty.")
        progress.note(f"What was copied of it is in {kept}; `amianai --sandbox setup` builds the stack here.")

    # ---- what there is

    def ports(self) -> Ports:
        """The ports of this checkout; chosen and remembered when first asked for.

        Raises:
            ConfigurationError: other ports are asked for than the stack's addresses contain.
        """
        with self._writing():
            if not self._ports_file.is_file():
                self._make_folders()
            return resolve(self.root, self._ports_file, self._environ, settled=self.project.settled)

    def key(self) -> aws.Key:
        """What requests to the emulator are signed with; drawn when it is first asked for."""
        kept = aws.kept_key(self.project.credentials_file)
        if kept is None:
            with self._alone(Progress(quiet=True)):
                kept = aws.draw_key(self.project.credentials_file)
        return kept

    def serves(self) -> bool:
        """Whether everything runs and is up to date. Takes a few milliseconds and changes nothing."""
        ports = remembered(self._ports_file)
        if ports is None or asked(self._environ) not in (None, ports) or worth_checking(self.certificates):
            return False
        if aws.kept_key(self.project.credentials_file) is None:
            return False
        return all(self._serves(name, ports) for name in self.NAMES)

    def _serves(self, name: str, ports: Ports) -> bool:
        return self._keeper.serves(name, ports.of(name), self._fingerprint(name, ports))

    def status(self) -> list[Service]:
        """The daemons, whether or not they run."""
        ports = remembered(self._ports_file)
        return [self._service(name, ports) for name in self.NAMES]

    def _service(self, name: str, ports: Ports | None) -> Service:
        log = self._keeper.log(name)
        known = self._keeper.running(name)
        if known is None:
            return Service(
                name,
                "ended" if self._keeper.died(name) else "stopped",
                None,
                f"{LOOPBACK}:{ports.of(name)}" if ports else "",
                None,
                None,
                log,
            )
        state: State = "running" if listening(known.port) else "not answering"
        return Service(name, state, known.pid, f"{LOOPBACK}:{known.port}", memory(known.pid), known.since, log)

    def log_files(self) -> dict[str, Path]:
        """Each daemon's log."""
        return {name: self._keeper.log(name) for name in self.NAMES}

    def environment(self) -> dict[str, str]:
        """What leads the AWS CLI, any SDK, `pulumi`, psql and libpq to this sandbox. Holds no password."""
        ports = self.ports()
        return {
            **self.project.aws_variables(ports),
            **self.project.engine_variables(ports),
            **self.project.hand_variables(),
            **self.project.database_variables(ports, self.certificates.ca),
        }

    # ---- what it does

    def start(self, progress: Progress) -> None:
        """Start what does not run, in parallel; install it first where needed. Does nothing when all runs.

        Raises:
            ConfigurationError: a port that must stay is in use.
            MissingToolError: Node, npm or Python's venv module is missing.
            UnreachableError: a daemon did not come up; carries its log's last lines.
        """
        if self.serves():
            return
        with self._alone(progress):
            self.project.prepare()
            aws.draw_key(self.project.credentials_file)
            ports = self._usable_ports()
            ensure_certificates(self.local / "tls")
            missing = [name for name in self.NAMES if not self._serves(name, ports)]
            if self._keeper.died("emulator"):
                self._died.touch()
            if missing:
                self._bring_up(missing, ports, progress)

    def _usable_ports(self) -> Ports:
        wanted = self.ports()
        fixed = asked(self._environ) is not None
        usable = without_clash(wanted, self.root, self._keeper.holds_port, fixed=fixed, settled=self.project.settled)
        if usable != wanted:
            remember(self._ports_file, usable)
        return usable

    def _bring_up(self, names: list[str], ports: Ports, progress: Progress) -> None:
        place = database.locate(self.local)
        makers: dict[str, Callable[[], Daemon]] = {
            "emulator": lambda: self._emulator(ports, progress),
            "postgres": lambda: self._postgres(place, ports, progress),
            "provider": lambda: self._provider(place, ports),
        }

        def bring_up(name: str) -> None:
            with self._writing():
                self._keeper.start(makers[name]())

        with progress.task(f"Starting the sandbox ({', '.join(names)})"), ThreadPoolExecutor(len(names)) as pool:
            for done in [pool.submit(bring_up, name) for name in names]:
                done.result()
        if "provider" in names and self.project.settled:
            from amianai_infra.sandbox.provider.postgres import Postgres

            Postgres(place.sockets, ports.postgres).extend()  # databases of an earlier version

    @property
    def may_have_forgotten(self) -> bool:
        """Whether the emulator was killed since the stack was last compared with it: what it was told last may be lost."""
        return self._died.exists() or self._keeper.died("emulator")

    def compared(self) -> None:
        """The stack was compared with what is really there."""
        self._died.unlink(missing_ok=True)

    def stop(self, progress: Progress) -> list[str]:
        """End what runs, in an orderly way; gives the names of what was ended."""
        if not self.local.is_dir():
            return []
        with self._alone(progress):
            return self._stop(progress)

    def _stop(self, progress: Progress) -> list[str]:
        with progress.task("Stopping the sandbox"), ThreadPoolExecutor(len(self.NAMES)) as pool:
            stopped = list(pool.map(self._keeper.stop, self.NAMES))
        return [name for name, was in zip(self.NAMES, stopped, strict=True) if was]

    def reset(self, progress: Progress) -> None:
        """End everything and remove all local state: databases, buckets, users, the engine's state. The cache stays."""
        if not self.local.is_dir():
            return
        with self._alone(progress):
            self._stop(progress)
            database.forget(self.local)
            for path in self.local.iterdir():
                if path.name == origin.LOCK:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    # ---- the daemons

    def _emulator(self, ports: Ports, progress: Progress) -> Daemon:
        python = install_emulator(self._environ, progress)
        folder = self.local / "emulator"
        aws.prepare(folder)
        return aws.emulator(python, folder, ports.emulator, self.key(), self._environ)

    def _postgres(self, place: database.Place, ports: Ports, progress: Progress) -> Daemon:
        binaries = database.programs(install_postgres(self._environ, progress), place.user)
        stamp = self._fingerprint("postgres", ports)
        return database.postgres(place, binaries, self.certificates, ports.postgres, stamp, self._environ)

    def _provider(self, place: database.Place, ports: Ports) -> Daemon:
        arguments = {
            "port": str(ports.provider),
            "endpoint": aws.endpoint(ports.emulator),
            "socket-dir": str(place.sockets),
            "postgres-port": str(ports.postgres),
            "credentials": str(self.project.credentials_file),
        }
        options = [word for name, value in arguments.items() for word in (f"--{name}", value)]
        environment = base_environment(self._environ) | self.project.aws_variables(ports) | {"PYTHONPATH": str(_PACKAGE.parent)}
        return Daemon(
            name="provider",
            command=(sys.executable, "-m", "amianai_infra.sandbox.provider", *options),
            environment=environment,
            port=ports.provider,
            answers=lambda: listening(ports.provider),
            fingerprint=self._fingerprint("provider", ports),
        )

    def _fingerprint(self, name: str, ports: Ports) -> str:
        if name == "emulator":
            python = emulator_home(self._environ) / "bin" / "python"
            return aws.emulator(python, self.local / "emulator", ports.emulator, self.key(), self._environ).fingerprint
        if name == "postgres":
            return database.fingerprint(self.local, postgres_home(self._environ), ports.postgres, self.certificates)
        # A provider whose code or key has changed since it was started would go on with the old one.
        code = [(str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in sorted(_PACKAGE.glob("sandbox/provider/**/*.py"))]
        return hashlib.sha256(repr((code, str(self.local), ports, self.key().access_key)).encode()).hexdigest()[:16]

    # ---- files

    def _make_folders(self) -> None:
        # Root's PostgreSQL runs as another user, which may pass through but not look around.
        self.local.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        require_ours(self.local / "tls", inside=True)
        for name in ("run", "logs", "emulator", "project", "state", "pulumi", "aws"):
            folder = self.local / name
            require_ours(folder)
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)
        ignore = self.local / ".gitignore"
        if not ignore.is_file():
            ignore.write_text("*\n")

    @contextmanager
    def _alone(self, progress: Progress) -> Iterator[None]:
        """Keep other commands from starting or stopping the same sandbox meanwhile."""
        with self._writing():
            self._make_folders()
        with self._locked(progress):
            self._make_folders()
            origin.sign(self.local)
            yield

    @contextmanager
    def _locked(self, progress: Progress) -> Iterator[None]:
        waiting = "Waiting for another command that starts or stops this sandbox"
        with self._writing(), locked(self.local / origin.LOCK, lambda: progress.task(waiting)):
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _DISK:
                raise
            raise AmianaiError(
                f"The sandbox cannot write its files: {error.strerror}.",
                where=str(error.filename or self.local),
                fix="free some space, or make the folder writable, then run the command again: it goes on where it stopped",
            ) from error
