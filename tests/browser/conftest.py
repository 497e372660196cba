"""Chromium, and the site it looks at.

The site is `AMIANAI_TEST_SITE_URL` where that is set (any deployment whose sign-up code is 123456), else the one that the
session's sandbox deployed (fixture `deployed`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

# Read at import: a fixture of the whole suite strips the environment later.
_GIVEN_SITE = os.environ.get("AMIANAI_TEST_SITE_URL", "")
_GIVEN_BROWSER = os.environ.get("AMIANAI_TEST_BROWSER", "")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox: it cannot be had as root or in most containers, and the pages are our own. No background services: the
# browser would look up hosts of its maker at every start.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

_PATIENCE_MS = 30_000  # for a busy machine; what is there is seen at once

# The library says so wherever the endpoint is not AWS itself, as in the sandbox.
_ALWAYS = ("You are using a custom Amazon",)


@dataclass
class Visit:
    """A page and everything it complained about."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def url(self, path: str = "") -> str:
        """Address of a page of the site."""
        return self.base + path

    def unexpected(self) -> list[str]:
        """Complaints that the test did not announce."""
        return [line for line in self.complaints if not any(part in line for part in (*self.expected, *_ALWAYS))]


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The installed browser; without one, what needs it is skipped and says so."""
    found = _GIVEN_BROWSER or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip(
            f"no browser: AMIANAI_TEST_BROWSER is unset and PATH has none of {', '.join(_BROWSERS)} (Debian: apt-get install chromium)"
        )
    return found


@pytest.fixture(scope="session")
def site_url(request: pytest.FixtureRequest, browser_path: str) -> str:
    """Address of a deployed site, ending with a slash. Asked after the browser: without one nothing needs deploying."""
    given = _GIVEN_SITE
    if not given:
        try:
            given = str(request.getfixturevalue("deployed").site_url)
        except pytest.FixtureLookupError:
            pytest.skip("no site: AMIANAI_TEST_SITE_URL is unset and no sandbox deployed one")
    return given.rstrip("/") + "/"


@pytest.fixture(scope="module")
def browser(site_url: str, browser_path: str) -> Iterator[Browser]:
    """One browser a module: Playwright occupies the thread's event loop for as long as it runs."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser_path, args=list(_FLAGS))
        yield running
        running.close()


@pytest.fixture
def visit(browser: Browser, site_url: str) -> Iterator[Visit]:
    """A fresh visitor. Afterwards the console must hold nothing that the test did not expect, CSP violations included."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    visit = Visit(context.new_page(), site_url)
    yield visit
    context.close()
    complaints = visit.unexpected()
    assert not complaints, "the page complained:\n" + "\n".join(complaints)
