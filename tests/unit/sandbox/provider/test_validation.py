"""The check of every call against botocore's service models."""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.model import ServiceModel

from amianai_infra.sandbox.provider.validation import WRONG_PATTERNS, check, compiled_pattern, uncompilable

SERVICES = ("acm", "cloudfront", "cognito-idp", "ec2", "iam", "kms", "logs", "rds", "route53", "s3", "secretsmanager", "ssm", "sts")
LOADER = botocore.session.Session().get_component("data_loader")


@cache
def model(service: str) -> ServiceModel:
    return ServiceModel(LOADER.load_service_model(service, "service-2"), service_name=service)


def problems(service: str, operation: str, **params: Any) -> list[str]:
    return check(model(service).operation_model(operation), params)


def test_every_pattern_of_the_services_in_use_can_be_checked() -> None:
    """A new botocore that brings one that cannot be fails here, so that nobody believes it is checked."""
    assert {service: uncompilable(model(service)) for service in SERVICES if uncompilable(model(service))} == {}


def test_the_patterns_that_are_known_to_be_wrong_exist() -> None:
    for service, shape in WRONG_PATTERNS:
        assert "pattern" in model(service).shape_for(shape).metadata


ROLE = {"RoleName": "r", "AssumeRolePolicyDocument": "{}"}
DISTRIBUTION = {"CallerReference": "x", "Comment": "", "Enabled": True}


@pytest.mark.parametrize(
    ("service", "operation", "params", "said"),
    [
        ("iam", "CreateRole", {**ROLE, "RoleName": "a b"}, "RoleName = 'a b' does not match the pattern"),
        ("iam", "CreateRole", {**ROLE, "RoleName": "r\n"}, "does not match the pattern"),
        ("iam", "CreateRole", {**ROLE, "RoleName": "r" * 65}, "RoleName has 65 characters, more than 64"),
        ("iam", "CreateRole", {**ROLE, "RoleName": "rôle"}, "does not match the pattern"),
        ("iam", "CreateRole", {**ROLE, "MaxSessionDuration": 60}, "MaxSessionDuration = 60 is below 3600"),
        ("iam", "CreateRole", {**ROLE, "MaxSessionDuration": 43201}, "MaxSessionDuration = 43201 is above 43200"),
        ("iam", "CreateRole", {**ROLE, "MaxSessionDuration": True}, "must be a number"),
        ("iam", "CreateRole", {"RoleName": "r"}, "AssumeRolePolicyDocument is required"),
        ("iam", "CreateRole", {**ROLE, "Tags": [{"Key": "a" * 129, "Value": "b"}]}, "Tags[0].Key has 129 characters, more than 128"),
        ("iam", "CreateRole", {**ROLE, "Tags": [{"Key": "a"}]}, "Tags[0].Value is required"),
        ("iam", "CreateRole", {**ROLE, "Tags": [{"Key": "a", "Value": "b#c"}]}, "Tags[0].Value = 'b#c' does not match the pattern"),
        ("iam", "CreateRole", {**ROLE, "Tags": "a"}, "Tags must be a list"),
        ("iam", "CreateRole", {**ROLE, "Nonsense": 1}, "Nonsense is not a parameter"),
        ("iam", "CreateRole", {**ROLE, "RoleName": 5}, "RoleName must be a string"),
        ("ec2", "CreateVpc", {"InstanceTenancy": "shared"}, "InstanceTenancy = 'shared' is not one of default, dedicated, host"),
        (
            "s3",
            "PutBucketVersioning",
            {"Bucket": "b", "VersioningConfiguration": {"Status": "On"}},
            "VersioningConfiguration.Status = 'On'",
        ),
        ("logs", "CreateLogGroup", {"logGroupName": "g", "tags": {}}, "tags has 0 entries, fewer than 1"),
        ("logs", "CreateLogGroup", {"logGroupName": "g", "tags": {"a": "x" * 257}}, "tags['a'] has 257 characters"),
        ("ssm", "PutParameter", {"Name": "n", "Value": "v", "Type": "Text"}, "Type = 'Text' is not one of String"),
        ("cognito-idp", "CreateUserPool", {"PoolName": "p", "MfaConfiguration": "YES"}, "MfaConfiguration = 'YES'"),
        ("route53", "CreateHostedZone", {"Name": "n" * 1025, "CallerReference": "c"}, "more than 1024"),
        ("sts", "GetCallerIdentity", {"Strange": 1}, "Strange is not a parameter"),
        ("cloudfront", "CreateDistribution", {"DistributionConfig": DISTRIBUTION}, "DistributionConfig.Origins is required"),
    ],
)
def test_what_aws_refuses_is_refused(service: str, operation: str, params: dict[str, Any], said: str) -> None:
    found = problems(service, operation, **params)
    assert len([problem for problem in found if said in problem]) == 1, found


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("iam", "CreateRole", {**ROLE, "Path": "/a/", "MaxSessionDuration": 3600, "Description": None}),
        ("iam", "PutRolePolicy", {"RoleName": "r", "PolicyName": "p", "PolicyDocument": '{\n  "Version": "2012-10-17"\n}'}),
        ("logs", "CreateLogGroup", {"logGroupName": "/aws/rds/instance/eeyore-postgres/postgresql"}),
        ("acm", "RequestCertificate", {"DomainName": "example.com", "SubjectAlternativeNames": ["www.example.com", "*.example.com"]}),
        ("ssm", "PutParameter", {"Name": "/eeyore/stack", "Value": "{}", "Type": "String"}),
        ("secretsmanager", "CreateSecret", {"Name": "rds!db-1", "SecretString": "{}"}),
    ],
)
def test_what_aws_takes_is_taken(service: str, operation: str, params: dict[str, Any]) -> None:
    assert problems(service, operation, **params) == []


def test_sensitive_values_are_not_shown() -> None:
    found = problems("ssm", "PutParameter", Name="n", Value=["hunter2"], Type="String")
    assert found
    found = problems("cognito-idp", "AdminSetUserPassword", UserPoolId="us-east-1_a", Username="u", Password="hunter 2" * 40)
    assert found
    assert not [problem for problem in found if "hunter" in problem]


def test_unions_hold_exactly_one_member() -> None:
    service = ServiceModel(
        {
            "metadata": {"serviceId": "x"},
            "operations": {"Do": {"name": "Do", "http": {}, "input": {"shape": "In"}}},
            "shapes": {
                "In": {"type": "structure", "members": {"Pick": {"shape": "Pick"}}},
                "Pick": {"type": "structure", "union": True, "members": {"a": {"shape": "Text"}, "b": {"shape": "Text"}}},
                "Text": {"type": "string", "pattern": "(?<name>x)+"},
            },
        },
        service_name="x",
    )
    operation = service.operation_model("Do")
    assert check(operation, {"Pick": {"a": "x"}}) == []
    assert "exactly one of a, b" in check(operation, {"Pick": {}})[0]
    assert "exactly one of a, b" in check(operation, {"Pick": {"a": "x", "b": "x"}})[0]


def test_patterns_of_other_engines() -> None:
    assert compiled_pattern(r"\p{IsGreek}+") is None
    letters = compiled_pattern(r"\p{L}[\p{L}\p{N}\w-.]*")
    assert letters is not None
    assert letters.fullmatch("Zoë-5.٣")
    assert not letters.fullmatch("a b")
    named = compiled_pattern(r"(?<year>\d{4})")
    assert named is not None
    assert named.fullmatch("2026")
