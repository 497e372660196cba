"""The memory of the settings: the same inputs give the same answer, any other input asks again."""

from __future__ import annotations

from pathlib import Path

from amianai_infra.config import Settings
from amianai_infra.site.settings import ReleaseSettings, fingerprint, remember, remembered


def test_every_input_counts(tmp_path: Path) -> None:
    stack = tmp_path / "Pulumi.prod.yaml"
    base = fingerprint({}, {"DOMAIN_NAME": "example.com", "HOME": "/root"}, stack)
    assert base == fingerprint({}, {"DOMAIN_NAME": "example.com", "HOME": "/home/me"}, stack)
    assert base != fingerprint({"site.output": "dist"}, {"DOMAIN_NAME": "example.com"}, stack)
    assert base != fingerprint({}, {"DOMAIN_NAME": "example.org"}, stack)
    assert base != fingerprint({}, {"DOMAIN_NAME": "example.com", "AMIANAI_SITE_OUTPUT": "dist"}, stack)
    stack.write_text("config: {}")
    assert base != fingerprint({}, {"DOMAIN_NAME": "example.com"}, stack)


def test_what_is_remembered_is_what_was_resolved(tmp_path: Path) -> None:
    settings = ReleaseSettings.of(Settings(domain_name="example.com"))
    file = tmp_path / "deep" / "memory.json"
    assert remembered(file, "mark") is None
    remember(file, "mark", settings)
    assert remembered(file, "mark") == settings
    assert remembered(file, "other") is None
    file.write_text("junk")
    assert remembered(file, "mark") is None


def test_a_disk_that_takes_no_writes_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    remember(tmp_path / "file" / "memory.json", "mark", ReleaseSettings.of(Settings(domain_name="example.com")))
