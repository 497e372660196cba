"""The clients reach the emulator and nothing else, whatever the environment says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from amianai_infra.sandbox.emulator import Key
from amianai_infra.sandbox.provider.clients import AbandonedError, Clients, EscapedError, lost
from amianai_infra.sandbox.provider.validation import RefusedParameters

KEY = Key("AKIAEXAMPLE", "secret")


class Emulator(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers["Authorization"]))
        result = b"<GetCallerIdentityResult><Account>0</Account></GetCallerIdentityResult>"
        body = b"<GetCallerIdentityResponse>" + result + b"</GetCallerIdentityResponse>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Be quiet."""


@pytest.fixture
def endpoint() -> Any:
    server = HTTPServer(("127.0.0.1", 0), Emulator)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_environment_changes_nothing(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile real]\nregion = eu-central-1\nendpoint_url = http://127.0.0.1:1\nca_bundle = /nonexistent\n")
    for name, value in {
        "AWS_PROFILE": "real",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ACCESS_KEY_ID": "AKIAREALREALREALREAL",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
        "AWS_CA_BUNDLE": "/nonexistent",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    assert Clients(endpoint, KEY).get("sts", "us-east-1").get_caller_identity()["Account"] == "0"
    path, authorization = Emulator.seen[-1]
    assert path == "/"
    assert f"Credential={KEY.access_key}/" in authorization
    assert "us-east-1" in authorization


def test_a_request_for_elsewhere_is_not_sent(endpoint: str) -> None:
    clients = Clients(endpoint, KEY)
    client = clients.get("sts", "us-east-1")
    clients.endpoint = "http://127.0.0.1:1"
    with pytest.raises(EscapedError, match=r"talks to http://127.0.0.1:1 only"):
        client.get_caller_identity()


def test_a_host_that_begins_like_the_emulators_is_elsewhere(endpoint: str) -> None:
    clients = Clients(endpoint, KEY)
    client = clients.get("sts", "us-east-1")
    clients.endpoint = endpoint[:-1]
    with pytest.raises(EscapedError):
        client.get_caller_identity()


def test_every_client_is_checked_and_made_once() -> None:
    clients = Clients("http://127.0.0.1:1", KEY)
    with pytest.raises(RefusedParameters, match="iam CreateRole: AssumeRolePolicyDocument is required"):
        clients.get("iam", "us-east-1").create_role(RoleName="r")
    made: list[Any] = []
    threads = [threading.Thread(target=lambda: made.append(clients.get("logs", "us-east-1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in made}) == 1
    assert clients.get("logs", "eu-west-1") is not made[0]


class Failing(BaseHTTPRequestHandler):
    """Answers with failures, then as it should."""

    answers: ClassVar[list[int]] = []
    asked: ClassVar[int] = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        status = self.answers.pop(0) if self.answers else 200
        body = b"<CreateVpcResponse><vpc><vpcId>vpc-1</vpcId></vpc></CreateVpcResponse>" if status == 200 else b""
        if status == 400:
            body = b"<Response><Errors><Error><Code>Resource.AlreadyAssociated</Code><Message>m</Message></Error></Errors></Response>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Be quiet."""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    Failing.asked = 0
    server = HTTPServer(("127.0.0.1", 0), Failing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Clients(f"http://127.0.0.1:{server.server_port}", KEY)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_service_that_fails_is_asked_again_and_again(failing: Clients) -> None:
    Failing.answers = [500, 503, 502] * 4
    assert failing.get("ec2", "us-east-1").describe_vpcs()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert Failing.asked == 13


def test_a_creation_that_may_have_been_carried_out_is_not_repeated_blindly(failing: Clients) -> None:
    Failing.answers = [500]
    with failing.creating(), pytest.raises(ClientError) as caught:
        failing.get("ec2", "us-east-1").create_vpc(CidrBlock="10.0.0.0/16")
    assert Failing.asked == 1
    assert lost(caught.value)
    Failing.answers = [500]
    with failing.creating():
        failing.get("ec2", "us-east-1").describe_vpcs()
    assert Failing.asked == 3, "reading is repeated all the same"


def test_what_a_lost_attempt_did_is_no_failure_of_the_next_one(failing: Clients) -> None:
    ec2 = failing.get("ec2", "us-east-1")
    Failing.answers = [500, 400]
    ec2.attach_internet_gateway(InternetGatewayId="igw-1", VpcId="vpc-1")
    Failing.answers = [400]
    with pytest.raises(ClientError, match="AlreadyAssociated"):
        ec2.attach_internet_gateway(InternetGatewayId="igw-1", VpcId="vpc-1")
    Failing.answers = [500, 400]
    with pytest.raises(ClientError, match="AlreadyAssociated"):
        ec2.detach_internet_gateway(InternetGatewayId="igw-1", VpcId="vpc-1")


def test_nothing_more_is_sent_for_an_engine_that_is_gone(failing: Clients) -> None:
    Failing.answers = [500] * 20
    with failing.during(lambda: Failing.asked < 3), pytest.raises(AbandonedError):
        failing.get("ec2", "us-east-1").describe_vpcs()
    assert Failing.asked == 3


@pytest.mark.parametrize(
    ("status", "code", "unsure"), [(500, "InternalError", True), (503, "SlowDown", False), (400, "Throttling", False), (503, "", True)]
)
def test_a_throttled_request_was_not_carried_out(status: int, code: str, unsure: bool) -> None:
    error = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "CreateVpc")  # type: ignore[typeddict-item]
    assert lost(error) is unsure


def test_a_refused_connection_carried_nothing_out() -> None:
    assert not lost(EndpointConnectionError(endpoint_url="http://x"))
    assert lost(ReadTimeoutError(endpoint_url="http://x"))
