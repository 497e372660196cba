from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, PartialCredentialsError
from moto import mock_aws

from amianai_infra.errors import AmianaiError, ForbiddenError, NotFoundError, RefusedError, UnreachableError
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
