"""The ledger set right by a person: files recorded without running, and files that were edited after they had been applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from amianai_infra.database.migrate import TABLES, Applied, Migration, ledger, locked, plan, record
from amianai_infra.database.no_transaction import Begun
from amianai_infra.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from psycopg import Connection

NOT_RUN = "(baseline: not run)"
"""Follows who recorded a file, in the ledger's `applied_by`."""


def to_baseline(files: Sequence[Migration], known: Sequence[Applied], half: Sequence[Begun], source: str, through: str) -> list[Migration]:
    """The files of a source up to a version, as far as they are not in the ledger. Pure.

    Raises:
        NotFoundError: no file of the source has that version.
        RefusedError: all are there already, or files and ledger contradict each other.
    """
    if not any(one.source == source and int(one.version) == int(through) for one in files):
        raise NotFoundError(
            f"No migration of {source} has the version {through}.", fix="`amianai db migrate --dry-run` lists what is not applied"
        )
    chosen = [one for one in plan(files, known, half) if one.source == source and int(one.version) <= int(through)]
    if not chosen:
        raise RefusedError(f"Every migration of {source} up to {through} is in the ledger already; nothing was changed.")
    return chosen


def baseline(connection: Connection[Any], chosen: Sequence[Migration], by: str, say: Callable[[str], None]) -> list[Applied]:
    """Record files as applied. Nothing of them runs.

    Args:
        connection: the owner's.
        chosen: as `to_baseline` gave them.
        by: who does it.
        say: told when somebody else has to be waited for.

    Raises:
        RefusedError: the ledger has changed since.
    """
    with locked(connection, say), connection.transaction():
        _require_absent(ledger(connection), chosen)
        connection.execute(TABLES)
        return [record(connection, one, f"{by} {NOT_RUN}", timedelta(0)) for one in chosen]


def _require_absent(known: Sequence[Applied], chosen: Sequence[Migration]) -> None:
    there = {(one.source, int(one.version)) for one in known}
    if any((one.source, int(one.version)) in there for one in chosen):
        raise RefusedError("Another run has recorded one of them meanwhile; nothing was changed.", fix="look again: `amianai db status`")


@dataclass(frozen=True)
class Repair:
    """A line of the ledger, and the file that it is to follow."""

    line: Applied
    file: Migration

    def text(self) -> list[str]:
        """For a person."""
        lines = [str(self.file), f"  recorded  sha256:{self.line.sha256}", f"  the file  sha256:{self.file.sha256}  {self.file.path}"]
        return lines if self.line.name == self.file.name else [*lines, f"  recorded as {self.line}"]

    def as_dict(self) -> dict[str, str]:
        """For `--json`."""
        return {"migration": str(self.file), "was": str(self.line), "old_sha256": self.line.sha256, "new_sha256": self.file.sha256}


def to_repair(files: Sequence[Migration], known: Sequence[Applied], versions: Sequence[str]) -> list[Repair]:
    """The files that were edited or renamed since they had been applied. Pure.

    Args:
        files: every migration.
        known: the ledger.
        versions: of these alone; empty: of all.

    Raises:
        RefusedError: none was, or not every one that is named.
    """
    lines = {(one.source, int(one.version)): one for one in known}
    pairs = [Repair(lines[key], one) for one in files if (key := (one.source, int(one.version))) in lines]
    changed = [one for one in pairs if (one.line.sha256, one.line.name) != (one.file.sha256, one.file.name)]
    chosen = [one for one in changed if not versions or one.file.version in versions]
    missing = sorted(set(versions) - {one.file.version for one in chosen})
    if missing or not chosen:
        what = f"No migration {', '.join(missing)} was edited" if missing else "No migration was edited or renamed"
        raise RefusedError(f"{what} since it had been applied; nothing was changed.")
    return chosen


def repair(connection: Connection[Any], chosen: Sequence[Repair], say: Callable[[str], None]) -> None:
    """Give lines of the ledger the checksum and the name of their files. Nothing runs.

    Raises:
        RefusedError: the ledger has changed since.
    """
    query = "UPDATE amianai_migrations.applied SET sha256 = %s, name = %s WHERE (source, version, sha256, name) = (%s, %s, %s, %s)"
    with locked(connection, say), connection.transaction():
        for one in chosen:
            line, file = one.line, one.file
            found = connection.execute(query, (file.sha256, file.name, line.source, line.version, line.sha256, line.name))
            if found.rowcount != 1:
                raise RefusedError(f"The line of {line} has changed meanwhile; nothing was changed.", fix="look again: `amianai db status`")
