"""A stack file that is missing, or of another branch, on a second machine.

What this cannot prove: that a KMS key opens the state again. The lines that name it are written the same way.
"""

from __future__ import annotations

import pytest
import yaml

from tests.project import Deployed

pytestmark = pytest.mark.sandbox


@pytest.mark.soak
def test_a_missing_file_is_refused_and_written_back_from_the_state(deployed: Deployed) -> None:
    project = deployed.project
    file = project.root / ".sandbox/project/Pulumi.prod.yaml"
    project.run("--set", "database.backup_days=9", "up", "--yes")
    before = yaml.safe_load(file.read_text())
    file.unlink()
    for command in ("preview", "up", "setup"):
        refused = project.run(command, "--yes", code=3)
        assert "encryptionsalt" in refused.stderr
        assert "config pull" in refused.stderr
        assert not file.exists()
    assert "database.backup_days" in project.run("config", "pull").stdout
    after = yaml.safe_load(file.read_text())
    assert after["encryptionsalt"] == before["encryptionsalt"]
    assert after["config"].items() <= before["config"].items()
    assert not project.json("preview")["changed"]
    assert project.json("config", "pull")["written"] == []
    project.run("--set", "database.backup_days=7", "up", "--yes")
