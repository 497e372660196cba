"""What a verification asks for, and what it makes of the answers."""

from __future__ import annotations

import hashlib

import pytest

from amianai_infra.site.manifest import Entry, Manifest, Summary
from amianai_infra.site.verify import Answer, Check, checks_for, compare, request_path

SECURE = {"content-security-policy": "x", "x-content-type-options": "nosniff", "referrer-policy": "x", "strict-transport-security": "x"}


def entry(content: str, kind: str = "text/html; charset=utf-8") -> Entry:
    return Entry(hashlib.md5(content.encode()).hexdigest(), len(content), kind, "public, max-age=0", "v1")


def manifest(**files: str) -> Manifest:
    named = {name.replace("__", "/").replace("_html", ".html").replace("_js", ".js"): entry(content) for name, content in files.items()}
    return Manifest(Summary(4, "deploy", 4, "b", 0, 0, "", "", 0, 0, 0), named)


def test_every_changed_page_every_file_it_names_and_the_404() -> None:
    release = manifest(index_html="i", a__index_html="a", b__index_html="b", app_js="j", **{"404_html": "n"})
    checks = checks_for(release, ["a/index.html"], [("a/index.html", '<script src="/app.js"></script><a href="/b/">')])
    shown = {check.path: (check.file, check.whole, check.status) for check in checks}
    assert shown == {
        "/a/": ("a/index.html", True, 200),
        "/app.js": ("app.js", False, 200),
        "/b/": ("b/index.html", False, 200),
        "/": ("index.html", True, 200),
        "/amianai-no-such-page-4": ("404.html", True, 404),
    }


GOOD = {"content-type": "text/html; charset=UTF-8", "cache-control": "public,max-age=0", **SECURE}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(200, GOOD, b"a"), ""),
        (Answer(503, GOOD, b"a"), "answers 503"),
        (Answer(200, GOOD, b"b"), "other content"),
        (Answer(200, {**GOOD, "content-type": "text/plain"}, b"a"), "Content-Type"),
        (Answer(200, {**GOOD, "cache-control": "no-store"}, b"a"), "Cache-Control"),
        (Answer(200, {k: v for k, v in GOOD.items() if k != "content-security-policy"}, b"a"), "without content-security-policy"),
        (Answer(200, {k: v for k, v in GOOD.items() if k != "strict-transport-security"}, b"a"), "without strict-transport-security"),
    ],
)
def test_answers_are_judged(answer: Answer, problem: str) -> None:
    found = compare(Check("/a/", "a/index.html", entry("a"), whole=True, secure=True), answer, hsts=True)
    assert (problem in found[0]) if problem else found == []


def test_addresses() -> None:
    assert request_path("index.html") == "/"
    assert request_path("a/index.html") == "/a/"
    assert request_path("a b/[id].js") == "/a%20b/%5Bid%5D.js"
    assert request_path("myindex.html") == "/myindex.html"
