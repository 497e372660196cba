"""Judges a finished site before any of it is published."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from amianai_infra.errors import BuildError, RefusedError, first
from amianai_infra.naming import is_id
from amianai_infra.rules.addresses import INDEX
from amianai_infra.rules.cache import glob
from amianai_infra.rules.routing import Routing
from amianai_infra.site.plan import VERSION_FILE, Upload
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
_EMPTY = (
    rb"(?is)<!--.*?-->|<!doctype[^>]*>|<title>\s*</title>|<meta\b(?![^>]*http-equiv)[^>]*>|</?(?:html|head|body|main|div|p|span|br)\b[^>]*>"
    rb"|&nbsp;|\xef\xbb\xbf|\s+"
)
_LONGEST_BLANK = 4096


def is_blank(page: File, output: Path) -> bool:
    """Whether a page has nothing to show and loads nothing."""
    return page.size <= _LONGEST_BLANK and not re.sub(_EMPTY, b"", _content(located(output, page)))


class Allowed(NamedTuple):
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
            kind = secret_in(_content(located(root, upload)))
            problem = f"holds {kind}" if kind else ""
        if problem:
            found.append(f"{upload.path} {problem}")
    if found:
        raise BuildError(
            "The site's output holds what must not be published:",
            details=first(found, _SHOWN),
            where=root,
            fix="remove it from the sources; replace a secret that was in use, it may be in other places; what is none is let through by "
            f"--set 'site.allow={found[0].partition(' ')[0]} WHY IT MAY BE PUBLIC'; nothing was uploaded",
        )


def check_references(
    uploads: Sequence[Upload],
    files: Collection[str],
    sources: Iterable[File],
    output: Path,
    hosts: Collection[str],
    lets: Sequence[Allowed] = (),
    routing: Routing | None = None,
) -> list[str]:
    """Refuse pages whose scripts and styles the build did not emit, and scripts whose modules it did not.

    Args:
        uploads: what a release uploads; what is published already was looked at when it was published.
        files: all files of the release.
        sources: the files of the build, for the parts of pages that links lead to.
        output: the folder.
        hosts: the site's own host names.
        lets: files that may be missing, and files that may name what is missing.
        routing: what else answers.

    Returns:
        Whatever else leads to nothing: links, also to a part of a page, pictures, fonts.

    Raises:
        BuildError: file, line and what it names.
    """
    from amianai_infra.site.references import Site

    known = {file.path: file for file in sources}
    site = Site(files, hosts, routing, lambda path: _text(known[path], output) if path in known else None)
    found: list[str] = []
    told: list[str] = []
    for upload in uploads:
        text = _text(upload, output)
        if text is not None:
            for one in (*site.broken(upload.path, text), *site.astray(upload.path, text)):
                if not any(let.matches(one.path) or let.matches(upload.path) for let in lets):
                    line = f"{upload.path}, line {one.line}: /{one.path}"
                    if one.needed:
                        found.append(line)
                    else:
                        told.append(f"{line}#{one.fragment}: the page has no such part" if one.fragment else f"{line} leads to nothing")
    if found:
        raise BuildError(
            "Scripts or styles are named that the build did not emit, so that what names them would not work:",
            details=first(found, _SHOWN),
            where=str(output),
            fix="correct the build or the reference; what comes from elsewhere is let through by "
            f"--set 'site.allow={found[0].rpartition(': /')[2]} WHERE IT COMES FROM'; nothing was uploaded",
        )
    return first(told, _SHOWN)


def check_budgets(files: Sequence[File], output: Path, hosts: Collection[str], lines: Sequence[str]) -> list[str]:
    """The pages that weigh more than `site.budgets` allows, as they are told; empty where it names none.

    Args:
        files: all files of the release: a page that stayed may load what changed.
        output: the folder.
        hosts: the site's own host names.
        lines: of `site.budgets`.
    """
    if not lines:
        return []
    from amianai_infra.site.budgets import exceeded, told

    return first(told(exceeded(files, lines, hosts, lambda file: _content(located(output, file)))), _SHOWN)


def _text(one: File | Upload, output: Path) -> str | None:
    """What can name others, in its own charset; None for what cannot, is too large to look at, or is packed."""
    from amianai_infra.site.references import is_read, text_of

    return text_of(_content(located(output, one)), one.content_type) if is_read(one.path, one.size, one.headers) else None


def search_engines(files: Sequence[File], output: Path, hosts: Collection[str], routing: Routing) -> list[str]:
    """What is wrong with `robots.txt` and the sitemaps; empty where the site has none, or sound ones."""
    known = {file.path: file for file in files}
    if "robots.txt" not in known and "sitemap.xml" not in known:
        return []
    from amianai_infra.site.sitemaps import told

    return told(lambda path: _content(located(output, known[path])).decode("utf-8", "replace"), known.keys(), hosts, routing)


def check_outside(uploads: Sequence[Upload], output: Path, hosts: Collection[str], policy: str, sources: Sequence[str] | None) -> list[str]:
    """What changed files load from other hosts and a browser would refuse, which only a visitor's console tells; empty for nothing.

    Args:
        uploads: what a release uploads.
        output: the folder.
        hosts: the site's own host names.
        policy: the Content-Security-Policy of every answer; a file's own comes first.
        sources: what `site.csp_sources` allows already; None where the policy is the user's own.
    """
    from amianai_infra.site.outside import READ, loaded, origin_of, refused, setting
    from amianai_infra.site.references import is_read, text_of

    found: dict[tuple[str, str], list[str]] = {}
    for upload in uploads:
        if not (upload.path.lower().endswith(READ) and is_read(upload.path, upload.size, upload.headers)):
            continue
        data = _content(located(output, upload))
        if b"//" in data:
            text = text_of(data, upload.content_type)
            in_force = dict(upload.headers).get("content-security-policy", policy)
            for one in loaded(upload.path, text):
                if refused(one, in_force, hosts):
                    places = found.setdefault((one.directive, origin_of(one.address)), [])
                    places.append(f"{upload.path}, line {one.line}")
    if not found:
        return []
    lines = [f"{origin} ({directive}): {_places(places)}" for (directive, origin), places in found.items()]
    return [
        "Browsers will not load this: the Content-Security-Policy does not allow it, and only a visitor's console tells.",
        *(f"  {line}" for line in first(lines, _SHOWN)),
        f"To allow it: amianai --set '{setting(found, policy, sources)}' up",
    ]


def _places(places: Sequence[str]) -> str:
    others = len(dict.fromkeys(places)) - 1
    return f"{places[0]}{f' and {others} more' if others else ''}"


def check_names(stuck: Sequence[str]) -> None:
    """Refuse to change a file that browsers were told never to ask for again: whoever has it would keep it.

    Raises:
        RefusedError: the files by name.
    """
    if stuck:
        raise RefusedError(
            "Browsers keep these files for a year under their names, which were taken for names with a hash, and their content changed:",
            details=first(stuck, _SHOWN),
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
