"""`preview` writes nothing anywhere, and a shell that is led to the sandbox is not taken for an AWS account.

What this cannot prove: that the bucket of a state on AWS stays as it is. The same copy is previewed there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.project import Deployed, Project, copy_project, trace

pytestmark = pytest.mark.sandbox
# What the services themselves keep writing, and the engine's own log.
ALIVE = (".sandbox/emulator", ".sandbox/postgres", ".sandbox/logs", ".sandbox/run", ".sandbox/pulumi/logs")


def preview(project: Project, *words: str) -> Any:
    """What a preview gives, having seen that it wrote nothing."""
    before = trace(project.root, *ALIVE)
    given = project.json("preview", *words)
    assert trace(project.root, *ALIVE) == before
    return given


@pytest.mark.soak
def test_before_the_first_setup(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "checkout")
    try:
        project.run("sandbox", "up")
        (project.root / ".sandbox/pulumi/logs").mkdir()
        assert preview(project)["counts"]["create"] > 50
        assert preview(project, "--refresh", "--set", "database.storage_gib=30")["drift"] == []
        assert not list((project.root / ".sandbox/state").rglob("*")), "not even an empty stack"
    finally:
        project.run("sandbox", "reset", "--confirm", "sandbox")


def test_after_it(deployed: Deployed) -> None:
    assert not preview(deployed.project)["changed"]
    (changed,) = preview(deployed.project, "--set", "database.storage_gib=30")["steps"]
    assert (changed["op"], changed["diffs"]) == ("update", ["allocatedStorage"])
    assert not preview(deployed.project)["changed"], "nothing of it stayed"


@pytest.mark.soak
def test_what_was_changed_outside_is_told_and_left_alone(deployed: Deployed) -> None:
    route53 = deployed.project.aws("route53")
    zone = deployed.status["dns"]["facts"]["zone"]
    (caa,) = [one for one in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"] if one["Type"] == "CAA"]
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": caa}]})
    found = preview(deployed.project, "--refresh")
    assert [(one["found"], one["name"]) for one in found["drift"]] == [("gone", "dns-caa")]
    assert [(one["op"], one["name"]) for one in found["steps"]] == [("create", "dns-caa")]
    said = deployed.project.said("preview", "--refresh")
    assert "found gone route53 record dns-caa" in said
    assert "deleted" not in said
    deployed.project.run("up", "--refresh", "--yes")
    assert preview(deployed.project, "--refresh")["drift"] == []


def test_a_shell_that_is_led_here_is_not_taken_for_aws(deployed: Deployed) -> None:
    project = deployed.project
    led = {**project.environment(), **project.variables(), "DOMAIN_NAME": "example.com"}
    before = trace(project.root, *ALIVE)
    for words in ("preview", "preview --refresh", "up --yes", "setup --yes", "status", "state locks", "deploy"):
        done = warm.run([project.command()[0], *words.split()], project.root, led)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert "--sandbox" in done.stderr
        assert "amianai sandbox env --unset" in done.stderr
    assert trace(project.root, *ALIVE) == before


def test_in_such_a_shell_the_sandbox_answers_when_it_is_named(deployed: Deployed) -> None:
    led = {**deployed.project.environment(), **deployed.project.variables()}
    amianai = deployed.project.command()[0]
    for words in (("--sandbox", "preview", "--json"), ("--json", "sandbox", "status")):
        assert json.loads(warm.run([amianai, *words], deployed.project.root, led).stdout)
