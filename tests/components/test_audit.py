"""The audit log group."""

from __future__ import annotations

from amianai_infra.components.audit import AuditLog
from tests.components.recorder import Record


def test_it_is_kept_for_years_and_protected(record: Record) -> None:
    found = record(lambda: AuditLog("audit", {"prefix": "eeyore"}))
    assert found.counts() == {"LogGroup": 1}
    group = found.one("LogGroup").inputs
    assert group["name"] == "/eeyore/database/audit"
    assert group["retentionInDays"] == 1096
    assert group["deletionProtectionEnabled"] is True
    options = found.options["audit-log"]
    assert options["protect"] is True
    assert options["import_"] is None


def test_one_that_destroy_left_is_adopted(record: Record) -> None:
    found = record(lambda: AuditLog("audit", {"prefix": "eeyore", "log_group": "/eeyore/database/audit", "days": 30}))
    assert found.options["audit-log"]["import_"] == "/eeyore/database/audit"
    assert found.one("LogGroup").inputs["retentionInDays"] == 30


def test_protection_can_be_lifted(record: Record) -> None:
    found = record(lambda: AuditLog("audit", {"prefix": "eeyore", "deletion_protection": False}))
    assert found.one("LogGroup").inputs["deletionProtectionEnabled"] is False
    assert found.options["audit-log"]["protect"] is False


def test_two_coexist(record: Record) -> None:
    def both() -> None:
        AuditLog("one", {"prefix": "eeyore"})
        AuditLog("two", {"prefix": "tigger"})

    assert {one.inputs["name"] for one in record(both).of("LogGroup")} == {"/eeyore/database/audit", "/tigger/database/audit"}
