"""One resource straight through its class: what the engine would hear, without the seconds an engine takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amianai_infra.sandbox.provider.clients import Clients
from amianai_infra.sandbox.provider.properties import Checker
from amianai_infra.sandbox.provider.resource import Context, Resource, World
from amianai_infra.sandbox.provider.server import describe
from tests.functional.conftest import Bench


def context(bench: Bench, kind: Resource, region: str = "us-east-1") -> Context:
    """What the server gives the class's methods."""
    return Context(World(Clients(bench.variables["AWS_ENDPOINT_URL"], bench.sandbox.key())), region, kind.service)


def attempt(bench: Bench, kind: Resource, given: Mapping[str, Any]) -> str:
    """Check and create a resource; gives the reason it was refused, or nothing."""
    checker = Checker(kind.token)
    inputs = checker.complete(kind.table, given)
    problems = checker.problems or kind.check(inputs)
    if problems:
        return "; ".join(problem.reason for problem in problems)
    try:
        kind.create(context(bench, kind), inputs)
    except Exception as error:
        return describe(error)
    return ""
