"""Continuous delivery."""

from __future__ import annotations

import pytest

from amianai_infra.components.delivery import Delivery, DeliveryArgs
from tests.components.recorder import ACCOUNT, Record

ARGS: DeliveryArgs = {
    "prefix": "eeyore",
    "owner": "someone",
    "repository": "shop",
    "bucket_arn": "arn:aws:s3:::eeyore-site",
    "distribution_arn": f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1",
    "parameter_arn": f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/eeyore/stack",
    "routes_arn": f"arn:aws:cloudfront::{ACCOUNT}:key-value-store/S1",
}


def test_a_role_for_one_repository_and_branch(record: Record) -> None:
    found = record(lambda: Delivery("delivery", ARGS))
    assert found.counts() == {"OpenIdConnectProvider": 1, "Role": 1, "RolePolicy": 1}
    provider = found.one("OpenIdConnectProvider").inputs
    assert provider["url"] == "https://token.actions.githubusercontent.com"
    assert provider["clientIdLists"] == ["sts.amazonaws.com"]
    (trust,) = found.one("Role").json("assumeRolePolicy")["Statement"]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:someone/shop:ref:refs/heads/main",
        }
    }


def test_an_environment_instead_of_the_branch(record: Record) -> None:
    trust = str(record(lambda: Delivery("delivery", {**ARGS, "environment": "production"})).one("Role").json("assumeRolePolicy"))
    assert "repo:someone/shop:environment:production" in trust
    assert "refs/heads" not in trust


def test_the_role_may_release_and_nothing_else(record: Record) -> None:
    statements = record(lambda: Delivery("delivery", ARGS)).one("RolePolicy").json("policy")["Statement"]
    allowed = {statement["Resource"]: statement["Action"] for statement in statements}
    assert set(allowed) == {
        "arn:aws:s3:::eeyore-site",
        "arn:aws:s3:::eeyore-site/*",
        f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1",
        f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/eeyore/stack",
        f"arn:aws:cloudfront::{ACCOUNT}:key-value-store/S1",
    }
    assert all(statement["Effect"] == "Allow" for statement in statements)
    assert "*" not in str([statement["Action"] for statement in statements])
    assert allowed[f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/eeyore/stack"] == "ssm:GetParameter"


def test_an_adopted_provider_is_not_managed(record: Record) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
    found = record(lambda: Delivery("delivery", {**ARGS, "oidc_provider_arn": arn}))
    assert not found.of("OpenIdConnectProvider")
    assert found.one("Role").json("assumeRolePolicy")["Statement"][0]["Principal"] == {"Federated": arn}


@pytest.mark.parametrize("wrong", [{"repository": "*"}, {"branch": "release/*"}, {"owner": ""}], ids=str)
def test_wildcards_are_refused(record: Record, wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be given, without"):
        record(lambda: Delivery("delivery", {**ARGS, **wrong}))  # type: ignore[typeddict-item]


def test_two_deliveries_coexist(record: Record) -> None:
    def both() -> None:
        Delivery("one", ARGS)
        Delivery("two", {**ARGS, "prefix": "other", "oidc_provider_arn": "arn:aws:iam::1:oidc-provider/x"})

    assert {one.inputs["name"] for one in record(both).of("Role")} == {"eeyore-deploy", "other-deploy"}
