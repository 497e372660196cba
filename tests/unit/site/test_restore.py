"""What an earlier release names stays in the folder it is fetched into."""

from __future__ import annotations

from pathlib import Path

import pytest

from amianai_infra.errors import AmianaiError
from amianai_infra.site.manifest import Entry, Manifest, Summary
from amianai_infra.site.plan import Group, Upload
from amianai_infra.site.restore import fetch
from amianai_infra.site.store import Content


class Store:
    """Has every file."""

    def get(self, key: str, version: str | None = None) -> Content:
        return Content(b"content", "e", version, 0.0)


def restore(folder: Path, path: str) -> None:
    wanted = Manifest(Summary(1, "deploy", 1, "b", 1.0, 1.0, "me", "c", 1, 7, 1), {path: Entry("e", 7, "text/plain", "no-cache", "v1")})
    fetch(Store(), wanted, [Upload(path, 7, "e", "text/plain", "no-cache", Group.ASSETS, None)], folder, lambda amount: None)


def test_a_file_is_written_where_it_belongs(tmp_path: Path) -> None:
    restore(tmp_path, "a/b.txt")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"content"


@pytest.mark.parametrize("absolute", [True, False])
def test_nothing_is_written_elsewhere(tmp_path: Path, absolute: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(AmianaiError, match="no file of the site"):
        restore(folder, str(tmp_path / "escaped") if absolute else "../escaped")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
