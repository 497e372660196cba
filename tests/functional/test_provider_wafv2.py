"""The limit of requests in front of a user pool, with the real engine and the emulator.

What this cannot prove: that a request is blocked; the emulator keeps web ACLs and applies none.
"""

from __future__ import annotations

from pathlib import Path

import pulumi
import pytest

from amianai_infra.components.auth import Auth, AuthArgs
from amianai_infra.sandbox.provider.wafv2 import WebAcl
from tests.functional.conftest import Bench, Program, changed
from tests.functional.provider_attempt import attempt, context
from tests.functional.test_provider import stack, steps

ARGS: AuthArgs = {
    "prefix": "bench",
    "region": "us-east-1",
    "domain": "example.test",
    "hosted_domain": "bench-example-test",
    "deletion_protection": False,
}


def signing_in(limit: dict[str, int]) -> Program:
    def program() -> None:
        auth = Auth("auth", {**ARGS, "request_limit": limit["value"]})
        pulumi.export("pool", auth.user_pool_arn)

    return program


def test_the_life_of_a_limit(bench: Bench, tmp_path: Path) -> None:
    limit = {"value": 0}
    waf = bench.client("wafv2")
    with stack(bench, tmp_path, signing_in(limit)) as made:
        made.up()
        assert waf.list_web_acls(Scope="REGIONAL")["WebACLs"] == [], "off by default: it costs"

        limit["value"] = 40
        assert changed(made.up()) == {"create": 2}
        pool = made.outputs()["pool"]
        (found,) = waf.list_web_acls(Scope="REGIONAL")["WebACLs"]
        rule = waf.get_web_acl_for_resource(ResourceArn=pool)["WebACL"]["Rules"][0]
        counted = rule["Statement"]["RateBasedStatement"]
        assert (counted["Limit"], rule["Action"]) == (40, {"Block": {}})
        first, _ = counted["ScopeDownStatement"]["OrStatement"]["Statements"]
        assert first["RegexMatchStatement"]["FieldToMatch"] == {"SingleHeader": {"Name": "x-amzn-cognito-operation-name"}}
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}

        limit["value"] = 80
        assert steps(made.up()) == {"auth-web-acl": ("rules",)}
        assert waf.get_web_acl_for_resource(ResourceArn=pool)["WebACL"]["Id"] == found["Id"]
        assert changed(made.refresh()) == {}

        waf.disassociate_web_acl(ResourceArn=pool)
        assert changed(made.refresh()) == {"delete": 1}, "somebody took it off"
        assert changed(made.up()) == {"create": 1}

        limit["value"] = 0
        assert changed(made.up()) == {"delete": 2}
        assert waf.list_web_acls(Scope="REGIONAL")["WebACLs"] == []


def test_recovery_reads_a_web_acl_by_id_name_and_scope(bench: Bench, tmp_path: Path) -> None:
    limit = {"value": 40}
    with stack(bench, tmp_path, signing_in(limit)) as made:
        made.up()
        ids = {one.urn.rpartition("::")[2]: one.id for one in made.resources()}
        arn, pool = ids["auth-web-acl-association"].split(",")
        assert pool == made.outputs()["pool"]
        imported = WebAcl().read(context(bench, WebAcl()), f"{ids['auth-web-acl']}/bench-sign-in/REGIONAL", {})
        assert imported is not None
        assert (imported["id"], imported["arn"], imported["name"]) == (ids["auth-web-acl"], arn, "bench-sign-in")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"scope": "CLOUDFRONT"}, "is not one of REGIONAL"),
        ({"scope": "REGIONAL", "defaultAction": {}}, "exactly one of allow, block and count"),
        ({"scope": "REGIONAL", "customResponseBodies": []}, "no property 'customResponseBodies'"),
    ],
    ids=["scope", "action", "property"],
)
def test_what_waf_would_refuse_is_refused(bench: Bench, given: dict[str, object], reason: str) -> None:
    measured = {"cloudwatchMetricsEnabled": True, "metricName": "m", "sampledRequestsEnabled": False}
    plain = {"name": "x", "defaultAction": {"allow": {}}, "visibilityConfig": measured}
    assert reason in attempt(bench, WebAcl(), {**plain, **given})
