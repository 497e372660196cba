"""What a release says to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amianai_infra.progress import duration
from amianai_infra.site.history import what_of, when_of
from amianai_infra.site.invalidation import cost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amianai_infra.site.manifest import Manifest, Summary
    from amianai_infra.site.plan import Plan
    from amianai_infra.site.release import Release
    from amianai_infra.site.verify import Report


def amount_of(size: float) -> str:
    """`812 bytes`, `2.1 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def count_of(number: int, noun: str) -> str:
    """`1 page`, `2 pages`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def verified(report: Report) -> str:
    """What a verification looked at."""
    days = f"; certificate valid for {report.certificate_days} days" if report.certificate_days is not None else ""
    return f"{count_of(report.pages, 'page')} and {count_of(report.files, 'file')} are as released{days}"


def overtaken(made: Sequence[Summary]) -> str:
    """What was released while another release was being made, newest first."""
    return "Meanwhile: " + "; ".join(f"release {one.number} ({what_of(one)}) by {one.who}, {when_of(one)} UTC" for one in made[:3]) + "."


def unexplained(plan: Plan, last: Manifest | None, sources: str) -> list[str]:
    """Says that a build of the very same sources gave other files than the live release has; empty when it did not."""
    if last is None or not sources or last.sources != sources:
        return []
    other = [upload.path for upload in plan.uploads if upload.path not in last.files or last.files[upload.path].content != upload.etag]
    if not other:
        return []
    names = ", ".join(other[:3]) + (", …" if len(other) > 3 else "")
    told = f"The sources and settings are those of release {last.number}, and {len(other)} files are not ({names})"
    return [f"{told}: the build reads something else, too, or writes the time or a random id (docs/releases.md, What is built)."]


def describe(release: Release) -> list[str]:
    """A release in a few lines, for people."""
    seconds = duration(release.seconds)
    if not release.changed and not release.dry:
        kept = f"{count_of(release.kept, 'file')} {'is' if release.kept == 1 else 'are'} as released ({_named(release)})."
        if release.invalidated or release.pruned:
            ended = [f"Removed {count_of(release.pruned, 'file')} that the site no longer has."] if release.pruned else []
            ended += [f"Invalidated {cost(len(release.invalidated))}."] if release.invalidated else []
            return [f"Finished what was cut off: {kept} {seconds}", *ended]
        return [f"Nothing changed: {kept} Nothing was uploaded or invalidated. {seconds}"]
    verb = "Would upload" if release.dry else "Released"
    head = f"{verb} {count_of(len(release.uploaded), 'file')} ({amount_of(release.size)}), {release.kept} unchanged"
    lines = [head if release.dry else f"{head}: {_named(release)}. {seconds}"]
    if release.dry and release.gone:
        lines.append(f"{count_of(len(release.gone), 'file')} would no longer be part of the site.")
    if release.staying:
        lines.append(f"{count_of(release.staying, 'asset')} that the site no longer names stay served for open tabs for a while.")
    if release.invalidated:
        lines.append(f"Invalidated {cost(len(release.invalidated))}.")
    if release.pruned:
        lines.append(f"Removed {count_of(release.pruned, 'file')} that the site no longer has; a rollback brings them back.")
    if release.dry:
        lines += [f"  + {path}" for path in release.uploaded] + [f"  - {path}" for path in release.gone]
    else:
        lines.append(release.url)
    return lines


def _named(release: Release) -> str:
    if not release.number:
        return "no release yet"
    made = f", the content of release {release.origin}" if release.origin != release.number else ""
    return f"release {release.number}{made}{f', build {release.build}' if release.build else ''}"
