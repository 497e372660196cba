"""What a release refuses, lets through and tells of a site's content: references, names that are kept for ever, secrets, headers."""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amianai_infra.errors import BuildError, RefusedError
from amianai_infra.progress import Progress
from amianai_infra.site.release import Publisher
from tests.functional.site.site_world import Stage

KEY = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 3


class Told(Progress):
    """Keeps the notes."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.notes: list[str] = []
        self.details: list[str] = []

    def detail(self, text: str | Iterable[str]) -> None:
        self.details += [text] if isinstance(text, str) else text

    def note(self, text: str | Iterable[str]) -> None:
        self.notes += [text] if isinstance(text, str) else text


def said(stage: Stage, **options: object) -> Told:
    """Release, and give what was said."""
    publisher = stage.publisher(**options)  # type: ignore[arg-type]
    publisher._progress = progress = Told()
    publisher.deploy(build=False)
    return progress


def told(stage: Stage, **options: object) -> list[str]:
    """Release, and give what everybody was told."""
    return said(stage, **options).notes


def answered(stage: Stage, path: str) -> Mapping[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", stage.cdn)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"index.html": "<!doctype html>\n<script src=/assets/gone-AbCdEfGh.js></script>"}, "index.html, line 2: /assets/gone-AbCdEfGh.js"),
        ({"index.html": "x", "a/b.html": "<link rel=stylesheet href=s.css>"}, "a/b.html, line 1: /a/s.css"),
        ({"index.html": "x", "app.js": "\n\nimport('./lazy.js')"}, "app.js, line 3: /lazy.js"),
        ({"index.html": "x", "s.css": '@import "t.css";'}, "s.css, line 1: /t.css"),
        (
            {"index.html": '<script>self.__next_f.push([1,"3:I[1,[\\"2\\",\\"static/chunks/p.js\\"]]"])</script>'},
            "index.html, line 1: /_next/static/chunks/p.js",
        ),
    ],
)
def test_what_the_build_did_not_emit_is_refused_with_file_and_line(stage: Stage, files: dict[str, str], named: str) -> None:
    stage.write(files)
    with pytest.raises(BuildError, match="did not emit") as caught:
        stage.deploy()
    assert caught.value.details == (named,)
    assert stage.world.count("PUT") == 0


def test_text_is_no_reference_and_neither_is_what_lies_elsewhere(stage: Stage) -> None:
    stage.write(
        {
            "index.html": "<code>static/chunks/main.js</code><!-- <script src=/no.js></script> -->"
            '<script src="https://cdn.example.net/_next/static/chunks/a.js"></script>',
            "docs/index.html": '<script src="/docs/_next/static/chunks/b.js"></script>',
            "docs/_next/static/chunks/b.js": "1",
        }
    )
    assert told(stage) == []
    assert stage.world.live()["index.html"]


def test_links_and_pictures_that_lead_to_nothing_are_told_and_what_is_allowed_is_not(stage: Stage) -> None:
    files = {"index.html": "<a href=/gone>x</a>\n<img src=/i.png>\n<script src=/api/config.js></script>"}
    stage.write(files)
    allow = ["api/* comes from the gateway"]
    assert told(stage, allow=allow) == [
        "site.allow lets api/* through: comes from the gateway",
        "index.html, line 1: /gone leads to nothing",
        "index.html, line 2: /i.png leads to nothing",
    ]


def test_links_to_parts_of_pages_that_are_not_there_are_told_also_where_only_the_link_changed(stage: Stage) -> None:
    docs = '<h1 id="intro">x</h1><a href="#gone">x</a>'
    stage.write({"index.html": "x", "docs/index.html": docs})
    assert told(stage) == ["docs/index.html, line 1: /docs/index.html#gone: the page has no such part"]
    stage.write({"index.html": '<a href="/docs/#intro">x</a>\n<a href="/docs/#lost">x</a>', "docs/index.html": docs})
    assert told(stage) == ["index.html, line 2: /docs/#lost: the page has no such part"]
    stage.write({"index.html": '<a href="/docs/#lost">y</a>', "docs/index.html": docs})
    assert told(stage, allow=["docs/ its script adds parts"]) == ["site.allow lets docs/ through: its script adds parts"]


def test_a_pattern_may_also_name_the_page_and_a_page_is_read_in_its_own_charset(stage: Stage) -> None:
    old = '<meta charset="iso-8859-1"><script src=/old.js></script>'
    stage.write({"index.html": "x", "archive/1998/index.html": old})
    assert told(stage, allow=["archive/** pages that nobody changes any more"]) == [
        "site.allow lets archive/** through: pages that nobody changes any more"
    ]
    stage.write({"index.html": '<meta charset="iso-8859-1"><p>x</p><script src="/\u00fc.js"></script>'.encode("latin-1"), "\u00fc.js": "1"})
    assert told(stage) == []


def test_what_only_looks_like_a_secret_is_published(stage: Stage) -> None:
    stage.write(
        {
            "index.html": "postgres://user:password@localhost:5432/app",
            "assets/node_modules/@expo/vector-icons/Ionicons.ttf": "font",
            "ca.pem": "-----BEGIN CERTIFICATE-----\n" + "MIIDazCCAlOgAwIBAgIUXz" * 9,
            "slides.key": b"PK\x03\x04 Keynote",
        }
    )
    assert stage.deploy().changed


def test_what_looks_like_a_secret_is_let_through_with_a_reason_that_every_release_shows(stage: Stage) -> None:
    stage.write({"index.html": "x", "docs/example.pem": KEY})
    with pytest.raises(BuildError, match="must not be published") as caught:
        stage.deploy()
    assert "site.allow=docs/example.pem WHY" in str(caught.value.fix)
    allow = ["docs/*.pem a key of the documentation that opens nothing"]
    line = "site.allow lets docs/*.pem through: a key of the documentation that opens nothing"
    assert told(stage, allow=allow) == [line]
    stage.write({"index.html": "y", "docs/example.pem": KEY})
    assert told(stage, allow=allow) == [line]


HEADERS = "/*\n  X-Robots-Tag: noindex\n/files/*\n  Content-Disposition: attachment\n  Access-Control-Allow-Origin: *\n"


def test_references_and_headers_follow_the_addresses_of_the_site(addressed: Stage) -> None:
    """Below a base path, with rules, a 404 page of a folder's own and a name that macOS keeps decomposed."""
    links = ("/", "/docs/about", "/docs/about/", "/docs/about.html", "/docs/old", "/docs/cafe\u0301", "/docs/de/", "/docs/gone")
    page = "".join(f'<a href="{link}">x</a>' for link in links)
    site = {
        "index.html": f'<p>home</p>{page}<script src="/docs/app.js"></script>',
        "about.html": "about",
        "cafe\u0301.html": '<p>coffee<script src="/docs/e\u0301.js"></script>',
        "e\u0301.js": "1",
        "de/index.html": "de",
        "de/404.html": "nicht da",
        "app.js": "1",
        "_redirects": "/docs/old /docs/about 302\n",
        "_headers": "/docs/about\n  X-Own: page\n/docs/de/*\n  X-Own: :splat\n",
    }
    addressed.write(site)
    assert told(addressed, base_path="docs") == ["docs/index.html, line 1: /docs/gone leads to nothing"]
    assert not {path for path in addressed.world.live() if path.endswith(("_headers", "_redirects"))}
    assert [answered(addressed, path).get("x-own") for path in ("/docs/about", "/docs/about.html", "/docs/")] == ["page", "page", None]
    assert answered(addressed, "/docs/de/gone")["x-own"] == "404.html"
    addressed.write({**site, "cafe\u0301.html": '<p>coffee<script src="/docs/old"></script>'})
    with pytest.raises(BuildError, match="did not emit") as caught:
        addressed.deploy(base_path="docs")
    assert list(caught.value.details) == ["docs/caf\u00e9.html, line 1: /docs/old"], "what leads to a page is no script"


def test_headers_of_the_site_are_answered_change_alone_and_come_back_with_a_rollback(addressed: Stage) -> None:
    site = {"index.html": "x", "files/a.csv": "1", "game.wasm.br": "b"}
    addressed.write({**site, "_headers": HEADERS})
    addressed.deploy()
    assert "_headers" not in addressed.world.live()
    assert answered(addressed, "/files/a.csv").items() >= {
        ("x-robots-tag", "noindex"),
        ("content-disposition", "attachment"),
        ("access-control-allow-origin", "*"),
    }
    assert answered(addressed, "/game.wasm.br")["content-encoding"] == "br"
    addressed.world.forget()
    addressed.write({**site, "_headers": HEADERS.replace("attachment", "inline")})
    addressed.deploy()
    assert addressed.world.puts() == ["files/a.csv"]
    addressed.world.forget()
    addressed.write({**site, "_headers": HEADERS.replace("attachment", "inline")})
    assert not addressed.deploy().changed
    addressed.rollback()
    assert addressed.world.puts() == ["files/a.csv"]
    assert answered(addressed, "/files/a.csv")["content-disposition"] == "attachment"


def test_headers_that_the_stack_cannot_give_are_refused_before_anything_is_uploaded(stage: Stage) -> None:
    stage.write({"index.html": "x", "_headers": "/*\n  X-Robots-Tag: noindex\n"})
    with pytest.raises(RefusedError, match="cannot do _headers yet") as caught:
        stage.deploy()
    assert "run `amianai up`" in caught.value.fix
    assert stage.world.count("PUT") == 0
    stage.write({"index.html": "x", "_headers": "/*\n  Content-Language: de\n"})
    assert stage.deploy().changed, "S3 keeps that one itself"


def test_a_line_that_cannot_be_done_is_refused(stage: Stage) -> None:
    stage.write({"index.html": "x", "_headers": "/*\n  Set-Cookie: a=b\n"})
    with pytest.raises(BuildError, match="cannot be given") as caught:
        stage.deploy()
    (line,) = caught.value.details
    assert line.startswith("_headers, line 2: set-cookie: a file of a static site sets no cookie")
    assert stage.world.count("PUT") == 0


NAME = "assets/index-Cg1B1Bvb.js"


def test_a_name_that_browsers_keep_for_ever_does_not_change_its_content(stage: Stage) -> None:
    stage.write({"index.html": "x", NAME: "one"})
    stage.deploy()
    stage.write({"index.html": "x", NAME: "two"})
    with pytest.raises(RefusedError, match="keep these files for a year") as caught:
        stage.deploy()
    assert caught.value.details == (NAME,)
    assert stage.world.live()[NAME].data == b"one"
    stage.write({"index.html": "x"})
    stage.deploy()
    stage.write({"index.html": "x", NAME: "two"})
    with pytest.raises(RefusedError, match="keep these files for a year"):
        stage.deploy()
    stage.deploy(cache_rules={NAME: "public, max-age=300"})
    assert stage.world.live()[NAME].data == b"two"


NAMES = ("index.html", NAME, "menu-20240131b.pdf", "photo.jpg", "assets/color-0066cc00.png", "main.3f2a9b1c.js")


def test_what_is_kept_for_a_guess_is_shown_when_asked(stage: Stage) -> None:
    stage.write({"index.html": "x", NAME: "1", "_next/static/chunks/a.js": "2"})
    shown = [line for line in said(stage).details if "for a year" in line]
    assert shown == [f"Browsers keep 1 of these files for a year, by the hash in their names: {NAME}"]


class Browser:
    """Keeps what it was told to keep."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def see(self, stage: Stage, path: str) -> bytes:
        """What a visitor sees who has been here before, a moment ago or a year."""
        found = stage.world.live()[path]
        if path not in self.kept or "immutable" not in found.headers["Cache-Control"]:
            self.kept[path] = found.data
        return self.kept[path]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers())
def test_no_guess_of_a_hash_ever_shows_a_visitor_what_is_no_longer_there(stage: Stage, seed: int) -> None:
    draw, browser = random.Random(seed), Browser()
    for _ in range(4):
        names = draw.sample(NAMES[1:], draw.randrange(1, len(NAMES)))
        stage.write({"index.html": str(draw.randrange(3)), **{name: str(draw.randrange(3)) for name in names}})
        try:
            Publisher.deploy(stage.publisher(verify=False), build=False)
        except RefusedError:
            continue
        for path, found in stage.world.live().items():
            assert browser.see(stage, path) == found.data


def test_a_sitemap_names_the_domain_or_the_address_that_the_site_is_served_at(stage: Stage) -> None:
    def notes(*origins: str) -> list[str]:
        listed = "".join(f"<url><loc>{origin}/</loc></url>\n" for origin in origins)
        stage.write({"index.html": "<p>one", "sitemap.xml": f'<urlset xmlns="x">\n{listed}</urlset>'})
        return [note for note in told(stage) if "is no address of" in note]

    served = stage.target.site_address(stage.outputs).url.rstrip("/")
    assert notes(f"https://{stage.outputs.domain}", served) == []
    assert notes("https://elsewhere.test") == [f"sitemap.xml, line 2: https://elsewhere.test/ is no address of {stage.outputs.domain}"]


def test_a_page_over_its_budget_is_refused_unless_somebody_says_otherwise(stage: Stage) -> None:
    stage.write({"index.html": "<!doctype html><script src=/a.js></script>", "a.js": "x" * 900, "b.js": "x" * 9000})
    lines = ["/* script 1"]
    assert not [note for note in told(stage, budgets=lines) if "budget" in note]
    stage.world.forget()
    stage.write(
        {"index.html": "<!doctype html><script src=/a.js></script>", "a.js": "/**/import './b.js'" + "x" * 900, "b.js": random_text(9000)}
    )
    with pytest.raises(RefusedError, match=r"weigh more than site\.budgets allows") as caught:
        stage.deploy(budgets=lines)
    (line,) = caught.value.details
    assert line.startswith("/: script ")
    assert "KiB of 1: b.js " in line
    assert stage.world.count("PUT") == 0
    assert [note for note in told(stage, budgets=lines, over_budget=True) if "budget" in note] == [f"Over site.budgets: {line}"]


def random_text(size: int) -> str:
    """What no compression makes small."""
    return "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size))
