"""What pages weigh, and which budget holds."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from amianai_infra.site.budgets import Budget, exceeded
from amianai_infra.site.output import check_budgets
from amianai_infra.site.tree import scan

HOSTS = ("example.com",)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
KIND = ("document", "stylesheet", "script", "image", "media", "font", "other")
SITE: dict[str, str | bytes] = {
    "index.html": '<link rel=stylesheet href=/a.css><script type=module src=/a.js></script><img src=/a.png srcset="/large.png 2x">'
    '<script nomodule src=/old.js></script><link rel=icon href=/icon.png><link rel=prefetch href=/next.js><a href="/blog/">Blog</a>'
    "<img loading=lazy src=/below.png>",
    "blog/index.html": '<script src="https://example.com/a.js"></script><script src="https://other.example/b.js"></script>',
    "a.css": "@import 'b.css'; p { background: url(/b.png) }",
    "b.css": "@font-face { src: url(f.woff2) }",
    "a.js": "import './b.js'; import('./later.js'); new URL('./worker.js', import.meta.url)",
    "b.js": "import './a.js'",
    **dict.fromkeys(("old.js", "next.js", "later.js", "worker.js"), "x" * 9000),
    **dict.fromkeys(("a.png", "b.png", "large.png", "icon.png", "below.png"), PICTURE),
    "f.woff2": b"wOF2" + bytes(3000),
}


def weights(root: Path, site: dict[str, str | bytes], *lines: str) -> dict[tuple[str, str], dict[str, int]]:
    """What makes a page weigh what it does, by address and type: budgets of nothing say it."""
    for path, content in site.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.encode() if isinstance(content, str) else content)
    zero = [f"/ {kind} 0" for kind in KIND]
    found = exceeded(scan(root), lines or zero, HOSTS, lambda file: (root / file.path).read_bytes())
    return {(one.address, one.budget.kind): dict(one.files) for one in found}


def test_a_page_weighs_what_a_browser_fetches_to_show_it(tmp_path: Path) -> None:
    found = weights(tmp_path, SITE)
    assert {key: set(files) for key, files in found.items()} == {
        ("/", "document"): {"index.html"},
        ("/", "stylesheet"): {"a.css", "b.css"},
        ("/", "script"): {"a.js", "b.js"},
        ("/", "image"): {"a.png", "b.png"},
        ("/", "font"): {"f.woff2"},
        ("/blog/", "document"): {"blog/index.html"},
        ("/blog/", "script"): {"a.js", "b.js"},
    }
    assert found["/", "image"] == {"a.png": len(PICTURE), "b.png": len(PICTURE)}


def test_text_weighs_what_the_cdn_sends_of_it(tmp_path: Path) -> None:
    text = "const words = ['one', 'two'];\n" * 400
    packed = zlib.compress(text.encode(), wbits=31)
    site: dict[str, str | bytes] = {
        "index.html": "".join(f"<script src=/{name}.js></script>" for name in ("long", "short", "huge", "ready")) + "<img src=/a.svg>",
        "long.js": text,
        "short.js": "x" * 999,
        "huge.js": "x" * 10_000_001,
        "ready.js.gz": packed,
        "a.svg": f"<svg xmlns='http://www.w3.org/2000/svg'><!-- {'x' * 2000} --></svg>",
    }
    found = weights(tmp_path, {**site, "ready.js": text})
    assert found["/", "script"] == {"long.js": len(packed), "ready.js": len(packed), "short.js": 999, "huge.js": 10_000_001}
    assert found["/", "image"]["a.svg"] < 200


@pytest.mark.parametrize(
    ("path", "address", "holds"),
    [
        ("/", "/blog/first", True),
        ("/*", "/", True),
        ("/blog/", "/blog/first", True),
        ("/blog/", "/blog", False),
        ("/blog$", "/blog", True),
        ("/blog$", "/blog/first", False),
        ("/*/first$", "/blog/first", True),
        ("/*/first", "/blog/first-of-all", True),
        ("/a.b", "/axb", False),
    ],
)
def test_a_path_is_one_of_robots_txt(path: str, address: str, *, holds: bool) -> None:
    assert Budget.of(f"{path} total 1").holds(address) == holds


def test_the_last_budget_that_matches_holds_for_each_type(tmp_path: Path) -> None:
    lines = ("/* script 0", "/* image 0", "/blog/ script 100", "/* image 100")
    assert set(weights(tmp_path, SITE, *lines)) == {("/", "script")}


def test_what_is_told_names_page_type_weight_and_the_largest_files(tmp_path: Path) -> None:
    weights(tmp_path, SITE)
    lines = check_budgets(scan(tmp_path), tmp_path, HOSTS, ["/* total 22", "/blog/ total 0", "/* script 0"])
    size = len(PICTURE)
    assert lines[0].startswith("/: total 2")
    assert f" KiB of 22: a.png {size / 1024:.1f}, b.png {size / 1024:.1f}, f.woff2 2.9, …" in lines[0]
    assert lines[1:] == [
        "/blog/: total 0.2 KiB of 0: blog/index.html 0.1, a.js 0.1, b.js 0.0",
        "/ and 1 more: script 0.1 KiB of 0: a.js 0.1, b.js 0.0",
    ]
    assert check_budgets(scan(tmp_path), tmp_path, HOSTS, []) == []
