"""What the sandbox says when its folder cannot be used, and what it leaves in a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from amianai_infra.errors import AmianaiError, ConfigurationError, RefusedError
from amianai_infra.progress import Progress
from amianai_infra.sandbox import Sandbox, SandboxTarget
from amianai_infra.sandbox import postgres as database
from tests.project import checkout

QUIET = Progress(quiet=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return checkout(tmp_path)


@pytest.mark.parametrize("content", [None, "", "name: something-else\n", "name: amianai-infra-2\n", "\xff"])
def test_a_folder_that_is_no_project_is_refused_before_anything_is_written(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "Pulumi.yaml").write_text(content, encoding="latin-1")
    before = sorted(tmp_path.iterdir())
    for made in (Sandbox, SandboxTarget):
        with pytest.raises(ConfigurationError, match="not an amianai-infra project") as caught:
            made(tmp_path)
        assert (caught.value.exit_code, caught.value.where) == (2, str(tmp_path))
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_cannot_be_made_is_named(root: Path) -> None:
    (root / ".sandbox").write_text("in the way")
    with pytest.raises(AmianaiError, match="cannot write its files"):
        Sandbox(root).ports()
    with pytest.raises(AmianaiError, match="cannot write its files") as caught:
        Sandbox(root).start(QUIET)
    assert str(root) in caught.value.where
    assert "writable" in caught.value.fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_checkout_is_named(root: Path) -> None:
    root.chmod(0o500)
    with pytest.raises(AmianaiError, match="Permission denied"):
        Sandbox(root).start(QUIET)


@pytest.mark.parametrize("which", ["", "tls", "tls/ca.pem", "state", "project"])
def test_one_that_others_may_change_is_not_used(root: Path, which: str) -> None:
    path = root / ".sandbox" / which
    Sandbox(root).ports()
    (root / ".sandbox" / "tls").mkdir()
    (root / ".sandbox" / "tls" / "ca.pem").touch()
    path.chmod(0o777)
    with pytest.raises(RefusedError, match=f"everybody may write to {path}"):
        Sandbox(root).start(QUIET)


def test_looking_changes_nothing(root: Path) -> None:
    made = Sandbox(root, {})
    assert [service.state for service in made.status()] == ["stopped"] * 3
    assert not made.serves()
    assert made.stop(QUIET) == []
    made.reset(QUIET)
    assert [path.name for path in root.iterdir()] == ["Pulumi.yaml"]


def test_the_checkout_stays_clean(root: Path) -> None:
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    Sandbox(root, {}).ports()
    assert (root / ".sandbox").is_dir()
    shown = subprocess.run(["git", "-C", str(root), "status", "--porcelain"], check=True, capture_output=True, text=True)
    assert shown.stdout == "?? Pulumi.yaml\n", "only what was there before"


def test_nothing_secret_is_in_reach_of_others(root: Path) -> None:
    Sandbox(root, {}).ports()
    assert (root / ".sandbox").stat().st_mode & 0o066 == 0, "nobody else may list it"
    inner = [folder for folder in (root / ".sandbox").iterdir() if folder.is_dir()]
    assert "emulator" in {folder.name for folder in inner}
    assert not [folder.name for folder in inner if folder.stat().st_mode & 0o077]


def test_the_environment_names_no_password(root: Path) -> None:
    made = Sandbox(root, {})
    values = made.environment()
    assert values["PULUMI_OPTION_CWD"] == str(root / ".sandbox" / "project")
    assert not [name for name in values if "PASSWORD" in name or name == "PULUMI_CONFIG_PASSPHRASE"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as somebody else")
def test_as_root_the_data_moves_to_where_its_user_may_go(tmp_path: Path) -> None:
    outer = tmp_path / "private"
    local = outer / ".sandbox"
    local.mkdir(parents=True)
    outer.chmod(0o700)
    place = database.locate(local)
    assert place.user is not None
    assert place.data.is_relative_to(database.SYSTEM_HOME)
    assert place.data.parent.stat().st_uid == place.user[0]
    assert place.data.parent.stat().st_mode & 0o777 == 0o700
    assert (local / "postgres").readlink() == place.data.parent
    assert outer.stat().st_mode & 0o777 == 0o700, "no permission of an existing folder changes"
    assert database.locate(local) == place
    database.forget(local)
    assert not place.data.parent.exists()
    assert not (local / "postgres").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as somebody else")
def test_copied_programs_that_others_may_change_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SYSTEM_HOME", tmp_path / "system")
    program = tmp_path / "cache" / "postgres-16" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o700)
    program.parent.chmod(0o700)
    user = database.server_user()
    copy = database.programs(program.parents[1], user)
    assert copy.is_relative_to(tmp_path / "system")
    (copy / "bin" / "postgres").chmod(0o777)
    with pytest.raises(RefusedError, match=f"everybody may write to {copy}/bin/postgres"):
        database.programs(program.parents[1], user)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as somebody else")
def test_data_of_temporary_checkouts_that_are_gone_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SYSTEM_HOME", tmp_path / "system")
    monkeypatch.setattr(database, "_may_enter", lambda *_: False)
    locals_ = [tmp_path / name / ".sandbox" for name in ("gone", "there", "new")]
    homes = []
    for local in locals_[:2]:
        local.mkdir(parents=True)
        homes.append(database.locate(local).data.parent)
    elsewhere = tmp_path / "system" / "sandbox-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "checkout").write_text("/mnt/unmounted/checkout\n")
    shutil.rmtree(locals_[0].parent)
    locals_[2].mkdir(parents=True)
    database.locate(locals_[2])
    assert [home.exists() for home in (*homes, elsewhere)] == [False, True, True]


@pytest.fixture
def far_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A `.sandbox` whose path leaves no room for a socket, wherever the data goes."""
    monkeypatch.setattr(database, "_SOCKET_LIMIT", 45)
    local = tmp_path / ".sandbox"
    local.mkdir()
    yield local
    database.forget(local)


def test_the_sockets_path_is_short_however_long_the_checkouts_is(far_away: Path) -> None:
    place = database.locate(far_away)
    assert len(str(place.sockets / ".s.PGSQL.65535")) <= 45
    assert place.sockets.stat().st_mode & 0o777 == 0o700
    assert database.locate(far_away).sockets == place.sockets
    database.forget(far_away)
    assert not place.sockets.exists()
    assert not place.data.parent.exists()


def test_a_socket_folder_that_somebody_else_could_have_put_there_is_not_used(far_away: Path) -> None:
    first = database.locate(far_away).sockets
    first.chmod(0o777)
    assert database.locate(far_away).sockets != first
    first.rmdir()
