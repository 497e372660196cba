"""Whose folders programs are run from."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from amianai_infra.errors import RefusedError
from amianai_infra.folders import cache_folder, close_to_others, locked, replace_file, require_ours, set_umask

NOBODY = 65534


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    folder = tmp_path / "above" / "ours"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "program").touch(mode=0o755)
    return folder


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


def test_the_cache_is_where_it_is_asked_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder({"AMIANAI_CACHE": str(tmp_path)}) == tmp_path
    assert cache_folder({}) == Path.home() / ".cache" / "amianai-infra"
    monkeypatch.chdir(tmp_path)
    assert cache_folder({"AMIANAI_CACHE": "here"}) == tmp_path / "here"


@pytest.mark.parametrize(("before", "after"), [(0o000, 0o022), (0o002, 0o022), (0o022, 0o022), (0o027, 0o027), (0o077, 0o077)])
def test_the_umask_keeps_others_from_writing_and_never_opens_more(umask: None, before: int, after: int) -> None:
    os.umask(before)
    set_umask()
    assert os.umask(before) == after


def test_what_is_ours_or_not_there_is_fine(ours: Path) -> None:
    require_ours(ours, inside=True)
    require_ours(ours / "later", inside=True)
    (ours / ".lock").touch()
    (ours / ".lock").chmod(0o777)  # as uv leaves it
    require_ours(ours, inside=True)
    ours.parent.chmod(0o1777)
    require_ours(ours, inside=True)


@pytest.mark.parametrize(("mode", "who"), [(0o775, "its group"), (0o757, "everybody"), (0o777, "everybody"), (0o1777, "everybody")])
def test_a_folder_that_others_may_write_to(ours: Path, mode: int, who: str) -> None:
    ours.chmod(mode)
    with pytest.raises(RefusedError, match=f"{who} may write to {ours}") as caught:
        require_ours(ours)
    assert caught.value.where == str(ours)
    assert f"chmod -R go-w {ours}" in caught.value.fix
    assert f"rm -rf {ours}" in caught.value.fix


def test_a_file_in_it_that_others_may_write_to(ours: Path) -> None:
    (ours / "inner" / "program").chmod(0o775)
    require_ours(ours)
    with pytest.raises(RefusedError, match=r"its group may write to .*/program"):
        require_ours(ours, inside=True)
    close_to_others(ours)
    require_ours(ours, inside=True)
    assert (ours / "inner" / "program").stat().st_mode & 0o777 == 0o755


def test_a_folder_above_that_everybody_may_change(ours: Path) -> None:
    ours.parent.chmod(0o777)
    with pytest.raises(RefusedError, match=r"everybody may change .*/above, which holds it") as caught:
        require_ours(ours)
    assert f"chmod o-w {ours.parent}" in caught.value.fix


def test_a_link_is_followed(ours: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(ours)
    require_ours(link)
    ours.chmod(0o777)
    with pytest.raises(RefusedError, match=f"may write to {ours}"):
        require_ours(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("which", ["folder", "program", "link"])
def test_what_belongs_to_somebody_else(ours: Path, tmp_path: Path, which: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(ours)
    os.chown({"folder": ours, "program": ours / "inner" / "program", "link": link}[which], NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(RefusedError, match="belongs to the user nobody") as caught:
        require_ours(link, inside=True)
    assert "chown" in caught.value.fix


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what somebody else may not read")
def test_what_may_not_be_read_is_passed_over_and_cannot_be_run() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "__pycache__").mkdir(mode=0o700)  # as a daemon of root's leaves it
        child = os.fork()
        if child == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            try:
                require_ours(folder, inside=True)
                os._exit(0 if [one.name for one in folder.iterdir()] == ["__pycache__"] else 2)
            except BaseException:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0


def test_a_wait_is_shown_as_long_as_it_lasts(tmp_path: Path) -> None:
    told: list[str] = []
    inside = threading.Event()

    def hold() -> None:
        with locked(tmp_path / "lock"):
            inside.set()
            time.sleep(0.2)

    @contextmanager
    def shown() -> Iterator[None]:
        told.append("waiting")
        yield
        told.append("over")

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    with locked(tmp_path / "lock", shown):
        told.append("held")
    holder.join()
    with locked(tmp_path / "lock", shown):
        told.append("free")
    assert told == ["waiting", "over", "held", "free"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    replace_file(link, "one\r\n", 0o600)
    assert (file.read_bytes(), file.stat().st_mode & 0o777, link.is_symlink()) == (b"one\r\n", 0o600, True)
    file.chmod(0o640)
    replace_file(file, "two")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("two", 0o640)
    with pytest.raises(UnicodeEncodeError):
        replace_file(file, "three" * 100_000 + "\ud800")
    assert file.read_text() == "two"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}
