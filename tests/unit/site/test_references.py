"""What the files of a site refer to, resolved as a browser does it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.addresses import Address
from amianai_infra.rules.redirects import Rule
from amianai_infra.rules.routing import Routing
from amianai_infra.site.references import Reference, Site, address_of, references

NEXT = '<script>self.__next_f.push([1,"3:I[1,[\\"2\\",\\"static/chunks/app/page-1.js\\"]]"])</script>'


def paths(page: str, text: str, *hosts: str) -> list[str]:
    return [one.path for one in references(page, text, hosts)]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<script src="/_next/static/chunks/a-1.js" async=""></script>', ["_next/static/chunks/a-1.js"]),
        ("<img src='/logo.svg?v=1#x'>", ["logo.svg"]),
        ("<img src=logo.svg>", ["docs/logo.svg"]),
        ('<a href="../about/">', ["about/"]),
        ('<a href="/about">', ["about"]),
        ('<a href="/">', [""]),
        ('<img srcset="/a.png 1x, /b.png 2x">', ["a.png", "b.png"]),
        ('<img srcset="/a,b.png 480w,/c.png 800w">', ["a,b.png", "c.png"]),
        ('<img srcset="data:image/png;base64,AAA= 1x, /c.png 2x">', ["c.png"]),
        ('<img src="/x.png" srcset="/y.png">', ["x.png", "y.png"]),
        ('<link rel="preload" as="image" href="/p.png" imagesrcset="/q.png 2x">', ["p.png", "q.png"]),
        ('<link rel="preload" href="/_next/static/media/f%20x.woff2"/>', ["_next/static/media/f x.woff2"]),
        ('<video poster="/p.jpg"><source src="v.mp4"><track src="t.vtt"></video>', ["p.jpg", "docs/v.mp4", "docs/t.vtt"]),
        ('<object data="/o.pdf"></object><embed src="/e.pdf"><iframe src="/f/"></iframe>', ["o.pdf", "e.pdf", "f/"]),
        ('<svg><image href="/i.png"/><use xlink:href="/s.svg#x"/></svg>', ["i.png", "s.svg"]),
        ('<base href="/app/"><script src="a.js"></script>', ["app/a.js"]),
        ('<base href="https://cdn.example.net/x/"><script src="a.js"></script>', []),
        ('<a href="/a?x=1&amp;y=2">', ["a"]),
        ('<div style="background:url(/bg.png)">', ["bg.png"]),
        (
            "<style>@import '/s.css'; b{background:url(bg.png)} /* url(no.png) */ i{content:'url(no.png)'}</style>",
            ["s.css", "docs/bg.png"],
        ),
        ("<script type=module>import './m.js'; const s = \"import('./no.js')\"</script>", ["docs/m.js"]),
        ("<SCRIPT SRC='/A.js'></SCRIPT>", ["A.js"]),
        ('<a href=" /spaces.html\n">', ["spaces.html"]),
        (NEXT, ["_next/static/chunks/app/page-1.js"]),
        # A base path: the site's scripts come from /docs/_next/, and so do the ones that the payload names.
        (
            f'<script src="/docs/_next/static/chunks/a.js"></script>{NEXT}',
            ["docs/_next/static/chunks/a.js", "docs/_next/static/chunks/app/page-1.js"],
        ),
        # Another host's assetPrefix: nothing of this is ours.
        (f'<script src="https://cdn.example.net/_next/static/chunks/a.js"></script>{NEXT}', []),
        # Turbopack writes whole addresses.
        (
            '<script>self.__next_f.push([1,"b:I[39756,[\\"/_next/static/chunks/0a.js\\"],\\"default\\"]"])</script>',
            ["_next/static/chunks/0a.js"],
        ),
    ],
)
def test_what_a_page_asks_for(html: str, expected: list[str]) -> None:
    assert paths("docs/index.html", html) == expected


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://elsewhere.example/x">',
        '<a href="//elsewhere.example/x">',
        '<a href="mailto:a@example.com">',
        '<a href="#top">',
        '<a href="http://[broken/">',
        "<code>static/chunks/main.js</code>",
        "<code>&lt;script src=&quot;/assets/gone.js&quot;&gt;</code>",
        '<!-- <script src="/old.js"></script> -->',
        '<textarea><script src="/no.js"></script></textarea>',
        '<title><script src="/no.js"></script></title>',
        '<template><script src="/no.js"></script></template>',
        '<script type="application/json">{"src": "/no.js", "t": "<img src=/no.png>"}</script>',
        '<script type="text/template"><img src="/no.png"></script>',
        '<script type="text/plain" src="/no.js"></script>',
        '<link rel="canonical" href="/elsewhere/"><link rel="preconnect" href="/">',
        '<img data-src="/later.png">',
        '<script src="{{ asset }}"></script><a href="<%= url %>">x</a>',
        '<script>self.__next_f.push([1,"4:[\\"$\\",\\"code\\",null,{\\"children\\":\\"static/chunks/main.js\\"}]"])</script>',
        '<script>self.__next_f.push([1,"5:T1f,\\"/_next/static/chunks/main.js\\" is a chunk"])</script>',
    ],
)
def test_what_is_no_reference(html: str) -> None:
    assert paths("docs/index.html", html) == []


def test_an_address_in_full_is_ours_when_its_host_is() -> None:
    html = '<script src="https://example.com/a.js"></script><script src="https://other.example/b.js"></script>'
    assert paths("index.html", html, "example.com", "www.example.com") == ["a.js"]


def test_lines_and_what_a_page_cannot_do_without() -> None:
    html = (
        "<!doctype html>\n<link rel=stylesheet href=/s.css>\n<img src=/i.png>\n<a href=/about>x</a>\n<script type=module>\n\n"
        "import './m.js'</script>\n<script src=/a.js></script><link rel=modulepreload href=/p.js>"
    )
    assert references("index.html", html) == [
        Reference("s.css", 2, needed=True),
        Reference("i.png", 3),
        Reference("about", 4, page=True),
        Reference("m.js", 7, needed=True),
        Reference("a.js", 8, needed=True),
        Reference("p.js", 8, needed=True),
    ]


SCRIPT = r"""import{a as b}from"./chunk-1.js";import"./side.js";import d,{e}from '../up.js';import * as n from "/abs.js";
export{x}from"./re.js";export * from './star.js';export const z=1;
const s="import('./no.js')", t=`import("./no.js") ${import("./in-template.js")} import("./no.js")`; // import("./no.js")
/* import("./no.js") */ const r=/import\("\.\/no.js"\)/; a.import("./no.js"); const q=a/b; import("./dynamic.js").then(x=>x)
import(/* webpackChunkName: "c" */ `./template.js`); import(`./no-${x}.js`); import(variable);
const w=new Worker(new URL("./worker.js",import.meta.url)); import React from "react"; const e2=s/2;"import('./no.js')"
const g=()=>{return /["']/.test(x)}; import('./after-regex.js'); const o={import:1,export:2}; `a${`b${c}`}d import('./no.js')`;
import('./last.js')"""


def test_the_modules_of_a_script_and_nothing_that_it_merely_mentions() -> None:
    found = references("assets/app.js", SCRIPT)
    assert [(one.path.removeprefix("assets/").removesuffix(".js"), one.line, one.needed) for one in found] == [
        ("chunk-1", 1, True),
        ("side", 1, True),
        ("up", 1, True),
        ("abs", 1, True),
        ("re", 2, True),
        ("star", 2, True),
        ("in-template", 3, True),
        ("dynamic", 4, True),
        ("template", 5, True),
        ("worker", 6, False),
        ("after-regex", 7, True),
        ("last", 8, True),
    ]


def test_the_files_of_a_style_sheet() -> None:
    css = '/* url(no.png) */@import "base.css";@import url(theme.css) screen;\n@font-face{src:url("f.woff2"),url(data:font/woff,x)}'
    assert references("css/s.css", css) == [
        Reference("css/base.css", 1, needed=True),
        Reference("css/theme.css", 1, needed=True),
        Reference("css/f.woff2", 2),
    ]


def test_the_pictures_of_a_manifest() -> None:
    text = '{"start_url": "/", "icons": [{"src": "/a.png"},\n{"src": "b.png"}], "shortcuts": [{"icons": [{"src": "c.png"}]}]}'
    assert references("app/site.webmanifest", text) == [Reference("a.png", 1), Reference("app/b.png", 2), Reference("app/c.png", 2)]
    assert references("manifest.json", "[1, 2") == references("manifest.json", "[1]") == []


def test_which_file_answers() -> None:
    files = {"about/index.html", "logo.svg", "plain.html", "index.html"}

    def answer(path: str, *, page: bool = True) -> str | None:
        found = address_of(Reference(path, 1, page=page), files)
        return found.file if found else None

    assert answer("") == "index.html"
    assert answer("about/") == answer("about") == "about/index.html"
    assert answer("plain") == answer("plain/") == "plain.html"
    assert answer("logo.svg", page=False) == "logo.svg"
    assert answer("gone") is None
    assert answer("plain", page=False) is None, "no script is a page"


def test_what_answers_besides_files_is_not_missing() -> None:
    files = {"docs/index.html", "docs/app.js"}
    page = """<a href="/"><a href="/old"><a href="/blog/1"><a href="/gone"><a href="/gone.pdf">
<script src="/js/app.js"></script><script src="/js/gone.js"></script><script src="/cdn/x.js"></script>"""

    def broken(routing: Routing | None) -> list[str]:
        return [one.path for one in Site(files, (), routing).broken("docs/index.html", page)]

    every = ["", "old", "blog/1", "gone", "gone.pdf", "js/app.js", "js/gone.js", "cdn/x.js"]
    assert broken(None) == broken(Routing()) == every
    assert broken(Routing(home="/docs/")) == every[1:]
    assert broken(Routing(fallback="docs/index.html")) == ["gone.pdf", "js/app.js", "js/gone.js", "cdn/x.js"], "navigations only"
    rules = (Rule("old", "/docs/"), Rule("blog/*", "https://blog.example/:splat"), Rule("js/*", "/docs/:splat", 200))
    assert broken(Routing(rules=(*rules, Rule("cdn/*", "https://cdn.example/:splat", 302)))) == ["", "gone", "gone.pdf", "js/gone.js"]
    app = Rule("*", "/docs/index.html", 200)
    assert broken(Routing(rules=(app,))) == ["js/app.js", "js/gone.js", "cdn/x.js"], "a page is no script"


def test_a_decomposed_address_is_the_composed_file() -> None:
    assert Site({"caf\u00e9.html"}).broken("index.html", '<a href="/cafe\u0301"><a href="/cafe%CC%81.html">') == []


def test_a_page_whose_files_are_there_is_not_parsed_and_one_that_only_mentions_others_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site({"a.js", "about.html", "i.png"})
    assert site.broken("x/index.html", '<code><img src="/gone.png"></code>'.replace("<img", "&lt;img")) == []
    assert site.named("x/index.html", '<script src="/a.js"></script><a href="/about">') == {
        Address("/a.js", "a.js"),
        Address("/about", "about.html"),
    }

    def parsed(*_: object) -> list[Reference]:
        raise AssertionError("parsed")

    monkeypatch.setattr("amianai_infra.site.references.references", parsed)
    whole = '<script src="/a.js"></script><a href="/about"><img srcset="/i.png 1x"></a><a href="https://elsewhere.example/">'
    assert site.broken("x/index.html", whole) == []
    assert site.broken("x/index.html", f"{whole}<pre><code>const x = 1;\nlonger\n  = 2;\tmatrix\t= 3; hrefs = 4</code></pre>") == []
    with pytest.raises(AssertionError, match="parsed"):
        site.broken("x/index.html", '<script src="/gone.js"></script>')


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\f", "\r\n", " " * 100])
def test_white_space_before_the_sign_of_an_attribute_hides_nothing(space: str) -> None:
    site = Site({"index.html", "a.js"})
    assert [one.path for one in site.broken("index.html", f"x = 1 <SCRIPT SRC{space}= '/gone.js'></SCRIPT>")] == ["gone.js"]
    assert site.named("index.html", f"x = 1 <script src{space}='/a.js'></script>") == {Address("/a.js", "a.js")}
    assert [one.fragment for one in site.astray("index.html", f"x = 1 <a href{space}='#gone'>")] == ["gone"]


def test_what_a_page_is_shown_without() -> None:
    html = (
        '<script src="/a.js"></script><script nomodule src="/old.js"></script><link rel=stylesheet href="/a.css">'
        '<link rel=icon href="/i.png">'
        '<img src="/a.png" srcset="/b.png 2x"><img loading=lazy src="/c.png"><link rel=preload as=font href="/f.woff2">'
        '<link rel=prefetch href="/next.js"><link rel=modulepreload href="/m.js">'
        '<script type=module>import "/s.js"; import("/d.js"); new URL("./w.js", import.meta.url)</script>'
    )
    found = {one.path: one.deferred for one in references("index.html", html)}
    shown = {path for path, deferred in found.items() if not deferred}
    assert shown == {"a.js", "a.png", "a.css", "f.woff2", "m.js", "s.js"}
    assert found.keys() - shown == {"old.js", "b.png", "c.png", "i.png", "next.js", "d.js", "w.js"}


def test_the_files_that_styles_scripts_and_manifests_name_are_named() -> None:
    site = Site({"assets/b.css", "assets/dots.svg", "assets/c.js", "icon.svg"})
    assert site.named("assets/a.css", "@import 'b.css'; a{background:url(dots.svg)} b{background:url(gone.svg)}") == {
        Address("/assets/b.css", "assets/b.css"),
        Address("/assets/dots.svg", "assets/dots.svg"),
    }
    assert site.named("assets/a.js", 'import("./c.js"),new URL("./dots.svg",import.meta.url);use("/icon.svg#a")') == {
        Address("/assets/c.js", "assets/c.js"),
        Address("/assets/dots.svg", "assets/dots.svg"),
        Address("/icon.svg", "icon.svg"),
    }
    assert site.named("site.webmanifest", '{"icons": [{"src": "icon.svg"}]}') == {Address("/icon.svg", "icon.svg")}


PIECES = (
    '<script src="{}"></script>',
    "<script type=module>import '{}'</script>",
    '<link rel=stylesheet href="{}">',
    "<img src={}>",
    '<img srcset="{} 2x, {} 3x">',
    "<style>a{{background:url({})}}</style>",
    '<a href="{}">x</a>',
    '<!-- <script src="{}"></script> -->',
    "<code>&lt;script src={}&gt;</code>",
    '<textarea><img src="{}"></textarea>',
    '<video poster="{}"></video>',
    "<base href='/x/'>",
    '<a href = "{}">x</a>',
    "<IMG\tSRC\n=\n'{}'>",
    '<object data="{}"></object>',
    '<link rel="preload" imagesrcset="{} 1x">',
    '<meta charset=utf-8><div data-src="{}" title="a>b">',
    '<svg><use xlink:href="{}"/></svg>',
    "<STYLE>@IMPORT '{}';</STYLE>",
)
ADDRESSES = (
    "/a.js",
    "./a.js",
    "../a.js",
    "/gone.js",
    "b.png",
    "/x/b.png",
    "https://example.com/a.js",
    "https://other.example/a.js",
    "/a.js?v=1",
)


@given(st.integers())
def test_the_quick_look_never_calls_a_page_sound_that_the_parser_does_not(seed: int) -> None:
    draw = random.Random(seed)
    text = "\n".join(draw.choice(PIECES).format(*draw.choices(ADDRESSES, k=2)) for _ in range(draw.randrange(8)))
    files = set(draw.sample(["a.js", "x/a.js", "b.png", "x/b.png", "y/b.png"], draw.randrange(6)))
    site = Site(files, ("example.com",))
    found = references("x/index.html", text, ("example.com",))
    assert site.broken("x/index.html", text) == [one for one in found if address_of(one, files) is None]
    assert site.named("x/index.html", text) >= {address_of(one, files) for one in found} - {None}


@given(
    st.text(alphabet="<>/=\"'`{}$\\ \nimportexfs(),.*-:url", max_size=200), st.sampled_from(["a.html", "a.js", "a.css", "a.webmanifest"])
)
def test_any_text_may_be_looked_at(text: str, name: str) -> None:
    references(name, text)
    Site(()).broken(name, text)


def test_what_many_pages_name_is_understood_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that start at the root mean the same in every page; one that starts from its page does not."""
    asked: list[str] = []

    def answering(path: str, files: object, *, page: bool) -> Address | None:
        asked.append(path)
        return Address(f"/{path}", path) if path in {"a.js", "x/b.png", "b.png"} else None

    monkeypatch.setattr("amianai_infra.site.references._answering", answering)
    site = Site({"a.js", "x/b.png", "b.png"})
    for page in ("index.html", "x/index.html", "x/y.html"):
        assert site.broken(page, '<script src="/a.js"></script><img src="b.png">') == []
    assert sorted(asked) == ["a.js", "b.png", "x/b.png", "x/b.png"]
    assert site.named("x/y.html", '<img src="b.png"><script src="/a.js"></script>') == {
        Address("/x/b.png", "x/b.png"),
        Address("/a.js", "a.js"),
    }


def test_a_style_sheet_in_whatever_case_is_looked_at() -> None:
    assert [one.path for one in references("s.css", "@Import 'a.css';")] == ["a.css"]
    assert [one.path for one in references("s.css", "a{background:uRL(b.png)}")] == ["b.png"]
    assert Site({"a.css"}).broken("index.html", "<style>@imporT 'gone.css';</style>") == [Reference("gone.css", 1, needed=True)]


DOCS = """<!doctype html><h1 id="intro">x</h1><a name=old></a><h2 ID = 'spaced'>x</h2><h2 id="caf\u00e9">x</h2><h2 id="a&amp;b">x</h2>
<!-- <h2 id="commented"> --><p data-id="no" class="id=no"><input name="field"><template><i id="inert"></i></template>
<p id=bare>x"""


def astray(page: str, text: str, routing: Routing | None = None, **others: str) -> list[tuple[str, int]]:
    files = {"index.html": "", "docs/index.html": DOCS, "about.html": "<p id=us>", "guide.pdf": "", page: text, **others}
    site = Site(files, ("example.com",), routing, lambda path: files[path])
    return [(f"/{one.path}#{one.fragment}", one.line) for one in site.astray(page, text)]


@pytest.mark.parametrize(
    "link",
    [
        "/docs/#intro",
        "/docs/#old",
        "/docs/#spaced",
        "/docs/#bare",
        "/docs/#caf\u00e9",
        "/docs/#caf%C3%A9",
        "/docs/#a&amp;b",
        "/docs#intro",
        "docs/index.html?x=1#intro",
        "https://example.com/docs/#intro",
        "/about#us",
        "#own",
        "#",
        "#top",
        "#TOP",
        "/docs/#",
        "/docs/#:~:text=gone",
        "/docs/#intro:~:text=gone",
        "#/route",
        "#!route",
        "/docs/#${part}",
        "/guide.pdf#page=2",
        "https://elsewhere.example/docs/#gone",
        "mailto:a@example.com#gone",
        "/gone#gone",
    ],
)
def test_parts_of_pages_that_are_there_and_links_to_none(link: str) -> None:
    assert astray("start.html", f'<p id="own"><a href="{link}">x</a>') == []


@pytest.mark.parametrize("part", ["gone", "Intro", "commented", "no", "field", "inert", "gone:~:text=x", "caf%E9"])
def test_a_link_to_a_part_that_is_not_there_is_told_with_its_line(part: str) -> None:
    shown = part.partition(":~:")[0]
    assert astray("start.html", f"<p>\n\n<a href='/docs/#{part}'>x</a>") == [(f"/docs/#{shown}", 3)]
    assert astray("x/start.html", f"{DOCS}<a\nhref = #{part}>x</a>") == [(f"/x/start.html#{shown}", 3)], "in the page itself"


def test_only_links_lead_to_parts() -> None:
    page = """<svg><use href="#sprite"/></svg><img src="/i.svg#gone"><!-- <a href="#gone"> --><code>&lt;a href="#gone"&gt;</code>
<template><a href="#gone">x</a></template><a download href="#gone">x</a><button data-href="#gone"></button>"""
    assert astray("start.html", page) == []
    assert astray("start.html", "<base href=/docs/><a href=#intro>x</a><a href=#us>x</a>") == [("/docs/#us", 1)]


def test_a_page_that_answers_for_others_is_not_judged() -> None:
    link = '<a href="/docs/#gone">x</a>'
    told = [("/docs/#gone", 1)]
    assert astray("start.html", link) == astray("start.html", link, Routing(fallback="index.html")) == told
    assert astray("start.html", link, Routing(fallback="docs/index.html")) == []
    assert astray("start.html", link, Routing(rules=(Rule("app/*", "/docs/", 200),))) == []
    assert astray("start.html", link, Routing(rules=(Rule("docs", "/about", 302, forced=True),))) == []
    assert astray("start.html", link, Routing(rules=(Rule("docs", "/about", 302), Rule("x", "/docs/", 200)))) == told


def test_a_page_that_many_link_is_looked_at_once() -> None:
    read: list[str] = []
    files = {"docs/index.html": DOCS, **{f"{number}.html": "" for number in range(9)}}

    def text(path: str) -> str | None:
        read.append(path)
        return files[path] if path == "docs/index.html" else None

    site = Site(files, (), None, text)
    for number in range(9):
        assert site.astray(f"{number}.html", '<a href="/docs/#intro"><a href="/docs/#bare"><a href="/docs/#old">') == []
    assert read.count("docs/index.html") == 1
    assert site.astray("0.html", '<a href="/8#anything">') == [], "what cannot be read is not judged"


PARTS = (
    '<h2 id="{}">x</h2>',
    "<a name={}>x</a>",
    '<i class=x ID = "{}">x</i>',
    '<!-- <i id="{}">x</i> -->',
    '<template><i id="{}">x</i></template>',
    '<input name="{}">',
    '<p data-id="{}">x</p>',
    '<a href="#{}">x</a>',
    "<a\nhref=/#{}>x</a>",
    '<a href = "#{}">x</a>',
    '<!-- <a href="#{}">x</a> -->',
    '<svg><use href="#{}"/></svg>',
)


@given(st.integers())
def test_the_quick_look_at_links_to_parts_says_what_the_parser_says(seed: int) -> None:
    draw = random.Random(seed)
    text = "\n".join(draw.choice(PARTS).format(draw.choice("abc")) for _ in range(draw.randrange(8)))
    told = Site({"index.html"}).astray("index.html", text)
    # A base element that changes nothing leaves the whole page to the parser.
    assert told == Site({"index.html"}).astray("index.html", f"{text}<base href=/>")
