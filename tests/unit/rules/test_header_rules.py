"""Headers by address, as the `_headers` file of Netlify and Cloudflare Pages says them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.header_rules import LARGEST_METADATA, attributes, headers_of, metadata_size, read, read_settings

# After the examples in the documentation of both.
FILE = """# a comment
/secure/page
  X-Frame-Options: DENY
  Referrer-Policy: no-referrer

/static/*
  Access-Control-Allow-Origin: *
  X-Robots-Tag: nosnippet
https://project.pages.dev/*
  X-Robots-Tag: noindex
/movies/:title
  X-Movie: You watch :title
/old/*
  Link: </new/:splat>; rel="canonical"
"""


def given_to(address: str, text: str, *hosts: str) -> dict[str, str]:
    rules, problems = read(text, hosts)
    assert problems == []
    return {name: value for name, (value, _) in headers_of([address], rules).items()}


def test_the_rules_that_match_give_their_headers() -> None:
    assert given_to("/secure/page", FILE) == {"x-frame-options": "DENY", "referrer-policy": "no-referrer"}
    assert given_to("/static/a/b.png", FILE) == {"access-control-allow-origin": "*", "x-robots-tag": "nosnippet"}
    assert given_to("/static/a.png", FILE, "project.pages.dev")["x-robots-tag"] == "nosnippet, noindex"
    assert given_to("/movies/alien", FILE) == {"x-movie": "You watch alien"}
    assert given_to("/movies/alien/cast", FILE) == {}
    assert given_to("/old/a/b", FILE) == {"link": '</new/a/b>; rel="canonical"'}


def test_lists_are_joined_and_others_are_replaced_and_taken_away() -> None:
    everywhere = "/*\n  Cache-Control: no-store\n  X-Robots-Tag: noindex\n  X-Own: 1\n"
    text = f"{everywhere}/a/*\n  Cache-Control: max-age=9\n  X-Robots-Tag: nofollow\n  ! X-Own\n"
    assert given_to("/a/b", text) == {"cache-control": "max-age=9", "x-robots-tag": "noindex, nofollow"}
    assert given_to("/b", text)["x-own"] == "1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("X-Robots-Tag: noindex", "line 1: 'X-Robots-Tag: noindex' belongs to no address"),
        ("/*\n  no header", "line 2: 'no header' is no header"),
        ("/*\n\n# c\n  Set-Cookie: a=b", "line 4: set-cookie: a file of a static site sets no cookie"),
        ("/*\n  Basic-Auth: user:pass", "line 2: basic-auth: the CDN asks for no password"),
        ("/*\n  Server: me", "line 2: server is the CDN's own"),
        ("/*\n  X-Amz-Meta-A: b", "line 2: x-amz-meta-a is the CDN's own"),
        ("/*\n  Transfer-Encoding: chunked", "line 2: transfer-encoding is the CDN's own"),
        ("/*\n  ! Content-Security-Policy", "line 2: content-security-policy is in every answer and cannot be taken away"),
        ("/*\n  X-A: gr\u00fc\u00df", "line 2: the value of x-a has to be printable ASCII"),
        ("/*\n  X-A:", "line 2: the value of x-a has to be printable ASCII"),
    ],
)
def test_what_cannot_be_is_named_by_line(text: str, problem: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert problems[0].startswith(f"_headers, {problem}")


def test_settings_say_the_same_in_one_line() -> None:
    rules, problems = read_settings(["/feeds/* Content-Type: application/rss+xml", "/* X-Own: :splat"])
    assert problems == []
    assert {name: value for name, (value, _) in headers_of(["/feeds/a"], rules).items()} == {
        "content-type": "application/rss+xml",
        "x-own": "feeds/a",
    }
    assert [problem.partition(": ")[0] for problem in read_settings(["/*", "nonsense", "/* Set-Cookie: a=b"])[1]] == ["site.headers"] * 3


def test_what_s3_keeps_itself_and_what_is_metadata() -> None:
    headers = (("content-disposition", "attachment"), ("content-encoding", "br"), ("x-robots-tag", "noindex"))
    assert dict(attributes(headers)) == {"Content-Disposition": "attachment", "Content-Encoding": "br", "header-x-robots-tag": "noindex"}
    assert metadata_size(headers) == len("header-x-robots-tag" + "noindex")
    assert LARGEST_METADATA == 2048


@given(st.text(), st.text(alphabet="/abc.*:", max_size=12))
def test_any_file_is_read(text: str, address: str) -> None:
    rules, _ = read(text)
    for value, where in headers_of([f"/{address}"], rules).values():
        assert value.isascii()
        assert where.startswith("_headers, line ")


@given(st.text(alphabet="/a*:b.-", min_size=1, max_size=10))
def test_any_pattern_compiles(pattern: str) -> None:
    rules, problems = read(f"/{pattern}\n  X-A: b\n")
    assert (len(rules), problems) == (1, [])
