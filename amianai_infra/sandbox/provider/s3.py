"""S3: buckets and what is configured on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from amianai_infra.sandbox.provider.properties import Problem, document, flag, number, obj, objects, text
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, tag_list, tag_map
from amianai_infra.sandbox.provider.shapes import from_api, to_api, unless
from amianai_infra.sandbox.provider.values import UNKNOWN

# Source: AWS General Reference, "Amazon S3 endpoints and quotas": the hosted zone of a region's website endpoint.
HOSTED_ZONES = {
    "us-east-1": "Z3AQBSTGFYJSTF",
    "us-east-2": "Z2O1EMRO9K5GLX",
    "us-west-1": "Z2F56UZL2M1ACD",
    "us-west-2": "Z3BJ6K6RIION7M",
    "eu-west-1": "Z1BKCTXD74EZPE",
    "eu-west-2": "Z3GKZC51ZF0DB4",
    "eu-central-1": "Z21DNDUVLTQW6Q",
}
NO_BUCKET = ("NoSuchBucket", "404")
_BATCH = 1000


class Bucket(Resource):
    """A bucket. One that holds anything is deleted only with `forceDestroy`."""

    token = "aws:s3/bucket:Bucket"
    service = "s3"
    tagged = True
    name_prop = "bucket"
    missing = NO_BUCKET
    props = {
        "bucket": text(autoname=True, force_new=True),
        "forceDestroy": flag(default=False, write_only=True),
        "objectLockEnabled": flag(default=False, force_new=True),
    }
    outputs = ("arn", "bucketDomainName", "bucketRegionalDomainName", "bucketRegion", "hostedZoneId")

    def create(self, ctx: Context, inputs: Inputs) -> str:
        """Create it. S3 in us-east-1 accepts a bucket we own already; that must not pass for a new one."""
        client, bucket = ctx.client(), inputs["bucket"]
        # 400 is a bad name, which CreateBucket explains better.
        if unless((*NO_BUCKET, "400"), client.head_bucket, Bucket=bucket) is not None:
            raise ProviderError(f"BucketAlreadyOwnedByYou: the bucket {bucket} exists already; import it or choose another name")
        parameters: dict[str, Any] = {"Bucket": bucket}
        if ctx.region != "us-east-1":
            parameters["CreateBucketConfiguration"] = {"LocationConstraint": ctx.region}
        if inputs.get("objectLockEnabled"):
            parameters["ObjectLockEnabledForBucket"] = True
        client.create_bucket(**parameters)
        return str(bucket)

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        self.set_tags(ctx, ident, {}, ctx.tags(inputs), [])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        client = ctx.client()
        region = client.head_bucket(Bucket=ident).get("BucketRegion", ctx.region)
        tags = unless(("NoSuchTagSet",), client.get_bucket_tagging, Bucket=ident) or {}
        lock = unless(("ObjectLockConfigurationNotFoundError",), client.get_object_lock_configuration, Bucket=ident)
        return {
            "bucket": ident,
            "objectLockEnabled": lock is not None,
            "tags": tag_map(tags.get("TagSet")),
            "arn": f"arn:aws:s3:::{ident}",
            "bucketDomainName": f"{ident}.s3.amazonaws.com",
            "bucketRegionalDomainName": f"{ident}.s3.{region}.amazonaws.com",
            "bucketRegion": region,
            "hostedZoneId": HOSTED_ZONES.get(region),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        """Nothing: what can change without a replacement is known to the state alone, or is a tag."""

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        """Delete it, emptied first with `forceDestroy`."""
        if state.get("forceDestroy"):
            empty_bucket(ctx.client(), ident)
        ctx.client().delete_bucket(Bucket=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        """S3 takes the whole set."""
        if tags:
            ctx.client().put_bucket_tagging(Bucket=ident, Tagging={"TagSet": tag_list(tags)})
        elif removed:
            ctx.client().delete_bucket_tagging(Bucket=ident)


def empty_bucket(client: Any, bucket: str) -> None:
    """Delete every version, delete marker and unfinished upload."""
    for batch in _versions(client, bucket):
        failed = client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True}).get("Errors", [])
        if failed:
            first = failed[0]
            raise ProviderError(f"{len(failed)} objects of {bucket} could not be deleted, among them {first['Key']}: {first['Message']}")
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _versions(client: Any, bucket: str) -> Iterator[list[dict[str, str]]]:
    while True:
        page = client.list_object_versions(Bucket=bucket, MaxKeys=_BATCH)
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not found:
            return
        yield [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]


class _BucketPart(Resource):
    """Something configured on a bucket: its id is the bucket's name."""

    service = "s3"
    delete_first = True
    missing: ClassVar[Sequence[str]] = NO_BUCKET

    def create(self, ctx: Context, inputs: Inputs) -> str:
        self.put(ctx.client(), inputs["bucket"], inputs)
        return str(inputs["bucket"])

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        self.put(ctx.client(), ident, new)

    def put(self, client: Any, bucket: str, inputs: Inputs) -> None:
        """The one call that configures it."""
        raise NotImplementedError


class BucketVersioning(_BucketPart):
    """Versioning. Deleting it suspends versioning, which can never be switched off."""

    token = "aws:s3/bucketVersioning:BucketVersioning"
    props = {
        "bucket": text(required=True, force_new=True),
        "versioningConfiguration": obj({"status": text(required=True, choices=("Enabled", "Suspended", "Disabled"))}, required=True),
    }

    def put(self, client: Any, bucket: str, inputs: Inputs) -> None:
        """`Disabled` is how an unversioned bucket reads; S3 cannot be told so."""
        status = inputs["versioningConfiguration"]["status"]
        if status != "Disabled":
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        elif client.get_bucket_versioning(Bucket=bucket).get("Status"):
            raise ProviderError(f"The bucket {bucket} is versioned: versioning can be suspended, not disabled.")

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        status = ctx.client().get_bucket_versioning(Bucket=ident).get("Status", "Disabled")
        return {"bucket": ident, "versioningConfiguration": {"status": status}}

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        if ctx.client().get_bucket_versioning(Bucket=ident).get("Status") == "Enabled":
            ctx.client().put_bucket_versioning(Bucket=ident, VersioningConfiguration={"Status": "Suspended"})


_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


class BucketPublicAccessBlock(_BucketPart):
    """The four switches against public access."""

    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    missing = (*NO_BUCKET, "NoSuchPublicAccessBlockConfiguration")
    props = {"bucket": text(required=True, force_new=True), **{name: flag(default=False) for name in _BLOCKS}}

    def put(self, client: Any, bucket: str, inputs: Inputs) -> None:
        blocks = to_api({name: inputs.get(name, False) for name in _BLOCKS})
        client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocks)

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        """A switch that S3 does not mention is off."""
        found = from_api(ctx.client().get_public_access_block(Bucket=ident)["PublicAccessBlockConfiguration"])
        return {"bucket": ident, **{name: found.get(name, False) for name in _BLOCKS}}

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_public_access_block(Bucket=ident)


class BucketOwnershipControls(_BucketPart):
    """Who owns uploaded objects, and whether ACLs exist at all."""

    token = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    missing = (*NO_BUCKET, "OwnershipControlsNotFoundError")
    props = {
        "bucket": text(required=True, force_new=True),
        "rule": obj({"objectOwnership": text(required=True)}, required=True),
    }

    def put(self, client: Any, bucket: str, inputs: Inputs) -> None:
        client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [to_api(inputs["rule"])]})

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        rules = ctx.client().get_bucket_ownership_controls(Bucket=ident)["OwnershipControls"]["Rules"]
        return {"bucket": ident, "rule": from_api(rules[0])}

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        """Back to S3's default."""
        ctx.client().delete_bucket_ownership_controls(Bucket=ident)


class BucketLogging(_BucketPart):
    """Where S3 writes down the requests to a bucket."""

    token = "aws:s3/bucketLogging:BucketLogging"
    props = {
        "bucket": text(required=True, force_new=True),
        "targetBucket": text(required=True),
        "targetPrefix": text(required=True),
    }

    def put(self, client: Any, bucket: str, inputs: Inputs) -> None:
        enabled = to_api({name: inputs[name] for name in ("targetBucket", "targetPrefix")})
        client.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled})

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        enabled = ctx.client().get_bucket_logging(Bucket=ident).get("LoggingEnabled")
        return {"bucket": ident, **from_api(enabled)} if enabled else None

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().put_bucket_logging(Bucket=ident, BucketLoggingStatus={})


_SSE_NAMES = {"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}


class BucketServerSideEncryptionConfiguration(_BucketPart):
    """Default encryption."""

    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    missing = (*NO_BUCKET, "ServerSideEncryptionConfigurationNotFoundError")
    props = {
        "bucket": text(required=True, force_new=True),
        "rules": objects(
            {
                "applyServerSideEncryptionByDefault": obj({"sseAlgorithm": text(required=True), "kmsMasterKeyId": text()}),
                "bucketKeyEnabled": flag(default=False),
            },
            required=True,
        ),
    }

    def put(self, client: Any, bucket: str, inputs: Inputs) -> None:
        rules = to_api(inputs["rules"], _SSE_NAMES)
        client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_bucket_encryption(Bucket=ident)["ServerSideEncryptionConfiguration"]["Rules"]
        return {"bucket": ident, "rules": [{"bucketKeyEnabled": False, **from_api(rule, _SSE_NAMES)} for rule in found]}

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        """Back to S3's default, AES256."""
        ctx.client().delete_bucket_encryption(Bucket=ident)


_ACTIONS = ("expiration", "noncurrentVersionExpiration", "abortIncompleteMultipartUpload", "transitions", "noncurrentVersionTransitions")


class BucketLifecycleConfiguration(_BucketPart):
    """When objects expire or move."""

    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    missing = (*NO_BUCKET, "NoSuchLifecycleConfiguration")
    props = {
        "bucket": text(required=True, force_new=True),
        "rules": objects(
            {
                "id": text(required=True),
                "status": text(required=True),
                "filter": obj({"prefix": text(), "objectSizeGreaterThan": number(), "objectSizeLessThan": number()}),
                "expiration": obj({"days": number(), "expiredObjectDeleteMarker": flag()}),
                "noncurrentVersionExpiration": obj({"noncurrentDays": number(required=True), "newerNoncurrentVersions": number()}),
                "abortIncompleteMultipartUpload": obj({"daysAfterInitiation": number(required=True)}),
                "transitions": objects({"days": number(), "storageClass": text(required=True)}, unordered=True),
                "noncurrentVersionTransitions": objects(
                    {"noncurrentDays": number(required=True), "newerNoncurrentVersions": number(), "storageClass": text(required=True)},
                    unordered=True,
                ),
            },
            required=True,
        ),
        "transitionDefaultMinimumObjectSize": text(default="all_storage_classes_128K"),
    }

    def check(self, inputs: Inputs) -> list[Problem]:
        """S3 refuses rules that do nothing and two rules of one name."""
        if inputs["rules"] is UNKNOWN:
            return []
        idle = [rule["id"] for rule in inputs["rules"] if not any(rule.get(action) for action in _ACTIONS)]
        names = [rule["id"] for rule in inputs["rules"] if rule["id"] is not UNKNOWN]
        twice = sorted({name for name in names if names.count(name) > 1})
        return [
            *(Problem("rules", f"the lifecycle rule {name} does nothing; it needs one of {', '.join(_ACTIONS)}") for name in idle),
            *(Problem("rules", f"two lifecycle rules are named {name}") for name in twice),
        ]

    def put(self, client: Any, bucket: str, inputs: Inputs) -> None:
        """All rules; one without a filter applies to every object."""
        rules = [{"Filter": {}, **to_api(rule, {"id": "ID"})} for rule in inputs["rules"]]
        client.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={"Rules": rules},
            TransitionDefaultMinimumObjectSize=inputs["transitionDefaultMinimumObjectSize"],
        )

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_bucket_lifecycle_configuration(Bucket=ident)
        return {
            "bucket": ident,
            "rules": from_api(found["Rules"], {"id": "ID"}),
            "transitionDefaultMinimumObjectSize": found.get("TransitionDefaultMinimumObjectSize", "all_storage_classes_128K"),
        }

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_bucket_lifecycle(Bucket=ident)


class BucketPolicy(_BucketPart):
    """Who may do what with a bucket."""

    token = "aws:s3/bucketPolicy:BucketPolicy"
    missing = (*NO_BUCKET, "NoSuchBucketPolicy")
    props = {"bucket": text(required=True, force_new=True), "policy": document(required=True)}

    def check(self, inputs: Inputs) -> list[Problem]:
        """What S3 answers with MalformedPolicy; the emulator stores anything."""
        if UNKNOWN in (inputs["bucket"], inputs["policy"]):
            return []
        return [Problem("policy", reason) for reason in policy_problems(json.loads(inputs["policy"]), inputs["bucket"])]

    def put(self, client: Any, bucket: str, inputs: Inputs) -> None:
        problems = policy_problems(json.loads(inputs["policy"]), bucket)
        if problems:
            raise ProviderError(f"MalformedPolicy: {problems[0]}")
        client.put_bucket_policy(Bucket=bucket, Policy=inputs["policy"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        return {"bucket": ident, "policy": ctx.client().get_bucket_policy(Bucket=ident)["Policy"]}

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_bucket_policy(Bucket=ident)


def policy_problems(policy: Any, bucket: str) -> list[str]:
    """Why S3 would refuse a bucket policy.

    Source: S3 User Guide, "Bucket policies": a statement names a principal, an action and resources inside this bucket.
    """
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not statements:
        return ["the policy has no Statement"]
    return [
        problem for index, statement in enumerate(statements) for problem in _statement_problems(statement, bucket, f"statement {index}")
    ]


def _statement_problems(statement: Mapping[str, Any], bucket: str, where: str) -> Iterator[str]:
    if statement.get("Effect") not in ("Allow", "Deny"):
        yield f"{where}: Effect must be Allow or Deny"
    for one in ("Principal", "Action"):
        if one not in statement and f"Not{one}" not in statement:
            yield f"{where}: {one} is missing"
    resources = statement.get("Resource", statement.get("NotResource", []))
    inside = f"arn:aws:s3:::{bucket}"
    for resource in [resources] if isinstance(resources, str) else resources:
        if resource != inside and not resource.startswith(f"{inside}/"):
            yield f"{where}: the resource {resource} is not in the bucket {bucket}"
    if not resources:
        yield f"{where}: Resource is missing"


RESOURCES = (
    Bucket,
    BucketVersioning,
    BucketPublicAccessBlock,
    BucketOwnershipControls,
    BucketServerSideEncryptionConfiguration,
    BucketLifecycleConfiguration,
    BucketLogging,
    BucketPolicy,
)
