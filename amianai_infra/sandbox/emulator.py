"""The emulator of AWS as a daemon: its environment, and whether it answers."""

from __future__ import annotations

import configparser
import hashlib
import http.client
import json
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from amianai_infra.sandbox.certificates import write_private
from amianai_infra.sandbox.processes import LOOPBACK, Daemon, base_environment

REGION = "us-east-1"
ACCOUNT = "000000000000"
# What the stack's resources and our commands call; the emulator's other services are off.
SERVICES = (
    "acm", "cloudfront", "cloudfront-keyvaluestore", "cognito-idp", "ec2", "iam", "kms", "lambda", "logs", "monitoring", "rds", "route53",
    "s3", "scheduler", "secretsmanager", "sns", "sqs", "ssm", "sts", "tagging", "wafv2",
)  # fmt: skip
_GATEWAY = Path(__file__).with_name("emulator_gateway")
_RUN = "import sys; sys.path.append(sys.argv.pop()); from emulator_gateway.server import main; main()"


@dataclass(frozen=True)
class Key:
    """The access key of one checkout's sandbox, drawn when it is first started; opens nothing anywhere else."""

    access_key: str
    secret_key: str = field(repr=False)


def draw_key(file: Path) -> Key:
    """The key in a credentials file, drawn and written first where it holds none.

    Raises:
        OSError: the file cannot be written.
    """
    kept = kept_key(file)
    if kept is not None:
        return kept
    alphabet = string.ascii_uppercase + "234567"
    drawn = Key("AKIA" + "".join(secrets.choice(alphabet) for _ in range(16)), secrets.token_hex(20))
    lines = ("[default]", f"aws_access_key_id = {drawn.access_key}", f"aws_secret_access_key = {drawn.secret_key}", "")
    write_private(file, "\n".join(lines).encode())
    return drawn


def kept_key(file: Path) -> Key | None:
    """The key in a credentials file; None where there is none."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
        return Key(parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"])
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError):
        return None


def endpoint(port: int) -> str:
    """Where the AWS API is. An address, not a name: clients then use path-style buckets, the only ones it serves."""
    return f"http://{LOOPBACK}:{port}"


def site_host(distribution_domain: str) -> str:
    """The name under which the emulator serves a distribution to browsers: `d111.cloudfront.localhost`."""
    return f"{distribution_domain.partition('.')[0]}.cloudfront.localhost"


def emulator(python: Path, folder: Path, port: int, key: Key, environ: Mapping[str, str]) -> Daemon:
    """The emulator's daemon.

    Args:
        python: interpreter of its venv.
        folder: where it keeps its state.
        port: where it listens.
        key: what control-plane requests are signed with.
        environ: the caller's environment, of which little is passed on.
    """
    settings = {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "localhost",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": key.access_key,
        "AWS_SECRET_ACCESS_KEY": key.secret_key,
        "SERVICES": ",".join(SERVICES),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "TMPDIR": str(folder / "tmp"),
        # Nothing besides the gateway listens, and no container daemon is asked for anything.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{folder / 'no-docker'}",
    }
    code = "".join(file.read_text(encoding="utf-8") for file in sorted(_GATEWAY.glob("*.py")))
    identity = json.dumps([str(python), settings]) + code
    return Daemon(
        name="emulator",
        command=(str(python), "-I", "-c", _RUN, str(_GATEWAY.parent)),
        environment=base_environment(environ) | settings,
        port=port,
        answers=lambda: answers(port, key),
        fingerprint=hashlib.sha256(identity.encode()).hexdigest()[:16],
        folder=folder,
    )


def prepare(folder: Path) -> None:
    """Make the folders the emulator writes to."""
    for name in ("state", "s3", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def answers(port: int, key: Key) -> bool:
    """Whether the emulator tells who is calling: a real, signed call to STS."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = AWSRequest("POST", f"{endpoint(port)}/", form, data="Action=GetCallerIdentity&Version=2011-06-15")
    SigV4Auth(Credentials(key.access_key, key.secret_key), "sts", REGION).add_auth(asked)
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=3)
    try:
        connection.request("POST", "/", asked.data, dict(asked.headers.items()))
        answer = connection.getresponse()
        return answer.status == 200 and ACCOUNT.encode() in answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
