"""Tags on everything."""

from __future__ import annotations

import pulumi
from pulumi_aws.ec2.route import Route
from pulumi_aws.ec2.vpc import Vpc

from amianai_infra.components.network import Network
from amianai_infra.components.tags import StackTags
from amianai_infra.naming import TAG_URN, urn_tag
from tests.components.recorder import ACCOUNT, Record

PREFIX = "urn:pulumi:prod::amianai-infra::"


def test_a_resource_carries_the_stacks_tags_and_its_urn(record: Record) -> None:
    found = record(lambda: Vpc("alone", cidr_block="10.0.0.0/16"), StackTags({"Project": "x"}))
    assert found.one("Vpc").inputs["tags"] == {"Project": "x", TAG_URN: f"{PREFIX}aws:ec2/vpc:Vpc::alone"}


def test_the_urn_names_the_types_of_its_parents(record: Record) -> None:
    def build() -> None:
        outer = pulumi.ComponentResource("amianai:test:Outer", "outer")
        inner = pulumi.ComponentResource("amianai:test:Inner", "inner", None, pulumi.ResourceOptions(parent=outer))
        Vpc("deep", cidr_block="10.0.0.0/16", opts=pulumi.ResourceOptions(parent=inner))

    tag = record(build, StackTags({})).one("Vpc").inputs["tags"][TAG_URN]
    assert tag == urn_tag(f"{PREFIX}amianai:test:Outer$amianai:test:Inner$aws:ec2/vpc:Vpc::deep")


def test_its_own_tags_win_and_outputs_are_awaited(record: Record) -> None:
    def build() -> None:
        Vpc("own", cidr_block="10.0.0.0/16", tags={"Name": "mine", "Project": "own"})
        Vpc("later", cidr_block="10.0.0.0/16", tags=pulumi.Output.from_input({"Name": "late"}))

    found = record(build, StackTags({"Project": "x"}))
    own, later = found.one("Vpc", "own").inputs["tags"], found.one("Vpc", "later").inputs["tags"]
    assert (own["Name"], own["Project"]) == ("mine", "own")
    assert (later["Name"], later["Project"]) == ("late", "x")
    assert later[TAG_URN] == f"{PREFIX}aws:ec2/vpc:Vpc::later"


def test_what_takes_no_tags_gets_none(record: Record) -> None:
    found = record(lambda: Route("route", route_table_id="rtb-1"), StackTags({"Project": "x"}))
    assert "tags" not in found.one("Route").inputs


def test_no_two_resources_share_a_urn(record: Record) -> None:
    def build() -> None:
        Network("one", {"prefix": "one", "region": "us-east-1", "account": ACCOUNT})
        Network("two", {"prefix": "two", "region": "us-east-1", "account": ACCOUNT})

    found = record(build, StackTags({}))
    urns = [one.inputs["tags"][TAG_URN] for one in found.resources if "tags" in one.inputs]
    assert len(urns) == len(set(urns)) > 20
