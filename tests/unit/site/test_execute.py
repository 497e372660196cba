"""Uploads stop as soon as the release must not go on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from amianai_infra.errors import LockedError
from amianai_infra.site.execute import Executor
from amianai_infra.site.plan import Group, Upload
from amianai_infra.site.store import Written
from amianai_infra.site.tree import PART, scan


class Store:
    """Remembers what it was given; the lock is lost once there are `most` pieces."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.pieces: list[str] = []
        self.whole: list[str] = []

    def check(self) -> None:
        if len(self.pieces) >= self.most:
            raise LockedError("Somebody else took over the release lock.")

    def put(self, key: str, data: bytes, attributes: dict[str, str], *, replaces: str | None) -> Written:
        self.pieces.append(key)
        self.whole.append(key)
        return Written(hashlib.md5(data, usedforsecurity=False).hexdigest(), None)

    def put_parts(self, key: str, parts: Iterator[bytes], attributes: dict[str, str]) -> Written:
        for _ in parts:
            self.pieces.append(key)
        self.whole.append(key)
        return Written("", None)


def executor(root: Path, store: Store) -> tuple[Executor, list[Upload]]:
    uploads = [Upload(file.path, file.size, file.etag, "text/plain", "no-cache", Group.ASSETS, None) for file in scan(root)]
    return Executor(root, store, store.check, lambda amount: None, connections=1), uploads


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_lost_lock_stops_the_group_at_the_next_file(tmp_path: Path, size: int) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.txt").write_bytes(b"x" * size)
    store = Store(3)
    run, uploads = executor(tmp_path, store)
    with pytest.raises(LockedError, match=r"took over the release lock; 3 of 20 files were uploaded, 17 were not"):
        run.run(uploads)
    assert store.whole == ["00.txt", "01.txt", "02.txt"]


@pytest.mark.parametrize("most", [1, 2])
def test_a_lost_lock_stops_a_big_file_at_the_next_part(tmp_path: Path, most: int) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(2 * PART + 1))
    store = Store(most)
    run, uploads = executor(tmp_path, store)
    with pytest.raises(LockedError, match="took over"):
        run.run(uploads)
    assert len(store.pieces) == most
    assert store.whole == [], "an upload in parts that is not completed writes nothing"


def test_a_kept_lock_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(2 * PART + 1))
    (tmp_path / "small.txt").write_text("x")
    store = Store(100)
    run, uploads = executor(tmp_path, store)
    assert sorted(run.run(uploads)) == ["big.bin", "small.txt"]
