"""An `Overview` as a screen of 100 columns and 40 lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from amianai_infra import printing
from amianai_infra.database.top import Overview, rate, slowest
from amianai_infra.progress import duration

if TYPE_CHECKING:
    from rich.text import Text

WIDTH, HEIGHT = 100, 40
_STATEMENTS, _LOCKS, _TABLES, _INDEXES, _CLIENTS, _REPLICAS = 7, 4, 5, 4, 3, 2


@dataclass(frozen=True)
class Line:
    """One line and how it is drawn: `` for plain text, else a style of rich."""

    text: str
    style: str = ""


def lines(now: Overview, before: Overview | None = None, width: int = WIDTH) -> list[Line]:
    """The screen; with an earlier look, statements and rates are those of the time between."""
    parts = [_head(now, before), _clients(now), _statements(now, before), _locks(now), _tables(now), _indexes(now), _replicas(now)]
    found = [line for part in parts for line in part]
    found += [Line(note, "yellow") for note in now.notes]
    return [Line(_fit(line.text, width), line.style) for line in found]


def drawn(now: Overview, before: Overview | None = None, width: int = WIDTH) -> Text:
    """The screen for rich."""
    from rich.text import Text

    return Text("\n").join(Text(printing.line(one.text), style=one.style) for one in lines(now, before, width))


def _head(now: Overview, before: Overview | None) -> Iterator[Line]:
    server, load = now.server, now.load
    up = duration((server.measured - server.started).total_seconds())
    kind = "replica" if server.recovery else "primary"
    which = f"database {server.database} · PostgreSQL {server.version} · {kind}"
    yield Line(f"{which} · up {up} · {server.measured:%Y-%m-%d %H:%M:%S} UTC", "bold")
    states = ", ".join(f"{count} {state}" for state, count in sorted(load.states.items())) or "nobody connected"
    share = load.connections / load.limit if load.limit else 0.0
    yield Line(f"load         {states}; longest transaction {duration(load.longest_transaction)}")
    waits = ", ".join(f"{one.sessions} {one.type}:{one.event}" for one in load.waits[:4]) or "nobody"
    yield Line(f"waiting      {waits}")
    yield Line(f"connections  {load.connections} of {load.limit} ({share:.0%})", "red" if share > 0.8 else "")
    speed = rate(now, before)
    done = f"{speed:.1f} transactions/s" if speed is not None else f"{_count(server.transactions)} transactions"
    hit = f"{server.hit_ratio:.1%} cache hits" if server.hit_ratio is not None else "no block was read yet"
    yield Line(f"work         {done}, {_count(server.rollbacks)} rolled back, {server.deadlocks} deadlocks, {hit}")
    age = server.oldest_transaction_age
    since = f", counted since {_day(server.counted_since)}" if server.counted_since else ""
    yield Line(
        f"size         {_size(server.size)}, {_size(server.temporary_bytes)} temporary files, transaction age {_count(age)}{since}",
        "red" if age > 1_000_000_000 else "",  # at two thousand million the server stops taking writes
    )


def _clients(now: Overview) -> Iterator[Line]:
    rows = [
        (str(one.connections), str(one.active), one.user, one.application or "(no application name)") for one in now.load.clients[:_CLIENTS]
    ]
    yield from _section(("CONNECTED", "ACTIVE", "USER", "APPLICATION"), rows, (9, 6, 24, 0))


def _statements(now: Overview, before: Overview | None) -> Iterator[Line]:
    found = slowest(now, before)
    total = sum(one.total_ms for one in found) or 1.0
    rows = [
        (f"{one.total_ms / total:.0%}", _milliseconds(one.mean_ms), _count(one.calls), _count(one.rows), one.text)
        for one in found[:_STATEMENTS]
    ]
    yield from _section(("TIME", "A CALL", "CALLS", "ROWS", "STATEMENT"), rows, (5, 8, 7, 7, 0))


def _locks(now: Overview) -> Iterator[Line]:
    held = ", ".join(f"{count} {mode.removesuffix('Lock')}" for mode, count in list(now.locks.items())[:4]) or "none held"
    if not now.blocked:
        yield Line(f"LOCKS        nobody is blocked; {held}", "bold")
        return
    yield Line(f"LOCKS        {len(now.blocked)} blocked; {held}", "bold red")
    for head in now.blockers[: _LOCKS - 2]:
        who = f"{head.user}/{head.application}"
        yield Line(f"  {head.pid} blocks ({who}, {head.state}, {duration(head.seconds)}): {head.statement}")
    for one in now.blocked[: _LOCKS - min(len(now.blockers), _LOCKS - 2)]:
        by = ",".join(map(str, one.by))
        yield Line(f"  {one.pid} waits for {by}, {duration(one.seconds)}, {one.lock} on {one.relation}: {one.statement}")


def _tables(now: Overview) -> Iterator[Line]:
    dirty = [one for one in now.bloated if one.dead_share >= 0.2][:2]
    chosen = [*dirty, *(one for one in now.tables if one not in dirty)][:_TABLES]
    rows = [
        (_size(one.size), _size(one.indexes), _count(one.rows), f"{one.dead_share:.0%}", _day(one.vacuumed), one.name) for one in chosen
    ]
    yield from _section(("SIZE", "INDEXES", "ROWS", "DEAD", "VACUUMED", "TABLE"), rows, (8, 8, 7, 5, 10, 0))


def _indexes(now: Overview) -> Iterator[Line]:
    rows = [(_size(one.size), "" if one.valid else "INVALID", one.table, one.name) for one in now.unused[:_INDEXES]]
    if rows:
        yield from _section(("SIZE", "", "TABLE", "INDEX NOT USED"), rows, (8, 7, 30, 0))
    else:
        yield Line("INDEXES      all are used", "bold")


def _replicas(now: Overview) -> Iterator[Line]:
    if not now.replicas:
        yield Line("REPLICATION  none", "bold")
        return
    yield Line(f"REPLICATION  {len(now.replicas)}", "bold")
    for one in now.replicas[:_REPLICAS]:
        lag = duration(one.lag_seconds) if one.lag_seconds is not None else "?"
        yield Line(f"  to {one.name}: {one.state}, behind {lag}, {_size(one.lag_bytes or 0)}")


def _section(heading: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[Line]:
    yield Line(_row(heading, widths), "bold")
    yield from (Line(_row(row, widths)) for row in rows)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Columns of fixed width; one of width 0 takes the rest."""
    return "  ".join(_fit(cell, width).ljust(width) if width else cell for cell, width in zip(cells, widths, strict=True))


def _fit(text: str, width: int) -> str:
    text = "".join(character if character.isprintable() else "·" for character in text)
    return text if len(text) <= width else text[: width - 1] + "…"


def _count(number: float) -> str:
    """`950`, `12.3k`, `4.5M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if number >= size:
            return f"{number / (1e3 if unit == 'k' else size):.1f}{unit}"
    return f"{number:.0f}"


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"


def _milliseconds(number: float) -> str:
    return f"{number:.1f} ms" if number < 1000 else duration(number / 1000)


def _day(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d}" if instant else "never"
