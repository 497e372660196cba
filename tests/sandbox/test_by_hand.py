"""`pulumi` typed by hand in the environment that `amianai sandbox env` prints runs the same program and sees no change.

The official command line brings a Python language host. Here one is built from its last public Go module, for this test only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import Deployed

pytestmark = [pytest.mark.sandbox, pytest.mark.soak]

MODULE = Path(__file__).parent / "language_host"
PACKAGE = "github.com/pulumi/pulumi/sdk/v3"


@pytest.fixture(scope="session")
def language_host() -> Path:
    """A folder with `pulumi-language-python` and its launcher, built once into the cache."""
    if shutil.which("go") is None:
        pytest.skip("no Go here: the language host of a hand-typed `pulumi` cannot be built")
    cache = Path(os.environ.get("AMIANAI_CACHE") or Path.home() / ".cache" / "amianai-infra")
    folder = cache / f"language-host-{hashlib.sha256((MODULE / 'go.sum').read_bytes()).hexdigest()[:12]}"
    if not (folder / "pulumi-language-python").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["go", "build", "-trimpath", "-o", str(folder), f"{PACKAGE}/python/cmd/pulumi-language-python"], cwd=MODULE, check=True
        )
        source = subprocess.run(["go", "list", "-m", "-f", "{{.Dir}}", PACKAGE], cwd=MODULE, check=True, capture_output=True, text=True)
        launcher = shutil.copy(Path(source.stdout.strip()) / "python/cmd/pulumi-language-python-exec", folder)
        Path(launcher).chmod(0o755)
    return folder


@pytest.mark.parametrize("words", [["preview", "--diff", "--expect-no-changes"], ["up", "--yes", "--expect-no-changes"]])
def test_hand_typed_pulumi_sees_no_changes(
    deployed: Deployed, engine_binary: Path, language_host: Path, tmp_path: Path, words: list[str]
) -> None:
    env = {**deployed.project.environment(), **deployed.project.variables()}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), str(engine_binary.parent), str(language_host), env["PATH"]])
    done = subprocess.run(["pulumi", *words, "--stack", "prod"], check=False, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unchanged" in done.stdout
