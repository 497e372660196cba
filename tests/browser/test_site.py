"""What anybody sees: pages, pictures, fonts, the page for unknown addresses, the notice of a new version."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.sandbox]

HEADINGS = {
    "": "Is your chat partner a human or an AI?",
    "how-it-works/": "How it works",
    "about/": "An old question, asked by everybody",
    "sign-in/": "Sign in",
    "sign-up/": "Create an account",
    "reset-password/": "Reset your password",
}


def broken_images(page: Page) -> list[str]:
    return page.evaluate("[...document.images].filter((i) => !i.complete || i.naturalWidth === 0).map((i) => i.src)")  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", HEADINGS)
def test_page_is_whole(visit: Visit, path: str) -> None:
    response = visit.page.goto(visit.url(path), wait_until="networkidle")

    assert response is not None
    assert response.status == 200
    assert "default-src 'self'" in response.headers["content-security-policy"]  # else the silent console proves nothing
    expect(visit.page.get_by_role("heading", level=1)).to_have_text(HEADINGS[path])
    assert broken_images(visit.page) == []
    families = visit.page.evaluate("[...document.fonts].filter((f) => f.status === 'loaded').length")
    assert families >= 2


def test_links_lead_from_page_to_page_without_a_reload(visit: Visit) -> None:
    visit.page.goto(visit.url(), wait_until="networkidle")
    visit.page.evaluate("window.same = true")

    visit.page.get_by_role("link", name="About").first.click()

    expect(visit.page.get_by_role("heading", level=1)).to_have_text(HEADINGS["about/"])
    assert visit.page.evaluate("window.same") is True


def test_unknown_address_shows_the_sites_own_page(visit: Visit) -> None:
    visit.expected = ("404",)  # the browser itself reports the status

    response = visit.page.goto(visit.url("no/such/page"))

    assert response is not None
    assert response.status == 404
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Nobody is at this address")


def test_guess_is_answered(visit: Visit) -> None:
    visit.page.goto(visit.url())

    visit.page.get_by_role("button", name="Human", exact=True).click()

    expect(visit.page.get_by_text("Right. Human.")).to_be_visible()
    visit.page.get_by_role("button", name="Next conversation").click()
    expect(visit.page.get_by_text("What does rain smell like?")).to_be_visible()


def test_open_tab_notices_a_new_version(visit: Visit) -> None:
    visit.page.goto(visit.url(), wait_until="networkidle")
    look_again = "document.dispatchEvent(new Event('visibilitychange'))"

    with visit.page.expect_response("**/version.json") as same:
        visit.page.evaluate(look_again)
    assert set(same.value.json()) == {"build"}
    expect(visit.page.get_by_text("A new version is available.")).to_have_count(0)

    visit.page.route("**/version.json", lambda route: route.fulfill(json={"build": "a-newer-one"}))
    visit.page.evaluate(look_again)
    expect(visit.page.get_by_text("A new version is available.")).to_be_visible()

    visit.page.evaluate("window.same = true")
    visit.page.get_by_role("button", name="Reload").click()
    visit.page.wait_for_function("window.same === undefined")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_sticks_out_on_a_narrow_screen(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})

    for path in HEADINGS:
        visit.page.goto(visit.url(path))
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, path
