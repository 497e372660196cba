"""What is said about backups: judged from descriptions alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.database import backups
from amianai_infra.database.backups import Automated, Backups, Snapshot, Wanted, Window

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WANTED = Wanted(7, "03:00-04:00", deletion_protection=True)
INSTANCE: dict[str, Any] = {
    "DBInstanceIdentifier": "eeyore-postgres",
    "DbiResourceId": "db-1",
    "DBInstanceStatus": "available",
    "BackupRetentionPeriod": 7,
    "PreferredBackupWindow": "03:00-04:00",
    "StorageEncrypted": True,
    "DeletionProtection": True,
    "InstanceCreateTime": NOW - timedelta(days=90),
}
GOOD = Backups(
    "eeyore-postgres",
    INSTANCE,
    automated=[Automated("us-east-1", "active", Window(NOW - timedelta(days=7), NOW - timedelta(minutes=4)), 7, True, "arn", "db-1")],
    snapshots=[
        Snapshot("rds:daily", "automated", NOW - timedelta(hours=8), "available", 20, True, "16.4"),
        Snapshot("by-hand", "manual", NOW - timedelta(days=40), "available", 20, True, "16.4", {backups.TAG_NOTE: "before the import"}),
    ],
)


def problems(found: Backups, wanted: Wanted = WANTED) -> list[str]:
    return [f"{one.what}: {one.fact}" for one in backups.verify(found, wanted, NOW) if one.level == "problem"]


def test_good_backups_have_no_problem() -> None:
    findings = backups.verify(GOOD, WANTED, NOW)
    assert backups.healthy(findings)
    assert [one.what for one in findings] == [
        "point in time",
        "retention",
        "backup window",
        "encryption",
        "deletion protection",
        "snapshots",
        "another region",
    ]
    assert "one region" in findings[-1].fact
    assert "✓ retention" in "\n".join(backups.report(findings))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"BackupRetentionPeriod": 1}, "retention: 1 days, but the settings say 7 days"),
        ({"PreferredBackupWindow": "05:00-06:00"}, "backup window: 05:00-06:00 UTC, but the settings say 03:00-04:00"),
        ({"StorageEncrypted": False}, "encryption: NOT encrypted"),
        ({"DeletionProtection": False}, "deletion protection: OFF, although the settings say on"),
    ],
)
def test_an_instance_that_is_not_as_the_settings_say(change: dict[str, Any], expected: str) -> None:
    assert problems(replace(GOOD, instance={**INSTANCE, **change})) == [expected]


def test_deletion_protection_that_is_off_on_purpose_is_only_mentioned() -> None:
    found = replace(GOOD, instance={**INSTANCE, "DeletionProtection": False})
    assert problems(found, replace(WANTED, deletion_protection=False)) == []


def test_a_window_that_fell_behind_or_is_missing() -> None:
    late = replace(GOOD.automated[0], window=Window(NOW - timedelta(days=7), NOW - timedelta(hours=3)))
    assert problems(replace(GOOD, automated=[late]))[0].startswith("point in time: 2026-02-22 12:00:00 UTC to 2026-03-01 09:00:00 UTC")
    assert problems(replace(GOOD, automated=[])) == ["point in time: there is no time to restore to"]
    other = replace(GOOD.automated[0], resource_id="db-0", status="retained")
    assert problems(replace(GOOD, automated=[other])) == ["point in time: there is no time to restore to"], "of an instance that is gone"


def test_snapshots_that_are_old_missing_or_open() -> None:
    old = replace(GOOD.snapshots[0], created=NOW - timedelta(hours=30))
    assert problems(replace(GOOD, snapshots=[old]))[0].startswith("snapshots: newest automated one 1 d ago")
    assert problems(replace(GOOD, snapshots=[GOOD.snapshots[1]])) == ["snapshots: there is no automated snapshot"]
    young = {**INSTANCE, "InstanceCreateTime": NOW - timedelta(hours=2)}
    assert problems(replace(GOOD, snapshots=[], instance=young)) == []
    assert problems(replace(GOOD, snapshots=[replace(one, encrypted=False) for one in GOOD.snapshots])) == [
        "snapshots: not encrypted: rds:daily, by-hand"
    ]


def test_the_copy_in_another_region() -> None:
    wanted = replace(WANTED, region="us-west-2")
    assert problems(GOOD, wanted) == ["copy in us-west-2: there is none"]
    copy = Automated("us-west-2", "replicating", Window(NOW - timedelta(days=7), NOW - timedelta(minutes=50)), 7, True, "arn", "db-1")
    assert problems(replace(GOOD, elsewhere=[copy]), wanted) == []
    late = replace(copy, window=Window(None, NOW - timedelta(hours=5)), encrypted=False)
    assert [text.partition(":")[0] for text in problems(replace(GOOD, elsewhere=[late]), wanted)] == ["copy in us-west-2"] * 2


def test_what_restores_left_behind() -> None:
    def beside(name: str, **tags: str) -> dict[str, Any]:
        return {"DBInstanceIdentifier": name, "DBInstanceStatus": "available", "TagList": [{"Key": k, "Value": v} for k, v in tags.items()]}

    kept = beside("eeyore-postgres-old-1", **{backups.TAG_KEPT_UNTIL: "2026-03-05T12:00:00"})
    over = beside("eeyore-postgres-old-2", **{backups.TAG_KEPT_UNTIL: "2026-02-05T12:00:00"})
    copy = beside("eeyore-postgres-copy-3", **{backups.TAG_RESTORE_OF: "eeyore-postgres"})
    assert problems(replace(GOOD, beside=[kept])) == []
    assert problems(replace(GOOD, beside=[kept, over, copy])) == [
        "replaced instance: eeyore-postgres-old-2 was kept until 2026-02-05",
        "unfinished restore: eeyore-postgres-copy-3 (available)",
    ]


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("eeyore-postgres-old-1", {backups.TAG_REPLACED_BY: "eeyore-postgres"}, True),
        ("piglet-postgres-old-1", {backups.TAG_REPLACED_BY: "piglet-postgres"}, False),
        ("eeyore-postgres-old-1", {backups.TAG_KEPT_UNTIL: "2026-03-05T12:00:00"}, False),
        ("eeyore-postgres", {backups.TAG_REPLACED_BY: "eeyore-postgres"}, False),
    ],
    ids=["ours", "of another stack", "of nobody", "not renamed yet"],
)
def test_only_what_a_restore_of_this_instance_put_aside_is_its_own(name: str, tags: dict[str, str], expected: bool) -> None:
    one = {"DBInstanceIdentifier": name, "TagList": [{"Key": key, "Value": value} for key, value in tags.items()]}
    assert backups.replaced(one, "eeyore-postgres") is expected


def test_where_there_are_no_automated_backups_none_are_advised() -> None:
    there = replace(WANTED, automated=False)
    findings = [
        one for one in backups.verify(replace(GOOD, automated=[], snapshots=GOOD.snapshots[1:]), there, NOW) if one.level == "problem"
    ]
    assert [(one.what, one.fix) for one in findings] == [("point in time", ""), ("snapshots", "")]
    (lost,) = backups.verify(replace(GOOD, instance=None), there, NOW)
    assert "up --refresh" in lost.fix
    assert "db restore" not in lost.fix


def test_a_lost_instance() -> None:
    assert problems(replace(GOOD, instance=None)) == ["instance: eeyore-postgres does not exist"]


def test_the_list() -> None:
    text = "\n".join(backups.listing(GOOD, NOW))
    assert "any time from 2026-02-22 12:00:00 UTC to 2026-03-01 11:56:00 UTC" in text
    assert "before the import" in text
    noted = replace(GOOD.snapshots[0], tags={backups.TAG_NOTE: "a long reason " * 20})
    assert "  8 h  " in text
    wide = backups.listing(replace(GOOD, snapshots=[noted, *GOOD.snapshots[1:]]), NOW)
    assert max(len(line) for line in wide) <= 100
    assert " ".join(line.lstrip("| ") for line in wide).count("a long reason") == 20
    empty = backups.listing(replace(GOOD, snapshots=[], automated=[]), NOW)
    assert empty[1:] == ["  no point-in-time recovery", "  no snapshots"]
    assert GOOD.as_dict(NOW)["snapshots"][0]["age_seconds"] == 8 * 3600


def test_names_are_unique_and_valid() -> None:
    names = {backups.snapshot_name("eeyore-postgres", NOW) for _ in range(50)}
    assert len(names) > 45
    assert all(name.startswith("eeyore-postgres-20260301-120000-") and "--" not in name for name in names)


@given(st.text(max_size=400))
def test_any_text_becomes_a_tag_value(text: str) -> None:
    found = backups.tag_text(text)
    assert len(found) <= 256
    assert all(character.isascii() and (character.isalnum() or character in "_ .:/=+-@") for character in found)
