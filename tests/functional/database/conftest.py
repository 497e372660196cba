"""One sandbox for all tests of the database; each takes databases of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from amianai_infra.sandbox import SandboxTarget
from tests.database import QUIET, Database, new_database, running_sandbox

_NUMBERS = count(1)
NewDatabase = Callable[[], Database]


@pytest.fixture(scope="session")
def database_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxTarget]:
    """A running sandbox; tests that stop its server leave it running."""
    target = running_sandbox(tmp_path_factory.mktemp("database") / "checkout")
    yield target
    target.sandbox.reset(QUIET)


@pytest.fixture(scope="session")
def make_database(database_sandbox: SandboxTarget) -> NewDatabase:
    """Makes an empty database."""
    return lambda: new_database(database_sandbox, f"product{next(_NUMBERS)}")


@pytest.fixture
def database(make_database: NewDatabase) -> Database:
    """An empty database of the test's own."""
    return make_database()


@pytest.fixture(scope="module")
def shared(make_database: NewDatabase) -> Database:
    """An empty database for a whole module."""
    return make_database()
