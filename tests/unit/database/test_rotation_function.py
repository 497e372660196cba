"""The function that changes the master password, against moto's Secrets Manager and RDS.

What this cannot prove: that Lambda runs it, and how long RDS takes.
"""

from __future__ import annotations

import ast
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.secretsmanager.models import secretsmanager_backends

from amianai_infra.database import rotation_function
from amianai_infra.database.rotation_function import Rotation, handler

REGION = "us-east-1"
LOGIN = {"username": "amianai_admin", "host": "db.example.internal", "port": 5432}
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


class Place:
    """A secret without a value, and an instance."""

    def __init__(self) -> None:
        self.manager = boto3.client("secretsmanager", REGION)
        self._stage = self.manager.update_secret_version_stage
        self.manager.update_secret_version_stage = self.stage
        self.rds = boto3.client("rds", REGION)
        self.secret = self.manager.create_secret(Name="eeyore/database/eeyore-postgres/owner")["ARN"]
        self.rds.create_db_instance(
            DBInstanceIdentifier="eeyore-postgres",
            Engine="postgres",
            DBInstanceClass="db.t3.micro",
            AllocatedStorage=20,
            MasterUsername="amianai_admin",
            MasterUserPassword="nobody-keeps-this",
        )

        self.told: list[str] = []  # passwords, which moto does not give back
        self._modify = self.rds.modify_db_instance
        self.rds.modify_db_instance = self.modify

    def modify(self, **asked: Any) -> None:
        self._modify(**asked)
        self.told.append(asked["MasterUserPassword"])

    def kept(self) -> Any:
        return secretsmanager_backends[DEFAULT_ACCOUNT_ID][REGION].secrets[self.secret]

    def stage(self, **asked: Any) -> None:
        """moto fails where no version is current yet (getmoto/moto, issue 9451)."""
        if "RemoveFromVersionId" in asked:
            self._stage(**asked)
        else:
            kept = self.kept()
            assert not any("AWSCURRENT" in version["version_stages"] for version in kept.versions.values())
            kept.versions[asked["MoveToVersionId"]]["version_stages"] = ["AWSPENDING", "AWSCURRENT"]

    def began(self) -> str:
        """As Secrets Manager begins: a new version, pending, without a value."""
        version = str(uuid.uuid4())
        self.kept().versions[version] = {"version_id": version, "createdate": 0, "version_stages": ["AWSPENDING"]}
        return version

    def rotation(self, version: str, **other: Any) -> Rotation:
        return Rotation(
            self.manager, other.pop("rds", self.rds), login=LOGIN, instance="eeyore-postgres", secret=self.secret, version=version, **other
        )

    def current(self) -> dict[str, Any]:
        labels = self.manager.describe_secret(SecretId=self.secret)["VersionIdsToStages"]
        (version,) = [one for one, stages in labels.items() if "AWSCURRENT" in stages]
        return dict(json.loads(self.manager.get_secret_value(SecretId=self.secret, VersionId=version)["SecretString"]))


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield Place()


def test_lambda_calls_it_with_one_step(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTANCE", "eeyore-postgres")
    monkeypatch.setenv("LOGIN", json.dumps(LOGIN))
    monkeypatch.setattr(boto3, "client", {"secretsmanager": place.manager, "rds": place.rds}.__getitem__)
    version = place.began()
    for step in STEPS[:2]:
        handler({"SecretId": place.secret, "ClientRequestToken": version, "Step": step}, None)
    assert json.loads(place.kept().versions[version]["secret_string"])["password"] == place.told[-1]


def test_the_first_password_and_the_next(place: Place) -> None:
    seen = set()
    for _ in range(2):
        version = place.began()
        for step in STEPS:
            place.rotation(version).step(step)
        found = place.current()
        assert {name: found[name] for name in LOGIN} == LOGIN
        assert place.told[-1] == found["password"], "the secret and the server agree"
        labels = place.manager.describe_secret(SecretId=place.secret)["VersionIdsToStages"]
        assert "AWSCURRENT" in labels[version]
        seen.add(found["password"])
    assert len(seen) == 2


@pytest.mark.parametrize("until", range(1, len(STEPS) + 1))
def test_a_rotation_that_ended_anywhere_is_finished_by_the_next_attempt(place: Place, until: int) -> None:
    version = place.began()
    for step in (*STEPS[:until], *STEPS):
        place.rotation(version).step(step)
    assert place.told[-1] == place.current()["password"]
    assert len(set(place.told)) == 1, "one password, however often it was tried"


def test_the_old_password_stays_current_until_the_end(place: Place) -> None:
    first = place.began()
    for step in STEPS:
        place.rotation(first).step(step)
    before, second = place.current(), place.began()
    for step in STEPS[:3]:
        place.rotation(second).step(step)
        assert place.current() == before


class Slow:
    """RDS that takes so many looks to set the password."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def describe_db_instances(self, **_: Any) -> dict[str, Any]:
        self.looks -= 1
        pending = {"PendingModifiedValues": {"MasterUserPassword": "****"}} if self.looks % 2 else {}
        status = "resetting-master-credentials" if self.looks >= 0 else "available"
        return {"DBInstances": [{"DBInstanceStatus": status, **(pending if self.looks >= 0 else {})}]}


def test_it_waits_until_rds_has_set_it(place: Place) -> None:
    waited: list[float] = []
    place.rotation(place.began(), rds=Slow(5), sleep=waited.append).step("testSecret")
    assert len(waited) == 5
    with pytest.raises(TimeoutError, match="eeyore-postgres"):
        place.rotation(place.began(), rds=Slow(10_000), sleep=waited.append).step("testSecret")
    assert sum(waited[5:]) == rotation_function.PATIENCE


def test_it_waits_until_rds_takes_a_change(place: Place) -> None:
    class Busy(Slow):
        def modify_db_instance(self, **_: Any) -> None:
            assert self.looks < 0, "RDS refuses it before"

    waited: list[float] = []
    version = place.began()
    place.rotation(version).step("createSecret")
    place.rotation(version, rds=Busy(3), sleep=waited.append).step("setSecret")
    assert len(waited) == 3


def test_what_it_refuses(place: Place) -> None:
    with pytest.raises(ValueError, match="no step"):
        place.rotation(place.began()).step("dropSecret")
    with pytest.raises(ValueError, match="not being rotated"):
        place.rotation(str(uuid.uuid4())).step("createSecret")


def test_it_needs_nothing_that_lambda_has_not() -> None:
    tree = ast.parse(Path(rotation_function.__file__).read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "boto3", "collections.abc", "json", "os", "secrets", "time", "typing"}
