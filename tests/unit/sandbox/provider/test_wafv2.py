"""What WAF refuses, without an emulator."""

from __future__ import annotations

from typing import Any

import pytest

from amianai_infra.sandbox.provider.properties import Checker
from amianai_infra.sandbox.provider.values import UNKNOWN
from amianai_infra.sandbox.provider.wafv2 import WebAcl

MEASURED = {"cloudwatchMetricsEnabled": True, "metricName": "m", "sampledRequestsEnabled": False}


def rule(limit: Any = 100, action: Any = None) -> dict[str, Any]:
    counted = {"rateBasedStatement": {"limit": limit}}
    return {"name": "r", "priority": 0, "action": action or {"block": {}}, "statement": counted, "visibilityConfig": MEASURED}


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({}, []),
        ({"rules": [rule(10)]}, []),
        ({"rules": [rule(UNKNOWN)]}, []),
        ({"rules": UNKNOWN}, []),
        ({"rules": [rule(), rule(9)]}, ["rules[1].statement.rateBasedStatement.limit"]),
        ({"rules": [rule(action={"block": {}, "count": {}})]}, ["rules[0].action"]),
        ({"defaultAction": {}}, ["defaultAction"]),
    ],
)
def test_web_acls(given: dict[str, Any], paths: list[str]) -> None:
    checker = Checker(WebAcl.token)
    inputs = {"name": "acl", "scope": "REGIONAL", "defaultAction": {"allow": {}}, "visibilityConfig": MEASURED, **given}
    completed = checker.complete(WebAcl().table, inputs)
    assert checker.problems == []
    assert [problem.path for problem in WebAcl().check(completed)] == paths


def test_a_window_that_waf_does_not_count_in_is_refused() -> None:
    checker = Checker(WebAcl.token)
    odd = rule()
    odd["statement"]["rateBasedStatement"]["evaluationWindowSec"] = 301
    checker.complete(WebAcl().table, {"scope": "CLOUDFRONT", "defaultAction": {"allow": {}}, "visibilityConfig": MEASURED, "rules": [odd]})
    assert [problem.path for problem in checker.problems] == ["scope", "rules[0].statement.rateBasedStatement.evaluationWindowSec"]
