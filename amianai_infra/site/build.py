"""Builds the site. What is fresh is decided by its own build tool; the same sources and public settings give the same build id.

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from amianai_infra.errors import AmianaiError, BuildError, MissingToolError
from amianai_infra.site import inputs
from amianai_infra.site.environment import Surroundings
from amianai_infra.site.inputs import Sources
from amianai_infra.site.output import tree_digest
from amianai_infra.site.tree import scan

if TYPE_CHECKING:
    from amianai_infra.progress import Progress, Task

BUILD_ID = "AMIANAI_BUILD_ID"
_TAIL = 40
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
class Site:
    """A site's folder and how it is built.

    Attributes:
        folder: where its sources are.
        command: what builds it, run there.
        output: the folder that the build fills.
        environment: public settings the build gets.
        surroundings: what it gets of the environment of this process.
        inputs: what the build depends on, relative to `folder`; empty: nobody says, so it is built always.
    """

    folder: Path
    command: str
    output: Path
    environment: Mapping[str, str]
    surroundings: Surroundings
    inputs: Sequence[str] = ()


def sources(site: Site) -> Sources:
    """Identify what would be built, without building it."""
    how = (site.command, os.path.relpath(site.output, site.folder), site.surroundings.common.get("NODE_ENV", ""))
    return inputs.sources(site.folder, site.output, site.inputs, site.environment, site.surroundings.passed, how)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


def run(site: Site, found: Sources, build_id: str, progress: Progress, log: Path) -> None:
    """Run the site's own build. Its output is folded to one line unless it fails.

    Args:
        site: what to build.
        found: its sources.
        build_id: what the build is called.
        progress: where to report.
        log: file for all of its output.

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
    wanted = _wanted(site, found.files)
    progress.detail(f"Variables that the build does not get: {', '.join(surroundings.left_out) or 'none'}")
    if wanted:
        progress.note(f"The site's sources name what is set here but kept from the build: {', '.join(sorted(wanted))} ({_HINT})")
    with progress.task("Build of the site") as task:
        _run(
            _shell(site.command, environment),
            site.folder,
            environment,
            log,
            task,
            _Failure("The site's build failed", surroundings, wanted),
        )
        task.say(f"build {build_id}")


def _shell(command: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """A shell in which `build | tee log` fails when the build does; the plain one, where it cannot do that, and no bash is there."""
    bash = shutil.which("bash", path=environment.get("PATH"))
    if bash:
        return (bash, "-o", "pipefail", "-c", command)
    return ("/bin/sh", "-c", '(set -o pipefail) 2>/dev/null && set -o pipefail; eval "$1"', "sh", command)


def _wanted(site: Site, files: Iterable[Path]) -> set[str]:
    """Variables that command or sources ask for and the build does not get. Public settings come from us, whatever is set around us."""
    named = site.surroundings.named_in(site.command)
    for path in files:
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
    """Remembers which declared inputs the output folder was built from.

    Attributes:
        file: where.
    """

    file: Path

    def done(self, fingerprint: str, output: Path) -> bool:
        """Whether `output` holds exactly what was built from these inputs."""
        try:
            kept = json.loads(self.file.read_bytes())
            return bool(kept["fingerprint"] == fingerprint and kept["tree"] == tree_digest(scan(output)))
        except (OSError, ValueError, KeyError, TypeError, AmianaiError):
            return False

    def keep(self, fingerprint: str, output: Path) -> None:
        """Remember it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps({"fingerprint": fingerprint, "tree": tree_digest(scan(output))}), encoding="ascii")
