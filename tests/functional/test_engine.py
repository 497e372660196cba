"""The engine package with the real engine, on a pretend cloud: operations, failures, kills, locks, recovery.

What this cannot prove: that pulumi-aws reads every resource type by the identifiers `lookup.FINDERS` gives.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from amianai_infra.engine import Engine, Summary
from amianai_infra.errors import ConfigurationError, EngineError, LockedError, NotFoundError, RefusedError, UnreachableError
from amianai_infra.naming import TAG_URN
from amianai_infra.progress import Progress
from tests.functional.engine_cloud import Cloud, serving
from tests.functional.engine_program import make_engine, urn
from tests.project import trace

ROOT = Path(__file__).parents[2]
VPC0 = urn("aws:ec2/vpc:Vpc", "vpc0")
SUBNET0 = urn("aws:ec2/subnet:Subnet", "subnet0")


class Stage:
    """A home for one test: a cloud with its provider, and engines on it."""

    def __init__(self, home: Path, port: int, binary: Path) -> None:
        self.home = home
        self.port = port
        self.binary = binary
        self.cloud = Cloud(home / "cloud")
        self.screen = io.StringIO()

    def engine(self, *, shown: bool = False, **console: Any) -> Engine:
        progress = Progress(console=Console(file=self.screen, width=140, **console)) if shown else None
        return make_engine(self.home, self.port, self.binary, progress)

    def set(self, **settings: Any) -> None:
        (self.home / "program.json").write_text(json.dumps(settings))

    def knob(self, name: str, value: object = "") -> None:
        path = self.cloud.folder / name
        path.write_text(str(value)) if value else path.unlink(missing_ok=True)

    def start(self, operation: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.functional.engine_program", str(self.home), str(self.port), str(self.binary), operation]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))

    def lock_files(self) -> list[Path]:
        return sorted((self.home / "state" / ".pulumi" / "locks").rglob("*.json"))

    def engine_process(self) -> int:
        return int(json.loads(self.lock_files()[0].read_text())["pid"])

    def state(self) -> dict[str, Any]:
        path = self.home / "state" / ".pulumi" / "stacks" / "amianai-infra" / "prod.json"
        return dict(json.loads(path.read_text())["checkpoint"]["latest"])

    def wait(self, what: Callable[[], object], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "did not happen in time"
            time.sleep(0.05)

    def count(self, prefix: str) -> int:
        return sum(1 for identifier in self.cloud.all() if identifier.startswith(prefix))


@pytest.fixture
def stage(tmp_path: Path, engine_binary: Path) -> Iterator[Stage]:
    cloud = tmp_path / "cloud"
    cloud.mkdir()
    with serving(cloud) as port:
        yield Stage(tmp_path, port, engine_binary)


def test_life_cycle(stage: Stage) -> None:
    engine = stage.engine()
    assert not engine.exists()
    assert engine.resources() == []
    with pytest.raises(NotFoundError):
        engine.refresh()

    planned = engine.preview()
    assert planned.counts == {"create": 4}
    assert planned.changed
    assert stage.cloud.all() == {}

    made = engine.up()
    assert made.counts == {"create": 4}
    assert {step.name for step in made.steps} == {"vpc0", "vpc1", "subnet0", "subnet1"}
    assert engine.outputs()["vpc0"] in stage.cloud.all()
    assert {entry.name for entry in engine.resources() if entry.id} >= {"vpc0", "subnet1"}

    again = engine.up()
    assert not again.changed
    assert again.counts == {"same": 4}
    assert str(again).startswith("no changes")

    stage.set(size="2", vpcs=2)
    updated = engine.up()
    assert updated.counts == {"update": 2, "same": 2}
    assert {step.diffs for step in updated.steps} == {("size",)}

    stage.set(size="2", vpcs=2, force="2")
    announced = engine.preview()
    assert announced.counts == {"replace": 2, "update": 2}
    assert {step.op for step in announced.steps if step.type == "aws:ec2/vpc:Vpc"} == {"replace"}

    vpc = engine.outputs()["vpc0"]
    stage.cloud.put(vpc, "aws:ec2/vpc:Vpc", {**(stage.cloud.get(vpc) or {}), "size": "9"})
    drift = engine.refresh()
    assert drift.counts["update"] == 1
    assert drift.steps[0].name == "vpc0"
    stage.cloud.remove(vpc)
    assert engine.refresh().counts["delete"] == 1

    gone = engine.destroy()
    assert gone.counts == {"delete": 3}
    assert stage.cloud.all() == {}
    assert engine.exists()


def test_only_targets_are_touched_and_excluded_ones_stay(stage: Stage) -> None:
    engine = stage.engine()
    assert engine.up(targets=[VPC0, "**network:Network::**"]).counts["create"] == 1
    assert stage.count("vpc-") == 1
    assert stage.count("subnet-") == 0
    engine.up()
    left = engine.destroy(exclude=[urn("aws:ec2/subnet:Subnet", "subnet0")])
    assert left.counts == {"delete": 2, "same": 2}
    assert {entry.name for entry in engine.resources() if entry.type.startswith("aws:")} == {"vpc0", "subnet0"}
    assert stage.count("vpc-") == 1


def test_configuration_is_written_once_and_read_back(stage: Stage) -> None:
    engine = stage.engine()
    engine.configure({"amianai-infra:domainName": "example.com", "amianai-infra:siteConnectSrc": '["https://a.example"]'})
    assert engine.exists()
    assert engine.configuration()["amianai-infra:domainName"] == "example.com"
    assert engine.configuration()["amianai-infra:siteConnectSrc"] == '["https://a.example"]'
    file = stage.home / "project" / "Pulumi.prod.yaml"
    before = file.stat().st_mtime_ns
    engine.configure({"amianai-infra:domainName": "example.com"})
    assert file.stat().st_mtime_ns == before
    engine.configure({"amianai-infra:domainName": "example.org", "aws:region": "eu-west-1"}, exact=True)
    assert engine.configuration() == {"amianai-infra:domainName": "example.org", "aws:region": "eu-west-1"}


def test_plain_lines_name_what_changes_and_nothing_else(stage: Stage) -> None:
    engine = stage.engine(shown=True)
    engine.up()
    assert stage.screen.getvalue().count("+ created ec2 Vpc vpc0") == 1
    assert "+4 created in" in stage.screen.getvalue()
    stage.screen.truncate(0)
    engine.up()
    assert "vpc0" not in stage.screen.getvalue()
    assert "no changes, 4 resources" in stage.screen.getvalue()


def test_a_terminal_shows_a_table_and_leaves_the_changes(stage: Stage) -> None:
    stage.knob("slow", 1)
    stage.engine(shown=True, force_terminal=True).up()
    shown = stage.screen.getvalue()
    assert "creating" in shown
    assert "+ created ec2 Vpc vpc0" in shown
    assert "4 created" in shown


def test_a_failure_names_the_resource_and_keeps_what_was_done(stage: Stage) -> None:
    stage.knob("refuse", "subnet0")
    engine = stage.engine()
    with pytest.raises(EngineError) as caught:
        engine.up()
    assert "subnet0 (aws:ec2/subnet:Subnet)" in caught.value.where
    assert "QuotaExceeded: no room for subnet0" in caught.value.where
    assert "run the command again" in caught.value.fix
    stage.knob("refuse")
    engine.up()
    assert stage.count("vpc-") == stage.count("subnet-") == 2


def test_a_broken_program_is_reported_with_its_own_words(stage: Stage) -> None:
    stage.set(**{"raise": True})
    with pytest.raises(EngineError, match="the program is broken"):
        stage.engine().preview()


def test_our_own_errors_come_through_the_program_unchanged(stage: Stage) -> None:
    def broken() -> None:
        raise ConfigurationError("domain_name: not set")

    engine = stage.engine()
    engine._program = broken
    with pytest.raises(ConfigurationError, match="domain_name"):
        engine.preview()


def test_a_wrong_passphrase_is_a_configuration_error(stage: Stage) -> None:
    stage.engine().up()
    engine = stage.engine()
    engine._env["PULUMI_CONFIG_PASSPHRASE"] = "wrong"
    with pytest.raises(ConfigurationError, match="failed") as caught:
        engine.up()
    assert "passphrase" in caught.value.fix


def test_forgotten_resources_stay_in_the_cloud(stage: Stage) -> None:
    engine = stage.engine()
    engine.up()
    with pytest.raises(RefusedError):
        engine.forget(["urn:pulumi:prod::amianai-infra::amianai:network:Network::network"])
    engine.forget([VPC0])
    assert "vpc0" not in {entry.name for entry in engine.resources()}
    assert engine.destroy().counts == {"delete": 3}
    assert stage.count("vpc-") == 1


def kill_while_creating(stage: Stage, *, engine_too: bool) -> None:
    stage.knob("slow", 2)
    running = stage.start("up")
    stage.wait(lambda: stage.count("vpc-") == 2 and stage.state().get("pending_operations"))
    pid = stage.engine_process()
    os.kill(running.pid, signal.SIGKILL)
    if engine_too:
        os.kill(pid, signal.SIGKILL)
    running.communicate()
    if engine_too:
        time.sleep(2)  # the cloud finishes what was asked of it
    stage.knob("slow")


def assert_converged(stage: Stage, engine: Engine) -> None:
    assert stage.lock_files() == []
    assert not stage.state().get("pending_operations")
    assert not engine.up().changed
    assert stage.count("vpc-") == stage.count("subnet-") == 2
    assert all(entry.outputs.get("arn") for entry in engine.resources() if entry.type.startswith("aws:"))


def untouched(stage: Stage) -> Summary:
    """A preview, having seen that it wrote nothing but the engine's own log and the version of the engine."""
    engine, alive = stage.engine(shown=True), ("pulumi/logs", "cache/engine")
    for folder in alive:
        (stage.home / folder).mkdir(parents=True, exist_ok=True)
    before = trace(stage.home, *alive)
    planned = engine.preview()
    assert trace(stage.home, *alive) == before
    return planned


def test_a_preview_writes_nothing(stage: Stage) -> None:
    assert untouched(stage).counts == {"create": 4}
    assert not stage.engine().exists()
    stage.engine().up()
    assert untouched(stage).counts == {"same": 4}
    stage.set(size="2", vpcs=3)
    assert untouched(stage).counts == {"update": 2, "create": 2, "same": 2}


def test_a_state_that_only_the_engine_can_read_is_previewed_too(stage: Stage) -> None:
    stage.engine().up()
    engine = stage.engine()
    engine._files = None  # as for Pulumi Cloud
    assert engine.preview().counts == {"same": 4}


def test_a_preview_after_a_kill_tells_what_up_would_begin_with_and_leaves_it(stage: Stage) -> None:
    kill_while_creating(stage, engine_too=True)
    planned = untouched(stage)
    assert len(stage.lock_files()) == 1
    assert planned.counts == {"same": 2, "create": 2}, "what exists is adopted first, and not created again"
    assert "`up` would begin with what it left behind" in stage.screen.getvalue()
    assert stage.screen.getvalue().count("its creation was interrupted; adopted vpc-") == 2
    engine = stage.engine()
    engine.up()
    assert_converged(stage, engine)


def test_a_preview_waits_for_nobody_who_works(stage: Stage) -> None:
    stage.knob("slow", 4)
    running = stage.start("up")
    stage.wait(lambda: stage.count("vpc-") == 2 and stage.lock_files())
    with pytest.raises(LockedError):
        stage.engine().preview()
    running.communicate()


def test_after_kill_9_of_everything_nothing_is_created_twice(stage: Stage) -> None:
    kill_while_creating(stage, engine_too=True)
    assert len(stage.lock_files()) == 1
    engine = stage.engine()
    done = engine.recover()
    assert any("released the lock of" in line for line in done)
    assert sum("its creation was interrupted; adopted vpc-" in line for line in done) == 2
    assert engine.recover() == []
    engine.up()
    assert_converged(stage, engine)


def test_after_kill_9_of_the_command_the_engine_finishes_and_the_next_run_waits(stage: Stage) -> None:
    kill_while_creating(stage, engine_too=False)
    engine = stage.engine()
    assert len(stage.lock_files()) == 1, "the engine left behind is still at work"
    engine.up()
    assert_converged(stage, engine)


def test_what_was_not_created_yet_is_created_again(stage: Stage) -> None:
    kill_while_creating(stage, engine_too=True)
    for identifier in stage.cloud.all():
        stage.cloud.remove(identifier)
    engine = stage.engine()
    engine._patience = 1.0
    done = engine.recover()
    assert sum("it will be created again" in line for line in done) == 2
    engine.up()
    assert_converged(stage, engine)


def test_a_recovery_killed_half_way_is_finished_by_the_next_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_while_creating(stage, engine_too=True)
    engine = stage.engine()
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_operate", lambda *_, **__: pytest.fail("killed here", pytrace=False))
        with pytest.raises(pytest.fail.Exception):
            engine.recover()
    assert not stage.state().get("pending_operations")
    done = engine.recover()
    assert sum("was adopted but not read" in line for line in done) == 2
    engine.up()
    assert_converged(stage, engine)


def test_a_bucket_name_is_adopted_only_when_it_is_ours(stage: Stage) -> None:
    stage.set(vpcs=0, bucket="eeyore-site")
    stage.knob("slow", 2)
    running = stage.start("up")
    stage.wait(lambda: stage.count("eeyore") == 1 and stage.state().get("pending_operations"))
    os.kill(running.pid, signal.SIGKILL)
    os.kill(stage.engine_process(), signal.SIGKILL)
    running.communicate()
    stage.knob("slow")
    props = stage.cloud.get("eeyore-site") or {}
    stage.cloud.put("eeyore-site", "aws:s3/bucket:Bucket", {**props, "tags": {TAG_URN: "somebody else's"}})
    engine = stage.engine()
    engine._patience = 1.0
    assert "created again" in " ".join(engine.recover())
    assert not [entry for entry in engine.resources() if entry.name == "bucket"]


def test_what_the_service_shows_late_is_waited_for_and_not_created_again(stage: Stage) -> None:
    kill_while_creating(stage, engine_too=True)
    stage.knob("late", time.time() + 4)
    engine = stage.engine(shown=True)
    engine.up()
    assert "Looking for what an interrupted run was creating" in stage.screen.getvalue()
    assert stage.screen.getvalue().count("its creation was interrupted; adopted vpc-") == 2
    assert_converged(stage, engine)


@pytest.mark.parametrize("word", ["vpc1", "subnet0"])
def test_a_lost_answer_makes_nothing_twice(stage: Stage, word: str) -> None:
    stage.knob("lost", word)
    engine = stage.engine(shown=True)
    with pytest.raises(EngineError, match="Updating the stack failed"):
        engine.up()
    assert f"{word} (aws:ec2/" in stage.screen.getvalue()
    assert "its creation was interrupted; adopted" in stage.screen.getvalue()
    stage.knob("lost")
    engine.up()
    assert_converged(stage, engine)
    assert engine.destroy().counts == {"delete": 4}
    assert stage.cloud.all() == {}


def test_a_cloud_that_died_is_asked_by_the_next_run(stage: Stage) -> None:
    """Another process, after the service came back and while it still does not show what it has."""
    stage.knob("lost", "vpc")
    stage.knob("dead", 1)
    with pytest.raises(EngineError):
        stage.engine().up()
    assert stage.count("vpc-") == 2
    stage.knob("lost")
    with pytest.raises(UnreachableError):
        stage.engine().up()
    stage.knob("dead")
    assert untouched(stage).counts == {"same": 2, "create": 2}
    stage.knob("late", time.time() + 3)
    engine = stage.engine()
    engine.up()
    assert_converged(stage, engine)


def test_what_failed_and_was_never_made_is_created_without_waiting(stage: Stage) -> None:
    stage.knob("refuse", "vpc1")
    engine = stage.engine(shown=True)
    with pytest.raises(EngineError):
        engine.up()
    assert "interrupted" not in stage.screen.getvalue()
    stage.knob("refuse")
    began = time.monotonic()
    engine.up()
    assert time.monotonic() - began < 20
    assert_converged(stage, engine)


def test_what_exists_already_and_is_ours_is_adopted_and_up_goes_on(stage: Stage) -> None:
    stage.set(bucket="eeyore-logs")
    stage.cloud.put("eeyore-logs", "aws:s3/bucket:Bucket", {"bucket": "eeyore-logs"})  # came back after destroy, without tags
    engine = stage.engine(shown=True)
    engine.up()
    assert "going on" in stage.screen.getvalue()
    assert "bucket" in {entry.name for entry in engine.resources()}
    assert not engine.up().changed


def test_what_exists_already_and_is_somebody_elses_is_left_alone(stage: Stage) -> None:
    stage.set(bucket="eeyore-logs")
    stage.cloud.put("eeyore-logs", "aws:s3/bucket:Bucket", {"bucket": "eeyore-logs", "tags": {TAG_URN: "other"}})
    engine = stage.engine()
    with pytest.raises(EngineError) as caught:
        engine.up()
    assert "find out whose it is" in caught.value.fix
    engine._patience = 1.0
    engine.destroy()
    assert list(stage.cloud.all()) == ["eeyore-logs"]


def test_what_a_state_lost_is_adopted_and_not_made_twice(stage: Stage) -> None:
    """Before, `up` made second ones beside them without a word."""
    engine = stage.engine()
    engine.up()
    before = {entry.urn: entry.id for entry in engine.resources()}
    stage.cloud.put("eeyore-logs", "aws:s3/bucket:Bucket", {"bucket": "eeyore-logs", "tags": {TAG_URN: "somebody else's"}})
    engine.forget([VPC0, SUBNET0])
    there, state = set(stage.cloud.all()), stage.state()
    stage.set(vpcs=3, bucket="eeyore-logs")
    with engine.copy() as rehearsal:
        plan, existing = rehearsal.foresee()
    assert {one.urn: one.id for one in existing} == {VPC0: before[VPC0], SUBNET0: before[SUBNET0]}
    assert plan.counts == {"same": 4, "create": 3}, "what is new or somebody else's is no matter of adoption"
    assert stage.state() == state

    stage.set()
    engine.adopt(existing)
    (subnet,) = [entry for entry in stage.state()["resources"] if entry["urn"] == SUBNET0]
    assert VPC0 in subnet["dependencies"]
    assert not engine.up().changed
    assert {entry.urn: entry.id for entry in engine.resources()} == before
    assert set(stage.cloud.all()) == there


def test_one_press_of_ctrl_c_that_arrives_twice_stops_gracefully(stage: Stage) -> None:
    stage.knob("slow", 3)
    running = stage.start("up")
    stage.wait(lambda: stage.count("vpc-") == 2)
    running.send_signal(signal.SIGINT)
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    assert not stage.state().get("pending_operations")
    assert len([entry for entry in stage.state()["resources"] if entry["type"] == "aws:ec2/vpc:Vpc"]) == 2


def test_interrupted_updates_and_deletes_are_read_again(stage: Stage) -> None:
    engine = stage.engine()
    engine.up()
    stage.set(size="2", vpcs=2)
    stage.knob("slow", 2)
    running = stage.start("up")
    stage.wait(lambda: stage.state().get("pending_operations"))
    pid = stage.engine_process()
    os.kill(running.pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    running.communicate()
    stage.knob("slow")
    done = engine.recover()
    assert any("interrupted while updating" in line for line in done)
    assert not stage.state().get("pending_operations")
    engine.up()
    assert_converged(stage, engine)


def test_ctrl_c_finishes_what_is_under_way_and_saves_it(stage: Stage) -> None:
    stage.knob("slow", 2)
    running = stage.start("up")
    stage.wait(lambda: stage.count("vpc-") == 2)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert "interrupted" in out
    assert "Stopping: what is under way is finished and saved" in err
    assert stage.lock_files() == []
    assert not stage.state().get("pending_operations")
    assert len([entry for entry in stage.state()["resources"] if entry["type"] == "aws:ec2/vpc:Vpc"]) == 2
    stage.knob("slow")
    engine = stage.engine()
    engine.up()
    assert_converged(stage, engine)


def test_a_second_ctrl_c_ends_it_at_once_and_the_next_run_converges(stage: Stage) -> None:
    stage.knob("slow", 40)
    running = stage.start("up")
    stage.wait(lambda: stage.count("vpc-") == 2)
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    time.sleep(1.5)  # a busy machine may notice the first one late, and two within 0.25 s are one
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    assert time.monotonic() - began < 30
    stage.knob("slow")
    engine = stage.engine()
    engine.up()
    assert_converged(stage, engine)


def put_lock(stage: Stage, host: str, pid: int) -> None:
    folder = stage.home / "state" / ".pulumi" / "locks" / "organization" / "amianai-infra" / "prod"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).isoformat().replace("+00:00", "123Z")
    (folder / "0a1b.json").write_text(json.dumps({"pid": pid, "username": "alice", "hostname": host, "timestamp": stamp}))


def test_a_lock_on_another_machine_is_reported_and_released_only_on_request(stage: Stage) -> None:
    engine = stage.engine()
    engine.up()
    put_lock(stage, "elsewhere", 4711)
    with pytest.raises(LockedError) as caught:
        engine.up()
    assert "alice@elsewhere (process 4711)" in caught.value.where
    assert "amianai state unlock" in caught.value.fix
    (lock,) = engine.locks()
    assert lock.alive is None
    engine.unlock(lock)
    assert not engine.up().changed


def test_a_living_process_on_this_machine_keeps_its_lock(stage: Stage) -> None:
    engine = stage.engine()
    engine.up()
    put_lock(stage, socket.gethostname(), os.getpid())
    with pytest.raises(LockedError):
        engine.up()
    assert len(stage.lock_files()) == 1


def test_two_runs_at_once_one_is_refused(stage: Stage) -> None:
    stage.engine().configure({})
    stage.knob("slow", 2)
    first = stage.start("up")
    stage.wait(stage.lock_files)
    with pytest.raises(LockedError):
        stage.engine().up()
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert stage.count("vpc-") == 2


CHECKPOINT = Path("state/.pulumi/stacks/amianai-infra/prod.json")


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def empty(path: Path) -> None:
    path.write_bytes(b"")
    path.with_name(f"{path.name}.bak").write_bytes(b"")


def put_back_older(path: Path) -> None:
    history = path.parents[2] / "history" / "amianai-infra" / "prod"
    path.write_bytes(min(history.glob("*.checkpoint.json")).read_bytes())


def begin_anew(path: Path) -> None:
    path.write_text('{"version": 3, "checkpoint": {"stack": "organization/amianai-infra/prod"}}')


@pytest.mark.parametrize("harm", [lose, cut, empty, put_back_older, begin_anew])
def test_a_state_that_is_not_the_last_is_refused_and_restored(stage: Stage, harm: Callable[[Path], None]) -> None:
    """Before, `up` built a second stack beside the running one."""
    stage.engine().up()
    stage.set(vpcs=3)
    stage.engine().up()
    checkpoint = stage.home / CHECKPOINT
    good = json.loads(checkpoint.read_bytes())
    harm(checkpoint)
    before, there = trace(stage.home / "state"), set(stage.cloud.all())
    for attempt in ("preview", "up", "refresh", "destroy", "exists", "resources", "recover", "outputs"):
        with pytest.raises(RefusedError, match="amianai state restore") as caught:
            getattr(stage.engine(), attempt)()
        assert caught.value.exit_code == 3
        assert str(checkpoint) in caught.value.where
    with pytest.raises(RefusedError):
        stage.engine().configure({"amianai-infra:a": "b"})
    assert trace(stage.home / "state") == before, "nothing was written"
    engine = stage.engine()
    chosen = engine.copy_called(None)
    assert chosen.content.resources == 6
    assert chosen.copy.name in caught.value.where
    kept = engine.restore(chosen)
    assert bool(kept) is (harm is not lose)
    assert json.loads(checkpoint.read_bytes()) == good
    assert not stage.lock_files()
    assert stage.engine().preview().changed is False
    assert stage.engine().up().changed is False
    assert set(stage.cloud.all()) == there
    stage.engine().destroy()
    assert not stage.cloud.all()


@pytest.mark.parametrize("left", [b"", b'{"md5":'])
def test_attributes_that_a_killed_engine_left_half_written_stop_nothing(stage: Stage, left: bytes) -> None:
    """The engine reads no file beside which they are: "failed to load checkpoint: EOF", for ever."""
    stage.engine().up()
    for name in ("prod.json.attrs", "prod.json.bak.attrs"):
        (stage.home / CHECKPOINT).with_name(name).write_bytes(left)
    engine = stage.engine()
    assert engine.preview().changed is False
    engine.configure({"amianai-infra:a": "b"})
    assert engine.up().changed is False
    (stage.home / CHECKPOINT).with_name("prod.json.attrs").write_bytes(left)
    assert stage.engine().refresh().changed is False


def test_an_older_state_is_taken_when_somebody_says_so(stage: Stage) -> None:
    stage.engine().up()
    stage.set(vpcs=3)
    stage.engine().up()
    older = stage.engine().copies()[-1]
    assert older.content.resources == 4
    stage.engine().restore(older)
    assert stage.engine().preview().counts["create"] == 2
    put_back_older(stage.home / CHECKPOINT)
    stage.set(vpcs=2)
    stage.engine().up()
    newest = stage.engine().copies()[0]
    stage.engine().restore(newest)
    put_back_older(stage.home / CHECKPOINT)
    with pytest.raises(RefusedError, match="older than its own history"):
        stage.engine().preview()
    engine = stage.engine()
    assert engine.restore(engine.copy_called("present")) == ""
    assert stage.engine().preview().changed is False
    assert stage.engine().up().changed is False


def test_a_stack_that_was_destroyed_is_built_again_whatever_its_copies_hold(stage: Stage) -> None:
    stage.engine().up()
    stage.engine().destroy()
    (stage.home / CHECKPOINT).unlink()
    assert stage.engine().up().counts["create"] == 4


def test_a_state_is_not_restored_while_somebody_works(stage: Stage) -> None:
    stage.engine().up()
    engine = stage.engine()
    chosen = engine.copy_called(None)
    put_lock(stage, "elsewhere", 4711)
    before = trace(stage.home / "state")
    with pytest.raises(LockedError):
        engine.restore(chosen)
    cut(stage.home / CHECKPOINT)
    with pytest.raises(LockedError):
        stage.engine().preview()
    before.pop(str(CHECKPOINT.relative_to("state")), None)
    after = trace(stage.home / "state")
    after.pop(str(CHECKPOINT.relative_to("state")), None)
    assert after == before


@pytest.fixture
def small_disk(stage: Stage) -> Iterator[Path]:
    """A disk of its own below the state, that can be filled."""
    folder = stage.home / "state"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.soak
def test_a_disk_that_fills_up_is_told_at_once_the_last_whole_state_stays_and_others_hear_of_the_run(stage: Stage, small_disk: Path) -> None:
    stage.set(vpcs=1)
    stage.engine().up()
    stage.set(vpcs=2)
    stage.knob("slow", 8)
    running = stage.start("up")
    stage.wait(lambda: any("vpc1" in str(one["props"]) for one in stage.cloud.all().values()))
    filler = small_disk / "filler"
    checkpoint = small_disk / ".pulumi/stacks/amianai-infra/prod.json"

    def broken() -> bool:
        _fill(filler)  # again and again: the engine itself makes room by removing what it is done with
        return running.poll() is not None or not _understood(checkpoint)

    stage.wait(broken, 90)
    assert running.poll() is None, running.communicate()
    for attempt in ("up", "preview", "destroy", "resources"):
        with pytest.raises(LockedError, match=f"process {stage.engine_process()}"):
            getattr(stage.engine(), attempt)()
    _, said = running.communicate(timeout=120)
    assert f"the state's folder {small_disk} cannot be written: " in said
    assert said.index("cannot be written") < said.index("Error")
    assert "the last one that was whole is in its place again" in said
    assert "created ec2 Vpc vpc1" in said
    assert _understood(checkpoint)
    filler.unlink()
    stage.knob("slow")
    stage.engine().up()
    assert (stage.count("vpc-"), stage.count("subnet-")) == (2, 2)
    assert not stage.engine().preview().changed


def _fill(filler: Path) -> None:
    """Leave no room on its disk: large pieces first, then small ones."""
    with filler.open("ab", buffering=0) as full:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    full.write(bytes(size))


def _understood(checkpoint: Path) -> bool:
    try:
        return bool(json.loads(checkpoint.read_bytes()))
    except ValueError:
        return False
