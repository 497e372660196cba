"""KMS keys."""

from __future__ import annotations

from amianai_infra.sandbox.provider.properties import Problem, document, flag, number, text
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given


class Key(Resource):
    """`aws.kms.Key`; its id is the key's id. Deleting it schedules the deletion, as in AWS."""

    token = "aws:kms/key:Key"
    service = "kms"
    tagged = True
    props = {
        "description": text(computed=True),
        "keyUsage": text(default="ENCRYPT_DECRYPT", force_new=True, choices=("ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC")),
        "customerMasterKeySpec": text(default="SYMMETRIC_DEFAULT", force_new=True),
        "policy": document(computed=True),
        "enableKeyRotation": flag(default=False),
        "deletionWindowInDays": number(default=30, write_only=True),
    }
    outputs = ("arn", "keyId")
    missing = ("NotFoundException",)

    def check(self, inputs: Inputs) -> list[Problem]:
        days = inputs.get("deletionWindowInDays")
        if isinstance(days, int) and not 7 <= days <= 30:
            return [Problem("deletionWindowInDays", f"{days} is not between 7 and 30")]
        return []

    def create(self, ctx: Context, inputs: Inputs) -> str:
        made = ctx.client().create_key(
            KeyUsage=inputs["keyUsage"],
            KeySpec=inputs["customerMasterKeySpec"],
            Tags=[{"TagKey": key, "TagValue": value} for key, value in ctx.tags(inputs).items()],
            **given(Description=inputs.get("description"), Policy=inputs.get("policy")),
        )
        return str(made["KeyMetadata"]["KeyId"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        if inputs["enableKeyRotation"]:
            ctx.client().enable_key_rotation(KeyId=ident)

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        kms = ctx.client()
        found = kms.describe_key(KeyId=ident)["KeyMetadata"]
        if found.get("KeyState") == "PendingDeletion":
            return None
        return {
            "id": found["KeyId"],
            "arn": found["Arn"],
            "keyId": found["KeyId"],
            "description": found.get("Description") or None,
            "keyUsage": found["KeyUsage"],
            "customerMasterKeySpec": found["KeySpec"],
            "policy": kms.get_key_policy(KeyId=ident, PolicyName="default")["Policy"],
            "enableKeyRotation": bool(kms.get_key_rotation_status(KeyId=ident).get("KeyRotationEnabled")),
            "tags": {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=ident).get("Tags", [])},
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        kms = ctx.client()
        if "description" in changed:
            kms.update_key_description(KeyId=ident, Description=new.get("description") or "")
        if "policy" in changed and new.get("policy"):
            kms.put_key_policy(KeyId=ident, PolicyName="default", Policy=new["policy"])
        if "enableKeyRotation" in changed:
            (kms.enable_key_rotation if new["enableKeyRotation"] else kms.disable_key_rotation)(KeyId=ident)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().schedule_key_deletion(KeyId=ident, PendingWindowInDays=int(state.get("deletionWindowInDays") or 30))

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_resource(KeyId=ident, TagKeys=removed)
        if tags:
            ctx.client().tag_resource(KeyId=ident, Tags=[{"TagKey": key, "TagValue": value} for key, value in tags.items()])


RESOURCES = (Key,)
