"""Security headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.headers import cognito_origins, content_security_policy, page_policy, policy_of, security_headers


def directives(policy: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in policy.split("; "))}


def test_the_default_policy() -> None:
    found = directives(content_security_policy())
    assert found["default-src"] == ["'self'"]
    assert found["frame-ancestors"] == ["'none'"]
    assert found["object-src"] == ["'none'"]
    assert found["connect-src"] == ["'self'"]


def test_origins_are_added_once_and_in_order() -> None:
    policy = content_security_policy(["https://a.example", "http://127.0.0.1:4566", "https://a.example"])
    assert directives(policy)["connect-src"] == ["'self'", "https://a.example", "http://127.0.0.1:4566"]


def test_sign_in_is_reachable() -> None:
    assert cognito_origins("eu-west-1", "shop") == (
        "https://cognito-idp.eu-west-1.amazonaws.com",
        "https://shop.auth.eu-west-1.amazoncognito.com",
    )
    assert cognito_origins("eu-west-1", "auth.example.com")[1] == "https://auth.example.com"


@pytest.mark.parametrize(
    "text",
    [
        "example.com",
        "https://example.com/path",
        "https://a b",
        "https://a;script-src *",
        "'self'",
        "javascript:alert(1)",
        "https://",
        "*",
        "",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        content_security_policy([text])


@given(st.text())
def test_no_text_can_add_a_directive(text: str) -> None:
    try:
        policy = content_security_policy([text])
    except ValueError:
        return
    assert directives(policy).keys() == directives(content_security_policy()).keys()
    assert directives(policy)["connect-src"] == ["'self'", text]


def test_what_may_come_from_elsewhere_is_added_to_its_directive() -> None:
    found = directives(
        content_security_policy(sources=["font-src https://a.example data:", "frame-src https://b.example", "worker-src blob:"])
    )
    assert found["font-src"] == ["'self'", "data:", "https://a.example"]
    assert found["frame-src"] == ["'self'", "https://b.example"]
    assert found["worker-src"] == ["'self'", "blob:"]
    for wrong in (
        "script-src data:",
        "script-src 'unsafe-eval'",
        "img-src https://a; script-src *",
        "font-src",
        "object-src https://a.example",
    ):
        with pytest.raises(ValueError, match="is not a directive"):
            content_security_policy(sources=[wrong])


def test_a_pages_policy_has_its_own_scripts_and_no_others() -> None:
    parts = page_policy(content_security_policy(sources=["script-src https://a.example"]))
    plain = directives(policy_of(parts, "-"))
    assert plain["script-src"] == ["'self'", "https://a.example"]
    assert plain == {**directives(content_security_policy()), "script-src": plain["script-src"]}
    found = directives(policy_of(parts, "u w b abc"))
    assert found["script-src"] == ["'self'", "https://a.example", "'unsafe-hashes'", "'wasm-unsafe-eval'", "'sha256-abc='"]
    assert found["worker-src"] == ["'self'", "blob:"]
    assert directives(policy_of(parts, "i"))["script-src"] == ["'self'", "https://a.example", "'unsafe-inline'"]


def test_the_headers_of_every_answer() -> None:
    found = security_headers("default-src 'none'", 60, include_subdomains=True, preload=True)
    assert found["strict-transport-security"] == "max-age=60; includeSubDomains; preload"
    assert found["content-security-policy"] == "default-src 'none'"
    assert found.keys() >= {
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "permissions-policy",
        "cross-origin-opener-policy",
    }
