"""What the answers of a site carry besides their content: type, caching and further headers, of every file, before anything is published.

The site says so itself (`_headers`, the bundler's manifest, the workers that its pages register), and the settings do.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from amianai_infra.errors import BuildError, first
from amianai_infra.rules.addresses import MISSING, addresses_of
from amianai_infra.rules.cache import CacheRule, cache_policy
from amianai_infra.rules.header_rules import NEEDS
from amianai_infra.rules.viewer_function import STATUS
from amianai_infra.site.settings import ReleaseSettings
from amianai_infra.site.tree import PAGE_TYPES, SCRIPT_TYPE, File, located

if TYPE_CHECKING:
    from amianai_infra.rules.header_rules import HeaderRule

FILE = "_headers"
_MANIFESTS = (".vite/manifest.json", "asset-manifest.json")
"""Where Vite and Create React App list what they emitted."""
_LARGEST = 8 * 1024 * 1024
_SHOWN = 20
_NAMED = 5


class Answers(NamedTuple):
    """The files of a site as they will be answered.

    Attributes:
        files: in order of path.
        cache_control: the Cache-Control by path.
        notes: what a person should know.
    """

    files: Sequence[File]
    cache_control: Callable[[str], str]
    notes: tuple[str, ...] = ()


def answers(
    files: Sequence[File], output: Path, settings: ReleaseSettings, stated: File | None = None, *, page_policies: bool = False
) -> Answers:
    """Apply `_headers` and the settings to the files of a site.

    Args:
        files: what is published, in order of path.
        output: where it lies.
        settings: what a release reads.
        stated: the site's `_headers`; None where it has none.
        page_policies: whether the stack makes a Content-Security-Policy of what pages say that they need.

    Raises:
        BuildError: lines of `_headers` or `site.headers` that cannot be done.
    """
    rules = _rules(stated, output, settings)
    published = files
    cached: dict[str, str] = {}
    if rules:
        problems: list[str] = []
        known = {file.path for file in files}
        published = [_with_headers(file, known, rules, cached, problems) for file in files]
        _refuse(problems, output)
    notes: tuple[str, ...] = ()
    if page_policies:
        published, notes = _with_policies(published, hashed=settings.inline_scripts == "hashed")
    own = [CacheRule(pattern, header) for pattern, header in settings.cache_rules.items()]
    policy = cache_policy(own, stated=cached, fresh=_fresh(published), listed=_listed(published, output))
    return Answers(published, policy, notes)


def _rules(stated: File | None, output: Path, settings: ReleaseSettings) -> list[HeaderRule]:
    """Those of the site, then those of the settings."""
    if stated is None and not settings.headers:
        return []
    from amianai_infra.rules.header_rules import read, read_settings

    text = Path(located(output, stated)).read_text(encoding="utf-8", errors="replace") if stated else ""
    rules, problems = read(text, settings.hosts)
    own, wrong = read_settings(settings.headers)
    _refuse([*problems, *wrong], output)
    return [*rules, *own]


def _refuse(problems: Sequence[str], output: Path) -> None:
    if problems:
        raise BuildError(
            "Headers that the site asks for cannot be given:",
            details=first(problems, _SHOWN),
            where=str(output),
            fix="correct the lines that are named; nothing was uploaded",
        )


def _with_headers(file: File, files: Container[str], rules: Sequence[HeaderRule], cached: dict[str, str], problems: list[str]) -> File:
    """The file with the headers that the rules give it; Cache-Control goes into `cached`."""
    from amianai_infra.rules.header_rules import LARGEST_METADATA, SYSTEM, headers_of, metadata_size

    found = headers_of((one.path for one in addresses_of(file.path, files)), rules)
    if not found:
        return file
    kind, _ = found.pop("content-type", (file.content_type, ""))
    cache, _ = found.pop("cache-control", ("", ""))
    if cache:
        cached[file.path] = cache
    merged = {**dict(file.headers), **{name: value for name, (value, _) in found.items()}}
    if file.path == MISSING:  # no function runs where the origin answered that something is missing
        merged = {name: value for name, value in merged.items() if name in SYSTEM}
    headers = tuple(sorted(merged.items()))
    size = metadata_size(headers) + (len(STATUS) + len("404") if file.path.endswith(f"/{MISSING}") else 0)
    if size > LARGEST_METADATA:
        lines = ", ".join(dict.fromkeys(where for name, (_, where) in found.items() if name not in SYSTEM))
        problems.append(f"{lines}: the headers of {file.path} have {size} bytes; S3 keeps {LARGEST_METADATA} with an object")
    return file._replace(content_type=kind, headers=headers)


def _with_policies(files: Sequence[File], *, hashed: bool) -> tuple[Sequence[File], tuple[str, ...]]:
    """The files with what the edge makes their policies of, and which pages keep 'unsafe-inline' though they should not."""
    from amianai_infra.rules.headers import ANY_INLINE, BLOB_WORKERS, WEB_ASSEMBLY
    from amianai_infra.rules.inline_scripts import merged

    by_letter = {letter: [file.path for file in files if letter in file.needs] for letter in (WEB_ASSEMBLY, BLOB_WORKERS, ANY_INLINE)}
    used = " ".join(letter for letter in (WEB_ASSEMBLY, BLOB_WORKERS) if by_letter[letter])
    exchanging = by_letter[ANY_INLINE]
    for_pages = used if hashed and not exchanging else f"{ANY_INLINE} {used}"
    kept: list[str] = []
    found: list[File] = []
    for file in files:
        page = file.content_type.startswith(PAGE_TYPES)
        words = merged(file.scripts, for_pages) if page else used if file.content_type.startswith(SCRIPT_TYPE) else ""
        one = _needing(file, words) if words and file.path != MISSING else file
        found.append(one)
        if page and ANY_INLINE in dict(one.headers).get(NEEDS, "").split():
            kept.append(file.path)
    notes = _kept_note(kept, exchanging) if hashed else ()
    return found, notes


def _needing(file: File, words: str) -> File:
    """The file with these words, or those that fit; as it is where it has a policy of its own."""
    from amianai_infra.rules.header_rules import LARGEST_METADATA, metadata_size
    from amianai_infra.rules.headers import ANY_INLINE
    from amianai_infra.rules.inline_scripts import merged

    if "content-security-policy" in dict(file.headers):
        return file
    for wanted in (words, merged(ANY_INLINE, words)):
        headers = tuple(sorted((*file.headers, (NEEDS, wanted))))
        if metadata_size(headers) + len(STATUS) + len("404") <= LARGEST_METADATA:
            return file._replace(headers=headers)
    return file


def _kept_note(kept: Sequence[str], exchanging: Sequence[str]) -> tuple[str, ...]:
    """Which pages let any inline script run, and why."""
    if not kept:
        return ()
    why = "they have more inline scripts than headers can name, or an encoding that is not declared"
    if exchanging:
        why = f"{exchanging[0]} puts parts of other pages into the open one, whose policy does not know their scripts"
    named = f"{', '.join(kept[:_NAMED])}{', …' if len(kept) > _NAMED else ''}"
    return (f"Any inline script may run ('unsafe-inline') in {len(kept)} of the pages, since {why}: {named}",)


def _fresh(files: Sequence[File]) -> frozenset[str]:
    """Service workers that the site registers, and pages whose name does not say that they are pages."""
    known = {file.path for file in files if file.content_type.startswith("text/html") and not file.path.lower().endswith(".html")}
    registered = [(file.path, address) for file in files for address in file.workers]
    if registered:
        paths = {file.path for file in files}
        known |= {one for page, address in registered for one in _candidates(page, address) if one in paths}
    return frozenset(known)


def _candidates(page: str, address: str) -> Iterator[str]:
    """Where a worker may lie: as the page's address says, and, for a script that does not know its page, at the root."""
    path = unquote(urlsplit(address).path)
    yield posixpath.normpath(posixpath.join("/", posixpath.dirname(page), path)).lstrip("/")
    yield posixpath.normpath(posixpath.join("/", path)).lstrip("/")


def _listed(files: Iterable[File], output: Path) -> frozenset[str]:
    """The files that the bundler's own manifest names."""
    found: set[str] = set()
    for file in (file for file in files if file.path.endswith(_MANIFESTS)):
        name = next((name for name in _MANIFESTS if file.path == name or file.path.endswith(f"/{name}")), "")
        if name and file.size <= _LARGEST:
            try:
                content = json.loads(Path(located(output, file)).read_bytes())
            except (OSError, ValueError, RecursionError):
                continue
            folder = file.path.removesuffix(name)
            found.update(f"{folder}{text.lstrip('/').removeprefix(folder)}" for text in _texts(content))
    return frozenset(found)


def _texts(value: Any) -> Iterator[str]:
    """Every text of a JSON document, of whatever depth."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list):
            left += one
