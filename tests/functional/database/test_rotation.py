"""A new password for the master user: on a real PostgreSQL where the secret is ours, with a stand-in where it is RDS's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from amianai_infra.database.instances import Patience, Rds
from amianai_infra.database.rotation import rotate_owner
from amianai_infra.errors import UnreachableError
from amianai_infra.progress import Progress
from tests.database import QUIET, Database
from tests.unit.operations.fakes import OUTPUTS


def silent(text: str) -> None:
    """Nobody listens."""


def test_a_secret_of_ours(database: Database) -> None:
    before = database.secret()
    held = database.connect()
    rotate_owner(database.target, database.outputs, Rds(database.target.client("rds"), QUIET), say=silent)
    after = database.secret()
    assert after["username"] == before["username"]
    assert after["password"] != before["password"]
    with database.connect() as connection:
        assert connection.execute("SELECT current_user").fetchone() == (before["username"],)
    assert held.execute("SELECT 1").fetchone() == (1,), "open connections stay"
    held.close()


@dataclass
class Amazon:
    """RDS and Secrets Manager, where the new version is there at the third look."""

    never: bool = False
    calls: list[dict[str, Any]] = field(default_factory=list)
    looks: int = 0

    def client(self, service: str) -> Amazon:
        return self

    def describe_secret(self, SecretId: str) -> dict[str, Any]:
        self.looks += bool(self.calls)
        version = "new" if self.looks > 2 and not self.never else "old"
        return {"OwningService": "rds", "VersionIdsToStages": {version: ["AWSCURRENT"], "older": ["AWSPREVIOUS"]}}

    def modify_db_instance(self, **parameters: Any) -> None:
        self.calls.append(parameters)

    def describe_db_instances(self, DBInstanceIdentifier: str) -> dict[str, Any]:
        return {"DBInstances": [{"MasterUserSecret": {"SecretStatus": "active" if self.looks else "rotating"}}]}

    def rds(self) -> Rds:
        ticks = iter(range(100_000))
        return Rds(
            self, Progress(quiet=True), Patience(0, 100, sleep=lambda _: setattr(self, "looks", self.looks + 1), clock=lambda: next(ticks))
        )


def test_a_secret_of_rds_is_rotated_by_rds_and_waited_for() -> None:
    amazon = Amazon()
    rotate_owner(amazon, OUTPUTS, amazon.rds(), say=silent)  # type: ignore[arg-type]
    assert amazon.calls == [{"DBInstanceIdentifier": "eeyore-postgres", "RotateMasterUserPassword": True, "ApplyImmediately": True}]
    assert amazon.looks > 2


def test_a_rotation_that_does_not_end_is_said() -> None:
    amazon = Amazon(never=True)
    with pytest.raises(UnreachableError, match="not done after"):
        rotate_owner(amazon, OUTPUTS, amazon.rds(), say=silent)  # type: ignore[arg-type]
