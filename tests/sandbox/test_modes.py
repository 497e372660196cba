"""A whole set-up under an open and under a closed umask, as root and as nobody: who may write to what it made.

Root installs the emulator and PostgreSQL into a cache of its own, as on a new machine. Nobody cannot reach what is in root's home: it
gets copies, and a Python of the system. What this cannot show: an access list (ACL) that gives more than modes say.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from amianai_infra.engine import VERSION
from amianai_infra.progress import Progress
from amianai_infra.sandbox.install import emulator_home, install_emulator, install_postgres
from tests.project import CHECKOUT, Project, copy_project

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can try this as root and as nobody"),
]

NOBODY = 65534
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUILD = "mkdir -p out && cp index.html 404.html out/"
# What a set-up leaves in the project, by the modes it has under an open umask and under a closed one.
LISTED = {
    (0o700, 0o700): """
        .sandbox .sandbox/aws .sandbox/emulator .sandbox/logs .sandbox/project .sandbox/pulumi .sandbox/run .sandbox/state
    """,
    (0o755, 0o700): ".sandbox/site .sandbox/site/left-out .sandbox/tls site/out",
    (0o600, 0o600): """
        .sandbox/aws/credentials .sandbox/passphrase .sandbox/pgpass .sandbox/tls/ca.key .sandbox/tls/server.key site/.env.local
    """,
    (0o644, 0o644): ".sandbox/tls/ca.pem .sandbox/tls/server.pem",
    (0o644, 0o600): """
        .sandbox/.gitignore .sandbox/aws/config .sandbox/origin.json .sandbox/lock .sandbox/logs/emulator.log .sandbox/logs/postgres.log
        .sandbox/logs/provider.log .sandbox/logs/site-build.log .sandbox/ports.json .sandbox/project/Pulumi.prod.yaml
        .sandbox/project/Pulumi.yaml .sandbox/run/emulator.json .sandbox/run/postgres.json .sandbox/run/provider.json
        .sandbox/stack.json site/out/404.html site/out/index.html
    """,
}
# Whose insides are their programs' own; none of it is open to others.
DEEP = (".sandbox/postgres", ".sandbox/emulator/", ".sandbox/state/", ".sandbox/pulumi/", ".sandbox/site/eeyore")


@dataclass
class Machine:
    """A project and a cache, used as one user under one umask.

    Attributes:
        project: the project.
        cache: its cache.
        home: the user's home.
        user: who.
        umask: as the user's shell has it.
    """

    project: Project
    cache: Path
    home: Path
    user: int
    umask: int
    program: tuple[str, ...]

    def run(self, *words: str) -> str:
        env = {
            **{name: value for name, value in self.project.environment().items() if self.user == 0 or name.endswith(("_FILE", "_DIR"))},
            "PATH": os.environ["PATH"] if self.user == 0 else PATH,
            "HOME": os.environ["HOME"] if self.user == 0 else str(self.home),
            "AMIANAI_CACHE": str(self.cache),
            "AMIANAI_SITE_DIRECTORY": "site",
            "AMIANAI_SITE_BUILD_COMMAND": BUILD,
        }
        done = subprocess.run(
            [*self.program, "--sandbox", *words],
            check=False,
            cwd=self.project.root,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            umask=self.umask,
            user=self.user,
            group=self.user,
            extra_groups=[],
        )
        assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def may(*words: str) -> bool:
    """Whether nobody may do this."""
    try:
        done = subprocess.run(words, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that everybody may enter, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="amianai-modes-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def python(place: Path) -> str:
    """A Python with our packages that nobody may run."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = next((one for one in (os.path.realpath(sys.executable), f"/usr/bin/{name}") if may(one, "-c", "import venv")), None)
    if found is None or not may("test", "-r", str(CHECKOUT / "amianai_infra" / "stack.py")) or not may("node", "--version"):
        pytest.skip(f"nobody may not run {name} and Node, or may not read {CHECKOUT}")
    subprocess.run([found, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
    packages = next((place / "venv").glob("lib/python*/site-packages"))
    (packages / "ours.pth").write_text(f"{CHECKOUT}\n{sysconfig.get_path('purelib')}\n")
    return str(place / "venv" / "bin" / "python")


@pytest.fixture(scope="module")
def prepared(place: Path, python: str) -> Path:
    """A cache of root's with what others may run: the servers, with that Python, and the engine."""
    quiet = Progress(quiet=True)
    cache = place / "prepared"
    install_emulator(os.environ, quiet)
    source = emulator_home(os.environ)
    home = emulator_home({"AMIANAI_CACHE": str(cache)})
    shutil.copytree(source, home, symlinks=True)
    for link in home.glob("bin/python*"):
        link.unlink()
    (home / "bin" / "python").symlink_to(os.path.realpath(python))
    (home / "pyvenv.cfg").write_text(f"home = {Path(os.path.realpath(python)).parent}\ninclude-system-site-packages = false\n")
    installed = install_postgres(os.environ, quiet)
    shutil.copytree(installed, cache / installed.name, symlinks=True)
    os.chown(cache, NOBODY, NOBODY)
    return cache


@pytest.fixture
def machine(place: Path, engine_binary: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[int, int], Machine]]:
    made: list[Machine] = []

    def make(user: int, umask: int) -> Machine:
        folder = place / f"{user}-{umask:03o}"
        project = copy_project(folder / "project")
        (project.root / "site").mkdir()
        for name in ("index.html", "404.html"):
            (project.root / "site" / name).write_text("<html>hello</html>")
        (folder / "home").mkdir()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user)
        if user == 0:
            cache = folder / "cache"
            program: tuple[str, ...] = (str(Path(sys.executable).with_name("amianai")),)
        else:
            cache = request.getfixturevalue("prepared")
            program = (request.getfixturevalue("python"), "-c", "from amianai_infra.cli.main import main; main()")
        if not (cache / "engine" / VERSION).exists():
            (cache / "engine" / VERSION).mkdir(parents=True)
            shutil.copy(engine_binary, cache / "engine" / VERSION / "pulumi")
            os.chown(cache / "engine", user, user)
        machine = Machine(project, cache, folder / "home", user, umask, program)
        made.append(machine)
        return machine

    yield make
    for one in made:
        one.run("sandbox", "reset", "--confirm", "sandbox")


def modes(folder: Path) -> dict[str, os.stat_result]:
    """Everything below a folder, by relative path; links have no mode of their own."""
    found = {path.relative_to(folder).as_posix(): path.lstat() for path in folder.rglob("*")}
    return {name: status for name, status in found.items() if not stat.S_ISLNK(status.st_mode)}


def open_to_others(made: Mapping[str, os.stat_result]) -> dict[str, str]:
    """What others may write to. PostgreSQL's socket is open, in a folder that is not; uv's lock file is never read."""
    return {
        name: oct(status.st_mode)
        for name, status in made.items()
        if status.st_mode & 0o022 and not stat.S_ISSOCK(status.st_mode) and not name.endswith("/.lock")
    }


# A closed umask can only close more, and root installs the servers anew: both are tried on demand.
@pytest.mark.parametrize("umask", [pytest.param(0o000, id="open"), pytest.param(0o077, id="closed", marks=pytest.mark.soak)])
@pytest.mark.parametrize("user", [pytest.param(0, id="root", marks=pytest.mark.soak), pytest.param(NOBODY, id="nobody")])
def test_a_set_up_works_and_others_may_write_to_nothing(machine: Callable[[int, int], Machine], user: int, umask: int) -> None:
    here = machine(user, umask)
    before = set(modes(here.project.root))
    here.run("setup")
    here.run("env")
    here.run("sandbox", "env")
    assert here.run("sandbox", "status").count("running") == 3
    made = {name: status for name, status in modes(here.project.root).items() if name not in before}
    assert open_to_others(made) == {}
    assert open_to_others(modes(here.cache)) == {}
    assert open_to_others(modes(here.home)) == {}
    shallow = {name: status for name, status in made.items() if name.count("/") <= 2 and not name.startswith(DEEP)}
    listed = {name: modes_of[umask != 0] for modes_of, names in LISTED.items() for name in names.split()}
    if user == 0 and umask == 0:
        listed[".sandbox"] = 0o711  # PostgreSQL runs as another user, who passes through
    assert {name: oct(stat.S_IMODE(status.st_mode)) for name, status in shallow.items()} == {
        name: oct(mode) for name, mode in listed.items()
    }
    assert {status.st_uid for status in made.values()} <= {user, NOBODY}
    data = (here.project.root / ".sandbox" / "postgres").resolve()
    assert (data.stat().st_uid, oct(data.stat().st_mode)) == (NOBODY, "0o40700")
    assert open_to_others(modes(data)) == {}
