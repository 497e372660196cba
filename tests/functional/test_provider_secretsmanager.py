"""Secrets without a value, with the real engine and the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from amianai_infra.errors import EngineError
from tests.functional.conftest import Bench, changed


class Chosen:
    description = "first"
    tags = {"Name": "one"}  # noqa: RUF012
    days = 0


def test_the_whole_life_of_a_secret(bench: Bench, tmp_path: Path) -> None:
    chosen = Chosen()

    def program() -> None:
        secret = aws.secretsmanager.Secret(
            "secret",
            name="bench/database/application",
            description=chosen.description,
            recovery_window_in_days=chosen.days,
            tags=chosen.tags,
        )
        pulumi.export("arn", secret.arn)

    manager: Any = bench.client("secretsmanager")
    made = bench.stack(tmp_path, program)
    made.up()
    arn = made.outputs()["arn"]
    found = manager.describe_secret(SecretId=arn)
    assert (found["Name"], found["Description"]) == ("bench/database/application", "first")

    manager.put_secret_value(SecretId=arn, SecretString="not in any state")
    assert not made.preview().changed, "the value is no part of it"
    assert changed(made.refresh()) == {}
    assert "not in any state" not in made.state()

    chosen.description, chosen.tags = "second", {"Name": "two"}
    assert changed(made.up()) == {"update": 1}
    found = manager.describe_secret(SecretId=arn)
    assert found["Description"] == "second"
    assert {"Key": "Name", "Value": "two"} in found["Tags"]
    assert manager.get_secret_value(SecretId=arn)["SecretString"] == "not in any state"

    chosen.days = 3
    with pytest.raises(EngineError, match="neither 0 nor between 7 and 30"):
        made.preview()
    chosen.days = 0

    manager.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    made.refresh()
    assert changed(made.up()) == {"create": 1}, "gone behind our back: made again"
    made.destroy()
    with pytest.raises(manager.exceptions.ResourceNotFoundException):
        manager.describe_secret(SecretId="bench/database/application")
    made.up()
    made.destroy()
