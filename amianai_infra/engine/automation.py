"""The Automation API, cut to one process an operation. Imported only when an operation runs, because it loads pulumi.

`Stack.up` of the SDK starts four more processes (version, select, twice `stack output`, history) of 0.2 to 0.5 s each; nothing
here needs what they answer.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pulumi
from pulumi import automation as auto
from pulumi.runtime import rpc_manager
from semver import VersionInfo

from amianai_infra.engine.events import Operation, Record
from amianai_infra.engine.process import Completed

_CLEANED_UP = 10.0
"""Seconds that the SDK may take to be through with what it was awaiting."""

_IDLE = 5
"""Looks in a row at which it does nothing, to take it for through."""

Runner = Callable[[Sequence[str]], Completed]


class _Command(auto.PulumiCommand):
    """Runs the engine through `Runner` instead of the SDK's own subprocess, and knows its version without asking."""

    def __init__(self, runner: Runner, version: str, extra: Sequence[str] = ()) -> None:
        self.command = "pulumi"
        self.version = VersionInfo.parse(version)
        self._runner = runner
        self._extra = list(extra)
        self.ended = Completed("", "", 0)

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Any = None,
        on_error: Any = None,
    ) -> auto.CommandResult:
        """One process; the environment is the runner's."""
        self.ended = self._runner(["--non-interactive", *args, *self._extra])
        if self.ended.code != 0:
            raise Failed
        return auto.CommandResult(self.ended.stdout, self.ended.stderr, 0)


class Failed(Exception):
    """The engine ended with an error."""


class _Stack(auto.Stack):
    """A stack that is known to exist and whose outputs are read from its state."""

    def __init__(self, name: str, workspace: auto.Workspace) -> None:
        self.name = name
        self.workspace = workspace

    def outputs(self) -> auto.OutputMap:
        """Nothing: read from the state where they are wanted."""
        return {}

    def info(self, show_secrets: bool = True) -> auto.UpdateSummary:
        """Nothing: the event stream told already."""
        return auto.UpdateSummary("update", datetime.now(UTC), "", {}, {}, "succeeded")


def operate(
    operation: Operation,
    *,
    stack: str,
    project_dir: Path,
    program: Callable[[], None],
    version: str,
    runner: Runner,
    record: Record,
    targets: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> Completed:
    """Run one operation with the program in this process, and return how the engine ended.

    Args:
        operation: preview, up, refresh or destroy.
        stack: the stack's name.
        project_dir: folder with Pulumi.yaml.
        program: the program.
        version: the engine's version.
        runner: runs the engine with arguments.
        record: takes in the events.
        targets: URNs to limit the operation to.
        extra: further arguments.
    """
    loops: list[asyncio.AbstractEventLoop] = []

    def watched() -> None:
        loops.append(asyncio.get_running_loop())
        program()

    command = _Command(runner, version, extra)
    workspace = auto.LocalWorkspace(work_dir=str(project_dir), program=watched, pulumi_command=command)
    target = _Stack(stack, workspace)
    methods: dict[Operation, Callable[..., Any]] = {
        "preview": target.preview,
        "up": target.up,
        "refresh": target.refresh,
        "destroy": target.destroy,
    }
    options: dict[str, Any] = {"on_event": record.on_event, "suppress_outputs": True, "suppress_progress": True}
    if targets:
        options["target"] = list(targets)
    os.environ.setdefault("no_grpc_proxy", "127.0.0.1,localhost")  # a proxy cannot reach the engine on this machine
    # When the engine stops early, gRPC logs a traceback for every call that was under way; the event stream told already.
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    with suppress(Failed):  # its traceback holds what is to be collected
        methods[operation](**options)
    if command.ended.code:
        _bury(loops)
    return command.ended


def _bury(loops: Sequence[asyncio.AbstractEventLoop]) -> None:
    """When the engine ends before the program, the SDK drops what it was awaiting, and Python complains of it on standard error.

    Wait for it to be through and collect the remains here, where nobody hears of it.
    """
    end = time.monotonic() + _CLEANED_UP
    hook, sys.unraisablehook = sys.unraisablehook, lambda _unraisable: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            idle = 0
            while idle < _IDLE and time.monotonic() < end:  # between two calls that it cancels, a loop rests for a moment
                time.sleep(0.02)
                idle = 0 if any(loop.is_running() for loop in loops) else idle + 1
            for loop in loops:
                if not loop.is_running():
                    loop.close()  # it forgets to where a call fails while it is cancelled
            gc.collect()
    finally:
        sys.unraisablehook = hook


def _tolerant(log: Callable[..., None]) -> Callable[..., None]:
    """The SDK logs to the engine while it cleans up; an engine that is gone must not keep it from cleaning up."""

    def tolerant(*args: Any, **kwargs: Any) -> None:
        with suppress(grpc.RpcError):
            log(*args, **kwargs)

    return tolerant


pulumi.log.debug = _tolerant(pulumi.log.debug)
# For that log, which nobody reads, the SDK writes out the chain of exceptions of every call that fails: with eighty of them that is half
# a minute on one processor, for which a failed operation would wait.
rpc_manager.traceback = SimpleNamespace(format_exc=str)  # type: ignore[attr-defined, assignment]
