"""AWS Lambda: functions of text files, and who may call them."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from amianai_infra.sandbox.provider.properties import archive, mapping, number, obj, text, texts
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given
from amianai_infra.sandbox.provider.values import Archive

_MISSING = ("ResourceNotFoundException",)
# input -> parameter of CreateFunction and UpdateFunctionConfiguration
_SETTINGS = {
    "description": "Description",
    "handler": "Handler",
    "memorySize": "MemorySize",
    "role": "Role",
    "runtime": "Runtime",
    "timeout": "Timeout",
}


class Function(Resource):
    """`aws.lambda.Function` of files in the program; its id is its name."""

    token = "aws:lambda/function:Function"
    service = "lambda"
    tagged = True
    props = {
        "name": text(force_new=True, autoname=True),
        "description": text(),
        "role": text(required=True),
        "runtime": text(required=True),
        "handler": text(required=True),
        "architectures": texts(computed=True, force_new=True),
        "code": archive(required=True, write_only=True),
        "memorySize": number(default=128),
        "timeout": number(default=3),
        "environment": obj({"variables": mapping()}),
        "loggingConfig": obj({"logFormat": text(required=True), "logGroup": text()}),
    }
    outputs = ("arn", "version", "lastModified")
    volatile = ("lastModified",)
    name_prop = "name"
    missing = _MISSING

    def create(self, ctx: Context, inputs: Inputs) -> str:
        ctx.client().create_function(
            FunctionName=inputs["name"],
            Code={"ZipFile": _zipped(inputs["code"])},
            Architectures=inputs.get("architectures") or ["x86_64"],
            Tags=ctx.tags(inputs),
            **_settings(inputs),
        )
        ctx.client().get_waiter("function_active_v2").wait(FunctionName=inputs["name"], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        return str(inputs["name"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        answer = ctx.client().get_function(FunctionName=ident)
        found = answer["Configuration"]
        logging = found.get("LoggingConfig") or {}
        declared = known.get("loggingConfig")
        return {
            "name": found["FunctionName"],
            **{name: found.get(parameter) or None for name, parameter in _SETTINGS.items()},
            "architectures": found["Architectures"],
            "environment": {"variables": found["Environment"]["Variables"]} if found.get("Environment", {}).get("Variables") else None,
            "loggingConfig": {"logFormat": logging.get("LogFormat"), "logGroup": logging.get("LogGroup")} if declared else None,
            "arn": found["FunctionArn"],
            "version": found["Version"],
            "lastModified": found["LastModified"],
            "tags": answer.get("Tags", {}),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        if "code" in changed:
            ctx.client().update_function_code(FunctionName=ident, ZipFile=_zipped(new["code"]))
        if changed - {"code"}:
            ctx.client().update_function_configuration(FunctionName=ident, **_settings(new))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_function(FunctionName=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_resource(Resource=state["arn"], TagKeys=removed)
        if tags:
            ctx.client().tag_resource(Resource=state["arn"], Tags=tags)


def _settings(inputs: Inputs) -> dict[str, Any]:
    chosen = inputs.get("loggingConfig") or {}
    logging = given(LogFormat=chosen.get("logFormat"), LogGroup=chosen.get("logGroup"))
    return {
        **{parameter: inputs[name] for name, parameter in _SETTINGS.items() if inputs.get(name) is not None},
        "Environment": {"Variables": (inputs.get("environment") or {}).get("variables") or {}},
        **given(LoggingConfig=logging or None),
    }


def _zipped(code: Archive) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in sorted(code.files.items()):
            file.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


class Permission(Resource):
    """`aws.lambda.Permission`; its id is its statement's."""

    token = "aws:lambda/permission:Permission"
    service = "lambda"
    props = {
        "statementId": text(force_new=True, autoname=True),
        "action": text(required=True, force_new=True),
        "function": text(required=True, force_new=True),
        "principal": text(required=True, force_new=True),
        "sourceArn": text(force_new=True),
        "sourceAccount": text(force_new=True),
    }
    missing = _MISSING

    def create(self, ctx: Context, inputs: Inputs) -> str:
        ctx.client().add_permission(
            FunctionName=inputs["function"],
            StatementId=inputs["statementId"],
            Action=inputs["action"],
            Principal=inputs["principal"],
            **given(SourceArn=inputs.get("sourceArn"), SourceAccount=inputs.get("sourceAccount")),
        )
        return str(inputs["statementId"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        function, _, statement = ident.rpartition("/") if "/" in ident else (known["function"], "", ident)
        policy = json.loads(ctx.client().get_policy(FunctionName=function)["Policy"])
        found = next((one for one in policy["Statement"] if one["Sid"] == statement), None)
        if found is None:
            return None
        condition = found.get("Condition", {})
        return {
            "id": statement,
            "statementId": statement,
            "action": found["Action"],
            "function": function,
            "principal": found["Principal"]["Service"],
            "sourceArn": condition.get("ArnLike", {}).get("AWS:SourceArn"),
            "sourceAccount": condition.get("StringEquals", {}).get("AWS:SourceAccount"),
        }

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().remove_permission(FunctionName=state["function"], StatementId=ident)


RESOURCES = (Function, Permission)
