"""The engine's values to Python and back."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st
from pulumi.output import Unknown
from pulumi.runtime import rpc

from amianai_infra.sandbox.provider.values import UNKNOWN, Secret, decode, encode, has_unknown, reveal, secret_keys

SCALARS = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=8), inner, max_size=4),
        inner.map(Secret),
        st.just(UNKNOWN),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_values_survive_the_way_to_the_engine_and_back(values: dict[str, Any]) -> None:
    assert decode(encode(values)) == values


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_revealing_leaves_no_secret(values: dict[str, Any]) -> None:
    assert secret_keys(reveal(values)) == frozenset()
    assert has_unknown(reveal(values)) == has_unknown(values)


def test_the_marks_are_the_engines_own() -> None:
    message = encode({"a": 1, "b": UNKNOWN}, secrets=["a", "absent"])
    assert isinstance(rpc.deserialize_properties(message, keep_unknowns=True)["b"], Unknown)
    assert rpc.is_rpc_secret(rpc.deserialize_properties(message)["a"])


def test_nulls_are_absent_and_whole_numbers_are_integers() -> None:
    message = Struct()
    message.update({"none": None, "whole": 3.0, "part": 1.5, "nested": {"none": None}})
    assert decode(message) == {"whole": 3, "part": 1.5, "nested": {}}
    assert isinstance(decode(message)["whole"], int)


def test_a_secret_anywhere_marks_its_top_level_key() -> None:
    assert secret_keys({"tags": {"a": [Secret("b")]}, "name": "c"}) == {"tags"}
    assert "b" not in repr(Secret("b"))


def test_assets_are_refused() -> None:
    message = Struct()
    message.update({"file": {"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17", "text": "x"}})
    with pytest.raises(ValueError, match="assets"):
        decode(message)
