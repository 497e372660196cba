"""State and locks read without the engine, from a folder and from a bucket."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from amianai_infra.engine.backend import (
    BucketStore,
    FolderStore,
    StateFiles,
    Store,
    latest,
    mask,
    open_store,
    secrets_lines,
    stack_outputs,
    state_resources,
)
from amianai_infra.engine.locks import judge
from amianai_infra.errors import EngineError, UnreachableError
from amianai_infra.target import EngineEnvironment

CHECKPOINT = ".pulumi/stacks/amianai-infra/prod.json"
LOCKS = ".pulumi/locks/organization/amianai-infra/prod/"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}
STATE = {
    "resources": [
        {"urn": "u::s::pulumi:pulumi:Stack::x", "type": "pulumi:pulumi:Stack", "outputs": {"url": "https://a", "password": SECRET}},
        {"urn": "u::s::t::a", "type": "t", "id": "i-1", "inputs": {"p": SECRET}, "outputs": {"q": [SECRET]}, "protect": True},
        {"urn": "u::s::t::old", "type": "t", "id": "i-0", "delete": True},
        {"urn": "u::s::t::there", "type": "t", "id": "i-2", "external": True},
    ]
}


def environment(url: str, folder: Path = Path("/nowhere")) -> EngineEnvironment:
    return EngineEnvironment(folder, url, "passphrase", {})


def write(store: Path, key: str, data: bytes) -> None:
    (store / key).parent.mkdir(parents=True, exist_ok=True)
    (store / key).write_bytes(data)


def lock(pid: int, stamp: str) -> bytes:
    return json.dumps({"pid": pid, "username": "alice", "hostname": "box", "timestamp": stamp}).encode()


@pytest.mark.parametrize("name", ["a b", "a\x1b[2J", "x" * 65, "ü", "a\nnext:  run this"])
def test_a_lock_whose_name_is_no_id_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"{LOCKS}{name}.json", lock(1, "2026-01-01T00:00:00Z"))
    with pytest.raises(EngineError, match="no lock's") as caught:
        StateFiles(FolderStore(tmp_path), "amianai-infra", "prod").locks()
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"5",
        b"[" * 200_000,
        b'{"pid": "x"}',
        b'{"pid": 1e400}',
        b'{"pid": -1}',
        b'{"pid": %d}' % 10**30,
        b'{"pid": []}',
        b'{"timestamp": "0001-01-01T00:00:00"}',
        b'{"timestamp": {}}',
    ],
)
def test_a_lock_is_one_whatever_it_says(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, f"{LOCKS}0a1b.json", content)
    (found,) = StateFiles(FolderStore(tmp_path), "amianai-infra", "prod").locks()
    judged = judge(found, here=True, host=found.host)
    assert (found.pid, judged.id) == (0, "0a1b")


def test_a_folder_without_a_stack(tmp_path: Path) -> None:
    files = StateFiles(FolderStore(tmp_path), "amianai-infra", "prod")
    assert files.checkpoint() is None
    assert latest(files.checkpoint(), "") is None
    assert files.copies() == []
    assert files.locks() == []


@pytest.mark.parametrize("pack", [lambda data: (CHECKPOINT, data), lambda data: (f"{CHECKPOINT}.gz", gzip.compress(data))])
def test_a_checkpoint_is_read_plain_and_compressed(tmp_path: Path, pack: Any) -> None:
    write(tmp_path, *pack(json.dumps({"version": 3, "checkpoint": {"latest": STATE}}).encode()))
    assert latest(StateFiles(FolderStore(tmp_path), "amianai-infra", "prod").checkpoint(), CHECKPOINT) == STATE


def test_a_new_stack_has_an_empty_deployment(tmp_path: Path) -> None:
    write(tmp_path, CHECKPOINT, b'{"version": 3, "checkpoint": {}}')
    assert latest(StateFiles(FolderStore(tmp_path), "amianai-infra", "prod").checkpoint(), CHECKPOINT) == {}


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"checkpoint": 3}'])
def test_a_damaged_checkpoint_is_an_error_that_names_the_backups(tmp_path: Path, damaged: bytes) -> None:
    write(tmp_path, CHECKPOINT, damaged)
    with pytest.raises(EngineError) as caught:
        latest(StateFiles(FolderStore(tmp_path), "amianai-infra", "prod").checkpoint(), CHECKPOINT)
    assert "`amianai state restore`" in caught.value.fix
    assert caught.value.where == CHECKPOINT


def test_locks_come_oldest_first_and_can_be_removed(tmp_path: Path) -> None:
    write(tmp_path, f"{LOCKS}b.json", lock(2, "2026-01-02T03:04:05.123456789Z"))
    write(tmp_path, f"{LOCKS}b.json.attrs", b"{}")
    write(tmp_path, f"{LOCKS}a.json", lock(1, "2026-01-02T05:04:06+02:00"))
    write(tmp_path, f"{LOCKS}c.json", b"not json")
    files = StateFiles(FolderStore(tmp_path), "amianai-infra", "prod")
    assert [(one.pid, one.user) for one in files.locks()] == [(2, "alice"), (1, "alice"), (0, "unknown")]
    assert files.locks()[0].since.microsecond == 123456
    files.remove_lock(f"{LOCKS}b.json")
    assert [path.name for path in sorted((tmp_path / LOCKS).iterdir())] == ["a.json", "c.json"]


@pytest.mark.parametrize("content", [b"[]", b"null", b'"x"', b"3", b'{"pid": "four", "timestamp": 5}', b"", b"\xff"])
def test_a_lock_that_nobody_can_read_is_a_lock_since_it_was_written(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, f"{LOCKS}a.json", content)
    files = StateFiles(FolderStore(tmp_path), "amianai-infra", "prod")
    (held,) = files.locks()
    assert (held.pid, held.user) == (0, "unknown")
    assert abs(held.since.timestamp() - time.time()) < 60
    files.remove_lock(held.key)
    assert files.locks() == []


@mock_aws
def test_a_bucket_works_like_a_folder(tmp_path: Path) -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    asked: list[tuple[str, str | None]] = []

    def clients(service: str, region: str | None) -> Any:
        asked.append((service, region))
        return client

    store = open_store(environment("s3://state/team%20a?region=eu-west-1&awssdk=v2"), clients)
    assert asked == [("s3", "eu-west-1")]
    assert store is not None
    files = StateFiles(store, "amianai-infra", "prod")
    assert files.checkpoint() is None, "a bucket that does not exist yet holds no stack"
    assert files.locks() == []
    client.create_bucket(Bucket="state")
    client.put_object(Bucket="state", Key=f"team a/{CHECKPOINT}", Body=json.dumps({"checkpoint": {"latest": STATE}}).encode())
    client.put_object(Bucket="state", Key=f"team a/{LOCKS}a.json", Body=lock(1, "2026-01-02T03:04:05Z"))
    assert latest(files.checkpoint(), "") == STATE
    (held,) = files.locks()
    files.remove_lock(held.key)
    assert files.locks() == []


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_noticed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path / "state" / "not yet")
    store.require_room()
    with monkeypatch.context() as patch:
        patch.setattr("amianai_infra.engine.backend.shutil.disk_usage", lambda _: SimpleNamespace(free=3 << 20))
        with pytest.raises(EngineError, match="Only 3 MB"):
            store.require_room()
    monkeypatch.setattr("amianai_infra.engine.backend.os.access", lambda _path, _mode: False)
    with pytest.raises(EngineError) as caught:
        store.require_room()
    assert caught.value.where == str(tmp_path)


def test_an_unreachable_bucket_is_said_to_be_unreachable() -> None:
    class Broken:
        def get_object(self, **_: Any) -> None:
            from botocore.exceptions import EndpointConnectionError

            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    with pytest.raises(UnreachableError):
        StateFiles(BucketStore(Broken(), "state"), "amianai-infra", "prod").checkpoint()


@pytest.mark.parametrize(
    ("url", "folder"),
    [("file:///var/state", "/var/state"), ("file://~", str(Path.home())), ("file://./state?no_tmp_dir=true", "/w/state")],
)
def test_file_backends_are_found(url: str, folder: str) -> None:
    store: Store | None = open_store(environment(url, Path("/w")), None)
    assert isinstance(store, FolderStore)
    assert store.folder == Path(folder)


@pytest.mark.parametrize("url", ["https://api.pulumi.com", "gs://bucket", "azblob://container"])
def test_other_backends_are_left_to_the_engine(url: str) -> None:
    assert open_store(environment(url), lambda _service, _region: None) is None


def test_resources_are_live_and_carry_no_secret() -> None:
    found = state_resources(STATE)
    assert [one.name for one in found] == ["x", "a", "there"]
    assert found[1].inputs == {"p": "[secret]"}
    assert found[1].outputs == {"q": ["[secret]"]}
    assert found[1].protect
    assert found[2].external


def test_outputs_are_told_apart_from_secret_ones() -> None:
    outputs = stack_outputs(STATE)
    assert mask(outputs) == {"url": "https://a", "password": "[secret]"}
    assert stack_outputs({}) == {}


def test_the_state_names_the_key_of_its_secrets() -> None:
    cloud = {"url": "awskms://alias/x-state?region=eu-west-1", "encryptedkey": "AQID"}
    assert secrets_lines({"secrets_providers": {"type": "cloud", "state": cloud}}) == {
        "secretsprovider": "awskms://alias/x-state?region=eu-west-1",
        "encryptedkey": "AQID",
    }
    assert secrets_lines({"secrets_providers": {"type": "passphrase", "state": {"salt": "v1:a"}}}) == {"encryptionsalt": "v1:a"}
    assert secrets_lines({"secrets_providers": {"type": "service", "state": {"owner": "x"}}}) == secrets_lines({}) == {}
