"""Where the state of a production stack lives on AWS: one S3 bucket and one KMS key, made by `setup`, outliving `destroy`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from amianai_infra.errors import RefusedError
from amianai_infra.naming import PROJECT, STACK, default_tags, state_bucket_name
from amianai_infra.progress import Progress
from amianai_infra.rules.policies import Policy, private_bucket, same_policy
from amianai_infra.target import Target, aws_error, own_bucket_exists

_PURPOSE = "amianai:purpose"
_LOOKS, _ASK_EVERY = 20, 3.0  # a minute: tags show late
_BLOCK = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
_ENCRYPTION = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}
_LIFECYCLE = {
    "Rules": [
        {
            "ID": "old-versions",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }
    ]
}


@dataclass(frozen=True)
class StateStorage:
    """Names of the two."""

    bucket: str
    alias: str

    @classmethod
    def of(cls, target: Target, prefix: str) -> StateStorage:
        """The names that belong to the account, region and prefix."""
        return cls(state_bucket_name(prefix, target.identity().account, target.region), f"alias/{prefix}-state")


def ensure(
    target: Target, storage: StateStorage, *, bucket: bool = True, key: bool = True, sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """Create what is missing and correct what differs.

    Args:
        target: where.
        storage: the names.
        bucket: whether the state lives in our bucket.
        key: whether our key encrypts its secrets.
        sleep: how to wait between two looks.

    Returns:
        What was done, one line each; nothing when all was there.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    done: list[str] = []
    try:
        if bucket:
            done += _ensure_bucket(target, storage.bucket)
        if key:
            done += _ensure_key(target, storage.alias, sleep)
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, f"preparing the state storage ({storage.bucket}, {storage.alias})") from error
    return done


def has_bucket(target: Target, storage: StateStorage) -> bool:
    """Whether the state bucket is there."""
    return own_bucket_exists(target.client("s3"), storage.bucket)


def key_state(target: Target, storage: StateStorage) -> str:
    """What the key is, in a word or two: `enabled`, `disabled`, `pending deletion`; empty when there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found = _key(target.client("kms"), storage.alias)
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, f"looking for the KMS key {storage.alias}") from error
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(found["KeyState"])).lower() if found else ""


def _ensure_bucket(target: Target, name: str) -> list[str]:
    s3 = target.client("s3")
    done = []
    if not own_bucket_exists(s3, name):
        where = {} if target.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": target.region}}
        with suppress(s3.exceptions.BucketAlreadyOwnedByYou):  # by our own request, repeated after its answer was lost
            s3.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerEnforced", **where)
        s3.get_waiter("bucket_exists").wait(Bucket=name)
        done.append(f"created the state bucket {name}")
    for title, is_so, make_so in _bucket_properties(s3, name):
        if not is_so():
            make_so()
            done.append(f"state bucket: {title}")
    return done


def _bucket_properties(s3: Any, name: str) -> Iterator[tuple[str, Callable[[], bool], Callable[[], object]]]:
    """Title, question and remedy of each property of the bucket."""
    policy = private_bucket(f"arn:aws:s3:::{name}")
    yield (
        "versioned",
        lambda: s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled",
        lambda: s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"}),
    )
    yield (
        "private",
        lambda: _answer(lambda: s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]) == _BLOCK,
        lambda: s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=_BLOCK),
    )
    yield (
        "encrypted",
        lambda: bool(_answer(lambda: s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"])),
        lambda: s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=_ENCRYPTION),
    )
    yield (
        "reachable over TLS only, by nobody else",
        lambda: _has_policy(s3, name, policy),
        lambda: s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy)),
    )
    yield (
        "old versions expire after 90 days",
        lambda: bool(_answer(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"])),
        lambda: s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration=_LIFECYCLE),
    )
    yield (
        "tagged",
        lambda: _tagged(_answer(lambda: s3.get_bucket_tagging(Bucket=name)["TagSet"])),
        lambda: s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": _tags("Key", "Value")}),
    )


def _has_policy(s3: Any, name: str, policy: Policy) -> bool:
    """Whether the bucket's policy says what ours does, all of it and nothing more."""
    found = _answer(lambda: s3.get_bucket_policy(Bucket=name)["Policy"])
    return found is not None and same_policy(json.loads(found), policy)


def _tagged(found: list[dict[str, str]] | None) -> bool:
    return all(tag in (found or []) for tag in _tags("Key", "Value"))


def _answer(ask: Callable[[], Any]) -> Any:
    """What AWS says, None where it says that there is no such configuration."""
    from botocore.exceptions import ClientError

    try:
        return ask()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code.startswith("NoSuch") or code.endswith("NotFoundError"):
            return None
        raise


def _tags(key: str, value: str) -> list[dict[str, str]]:
    return [{key: name, value: text} for name, text in default_tags({_PURPOSE: "state"}).items()]


def _ensure_key(target: Target, alias: str, sleep: Callable[[float], None]) -> list[str]:
    kms = target.client("kms")
    found = _key(kms, alias)
    if found is not None:
        return _revived(kms, found, alias)
    identity = _orphan(target, kms) or _new_key(target, kms, sleep)
    kms.enable_key_rotation(KeyId=identity)
    try:
        kms.create_alias(AliasName=alias, TargetKeyId=identity)
    except kms.exceptions.AlreadyExistsException:
        named = kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"]
        if named != identity:  # of another setup at the same moment; else our own request, repeated after its answer was lost
            kms.schedule_key_deletion(KeyId=identity, PendingWindowInDays=7)
    return [f"created the KMS key {alias}"]


def _new_key(target: Target, kms: Any, sleep: Callable[[float], None]) -> str:
    """Ask for a key once. One whose answer was lost may exist: it is looked for, and nobody pays for a second one.

    Raises:
        BotoCoreError, ClientError: what came instead of an answer, where no key shows; a later run looks again.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    kms.meta.events.register_first("needs-retry.kms.CreateKey", lambda **_: False)
    try:
        made = kms.create_key(Description=f"Secrets in the Pulumi state of {PROJECT}", Tags=_tags("TagKey", "TagValue"))
        return str(made["KeyMetadata"]["KeyId"])
    except (BotoCoreError, ClientError) as error:
        status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0) if isinstance(error, ClientError) else 500
        for _ in range(_LOOKS if status >= 500 else 0):
            if found := _orphan(target, kms):
                return found
            sleep(_ASK_EVERY)
        raise


def _revived(kms: Any, key: Mapping[str, Any], alias: str) -> list[str]:
    """Keep a key that was to be deleted and enable one that was disabled: without it nobody reads the state's secrets."""
    was = {"PendingDeletion": "pending deletion", "Disabled": "disabled"}.get(key["KeyState"])
    if was is None:
        return []
    if key["KeyState"] == "PendingDeletion":
        kms.cancel_key_deletion(KeyId=key["KeyId"])
    kms.enable_key(KeyId=key["KeyId"])
    return [f"enabled the KMS key {alias}, which was {was}"]


def _key(kms: Any, alias: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        found: dict[str, Any] = kms.describe_key(KeyId=alias)["KeyMetadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NotFoundException":
            return None
        raise
    return found


def _orphan(target: Target, kms: Any) -> str | None:
    """A key that an interrupted run made and did not name: found by its tags, so that no second one is paid for."""
    wanted = {item["TagKey"]: item["TagValue"] for item in _tags("TagKey", "TagValue")}
    filters = [{"Key": name, "Values": [value]} for name, value in wanted.items() if name.startswith("amianai:")]
    pages = (
        target.client("resourcegroupstaggingapi")
        .get_paginator("get_resources")
        .paginate(TagFilters=filters, ResourceTypeFilters=["kms:key"])
    )
    for page in pages:
        for one in page["ResourceTagMappingList"]:
            identity = str(one["ResourceARN"]).rpartition("/")[2]
            named = kms.list_aliases(KeyId=identity)["Aliases"]
            if not named and kms.describe_key(KeyId=identity)["KeyMetadata"]["KeyState"] == "Enabled":
                return identity
    return None


def remove(target: Target, storage: StateStorage, progress: Progress) -> list[str]:
    """Delete the bucket with every version in it and schedule the key for deletion.

    Raises:
        RefusedError: the bucket holds the state of another stack.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return _remove(target, storage, progress)
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, f"removing the state storage ({storage.bucket}, {storage.alias})") from error


def _remove(target: Target, storage: StateStorage, progress: Progress) -> list[str]:
    from amianai_infra.operations.buckets import empty

    s3, kms = target.client("s3"), target.client("kms")
    done = []
    if own_bucket_exists(s3, storage.bucket):
        others = _other_stacks(s3, storage.bucket)
        if others:
            raise RefusedError(f"The state bucket {storage.bucket} also holds {', '.join(others)}; it was kept.")
        empty(s3, storage.bucket, progress)
        s3.delete_bucket(Bucket=storage.bucket)
        done.append(f"deleted the state bucket {storage.bucket}")
    found = _key(kms, storage.alias)
    if found is not None:
        if found.get("KeyState") != "PendingDeletion":
            kms.schedule_key_deletion(KeyId=found["KeyId"], PendingWindowInDays=7)
        kms.delete_alias(AliasName=storage.alias)
        done.append(f"scheduled the KMS key {storage.alias} for deletion in 7 days")
    return done


def _other_stacks(s3: Any, bucket: str) -> list[str]:
    ours = f"{PROJECT}/{STACK}."
    found = set()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=".pulumi/stacks/"):
        for one in page.get("Contents", []):
            name = str(one["Key"]).removeprefix(".pulumi/stacks/")
            if name.endswith((".json", ".json.gz")) and not name.startswith(ours):
                found.add(name.partition(".json")[0])
    return sorted(found)
