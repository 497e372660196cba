"""Policy documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules import policies

BUCKET = "arn:aws:s3:::site"
CDN = "arn:aws:cloudfront::123456789012:distribution/E1"
PLAIN = st.text(st.characters(codec="ascii", exclude_characters="*?:"), min_size=1)


def statements(policy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["Sid"]: one for one in policy["Statement"]}


def test_the_site_bucket() -> None:
    found = statements(policies.site_bucket(BUCKET, CDN))
    assert set(found) == {"TlsOnly", "CloudFrontReads", "ReleasesStayPrivate"}
    assert found["TlsOnly"]["Resource"] == [BUCKET, f"{BUCKET}/*"]
    assert found["TlsOnly"]["Effect"] == "Deny"
    assert found["CloudFrontReads"]["Condition"] == {"StringEquals": {"AWS:SourceArn": CDN}}
    assert [one["Sid"] for one in found.values() if one["Effect"] == "Allow"] == ["CloudFrontReads"]


def test_nobody_anonymous_is_allowed_anything() -> None:
    for policy in (policies.site_bucket(BUCKET, CDN), policies.private_bucket(BUCKET)):
        assert all(one["Effect"] == "Deny" or one["Principal"] != "*" for one in policy["Statement"])


def test_the_deployer_does_what_a_release_does_and_nothing_else() -> None:
    policy = policies.deployer(BUCKET, CDN, "arn:aws:ssm:us-east-1:1:parameter/eeyore/stack", "arn:aws:cloudfront::1:key-value-store/s")
    assert policies.actions_of([policy]) == [
        "cloudfront-keyvaluestore:DescribeKeyValueStore",
        "cloudfront-keyvaluestore:ListKeys",
        "cloudfront-keyvaluestore:UpdateKeys",
        "cloudfront:CreateInvalidation",
        "cloudfront:GetDistribution",
        "cloudfront:GetInvalidation",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
        "ssm:GetParameter",
    ]
    assert all("*" not in one["Resource"].removesuffix("/*") for one in policy["Statement"])


def test_github_subjects() -> None:
    assert policies.github_subject("o", "r", "main") == "repo:o/r:ref:refs/heads/main"
    assert policies.github_subject("o", "r", "main", "production") == "repo:o/r:environment:production"


@given(PLAIN, PLAIN, PLAIN)
def test_a_subject_is_compared_literally(owner: str, repository: str, branch: str) -> None:
    subject = policies.github_subject(owner, repository, branch)
    condition = policies.github_trust("arn:x", subject)["Statement"][0]["Condition"]
    assert set(condition) == {"StringEquals"}
    assert condition["StringEquals"]["token.actions.githubusercontent.com:sub"] == subject


@pytest.mark.parametrize("bad", ["", "*", "a*", "a?", "a:b"])
@pytest.mark.parametrize("place", ["owner", "repository", "branch", "environment"])
def test_wildcards_and_gaps_are_refused(place: str, bad: str) -> None:
    parts = {"owner": "o", "repository": "r", "branch": "main", "environment": "production"} | {place: bad}
    if place == "branch" or (place == "environment" and not bad):
        parts["environment"] = "" if place == "branch" else "*"
    with pytest.raises(ValueError, match="must be given"):
        policies.github_subject(**parts)


def test_service_roles_trust_one_service() -> None:
    trust = policies.service_trust("monitoring.rds.amazonaws.com", policies.account_condition("123456789012"))
    (statement,) = trust["Statement"]
    assert statement["Principal"] == {"Service": "monitoring.rds.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert "Condition" not in policies.service_trust("x")["Statement"][0]


@pytest.mark.parametrize("arn", ["arn:aws:logs:us-east-1:1:log-group:/a", "arn:aws:logs:us-east-1:1:log-group:/a:*"])
def test_flow_logs_write_into_one_group(arn: str) -> None:
    (statement,) = policies.flow_log_writer(arn)["Statement"]
    assert set(statement["Resource"]) == {"arn:aws:logs:us-east-1:1:log-group:/a", "arn:aws:logs:us-east-1:1:log-group:/a:*"}


def test_every_document_is_json() -> None:
    for policy in (policies.site_bucket(BUCKET, CDN), policies.deployer(BUCKET, CDN, "arn:p", "arn:k"), policies.flow_log_writer("arn:l")):
        assert json.loads(json.dumps(policy))["Version"] == "2012-10-17"
