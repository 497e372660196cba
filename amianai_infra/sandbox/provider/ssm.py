"""Systems Manager: parameters."""

from __future__ import annotations

from typing import Any

from amianai_infra.sandbox.provider.properties import Problem, flag, text
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, given, tag_list, tag_map

_STANDARD_BYTES = 4096
_ADVANCED_BYTES = 8192


class Parameter(Resource):
    """`aws.ssm.Parameter`; its id is its name."""

    token = "aws:ssm/parameter:Parameter"
    service = "ssm"
    tagged = True
    props = {
        "name": text(force_new=True, autoname=True),
        "type": text(required=True, choices=("String", "StringList", "SecureString")),
        "value": text(computed=True, secret=True),
        "insecureValue": text(),
        "description": text(),
        "tier": text(computed=True, choices=("Standard", "Advanced", "Intelligent-Tiering")),
        "keyId": text(computed=True),
        "allowedPattern": text(),
        "dataType": text(computed=True, choices=("text", "aws:ec2:image", "aws:ssm:integration")),
        "overwrite": flag(write_only=True),
    }
    outputs = ("arn", "version", "hasValueWo")
    volatile = ("version", "value")
    name_prop = "name"
    missing = ("ParameterNotFound",)

    def check(self, inputs: Inputs) -> list[Problem]:
        if ("value" in inputs) == ("insecureValue" in inputs):
            return [Problem("value", "a parameter has exactly one of value, insecureValue")]
        if "insecureValue" in inputs and inputs["type"] == "SecureString":
            return [Problem("insecureValue", "a SecureString has its value in `value`")]
        return []

    def create(self, ctx: Context, inputs: Inputs) -> str:
        overwrite = bool(inputs.get("overwrite"))
        tags = tag_list(ctx.tags(inputs))
        self._put(ctx, inputs, Overwrite=overwrite, **({"Tags": tags} if tags and not overwrite else {}))
        if tags and overwrite:
            ctx.client().add_tags_to_resource(ResourceType="Parameter", ResourceId=inputs["name"], Tags=tags)
        return str(inputs["name"])

    @staticmethod
    def _put(ctx: Context, inputs: Inputs, **more: Any) -> None:
        value = inputs["value"] if "value" in inputs else inputs["insecureValue"]
        most = _STANDARD_BYTES if inputs.get("tier", "Standard") == "Standard" else _ADVANCED_BYTES
        size = len(value.encode())
        if size > most:
            raise ProviderError(f"ValidationException: the value of {inputs['name']} has {size} bytes, more than {most}")
        parameters = given(
            Description=inputs.get("description"),
            Tier=inputs.get("tier"),
            KeyId=inputs.get("keyId") if inputs["type"] == "SecureString" else None,
            AllowedPattern=inputs.get("allowedPattern"),
            DataType=inputs.get("dataType"),
        )
        ctx.client().put_parameter(Name=inputs["name"], Type=inputs["type"], Value=value, **parameters, **more)

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        ssm = ctx.client()
        found = ssm.get_parameter(Name=ident, WithDecryption=True)["Parameter"]
        filters = [{"Key": "Name", "Option": "Equals", "Values": [ident]}]
        about: dict[str, Any] = next(iter(ssm.describe_parameters(ParameterFilters=filters)["Parameters"]), {})
        insecure = "insecureValue" in known
        return {
            "name": found["Name"],
            "type": found["Type"],
            "value": found["Value"],
            "insecureValue": found["Value"] if insecure else None,
            "description": about.get("Description"),
            "tier": about.get("Tier", "Standard"),
            "keyId": about.get("KeyId") or None,
            "allowedPattern": about.get("AllowedPattern"),
            "dataType": found.get("DataType", "text"),
            "arn": found["ARN"],
            "version": found["Version"],
            "hasValueWo": False,
            "tags": tag_map(ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=ident)["TagList"]),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        if changed - {"overwrite"}:
            self._put(ctx, new, Overwrite=True)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_parameter(Name=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().remove_tags_from_resource(ResourceType="Parameter", ResourceId=ident, TagKeys=removed)
        if tags:
            ctx.client().add_tags_to_resource(ResourceType="Parameter", ResourceId=ident, Tags=tag_list(tags))


RESOURCES = (Parameter,)
