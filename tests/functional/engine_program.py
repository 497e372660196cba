"""A small stack on the pretend cloud, and a command that runs one engine operation on it: what the tests kill.

`python -m tests.functional.engine_program HOME PORT BINARY up`
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amianai_infra.engine import Engine
from amianai_infra.naming import PROJECT, STACK, TAG_STACK, TAG_URN, urn_tag
from amianai_infra.progress import Progress
from amianai_infra.target import EngineEnvironment
from tests.functional.engine_cloud import Cloud

PARENT = "amianai:network:Network"


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:{STACK}::{PROJECT}::{PARENT}${kind}::{name}"


def settings(home: Path) -> dict[str, Any]:
    """What the program builds: tests write `program.json`."""
    path = home / "program.json"
    return {"vpcs": 2, "bucket": "", "size": "1", "force": "1"} | (json.loads(path.read_text()) if path.exists() else {})


def program_for(home: Path) -> Any:
    def program() -> None:
        import pulumi

        chosen = settings(home)
        parent = pulumi.ComponentResource(PARENT, "network", {})

        def resource(kind: str, name: str, **props: Any) -> pulumi.CustomResource:
            tags = {TAG_STACK: f"{PROJECT}/{STACK}", TAG_URN: urn_tag(urn(kind, name))}
            given = {**props, "tags": tags, "arn": None}
            return pulumi.CustomResource(kind, name, given, pulumi.ResourceOptions(parent=parent))

        for number in range(chosen["vpcs"]):
            vpc = resource("aws:ec2/vpc:Vpc", f"vpc{number}", size=chosen["size"], forceNew=chosen["force"])
            resource("aws:ec2/subnet:Subnet", f"subnet{number}", vpcId=vpc.id)
            pulumi.export(f"vpc{number}", vpc.id)
        if chosen["bucket"]:
            resource("aws:s3/bucket:Bucket", "bucket", bucket=chosen["bucket"])
        if chosen.get("raise"):
            raise RuntimeError("the program is broken")

    return program


class Client:
    """As much of boto3 as recovery needs, on the pretend cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def get_paginator(self, operation: str) -> Client:
        assert operation == "describe_tags"
        return self

    def paginate(self, Filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        if self._cloud.knob("dead"):
            from botocore.exceptions import EndpointConnectionError

            raise EndpointConnectionError(endpoint_url="https://ec2.example")
        if time.time() < float(self._cloud.knob("late") or 0):
            yield {"Tags": []}
            return
        wanted = {entry["Name"]: entry["Values"] for entry in Filters}
        yield {
            "Tags": [
                {"ResourceId": identifier, "Key": key, "Value": value}
                for identifier, entry in self._cloud.all().items()
                for key, value in entry["props"].get("tags", {}).items()
                if key in wanted["key"] and value in wanted["value"]
            ]
        }

    def head_bucket(self, Bucket: str) -> dict[str, Any]:
        return {} if self._cloud.get(Bucket) is not None else self._missing("NoSuchBucket")

    def get_bucket_tagging(self, Bucket: str) -> dict[str, Any]:
        props = self._cloud.get(Bucket) or {}
        return {"TagSet": [{"Key": key, "Value": value} for key, value in props.get("tags", {}).items()]}

    def _missing(self, code: str) -> Any:
        from botocore.exceptions import ClientError

        raise ClientError({"Error": {"Code": code, "Message": "not there"}}, "HeadBucket")


def make_engine(home: Path, port: int, binary: Path, progress: Progress | None = None) -> Engine:
    """An engine on `home`: project/, state/, cache/ and cloud/ below it."""
    project = home / "project"
    project.mkdir(parents=True, exist_ok=True)
    (home / "state").mkdir(exist_ok=True)
    (project / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
    environment = EngineEnvironment(
        project_dir=project,
        backend_url=f"file://{home / 'state'}",
        secrets_provider="passphrase",
        variables={"PULUMI_CONFIG_PASSPHRASE": "test", "PULUMI_DEBUG_PROVIDERS": f"aws:{port}", "PULUMI_HOME": str(home / "pulumi")},
    )
    cloud = Cloud(home / "cloud")
    return Engine(
        environment,
        program_for(home),
        progress or Progress(quiet=True),
        binary,
        clients=lambda _service, _region: Client(cloud),
        environ={**os.environ, "AMIANAI_CACHE": str(home / "cache")},
    )


if __name__ == "__main__":
    HOME, PORT, BINARY, OPERATION = sys.argv[1:]
    try:
        print(getattr(make_engine(Path(HOME), int(PORT), Path(BINARY), Progress()), OPERATION)())
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
