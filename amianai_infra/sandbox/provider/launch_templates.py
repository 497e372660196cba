"""EC2 launch templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amianai_infra.sandbox.provider.properties import flag, mapping, number, obj, objects, text, text_set
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given, tag_list, tag_map

_OPTIONAL_FLAG = {"choices": ("true", "false")}  # pulumi-aws has these as text, to tell "false" from nothing


class LaunchTemplate(Resource):
    """`aws.ec2.LaunchTemplate`, with what a small instance needs; its id is that of the template."""

    token = "aws:ec2/launchTemplate:LaunchTemplate"
    service = "ec2"
    tagged = True
    props = {
        "name": text(force_new=True, autoname=True),
        "description": text(),
        "imageId": text(),
        "instanceType": text(),
        "instanceInitiatedShutdownBehavior": text(choices=("stop", "terminate")),
        "userData": text(),
        "updateDefaultVersion": flag(write_only=True),
        "iamInstanceProfile": obj({"arn": text(), "name": text()}),
        "metadataOptions": obj(
            {"httpEndpoint": text(computed=True), "httpTokens": text(computed=True), "httpPutResponseHopLimit": number(computed=True)}
        ),
        "blockDeviceMappings": objects(
            {"deviceName": text(), "ebs": obj({"encrypted": text(**_OPTIONAL_FLAG), "volumeSize": number(), "volumeType": text()})}
        ),
        "networkInterfaces": objects(
            {"deviceIndex": number(), "associatePublicIpAddress": text(**_OPTIONAL_FLAG), "securityGroups": text_set()}
        ),
        "tagSpecifications": objects({"resourceType": text(), "tags": mapping()}),
    }
    outputs = ("arn", "latestVersion")
    volatile = ("latestVersion",)
    name_prop = "name"
    missing = ("InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.NotFoundException")

    def create(self, ctx: Context, inputs: Inputs) -> str:
        tags = tag_list(ctx.tags(inputs))
        specification = [{"ResourceType": "launch-template", "Tags": tags}] if tags else None
        answer = ctx.client().create_launch_template(
            LaunchTemplateName=inputs["name"],
            LaunchTemplateData=_data(inputs),
            **given(VersionDescription=inputs.get("description"), TagSpecifications=specification),
        )
        return str(answer["LaunchTemplate"]["LaunchTemplateId"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        ec2 = ctx.client()
        found = next(iter(ec2.describe_launch_templates(LaunchTemplateIds=[ident])["LaunchTemplates"]), None)
        if found is None:
            return None
        version = ec2.describe_launch_template_versions(LaunchTemplateId=ident, Versions=["$Latest"])["LaunchTemplateVersions"][0]
        return {
            "name": found["LaunchTemplateName"],
            "description": version.get("VersionDescription") or None,
            **_inputs(version["LaunchTemplateData"]),
            "arn": ctx.arn(f"launch-template/{ident}"),
            "latestVersion": found["LatestVersionNumber"],
            # The emulator repeats a template's tags in the template, and after a restart changes only the others.
            "tags": tag_map(ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [ident]}])["Tags"]),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        answer = ctx.client().create_launch_template_version(
            LaunchTemplateId=ident, LaunchTemplateData=_data(new), **given(VersionDescription=new.get("description"))
        )
        if new.get("updateDefaultVersion"):
            number = str(answer["LaunchTemplateVersion"]["VersionNumber"])
            ctx.client().modify_launch_template(LaunchTemplateId=ident, DefaultVersion=number)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_launch_template(LaunchTemplateId=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().delete_tags(Resources=[ident], Tags=[{"Key": key} for key in removed])
        if tags:
            ctx.client().create_tags(Resources=[ident], Tags=tag_list(tags))


def _data(inputs: Inputs) -> dict[str, Any]:
    """What the API calls the template's data."""
    options = inputs.get("metadataOptions") or {}
    return given(
        ImageId=inputs.get("imageId"),
        InstanceType=inputs.get("instanceType"),
        InstanceInitiatedShutdownBehavior=inputs.get("instanceInitiatedShutdownBehavior"),
        UserData=inputs.get("userData"),
        IamInstanceProfile=_renamed(inputs.get("iamInstanceProfile"), {"arn": "Arn", "name": "Name"}),
        MetadataOptions=_renamed(options, _METADATA),
        BlockDeviceMappings=[_mapping(one) for one in inputs.get("blockDeviceMappings", [])] or None,
        NetworkInterfaces=[_interface(one) for one in inputs.get("networkInterfaces", [])] or None,
        TagSpecifications=[
            {"ResourceType": one["resourceType"], "Tags": tag_list(one["tags"])} for one in inputs.get("tagSpecifications", [])
        ]
        or None,
    )


_METADATA = {"httpEndpoint": "HttpEndpoint", "httpTokens": "HttpTokens", "httpPutResponseHopLimit": "HttpPutResponseHopLimit"}


def _renamed(value: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    found = {other: value[name] for name, other in names.items() if (value or {}).get(name) is not None} if value else {}
    return found or None


def _mapping(one: Mapping[str, Any]) -> dict[str, Any]:
    ebs = one.get("ebs") or {}
    encrypted = None if ebs.get("encrypted") is None else ebs["encrypted"] == "true"
    return {
        "DeviceName": one["deviceName"],
        "Ebs": given(Encrypted=encrypted, VolumeSize=ebs.get("volumeSize"), VolumeType=ebs.get("volumeType")),
    }


def _interface(one: Mapping[str, Any]) -> dict[str, Any]:
    public = None if one.get("associatePublicIpAddress") is None else one["associatePublicIpAddress"] == "true"
    return given(DeviceIndex=one.get("deviceIndex", 0), AssociatePublicIpAddress=public, Groups=one.get("securityGroups"))


def _inputs(data: Mapping[str, Any]) -> dict[str, Any]:
    """The template's data as inputs."""
    profile, options = data.get("IamInstanceProfile"), data.get("MetadataOptions")
    return {
        "imageId": data.get("ImageId"),
        "instanceType": data.get("InstanceType"),
        "instanceInitiatedShutdownBehavior": data.get("InstanceInitiatedShutdownBehavior"),
        "userData": data.get("UserData"),
        "iamInstanceProfile": _renamed(profile, {"Arn": "arn", "Name": "name"}),
        "metadataOptions": _renamed(options, {other: name for name, other in _METADATA.items()}),
        "blockDeviceMappings": [
            {
                "deviceName": one["DeviceName"],
                "ebs": given(
                    encrypted=_word(one.get("Ebs", {}).get("Encrypted")),
                    volumeSize=one.get("Ebs", {}).get("VolumeSize"),
                    volumeType=one.get("Ebs", {}).get("VolumeType"),
                ),
            }
            for one in data.get("BlockDeviceMappings", [])
        ],
        "networkInterfaces": [
            given(
                deviceIndex=one.get("DeviceIndex"),
                associatePublicIpAddress=_word(one.get("AssociatePublicIpAddress")),
                securityGroups=one.get("Groups"),
            )
            for one in data.get("NetworkInterfaces", [])
        ],
        "tagSpecifications": [
            {"resourceType": one["ResourceType"], "tags": tag_map(one.get("Tags"))} for one in data.get("TagSpecifications", [])
        ],
    }


def _word(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


RESOURCES = (LaunchTemplate,)
