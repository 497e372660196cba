"""Real frameworks' sites, released into the sandbox and visited by a real browser: `pytest -n0 -m frameworks`.

The sandbox's CDN neither caches nor compresses: what a browser keeps is judged by the headers.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Response

from tests.browser.frameworks import FRAMEWORKS, MARK, Framework, made
from tests.crawler import Answer, Client
from tests.project import Deployed, Project

pytestmark = [pytest.mark.sandbox, pytest.mark.browser, pytest.mark.frameworks, pytest.mark.timeout(3600)]

# Read at import: a fixture of the whole suite strips the environment later.
_GIVEN_CACHE = os.environ.get("AMIANAI_TEST_FRAMEWORKS", "")
_NOWHERE = "/amianai-no-such-page-"
_REVALIDATED = "public, max-age=0, s-maxage=86400, must-revalidate"
_SHOWN = """() => ({
    title: document.title,
    headings: [...document.querySelectorAll('h1')].map((one) => one.innerText),
    text: (document.querySelector('main') ?? document.body).innerText,
})"""
_LINKS = (
    "() => [...document.querySelectorAll('a[href]')].filter((one) => !one.target && !one.hasAttribute('download')).map((one) => one.href)"
)


@pytest.fixture(scope="session")
def cache(request: pytest.FixtureRequest) -> Path:
    """Where made sites are kept."""
    return Path(_GIVEN_CACHE) if _GIVEN_CACHE else request.config.cache.mkdir("frameworks")


@dataclass
class Site:
    """One framework's site and its releases."""

    framework: Framework
    folder: Path
    project: Project

    @property
    def output(self) -> Path:
        return self.folder / self.framework.output

    @property
    def chosen(self) -> list[str]:
        settings = (f"site.directory={self.folder}", f"site.output={self.framework.output}", *self.framework.settings)
        return [word for setting in settings for word in ("--set", setting)]

    def files(self) -> list[str]:
        """The paths of what the build wrote."""
        return sorted(path.relative_to(self.output).as_posix() for path in self.output.rglob("*") if path.is_file())

    def deploy(self, *words: str) -> Any:
        return self.project.json("--yes", "deploy", *words, *self.chosen)

    def edit(self) -> None:
        source = self.folder / self.framework.source
        text = source.read_text()
        assert MARK in text
        source.write_text(text.replace(MARK, "Something else."))


@dataclass
class Walk:
    """A browser that opens every page of a site and clicks every link."""

    page: Page
    url: str
    asked: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda one: self.problems.append(f"{self.page.url}: {one.text}") if one.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(f"{self.page.url}: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def _failed(self, request: Request) -> None:
        # What a page still waits for when it is left is given up by the browser.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"{self.page.url}: {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        parts = urlsplit(response.url)
        if parts.netloc != urlsplit(self.url).netloc:
            self.problems.append(f"{self.page.url} asks another host: {response.url}")
        self.asked.add(parts.path)
        if response.status >= 400:
            self.problems.append(f"{self.page.url}: {response.url} answers {response.status}")

    def shown(self) -> Any:
        return self.page.evaluate(_SHOWN)

    def open(self, address: str) -> Any:
        """What a page shows that is loaded directly, once it shows nothing new."""
        self.page.goto(self.url + address.lstrip("/"), wait_until="load")
        self.page.wait_for_load_state("networkidle")
        return self.shown()

    def links(self) -> list[str]:
        """What leads to other pages, and not to a part of this one."""
        here = self.page.url.partition("#")[0]
        own = [one for one in self.page.evaluate(_LINKS) if one.startswith(self.url) and not one.startswith(f"{here}#")]
        return list(dict.fromkeys("/" + one.removeprefix(self.url) for one in own))

    def all(self) -> dict[str, Any]:
        """Every page that links lead to, by address, as it is when it is loaded."""
        found: dict[str, Any] = {}
        waiting = ["/"]
        clicks: dict[str, str] = {}
        while waiting:
            address = waiting.pop(0)
            if address not in found:
                found[address] = self.open(address)
                for link in self.links():
                    clicks.setdefault(link, address)
                    waiting.append(link)
        for link, page in clicks.items():
            self.click(page, link, found[link])
        return found

    def click(self, page: str, link: str, expected: Any) -> None:
        self.open(page)
        self.page.evaluate("() => { window.stayed = true }")
        target = self.url + link.lstrip("/")
        self.page.evaluate("(target) => [...document.querySelectorAll('a[href]')].find((one) => one.href === target).click()", target)
        for _ in range(50):
            seen = self._seen()
            if seen == expected:
                return
            self.page.wait_for_timeout(200)
        self.problems.append(f"{page}: the link {link} shows {seen}, and loaded it shows {expected}")

    def _seen(self) -> Any:
        try:
            return self.shown()
        except Exception as error:  # the page was left while it was asked
            return str(error)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh visitor."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def served(url: str, paths: Iterable[str]) -> dict[str, tuple[int, bytes, str, str]]:
    """What these paths answer with."""
    with closing(Client(url)) as client:
        answers = {path: client.get(f"/{path}") for path in paths}
    return {path: (one.status, one.body, one.kind, one.headers.get("cache-control", "")) for path, one in answers.items()}


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda one: one.name)
def test_a_site(framework: Framework, deployed: Deployed, page: Page, cache: Path, tmp_path: Path) -> None:
    site = Site(framework, made(framework, cache, tmp_path / "log"), deployed.project)
    release = site.deploy("--everything")  # what another site left, with the same hash in its name, too
    again = site.deploy()
    assert (again["changed"], again["uploaded"]) == (False, []), "a build of the same sources"
    walk = Walk(page, deployed.site_url)
    pages = walk.all()
    problems = [one for one in walk.problems if not (framework.complains and framework.complains in one)]
    assert not problems, "\n".join(problems)
    assert set(framework.pages) <= {urlsplit(address).path for address in pages}
    with closing(Client(deployed.site_url)) as client:
        crawled = client.crawl()
    check_addresses(site, deployed.site_url, crawled, walk.asked, release)
    check_caching(framework, site, served(deployed.site_url, site.files()))
    check_change(site, deployed.site_url, release["number"])


def check_addresses(site: Site, url: str, crawled: dict[str, Answer], asked: set[str], release: Any) -> None:
    """Verification asks for what a crawler and a browser find, what leads there, what is missing, and what nobody links; nothing else."""
    verified = set(release["verified"]["addresses"])
    assert {address: one.status for address, one in crawled.items() if one.status >= 400} == {}
    assert sorted(crawled.keys() - verified) == []
    # Which chunks a bundler's own code loads is computed by it; their names have a hash. A single-page app's addresses are no files.
    computed = re.compile(site.framework.hashed or "$^")
    by_fallback = set(site.framework.pages) if any(one.startswith("site.fallback=") for one in site.framework.settings) else set()
    strange = {one for one in asked - verified - by_fallback if not (computed.search(one[1:]) and (site.output / one[1:]).is_file())}
    assert sorted(strange) == []
    besides = re.compile(site.framework.unlinked or "$^")
    with closing(Client(url)) as client:
        left = {one: client.get(one) for one in verified - crawled.keys() - asked if not besides.search(one)}
    missing = {address for address, one in left.items() if one.status == 404 or address.startswith(_NOWHERE)}
    leads = {address for address, one in left.items() if one.status == 301 and set(one.names) <= verified}
    linked = {one.body for one in crawled.values() if one.status == 200}
    other_form = {address for address, one in left.items() if one.status == 200 and one.body in linked}
    assert sorted(left.keys() - missing - leads - other_form) == []


def check_caching(framework: Framework, site: Site, answers: dict[str, tuple[int, bytes, str, str]]) -> None:
    """What has a hash of its content in its name is kept for ever, pages are asked for again."""
    for path, (status, body, _, cache) in answers.items():
        if path.endswith(".html") and path != "404.html":
            assert (status, cache) == (200, _REVALIDATED), path
        if framework.hashed and re.search(framework.hashed, path):
            assert (status, cache) == (200, "public, max-age=31536000, immutable"), path
        if status == 200:
            assert body == (site.output / path).read_bytes(), path


def check_change(site: Site, url: str, number: int) -> None:
    before = served(url, site.files())
    site.edit()
    release = site.deploy()
    strange = [path for path in release["uploaded"] if not re.search(site.framework.with_page, path)]
    assert strange == []
    assert release["uploaded"]
    after = served(url, site.files())
    assert any(b"Something else." in one[1] for one in after.values())
    back = site.project.json("rollback", str(number))
    assert back["origin"] == number
    assert served(url, before) == before


class Visitors:
    """Threads that loop over the addresses of two sites and note what each answered when, with everything that a page names."""

    def __init__(self, url: str, addresses: set[str], count: int = 2) -> None:
        self._url = url
        self._addresses = sorted(addresses)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(count)]
        self.seen: list[tuple[float, float, str, Answer]] = []
        self.broken: list[str] = []

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def round(self) -> None:
        """Wait until every address was asked for once more by somebody who began now."""
        goal = len(self.seen) + len(self._threads) * 2 * len(self._addresses)
        while len(self.seen) < goal:
            assert all(thread.is_alive() for thread in self._threads)
            time.sleep(0.05)

    def _loop(self) -> None:
        client = Client(self._url)
        while not self._ended.is_set():
            for address in self._addresses:
                self._look(client, address)
        client.close()

    def _look(self, client: Client, address: str) -> None:
        began = time.monotonic()
        answer = client.get(address)
        self.seen.append((began, time.monotonic(), address, answer))
        if answer.status == 200 and answer.kind == "text/html":
            files = [one for one in answer.names if "." in one.rpartition("/")[2] and one not in self._addresses]
            for one in files:
                status = client.get(one).status
                # A page that is no longer there names what is no longer there, unless a hash says that it stays.
                if status != 200 and client.get(address).body == answer.body:
                    self.broken.append(f"{address} names {one}: {status}")


def test_two_sites_by_turns_under_visitors(deployed: Deployed, cache: Path, tmp_path: Path) -> None:
    sites = [_built(name, cache, tmp_path, deployed.project) for name in ("next", "astro-directory")]
    pages = [{path.read_bytes() for path in site.output.rglob("*.html")} for site in sites]
    addresses = {address for site in sites for address in site.framework.pages}
    addresses |= {f"{address}/" for address in addresses if not address.endswith("/")}
    sites[1].deploy("--no-build")
    with Visitors(deployed.site_url, addresses) as visitors:
        for number in range(20):
            sites[number % 2].deploy("--no-build")
            verified = time.monotonic()
            visitors.round()
            ended = time.monotonic()
            answers = [(address, one) for began, end, address, one in list(visitors.seen) if verified < began and end < ended]
            assert {address for address, _ in answers} == addresses
            strange = [address for address, one in answers if one.status == 200 and one.body not in pages[number % 2]]
            assert strange == [], f"release {number + 2}: pages of the other site"
    assert visitors.broken == []
    assert all(one.status in (200, 301, 404) for _, _, _, one in visitors.seen)


def _built(name: str, cache: Path, tmp_path: Path, project: Project) -> Site:
    """A site whose output is a folder of its own."""
    framework = next(one for one in FRAMEWORKS if one.name == name)
    site = Site(framework, made(framework, cache, tmp_path / "log"), project)
    site.deploy("--no-verify")
    copy = tmp_path / name
    shutil.copytree(site.output, copy / "out")
    return Site(replace(framework, output="out", settings=()), copy, project)
