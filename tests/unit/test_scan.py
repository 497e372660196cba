"""What the scanners' script needs before it runs a scanner. Whether they find what the page says, only the script itself can tell."""

from __future__ import annotations

from pathlib import Path

from amianai_infra.sandbox.provider.registry import resources
from benchmarks.scan import TYPES, Finding, covers, listed, references, terraform

SCRIPT = Path(__file__).parents[2] / "scripts" / "scan.sh"
PAGE = Path(__file__).parents[2] / "docs" / "security-findings.md"


def test_every_type_of_the_stack_has_a_counterpart() -> None:
    assert {f"aws:{one}" for one in TYPES} == set(resources())


def test_a_resource_in_terraforms_spelling() -> None:
    declared = {
        "maxSessionDuration": 3600,
        "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}],
        "tags": {"amianai:stack": "x", "managedBy": "y"},
    }
    assert terraform(declared, "aws_x") == {
        "max_session_duration": 3600,
        "rule": [{"apply_server_side_encryption_by_default": [{"sse_algorithm": "AES256"}]}],
        "tags": {"amianai:stack": "x", "managedBy": "y"},
    }


def test_what_names_another_resource_is_a_reference() -> None:
    known = {"site-bucket-id": "aws_s3_bucket.site-bucket.id"}
    found = references({"bucket": "site-bucket-id", "inner": [{"buckets": ["site-bucket-id"]}], "other": "x"}, known)
    reference = {"references": ["aws_s3_bucket.site-bucket.id", "aws_s3_bucket.site-bucket"]}
    assert found == {"bucket": reference, "inner": [{"buckets": reference}], "other": {"constant_value": "x"}}


def test_the_page_gives_a_reason_for_each_and_names_the_versions_that_the_script_installs() -> None:
    rows = listed()
    assert len(rows) > 60
    assert all(len(why) > 10 for why in rows.values())
    text = PAGE.read_text(encoding="utf-8")
    pinned = dict(part.split("=") for line in SCRIPT.read_text().splitlines() if line.startswith("CHECKOV=") for part in line.split())
    assert set(pinned) == {"CHECKOV", "PARLIAMENT", "CLOUDSPLAINING", "PROWLER"}
    for tool, version in pinned.items():
        assert f"| {tool.lower()} | {version} |" in text.lower()


def test_a_row_speaks_of_what_it_names_and_of_nothing_else() -> None:
    row = Finding("checkov", "CKV_AWS_18", "aws_s3_bucket.site-*")
    assert covers(row, Finding("checkov", "CKV_AWS_18", "aws_s3_bucket.site-logs"))
    for other in (
        ("checkov", "CKV_AWS_18", "aws_s3_bucket.other"),
        ("checkov", "CKV_AWS_19", row.where),
        ("prowler", row.check, row.where),
    ):
        assert not covers(row, Finding(*other))
