"""Bad input and bad surroundings, through the installed command: a clear message, the documented exit code, nothing changed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import warm

AMIANAI = str(Path(sys.executable).with_name("amianai"))
DOMAIN = {"DOMAIN_NAME": "example.com"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a site."""
    made = tmp_path / "project"
    (made / "examples/site").mkdir(parents=True)
    (made / "examples/site/package.json").write_text("{}")
    (made / "Pulumi.yaml").write_text("name: amianai-infra\nruntime: python\n")
    return made


def environment(root: Path, extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "LANG", "AMIANAI_CACHE") if name in os.environ}
    return {
        **kept,
        "AMIANAI_ROOT": str(root),
        "AWS_CONFIG_FILE": str(root / "nowhere"),
        "AWS_SHARED_CREDENTIALS_FILE": str(root / "nowhere"),
        "AWS_EC2_METADATA_DISABLED": "true",
        **extra,
    }


def run(root: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return warm.run([AMIANAI, *arguments], root, environment(root, env or {}))


def refused(root: Path, *arguments: str, code: int, env: Mapping[str, str] | None = None) -> str:
    """What was said by a command that must refuse, without a trace of work."""
    before = sorted(path for path in root.rglob("*"))
    done = run(root, *arguments, env=env)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    made = {path.relative_to(root).parts[0] for path in set(root.rglob("*")) - set(before)}
    assert made <= {".sandbox", ".amianai"}
    assert not list(root.glob(".sandbox/state/.pulumi/stacks/*/*")), "no stack was created"
    return done.stderr


@pytest.mark.parametrize("command", ["setup", "preview", "up", "destroy", "deploy", "env"])
def test_no_domain(root: Path, command: str) -> None:
    said = refused(root, command, code=2)
    assert "domain_name: not set" in said
    assert "DOMAIN_NAME" in said


@pytest.mark.parametrize("domain", ["https://example.com", "exa mple.com", "EXAMPLE.COM", "example.com/"])
@pytest.mark.parametrize("target", [(), ("--sandbox",)])
def test_a_domain_with_a_scheme_or_a_space(root: Path, domain: str, target: tuple[str, ...]) -> None:
    said = refused(root, *target, "setup", code=2, env={"DOMAIN_NAME": domain})
    assert f"domain_name = {domain} (environment DOMAIN_NAME): must be a bare lower-case domain" in said


def test_a_range_that_is_too_small(root: Path) -> None:
    said = refused(root, "--set", "network.cidr=10.0.0.0/28", "setup", code=2, env=DOMAIN)
    assert "network.cidr = 10.0.0.0/28 (flag network.cidr): must be a /16 to /20" in said


def test_unknown_keys_everywhere_at_once(root: Path) -> None:
    (root / "Pulumi.prod.yaml").write_text("config:\n  amianai-infra:databaseSize: 3\n")
    said = refused(root, "up", "--set", "database.clas=x", code=2, env={**DOMAIN, "AMIANAI_NETWORK_NATS": "2"})
    assert "database.clas: unknown key (flag)" in said
    assert "AMIANAI_NETWORK_NATS: unknown key (environment); did you mean AMIANAI_NETWORK_NAT?" in said
    assert f"amianai-infra:databaseSize: unknown key (stack file {root / 'Pulumi.prod.yaml'})" in said


def test_a_stack_file_that_is_not_there_or_no_yaml(root: Path) -> None:
    assert "does not exist" in refused(root, "--config", "absent.yaml", "up", code=2, env=DOMAIN)
    (root / "Pulumi.prod.yaml").write_text("config: [")
    assert "Pulumi.prod.yaml" in refused(root, "up", code=2, env=DOMAIN)


def test_unknown_option_and_command(root: Path) -> None:
    assert "No such option" in refused(root, "setup", "--fast", code=2)
    assert "No such command" in refused(root, "launch", code=2)


@pytest.fixture
def without_node(tmp_path: Path) -> str:
    """A PATH with everything but Node and npm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "go", "bash", "sh", "cp", "uname"):
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    return str(folder)


def test_a_missing_node(root: Path, without_node: str) -> None:
    said = refused(root, "--sandbox", "setup", code=1, env={"PATH": without_node})
    assert "Node 18.17 or later: not found; install Node" in said
    assert "npm: not found" in said
    assert not [*root.glob(".sandbox/run/*.json")], "nothing was started"


def test_doctor_finds_a_missing_node_and_names_the_rest(root: Path, without_node: str) -> None:
    done = run(root, "--sandbox", "doctor", env={"PATH": without_node})
    assert done.returncode == 1
    assert "✗ Node 18.17 or later" in done.stdout
    assert "✓ git" in done.stdout


def test_a_missing_site_directory(root: Path) -> None:
    said = refused(root, "--sandbox", "setup", "--set", "site.directory=elsewhere", code=1)
    assert "elsewhere does not exist" in said
    assert "AMIANAI_SITE_DIRECTORY" in said


def test_no_credentials(root: Path) -> None:
    said = refused(root, "up", code=1, env=DOMAIN)
    assert "No usable AWS credentials" in said
    assert "aws configure" in said


@dataclass
class Sts:
    """Answers in STS's place."""

    status: int = 403
    body: str = ""
    pause: float = 0.0
    asked: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@pytest.fixture
def sts() -> Iterator[Sts]:
    made = Sts()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.asked.set()
            time.sleep(made.pause)
            self.send_response(made.status)
            self.end_headers()
            self.wfile.write(made.body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


def signed(sts: Sts) -> dict[str, str]:
    return {**DOMAIN, "AWS_ENDPOINT_URL_STS": sts.url, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}


def sts_error(code: str) -> str:
    return f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>The security token</Message></Error></ErrorResponse>"


@pytest.mark.parametrize("command", ["setup", "up", "preview", "destroy"])
def test_expired_credentials(root: Path, sts: Sts, command: str) -> None:
    sts.body = sts_error("ExpiredToken")
    said = refused(root, command, code=1, env=signed(sts))
    assert "The AWS credentials have expired or are not valid" in said
    assert "aws sso login" in said
    assert "not-a-secret" not in said


def test_on_aws_nothing_happens_without_a_confirmation_that_names_account_region_and_domain(root: Path, sts: Sts) -> None:
    sts.status = 200
    sts.body = (
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/me</Arn><UserId>x</UserId>"
        "<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    shown = "AWS account 123456789012, region us-east-1, domain example.com"
    said = refused(root, "setup", code=3, env=signed(sts))
    assert shown in said
    assert "run it again with --yes" in said
    # `up` plans before it asks, and there is no state to plan from here.
    said = refused(root, "up", code=1, env=signed(sts))
    assert shown in said
    assert "AWS did not answer while" in said
    assert "eeyore-state-123456789012-us-east-1" in said


def test_interrupted(root: Path, sts: Sts) -> None:
    sts.pause = 5
    process = subprocess.Popen(
        [AMIANAI, "up"], env=environment(root, signed(sts)), cwd=root, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert sts.asked.wait(30)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "run the same command again" in said
    assert "Traceback" not in said
