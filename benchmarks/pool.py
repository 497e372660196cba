"""Point queries per second: the pool, bare psycopg_pool, and a connection for each query, against one PostgreSQL over verified TLS.

    python -m benchmarks.pool                      # one and eight threads, sixty rounds, table on standard output
    python -m benchmarks.pool --threads 1 --rounds 20

A sandbox of its own is started for it. The three take turns in every round, in changing order; what counts is the median of the rounds'
ratios, not the rates. Bare psycopg_pool commits each statement, as the pool's reading does.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

from amianai_infra.database import Pool, schema
from amianai_infra.database.endpoint import Endpoint
from tests.database import QUIET, Database, new_database, running_sandbox

QUERY = "SELECT name FROM items WHERE id = %s"
ROWS = 10_000
OURS, BARE, EACH = "the pool", "bare psycopg_pool", "a connection a query"
# What the pool must reach, as a multiple of the other's rate.
BUDGETS = {BARE: 0.9, EACH: 20.0}

Ask = Callable[[int], Any]


def rate(ask: Ask, threads: int, seconds: float) -> float:
    """Answers per second with this many threads asking."""
    done, stop = [0] * threads, threading.Event()

    def work(number: int) -> None:
        chance, asked = random.Random(number), 0
        while not stop.is_set():
            ask(chance.randrange(ROWS))
            asked += 1
        done[number] = asked

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - started)


def prepare(database: Database) -> None:
    """A table with something in it."""
    with database.connect(statement_timeout=None) as connection:
        schema.apply(connection, database.target, database.outputs, None, say=lambda _: None)
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL)")
        connection.execute("INSERT INTO items SELECT number, 'item ' || number FROM generate_series(0, %s) number", (ROWS,))
        connection.execute("ANALYZE items")


def compare(database: Database, threads: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Rates of the three, round by round."""
    login = database.secret("application")
    parameters = Endpoint.of(database.target, database.outputs).parameters(login["username"], "benchmark") | {"password": login["password"]}
    with (
        Pool.of(database.target, database.outputs) as ours,
        ConnectionPool(kwargs={**parameters, "autocommit": True}, min_size=8, max_size=8, open=True) as bare,
    ):
        bare.wait()

        def ask_bare(number: int) -> Any:
            with bare.connection() as connection:
                return connection.execute(QUERY, (number,)).fetchall()

        def ask_each(number: int) -> Any:
            with psycopg.connect(**parameters, autocommit=True) as connection:
                return connection.execute(QUERY, (number,)).fetchall()

        asks: dict[str, Ask] = {OURS: lambda number: ours.fetch(QUERY, (number,)), BARE: ask_bare, EACH: ask_each}
        for ask in asks.values():
            rate(ask, 8, 0.3)
        rates: dict[str, list[float]] = {name: [] for name in asks}
        for number in range(rounds):
            order = list(asks)
            random.Random(number).shuffle(order)
            for name in order:
                rates[name].append(rate(asks[name], threads, seconds))
    return rates


def report(threads: int, rates: dict[str, list[float]]) -> bool:
    """Print the medians and ratios; gives whether every budget is kept."""
    print(f"\n{threads} thread{'s' if threads > 1 else ''}, {len(rates[OURS])} rounds")
    kept = True
    for name, found in rates.items():
        line = f"  {name:<22}{statistics.median(found):>9.0f} queries/s"
        if name in BUDGETS:
            ratios = [one / other for one, other in zip(rates[OURS], found, strict=True)]
            ratio = statistics.median(ratios)
            kept &= ratio >= BUDGETS[name]
            line += f"   the pool: {ratio:6.2f} times (rounds {min(ratios):.2f} to {max(ratios):.2f}), budget {BUDGETS[name]}"
        print(line, flush=True)
    return kept


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long each is asked in a round")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="amianai-pool-") as folder:
        target = running_sandbox(Path(folder) / "checkout")
        try:
            database = new_database(target, "benchmark")
            prepare(database)
            kept = [report(count, compare(database, count, chosen.rounds, chosen.seconds)) for count in chosen.threads]
        finally:
            target.sandbox.reset(QUIET)
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
