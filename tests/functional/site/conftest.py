"""A world to release into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.site.s3_server import World, serving
from tests.functional.site.site_world import FakeTarget, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """An empty bucket behind a CDN, and a project without a site."""
    world = World()
    with serving(world) as (s3, cdn):
        yield Stage(world, FakeTarget(tmp_path, s3, cdn), s3, cdn)


@pytest.fixture
def addressed(stage: Stage) -> Iterator[Stage]:
    """The same, with a viewer function that answers by the release's table of addresses."""
    edge = stage.with_addresses()
    yield stage
    edge.close()
