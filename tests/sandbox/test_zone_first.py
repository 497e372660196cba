"""On AWS the zone comes first, alone, so that the registrar can delegate to it: the engine takes that targeted update.

Proved with the sandbox's services, because the targets are the same; who answers for the domain on the internet cannot be.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from amianai_infra.cli.options import App
from amianai_infra.operations import change, setup
from tests.project import copy_project

pytestmark = pytest.mark.sandbox


def test_the_zone_alone_is_made_first(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "checkout")
    app = App(sandbox=True, environ=project.environment({"AMIANAI_ROOT": str(project.root)}))
    app.target.ready()
    try:
        engine = app.engine()
        change.configure(app, engine)
        assert setup._zone(app, engine).servers
        made = [one.type for one in engine.resources() if one.type.startswith("aws:")]
        assert made == [change.ZONE_TYPE]
    finally:
        project.run("sandbox", "reset", "--confirm", "sandbox")
