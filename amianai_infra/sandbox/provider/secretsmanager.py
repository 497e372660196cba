"""Secrets Manager: secrets without a value, and their rotation. Values are no resource of the stack: none is in its state."""

from __future__ import annotations

import json
import secrets

from amianai_infra.sandbox.provider.properties import Problem, document, flag, number, obj, text
from amianai_infra.sandbox.provider.rds import server
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given, tag_list, tag_map


class Secret(Resource):
    """`aws.secretsmanager.Secret`; its id is its ARN."""

    token = "aws:secretsmanager/secret:Secret"
    service = "secretsmanager"
    tagged = True
    props = {
        "name": text(force_new=True, autoname=True),
        "description": text(),
        "kmsKeyId": text(),
        "policy": document(),
        "recoveryWindowInDays": number(default=30, write_only=True),
    }
    outputs = ("arn",)
    name_prop = "name"
    missing = ("ResourceNotFoundException",)

    def check(self, inputs: Inputs) -> list[Problem]:
        days = inputs.get("recoveryWindowInDays")
        if isinstance(days, int) and days != 0 and not 7 <= days <= 30:
            return [Problem("recoveryWindowInDays", f"{days} is neither 0 nor between 7 and 30")]
        return []

    def create(self, ctx: Context, inputs: Inputs) -> str:
        made = ctx.client().create_secret(
            Name=inputs["name"],
            Tags=tag_list(ctx.tags(inputs)),
            **given(Description=inputs.get("description"), KmsKeyId=inputs.get("kmsKeyId")),
        )
        return str(made["ARN"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        if inputs.get("policy"):
            ctx.client().put_resource_policy(SecretId=ident, ResourcePolicy=inputs["policy"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().describe_secret(SecretId=ident)
        if found.get("DeletedDate"):
            return None
        return {
            "id": found["ARN"],
            "name": found["Name"],
            "arn": found["ARN"],
            "description": found.get("Description") or None,
            "kmsKeyId": found.get("KmsKeyId"),
            "policy": ctx.client().get_resource_policy(SecretId=ident).get("ResourcePolicy"),
            "tags": tag_map(found.get("Tags")),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        if changed & {"description", "kmsKeyId"}:
            parameters = given(KmsKeyId=new.get("kmsKeyId"))
            ctx.client().update_secret(SecretId=ident, Description=new.get("description") or "", **parameters)
        if "policy" in changed:
            self.configure(ctx, ident, new)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        days = int(state.get("recoveryWindowInDays") or 0)
        how = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        ctx.client().delete_secret(SecretId=ident, **how)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_resource(SecretId=ident, TagKeys=removed)
        if tags:
            ctx.client().tag_resource(SecretId=ident, Tags=tag_list(tags))


class SecretRotation(Resource):
    """`aws.secretsmanager.SecretRotation` of a master password by a function; its id is the secret's ARN.

    The emulator keeps the schedule and calls nothing. The first rotation is made here, for the real server's user.
    """

    token = "aws:secretsmanager/secretRotation:SecretRotation"
    service = "secretsmanager"
    props = {
        "secretId": text(required=True, force_new=True),
        "rotationLambdaArn": text(required=True),
        "rotationRules": obj({"automaticallyAfterDays": number(required=True)}, required=True),
        "rotateImmediately": flag(default=True, write_only=True),
    }
    outputs = ("rotationEnabled",)
    missing = ("ResourceNotFoundException",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        self._schedule(ctx, inputs)
        return str(inputs["secretId"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        if not inputs["rotateImmediately"]:
            return
        called = ctx.client("lambda").get_function_configuration(FunctionName=inputs["rotationLambdaArn"])
        login, password = json.loads(called["Environment"]["Variables"]["LOGIN"]), secrets.token_urlsafe(32)
        server(ctx).set_password(login["username"], password)
        ctx.client().put_secret_value(SecretId=ident, SecretString=json.dumps({**login, "password": password}))

    @staticmethod
    def _schedule(ctx: Context, inputs: Inputs) -> None:
        ctx.client().rotate_secret(
            SecretId=inputs["secretId"],
            RotationLambdaARN=inputs["rotationLambdaArn"],
            RotationRules={"AutomaticallyAfterDays": inputs["rotationRules"]["automaticallyAfterDays"]},
        )

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().describe_secret(SecretId=ident)
        if not found.get("RotationEnabled"):
            return None
        return {
            "secretId": ident,
            "rotationLambdaArn": found["RotationLambdaARN"],
            "rotationRules": {"automaticallyAfterDays": found["RotationRules"]["AutomaticallyAfterDays"]},
            "rotationEnabled": True,
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        self._schedule(ctx, new)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        """Nothing: the emulator cannot end a rotation, and never begins one."""


RESOURCES = (Secret, SecretRotation)
