"""camelCase to the API's shapes and back."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.sandbox.provider.shapes import as_declared, counted, from_api, items_of, to_api, unless

NAMES = {"sseAlgorithm": "SSEAlgorithm", "id": "ID"}
KEYS = st.one_of(st.from_regex(r"[a-z][a-zA-Z]{0,8}", fullmatch=True), st.sampled_from(sorted(NAMES)))
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@given(VALUES)
def test_there_and_back(value: Any) -> None:
    assert from_api(to_api(value, NAMES), NAMES) == value


def test_spelling_and_absence() -> None:
    assert to_api({"sseAlgorithm": "AES256", "kept": None, "rules": [{"id": "a"}]}, NAMES) == {
        "SSEAlgorithm": "AES256",
        "Rules": [{"ID": "a"}],
    }


@given(st.lists(st.integers()))
def test_counted_lists(items: list[int]) -> None:
    block = counted(items)
    assert block["Quantity"] == len(items)
    assert items_of(block) == items


def test_what_aws_adds_to_a_structure_is_no_drift() -> None:
    assert as_declared({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 0, "b": {"c": 0}}) == {"a": 1, "b": {"c": 2}}
    assert as_declared({"a": 1}, None) == {"a": 1}


def failing(code: str) -> Any:
    def call(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": ""}}, "GetThing")

    return call


def test_expected_errors_are_absence_and_others_are_not() -> None:
    assert unless(("NoSuchThing",), failing("NoSuchThing"), Bucket="b") is None
    with pytest.raises(ClientError):
        unless(("NoSuchThing",), failing("AccessDenied"), Bucket="b")
    assert unless((), lambda **given: given, Bucket="b") == {"Bucket": "b"}
