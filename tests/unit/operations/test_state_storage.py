from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from moto import mock_aws

from amianai_infra.config import Settings
from amianai_infra.errors import ForbiddenError, NotFoundError, RefusedError, UnreachableError
from amianai_infra.operations import change, doctor, state_storage
from amianai_infra.operations.state_storage import StateStorage
from amianai_infra.progress import Progress
from tests.unit.operations.fakes import ACCOUNT, Context, Target

QUIET = Progress(quiet=True)


def client(service: str, region: str = "us-east-1") -> Any:
    return boto3.client(service, region_name=region, aws_access_key_id="x", aws_secret_access_key="x")  # type: ignore[call-overload]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with mock_aws():
        yield Target(tmp_path, "aws", {name: client(name) for name in ("s3", "kms", "resourcegroupstaggingapi")})


@pytest.fixture
def storage(target: Target) -> StateStorage:
    return StateStorage.of(target, "eeyore")


def ensure(target: Any, storage: StateStorage, **which: Any) -> list[str]:
    return state_storage.ensure(target, storage, **which)


def test_the_names_carry_account_and_region(storage: StateStorage) -> None:
    assert storage.bucket == f"eeyore-state-{ACCOUNT}-us-east-1"
    assert storage.alias == "alias/eeyore-state"


def test_the_bucket_is_versioned_private_encrypted_and_tls_only(target: Target, storage: StateStorage) -> None:
    ensure(target, storage)
    s3 = target.clients["s3"]
    assert s3.get_bucket_versioning(Bucket=storage.bucket)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=storage.bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_encryption(Bucket=storage.bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=storage.bucket)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert storage.bucket in statement["Resource"][0]


def test_the_key_rotates_and_has_its_alias(target: Target, storage: StateStorage) -> None:
    ensure(target, storage)
    kms = target.clients["kms"]
    key = kms.describe_key(KeyId=storage.alias)["KeyMetadata"]
    assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]


def test_a_second_run_finds_everything(target: Target, storage: StateStorage) -> None:
    assert ensure(target, storage)
    assert ensure(target, storage) == []
    assert len(target.clients["kms"].list_keys()["Keys"]) == 1


def test_what_somebody_changed_is_put_right(target: Target, storage: StateStorage) -> None:
    ensure(target, storage)
    target.clients["s3"].put_bucket_versioning(Bucket=storage.bucket, VersioningConfiguration={"Status": "Suspended"})
    target.clients["s3"].delete_public_access_block(Bucket=storage.bucket)
    assert ensure(target, storage) == ["state bucket: versioned", "state bucket: private"]


def test_a_policy_that_says_more_or_less_is_put_right(target: Target, storage: StateStorage) -> None:
    """A word in it proves nothing: each of these mentions aws:SecureTransport."""
    ensure(target, storage)
    s3 = target.clients["s3"]
    ours = json.loads(s3.get_bucket_policy(Bucket=storage.bucket)["Policy"])
    (tls,) = ours["Statement"]
    everybody = {"Sid": "Share", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": tls["Resource"]}
    for statements in (
        [tls, everybody],
        [{**tls, "Effect": "Allow"}],
        [{**tls, "Resource": [tls["Resource"][0]]}],
        [{**tls, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}],
        [{**tls, "Action": "s3:PutObject"}],
        [{**tls, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}],
        [],
    ):
        s3.put_bucket_policy(Bucket=storage.bucket, Policy=json.dumps({**ours, "Statement": statements}))
        assert ensure(target, storage) == ["state bucket: reachable over TLS only, by nobody else"]
        assert json.loads(s3.get_bucket_policy(Bucket=storage.bucket)["Policy"]) == ours
    s3.delete_bucket_policy(Bucket=storage.bucket)
    assert ensure(target, storage) == ["state bucket: reachable over TLS only, by nobody else"]


def test_a_policy_that_says_the_same_is_left_alone(target: Target, storage: StateStorage) -> None:
    ensure(target, storage)
    s3 = target.clients["s3"]
    (tls,) = json.loads(s3.get_bucket_policy(Bucket=storage.bucket)["Policy"])["Statement"]
    same = {
        "Statement": {
            **{name: tls[name] for name in reversed(tls) if name != "Sid"},
            "Principal": {"AWS": "*"},
            "Action": ["s3:*"],
            "Resource": tls["Resource"][::-1],
            "Condition": {"Bool": {"aws:SecureTransport": False}},
        },
        "Version": "2012-10-17",
    }
    s3.put_bucket_policy(Bucket=storage.bucket, Policy=json.dumps(same))
    assert ensure(target, storage) == []


def test_tags_that_recovery_needs_are_put_back(target: Target, storage: StateStorage) -> None:
    ensure(target, storage)
    target.clients["s3"].put_bucket_tagging(Bucket=storage.bucket, Tagging={"TagSet": [{"Key": "Team", "Value": "web"}]})
    assert ensure(target, storage) == ["state bucket: tagged"]


def test_only_what_is_used_is_made(target: Target, storage: StateStorage) -> None:
    ensure(target, storage, bucket=False)
    assert target.clients["s3"].list_buckets()["Buckets"] == []
    assert len(target.clients["kms"].list_keys()["Keys"]) == 1


def test_a_key_that_a_killed_run_left_without_a_name_is_used(target: Target, storage: StateStorage) -> None:
    kms = target.clients["kms"]
    made = kms.create_key(Tags=state_storage._tags("TagKey", "TagValue"))["KeyMetadata"]["KeyId"]
    ensure(target, storage)
    assert kms.describe_key(KeyId=storage.alias)["KeyMetadata"]["KeyId"] == made


def lose(client: Any, operation: str, times: int = 1) -> None:
    """Lose the answers of what moto carried out, the next so many times."""
    left = [None] * times

    def handle(request: Any, event_name: str, **_: Any) -> None:
        if left and event_name == f"before-send.{operation}":
            left.pop()
            raise ConnectionClosedError(endpoint_url=request.url)

    client.meta.events.register_last("before-send", handle)


@pytest.mark.parametrize("late", [0, 2])
def test_a_key_whose_answer_was_lost_is_found_and_none_is_paid_for_twice(
    target: Target, storage: StateStorage, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    kms, slept = target.clients["kms"], list[float]()
    orphan = state_storage._orphan

    def shows_late(*given: Any) -> str | None:
        return orphan(*given) if len(slept) >= late else None

    monkeypatch.setattr(state_storage, "_orphan", shows_late)
    lose(kms, "kms.CreateKey")
    assert "created the KMS key alias/eeyore-state" in state_storage.ensure(target, storage, sleep=slept.append)
    (key,) = kms.list_keys()["Keys"]
    assert kms.describe_key(KeyId=storage.alias)["KeyMetadata"]["KeyId"] == key["KeyId"]
    assert len(slept) == late


def test_a_key_that_does_not_show_is_left_to_the_next_run(target: Target, storage: StateStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    kms, slept = target.clients["kms"], list[float]()
    with monkeypatch.context() as blind:
        blind.setattr(state_storage, "_orphan", lambda *_: None)
        lose(kms, "kms.CreateKey")
        with pytest.raises(UnreachableError, match="preparing the state storage"):
            state_storage.ensure(target, storage, sleep=slept.append)
    assert 30 <= sum(slept) <= 120
    ensure(target, storage)
    assert len(kms.list_keys()["Keys"]) == 1


def test_a_refused_key_is_not_looked_for(target: Target, storage: StateStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    answer: Any = {"Error": {"Code": "AccessDeniedException", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    monkeypatch.setattr(target.clients["kms"], "create_key", Mock(side_effect=ClientError(answer, "CreateKey")))
    with pytest.raises(ForbiddenError):
        state_storage.ensure(target, storage, sleep=Mock(side_effect=AssertionError))


def test_an_alias_whose_answer_was_lost_is_the_keys_own(target: Target, storage: StateStorage) -> None:
    lose(target.clients["kms"], "kms.CreateAlias")
    ensure(target, storage)
    assert len(target.clients["kms"].list_keys()["Keys"]) == 1


def test_of_two_setups_at_once_one_key_counts_and_the_other_goes(
    target: Target, storage: StateStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms = target.clients["kms"]
    rotate = kms.enable_key_rotation

    def overtaken(**given: Any) -> None:
        rotate(**given)
        theirs.append(kms.create_key()["KeyMetadata"]["KeyId"])
        kms.create_alias(AliasName=storage.alias, TargetKeyId=theirs[0])

    theirs: list[str] = []
    monkeypatch.setattr(kms, "enable_key_rotation", overtaken)
    ensure(target, storage)
    states = {one["KeyId"]: kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"]["KeyState"] for one in kms.list_keys()["Keys"]}
    assert states.pop(theirs[0]) == "Enabled"
    assert list(states.values()) == ["PendingDeletion"]


def test_a_bucket_whose_answer_was_lost_is_ours(tmp_path: Path) -> None:
    with mock_aws():
        target = Target(tmp_path, "aws", {name: client(name, "eu-west-1") for name in ("s3", "kms", "resourcegroupstaggingapi")})
        target.region = "eu-west-1"
        lose(target.clients["s3"], "s3.CreateBucket")
        assert ensure(target, StateStorage.of(target, "eeyore"), key=False)[0].startswith("created the state bucket")


@pytest.mark.parametrize(("harm", "state"), [("disable_key", "disabled"), ("schedule_key_deletion", "pending deletion")])
def test_a_key_that_cannot_be_used_is_enabled_and_said_so(target: Target, storage: StateStorage, harm: str, state: str) -> None:
    settings = Settings(domain_name="example.com")
    assert doctor.state_key(target, settings).found == "not made yet; setup makes it"
    ensure(target, storage)
    kms = target.clients["kms"]
    made = kms.describe_key(KeyId=storage.alias)["KeyMetadata"]["KeyId"]
    assert doctor.state_key(target, settings).ok
    getattr(kms, harm)(KeyId=made)
    check = doctor.state_key(target, settings)
    assert (check.ok, check.found) == (False, f"{storage.alias} is {state}")
    assert "amianai setup" in check.fix
    assert ensure(target, storage) == [f"enabled the KMS key {storage.alias}, which was {state}"]
    assert kms.describe_key(KeyId=storage.alias)["KeyMetadata"]["KeyState"] == "Enabled"
    assert ensure(target, storage) == []


def test_a_key_that_is_to_be_deleted_already_is_left_to_that(target: Target, storage: StateStorage) -> None:
    ensure(target, storage)
    kms = target.clients["kms"]
    made = kms.describe_key(KeyId=storage.alias)["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=made, PendingWindowInDays=30)
    target.clients["s3"].delete_bucket_policy(Bucket=storage.bucket)
    remove(target, storage)
    assert kms.describe_key(KeyId=made)["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_elsewhere_the_bucket_is_made_in_its_region(tmp_path: Path) -> None:
    with mock_aws():
        target = Target(tmp_path, "aws", {name: client(name, "eu-west-1") for name in ("s3", "kms", "resourcegroupstaggingapi")})
        target.region = "eu-west-1"
        storage = StateStorage.of(target, "eeyore")
        ensure(target, storage)
        where = target.clients["s3"].get_bucket_location(Bucket=storage.bucket)["LocationConstraint"]
        assert where == "eu-west-1"


def test_a_bucket_that_is_not_ours_to_read_is_said_so(target: Target, storage: StateStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def head_bucket(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")

    monkeypatch.setattr(target.clients["s3"], "head_bucket", head_bucket)
    with pytest.raises(ForbiddenError, match="another account, or these credentials may not use it"):
        ensure(target, storage)


def test_up_and_preview_before_setup_are_refused(tmp_path: Path, target: Target, storage: StateStorage) -> None:
    context = Context(tmp_path, target)
    context.there = False
    environment = target.engine()
    target.engine = lambda: replace(environment, backend_url=f"s3://{storage.bucket}?region=us-east-1")  # type: ignore[method-assign]
    for operation in (change.up, change.preview):
        with pytest.raises(NotFoundError, match="not set up"):
            operation(context)
    ensure(target, storage)
    change.up(context)


def put(target: Target, storage: StateStorage, key: str, body: bytes = b"{}") -> None:
    """Moto reads no conditions: to it the TLS-only policy refuses everything."""
    target.clients["s3"].delete_bucket_policy(Bucket=storage.bucket)
    target.clients["s3"].put_object(Bucket=storage.bucket, Key=key, Body=body)


def remove(target: Any, storage: StateStorage) -> list[str]:
    return state_storage.remove(target, storage, QUIET)


def test_removal_takes_every_version_and_schedules_the_key(target: Target, storage: StateStorage) -> None:
    ensure(target, storage)
    s3, kms = target.clients["s3"], target.clients["kms"]
    for body in (b"1", b"2"):
        put(target, storage, ".pulumi/stacks/amianai-infra/prod.json", body)
    s3.delete_object(Bucket=storage.bucket, Key=".pulumi/stacks/amianai-infra/prod.json")
    key = kms.describe_key(KeyId=storage.alias)["KeyMetadata"]["KeyId"]
    assert len(remove(target, storage)) == 2
    assert s3.list_buckets()["Buckets"] == []
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert remove(target, storage) == []


def test_the_state_of_another_stack_is_not_removed(target: Target, storage: StateStorage) -> None:
    ensure(target, storage)
    put(target, storage, ".pulumi/stacks/other/dev.json")
    with pytest.raises(RefusedError, match="other/dev"):
        remove(target, storage)
    assert target.clients["s3"].list_buckets()["Buckets"]
