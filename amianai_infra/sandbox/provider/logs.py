"""CloudWatch Logs."""

from __future__ import annotations

from typing import Any

from amianai_infra.sandbox.provider.properties import document, flag, number, text
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, given

# Source: CloudWatch Logs API Reference, PutRetentionPolicy; 0 is pulumi-aws's "never expire".
_RETENTIONS = (0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)


# The emulator knows no deletion protection: a tag of the group stands for it.
_PROTECTED = "amianai:sandbox:deletion-protection"


class LogGroup(Resource):
    """`aws.cloudwatch.LogGroup`; its id is its name."""

    token = "aws:cloudwatch/logGroup:LogGroup"
    service = "logs"
    props = {
        "name": text(force_new=True, autoname=True),
        "logGroupClass": text(computed=True, force_new=True, choices=("STANDARD", "INFREQUENT_ACCESS", "DELIVERY")),
        "retentionInDays": number(default=0, choices=_RETENTIONS),
        "kmsKeyId": text(),
        "deletionProtectionEnabled": flag(default=False),
        "skipDestroy": flag(default=False, write_only=True),
    }
    outputs = ("arn",)
    tagged = True
    name_prop = "name"
    missing = ("ResourceNotFoundException",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        ctx.client().create_log_group(
            logGroupName=inputs["name"],
            **given(
                tags=ctx.tags(inputs) or None,
                kmsKeyId=inputs.get("kmsKeyId"),
                logGroupClass=inputs.get("logGroupClass"),
            ),
        )
        return str(inputs["name"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        if inputs["retentionInDays"]:
            ctx.client().put_retention_policy(logGroupName=ident, retentionInDays=inputs["retentionInDays"])
        if inputs["deletionProtectionEnabled"]:
            self._protect(ctx, ident, protected=True)

    @staticmethod
    def _protect(ctx: Context, ident: str, *, protected: bool) -> None:
        arn = ctx.arn(f"log-group:{ident}")
        if protected:
            ctx.client().tag_resource(resourceArn=arn, tags={_PROTECTED: "true"})
        else:
            ctx.client().untag_resource(resourceArn=arn, tagKeys=[_PROTECTED])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _group(ctx, ident)
        if found is None:
            return None
        arn = found["arn"].removesuffix(":*")
        tags = dict(ctx.client().list_tags_for_resource(resourceArn=arn)["tags"])
        return {
            "name": ident,
            "arn": arn,
            "logGroupClass": found.get("logGroupClass", "STANDARD"),
            "retentionInDays": found.get("retentionInDays", 0),
            "kmsKeyId": found.get("kmsKeyId"),
            "deletionProtectionEnabled": tags.pop(_PROTECTED, "false") == "true",
            "tags": tags,
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        logs = ctx.client()
        if "retentionInDays" in changed and new["retentionInDays"]:
            logs.put_retention_policy(logGroupName=ident, retentionInDays=new["retentionInDays"])
        elif "retentionInDays" in changed:
            logs.delete_retention_policy(logGroupName=ident)
        if "kmsKeyId" in changed and new.get("kmsKeyId"):
            logs.associate_kms_key(logGroupName=ident, kmsKeyId=new["kmsKeyId"])
        elif "kmsKeyId" in changed and old.get("kmsKeyId"):
            logs.disassociate_kms_key(logGroupName=ident)
        if "deletionProtectionEnabled" in changed:
            self._protect(ctx, ident, protected=new["deletionProtectionEnabled"])

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        if state.get("skipDestroy"):
            return
        found = self.read(ctx, ident, {})
        if found is not None and found["deletionProtectionEnabled"]:
            raise ProviderError(f"log group {ident} has deletion protection enabled; take deletionProtectionEnabled off first")
        ctx.client().delete_log_group(logGroupName=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_resource(resourceArn=state["arn"], tagKeys=removed)
        if tags:
            ctx.client().tag_resource(resourceArn=state["arn"], tags=tags)


def _group(ctx: Context, name: str) -> dict[str, Any] | None:
    for page in ctx.client().get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name):
        for group in page["logGroups"]:
            if group["logGroupName"] == name:
                return dict(group)
    return None


class LogResourcePolicy(Resource):
    """`aws.cloudwatch.LogResourcePolicy` of the account; its id is its name."""

    token = "aws:cloudwatch/logResourcePolicy:LogResourcePolicy"
    service = "logs"
    props = {"policyName": text(required=True, force_new=True), "policyDocument": document(required=True)}
    missing = ("ResourceNotFoundException",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        ctx.client().put_resource_policy(policyName=inputs["policyName"], policyDocument=inputs["policyDocument"])
        return str(inputs["policyName"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        for page in ctx.client().get_paginator("describe_resource_policies").paginate():
            for found in page["resourcePolicies"]:
                if found.get("policyName") == ident:
                    return {"policyName": ident, "policyDocument": found["policyDocument"]}
        return None

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        self.create(ctx, new)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_resource_policy(policyName=ident)


RESOURCES = (LogGroup, LogResourcePolicy)
