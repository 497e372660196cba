"""Queries and transactions per second: the pools, bare psycopg_pool, and a connection a query, against one PostgreSQL over verified TLS.

    python -m benchmarks.pool                      # everything: 1, 8 and 32 workers, sixty rounds, a table on standard output
    python -m benchmarks.pool --work fetch --form sync --workers 1 --rounds 20

A sandbox of its own is started for it. The contenders take turns in every round, in changing order; what counts is the median of the
rounds' ratios, not the rates. Where other work keeps the machine busy, the processor time that an answer takes in this process says more.
Bare psycopg_pool commits each statement where the pool fetches, and has `connection.transaction()` around it where the pool reads or runs.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from amianai_infra.database import AsyncPool, Pool, schema
from amianai_infra.database.endpoint import Endpoint
from tests.database import QUIET, Database, new_database, running_sandbox

QUERY = "SELECT name FROM items WHERE id = %s"
CHANGE = "UPDATE items SET name = name WHERE id = %s"
ROWS = 10_000
CONNECTIONS = 8
OURS, BARE, EACH = "the pool", "bare psycopg_pool", "a connection a query"
# What the pool must reach, as a multiple of the other's rate.
BUDGETS = {("fetch", BARE): 0.95, ("read", BARE): 0.9, ("write", BARE): 0.9, ("fetch", EACH): 20.0}
WORK = ("fetch", "read", "write")
FORMS = ("sync", "async")

Ask = Callable[[int], Any]
Contender = Callable[[int, float], int]
"""Answers, given workers and seconds."""


class Round(NamedTuple):
    """One contender's turn.

    Attributes:
        rate: answers per second.
        cost: microseconds of processor time an answer, in this process.
    """

    rate: float
    cost: float


def answers(ask: Ask, workers: int, seconds: float) -> int:
    """Answers to this many threads that ask."""
    done, stop = [0] * workers, threading.Event()

    def work(number: int) -> None:
        chance, asked = random.Random(number), 0
        while not stop.is_set():
            ask(chance.randrange(ROWS))
            asked += 1
        done[number] = asked

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(done)


async def answers_to_tasks(ask: Callable[[int], Awaitable[Any]], workers: int, seconds: float) -> int:
    """Answers to this many tasks that ask."""
    started = time.perf_counter()

    async def work(number: int) -> int:
        chance, asked = random.Random(number), 0
        while time.perf_counter() - started < seconds:
            await ask(chance.randrange(ROWS))
            asked += 1
        return asked

    return sum(await asyncio.gather(*(work(number) for number in range(workers))))


def prepare(database: Database) -> None:
    """A table with something in it."""
    with database.connect(statement_timeout=None) as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL)")
        connection.execute("INSERT INTO items SELECT number, 'item ' || number FROM generate_series(0, %s) number", (ROWS,))
        connection.execute("ANALYZE items")
        schema.apply(connection, database.target, database.outputs, None, say=lambda _: None)


def parameters(database: Database) -> dict[str, Any]:
    """The driver's, for the others."""
    login = database.secret("application")
    known = Endpoint.of(database.target, database.outputs).parameters(login["username"], "benchmark")
    return {**known, "password": login["password"], "autocommit": True}


@contextmanager
def threads(database: Database, work: str) -> Iterator[dict[str, Contender]]:
    """The contenders, in threads."""
    known = parameters(database)
    with (
        Pool.of(database.target, database.outputs) as ours,
        ConnectionPool(kwargs=known, max_size=CONNECTIONS, min_size=CONNECTIONS) as bare,
    ):
        bare.wait()

        def fetch(number: int) -> Any:
            with bare.connection() as connection:
                return connection.execute(QUERY, (number,)).fetchall()

        def read(number: int) -> Any:
            with bare.connection() as connection, connection.transaction():
                return connection.execute(QUERY, (number,)).fetchall()

        def write(number: int) -> None:
            with bare.connection() as connection, connection.transaction():
                connection.execute(CHANGE, (number,))

        def each(number: int) -> Any:
            with psycopg.connect(**known) as connection:
                return connection.execute(QUERY, (number,)).fetchall()

        own: dict[str, Ask] = {
            "fetch": lambda number: ours.fetch(QUERY, (number,)),
            "read": lambda number: ours.read(lambda db: db.execute(QUERY, (number,)).fetchall()),
            "write": lambda number: ours.run(lambda db: db.execute(CHANGE, (number,))),
        }
        others: dict[str, Ask] = {"fetch": fetch, "read": read, "write": write}
        asks = {OURS: own[work], BARE: others[work], **({EACH: each} if work == "fetch" else {})}
        yield {name: partial(answers, ask) for name, ask in asks.items()}


@contextmanager
def tasks(database: Database, work: str) -> Iterator[dict[str, Contender]]:
    """The contenders, as tasks of one event loop."""
    with asyncio.Runner() as runner:
        ours = AsyncPool.of(database.target, database.outputs)
        runner.run(ours.open())
        bare = AsyncConnectionPool(kwargs=parameters(database), max_size=CONNECTIONS, min_size=CONNECTIONS, open=False)
        runner.run(bare.open(wait=True))

        async def fetch(number: int) -> Any:
            async with bare.connection() as connection:
                return await (await connection.execute(QUERY, (number,))).fetchall()

        async def read(number: int) -> Any:
            async with bare.connection() as connection, connection.transaction():
                return await (await connection.execute(QUERY, (number,))).fetchall()

        async def write(number: int) -> None:
            async with bare.connection() as connection, connection.transaction():
                await connection.execute(CHANGE, (number,))

        async def our_fetch(number: int) -> Any:
            return await ours.fetch(QUERY, (number,))

        async def our_read(number: int) -> Any:
            async def reads(db: psycopg.AsyncConnection[Any]) -> Any:
                return await (await db.execute(QUERY, (number,))).fetchall()

            return await ours.read(reads)

        async def our_write(number: int) -> None:
            async def writes(db: psycopg.AsyncConnection[Any]) -> None:
                await db.execute(CHANGE, (number,))

            await ours.run(writes)

        pairs = {"fetch": (our_fetch, fetch), "read": (our_read, read), "write": (our_write, write)}

        def contender(ask: Callable[[int], Awaitable[Any]]) -> Contender:
            return lambda workers, seconds: runner.run(answers_to_tasks(ask, workers, seconds))

        try:
            yield {name: contender(ask) for name, ask in zip((OURS, BARE), pairs[work], strict=True)}
        finally:
            runner.run(ours.close())
            runner.run(bare.close())


def turn(contender: Contender, workers: int, seconds: float) -> Round:
    """What comes of asking one for so long."""
    started, used = time.perf_counter(), time.process_time()
    done = contender(workers, seconds)
    return Round(done / (time.perf_counter() - started), (time.process_time() - used) / done * 1e6)


def compare(contenders: dict[str, Contender], workers: int, rounds: int, seconds: float) -> dict[str, list[Round]]:
    """What all did, round by round."""
    for contender in contenders.values():
        contender(CONNECTIONS, 0.3)
    found: dict[str, list[Round]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders)
        random.Random(number).shuffle(order)
        for name in order:
            found[name].append(turn(contenders[name], workers, seconds))
    return found


def report(work: str, title: str, rounds: dict[str, list[Round]]) -> bool:
    """Print the medians and ratios; gives whether every budget is kept."""
    print(f"\n{title}, {len(rounds[OURS])} rounds")
    kept = True
    for name, found in rounds.items():
        rate, cost = (statistics.median(values) for values in zip(*found, strict=True))
        line = f"  {name:<22}{rate:>9.0f} a second, {cost:>6.0f} µs of processor each"
        budget = BUDGETS.get((work, name))
        if budget is not None:
            ratios = [one.rate / other.rate for one, other in zip(rounds[OURS], found, strict=True)]
            costs = [other.cost / one.cost for one, other in zip(rounds[OURS], found, strict=True)]
            ratio = statistics.median(ratios)
            kept &= ratio >= budget
            line += f"   the pool: {ratio:6.2f} times (rounds {min(ratios):.2f} to {max(ratios):.2f}), budget {budget};"
            line += f" by processor {statistics.median(costs):.2f}"
        print(line, flush=True)
    return kept


def measured(database: Database, chosen: argparse.Namespace) -> Iterator[bool]:
    """Every measurement that was chosen; gives of each whether its budgets are kept."""
    for work in chosen.work:
        for form in chosen.form:
            with (threads if form == "sync" else tasks)(database, work) as contenders:
                for workers in chosen.workers:
                    rounds = compare(contenders, workers, chosen.rounds, chosen.seconds)
                    yield report(work, f"{work}, {form}, {workers} worker{'s' if workers > 1 else ''}", rounds)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=WORK, nargs="+", default=WORK)
    parser.add_argument("--form", choices=FORMS, nargs="+", default=FORMS)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long each is asked in a round")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="amianai-pool-") as folder:
        target = running_sandbox(Path(folder) / "checkout")
        try:
            database = new_database(target, "benchmark")
            prepare(database)
            kept = list(measured(database, chosen))
        finally:
            target.sandbox.reset(QUIET)
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
