"""Audit records: what the log group and the table say about the same work, compared and shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Event = Mapping[str, Any]
WIDTH = 100
_CELL = 20


@dataclass(frozen=True)
class Entry:
    """One record, and where it was found.

    Attributes:
        event: what it says; the log group's word where both have it.
        found_in: `not compared` where the table could not be read.
        differs: the columns in which the table says something else.
    """

    event: Event
    found_in: Literal["both", "table", "log group", "not compared"]
    differs: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**self.event, "found_in": self.found_in, "differs": list(self.differs)}

    @property
    def mark(self) -> str:
        """What is wrong with it, in a few words."""
        if self.differs:
            return f"the table says something else: {', '.join(self.differs)}"
        return {"table": "only in the table: the log group lacks it", "log group": "only in the log group: the table lacks it"}.get(
            self.found_in, ""
        )


def compare(log: Iterable[Event], table: Iterable[Event] | None, limit: int) -> list[Entry]:
    """The newest records of either, newest first.

    Args:
        log: events of the log group, oldest first; of several about the same only the first counts, as when the table is filled in.
        table: rows of the table; None where it could not be read.
        limit: how many to give.
    """
    logged: dict[tuple[str, str], Event] = {}
    for event in log:
        logged.setdefault(_key(event), event)
    if table is None:
        entries = [Entry(event, "not compared") for event in logged.values()]
    else:
        entries = list(_both(logged, {_key(row): row for row in table}))
    return sorted(entries, key=lambda entry: (entry.event["at"], entry.event["phase"], entry.event["id"]), reverse=True)[:limit]


def _both(logged: Mapping[tuple[str, str], Event], rows: Mapping[tuple[str, str], Event]) -> Iterable[Entry]:
    for key, event in logged.items():
        row = rows.get(key)
        if row is None:
            yield Entry(event, "log group")
        else:
            yield Entry(event, "both", [name for name in event if event[name] != row[name]])
    yield from (Entry(row, "table") for key, row in rows.items() if key not in logged)


def _key(event: Event) -> tuple[str, str]:
    return event["id"], event["phase"]


def lines(entries: Sequence[Entry]) -> list[str]:
    """The records as text: a head in columns, and below it who, what and why."""
    heads = [_head(entry.event) for entry in entries]
    widths = [max(len(head[column]) for head in heads) for column in range(4)] if heads else []
    text: list[str] = []
    for entry, head in zip(entries, heads, strict=True):
        text.append("  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)).rstrip())
        parts = {
            "by": f"{entry.event['who']} on {entry.event['host']}",
            "what": entry.event["detail"],
            "why": entry.event["reason"],
            "error": entry.event["error"],
            "NOTE": entry.mark,
        }
        text += [f"    {name:<5} {_line(part, WIDTH - 10)}" for name, part in parts.items() if part]
    return text


def _head(event: Event) -> list[str]:
    rows = "" if event["rows"] is None else f"{event['rows']} row{'' if event['rows'] == 1 else 's'}"
    return [_line(event["at"], 29), _line(event["action"], _CELL), _line(event["outcome"], _CELL), _line(rows, 24)]


def _line(text: str, length: int) -> str:
    """On one line of that length, whatever it holds: a record must neither move the cursor nor pass for two."""
    shown = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text[: length + 1])
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
