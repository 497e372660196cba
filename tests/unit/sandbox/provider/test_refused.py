"""Types that the emulator cannot stand for: refused in preview, with the setting that asks for them."""

from __future__ import annotations

import pytest

from amianai_infra.sandbox.provider.rds import BackupCopy, DatabaseProxy, Instance, ProxyTarget, ProxyTargetGroup
from amianai_infra.sandbox.provider.resource import Resource


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        (BackupCopy, "database.backup_region"),
        (DatabaseProxy, "database.proxy"),
        (ProxyTargetGroup, "database.proxy"),
        (ProxyTarget, "database.proxy"),
    ],
)
def test_the_reason_names_the_setting(kind: type[Resource], setting: str) -> None:
    (problem,) = kind().check({})
    assert setting in problem.reason
    assert problem.path in kind().table


INSTANCE = {
    "engine": "postgres",
    "username": "owner",
    "allocatedStorage": 20,
    "manageMasterUserPassword": True,
    "monitoringInterval": 0,
    "performanceInsightsEnabled": False,
}


def test_another_major_version_than_the_servers_is_refused_in_preview() -> None:
    assert Instance().check({**INSTANCE, "engineVersion": "16.14"}) == Instance().check(INSTANCE) == []
    (problem,) = Instance().check({**INSTANCE, "engineVersion": "17"})
    assert problem.path == "engineVersion"
    assert "database.engine_version" in problem.reason


@pytest.mark.parametrize("name", ["db.t9.huge", "db.t3.4xlarge", "db.m7g.micro", "db.q5.large", "db.unheard.of", "db.r5.large.tpc1.mem2x"])
def test_an_instance_class_that_rds_cannot_have_is_refused_in_preview(name: str) -> None:
    (problem,) = Instance().check({**INSTANCE, "instanceClass": name})
    assert problem.path == "instanceClass"
    assert name in problem.reason


@pytest.mark.parametrize(
    "name", ["db.t3.micro", "db.t4g.2xlarge", "db.m6i.32xlarge", "db.r8gd.48xlarge", "db.x2iedn.xlarge", "db.m5d.large"]
)
def test_the_classes_of_postgresql_are_taken(name: str) -> None:
    assert Instance().check({**INSTANCE, "instanceClass": name}) == []
