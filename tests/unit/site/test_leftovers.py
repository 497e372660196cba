"""A build begins with an empty output, and nothing that was made by hand is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from amianai_infra.errors import BuildError
from amianai_infra.site.leftovers import emptied


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def read(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


OLD = {"index.html": "old", "a/gone.html": "gone", "b/deep/c.css": "c"}


def test_what_is_not_written_again_is_kept_aside(tmp_path: Path) -> None:
    out = write(tmp_path / "out", OLD)
    with emptied(out, tmp_path / "kept") as left:
        assert read(out) == {}
        write(out, {"index.html": "new", "b/deep/c.css": "c", "d": "d"})
    assert left.paths == ("a/gone.html",)
    assert read(out) == {"index.html": "new", "b/deep/c.css": "c", "d": "d"}
    assert read(left.folder) == {"a/gone.html": "gone"}


def test_nothing_left_over_leaves_no_folder(tmp_path: Path) -> None:
    out = write(tmp_path / "out", OLD)
    with emptied(out, tmp_path / "kept") as left:
        write(out, OLD)
    assert left.paths == ()
    assert not left.folder.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_build_that_fails_finds_everything_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    out = write(tmp_path / "out", OLD)
    with pytest.raises(error), emptied(out, tmp_path / "kept"):
        write(out, {"index.html/half": "x", "a": "a file now"})
        raise error
    assert read(out) == OLD
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_build_that_writes_nothing_is_no_build(tmp_path: Path) -> None:
    out = write(tmp_path / "out", OLD)
    with pytest.raises(BuildError, match="wrote nothing"), emptied(out, tmp_path / "kept"):
        (out / "a").mkdir()
    assert read(out) == OLD


def test_a_first_build_has_nothing_to_empty(tmp_path: Path) -> None:
    with emptied(tmp_path / "out", tmp_path / "kept") as left:
        write(tmp_path / "out", OLD)
    assert left.paths == ()


def test_what_git_tracks_stays_in_its_place(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    out = write(tmp_path / "public", {"index.html": "source", "img/logo.svg": "source", "img/made.png": "made", "style.css": "made"})
    subprocess.run(["git", "-C", str(tmp_path), "add", "public/index.html", "public/img/logo.svg"], check=True)
    with emptied(out, tmp_path / "kept") as left:
        assert read(out) == {"index.html": "source", "img/logo.svg": "source"}
        write(out, {"style.css": "made again"})
    assert left.paths == ("img/made.png",)
    assert read(out) == {"index.html": "source", "img/logo.svg": "source", "style.css": "made again"}


def test_a_repository_in_the_output_stays_one(tmp_path: Path) -> None:
    """As of a branch that holds the finished site: its pages are of an earlier build all the same."""
    out = write(tmp_path / "out", OLD)
    for words in (("init", "-q"), ("add", ".")):
        subprocess.run(["git", "-C", str(out), *words], check=True)
    with emptied(out, tmp_path / "kept") as left:
        assert [path.name for path in out.iterdir()] == [".git"]
        write(out, {"index.html": "new"})
    assert left.paths == ("a/gone.html", "b/deep/c.css")
    with pytest.raises(BuildError, match="wrote nothing"), emptied(out, tmp_path / "kept"):
        pass
    assert (out / ".git" / "index").exists()


def test_what_is_left_over_from_long_ago_is_deleted(tmp_path: Path) -> None:
    old = write(tmp_path / "kept" / "20200101-000000-1", {"a": "a"})
    os.utime(old, (0, 0))
    out = write(tmp_path / "out", OLD)
    with emptied(out, tmp_path / "kept") as left:
        write(out, {"index.html": "new"})
    assert not old.exists()
    assert left.folder.exists()
