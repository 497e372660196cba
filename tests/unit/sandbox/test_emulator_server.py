"""What stands between the emulator and everything else on the machine."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.sandbox import emulator_server
from amianai_infra.sandbox.emulator_server import Guard, as_over_tls, is_local, refusal

SIGNED = {"host": "127.0.0.1:4566", "authorization": "AWS4-HMAC-SHA256 Credential=test/..."}
ANYONE = {"host": "127.0.0.1:4566"}


@pytest.mark.parametrize("host", ["127.0.0.1:4566", "localhost", "LOCALHOST:1", "[::1]:4566", "d1.cloudfront.localhost:4566", "localhost."])
def test_names_of_this_machine(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["", "example.com", "localhost.example.com", "127.0.0.1.nip.io", "evillocalhost", "10.0.0.1", "null"])
def test_names_that_could_be_another_machine(host: str) -> None:
    assert not is_local(host)


@given(st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,10}){1,3}", fullmatch=True).filter(lambda name: not name.endswith(".localhost")))
def test_a_rebound_name_is_refused(host: str) -> None:
    if host != "127.0.0.1":
        assert refusal("GET", "/bucket/key", "", {**SIGNED, "host": f"{host}:4566"}) is not None


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://localhost.example.com", "file://"])
def test_a_page_from_elsewhere_is_refused_even_with_credentials(origin: str) -> None:
    assert refusal("POST", "/", "", {**SIGNED, "origin": origin}) is not None


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://d1.cloudfront.localhost:4566", "http://127.0.0.1:4566"])
def test_our_own_pages_may_sign_in(origin: str) -> None:
    assert refusal("POST", "/", "", {**ANYONE, "origin": origin, "x-amz-target": "AWSCognitoIdentityProviderService.InitiateAuth"}) is None


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("HEAD", "/"), ("PUT", "/bucket"), ("PUT", "/bucket/"), ("DELETE", "/bucket")])
def test_buckets_are_listed_and_made_with_credentials_only(method: str, path: str) -> None:
    assert refusal(method, path, "", ANYONE) is not None
    assert refusal(method, path, "", SIGNED) is None
    assert refusal(method, path, "X-Amz-Credential=test%2F", ANYONE) is None


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/bucket/key"), ("GET", "/bucket"), ("PUT", "/bucket/key"), ("GET", "/_ministack/health")]
)
def test_what_the_emulator_checks_itself_passes(method: str, path: str) -> None:
    assert refusal(method, path, "", ANYONE) is None


def test_a_viewer_of_the_site_needs_no_credentials() -> None:
    assert refusal("GET", "/", "", {"host": "d1.cloudfront.localhost:4566"}) is None


def test_viewers_of_the_site_count_as_coming_over_tls_and_nobody_else_does() -> None:
    request = {"headers": [(b"host", b"x"), (b"X-Forwarded-Proto", b"http")]}
    assert as_over_tls(request, "d1.cloudfront.localhost:4566")["headers"] == [(b"host", b"x"), (b"x-forwarded-proto", b"https")]
    assert as_over_tls(request, "127.0.0.1:4566") is request


def test_nobody_resets_it_by_a_request() -> None:
    assert refusal("POST", "/_ministack/reset", "", SIGNED) is not None


class Recorder:
    """Stands for the emulator and for the client's side of ASGI."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.sent: list[MutableMapping[str, Any]] = []
        self.saves = 0

    async def app(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.served.append(scope.get("path", scope["type"]))

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)

    async def receive(self) -> MutableMapping[str, Any]:
        return {}

    def save(self) -> None:
        self.saves += 1


def scope(method: str, path: str, host: str = "127.0.0.1") -> dict[str, Any]:
    headers = [(b"host", host.encode()), (b"authorization", b"x")]
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}


def drive(recorder: Recorder, *scopes: dict[str, Any], wait: float = 0.0) -> None:
    async def run() -> None:
        guard = Guard(recorder.app, recorder.save)
        for one in ({"type": "lifespan"}, *scopes):
            await guard(one, recorder.receive, recorder.send)
        await asyncio.sleep(wait)

    asyncio.run(run())


def test_a_refused_request_never_reaches_the_emulator() -> None:
    recorder = Recorder()
    drive(recorder, scope("POST", "/", "evil.example"), {**scope("GET", "/", "evil.example"), "type": "websocket"})
    assert recorder.served == ["lifespan"]
    assert [message.get("status", message.get("code")) for message in recorder.sent] == [403, None, 1008]


def test_changes_are_saved_once_they_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator_server, "QUIET_SECONDS", 0.05)
    recorder = Recorder()
    drive(recorder, scope("POST", "/"), scope("PUT", "/bucket/key"), wait=0.5)
    assert recorder.saves == 1


def test_reading_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator_server, "QUIET_SECONDS", 0.0)
    recorder = Recorder()
    drive(recorder, scope("GET", "/bucket/key"), scope("HEAD", "/bucket/key"), wait=0.2)
    assert recorder.saves == 0


def test_a_failed_save_does_not_end_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator_server, "QUIET_SECONDS", 0.0)
    recorder = Recorder()
    calls = 0

    def save() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("disk full")

    async def run() -> None:
        guard = Guard(recorder.app, save)
        await guard({"type": "lifespan"}, recorder.receive, recorder.send)
        for _ in range(2):
            await guard(scope("POST", "/"), recorder.receive, recorder.send)
            await asyncio.sleep(0.3)

    asyncio.run(run())
    assert calls == 2
