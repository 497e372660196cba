"""The comparison of inputs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.sandbox.provider.diff import Change, compare, drifted_inputs
from amianai_infra.sandbox.provider.properties import document, flag, mapping, number, obj, objects, text, text_set, texts
from amianai_infra.sandbox.provider.values import UNKNOWN

TABLE = {
    "name": text(force_new=True),
    "size": number(),
    "zone": text(computed=True, force_new=True),
    "on": flag(default=True),
    "policy": document(),
    "set": text_set(),
    "list": texts(),
    "tags": mapping(),
    "rules": objects({"port": number(), "from": text_set()}, unordered=True),
    "block": obj({"a": text(), "b": text(force_new=True)}),
    "local": text(write_only=True),
    "mute": text(unreported=True, force_new=True),
    "version": text(drift_same=lambda declared, real: real.startswith(declared)),
}


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"size": 1}, {"size": 2}, [Change("size", "update", False)]),
        ({}, {"size": 2}, [Change("size", "add", False)]),
        ({"size": 1}, {}, [Change("size", "delete", False)]),
        ({"name": "a"}, {"name": "b"}, [Change("name", "update", True)]),
        ({"name": "a"}, {"name": UNKNOWN}, [Change("name", "update", True)]),
        ({"zone": "a"}, {}, []),
        ({"zone": "a"}, {"zone": "b"}, [Change("zone", "update", True)]),
        ({"set": ["a", "b"]}, {"set": ["b", "a"]}, []),
        ({"set": ["a", "b"]}, {"set": ["b", "c"]}, [Change("set", "update", False)]),
        ({"set": []}, {}, []),
        ({"list": ["a", "b"]}, {"list": ["b", "a"]}, [Change("list[0]", "update", False), Change("list[1]", "update", False)]),
        ({"list": ["a"]}, {"list": ["a", "b"]}, [Change("list[1]", "add", False)]),
        ({"tags": {"a": "1", "b": "2"}}, {"tags": {"a": "3", "c": "4"}}, [
            Change("tags.a", "update", False), Change("tags.b", "delete", False), Change("tags.c", "add", False),
        ]),
        ({"tags": {"x:y": "1"}}, {"tags": {"x:y": "2"}}, [Change('tags["x:y"]', "update", False)]),
        ({"tags": {"x": ""}}, {"tags": {}}, [Change("tags", "delete", False)]),
        ({"policy": '{"a": ["x"], "b": 1}'}, {"policy": '{"b":1,"a":"x"}'}, []),
        ({"policy": '{"a": 1}'}, {"policy": '{"a": 2}'}, [Change("policy", "update", False)]),
        ({"rules": [{"port": 1, "from": ["a", "b"]}, {"port": 2}]}, {"rules": [{"port": 2}, {"port": 1, "from": ["b", "a"]}]}, []),
        ({"block": {"a": "1", "b": "2"}}, {"block": {"a": "3", "b": "4"}}, [
            Change("block.a", "update", False), Change("block.b", "update", True),
        ]),
        ({"on": False}, {"on": True}, [Change("on", "update", False)]),
        ({"size": 0}, {"size": 0}, []),
        ({}, {"mute": "told after an import"}, [Change("mute", "add", False)]),
        ({"mute": "a"}, {"mute": "b"}, [Change("mute", "update", True)]),
    ],
)  # fmt: skip
def test_each_kind_of_difference(old: dict[str, Any], new: dict[str, Any], changes: list[Change]) -> None:
    assert compare(TABLE, old, new) == changes


def test_the_top_of_a_path() -> None:
    assert [Change(path, "add", False).top for path in ('tags["a.b"]', "list[0].x", "block.a", "name")] == ["tags", "list", "block", "name"]


TEXT = st.text("ab", max_size=2)
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXT,
        "size": st.integers(0, 3),
        "on": st.booleans(),
        "set": st.lists(TEXT, max_size=3),
        "list": st.lists(TEXT, max_size=3),
        "tags": st.dictionaries(TEXT, TEXT, max_size=3),
        "rules": st.lists(st.fixed_dictionaries({}, optional={"port": st.integers(0, 2), "from": st.lists(TEXT, max_size=2)}), max_size=3),
    },
)


@given(INPUTS)
def test_nothing_differs_from_itself(inputs: dict[str, Any]) -> None:
    assert compare(TABLE, inputs, inputs) == []


@given(INPUTS, INPUTS)
def test_a_difference_is_seen_from_both_sides(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert bool(compare(TABLE, one, other)) == bool(compare(TABLE, other, one))


@given(INPUTS, INPUTS)
def test_drift_is_exactly_what_then_differs(declared: dict[str, Any], real: dict[str, Any]) -> None:
    """What a refresh writes down differs from the declaration where reality does, and nowhere else."""
    found = drifted_inputs(TABLE, declared, {**dict.fromkeys(TABLE), **real}, importing=False)
    again = drifted_inputs(TABLE, found, {**dict.fromkeys(TABLE), **real}, importing=False)
    assert found == again
    touched = {change.top for change in compare(TABLE, declared, found)}
    assert touched <= {change.top for change in compare(TABLE, declared, real)}


def drift(declared: dict[str, Any], real: dict[str, Any], *, importing: bool = False) -> dict[str, Any]:
    return drifted_inputs(TABLE, declared, {**dict.fromkeys(TABLE), **real}, importing=importing)


def test_drift_keeps_the_words_of_the_declaration_where_they_hold() -> None:
    declared = {"set": ["a", "b"], "policy": '{ "a": "x" }', "version": "16", "local": "kept", "mute": "kept", "zone": "z"}
    assert drift(declared, {"set": ["b", "a"], "policy": '{"a":["x"]}', "version": "16.4", "zone": "z"}) == declared
    assert drift({"version": "16"}, {"version": "17.1"}) == {"version": "17.1"}


def test_drift_finds_what_was_added_and_removed_by_others() -> None:
    assert drift({"tags": {"a": "b"}}, {"tags": {"a": "b", "c": "d"}}) == {"tags": {"a": "b", "c": "d"}}
    assert drift({"size": 3}, {}) == {}
    assert drift({}, {"set": ["by hand"]}) == {"set": ["by hand"]}
    assert drift({}, {"zone": "chosen by AWS", "on": True}) == {}
    assert drift({}, {"on": False}) == {"on": False}


def test_an_import_takes_everything_that_is_set() -> None:
    assert drift({}, {"name": "n", "zone": "z", "set": [], "on": True}, importing=True) == {"name": "n", "zone": "z", "on": True}
