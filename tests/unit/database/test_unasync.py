"""The pool for threads is the one for asyncio in other words, made by a script. Whether either works, their tests with a server tell."""

from __future__ import annotations

import re

from amianai_infra.database import AsyncPool, Pool
from scripts.unasync import RESULT, SOURCE, generated


def public(pool: type) -> dict[str, str]:
    return {name: getattr(pool, name).__doc__ or "" for name in vars(pool) if not name.startswith("_")}


def test_what_lies_here_is_what_the_script_makes() -> None:
    assert RESULT.read_text("utf-8") == generated(SOURCE.read_text("utf-8")), "run `python scripts/unasync.py`"


def test_nothing_of_asyncio_is_left() -> None:
    text = RESULT.read_text("utf-8").partition("\n")[2]
    assert re.findall(r"(?i)async|await|\btasks?\b|(?:asyncio|threads) only", text) == []


def test_both_have_the_same_methods_with_the_same_words() -> None:
    tasks, threads = public(AsyncPool), public(Pool)
    del tasks["open"]  # a constructor cannot wait
    tasks["transaction"] = tasks["transaction"].replace("async with", "with")
    assert tasks == threads
    assert all(threads.values())
    assert {"of", "from_environment", "fetch", "read", "run", "transaction", "ping", "stats", "close"} == set(threads)


def test_what_differs_is_said_in_the_source() -> None:
    source = '''"""A list for asyncio. Open it with `await open()`."""

import asyncio


async def work(pool: AsyncPool, job: Callable[[AsyncPool], Awaitable[int]]) -> None:
    # threads only: pool.begin()
    await pool.begin()  # asyncio only
    await asyncio.to_thread(pool.read)
    await asyncio.to_thread(pool.write, 1)
    await core.pause_async(2)
'''
    expected = '''"""A list."""


def work(pool: Pool, job: Callable[[Pool], int]) -> None:
    pool.begin()
    pool.read()
    pool.write(1)
    core.pause(2)
'''
    assert generated(source).partition("\n")[2] == expected
