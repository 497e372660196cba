"""The event stream gathered into counts, steps, problems; and how it is shown."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pulumi.automation.events import EngineEvent
from rich.console import Console

from amianai_infra.engine.display import Lines, Live, Silent, describe, display_for
from amianai_infra.engine.events import Item, Operation, Problem, Record, Summary, short_type
from amianai_infra.progress import Progress

PREFIX = "urn:pulumi:prod::amianai-infra::amianai:network:Network$"


def event(name: str, op: str, resource: str, *, kind: str = "aws:ec2/vpc:Vpc", custom: bool = True, **metadata: Any) -> EngineEvent:
    urn = f"{PREFIX}{kind}::{resource}"
    state = {"type": kind, "urn": urn, "custom": custom, "id": "", "parent": "", "provider": ""}
    content = {
        "metadata": {"op": op, "urn": urn, "type": kind, "provider": "", "new": state, **metadata},
        "planning": metadata.get("planning", False),
    }
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, name: content})


def diagnostic(message: str, severity: str = "error", urn: str = "") -> EngineEvent:
    return EngineEvent.from_json({"diagnosticEvent": {"message": message, "severity": severity, "urn": urn, "color": "never"}})


def feed(record: Record, op: str, /, *resources: str, final: str = "", **more: Any) -> None:
    for resource in resources:
        record.on_event(event("resourcePreEvent", op, resource, **more))
        record.on_event(event("resOutputsEvent", final or op, resource, **more))


def record(operation: Operation = "up") -> Record:
    ticks = iter(range(10_000))
    return Record(operation, clock=lambda: float(next(ticks)))


def test_resources_are_counted_and_bookkeeping_is_not() -> None:
    seen = record()
    feed(seen, "create", "a", "b")
    feed(seen, "same", "c")
    feed(seen, "create", "network", kind="amianai:network:Network", custom=False)
    feed(seen, "create", "default", kind="pulumi:providers:aws")
    summary = seen.summary()
    assert summary.counts == {"create": 2, "same": 1}
    assert [step.name for step in summary.steps] == ["a", "b"]
    assert summary.changed


def test_nothing_changed_is_said_in_two_words() -> None:
    seen = record()
    feed(seen, "same", "a", "b")
    assert not seen.summary().changed
    assert str(Summary("up", {"same": 2}, [], 12.0, changed=False)) == "no changes, 2 resources in 12 s"


def test_the_summary_line() -> None:
    counts = {"create": 3, "update": 1, "delete": 1, "same": 40}
    assert str(Summary("up", counts, [], 12.0, changed=True)) == "+3 created ~1 updated -1 deleted, 40 unchanged in 12 s"
    assert str(Summary("preview", {"create": 3}, [], 1.0, changed=True)) == "+3 to create in 1.0 s"


def test_a_replacement_is_one_step_with_its_reasons() -> None:
    seen = record()
    told: list[Item] = []
    seen.changed = told.append
    why: dict[str, Any] = {"detailedDiff": {"cidrBlock": {"diffKind": "update-replace"}}}
    for op in ("create-replacement", "replace", "delete-replaced"):
        feed(seen, op, "a", **(why if op != "delete-replaced" else {}))
    (step,) = seen.summary().steps
    assert (step.op, step.diffs) == ("replace", ("cidrBlock",))
    assert len(told) == 1


def test_a_plan_tells_what_it_would_create_and_in_nobodys_place() -> None:
    seen = record("preview")
    feed(seen, "create", "new", planning=True)
    feed(seen, "same", "old")
    feed(seen, "create-replacement", "other", planning=True)
    (one,) = seen.summary().creates
    assert one["urn"].endswith("::new")
    assert one["inputs"] == {}
    built = record("up")
    feed(built, "create", "new")
    assert built.summary().creates == ()


def test_a_refresh_is_known_by_its_result() -> None:
    seen = record("refresh")
    feed(seen, "refresh", "a", final="same")
    feed(seen, "refresh", "b", final="update", diffs=["tags"])
    feed(seen, "refresh", "c", final="delete")
    assert seen.summary().counts == {"same": 1, "update": 1, "delete": 1}
    assert seen.summary().steps[0].diffs == ("tags",)
    assert str(seen.summary()).startswith("~1 found changed -1 found gone, 1 unchanged in"), "it was merely read"


def test_a_component_that_changes_alone_is_still_a_change() -> None:
    seen = record()
    seen.on_event(EngineEvent.from_json({"summaryEvent": {"resourceChanges": {"same": 3, "delete": 1}}}))
    assert seen.summary().changed


def test_problems_are_told_once_and_without_markup() -> None:
    seen = record()
    urn = f"{PREFIX}aws:ec2/vpc:Vpc::a"
    for _ in range(2):
        seen.on_event(diagnostic("<{%fg 1%}>VpcLimitExceeded: no room<{%reset%}>\n", urn=urn))
    seen.on_event(diagnostic("update failed"))
    seen.on_event(diagnostic("careful", severity="warning"))
    assert seen.causes() == [Problem(urn, "VpcLimitExceeded: no room")]
    assert str(seen.causes()[0]) == "a (aws:ec2/vpc:Vpc): VpcLimitExceeded: no room"
    assert seen.warnings == ["careful"]


def test_when_nothing_else_was_said_the_noise_is_kept() -> None:
    seen = record()
    seen.on_event(diagnostic("update failed"))
    assert [problem.message for problem in seen.causes()] == ["update failed"]


def test_what_is_under_way_comes_longest_first() -> None:
    seen = record()
    for name in ("a", "b", "c"):
        seen.on_event(event("resourcePreEvent", "create", name))
    seen.on_event(event("resOutputsEvent", "create", "b"))
    assert [item.name for item in seen.running()] == ["a", "c"]
    assert seen.done() == 1


def test_a_failed_resource_is_no_step() -> None:
    seen = record()
    told: list[Item] = []
    seen.changed = told.append
    seen.on_event(event("resourcePreEvent", "create", "a"))
    seen.on_event(event("resOpFailedEvent", "create", "a"))
    assert seen.summary().steps == []
    assert describe(told[0]).startswith("! failed to create ec2 Vpc a")


def test_an_unknown_event_is_no_error() -> None:
    seen = record()
    seen.on_event(EngineEvent.from_json({"sequence": 4, "timestamp": 2}))
    seen.on_event(event("resOutputsEvent", "create", "never begun"))
    assert seen.summary().counts == {}


@pytest.mark.parametrize(("token", "short"), [("aws:ec2/vpc:Vpc", "ec2 Vpc"), ("amianai:dns:Dns", "dns Dns"), ("odd", "odd")])
def test_types_are_shown_short(token: str, short: str) -> None:
    assert short_type(token) == short


def item(**changed: Any) -> Item:
    given: dict[str, Any] = {"urn": "u", "type": "aws:rds/instance:Instance", "name": "database", "op": "update", "started": 0.0}
    return Item(**(given | {"seconds": 61.0, "state": "done"} | changed))


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"op": "create", "diffs": ("a",)}, "+ created rds Instance database (1 min 1 s)"),
        ({"diffs": ("class", "storage")}, "~ updated rds Instance database (1 min 1 s): class, storage"),
        ({"op": "replace", "planning": True, "diffs": ("name",)}, "± replace rds Instance database: name"),
        ({"diffs": tuple("abcdefgh")}, "~ updated rds Instance database (1 min 1 s): a, b, c, d, e, f, ..."),
    ],
)
def test_one_line_a_resource(changed: dict[str, Any], line: str) -> None:
    assert describe(item(**changed)) == line


def test_what_a_refresh_found_is_not_told_as_done() -> None:
    assert describe(item(op="delete"), "refresh") == "- found gone rds Instance database (1 min 1 s)"
    assert describe(item(diffs=("size",)), "refresh") == "~ found changed rds Instance database (1 min 1 s): size"


def console(**options: Any) -> tuple[io.StringIO, Progress]:
    file = io.StringIO()
    return file, Progress(console=Console(file=file, width=120, **options))


def test_lines_say_nothing_of_what_stays() -> None:
    file, progress = console()
    display = display_for(progress)
    assert isinstance(display, Lines)
    seen = record()
    seen.changed = display.changed
    display.begin(seen)
    feed(seen, "same", "kept")
    feed(seen, "create", "made")
    display.end(seen.summary())
    assert "kept" not in file.getvalue()
    assert file.getvalue().splitlines()[1].strip() == "+ created ec2 Vpc made (1.0 s)"
    assert file.getvalue().splitlines()[2].startswith("Updating the stack: +1 created, 1 unchanged in")


def test_lines_give_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    file, progress = console()
    display = Lines(progress)
    seen = record()
    display.begin(seen)
    seen.on_event(event("resourcePreEvent", "create", "slow"))
    display.tick()
    assert "still" not in file.getvalue()
    monkeypatch.setattr("amianai_infra.engine.display._HEARTBEAT", 0.0)
    display.tick()
    assert "still slow (" in file.getvalue()


def test_a_terminal_shows_what_is_under_way() -> None:
    file, progress = console(force_terminal=True)
    display = display_for(progress)
    assert isinstance(display, Live)
    seen = record()
    seen.expected = 20
    display.begin(seen)
    for number in range(10):
        seen.on_event(event("resourcePreEvent", "create", f"vpc{number}"))
    progress.console.print(display._draw())
    display.end(None)
    assert "vpc0" in file.getvalue()
    assert "and 2 more" in file.getvalue()
    assert "0/20" in file.getvalue()
    assert "stopped after" in file.getvalue()


def test_names_with_brackets_are_shown_as_they_are() -> None:
    file, progress = console(force_terminal=True)
    Live(progress).changed(item(name="zone[0]"))
    assert "zone[0]" in file.getvalue()


def test_quiet_shows_nothing() -> None:
    assert isinstance(display_for(Progress(quiet=True)), Silent)
