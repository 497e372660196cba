"""Whose sandbox a `.sandbox` is: the checkout's own, or one that came along when somebody copied another checkout.

A copy names the processes, ports, key and database of the checkout it was taken from, which goes on using them.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

_FILE = "origin.json"
_KEPT = "copied-"
LOCK = "lock"
"""The one file of a `.sandbox` that stays in its place whatever goes."""


@dataclass(frozen=True)
class _Origin:
    """What a sandbox says of itself: `cp -a` takes it along, and changes the inode; `mv` changes the path."""

    id: str
    path: str
    device: int
    inode: int


def sign(local: Path) -> None:
    """Note in a sandbox that it belongs where it is.

    Raises:
        OSError: the note cannot be written.
    """
    known = _read(local)
    found = local.stat()
    wanted = _Origin(known.id if known else secrets.token_hex(16), str(local), found.st_dev, found.st_ino)
    if wanted != known:
        fresh = local / f"{_FILE}.new"
        fresh.write_text(json.dumps(asdict(wanted)))
        fresh.replace(local / _FILE)


def copied_from(local: Path) -> Path | None:
    """The sandbox of which this one is a copy; None for its own, also after a move, and once the other one is gone."""
    mine = _read(local)
    if mine is None or mine.path == str(local) or _is_at(mine, local):
        return None
    other = Path(mine.path)
    theirs = _read(other)
    return None if theirs is None or theirs.id != mine.id or other.samefile(local) else other


def set_aside(local: Path) -> Path:
    """Move everything that came along into a folder of its own, so that nothing of it is used.

    Raises:
        OSError: it cannot be moved.
    """
    kept = local / f"{_KEPT}{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    kept.mkdir(mode=0o700)
    for path in sorted(local.iterdir(), key=lambda path: path.name == _FILE):  # the note last: until then it is a copy
        if path not in (kept, local / LOCK):
            path.rename(kept / path.name)
    return kept


def _is_at(origin: _Origin, local: Path) -> bool:
    try:
        found = local.stat()
    except OSError:
        return False
    return (origin.device, origin.inode) == (found.st_dev, found.st_ino)


def _read(local: Path) -> _Origin | None:
    try:
        found = _Origin(**json.loads((local / _FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return found if all(type(value) is kind for value, kind in zip(asdict(found).values(), (str, str, int, int), strict=True)) else None
