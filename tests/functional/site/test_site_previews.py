"""Previews: published beside the live site, each under a name of its own, until they end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from amianai_infra.errors import BuildError, LockedError, NotFoundError, RefusedError, VerificationError
from amianai_infra.outputs import PreviewsOutputs
from amianai_infra.progress import Progress
from amianai_infra.site.deploy_previews import Previews, Shown
from amianai_infra.site.given import given
from amianai_infra.site.store import SiteBucket
from amianai_infra.site.takedown import Remover
from amianai_infra.site.verify import Answer, Visitor
from amianai_infra.target import SiteAddress
from tests.functional.site.edge import Edge
from tests.functional.site.s3_server import World, serving
from tests.functional.site.site_world import BUCKET, FakeTarget, Stage, release_settings
from tests.functional.site.test_site_content import Told

DAY = 86_400.0
PAGES = {
    "index.html": '<!doctype html><a href="/about">about</a><link rel="stylesheet" href="/style.css">',
    "about.html": '<!doctype html><a href="/">front</a><a href="/docs">docs</a>',
    "docs/index.html": "<!doctype html>docs",
    "style.css": "a { color: red }",
}


@dataclass
class Beside:
    """A live site, and the previews beside it."""

    live: Stage
    world: World
    target: FakeTarget
    store: SiteBucket
    later: float = 0.0

    @property
    def previews(self) -> Previews:
        return self.made()

    def made(self, *, progress: Progress | None = None, budgets: Sequence[str] = (), **options: Any) -> Previews:
        return Previews(
            self.target,  # type: ignore[arg-type]
            release_settings(budgets=budgets),
            replace(self.live.outputs, previews=PreviewsOutputs("preview.example.com", "previews", "E2", "d2.cloudfront.net", "arn", "")),
            progress or Progress(quiet=True),
            store=self.store,
            live=self.live.publisher().store,
            clock=lambda: time.time() + self.later,
            sleep=lambda seconds: None,
            **options,
        )

    def publish(self, files: dict[str, str], name: str = "pr-1", seconds: float = DAY, **options: Any) -> Shown:
        self.live.write(files)
        return self.made(**options).publish(name, seconds, build=False)

    def get(self, url: str, path: str = "/") -> Answer:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        address = SiteAddress(url, parts.hostname, ("127.0.0.1", parts.port), tls=False)
        visitor = Visitor(address)
        answer = visitor.get(path)
        visitor.close()
        return answer

    @property
    def keys(self) -> list[str]:
        return sorted(key for key in self.world.bucket.versions if self.world.bucket.live(key))


@pytest.fixture
def beside(stage: Stage, tmp_path: Path) -> Iterator[Beside]:
    with ExitStack() as stack:
        world = World()
        s3, cdn = stack.enter_context(serving(world))
        target = FakeTarget(tmp_path, stage.s3, cdn)
        world.routes, world.edge, world.added = target.routes, Edge(previews=True), {"X-Robots-Tag": "noindex"}
        stack.callback(world.edge.close)
        stage.write({**PAGES, "index.html": "<!doctype html>the live site"})
        stage.deploy(verify=False)
        store = SiteBucket(BUCKET, "us-east-1", f"http://127.0.0.1:{s3}", target.credentials(), owner=world.owner)
        yield Beside(stage, world, target, store)


def test_a_preview_answers_with_its_links_and_the_live_site_is_not_touched(beside: Beside) -> None:
    before = dict(beside.live.world.live())
    beside.live.world.forget()
    shown = beside.publish(PAGES)
    label, _, domain = shown.url.removeprefix("http://").partition(".")
    assert domain.startswith("preview.example.com")
    assert label.startswith("pr-1-")
    assert len(label) == len("pr-1-") + 26
    for path, content in (("/", "index.html"), ("/about", "about.html"), ("/docs/", "docs/index.html"), ("/style.css", "style.css")):
        answer = beside.get(shown.url, path)
        assert (answer.status, answer.body.decode()) == (200, PAGES[content]), path
    led = beside.get(shown.url, "/docs")
    assert (led.status, led.headers["location"], led.headers["x-robots-tag"]) == (301, "/docs/", "noindex")
    for nowhere in ("/gone", "/gone.css", "/.amianai/previews/pr-1.json", f"/{shown.preview.folder}/index.html"):
        answer = beside.get(shown.url, nowhere)
        assert answer.status == 404, nowhere
        assert b"Go to the front page" in answer.body, nowhere
    guess = beside.get(shown.url.replace(label, f"{label[:-1]}0"))
    assert (guess.status, guess.headers["x-robots-tag"]) == (404, "noindex")
    assert dict(beside.live.world.live()) == before
    assert beside.live.world.count("PUT") == 0
    assert beside.live.world.invalidated == []


def test_the_address_stays_while_it_lasts_and_old_files_go(beside: Beside) -> None:
    first = beside.publish(PAGES)
    second = beside.publish({"index.html": "<!doctype html>second"})
    assert (second.url, second.preview.before) == (first.url, first.preview.folder)
    assert beside.get(second.url).body == b"<!doctype html>second"
    assert beside.get(second.url, "/about").status == 404
    beside.later = 2 * 3600.0
    beside.publish({"index.html": "<!doctype html>third"})
    assert not [key for key in beside.keys if key.startswith(first.preview.folder)]
    assert [key for key in beside.keys if key.startswith(second.preview.folder)]  # edges may answer from it for some seconds yet
    assert [one.url for one in beside.previews.listed()] == [first.url]


def test_an_ended_one_answers_404_and_is_cleaned_up_by_the_next(beside: Beside) -> None:
    beside.later = -2 * DAY
    long = beside.publish(PAGES, "long", seconds=30 * DAY)
    ended = beside.publish(PAGES, "short", seconds=DAY, verify=False)
    assert (beside.get(long.url).status, beside.get(ended.url).status) == (200, 404)
    beside.later = 0.0
    assert {one.preview.name: one.expired for one in beside.previews.listed()} == {"long": False, "short": True}
    beside.later = 2 * 3600.0
    stays = beside.publish({"index.html": "<!doctype html>next"}, "next")
    assert {one.preview.name for one in beside.previews.listed()} == {"long", "next"}
    assert not [key for key in beside.keys if key.startswith(ended.preview.folder)]
    assert ended.preview.label not in beside.target.routes.items
    again = beside.publish(PAGES, "short")
    assert again.url != ended.url
    assert beside.get(stays.url).status == 200


def test_a_removed_one_answers_404_at_once(beside: Beside) -> None:
    kept, gone = beside.publish(PAGES, "kept"), beside.publish(PAGES, "gone")
    assert beside.previews.remove("gone").expired
    assert beside.get(gone.url).status == 404
    assert beside.get(kept.url, "/about").status == 200  # of the very same pages, with the same table
    assert not [key for key in beside.keys if key.startswith(gone.preview.folder)]
    with pytest.raises(NotFoundError, match="no preview gone"):
        beside.previews.remove("gone")


def test_it_is_judged_as_a_release_is(beside: Beside) -> None:
    for files, why in (({"index.html": "x", "id_rsa": "key"}, "id_rsa"), ({"index.html": '<script src="/gone.js"></script>'}, "/gone.js")):
        with pytest.raises(BuildError) as caught:
            beside.publish(files)
        assert why in str(caught.value.lines())
    assert beside.keys == []
    with pytest.raises(RefusedError, match="no place for previews"):
        Previews(beside.target, release_settings(), beside.live.outputs, Progress(quiet=True))  # type: ignore[arg-type]


def test_one_that_search_engines_would_take_is_removed_again(beside: Beside) -> None:
    beside.world.added = {}
    with pytest.raises(VerificationError, match="Preview pr-1") as caught:
        beside.publish(PAGES)
    assert "X-Robots-Tag '', not 'noindex'" in str(caught.value.details)
    assert beside.previews.listed() == []
    assert beside.target.routes.items == {}


def test_two_who_publish_the_same_one_do_not_mix(beside: Beside) -> None:
    beside.publish(PAGES)
    other = beside.made()
    found = other._recorded("pr-1")
    other._recorded = lambda name: found  # type: ignore[method-assign]
    beside.publish({"index.html": "<!doctype html>mine"})
    with pytest.raises(LockedError, match="Somebody else publishes preview pr-1"):
        other.publish("pr-1", DAY, build=False)


def test_a_folder_is_published_as_it_is(beside: Beside, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html>given")
    with given(str(folder), tmp_path, tmp_path) as site:
        shown = beside.made(given=site).publish("given", DAY, build=False)
    assert beside.get(shown.url).body == b"<!doctype html>given"


def test_content_that_was_taken_down_is_left_out_of_a_new_one(beside: Beside) -> None:
    live = beside.live
    live.write(PAGES)
    live.deploy(verify=False)
    remover = Remover(live.target, release_settings(), live.outputs, Progress(quiet=True), verify=False, sleep=lambda seconds: None)  # type: ignore[arg-type]
    remover.takedown("/about", "names a customer")
    progress = Told()
    shown = beside.publish(PAGES, progress=progress)
    assert (beside.get(shown.url).status, beside.get(shown.url, "/about").status) == (200, 404)
    assert not [key for key in beside.keys if key.endswith("about.html")]
    assert [note for note in progress.notes if "taken down" in note and "about.html" in note and "names a customer" in note]
    other = beside.publish({**PAGES, "about.html": "<!doctype html>another page"})
    assert beside.get(other.url, "/about").body == b"<!doctype html>another page"


def test_a_page_over_its_budget_is_told_and_published(beside: Beside) -> None:
    progress = Told()
    shown = beside.publish(PAGES, progress=progress, budgets=["/$ total 0"])
    assert [note for note in progress.notes if note.startswith("Over site.budgets: /: total 0.1 KiB of 0: index.html 0.1")]
    assert beside.get(shown.url).status == 200


def test_a_page_that_is_taken_down_goes_from_previews_too(stage: Stage) -> None:
    """One small S3 stands for both buckets: it goes by the key alone."""
    stage.write(PAGES)
    stage.deploy(verify=False)
    page, copy = PAGES["about.html"].encode(), b"about.html"
    for key, content in (
        ("0123456789abcdef/about.html", b"an older one"),
        ("0123456789abcdef/copy.html", page),
        ("fedcba9876543210/x", copy),
    ):
        stage.world.store(key, content)
    outputs = replace(stage.outputs, previews=PreviewsOutputs("preview.example.com", BUCKET, "E2", "d2.cloudfront.net", "arn", ""))
    stage.world.forget()
    remover = Remover(stage.target, release_settings(), outputs, Progress(quiet=True), verify=False, sleep=lambda seconds: None)  # type: ignore[arg-type]
    remover.takedown("/about", "names a customer")
    kept = {key for key, versions in stage.world.bucket.versions.items() if any(versions)}
    assert {key for key in kept if "/" in key and not key.startswith((".amianai", "docs"))} == {"fedcba9876543210/x"}
    assert ["/0123456789abcdef/about.html", "/0123456789abcdef/copy.html"] in stage.world.invalidated
