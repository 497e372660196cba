"""Putting a copy of the engine's state in its place: what is there now is kept, and nothing in AWS is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amianai_infra.errors import RefusedError
from amianai_infra.operations.context import Context
from amianai_infra.target import forget_outputs

if TYPE_CHECKING:
    from amianai_infra.engine import Candidate, Engine


_KEPT = "What is there now is kept as a copy first; nothing in AWS is touched."


@dataclass(frozen=True)
class Plan:
    """What would be put where."""

    chosen: Candidate
    present: str

    def text(self) -> list[str]:
        """For a person."""
        return ["The stack's state", f"  {self.present}", "becomes", f"  {self.chosen}", _KEPT]


@dataclass(frozen=True)
class Result:
    """What was put back, and where what it replaced is kept."""

    chosen: Candidate
    kept: str

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"restored": self.chosen.as_dict(), "kept": self.kept}

    def text(self) -> list[str]:
        """For a person."""
        kept = [f"what was there is kept: {self.kept}"] if self.kept else []
        return [f"restored {self.chosen}", *kept, "`amianai preview` shows what differs from it"]


def plan(engine: Engine, name: str | None) -> Plan:
    """Choose a copy: the one of that name, or the newest whole one."""
    return Plan(engine.copy_called(name), engine.state_at_hand())


def restore(context: Context, engine: Engine, found: Plan) -> Result:
    """Perform the plan once somebody said yes.

    Raises:
        RefusedError: nobody did, or the state is another one by then.
    """
    context.confirm("Put that copy in the place of the stack's state?")
    if (present := engine.state_at_hand()) != found.present:
        raise RefusedError(
            "Somebody changed the stack's state after this was planned; nothing was changed.",
            where=present,
            fix="run the command again: it shows what is there now and asks again",
        )
    kept = engine.restore(found.chosen)
    forget_outputs(context.target)
    return Result(found.chosen, kept)
