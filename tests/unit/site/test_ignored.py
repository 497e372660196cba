"""What lies in a folder of plain HTML and is no part of the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from amianai_infra.errors import ConfigurationError
from amianai_infra.site.ignored import IGNORE_FILE, Ignored
from amianai_infra.site.tree import scan

FILES = (
    *("index.html", ".well-known/security.txt", "docs/README.html", "LICENSE", "CNAME", "img/logo.svg", "changelog.html"),
    *(".git/config", ".gitignore", ".env", "README.md", "package.json", "node_modules/a/b.js", "drafts/one.html", "docs/README.md"),
)


def fill(folder: Path, *more: str) -> Path:
    for name in (*FILES, *more):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def published(folder: Path, output: Path) -> tuple[set[str], list[str]]:
    ignored = Ignored.of(folder, output)
    return {file.path for file in scan(output, ignored)}, sorted(ignored.left_out)


def test_a_folder_that_holds_its_own_sources_publishes_its_pages_alone(tmp_path: Path) -> None:
    site = fill(tmp_path)
    files, left_out = published(site, site)
    assert files == {*FILES[:7], "drafts/one.html"}
    assert left_out == [".env", ".git/", ".gitignore", "README.md", "docs/README.md", "node_modules/", "package.json"]


def test_an_ignore_file_says_more_and_otherwise(tmp_path: Path) -> None:
    site = fill(tmp_path)
    (site / IGNORE_FILE).write_text("# not yet\n/drafts/\n!/README.md\n")
    files, left_out = published(site, site)
    assert files == {*FILES[:7], "README.md"}
    assert {"drafts/", IGNORE_FILE} <= set(left_out)


def test_what_a_build_wrote_is_the_site_unless_the_ignore_file_says_otherwise(tmp_path: Path) -> None:
    out = fill(tmp_path / "out", "app.js.map")
    assert published(tmp_path, out) == ({*FILES, "app.js.map"}, [])
    (tmp_path / IGNORE_FILE).write_text("*.map\n")
    assert published(tmp_path, out) == (set(FILES), ["app.js.map"])


def test_what_cannot_be_published_is_no_problem_when_it_is_left_out(tmp_path: Path) -> None:
    site = fill(tmp_path)
    (site / ".git" / "hooks").symlink_to("/nowhere")
    (site / ".venv").symlink_to("/usr")
    assert published(site, site)[0] == {*FILES[:7], "drafts/one.html"}


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    ignored = Ignored.of(tmp_path, tmp_path)
    for number in range(12):
        assert ignored(f".hidden-{number:02}")
    (line,) = ignored.told()
    assert line.startswith("No part of the site: .hidden-00, ")
    assert ", … (12 in all; .amianaiignore" in line
    assert Ignored.of(tmp_path, tmp_path / "out").told() == []


@pytest.mark.parametrize("content", [b"\xff\xfe", b"!\n"])
def test_an_ignore_file_that_cannot_be_read_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / IGNORE_FILE).write_bytes(content)
    with pytest.raises(ConfigurationError, match="ignore file"):
        Ignored.of(tmp_path, tmp_path)
