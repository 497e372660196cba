"""What the answers of a site carry, from its own files and from the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from amianai_infra.errors import BuildError
from amianai_infra.rules.cache import IMMUTABLE, REVALIDATE, SHORT
from amianai_infra.rules.header_rules import NEEDS
from amianai_infra.site.answers import FILE, Answers, answers
from amianai_infra.site.tree import scan
from tests.functional.site.site_world import release_settings


def of(folder: Path, files: dict[str, str], *, page_policies: bool = False, **settings: object) -> Answers:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    found = scan(folder)
    stated = next((file for file in found if file.path == FILE), None)
    chosen = release_settings(**settings)
    return answers([file for file in found if file is not stated], folder, chosen, stated, page_policies=page_policies)


HEADERS = """/*
  X-Robots-Tag: noindex
/docs
  Content-Language: de
/feed
  Content-Type: application/rss+xml
  Cache-Control: max-age=60
https://example.com/only
  X-Own: ours
https://project.pages.dev/only
  X-Own: theirs
"""


def test_headers_of_the_site_reach_its_files_by_their_addresses(tmp_path: Path) -> None:
    site = of(tmp_path, {"_headers": HEADERS, "docs/index.html": "d", "feed": "<rss/>", "only.html": "o", "404.html": "n"})
    found = {file.path: file for file in site.files}
    assert found["docs/index.html"].headers == (("content-language", "de"), ("x-robots-tag", "noindex"))
    assert (found["feed"].content_type, site.cache_control("feed")) == ("application/rss+xml", "max-age=60")
    assert found["only.html"].headers == (("x-own", "ours"), ("x-robots-tag", "noindex"))
    assert found["404.html"].headers == (), "no function runs for the answer that something is missing"
    assert site.cache_control("docs/index.html") == REVALIDATE


def test_settings_come_after_the_file_and_cache_rules_before_both(tmp_path: Path) -> None:
    files = {"_headers": "/a.js\n  X-Own: file\n  Cache-Control: max-age=1\n", "a.js": "1", "b.js": "2"}
    site = of(tmp_path, files, headers=["/*.js X-Own: setting"], cache_rules={"a.js": "max-age=2"})
    assert [file.headers for file in site.files] == [(("x-own", "setting"),)] * 2
    assert site.cache_control("a.js") == "max-age=2"
    assert site.cache_control("b.js") == SHORT


@pytest.mark.parametrize(
    ("text", "settings", "problem"),
    [
        ("/*\n  Set-Cookie: a=b\n", [], "_headers, line 2: set-cookie"),
        ("", ["/* Basic-Auth: a:b"], "site.headers: '/* Basic-Auth: a:b': basic-auth"),
        (f"/*\n  X-Long: {'x' * 2040}\n", [], "_headers, line 2: the headers of index.html have 2053 bytes; S3 keeps 2048"),
    ],
)
def test_what_cannot_be_given_is_refused_by_line(tmp_path: Path, text: str, settings: list[str], problem: str) -> None:
    with pytest.raises(BuildError, match="cannot be given") as caught:
        of(tmp_path, {"_headers": text, "index.html": "x"}, headers=settings)
    assert [line for line in caught.value.details if line.startswith(problem)]


def test_a_worker_is_what_a_page_registers_and_a_page_is_what_is_one(tmp_path: Path) -> None:
    site = of(
        tmp_path,
        {
            "app/index.html": "<script>navigator.serviceWorker.register('push-Cg1B1Bvb.js')</script>",
            "app/push-Cg1B1Bvb.js": "",
            "assets/main.js": "navigator.serviceWorker.register('./root.js')",
            "root.js": "",
            "about": "<!doctype html>x",
            "assets/other-Cg1B1Bvb.js": "",
        },
    )
    assert [site.cache_control(path) for path in ("app/push-Cg1B1Bvb.js", "root.js", "about")] == [REVALIDATE] * 3
    assert site.cache_control("assets/other-Cg1B1Bvb.js") == IMMUTABLE


def test_what_the_bundlers_own_manifest_lists_carries_a_hash(tmp_path: Path) -> None:
    manifest = '{"src/logo.png": {"file": "img/logo-CLDdwZDr.png"}, "x": {"css": ["css/plain.css"]}}'
    site = of(tmp_path, {".vite/manifest.json": manifest, "img/logo-CLDdwZDr.png": "", "img/own-BF8QNONU.png": "", "css/plain.css": ""})
    assert site.cache_control("img/logo-CLDdwZDr.png") == IMMUTABLE
    assert site.cache_control("img/own-BF8QNONU.png") == site.cache_control("css/plain.css") == SHORT
    assert of(tmp_path, {".vite/manifest.json": "[" * 9000}).cache_control("img/logo-CLDdwZDr.png") == SHORT


INLINE = "<script>a()</script>"
HASH = "qVpDBgj7bpq5hMAcGp3AOc79J3Y1Z4HvySTwKrWDoy4"


def policies(site: Answers) -> dict[str, str]:
    return {file.path: dict(file.headers).get(NEEDS, "") for file in site.files}


def test_pages_say_which_scripts_their_policy_names_and_scripts_what_they_need(tmp_path: Path) -> None:
    files = {"index.html": INLINE, "plain.html": "<p>x", "404.html": INLINE, "a.js": "a()", "own.html": INLINE}
    files["_headers"] = "/own\n  Content-Security-Policy: default-src 'none'\n"
    site = of(tmp_path, files, page_policies=True)
    assert policies(site) == {"index.html": HASH, "plain.html": "-", "404.html": "", "a.js": "", "own.html": ""}
    assert site.notes == ()
    assert set(policies(of(tmp_path, files)).values()) == {""}, "a stack of an earlier version"
    allowed = of(tmp_path, files, page_policies=True, inline_scripts="allowed")
    assert (policies(allowed)["index.html"], policies(allowed)["plain.html"], allowed.notes) == ("i", "i", ())


def test_web_assembly_and_workers_are_allowed_where_the_release_uses_them(tmp_path: Path) -> None:
    files = {"index.html": INLINE, "a.js": "a()", "b.wasm": "\0asm", "w.js": "new Worker(URL.createObjectURL(new Blob([code])))"}
    assert policies(of(tmp_path, files, page_policies=True)) == {"index.html": f"{HASH} w b", "a.js": "w b", "b.wasm": "", "w.js": "w b"}


def test_pages_that_keep_unsafe_inline_are_named(tmp_path: Path) -> None:
    many = "".join(f"<script>a({number})</script>" for number in range(60))
    site = of(tmp_path / "many", {"index.html": INLINE, "many.html": many}, page_policies=True)
    assert policies(site) == {"index.html": HASH, "many.html": "i"}
    assert "in 1 of the pages" in site.notes[0]
    assert site.notes[0].endswith("many.html")
    astro = of(tmp_path / "astro", {"index.html": INLINE, "client.js": "trigger('astro:before-swap')"}, page_policies=True)
    assert policies(astro) == {"index.html": "i", "client.js": ""}
    assert "client.js puts parts of other pages into the open one" in astro.notes[0]
    full = f"/*\n  X-Own: {'x' * 1990}\n"
    assert policies(of(tmp_path / "full", {"index.html": INLINE, "_headers": full}, page_policies=True)) == {"index.html": "i"}
