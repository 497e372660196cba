"""The site's own promise: equal sources, settings and build id give the same bytes, wherever it is built."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.project import CHECKOUT, Deployed

pytestmark = pytest.mark.sandbox

LEFT_OUT = shutil.ignore_patterns("out", ".next", "next-env.d.ts", "tsconfig.tsbuildinfo")


def digests(out: Path) -> dict[str, str]:
    """The digest of every built file."""
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in out.rglob("*") if path.is_file()}


@pytest.mark.frameworks
def test_another_folder_gives_the_files_that_were_deployed(deployed: Deployed, env_file: Path, tmp_path: Path) -> None:
    """With the `.env.local` of `amianai env`, whose values must be those that `deploy` builds with, but for the client for development."""
    deployed.project.run("env")
    site = deployed.project.root / "examples" / "site"
    build_id = json.loads((site / "out" / "version.json").read_text())["build"]
    other = tmp_path / "some" / "other (folder)"
    shutil.copytree(site, other, ignore=LEFT_OUT, symlinks=True)
    auth, local = deployed.summary["outputs"]["auth"], other / ".env.local"
    assert auth["development_client_id"] in local.read_text()
    local.write_text(local.read_text().replace(auth["development_client_id"], auth["client_id"]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEXT_")}
    subprocess.run(["npm", "run", "build"], cwd=other, env={**environment, "AMIANAI_BUILD_ID": build_id}, check=True, capture_output=True)

    again = digests(other / "out")
    assert again == digests(site / "out")
    assert f"_next/static/{build_id}/_buildManifest.js" in again


def test_lock_file_names_no_address() -> None:
    assert '"resolved"' not in (CHECKOUT / "examples" / "site" / "package-lock.json").read_text()
