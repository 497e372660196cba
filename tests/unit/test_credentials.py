"""What keeps a person out of AWS is told by its cause, with the file, profile or variable that holds it, and ends in seconds."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from click.testing import CliRunner

from amianai_infra import credentials, printing
from amianai_infra.cli.main import cli
from amianai_infra.errors import AmianaiError, ClockError, ConfigurationError, ForbiddenError, UnreachableError
from amianai_infra.operations import doctor
from amianai_infra.target import OUTPUTS_CACHE, AwsTarget, aws_error
from tests.project import checkout
from tests.unit.operations.fakes import OUTPUTS
from tests.unit.test_target import BytesRaw

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
GOOD = {"Version": 1, "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": SECRET}
PAGE = b"<!DOCTYPE html><html><body>Welcome to the hotel</body></html>"
IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/ada</Arn><UserId>A</UserId><Account>123456789012</Account></GetCallerIdentityResult>
<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""


class Sts:
    """Answers as it is told, and keeps what was asked."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {"Content-Type": "text/xml"}, IDENTITY.encode()
        self.asked: list[dict[str, str]] = []
        self.lifetime = timedelta(hours=1)
        self.refused = b""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = {name: one[0] for name, one in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()}
                outer.asked.append({**form, "key": self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]})
                body = outer.body if form["Action"] == "GetCallerIdentity" else outer.refused or outer.given(form["Action"])
                self.send_response_only(outer.status)
                for name, value in {**outer.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_CONNECT(self) -> None:
                self.send_error(407)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def given(self, action: str) -> bytes:
        lifetime = self.lifetime if action == "AssumeRole" else timedelta(hours=12)
        ends = f"{datetime.now(UTC) + lifetime:%Y-%m-%dT%H:%M:%SZ}"
        number = len(self.asked)
        keys = f"<AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>s{number}</SecretAccessKey><SessionToken>t{number}</SessionToken>"
        role = "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><AssumedRoleId>a:s</AssumedRoleId></AssumedRoleUser>"
        more = role if action == "AssumeRole" else ""
        result = f"<Credentials>{keys}<Expiration>{ends}</Expiration></Credentials>{more}"
        return f'<R xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{result}</{action}Result></R>'.encode()


@pytest.fixture
def sts() -> Iterator[Sts]:
    made = Sts()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AwsTarget]:
    """A target on a machine with these files and variables."""

    def make(config: str | bytes = "", keys: str = "", **environ: str) -> AwsTarget:
        (tmp_path / "config").write_bytes(config.encode() if isinstance(config, str) else config)
        (tmp_path / "credentials").write_text(keys)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return AwsTarget(tmp_path, "us-east-1", "eeyore", {})

    return make


def process(program: str) -> str:
    return f"[profile work]\ncredential_process = {program}\n"


def prints(text: str) -> str:
    return process(f"""{sys.executable} -c "print('''{text}''')" """)


EXPIRED = json.dumps({**GOOD, "Expiration": "2020-01-01T00:00:00Z"}).replace('"', '\\"')
WORK = {"AWS_PROFILE": "work"}
ROLE = "role_arn = arn:aws:iam::123456789012:role/operators"
SERIAL = "arn:aws:iam::123456789012:mfa/ada"
TEAM = (
    f"[profile work]\n{ROLE}\nsource_profile = ada\nmfa_serial = {SERIAL}\n"
    f"[profile ada]\naws_access_key_id = AKIAADA\naws_secret_access_key = {SECRET}\n"
)
CIRCLE = f"[profile work]\n{ROLE}\nsource_profile = b\n[profile b]\n{ROLE}\nsource_profile = work\n"
WEB = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/token", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r"}
CASES: dict[str, tuple[str | bytes, Mapping[str, str], type[AmianaiError], tuple[str, ...]]] = {
    "credential_process prints junk": (prints("hello"), WORK, ForbiddenError, ("credential_process", "work (AWS_PROFILE)", "config")),
    "credential_process prints bytes": (process("printf '\\377\\376'"), WORK, ForbiddenError, ("credential_process", "printf", "JSON")),
    "credential_process prints a list": (prints("[]"), WORK, ForbiddenError, ("credential_process", "AccessKeyId")),
    "credential_process is missing": (process("/no/such-program --account 1"), WORK, ConfigurationError, ("/no/such-program", "work")),
    "credential_process may not be executed": (process("/etc/passwd"), WORK, ConfigurationError, ("/etc/passwd", "executable")),
    "credential_process fails": (process("ls /no/such/place"), WORK, ForbiddenError, ("No such file", "work (AWS_PROFILE)")),
    "credential_process gives expired ones": (prints(EXPIRED), WORK, ForbiddenError, ("expired already", "work", "clock")),
    "credential_process has an open quote": (process("sh -c 'echo"), WORK, ForbiddenError, ("credential_process", "work")),
    "broken file": ("[default\nregion = x\n", KEYS, ConfigurationError, ("cannot be understood", "config, line 1")),
    "broken line": (f"[default]\n{SECRET}\n", {}, ConfigurationError, ("cannot be understood", "config, line 2")),
    "binary file": (b"\xff\xfe\x00", KEYS, ConfigurationError, ("cannot be understood", "config")),
    "unknown profile": ("[profile other]\n", {"AWS_PROFILE": "nobody"}, ConfigurationError, ("'nobody'", "AWS_PROFILE", "list-profiles")),
    "unknown default profile": ("", {"AWS_DEFAULT_PROFILE": "nobody"}, ConfigurationError, ("'nobody'", "AWS_DEFAULT_PROFILE")),
    "source_profile that is missing": (f"[profile work]\n{ROLE}\nsource_profile = gone\n", WORK, ConfigurationError, ('"gone"', "config")),
    "source_profile without keys": (
        f"[profile work]\n{ROLE}\nsource_profile = bare\n[profile bare]\n", WORK, ConfigurationError, ('"bare"', "no credentials"),
    ),
    "profiles in a circle": (CIRCLE, WORK, ConfigurationError, ("work",)),
    "web identity without its file": ("", WEB, ConfigurationError, ("/no/token",)),
    "MFA without a terminal": (TEAM, WORK, ForbiddenError, ("no terminal", SERIAL, "profile work")),
    "no credentials": ("", {}, ForbiddenError, ("No usable AWS credentials", "default", "aws configure")),
    "half a pair": ("", {"AWS_ACCESS_KEY_ID": "AKIA"}, ForbiddenError, ("AWS_SECRET_ACCESS_KEY",)),
    "key with a line break": ("", {**KEYS, "AWS_ACCESS_KEY_ID": "AKIA\nX"}, ConfigurationError, ("access key", "AWS_ACCESS_KEY_ID")),
    "secret with a line break": ("", {**KEYS, "AWS_SECRET_ACCESS_KEY": f"{SECRET}\n"}, ConfigurationError, ("secret key", "one line")),
    "token with a line break": ("", {**KEYS, "AWS_SESSION_TOKEN": f"{SECRET}\nX"}, ConfigurationError, ("session token", "one line")),
    "endpoint without a scheme": (
        "", {**KEYS, "AWS_ENDPOINT_URL": "localhost:4566"}, ConfigurationError, ("AWS_ENDPOINT_URL: localhost:4566", "http://"),
    ),
    "proxy that is dead": ("", {**KEYS, "HTTPS_PROXY": "http://me:hidden@127.0.0.1:1"}, UnreachableError, ("HTTPS_PROXY", "127.0.0.1:1")),
    "misspelt proxy": ("", {**KEYS, "https_proxy": "htp:/proxy"}, UnreachableError, ("https_proxy", "http://user:password@host")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_keeps_out_is_named_with_its_place(
    case: str, enter: Callable[..., AwsTarget], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config, environ, kind, words = CASES[case]
    monkeypatch.setattr(printing, "hidden_answer", lambda _: None)  # whoever runs the tests may sit at a terminal
    target = enter(config, **environ)
    with pytest.raises(AmianaiError) as caught:
        target.identity()
    assert type(caught.value) is kind, str(caught.value)
    said = str(caught.value)
    assert not [word for word in words if word not in said], said
    assert caught.value.where
    assert caught.value.fix
    assert SECRET not in said
    assert "hidden" not in said
    assert "unexpected" not in said
    (row,) = doctor.credentials(target)
    assert not row.ok
    assert row.fix
    assert SECRET not in capfd.readouterr().err


@pytest.mark.parametrize("status", [200, 302, 403, 407, 511])
def test_a_page_in_the_place_of_an_answer(status: int, sts: Sts, enter: Callable[..., AwsTarget]) -> None:
    sts.status, sts.body, sts.headers = status, PAGE, {"Content-Type": "text/html", "Location": "http://portal.test/"}
    with pytest.raises(UnreachableError, match="web page") as caught:
        enter(**KEYS, AWS_ENDPOINT_URL=sts.url).identity()
    assert f"HTTP {status}" in caught.value.where
    assert "browser" in caught.value.fix


@pytest.mark.parametrize("service", ["ssm", "s3", "rds"])
def test_a_page_is_no_answer_of_other_services_either(service: str, sts: Sts, enter: Callable[..., AwsTarget]) -> None:
    def page(request: Any, **_: Any) -> Any:
        return AWSResponse(request.url, 200, HTTPHeaders.from_dict({"content-type": "text/html"}), BytesRaw(PAGE))

    target = enter(**KEYS, AWS_ENDPOINT_URL=sts.url)
    target._session.events.register_first("before-send", page)
    client = target.client(service)
    calls = {"ssm": ("get_parameter", {"Name": "x"}), "s3": ("list_buckets", {}), "rds": ("describe_db_instances", {})}
    operation, parameters = calls[service]
    with pytest.raises(UnreachableError, match="web page"):
        getattr(client, operation)(**parameters)


def test_something_that_is_neither_page_nor_answer(sts: Sts, enter: Callable[..., AwsTarget]) -> None:
    sts.body = b"pong"
    with pytest.raises(UnreachableError, match="Something else than AWS"):
        enter(**KEYS, AWS_ENDPOINT_URL=sts.url).identity()


@pytest.mark.parametrize("bundle", ["missing", "junk"])
def test_authorities_that_cannot_be_read(bundle: str, sts: Sts, enter: Callable[..., AwsTarget], tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    target = enter(**KEYS, AWS_ENDPOINT_URL=sts.url.replace("http", "https"), AWS_CA_BUNDLE=str(tmp_path / bundle))
    with pytest.raises(UnreachableError, match="cannot be trusted") as caught:
        target.identity()
    assert f"AWS_CA_BUNDLE={tmp_path / bundle}" in caught.value.where


def test_a_proxy_that_wants_a_password(sts: Sts, enter: Callable[..., AwsTarget]) -> None:
    with pytest.raises(UnreachableError, match="proxy") as caught:
        enter(**KEYS, HTTPS_PROXY=sts.url).identity()
    assert "HTTPS_PROXY" in caught.value.where
    assert "password@" in caught.value.fix


@pytest.mark.parametrize(
    ("code", "message", "ahead"),
    [
        ("SignatureDoesNotMatch", "Signature expired: 20261129T120000Z is now earlier than 20261129T130000Z", 0),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261129T150000Z is still later than 20261129T130500Z", 0),
        ("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", 3600),
        ("InvalidClientTokenId", "The security token included in the request is invalid.", -3600),
        ("AuthFailure", "AWS was not able to validate the provided access credentials", 900),
        ("RequestExpired", "Request has expired.", -900),
        ("InvalidSignatureException", "Signature expired", 0),
        ("ExpiredToken", "The provided token has expired.", 3600),
    ],
)
def test_a_wrong_clock_is_told_as_a_wrong_clock(code: str, message: str, ahead: int) -> None:
    headers = {"date": formatdate(time.time() - ahead, usegmt=True)}
    error = ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPHeaders": headers}}, "DoIt")  # type: ignore[typeddict-item]
    found = aws_error(error, "asking")
    assert type(found) is ClockError
    assert "clock" in found.fix
    assert ("ahead of" if ahead > 0 else "behind" if ahead < 0 else "off from") in found.what


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidSignatureException"])
def test_with_a_right_clock_it_is_the_credentials(code: str) -> None:
    headers = {"date": formatdate(usegmt=True)}
    error = ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPHeaders": headers}}, "DoIt")  # type: ignore[typeddict-item]
    assert type(aws_error(error, "asking")) is ForbiddenError


def test_doctor_names_the_clock(sts: Sts, enter: Callable[..., AwsTarget]) -> None:
    sts.status, sts.headers = 403, {"Content-Type": "text/xml", "Date": formatdate(time.time() + 7200, usegmt=True)}
    sts.body = b"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired</Message></Error></ErrorResponse>"
    (row,) = doctor.credentials(enter(**KEYS, AWS_ENDPOINT_URL=sts.url))
    assert (row.name, row.ok) == ("Clock", False)
    assert "behind" in row.found


def test_a_service_that_never_answers_is_waited_for_with_a_word_and_not_long(
    enter: Callable[..., AwsTarget], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert credentials.CONNECT_SECONDS + credentials.READ_SECONDS <= 15
    monkeypatch.setattr(credentials, "QUICK", Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 2}))
    monkeypatch.setattr(credentials, "SILENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(UnreachableError, match="did not answer"):
            enter(**KEYS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{silent.getsockname()[1]}").identity()
    assert time.monotonic() - started < 8
    assert "STS does not answer; waiting" in capsys.readouterr().err


@pytest.mark.parametrize("through", ["profile", "source_profile"])
def test_a_credential_process_that_hangs_is_ended(
    through: str, enter: Callable[..., AwsTarget], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(credentials, "PROCESS_SECONDS", 1.0)
    monkeypatch.setattr(credentials, "SILENCE_SECONDS", 0.2)
    config = process("sleep 600")
    if through == "source_profile":
        config += "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = work\n"
    with pytest.raises(UnreachableError, match="no credentials within 1 s") as caught:
        enter(config, AWS_PROFILE="work" if through == "profile" else "role").identity()
    assert "sleep" in caught.value.where
    assert "Waiting for credential_process sleep, 1 s at most" in capsys.readouterr().err


# -- roles, codes, and what the engine is given


def typing(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    asked: list[str] = []
    left = list(answers)

    def answer(question: str) -> str:
        asked.append(question)
        return left.pop(0)

    monkeypatch.setattr(printing, "hidden_answer", answer)
    return asked


def fetched(variables: Mapping[str, str]) -> dict[str, str]:
    """What an SDK gets from the endpoint that the variables name."""
    address = urlsplit(variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
    assert address.hostname == "127.0.0.1"
    connection = http.client.HTTPConnection("127.0.0.1", address.port or 0)
    connection.request("GET", address.path, headers={"Authorization": variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]})
    found: dict[str, str] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def test_the_code_is_asked_once_and_the_role_is_assumed_again_before_a_session_ends(
    sts: Sts, enter: Callable[..., AwsTarget], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = typing(monkeypatch, "12 34", "123456")
    sts.lifetime = timedelta(minutes=6)  # more than the engine wants to have left
    target = enter(TEAM, AWS_PROFILE="work", AWS_ENDPOINT_URL=sts.url)
    held: Any = target._session.get_credentials()
    given = credentials.handed_over(target._session)
    first = held.access_key
    sts.lifetime = timedelta(hours=1)
    assert len(asked) == 2, "what is no code is asked for again"
    assert SERIAL in asked[0]
    assert sts.asked[0]["TokenCode"] == "123456"
    again = fetched(given)
    assert again["AccessKeyId"] != first
    assert datetime.fromisoformat(again["Expiration"]) > datetime.now(UTC) + timedelta(minutes=50)
    assert fetched(given) == again, "as long as it lasts"
    calls = [(one["Action"], one["key"]) for one in sts.asked]
    assert calls[0] == ("GetSessionToken", "AKIAADA")
    assert set(calls[1:]) == {("AssumeRole", "ASIA1")}
    assert len(calls) >= 3
    assert len(asked) == 2


def test_what_a_release_signs_with_is_renewed_before_it_ends(sts: Sts, enter: Callable[..., AwsTarget]) -> None:
    sts.lifetime = timedelta(minutes=6)
    given = enter(TEAM.replace(f"mfa_serial = {SERIAL}\n", ""), AWS_PROFILE="work", AWS_ENDPOINT_URL=sts.url).credentials()
    assert given.renew is not None
    assert given.expires is not None
    sts.lifetime = timedelta(hours=1)
    now = given.renew()
    assert now.access_key != given.access_key
    assert now.expires is not None
    assert now.expires - given.expires > timedelta(minutes=50)
    assert given.renew().access_key == now.access_key, "as long as it lasts"


def test_keys_that_do_not_end_are_not_renewed(enter: Callable[..., AwsTarget]) -> None:
    given = enter("", **KEYS).credentials()
    assert (given.expires, given.renew) == (None, None)


def test_a_code_that_aws_refuses(sts: Sts, enter: Callable[..., AwsTarget], monkeypatch: pytest.MonkeyPatch) -> None:
    typing(monkeypatch, "123456")
    said = "MultiFactorAuthentication failed with invalid MFA one time pass code."
    refusal = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{said}</Message></Error></ErrorResponse>"
    sts.status, sts.refused = 403, refusal.encode()
    with pytest.raises(ForbiddenError, match="does not take the MFA code"):
        enter(TEAM, AWS_PROFILE="work", AWS_ENDPOINT_URL=sts.url).identity()


def test_three_times_no_code(enter: Callable[..., AwsTarget], monkeypatch: pytest.MonkeyPatch) -> None:
    assert typing(monkeypatch, "", "x", "1234567") == []
    with pytest.raises(ForbiddenError, match="six digits"):
        enter(TEAM, AWS_PROFILE="work").identity()


def test_a_role_of_a_role_and_of_a_profile_that_names_itself(sts: Sts, enter: Callable[..., AwsTarget]) -> None:
    own = f"[profile own]\n{ROLE}\nsource_profile = own\naws_access_key_id = AKIAOWN\naws_secret_access_key = {SECRET}\n"
    chained = f"[profile far]\n{ROLE}\nsource_profile = own\nexternal_id = their-id\nrole_session_name = ada\n"
    enter(own + chained, AWS_PROFILE="far", AWS_ENDPOINT_URL=sts.url).identity()
    assert [(one["Action"], one["key"]) for one in sts.asked] == [
        ("AssumeRole", "AKIAOWN"),
        ("AssumeRole", "ASIA1"),
        ("GetCallerIdentity", "ASIA2"),
    ]
    assert (sts.asked[1]["ExternalId"], sts.asked[1]["RoleSessionName"]) == ("their-id", "ada")


def test_the_engine_is_given_keys_that_do_not_end_and_no_place_to_look_for_others(sts: Sts, enter: Callable[..., AwsTarget]) -> None:
    config, keys = "[default]\nregion = eu-west-1\nca_bundle = /etc/ours.pem\n", "aws_access_key_id=AKIAX\naws_secret_access_key="
    target = enter(config, f"[default]\n{keys}{SECRET}\n")
    target._environ = {"PULUMI_BACKEND_URL": "file:///x"}
    environment = target.engine()
    assert environment.variables == {
        "AWS_ACCESS_KEY_ID": "AKIAX",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_CA_BUNDLE": "/etc/ours.pem",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_REGION": "us-east-1",
    }
    assert {"AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SESSION_TOKEN"} <= environment.drop
    assert SECRET not in repr(environment)


def test_addresses_of_a_profile_reach_the_engine(enter: Callable[..., AwsTarget]) -> None:
    config = (
        "[profile work]\nservices = ours\nendpoint_url = http://127.0.0.1:1\n[services ours]\ns3 =\n  endpoint_url = http://127.0.0.1:2\n"
    )
    given = credentials.handed_over(enter(config, AWS_PROFILE="work", AWS_ENDPOINT_URL="http://127.0.0.1:3", **KEYS)._session)
    assert given["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:2"
    assert "AWS_ENDPOINT_URL" not in given, "the variable counts more than the file, and is there already"


def test_nobody_without_the_token_gets_the_credentials(
    sts: Sts, enter: Callable[..., AwsTarget], capfd: pytest.CaptureFixture[str]
) -> None:
    config = TEAM.replace(f"mfa_serial = {SERIAL}\n", "")
    target = enter(config, AWS_PROFILE="work", AWS_ENDPOINT_URL=sts.url)
    given = credentials.handed_over(target._session)
    token = given["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    for wrong in ("", token[:-1], f"{token}x", "\xff"):
        told = fetched({**given, "AWS_CONTAINER_AUTHORIZATION_TOKEN": wrong})
        assert told["code"] == "AccessDenied"
        assert "AccessKeyId" not in told
    sts.lifetime = timedelta(seconds=-1)
    assert fetched(given)["code"] == "CredentialsUnavailable"
    sts.status, sts.refused = 403, b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    told = fetched(given)
    assert told["code"] == "CredentialsUnavailable"
    assert "may not do this" in told["message"]
    assert capfd.readouterr().err == ""


def test_the_end_is_told_in_utc_whatever_the_program_says(enter: Callable[..., AwsTarget]) -> None:
    ends = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    told = json.dumps({**GOOD, "SessionToken": "t", "Expiration": ends.astimezone(timezone(timedelta(hours=2))).isoformat()})
    given = credentials.handed_over(enter(prints(told.replace('"', '\\"')), **WORK)._session)
    assert datetime.fromisoformat(fetched(given)["Expiration"]) == ends


def test_boto3_takes_what_the_engine_is_given(sts: Sts, enter: Callable[..., AwsTarget]) -> None:
    config = TEAM.replace(f"mfa_serial = {SERIAL}\n", "")
    given = credentials.handed_over(enter(config, AWS_PROFILE="work", AWS_ENDPOINT_URL=sts.url)._session)
    code = "import boto3; c = boto3.Session().get_credentials(); print(c.method, c.get_frozen_credentials().access_key)"
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **given}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("container-role ASIA")


def test_without_a_terminal_nothing_is_asked() -> None:
    code = "from amianai_infra.printing import hidden_answer; print(hidden_answer('Code'))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, start_new_session=True
    )
    assert (done.stdout, done.stderr) == ("None\n", "")


@pytest.mark.parametrize("command", [["deploy"], ["rollback"], ["releases"]])
def test_a_release_asks_for_the_code_before_anything_is_drawn(
    command: list[str], enter: Callable[..., AwsTarget], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = enter(TEAM, AWS_PROFILE="work", AMIANAI_ROOT=str(checkout(tmp_path / "checkout")), DOMAIN_NAME="example.com").root
    known = folder / "checkout" / ".amianai"
    known.mkdir()
    (known / OUTPUTS_CACHE).write_text(OUTPUTS.model_dump_json())
    begun: list[str] = []
    for name in ("deploy", "rollback", "releases"):
        monkeypatch.setattr(f"amianai_infra.site.{name}", lambda *_, name=name, **__: begun.append(name))
    typing(monkeypatch, "", "", "")
    result = CliRunner().invoke(cli, command)
    assert "six digits" in result.output
    assert begun == []
