"""Runs the command line, and what else needs its modules, in a process of its own whose modules are loaded already.

Loading them is a third of what a command of the stack costs, and tests run hundreds. Everything else is as for a person: arguments,
folder, environment, standard streams, exit status; there is no terminal. Who needs one, or the console script itself, starts
`Project.command()`.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

_Result = TypeVar("_Result")

# Forks from a process that did nothing but load these, and has one thread.
_START = multiprocessing.get_context("forkserver")
_START.set_forkserver_preload(
    [
        "amianai_infra.cli.main",
        "amianai_infra.cli.stack",
        "amianai_infra.cli.sandbox",
        "amianai_infra.engine.automation",
        "amianai_infra.operations.setup",
        "amianai_infra.sandbox",
        "amianai_infra.site.release",
        "amianai_infra.stack",
        "boto3.session",
        "botocore.session",
        "botocore.client",
        "botocore.handlers",
    ]
)


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A function of a module of the tests, in such a process; who starts it ends it."""
    process = _START.Process(target=target, args=arguments)
    process.start()
    return process


def call(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """What a function of a module of the tests gives in such a process."""
    with _START.Pool(1) as pool:
        return pool.apply(function, arguments)


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run`, for the console script and without standard input."""
    with tempfile.TemporaryDirectory() as name:
        streams = Path(name, "stdout"), Path(name, "stderr")
        process = start(_main, list(command), cwd, dict(env), streams)
        try:
            process.join()
        finally:
            process.kill()
        stdout, stderr = (stream.read_text(encoding="utf-8") if stream.exists() else "" for stream in streams)
    assert process.exitcode is not None
    return subprocess.CompletedProcess(list(command), process.exitcode, stdout, stderr)


def _main(command: list[str], cwd: Path, env: dict[str, str], streams: tuple[Path, Path]) -> None:
    os.setsid()
    for number, (path, flags) in enumerate([(Path(os.devnull), os.O_RDONLY), *((one, os.O_WRONLY | os.O_CREAT) for one in streams)]):
        os.dup2(os.open(path, flags, 0o600), number)
    sys.argv = command
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    from amianai_infra.cli.main import main

    main()
