"""Every command sets its own umask: what it makes, others may not write to, whatever the shell was told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o644), (0o002, 0o644), (0o022, 0o644), (0o077, 0o600)])
def test_what_a_command_makes(tmp_path: Path, umask: int, mode: int) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: amianai-infra\nruntime: python\n")
    before = set(tmp_path.rglob("*"))
    done = subprocess.run(
        [Path(sys.executable).with_name("amianai"), "sandbox", "env"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AMIANAI_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )
    assert done.returncode == 0, done.stderr
    made = set(tmp_path.rglob("*")) - before
    assert (tmp_path / ".sandbox" / "ports.json").stat().st_mode & 0o777 == mode
    assert [str(path) for path in made if path.stat().st_mode & 0o022] == []
