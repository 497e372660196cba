"""What is published of a finished site, and under which addresses: its files, its `_redirects`, a 404 page where it has none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from amianai_infra.errors import BuildError, first
from amianai_infra.rules.addresses import INDEX, MISSING, forms
from amianai_infra.rules.redirects import FILE, Rule, effective, parse
from amianai_infra.rules.routing import Routing
from amianai_infra.site.answers import FILE as HEADERS
from amianai_infra.site.answers import answers
from amianai_infra.site.ignored import Ignored
from amianai_infra.site.manifest import Taken
from amianai_infra.site.output import check_site
from amianai_infra.site.settings import ReleaseSettings
from amianai_infra.site.tree import File, describe, located, scan

OWN_404 = Path(__file__).with_name(MISSING)
"""A plain page for sites that have none."""
_APP = (
    "This looks like a single-page app: its only page is filled by a script, and links into it answer 404. If it has addresses of its"
    " own, set site.fallback=index.html."
)
_SHOWN = 10
_TAG = r"(?is)<(script|style|title)\b.*?</\1\s*>|<[^>]*>|\s+"
_SCRIPT = r"(?i)<script\b[^>]*\bsrc="
_NOSCRIPT = r"(?is)<noscript\b.*?</noscript\s*>"


class Publication(NamedTuple):
    """What is to be live.

    Attributes:
        files: in order of path.
        routing: what it says of its addresses besides.
        cache_control: the Cache-Control by path.
        notes: what a person should know.
    """

    files: Sequence[File]
    routing: Routing
    cache_control: Callable[[str], str]
    notes: tuple[str, ...] = ()


def publication(output: Path, settings: ReleaseSettings, ignored: Ignored, *, page_policies: bool = False) -> Publication:
    """Look at a finished site.

    Args:
        output: where it lies.
        settings: what a release reads.
        ignored: leaves out what is no part of it.
        page_policies: whether the stack makes a Content-Security-Policy of what pages say that they need.

    Raises:
        BuildError: it cannot be published, with the reasons.
    """
    files = scan(output, ignored)
    rules = _rules(files, output)
    base = settings.base_path
    placed = sorted(_below(base, [file for file in files if file.path not in (FILE, HEADERS)]), key=lambda file: file.path)
    front = f"{base}/{INDEX}" if base else INDEX
    check_site(placed, output, front)
    fallback = _fallback(settings, placed, output)
    routing = Routing(fallback, f"/{base}/" if base else "", rules)
    notes = _idle_note(rules, placed) if rules else () if fallback else _app_note(placed, output)
    stated = next((file for file in files if file.path == HEADERS), None)
    answered = answers(_with_404(placed), output, settings, stated, page_policies=page_policies)
    return Publication(answered.files, routing, answered.cache_control, (*ignored.told(), *notes, *answered.notes))


def _idle_note(rules: Sequence[Rule], files: Sequence[File]) -> tuple[str, ...]:
    """Which rules never hold, because the site has a page or file of that address, or a rule above answers."""
    paths = {file.path for file in files}
    held = set(effective(rules, paths, forms(paths)))
    idle = [f"/{rule.source}" for rule in rules if rule not in held]
    if not idle:
        return ()
    more = f" and {len(idle) - _SHOWN} more" if len(idle) > _SHOWN else ""
    return (
        f"{FILE}: never used, since a page, a file or a rule above answers there: {', '.join(idle[:_SHOWN])}{more}. 301! forces a rule.",
    )


def _rules(files: Sequence[File], output: Path) -> tuple[Rule, ...]:
    found = next((file for file in files if file.path == FILE), None)
    if found is None:
        return ()
    rules, problems = parse(Path(located(output, found)).read_text(encoding="utf-8", errors="replace"))
    if problems:
        raise BuildError(
            f"{FILE} asks for what the CDN cannot do:",
            details=first(problems, _SHOWN),
            where=str(output / FILE),
            fix="correct these lines; nothing was uploaded",
        )
    return tuple(rules)


def _below(base: str, files: Sequence[File]) -> list[File]:
    """The files below the base path: where the build put them already, or moved there."""
    if not base or any(file.path == f"{base}/{INDEX}" for file in files):
        return list(files)
    return [file._replace(path=f"{base}/{file.path}", source=file.source or file.path) for file in files]


def _fallback(settings: ReleaseSettings, files: Sequence[File], output: Path) -> str:
    if not settings.fallback:
        return ""
    wanted = [settings.fallback, *([f"{settings.base_path}/{settings.fallback}"] if settings.base_path else [])]
    there = {file.path for file in files}
    found = next((path for path in wanted if path in there), "")
    if not found:
        raise BuildError(
            f"site.fallback is {settings.fallback}, which the site's output does not have.",
            where=str(output),
            fix="correct the build, or site.fallback; nothing was uploaded",
        )
    return found


def _with_404(files: Sequence[File]) -> Sequence[File]:
    """The files, with a plain 404 page of our own where the site has none."""
    if any(file.path == MISSING for file in files):
        return files
    return sorted((*files, describe(MISSING, str(OWN_404), {})._replace(source=str(OWN_404))), key=lambda file: file.path)


def _app_note(files: Sequence[File], output: Path) -> tuple[str, ...]:
    """What to set for a single-page app: one page without text that a script fills."""
    pages = [file for file in files if file.path.endswith(".html") and file.path.rpartition("/")[2] != MISSING]
    if [file.path for file in pages] != [INDEX]:
        return ()
    text = Path(located(output, pages[0])).read_text(encoding="utf-8", errors="replace")
    if not re.search(_SCRIPT, text) or re.sub(_TAG, "", re.sub(_NOSCRIPT, "", text)):
        return ()
    return (_APP,)


def without_taken(files: Sequence[File], taken: Mapping[str, Taken]) -> tuple[Sequence[File], tuple[str, ...]]:
    """The files without contents that were taken down, and a line for each that is left out."""
    out = [file for file in files if file.path in taken and file.etag in taken[file.path].contents]
    if not out:
        return files, ()
    notes = tuple(f"Left out: {file.path} was taken down by {taken[file.path].who} ({taken[file.path].why})." for file in out)
    return [file for file in files if file not in out], notes
