"""What `Engine` decides without an engine: locks, orphans, look-ups, configuration."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.engine import Engine, Existing, Summary
from amianai_infra.engine import driver as module
from amianai_infra.engine.backend import FailedCreate, FolderStore, StateFiles
from amianai_infra.engine.locks import Runs
from amianai_infra.engine.process import Completed
from amianai_infra.errors import ConfigurationError, EngineError, ForbiddenError, LockedError, NotFoundError, RefusedError
from amianai_infra.machine import machine
from amianai_infra.progress import Progress
from amianai_infra.target import EngineEnvironment

VPC = "urn:pulumi:prod::amianai-infra::aws:ec2/vpc:Vpc::vpc"


class Fake:
    """An engine whose process is a recording."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, url: str | None = None) -> None:
        self.home = home
        self.monkeypatch = monkeypatch
        self.calls: list[list[str]] = []
        self.inputs: list[str] = []
        self.answers: Callable[[list[str]], Completed] = lambda _arguments: Completed("", "", 0)
        environment = EngineEnvironment(home, url or f"file://{home}", "passphrase", {"AWS_REGION": "us-east-1"})
        self.engine = Engine(
            environment,
            lambda: None,
            Progress(quiet=True),
            Path("/bin/pulumi"),
            clients=lambda _service, _region: self,
            environ={"AMIANAI_CACHE": str(home / "cache")},
        )
        monkeypatch.setattr(module, "run", self.run)

    def run(self, command: list[Any], **options: Any) -> Completed:
        self.calls.append([str(part) for part in command[1:]])
        self.inputs.append(options.get("stdin") or "")
        return self.answers(self.calls[-1])

    def state(self, latest: dict[str, Any] | None) -> None:
        path = self.home / ".pulumi" / "stacks" / "amianai-infra" / "prod.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"checkpoint": {"latest": latest}}))

    def lock(self, pid: int, host: str | None = None) -> Path:
        folder = self.home / ".pulumi" / "locks" / "organization" / "amianai-infra" / "prod"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{pid}.json"
        content = {"pid": pid, "username": "alice", "hostname": host or socket.gethostname(), "timestamp": datetime.now(UTC).isoformat()}
        path.write_text(json.dumps(content))
        return path

    def verbs(self) -> list[str]:
        return [" ".join(call[call.index("never") + 1 :][:2]) for call in self.calls]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(tmp_path, monkeypatch)


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_healthy_stack_is_looked_at_without_starting_a_process(fake: Fake) -> None:
    fake.state({"resources": []})
    assert fake.engine.recover() == []
    assert fake.engine.exists()
    assert fake.engine.resources() == []
    assert fake.engine.outputs() == {}
    assert fake.calls == []


def test_a_dead_lock_is_released_and_said_so(fake: Fake) -> None:
    path = fake.lock(dead_pid())
    (line,) = fake.engine.recover()
    assert line.startswith("released the lock of alice@")
    assert not path.exists()


def test_a_foreign_lock_is_left_alone(fake: Fake) -> None:
    path = fake.lock(4711, host="elsewhere")
    with pytest.raises(LockedError):
        fake.engine.recover()
    assert path.exists()


def test_in_a_bucket_the_lock_of_a_process_unknown_here_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container or a copied machine has our host name and other processes."""
    fake = Fake(tmp_path, monkeypatch, "s3://state")
    fake.engine.__dict__["_files"] = StateFiles(FolderStore(tmp_path), "amianai-infra", "prod")
    pid = dead_pid()
    path = fake.lock(pid)
    with pytest.raises(LockedError, match="state unlock"):
        fake.engine.recover()
    assert path.exists()
    path.unlink()
    Runs(tmp_path / "cache" / "runs").record(pid)
    path = fake.lock(pid)
    (line,) = fake.engine.recover()
    assert line.startswith("released the lock of alice@")
    assert not path.exists()


@pytest.mark.parametrize(("code", "kept"), [(0, False), (-9, True), (2, True)])
def test_an_engine_that_did_not_end_well_stays_recorded(fake: Fake, code: int, kept: bool) -> None:
    def run(_command: list[Any], *, started: Callable[[int], None], **_: Any) -> Completed:
        started(4711)
        return Completed("", "", code, 4711)

    fake.monkeypatch.setattr(module, "run", run)
    with suppress(EngineError):
        fake.engine.configure({"a:b": "c"})
    assert (fake.home / "cache" / "runs" / "4711.json").exists() is kept


def test_an_orphaned_engine_is_waited_for(fake: Fake) -> None:
    """The command that started it is gone; it finishes, releases its lock and ends."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as orphan:
        path = fake.lock(orphan.pid)
        runs = fake.home / "cache" / "runs"
        runs.mkdir(parents=True)
        (runs / f"{orphan.pid}.json").write_text(json.dumps({"owner": dead_pid(), "began": None, "machine": machine()}))

        def finish() -> None:
            path.unlink()
            orphan.communicate(b"\n")

        timer = threading.Timer(0.5, finish)
        timer.start()
        assert fake.engine.recover() == []
        timer.join()
    assert orphan.returncode == 0


def test_somebody_elses_living_engine_is_not_waited_for(fake: Fake) -> None:
    fake.lock(os.getpid())
    with pytest.raises(LockedError):
        fake.engine.recover()


def pending(kind: str) -> dict[str, Any]:
    resource = {"urn": VPC.replace("aws:ec2/vpc:Vpc", kind), "type": kind, "custom": True, "inputs": {"name": "n"}}
    return {"resources": [], "pending_operations": [{"resource": resource, "type": "creating"}]}


def test_the_list_of_failed_creations_is_kept_in_the_backend_and_survives_junk(fake: Fake) -> None:
    files = fake.engine._files
    assert files is not None
    one = FailedCreate({"urn": VPC, "type": "aws:ec2/vpc:Vpc"}, 12.5, unsure=True)
    files.keep_failed([one])
    assert files.failed() == [one]
    files.keep_failed([])
    assert files.failed() == []
    (fake.home / ".pulumi" / "failed" / "amianai-infra" / "prod.json").write_text("[{}")
    assert files.failed() == []


@pytest.mark.parametrize(
    ("said", "unsure", "clash"),
    [
        ("EntityAlreadyExists: Role with name eeyore already exists", True, True),
        ("InvalidGroup.Duplicate: The security group 'x' already exists", True, True),
        ("InvalidSubnet.Conflict: The CIDR '10.0.1.0/24' conflicts", True, True),
        ("ResourceAlreadyExistsException: The specified log group already exists", True, True),
        ("read tcp 127.0.0.1: connection reset by peer", True, False),
        ("the sandbox's emulator does not answer (Read timed out)", True, False),
        ("api error InternalError: An internal error has occurred", True, False),
        ("", True, False),
        ("AddressLimitExceeded: Too many addresses", False, False),
        ("ValidationError: 2 validation errors detected", False, False),
    ],
)
def test_which_failures_may_have_made_something(said: str, unsure: bool, clash: bool) -> None:
    found = module._failed({"urn": VPC}, said, False)
    assert (found.unsure, found.clash) == (unsure, clash)


def test_a_type_nobody_knows_is_named_and_cleared(fake: Fake) -> None:
    state = pending("aws:sfn/activity:Activity")
    fake.state(state)
    fake.answers = lambda _arguments: Completed(json.dumps({"version": 3, "deployment": state}), "", 0)
    (line,) = fake.engine.recover()
    assert "cannot be looked up" in line
    assert fake.verbs() == ["stack export", "stack import"]
    assert "pending_operations" not in json.loads(fake.inputs[1])["deployment"]


LOST = {"urn": VPC, "type": "aws:ec2/vpc:Vpc", "custom": True, "inputs": {}, "parent": "", "provider": "urn::provider::1"}


class Tagged:
    """EC2, where some resources carry the tags that are asked for."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def get_paginator(self, operation: str) -> Tagged:
        assert operation == "describe_tags"
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{"Tags": [{"ResourceId": one} for one in self.ids]}]


@pytest.mark.parametrize(("alive", "tried"), [("vpc-2", ["vpc-1", "vpc-2"]), ("", ["vpc-1", "vpc-2"]), ("vpc-1", ["vpc-1"])])
def test_what_is_shown_and_was_deleted_does_not_hide_what_exists(fake: Fake, alive: str, tried: list[str]) -> None:
    fake.state({"resources": [{"urn": "urn::provider", "type": "pulumi:providers:aws", "custom": True, "id": "1"}]})
    fake.engine._clients = lambda _service, _region: Tagged("vpc-1", "vpc-2")
    adopted: list[str] = []

    def preview() -> Summary:
        return Summary("preview", {}, [], 0, True, () if alive in adopted else (LOST,))

    def adopt(found: list[Existing]) -> list[Existing]:
        adopted.extend(one.id for one in found)
        return [one for one in found if one.id == alive]

    fake.monkeypatch.setattr(fake.engine, "preview", preview)
    fake.monkeypatch.setattr(fake.engine, "adopt", adopt)
    plan, existing = fake.engine.foresee()
    assert adopted == tried
    assert [one.id for one in existing] == ([alive] if alive else [])
    assert bool(plan.creates) is not bool(alive)


def test_what_has_no_place_in_the_state_is_refused_with_the_commands_that_remove_it(fake: Fake) -> None:
    fake.state({"resources": []})
    fake.engine._clients = lambda _service, _region: Tagged("vpc-1", "vpc-2")
    fake.monkeypatch.setattr(fake.engine, "preview", lambda: Summary("preview", {}, [], 0, True, (LOST,)))
    with pytest.raises(RefusedError, match="`up` would make second ones") as caught:
        fake.engine.foresee()
    name = "resource vpc (aws:ec2/vpc:Vpc)"
    assert list(caught.value.details) == [f"{name}: {one}: aws ec2 delete-vpc --vpc-id {one}" for one in ("vpc-1", "vpc-2")]
    assert fake.calls == []


def test_without_clients_nothing_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(tmp_path, monkeypatch)
    fake.engine._clients = None
    fake.state(pending("aws:ec2/vpc:Vpc"))
    with pytest.raises(EngineError, match="AWS cannot be asked"):
        fake.engine.recover()
    assert fake.calls == []


def test_other_backends_are_read_through_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(tmp_path, monkeypatch, url="https://api.pulumi.com")
    stack = {"urn": "u::p::pulumi:pulumi:Stack::s", "type": "pulumi:pulumi:Stack", "outputs": {"a": 1}}
    fake.answers = lambda _arguments: Completed(json.dumps({"version": 3, "deployment": {"resources": [stack]}}), "", 0)
    assert fake.engine.outputs() == {"a": 1}
    assert fake.engine.locks() == []
    fake.answers = lambda _arguments: Completed("", "error: no stack named 'prod' found", 255)
    assert not fake.engine.exists()
    fake.answers = lambda _arguments: Completed("", "error: [401] unauthorized", 255)
    with pytest.raises(EngineError, match="Reading the stack's state failed"):
        fake.engine.exists()


def test_secret_outputs_are_asked_of_the_engine(fake: Fake) -> None:
    secret = {"4dabf18193072939515e22adb298388d": "1b47", "ciphertext": "v1:abc"}
    fake.state({"resources": [{"urn": "u::p::pulumi:pulumi:Stack::s", "type": "pulumi:pulumi:Stack", "outputs": {"a": secret}}]})
    fake.answers = lambda _arguments: Completed('{"a": "open"}', "", 0)
    assert fake.engine.outputs() == {"a": "open"}


def test_operations_on_no_stack(fake: Fake) -> None:
    fake.answers = lambda _arguments: Completed("", "error: no stack named 'prod' found", 255)
    for operation in (fake.engine.refresh, fake.engine.destroy, lambda: fake.engine.forget([VPC])):
        with pytest.raises(NotFoundError):
            operation()


def test_configuration_in_every_shape(fake: Fake) -> None:
    assert fake.engine.configuration() == {}
    (fake.home / "Pulumi.prod.yaml").write_text(
        "encryptionsalt: v1:x\nconfig:\n  a:text: x\n  a:flag: true\n  a:number: 30\n  a:list: [1, 2]\n  a:hidden:\n    secure: v1:abc\n"
    )
    assert fake.engine.configuration() == {"a:text": "x", "a:flag": "true", "a:number": "30", "a:list": "[1, 2]", "a:hidden": "[secret]"}


def test_a_broken_stack_file_is_named(fake: Fake) -> None:
    (fake.home / "Pulumi.prod.yaml").write_text("config: [")
    with pytest.raises(ConfigurationError) as caught:
        fake.engine.configuration()
    assert "Pulumi.prod.yaml" in caught.value.where


def test_configuration_creates_the_stack_with_its_secrets_provider(fake: Fake) -> None:
    fake.engine.configure({"amianai-infra:domainName": "example.com"})
    assert fake.calls[0][-6:] == ["stack", "init", "prod", "--no-select", "--secrets-provider", "passphrase"]
    assert fake.calls[1][3:] == ["config", "set-all", "--plaintext", "amianai-infra:domainName=example.com", "--stack", "prod"]


def test_nothing_to_unprotect_or_forget_starts_nothing(fake: Fake) -> None:
    fake.state({"resources": [{"urn": VPC, "type": "aws:ec2/vpc:Vpc", "id": "vpc-1"}]})
    fake.engine.unprotect([VPC])
    fake.engine.forget([])
    assert fake.calls == []


def test_a_locked_command_names_the_owner(fake: Fake) -> None:
    fake.state({})
    fake.lock(4711, host="elsewhere")
    fake.answers = lambda _arguments: Completed("", "error: the stack is currently locked by 1 lock(s)", 255)
    with pytest.raises(LockedError) as caught:
        fake.engine.configure({"a:b": "c"})
    assert "alice@elsewhere (process 4711)" in caught.value.where


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("pulumi", "boto3", "rich", "grpc", "pydantic", "yaml")
    code = f"import sys, amianai_infra.engine; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_engine_itself_opens_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(tmp_path, monkeypatch)
    fake.engine.reach()
    assert fake.calls[-1][-1] == "whoami"
    fake.answers = lambda _: Completed("", "error: could not list bucket: api error NoSuchBucket: it does not exist", 1)
    fake.engine.reach()
    for said in (
        "assume role with MFA enabled, but AssumeRoleTokenProvider session option not set",
        "failed to load: CredentialsUnavailable",
    ):
        fake.answers = lambda _, said=said: Completed("", f"error: {said}", 255)  # type: ignore[misc]
        with pytest.raises(ForbiddenError, match="through the engine") as caught:
            fake.engine.reach()
        assert said in caught.value.where
