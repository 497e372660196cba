"""What Secrets Manager calls to change the master password: a function in AWS Lambda, one file that needs nothing but boto3.

It asks RDS to set the password and never connects, so that it needs no way into the VPC. The old password counts until RDS has set
the new one; from then until the secret says so, which takes seconds, a client that is refused has to read the secret again.

Source: AWS Secrets Manager User Guide, "Lambda rotation functions"; Amazon RDS API Reference, ModifyDBInstance.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 840.0
"""Seconds in which RDS has to become ready or to set the password; the function itself may take 900."""


class Rotation:
    """The four steps of one rotation, each of which may be repeated.

    Args:
        manager: a boto3 client for `secretsmanager`.
        rds: a boto3 client for `rds`.
        login: what the secret holds besides the password; `username`, `host` and so on.
        instance: identifier of the instance.
        secret: ARN of the secret.
        version: the new version of the secret.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        manager: Any,
        rds: Any,
        *,
        login: dict[str, Any],
        instance: str,
        secret: str,
        version: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._manager = manager
        self._rds = rds
        self._login = login
        self._instance = instance
        self._secret = secret
        self._version = version
        self._sleep = sleep

    def step(self, name: str) -> None:
        """Do one step.

        Args:
            name: `createSecret`, `setSecret`, `testSecret` or `finishSecret`.

        Raises:
            ValueError: another name, or a version that is not being rotated to.
        """
        steps = {"createSecret": self._create, "setSecret": self._set, "testSecret": self._test, "finishSecret": self._finish}
        if name not in steps:
            raise ValueError(f"{name!r} is no step of a rotation")
        labels = self._labels().get(self._version)
        if labels is None or not {"AWSCURRENT", "AWSPENDING"} & set(labels):
            raise ValueError(f"version {self._version} of {self._secret} is not being rotated to")
        if "AWSCURRENT" not in labels:
            steps[name]()

    def _labels(self) -> dict[str, list[str]]:
        return self._manager.describe_secret(SecretId=self._secret).get("VersionIdsToStages", {})  # type: ignore[no-any-return]

    def _pending(self) -> str:
        text = self._manager.get_secret_value(SecretId=self._secret, VersionId=self._version, VersionStage="AWSPENDING")["SecretString"]
        return str(json.loads(text)["password"])

    def _create(self) -> None:
        try:
            self._pending()
        except self._manager.exceptions.ResourceNotFoundException:
            value = json.dumps({**self._login, "password": secrets.token_urlsafe(32)})
            self._manager.put_secret_value(
                SecretId=self._secret, ClientRequestToken=self._version, SecretString=value, VersionStages=["AWSPENDING"]
            )

    def _set(self) -> None:
        self._wait("is not available", lambda found: found["DBInstanceStatus"] == "available")
        # Not ApplyImmediately, which would also do now what waits for the maintenance window: a password never waits.
        self._rds.modify_db_instance(DBInstanceIdentifier=self._instance, MasterUserPassword=self._pending())

    def _test(self) -> None:
        """Until RDS has set it. Whether it opens the database cannot be tried from outside the VPC."""
        self._wait("has not got its password", _settled)

    def _wait(self, problem: str, ready: Callable[[dict[str, Any]], bool]) -> None:
        for _ in range(int(PATIENCE / 2)):
            if ready(self._rds.describe_db_instances(DBInstanceIdentifier=self._instance)["DBInstances"][0]):
                return
            self._sleep(2)
        raise TimeoutError(f"{self._instance} {problem} after {PATIENCE:.0f} s")

    def _finish(self) -> None:
        current = next((version for version, labels in self._labels().items() if "AWSCURRENT" in labels), None)
        before = {"RemoveFromVersionId": current} if current else {}
        self._manager.update_secret_version_stage(SecretId=self._secret, VersionStage="AWSCURRENT", MoveToVersionId=self._version, **before)


def _settled(found: dict[str, Any]) -> bool:
    waiting = "MasterUserPassword" in (found.get("PendingModifiedValues") or {})
    return not waiting and found["DBInstanceStatus"] != "resetting-master-credentials"


def handler(event: dict[str, str], _context: object) -> None:
    """Lambda's entry: one step of the rotation that Secrets Manager asks for."""
    import boto3

    Rotation(
        boto3.client("secretsmanager"),
        boto3.client("rds"),
        login=json.loads(os.environ["LOGIN"]),
        instance=os.environ["INSTANCE"],
        secret=event["SecretId"],
        version=event["ClientRequestToken"],
    ).step(event["Step"])
