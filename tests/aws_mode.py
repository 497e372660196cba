"""Commands in AWS mode, led to the emulator of a sandbox that stands beside: a state bucket and a KMS key of its own, the real engine with
its own S3 and KMS clients, and in the place of the official provider one that finds its credentials as any SDK does.

What this cannot prove: what AWS itself answers, and how the official provider, whose binary is not here, reads the same variables.
"""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from amianai_infra.progress import Progress
from amianai_infra.sandbox import Sandbox, postgres
from amianai_infra.sandbox.emulator_gateway import signature
from tests.project import CHECKOUT, checkout, copy_project

DOMAIN = "example.com"
BUCKET = "eeyore-state-000000000000-us-east-1"
CHECKPOINT = ".pulumi/stacks/amianai-infra/prod.json"
ALIAS = "alias/eeyore-state"

# Serves the sandbox's resource types as a plugin that the engine starts, with what boto3 finds in the environment that it was given.
_PROVIDER = """#!{python}
import json, os, sys, time
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, {checkout!r})
import boto3
from amianai_infra.sandbox.provider.clients import Clients
from amianai_infra.sandbox.provider.resource import World
from amianai_infra.sandbox.provider.server import serve
session = boto3.Session(region_name="us-east-1")
caller = session.client("sts").get_caller_identity()["Arn"]
with open({log!r}, "a") as log:
    print(json.dumps([session.get_credentials().method, caller, os.environ.get("AWS_PROFILE", "")]), file=log)
clients = Clients(os.environ["AWS_ENDPOINT_URL"], SimpleNamespace(access_key=None, secret_key=None))
clients._session = session
with serve(World(clients, Path({sockets!r}), {postgres}, "us-east-1"), 0) as port:
    print(port, flush=True)
    while True:
        time.sleep(60)
"""


@dataclass(frozen=True)
class Session:
    """What STS gave out."""

    secret: str
    token: str
    ends: float
    of_role: bool


class Front:
    """Stands before the emulator and asks for what it does not: a code for each session of a user, that session for the role, and an end.

    STS is the emulator's own. Other requests have to be signed with a session that has not ended; they are passed on as the account's
    root, since the role may not read through plain HTTP what only TLS may read.

    Args:
        port: the emulator's.
        key: its own key.

    Attributes:
        lifetime: how long the role's sessions last, whatever is asked for, in seconds.
        codes: those that were sent.
        sessions: what was given out, by access key.
    """

    def __init__(self, port: int, key: Mapping[str, str]) -> None:
        self.lifetime = 3600.0
        self.codes: list[str] = []
        self.sessions: dict[str, Session] = {}
        self.port = port
        self._root = Credentials(key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"])
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Forward,), {"front": self}))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def refusal(self, key: str, form: Mapping[str, str]) -> str:
        """Why STS does not answer: the code of an error, or nothing."""
        if form["Action"] == "GetSessionToken":
            self.codes.append(form.get("TokenCode", ""))
            return "" if form.get("SerialNumber") and self.codes.count(self.codes[-1]) == 1 else "AccessDenied"
        return "AccessDenied" if form["Action"] == "AssumeRole" and key not in self.sessions else ""

    def answered(self, form: Mapping[str, str], body: bytes) -> bytes:
        """An answer of STS as it is passed on."""
        given = {name: re.search(f"<{name}>([^<]+)", body.decode()) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")}
        values = {name: found[1] for name, found in given.items() if found}
        if len(values) < 3:
            return body
        of_role = form["Action"] == "AssumeRole"
        ends = time.time() + (self.lifetime if of_role else 43200)
        self.sessions[values["AccessKeyId"]] = Session(values["SecretAccessKey"], values["SessionToken"], ends, of_role)
        told = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return re.sub(rb"<Expiration>[^<]*", f"<Expiration>{told}".encode(), body)

    def assumed(self) -> int:
        """How often the role was assumed."""
        return sum(1 for one in self.sessions.values() if one.of_role)

    def as_root(self, request: signature.Request) -> dict[str, str]:
        """The headers with which a request is passed on.

        Raises:
            UnsignedError: it is not signed with a session, or that has ended.
        """
        scope = re.search(r"Credential=(\w+)/\d+/([\w-]+)/([\w-]+)/", request.headers.get("authorization", ""))
        key, region, service = scope.groups() if scope else ("", "", "")
        if key in self.sessions and time.time() > self.sessions[key].ends:
            raise signature.UnsignedError("ExpiredToken", "the session has ended")
        known = {(key, one.token): one.secret for key, one in self.sessions.items()}
        signature.check(request, lambda key, token: known.get((key, token)))
        left_out = {"authorization", "x-amz-security-token", "host", "connection"}
        headers = {name: value for name, value in request.headers.items() if name not in left_out}
        url = f"http://127.0.0.1:{self.port}{request.path}{'?' if request.query else ''}{request.query}"
        again = AWSRequest(request.method, url, headers, request.body)
        signer = _AsDeclared if service == "s3" else SigV4Auth
        signer(self._root, service, region).add_auth(again)
        return dict(again.headers.items())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _AsDeclared(S3SigV4Auth):
    """Signs over the hash of the body that the client declared."""

    def payload(self, request: AWSRequest) -> str:
        return str(request.headers.get("x-amz-content-sha256") or super().payload(request))

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        """The header stays as it was sent."""
        if "Authorization" in request.headers:
            del request.headers["Authorization"]
        self._set_necessary_date_headers(request)  # type: ignore[attr-defined]


class _Forward(BaseHTTPRequestHandler):
    front: Front
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path, _, query = self.path.partition("?")
        form = dict(parse_qsl(body.decode(errors="replace"))) if "/sts/" in headers.get("authorization", "") else {}
        try:
            if form:
                key = re.search(r"Credential=(\w+)/", headers["authorization"])
                if refused := self.front.refusal(key[1] if key else "", form):
                    raise signature.UnsignedError(refused, "MultiFactorAuthentication failed")
                sent = headers
            else:
                sent = self.front.as_root(signature.Request(self.command, path, query, headers, body))
        except signature.UnsignedError as error:
            text = f"<ErrorResponse><Error><Code>{error.code}</Code><Message>{error}</Message></Error></ErrorResponse>"
            self._answer(403, [("x-amzn-errortype", error.code)], text.encode())
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.front.port, timeout=120)
        connection.request(self.command, self.path, body, sent)
        got = connection.getresponse()
        answer = got.read()
        self._answer(got.status, got.getheaders(), self.front.answered(form, answer) if form else answer)
        connection.close()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def _answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        own = {"transfer-encoding", "connection", *(() if self.command == "HEAD" else ("content-length",))}
        for name, value in headers:
            if name.lower() not in own:
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Cloud:
    """A sandbox whose services stand for AWS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sandbox = Sandbox(checkout(folder / "cloud"))
        self.sandbox.start(Progress(quiet=True))
        ports, key = self.sandbox.ports(), self.sandbox.key()
        self.endpoint = f"http://127.0.0.1:{ports.emulator}"
        self.port = ports.emulator
        self.key = {"AWS_ACCESS_KEY_ID": key.access_key, "AWS_SECRET_ACCESS_KEY": key.secret_key}
        self.log = folder / "provider.log"
        program = folder / "bin" / "pulumi-resource-aws"
        program.parent.mkdir()
        sockets = str(postgres.locate(self.sandbox.local).sockets)
        text = _PROVIDER.format(
            python=sys.executable,
            checkout=str(CHECKOUT),
            log=str(self.log),
            endpoint=self.endpoint,
            sockets=sockets,
            postgres=ports.postgres,
        )
        program.write_text(text)
        program.chmod(0o755)

    def client(self, service: str, region: str = "us-east-1") -> Any:
        import boto3
        from botocore.config import Config

        session = boto3.Session(self.key["AWS_ACCESS_KEY_ID"], self.key["AWS_SECRET_ACCESS_KEY"], region_name=region)
        return session.client(service, endpoint_url=self.endpoint, config=Config(s3={"addressing_style": "path"}))  # type: ignore[call-overload]

    def callers(self) -> list[tuple[str, str, str]]:
        """How the provider came to its credentials, whose they were, and which profile it was told, for each time it was started."""
        lines = self.log.read_text().splitlines() if self.log.is_file() else []
        self.log.unlink(missing_ok=True)
        return [tuple(json.loads(line)) for line in lines]

    def made(self) -> dict[str, list[str]]:
        """What an independent listing finds of all that costs money or would be doubled."""
        ec2 = self.client("ec2")
        return {
            "networks": [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]],
            "addresses": [one["AllocationId"] for one in ec2.describe_addresses()["Addresses"]],
            "databases": [one["DBInstanceIdentifier"] for one in self.client("rds").describe_db_instances()["DBInstances"]],
            "zones": [zone["Id"] for zone in self.client("route53").list_hosted_zones()["HostedZones"]],
            "buckets": sorted(one["Name"] for one in self.client("s3").list_buckets()["Buckets"]),
            "keys": sorted(one["KeyId"] for one in self.client("kms").list_keys()["Keys"]),
        }

    def close(self) -> None:
        self.sandbox.reset(Progress(quiet=True))


@dataclass
class Machine:
    """An operator's machine: a checkout, a home without Pulumi's or AWS's files, an environment."""

    root: Path
    cloud: Cloud
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, folder: Path, cloud: Cloud, env: Mapping[str, str] | None = None) -> Machine:
        project = copy_project(folder / "checkout")
        (folder / "home").mkdir()
        return cls(project.root, cloud, dict(cloud.key if env is None else env))

    @property
    def file(self) -> Path:
        return self.root / "Pulumi.prod.yaml"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_", "AMIANAI_", "DOMAIN_"))}
        cache = os.environ.get("AMIANAI_CACHE") or str(Path.home() / ".cache" / "amianai-infra")
        return {
            **kept,
            "HOME": str(self.root.parent / "home"),
            "PATH": f"{self.cloud.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "AMIANAI_CACHE": cache,
            "AMIANAI_TARGET": "aws",
            "DOMAIN_NAME": DOMAIN,
            "AWS_ENDPOINT_URL": self.cloud.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            **self.env,
            **(extra or {}),
        }

    def command(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("amianai")), *words]

    def run(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words),
            check=False,
            cwd=self.root,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
        )
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str) -> Any:
        return json.loads(self.run("--json", *words).stdout)

    def typed(self, *words: str, answers: Mapping[str, str], seconds: float = 240) -> tuple[int, str]:
        """A command at a terminal, where each text that appears is answered; its exit code and all that was shown."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.root)
            os.execve(self.command()[0], self.command(*words), self.environment())
        shown, answered, ends = "", 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            if select.select([terminal], [], [], 0.5)[0]:
                try:
                    shown += os.read(terminal, 65536).decode(errors="replace")
                except OSError:  # Linux: the other end was closed
                    break
            for text, answer in answers.items():
                if text in shown[answered:]:
                    answered = len(shown)
                    os.write(terminal, f"{answer}\n".encode())
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def team_profile(cloud: Cloud, folder: Path) -> dict[str, str]:
    """The usual set-up of a team: a user's key, and a role that is assumed with it and a code."""
    iam = cloud.client("iam")
    everything = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    user = iam.create_user(UserName="ada")["User"]
    iam.put_user_policy(UserName="ada", PolicyName="all", PolicyDocument=everything)
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": user["Arn"]}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="operators", AssumeRolePolicyDocument=policy)["Role"]
    iam.put_role_policy(RoleName="operators", PolicyName="all", PolicyDocument=everything)
    files = {"AWS_CONFIG_FILE": folder / "config", "AWS_SHARED_CREDENTIALS_FILE": folder / "credentials"}
    files["AWS_SHARED_CREDENTIALS_FILE"].write_text(
        f"[ada]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
    )
    serial = "arn:aws:iam::000000000000:mfa/ada"
    lines = (
        "[profile team]",
        f"role_arn = {role['Arn']}",
        "source_profile = ada",
        f"mfa_serial = {serial}",
    )
    files["AWS_CONFIG_FILE"].write_text("\n".join([*lines, ""]))
    return {"AWS_PROFILE": "team", **{name: str(path) for name, path in files.items()}}
