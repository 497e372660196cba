"""A preview on a stack that the real engine made, seen by a browser; and its place taken away with all that is in it: `pytest -m soak`.

In the sandbox names below the emulated distribution's own stand for the wildcard.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Response, expect

from tests.browser.conftest import Visit
from tests.browser.frameworks import PLAIN
from tests.browser.test_site import broken_images
from tests.project import Deployed, Project

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.soak, pytest.mark.timeout(1800)]

DOMAIN = "example.test"


def up(project: Project, *, previews: bool) -> Any:
    return project.json("--set", f"site.previews={str(previews).lower()}", "up", "--yes", "--confirm", DOMAIN)


def held(project: Project) -> dict[str, set[str]]:
    """What an independent client finds of what previews add."""
    zone = project.aws("route53").list_hosted_zones()["HostedZones"][0]["Id"]
    records = project.aws("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    stores = project.aws("cloudfront").list_key_value_stores()["KeyValueStoreList"].get("Items", [])
    return {
        "buckets": {one["Name"] for one in project.aws("s3").list_buckets()["Buckets"]},
        "distributions": {one["Id"] for one in project.aws("cloudfront").list_distributions()["DistributionList"]["Items"]},
        "certificates": {one["CertificateArn"] for one in project.aws("acm").list_certificates()["CertificateSummaryList"]},
        "stores": {one["Name"] for one in stores},
        "records": {f"{one['Type']} {one['Name']}" for one in records},
    }


@pytest.fixture(scope="module")
def before(deployed: Deployed) -> dict[str, set[str]]:
    return held(deployed.project)


@pytest.fixture(scope="module")
def place(deployed: Deployed, before: dict[str, set[str]]) -> Iterator[Project]:
    """The stack with a place for previews, which is taken away afterwards, whatever is in it."""
    up(deployed.project, previews=True)
    yield deployed.project
    up(deployed.project, previews=False)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A site of plain pages."""
    for path, text in PLAIN.items():
        (tmp_path / "plain" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / path).write_text(text)
    return tmp_path / "plain"


def opened(visit: Visit, address: str) -> Response:
    response = visit.page.goto(address, wait_until="networkidle")
    assert response is not None
    return response


def test_a_browser_sees_the_whole_preview_and_search_engines_none_of_it(visit: Visit, place: Project, plain: Path) -> None:
    shown = place.json("deploy", "--preview", "pr-1", str(plain))
    assert not shown["url"].startswith(visit.base)
    for path, heading in (("", "Home"), ("about", "About"), ("docs", "Docs"), ("docs/more.html", "More"), ("docs/v1.2/", "Version 1.2")):
        response = opened(visit, shown["url"] + path)
        assert (response.status, response.headers["x-robots-tag"]) == (200, "noindex")
        assert "default-src 'self'" in response.headers["content-security-policy"]
        expect(visit.page.get_by_role("heading", level=1)).to_have_text(heading)
        assert broken_images(visit.page) == []
        expect(visit.page.locator("main")).to_have_css("color", "rgb(34, 34, 34)")
    visit.page.get_by_role("link", name="About").click()
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("About")
    assert visit.page.url == shown["url"] + "about"


def test_publishing_it_again_shows_the_new_build_there_and_removal_nothing(visit: Visit, place: Project, plain: Path) -> None:
    visit.expected = ("404",)  # the browser itself reports the status
    first = place.json("deploy", "--preview", "pr-2", str(plain))
    (plain / "index.html").write_text(PLAIN["index.html"].replace("Home", "New"))
    second = place.json("deploy", "--preview", "pr-2", str(plain))
    assert second["url"] == first["url"]
    opened(visit, second["url"])
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("New")
    place.json("previews", "remove", "pr-2")
    assert opened(visit, second["url"]).status == 404


def test_its_place_goes_with_what_is_in_it_and_comes_back(visit: Visit, place: Project, plain: Path, before: dict[str, set[str]]) -> None:
    live = opened(visit, visit.url()).text()
    shown = place.json("deploy", "--preview", "pr-3", str(plain))
    more = held(place)
    assert all(more[kind] > before[kind] for kind in before)
    steps = up(place, previews=False)["steps"]
    assert {step["op"] for step in steps if step["name"].startswith("previews")} == {"delete"}
    assert held(place) == before
    for words in (("deploy", "--preview", "pr-3", str(plain)), ("previews",)):
        place.run(*words, code=3)
    again = opened(visit, visit.url())
    assert (again.status, again.text()) == (200, live)
    up(place, previews=True)
    assert place.json("previews") == []
    assert place.json("deploy", "--preview", "pr-3", str(plain))["url"] != shown["url"]
