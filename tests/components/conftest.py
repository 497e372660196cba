"""What every component is tested with."""

from __future__ import annotations

import contextvars

import pytest

from tests.components.recorder import Record, record_program


@pytest.fixture
def record() -> Record:
    """Runs what it is given as a Pulumi program and tells what was registered."""
    return lambda build, tags=None: contextvars.Context().run(record_program, build, tags)
