"""Addresses of released sites, asked for as pages link them: through the viewer function and the table that the release wrote."""

from __future__ import annotations

import http.client
import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest

from amianai_infra.errors import BuildError, NotFoundError, RefusedError, VerificationError
from amianai_infra.progress import Progress
from amianai_infra.rules.addresses import canonical
from amianai_infra.site.release import Publisher
from amianai_infra.site.takedown import Remover
from amianai_infra.site.texts import describe
from amianai_infra.site.verify import checks_for
from tests.browser.frameworks import PLAIN
from tests.crawler import Client
from tests.functional.site.site_world import Stage, release_settings

MISSING = "<!doctype html><title>ours</title>not here"


def page(text: str, *links: str) -> str:
    named = "".join(f'<a href="{link}">x</a>' for link in links)
    return f"<!doctype html><p>{text}</p>{named}</html>"


def get(stage: Stage, path: str, **headers: str) -> tuple[int, str]:
    """Status, and the body or where the redirect leads."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.cdn, timeout=30)
    try:
        connection.request("GET", quote(path, safe="/%#?&="), headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        return answer.status, answer.headers.get("Location") or body
    finally:
        connection.close()


FLAT = {
    "index.html": page("home", "/about", "/blog/first"),
    "about.html": page("about", "/"),
    "blog/first.html": page("first", "/blog/second"),
    "blog/second.html": page("second", "/about"),
    "404.html": MISSING,
}
FOLDERS = {
    "index.html": page("home", "about/", "/blog/first/"),
    "about/index.html": page("about", "../"),
    "blog/first/index.html": page("first", "../second/"),
    "blog/second/index.html": page("second", "/about/"),
    "404/index.html": MISSING,
    "404.html": MISSING,
}
DOTS = {
    "index.html": page("home", "/v1.2/", "/blog/node.js/", "/icon/", "/blog/vue.js", "/größe"),
    "v1.2/index.html": page("old", "/"),
    "blog/node.js/index.html": page("node", "/"),
    "blog/vue.js.html": page("vue", "/blog/node.js/"),
    "icon/index.html": page("icon"),
    "größe.html": page("size"),
}
SITES = {"flat": FLAT, "folders": FOLDERS, "dots": DOTS}


def test_flat_pages_are_where_they_are_linked(addressed: Stage) -> None:
    addressed.write(FLAT)
    release = addressed.deploy()
    assert get(addressed, "/about") == (200, FLAT["about.html"])
    assert get(addressed, "/blog/first") == (200, FLAT["blog/first.html"])
    assert get(addressed, "/about.html") == (200, FLAT["about.html"])
    assert get(addressed, "/about/") == (301, "/about")
    assert release.verified is not None
    assert release.verified.pages == 4


def test_a_folder_has_its_slash_so_that_relative_links_start_from_it(addressed: Stage) -> None:
    addressed.write({"index.html": page("home"), "docs/index.html": '<link rel="stylesheet" href="s.css"><p>docs', "docs/s.css": "b{}"})
    addressed.deploy()
    assert get(addressed, "/docs") == (301, "/docs/")
    assert get(addressed, "/docs/s.css") == (200, "b{}")


def test_dots_in_names_change_nothing(addressed: Stage) -> None:
    addressed.write(DOTS)
    addressed.deploy()
    for folder in ("/v1.2", "/blog/node.js", "/icon"):
        assert get(addressed, folder) == (301, f"{folder}/")
        assert get(addressed, f"{folder}/")[0] == 200
    assert get(addressed, "/blog/vue.js") == (200, DOTS["blog/vue.js.html"])


def test_files_without_an_extension_are_reachable_with_their_type(addressed: Stage) -> None:
    names = ("apple-app-site-association", "LICENSE", "CNAME", ".well-known/security")
    addressed.write({"index.html": page("home"), **dict.fromkeys(names, "{}")})
    addressed.deploy()
    for name in names:
        assert get(addressed, f"/{name}") == (200, "{}")
    assert addressed.world.live()["apple-app-site-association"].headers["Content-Type"] == "application/json; charset=utf-8"


def test_a_name_as_macos_keeps_it_is_published_as_visitors_ask_for_it(addressed: Stage) -> None:
    decomposed = unicodedata.normalize("NFD", "ü.html")
    addressed.write({"index.html": page("home", "/ü"), decomposed: page("umlaut")})
    addressed.deploy()
    assert sorted(addressed.world.live()) == ["404.html", "index.html", "ü.html"]
    assert get(addressed, "/ü.html")[0] == get(addressed, "/ü")[0] == 200
    assert get(addressed, f"/{decomposed}") == (200, page("umlaut"))
    addressed.write({"ü.html": "the other"}, clear=False)
    with pytest.raises(BuildError, match="cannot be published") as refused:
        addressed.deploy()
    assert "are one address" in refused.value.details[0]


def test_a_site_without_a_404_page_gets_a_plain_one(addressed: Stage) -> None:
    addressed.write({"index.html": page("home")})
    addressed.deploy()
    status, body = get(addressed, "/deep/link")
    assert status == 404
    assert "<h1>Page not found</h1>" in body
    assert 'lang="en"' in body
    again = addressed.deploy()
    assert not again.changed
    addressed.write({"404.html": MISSING}, clear=False)
    addressed.deploy()
    assert get(addressed, "/deep/link") == (404, MISSING)
    addressed.write({"index.html": page("home")})
    addressed.deploy()
    assert "<h1>Page not found</h1>" in get(addressed, "/deep/link")[1], "an earlier release's page does not serve a site that has none"


@pytest.mark.parametrize("front", ["", "\n", "<!doctype html><html><head><title></title></head><body><div id='root'></div></body></html>"])
def test_a_blank_front_page_is_refused(stage: Stage, front: str) -> None:
    stage.write({"index.html": front, "a.html": "x"})
    with pytest.raises(BuildError, match="blank page"):
        stage.deploy()
    assert stage.world.live() == {}


def test_a_single_page_app(addressed: Stage) -> None:
    app = '<!doctype html><div id="root"></div><script type="module" src="/assets/app.js"></script>'
    addressed.write({"index.html": app, "assets/app.js": "1"})
    addressed.deploy()
    assert get(addressed, "/users/ann", Accept="text/html")[0] == 404
    release = addressed.deploy(fallback="index.html")
    assert release.changed
    assert get(addressed, "/users/ann", Accept="text/html") == (200, app)
    assert get(addressed, "/users/ann") == (200, app)
    assert get(addressed, "/assets/gone.js")[0] == 404
    assert get(addressed, "/api", **{"Sec-Fetch-Mode": "cors"})[0] == 404
    back = addressed.rollback()
    assert (back.kind, back.origin) == ("rollback", 1)
    assert get(addressed, "/users/ann", Accept="text/html")[0] == 404, "a rollback restores that release's addresses, too"
    with pytest.raises(BuildError, match=r"site\.fallback is app\.html"):
        addressed.deploy(fallback="app.html")


def test_a_folders_own_404_page(addressed: Stage) -> None:
    addressed.write({**FLAT, "de/index.html": page("de"), "de/404.html": "<p>nicht da"})
    addressed.deploy()
    assert get(addressed, "/de/nirgends") == (404, "<p>nicht da")
    assert get(addressed, "/de/") == (200, page("de"))
    assert get(addressed, "/nowhere") == (404, MISSING)


def test_a_site_below_a_base_path(addressed: Stage) -> None:
    inside = {"docs/index.html": page("docs", "/docs/a"), "docs/a.html": page("a")}
    addressed.write(inside)
    with pytest.raises(BuildError, match=r"has no index\.html") as refused:
        addressed.deploy()
    assert "site.base_path=docs" in refused.value.fix
    addressed.deploy(base_path="docs")
    assert get(addressed, "/") == (302, "/docs/")
    assert get(addressed, "/docs/a") == (200, inside["docs/a.html"])
    addressed.write({"index.html": inside["docs/index.html"], "a.html": inside["docs/a.html"]})
    assert not addressed.deploy(base_path="docs").changed, "put there by us or by the build: the same site"


def test_redirects_are_honoured_and_what_cannot_be_is_refused_by_line(addressed: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    addressed.write({**FLAT, "_redirects": "/old /about 302\n/news/* /blog/:splat\n/legacy /about 200\n/about /old\n"})
    addressed.deploy()
    assert "_redirects: never used, since a page, a file or a rule above answers there: /about." in capfd.readouterr().err
    assert get(addressed, "/old") == (302, "/about")
    assert get(addressed, "/news/first") == (301, "/blog/first")
    assert get(addressed, "/legacy") == (200, FLAT["about.html"])
    assert get(addressed, "/_redirects")[0] == 404
    assert "_redirects" not in addressed.world.live()
    addressed.write({**FLAT, "_redirects": "/old /blog/first\n"})
    assert addressed.deploy().changed
    assert get(addressed, "/old") == (301, "/blog/first")
    assert get(addressed, "/news/first")[0] == 404
    addressed.rollback()
    assert get(addressed, "/news/first") == (301, "/blog/first")
    addressed.write({**FLAT, "_redirects": "/a /b\n/proxy/* https://api.example/:splat 200\n"})
    with pytest.raises(BuildError, match="cannot do") as refused:
        addressed.deploy()
    assert refused.value.details[0].startswith("line 2, ")


def test_pages_and_files_that_the_release_does_not_have_are_gone_and_a_rollback_brings_them_back(addressed: Stage) -> None:
    first = {**FLAT, "data.json": "{}", "logo.svg": "<svg/>", "app.0123abcd.js": "1"}
    addressed.write(first)
    addressed.deploy()
    addressed.write({"index.html": page("only this"), "404.html": MISSING})
    release = addressed.deploy()
    for gone in ("/about", "/about.html", "/blog/first", "/data.json", "/logo.svg"):
        assert get(addressed, gone) == (404, MISSING), gone
    assert get(addressed, "/app.0123abcd.js") == (200, "1"), "tabs that are open ask for it"
    assert (release.pruned, release.staying) == (5, 1)
    assert "Removed 5 files that the site no longer has; a rollback brings them back." in describe(release)
    addressed.rollback()
    for path, content in first.items():
        assert get(addressed, canonical(path, first)) == (200, content)


def test_pages_of_a_release_that_was_refused_are_gone(addressed: Stage) -> None:
    addressed.write(FLAT)
    addressed.deploy()
    addressed.world.sabotage = lambda key, body: b"broken" if b"<p>new" in body else body
    addressed.write({**FLAT, "new.html": page("new"), "other/index.html": page("other")})
    with pytest.raises(VerificationError):
        addressed.deploy()
    for gone in ("/new", "/new.html", "/other/", "/other"):
        assert get(addressed, gone) == (404, MISSING), gone
    assert get(addressed, "/about") == (200, FLAT["about.html"])


@pytest.mark.parametrize("phase", ["_route_both", "_register", "_route", "_prune", "_invalidate"])
def test_an_exchange_that_was_cut_off_is_finished_by_the_next_release(
    addressed: Stage, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    addressed.write(FLAT)
    addressed.deploy()
    addressed.write(FOLDERS)

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Publisher, phase, cut)
        addressed.deploy()
    for path in ("/", "/about", "/blog/first"):
        status, body = get(addressed, path)
        assert (status, body.endswith("</html>") or body == f"{path}/") in ((200, True), (301, True)), (path, status, body)
    finished = addressed.deploy()
    if not finished.changed:
        assert describe(finished)[0].startswith("Finished what was cut off: 6 files are as released (release 2). ")
    for path in FOLDERS.keys() - {"404.html", "404/index.html"}:
        assert get(addressed, canonical(path, FOLDERS)) == (200, FOLDERS[path])
    for gone in ("/about.html", "/blog/first.html", "/blog/second.html"):
        assert get(addressed, gone) == (404, MISSING)
    assert get(addressed, "/about") == (301, "/about/")


def test_where_nothing_was_live_before_the_way_forward_is_named(addressed: Stage) -> None:
    for site in (FLAT, FOLDERS):
        addressed.write(site)
        addressed.deploy(verify=False)
    addressed.rollback(verify=False)
    with pytest.raises(NotFoundError, match="Nothing was live before the content of release 1") as refused:
        addressed.rollback(verify=False)
    assert refused.value.fix == "to go forward again: `amianai rollback 2`"


def remover(stage: Stage) -> Remover:
    return Remover(stage.target, release_settings(), stage.outputs, Progress(quiet=True), sleep=lambda seconds: None)  # type: ignore[arg-type]


def test_a_page_is_taken_down_for_good(addressed: Stage) -> None:
    other = {**FLAT, "about.html": page("about, and who it is about", "/")}
    for site in (FLAT, other, FOLDERS, FLAT):
        addressed.write(site)
        addressed.deploy()
    addressed.world.forget()
    done = remover(addressed).takedown("https://example.com/about", "names a customer")
    assert (done.files, done.number) == (("about/index.html", "about.html"), 5)
    for gone in ("/about", "/about/", "/about.html", "/about/index.html"):
        assert get(addressed, gone) == (404, MISSING), gone
    kept = [one.data for versions in addressed.world.bucket.versions.values() for one in versions if one]
    assert not any(b"about</p>" in data or b"who it is about" in data for data in kept), "no version is left"
    assert get(addressed, "/blog/first") == (200, FLAT["blog/first.html"])

    for number in (1, 2, 3):
        addressed.rollback(number)
        for gone in ("/about", "/about/", "/about.html", "/about/index.html"):
            assert get(addressed, gone)[0] == 404, (number, gone)
    addressed.write(other)
    assert addressed.deploy().changed
    assert get(addressed, "/about") == (404, MISSING), "the same content is not published again"
    addressed.write({**FLAT, "about.html": page("about nobody", "/")})
    addressed.deploy()
    assert get(addressed, "/about") == (200, page("about nobody", "/")), "another one is"
    last = addressed.publisher().state().last
    assert last is not None
    assert {(path, one.why) for path, one in last.taken.items()} == {(path, "names a customer") for path in done.files}
    assert all("@" in one.who and one.at > 0 for one in last.taken.values())
    kinds = [one.summary.kind for one in addressed.releases()]
    assert "takedown" in kinds


def test_what_cannot_be_taken_down_is_refused_and_nothing_changes(addressed: Stage) -> None:
    addressed.write(FLAT)
    addressed.deploy()
    with pytest.raises(RefusedError, match="front page"):
        remover(addressed).takedown("/", "x")
    with pytest.raises(NotFoundError, match="Nothing answers at /nowhere"):
        remover(addressed).takedown("/nowhere", "x")
    assert not addressed.deploy().changed


@pytest.mark.parametrize("step", ["_delete", "_forget", "_from_previews", "_check_gone"])
def test_a_takedown_that_was_cut_off_is_finished_by_the_same_command(addressed: Stage, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    addressed.write(FLAT)
    addressed.deploy()

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Remover, step, cut)
        remover(addressed).takedown("/about", "names a customer")
    addressed.world.forget()
    done = remover(addressed).takedown("/about", "x")
    assert (done.files, done.addresses) == (("about.html",), ("/about", "/about.html", "/about/"))
    assert step == "_delete" or (done.number, done.why) == (2, "names a customer"), "what is done is not done again"
    assert addressed.world.invalidated, "the CDN is told"
    assert "about.html" not in addressed.world.bucket.versions
    assert get(addressed, "/about")[0] == 404
    assert get(addressed, "/about.html") == (404, MISSING)
    assert not addressed.deploy().changed


def test_a_release_without_the_store_is_as_before_and_the_first_with_it_writes_the_addresses(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.write(FOLDERS)
    stage.deploy()
    assert get(stage, "/about/")[0] == 200
    with pytest.raises(RefusedError, match=r"cannot do site\.fallback yet"):
        stage.deploy(fallback="index.html")
    assert "/v1.2 answer 404" not in capfd.readouterr().err
    stage.write({**FOLDERS, "v1.2/index.html": page("old")})
    stage.deploy()
    assert "Addresses such as /v1.2 answer 404 on this stack" in capfd.readouterr().err
    stage.write(FOLDERS)
    stage.deploy()
    edge = stage.with_addresses()
    assert stage.deploy().changed, "the stack has the store since, and nothing else changed"
    assert get(stage, "/about") == (301, "/about/")
    assert not stage.deploy().changed
    edge.close()


def crawl(stage: Stage) -> set[str]:
    """The addresses of pages that a crawler finds from the front page; what leads elsewhere counts as where it leads."""
    waiting, found = ["/"], set[str]()
    while waiting:
        path = waiting.pop()
        status, body = get(stage, quote(path))
        assert status == 200, (path, status, body)
        found.add(path)
        for link in re.findall(r'href="([^"]*)"', body):
            there = unquote(urlsplit(urljoin(f"http://x{quote(path)}", quote(link))).path)
            if there not in found and there not in waiting:
                waiting.append(there)
    return found


@pytest.mark.parametrize("name", SITES)
def test_the_model_lists_what_a_crawler_finds(addressed: Stage, name: str) -> None:
    site = SITES[name]
    addressed.write(site)
    addressed.deploy()
    found = crawl(addressed)
    assert found == {canonical(path, site) for path in site if "404" not in path}
    last = addressed.publisher().state().last
    assert last is not None
    asked = checks_for(last, list(last.files), [])
    assert {unquote(check.path) for check in asked if check.secure} - {"/404/"} == found, "what the verification asks for"


def test_verification_asks_for_what_a_crawler_of_pages_styles_and_manifests_finds(addressed: Stage) -> None:
    addressed.write(PLAIN)
    release = addressed.deploy()
    client = Client(f"http://site.localhost:{addressed.cdn}/")
    crawled = client.crawl()
    client.close()
    assert {path: one.status for path, one in crawled.items() if one.status not in (200, 301)} == {}
    assert {"/more.css", "/dots.svg", "/icon.svg", "/logo@2x.svg", "/LICENSE", "/docs", "/docs/"} <= crawled.keys()
    assert release.verified is not None
    assert crawled.keys() - set(release.verified.addresses) == set()
    besides = {"/about/", "/docs/more", "/docs/more/", "/docs/v1.2", "/amianai-no-such-page-1"}
    assert set(release.verified.addresses) - crawled.keys() == besides, "what leads to a page that is linked otherwise, and what is missing"


def follow(stage: Stage, path: str) -> tuple[int, str, str]:
    """Status, body and address as a browser finds them: after a redirect, and one back where they were exchanged meanwhile."""
    for _ in range(3):
        status, body = get(stage, path)
        if status != 301:
            break
        path = body
    return status, body, path


@contextmanager
def looping(stage: Stage, problems: list[str]) -> Iterator[None]:
    """A visitor who follows every link of every page as it is at that moment, redirects too."""
    ended = threading.Event()

    def look(path: str, text: str) -> None:
        for link in re.findall(r'href="([^"]*)"', text):
            there = urlsplit(urljoin(f"http://x{path}", link)).path
            status, body, _ = follow(stage, there)
            if status != 200 or not body.endswith("</html>"):
                problems.append(f"{path} links {link}: {status} {body[:80]}")

    def loop() -> None:
        while not ended.is_set():
            for path in ("/", "/about", "/about/", "/blog/first", "/blog/first/"):
                status, body, at = follow(stage, path)
                if status != 200 or not body.endswith("</html>"):
                    problems.append(f"{path}: {status} {body[:80]}")
                look(at, body)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def alternate(stage: Stage, releases: int) -> list[str]:
    """Releases of a flat and of a folder site by turns, each with a page of its own; what a looping visitor met."""
    sites = (
        {**FLAT, "only-flat.html": page("flat", "/"), "flat/x.html": page("x", "/")},
        {**FOLDERS, "only-folders/index.html": page("folders", "/"), "app.0123abcd.css": "b{}"},
    )
    stage.write(sites[0])
    stage.deploy()
    problems: list[str] = []
    with looping(stage, problems):
        for number in range(1, releases):
            mine, other = sites[number % 2], sites[(number + 1) % 2]
            stage.write(mine)
            assert stage.deploy().verified is not None
            for path in mine.keys() - {"404.html", "404/index.html"}:
                assert get(stage, canonical(path, mine)) == (200, mine[path])
            for path in other.keys() - mine.keys() - {"app.0123abcd.css"}:
                shown = canonical(path, other)
                assert get(stage, shown)[0] in (301, 404), (number, shown)
                assert get(stage, f"/{path}") == (404, MISSING), (number, path)
    return problems


def test_two_forms_of_a_site_by_turns_under_a_visitor(addressed: Stage) -> None:
    assert alternate(addressed, 4) == []


@pytest.mark.soak
def test_twenty_releases_of_two_forms_by_turns_under_a_visitor(addressed: Stage) -> None:
    assert alternate(addressed, 20) == []


def test_a_rollback_to_the_other_form_restores_exactly_its_addresses(addressed: Stage) -> None:
    addressed.write(FLAT)
    addressed.deploy()
    table = dict(addressed.world.routes.items)["config"]
    addressed.write(FOLDERS)
    addressed.deploy()
    assert get(addressed, "/about") == (301, "/about/")
    addressed.rollback()
    assert addressed.world.routes.items["config"] == table
    assert get(addressed, "/about") == (200, FLAT["about.html"])
    assert get(addressed, "/about/") == (301, "/about")
