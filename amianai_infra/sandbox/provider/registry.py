"""The resource types there are: each service's module lists its own."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

from amianai_infra.sandbox.provider.resource import Resource

# Each module has RESOURCES, a tuple of classes.
SERVICES: Final = (
    "acm",
    "cloudfront",
    "cloudwatch",
    "cognito",
    "ec2",
    "iam",
    "kms",
    "lambda_",
    "launch_templates",
    "logs",
    "rds",
    "route53",
    "s3",
    "scheduler",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "wafv2",
)


@cache
def resources() -> dict[str, Resource]:
    """Token -> resource type."""
    found: dict[str, Resource] = {}
    for service in SERVICES:
        module = import_module(f"amianai_infra.sandbox.provider.{service}")
        for kind in module.RESOURCES:
            if kind.token in found:
                raise ValueError(f"two types claim {kind.token}")
            found[kind.token] = kind()
    return found
