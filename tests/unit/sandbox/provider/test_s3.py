"""S3's own rules, without an emulator."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amianai_infra.sandbox.provider.s3 import BucketLifecycleConfiguration, BucketPolicy, policy_problems
from amianai_infra.sandbox.provider.values import UNKNOWN

GOOD = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::site", "arn:aws:s3:::site/*"]}


def test_a_good_policy() -> None:
    assert policy_problems({"Version": "2012-10-17", "Statement": GOOD}, "site") == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ({**GOOD, "Effect": "Maybe"}, "Effect"),
        ({key: value for key, value in GOOD.items() if key != "Principal"}, "Principal is missing"),
        ({key: value for key, value in GOOD.items() if key != "Action"}, "Action is missing"),
        ({key: value for key, value in GOOD.items() if key != "Resource"}, "Resource is missing"),
        ({**GOOD, "Resource": "arn:aws:s3:::site-logs/*"}, "not in the bucket site"),
    ],
)
def test_policies_s3_refuses(statement: dict[str, Any], reason: str) -> None:
    problems = policy_problems({"Statement": [statement]}, "site")
    assert len(problems) == 1
    assert reason in problems[0]


def test_a_policy_without_statements() -> None:
    assert policy_problems({}, "site") == ["the policy has no Statement"]


def test_a_policy_that_is_not_known_yet_is_not_judged() -> None:
    assert BucketPolicy().check({"bucket": "site", "policy": UNKNOWN}) == []
    assert BucketPolicy().check({"bucket": UNKNOWN, "policy": json.dumps({})}) == []
    assert BucketPolicy().check({"bucket": "site", "policy": json.dumps({})})[0].path == "policy"


def test_lifecycle_rules_that_do_nothing_or_share_a_name() -> None:
    kind = BucketLifecycleConfiguration()
    idle = {"id": "idle", "status": "Enabled"}
    busy = {"id": "busy", "status": "Enabled", "expiration": {"days": 1}}
    assert [problem.reason.split(";")[0] for problem in kind.check({"rules": [idle, busy]})] == ["the lifecycle rule idle does nothing"]
    assert [problem.reason for problem in kind.check({"rules": [busy, busy]})] == ["two lifecycle rules are named busy"]
    assert kind.check({"rules": UNKNOWN}) == []
