"""The doors in scripts/: which Python they take, when they install, and that they hand over whatever the current folder is.

Packages are not installed here: `uv` and the interpreters are stand-ins that write down how they were called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
TOOLS = ("bash", "cat", "cmp", "dirname", "env", "mkdir", "mktemp", "rm", "touch", "chmod", "printf", "find", "id")


class Checkout:
    """A copy of the scripts with a PATH of stand-ins."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "path"
        self.log = root / "log"
        shutil.copytree(CHECKOUT / "scripts", root / "scripts")
        for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
            (root / name).write_text(f"{name}\n")
        self.bin.mkdir()
        for name in TOOLS:
            if found := shutil.which(name):
                (self.bin / name).symlink_to(found)

    def program(self, path: Path, body: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        path.chmod(0o755)

    def python(self, name: str, *, new: bool) -> None:
        """An interpreter; it knows its version and makes an environment when asked."""
        self.program(
            self.bin / name,
            f'case "$1" in\n-c) exit {0 if new else 1};;\n-m) echo "{name} $*" >>"{self.log}"; make_venv "$4";;\nesac',
        )
        self.program(self.bin / "make_venv", self._venv('"$1"'))

    def _venv(self, where: str) -> str:
        inner = f'case "$1" in -c) exit 0;; esac; echo "venv-python $*" >>{self.log}'
        amianai = 'echo "amianai $* root=$AMIANAI_ROOT cwd=$PWD"'
        return (
            f"mkdir -p {where}/bin\n"
            f"printf '%s\\n' '#!{shutil.which('bash')}' '{inner}' >{where}/bin/python\n"
            f"printf '%s\\n' '#!{shutil.which('bash')}' '{amianai}' >{where}/bin/amianai\n"
            f"chmod +x {where}/bin/*"
        )

    def uv(self) -> None:
        self.program(self.bin / "uv", f'echo "uv $*" >>"{self.log}"\nif [ "$1" = venv ]; then\n{self._venv(str(self.root / ".venv"))}\nfi')

    def run(self, script: str, *arguments: str, cwd: Path | None = None, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "scripts" / script, *arguments],
            umask=umask,
            cwd=cwd or self.root,
            env={"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/")},
            capture_output=True,
            text=True,
            check=False,
        )

    def said(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


def test_without_a_python_it_says_what_to_install(checkout: Checkout) -> None:
    done = checkout.run("setup.sh")
    assert done.returncode == 1
    assert "Python 3.11 or later was not found" in done.stderr
    assert "python.org" in done.stderr
    assert not (checkout.root / ".venv").exists()


def test_an_old_python_is_passed_over(checkout: Checkout) -> None:
    checkout.python("python3", new=False)
    assert checkout.run("setup.sh").returncode == 1
    checkout.python("python3.12", new=True)
    assert checkout.run("setup.sh").returncode == 0
    assert checkout.said()[0] == f"python3.12 -m venv --clear {checkout.root}/.venv"


@pytest.mark.parametrize("with_uv", [True, False])
def test_only_what_the_lock_names_is_installed(checkout: Checkout, with_uv: bool) -> None:
    checkout.python("python3", new=True)
    if with_uv:
        checkout.uv()
    done = checkout.run("setup.sh", "--sandbox")
    assert done.returncode == 0, done.stderr
    installs = [line for line in checkout.said() if " install " in line]
    assert len(installs) == 2
    assert f"--require-hashes -r {checkout.root}/requirements.lock" in installs[0]
    assert f"--no-deps --no-build-isolation -e {checkout.root}" in installs[1]
    assert all(line.startswith("uv " if with_uv else "venv-python -m pip ") for line in installs)


def test_nothing_is_installed_twice_until_the_lock_changes(checkout: Checkout) -> None:
    checkout.python("python3", new=True)
    checkout.uv()
    assert checkout.run("setup.sh").returncode == 0
    checkout.said()
    assert checkout.run("deploy.sh").stderr == ""
    assert checkout.said() == []
    (checkout.root / "requirements.lock").write_text("newer\n")
    assert checkout.run("deploy.sh").returncode == 0
    assert [line.split()[:3] for line in checkout.said()] == [["uv", "pip", "install"]] * 2


def test_an_interrupted_installation_is_done_again(checkout: Checkout) -> None:
    checkout.python("python3", new=True)
    checkout.program(checkout.bin / "uv", f'echo "uv $*" >>"{checkout.log}"; [ "$1" = venv ] || exit 1')
    assert checkout.run("setup.sh").returncode == 1
    checkout.uv()
    assert checkout.run("setup.sh").returncode == 0


@pytest.mark.parametrize("name", ["setup", "deploy", "destroy"])
def test_it_hands_over_from_any_folder(checkout: Checkout, tmp_path: Path, name: str) -> None:
    checkout.python("python3", new=True)
    checkout.uv()
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    done = checkout.run(f"{name}.sh", "--set", "a=b c", cwd=elsewhere)
    assert done.stdout == f"amianai {name} --set a=b c root={checkout.root} cwd={elsewhere}\n"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_whatever_the_umask_others_cannot_write_to_the_environment(checkout: Checkout, umask: int) -> None:
    checkout.python("python3", new=True)
    checkout.uv()
    assert checkout.run("setup.sh", umask=umask).returncode == 0
    made = [checkout.root / ".venv", *(checkout.root / ".venv").rglob("*")]
    assert len(made) > 4
    assert [path for path in made if path.stat().st_mode & 0o022] == []
    assert umask != 0o077 or [path for path in made if path.stat().st_mode & 0o055] == []


@pytest.mark.parametrize("which", [".venv", ".venv/bin", ".venv/bin/python", ".venv/bin/amianai"])
def test_an_environment_that_others_may_change_is_not_run(checkout: Checkout, which: str) -> None:
    checkout.python("python3", new=True)
    checkout.uv()
    checkout.run("setup.sh")
    checkout.said()
    (checkout.root / ".venv" / ".lock").touch()
    (checkout.root / ".venv" / ".lock").chmod(0o777)  # as uv leaves it
    assert checkout.run("setup.sh").returncode == 0
    (checkout.root / which).chmod(0o775)
    done = checkout.run("setup.sh")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"where: {checkout.root / which}" in done.stderr
    assert f"`rm -rf {checkout.root}/.venv`" in done.stderr
    assert checkout.said() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_an_environment_of_somebody_else_is_not_run(checkout: Checkout) -> None:
    checkout.python("python3", new=True)
    checkout.uv()
    checkout.run("setup.sh")
    os.chown(checkout.root / ".venv" / "bin" / "amianai", 65534, 65534)
    done = checkout.run("setup.sh")
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.parametrize(("mypy", "pytest_", "code"), [(0, 0, 0), (1, 0, 1), (0, 2, 2), (1, 2, 2)])
def test_the_gate_shows_what_mypy_says_beside_the_tests_and_fails_with_either(
    checkout: Checkout, mypy: int, pytest_: int, code: int
) -> None:
    checkout.python("python3", new=True)
    checkout.uv()
    checkout.run("setup.sh")
    for name, exits in {"ruff": 0, "lint-imports": 0, "mypy": mypy, "pytest": pytest_}.items():
        checkout.program(checkout.root / ".venv" / "bin" / name, f'echo "{name} $* ${{PYTHONDONTWRITEBYTECODE-unset}}"; exit {exits}')
    done = checkout.run("test.sh", "tests/unit", "-k", "cidr")
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines() == [
        "ruff check . unset",
        "ruff format --check . unset",
        "lint-imports  unset",
        "pytest tests/unit -k cidr unset",
        "mypy  unset",
    ]


def test_what_ruff_finds_ends_the_gate_before_the_tests(checkout: Checkout) -> None:
    checkout.python("python3", new=True)
    checkout.uv()
    checkout.run("setup.sh")
    checkout.program(checkout.root / ".venv" / "bin" / "ruff", "exit 1")
    done = checkout.run("test.sh")
    assert (done.returncode, done.stdout) == (1, "")


def test_the_scripts_are_executable() -> None:
    for name in ("scripts/setup.sh", "scripts/deploy.sh", "scripts/destroy.sh", "scripts/test.sh", ".ci/run"):
        assert os.access(CHECKOUT / name, os.X_OK), name
