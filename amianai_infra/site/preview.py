"""What merging a change would release, found without any access to AWS: two builds, compared file by file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from amianai_infra.rules.workflow import MARKER
from amianai_infra.site import build
from amianai_infra.site.environment import PUBLIC
from amianai_infra.site.ignored import Ignored
from amianai_infra.site.inputs import Sources
from amianai_infra.site.output import allowed, check_references, check_uploads
from amianai_infra.site.plan import Bucket, plan_release
from amianai_infra.site.publication import publication
from amianai_infra.site.texts import amount_of
from amianai_infra.site.tree import File

if TYPE_CHECKING:
    from amianai_infra.progress import Progress
    from amianai_infra.site.settings import ReleaseSettings

_FOOT = """\
<sub>Built without access to AWS and compared with a build of the base branch, not with what is live now; both builds carry one build id.
A release with edited sources has a new id and therefore uploads every page again.</sub>"""
_SHOWN = 200
_LONGEST = 300
_SIGNS = {"new": "+", "changed": "~", "gone": "-"}


@dataclass(frozen=True)
class Change:
    """One file that differs between two builds.

    Attributes:
        kind: which way.
        path: its path.
        size: bytes, afterwards or, when it is gone, before.
    """

    kind: Literal["new", "changed", "gone"]
    path: str
    size: int


@dataclass(frozen=True)
class Built:
    """A finished site.

    Attributes:
        build_id: what its sources and public settings amount to.
        files: every file.
        fingerprint: what its declared inputs amount to; empty where none are declared.
    """

    build_id: str
    files: tuple[File, ...]
    fingerprint: str = ""


class Checkout:
    """A checkout whose site can be built without AWS.

    Args:
        root: the project's folder.
        settings: what a release reads.
        environ: its `NEXT_PUBLIC_*` variables go into the build, as the stack's own do in `deploy`, and what the settings pass on.
        progress: where to report.
    """

    def __init__(self, root: Path, settings: ReleaseSettings, environ: Mapping[str, str], progress: Progress) -> None:
        self._settings = settings
        self._progress = progress
        self._local = root / ".amianai"
        public = {name: value for name, value in environ.items() if name.startswith(PUBLIC)}
        self._site = build.site_of(root, settings, public, environ)

    @cached_property
    def sources(self) -> Sources:
        """What would be built, without building it."""
        return build.sources(self._site)

    def build(self, build_id: str = "") -> Built:
        """Build the site and look for what a release would refuse.

        Args:
            build_id: id to build with; its own when not given.

        Raises:
            BuildError: the build failed, or its output must not be published.
        """
        chosen = build_id or self.sources.build_id
        if not self._site.has_nothing_to_build:
            build.run(self._site, self.sources, chosen, self._progress, self._local)
        ignored = Ignored.of(self._site.folder, self._site.output)
        site = publication(self._site.output, self._settings, ignored)
        everything = plan_release(site.files, Bucket({}, {}), None, 0.0, site.cache_control)
        lets = allowed(self._settings.allow)
        check_uploads(everything.uploads, self._site.output, lets)
        paths, hosts = everything.paths, self._settings.hosts
        lost = check_references(everything.uploads, paths, site.files, self._site.output, hosts, lets, site.routing)
        self._progress.note([*site.notes, *lost])
        return Built(chosen, tuple(site.files), self.sources.fingerprint)


def compare(before: Sequence[File], after: Sequence[File]) -> list[Change]:
    """What differs, by content and content type, in order of path."""
    old, new = {file.path: file for file in before}, {file.path: file for file in after}
    changes: list[Change] = [Change("gone", path, file.size) for path, file in old.items() if path not in new]
    for path, file in new.items():
        was = old.get(path)
        if was is None:
            changes.append(Change("new", path, file.size))
        elif (was.etag, was.content_type) != (file.etag, file.content_type):
            changes.append(Change("changed", path, file.size))
    return sorted(changes, key=lambda change: change.path)


def report(built: Built, changes: Sequence[Change] | None, problem: str = "") -> str:
    """The comment on a pull request, in Markdown.

    Args:
        built: the site with the change.
        changes: what differs from the site without it; None when that could not be found out.
        problem: why not.
    """
    size = sum(file.size for file in built.files)
    lines = [MARKER, "### What merging this would release", "", f"Build `{built.build_id}`: {len(built.files)} files, {amount_of(size)}."]
    if changes is None:
        lines += ["", f"The branch without this change could not be built, so nothing is compared: {_plain(problem)}"]
    elif not changes:
        lines += ["", "**The site stays as it is**: every file is that of the branch without this change."]
    else:
        lines += ["", *_table(changes, len(built.files)), "", *_list(changes)]
    return "\n".join([*lines, "", _FOOT]) + "\n"


def _table(changes: Sequence[Change], files: int) -> list[str]:
    rows = ["| | Files | Size |", "| --- | ---: | ---: |"]
    for kind in _SIGNS:
        found = [change.size for change in changes if change.kind == kind]
        if found:
            rows.append(f"| {kind} | {len(found)} | {amount_of(sum(found))} |")
    same = files - sum(change.kind != "gone" for change in changes)
    return [*rows, f"| same | {same} | |"]


def _list(changes: Sequence[Change]) -> list[str]:
    lines = [f"{_SIGNS[change.kind]} {_plain(change.path)}  {amount_of(change.size)}" for change in changes[:_SHOWN]]
    if len(changes) > _SHOWN:
        lines.append(f"… and {len(changes) - _SHOWN} more")
    return ["<details><summary>The files</summary>", "", "```text", *lines, "```", "", "</details>"]


def _plain(text: str) -> str:
    """One line that Markdown leaves alone: a file's name may be anything."""
    flat = " ".join(text.replace("`", "'").split())
    shown = "".join(sign if sign.isprintable() else "?" for sign in flat)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
