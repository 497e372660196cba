"""A network whose replacement ended half-way: VPC replaced, the database's subnets gone, RDS refusing the new ones.

What this cannot prove: how far AWS itself lets such a replacement go. There the subnets that the database uses cannot be deleted, which
ends it earlier; what counts again is the same.
"""

from __future__ import annotations

from typing import Any

import pytest

from amianai_infra.cli.options import App
from amianai_infra.errors import EngineError
from amianai_infra.operations import change
from tests.project import Deployed

pytestmark = [pytest.mark.sandbox, pytest.mark.soak]


def networks(deployed: Deployed) -> list[dict[str, Any]]:
    return [vpc for vpc in deployed.project.aws("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]


def test_a_half_replaced_network_is_brought_back_by_up(deployed: Deployed) -> None:
    project = deployed.project
    (before,) = networks(deployed)
    app = App(sandbox=True, environ=project.environment({"AMIANAI_ROOT": str(project.root)}))
    with change.variant(app.target.engine()) as other:  # what `up` did before it refused this
        engine = app.engine(other)
        engine.configure({"amianai-infra:networkCidr": "10.1.0.0/16"})
        with pytest.raises(EngineError, match="InvalidSubnet"):
            engine.up()
    assert sorted(vpc["CidrBlock"] for vpc in networks(deployed)) == ["10.0.0.0/16", "10.1.0.0/16"]

    refused = project.run("--set", "network.cidr=10.1.0.0/16", "up", "--yes", code=3)
    assert "network.cidr: 10.0.0.0/16 -> 10.1.0.0/16" in refused.stderr
    assert "aws:ec2/vpc:Vpc" in {step["type"] for step in project.json("preview")["steps"] if step["op"] == "replace"}

    unconfirmed = project.run("up", "--yes", code=3)
    assert "that needs the domain as confirmation" in unconfirmed.stderr
    project.run("up", "--confirm", "example.test")
    (after,) = networks(deployed)
    assert after["VpcId"] == before["VpcId"]
    (database,) = project.aws("rds").describe_db_instances()["DBInstances"]
    group = database["DBSubnetGroup"]
    there = {subnet["SubnetId"] for subnet in project.aws("ec2").describe_subnets()["Subnets"]}
    assert group["VpcId"] == before["VpcId"]
    assert {subnet["SubnetIdentifier"] for subnet in group["Subnets"]} <= there
    assert not project.json("preview")["changed"]
