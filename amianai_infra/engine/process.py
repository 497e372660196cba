"""Running the engine's process: its environment, its output, and how it is stopped.

The engine runs in a process group of its own and writes into files, not pipes. A Ctrl-C in the terminal then reaches only us and
is passed on once, as the engine's own graceful cancellation; and if we are killed with SIGKILL, the engine notices that the
program is gone, lets what is under way finish, saves its state and releases its lock. (With pipes it died of SIGPIPE on the
next line of output and left lock and pending operations behind.)
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from amianai_infra.errors import EngineError, MissingToolError
from amianai_infra.interrupts import signals_as_interrupts

# Ambient variables that would attach another provider, let the engine fetch or choose a plugin that nobody checked, or choose
# another stack or another backend than the target's.
NEVER_AMBIENT = frozenset(
    {
        "PULUMI_BACKEND_URL",
        "PULUMI_DEBUG_PROVIDERS",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION",
        "PULUMI_ENABLE_LEGACY_PLUGIN_SEARCH",
        "PULUMI_RUN_PROGRAM",
        "PULUMI_STACK",
    }
)
_OPTIONS = "PULUMI_OPTION_"  # and any option of the command line: another folder, another stack file, other targets
_KILL_AFTER = 5.0
_ONE_PRESS = 0.25
"""Seconds within which several interrupts are one: a key that bounces, or a terminal and its parent that both pass it on."""


@dataclass(frozen=True)
class Completed:
    """How a run of the engine ended."""

    stdout: str
    stderr: str
    code: int
    pid: int = 0


def environment(ambient: Mapping[str, str], drop: frozenset[str], variables: Mapping[str, str]) -> dict[str, str]:
    """The engine's environment: the ambient one without what must not reach it, and the target's variables over it."""
    kept = {key: value for key, value in ambient.items() if key not in drop | NEVER_AMBIENT and not key.startswith(_OPTIONS)}
    kept |= {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_AUTOMATION_API": "true", "NO_COLOR": "1"}
    return {**kept, **variables, "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: str | None = None,
    tick: Callable[[], None] = lambda: None,
    interrupted: Callable[[], None] = lambda: None,
    started: Callable[[int], None] = lambda _pid: None,
) -> Completed:
    """Run the engine to its end.

    Args:
        command: program and arguments.
        cwd: the project folder.
        env: the whole environment.
        stdin: text for its standard input.
        tick: called about twice a second while it runs.
        interrupted: called once when the first Ctrl-C (or SIGTERM, SIGHUP) was passed on.
        started: called with the process id.

    Raises:
        KeyboardInterrupt: after the engine has ended, when the run was interrupted.
        MissingToolError: the program cannot be run.
    """
    with ExitStack() as files:
        given, out, err = (files.enter_context(_scratch()) for _ in range(3))
        given.write(stdin or "")
        given.seek(0)
        try:
            process = subprocess.Popen(
                [str(part) for part in command], cwd=cwd, env=dict(env), stdin=given, stdout=out, stderr=err, process_group=0
            )
        except FileNotFoundError as error:
            where = str(cwd if not cwd.is_dir() else command[0])
            raise MissingToolError("The Pulumi engine cannot be started.", where=where, fix="run `amianai doctor`") from error
        except OSError as error:
            raise EngineError("The Pulumi engine cannot be started.", where=str(error), fix="run `amianai doctor`") from error
        started(process.pid)
        with signals_as_interrupts():
            stopped = _wait(process, tick, interrupted)
        if stopped:
            raise KeyboardInterrupt
        return Completed(_text(out), _text(err), process.returncode, process.pid)


def _scratch() -> IO[str]:
    try:
        return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
    except OSError as error:
        fix = "make the folder for temporary files writable, or name another one in TMPDIR"
        raise EngineError("There is no room for temporary files.", where=str(error), fix=fix) from error


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _wait(process: subprocess.Popen[bytes], tick: Callable[[], None], interrupted: Callable[[], None]) -> bool:
    """Wait for the end; the first interrupt asks the engine to stop, the second one kills it. True when interrupted."""
    interrupts, first = 0, 0.0
    while process.returncode is None:
        try:
            tick()
            process.wait(0.5 if interrupts < 2 else _KILL_AFTER)
        except subprocess.TimeoutExpired:
            if interrupts >= 2:
                process.kill()
        except KeyboardInterrupt:
            if interrupts and time.monotonic() - first < _ONE_PRESS:
                continue
            interrupts += 1
            first = time.monotonic() if interrupts == 1 else first
            process.send_signal(signal.SIGINT)
            if interrupts == 1:
                interrupted()
    return interrupts > 0


def alive(pid: int) -> bool:
    """Whether a process with this id exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def started_at(pid: int) -> float | None:
    """When the process started, in seconds since the epoch; None when this machine does not tell."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None
