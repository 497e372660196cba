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


def test_another_major_version_than_the_servers_is_refused_in_preview() -> None:
    inputs = {
        "engine": "postgres",
        "username": "owner",
        "allocatedStorage": 20,
        "manageMasterUserPassword": True,
        "monitoringInterval": 0,
        "performanceInsightsEnabled": False,
    }
    assert Instance().check({**inputs, "engineVersion": "16.14"}) == Instance().check(inputs) == []
    (problem,) = Instance().check({**inputs, "engineVersion": "17"})
    assert problem.path == "engineVersion"
    assert "database.engine_version" in problem.reason
