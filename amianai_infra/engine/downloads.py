"""Archives from the network: fetched with patience, and the same ones everywhere.

No public packager lists the checksums of the releases we use, so the first one that is seen is kept in the project's lock file,
which belongs into git: every other machine, and CI, refuses anything else (docs/adr/0015).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amianai_infra.errors import ConfigurationError, EngineError, RefusedError, UnreachableError
from amianai_infra.progress import Progress, Task

LOCK_FILE = "amianai.lock.json"
_CONNECT_SECONDS = 4.0
_READ_SECONDS = 60.0
_KEY = "sha256"


@dataclass(frozen=True)
class Checksums:
    """The SHA-256 of every archive that this project has installed programs from.

    Args:
        root: the project, whose lock file they are kept in.
    """

    root: Path

    @property
    def file(self) -> Path:
        """The lock file."""
        return self.root / LOCK_FILE

    def seen(self) -> dict[str, str]:
        """Checksums by name of the archive.

        Raises:
            ConfigurationError: the lock file is no lock file of ours.
        """
        try:
            content = json.loads(self.file.read_bytes())
            return {str(name): str(digest) for name, digest in content[_KEY].items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fix = "take it from git again (`git checkout -- " + LOCK_FILE + "`)"
            raise ConfigurationError("The lock file cannot be understood.", where=f"{self.file}: {error}", fix=fix) from error

    def require(self, archive: str, digest: str, source: str) -> None:
        """Refuse another archive than the one that was seen first.

        Raises:
            RefusedError: this is another one.
        """
        known = self.seen().get(archive)
        if known not in (None, digest):
            raise RefusedError(
                f"{archive} is not the archive that this project was first set up with; nothing of it is run.\n"
                f"  first seen: {known}\n  now:        {digest}",
                where=f"{source}; {self.file}",
                fix="find out which of the two is the real one (the release's own list, another network) before you change the lock file",
            )

    def keep(self, archive: str, digest: str, source: str, progress: Progress) -> None:
        """Keep the checksum where none was seen before, and say that the lock file belongs into git.

        Raises:
            RefusedError: another one was.
        """
        self.require(archive, digest, source)
        seen = self.seen()
        if archive not in seen:
            fresh = self.file.with_name(f".{LOCK_FILE}.{os.getpid()}")
            fresh.write_text(json.dumps({_KEY: dict(sorted({**seen, archive: digest}.items()))}, indent=2) + "\n", encoding="utf-8")
            fresh.replace(self.file)
            progress.note(f"First seen: {archive}. Its checksum is in {LOCK_FILE}, for every other machine: commit it.")


def save(url: str, file: Path, task: Task) -> str:
    """Download into a file; gives its SHA-256.

    Raises:
        UnreachableError: it cannot be had.
    """
    digest = hashlib.sha256()
    with file.open("wb") as sink:
        for part in fetch(url, task):
            sink.write(part)
            digest.update(part)
    return digest.hexdigest()


def fetch(url: str, task: Task | None = None) -> Iterator[bytes]:
    """Download with a short patience for connecting: many networks drop what they do not allow."""
    import http.client
    import urllib.request

    done = 0
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as answer:  # noqa: S310  (a constant https address)
            _patient(answer)
            size = int(answer.headers.get("Content-Length") or 0)
            if task is not None and size:
                task.total(size)
            while part := answer.read(1 << 18):
                yield part
                done += len(part)
                if task is not None:
                    task.advance(len(part))
                    task.say(f"downloading, {done >> 20} of {size >> 20} MB")
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError("A download cannot be reached.", where=f"{url}: {error}") from error


def _patient(answer: object) -> None:
    """Once connected, a slow download may take its time."""
    raw = getattr(getattr(answer, "fp", None), "raw", None)
    sock = getattr(raw, "_sock", None)
    if sock is not None:
        sock.settimeout(_READ_SECONDS)


def require_space(folder: Path, needed: int, fix: str) -> None:
    """Refuse to begin what will not fit.

    Raises:
        EngineError: fewer than `needed` bytes are free.
    """
    import shutil

    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EngineError(f"Only {free >> 20} MB are free on the disk; {needed >> 20} are needed.", where=str(folder), fix=fix)
