"""psql and other programs on the stack's database: verified TLS, the password in a file of mode 0600 that is gone afterwards."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from amianai_infra.database.credentials import Login
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.errors import MissingToolError, RefusedError

_PREFIX, _FILE = "amianai-psql-", "pgpass"
_ENDING = (signal.SIGTERM, signal.SIGHUP)

# Source: psql's options in src/bin/psql/startup.c. A connection string in -d outranks PGSSLMODE.
_PLACES = ("dbname", "host", "port", "username")
_PLACES_SHORT = frozenset("dhpU")
_VALUED = frozenset(
    ("command", "field-separator", "file", "log-file", "output", "pset", "record-separator", "set", "table-attr", "variable")
)
_VALUED_SHORT = frozenset("cfFLoPRTv")

# What is typed may hold passwords and people's data: neither psql nor its pager keeps it when it ends. The arrow keys work as ever.
# Source: psql's reference, HISTFILE; the manual of less, LESSHISTFILE.
_FORGETFUL = {"PSQL_HISTORY": os.devnull, "LESSHISTFILE": "-"}


def run(
    endpoint: Endpoint,
    login: Login,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    read_only: bool = False,
    bring: Callable[[], Path | None] = lambda: None,
) -> int:
    """Run psql until it ends; gives its exit code.

    Args:
        endpoint: the server.
        login: who connects.
        arguments: psql's own arguments.
        environ: the process environment, of which nothing about PostgreSQL is passed on.
        read_only: begin every transaction read-only.
        bring: gives a folder with psql, if one comes with the target, where none is installed.

    Raises:
        RefusedError: an argument says where or as whom to connect.
        MissingToolError: psql is not installed.
    """
    redirected = redirecting(arguments)
    if redirected is not None:
        raise RefusedError(
            f"psql would connect elsewhere, or less safely, by {redirected!r}; it was not started.",
            fix="leave out -d, -h, -p, -U and arguments that are no options; --role chooses the user; write long options in full",
        )
    psql = shutil.which("psql", path=environ.get("PATH"))
    if psql is None and (brought := bring()) is not None:
        psql = str(brought / "psql")
    if psql is None:
        raise MissingToolError("psql was not found.", where="PATH", fix="install it: apt install postgresql-client, or brew install libpq")
    with password_file(endpoint, login) as file:
        variables = environment(endpoint, login, file, environ, "amianai db shell")
        if read_only:
            variables["PGOPTIONS"] = "-c default_transaction_read_only=on"
        with _outlived():
            return subprocess.run([psql, *arguments], env=variables, check=False).returncode


def environment(endpoint: Endpoint, login: Login, passwords: Path, environ: Mapping[str, str], name: str) -> dict[str, str]:
    """The environment of a program of libpq's: the caller's, but all about PostgreSQL ours.

    Args:
        endpoint: the server.
        login: who connects.
        passwords: the password file.
        environ: the process environment.
        name: what the server is told is connecting.
    """
    variables = {key: value for key, value in environ.items() if not key.startswith("PG")}
    return variables | endpoint.libpq(login.user) | {"PGPASSFILE": str(passwords), "PGAPPNAME": name, **_FORGETFUL}


def program(name: str, environ: Mapping[str, str]) -> str:
    """The path of a program.

    Raises:
        MissingToolError: there is none of that name.
    """
    found = shutil.which(name, path=environ.get("PATH"))
    if found is None:
        raise MissingToolError(f"{name} was not found.", where="PATH", fix="install it, or give its path")
    return found


def run_program(endpoint: Endpoint, login: Login, command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a program of any kind that finds the database in its environment, but for the password; gives its exit code.

    Args:
        endpoint: the server.
        login: who connects.
        command: the program's path and its arguments.
        environ: the process environment, of which nothing about databases is passed on.
    """
    with password_file(endpoint, login) as file:
        kept = {name: value for name, value in environ.items() if not name.startswith("DATABASE_")}
        variables = environment(endpoint, login, file, kept, "amianai db run") | {
            "DATABASE_URL": endpoint.url(login.user),
            "DATABASE_HOST": endpoint.address or endpoint.host,
            "DATABASE_PORT": str(endpoint.port),
            "DATABASE_NAME": endpoint.database,
            "DATABASE_USER": login.user,
            "DATABASE_SERVER_NAME": endpoint.host,
            "DATABASE_CA": str(endpoint.ca),
            # Node's clients take no file of authorities from the variables of libpq.
            "NODE_EXTRA_CA_CERTS": str(endpoint.ca),
        }
        with _outlived():
            return subprocess.run(list(command), env=variables, check=False).returncode


def redirecting(arguments: Sequence[str]) -> str | None:
    """The first argument that says where or as whom to connect, in any of the spellings that getopt takes. Pure."""
    rest = iter(arguments)
    for one in rest:
        if one == "--":
            return next(rest, None)
        if not one.startswith("-") or one == "-":
            return one
        name, given, _ = one.removeprefix("--").partition("=")
        redirects, takes_next = _long(name, bool(given)) if one.startswith("--") else _short(one[1:])
        if redirects:
            return one
        if takes_next:
            next(rest, None)
    return None


def _long(name: str, given: bool) -> tuple[bool, bool]:
    """Whether it redirects, for which getopt takes abbreviations; and whether the next argument is its value."""
    return any(place.startswith(name) for place in _PLACES), name in _VALUED and not given


def _short(letters: str) -> tuple[bool, bool]:
    """The same of bundled letters: the first one with a value takes the rest."""
    for place, letter in enumerate(letters, 1):
        if letter in _PLACES_SHORT:
            return True, False
        if letter in _VALUED_SHORT:
            return False, place == len(letters)
    return False, False


@contextmanager
def password_file(endpoint: Endpoint, login: Login) -> Iterator[Path]:
    """libpq's password file for one login, in a private folder; removed at the end, or by `sweep` where we are killed."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        new = Path(folder) / "new"
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            path = new.rename(new.with_name(_FILE))  # `sweep` finds it now, when it is locked and still empty
            file.write(":".join(_escaped(part) for part in (endpoint.host, str(endpoint.port), "*", login.user, login.password)) + "\n")
            file.flush()
            yield path


def sweep() -> None:
    """Remove this user's password files that nobody holds any more, because their process was killed."""
    for file in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_FILE}"):
        with suppress(OSError):
            if file.parent.lstat().st_uid == os.getuid():
                with file.open() as held:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(file.parent)


def _escaped(part: str) -> str:
    return part if part == "*" else part.replace("\\", "\\\\").replace(":", "\\:")


@contextmanager
def _outlived() -> Iterator[None]:
    """Let Ctrl-C be psql's alone, and end in an orderly way when we are ended: the password file must go."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in _ENDING} | {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
