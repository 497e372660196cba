"""What pages load from elsewhere and a policy refuses."""

from __future__ import annotations

import pytest

from amianai_infra.rules.headers import content_security_policy
from amianai_infra.site.outside import loaded, origin_of, refused, setting

POLICY = content_security_policy(["https://api.example.com"])

PAGE = """<!doctype html>
<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin>
<link rel="stylesheet" href="https://fonts.googleapis.com/css2?family=Inter">
<link rel="canonical" href="https://other.example/"><link rel="preload" as="font" href="//cdn.example/a.woff2">
<script src="https://js.example/a.js"></script><a href="https://linked.example/">x</a>
<img src="https://img.example/a.png" srcset="https://img2.example/b.png 2x, /c.png 1x">
<iframe src="https://www.youtube-nocookie.com/embed/x"></iframe><video src="https://v.example/a.mp4"></video>
<form action="https://forms.example/post"></form>
<style>@font-face { src: url(https://f.example/a.woff2) } p { background: url('https://bg.example/b.png') }</style>
<p style="background:url(https://inline.example/x.png)"><code>&lt;script src="https://text.example/"&gt;</code>
<script>
fetch("https://call.example/v1"); fetch(`https://api.example.com/${x}`); const s = "https://text2.example/";
</script>
"""


def test_a_page() -> None:
    found = {
        (one.directive, origin_of(one.address), one.line) for one in loaded("index.html", PAGE) if refused(one, POLICY, ["example.com"])
    }
    assert found == {
        ("font-src", "https://fonts.gstatic.com", 2),
        ("style-src", "https://fonts.googleapis.com", 3),
        ("font-src", "https://cdn.example", 4),
        ("script-src", "https://js.example", 5),
        ("img-src", "https://img.example", 6),
        ("img-src", "https://img2.example", 6),
        ("frame-src", "https://www.youtube-nocookie.com", 7),
        ("media-src", "https://v.example", 7),
        ("form-action", "https://forms.example", 8),
        ("font-src", "https://f.example", 9),
        ("img-src", "https://bg.example", 9),
        ("img-src", "https://inline.example", 10),
        ("connect-src", "https://call.example", 12),
    }


def test_styles_and_scripts() -> None:
    assert [
        (one.directive, one.address, one.line)
        for one in loaded("a.css", "/* url(https://no.example) */\n@import 'https://a.example/x.css';")
    ] == [("style-src", "https://a.example/x.css", 2)]
    script = "import x from 'https://esm.example/x.js';\nnew WebSocket('wss://ws.example/');\nconst doc = \"fetch('https://no\" + 'x';"
    assert [(one.directive, origin_of(one.address), one.line) for one in loaded("a.js", script)] == [
        ("connect-src", "wss://ws.example", 2),
        ("script-src", "https://esm.example", 1),
    ]


@pytest.mark.parametrize(
    ("source", "address", "right"),
    [
        ("https://a.example", "https://a.example/x", True),
        ("https://a.example", "https://b.a.example/x", False),
        ("https://*.example", "https://b.a.example/x", True),
        ("https://*.a.example", "https://a.example/x", False),
        ("http://a.example", "https://a.example/x", True),
        ("https://a.example", "http://a.example/x", False),
        ("a.example:8080", "https://a.example:8080/", True),
        ("https://a.example", "https://a.example:8080/", False),
        ("https://a.example/js/", "https://a.example/js/x.js", True),
        ("https://a.example/x", "https://a.example/y", False),
        ("https:", "https://anything.example/", True),
        ("*", "https://anything.example/", True),
        ("'self'", "https://www.example.com/x", True),
        ("'none'", "https://a.example/", False),
        ("'unsafe-inline'", "https://a.example/", False),
    ],
)
def test_sources(source: str, address: str, right: bool) -> None:
    (one,) = loaded("a.html", f'<img src="{address}">')
    assert refused(one, f"default-src 'none'; img-src {source}", ["example.com", "www.example.com"]) is not right


def test_the_setting_allows_what_was_refused() -> None:
    found = [("font-src", "https://f.example"), ("font-src", "https://g.example"), ("frame-src", "https://y.example")]
    said = setting(found, POLICY, ["img-src https://i.example"])
    assert said == "site.csp_sources=img-src https://i.example,font-src https://f.example https://g.example,frame-src https://y.example"
    policy = content_security_policy(sources=said.partition("=")[2].split(","))
    for directive, origin in found:
        tag = {"font-src": f'<link rel=preload as=font href="{origin}/x">', "frame-src": f'<iframe src="{origin}/x">'}[directive]
        assert not refused(loaded("a.html", tag)[0], policy, [])
    own = setting([("script-src", "https://s.example"), ("object-src", "https://o.example")], "default-src 'self'; object-src 'none'", None)
    assert own == "site.content_security_policy=default-src 'self'; object-src https://o.example; script-src 'self' https://s.example"


def test_a_connection_ahead_is_for_whatever_allows_the_host() -> None:
    (one,) = loaded("a.html", '<link rel="preconnect" href="https://s.example">')
    assert refused(one, POLICY, [])
    assert not refused(one, content_security_policy(sources=["script-src https://s.example"]), [])
