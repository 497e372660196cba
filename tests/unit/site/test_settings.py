"""The memory of the settings: the same inputs give the same answer, any other input asks again."""

from __future__ import annotations

from pathlib import Path

import pytest

from amianai_infra.config import Settings, SiteSettings
from amianai_infra.errors import ConfigurationError
from amianai_infra.site.settings import ReleaseSettings, fingerprint, folders, remember, remembered


def chosen(root: Path, directory: str, output: str = "out") -> tuple[Path, Path]:
    site = SiteSettings(directory=directory, output=output)
    return folders(root, ReleaseSettings.of(Settings(domain_name="example.com", site=site)))


def test_the_site_may_be_anywhere_in_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    root = tmp_path / "infra"
    assert chosen(root, "../web") == (tmp_path / "web", tmp_path / "web" / "out")
    assert chosen(root, "../apps/web", "../../dist/web")[1] == tmp_path / "dist" / "web"
    assert chosen(root, ".", ".") == (root, root)


@pytest.mark.parametrize(("directory", "output"), [("../../web", "out"), ("../web", "../../out"), ("../..", ".")])
def test_and_nowhere_else(tmp_path: Path, directory: str, output: str) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(ConfigurationError, match="leads out of the repository"):
        chosen(tmp_path / "infra", directory, output)


def test_without_a_repository_the_project_is_all_there_is(tmp_path: Path) -> None:
    assert chosen(tmp_path, "web")[0] == tmp_path / "web"
    with pytest.raises(ConfigurationError, match=r"site\.directory = \.\./web"):
        chosen(tmp_path / "infra", "../web")


def test_an_absolute_folder_has_its_own_repository(tmp_path: Path) -> None:
    assert chosen(tmp_path / "infra", str(tmp_path / "web"))[0] == tmp_path / "web"
    with pytest.raises(ConfigurationError, match=r"site\.output"):
        chosen(tmp_path / "infra", str(tmp_path / "web"), "../out")


def test_only_the_example_declares_what_it_is_built_from(tmp_path: Path) -> None:
    assert ReleaseSettings.of(Settings(domain_name="example.com")).inputs == ["."]
    assert ReleaseSettings.of(Settings(domain_name="example.com", site=SiteSettings(directory="web"))).inputs == []
    assert ReleaseSettings.of(Settings(domain_name="example.com", site=SiteSettings(inputs=["src"]))).inputs == ["src"]


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
