"""A state in a bucket, as on AWS, with the real engine and the sandbox's S3: what a preview leaves there; a state that was lost."""

from __future__ import annotations

import io
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pulumi_aws as aws
import pytest
from rich.console import Console

from amianai_infra.engine import Engine
from amianai_infra.errors import RefusedError
from amianai_infra.progress import Progress
from amianai_infra.target import EngineEnvironment
from tests.faults import Relay, relaying
from tests.functional.conftest import Bench

pytestmark = pytest.mark.sandbox
BUCKET = "bench-state"


def program() -> None:
    aws.sqs.Queue("queue", name="bench-bucket-queue", message_retention_seconds=int(LENGTH["seconds"]))


LENGTH = {"seconds": "60"}


@pytest.fixture
def engine(bench: Bench, tmp_path: Path) -> Engine:
    """An engine whose state is in a versioned bucket."""
    s3 = bench.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    environment = in_bucket(bench.stack(tmp_path, program).environment, urlsplit(bench.variables["AWS_ENDPOINT_URL"]).netloc)
    return Engine(environment, program, Progress(quiet=True), bench.binary, clients=lambda service, region: bench.client(service))


def in_bucket(environment: EngineEnvironment, address: str) -> EngineEnvironment:
    options = f"region=us-east-1&awssdk=v2&endpoint={address}&disableSSL=true&s3ForcePathStyle=true"
    return replace(environment, backend_url=f"s3://{BUCKET}?{options}")


def content(bench: Bench) -> list[Any]:
    """Every version of every object."""
    found = bench.client("s3").list_object_versions(Bucket=BUCKET)
    return [(one["Key"], one["VersionId"], one.get("ETag")) for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, [])]


def test_a_preview_leaves_the_bucket_as_it_is(bench: Bench, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.preview().counts == {"create": 1}
    assert content(bench) == []
    engine.up()
    before = content(bench)
    assert before
    monkeypatch.setitem(LENGTH, "seconds", "120")
    assert engine.preview().counts == {"update": 1}
    bench.client("sqs").delete_queue(QueueUrl=bench.client("sqs").get_queue_url(QueueName="bench-bucket-queue")["QueueUrl"])
    with engine.copy() as other:
        assert other.refresh().counts == {"delete": 1}
        assert other.preview().counts == {"create": 1}
    assert content(bench) == before
    monkeypatch.setitem(LENGTH, "seconds", "60")
    engine.refresh()
    engine.destroy()


CHECKPOINT = ".pulumi/stacks/amianai-infra/prod.json"


def reopened(bench: Bench, engine: Engine) -> tuple[Engine, list[str]]:
    """The engine of another command, and what it asks the state's bucket."""
    asked: list[str] = []

    def clients(service: str, _region: str | None) -> Any:
        client = bench.client(service)
        if service == "s3":
            client.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
        return client

    return Engine(engine.environment, program, Progress(quiet=True), bench.binary, clients=clients), asked


def test_a_lost_and_an_older_state_are_refused_with_their_versions_and_restored(
    bench: Bench, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = bench.client("s3")
    engine.up()
    first = s3.get_object(Bucket=BUCKET, Key=CHECKPOINT)["Body"].read()
    monkeypatch.setitem(LENGTH, "seconds", "120")
    engine.up()
    looking, asked = reopened(bench, engine)
    assert [one.type for one in looking.resources()][-1] == "aws:sqs/queue:Queue"
    assert asked == ["GetObject", "ListObjectsV2"], "one request more than reading the state"
    last = s3.get_object(Bucket=BUCKET, Key=CHECKPOINT)["Body"].read()

    def lose() -> None:
        s3.delete_object(Bucket=BUCKET, Key=CHECKPOINT)

    def empty_bucket_but_for_versions() -> None:
        for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
            s3.delete_object(Bucket=BUCKET, Key=one["Key"])

    def put_back_older() -> None:
        s3.put_object(Bucket=BUCKET, Key=CHECKPOINT, Body=first)

    def cut_off() -> None:
        s3.put_object(Bucket=BUCKET, Key=CHECKPOINT, Body=last[: len(last) // 2])

    for harm in (lose, put_back_older, cut_off, empty_bucket_but_for_versions):
        harm()
        before = content(bench)
        for attempt in ("preview", "up", "destroy"):
            with pytest.raises(RefusedError, match="amianai state restore") as caught:
                getattr(reopened(bench, engine)[0], attempt)()
            assert f"s3://{BUCKET}/{CHECKPOINT}" in caught.value.where
        versions = s3.list_object_versions(Bucket=BUCKET, Prefix=CHECKPOINT)["Versions"]
        assert any(one["VersionId"] in caught.value.where for one in versions)
        assert content(bench) == before
        other = reopened(bench, engine)[0]
        other.restore(other.copy_called(None))
        assert s3.get_object(Bucket=BUCKET, Key=CHECKPOINT)["Body"].read() == last
        assert not reopened(bench, engine)[0].preview().changed
    version = next(one.copy for one in other.copies() if one.copy.kind == "version" and one.data == first)
    other.restore(other.copy_called(version.name))
    assert reopened(bench, engine)[0].preview().changed, "an older one is taken when it is named"
    engine.refresh()
    engine.destroy()


def test_a_bucket_that_is_away_for_a_while_is_named_and_waited_for(bench: Bench, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it cannot prove: how long the engine's own attempts last on a line that swallows every packet."""
    beyond, screen = urlsplit(bench.variables["AWS_ENDPOINT_URL"]), io.StringIO()
    with relaying(Relay(0, ("127.0.0.1", beyond.port or 0))) as relay:
        address = f"127.0.0.1:{relay.server_address[1]}"

        def outage() -> None:
            relay.down = True
            threading.Timer(8.0, lambda: setattr(relay, "down", False)).start()
            program()

        def clients(service: str, _region: str | None) -> Any:
            import boto3

            key = bench.sandbox.key()
            session = boto3.Session(key.access_key, key.secret_key, region_name="us-east-1")
            return session.client(service, endpoint_url=f"http://{address}")  # type: ignore[call-overload]

        environment = in_bucket(engine.environment, address)
        away = Engine(environment, outage, Progress(console=Console(file=screen, width=200)), bench.binary, clients=clients)
        away.look_every, away.patience = 0.2, 2.0
        assert away.up().counts == {"create": 1}
    lines = screen.getvalue().splitlines()
    told, *_ = [line for line in lines if "the engine waits for it" in line]
    assert re.fullmatch(rf"  ! the state's bucket s3://{BUCKET} does not answer for .*; the engine waits for it", told)
    assert "  the state can be written again" in lines[lines.index(told) :]
    assert not engine.preview().changed
    engine.destroy()
