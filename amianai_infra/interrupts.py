"""What ends a command from outside: each way ends it as gracefully as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP are raised as `KeyboardInterrupt`, but for what whoever started us has us ignore (`nohup`)."""

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(dict.fromkeys(_ENDING, interrupt)):
        yield


@contextmanager
def finishing(patience: float = 5.0) -> Iterator[None]:
    """Let interrupted work be ended in order, though somebody presses Ctrl-C again; after `patience` seconds a press counts."""
    begun = time.monotonic()

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        if time.monotonic() - begun > patience:
            raise KeyboardInterrupt

    with _handled(dict.fromkeys((signal.SIGINT, *_ENDING), interrupt)):
        yield


@contextmanager
def _handled(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])
