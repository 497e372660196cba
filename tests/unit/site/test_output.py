"""The build id that a finished site carries: an id, or none, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.naming import is_id
from amianai_infra.site.output import build_of
from amianai_infra.site.tree import File


def carried(folder: Path, content: bytes) -> str:
    (folder / "version.json").write_bytes(content)
    return build_of(folder, [File("version.json", len(content), "e", "application/json")])


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
def test_an_id_is_taken_as_it_is(tmp_path_factory: pytest.TempPathFactory, build: str) -> None:
    assert carried(tmp_path_factory.getbasetemp(), json.dumps({"build": build}).encode()) == build


@given(st.one_of(st.text(), st.integers(), st.lists(st.text())).filter(lambda value: not is_id(value)))
def test_anything_else_is_the_sites_own_affair(tmp_path_factory: pytest.TempPathFactory, build: object) -> None:
    assert carried(tmp_path_factory.getbasetemp(), json.dumps({"build": build}).encode()) == ""


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"build": ""}', b'{"build": null}', b"[" * 4000, b"\xff"])
def test_a_site_may_carry_none(tmp_path: Path, content: bytes) -> None:
    assert carried(tmp_path, content) == ""
    assert build_of(tmp_path, []) == ""
