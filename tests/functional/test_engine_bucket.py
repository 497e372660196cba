"""A state in a bucket, as on AWS: what a preview leaves there, with the real engine and the sandbox's S3."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pulumi_aws as aws
import pytest

from amianai_infra.engine import Engine
from amianai_infra.progress import Progress
from tests.functional.conftest import Bench

pytestmark = pytest.mark.sandbox
BUCKET = "bench-state"


def program() -> None:
    aws.sqs.Queue("queue", name="bench-bucket-queue", message_retention_seconds=int(LENGTH["seconds"]))


LENGTH = {"seconds": "60"}


@pytest.fixture
def engine(bench: Bench, tmp_path: Path) -> Engine:
    """An engine whose state is in a versioned bucket."""
    s3 = bench.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    options = (
        f"region=us-east-1&awssdk=v2&endpoint={urlsplit(bench.variables['AWS_ENDPOINT_URL']).netloc}&disableSSL=true&s3ForcePathStyle=true"
    )
    environment = replace(bench.stack(tmp_path, program).environment, backend_url=f"s3://{BUCKET}?{options}")
    return Engine(environment, program, Progress(quiet=True), bench.binary, clients=lambda service, region: bench.client(service))


def content(bench: Bench) -> list[Any]:
    """Every version of every object."""
    found = bench.client("s3").list_object_versions(Bucket=BUCKET)
    return [(one["Key"], one["VersionId"], one.get("ETag")) for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, [])]


def test_a_preview_leaves_the_bucket_as_it_is(bench: Bench, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.preview().counts == {"create": 1}
    assert content(bench) == []
    engine.up()
    before = content(bench)
    assert before
    monkeypatch.setitem(LENGTH, "seconds", "120")
    assert engine.preview().counts == {"update": 1}
    bench.client("sqs").delete_queue(QueueUrl=bench.client("sqs").get_queue_url(QueueName="bench-bucket-queue")["QueueUrl"])
    with engine.copy() as other:
        assert other.refresh().counts == {"delete": 1}
        assert other.preview().counts == {"create": 1}
    assert content(bench) == before
    monkeypatch.setitem(LENGTH, "seconds", "60")
    engine.refresh()
    engine.destroy()
