"""Ports are kept while a stack depends on them, and moved or refused clearly otherwise."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.errors import ConfigurationError
from amianai_infra.sandbox import ports
from amianai_infra.sandbox.ports import Ports, asked, choose, remember, remembered, resolve, without_clash


def nobody(_name: str, _port: int) -> bool:
    return False


@contextmanager
def taken(*numbers: int) -> Iterator[None]:
    with ExitStack() as stack:
        for port in numbers:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def test_two_checkouts_get_different_ports_and_each_the_same_again(tmp_path: Path) -> None:
    first, second = choose(tmp_path / "one"), choose(tmp_path / "two")
    assert first == choose(tmp_path / "one")
    assert {first.emulator, first.postgres, first.provider}.isdisjoint({second.emulator, second.postgres, second.provider})


def test_the_range_is_the_one_in_the_docs(tmp_path: Path) -> None:
    first = [choose(tmp_path / str(number)).emulator for number in range(50)]
    assert all(20_000 <= port <= 29_990 and port % 10 == 0 for port in first)
    text = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8").replace("\n", " ")
    assert f"a multiple of ten from {ports._FIRST} to {ports._FIRST + (ports._BLOCKS - 1) * ports._WIDTH}" in text
    assert "from 1150 to 65533" in text


def test_a_taken_block_is_passed_over(tmp_path: Path) -> None:
    first = choose(tmp_path)
    with taken(first.provider):
        assert choose(tmp_path).emulator not in (first.emulator, first.postgres, first.provider)


def test_chosen_once_and_remembered(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    ports = resolve(tmp_path, file, {}, settled=False)
    assert remembered(file) == ports
    with taken(ports.emulator):
        assert resolve(tmp_path, file, {}, settled=False) == ports, "a command in between must not move them"


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    file.write_text('{"emulator": 1}')
    assert remembered(file) is None
    file.write_text("{")
    assert remembered(file) is None


@given(st.integers(1150, 65_533))
def test_an_explicit_port_gives_three_in_a_row(port: int) -> None:
    assert asked({"AMIANAI_SANDBOX_PORT": str(port)}) == Ports(port, port + 1, port + 2)


@pytest.mark.parametrize("text", ["0", "80", "1149", "65534", "http", "-5", "4566.0"])
def test_an_unusable_explicit_port_is_a_usage_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"AMIANAI_SANDBOX_PORT = {text}.*1150 to 65533"):
        asked({"AMIANAI_SANDBOX_PORT": text})


def test_another_explicit_port_is_refused_once_a_stack_depends_on_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    remember(file, Ports(21_000, 21_001, 21_002))
    wish = {"AMIANAI_SANDBOX_PORT": "22000"}
    assert resolve(tmp_path, file, wish, settled=False) == Ports(22_000, 22_001, 22_002)
    with pytest.raises(ConfigurationError, match="addresses of the stack"):
        resolve(tmp_path, file, {"AMIANAI_SANDBOX_PORT": "23000"}, settled=True)
    assert resolve(tmp_path, file, wish, settled=True) == Ports(22_000, 22_001, 22_002)


def test_what_our_own_daemons_hold_is_no_clash(tmp_path: Path) -> None:
    ports = choose(tmp_path)
    with taken(ports.emulator, ports.postgres, ports.provider):
        assert without_clash(ports, tmp_path, lambda name, port: ports.of(name) == port, fixed=True, settled=True) == ports


def test_the_providers_port_moves_even_when_a_stack_exists(tmp_path: Path) -> None:
    ports = choose(tmp_path)
    with taken(ports.provider):
        moved = without_clash(ports, tmp_path, nobody, fixed=False, settled=True)
    assert (moved.emulator, moved.postgres) == (ports.emulator, ports.postgres)
    assert moved.provider != ports.provider


def test_before_there_is_a_stack_all_ports_move(tmp_path: Path) -> None:
    ports = choose(tmp_path)
    with taken(ports.emulator):
        moved = without_clash(ports, tmp_path, nobody, fixed=False, settled=False)
    assert ports.emulator not in (moved.emulator, moved.postgres, moved.provider)


@pytest.mark.parametrize(
    ("fixed", "settled", "reason"), [(True, False, "AMIANAI_SANDBOX_PORT asks for it"), (False, True, "addresses of the stack")]
)
def test_a_port_that_must_stay_and_is_taken_names_who_has_it(tmp_path: Path, fixed: bool, settled: bool, reason: str) -> None:
    ports = choose(tmp_path)
    with taken(ports.emulator), pytest.raises(ConfigurationError, match=rf"{ports.emulator} .*in use by .*process \d+.*{reason}") as caught:
        without_clash(ports, tmp_path, nobody, fixed=fixed, settled=settled)
    assert caught.value.exit_code == 2
