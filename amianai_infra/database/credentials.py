"""User and password of a database role: from Secrets Manager, or a short-lived IAM token. Kept, and read again when refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from amianai_infra.errors import AmianaiError, NotFoundError
from amianai_infra.outputs import StackOutputs
from amianai_infra.target import aws_error

Role = Literal["owner", "application", "readonly", "migrator"]
ROLES: tuple[Role, ...] = ("owner", "application", "readonly")

# A burst of refused connections reads the secret once.
_LEAST_BETWEEN_READS = 0.5
# Source: Amazon RDS User Guide, "IAM database authentication": a token lives 15 minutes and counts only while connecting.
_TOKEN_SECONDS = 10 * 60


@dataclass(frozen=True)
class Login:
    """A user and its password, which no repr shows."""

    user: str
    password: str = field(repr=False)


class Credentials(Protocol):
    """Where logins come from."""

    def get(self) -> Login:
        """The login as last known."""
        ...

    def renew(self, refused: Login) -> Login:
        """Another login after the server refused one; the same one where nothing has changed yet."""
        ...


class _Kept:
    """A login that is read when it is first needed, when it is too old, and when it was refused."""

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._read_at = 0.0

    def _read(self) -> Login:
        raise NotImplementedError

    def _fresh(self) -> Login:
        self._login = self._read()
        self._read_at = self._clock()
        return self._login

    def get(self) -> Login:
        """The login as last read."""
        login = self._login
        if login is not None and self._clock() - self._read_at < self._lifetime:
            return login
        with self._lock:
            if self._login is None or self._clock() - self._read_at >= self._lifetime:
                return self._fresh()
            return self._login

    def renew(self, refused: Login) -> Login:
        """Read it again, unless somebody else just did."""
        with self._lock:
            known = self._login
            if known is not None and (known != refused or self._clock() - self._read_at < _LEAST_BETWEEN_READS):
                return known
            return self._fresh()


class SecretCredentials(_Kept):
    """The login in a Secrets Manager secret: JSON with `username` and `password`.

    RDS rotates the password that it manages every seven days, so that a refused one is read again.

    Args:
        client: gives a boto3 client for `secretsmanager`; called when it is first needed.
        arn: the secret's ARN or name.
        role: whose login it is, for messages.
        clock: seconds that only go forward.
    """

    def __init__(self, client: Callable[[], Any], arn: str, role: str = "database", clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(float("inf"), clock)
        self._client = client
        self._arn = arn
        self._role = role

    def _read(self) -> Login:
        from botocore.exceptions import BotoCoreError, ClientError

        fix = "run `amianai db migrate`, which makes the roles"
        if self._role == "owner":
            fix = f"Secrets Manager makes it within minutes of `amianai up`; else: aws secretsmanager rotate-secret --secret-id {self._arn}"
        none = NotFoundError(f"The {self._role} role has no password yet.", where=self._arn, fix=fix)
        try:
            answer = self._client().get_secret_value(SecretId=self._arn)
        except (BotoCoreError, ClientError) as error:
            translated = aws_error(error, f"reading the password of the {self._role} role")
            raise (none if isinstance(translated, NotFoundError) else translated) from error
        if "SecretString" not in answer:
            raise none
        return parse_secret(answer["SecretString"], self._arn)


def parse_secret(text: str, arn: str) -> Login:
    """The login in a secret's text.

    Raises:
        AmianaiError: it has another form; the message does not show the text.
    """
    try:
        found = json.loads(text)
        return Login(str(found["username"]), str(found["password"]))
    except (ValueError, KeyError, TypeError):
        # Without the cause: its text and its frames would hold the secret.
        raise AmianaiError("The secret does not hold JSON with `username` and `password`.", where=arn) from None


class IamCredentials(_Kept):
    """A token that IAM signs for a role which has `rds_iam`.

    Args:
        client: gives a boto3 client for `rds`; called when it is first needed.
        host: host name of the instance, which is part of the signature.
        port: its port.
        user: the PostgreSQL role.
        region: the instance's region.
        clock: seconds that only go forward.
    """

    def __init__(
        self, client: Callable[[], Any], host: str, port: int, user: str, region: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(_TOKEN_SECONDS, clock)
        self._client = client
        self._asked = {"DBHostname": host, "Port": port, "DBUsername": user, "Region": region}

    def _read(self) -> Login:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            token = self._client().generate_db_auth_token(**self._asked)
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, "signing a database token") from error
        return Login(str(self._asked["DBUsername"]), token)


class FixedCredentials:
    """A login that is known beforehand, for tests and one-off tools."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def get(self) -> Login:
        """The login."""
        return self._login

    def renew(self, refused: Login) -> Login:
        """The same again."""
        return self._login


def rds_keeps(arn: str) -> bool:
    """Whether a master secret is RDS's own; else it is one of the stack's, which another instance under the name goes on using.

    Source: Amazon RDS User Guide, "Password management with Amazon RDS and AWS Secrets Manager": its secrets are named `rds!...`.
    """
    return ":secret:rds!" in arn


def secret_arn(outputs: StackOutputs, role: Role) -> str:
    """The secret that holds a role's login.

    Raises:
        NotFoundError: the stack is older than the role's secret.
    """
    database = outputs.database
    arn = {
        "owner": database.secret_arn,
        "application": database.application_secret_arn,
        "readonly": database.readonly_secret_arn,
        "migrator": database.migrator_secret_arn,
    }[role]
    if not arn and role == "migrator":
        raise NotFoundError(
            "The stack has no role for a migration tool of the team's own.",
            fix="`amianai up --set database.migrations_by=external` makes it, then `amianai db migrate`",
        )
    if not arn:
        raise NotFoundError(f"The stack has no secret for the {role} role yet.", fix="run `amianai up`, then `amianai db migrate`")
    return arn


def role_name(outputs: StackOutputs, role: Role) -> str:
    """The PostgreSQL role's name: `amianai_admin`, `amianai_application`, `amianai_readonly`."""
    return outputs.database.username if role == "owner" else f"{outputs.database.name}_{role}"


def iam_role_name(outputs: StackOutputs, role: Role) -> str:
    """The role that logs in with an IAM token and has the same rights.

    Source: Amazon RDS User Guide, "Creating a database account using IAM authentication": a role that has `rds_iam` can no longer
    use its password, so that it takes two.
    """
    return f"{role_name(outputs, role)}_iam"
