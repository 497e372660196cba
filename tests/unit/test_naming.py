from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra import naming

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=5).map(lambda labels: ".".join([*labels, "com"]))
PREFIX = st.from_regex(r"[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,9})?", fullmatch=True)


def test_slug() -> None:
    assert naming.slug("Example.com") == "example-com"
    assert naming.slug("--a__b--") == "a-b"


@given(PREFIX, DOMAIN)
def test_bucket_names_are_valid(prefix: str, domain: str) -> None:
    name = naming.bucket_name(prefix, "site", domain)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name)


@pytest.mark.parametrize("name", ["rds!db-46d84e17-cdbf-5842-8962-dc443c1bf9f1", "eeyore/database/eeyore-postgres/application"])
def test_a_secret_is_named_by_its_arn(name: str) -> None:
    assert naming.secret_name(f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-6aDa6e") == name


@given(PREFIX, DOMAIN)
def test_hosted_domains_are_valid(prefix: str, domain: str) -> None:
    name = naming.user_pool_domain(prefix, domain)
    assert re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", name)
    assert not [word for word in ("aws", "amazon", "cognito") if word in name]


@pytest.mark.parametrize("region", ["us-east-1", "ap-southeast-2", "us-gov-west-1"])
def test_the_state_bucket_carries_account_and_region_and_fits(region: str) -> None:
    name = naming.state_bucket_name("a" * 20, "123456789012", region)
    assert "123456789012" in name
    assert name.endswith(region)
    assert len(name) <= 63


def test_tags_of_everything_and_of_ones_own() -> None:
    tags = naming.default_tags({"Team": "web", "Environment": "mine", naming.TAG_STACK: "another"})
    assert tags["Team"] == "web"
    assert tags["Environment"] == "production"
    assert tags[naming.TAG_STACK] == "amianai-infra/prod"


def test_the_published_parameter() -> None:
    assert naming.stack_parameter("eeyore") == "/eeyore/stack"


def test_the_monitoring_role_begins_with_the_prefix_and_fits() -> None:
    assert naming.monitoring_role_name("eeyore", "eeyore-postgres") == "eeyore-postgres-monitoring"
    assert naming.monitoring_role_name("tigger", "eeyore-postgres") == "tigger-eeyore-postgres-monitoring"
    longest = naming.monitoring_role_name("p" * 20, "i" * 63)
    assert (len(longest), longest[:21], longest[-11:]) == (64, "p" * 20 + "-", "-monitoring")
