"""Dumps in pg_dump's custom format, made and loaded by PostgreSQL's own programs: verified TLS, the password in no argument.

Source: PostgreSQL documentation, "pg_dump", "pg_restore", "psql". pg_dump refuses a server newer than itself; pg_restore of a newer version
than the server sets parameters that the server does not know.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from amianai_infra.database.credentials import Login
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.extensions import EXTENSIONS
from amianai_infra.database.guard import RESERVED
from amianai_infra.database.shell import environment, password_file
from amianai_infra.errors import AmianaiError, MissingToolError, RefusedError, first
from amianai_infra.naming import EXTENSIONS_SCHEMA

_PROGRAMS = ("pg_dump", "pg_restore", "psql")
_USUAL = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin")
_AUDIT, _LEDGER = RESERVED
_MOST_LINES = 8


# ---- the programs


def programs(server: int, environ: Mapping[str, str], bring: Callable[[], Path | None], *, newer: bool) -> Path:
    """The folder with pg_dump, pg_restore and psql of the server's version: installed here, or else brought.

    Args:
        server: the server's major version.
        environ: the process environment, whose PATH is looked through first.
        bring: gives the folder that comes with the target, if one does.
        newer: whether those of a newer version do as well.

    Raises:
        MissingToolError: there are none.
    """
    found: dict[int, Path] = {}
    for folder in _folders(environ):
        if all((folder / name).is_file() for name in _PROGRAMS):
            found.setdefault(_major(folder), folder)
    if server not in found and (brought := bring()) is not None:
        found[_major(brought)] = brought
    fitting = [version for version in found if version == server or (newer and version > server)]
    if fitting:
        return found[min(fitting)]
    versions = ", ".join(str(version) for version in sorted(found) if version) or "none"
    raise MissingToolError(
        f"pg_dump, pg_restore and psql of PostgreSQL {server} were not found; those of another version do not fit this server.",
        where=f"PATH and the folders of packages; versions found: {versions}",
        fix=f"`apt install postgresql-client-{server}` (PostgreSQL's own repository has every version), `brew install postgresql@{server}`",
    )


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    yield from (Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if folder)
    for pattern in _USUAL:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")))


def _major(folder: Path) -> int:
    """The version of its programs, 0 where they do not say it."""
    with suppress(OSError):
        told = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, errors="replace", check=False)
        number = re.search(r"\(PostgreSQL\) (\d+)", told.stdout)
        return int(number[1]) if number else 0
    return 0


# ---- dumping


def require_new(file: Path) -> None:
    """Refuse to write over a file, which may be the only copy of something."""
    if file.exists():
        raise RefusedError("A file of this name exists; nothing was written.", where=str(file), fix="name another one")


def dump(folder: Path, endpoint: Endpoint, login: Login, file: Path, environ: Mapping[str, str]) -> None:
    """Write everything that the role may read to a new file of mode 0600: whole, or not there.

    The audit records are left out, which nobody but the owner reads, and our extensions' schema, which `db migrate` makes.

    Raises:
        RefusedError: the file exists.
        AmianaiError: pg_dump failed.
    """
    require_new(file)
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise AmianaiError(f"The dump cannot be written: {error.strerror}.", where=str(file.parent)) from error
    os.close(handle)
    try:
        with password_file(endpoint, login) as passwords:
            without = (f"--exclude-schema={schema}" for schema in (_AUDIT, EXTENSIONS_SCHEMA))
            command = [str(folder / "pg_dump"), "--format=custom", "--no-owner", "--no-password", *without, f"--file={name}"]
            variables = environment(endpoint, login, passwords, environ, "amianai db dump")
            done = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode != 0:
            raise AmianaiError(
                "pg_dump failed; no file was written.",
                details=_said(done.stderr),
                fix=f"schemas of your own are yours to grant: USAGE, and SELECT on tables and sequences, to {login.user}",
            )
        Path(name).replace(file)
    finally:
        Path(name).unlink(missing_ok=True)


# ---- loading


@dataclass(frozen=True)
class Contents:
    """What a dump holds.

    Attributes:
        entries: lines of its list that are loaded.
        tables: how many of them are the rows of a table.
        made: when it was made, as pg_restore says.
        left_out: how many lines are not loaded: the audit records, our extensions, and rights that `db migrate` gives.
    """

    entries: Sequence[str]
    tables: int
    made: str
    left_out: int


def contents(folder: Path, file: Path) -> Contents:
    """Read a dump's list.

    Raises:
        RefusedError: it is no dump in the custom format, or has no ledger of migrations.
    """
    done = subprocess.run([folder / "pg_restore", "--list", file], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        raise RefusedError(
            "This is not a dump that can be loaded.",
            details=_said(done.stderr),
            where=str(file),
            fix="dumps are in pg_dump's custom format, as `amianai db dump` writes them",
        )
    text = done.stdout.decode(errors="surrogateescape")
    lines = [line for line in text.splitlines() if line and not line.startswith(";")]
    kept = [line for line in lines if _loaded(line)]
    if not any(f" TABLE DATA {_LEDGER} " in line for line in kept):
        raise RefusedError(
            "The dump has no ledger of migrations, so that `db migrate` could not go on from it; nothing was changed.",
            where=f"{file}: {_LEDGER}",
            fix="load one that `amianai db dump` made",
        )
    made = re.search(r"^; Archive created at (.+)$", text, re.MULTILINE)
    return Contents(kept, sum(" TABLE DATA " in line for line in kept), made[1] if made else "", len(lines) - len(kept))


# What `db migrate` itself makes; as `NUMBER; NUMBER NUMBER KIND SCHEMA NAME OWNER`.
_SETTLED = re.compile(r"^\d+; \d+ \d+ (DEFAULT ACL (public|-) |(SCHEMA - |(ACL|COMMENT) - SCHEMA )public )")


def _loaded(line: str) -> bool:
    words = line.split()
    ours = "EXTENSION" in words and any(name in words for name in EXTENSIONS)
    return not (_SETTLED.match(line) or ours or _AUDIT in words or EXTENSIONS_SCHEMA in words)


def load(
    folder: Path, endpoint: Endpoint, login: Login, file: Path, entries: Sequence[str], first_do: Sequence[str], environ: Mapping[str, str]
) -> None:
    """Run statements and then what the dump holds, in one transaction: whole or not at all.

    Args:
        folder: the programs, of the server's version.
        endpoint: the database.
        login: the owner.
        file: the dump.
        entries: what of it is loaded.
        first_do: SQL that runs before it in the same transaction.
        environ: the process environment.

    Raises:
        AmianaiError: it failed; nothing was changed.
    """
    with password_file(endpoint, login) as passwords, tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as heard:
        listed = Path(scratch) / "list"
        listed.write_text("\n".join(entries) + "\n", errors="surrogateescape")
        variables = environment(endpoint, login, passwords, environ, "amianai db load")
        settings = ("--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", "--set=SHOW_CONTEXT=never")
        command = [str(folder / "psql"), "--no-psqlrc", "--no-password", "--quiet", *settings, "--file=-"]
        read = [str(folder / "pg_restore"), "--no-owner", f"--use-list={listed}", "--file=-", str(file)]
        with (
            subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=heard) as psql,
            subprocess.Popen(read, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=heard) as restore,
        ):
            try:
                whole = _relay(psql, restore, first_do)
            except BaseException:
                restore.kill()
                psql.kill()
                raise
        if whole and psql.returncode == 0:
            return
        heard.seek(0)
        raise AmianaiError(
            "The connection was lost while the dump was being loaded; look at the database before you do it again."
            if whole and psql.returncode == _CONNECTION_LOST
            else "The dump could not be loaded; nothing was changed.",
            details=_said(heard.read()),
            where=str(file),
        )


# Source: PostgreSQL documentation, "psql", "Exit Status".
_CONNECTION_LOST = 2


def _relay(psql: subprocess.Popen[bytes], restore: subprocess.Popen[bytes], first_do: Sequence[str]) -> bool:
    """Give psql the whole transaction; gives whether all of it was there. What is cut off is not committed."""
    taken, given = cast("IO[bytes]", psql.stdin), cast("IO[bytes]", restore.stdout)
    with suppress(BrokenPipeError):  # psql has ended at an error, and says which
        try:
            taken.write("".join(f"{step};\n" for step in ("BEGIN", *first_do)).encode())
            shutil.copyfileobj(given, taken)
            if restore.wait() == 0:
                taken.write(b"COMMIT;\n")
                taken.flush()
                return True
        finally:
            given.close()  # or pg_restore would wait for a reader for ever
            with suppress(BrokenPipeError):
                taken.close()
    return False


def _said(text: bytes) -> list[str]:
    """What a program said at its end, without the values of rows that stand after a colon."""
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    return first([re.sub(r': ".*"$', ': "…"', line) for line in lines], _MOST_LINES)
