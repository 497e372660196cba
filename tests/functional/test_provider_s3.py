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
from tests.functional.conftest import Bench, Program, changed
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
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket="bench-life")


def test_drift_of_a_bucket_is_found_and_put_right(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("bench-drift")
    s3 = bench.client("s3")
    with stack(bench, tmp_path, buckets(settings)) as made:
        made.up()
        s3.put_bucket_tagging(Bucket="bench-drift", Tagging={"TagSet": [{"Key": "by", "Value": "hand"}]})
        s3.put_bucket_versioning(Bucket="bench-drift", VersioningConfiguration={"Status": "Suspended"})
        s3.delete_public_access_block(Bucket="bench-drift")
        s3.delete_bucket_policy(Bucket="bench-drift")
        s3.put_bucket_ownership_controls(Bucket="bench-drift", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
        s3.delete_bucket_encryption(Bucket="bench-drift")
        rule = {"ID": "old", "Status": "Disabled", "Filter": {}, "Expiration": {"Days": 1}}
        s3.put_bucket_lifecycle_configuration(Bucket="bench-drift", LifecycleConfiguration={"Rules": [rule]})

        assert changed(made.refresh()) == {"update": 5, "delete": 2}
        assert changed(made.up()) == {"update": 5, "create": 2}
        assert changed(made.refresh()) == {}
        assert s3.get_bucket_versioning(Bucket="bench-drift")["Status"] == "Enabled"


def test_a_bucket_with_content_goes_only_by_force(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("bench-full")
    s3 = bench.client("s3")
    with stack(bench, tmp_path, buckets(settings)) as made:
        made.up()
        for text in (b"one", b"two"):
            s3.put_object(Bucket="bench-full", Key="index.html", Body=text)
        s3.delete_object(Bucket="bench-full", Key="index.html")
        s3.create_multipart_upload(Bucket="bench-full", Key="half")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{bench.variables['AWS_ENDPOINT_URL']}/bench-full/index.html")
        with refused.value as answer:
            assert answer.code == 403

        with pytest.raises(EngineError, match="BucketNotEmpty"):
            made.destroy()
        settings.force = True
        assert changed(made.up())["update"] == 1
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket="bench-full")


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


OTHER = {**tls_only("bench-x"), "Resource": "*"}


@pytest.mark.parametrize(
    ("declare", "reason"),
    [
        (lambda: aws.s3.Bucket("x", bucket="Bad_Name"), "InvalidBucketName"),
        (lambda: aws.s3.Bucket("x", bucket="bench-x", acl="public-read"), "no property 'acl'"),
        (lambda: aws.s3.BucketPolicy("x", bucket="bench-x", policy=json.dumps({"Statement": OTHER})), "is not in the bucket bench-x"),
        (lambda: aws.s3.BucketPolicy("x", bucket="bench-x", policy="{"), "must be a JSON document"),
        (lambda: aws.s3.BucketOwnershipControls("x", bucket="bench-x", rule={"object_ownership": "Mine"}), "is not one of"),
    ],
    ids=["name", "property", "policy", "json", "ownership"],
)
def test_what_s3_would_refuse_is_refused(bench: Bench, tmp_path: Path, declare: Any, reason: str) -> None:
    with stack(bench, tmp_path, declare) as made, pytest.raises(EngineError) as caught:
        made.up()
    assert reason in str(caught.value)


def test_a_bucket_of_ours_is_not_taken_for_a_new_one(bench: Bench, tmp_path: Path) -> None:
    def program() -> None:
        aws.s3.Bucket("x", bucket="bench-taken")

    bench.client("s3").create_bucket(Bucket="bench-taken")
    with stack(bench, tmp_path, program) as made, pytest.raises(EngineError, match="BucketAlreadyOwnedByYou"):
        made.up()
    bench.client("s3").delete_bucket(Bucket="bench-taken")
