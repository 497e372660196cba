"""What ends a command, and what it may still end in order. The handlers are called as the interpreter calls them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from amianai_infra.interrupts import finishing, signals_as_interrupts

ENDING = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize("number", ENDING)
def test_what_ends_a_command_is_an_interruption(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), signals_as_interrupts():
        signal.raise_signal(number)


@pytest.mark.parametrize("number", ENDING)
def test_what_is_ignored_stays_ignored(number: signal.Signals) -> None:
    """`nohup` has SIGHUP ignored: the work outlives its terminal."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with signals_as_interrupts():
            signal.raise_signal(number)
            with finishing():
                signal.raise_signal(number)
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGINT, *ENDING])
def test_a_second_interruption_waits_for_what_is_being_ended_and_not_for_ever(number: signal.Signals) -> None:
    with finishing():
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt), finishing(patience=-1.0):
        signal.raise_signal(number)
