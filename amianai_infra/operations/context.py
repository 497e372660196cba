"""What an operation is given: the parts of one invocation, made when they are first used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from amianai_infra.config import Settings
    from amianai_infra.engine import Engine
    from amianai_infra.outputs import StackOutputs
    from amianai_infra.progress import Progress
    from amianai_infra.target import EngineEnvironment, Target


class Context(Protocol):
    """Where and with what an operation works; the command line's `App` is one."""

    @property
    def root(self) -> Path:
        """The folder that holds Pulumi.yaml."""
        ...

    @property
    def target(self) -> Target:
        """Which environment is acted on."""
        ...

    @property
    def settings(self) -> Settings:
        """Every setting, resolved."""
        ...

    @property
    def progress(self) -> Progress:
        """Where to report."""
        ...

    def engine(self, environment: EngineEnvironment | None = None) -> Engine:
        """The engine for the target, or for another environment of it."""
        ...

    def outputs(self, *, fresh: bool = False) -> StackOutputs:
        """What the stack published."""
        ...

    def announce(self) -> None:
        """Show the account, region and domain that are acted on."""
        ...

    def confirm(self, question: str) -> None:
        """Ask an ordinary question; raises RefusedError on no."""
        ...

    def offer(self, question: str) -> bool:
        """Whether a person at a terminal says yes; no where nobody is there."""
        ...

    def choose(self, key: str, value: str) -> None:
        """Take a setting as if it had been given with --set."""
        ...

    def confirm_domain(self, given: str | None, doing: str, domain: str) -> None:
        """Have the domain typed; raises RefusedError otherwise."""
        ...
