"""The published outputs: what is read, what is refused, and that reading them stays cheap."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from amianai_infra.outputs import DatabaseOutputs, StackOutputs


def example() -> dict[str, Any]:
    return {
        "version": 1,
        "domain": "example.com",
        "region": "us-east-1",
        "account": "123456789012",
        "prefix": "eeyore",
        "site": {
            "bucket": "eeyore-site-example-com",
            "distribution_id": "E1",
            "distribution_domain": "d1.cloudfront.net",
            "distribution_arn": "arn:aws:cloudfront::123456789012:distribution/E1",
            "routes_arn": "arn:aws:cloudfront::123456789012:key-value-store/S1",
            "headers": ["x-frame-options: DENY", "strict-transport-security: max-age=60"],
            "page_policies": 1,
            "url": "https://example.com/",
        },
        "database": {
            "identifier": "eeyore-postgres",
            "host": "db.example",
            "port": 5432,
            "name": "amianai",
            "username": "amianai_admin",
            "secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:x",
            "security_group_id": "sg-1",
            "resource_id": "db-1",
            "instance_class": "db.t3.micro",
            "subnet_ids": ["subnet-1", "subnet-2"],
            "application_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:y",
            "readonly_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:z",
            "migrator_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:m",
            "proxy_host": "",
            "replica_hosts": ["replica.example"],
        },
        "auth": {
            "user_pool_id": "us-east-1_a",
            "client_id": "c",
            "issuer": "https://issuer",
            "hosted_domain": "h",
            "development_client_id": "",
        },
        "dns": {
            "zone_id": "Z1",
            "name_servers": ["ns-1.example"],
            "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/x",
            "ds_record": "",
        },
        "network": {
            "vpc_id": "vpc-1",
            "internet_gateway_id": "igw-1",
            "public_subnet_ids": ["a"],
            "private_subnet_ids": ["b"],
            "private_route_table_ids": ["c"],
        },
        "access": {
            "schedule_group": "eeyore-database-access",
            "scheduler_role_arn": "arn:aws:iam::123456789012:role/eeyore-database-closer",
            "dead_letter_arn": "arn:aws:sqs:us-east-1:123456789012:eeyore-database-access-failed",
            "topic_arn": "arn:aws:sns:us-east-1:123456789012:eeyore-database-access-failed",
            "launch_template_id": "lt-1",
            "bastion_security_group_id": "sg-2",
        },
        "audit_log_group": "/eeyore/database/audit",
        "deploy_role_arn": "arn:aws:iam::123456789012:role/eeyore-deploy",
        "previews": {
            "domain": "preview.example.com",
            "bucket": "eeyore-preview-example-com",
            "distribution_id": "E2",
            "distribution_domain": "d2.cloudfront.net",
            "routes_arn": "arn:aws:cloudfront::123456789012:key-value-store/S2",
            "role_arn": "arn:aws:iam::123456789012:role/eeyore-previews",
        },
    }


def test_it_reads_what_an_older_stack_published() -> None:
    older = {name: value for name, value in example().items() if name not in ("access", "audit_log_group", "deploy_role_arn", "previews")}
    outputs = StackOutputs.model_validate(older)
    assert (outputs.audit_log_group, outputs.access.schedule_group, outputs.previews.bucket) == ("", "", "")


def test_it_reads_what_it_writes() -> None:
    outputs = StackOutputs.model_validate(example())
    assert outputs.database.port == 5432
    assert outputs.site.answered == {"x-frame-options": "DENY", "strict-transport-security": "max-age=60"}
    assert outputs.model_dump() == example()
    assert StackOutputs.model_validate_json(outputs.model_dump_json(indent=2)) == outputs


def test_unknown_keys_are_ignored_and_numbers_may_be_text() -> None:
    data = example()
    data["site"]["tomorrow"] = 1
    data["database"]["port"] = "6432"
    assert StackOutputs.model_validate(data).database.port == 6432


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("domain",), None, "StackOutputs.domain: expected str"),
        (("database", "port"), "many", "DatabaseOutputs.port: expected int"),
        (("database", "port"), True, "DatabaseOutputs.port: expected int"),
        (("dns", "name_servers"), "ns", r"DnsOutputs.name_servers: expected list\[str\]"),
        (("site",), [], "SiteOutputs: expected an object"),
    ],
)
def test_a_wrong_value_is_named(path: tuple[str, ...], value: object, message: str) -> None:
    data = example()
    node = data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        StackOutputs.model_validate(data)


def test_a_missing_value_is_named() -> None:
    data = example()
    del data["site"]["bucket"]
    with pytest.raises(ValueError, match=r"SiteOutputs\.bucket: missing"):
        StackOutputs.model_validate(data)


def test_a_copy_changes_only_what_is_said() -> None:
    database = StackOutputs.model_validate(example()).database
    assert database.model_copy({"port": 1}) == DatabaseOutputs(**{**example()["database"], "port": 1})


def test_reading_them_loads_nothing_heavy() -> None:
    program = "import sys, amianai_infra.target; print([m for m in ('pydantic', 'boto3', 'rich', 'asyncio') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_outputs_of_a_stack_from_before_the_roles_are_read() -> None:
    older = example()
    del older["database"]["application_secret_arn"], older["database"]["readonly_secret_arn"]
    assert StackOutputs.model_validate(older).database.application_secret_arn == ""


def test_outputs_of_a_stack_with_one_client_are_read() -> None:
    older = example()
    del older["auth"]["development_client_id"]
    assert StackOutputs.model_validate(older).auth.development_client_id == ""


@pytest.mark.parametrize("domain", ["", "example", "example.com\n", "next: run this", "exa\x1b[2Jmple.com", "Example.com"])
def test_a_domain_is_one(domain: str) -> None:
    with pytest.raises(ValueError, match=r"domain"):
        StackOutputs.model_validate(example() | {"domain": domain})


@pytest.mark.parametrize("value", ["a\nb", "\x1b]52;c;eA==\x07", "\u009b2J", "\u202e", "\ud800"])
def test_what_does_not_print_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="expected str") as caught:
        StackOutputs.model_validate(example() | {"account": value})
    assert str(caught.value).isprintable()
    with pytest.raises(ValueError, match=r"expected list\[str\]"):
        StackOutputs.model_validate(example() | {"dns": example()["dns"] | {"name_servers": [value]}})
