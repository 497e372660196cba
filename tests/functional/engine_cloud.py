"""A pretend cloud of JSON files and a Pulumi provider in front of it, to test the engine package against the real engine.

`serving` starts the provider in a process of its own. Each resource is one file `<id>.json`. A file
`lost` with a word makes the creation of names that hold it fail after the resource exists, as a lost answer does. A file
`slow` with a number makes every create and update take that many seconds *after* the resource exists: that is where the tests
kill. A file `refuse` with a word makes the creation of names that hold it fail.
"""

from __future__ import annotations

import json
import multiprocessing
import time
import uuid
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests import warm

PREFIXES = {"aws:ec2/vpc:Vpc": "vpc-", "aws:ec2/subnet:Subnet": "subnet-", "aws:s3/bucket:Bucket": ""}


class Cloud:
    """The resources that exist: one file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def knob(self, name: str) -> str:
        path = self.folder / name
        return path.read_text().strip() if path.exists() else ""

    def put(self, identifier: str, kind: str, props: dict[str, Any]) -> None:
        temporary = self.folder / f"{identifier}.tmp"
        temporary.write_text(json.dumps({"type": kind, "props": props}))
        temporary.rename(self.folder / f"{identifier}.json")

    def get(self, identifier: str) -> dict[str, Any] | None:
        path = self.folder / f"{identifier}.json"
        return json.loads(path.read_text())["props"] if path.exists() else None

    def all(self) -> dict[str, dict[str, Any]]:
        return {path.stem: json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))}

    def remove(self, identifier: str) -> None:
        (self.folder / f"{identifier}.json").unlink(missing_ok=True)


def _serve(folder: Path, told: Connection) -> None:  # noqa: C901  (one small method a call)
    import grpc
    from google.protobuf import json_format, struct_pb2
    from google.protobuf.empty_pb2 import Empty
    from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

    cloud = Cloud(folder)

    def plain(message: Any) -> dict[str, Any]:
        return dict(json_format.MessageToDict(message))

    def struct(values: dict[str, Any]) -> Any:
        return json_format.ParseDict(values, struct_pb2.Struct())

    class Provider(provider_pb2_grpc.ResourceProviderServicer):
        def Handshake(self, request: Any, context: Any) -> Any:
            return provider_pb2.ProviderHandshakeResponse()

        def Attach(self, request: Any, context: Any) -> Any:
            return Empty()

        def GetPluginInfo(self, request: Any, context: Any) -> Any:
            return plugin_pb2.PluginInfo(version="7.0.0")

        def CheckConfig(self, request: Any, context: Any) -> Any:
            return provider_pb2.CheckResponse(inputs=request.news)

        def DiffConfig(self, request: Any, context: Any) -> Any:
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

        def Configure(self, request: Any, context: Any) -> Any:
            return provider_pb2.ConfigureResponse(supportsPreview=True)

        def Check(self, request: Any, context: Any) -> Any:
            return provider_pb2.CheckResponse(inputs=request.news)

        def Diff(self, request: Any, context: Any) -> Any:
            old, new = plain(request.olds), plain(request.news)
            changed = sorted(key for key in new if old.get(key) != new[key])
            replaces = [key for key in changed if key.startswith("force")]
            kind = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
            return provider_pb2.DiffResponse(changes=kind, diffs=changed, replaces=replaces)

        def Create(self, request: Any, context: Any) -> Any:
            kind, props = request.urn.split("::")[2].split("$")[-1], plain(request.properties)
            if request.preview:
                return provider_pb2.CreateResponse(id="", properties=struct(props))
            refuse = cloud.knob("refuse")
            if refuse and refuse in request.urn:
                context.set_code(grpc.StatusCode.UNKNOWN)
                context.set_details(f"QuotaExceeded: no room for {refuse}")
                return provider_pb2.CreateResponse()
            prefix = PREFIXES.get(kind, "x-")
            identifier = props.get("bucket") or prefix + uuid.uuid4().hex[:8]
            if cloud.get(identifier) is not None:
                context.set_code(grpc.StatusCode.UNKNOWN)
                context.set_details(f"BucketAlreadyOwnedByYou: {identifier}")
                return provider_pb2.CreateResponse()
            props = {**props, "arn": f"arn:{identifier}"}
            cloud.put(identifier, kind, props)
            lost = cloud.knob("lost")
            if lost and lost in request.urn:
                context.set_code(grpc.StatusCode.UNKNOWN)
                context.set_details("read tcp: connection reset by peer")
                return provider_pb2.CreateResponse()
            time.sleep(float(cloud.knob("slow") or 0))
            return provider_pb2.CreateResponse(id=identifier, properties=struct(props))

        def Read(self, request: Any, context: Any) -> Any:
            props = cloud.get(request.id)
            if props is None:
                return provider_pb2.ReadResponse()
            inputs = {key: value for key, value in props.items() if key != "arn"}
            return provider_pb2.ReadResponse(id=request.id, properties=struct(props), inputs=struct(inputs))

        def Update(self, request: Any, context: Any) -> Any:
            props = {**plain(request.olds), **plain(request.news)}
            if not request.preview:
                kind = request.urn.split("::")[2].split("$")[-1]
                cloud.put(request.id, kind, props)
                time.sleep(float(cloud.knob("slow") or 0))
            return provider_pb2.UpdateResponse(properties=struct(props))

        def Delete(self, request: Any, context: Any) -> Any:
            cloud.remove(request.id)
            return Empty()

        def Cancel(self, request: Any, context: Any) -> Any:
            return Empty()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    told.send(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The provider on the cloud in a folder; gives its port."""
    heard, told = multiprocessing.Pipe(duplex=False)
    with heard, told:
        provider = warm.start(_serve, folder, told)
        told.close()
        try:
            yield int(heard.recv())
        finally:
            provider.kill()
            provider.join()
            provider.close()
