"""A finished site that is given to `deploy`: a folder, an archive, or a tar stream on standard input.

An archive is unpacked without trust in what it says: nothing but regular files is ever made, so no link is there to be followed. A link in
it becomes the file of the archive that it names, or is refused. The extraction filters of `tarfile` let links be made, and were passed by
through them (CVE-2025-4517).
"""

from __future__ import annotations

import lzma
import os
import posixpath
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from amianai_infra.errors import BuildError, NotFoundError
from amianai_infra.site.manifest import outside

STREAM = "-"
LARGEST = 10 << 30
"""Bytes of an archive once it is unpacked."""
MOST = 500_000
"""Entries of an archive."""
_PIECE = 1 << 20
_ARCHIVES = (".tar.gz", ".tgz", ".zip", ".tar", ".tar.xz", ".tar.bz2")
_FINDERS = "__MACOSX"
"""The folder that macOS adds to archives."""


@dataclass(frozen=True)
class Given:
    """A finished site.

    Attributes:
        folder: where it lies.
        name: what the release records it was published from.
        unpacked: whether the folder is only for this release.
    """

    folder: Path
    name: str
    unpacked: bool = False


@contextmanager
def given(what: str, root: Path, scratch: Path, stream: IO[bytes] | None = None) -> Iterator[Given]:
    """The finished site that a person names.

    Args:
        what: a folder, an archive, or `-`.
        root: the project; names are recorded relative to it.
        scratch: where an archive is unpacked, and removed again.
        stream: what `-` stands for; standard input when not given.

    Raises:
        NotFoundError: there is nothing of that name.
        BuildError: it is no archive, is cut off or too large, or holds what no site has.
    """
    path = Path(what)
    name = what if what == STREAM else Path(os.path.relpath(path, root)).as_posix()
    if what != STREAM and path.is_dir():
        yield Given(path.absolute(), name)
        return
    if what != STREAM and not path.is_file():
        raise NotFoundError(
            "There is no such folder or archive.", where=str(path), fix=f"name a folder, or a file ({', '.join(_ARCHIVES)})"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="unpacked-", dir=scratch) as folder:
        _unpack(what, stream or sys.stdin.buffer, _Unpacking(Path(folder), "standard input" if what == STREAM else str(path)))
        yield Given(Path(folder), name, unpacked=True)


def _unpack(what: str, stream: IO[bytes], into: _Unpacking) -> None:
    broken = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)
    try:
        if what == STREAM:
            if stream.isatty():
                raise BuildError(
                    "Standard input is a terminal.", where="-", fix="give it a tar stream: `tar -C out -c . | amianai deploy -`"
                )
            _untar(stream, into)
        elif what.lower().endswith(".zip"):
            _unzip(Path(what), into)
        else:
            with Path(what).open("rb") as opened:
                _untar(opened, into)
        into.link()
    except broken as error:
        kind = "a zip archive" if what.lower().endswith(".zip") else "a tar archive (a .zip is given as a file)"
        raise BuildError(
            f"This cannot be read as {kind}: {error or type(error).__name__}.",
            where=into.where,
            fix="make it again, and check that what wrote it ended well; nothing was uploaded",
        ) from error
    except OSError as error:
        raise BuildError(f"The archive cannot be unpacked: {error}.", where=into.where, fix="nothing was uploaded") from error


class _Unpacking:
    """One archive on its way into a folder.

    Args:
        folder: where it goes.
        where: what the archive is called.
    """

    def __init__(self, folder: Path, where: str) -> None:
        self.folder = folder
        self.where = where
        self._left = LARGEST
        self._entries = 0
        self._links: dict[str, str] = {}

    def name(self, written: str) -> str:
        """An entry's path in the folder; empty for what is no part of a site.

        Raises:
            BuildError: it leads out of the folder.
        """
        self._entries += 1
        if self._entries > MOST:
            raise self._refused(f"It has more than {MOST} entries.")
        path = posixpath.normpath(written)
        if path == "." or path.split("/", 1)[0] == _FINDERS:
            return ""
        if outside(path):
            raise self._refused(f"An entry leads out of it, or into our own records: {written!r}.")
        return path

    def file(self, path: str, content: IO[bytes]) -> None:
        """Write one regular file.

        Raises:
            BuildError: the archive is larger than a site.
        """
        where = self.folder / path
        where.parent.mkdir(parents=True, exist_ok=True)
        try:
            with where.open("xb") as file:
                while piece := content.read(_PIECE):
                    self._left -= len(piece)
                    if self._left < 0:
                        raise self._refused(f"It has more than {LARGEST >> 30} GiB once it is unpacked.")
                    file.write(piece)
        except FileExistsError:
            raise self._refused(
                f"{path!r} is there twice, or differs from another name only in what this disk does not tell apart."
            ) from None

    def later(self, path: str, target: str) -> None:
        """Remember that an entry is the same file as another one of the archive."""
        self._links[path] = target

    def link(self) -> None:
        """Make the remembered ones, now that all files are there.

        Raises:
            BuildError: one leads to what is no file of the archive.
        """
        for path, first in self._links.items():
            target, seen = first, {path}
            while target in self._links and target not in seen:
                seen.add(target)
                target = self._links[target]
            if outside(target) or target in seen or not (self.folder / target).is_file():
                raise self._refused(f"{path!r} is a link to what is no file of it: {first!r}.")
            with (self.folder / target).open("rb") as content:
                self.file(path, content)

    def other(self, path: str, kind: str) -> BuildError:
        """The error for an entry that is neither file nor folder."""
        return self._refused(f"{path!r} is {kind}.")

    def _refused(self, what: str) -> BuildError:
        return BuildError(
            f"The archive is not published. {what}",
            where=self.where,
            fix="make it from the finished site alone; a folder can be given as it is; nothing was uploaded",
        )


def _untar(stream: IO[bytes], into: _Unpacking) -> None:
    """Unpack a tar archive, compressed or not, in one pass from its start to its end."""
    with tarfile.open(fileobj=stream, mode="r|*") as archive:
        for entry in archive:
            path = into.name(entry.name)
            if not path or entry.isdir():
                continue
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is not None:
                into.file(path, content)
            elif entry.issym():
                into.later(path, posixpath.normpath(posixpath.join(posixpath.dirname(path), entry.linkname)))
            elif entry.islnk():
                into.later(path, posixpath.normpath(entry.linkname))
            else:
                raise into.other(path, "a device or a pipe")
        # The end is marked by a block; what stops between two files, because its writer was killed, has none.
        if archive.fileobj is None or archive.fileobj.tell() <= archive.offset:
            raise tarfile.ReadError("it ends before its end is marked")


def _unzip(path: Path, into: _Unpacking) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = into.name(entry.filename)
            if not name or entry.is_dir():
                continue
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if stat.S_ISLNK(kind):
                with archive.open(entry) as content:
                    target = content.read(4096).decode("utf-8", "surrogateescape")
                into.later(name, posixpath.normpath(posixpath.join(posixpath.dirname(name), target)))
            elif kind in (0, stat.S_IFREG):
                with archive.open(entry) as content:
                    into.file(name, content)
            else:
                raise into.other(name, "a device or a pipe")
