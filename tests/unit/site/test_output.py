"""The build id that a finished site carries: an id, or none, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.errors import BuildError
from amianai_infra.naming import is_id
from amianai_infra.site.output import build_of
from amianai_infra.site.tree import File


def carried(folder: Path, content: bytes) -> str:
    (folder / "version.json").write_bytes(content)
    return build_of(folder, [File("version.json", len(content), "e", "application/json")])


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
def test_an_id_is_taken_as_it_is(tmp_path_factory: pytest.TempPathFactory, build: str) -> None:
    assert carried(tmp_path_factory.getbasetemp(), json.dumps({"build": build}).encode()) == build


@given(st.one_of(st.text(min_size=1), st.integers(1), st.lists(st.text(), min_size=1)).filter(lambda value: not is_id(value)))
def test_anything_else_is_refused_by_an_error_of_plain_text(tmp_path_factory: pytest.TempPathFactory, build: object) -> None:
    with pytest.raises(BuildError, match="build id") as caught:
        carried(tmp_path_factory.getbasetemp(), json.dumps({"build": build}).encode())
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"build": ""}', b'{"build": null}', b"[" * 4000, b"\xff"])
def test_a_site_may_carry_none(tmp_path: Path, content: bytes) -> None:
    assert carried(tmp_path, content) == ""
    assert build_of(tmp_path, []) == ""
