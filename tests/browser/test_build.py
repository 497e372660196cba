"""The site's own promise: equal sources, settings and build id give the same bytes, wherever it is built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.sandbox

CHECKOUT = Path(__file__).parents[2]
BUILT = ("out", ".next", "next-env.d.ts", "tsconfig.tsbuildinfo", ".env.local")


@pytest.fixture
def sources(request: pytest.FixtureRequest) -> Path:
    """The site with its packages installed: this checkout's, else the one that the sandbox deployed."""
    here = CHECKOUT / "examples" / "site"
    if (here / "node_modules").is_dir():
        return here
    try:
        return Path(request.getfixturevalue("deployed").project.root) / "examples" / "site"
    except pytest.FixtureLookupError:
        pytest.skip("the site's packages are not installed (npm ci in examples/site) and no sandbox deployed it")


def build(sources: Path, folder: Path) -> dict[str, str]:
    """Build a copy in `folder`; the digest of every file."""
    shutil.copytree(sources, folder, ignore=lambda top, names: set(BUILT) & set(names) if top == str(sources) else set(), symlinks=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEXT_")}
    subprocess.run(["npm", "run", "build"], cwd=folder, env={**environment, "AMIANAI_BUILD_ID": "same"}, check=True, capture_output=True)
    out = folder / "out"
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in out.rglob("*") if path.is_file()}


@pytest.mark.timeout(1500)  # two builds: 70 s on an idle machine, many times that on a busy one
def test_two_folders_give_the_same_files(sources: Path, tmp_path: Path) -> None:
    one = build(sources, tmp_path / "one")
    other = build(sources, tmp_path / "some" / "other (folder)")

    assert one == other
    assert "index.html" in one
    assert "_next/static/same/_buildManifest.js" in one


def test_lock_file_names_no_address(sources: Path) -> None:
    assert '"resolved"' not in (sources / "package-lock.json").read_text()
