"""What two releases differ in."""

from __future__ import annotations

import pytest

from amianai_infra.site.diff import Change, compared, plain_name, told
from amianai_infra.site.manifest import Entry, Manifest, Summary

FOREVER = "public, max-age=31536000, immutable"


def release(number: int, files: dict[str, tuple[str, int]], cache: str = "no-cache") -> Manifest:
    entries = {
        path: Entry(etag, size, "text/plain", FOREVER if path.startswith("assets/") else cache, None)
        for path, (etag, size) in files.items()
    }
    total = sum(size for _, size in files.values())
    return Manifest(Summary(number, "deploy", number, "b", 0.0, 1.0, "me@here", "", len(files), total, 0), entries)


def test_what_was_added_removed_and_changed_with_its_growth() -> None:
    one = release(1, {"index.html": ("a", 1000), "old.html": ("b", 50), "same.html": ("c", 10)})
    other = release(2, {"index.html": ("A", 4000), "new.html": ("d", 70), "same.html": ("c", 10)})
    found = compared(one, other)
    assert [(one.kind, one.path, one.growth) for one in found.changes] == [
        ("changed", "index.html", 3000),
        ("added", "new.html", 70),
        ("removed", "old.html", -50),
    ]
    text = "\n".join(told(found))
    assert "3 -> 3 files" in text
    assert "Pages: 1 added, 1 removed, 1 changed (+3.0 kB)" in text
    assert "1.0 kB -> 4.0 kB" in text


def test_an_asset_that_only_changed_the_hash_in_its_name_is_one_and_a_page_is_not() -> None:
    one = release(1, {"assets/index-Cg1-1Bvb.js": ("a", 100), "assets/b-AAAAAAAA.js": ("b", 7), "x-12345678.html": ("p", 5)})
    other = release(2, {"assets/index-D_kq81Xz.js": ("A", 300), "assets/b-BBBBBBBB.js": ("b", 7), "x-87654321.html": ("q", 5)})
    assert compared(one, other).changes == (
        Change("assets/index-D_kq81Xz.js", "assets/index-Cg1-1Bvb.js", "changed", False, 100, 300),
        Change("x-12345678.html", "", "removed", True, 5, 0),
        Change("x-87654321.html", "", "added", True, 0, 5),
        Change("assets/b-BBBBBBBB.js", "assets/b-AAAAAAAA.js", "renamed", False, 7, 7),
    )
    text = told(compared(one, other))
    assert any("~" in line and "assets/index-*.js" in line for line in text)
    assert "Assets: 1 changed, 1 under another name only (+200 bytes)" in text


def test_assets_of_one_name_are_paired_by_content_first() -> None:
    one = release(1, {"assets/11111111.js": ("a", 100), "assets/22222222.js": ("b", 200)})
    other = release(2, {"assets/33333333.js": ("b", 200), "assets/44444444.js": ("c", 900), "assets/55555555.js": ("d", 950)})
    assert {(one.was, one.path, one.kind) for one in compared(one, other).changes} == {
        ("assets/22222222.js", "assets/33333333.js", "renamed"),
        ("assets/11111111.js", "assets/44444444.js", "changed"),
        ("", "assets/55555555.js", "added"),
    }


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("assets/index-Cg1B1Bvb.js", "assets/index-*.js"),
        ("assets/my-thing-Cg1B1Bvb.js", "assets/my-thing-*.js"),
        ("_next/static/chunks/app/page-3f2a9b1c0d1e2f3a.js", "_next/static/chunks/app/page-*.js"),
        ("_next/static/Zx81kQm3pLw0aB7cD9eF1/_buildManifest.js", "_next/static/*/_buildManifest.js"),
        ("static/main.3f2a9b1c.chunk.css", "static/main-*.chunk.css"),
        ("fonts/3f2a9b1c.woff2", "fonts/*.woff2"),
        ("assets/a.js", "assets/a.js"),
    ],
)
def test_names_without_their_hash(path: str, plain: str) -> None:
    assert plain_name(path) == plain


def test_other_headers_are_a_difference_and_equal_releases_have_none() -> None:
    one = release(1, {"index.html": ("a", 1)})
    assert [change.kind for change in compared(one, release(2, {"index.html": ("a", 1)}, cache="no-store")).changes] == ["headers"]
    assert told(compared(one, one))[1:] == ["Every file is the same."]


def test_it_stays_on_one_screen() -> None:
    one = release(1, {"index.html": ("a", 1)})
    many = {f"p{number}.html": ("x", number) for number in range(500)} | {f"assets/{number:08}.js": ("y", 9) for number in range(500)}
    lines = told(compared(one, release(2, many)))
    assert len(lines) <= 32
    assert any("and 489 more" in line for line in lines)
