"""The Automation API, cut to one process an operation. Imported only when an operation runs, because it loads pulumi.

`Stack.up` of the SDK starts four more processes (version, select, twice `stack output`, history) of 0.2 to 0.5 s each; nothing
here needs what they answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pulumi import automation as auto
from semver import VersionInfo

from amianai_infra.engine.events import Operation, Record
from amianai_infra.engine.process import Completed

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
    command = _Command(runner, version, extra)
    workspace = auto.LocalWorkspace(work_dir=str(project_dir), program=program, pulumi_command=command)
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
    with suppress(Failed):
        methods[operation](**options)
    return command.ended
