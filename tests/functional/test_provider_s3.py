"""Buckets with the real engine and the emulator.

What this cannot prove: that lifecycle rules do anything (the emulator only stores them).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from botocore.exceptions import ClientError

from amianai_infra.errors import EngineError
from amianai_infra.sandbox.provider.resource import Resource
from amianai_infra.sandbox.provider.s3 import Bucket, BucketOwnershipControls, BucketPolicy, BucketVersioning
from tests.functional.conftest import Bench, Program, changed
from tests.functional.provider_attempt import attempt
from tests.functional.test_provider import stack, steps

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")


@dataclass
class Settings:
    name: str
    days: int = 30
    versioning: str = "Enabled"
    force: bool = False
    tag: str = "one"


def tls_only(bucket: str) -> dict[str, Any]:
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def buckets(settings: Settings) -> Program:
    def program() -> None:
        bucket = aws.s3.Bucket("site", bucket=settings.name, force_destroy=settings.force, tags={"a:b": settings.tag})
        name = bucket.bucket
        aws.s3.BucketVersioning("versioning", bucket=name, versioning_configuration={"status": settings.versioning})
        aws.s3.BucketPublicAccessBlock("block", bucket=name, block_public_acls=True, block_public_policy=True, restrict_public_buckets=True)
        aws.s3.BucketOwnershipControls("owner", bucket=name, rule={"object_ownership": "BucketOwnerEnforced"})
        aws.s3.BucketServerSideEncryptionConfiguration(
            "encryption",
            bucket=name,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}, "bucket_key_enabled": True}],
        )
        aws.s3.BucketLifecycleConfiguration(
            "lifecycle",
            bucket=name,
            rules=[
                {"id": "old", "status": "Enabled", "filter": {}, "noncurrent_version_expiration": {"noncurrent_days": settings.days}},
                {"id": "logs", "status": "Enabled", "filter": {"prefix": "logs/"}, "expiration": {"days": 90}},
                {"id": "uploads", "status": "Enabled", "abort_incomplete_multipart_upload": {"days_after_initiation": 7}},
            ],
        )
        policy = bucket.bucket.apply(lambda found: json.dumps({"Version": "2012-10-17", "Statement": [tls_only(found)]}, indent=1))
        aws.s3.BucketPolicy("policy", bucket=name, policy=policy)
        automatic = aws.s3.Bucket("automatic", region="eu-west-1")
        pulumi.export("automatic", automatic.bucket)
        pulumi.export("domain", bucket.bucket_regional_domain_name)

    return program


def test_the_whole_life_of_a_bucket(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("bench-life")
    s3 = bench.client("s3")
    with stack(bench, tmp_path, buckets(settings)) as made:
        assert changed(made.up()) == {"create": 8}
        out = made.outputs()
        assert out["domain"] == "bench-life.s3.us-east-1.amazonaws.com"
        assert out["automatic"].startswith("automatic-")
        assert s3.head_bucket(Bucket=out["automatic"])["BucketRegion"] == "eu-west-1"
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}

        settings.days, settings.tag = 31, "two"
        assert set(steps(made.up())) == {"site", "lifecycle"}
        assert s3.get_bucket_tagging(Bucket="bench-life")["TagSet"] == [{"Key": "a:b", "Value": "two"}]

        settings.name = "bench-other"
        assert changed(made.preview()) == {"replace": 7}, "the bucket and everything on it"
        settings.name = "bench-life"

        spoil(s3, "bench-life")
        assert changed(made.refresh()) == {"update": 5, "delete": 2}
        assert changed(made.up()) == {"update": 5, "create": 2}
        assert changed(made.refresh()) == {}
        assert s3.get_bucket_versioning(Bucket="bench-life")["Status"] == "Enabled"

        fill(s3, "bench-life")
        assert anonymous(bench, "bench-life/index.html") == anonymous(bench, "bench-life") == 403
        with pytest.raises(EngineError, match="BucketNotEmpty"):
            made.destroy()
        settings.force = True
        made.up()
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket="bench-life")


def spoil(s3: Any, bucket: str) -> None:
    """Change everything behind the provider's back."""
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "by", "Value": "hand"}]})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.delete_public_access_block(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    s3.delete_bucket_encryption(Bucket=bucket)
    rule = {"ID": "old", "Status": "Disabled", "Filter": {}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})


def fill(s3: Any, bucket: str) -> None:
    """Two versions, a delete marker and half an upload."""
    for text in (b"one", b"two"):
        s3.put_object(Bucket=bucket, Key="index.html", Body=text)
    s3.delete_object(Bucket=bucket, Key="index.html")
    s3.create_multipart_upload(Bucket=bucket, Key="half")


def anonymous(bench: Bench, path: str) -> int:
    """The status of a read without credentials."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{bench.variables['AWS_ENDPOINT_URL']}/{path}")
    with refused.value as answer:
        return answer.code


def test_buckets_can_be_imported(bench: Bench, tmp_path: Path) -> None:
    s3 = bench.client("s3")
    s3.create_bucket(Bucket="bench-imported")
    s3.put_bucket_tagging(Bucket="bench-imported", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.put_bucket_versioning(Bucket="bench-imported", VersioningConfiguration={"Status": "Enabled"})

    def program() -> None:
        there = pulumi.ResourceOptions(import_="bench-imported")
        aws.s3.Bucket("site", bucket="bench-imported", tags={"a": "b"}, opts=there)
        aws.s3.BucketVersioning("versioning", bucket="bench-imported", versioning_configuration={"status": "Enabled"}, opts=there)

    with stack(bench, tmp_path, program) as made:
        assert changed(made.up()) == {"import": 2}
        assert changed(made.up()) == {}


OTHER = json.dumps({"Statement": {**tls_only("bench-x"), "Resource": "*"}})


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        (Bucket(), {"bucket": "Bad_Name"}, "InvalidBucketName"),
        (Bucket(), {"bucket": "bench-x", "acl": "public-read"}, "no property 'acl'"),
        (BucketPolicy(), {"bucket": "bench-x", "policy": OTHER}, "is not in the bucket bench-x"),
        (BucketPolicy(), {"bucket": "bench-x", "policy": "{"}, "must be a JSON document"),
        (BucketOwnershipControls(), {"bucket": "bench-x", "rule": {"objectOwnership": "Mine"}}, "is not one of"),
    ],
    ids=["name", "property", "policy", "json", "ownership"],
)
def test_what_s3_would_refuse_is_refused(bench: Bench, kind: Resource, given: dict[str, Any], reason: str) -> None:
    assert reason in attempt(bench, kind, given)


def test_a_bucket_of_ours_is_not_taken_for_a_new_one(bench: Bench) -> None:
    assert attempt(bench, Bucket(), {"bucket": "bench-taken"}) == ""
    assert "BucketAlreadyOwnedByYou" in attempt(bench, Bucket(), {"bucket": "bench-taken"})
    bench.client("s3").delete_bucket(Bucket="bench-taken")


def test_versioning_cannot_be_switched_off(bench: Bench) -> None:
    attempt(bench, Bucket(), {"bucket": "bench-versions"})
    assert attempt(bench, BucketVersioning(), {"bucket": "bench-versions", "versioningConfiguration": {"status": "Disabled"}}) == ""
    bench.client("s3").put_bucket_versioning(Bucket="bench-versions", VersioningConfiguration={"Status": "Enabled"})
    refused = attempt(bench, BucketVersioning(), {"bucket": "bench-versions", "versioningConfiguration": {"status": "Disabled"}})
    assert "can be suspended, not disabled" in refused
    bench.client("s3").delete_bucket(Bucket="bench-versions")
