"""The build id that a finished site carries: an id, or none, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.naming import is_id
from amianai_infra.rules.headers import content_security_policy
from amianai_infra.site.output import build_of, check_outside
from amianai_infra.site.plan import Group, Upload
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


def test_what_browsers_will_not_load_is_told_with_page_line_and_the_setting(tmp_path: Path) -> None:
    page = '<!doctype html>\n<link rel="stylesheet" href="https://fonts.example/css">\n<img src="https://img.example/a.png">'
    uploads = []
    for name in ("a.html", "b.html", "own.html"):
        (tmp_path / name).write_text(page)
        headers = (("content-security-policy", "default-src https:"),) if name == "own.html" else ()
        uploads.append(Upload(name, len(page), "", "text/html; charset=utf-8", "", Group.PAGES, None, headers))
    policy = content_security_policy(sources=["img-src https://img.example"])
    told = check_outside(uploads, tmp_path, ["example.com"], policy, ["img-src https://img.example"])
    assert told[1:] == [
        "  https://fonts.example (style-src): a.html, line 2 and 1 more",
        "To allow it: amianai --set 'site.csp_sources=img-src https://img.example,style-src https://fonts.example' up",
    ]
    assert "a visitor's console" in told[0]
    assert check_outside(uploads, tmp_path, ["fonts.example"], policy, []) == []
