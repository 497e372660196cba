"""What the other tests start commands with does what the console script does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.project import checkout

AMIANAI = str(Path(sys.executable).with_name("amianai"))


@pytest.mark.parametrize(
    ("words", "code"),
    [("--version", 0), ("no-such-command", 2), ("preview --json", 2), ("--sandbox sandbox status", 0), ("sandbox env", 2)],
)
def test_a_loaded_process_is_as_the_console_script(tmp_path: Path, words: str, code: int) -> None:
    root = checkout(tmp_path / "checkout")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AMIANAI_ROOT": str(root if words != "sandbox env" else tmp_path)}
    command = [AMIANAI, *words.split()]
    expected = subprocess.run(command, cwd=root, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    done = warm.run(command, root, env)
    assert expected.returncode == code
    assert (done.args, done.returncode, done.stdout, done.stderr) == (command, code, expected.stdout, expected.stderr)
