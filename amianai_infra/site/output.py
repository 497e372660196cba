"""Judges a finished site before any of it is published."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from amianai_infra.errors import BuildError
from amianai_infra.naming import is_id
from amianai_infra.rules.addresses import INDEX
from amianai_infra.site.plan import VERSION_FILE, Upload
from amianai_infra.site.secrets import LONGEST, secret_in, suspicious_name
from amianai_infra.site.tree import File, located

_SHOWN = 20
_PICTURES = ("image/png", "image/jpeg", "image/webp", "image/avif", "image/gif", "font/", "video/", "audio/")


def check_site(files: Sequence[File], output: Path, front: str = INDEX) -> None:
    """Refuse what cannot be a finished site.

    Args:
        files: what would be published.
        output: where it lies.
        front: the path of its front page.

    Raises:
        BuildError: it is empty, has no front page, or a blank one.
    """
    found = next((file for file in files if file.path == front), None)
    if found is not None and not is_blank(found, output):
        return
    problem = "is empty" if not files else f"has no {front}" if found is None else f"has a blank page for its front: {front}"
    fix = "correct the build, or site.output; nothing was uploaded"
    below = sorted(file.path.removesuffix(f"/{INDEX}") for file in files if file.path.count("/") == 1 and file.path.endswith(f"/{INDEX}"))
    if files and found is None and below:
        fix = f"if the site is to live below a path, set site.base_path={below[0]}; else {fix}"
    raise BuildError(f"The site's output {problem}.", where=str(output), fix=fix)


# What shows nothing and loads nothing.
_EMPTY = re.compile(
    rb"<!--.*?-->|<!doctype[^>]*>|<title>\s*</title>|<meta\b(?![^>]*http-equiv)[^>]*>|</?(?:html|head|body|main|div|p|span|br)\b[^>]*>"
    rb"|&nbsp;|\xef\xbb\xbf|\s+",
    re.IGNORECASE | re.DOTALL,
)
_LONGEST_BLANK = 4096


def is_blank(page: File, output: Path) -> bool:
    """Whether a page has nothing to show and loads nothing."""
    return page.size <= _LONGEST_BLANK and not _EMPTY.sub(b"", _content(located(output, page)))


def check_uploads(uploads: Sequence[Upload], output: Path) -> None:
    """Refuse to publish key files, environment files and files that hold secrets.

    What is published already was looked at when it was published.

    Raises:
        BuildError: the files by name; a secret itself is not shown.
    """
    found = [f"{upload.path} {problem}" for upload in uploads if (problem := suspicious_name(upload.path))]
    root = str(output)
    for upload in uploads:
        if upload.size <= LONGEST and not upload.content_type.startswith(_PICTURES):
            kind = secret_in(_content(located(root, upload)))
            if kind:
                found.append(f"{upload.path} holds {kind}")
    if found:
        more = [f"… and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        raise BuildError(
            "The site's output holds what must not be published:",
            details=found[:_SHOWN] + more,
            where=root,
            fix="remove it from the sources; replace a secret that was in use, it may be in other places; nothing was uploaded",
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
    """The build id that a finished site carries; empty when it carries none, or has a version.json that says something else."""
    found = next((file for file in files if file.path == VERSION_FILE and file.size < 4096), None)
    try:
        build = json.loads(Path(located(output, found)).read_bytes())["build"] if found else ""
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return ""
    return build if is_id(build) else ""


def tree_digest(files: Iterable[File]) -> str:
    """One value for a whole tree."""
    return hashlib.sha256("\n".join(f"{file.path}\0{file.etag}" for file in files).encode()).hexdigest()
