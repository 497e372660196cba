"""A new password for the master user, now instead of in a week.

Source: Amazon RDS User Guide, "Password management with Amazon RDS and AWS Secrets Manager", "Rotating the master user password secret".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from amianai_infra.database import roles
from amianai_infra.database.credentials import FixedCredentials, Login
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.instances import Rds
from amianai_infra.database.migrate import locked
from amianai_infra.database.session import connect, open_connection
from amianai_infra.outputs import StackOutputs
from amianai_infra.target import Target, aws_error


def rotate_owner(target: Target, outputs: StackOutputs, rds: Rds, *, say: Callable[[str], None], at: tuple[str, int] | None = None) -> None:
    """Give the master user a new password; open connections stay.

    RDS does it where the secret is RDS's own, and nobody else may. A secret of ours is written before the server learns the password.

    Args:
        target: whose secret.
        outputs: the stack.
        rds: the stack's region.
        say: told what happens.
        at: address and port to connect to instead, as through a tunnel.
    """
    secret = _describe(target, outputs)
    if secret.get("OwningService") == "rds":
        _let_rds(target, outputs, rds, _current(secret))
        return
    endpoint = Endpoint.of(target, outputs).at(at)

    def check(user: str, password: str) -> None:
        open_connection(endpoint, FixedCredentials(Login(user, password)), application_name="amianai rotate").close()

    with connect(target, outputs, "owner", at=at) as connection, locked(connection, say):
        roles.renew(connection, outputs, "owner", target.client("secretsmanager"), check)


def _let_rds(target: Target, outputs: StackOutputs, rds: Rds, before: str) -> None:
    identifier = outputs.database.identifier
    rds.call(
        "modify_db_instance",
        f"rotating the master password of {identifier}",
        DBInstanceIdentifier=identifier,
        RotateMasterUserPassword=True,
        ApplyImmediately=True,
    )

    def state() -> str | None:
        status = str((rds.get(identifier).get("MasterUserSecret") or {}).get("SecretStatus", "unknown"))
        return None if status == "active" and _current(_describe(target, outputs)) != before else f"secret {status}"

    rds.wait("The master user's new password", state)


def _describe(target: Target, outputs: StackOutputs) -> Mapping[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return dict(target.client("secretsmanager").describe_secret(SecretId=outputs.database.secret_arn))
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, "looking at the master user's secret") from error


def _current(secret: Mapping[str, Any]) -> str:
    """The version that is in use."""
    stages: Mapping[str, list[str]] = secret.get("VersionIdsToStages") or {}
    return next((version for version, labels in stages.items() if "AWSCURRENT" in labels), "")
