"""What a verification asks for, and what it makes of the answers."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import replace

import pytest

from amianai_infra.rules.header_rules import NEEDS
from amianai_infra.rules.headers import content_security_policy, page_policy, policy_of
from amianai_infra.rules.redirects import Rule
from amianai_infra.rules.routing import Routing
from amianai_infra.site.manifest import Entry, Manifest, Summary
from amianai_infra.site.verify import Answer, Check, Visitor, _trusted, checks_for, compare, told_by_stack
from amianai_infra.target import SiteAddress

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


def asked(
    release: Manifest, changed: list[str], removed: Sequence[str] = (), pages: Sequence[tuple[str, str]] = ()
) -> dict[str, tuple[str, int, str]]:
    checks = checks_for(release, changed, pages, removed)
    return {check.path: (check.file, check.status, check.location) for check in checks}


def test_what_pages_name_is_asked_for_at_the_address_that_they_name() -> None:
    release = manifest(index_html="i", a__index_html="a", b_html="b", c_html="c", **{"404_html": "n"})
    page = ("index.html", '<a href="/a"><a href="b.html"><a href="/b"><a href="/c/"><a href="/404.html">')
    assert asked(replace(release, table="t"), [], pages=[page]) == {
        "/a": ("a/index.html", 301, "/a/"),
        "/b.html": ("b.html", 200, ""),
        "/b": ("b.html", 200, ""),
        "/c/": ("c.html", 301, "/c"),
        "/": ("index.html", 200, ""),
        "/amianai-no-such-page-4": ("404.html", 404, ""),
    }
    without = asked(release, [], pages=[page])
    assert without.keys() == {"/a/", "/b.html", "/c.html", "/", "/amianai-no-such-page-4"}, "a function without a table knows no others"


def test_without_a_table_a_file_is_asked_for_where_the_function_finds_it_without_one() -> None:
    release = manifest(index_html="i", a__index_html="a", b_html="b", **{"404_html": "n"})
    assert asked(release, ["a/index.html", "b.html"], ["old.html"]).keys() == {"/a/", "/b.html", "/", "/amianai-no-such-page-4"}


def test_with_one_each_address_is_asked_for_as_pages_link_it_and_what_leads_there_and_what_is_gone() -> None:
    release = manifest(index_html="i", a__index_html="a", b_html="b", de__404_html="d", **{"404_html": "n"})
    release = replace(release, table="t", routing=Routing(rules=(Rule("b", "/a/", 302, forced=True),)))
    assert asked(release, ["a/index.html", "b.html", "de/404.html"]) == {
        "/a/": ("a/index.html", 200, ""),
        "/a": ("a/index.html", 301, "/a/"),
        "/": ("index.html", 200, ""),
        "/amianai-no-such-page-4": ("404.html", 404, ""),
        "/de/amianai-no-such-page-4": ("de/404.html", 404, ""),
    }
    release = replace(manifest(index_html="i", c_html="c", **{"404_html": "n"}), table="t")
    assert asked(release, ["c.html"], ["a/index.html", "c/index.html", "d.html"]) == {
        "/c": ("c.html", 200, ""),
        "/c/": ("c.html", 301, "/c"),
        "/": ("index.html", 200, ""),
        "/amianai-no-such-page-4": ("404.html", 404, ""),
        "/a/": ("404.html", 404, ""),
        "/d": ("404.html", 404, ""),
    }
    release = replace(release, routing=Routing(fallback="index.html"))
    assert asked(release, [], ["a/index.html"])["/amianai-no-such-page-4"] == ("index.html", 200, "")
    assert asked(release, [], ["a/index.html"])["/amianai-no-such-page-4.none"] == ("404.html", 404, "")


def test_a_redirect_must_lead_where_it_should() -> None:
    check = Check("/a", "a/index.html", entry("a"), whole=False, status=301, location="/a/")
    assert compare(check, Answer(301, {"location": "/a/"}, b""), hsts=True) == []
    assert compare(check, Answer(301, {"location": "/b/"}, b""), hsts=True) == ["/a leads to /b/, not to /a/"]
    assert compare(check, Answer(200, {}, b"a"), hsts=True) == ["/a answers 200, not 301"]


def test_what_the_stack_says_of_an_answer_is_said_of_each_page_with_its_own_scripts() -> None:
    policy = content_security_policy()
    stack = {"content-security-policy": policy, "x-frame-options": "DENY"}
    page = entry("a")._replace(headers=((NEEDS, "abc"),))
    check = Check("/a/", "a/index.html", page, whole=True, secure=True)
    said = told_by_stack(check, stack, page_policies=True)
    assert said == {"content-security-policy": policy_of(page_policy(policy), "abc"), "x-frame-options": "DENY"}
    assert told_by_stack(check, stack, page_policies=False) == stack
    own = replace(check, entry=page._replace(headers=(("x-frame-options", "SAMEORIGIN"),)))
    assert told_by_stack(own, stack, page_policies=True) == {"content-security-policy": policy}, "a file's own comes first"
    assert told_by_stack(replace(check, location="/b/"), stack, page_policies=True) == {}
    assert compare(check, Answer(200, GOOD, b"a"), hsts=True) == [], "what pages say for the edge is no header"


def test_the_systems_authorities_are_read_once_for_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    real = ssl.create_default_context

    def counted() -> ssl.SSLContext:
        made.append(real())
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    _trusted.cache_clear()
    for _ in range(3):
        Visitor(SiteAddress("https://example.com/", "example.com", ("example.com", 443), tls=True))._open()
    assert len(made) == 1
    _trusted.cache_clear()
