"""Finding out the caller's public address: over TLS that is verified, and never anything but one address of the internet."""

from __future__ import annotations

import http.client
from typing import Any

import pytest

from amianai_infra.database.access import Tools, own_address, wait_reachable
from amianai_infra.errors import UnreachableError


class Answer:
    def __init__(self, body: bytes) -> None:
        self.body = body

    def read(self, most: int) -> bytes:
        return self.body[:most]


def answering(monkeypatch: pytest.MonkeyPatch, body: bytes | Exception) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []

    class Connection:
        def __init__(self, host: str, **options: Any) -> None:
            made.append({"host": host, **options})

        def request(self, method: str, path: str, headers: dict[str, str]) -> None:
            if isinstance(body, Exception):
                raise body

        def getresponse(self) -> Answer:
            assert isinstance(body, bytes)
            return Answer(body)

        def close(self) -> None:
            pass

    monkeypatch.setattr("amianai_infra.database.access.http.client.HTTPSConnection", Connection)
    return made


def test_it_is_asked_over_verified_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    made = answering(monkeypatch, b"203.0.113.7\n")
    assert own_address() == "203.0.113.7"
    assert made[0]["host"] == "checkip.amazonaws.com"
    assert made[0]["context"].check_hostname
    assert made[0]["context"].verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize(
    "body",
    [b"", b"10.0.0.1", b"0.0.0.0/0", b"<html>captive portal</html>", b"::1", OSError("no route"), http.client.BadStatusLine("x")],
    ids=str,
)
def test_what_is_no_answer_opens_nothing(monkeypatch: pytest.MonkeyPatch, body: bytes | Exception) -> None:
    answering(monkeypatch, body)
    with pytest.raises(UnreachableError) as caught:
        own_address()
    assert "--address" in caught.value.fix


def test_waiting_ends() -> None:
    import socket
    from datetime import UTC, datetime, timedelta

    now = [datetime(2026, 11, 23, tzinfo=UTC)]

    def sleep(seconds: float) -> None:
        now[0] += timedelta(seconds=100)

    tools = Tools(lambda: now[0], sleep)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert wait_reachable("127.0.0.1", server.getsockname()[1], tools) == 0
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError, match="does not answer from here"):
        wait_reachable("127.0.0.1", port, tools)
