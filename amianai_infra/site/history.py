"""The list of releases: which is live, which can be gone back to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from amianai_infra import printing
from amianai_infra.site.manifest import Manifest, Summary


@dataclass(frozen=True)
class Listed:
    """One release in the list.

    Attributes:
        summary: the release.
        live: its content is what is served.
        expires: until when it can be rolled back to, seconds since 1970; None for what is live.
        restorable: whether its replaced files are still kept.
    """

    summary: Summary
    live: bool
    expires: float | None
    restorable: bool


def listed(live: Manifest, now: float, days: int) -> list[Listed]:
    """The history of a release, judged by age. Pure."""
    found = [Listed(live.summary, live=True, expires=None, restorable=True)]
    replaced = live.summary.started
    for summary in live.history:
        current = summary.origin == live.summary.origin
        ends = None if current else replaced + days * 86400.0
        found.append(Listed(summary, live=False, expires=ends, restorable=ends is None or now < ends))
        replaced = summary.started
    return found


def previous(live: Manifest) -> int | None:
    """The release whose content was live before the content that is live now was first released: rolling back again goes back one more.

    Releases that failed their verification are passed over.
    """
    origin = live.summary.origin
    failed = {one.number - 1 for one in (live.summary, *live.history) if one.kind == "repair"}
    before = (one.origin for one in live.history if one.number < origin and one.number not in failed)
    return next((number for number in before if number != origin), None)


def since(live: Manifest | None, base: int) -> list[Summary]:
    """The releases after `base`, newest first; none where what is live is still what `base` was.

    A deploy that failed its verification and was taken back, or a rollback that was itself rolled back, changes nothing.
    """
    if live is None:
        return []
    made = [live.summary, *live.history]
    before = next((one for one in made if one.number == base), None)
    if before is not None and before.origin == live.summary.origin:
        return []
    return [one for one in made if one.number > base]


def table(releases: Sequence[Listed]) -> list[str]:
    """The list for people, times in UTC."""
    if not releases:
        return ["Nothing was released yet."]
    rows: list[tuple[str, ...]] = [("", "RELEASE", "WHEN (UTC)", "WHAT", "BUILD", "COMMIT", "FILES", "UPLOADED", "TOOK", "WHO", "")]
    rows += [_row(one) for one in releases]
    return printing.table(rows)


def what_of(summary: Summary) -> str:
    """`deploy`, `rollback to 5`, `takedown`."""
    return f"{summary.kind} to {summary.origin}" if summary.kind in ("rollback", "repair") else summary.kind


def when_of(summary: Summary) -> str:
    """When it was begun, in UTC."""
    return datetime.fromtimestamp(summary.started, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _row(one: Listed) -> tuple[str, ...]:
    summary = one.summary
    mark = "live" if one.live else "" if one.restorable else "expired"
    when = when_of(summary)
    return (
        "*" if one.live else " ",
        str(summary.number),
        when,
        what_of(summary),
        summary.build or "-",
        (summary.commit[:10] + ("+" if summary.commit.endswith("+") else "")) if summary.commit else "-",
        str(summary.files),
        str(summary.uploaded),
        f"{summary.seconds:.1f} s",
        summary.who,
        mark,
    )
