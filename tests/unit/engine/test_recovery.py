"""What a killed run leaves in the state, and the state after it was put in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.engine.backend import FailedCreate
from amianai_infra.engine.lookup import UNKNOWN
from amianai_infra.engine.recovery import (
    Existing,
    adopted,
    forget,
    planned,
    references,
    settle,
    stand_for,
    survey,
    take_back,
    unprotect,
    unrecorded,
    with_failed,
)
from amianai_infra.errors import NotFoundError, RefusedError

PREFIX = "urn:pulumi:prod::amianai-infra::"
PROVIDER = f"{PREFIX}pulumi:providers:aws::default"


def urn(name: str, kind: str = "aws:ec2/vpc:Vpc") -> str:
    return f"{PREFIX}{kind}::{name}"


def entry(name: str, **extra: Any) -> dict[str, Any]:
    return {
        "urn": urn(name),
        "type": "aws:ec2/vpc:Vpc",
        "custom": True,
        "id": f"vpc-{name}",
        "inputs": {"cidrBlock": "10.0.0.0/16"},
        "outputs": {"arn": f"arn:{name}"},
        "provider": f"{PROVIDER}::0a1b",
        **extra,
    }


def provider() -> dict[str, Any]:
    return {"urn": PROVIDER, "type": "pulumi:providers:aws", "custom": True, "id": "0a1b", "inputs": {}, "outputs": {}}


def creating(name: str, **extra: Any) -> dict[str, Any]:
    resource = entry(name, **extra)
    del resource["id"], resource["outputs"]
    return {"resource": resource, "type": "creating"}


def deployment(*resources: dict[str, Any], pending: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"manifest": {}, "resources": [provider(), *resources]}
    if pending:
        found["pending_operations"] = pending
    return found


def names(state: dict[str, Any]) -> list[str]:
    return [one["urn"].rpartition("::")[2] for one in state["resources"]]


def test_a_healthy_state_has_no_leftovers() -> None:
    assert not survey(deployment(entry("a"), entry("b")))
    assert not survey({})


def test_every_kind_of_leftover_is_seen() -> None:
    component = {"resource": {"urn": urn("net", "amianai:network:Network"), "type": "amianai:network:Network"}, "type": "creating"}
    left = survey(
        deployment(
            entry("half", outputs={}),
            entry("gone", delete=True, outputs={}),
            entry("read", external=True, outputs={}),
            pending=[creating("a"), component, {"resource": entry("b"), "type": "updating"}, {"resource": entry("c"), "type": "deleting"}],
        )
    )
    assert [one.urn for one in left.creates] == [urn("a")]
    assert left.bookkeeping == (urn("net", "amianai:network:Network"),)
    assert left.others == ((urn("b"), "updating"), (urn("c"), "deleting"))
    assert left.half == (urn("half"),)


def test_a_replacement_under_way_knows_the_old_identifier() -> None:
    left = survey(deployment(entry("a"), pending=[creating("a")]))
    assert left.creates[0].known == {"vpc-a"}


def test_secrets_in_the_inputs_stay_hidden() -> None:
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}
    left = survey(deployment(pending=[creating("a", inputs={"password": secret})]))
    assert left.creates[0].inputs == {"password": "[secret]"}


def test_a_found_resource_enters_the_state_without_outputs_and_nothing_stays_pending() -> None:
    before = deployment(entry("a"), pending=[creating("b", dependencies=[urn("a")]), creating("c")])
    after = settle(before, {urn("b"): "vpc-found"})
    assert names(after) == ["default", "a", "b"]
    assert after["resources"][2]["id"] == "vpc-found"
    assert "outputs" not in after["resources"][2]
    assert "pending_operations" not in after
    assert survey(after).half == (urn("b"),)
    assert before["pending_operations"], "the given state is not changed"


def test_a_creation_that_failed_is_pending_and_depends_on_what_its_inputs_name() -> None:
    before = deployment(entry("a"), entry("b"), entry("c"))
    failed = creating("x", inputs={"vpcId": "vpc-a", "list": [{"role": "arn:b"}]})["resource"]
    noted = with_failed(before, [failed])
    assert [one.urn for one in survey(noted).creates] == [urn("x")]
    after = settle(noted, {urn("x"): "vpc-found"})
    found = {one["urn"]: one for one in after["resources"]}[urn("x")]
    assert found["id"] == "vpc-found"
    assert found["dependencies"] == [urn("a"), urn("b")]
    assert "pending_operations" not in before


def test_a_creation_that_failed_before_its_parent_or_provider_existed_was_never_begun() -> None:
    orphan = creating("x", parent=urn("nowhere"))["resource"]
    assert with_failed(deployment(), [orphan]) == deployment()
    assert with_failed({"resources": []}, [creating("x")["resource"]]) == {"resources": []}


def test_what_was_made_and_not_completed_is_in_the_state_and_never_its_own_replacement() -> None:
    def failed(name: str, replaces: bool) -> FailedCreate:
        return FailedCreate(creating(name)["resource"], 0.0, unsure=True, replaces=replaces)

    incomplete = entry("incomplete", initErrors=["ModifyDBInstance: InternalFailure"])
    replaced = [entry("new", initErrors=["reset"]), entry("new", id="vpc-old", delete=True)]
    state = deployment(incomplete, *replaced, entry("old"), entry("adopted since"))
    noted = [failed("incomplete", False), failed("new", True), failed("old", True), failed("adopted since", False), failed("x", False)]
    assert [one.urn for one in unrecorded(state, noted)] == [urn("old"), urn("x")]


def test_what_another_run_adopted_meanwhile_is_not_adopted_as_its_own_replacement() -> None:
    resource = creating("a")["resource"]
    found = Existing({**resource, "inputs": {**resource["inputs"], "poolId": UNKNOWN, "list": [{"of": UNKNOWN}]}}, "vpc-a")
    assert not found.whole
    assert adopted(deployment(entry("a")), [found])["resources"] == deployment(entry("a"))["resources"]
    (made,) = [one for one in adopted(deployment(), [found])["resources"] if one["urn"] == urn("a")]
    assert made["id"] == "vpc-a"
    assert made["inputs"] == resource["inputs"], "what is not known yet is read"


def test_what_the_state_holds_under_another_name_is_not_what_would_be_created() -> None:
    question = planned({**creating("b")["resource"]}, deployment(entry("a"), entry("c", delete=True)), ["vpc-gone"])
    assert question.known == {"vpc-a", "vpc-c", "vpc-gone"}


def test_what_was_deleted_before_its_replacement_is_found_by_the_same_name() -> None:
    left = survey(deployment(entry("a", pendingReplacement=True), pending=[creating("a")]))
    assert left.creates[0].known == frozenset()


def test_what_is_replaced_is_marked_for_deletion_behind_its_replacement() -> None:
    after = settle(deployment(entry("a"), entry("child", dependencies=[urn("a")]), pending=[creating("a")]), {urn("a"): "vpc-new"})
    assert [(one["id"], bool(one.get("delete"))) for one in after["resources"]] == [
        ("0a1b", False),
        ("vpc-new", False),
        ("vpc-a", True),
        ("vpc-child", False),
    ]


def test_what_was_deleted_before_its_replacement_is_dropped() -> None:
    after = settle(deployment(entry("a", pendingReplacement=True), pending=[creating("a")]), {urn("a"): "vpc-new"})
    assert [one["id"] for one in after["resources"]] == ["0a1b", "vpc-new"]


@given(st.integers(1, 8), st.data())
def test_everything_a_resource_needs_comes_before_it(count: int, data: st.DataObject) -> None:
    """The engine refuses a state in which a resource precedes what it depends on."""
    resources: list[dict[str, Any]] = []
    pending: list[dict[str, Any]] = []
    for number in range(count):
        needs = data.draw(st.lists(st.integers(0, number - 1), unique=True)) if number else []
        dependencies = [urn(f"r{need}") for need in needs]
        if data.draw(st.booleans()) and not any(urn(f"r{need}") in {one["resource"]["urn"] for one in pending} for need in needs):
            pending.append(creating(f"r{number}", propertyDependencies={"x": dependencies}))
        elif not any(urn(f"r{need}") in {one["resource"]["urn"] for one in pending} for need in needs):
            resources.append(entry(f"r{number}", dependencies=dependencies))
    known = {one["urn"] for one in resources} | {one["resource"]["urn"] for one in pending} | {PROVIDER}
    for one in [*resources, *(each["resource"] for each in pending)]:
        for key in ("dependencies",):
            one[key] = [need for need in one.get(key, []) if need in known]
    after = settle(deployment(*resources, pending=pending), {each["resource"]["urn"]: "vpc-found" for each in pending})
    seen: set[str] = set()
    for one in after["resources"]:
        assert {need for need in references(one) if need in known} <= seen
        seen.add(one["urn"])
    assert seen == known


def test_forgetting_removes_every_reference() -> None:
    needs: dict[str, Any] = {"dependencies": [urn("a")], "propertyDependencies": {"x": [urn("a")]}, "replaceWith": [urn("a")]}
    after = forget(deployment(entry("a"), entry("b", deletedWith=urn("a"), **needs)), [urn("a")])
    assert names(after) == ["default", "b"]
    assert urn("a") not in references(after["resources"][1])


@pytest.mark.parametrize("gone", [urn("parent"), PROVIDER])
def test_what_something_else_belongs_to_is_not_forgotten_alone(gone: str) -> None:
    with pytest.raises(RefusedError, match="cannot stay"):
        forget(deployment(entry("parent"), entry("child", parent=urn("parent"))), [gone])


def test_unprotect_lifts_only_what_is_named() -> None:
    after = unprotect(deployment(entry("a", protect=True), entry("b", protect=True)), [urn("a")])
    assert [bool(one.get("protect")) for one in after["resources"]] == [False, False, True]


def test_a_resource_stands_for_another_one() -> None:
    before = deployment(entry("a", protect=True, outputs={"arn": "arn:a", "resourceId": "vpc-a", "id": "vpc-a"}), entry("b"))
    after = stand_for(before, urn("a"), "vpc-new")
    found = {one["urn"]: one for one in after["resources"]}
    assert found[urn("a")]["id"] == "vpc-new"
    assert found[urn("a")]["outputs"] == {"arn": "arn:a", "resourceId": "vpc-new", "id": "vpc-new"}
    assert found[urn("a")]["inputs"] == {"cidrBlock": "10.0.0.0/16"}
    assert found[urn("a")]["protect"] is True
    assert found[urn("b")] == entry("b")
    assert before["resources"][1]["id"] == "vpc-a", "the given state is left alone"
    assert stand_for(after, urn("a"), "vpc-new") == after
    assert not survey(after), "and is healthy"


def test_what_the_state_does_not_have_stands_for_nothing() -> None:
    with pytest.raises(NotFoundError, match="does not have this resource"):
        stand_for(deployment(entry("a", delete=True)), urn("a"), "vpc-new")


def test_a_replacement_that_ended_half_way_is_taken_back() -> None:
    old = entry("vpc", id="vpc-1", delete=True)
    table = {"inputs": {"vpcId": "vpc-1"}}
    other = entry("topic", id="t-1", delete=True)
    before = deployment(
        entry("vpc", id="vpc-2"),
        entry("table", id="rt-2", inputs={"vpcId": "vpc-2"}),
        entry("group", id="sg-2", inputs={"vpcId": "vpc-2"}),
        entry("topic", id="t-2"),
        old,
        entry("table", id="rt-1", delete=True, **table),
        other,
    )
    after = take_back(before, "vpc-1")["resources"][1:]
    assert [(one["id"], bool(one.get("delete"))) for one in after] == [
        ("vpc-1", False),
        ("rt-1", False),
        ("sg-2", False),
        ("t-2", False),
        ("vpc-2", True),
        ("rt-2", True),
        ("t-1", True),
    ]
    assert old["delete"] is True, "what was given stays as it was"
