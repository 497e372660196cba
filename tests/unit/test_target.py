from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, PartialCredentialsError
from moto import mock_aws

from amianai_infra.errors import AmianaiError, ForbiddenError, NotFoundError, RefusedError, UnreachableError
from amianai_infra.operations import state_storage
from amianai_infra.target import (
    OUTPUTS_CACHE,
    AwsTarget,
    Credentials,
    EngineEnvironment,
    aws_error,
    cached_outputs,
    fetch_outputs,
    forget_outputs,
)
from tests.unit.operations.fakes import OUTPUTS

PACKAGE = Path(__file__).parents[2] / "amianai_infra"
SOURCES = [path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.relative_to(PACKAGE).parts]


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said so"}}, "DoIt")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (client_error("ExpiredToken"), ForbiddenError),
        (client_error("InvalidClientTokenId"), ForbiddenError),
        (client_error("AccessDenied"), ForbiddenError),
        (client_error("AccessDeniedException"), ForbiddenError),
        (client_error("NoSuchBucket"), NotFoundError),
        (client_error("ParameterNotFound"), NotFoundError),
        (client_error("DBSnapshotNotFound"), NotFoundError),
        (client_error("404"), NotFoundError),
        (client_error("Throttling"), AmianaiError),
        (NoCredentialsError(), ForbiddenError),
        (PartialCredentialsError(provider="env", cred_var="secret"), ForbiddenError),
        (EndpointConnectionError(endpoint_url="https://x"), UnreachableError),
        (ConnectTimeoutError(endpoint_url="https://x"), UnreachableError),
    ],
)
def test_absent_forbidden_and_unreachable_stay_apart(error: Exception, kind: type[AmianaiError]) -> None:
    found = aws_error(error, "doing it")
    assert type(found) is kind
    assert "doing it" in found.what


@pytest.mark.parametrize("code", ["Throttling", "RequestLimitExceeded", "InternalFailure"])
def test_what_may_go_better_the_next_time_says_so(code: str) -> None:
    answer = {
        "Error": {"Code": code, "Message": "said so"},
        "ResponseMetadata": {"HTTPStatusCode": 500 if code == "InternalFailure" else 400},
    }
    assert "run the command again" in aws_error(ClientError(answer, "DoIt"), "doing it").fix  # type: ignore[arg-type]
    assert not aws_error(client_error("ValidationError"), "doing it").fix


def test_secrets_stay_out_of_reprs(tmp_path: Path) -> None:
    assert "hidden" not in repr(Credentials("id", "hidden", "hidden"))
    assert "hidden" not in repr(EngineEnvironment(tmp_path, "file:///x", "passphrase", {"PULUMI_CONFIG_PASSPHRASE": "hidden"}))


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        yield AwsTarget(tmp_path, "us-east-1", "eeyore", {})


def test_the_state_is_in_our_bucket_with_our_key(target: Any) -> None:
    environment = target.engine()
    assert environment.backend_url.startswith("s3://eeyore-state-123456789012-us-east-1?")
    assert environment.secrets_provider == "awskms://alias/eeyore-state?region=us-east-1"


def test_another_backend_may_be_chosen(tmp_path: Path) -> None:
    made = AwsTarget(tmp_path, "us-east-1", "eeyore", {"PULUMI_BACKEND_URL": "file:///elsewhere"})
    assert made.engine().backend_url == "file:///elsewhere"


def publish(text: str) -> None:
    boto3.client("ssm", region_name="us-east-1").put_parameter(Name="/eeyore/stack", Value=text, Type="String")


def test_outputs_are_read_and_remembered(target: Any) -> None:
    assert cached_outputs(target) is None
    publish(OUTPUTS.model_dump_json())
    assert fetch_outputs(target, "eeyore") == OUTPUTS
    assert cached_outputs(target) == OUTPUTS
    forget_outputs(target)
    forget_outputs(target)
    assert cached_outputs(target) is None


def test_a_damaged_cache_is_no_cache(target: Any) -> None:
    target.local.mkdir()
    (target.local / OUTPUTS_CACHE).write_text("{")
    assert cached_outputs(target) is None
    (target.local / OUTPUTS_CACHE).write_text(json.dumps({"domain": "example.com"}))
    assert cached_outputs(target) is None


def test_a_stack_that_was_not_set_up(target: Any) -> None:
    with pytest.raises(NotFoundError) as caught:
        fetch_outputs(target, "eeyore")
    assert "amianai setup" in caught.value.fix


def test_what_others_may_have_written_about_the_stack_is_not_read(tmp_path: Path) -> None:
    local = AwsTarget(tmp_path, "us-east-1", "eeyore", {}).local
    local.mkdir()
    AwsTarget(tmp_path, "us-east-1", "eeyore", {})
    local.chmod(0o775)
    with pytest.raises(RefusedError, match=f"its group may write to {local}"):
        AwsTarget(tmp_path, "us-east-1", "eeyore", {})


class Owners:
    """Compares the expected owner as S3 does, which moto does not, and notes every request to S3."""

    def __init__(self, target: Any, **foreign: str) -> None:
        self.foreign = foreign
        self.seen: list[tuple[str, str, str | None]] = []
        target._session.events.register_first("before-send.s3", self)

    def __call__(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        bucket = urlsplit(request.url).path.strip("/").partition("/")[0] or urlsplit(request.url).netloc.partition(".")[0]
        expected = request.headers.get("x-amz-expected-bucket-owner")
        told = expected.decode() if isinstance(expected, bytes) else expected
        self.seen.append((event_name.rpartition(".")[2], bucket, told))
        owner = self.foreign.get(bucket.replace("-", "_"), "123456789012")
        if told in (None, owner):
            return None
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        return AWSResponse(request.url, 403, HTTPHeaders.from_dict({"content-type": "application/xml"}), BytesRaw(body))


class BytesRaw(BytesIO):
    """A body as urllib3 hands it over."""

    def stream(self, amt: int = 65536, decode_content: bool | None = None) -> Iterator[bytes]:
        yield self.read()


TAKEN = {"eeyore_state_123456789012_us_east_1": "999999999999"}


def test_every_request_to_s3_expects_our_account(target: Any) -> None:
    owners = Owners(target)
    s3 = target.client("s3")
    s3.create_bucket(Bucket="mine")
    s3.get_waiter("bucket_exists").wait(Bucket="mine")
    s3.put_bucket_versioning(Bucket="mine", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="mine", Key="k", Body=b"x")
    s3.get_object(Bucket="mine", Key="k")
    list(s3.get_paginator("list_objects_v2").paginate(Bucket="mine"))
    s3.delete_objects(Bucket="mine", Delete={"Objects": [{"Key": "k"}]})
    s3.delete_object(Bucket="mine", Key="k")
    assert {told for name, _, told in owners.seen if name != "CreateBucket"} == {"123456789012"}
    assert len(owners.seen) >= 8


def test_no_operation_on_a_bucket_is_without_an_owner_but_creating_it(target: Any) -> None:
    """What we call takes the parameter, so that the one mechanism covers it."""
    model = target.client("s3").meta.service_model
    called = {name for path in SOURCES for name in re.findall(r"\b(?:s3|client|_client)\.([a-z_]+)\(", path.read_text())}
    named = {xform_name(name): name for name in model.operation_names}
    used = called & set(named)
    assert {"head_bucket", "put_bucket_policy", "delete_objects", "list_object_versions"} <= used
    without = {name for name in used if "ExpectedBucketOwner" not in model.operation_model(named[name]).input_shape.members}
    assert without == {"create_bucket"}


def test_a_state_bucket_that_somebody_else_made_is_refused_before_the_engine_starts(target: Any) -> None:
    owners = Owners(target, **TAKEN)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="eeyore-state-123456789012-us-east-1")
    with pytest.raises(ForbiddenError, match="belongs to another account") as caught:
        target.engine()
    assert "prefix" in caught.value.fix
    assert {name for name, _, _ in owners.seen} == {"HeadBucket"}


def test_setup_writes_nothing_into_a_state_bucket_of_somebody_else(target: Any) -> None:
    owners = Owners(target, **TAKEN)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="eeyore-state-123456789012-us-east-1")
    with pytest.raises(ForbiddenError, match="Nothing was written"):
        state_storage.ensure(target, state_storage.StateStorage.of(target, "eeyore"))
    assert {name for name, _, _ in owners.seen} == {"HeadBucket"}


def test_the_owner_of_the_state_is_asked_once(target: Any) -> None:
    owners = Owners(target)
    target.engine()
    target.engine()
    assert [name for name, _, _ in owners.seen] == ["HeadBucket"]


def test_a_backend_that_a_person_chose_may_be_anybodys(tmp_path: Path, target: Any) -> None:
    chosen = AwsTarget(tmp_path, "us-east-1", "eeyore", {"PULUMI_BACKEND_URL": "s3://theirs/state?region=us-east-1"})
    owners = Owners(chosen)
    s3 = chosen.client("s3")
    s3.create_bucket(Bucket="theirs")
    s3.head_bucket(Bucket="theirs")
    s3.create_bucket(Bucket="mine")
    s3.head_bucket(Bucket="mine")
    assert chosen.engine().backend_url.startswith("s3://theirs/state")
    assert [told for name, _, told in owners.seen if name == "HeadBucket"] == [None, "123456789012"]
