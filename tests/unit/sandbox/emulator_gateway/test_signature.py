"""Signatures, against those that botocore makes for real calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.sandbox.emulator_gateway.signature import Request, UnsignedError, check, check_body, check_key, declares_hash

KEY, SECRET = "AKIAEXAMPLEEXAMPLE22", "a-secret-of-forty-characters-as-aws-draws"


def now() -> datetime:
    """When a test asks, not when pytest began: a whole run takes longer than an address is good for."""
    return datetime.now(UTC)


def secret_of(key: str, token: str) -> str | None:
    return SECRET if (key, token) == (KEY, "") else None


def client(service: str, key: str = KEY, secret: str = SECRET, **config: Any) -> Any:
    made = boto3.Session(key, secret, region_name="eu-central-1")
    settings = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, **config)
    return made.client(service, endpoint_url="http://127.0.0.1:4566", config=settings)  # type: ignore[call-overload]


def sent(made: Any, call: Callable[[Any], Any]) -> Request:
    """The request that a call would send."""
    caught: list[Any] = []

    class Stop(Exception):
        pass

    def catch(request: Any, **_: Any) -> None:
        caught.append(request)
        raise Stop

    made.meta.events.register("before-send", catch)
    with pytest.raises(Stop):
        call(made)
    return received(caught[0].method, caught[0].url, dict(caught[0].headers), caught[0].body)


def received(method: str, url: str, headers: dict[str, Any], body: Any = b"") -> Request:
    parts = urlsplit(url)
    content = body.read() if hasattr(body, "read") else (body or b"")
    texts = {name.lower(): value.decode() if isinstance(value, bytes) else str(value) for name, value in headers.items()}
    return Request(
        method, parts.path, parts.query, {"host": parts.netloc, **texts}, content if isinstance(content, bytes) else content.encode()
    )


CALLS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "query": ("sts", lambda c: c.get_caller_identity()),
    "ec2": ("ec2", lambda c: c.create_tags(Resources=["i-1"], Tags=[{"Key": "a b", "Value": "ü & = +"}])),
    "json": ("secretsmanager", lambda c: c.get_secret_value(SecretId="rds!x")),
    "rest-xml": ("cloudfront", lambda c: c.create_invalidation(
        DistributionId="E1", InvalidationBatch={"CallerReference": "x", "Paths": {"Quantity": 1, "Items": ["/*"]}})),
    "rest path": ("lambda", lambda c: c.list_tags(Resource="arn:aws:lambda:us-east-1:000000000000:function:a")),
    "rest query": ("route53", lambda c: c.list_resource_record_sets(HostedZoneId="Z1", StartRecordName="*.a.example", StartRecordType="A")),
    "s3 get": ("s3", lambda c: c.get_object(Bucket="b", Key="a b/ü+=&?#%20/../x.html", VersionId="a+b/=")),
    "s3 put": ("s3", lambda c: c.put_object(Bucket="b", Key="k", Body=b"content", ContentType="text/html; charset=utf-8")),
    "s3 list": ("s3", lambda c: c.list_objects_v2(Bucket="b", Prefix="ä /", ContinuationToken="a+b==")),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_what_an_sdk_signs_is_accepted_and_any_change_is_not(name: str) -> None:
    service, call = CALLS[name]
    request = sent(client(service), call)
    check(request, secret_of)
    spoiled = [
        dataclasses.replace(request, method="PATCH"),
        dataclasses.replace(request, path=f"{request.path}x"),
        dataclasses.replace(request, query=f"{request.query}&x=1"),
        dataclasses.replace(request, headers={**request.headers, "host": "127.0.0.1:4567"}),
        dataclasses.replace(request, headers={**request.headers, "x-amz-added": "1"}),
        dataclasses.replace(request, headers={**request.headers, "x-amz-date": f"{now() - timedelta(minutes=1):%Y%m%dT%H%M%SZ}"}),
        dataclasses.replace(request, headers={name: value for name, value in request.headers.items() if name != "authorization"}),
    ]
    check_key(request, secret_of)
    check_body(request.headers, request.body)
    if declares_hash(request.headers):
        with pytest.raises(UnsignedError, match="body"):
            check_body(request.headers, request.body + b"x")
    else:
        spoiled.append(dataclasses.replace(request, body=request.body + b"x"))
    for other in spoiled:
        with pytest.raises(UnsignedError):
            check(other, secret_of)


def test_another_key_another_secret_and_another_time_are_refused() -> None:
    call = CALLS["query"][1]
    cases = {
        "InvalidClientTokenId": (sent(client("sts", "AKIAOTHER"), call), now()),
        "SignatureDoesNotMatch": (sent(client("sts", secret="test"), call), now()),
        "RequestTimeTooSkewed": (sent(client("sts"), call), now() + timedelta(minutes=16)),
    }
    for code, (request, at) in cases.items():
        with pytest.raises(UnsignedError) as raised:
            check(request, secret_of, at)
        assert raised.value.code == code


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("operation", ["get_object", "put_object"])
def test_presigned_addresses_are_accepted_until_they_expire(version: str, operation: str) -> None:
    made = client("s3", signature_version=version)
    parameters = {"Bucket": "b", "Key": "a b/ü.txt"} | ({"ResponseContentType": "text/plain; x"} if operation == "get_object" else {})
    url = made.generate_presigned_url(operation, Params=parameters, ExpiresIn=60)
    request = received("GET" if operation == "get_object" else "PUT", url, {})
    check(request, secret_of)
    with pytest.raises(UnsignedError, match="expired"):
        check(request, secret_of, now() + timedelta(minutes=2))
    for other in (
        dataclasses.replace(request, path="/b/other"),
        dataclasses.replace(request, method="DELETE"),
        dataclasses.replace(request, headers={**request.headers, "x-amz-copy-source": "/secret/object"}),
        dataclasses.replace(request, query=request.query.replace("Expires=60", "Expires=600").replace("Expires=1", "Expires=9")),
    ):
        with pytest.raises(UnsignedError):
            check(other, secret_of)


def test_a_presigned_address_opens_no_other_service() -> None:
    url = client("sts").generate_presigned_url("get_caller_identity")
    with pytest.raises(UnsignedError, match="only requests to S3"):
        check(received("GET", url, {}), secret_of)
    s3 = received(
        "GET", client("s3", signature_version="s3v4").generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}), {}
    )
    led_away = dataclasses.replace(s3, headers={**s3.headers, "x-amz-target": "secretsmanager.GetSecretValue"})
    with pytest.raises(UnsignedError, match="x-amz-target"):
        check(led_away, secret_of)


JUNK = [
    "x", "", "AWS4-HMAC-SHA256", "AWS AKIA:x", "Bearer x", "AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature=",
    "AWS4-HMAC-SHA256 Credential=000000000000/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=" + "0" * 64,
    f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=" + "0" * 64,
    f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/sts/aws4_request, SignedHeaders=, Signature=é",
]  # fmt: skip


@pytest.mark.parametrize("authorization", JUNK)
def test_junk_is_no_signature(authorization: str) -> None:
    headers = {"host": "127.0.0.1", "x-amz-date": f"{now():%Y%m%dT%H%M%SZ}", "authorization": authorization}
    with pytest.raises(UnsignedError):
        check(Request("POST", "/", "", headers), secret_of)


@given(st.text(max_size=120), st.text(max_size=120), st.text(max_size=20))
def test_whatever_is_sent_it_is_refused_and_nothing_else_is_raised(authorization: str, query: str, date: str) -> None:
    for headers in ({"authorization": authorization}, {}):
        with pytest.raises(UnsignedError):
            check(Request("GET", "/", query, {"host": "127.0.0.1", "x-amz-date": date, **headers}), secret_of)


@given(st.dictionaries(st.sampled_from([
    "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
    "AWSAccessKeyId", "Signature", "Expires"]), st.sampled_from(["", "x", KEY, "60", "9" * 30, "-1", "²", "AWS4-HMAC-SHA256", "host",
    f"{KEY}/20260101/us-east-1/s3/aws4_request", "20260101T000000Z"])))  # fmt: skip
def test_no_made_up_query_is_a_signature(query: dict[str, str]) -> None:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    with pytest.raises(UnsignedError):
        check(Request("GET", "/b/k", text, {"host": "127.0.0.1"}), secret_of)


def test_the_header_names_one_key_and_one_list_of_headers() -> None:
    request = sent(client("sts"), CALLS["query"][1])
    line = request.headers["authorization"]
    other = line.split("Credential=")[1].split(",")[0].replace(KEY, "AKIAOTHER")
    for spoiled in (
        line.replace("Credential=", f"Credential={other}, Credential="),
        f"{line}, Credential={other}",
        f"{line}, SignedHeaders=host",
        f"{line}, X=y",
        line.replace("SignedHeaders=", f"SignedHeaders=Credential={other};"),
        line.replace(", ", " "),
    ):
        with pytest.raises(UnsignedError) as raised:
            check(dataclasses.replace(request, headers={**request.headers, "authorization": spoiled}), secret_of)
        assert raised.value.code == "IncompleteSignature", spoiled
    check(dataclasses.replace(request, headers={**request.headers, "authorization": line.replace(", ", ",")}), secret_of)


@pytest.mark.parametrize("call", ["list_objects_v2", "list_objects", "head_bucket", "list_object_versions"])
def test_a_bucket_presigned_with_version_2_is_accepted(call: str) -> None:
    url = client("s3", signature_version="s3").generate_presigned_url(call, Params={"Bucket": "b"})
    check(received("HEAD" if call == "head_bucket" else "GET", url, {}), secret_of)
