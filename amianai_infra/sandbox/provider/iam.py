"""IAM: roles, their policies, identity providers. Global: no region."""

from __future__ import annotations

import json
from typing import Any

from amianai_infra.sandbox.provider.properties import Problem, document, flag, number, text, text_set
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given, tag_list, tag_map
from amianai_infra.sandbox.provider.values import Unknown


class Role(Resource):
    """`aws.iam.Role`; its id is its name."""

    token = "aws:iam/role:Role"
    service = "iam"
    regional = False
    tagged = True
    props = {
        "name": text(force_new=True, autoname=True),
        "assumeRolePolicy": document(required=True),
        "description": text(),
        "forceDetachPolicies": flag(default=False, write_only=True),
        "maxSessionDuration": number(default=3600),
        "path": text(default="/", force_new=True),
        "permissionsBoundary": text(),
    }
    outputs = ("arn", "createDate", "uniqueId")
    name_prop = "name"
    missing = ("NoSuchEntity",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        ctx.client().create_role(
            RoleName=inputs["name"],
            Path=inputs["path"],
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            MaxSessionDuration=inputs["maxSessionDuration"],
            **given(
                Description=inputs.get("description"),
                PermissionsBoundary=inputs.get("permissionsBoundary"),
                Tags=tag_list(ctx.tags(inputs)) or None,
            ),
        )
        return str(inputs["name"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_role(RoleName=ident)["Role"]
        return {
            "name": found["RoleName"],
            "assumeRolePolicy": json.dumps(found["AssumeRolePolicyDocument"]),
            "description": found.get("Description"),
            "maxSessionDuration": found.get("MaxSessionDuration", 3600),
            "path": found["Path"],
            "permissionsBoundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "arn": found["Arn"],
            "createDate": found["CreateDate"].isoformat(),
            "uniqueId": found["RoleId"],
            "tags": tag_map(found.get("Tags")),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        iam = ctx.client()
        if "assumeRolePolicy" in changed:
            iam.update_assume_role_policy(RoleName=ident, PolicyDocument=new["assumeRolePolicy"])
        if changed & {"description", "maxSessionDuration"}:
            iam.update_role(RoleName=ident, Description=new.get("description", ""), MaxSessionDuration=new["maxSessionDuration"])
        if "permissionsBoundary" in changed and new.get("permissionsBoundary"):
            iam.put_role_permissions_boundary(RoleName=ident, PermissionsBoundary=new["permissionsBoundary"])
        elif "permissionsBoundary" in changed and old.get("permissionsBoundary"):
            iam.delete_role_permissions_boundary(RoleName=ident)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        if state.get("forceDetachPolicies"):
            self._strip(ctx, ident)
        ctx.client().delete_role(RoleName=ident)

    @staticmethod
    def _strip(ctx: Context, ident: str) -> None:
        iam = ctx.client()
        for policy in iam.list_attached_role_policies(RoleName=ident)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=ident, PolicyArn=policy["PolicyArn"])
        for name in iam.list_role_policies(RoleName=ident)["PolicyNames"]:
            iam.delete_role_policy(RoleName=ident, PolicyName=name)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_role(RoleName=ident, TagKeys=removed)
        if tags:
            ctx.client().tag_role(RoleName=ident, Tags=tag_list(tags))


class RolePolicy(Resource):
    """`aws.iam.RolePolicy`, an inline policy; its id is `<role>:<name>`."""

    token = "aws:iam/rolePolicy:RolePolicy"
    service = "iam"
    regional = False
    props = {
        "name": text(force_new=True, autoname=True),
        "role": text(required=True, force_new=True),
        "policy": document(required=True),
    }
    name_prop = "name"
    missing = ("NoSuchEntity",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        self._put(ctx, inputs)
        return f"{inputs['role']}:{inputs['name']}"

    @staticmethod
    def _put(ctx: Context, inputs: Inputs) -> None:
        ctx.client().put_role_policy(RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        role, _, name = ident.partition(":")
        found = ctx.client().get_role_policy(RoleName=role, PolicyName=name)
        return {"role": role, "name": name, "policy": json.dumps(found["PolicyDocument"])}

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        self._put(ctx, new)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        role, _, name = ident.partition(":")
        ctx.client().delete_role_policy(RoleName=role, PolicyName=name)


class RolePolicyAttachment(Resource):
    """`aws.iam.RolePolicyAttachment`; its id is `<role>/<policy arn>`."""

    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    service = "iam"
    regional = False
    props = {"role": text(required=True, force_new=True), "policyArn": text(required=True, force_new=True)}
    missing = ("NoSuchEntity",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        ctx.client().attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return f"{inputs['role']}/{inputs['policyArn']}"

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        role, _, policy = ident.partition("/")
        pages = ctx.client().get_paginator("list_attached_role_policies").paginate(RoleName=role)
        attached = any(item["PolicyArn"] == policy for page in pages for item in page["AttachedPolicies"])
        return {"role": role, "policyArn": policy} if attached else None

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        role, _, policy = ident.partition("/")
        ctx.client().detach_role_policy(RoleName=role, PolicyArn=policy)


class InstanceProfile(Resource):
    """`aws.iam.InstanceProfile` with one role; its id is its name."""

    token = "aws:iam/instanceProfile:InstanceProfile"
    service = "iam"
    regional = False
    tagged = True
    props = {"name": text(force_new=True, autoname=True), "path": text(default="/", force_new=True), "role": text()}
    outputs = ("arn", "createDate", "uniqueId")
    name_prop = "name"
    missing = ("NoSuchEntity",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        ctx.client().create_instance_profile(
            InstanceProfileName=inputs["name"], Path=inputs["path"], **given(Tags=tag_list(ctx.tags(inputs)) or None)
        )
        return str(inputs["name"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        if inputs.get("role"):
            ctx.client().add_role_to_instance_profile(InstanceProfileName=ident, RoleName=inputs["role"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_instance_profile(InstanceProfileName=ident)["InstanceProfile"]
        return {
            "name": found["InstanceProfileName"],
            "path": found["Path"],
            "role": found["Roles"][0]["RoleName"] if found.get("Roles") else None,
            "arn": found["Arn"],
            "createDate": found["CreateDate"].isoformat(),
            "uniqueId": found["InstanceProfileId"],
            "tags": tag_map(found.get("Tags")),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        if "role" not in changed:
            return
        self._release(ctx, ident)
        self.configure(ctx, ident, new)

    @staticmethod
    def _release(ctx: Context, ident: str) -> None:
        found = ctx.client().get_instance_profile(InstanceProfileName=ident)["InstanceProfile"]
        for role in found.get("Roles", []):
            ctx.client().remove_role_from_instance_profile(InstanceProfileName=ident, RoleName=role["RoleName"])

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        self._release(ctx, ident)
        ctx.client().delete_instance_profile(InstanceProfileName=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_instance_profile(InstanceProfileName=ident, TagKeys=removed)
        if tags:
            ctx.client().tag_instance_profile(InstanceProfileName=ident, Tags=tag_list(tags))


def _same_url(declared: Any, real: Any) -> bool:
    return str(declared).removeprefix("https://").rstrip("/") == str(real).removeprefix("https://").rstrip("/")


class OpenIdConnectProvider(Resource):
    """`aws.iam.OpenIdConnectProvider`; its id is its ARN."""

    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    service = "iam"
    regional = False
    tagged = True
    props = {
        "url": text(required=True, force_new=True, drift_same=_same_url),
        "clientIdLists": text_set(required=True),
        "thumbprintLists": text_set(computed=True),
    }
    outputs = ("arn",)
    delete_first = True  # one a URL
    missing = ("NoSuchEntity",)

    def check(self, inputs: Inputs) -> list[Problem]:
        url = inputs["url"]
        if isinstance(url, Unknown) or url.startswith("https://") or "://" not in url:
            return []
        return [Problem("url", f"url = {url!r} must begin with https://")]

    def create(self, ctx: Context, inputs: Inputs) -> str:
        url = inputs["url"] if "://" in inputs["url"] else f"https://{inputs['url']}"
        answer = ctx.client().create_open_id_connect_provider(
            Url=url,
            ClientIDList=inputs["clientIdLists"],
            **given(ThumbprintList=inputs.get("thumbprintLists"), Tags=tag_list(ctx.tags(inputs)) or None),
        )
        return str(answer["OpenIDConnectProviderArn"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_open_id_connect_provider(OpenIDConnectProviderArn=ident)
        return {
            "url": found["Url"],
            "clientIdLists": found.get("ClientIDList", []),
            "thumbprintLists": found.get("ThumbprintList", []),
            "arn": ident,
            "tags": tag_map(found.get("Tags")),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        iam = ctx.client()
        before, after = set(old.get("clientIdLists", [])), set(new["clientIdLists"])
        for client in sorted(after - before):
            iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=ident, ClientID=client)
        for client in sorted(before - after):
            iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=ident, ClientID=client)
        if "thumbprintLists" in changed and new.get("thumbprintLists"):
            iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=ident, ThumbprintList=new["thumbprintLists"])

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_open_id_connect_provider(OpenIDConnectProviderArn=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        """The emulator tags such a provider only when it is made; one of the same address gets the same ARN."""
        iam = ctx.client()
        found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=ident)
        kept = {name: value for name, value in tag_map(found.get("Tags")).items() if name not in removed}
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=ident)
        iam.create_open_id_connect_provider(
            Url=f"https://{found['Url'].removeprefix('https://')}",
            ClientIDList=found.get("ClientIDList", []),
            ThumbprintList=found.get("ThumbprintList", []),
            Tags=tag_list({**kept, **tags}),
        )


RESOURCES = (Role, RolePolicy, RolePolicyAttachment, InstanceProfile, OpenIdConnectProvider)
