"""What a build is made of: its name, and, where the settings declare it, whether there is anything to build.

Nobody but the build tool knows all that it reads: packages beside the site's folder, variables, a CMS, the clock. So a build is left out
only where `site.inputs` declares what it depends on. The name of a build merely has to be the same for the same sources and another one
after an edit, so that equal builds give equal files and open tabs notice a new version.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amianai_infra.errors import BuildError

_NO_SOURCES = frozenset({"node_modules", ".git", "next-env.d.ts", ".DS_Store"})


@dataclass(frozen=True)
class Sources:
    """What a build is made of.

    Attributes:
        files: the files that were looked at.
        build_id: names the build: their content and the public settings.
        fingerprint: the same, what is on this machine alone (`.env` files, variables passed on) and how it is built: equal, nothing need be
            built. Empty where the settings declare no inputs.
    """

    files: tuple[Path, ...]
    build_id: str
    fingerprint: str


def sources(
    folder: Path, output: Path, declared: Sequence[str], public: Mapping[str, str], passed: Mapping[str, str], how: Sequence[str]
) -> Sources:
    """Identify what would be built, without building it.

    Args:
        folder: the site.
        output: what the build fills; none of that is a source.
        declared: files, folders and patterns that the build depends on, relative to `folder`; empty where nobody says.
        public: public settings.
        passed: variables of this machine that the build gets.
        how: what else the result depends on, such as the command.

    Raises:
        BuildError: an input that was declared does not exist, or cannot be read.
    """
    found = _declared(folder, output, declared) if declared else _below(folder, output)
    files = tuple(sorted({Path(os.path.normpath(path)) for path in found}, key=os.fsencode))
    strict = bool(declared)
    build_id = _digest(folder, (path for path in files if not path.name.startswith(".env")), [dict(public)], strict=strict)
    # Variables by their digest: nothing of a value that is passed on is kept anywhere.
    values = {name: hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest() for name, value in passed.items()}
    local = sorted({*(path for path in files if path.name.startswith(".env")), *filter(Path.is_file, folder.glob(".env*"))})
    fingerprint = _digest(folder, local, [build_id, values, list(how)], strict=True) if declared else ""
    return Sources(files, build_id[:16], fingerprint)


def _digest(folder: Path, files: Iterable[Path], facts: Sequence[object], *, strict: bool) -> str:
    """One value for files and what else counts. A file is never in memory as a whole, and its name may be any bytes.

    Args:
        folder: names are relative to it.
        files: in order.
        facts: what else counts.
        strict: whether a file that cannot be read is an error; else its name alone counts.
    """
    digest = hashlib.sha256()
    for path in files:
        name = os.fsencode(os.path.relpath(path, folder))
        try:
            with path.open("rb") as stream:
                mode = os.fstat(stream.fileno()).st_mode & 0o111
                digest.update(name + b"\0%d\0" % mode + hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            if strict:
                raise BuildError(
                    "An input of the build cannot be read.",
                    where=f"{path}: {error.strerror}",
                    fix="make it readable, or correct site.inputs",
                ) from error
            digest.update(name + b"\0")
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def _declared(folder: Path, output: Path, declared: Sequence[str]) -> Iterator[Path]:
    for pattern in declared:
        found = glob.glob(pattern, root_dir=folder, recursive=True, include_hidden=True)  # noqa: PTH207 (pathlib takes no `.`)
        if not found:
            raise BuildError(
                f"The build's input {pattern!r} does not exist.",
                where=f"site.inputs, relative to {folder}",
                fix="correct site.inputs, or leave it empty: then the site is built at every deploy",
            )
        for name in found:
            path = folder / name
            if path.is_dir():
                yield from _below(path, output)
            elif path.is_file() and not path.is_relative_to(output):
                yield path


def _below(folder: Path, output: Path) -> Iterator[Path]:
    """The sources below a folder: what git would not ignore, else everything but installed packages and hidden folders."""
    filled = {os.path.realpath(output)}  # links lead there, too: Nuxt makes one
    listed = _listed_by_git(folder)
    if listed is None:
        yield from _walk(folder, output, filled - {os.path.realpath(folder)})
        return
    for path in listed:
        if not _NO_SOURCES.isdisjoint(path.relative_to(folder).parts) or path.is_relative_to(output) or path.suffix == ".tsbuildinfo":
            continue
        if path.is_dir():  # a link to a folder, or a repository in the repository
            yield from _walk(path, output, set(filled))
        elif path.is_file():
            yield path


def _listed_by_git(folder: Path) -> list[Path] | None:
    """What git tracks or would track; None without git, outside of a repository, and in a folder that the repository ignores."""
    command = ("git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    try:
        answer = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    names = [name for name in answer.stdout.split(b"\0") if name] if answer.returncode == 0 else []
    return [folder / os.fsdecode(name) for name in names] or None


def _walk(folder: Path, output: Path, seen: set[str]) -> Iterator[Path]:
    """Files below a folder; links to folders are followed, once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for path in folder.iterdir():
        if path.name in _NO_SOURCES or path == output or path.suffix == ".tsbuildinfo":
            continue
        if path.is_dir():
            if not path.name.startswith("."):
                yield from _walk(path, output, seen)
        elif path.is_file():
            yield path
