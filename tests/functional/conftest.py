"""A sandbox of its own for tests that drive the real engine against the provider."""

from __future__ import annotations

import copy
import gc
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.engine import Engine, Summary
from amianai_infra.errors import EngineError
from amianai_infra.naming import PROJECT
from amianai_infra.progress import Progress
from amianai_infra.sandbox import Sandbox
from amianai_infra.target import EngineEnvironment
from tests.project import checkout

Program = Callable[[], None]


class Stack(Engine):
    """An engine on a stack of the test's own."""

    def _operate(self, *args: Any, **kwargs: Any) -> Summary:
        try:
            return super()._operate(*args, **kwargs)
        except EngineError:
            _sweep()
            raise

    def state(self) -> str:
        """The state file as it lies on the disk."""
        return next(Path(self.environment.backend_url.removeprefix("file://")).glob(".pulumi/stacks/*/*.json")).read_text()


def _sweep() -> None:
    """Collect what the SDK leaves of a program whose engine stopped early, where pytest does not take it for a leak of ours."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    finally:
        sys.unraisablehook = hook


class Bench:
    """A running sandbox: makes stacks and outside clients."""

    def __init__(self, sandbox: Sandbox, binary: Path, home: Path) -> None:
        self.sandbox = sandbox
        self.binary = binary
        self.variables = sandbox.environment()
        self._home = home

    @cached_property
    def _empty(self) -> Path:
        """A stack without resources. New ones are copies of it: to make one starts the engine twice."""
        self._stack(self._home, lambda: None, {})
        return self._home

    def with_provider(self, port: int) -> Bench:
        """The same with another provider."""
        other = copy.copy(self)
        other.variables = {**self.variables, "PULUMI_DEBUG_PROVIDERS": f"aws:{port}"}
        return other

    def stack(self, home: Path, program: Program, config: Mapping[str, str] | None = None) -> Stack:
        """A new stack, or another program on the stack in `home`."""
        if not (home / "project").exists():
            shutil.copytree(self._empty, home, dirs_exist_ok=True)
        return self._stack(home, program, config or {})

    def _stack(self, home: Path, program: Program, config: Mapping[str, str]) -> Stack:
        for folder in ("project", "state"):
            (home / folder).mkdir(exist_ok=True)
        (home / "project" / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
        environment = EngineEnvironment(
            project_dir=home / "project",
            backend_url=f"file://{home / 'state'}",
            secrets_provider="passphrase",
            variables={name: value for name, value in self.variables.items() if name.startswith(("PULUMI_", "AWS_"))}
            | {"PULUMI_BACKEND_URL": f"file://{home / 'state'}"},
            drop=frozenset({"PULUMI_OPTION_CWD", "PULUMI_STACK"}),
        )
        made = Stack(environment, program, Progress(quiet=True), self.binary)
        made.configure({"aws:region": "us-east-1", **config})
        return made

    def client(self, service: str, region: str = "us-east-1") -> Any:
        """An outside client, which knows nothing of the provider."""
        import boto3
        from botocore.config import Config

        key = self.sandbox.key()
        session = boto3.Session(key.access_key, key.secret_key, region_name=region)
        return session.client(service, endpoint_url=self.variables["AWS_ENDPOINT_URL"], config=Config(s3={"addressing_style": "path"}))  # type: ignore[call-overload]


def changed(summary: Summary) -> dict[str, int]:
    """How many resources each operation other than `same` concerned."""
    return {operation: count for operation, count in summary.counts.items() if count and operation != "same"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A program whose engine stopped early leaves an open event loop, on a busy machine only after the sweep."""
    for item in items:
        if "bench" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, engine_binary: Path) -> Iterator[Bench]:
    """One sandbox for the session; each test uses a stack of its own."""
    sandbox = Sandbox(checkout(tmp_path_factory.mktemp("bench") / "checkout"))
    quiet = Progress(quiet=True)
    sandbox.start(quiet)
    yield Bench(sandbox, engine_binary, tmp_path_factory.mktemp("empty-stack"))
    sandbox.reset(quiet)
    _sweep()
