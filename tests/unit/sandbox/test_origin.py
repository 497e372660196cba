"""Whether a `.sandbox` is the checkout's own: after `cp -a` it is not, after `mv` it is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from amianai_infra.sandbox import origin


def copied(source: Path, target: Path) -> Path:
    subprocess.run(("cp", "-a", str(source.parent), str(target)), check=True)
    return target / ".sandbox"


@pytest.fixture
def first(tmp_path: Path) -> Path:
    local = tmp_path / "first" / ".sandbox"
    (local / "run").mkdir(parents=True)
    (local / "run" / "emulator.json").write_text("{}")
    (local / origin.LOCK).touch()
    origin.sign(local)
    return local


def test_its_own_and_one_that_never_ran_are_no_copy(first: Path, tmp_path: Path) -> None:
    assert origin.copied_from(first) is None
    assert origin.copied_from(tmp_path / "nothing" / ".sandbox") is None


def test_a_copy_names_where_it_came_from_until_it_is_its_own(first: Path, tmp_path: Path) -> None:
    second = copied(first, tmp_path / "second")
    assert origin.copied_from(second) == first
    kept = origin.set_aside(second)
    assert sorted(path.name for path in second.iterdir()) == sorted([kept.name, origin.LOCK])
    assert (kept / "run" / "emulator.json").is_file()
    origin.sign(second)
    assert origin.copied_from(second) is None
    assert origin.copied_from(first) is None
    assert origin.copied_from(copied(second, tmp_path / "third")) == second


def test_a_moved_checkout_goes_on_also_where_a_copy_of_it_has_its_old_place(first: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    first.parent.rename(moved)
    assert origin.copied_from(moved / ".sandbox") is None
    copied(moved / ".sandbox", first.parent)
    assert origin.copied_from(moved / ".sandbox") is None, "its inode is the one that was noted"


def test_a_move_to_another_disk_is_a_move(first: Path, tmp_path: Path) -> None:
    there = copied(first, tmp_path / "other disk")
    shutil.rmtree(first.parent)
    assert origin.copied_from(there) is None
    origin.sign(there)
    assert origin.copied_from(copied(there, tmp_path / "second")) == there


def test_a_sandbox_that_was_reset_is_no_original_any_more(first: Path, tmp_path: Path) -> None:
    backup = copied(first, tmp_path / "backup")
    (first / "origin.json").unlink()
    origin.sign(first)
    assert origin.copied_from(backup) is None


def test_the_same_folder_under_another_path_is_the_same(first: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(first.parent)
    assert origin.copied_from(link / ".sandbox") is None


@pytest.mark.parametrize("text", ["", "[]", '{"id": 1, "path": "/", "device": 1, "inode": 1}', '{"id": "x"}'])
def test_a_note_that_is_none_counts_for_nothing(first: Path, tmp_path: Path, text: str) -> None:
    second = copied(first, tmp_path / "second")
    (second / "origin.json").write_text(text)
    assert origin.copied_from(second) is None
    origin.sign(second)
    assert origin.copied_from(second) is None


def test_setting_aside_that_was_cut_off_is_finished(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = copied(first, tmp_path / "second")
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("cut off")))
    with pytest.raises(OSError, match="cut off"):
        origin.set_aside(second)
    monkeypatch.undo()
    assert origin.copied_from(second) == first
    origin.set_aside(second)
    assert not (second / "run").exists()
    assert [path.name for path in (first / "run").iterdir()] == ["emulator.json"]
