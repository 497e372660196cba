"""The emulator of AWS as a daemon: its environment, and whether it answers."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Mapping
from pathlib import Path

from amianai_infra.sandbox.processes import LOOPBACK, Daemon, base_environment

REGION = "us-east-1"
ACCOUNT = "000000000000"
ACCESS_KEY = "test"
SECRET_KEY = "test"  # noqa: S105  the emulator checks who signs, never the signature
_SERVER = Path(__file__).with_name("emulator_server.py")


def endpoint(port: int) -> str:
    """Where the AWS API is. An address, not a name: clients then use path-style buckets, the only ones it serves."""
    return f"http://{LOOPBACK}:{port}"


def site_host(distribution_domain: str) -> str:
    """The name under which the emulator serves a distribution to browsers: `d111.cloudfront.localhost`."""
    return f"{distribution_domain.partition('.')[0]}.cloudfront.localhost"


def emulator(python: Path, folder: Path, port: int, environ: Mapping[str, str]) -> Daemon:
    """The emulator's daemon.

    Args:
        python: interpreter of its venv.
        folder: where it keeps its state.
        port: where it listens.
        environ: the caller's environment, of which little is passed on.
    """
    settings = {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "localhost",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "TMPDIR": str(folder / "tmp"),
        # Nothing besides the gateway listens, and no container daemon is asked for anything.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "DOCKER_HOST": f"unix://{folder / 'no-docker'}",
    }
    identity = json.dumps([str(python), settings]) + _SERVER.read_text(encoding="utf-8")
    return Daemon(
        name="emulator",
        command=(str(python), "-I", str(_SERVER)),
        environment=base_environment(environ) | settings,
        port=port,
        answers=lambda: answers(port),
        fingerprint=hashlib.sha256(identity.encode()).hexdigest()[:16],
    )


def prepare(folder: Path) -> None:
    """Make the folders the emulator writes to."""
    for name in ("state", "s3", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def answers(port: int) -> bool:
    """Whether the emulator tells who is calling: a real call to STS that needs no SDK."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=3)
    credential = f"{ACCESS_KEY}/20260101/{REGION}/sts/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature={'0' * 64}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    try:
        connection.request("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", headers)
        answer = connection.getresponse()
        return answer.status == 200 and ACCOUNT.encode() in answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
