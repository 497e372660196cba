"""Who may call what, without an emulator."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.sandbox.emulator_gateway.access import (
    Caller,
    Kind,
    cross_origin_headers,
    distribution_host,
    host_name,
    is_local,
    is_site,
    kind_of,
    origin_of,
    preflight,
    refusal,
)

HOST = "127.0.0.1:4566"
SITE = "d1.cloudfront.localhost:4566"
OURS = frozenset({f"http://{SITE}", "http://localhost:3000"})
SIGN_UP = {"x-amz-target": "AWSCognitoIdentityProviderService.SignUp"}
SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=..."}
PUBLIC = {"SignUp", "InitiateAuth"}


def caller(method: str = "GET", path: str = "/", query: str = "", host: str = HOST, **headers: str) -> Caller:
    return Caller(method, path, query, {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}})


def decide(made: Caller) -> str | None:
    return refusal(made, kind_of(made, PUBLIC), OURS)


def page(site: str = "cross-site", mode: str = "no-cors", dest: str = "image", origin: str | None = None) -> dict[str, str]:
    headers = {"sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": dest}
    return headers if origin is None else {**headers, "origin": origin}


@pytest.mark.parametrize("host", [HOST, "localhost", "LOCALHOST:1", "[::1]:4566", SITE, "localhost."])
def test_names_of_this_machine(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["", "example.com", "localhost.example.com", "127.0.0.1.nip.io", "evillocalhost", "10.0.0.1", "null"])
def test_names_that_could_be_another_machine(host: str) -> None:
    assert not is_local(host)


@pytest.mark.parametrize(
    "host", ["[::1", "localhost:x", "localhost:99999", "a@localhost", "localhost/x", "localhost?", "local\x00host", "[v1.x]"]
)
def test_what_is_no_host_is_refused_and_raises_nothing(host: str) -> None:
    assert host_name(host) is None or not is_local(host)
    assert decide(caller(host=host)) is not None


@pytest.mark.parametrize(
    "origin", ["http://[::1", "http://localhost:x", "null", "x", "http://", "http://localhost:3000@evil.example", "\x00"]
)
def test_what_is_no_origin_is_refused_and_raises_nothing(origin: str) -> None:
    assert decide(caller("POST", origin=origin, **SIGN_UP)) is not None
    assert origin_of(origin) not in OURS


@given(st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,10}){1,3}", fullmatch=True).filter(lambda name: not name.endswith(".localhost")))
def test_a_rebound_name_is_refused(host: str) -> None:
    if host != "127.0.0.1":
        assert decide(caller(host=f"{host}:4566", **SIGNED)) is not None


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_header_raises(host: str, origin: str, site: str) -> None:
    made = caller("POST", host=host, origin=origin, sec_fetch_site=site)
    assert decide(made) is None or made.headers


# ---- kinds


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (caller(host=SITE, path="/logout"), Kind.SITE),
        (caller(host=SITE, path="/_ministack/reset", method="POST"), Kind.SITE),
        (caller("POST", **SIGN_UP), Kind.SIGN_IN),
        (caller("POST", **SIGN_UP, **SIGNED), Kind.CONTROL),
        (caller("POST", x_amz_target="AWSCognitoIdentityProviderService.AdminGetUser"), Kind.CONTROL),
        (caller("POST", x_amz_target="secretsmanager.SignUp"), Kind.CONTROL),
        (caller("POST", "/bucket", **SIGN_UP), Kind.CONTROL),
        (caller("PUT", **SIGN_UP), Kind.CONTROL),
        (caller(path="/us-east-1_Ab1/.well-known/jwks.json"), Kind.SIGN_IN),
        (caller("PUT", path="/us-east-1_Ab1/.well-known/jwks.json"), Kind.CONTROL),
        (caller(path="/oauth2/authorize"), Kind.PAGE),
        (caller("POST", path="/login"), Kind.FORM),
        (caller("POST", path="/oauth2/token", authorization="Basic eA=="), Kind.SIGN_IN),
        (caller("GET", path="/oauth2/token"), Kind.CONTROL),
        (caller(path="/login"), Kind.CONTROL),
        (caller("POST", query="X-Amz-Credential=test/20260101/us-east-1/iam/aws4_request", **SIGN_UP), Kind.CONTROL),
        (caller("POST", query="Action=CreateUser", **SIGN_UP), Kind.CONTROL),
        (caller("POST", host="secretsmanager.localhost", **SIGN_UP), Kind.CONTROL),
        (caller(path="/us-east-1_Ab1/.well-known/jwks.json", x_amz_target="secretsmanager.GetSecretValue"), Kind.CONTROL),
        (caller(path="/us-east-1_Ab1/.well-known/jwks.json", query="X-Amz-Credential=test/x"), Kind.CONTROL),
        (caller(path="/logout", query="Action=ListRoles"), Kind.CONTROL),
        (caller(path="/logout", host="bucket.localhost"), Kind.CONTROL),
        (caller(path="/bucket/key", query="X-Amz-Signature=1"), Kind.PRESIGNED),
        (caller(path="/bucket/key", query="AWSAccessKeyId=a&Signature=b&Expires=1"), Kind.PRESIGNED),
        (caller(path="/bucket/key", query="X-Amz-Signature=1", **SIGNED), Kind.CONTROL),
        (caller(path="/bucket/key", query="X-Amz-Credential="), Kind.CONTROL),
        (caller(path="/bucket/key"), Kind.CONTROL),
        (caller(x_amz_target="x"), Kind.CONTROL),
    ],
)
def test_kinds(made: Caller, kind: Kind) -> None:
    assert kind_of(made, PUBLIC) is kind


def test_only_a_distributions_name_is_a_site() -> None:
    assert is_site("D1.cloudfront.localhost.:4566")
    assert is_site("pr-1-abc.d1.cloudfront.localhost:4566")
    assert (
        distribution_host("PR-1-abc.d1.cloudfront.localhost:4566")
        == distribution_host("d1.cloudfront.localhost")
        == "d1.cloudfront.localhost"
    )
    assert not any(is_site(host) for host in ("cloudfront.localhost", "x.y.d1.cloudfront.localhost", "d1.cloudfront.localhost.evil", HOST))


# ---- pages

OF_A_PAGE: list[Mapping[str, str]] = [
    page(),
    page(dest="script"),
    page(mode="navigate", dest="iframe"),
    page(mode="navigate", dest="document"),
    page(mode="navigate", dest="document", origin="https://evil.example"),
    page(mode="cors", dest="empty", origin="https://evil.example"),
    page(site="same-site", mode="cors", dest="empty", origin="http://localhost:8000"),
    {"origin": "http://localhost:8000"},
    {"origin": "null"},
]


@pytest.mark.parametrize("headers", OF_A_PAGE)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_no_page_calls_the_control_plane_whatever_it_sends(method: str, headers: Mapping[str, str]) -> None:
    assert decide(caller(method, **headers)) is not None
    assert decide(caller(method, **headers, **SIGNED)) is not None
    assert decide(caller(method, "/bucket/key", "X-Amz-Signature=1", **headers)) is not None


@pytest.mark.parametrize("headers", OF_A_PAGE)
def test_no_foreign_page_signs_anybody_in(headers: Mapping[str, str]) -> None:
    assert decide(caller("POST", **SIGN_UP, **headers)) is not None
    assert decide(caller("POST", "/login", **headers)) is not None
    assert decide(caller("POST", "/oauth2/token", **headers)) is not None
    assert decide(caller(path="/us-east-1_A/.well-known/jwks.json", **headers)) is not None


@pytest.mark.parametrize("origin", sorted(OURS))
def test_the_sites_own_pages_sign_in_and_do_nothing_else(origin: str) -> None:
    headers = page(mode="cors", dest="empty", origin=origin)
    assert decide(caller("POST", **SIGN_UP, **headers)) is None
    assert decide(caller("POST", "/oauth2/token", **headers)) is None
    assert decide(caller("PUT", "/bucket/key", "X-Amz-Signature=1", **headers)) is None
    assert decide(caller("POST", **headers, **SIGNED)) is not None
    assert decide(caller("POST", "/login", **headers)) is not None


def test_a_link_leads_to_the_pages_of_sign_in_and_a_frame_does_not() -> None:
    for path in ("/logout", "/oauth2/authorize"):
        assert decide(caller(path=path, **page(mode="navigate", dest="document"))) is None
        assert decide(caller(path=path, **page(mode="navigate", dest="iframe"))) is not None
        assert decide(caller(path=path, **page())) is not None
    assert decide(caller("POST", "/login", **page("same-origin", "navigate", "document", f"http://{HOST}"))) is None


def test_every_page_may_read_the_site_and_none_may_write_to_it() -> None:
    for headers in OF_A_PAGE:
        assert decide(caller("GET", "/x", host=SITE, **headers)) is None
        assert decide(caller("HEAD", "/x", host=SITE, **headers)) is None
        assert decide(caller("POST", "/x", host=SITE, **headers)) is not None


def test_programs_sign_in_and_are_asked_for_a_signature_elsewhere() -> None:
    assert decide(caller("POST", **SIGN_UP)) is None
    assert decide(caller("POST", **SIGNED)) is None
    assert decide(caller(path="/us-east-1_A/.well-known/jwks.json", sec_fetch_site="none")) is None


# ---- whoever signed it


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_an_action_in_an_address_is_refused(method: str) -> None:
    assert decide(caller(method, query="Action=CreateStack&StackName=x", **SIGNED)) is not None
    assert decide(caller("POST", query="Action=CreateStack", **SIGNED)) is None


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_ministack/config", "/_localstack/health", "/_aws/lambda-url/x/"])
def test_what_is_not_of_aws_is_refused(path: str) -> None:
    assert decide(caller("POST", path, **SIGNED)) is not None
    assert decide(caller("GET", path)) is not None


def test_signing_out_leads_to_no_foreign_address() -> None:
    for name in ("logout_uri", "redirect_uri"):
        assert decide(caller(path="/logout", query=f"client_id=a&{name}=http%3A%2F%2Flocalhost%3A3000%2Fbye")) is None
        assert decide(caller(path="/logout", query=f"client_id=a&{name}=http%3A%2F%2Fevil.example%2F")) is not None
        assert decide(caller(path="/logout", query=f"{name}=http://localhost:3000/&{name}=//evil.example")) is not None
    assert decide(caller(path="/logout", query="client_id=a")) is None


# ---- answers to pages


def test_only_our_pages_are_told_what_they_may_send_and_may_read_the_answer() -> None:
    asked = {"access_control_request_method": "POST", "sec_fetch_site": "cross-site"}
    assert preflight(caller("OPTIONS", origin="http://localhost:3000", **asked), OURS)
    assert not preflight(caller("OPTIONS", origin="http://localhost:8000", **asked), OURS)
    assert not preflight(caller("OPTIONS", "/bucket", origin="http://localhost:3000", **asked), OURS)
    assert not preflight(caller("OPTIONS", host="evil.example", origin="http://localhost:3000", **asked), OURS)
    assert dict(cross_origin_headers("http://localhost:3000", OURS))[b"access-control-allow-origin"] == b"http://localhost:3000"
    assert cross_origin_headers("http://localhost:8000", OURS) == cross_origin_headers(None, OURS) == []


def test_origins_as_browsers_write_them() -> None:
    assert origin_of("http://localhost:3000/callback?x") == "http://localhost:3000"
    assert origin_of("https://Example.test:443/") == "https://example.test"
    assert origin_of("myapp://callback") is None
