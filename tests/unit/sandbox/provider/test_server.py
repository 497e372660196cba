"""The protocol, over a real channel, with a resource type that lives in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import grpc
import pytest
from botocore.exceptions import ClientError
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from amianai_infra.sandbox.emulator import Key
from amianai_infra.sandbox.provider.clients import Clients
from amianai_infra.sandbox.provider.properties import Problem, Props, flag, number, text, text_set
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, World
from amianai_infra.sandbox.provider.s3 import BucketOwnershipControls
from amianai_infra.sandbox.provider.server import Servicer, serve
from amianai_infra.sandbox.provider.values import UNKNOWN, Secret, decode, encode, reveal

TOKEN = "aws:toy/box:Box"
URN = f"urn:pulumi:prod::p::amianai:network:Network${TOKEN}::box"

KEY = Key("AKIAEXAMPLE", "secret")


class Box(Resource):
    """A box in memory."""

    token = TOKEN
    service = "toy"
    tagged = True
    props: ClassVar[Props] = {
        "name": text(force_new=True, autoname=True),
        "size": number(default=1),
        "zone": text(computed=True, force_new=True),
        "parts": text_set(),
        "password": text(secret=True, write_only=True),
        "port": number(default=5432, write_only=True),
        "protected": flag(default=False, write_only=True),
    }
    outputs = ("arn", "key", "version")
    secrets = ("key",)
    volatile = ("version",)
    real_outputs = ("port",)
    name_prop = "name"
    missing = ("NoSuchBox",)

    def __init__(self) -> None:
        self.boxes: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.broken = False

    def check(self, inputs: Inputs) -> list[Problem]:
        return [Problem("size", "too big")] if inputs["size"] is not UNKNOWN and inputs["size"] > 9 else []

    def create(self, ctx: Context, inputs: Inputs) -> str:
        if inputs["name"] in self.boxes:
            raise ClientError({"Error": {"Code": "BoxExists", "Message": "there is one"}}, "CreateBox")
        self.calls.append(("create", ctx.region))
        kept = {key: inputs[key] for key in ("name", "size", "parts") if key in inputs}
        self.boxes[inputs["name"]] = {**kept, "zone": inputs.get("zone", "chosen"), "version": 1, "tags": ctx.tags(inputs)}
        return str(inputs["name"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        if self.broken:
            raise ProviderError("the lid does not close")

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        if ident == "unreadable":
            return {"name": ident}
        if ident not in self.boxes:
            raise ClientError({"Error": {"Code": "NoSuchBox", "Message": ident}}, "GetBox")
        box = self.boxes[ident]
        read = {"parts": box.get("parts"), **{key: box[key] for key in ("name", "size", "zone", "version")}}
        return {**read, "arn": f"arn:{ident}", "key": "k", "port": 40000, "tags": {**box["tags"], "aws:owner": "x"}}

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        self.calls.append(("update", changed))
        self.boxes[ident].update({key: new[key] for key in ("size", "parts") if key in new})
        self.boxes[ident]["version"] += 1

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        if state.get("protected"):
            raise ProviderError("protected")
        if self.boxes.pop(ident, None) is None:
            raise ClientError({"Error": {"Code": "NoSuchBox", "Message": ident}}, "DeleteBox")

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        self.calls.append(("tags", (tags, removed)))
        self.boxes[ident]["tags"] = tags


class Provider:
    """The engine's side."""

    def __init__(self, box: Box, world: World, port: int) -> None:
        self.box = box
        self.world = world
        self.port = port
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stub: Any = provider_pb2_grpc.ResourceProviderStub(self.channel)

    def check(self, news: Any, olds: Any = None, urn: str = URN) -> Any:
        return self.stub.Check(provider_pb2.CheckRequest(urn=urn, olds=encode(olds or {}), news=encode(news), randomSeed=b"seed"))

    def checked(self, **news: Any) -> dict[str, Any]:
        answer = self.check(news)
        assert not answer.failures
        return decode(answer.inputs)

    def create(self, *, preview: bool = False, **news: Any) -> Any:
        return self.stub.Create(provider_pb2.CreateRequest(urn=URN, properties=encode(self.checked(**news)), preview=preview))

    def diff(self, old: Any, new: Any, state: Any = None) -> Any:
        request = provider_pb2.DiffRequest(urn=URN, id="x", old_inputs=encode(old), news=encode(new), olds=encode(state or {}))
        return self.stub.Diff(request)

    def read(self, ident: str, inputs: Any = None, state: Any = None) -> Any:
        return self.stub.Read(provider_pb2.ReadRequest(urn=URN, id=ident, inputs=encode(inputs or {}), properties=encode(state or {})))

    def update(self, ident: str, old: Any, new: Any, state: Any, *, preview: bool = False) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(
            urn=URN, id=ident, preview=preview, old_inputs=encode(old), news=encode(new), olds=encode(state)
        )
        return decode(self.stub.Update(request).properties)

    def delete(self, ident: str, state: Any = None) -> None:
        self.stub.Delete(provider_pb2.DeleteRequest(urn=URN, id=ident, properties=encode(state or {})))

    def configure(self, **args: str) -> None:
        self.stub.Configure(provider_pb2.ConfigureRequest(args=encode(args)))


@pytest.fixture
def provider() -> Iterator[Provider]:
    world, box = World(Clients("http://127.0.0.1:1", KEY)), Box()
    with serve(world, 0, {TOKEN: box}) as port:
        made = Provider(box, world, port)
        yield made
        made.channel.close()


def failing(provider: Provider, call: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return str(caught.value.details())


def test_the_handshake_promises_secrets(provider: Provider) -> None:
    assert provider.stub.Handshake(provider_pb2.ProviderHandshakeRequest()).accept_secrets
    answer = provider.stub.Configure(provider_pb2.ConfigureRequest())
    assert answer.acceptSecrets
    assert answer.supportsPreview


def test_unknown_types_and_properties_are_refused(provider: Provider) -> None:
    said = failing(provider, lambda: provider.check({}, urn="urn:pulumi:prod::p::aws:toy/bag:Bag::bag"))
    assert "does not implement the resource type aws:toy/bag:Bag" in said
    assert [found.property for found in provider.check({"strange": 1, "size": "x"}).failures] == ["strange", "size"]
    assert [found.reason for found in provider.check({"size": 10}).failures] == ["too big"]


def test_names_are_stable(provider: Provider) -> None:
    name = provider.checked()["name"]
    assert name == provider.checked()["name"]
    assert name.startswith("box-")
    again = provider.stub.Check(provider_pb2.CheckRequest(urn=URN, olds=encode({"name": name}), news=encode({}), randomSeed=b"other"))
    assert decode(again.inputs)["name"] == name
    assert provider.checked(name="mine")["name"] == "mine"


def test_secrets_stay_secret_all_the_way(provider: Provider) -> None:
    inputs = provider.checked(name="a", password="p", parts=[Secret("q")])
    assert inputs["password"] == Secret("p")
    assert inputs["parts"] == Secret(["q"])
    state = decode(provider.create(name="a", password="p", parts=[Secret("q")], tags=Secret({"a": "b"})).properties)
    assert {key for key, value in state.items() if isinstance(value, Secret)} == {"password", "parts", "key", "tags", "tagsAll"}
    refreshed = provider.read("a", inputs, state)
    assert isinstance(decode(refreshed.inputs)["parts"], Secret)
    assert isinstance(decode(refreshed.properties)["key"], Secret)


def test_a_preview_knows_what_it_can_and_creates_nothing(provider: Provider) -> None:
    seen = reveal(decode(provider.create(preview=True, name="a", size=UNKNOWN, tags={"x": "y"}).properties))
    assert seen["name"] == "a"
    assert seen["region"] == "us-east-1"
    assert seen["tagsAll"] == {"x": "y"}
    assert {key for key, value in seen.items() if value is UNKNOWN} == {"size", "zone", "arn", "key", "version", "port"}
    assert not provider.box.boxes


def test_creation_reports_inputs_and_what_was_read(provider: Provider) -> None:
    answer = provider.create(name="a", region="eu-west-1", tags={"x": "y"})
    state = reveal(decode(answer.properties))
    assert answer.id == "a"
    assert state["arn"] == "arn:a"
    assert state["zone"] == "chosen"
    assert state["port"] == 40000, "what is real, though the input is 5432"
    assert state["tagsAll"] == {"x": "y"}
    assert provider.box.calls == [("create", "eu-west-1")]


def test_a_taken_name_is_an_error_with_the_type_and_name_in_it(provider: Provider) -> None:
    provider.create(name="a")
    said = failing(provider, lambda: provider.create(name="a"))
    assert said == "creating aws:toy/box:Box box: CreateBox: BoxExists: there is one"


def test_a_failure_after_creation_leaves_the_id_with_the_engine(provider: Provider) -> None:
    provider.box.broken = True
    with pytest.raises(grpc.RpcError) as caught:
        provider.create(name="a")
    trailing = {entry.key: entry.value for entry in caught.value.trailing_metadata()}
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    assert detail.id == "a"
    assert "the lid does not close" in detail.reasons[0]
    assert reveal(decode(detail.properties))["arn"] == "arn:a"
    assert decode(detail.inputs)["name"] == "a"


def test_an_update_after_a_failed_creation_sets_everything(provider: Provider) -> None:
    inputs = provider.checked(name="a", tags={"x": "y"})
    state = decode(provider.create(name="a", tags={"x": "y"}).properties)
    provider.update("a", inputs, inputs, state)
    changed = next(what for call, what in provider.box.calls if call == "update")
    assert changed >= {"size", "parts", "name"}


def test_diffs_are_detailed(provider: Provider) -> None:
    old = provider.checked(name="a", tags={"x": "1"}, parts=["p", "q"])
    assert provider.diff(old, provider.checked(name="a", tags={"x": "1"}, parts=["q", "p"])).changes == provider_pb2.DiffResponse.DIFF_NONE
    answer = provider.diff(old, provider.checked(name="b", tags={"x": "2"}, parts=["p", "q"], size=2))
    assert answer.hasDetailedDiff
    kinds = {path: provider_pb2.PropertyDiff.Kind.Name(found.kind) for path, found in answer.detailedDiff.items()}
    assert kinds == {"name": "UPDATE_REPLACE", "tags.x": "UPDATE", "size": "UPDATE"}
    assert list(answer.replaces) == ["name"]
    assert not answer.deleteBeforeReplace, "another name: both can exist"
    assert list(answer.stables) == ["arn", "key"]


def test_a_replacement_that_keeps_the_name_deletes_first(provider: Provider) -> None:
    old, new = provider.checked(name="a", zone="one"), provider.checked(name="a", zone="two")
    assert provider.diff(old, new).deleteBeforeReplace


def test_default_tags_reach_every_resource(provider: Provider) -> None:
    provider.configure(defaultTags='{"tags": {"Team": "blue"}}', region="us-west-2")
    inputs = provider.checked(name="a", tags={"x": "y"})
    state = decode(provider.create(name="a", tags={"x": "y"}).properties)
    assert provider.box.boxes["a"]["tags"] == {"Team": "blue", "x": "y"}
    assert state["tags"] == {"x": "y"}
    assert state["tagsAll"] == {"Team": "blue", "x": "y"}
    assert decode(provider.read("a", inputs, state).inputs)["tags"] == {"x": "y"}
    assert provider.diff(inputs, inputs, state).changes == provider_pb2.DiffResponse.DIFF_NONE
    provider.configure(defaultTags='{"tags": {"Team": "green"}}')
    assert list(provider.diff(inputs, inputs, state).diffs) == ["tagsAll"]
    provider.update("a", inputs, inputs, state)
    assert provider.box.boxes["a"]["tags"] == {"Team": "green", "x": "y"}


def test_configuration_that_would_have_no_effect_is_refused(provider: Provider) -> None:
    answer = provider.stub.CheckConfig(provider_pb2.CheckRequest(news=encode({"region": "us-east-1", "assumeRoles": "[]"})))
    assert [found.property for found in answer.failures] == ["assumeRoles"]


def test_refresh_finds_drift_and_absence(provider: Provider) -> None:
    inputs = provider.checked(name="a", size=3, tags={"x": "y"}, password="p")
    state = decode(provider.create(name="a", size=3, tags={"x": "y"}, password="p").properties)
    assert decode(provider.read("a", inputs, state).inputs) == inputs
    provider.box.boxes["a"].update(size=4, tags={"x": "y", "by": "hand"}, parts=["new"])
    found = decode(provider.read("a", inputs, state).inputs)
    assert found == {**inputs, "size": 4, "tags": {"x": "y", "by": "hand"}, "parts": ["new"]}
    del provider.box.boxes["a"]
    assert provider.read("a", inputs, state).id == ""


def test_an_import_needs_the_id_alone(provider: Provider) -> None:
    provider.create(name="a", size=3, tags={"x": "y"})
    answer = provider.read("a@eu-west-1")
    assert answer.id == "a"
    found = decode(answer.inputs)
    assert found == {"name": "a", "size": 3, "zone": "chosen", "tags": {"x": "y"}, "port": 5432, "protected": False, "region": "eu-west-1"}
    declared = provider.checked(name="a", size=3, tags={"x": "y"})
    assert provider.diff({key: value for key, value in found.items() if key != "region"}, declared).changes == 1
    assert decode(provider.read("a").inputs).keys() == found.keys() - {"region"}


def test_a_reader_that_forgets_a_property_is_found_out(provider: Provider) -> None:
    assert "reader does not report size, zone, parts" in failing(provider, lambda: provider.read("unreadable"))


def test_an_update_sends_what_changed_and_foresees_it(provider: Provider) -> None:
    old, new = provider.checked(name="a", size=1, parts=["p"]), provider.checked(name="a", size=2, tags={"x": "y"})
    state = decode(provider.create(name="a", size=1, parts=["p"]).properties)
    seen = provider.update("a", old, new, state, preview=True)
    assert seen["version"] is UNKNOWN
    assert (seen["size"], seen["port"], seen["arn"], seen["tagsAll"]) == (2, 40000, "arn:a", {"x": "y"})
    assert "parts" not in seen
    assert provider.box.boxes["a"]["size"] == 1
    done = provider.update("a", old, new, state)
    assert (done["size"], done["version"], done["tagsAll"]) == (2, 2, {"x": "y"})
    assert provider.box.calls[1:] == [("tags", ({"x": "y"}, [])), ("update", frozenset({"size", "parts"}))]


def test_tags_alone_are_not_an_update(provider: Provider) -> None:
    old, new = provider.checked(name="a", tags={"x": "1", "z": "1"}), provider.checked(name="a", tags={"x": "2"})
    state = decode(provider.create(name="a", tags={"x": "1", "z": "1"}).properties)
    provider.update("a", old, new, state)
    assert provider.box.calls[1:] == [("tags", ({"x": "2"}, ["z"]))]


def test_deleting_what_is_gone_is_fine_and_what_is_protected_is_not(provider: Provider) -> None:
    provider.create(name="a")
    provider.delete("a")
    provider.delete("a")
    assert "protected" in failing(provider, lambda: provider.delete("b", {"protected": True}))


def test_functions_that_do_not_exist_are_refused(provider: Provider) -> None:
    said = failing(provider, lambda: provider.stub.Invoke(provider_pb2.InvokeRequest(tok="aws:index/getPartition:getPartition")))
    assert "does not implement the function aws:index/getPartition:getPartition" in said
    request = provider_pb2.InvokeRequest(tok="aws:index/getRegion:getRegion", args=encode({"endpoint": "x"}))
    assert "argument(s) endpoint" in failing(provider, lambda: provider.stub.Invoke(request))


def test_an_emulator_that_is_not_there_is_said_so(provider: Provider) -> None:
    request = provider_pb2.InvokeRequest(tok="aws:index/getCallerIdentity:getCallerIdentity")
    assert "the sandbox's emulator does not answer" in failing(provider, lambda: provider.stub.Invoke(request))


class S3:
    """One bucket. S3 tells its default until it is told otherwise; the first time it fails, before or after it took what it was told."""

    def __init__(self, *, taken: bool) -> None:
        self.told: list[dict[str, Any]] = []
        self.taken = taken
        self.rules = [{"ObjectOwnership": "BucketOwnerEnforced"}]

    def put_bucket_ownership_controls(self, *, Bucket: str, OwnershipControls: dict[str, Any]) -> None:
        self.told.append(OwnershipControls)
        if self.taken or len(self.told) > 1:
            self.rules = OwnershipControls["Rules"]
        if len(self.told) == 1:
            answer: Any = {"Error": {"Code": "InternalError", "Message": "try again"}, "ResponseMetadata": {"HTTPStatusCode": 500}}
            raise ClientError(answer, "PutBucketOwnershipControls")

    def get_bucket_ownership_controls(self, *, Bucket: str) -> dict[str, Any]:
        return {"OwnershipControls": {"Rules": self.rules}}


@pytest.mark.parametrize(("taken", "times"), [(False, 2), (True, 1)])
def test_a_default_that_is_always_there_is_not_taken_for_what_was_to_be_made(
    monkeypatch: pytest.MonkeyPatch, taken: bool, times: int
) -> None:
    kind, s3, clients = BucketOwnershipControls(), S3(taken=taken), Clients("http://127.0.0.1:1", KEY)
    monkeypatch.setattr(clients, "get", lambda service, region: s3)
    world = World(clients)
    inputs = {"bucket": "logs", "rule": {"objectOwnership": "BucketOwnerPreferred"}}
    context = Context(world, "us-east-1", "s3", f"urn:pulumi:prod::p::{kind.token}::logs")
    assert Servicer(world, {})._created(kind, context, inputs) == "logs"
    assert (s3.rules, len(s3.told)) == ([{"ObjectOwnership": "BucketOwnerPreferred"}], times)
