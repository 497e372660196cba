"""The local side of a release: every file of the built site with the ETag that S3 would give it.

Files are compared by content alone. Size and time say nothing: a fresh checkout changes every time, and an edit need
not change a size.

Source: Amazon S3 User Guide, "Checking object integrity" (ETags) and "Naming Amazon S3 objects" (1,024 bytes).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from amianai_infra.errors import BuildError, first
from amianai_infra.rules.content_types import TYPES, content_encoding, type_of, with_charset
from amianai_infra.rules.headers import ANY_INLINE, WEB_ASSEMBLY
from amianai_infra.rules.inline_scripts import needed_by, words
from amianai_infra.site.manifest import outside

PART = 5 * 1024 * 1024
"""Files above this size are uploaded in parts of this size (S3's smallest), which bounds memory."""

RESERVED = ".amianai"
LONGEST_KEY = 1024
_JUNK = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_SHOWN = 10
_PAGE = 64 * 1024
_HEAD = 64 * 1024
PAGE_TYPES = ("text/html", "application/xhtml+xml")
SCRIPT_TYPE = "text/javascript"
_WASM = "application/wasm"
_PACKED = frozenset((".br", ".gz", ".svgz"))
_REGISTERING = frozenset((".html", ".htm", ".js", ".mjs"))
_REGISTERED = rb"""(?:serviceWorker[^;{}]{0,60}?\.register|new Workbox)\(\s*(?:new URL\(\s*)?["'`]([^"'`\s]{1,500})["'`]"""
"""How pages register a worker, by the browser's own call or through Workbox's window module."""


class Located(Protocol):
    """What is to be read from the disk: a path, and where it lies where that is somewhere else."""

    @property
    def path(self) -> str:
        """The address."""

    @property
    def source(self) -> str:
        """Where it lies."""


class File(NamedTuple):
    """One file of the built site.

    Attributes:
        path: below the site's root, with `/`.
        size: bytes.
        etag: what S3 answers for this content: its MD5, or the MD5 of its parts' MD5s and their number.
        content_type: its Content-Type.
        headers: further headers of its answer, by lower-case name, in order of name.
        workers: addresses that it registers as service workers, as they are written.
        source: where it lies, relative to the site's output or absolute; empty where that is its path.
        scripts: what its policy has to allow of the scripts within a page; see `inline_scripts`.
        needs: what its scripts need of every policy of the release.
    """

    path: str
    size: int
    etag: str
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
    workers: tuple[str, ...] = ()
    source: str = ""
    scripts: str = ""
    needs: str = ""


def scan(root: Path, ignored: Callable[[str], bool] = lambda path: False) -> list[File]:
    """Every file below `root`, in order of path.

    Links to files inside the tree are published as the files they point to. A name is published in its composed form (NFC), which
    visitors ask for, also where the file system keeps it decomposed, as macOS does.

    Args:
        root: the folder.
        ignored: whether a file, or a folder (its path ends in `/`), is left out.

    Raises:
        BuildError: names of everything that cannot be published, with the reason: links that leave the tree or lead
            nowhere, links to folders, devices, names that are no UTF-8, hold control characters or are too long, two names for one address.
    """
    if not root.is_dir():
        raise BuildError("The site's output folder does not exist.", where=str(root), fix="build the site, or correct site.output")
    problems: list[str] = []
    known: dict[str, str] = {}
    files = [describe(path, where, known) for path, where in _walk(str(root), os.path.realpath(root), ignored, problems)]
    problems += _twice(files)
    if problems:
        raise BuildError(
            "The site's output holds what cannot be published:",
            details=first(problems, _SHOWN),
            where=str(root),
            fix="rename or remove what is named above, then run the command again; nothing was uploaded",
        )
    files.sort(key=lambda file: file.path)
    return files


def _walk(root: str, real_root: str, ignored: Callable[[str], bool], problems: list[str]) -> Iterator[tuple[str, str]]:
    folders = [(root, "")]
    while folders:
        folder, prefix = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                path = prefix + entry.name
                if entry.name in _JUNK or ignored(path + "/" if entry.is_dir(follow_symlinks=False) else path):
                    continue
                problem = _problem(entry, path, real_root)
                if problem:
                    problems.append(f"{path.encode('utf-8', 'backslashreplace').decode()!r}: {problem}")
                elif entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, path + "/"))
                else:
                    yield path, entry.path


def _problem(entry: os.DirEntry[str], path: str, real_root: str) -> str:
    """Why this cannot be published; empty when it can."""
    if entry.is_symlink():
        problem = _link_problem(entry, real_root)
    elif entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
        problem = ""
    else:
        problem = f"is no regular file ({stat.filemode(entry.stat(follow_symlinks=False).st_mode)})"
    return problem or _name_problem(path)


def _link_problem(entry: os.DirEntry[str], real_root: str) -> str:
    target = os.path.realpath(entry.path)
    if not os.path.exists(target):  # noqa: PTH110
        return f"is a link that leads nowhere ({os.readlink(entry.path)})"  # noqa: PTH115
    if os.path.commonpath([target, real_root]) != real_root:
        return f"is a link out of the site's output ({target})"
    if not os.path.isfile(target):  # noqa: PTH113
        return f"is a link to a folder ({target})"
    return ""


def _twice(files: Iterable[File]) -> list[str]:
    """The files whose names differ on the disk and not as addresses."""
    composed = {file.path for file in files if file.source}
    named = sorted((file.path, file.source or file.path) for file in files if file.path in composed)
    return [f"{one[1]!r} and {other[1]!r} are one address" for one, other in pairwise(named) if one[0] == other[0]]


def _name_problem(path: str) -> str:
    if path.isascii() and path.isprintable() and len(path) <= LONGEST_KEY and not outside(path):
        return ""
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if length > LONGEST_KEY:
        return f"its path has {length} bytes; S3 takes {LONGEST_KEY}"
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in path):
        return "its name holds a control character"
    if path == RESERVED or path.startswith(RESERVED + "/"):
        return f"{RESERVED}/ is where the releases' records are kept"
    return "its name reads as a path to somewhere else" if outside(path) else ""


def describe(path: str, where: str, known: dict[str, str]) -> File:
    """Read and describe one file. `known` remembers the content types by extension, for speed."""
    descriptor = os.open(where, os.O_RDONLY)
    try:
        data = read_small(descriptor)
        size, etag = parts_etag(descriptor) if data is None else (len(data), _md5(data))
        head = os.pread(descriptor, _HEAD, 0) if data is None else data
        dot = path.rfind(".", path.rfind("/") + 1)
        suffix = path[dot:].lower() if dot >= 0 else ""
        kind = known.get(suffix) or type_of(path, head)
        if suffix in TYPES and suffix not in _PACKED:
            known[suffix] = kind
        if kind.endswith("utf-8"):
            kind = with_charset(kind, (data,) if data is not None else _pieces(descriptor))
    finally:
        os.close(descriptor)
    encoding = content_encoding(path, head) if suffix in _PACKED else ""
    workers = _workers(head) if suffix in _REGISTERING and b"orker" in head else ()
    composed = path if path.isascii() else unicodedata.normalize("NFC", path)
    headers = (("content-encoding", encoding),) if encoding else ()
    scripts, needs = _policy(kind, head, whole=data is not None and not encoding)
    return File(composed, size, etag, kind, headers, workers, path if path != composed else "", scripts, needs)


def _policy(kind: str, data: bytes, *, whole: bool) -> tuple[str, str]:
    """What a page's own policy has to allow, and what every policy of the release."""
    if kind.startswith(PAGE_TYPES):
        return words(data, kind.partition("charset=")[2]) if whole else (ANY_INLINE, "")
    if kind.startswith(SCRIPT_TYPE):
        return "", needed_by(data)
    return "", WEB_ASSEMBLY if kind == _WASM else ""


def located(root: Path | str, one: Located) -> str:
    """Where a file lies on the disk."""
    return one.source if one.source.startswith("/") else f"{root}/{one.source or one.path}"


def _workers(data: bytes) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found.decode("utf-8", "replace") for found in re.findall(_REGISTERED, data)))


def _pieces(descriptor: int) -> Iterator[bytes]:
    """A file from its start, a part at a time."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        yield from parts(stream)


def read_small(descriptor: int) -> bytes | None:
    """The whole file, when it is no longer than one part; None when it is, or grows while it is read.

    Asking for a part at once would have the system find five megabytes for every small file: four times as slow.
    """
    data = os.read(descriptor, _PAGE)
    size = os.fstat(descriptor).st_size
    if size > PART:
        return None
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data if len(data) == size else None


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def parts_etag(descriptor: int) -> tuple[int, str]:
    """Size and ETag of a file, read in parts from its start."""
    digests: list[bytes] = []
    size = 0
    for part in _pieces(descriptor):
        digests.append(hashlib.md5(part, usedforsecurity=False).digest())
        size += len(part)
    if len(digests) > 1:
        return size, etag_of_parts(digests)
    return size, digests[0].hex() if digests else _md5(b"")


def etag_of_parts(digests: list[bytes]) -> str:
    """The ETag of an upload in several parts, from the parts' MD5 digests."""
    return f"{_md5(b''.join(digests))}-{len(digests)}"


def parts(stream: BinaryIO) -> Iterator[bytes]:
    """A buffered stream in pieces of exactly `PART` bytes, the last one shorter."""
    while part := stream.read(PART):
        yield part
