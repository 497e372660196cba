"""Access and administration on the whole stack, as a person types them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cloud import fire
from tests.project import Deployed, Project

pytestmark = pytest.mark.sandbox

ADDRESS = "203.0.113.7"


class Cloud:
    """An outside client in the place of a target."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def client(self, service: str) -> Any:
        return self._project.aws(service)


def doors(deployed: Deployed) -> dict[str, Any]:
    """What opening touches, as an outsider sees it."""
    outputs, ec2 = deployed.status, deployed.project.aws("ec2")
    group = [{"Name": "group-id", "Values": [outputs["database"]["security_group_id"]]}]
    tables = ec2.describe_route_tables(RouteTableIds=_network(deployed)["private_route_table_ids"])["RouteTables"]
    (instance,) = deployed.project.aws("rds").describe_db_instances()["DBInstances"]
    schedules = deployed.project.aws("scheduler").list_schedules(GroupName="eeyore-database-access")["Schedules"]
    return {
        "rules": sorted(str(rule.get("CidrIpv4")) for rule in ec2.describe_security_group_rules(Filters=group)["SecurityGroupRules"]),
        "routes": sorted((table["RouteTableId"], str(route.get("DestinationCidrBlock"))) for table in tables for route in table["Routes"]),
        "public": instance["PubliclyAccessible"],
        "schedules": len(schedules),
    }


def _network(deployed: Deployed) -> dict[str, Any]:
    parameter = deployed.project.aws("ssm").get_parameter(Name="/eeyore/stack")["Parameter"]["Value"]
    return dict(json.loads(parameter)["network"])


def test_an_open_database_survives_up_is_shown_and_closes(deployed: Deployed) -> None:
    project, before = deployed.project, doors(deployed)
    project.run("db", "open", "--for", "30m", "--address", ADDRESS, "--reason", "a test")
    opened = doors(deployed)
    assert f"{ADDRESS}/32" in opened["rules"]
    assert opened["public"] is True
    said = project.said("up")
    assert "no changes" in said
    assert f"the database is open to {ADDRESS}" in said
    assert doors(deployed) == opened
    part = project.json("status")["access"]
    assert (part["ok"], part["state"]) == (True, "open to root")
    project.run("db", "close")
    assert doors(deployed) == before


def test_up_that_looks_first_ends_it_early_and_leaves_nothing_open(deployed: Deployed) -> None:
    project, before = deployed.project, doors(deployed)
    project.run("db", "open", "--for", "30m", "--address", ADDRESS)
    project.run("up", "--refresh")
    assert doors(deployed)["public"] is False
    assert fire(Cloud(project), "eeyore-database-access", datetime.now(UTC) + timedelta(minutes=31)) == []
    assert doors(deployed) == before


def test_administration_of_the_whole_stack(deployed: Deployed) -> None:
    project, confirmed = deployed.project, ("--confirm", "example.test", "--reason", "a test")
    project.run("db", "migrate")
    project.run("db", "admin", "truncate", "messages", *confirmed, code=3)
    project.run("db", "admin", "truncate", "messages", *confirmed, env={"ENABLE_DB_ADMIN": "true"})
    newest = project.json("db", "admin", "audit", "-n", "2")
    assert [(one["action"], one["phase"], one["outcome"]) for one in newest] == [
        ("truncate", "ended", "done"),
        ("truncate", "begun", "begun"),
    ]
