"""Fetches the files of an earlier release from the versions that the bucket keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from amianai_infra.errors import AmianaiError, NotFoundError
from amianai_infra.site.execute import leave
from amianai_infra.site.manifest import Manifest
from amianai_infra.site.plan import Upload
from amianai_infra.site.store import CONNECTIONS, Content


class Store(Protocol):
    """What a restore needs of the bucket."""

    def get(self, key: str, version: str | None = None) -> Content:
        """Read one version of an object; NotFoundError when it is gone."""
        ...


def fetch(store: Store, wanted: Manifest, uploads: Sequence[Upload], folder: Path, advance: Callable[[int], None]) -> None:
    """Write the files of an earlier release that are not live any more into a folder.

    Raises:
        NotFoundError: one of them is no longer kept; nothing was changed.
    """
    waiting = iter(uploads)
    turn = threading.Lock()
    failed: list[BaseException] = []

    def work() -> None:
        while not failed:
            with turn:
                upload = next(waiting, None)
            if upload is None:
                return
            try:
                _one(store, wanted, upload, folder)
            except BaseException as error:
                failed.append(error)
                return
            advance(1)

    threads = [threading.Thread(target=work, name="restore", daemon=True) for _ in range(min(CONNECTIONS, len(uploads)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:
        failed.append(error)
        leave(threads)
        raise
    if failed:
        raise failed[0] if isinstance(failed[0], AmianaiError) else AmianaiError(f"Reading an old release failed: {failed[0]}")


def _one(store: Store, wanted: Manifest, upload: Upload, folder: Path) -> None:
    entry = wanted.files[upload.path]
    if entry.version is None:
        raise NotFoundError(
            f"{upload.path} of release {wanted.number} is not kept: the bucket had no versions when it was released.",
            fix="check that release out and deploy it",
        )
    try:
        content = store.get(upload.path, entry.version)
    except NotFoundError as error:
        raise NotFoundError(
            f"{upload.path} of release {wanted.number} has expired; nothing was changed.",
            where=f"version {entry.version}",
            fix=f"check out commit {wanted.summary.commit.rstrip('+') or '(unknown)'} and deploy it",
        ) from error
    path = folder / upload.path
    if not path.resolve().is_relative_to(folder.resolve()):
        raise AmianaiError(f"Release {wanted.number} names what is no file of the site: {upload.path!r}.", where="nothing was changed")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.data)
