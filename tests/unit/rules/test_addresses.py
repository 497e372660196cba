"""The model of a site's addresses, and that the viewer function answers by it."""

from __future__ import annotations

import shutil
import unicodedata
from typing import Any

import pytest

from amianai_infra.rules import routing as made
from amianai_infra.rules.addresses import Form, address_at, addresses_of, canonical, encoded, forms
from amianai_infra.rules.redirects import Rule, parse
from amianai_infra.rules.routing import Routing, table
from amianai_infra.rules.viewer_function import viewer_function
from tests.unit.rules.edge import event, run

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

SITES: dict[str, list[str]] = {
    "flat pages": ["index.html", "about.html", "blog/first.html", "docs.html", "docs/start.html", "404.html", "logo.svg"],
    "folders": ["index.html", "about/index.html", "blog/first/index.html", "404.html", "404/index.html", "about/index.txt"],
    "both": ["index.html", "a.html", "a/index.html", "b.html", "b/index.html", "b/c.html"],
    "dots": ["index.html", "v1.2/index.html", "blog/node.js/index.html", "blog/vue.js.html", "icon/index.html", "x.y.z/w.html"],
    "no extension": ["index.html", "apple-app-site-association", "LICENSE", "CNAME", ".well-known/x/y", "icon", "a/b", "b", "b/index.html"],
    "letters": ["index.html", "ü/index.html", "größe.html", "a b/index.html", "c@d/e+f.html", "100%.html", "a#b.html", "q?.html"],
    "a page called as the index": ["index.html", "index/index.html", "x/index.html/index.html"],
}


def ask(files: list[str], routing: Routing, events: list[dict[str, Any]]) -> list[Any]:
    return run(events, viewer_function("example.com"), table(files, routing).items)


def answer_of(found: dict[str, Any]) -> tuple[int, str]:
    """Status and what is asked of the origin, or where the redirect leads."""
    return (found["statusCode"], found["headers"]["location"]["value"]) if "statusCode" in found else (200, found["uri"])


def expected(one: Any) -> tuple[int, str]:
    return (301, encoded(one.leads_to)) if one.leads_to else (200, encoded(f"/{one.file}"))


@needs_node
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", SITES)
def test_every_address_of_the_model_answers_as_it_says(name: str, exact: bool) -> None:
    files = SITES[name]
    routing = Routing(rules=(Rule("never/*", "/"),)) if exact else Routing()
    wanted = [one for path in files for one in addresses_of(path, files)]
    found = ask(files, routing, [event(encoded(one.path)) for one in wanted])
    assert [(one.path, answer_of(got)) for one, got in zip(wanted, found, strict=True)] == [(one.path, expected(one)) for one in wanted]


@pytest.mark.parametrize("name", SITES)
def test_one_address_is_of_one_file_and_what_leads_elsewhere_leads_to_a_page(name: str) -> None:
    files = SITES[name]
    found = {(one.path, one.file) for path in files for one in addresses_of(path, files)}
    assert len({path for path, _ in found}) == len(found)
    answered = {one.path for path in files for one in addresses_of(path, files) if not one.leads_to}
    assert {one.leads_to for path in files for one in addresses_of(path, files)} - {""} <= answered
    assert {canonical(path, files) for path in files} <= answered


@pytest.mark.parametrize("name", SITES)
def test_an_address_is_found_from_its_path(name: str) -> None:
    files = SITES[name]
    known = [one for path in files for one in addresses_of(path, files)]
    assert [address_at(one.path, files) for one in known] == known
    assert [path for path in ("/gone", "/gone/", "/index.html/x", "/.html") if address_at(path, files)] == []


def test_the_forms_of_pages() -> None:
    assert forms(SITES["both"]) == {"a": Form.BOTH, "b": Form.BOTH, "b/c": Form.FLAT}
    assert forms(SITES["no extension"]) == {"b": Form.BESIDE}
    assert forms(["index.html", "404.html", "de/404.html", "a/.html"]) == {}
    assert canonical("404.html", ["404.html"]) == "/404.html"


@needs_node
def test_the_query_goes_along_and_what_leads_elsewhere_never_leads_off_the_site() -> None:
    files = ["index.html", "docs/index.html", "a.html"]
    query = {"a": {"value": "1", "multiValue": [{"value": "1"}, {"value": "2"}]}}
    events = [event("/docs", query=query), event("//docs"), event("/\\docs"), event("/a/", query=query), event("/docs%0d%0ax")]
    found = [answer_of(one) for one in ask(files, Routing(), events)]
    assert found == [(301, "/docs/?a=1&a=2"), (301, "/docs/"), (301, "/docs/"), (301, "/a?a=1&a=2"), (200, "/docs%0d%0ax")]


@needs_node
def test_browsers_ask_again_for_a_redirect_as_the_next_release_may_turn_it_round() -> None:
    (found,) = ask(["index.html", "docs/index.html"], Routing(), [event("/docs")])
    assert found["headers"]["cache-control"]["value"] == "public, max-age=0, must-revalidate"


@needs_node
def test_a_decomposed_address_is_the_composed_one() -> None:
    files = ["index.html", "ü.html", "é/index.html", "bü.png"]
    asked = [unicodedata.normalize("NFD", one) for one in ("/ü.html", "/ü", "/é/", "/é", "/bü.png")]
    found = [answer_of(one) for one in ask(files, Routing(), [event(encoded(one)) for one in asked])]
    assert found == [(200, encoded(one)) for one in ("/ü.html", "/ü.html", "/é/index.html")] + [
        (301, encoded("/é/")),
        (200, encoded("/bü.png")),
    ]


@needs_node
def test_the_fallback_answers_navigations_only() -> None:
    files = ["index.html", "about.html", "report.pdf", "assets/app.js"]
    events = [
        event("/deep/link", accept="text/html,*/*"),
        event("/users/john.doe", sec_fetch_mode="navigate", accept="text/html"),
        event("/deep/link"),
        event("/report.pdf", sec_fetch_mode="navigate", accept="text/html"),
        event("/assets/gone.js", sec_fetch_mode="no-cors"),
        event("/assets/gone.js"),
        event("/api/x", sec_fetch_mode="cors"),
        event("/about", accept="text/html"),
    ]
    found = [answer_of(one) for one in ask(files, Routing(fallback="index.html"), events)]
    index = (200, "/index.html")
    assert found == [index, index, index, (200, "/report.pdf"), *[(200, "/assets/gone.js")] * 2, (200, "/api/x"), (200, "/about.html")]


@needs_node
def test_the_nearest_404_page_answers() -> None:
    files = ["index.html", "404.html", "de/index.html", "de/404.html", "de/at/404.html", "de/x.html"]
    asked = ["/de/nein", "/de/at/nein", "/de/nein/", "/nein", "/defekt", "/de/x", "/de/"]
    found = [answer_of(one)[1] for one in ask(files, Routing(), [event(one, accept="text/html") for one in asked])]
    assert found == ["/de/404.html", "/de/at/404.html", "/de/404.html", "/nein", "/defekt", "/de/x.html", "/de/index.html"]


@needs_node
def test_a_site_below_a_base_path_is_found_from_the_root() -> None:
    files = ["docs/index.html", "docs/a.html", "404.html"]
    found = [
        answer_of(one) for one in ask(files, Routing(home="/docs/"), [event("/"), event("/index.html"), event("/docs"), event("/docs/a")])
    ]
    assert found == [(302, "/docs/"), (302, "/docs/"), (301, "/docs/"), (200, "/docs/a.html")]


REDIRECTS = """
# moved
/old            /new
/old/           /never-reached   302
/blog/:year/:slug/   /posts/:slug?y=:year   308
/out/*          https://other.example/:splat   302
/about          /away   302
/forced         /new    307!
/inside         /new    200
/posts-of/:who  /people/:who 200
/shop/*         /new    301!
/rest/*         /index.html 200
"""


@needs_node
def test_rules_hold_as_netlify_and_cloudflare_read_them() -> None:
    files = ["index.html", "new.html", "about.html", "forced.html", "people/ann/index.html", "shop/x.html", "rest/y.html", "rest/z.png"]
    rules, problems = parse(REDIRECTS)
    assert problems == []
    cases = {
        "/old": (301, "/new"),
        "/old/": (301, "/new"),
        "/blog/2024/a-b": (308, "/posts/a-b?y=2024"),
        "/blog/2024/a/b": (200, "/blog/2024/a/b"),
        "/out/x/y": (302, "https://other.example/x/y"),
        "/out//evil.test": (302, "https://other.example//evil.test"),
        "/about": (200, "/about.html"),
        "/forced": (307, "/new"),
        "/inside": (200, "/new.html"),
        "/posts-of/ann": (200, "/people/ann/index.html"),
        "/posts-of/nobody": (200, "/people/nobody"),
        "/shop/x": (301, "/new"),
        "/rest/deep/er": (200, "/index.html"),
        "/rest/y": (200, "/rest/y.html"),
        "/rest/z.png": (200, "/rest/z.png"),
    }
    found = ask(files, Routing(rules=tuple(rules)), [event(one) for one in cases])
    assert dict(zip(cases, map(answer_of, found), strict=True)) == cases


@needs_node
def test_a_splat_cannot_lead_to_another_host() -> None:
    rules, _ = parse("/go/* /:splat 302")
    found = ask(["index.html"], Routing(rules=tuple(rules)), [event("/go//evil.test"), event("/go/%5cevil.test"), event("/go/a%0d%0ab")])
    assert [answer_of(one)[1] for one in found] == ["/evil.test", "/%5Cevil.test", "/a%0D%0Ab"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/a", "where to"),
        ("a /b", "path of an address of this site"),
        ("https://old.example/* /b", "path of an address of this site"),
        ("/a /b 404", "404.html"),
        ("/a /b 410", "status of 410"),
        ("/a /b abc", "country"),
        ("/a /b 302 Country=de", "country"),
        ("/a id=:id /b/:id", "query"),
        ("/a?x=1 /b", "query"),
        ("/a https://api.example/:splat 200", "one origin"),
        ("/a ftp://x/", "neither"),
        ("/a //evil.test", "neither"),
        ("/a /a/ 301", "itself"),
        ("/a/*/b /c", "at the end"),
        ("/a* /c", "whole segments"),
        ("/" + "x" * 500 + " /c", "characters"),
    ],
)
def test_what_cloudfront_cannot_do_is_refused_by_line(line: str, why: str) -> None:
    rules, problems = parse(f"# one\n/ok /fine\n{line}\n")
    assert [rule.source for rule in rules] == ["ok"]
    (problem,) = problems
    assert problem.startswith("line 3, ")
    assert why in problem


def test_rules_without_a_status_are_permanent_and_comments_are_none() -> None:
    rules, problems = parse("\ufeff/a /b # why\n\n  # x\n/c\t/d\t302!\n")
    assert (rules, problems) == ([Rule("a", "/b", 301), Rule("c", "/d", 302, forced=True)], [])


def test_too_many_patterns_are_refused() -> None:
    assert parse("".join(f"/{n}/* /x\n" for n in range(101)))[1] == ["more than 100 rules have placeholders"]


def test_equal_sites_have_equal_tables_and_every_value_fits() -> None:
    files = [f"page-{number}/index.html" for number in range(10_000)] + ["index.html"]
    one, other = table(files, Routing()), table(reversed(files), Routing())  # type: ignore[arg-type]
    assert one.items == other.items
    assert all(len(key.encode()) <= 512 and len(key.encode()) + len(value.encode()) <= 1024 for key, value in one.items.items())
    assert len(one.items) < 125, "ten thousand pages are a handful of calls"
    assert table([*files, "x.html"], Routing()).name != one.name


def test_many_rules_fit() -> None:
    rules = tuple(Rule(f"old/{number}", f"/new/{'x' * 300}{number}") for number in range(2000))
    items = table(["index.html"], Routing(rules=rules)).items
    assert all(len(key.encode()) + len(value.encode()) <= 1024 for key, value in items.items())


def test_addresses_whose_hashes_collide_get_another_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    real = made.hashed
    monkeypatch.setattr(made, "hashed", lambda salt, base: (0, "000000") if salt == 0 else real(salt, base))
    assert '"s":1' in table(["index.html", "a.html", "b.html"], Routing()).config
    # also a file that is no page must not be taken for one
    assert '"s":1' in table(["index.html", "a.html", "b.png"], Routing()).config
