"""What a build is called, and what its declared inputs amount to."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.errors import BuildError
from amianai_infra.site.inputs import Sources, sources


def identify(folder: Path, *declared: str, how: str = "make", **passed: str) -> Sources:
    return sources(folder, folder / "out", declared, {"NEXT_PUBLIC_A": "a"}, passed, [how])


def names(folder: Path, *declared: str) -> list[str]:
    return [os.path.relpath(path, folder) for path in identify(folder, *declared).files]


def fill(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


FILES = ("a.js", "coverage/b", "node_modules/c", "out/d", ".svelte-kit/e", ".npmrc", "x.tsbuildinfo")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def test_the_sources_are_what_git_would_not_ignore(repository: Path) -> None:
    web = fill(repository / "web", *FILES, "dist/f")
    (repository / ".gitignore").write_text(".svelte-kit\ndist\n")
    assert names(web) == [".npmrc", "a.js", "coverage/b"]


def test_without_git_hidden_folders_are_no_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert names(fill(tmp_path, *FILES)) == [".npmrc", "a.js", "coverage/b"]


def test_a_folder_that_the_repository_ignores_has_sources_all_the_same(repository: Path) -> None:
    (repository / ".gitignore").write_text("web\n")
    assert names(fill(repository / "web", "a.js")) == ["a.js"]


def test_what_is_declared_counts_though_git_ignores_it(repository: Path) -> None:
    web = fill(repository / "web", "src/a.ts", "src/deep/b.ts", "src/c.md", "data/d", "unnamed")
    fill(repository, "packages/ui/e")
    (repository / ".gitignore").write_text("data\n")
    assert names(web, "src/**/*.ts", "data", "../packages/ui") == ["../packages/ui/e", "data/d", "src/a.ts", "src/deep/b.ts"]


def test_links_to_folders_are_followed_and_never_in_a_circle(tmp_path: Path) -> None:
    site = fill(tmp_path / "site", "a")
    fill(tmp_path / "shared", "b")
    (site / "linked").symlink_to(tmp_path / "shared")
    (tmp_path / "shared" / "circle").symlink_to(tmp_path / "shared")
    assert names(site) == ["a", "linked/b"]


@pytest.mark.parametrize("git", [True, False])
def test_a_link_to_the_output_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, git: bool) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if git:
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    fill(tmp_path, "a.js", "out/d")
    (tmp_path / "dist").symlink_to(tmp_path / "out")
    (tmp_path / "all").mkdir()
    (tmp_path / "all/dist").symlink_to("../out")
    assert names(tmp_path) == ["a.js"]


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    before = identify(tmp_path).build_id
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    assert identify(tmp_path).build_id != before


@pytest.mark.parametrize("declared", [(), (".",)])
def test_memory_does_not_grow_with_the_files(tmp_path: Path, declared: tuple[str, ...]) -> None:
    with (tmp_path / "video.mp4").open("wb") as video:
        video.truncate(200 << 20)
    tracemalloc.start()
    identify(tmp_path, *declared)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 << 20


def test_the_name_is_that_of_content_and_public_settings_alone(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    one = identify(tmp_path, ".")
    fill(tmp_path, ".env", ".env.staging")
    two = identify(tmp_path, ".", TOKEN="secret")
    assert one.build_id == two.build_id == identify(tmp_path, ".", how="other").build_id
    fill(tmp_path, "b")
    assert identify(tmp_path, ".").build_id != one.build_id


def test_a_source_that_cannot_be_read_is_the_builds_affair_and_a_declared_input_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a", "b")
    whole, opened = identify(tmp_path).build_id, Path.open

    def refusing(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "b":
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refusing)
    assert identify(tmp_path).build_id not in ("", whole)
    with pytest.raises(BuildError, match="cannot be read"):
        identify(tmp_path, ".")


def test_what_is_on_this_machine_alone_is_part_of_what_is_fresh(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    seen = {identify(tmp_path, "a").fingerprint, identify(tmp_path, "a", how="other").fingerprint}
    seen |= {identify(tmp_path, "a", TOKEN=value).fingerprint for value in ("1", "2")}
    fill(tmp_path, ".env.staging")
    seen.add(identify(tmp_path, "a").fingerprint)
    (tmp_path / "a").chmod(0o755)
    seen.add(identify(tmp_path, "a").fingerprint)
    assert len(seen) == 6
    assert identify(tmp_path).fingerprint == "", "nobody declared anything"
