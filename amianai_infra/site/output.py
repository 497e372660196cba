"""Judges a finished site before any of it is published."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from amianai_infra.errors import BuildError, RefusedError
from amianai_infra.naming import is_id
from amianai_infra.rules.cache import glob
from amianai_infra.site.plan import VERSION_FILE, Upload
from amianai_infra.site.tree import File

_SHOWN = 20
_PICTURES = ("image/png", "image/jpeg", "image/webp", "image/avif", "image/gif", "font/", "video/", "audio/")


def check_site(files: Sequence[File], output: Path) -> None:
    """Refuse what cannot be a finished site.

    Raises:
        BuildError: it is empty or has no front page.
    """
    problem = "is empty" if not files else "has no index.html" if all(file.path != "index.html" for file in files) else ""
    if problem:
        raise BuildError(f"The site's output {problem}.", where=str(output), fix="correct the build, or site.output; nothing was uploaded")


@dataclass(frozen=True)
class Allowed:
    """What `site.allow` lets through.

    Attributes:
        pattern: as it is written.
        reason: why.
        matches: whether a path is meant.
    """

    pattern: str
    reason: str
    matches: Callable[[str], bool]


def allowed(lines: Iterable[str]) -> tuple[Allowed, ...]:
    """The lines of `site.allow`: a path pattern, then the reason."""
    parts = (line.strip().partition(" ") for line in lines)
    return tuple(Allowed(pattern, reason.strip(), glob(pattern.lstrip("/"))) for pattern, _, reason in parts)


def standing(lets: Iterable[Allowed]) -> list[str]:
    """What is said at each release of what `site.allow` lets through."""
    return [f"site.allow lets {one.pattern} through: {one.reason}" for one in lets]


def check_uploads(uploads: Sequence[Upload], output: Path, lets: Sequence[Allowed] = ()) -> None:
    """Refuse to publish key files, environment files and files that hold secrets.

    What is published already was looked at when it was published.

    Args:
        uploads: what a release uploads.
        output: the folder.
        lets: what is published all the same.

    Raises:
        BuildError: the files by name; a secret itself is not shown.
    """
    from amianai_infra.site.secrets import LONGEST, secret_in, suspicious_name

    found = []
    root = str(output)
    for upload in uploads:
        if any(one.matches(upload.path) for one in lets):
            continue
        problem = suspicious_name(upload.path)
        if not problem and upload.size <= LONGEST and not upload.content_type.startswith(_PICTURES):
            kind = secret_in(_content(f"{root}/{upload.path}"))
            problem = f"holds {kind}" if kind else ""
        if problem:
            found.append(f"{upload.path} {problem}")
    if found:
        raise BuildError(
            "The site's output holds what must not be published:",
            details=_first(found, _SHOWN),
            where=root,
            fix="remove it from the sources; replace a secret that was in use, it may be in other places; what is none is let through by "
            f"--set 'site.allow={found[0].partition(' ')[0]} WHY IT MAY BE PUBLIC'; nothing was uploaded",
        )


def check_references(
    uploads: Sequence[Upload], files: Collection[str], output: Path, hosts: Collection[str], lets: Sequence[Allowed] = ()
) -> list[str]:
    """Refuse pages whose scripts and styles the build did not emit, and scripts whose modules it did not.

    Args:
        uploads: what a release uploads; what is published already was looked at when it was published.
        files: all files of the release.
        output: the folder.
        hosts: the site's own host names.
        lets: files that may be missing, and files that may name what is missing.

    Returns:
        Whatever else leads to nothing: links, pictures, fonts.

    Raises:
        BuildError: file, line and what it names.
    """
    from amianai_infra.site.references import LONGEST, READ, Site

    site = Site(files, hosts)
    found: list[str] = []
    told: list[str] = []
    for upload in uploads:
        if upload.path.lower().endswith(READ) and upload.size <= LONGEST and "content-encoding" not in dict(upload.headers):
            charset = upload.content_type.partition("charset=")[2] or "utf-8"
            text = _content(f"{output}/{upload.path}").decode(charset, "replace")
            for one in site.broken(upload.path, text):
                if not any(let.matches(one.path) or let.matches(upload.path) for let in lets):
                    (found if one.needed else told).append(f"{upload.path}, line {one.line}: /{one.path}")
    if found:
        raise BuildError(
            "Scripts or styles are named that the build did not emit, so that what names them would not work:",
            details=_first(found, _SHOWN),
            where=str(output),
            fix="correct the build or the reference; what comes from elsewhere is let through by "
            f"--set 'site.allow={found[0].rpartition(': /')[2]} WHERE IT COMES FROM'; nothing was uploaded",
        )
    return [f"{line} leads to nothing" for line in _first(told, _SHOWN)]


def _first(lines: Sequence[str], most: int) -> list[str]:
    return [*lines[:most], *([f"… and {len(lines) - most} more"] if len(lines) > most else [])]


def check_names(stuck: Sequence[str]) -> None:
    """Refuse to change a file that browsers were told never to ask for again: whoever has it would keep it.

    Raises:
        RefusedError: the files by name.
    """
    if stuck:
        raise RefusedError(
            "Browsers keep these files for a year under their names, which were taken for names with a hash, and their content changed:",
            details=_first(stuck, _SHOWN),
            fix="give the changed file another name; or say how long it may be kept from now on (whoever has it already keeps that): "
            f"--set 'site.cache_rules={json.dumps({stuck[0]: 'public, max-age=300'})}'; nothing was uploaded",
        )


def _content(where: str) -> bytes:
    """The file, or nothing when it has gone: the upload will say so by name."""
    try:
        descriptor = os.open(where, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def build_of(output: Path, files: Iterable[File]) -> str:
    """The build id that a finished site carries; empty when it carries none.

    Raises:
        BuildError: what it carries is no id.
    """
    found = next((file for file in files if file.path == VERSION_FILE and file.size < 4096), None)
    try:
        build = json.loads((output / VERSION_FILE).read_bytes())["build"] if found else ""
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return ""
    if build and not is_id(build):
        raise BuildError(
            f"The site's build id {str(build)[:100]!r} is none: that is 1 to 64 letters, digits, dots, hyphens and underscores.",
            where=str(output / VERSION_FILE),
            fix="correct what writes it; nothing was uploaded",
        )
    return build or ""


def tree_digest(files: Iterable[File]) -> str:
    """One value for a whole tree."""
    return hashlib.sha256("\n".join(f"{file.path}\0{file.etag}" for file in files).encode()).hexdigest()
