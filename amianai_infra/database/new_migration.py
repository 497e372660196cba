"""A new, empty file in the folder of the project's own migrations, under the next name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from amianai_infra.database.migrate import PROJECT, TIME, Migration, read_folder
from amianai_infra.errors import ConfigurationError, RefusedError

_TIME_DIGITS, _NUMBERS = 14, 10**8


def words(name: str) -> str:
    """A name as file names have it: `Add avatars` is `add_avatars`. Pure.

    Raises:
        ConfigurationError: nothing of it can be in a file name.
    """
    found = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not found or not name.isascii():
        raise ConfigurationError(
            f"{name!r} is no name for a migration.", fix="use letters, digits and spaces: `amianai db new add_avatars`"
        )
    return found


def next_version(files: Sequence[Migration], now: datetime, *, time: bool = False) -> str:
    """The version that follows those of a folder, in their form: a number, or a time. Pure.

    Args:
        files: of the folder, in order.
        now: in UTC.
        time: begin with times.
    """
    last = files[-1].version if files else "0000"
    if not time and int(last) + 1 < _NUMBERS:
        return f"{int(last) + 1:0{len(last)}d}"
    if len(last) == _TIME_DIGITS:  # two in one second, or the clock of somebody else
        now = max(now, datetime.strptime(last, TIME).replace(tzinfo=now.tzinfo) + timedelta(seconds=1))
    return now.strftime(TIME)


def create(folder: Path, name: str, now: datetime, *, time: bool = False, transaction: bool = True) -> Path:
    """Make the file; nothing is ever written over.

    Args:
        folder: of the project's migrations; made where it is missing.
        name: what the migration does, in words.
        now: in UTC.
        time: name it by the time although the folder has numbers.
        transaction: whether it is to run in one.

    Raises:
        ConfigurationError: the name cannot be used, or another file's cannot.
        RefusedError: somebody else has just made it.
    """
    chosen = words(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{next_version(read_folder(folder, PROJECT), now, time=time)}_{chosen}.sql"
    lines = [*([] if transaction else ["-- no-transaction"]), f"-- {name.strip()}", ""]
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines))
    except FileExistsError as error:
        raise RefusedError("The file is there already; it was left as it is.", where=str(path), fix="run it again") from error
    return path
