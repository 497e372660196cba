"""The guard around a recorded emulator: what reaches it, what comes back, when it saves."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, MutableMapping
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session

from amianai_infra.sandbox.emulator_gateway import server
from amianai_infra.sandbox.emulator_gateway.access import Caller
from amianai_infra.sandbox.emulator_gateway.server import Guard, unsigned_actions

KEY, SECRET = "AKIAEXAMPLE", "secret"
HOST = "127.0.0.1:4566"
Message = MutableMapping[str, Any]


class Recorder:
    """Stands for the emulator and for the client's side of ASGI."""

    def __init__(self, body: bytes = b"") -> None:
        self.served: list[str] = []
        self.bodies: list[bytes] = []
        self.sent: list[Message] = []
        self.saves = 0
        self.broken_saves = 0
        self.problem = ""
        self._body = body

    async def serve(self, scope: Message, receive: Any, send: Any) -> None:
        self.served.append(scope.get("path", scope["type"]))
        if scope["type"] == "http":
            self.bodies.append((await receive())["body"])
            everybody = (b"access-control-allow-origin", b"*")
            await send({"type": "http.response.start", "status": 200, "headers": [everybody, (b"content-type", b"text/html")]})

    async def serve_site(self, scope: Message, caller: Caller, send: Any) -> None:
        self.served.append(f"site {caller.path}")

    def save(self) -> None:
        self.saves += 1
        if self.saves <= self.broken_saves:
            raise OSError("disk full")

    def unstored(self) -> str:
        return self.problem

    def secret_of(self, key: str, token: str) -> str | None:
        return SECRET if key == KEY else None

    def origins(self) -> Collection[str]:
        return {"http://localhost:3000"}

    def public_actions(self) -> Collection[str]:
        return {"SignUp"}

    def as_cognito(self, action: str, body: bytes, authorization: str) -> bytes | tuple[str, str]:
        return ("NotAuthorizedException", "not so") if b"refused" in body else body.lower()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self._body, "more_body": False}

    @property
    def statuses(self) -> list[int]:
        return [message["status"] for message in self.sent if message["type"] == "http.response.start"]

    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[-1 if self.sent[-1]["type"] == "http.response.start" else -2]["headers"])


def scope(method: str = "POST", path: str = "/", host: str = HOST, *, sign: bool = True, content: str = "", **more: str) -> Message:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    request = AWSRequest(method, f"http://{host}{quote(path)}", headers, data=content.encode())
    if sign:
        SigV4Auth(Credentials(KEY, SECRET), "s3" if path.count("/") > 1 else "sts", "us-east-1").add_auth(request)
    sent = [(b"host", host.encode()), *((name.lower().encode(), value.encode()) for name, value in request.headers.items())]
    return {"type": "http", "method": method, "path": path, "raw_path": quote(path).encode(), "query_string": b"", "headers": sent}


def drive(recorder: Recorder, *scopes: Message, after_each: float = 0.0, at_last: float = 0.0) -> Recorder:
    async def run() -> None:
        guard = Guard(recorder)
        for one in ({"type": "lifespan"}, *scopes):
            await guard(one, recorder.receive, recorder.send)
            await asyncio.sleep(after_each)
        await asyncio.sleep(at_last)

    asyncio.run(run())
    return recorder


def test_a_refused_request_never_reaches_the_emulator() -> None:
    foreign = [scope(host="evil.example"), scope(sign=False), scope(sec_fetch_site="cross-site"), scope(sign=False, authorization="x")]
    recorder = drive(Recorder(), *foreign, {**scope(), "type": "websocket"})
    assert recorder.served == ["lifespan"]
    assert recorder.statuses == [403] * len(foreign)
    assert recorder.sent[-1] == {"type": "websocket.close", "code": 1008}


@pytest.mark.parametrize("name", [b"host", b"origin", b"authorization"])
def test_a_header_that_decides_is_there_once(name: bytes) -> None:
    twice = scope()
    twice["headers"] = [*twice["headers"], *[(name, b"localhost")] * 2]
    assert drive(Recorder(), twice).statuses == [403]


def test_a_signed_request_reaches_the_emulator_with_its_body_and_a_changed_one_does_not() -> None:
    recorder = drive(Recorder(b"Action=x"), scope(content="Action=x"), scope(content="Action=y"))
    assert recorder.bodies == [b"Action=x"]
    assert recorder.statuses == [200, 403]


def test_viewers_reach_the_site_and_nothing_else() -> None:
    host = "d1.cloudfront.localhost:4566"
    recorder = drive(Recorder(), *(scope("GET", path, host, sign=False) for path in ("/logout", "/_ministack/reset", "/health")))
    assert recorder.served == ["lifespan", "site /logout", "site /_ministack/reset", "site /health"]


def test_only_the_pages_that_sign_in_may_read_the_answer() -> None:
    sign_up = {"x_amz_target": "AWSCognitoIdentityProviderService.SignUp"}
    recorder = drive(Recorder(), scope(sign=False, origin="http://localhost:3000", sec_fetch_site="cross-site", **sign_up))
    assert recorder.headers()[b"access-control-allow-origin"] == b"http://localhost:3000"
    recorder = drive(Recorder(), scope(sign=False, **sign_up))
    assert b"access-control-allow-origin" not in recorder.headers()
    assert b"access-control-allow-origin" not in drive(Recorder(), scope()).headers()


def test_a_page_asks_first_and_is_answered_by_the_guard() -> None:
    asked = {"access_control_request_method": "POST", "sec_fetch_site": "cross-site"}
    recorder = drive(Recorder(), scope("OPTIONS", sign=False, origin="http://localhost:3000", **asked))
    assert (recorder.served, recorder.statuses) == (["lifespan"], [200])
    assert b"x-amz-target" in recorder.headers()[b"access-control-allow-headers"]
    assert drive(Recorder(), scope("OPTIONS", sign=False, origin="http://localhost:8000", **asked)).statuses == [403]


def test_the_pages_of_sign_in_run_no_script_and_are_not_framed() -> None:
    headers = drive(Recorder(), scope("POST", "/login", sign=False)).headers()
    assert b"default-src 'none'" in headers[b"content-security-policy"]
    assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]


def test_a_request_to_cognito_is_corrected_or_refused_where_a_page_can_read_it() -> None:
    sign_up = {
        "x_amz_target": "AWSCognitoIdentityProviderService.SignUp",
        "origin": "http://localhost:3000",
        "sec_fetch_site": "cross-site",
    }
    recorder = drive(Recorder(b"A@X and more"), scope(sign=False, content="A@X and more", **sign_up))
    assert recorder.bodies == [b"a@x and more"]
    recorder = drive(Recorder(b"refused"), scope(sign=False, content="refused", **sign_up))
    assert (recorder.served, recorder.statuses) == (["lifespan"], [400])
    assert recorder.headers()[b"access-control-allow-origin"] == b"http://localhost:3000"


@pytest.mark.parametrize(
    ("more", "kind"), [({"x_amz_target": "x"}, b"json"), ({"content_type": "application/x-amz-json-1.0"}, b"json"), ({}, b"xml")]
)
def test_an_sdk_reads_why(more: dict[str, str], kind: bytes) -> None:
    recorder = drive(Recorder(), scope(sign=False, **more))
    assert kind in recorder.headers()[b"content-type"]
    assert b"MissingAuthenticationToken" in recorder.sent[-1]["body"]


def test_a_flood_of_refused_requests_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    refusals = server.Refusals(most=3, clock=lambda: now[0])
    for _ in range(1000):
        refusals.add("GET /", "AccessDenied", "no")
    assert len(caplog.records) == 3
    now[0] = 61.0
    refusals.add("GET /", "AccessDenied", "no")
    assert [record.getMessage() for record in caplog.records[3:]] == [
        "refused 997 more in that minute",
        "refused 'GET /': AccessDenied: no",
    ]


def test_what_a_stranger_sent_is_one_line_in_the_log_and_no_markup(caplog: pytest.LogCaptureFixture) -> None:
    server._refusals = server.Refusals()
    recorder = drive(Recorder(), scope("GET", "/a\n\x1b]52;c;x\x07", host="evil<b>\x9b.example", sign=False))
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert b"<b>" not in recorder.sent[-1]["body"]
    assert recorder.sent[-1]["body"].isascii()


def test_the_public_actions_are_those_of_the_service_model() -> None:
    model = Session().get_service_model("cognito-idp")
    assert unsigned_actions() == {name for name in model.operation_names if model.operation_model(name).auth_type == "none"}
    assert {"SignUp", "InitiateAuth", "GetUser"} <= unsigned_actions()
    assert not [name for name in unsigned_actions() if name.startswith(("Admin", "Create", "Describe", "UpdateUserPool"))]


def test_changes_are_saved_once_they_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "QUIET_SECONDS", 0.05)
    assert drive(Recorder(), scope(), scope("PUT", "/bucket/key"), at_last=0.5).saves == 1


def test_reading_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "QUIET_SECONDS", 0.0)
    assert drive(Recorder(), scope("GET", "/bucket/key"), scope("HEAD", "/bucket/key"), at_last=0.2).saves == 0


def test_a_refused_request_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "QUIET_SECONDS", 0.0)
    assert drive(Recorder(), scope(sign=False), at_last=0.2).saves == 0


def test_what_was_not_written_is_no_success_and_the_next_change_waits_for_room() -> None:
    recorder = Recorder()
    recorder.problem = "/disk/state: No space left on device"
    recorder.broken_saves = 1
    drive(
        recorder, scope(path="/bucket/key", method="PUT"), scope(path="/bucket/key", method="PUT"), scope(path="/bucket/key", method="GET")
    )
    assert recorder.statuses == [400, 400, 200]
    assert recorder.served == ["lifespan", "/bucket/key", "/bucket/key"], "the second change did not reach the emulator; reading goes on"
    body = recorder.sent[1]["body"]
    assert b"<Code>InsufficientStorage</Code>" in body
    assert b"/disk/state: No space left on device" in body


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        ("Action=GetCallerIdentity&Version=2011-06-15", {"content_type": "application/x-www-form-urlencoded"}, 200),
        ("Action=CreateVpc&Version=2016-11-15", {"content_type": "application/x-www-form-urlencoded"}, 400),
        ("{}", {"x_amz_target": "AmazonSSM.GetParameter", "content_type": "application/x-amz-json-1.1"}, 200),
        ("{}", {"x_amz_target": "AmazonSSM.PutParameter", "content_type": "application/x-amz-json-1.1"}, 400),
    ],
)
def test_without_room_what_only_asks_is_answered(content: str, headers: dict[str, Any], status: int) -> None:
    recorder = Recorder(content.encode())
    recorder.broken_saves = 100
    change = scope(path="/bucket/key", method="PUT", content=content)
    assert drive(recorder, change, scope(content=content, **headers), after_each=0.8).statuses == [200, status]


def test_a_failed_save_does_not_end_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "QUIET_SECONDS", 0.0)
    recorder = Recorder()
    recorder.broken_saves = 1
    drive(recorder, scope(), scope(), after_each=0.3)
    assert recorder.statuses == [200, 200]
    assert recorder.saves == 3, "after the first change, again before the second, and after it"


def test_a_preflight_carries_nothing_to_the_emulator_that_could_make_it_another_request() -> None:
    asked = {"x_amz_target": "secretsmanager.GetSecretValue", "access_control_request_method": "PUT"}
    one = scope("OPTIONS", "/bucket/key", sign=False, origin="http://localhost:3000", content="Action=x", **asked)
    one["query_string"] = b"X-Amz-Signature=0&X-Amz-Credential=test/20260101/us-east-1/iam/aws4_request"
    recorder = Recorder(b"Action=x")
    received: list[Message] = []
    recorder.serve = lambda scope, receive, send: _keep(received, scope, receive)  # type: ignore[method-assign]
    drive(recorder, one)
    assert [message.get("body", b"") for message in received[1:]] == [b""]
    assert received[0]["query_string"] == b""
    assert {name for name, _ in received[0]["headers"]} == {b"host", b"origin", b"access-control-request-method", b"content-length"}


async def _keep(received: list[Message], scope: Message, receive: Any) -> None:
    if scope["type"] == "http":
        received.extend([scope, await receive()])


@pytest.mark.parametrize("raw", [b"bucket/key", b"*", b"http://localhost/", b"/a#b", b"/a\tb", b"]", b"", b"/\xc3\xa4"])
def test_an_address_is_read_in_one_way(raw: bytes) -> None:
    assert drive(Recorder(), {**scope(), "raw_path": raw}).statuses == [403]
    assert drive(Recorder(), {**scope(), "query_string": b"a#b"}).statuses == [403]


def test_no_more_is_read_of_a_stranger_than_a_sign_in_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_LARGEST_UNSIGNED", 3)
    monkeypatch.setattr(server, "_LARGEST_UNCHECKED", 4)
    sign_up = scope(sign=False, x_amz_target="AWSCognitoIdentityProviderService.SignUp")
    assert drive(Recorder(b"1234"), sign_up, scope("POST", "/login", sign=False)).statuses == [413, 413]
    assert drive(Recorder(b"12345"), scope(content="12345")).statuses == [413]
    assert drive(Recorder(b"1234"), scope(content="1234")).statuses == [200]
