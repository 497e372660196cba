"""What an earlier release names stays in the folder it is fetched into."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from amianai_infra.errors import AmianaiError
from amianai_infra.site.manifest import Entry, Manifest, Summary
from amianai_infra.site.plan import Group, Upload
from amianai_infra.site.restore import fetch
from amianai_infra.site.store import CONNECTIONS, Content


class Store:
    """Has every file."""

    def get(self, key: str, version: str | None = None) -> Content:
        return Content(b"content", "e", version, 0.0)


def restore(folder: Path, *paths: str, store: Store | None = None) -> None:
    entry = Entry("e", 7, "text/plain", "no-cache", "v1")
    wanted = Manifest(Summary(1, "deploy", 1, "b", 1.0, 1.0, "me", "c", 1, 7, 1), dict.fromkeys(paths, entry))
    uploads = [Upload(path, 7, "e", "text/plain", "no-cache", Group.ASSETS, None) for path in paths]
    fetch(store or Store(), wanted, uploads, folder, lambda amount: None)


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


def test_an_interruption_begins_nothing_new_and_waits_for_what_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that outlive it would write into a folder that is being removed, and meet the interpreter's end."""
    asked: list[str] = []
    begun = threading.Event()
    join = threading.Thread.join

    class Slow(Store):
        def get(self, key: str, version: str | None = None) -> Content:
            asked.append(key)
            begun.set()
            time.sleep(0.2)
            return super().get(key, version)

    def pressed(self: threading.Thread, timeout: float | None = None) -> None:
        begun.wait()
        monkeypatch.setattr(threading.Thread, "join", join)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "join", pressed)
    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path, *(f"{number}.txt" for number in range(20 * CONNECTIONS)), store=Slow())
    assert not [one for one in threading.enumerate() if one.name == "restore"]
    assert len(asked) < 3 * CONNECTIONS
