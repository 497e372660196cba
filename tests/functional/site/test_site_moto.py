"""The same requests against moto's S3 and CloudFront, seen by boto3: an independent server and an independent client."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from tests.functional.site.s3_server import World
from tests.functional.site.site_world import BUCKET, FakeTarget, Stage, next_site


@pytest.fixture
def moto_stage(tmp_path: Path) -> Iterator[tuple[Stage, Any]]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    target = FakeTarget(tmp_path, port, 0)
    s3 = target.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield Stage(World(), target, port, 0), s3
    reset = http.client.HTTPConnection("127.0.0.1", port)
    reset.request("POST", "/moto-api/reset")
    reset.getresponse().read()
    reset.close()
    server.stop()


def test_release_rollback_and_history(moto_stage: tuple[Stage, Any]) -> None:
    stage, s3 = moto_stage
    cloudfront = stage.target.client("cloudfront")
    origin = {"Quantity": 1, "Items": [{"Id": "o", "DomainName": "b.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}]}
    behaviour = {"TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all", "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6"}
    config = {"CallerReference": "r", "Comment": "", "Enabled": True, "Origins": origin, "DefaultCacheBehavior": behaviour}
    made = cloudfront.create_distribution(DistributionConfig=config)["Distribution"]["Id"]
    stage.outputs = replace(stage.outputs, site=replace(stage.outputs.site, distribution_id=made))
    one, two = next_site("one"), next_site("two")
    stage.write(one)
    assert stage.deploy(verify=False).number == 1
    head = s3.head_object(Bucket=BUCKET, Key="page-1/index.html")
    assert head["ContentType"] == "text/html; charset=utf-8"
    assert head["CacheControl"].startswith("public, max-age=0")
    assert head["ETag"].strip('"') == hashlib.md5(one["page-1/index.html"].encode()).hexdigest()
    assert not stage.deploy(verify=False).changed
    stage.write(two)
    release = stage.deploy(verify=False)
    listed = cloudfront.list_invalidations(DistributionId=made)["InvalidationList"]["Items"]
    assert len(listed) == 1
    batch = cloudfront.get_invalidation(DistributionId=made, Id=listed[0]["Id"])["Invalidation"]["InvalidationBatch"]
    assert tuple(batch["Paths"]["Items"]) == release.invalidated
    assert stage.rollback(1, verify=False).origin == 1
    body = s3.get_object(Bucket=BUCKET, Key="page-1/index.html")["Body"].read().decode()
    assert body == one["page-1/index.html"]
    assert [row.summary.number for row in stage.releases()] == [3, 2, 1]


def test_odd_names_and_parts(moto_stage: tuple[Stage, Any]) -> None:
    stage, s3 = moto_stage
    stage.outputs = replace(stage.outputs, site=replace(stage.outputs.site, distribution_id=""))
    big = b"0123456789abcdef" * (6 << 16)
    files: dict[str, str | bytes] = {"index.html": "x", "a b+c%20 [id] 'q'.txt": "odd", "ü/日本.txt": "x", "big.bin": big}
    stage.write(files)
    stage.deploy(verify=False)
    keys = {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert files.keys() <= keys
    assert s3.get_object(Bucket=BUCKET, Key="big.bin")["Body"].read() == big
    assert not stage.deploy(verify=False).changed
