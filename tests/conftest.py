"""What every test starts from: no ambient AWS, Pulumi or project settings, and no file of the person who runs the tests."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from amianai_infra.engine import ensure_engine
from amianai_infra.folders import set_umask
from amianai_infra.progress import Progress
from tests.project import CHECKOUT, Deployed, Project, copy_project

# As every entry point: what tests make must pass for ours.
set_umask()

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

# moto would make 1300 images in each new account and region.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"

# A shell starts what runs in its background deaf to Ctrl-C, and nohup to SIGHUP, and children inherit that; their tests need both heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

AMBIENT = ("AWS_", "AMIANAI_", "PULUMI_", "DOMAIN_NAME", "GITHUB_USERNAME", "PG")
KEPT = ("AMIANAI_CACHE",)


@pytest.fixture(autouse=True)
def _nothing_ambient(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Strip what would make a test depend on, or reach, the world outside."""
    for name in list(os.environ):
        if name.startswith(AMBIENT) and name not in KEPT:
            monkeypatch.delenv(name)
    nowhere: Path = tmp_path_factory.getbasetemp() / "nowhere"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class _FilesAndTheStack(LoadScopeScheduling):  # type: ignore[misc]
    """Two workers share the tests: a file stays whole, and all files that look at the deployed stack stay together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "the deployed stack" if _looks_at_the_stack(file) else file


@cache
def _looks_at_the_stack(file: str) -> bool:
    return file.startswith("tests/browser/") or "deployed: Deployed" in (CHECKOUT / file).read_text(encoding="utf-8")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Who runs what."""
    return _FilesAndTheStack(config, log)


@pytest.fixture(scope="session")
def engine_binary() -> Path:
    """The Pulumi engine: found, or installed as any command would install it."""
    return ensure_engine(Progress(), CHECKOUT, {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")})


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose sandbox is stopped at the end."""
    made = copy_project(tmp_path_factory.mktemp("project") / "checkout")
    yield made
    made.run("sandbox", "reset", "--confirm", "sandbox")


@pytest.fixture(scope="session")
def deployed(project: Project) -> Deployed:
    """The production stack, set up once with the real site."""
    summary = project.json("setup")
    return Deployed(project, summary, project.json("status"))


@pytest.fixture
def env_file(deployed: Deployed) -> Iterator[Path]:
    """Where `amianai env` writes. What it wrote goes afterwards: a build is made of it, too, and the next test would build again."""
    file = deployed.project.root / "examples/site/.env.local"
    yield file
    file.unlink()


ON_DEMAND = ("soak", "settings", "frameworks", "clients")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes unless it is asked for, and begin with what takes longest."""
    asked = config.getoption("-m") or ""
    unasked = [mark for mark in ON_DEMAND if mark not in asked]
    left = [item for item in items if any(item.get_closest_marker(mark) for mark in unasked)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    files = [item.nodeid.partition("::")[0] for item in items]
    weights = {file: _weight(file, count) for file, count in Counter(files).items()}
    items.sort(key=lambda item: weights[item.nodeid.partition("::")[0]])


def _weight(file: str, count: int) -> tuple[int, int]:
    """What comes earlier: the deployed stack's files as they follow each other, then whole stacks, then the rest by size.

    A worker that ends with small files waits for the other one no longer than a small file takes.
    """
    if _looks_at_the_stack(file):
        return 0, 0
    return next((rank for rank, folder in enumerate(_SLOWEST, 1) if file.startswith(folder)), len(_SLOWEST) + 1), -count


_SLOWEST = ("tests/sandbox/", "tests/functional/")
