"""Whether a stack's checkpoint is the one that was written last, and which copy of it could take its place.

The engine takes a missing checkpoint for a new stack and an older one for the truth: either builds a second stack beside the running one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from amianai_infra.engine.backend import Copy, Entry, StateFiles, latest, written_at
from amianai_infra.engine.recovery import is_real, references
from amianai_infra.errors import EngineError, NotFoundError, RefusedError

PRESENT = "present"
_LOOKED_AT = 12  # copies that are read to say what is in them
_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Content:
    """What a checkpoint holds.

    Attributes:
        resources: how many of its resources stand for something in AWS.
        at: when the engine made it; None for a new stack's.
        problem: why it cannot be used; empty when it can.
    """

    resources: int = 0
    at: datetime | None = None
    problem: str = ""


@dataclass(frozen=True)
class Candidate:
    """A copy and what is in it."""

    copy: Copy
    content: Content
    data: bytes

    def __str__(self) -> str:
        what = self.content.problem or f"{self.content.resources} resources"
        made = self.content.at or self.copy.at
        return f"{self.copy.name}  {self.copy.kind}, {made.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {what}"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        made = self.content.at or self.copy.at
        return {
            "name": self.copy.name,
            "kind": self.copy.kind,
            "at": made.astimezone(UTC).isoformat(),
            "resources": self.content.resources,
            "problem": self.content.problem,
        }


def examine(data: bytes | None, prefix: str) -> Content:
    """Read a checkpoint and check that it is whole.

    Args:
        data: its bytes.
        prefix: how the URNs of the stack's resources begin.
    """
    if not data:
        return Content(problem="empty")
    try:
        deployment = latest(data, "") or {}
        entries = deployment.get("resources") or []
        urns = {entry["urn"] for entry in entries}
        missing = {urn for entry in entries for urn in references(entry)} - urns
        count = sum(1 for entry in entries if is_real(entry) and not entry.get("delete"))
    except (EngineError, KeyError, TypeError, AttributeError):
        return Content(problem="damaged")
    strangers = [urn for urn in urns if not urn.startswith(prefix)]
    problem = "another stack's" if strangers else f"damaged: {min(missing)} is not in it" if missing else ""
    return Content(count, written_at(deployment), problem)


class Copies:
    """The checkpoint of one stack beside its copies.

    Args:
        files: what the backend holds of it.
        project: the project's name.
        stack: the stack's name.
    """

    def __init__(self, files: StateFiles, project: str, stack: str) -> None:
        self._files = files
        self._prefix = f"urn:pulumi:{stack}::{project}::"

    def candidates(self, most: int | None = _LOOKED_AT) -> list[Candidate]:
        """The newest copies or, without a number, all of them, newest first."""
        found = [(copy, self._files.read_copy(copy) or b"") for copy in self._files.copies()[:most]]
        return sorted((Candidate(copy, examine(data, self._prefix), data) for copy, data in found), key=_made, reverse=True)

    def choose(self, name: str | None) -> Candidate:
        """The copy of that name; without one the newest that can be used.

        Raises:
            NotFoundError: there is none.
            RefusedError: it cannot be used.
        """
        found = self._named(name) if name else next((one for one in self.candidates() if not one.content.problem), None)
        if found is None:
            what = f"There is no copy {name} of the stack's state." if name else "There is no copy of the stack's state that can be used."
            raise NotFoundError(what, where=self._files.address, fix="`amianai state copies` lists them")
        if found.content.problem:
            raise RefusedError(
                f"That copy cannot be used ({found.content.problem}); nothing was changed.",
                where=found.copy.name,
                fix="`amianai state copies` lists the others",
            )
        return found

    def _named(self, name: str) -> Candidate | None:
        if name == PRESENT:
            data = self._files.checkpoint()
            there = Copy(PRESENT, "checkpoint", datetime.now(UTC), Entry("", 0.0))
            return Candidate(there, examine(data, self._prefix), data or b"") if data is not None else None
        copy = next((one for one in self._files.copies() if one.name == name), None)
        data = self._files.read_copy(copy) if copy else None
        return Candidate(copy, examine(data, self._prefix), data) if copy and data is not None else None

    def at_hand(self) -> str:
        """Where the checkpoint lies and what is in it, for a person."""
        data = self._files.checkpoint()
        found = examine(data, self._prefix)
        made = f"{found.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, " if found.at else ""
        return f"{self._files.address} ({'gone' if data is None else found.problem or f'{made}{found.resources} resources'})"

    def restore(self, chosen: Candidate, require_alone: Callable[[str], None]) -> str:
        """Put a copy in the checkpoint's place, under a lock; where what was there is kept, if anything was.

        Args:
            chosen: the copy.
            require_alone: raises when there is another lock than the one of this key.
        """
        self._files.require_room()
        key = self._files.lock()
        try:
            require_alone(key)
            data = self.choose(PRESENT).data if chosen.copy.name == PRESENT else chosen.data
            kept = self._files.replace(data, f"amianai state restore {chosen.copy.name}")
            there = self._files.checkpoint()
            if wrong := self.fault(there) if there == data else "is not what was written":
                raise EngineError(f"A copy of the stack's state was put back, and what lies there {wrong}.", where=self._files.address)
        finally:
            self._files.remove_lock(key)
        return kept

    def fault(self, data: bytes | None) -> str:
        """What is wrong with a checkpoint, one clause; empty when it is the one that was written last.

        In a bucket it costs one listing, and nothing more while the newest entry of the history is the checkpoint's own.
        """
        if data is None:
            lost = next((one for one in self.candidates() if not one.content.problem), None)
            return "is gone, and copies of it are there" if lost and lost.content.resources else ""
        try:
            deployment = latest(data, "") or {}
        except EngineError:
            return "is damaged" if data else "is empty"
        mine = written_at(deployment)
        newest = self._files.recorded(mine)
        if newest is None or newest.entry.digest == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return ""
        there = self._files.read_copy(newest)
        if there == data:
            return ""
        recorded = examine(there, self._prefix)
        if recorded.problem or (recorded.at or _LONG_AGO) <= (mine or _LONG_AGO):
            return ""
        held = recorded.resources or any(is_real(entry) for entry in deployment.get("resources") or [])
        return "is older than its own history: something put it there" if held else ""

    def refuse(self, fault: str) -> RefusedError:
        """The error for such a checkpoint, with what could take its place."""
        lines = [str(one) for one in self.candidates()]
        way = "`amianai state restore` puts the newest whole copy back, `amianai state restore COPY` another one"
        accept = f"; `amianai state restore {PRESENT}` goes on with what is there" if "older" in fault else ""
        listed = "\n".join(["copies (`amianai state copies` lists all of them):", *lines]) if lines else "there is no copy"
        return RefusedError(f"The stack's state {fault}; nothing was changed.", where=f"{self._files.address}\n{listed}", fix=way + accept)


def _made(candidate: Candidate) -> tuple[datetime, datetime]:
    """When the engine made it, then when it was put there."""
    return candidate.content.at or (_LONG_AGO if not candidate.content.problem else candidate.copy.at), candidate.copy.at
