"""Builds the site: the same sources and public settings give the same build id, and the same files.

Next.js names its build after a random id otherwise, which changes a third of the files of an unchanged site. A constant
id would hide a new version from open tabs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from amianai_infra.errors import AmianaiError, BuildError, MissingToolError
from amianai_infra.site.environment import Surroundings
from amianai_infra.site.output import tree_digest
from amianai_infra.site.tree import scan

if TYPE_CHECKING:
    from amianai_infra.progress import Progress, Task

BUILD_ID = "AMIANAI_BUILD_ID"
_TAIL = 40
_NO_SOURCES = frozenset({"node_modules", ".next", ".git", ".turbo", ".cache", "coverage", "next-env.d.ts", ".DS_Store"})
_ENV_FILES = (".env", ".env.local", ".env.production", ".env.production.local")
_LONGEST_SOURCE = 1_000_000
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")

# How each package manager installs exactly what its lock file says.
_INSTALLERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("package-lock.json", ("npm", "ci", "--no-audit", "--no-fund")),
    ("npm-shrinkwrap.json", ("npm", "ci", "--no-audit", "--no-fund")),
    ("pnpm-lock.yaml", ("pnpm", "install", "--frozen-lockfile")),
    ("yarn.lock", ("yarn", "install", "--frozen-lockfile")),
    ("bun.lock", ("bun", "install", "--frozen-lockfile")),
)


@dataclass(frozen=True)
class Sources:
    """What a build is made of.

    Attributes:
        build_id: names the build: sources and public settings.
        fingerprint: the same and what is on this machine alone (`.env` files, variables passed on, the command): equal, nothing need be
            built.
    """

    build_id: str
    fingerprint: str


@dataclass(frozen=True)
class Site:
    """A site's folder and how it is built.

    Attributes:
        folder: where its sources are.
        command: what builds it, run there.
        output: the folder that the build fills.
        environment: public settings the build gets.
        surroundings: what it gets of the environment of this process.
    """

    folder: Path
    command: str
    output: Path
    environment: Mapping[str, str]
    surroundings: Surroundings


def sources(site: Site) -> Sources:
    """Identify what would be built, without building it."""
    if not site.folder.is_dir():
        raise BuildError(
            "The site's directory does not exist.", where=str(site.folder), fix="set site.directory to the folder of your site"
        )
    digest = hashlib.sha256()
    for path in _source_files(site):
        relative = path.relative_to(site.folder).as_posix()
        digest.update(f"{relative}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(json.dumps(dict(site.environment), sort_keys=True).encode())
    build_id = digest.hexdigest()[:16]
    local = {name: _digest(site.folder / name) for name in _ENV_FILES}
    # Each by its digest: nothing of a value that is passed on is kept anywhere.
    passed = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in site.surroundings.passed.items()}
    digest.update(json.dumps([local, passed, site.command, str(site.output.relative_to(site.folder))], sort_keys=True).encode())
    return Sources(build_id, digest.hexdigest())


def _source_files(site: Site) -> Iterator[Path]:
    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path.name in _NO_SOURCES or path == site.output or path.name.startswith(".env") or path.suffix == ".tsbuildinfo":
                continue
            if path.is_dir() and not path.is_symlink():
                yield from walk(path)
            elif path.is_file():
                yield path

    yield from walk(site.folder)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def install(folder: Path, surroundings: Surroundings, progress: Progress, log: Path) -> None:
    """Install the site's packages where they are missing or older than its lock file.

    Args:
        folder: the site.
        surroundings: what the package manager gets of this process's environment.
        progress: where to report.
        log: file for all of its output.

    Raises:
        MissingToolError: the package manager is not installed.
        BuildError: it failed; its last lines are shown.
    """
    found = next(((folder / lock, command) for lock, command in _INSTALLERS if (folder / lock).is_file()), None)
    if found is None or not (folder / "package.json").is_file():
        return
    lock, command = found
    mark = folder / "node_modules" / ".amianai-lock"
    wanted = _digest(lock)
    if mark.is_file() and mark.read_text(encoding="ascii", errors="replace") == wanted:
        return
    if shutil.which(command[0]) is None:
        raise MissingToolError(f"{command[0]} is not installed.", where=str(lock), fix="install Node.js 18 or newer: https://nodejs.org")
    with progress.task("Packages of the site") as task:
        environment = {**surroundings.common, **surroundings.passed, "CI": "1"}
        _run(command, folder, environment, log, task, _Failure("Installing the site's packages failed", surroundings, set()))
        task.say(" ".join(command[:2]))
    mark.write_text(wanted, encoding="ascii")


def run(site: Site, build_id: str, progress: Progress, log: Path) -> None:
    """Run the site's own build. Its output is folded to one line unless it fails.

    Raises:
        BuildError: it failed; its last lines are shown and the whole is in the log.
    """
    surroundings = site.surroundings
    environment = {
        **surroundings.common,
        "CI": "1",
        "NEXT_TELEMETRY_DISABLED": "1",
        **surroundings.passed,
        **site.environment,
        BUILD_ID: build_id,
    }
    wanted = _wanted(site)
    progress.detail(f"Variables that the build does not get: {', '.join(surroundings.left_out) or 'none'}")
    if wanted:
        progress.note(f"The site's sources name what is set here but kept from the build: {', '.join(sorted(wanted))} ({_HINT})")
    with progress.task("Build of the site") as task:
        command = ("/bin/sh", "-c", site.command)
        _run(command, site.folder, environment, log, task, _Failure("The site's build failed", surroundings, wanted))
        task.say(f"build {build_id}")


def _wanted(site: Site) -> set[str]:
    """Variables that the sources ask for and the build does not get. Public settings come from us, whatever is set around us."""
    named: set[str] = set()
    for path in _source_files(site):
        if path.stat().st_size <= _LONGEST_SOURCE:
            named |= site.surroundings.named_in(path.read_text(encoding="utf-8", errors="replace"))
    return named - set(site.environment)


_HINT = "`site.pass_environment` names the variables that are passed on"


@dataclass(frozen=True)
class _Failure:
    """What to say when a program fails.

    Attributes:
        what: what failed.
        surroundings: what it got of our environment.
        wanted: variables that it did not get, but is known to ask for.
    """

    what: str
    surroundings: Surroundings
    wanted: set[str]

    def error(self, code: int, tail: Iterable[str], folder: Path, log: Path) -> BuildError:
        """With the last lines, and the names (never the values) of variables that may be missing."""
        shown = "\n".join(tail)
        missed = sorted(self.wanted | self.surroundings.mentioned_in(shown))
        fix = "correct it and run it again"
        if missed:
            fix += f"; it did not get {', '.join(missed)}, which are set here: {_HINT}"
        return BuildError(f"{self.what} (exit code {code}):\n{shown}", where=f"{folder}; all of its output: {log}", fix=fix)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, task: Task, failed: _Failure) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=_TAIL)
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None  # noqa: S101
            for line in process.stdout:
                kept.write(line)
                plain = _CONTROL.sub("", line).strip()
                if plain:
                    tail.append(plain)
                    task.say(plain)
        except BaseException:
            _end(process)
            raise
        code = process.wait()
    if code != 0:
        raise failed.error(code, tail, folder, log)


def _end(process: subprocess.Popen[str]) -> None:
    """End a build and everything it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            pass
        return


@dataclass(frozen=True)
class Marks:
    """Remembers what the output folder was built from.

    Attributes:
        file: where.
    """

    file: Path

    def done(self, fingerprint: str, output: Path) -> bool:
        """Whether `output` holds exactly what was built from these sources."""
        try:
            kept = json.loads(self.file.read_bytes())
            return bool(kept["fingerprint"] == fingerprint and kept["tree"] == tree_digest(scan(output)))
        except (OSError, ValueError, KeyError, TypeError, AmianaiError):
            return False

    def keep(self, fingerprint: str, output: Path) -> None:
        """Remember it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps({"fingerprint": fingerprint, "tree": tree_digest(scan(output))}), encoding="ascii")
