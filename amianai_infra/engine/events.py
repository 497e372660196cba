"""The engine's event stream, gathered into what a person wants to know: what is under way, what changed, what failed."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from amianai_infra.progress import duration

if TYPE_CHECKING:
    from pulumi.automation.events import DiagnosticEvent, EngineEvent, StepEventMetadata, StepEventStateMetadata

Operation = Literal["preview", "up", "refresh", "destroy"]

_UNCHANGED = frozenset(
    {"same", "read", "refresh", "read-discard", "read-replacement", "discard", "discard-replaced", "remove-pending-replace"}
)
_REPLACING = frozenset({"replace", "create-replacement", "delete-replaced", "import-replacement"})
_CREATING = frozenset({"create", "create-replacement"})
_MARKUP = re.compile(r"<\{%.*?%\}>")
_NOISE = re.compile(r"^(preview|update|refresh|destroy|resource) (failed|complete|canceled|\S+ failed)\b", re.IGNORECASE)
SIGNS = {"create": "+", "update": "~", "delete": "-", "replace": "±", "import": "="}
DONE = {"create": "created", "update": "updated", "delete": "deleted", "replace": "replaced", "import": "imported"}
# A refresh does nothing to a resource: it finds that it is not what the state says, or not there any more.
FOUND = {"update": "changed", "delete": "gone"}


@dataclass(frozen=True)
class Step:
    """One resource that an operation changed, or would change.

    Attributes:
        op: create, update, delete, replace or import.
        diffs: the properties that differ.
    """

    op: str
    urn: str
    type: str
    name: str
    diffs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """How an operation ended.

    Attributes:
        operation: preview, up, refresh or destroy.
        counts: how many resources (components not counted) were created, updated, deleted, replaced, same.
        steps: the resources that changed, in the order they were finished.
        seconds: how long it took.
        changed: whether anything differs from before; for a preview, whether anything would.
        creates: what a preview would create, as the state would hold it; what is not known before it exists is `pulumi`'s `UNKNOWN`.
    """

    operation: Operation
    counts: dict[str, int]
    steps: list[Step]
    seconds: float
    changed: bool
    creates: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        same = self.counts.get("same", 0)
        parts = [f"{SIGNS[op]}{self.counts[op]} {self._word(op)}" for op in SIGNS if self.counts.get(op)]
        if not parts:
            return f"no changes, {same} resources in {duration(self.seconds)}"
        unchanged = f", {same} unchanged" if same else ""
        return f"{' '.join(parts)}{unchanged} in {duration(self.seconds)}"

    def _word(self, op: str) -> str:
        return f"to {op}" if self.operation == "preview" else done_word(self.operation, op)


@dataclass(frozen=True)
class Problem:
    """An error the engine reported.

    Attributes:
        urn: the resource it belongs to; empty for the program as a whole.
        message: what was said, without terminal markup.
    """

    urn: str
    message: str

    def __str__(self) -> str:
        name, kind = self.urn.rpartition("::")[2], type_of(self.urn)
        if not self.urn or kind == "pulumi:pulumi:Stack":
            return self.message
        return f"{name} ({kind}): {self.message}"


@dataclass
class Item:
    """One resource in the course of an operation."""

    urn: str
    type: str
    name: str
    op: str
    started: float
    seconds: float = 0.0
    state: Literal["running", "done", "failed"] = "running"
    diffs: tuple[str, ...] = ()
    planning: bool = False
    replacing: bool = False


@dataclass
class Record:
    """Everything the event stream said so far. Safe to read from another thread through `snapshot`.

    Args:
        operation: what runs.
        expected: how many resources will be looked at, when that is known.
        changed: called with each resource that is finished and differs, outside the lock.

    Attributes:
        failed_creates: what creations that failed were to make, by URN.
        planned_creates: what a preview would create that takes no other one's place, by URN.
        replacing: those of them that were to take another one's place.
        waiting: what the engine waits for instead of a resource, one clause; empty while nothing is known to be in its way.
    """

    operation: Operation
    expected: int = 0
    changed: Callable[[Item], None] = lambda _item: None
    clock: Callable[[], float] = time.monotonic
    items: dict[str, Item] = field(default_factory=dict)
    finished: dict[str, Item] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    failed_creates: dict[str, dict[str, Any]] = field(default_factory=dict)
    planned_creates: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    replacing: set[str] = field(default_factory=set)
    resource_changes: dict[str, int] = field(default_factory=dict)
    waiting: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._began = self.clock()
        self.text = ""

    def on_event(self, event: EngineEvent) -> None:
        """Take in one event."""
        done: Item | None = None
        with self._lock:
            if event.resource_pre_event:
                self._begin(event.resource_pre_event.metadata, planning=bool(event.resource_pre_event.planning))
            elif event.res_outputs_event:
                done = self._end(event.res_outputs_event.metadata, "done")
            elif event.res_op_failed_event:
                done = self._end(event.res_op_failed_event.metadata, "failed")
                self._keep_failed(event.res_op_failed_event.metadata)
            elif event.diagnostic_event:
                self._diagnose(event.diagnostic_event)
            elif event.summary_event:
                self.resource_changes = {str(_value(op)): count for op, count in event.summary_event.resource_changes.items()}
            elif event.stdout_event:
                self.text += plain(event.stdout_event.message)
        if done is not None:
            self.changed(done)

    def _begin(self, metadata: StepEventMetadata, *, planning: bool) -> None:
        if not _counts(metadata):
            return
        op = str(_value(metadata.op))
        if self.operation == "preview" and op == "create" and metadata.new is not None:
            self.planned_creates[metadata.urn] = _entry(metadata, metadata.new)
        before = self.items.get(metadata.urn)
        started = before.started if before is not None else self.clock()
        self.items[metadata.urn] = Item(
            metadata.urn,
            metadata.type,
            metadata.urn.rpartition("::")[2],
            "replace" if op in _REPLACING else op,
            started,
            diffs=_diffs(metadata) or (before.diffs if before else ()),
            planning=planning,
            replacing=op in _REPLACING,
        )

    def _end(self, metadata: StepEventMetadata, state: Literal["done", "failed"]) -> Item | None:
        item = self.items.get(metadata.urn)
        if item is None:
            return None
        op = str(_value(metadata.op))
        item.op = "replace" if op in _REPLACING or item.replacing else op
        item.diffs = _diffs(metadata) or item.diffs
        item.state = state
        item.seconds = self.clock() - item.started
        before = self.finished.get(item.urn)
        self.finished[item.urn] = item
        news = before is None or before.state != state
        return item if news and (state == "failed" or differs(item.op)) else None

    def _keep_failed(self, metadata: StepEventMetadata) -> None:
        """The state forgets a creation that failed; what it was to make may exist all the same."""
        new = metadata.new
        if new is not None and str(_value(metadata.op)) in _CREATING and _counts(metadata):
            if str(_value(metadata.op)) in _REPLACING:
                self.replacing.add(metadata.urn)
            self.failed_creates[metadata.urn] = _entry(metadata, new)

    def said(self, urn: str) -> str:
        """All that was said about one resource."""
        return "\n".join(problem.message for problem in self.problems if problem.urn == urn)

    def _diagnose(self, event: DiagnosticEvent) -> None:
        message = plain(event.message)
        if event.severity == "error" and message:
            problem = Problem(event.urn or "", message)
            if problem not in self.problems:
                self.problems.append(problem)
        elif event.severity == "warning" and message and message not in self.warnings:
            self.warnings.append(message)

    def running(self) -> list[Item]:
        """What is under way, the longest first."""
        with self._lock:
            return sorted((item for item in self.items.values() if item.state == "running"), key=lambda item: item.started)

    def done(self) -> int:
        """How many resources are finished."""
        with self._lock:
            return len(self.finished)

    def steps(self) -> list[Step]:
        """The resources that changed so far."""
        with self._lock:
            return [
                Step(item.op, item.urn, item.type, item.name, item.diffs)
                for item in self.finished.values()
                if item.state == "done" and differs(item.op)
            ]

    def seconds(self) -> float:
        """Time since the start."""
        return self.clock() - self._began

    def summary(self) -> Summary:
        """The result in numbers."""
        steps = self.steps()
        with self._lock:
            counts: Counter[str] = Counter(
                item.op if differs(item.op) else "same" for item in self.finished.values() if item.state == "done"
            )
        others = any(differs(op) and count for op, count in self.resource_changes.items())
        creates = tuple(self.planned_creates.values())
        return Summary(self.operation, dict(counts), steps, self.seconds(), bool(steps) or others, creates)

    def causes(self) -> list[Problem]:
        """The problems without those that only say that there were problems."""
        real = [problem for problem in self.problems if not _NOISE.match(problem.message)]
        return real or list(self.problems)


def done_word(operation: Operation, op: str) -> str:
    """What was done to a resource, or found out about it: `deleted`, but `found gone` where it was merely read."""
    return f"found {FOUND[op]}" if operation == "refresh" and op in FOUND else DONE.get(op, op)


def differs(op: str) -> bool:
    """Whether an operation of this kind changes a resource."""
    return op not in _UNCHANGED


def plain(text: str) -> str:
    """A message of the engine without its colour markup."""
    return _MARKUP.sub("", text).strip()


def type_of(urn: str) -> str:
    """The resource type in a URN."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) > 3 else ""


def short_type(token: str) -> str:
    """`aws:ec2/vpc:Vpc` gives `ec2 Vpc`."""
    parts = token.split(":")
    if len(parts) != 3:
        return token
    return f"{parts[1].partition('/')[0]} {parts[2]}"


def _value(op: Any) -> Any:
    return getattr(op, "value", op)


def _counts(metadata: StepEventMetadata) -> bool:
    """Components, the stack and providers are bookkeeping: no resource of the cloud."""
    state = metadata.new or metadata.old
    return bool(state and state.custom) and not metadata.type.startswith("pulumi:")


def _entry(metadata: StepEventMetadata, new: StepEventStateMetadata) -> dict[str, Any]:
    """What was to be created, as the state would hold it. The event stream tells no dependencies."""
    return {
        "urn": metadata.urn,
        "type": metadata.type,
        "custom": True,
        "inputs": dict(new.inputs or {}),
        "parent": new.parent,
        "provider": new.provider,
        "protect": bool(new.protect),
    }


def _diffs(metadata: StepEventMetadata) -> tuple[str, ...]:
    names = list(metadata.detailed_diff or {}) or list(metadata.diffs or [])
    return tuple(sorted(names))
