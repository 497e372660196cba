"""Keeps the output of earlier builds out of a new one.

Many tools do not empty their output, and a page that was removed from the sources would be released for ever. So a build begins with an
empty folder. What lay there and was not written again is no part of the site; it is kept for a while, since it may have been made by hand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from amianai_infra.errors import BuildError

DAYS = 30
"""How long left-over files are kept."""


@dataclass
class Leftovers:
    """What lay in the output and was not written again.

    Attributes:
        folder: where it is now.
        paths: its paths in the output, when the build has ended.
    """

    folder: Path
    paths: tuple[str, ...] = ()


@contextmanager
def emptied(output: Path, kept: Path) -> Iterator[Leftovers]:
    """Empty the output for the build that the block runs; a build that fails finds it as it was.

    What git tracks is a source, though it lies in the output, and stays there.

    Args:
        output: what the build fills.
        kept: folder for what is left over.

    Raises:
        BuildError: the build wrote nothing.
    """
    kept.mkdir(parents=True, exist_ok=True)
    left = Leftovers(Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=kept)))
    tracked = _tracked(output)
    moved: list[str] = []
    try:
        _move_away(output, left.folder, tracked, moved)
        with _taken_back(output, left.folder.with_suffix(".failed"), tracked):
            yield left
            if moved and all(path in tracked for path in _files(output)):
                raise BuildError(
                    "The site's build wrote nothing; what is in the output is of an earlier one.",
                    where=str(output),
                    fix="correct the build or site.output; where there is nothing to build, site.build_command=true; for a build that goes"
                    " on from its last output, site.empty_output=false",
                )
    except BaseException:
        _move_back(moved, left.folder, output)
        raise
    left.paths = _only_there(left.folder, output)
    _expire(kept)


@contextmanager
def _taken_back(output: Path, aside: Path, tracked: frozenset[str]) -> Iterator[None]:
    """Remove what a build wrote that fails."""
    try:
        yield
    except BaseException:
        _move_away(output, aside, tracked, [])
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _move_away(output: Path, to: Path, tracked: frozenset[str], moved: list[str]) -> None:
    """Move whole folders where nothing below them is tracked."""
    above = {str(parent) for path in tracked for parent in Path(path).parents}

    def walk(folder: str) -> None:
        for entry in sorted(os.listdir(output / folder)):  # noqa: PTH208 (names may be any bytes)
            path = os.path.join(folder, entry)  # noqa: PTH118
            if path in above:
                walk(path)
            elif path not in tracked and path != ".git":  # a repository of its own, as of the branch of a site
                (to / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(output / path, to / path)
                moved.append(path)

    if output.is_dir():
        walk("")


def _move_back(moved: Sequence[str], place: Path, output: Path) -> None:
    for path in moved:
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(place / path, output / path)
    shutil.rmtree(place, ignore_errors=True)


def _tracked(folder: Path) -> frozenset[str]:
    """Files below a folder that git tracks in the repository around it, relative to the folder."""
    command = ("git", "-C", str(folder.parent), "ls-files", "-z", "--", folder.name)
    try:
        answer = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    names = map(os.fsdecode, filter(None, answer.stdout.split(b"\0"))) if answer.returncode == 0 else ()
    return frozenset(name.removeprefix(f"{folder.name}/") for name in names)


def _files(folder: Path) -> Iterator[str]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in names:
            yield os.path.relpath(os.path.join(where, name), folder)  # noqa: PTH118


def _only_there(kept: Path, output: Path) -> tuple[str, ...]:
    """Delete what was written again; gives the paths of the rest."""
    left = []
    for path in _files(kept):
        if os.path.lexists(output / path):
            (kept / path).unlink()
        else:
            left.append(path)
    for where, _, _ in os.walk(kept, topdown=False):
        if not os.listdir(where):  # noqa: PTH208
            Path(where).rmdir()
    return tuple(sorted(left))


def _expire(kept: Path) -> None:
    """Delete what is left over from builds long ago."""
    for folder in kept.iterdir():
        if time.time() - folder.stat().st_mtime > DAYS * 86400:
            shutil.rmtree(folder, ignore_errors=True)
