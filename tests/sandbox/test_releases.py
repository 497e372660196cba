"""Releases in the sandbox: through the emulated CDN, with its viewer function, bucket policy and invalidations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from amianai_infra.site.manifest import LOCK, manifest_key
from tests.functional.site.visitor import Visitors
from tests.project import Deployed
from tests.sandbox.test_life_cycle import get

pytestmark = pytest.mark.sandbox


@pytest.fixture
def out(deployed: Deployed) -> Iterator[Path]:
    """The finished site, as it was afterwards."""
    folder = deployed.project.root / "examples" / "site" / "out"
    page = folder / "about" / "index.html"
    kept = page.read_bytes()
    yield folder
    page.write_bytes(kept)
    deployed.project.run("deploy", "--no-build")


def test_an_edit_a_rollback_and_a_visitor_who_notices_nothing_broken(deployed: Deployed, out: Path) -> None:
    project, url = deployed.project, deployed.site_url
    before = get(url, "/about/")[2]
    first = project.json("releases")[0]["summary"]["number"]
    port = int(url.rstrip("/").rpartition(":")[2])
    host = url.removeprefix("http://").rstrip("/")
    pages = sorted(str(path.relative_to(out)) for path in out.rglob("index.html"))
    with Visitors(port, pages, count=1, host=host) as visitors:
        (out / "about" / "index.html").write_text(before.replace("</body>", "<!-- edited --></body>"))
        release = project.json("deploy", "--no-build")
        assert release["uploaded"] == ["about/index.html"]
        assert set(release["invalidated"]) == {"/about", "/about/", "/about/index.html"}
        assert release["verified"]["pages"] >= 2
        assert "<!-- edited -->" in get(url, "/about/")[2]
        back = project.json("rollback")
        assert (back["kind"], back["origin"]) == ("rollback", first)
        assert get(url, "/about/")[2] == before
    assert visitors.problems == []


def test_a_second_deploy_uploads_and_invalidates_nothing(deployed: Deployed) -> None:
    again = deployed.project.json("deploy")
    assert not again["changed"]
    assert again["uploaded"] == []
    assert again["invalidated"] == []
    assert "nothing was uploaded or invalidated" in deployed.project.said("deploy")


def test_records_are_in_the_bucket_and_not_on_the_site(deployed: Deployed) -> None:
    newest = deployed.project.json("releases")[0]["summary"]["number"]
    objects = deployed.project.aws("s3").list_objects_v2(Bucket=deployed.status["site"]["bucket"], Prefix=".amianai/")["Contents"]
    assert {LOCK, manifest_key(newest)} <= {item["Key"] for item in objects}
    for key in (LOCK, manifest_key(newest)):
        assert get(deployed.site_url, f"/{key}")[0] == 404


def test_the_site_says_which_build_it_is(deployed: Deployed) -> None:
    shown = json.loads(get(deployed.site_url, "/version.json")[2])["build"]
    assert shown == deployed.project.json("releases")[0]["summary"]["build"]
