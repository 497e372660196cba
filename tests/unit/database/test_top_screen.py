"""The screen of `db top`: everything at once still fits 100 columns and 40 lines."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console

from amianai_infra.database import top
from amianai_infra.database.top_screen import HEIGHT, WIDTH, drawn, lines

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER = top.Server(
    database="amianai",
    version="16.14",
    started=NOW - timedelta(days=3),
    measured=NOW,
    counted_since=NOW - timedelta(days=30),
    recovery=False,
    size=12_345_678_901,
    oldest_transaction_age=150_000_000,
    transactions=1_000_000,
    rollbacks=12,
    blocks_hit=990,
    blocks_read=10,
    deadlocks=1,
    temporary_bytes=1 << 30,
)
LONG = "SELECT a_rather_long_column_name FROM a_rather_long_table_name WHERE " + "another_long_name = $1 AND " * 20


def statement(number: int, calls: int = 10, total: float = 100.0) -> top.Statement:
    return top.Statement(number, f"{LONG}{number}", calls, total, 5, 1, 1)


def table(number: int, dead: int = 0) -> top.Table:
    return top.Table(f"table_{number}_{'x' * 60}", 10**9 * number, 10**8, 10**6, dead, NOW)


FULL = top.Overview(
    server=SERVER,
    load=top.Load(
        states={"active": 7, "idle": 40, "idle in transaction": 3, "idle in transaction (aborted)": 1, "disabled": 1},
        waits=[top.Wait("LWLock", f"Some{'Long' * 8}Event{one}", 5) for one in range(20)],
        clients=[top.Client("amianai_application" * 2, "my application, a long name" * 3, 20, 3) for _ in range(20)],
        connections=72,
        limit=79,
        longest_transaction=4000.0,
    ),
    statements=[statement(one) for one in range(50)],
    blocked=[top.Blocked(one, "u" * 30, "a" * 70, 12.0, "AccessExclusiveLock", "messages" * 9, LONG, [1, 2, 3]) for one in range(100, 130)],
    blockers=[top.Blocker(one, "u" * 30, "a" * 70, "idle in transaction", 400.0, LONG) for one in range(5)],
    locks={f"{kind}Lock": 3 for kind in ("AccessShare", "RowExclusive", "ShareUpdateExclusive", "AccessExclusive", "Share")},
    tables=[table(one) for one in range(20)],
    bloated=[table(one + 50, dead=10**7) for one in range(20)],
    unused=[top.Index(f"index_{one}_{'y' * 60}", "t" * 60, 10**7, one > 1) for one in range(30)],
    replicas=[top.Replica(f"replica-{one}", "streaming, async", 0.2, 10_000) for one in range(5)],
    notes=["statements: pg_stat_statements was not loaded when the server started (shared_preload_libraries)"],
)


def text(now: top.Overview, before: top.Overview | None = None) -> str:
    return "\n".join(line.text for line in lines(now, before))


def test_everything_at_once_fits_one_screen() -> None:
    found = lines(FULL)
    assert len(found) <= HEIGHT, len(found)
    assert max(len(line.text) for line in found) <= WIDTH
    out = io.StringIO()
    Console(file=out, width=WIDTH, height=HEIGHT).print(drawn(FULL))
    assert len(out.getvalue().splitlines()) == len(found), "no line was broken"


def test_what_matters_is_on_it() -> None:
    found = text(FULL)
    for part in (
        "72 of 79 (91%)",
        "99.0% cache hits",
        "30 blocked",
        "blocks (",
        "waits for 1,2,3",
        "INVALID",
        "DEAD",
        "91%",
        "replica-0",
        "LWLock:",
    ):
        assert part in found, part
    assert [line.style for line in lines(FULL) if line.text.startswith("connections")] == ["red"]


def test_an_idle_server() -> None:
    quiet = replace(
        FULL, load=top.Load({}, [], [], 1, 79, 0.0), statements=[], blocked=[], blockers=[], locks={}, unused=[], replicas=[], notes=[]
    )
    found = text(replace(quiet, server=replace(SERVER, blocks_hit=0, blocks_read=0, counted_since=None)))
    for part in ("nobody connected", "nobody is blocked", "all are used", "REPLICATION  none", "no block was read"):
        assert part in found, part


def test_two_looks_show_the_time_between() -> None:
    before = replace(FULL, statements=[statement(1, calls=10, total=5000.0), statement(2, calls=10, total=10.0), statement(3)])
    later = replace(SERVER, measured=NOW + timedelta(seconds=2), transactions=SERVER.transactions + 30)
    now = replace(
        FULL,
        server=later,
        statements=[statement(1, calls=10, total=5000.0), statement(2, calls=14, total=50.0), statement(3, calls=1, total=1.0)],
    )
    assert [(one.id, one.calls, one.mean_ms) for one in top.slowest(now, before)] == [(2, 4, 10.0), (3, 1, 1.0)], "3 was reset meanwhile"
    assert [one.id for one in top.slowest(now)] == [1, 2, 3]
    assert top.rate(now, before) == 15.0
    assert "15.0 transactions/s" in text(now, before)
    assert top.rate(before, now) is None, "counters that went back tell nothing"


def test_as_json() -> None:
    found = json.loads(json.dumps(FULL.as_dict(), default=str))
    assert found["server"]["hit_ratio"] == 0.99
    assert found["statements"][0]["mean_ms"] == 10.0
    assert found["load"]["waits"][0]["sessions"] == 5
    assert found["transactions_per_second"] is None
    assert len(found["statements"]) == 20


def test_control_characters_do_not_reach_the_terminal() -> None:
    evil = replace(FULL, load=replace(FULL.load, clients=[top.Client("me", "\x1b[2Jname\n", 1, 0)]))
    assert "\x1b" not in text(evil)
    assert "·[2Jname·" in text(evil)
