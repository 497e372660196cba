from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.config import load_settings
from amianai_infra.operations.cost import DATABASE_HOUR, DATE, describe, estimate


def priced(**flags: str) -> float:
    found = estimate(
        load_settings({"domain_name": "example.com", **{key.replace("__", "."): value for key, value in flags.items()}}, {}, {})
    )
    assert found.complete
    return found.total


def test_the_default_stack_by_hand() -> None:
    # 730 h x 0.018 + 20 GiB x 0.115 + zone 0.50 + three secrets 1.20 + key 1.00 + alarm 0.10 + logs 0.50
    assert priced() == pytest.approx(13.14 + 2.30 + 0.50 + 1.20 + 1.00 + 0.10 + 0.50)


def test_the_secret_of_a_migrator_is_counted() -> None:
    assert priced(database__migrations_by="external") - priced() == pytest.approx(0.40)


def test_nat_gateways_are_counted() -> None:
    assert priced(network__nat="single") - priced() == pytest.approx(36.5)
    assert priced(network__nat="per-az", network__availability_zones="3") - priced() == pytest.approx(3 * 36.5)


def test_a_standby_doubles_instance_and_storage() -> None:
    assert priced(database__multi_az="true") - priced() == pytest.approx(13.14 + 2.30)


def test_an_adopted_zone_is_paid_already() -> None:
    assert priced() - priced(dns__zone_id="Z1") == pytest.approx(0.5)


def test_an_unknown_class_says_so_instead_of_guessing() -> None:
    settings = load_settings({"domain_name": "example.com", "database.instance_class": "db.x2g.large"}, {}, {})
    found = estimate(settings)
    assert not found.complete
    assert "no price known for db.x2g.large" in "\n".join(describe(found, settings))


def test_the_description_states_source_and_date() -> None:
    settings = load_settings({"domain_name": "example.com", "region": "eu-west-1"}, {}, {})
    text = "\n".join(describe(estimate(settings), settings))
    assert DATE in text
    assert "us-east-1" in text
    assert "eu-west-1 differs" in text


@given(st.sampled_from(sorted(DATABASE_HOUR)), st.integers(20, 65536), st.booleans())
def test_more_never_costs_less(name: str, storage: int, standby: bool) -> None:
    flags = {"database__instance_class": name, "database__storage_gib": str(storage), "database__max_storage_gib": "65536"}
    one = priced(**flags, database__multi_az=str(standby))
    assert priced(**{**flags, "database__storage_gib": str(min(storage + 1, 65536))}, database__multi_az=str(standby)) >= one > 0


def test_a_proxy_and_a_copy_of_the_backups_cost_extra() -> None:
    assert priced(database__proxy="true") - priced() == pytest.approx(2 * 0.015 * 730)
    large = {"database__instance_class": "db.m7g.xlarge"}
    assert priced(**large, database__proxy="true") - priced(**large) == pytest.approx(4 * 0.015 * 730)
    assert priced(database__backup_region="us-west-2") - priced() == pytest.approx(1.0)
    settings = load_settings({"domain_name": "example.com", "database.instance_class": "db.x2g.large", "database.proxy": "true"}, {}, {})
    assert not estimate(settings).complete


def test_a_replica_costs_as_much_as_the_instance() -> None:
    own = {"database__managed_password": "false"}
    one = priced(**own, database__replicas="1") - priced(**own)
    assert one == pytest.approx(0.018 * 730 + 20 * 0.115)
    assert priced(**own) == priced(), "the secret is of the same price whoever keeps it"
    assert priced(**own, database__replicas="3") - priced(**own) == pytest.approx(3 * one)


def test_a_limit_of_requests_costs_a_web_acl_and_its_rule() -> None:
    assert priced(auth__request_limit="100") - priced() == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("flags", "dollars"),
    [({"dns__dnssec": "true"}, 1.0), ({"dns__query_logging": "true"}, 0.05), ({"access__alarm_email": "ops@example.com"}, 1.0)],
)
def test_keys_and_logs_that_settings_add(flags: dict[str, str], dollars: float) -> None:
    assert priced(**flags) - priced() == pytest.approx(dollars)
