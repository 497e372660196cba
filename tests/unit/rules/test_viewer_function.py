"""The viewer function, run by node. It cannot prove what CloudFront's own runtime lacks; docs name the features it has."""

from __future__ import annotations

import re
import shutil
from urllib.parse import urlsplit

import pytest

from amianai_infra.rules.headers import content_security_policy, page_policy, policy_of
from amianai_infra.rules.viewer_function import LONGEST, response_function, viewer_function
from tests.unit.rules.edge import event, run

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

CASES: list[tuple[str, str]] = [
    ("/", "/index.html"),
    ("/index.html", "/index.html"),
    ("/docs", "/docs/index.html"),
    ("/docs/", "/docs/index.html"),
    ("/docs/start", "/docs/start/index.html"),
    ("/docs/start/", "/docs/start/index.html"),
    ("/_next/static/chunks/main-0a1b.js", "/_next/static/chunks/main-0a1b.js"),
    ("/docs/index.txt", "/docs/index.txt"),
    ("/v1.2/", "/v1.2/index.html"),
    ("/v1.2/guide", "/v1.2/guide/index.html"),
    ("/.well-known/apple-app-site-association", "/.well-known/apple-app-site-association"),
    ("/opengraph-image", "/opengraph-image"),
    ("/blog/twitter-image-1x2y", "/blog/twitter-image-1x2y"),
    ("/icon", "/icon"),
    ("/icons", "/icons/index.html"),
    ("/caf%C3%A9", "/caf%C3%A9/index.html"),
    ("/.amianai/lock", "/.amianai/lock/index.html"),
]


def test_pages_are_served_by_their_index_and_files_as_they_are() -> None:
    found = run([event(uri) for uri, _ in CASES], viewer_function("example.com"))
    assert [one["uri"] for one in found] == [expected for _, expected in CASES]


def test_a_query_stays_with_the_request() -> None:
    (found,) = run([event("/docs", query={"a": {"value": "1"}})], viewer_function("example.com"))
    assert found["querystring"] == {"a": {"value": "1"}}


def test_www_goes_to_the_apex_with_path_and_query() -> None:
    events = [
        event("/", "www.example.com"),
        event("/index.html", "www.example.com"),
        event("/docs/start", "WWW.EXAMPLE.COM:443"),
        event("/docs/", "www.example.com", {"a": {"value": "1", "multiValue": [{"value": "1"}, {"value": "2"}]}, "b": {"value": ""}}),
        event("/caf%C3%A9", "www.example.com", {"q": {"value": "a%20b"}}),
        event("//evil.test", "www.example.com"),
        event("/x", "www.example.com", {"q": {"value": 'a b\r\nset-cookie: "x"'}}),
    ]
    found = run(events, viewer_function("example.com", 60))
    assert {one["statusCode"] for one in found} == {301}
    assert [one["headers"]["location"]["value"] for one in found] == [
        "https://example.com/",
        "https://example.com/",
        "https://example.com/docs/start",
        "https://example.com/docs/?a=1&a=2&b",
        "https://example.com/caf%C3%A9?q=a%20b",
        "https://example.com/evil.test",
        "https://example.com/x?q=a%20b%0D%0Aset-cookie:%20%22x%22",
    ]
    assert found[0]["headers"]["strict-transport-security"]["value"] == "max-age=60"


HOSTILE = [
    *("evil.test", ".evil.test", "@evil.test", ":80@evil.test/", "-x.evil.test", "https://evil.test/", "*", "", "?x", "#x", "index.html"),
    *("//evil.test", "///evil.test/", "/\\evil.test", "\\\\evil.test", "\\evil.test", "//evil.test/index.html", "\\/evil.test"),
    *("%2F%2Fevil.test", "%5Cevil.test", "%2e%2e//evil.test", "%40evil.test", "%0d%0alocation:x", "\u2028evil.test"),
]


def test_no_path_leads_away_from_the_apex() -> None:
    found = run([event(uri, "www.example.com") for uri in HOSTILE], viewer_function("example.com"))
    for uri, one in zip(HOSTILE, found, strict=True):
        location = one["headers"]["location"]["value"]
        assert urlsplit(location).netloc == "example.com", (uri, location)
        assert re.match(r"https://example\.com/(?![/\\])", location), (uri, location)
        assert not set(location) & set("\r\n\t \u2028"), (uri, location)


def test_what_the_origin_is_asked_for_begins_with_a_slash() -> None:
    found = run([event(uri) for uri in HOSTILE], viewer_function("example.com"))
    assert [one["uri"] for one in found if not one["uri"].startswith("/")] == []


def test_other_hosts_are_served() -> None:
    hosts = ["example.com", "d1.cloudfront.net", "www.example.com.evil.test", "notwww.example.com", ""]
    found = run([event("/docs", host) for host in hosts], viewer_function("example.com"))
    assert [one["uri"] for one in found] == ["/docs/index.html"] * len(hosts)


def test_without_hsts_the_redirect_sends_none() -> None:
    (found,) = run([event("/", "www.example.com")], viewer_function("example.com"))
    assert "strict-transport-security" not in found["headers"]


def test_it_fits() -> None:
    for previews in (False, True):
        assert len(viewer_function("a" * 63 + ".example.com", 63_072_000, previews=previews).encode()) < LONGEST


def test_what_an_object_keeps_as_metadata_becomes_headers_of_its_answer() -> None:
    headers = {
        "content-type": {"value": "text/html"},
        "x-frame-options": {"value": "DENY"},
        "x-amz-meta-header-x-frame-options": {"value": "SAMEORIGIN"},
        "x-amz-meta-header-x-robots-tag": {"value": "noindex"},
        "x-amz-meta-mine": {"value": "1"},
    }
    answer = {"version": "1.0", "response": {"statusCode": 200, "headers": headers}}
    (found,) = run([answer], response_function())
    assert found == {
        "statusCode": 200,
        "headers": {
            "content-type": {"value": "text/html"},
            "x-frame-options": {"value": "SAMEORIGIN"},
            "x-robots-tag": {"value": "noindex"},
            "x-amz-meta-mine": {"value": "1"},
        },
    }


@pytest.mark.parametrize("words", ["-", "i", "u w b abc def", "toString w"])
def test_the_policy_of_a_page_is_made_of_what_its_object_says(words: str) -> None:
    policy = content_security_policy(["https://api.example.com"])
    headers = {"content-security-policy": {"value": policy}, "x-amz-meta-header-amianai-policy": {"value": words}}
    answer = {"version": "1.0", "response": {"statusCode": 200, "headers": headers}}
    (found,) = run([answer], response_function(policy))
    assert found["headers"] == {"content-security-policy": {"value": policy_of(page_policy(policy), words)}}
    (found,) = run([answer], response_function())
    assert found["headers"] == {"content-security-policy": {"value": policy}}, "a policy of the user's own stays"
    assert len(response_function(policy)) < LONGEST
