"""Types that the emulator cannot stand for: refused in preview, with the setting that asks for them."""

from __future__ import annotations

import pytest

from amianai_infra.sandbox.provider.rds import BackupCopy, DatabaseProxy, ProxyTarget, ProxyTargetGroup
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
