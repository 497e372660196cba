"""The worst kill there can be, on the whole production stack in a sandbox: every creation was under way, nothing was recorded.

What this cannot prove: that pulumi-aws reads each type by the identifier we give it. The identifiers are those of its own
documentation's import sections.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.engine import Engine
from amianai_infra.progress import Progress
from amianai_infra.sandbox.target import DOMAIN, SandboxTarget
from amianai_infra.stack import program

pytestmark = pytest.mark.sandbox
ROOT = Path(__file__).parents[2]
# Creating these again changes nothing: they adopt, or wait for, what exists.
AGAIN = {"aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", "aws:acm/certificateValidation:CertificateValidation"}
QUIET = Progress(quiet=True)


@pytest.fixture
def target(tmp_path: Path, engine_binary: Path) -> Iterator[SandboxTarget]:
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml", "__main__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    made = SandboxTarget(tmp_path, QUIET)
    made.ready()
    yield made
    made.sandbox.reset(QUIET)


def managed(deployment: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        one["urn"]: one
        for one in deployment["resources"]
        if one.get("custom") and one["type"].startswith("aws:") and not one.get("external")
    }


def lose_everything(path: Path) -> dict[str, dict[str, Any]]:
    """Rewrite the state as a kill would have left it; gives the resources as they were recorded."""
    content = json.loads(path.read_text())
    latest = content["checkpoint"]["latest"]
    lost = managed(latest)
    latest["resources"] = [one for one in latest["resources"] if one["urn"] not in lost]
    latest["pending_operations"] = [
        {"type": "creating", "resource": {key: value for key, value in one.items() if key not in ("id", "outputs")}}
        for one in lost.values()
    ]
    path.write_text(json.dumps(content))
    return lost


def unpublish(cloudfront: Any) -> dict[str, bytes]:
    """Every function as if the engine had been killed between changing and publishing it; the code that was to be published, by name."""
    wanted = {}
    for one in cloudfront.list_functions()["FunctionList"]["Items"]:
        name, settings = one["Name"], {"Name": one["Name"], "FunctionConfig": one["FunctionConfig"]}
        wanted[name] = cloudfront.get_function(Name=name, Stage="DEVELOPMENT")["FunctionCode"].read()
        cloudfront.update_function(**settings, FunctionCode=b"// another", IfMatch=tag(cloudfront, name))
        cloudfront.publish_function(Name=name, IfMatch=tag(cloudfront, name))
        cloudfront.update_function(**settings, FunctionCode=wanted[name], IfMatch=tag(cloudfront, name))
    assert wanted
    return wanted


def tag(cloudfront: Any, name: str) -> str:
    return str(cloudfront.describe_function(Name=name, Stage="DEVELOPMENT")["ETag"])


def live(cloudfront: Any, names: Iterable[str]) -> dict[str, bytes]:
    """What runs at the edge."""
    return {name: cloudfront.get_function(Name=name, Stage="LIVE")["FunctionCode"].read() for name in names}


def test_everything_in_flight_is_found_again(target: SandboxTarget) -> None:
    engine = Engine(target.engine(), program, QUIET, clients=target.client)
    engine.configure(
        {"amianai-infra:domainName": DOMAIN, "aws:region": target.region, "amianai-infra:databaseFinalSnapshotSuffix": "a1b2c3d4"}
    )
    made = engine.up()
    assert made.counts["create"] > 50
    state = target.local / "state" / ".pulumi" / "stacks" / "amianai-infra" / "prod.json"
    published = unpublish(target.client("cloudfront"))
    lost = lose_everything(state)

    with engine.copy():
        assert live(target.client("cloudfront"), published) != published, "a rehearsal changes nothing"
    done = engine.recover()
    assert live(target.client("cloudfront"), published) == published, "what was not published yet is"
    again = {urn for urn, one in lost.items() if one["type"] in AGAIN}
    assert sum("adopted" in line for line in done) == len(lost) - len(again), "\n".join(done)
    found = managed(json.loads(state.read_text())["checkpoint"]["latest"])
    assert {urn: one["id"] for urn, one in found.items()} == {urn: one["id"] for urn, one in lost.items() if urn not in again}

    converged = engine.up()
    assert {step.urn for step in converged.steps} == again
    assert len(target.client("ec2").describe_vpcs(Filters=[{"Name": "tag-key", "Values": ["amianai:urn"]}])["Vpcs"]) == 1
    assert len(target.client("route53").list_hosted_zones()["HostedZones"]) == 1
    assert len(target.client("cognito-idp").list_user_pools(MaxResults=60)["UserPools"]) == 1

    # Deliveries that come late make log groups again which `destroy` removed: with the stack's names, and without its tags.
    groups = {one.urn: one.id for one in engine.resources() if one.type == "aws:cloudwatch/logGroup:LogGroup"}
    assert len(groups) > 2
    logs = target.client("logs")
    for name in groups.values():
        (arn,) = [
            one["logGroupArn"] for one in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"] if one["logGroupName"] == name
        ]
        logs.untag_resource(resourceArn=arn, tagKeys=list(logs.list_tags_for_resource(resourceArn=arn)["tags"]))
    engine.forget(list(groups))
    assert not groups.keys() & {one.urn for one in engine.resources()}
    engine.up()
    assert {one.urn: one.id for one in engine.resources() if one.urn in groups} == groups, "adopted, and nothing in their place"
    assert not engine.up().changed
