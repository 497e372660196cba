"""The master password in a secret of the stack's own."""

from __future__ import annotations

import json
from typing import Any

import pulumi

from amianai_infra.components.rotated_secret import RotatedSecret, RotatedSecretArgs
from tests.components.recorder import ACCOUNT, Record

INSTANCE = f"arn:aws:rds:us-east-1:{ACCOUNT}:db:eeyore-postgres"
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:eeyore/database/eeyore-postgres/owner"
ARGS: RotatedSecretArgs = {
    "prefix": "eeyore",
    "account": ACCOUNT,
    "identifier": "eeyore-postgres",
    "instance_arn": INSTANCE,
    "resource_id": "db-ABC",
    "username": "amianai_admin",
    "host": "db.example.internal",
    "port": 5432,
    "database": "amianai",
}


def test_what_it_makes(record: Record) -> None:
    found = record(lambda: RotatedSecret("master", ARGS))
    assert found.counts() == {
        "Secret": 1,
        "LogGroup": 1,
        "Role": 1,
        "RolePolicy": 1,
        "Function": 1,
        "Permission": 1,
        "SecretRotation": 1,
    }
    assert found.one("Secret").inputs["name"] == "eeyore/database/eeyore-postgres/owner"
    rotation = found.one("SecretRotation").inputs
    assert (rotation["secretId"], rotation["rotationRules"]) == (SECRET, {"automaticallyAfterDays": 7})
    assert rotation["rotationLambdaArn"].endswith(":function:eeyore-postgres-rotation")


def test_the_function_is_told_the_login_without_a_password(record: Record) -> None:
    function = record(lambda: RotatedSecret("master", ARGS)).one("Function").inputs
    variables = function["environment"]["variables"]
    assert variables["INSTANCE"] == "eeyore-postgres"
    assert json.loads(variables["LOGIN"]) == {
        "username": "amianai_admin",
        "engine": "postgres",
        "host": "db.example.internal",
        "port": 5432,
        "dbname": "amianai",
    }
    assert (function["handler"], function["runtime"]) == ("rotation_function.handler", "python3.13")
    assert function["loggingConfig"]["logGroup"] == "/eeyore/lambda/eeyore-postgres-rotation", "which expires"


def test_its_role_reaches_one_secret_one_instance_and_one_log(record: Record) -> None:
    found = record(lambda: RotatedSecret("master", ARGS))
    statements = {one["Sid"]: one for one in found.one("RolePolicy").json("policy")["Statement"]}
    assert {sid: one["Resource"] for sid, one in statements.items()} == {
        "Secret": SECRET,
        "Password": INSTANCE,
        "Log": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/eeyore/lambda/eeyore-postgres-rotation:*",
    }
    assert statements["Password"]["Action"] == ["rds:DescribeDBInstances", "rds:ModifyDBInstance"]
    (trust,) = found.one("Role").json("assumeRolePolicy")["Statement"]
    assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_secrets_manager_alone_calls_it_for_this_secret_alone(record: Record) -> None:
    permission = record(lambda: RotatedSecret("master", ARGS)).one("Permission").inputs
    assert (permission["principal"], permission["sourceArn"], permission["sourceAccount"]) == (
        "secretsmanager.amazonaws.com",
        SECRET,
        ACCOUNT,
    )


def test_another_instance_under_the_name_gets_a_password_at_once(record: Record) -> None:
    """A restored one has the password of its backup. Were the old rotation ended last, it would end the new one."""
    options = record(lambda: RotatedSecret("master", ARGS)).options["master-rotation"]
    assert options["replacement_trigger"] == "db-ABC"
    assert options["delete_before_replace"] is True
    assert {one.pulumi_resource_name for one in options["depends_on"]} == {"master-permission"}, "else it could not be called"


def test_two_coexist(record: Record) -> None:
    def both() -> None:
        RotatedSecret("one", ARGS)
        RotatedSecret("two", {**ARGS, "identifier": "other", "rotation_days": 30})

    found = record(both)
    for kind in ("Secret", "Role", "Function", "LogGroup"):
        names = {one.inputs["name"] for one in found.of(kind)}
        assert len(names) == 2, kind
        assert all(name.lstrip("/").startswith("eeyore") for name in names), "the operator may make those of the prefix only"


def test_its_arn(record: Record) -> None:
    seen: list[Any] = []

    def build() -> None:
        pulumi.Output.all(RotatedSecret("master", ARGS).arn).apply(seen.extend)

    record(build)
    assert seen == [SECRET]
