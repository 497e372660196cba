from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from amianai_infra.errors import AmianaiError
from amianai_infra.operations.buckets import empty
from amianai_infra.progress import Progress

QUIET = Progress(quiet=True)


@pytest.fixture
def s3() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="bucket")
        client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        yield client


def test_every_version_marker_and_unfinished_upload_goes(s3: Any) -> None:
    for body in (b"1", b"2", b"3"):
        s3.put_object(Bucket="bucket", Key="a", Body=body)
    s3.delete_object(Bucket="bucket", Key="a")
    s3.put_object(Bucket="bucket", Key="c", Body=b"")
    s3.create_multipart_upload(Bucket="bucket", Key="d")
    assert empty(s3, "bucket", QUIET) == 5
    s3.delete_bucket(Bucket="bucket")


def test_more_than_one_page(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amianai_infra.operations.buckets._BATCH", 3)
    for number in range(8):
        s3.put_object(Bucket="bucket", Key=str(number), Body=b"")
    assert empty(s3, "bucket", QUIET) == 8
    assert "Versions" not in s3.list_object_versions(Bucket="bucket")


def test_an_empty_bucket_stays_empty(s3: Any) -> None:
    assert empty(s3, "bucket", QUIET) == 0


def test_an_object_that_may_not_be_deleted_is_named(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put_object(Bucket="bucket", Key="locked", Body=b"")
    refused = {"Errors": [{"Key": "locked", "Code": "AccessDenied", "Message": "object lock"}]}
    monkeypatch.setattr(s3, "delete_objects", lambda **_: refused)
    with pytest.raises(AmianaiError) as caught:
        empty(s3, "bucket", QUIET)
    assert "locked: AccessDenied" in caught.value.where
