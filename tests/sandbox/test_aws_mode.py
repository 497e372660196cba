"""AWS mode led to the emulator: a profile with MFA, a second machine without the stack file, another region, an older checkpoint, a zone
that exists, and a key of the state that is to be deleted. What this cannot prove: see tests/aws_mode.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.aws_mode import ALIAS, BUCKET, CHECKPOINT, DOMAIN, Cloud, Front, Machine, team_profile

pytestmark = pytest.mark.sandbox
SETUP = ("setup", "--no-deploy", "--no-wait", "--records", "none", "--yes")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("aws"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def front(cloud: Cloud) -> Iterator[Front]:
    made = Front(cloud.port, cloud.key)
    yield made
    made.close()


@pytest.fixture(scope="module")
def machine(cloud: Cloud, front: Front) -> Machine:
    """A machine from which the stack is set up, with the profile of a team: whatever is done is done with sessions of its role."""
    folder = cloud.folder / "ada"
    folder.mkdir()
    return Machine.new(folder, cloud, {**team_profile(cloud, folder), "AWS_ENDPOINT_URL": front.endpoint})


@pytest.mark.soak
def test_a_zone_that_exists_is_found_before_anything_is_made(cloud: Cloud, tmp_path: Path) -> None:
    other = Machine.new(tmp_path, cloud)
    route53 = cloud.client("route53")
    zone = route53.create_hosted_zone(Name=DOMAIN, CallerReference="the registrar")["HostedZone"]["Id"].removeprefix("/hostedzone/")
    before = cloud.made()
    refused = other.run(*SETUP, code=3)
    assert f"setup --set dns.zone_id={zone}`" in refused.stderr
    assert cloud.made() == before, "no second zone, no bucket, no key"
    assert BUCKET not in before["buckets"]
    route53.delete_hosted_zone(Id=zone)


def test_without_a_terminal_no_code_is_waited_for(machine: Machine, cloud: Cloud, front: Front) -> None:
    assert "there is no terminal" in machine.run(*SETUP, code=1).stderr
    assert front.codes == []
    assert not cloud.made()["networks"]


@dataclass(frozen=True)
class SetUp:
    """The stack after a set-up at a terminal.

    Attributes:
        machine: where.
        code: how the command ended.
        shown: what the terminal showed.
        callers: who the engine's provider was, each time it was started.
    """

    machine: Machine
    code: int
    shown: str
    callers: list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def stack(machine: Machine, cloud: Cloud) -> SetUp:
    cloud.callers()
    code, shown = machine.typed(*SETUP, answers={"MFA code of": "000001"})
    return SetUp(machine, code, shown, cloud.callers())


def test_a_profile_with_mfa_sets_the_stack_up_with_one_code(stack: SetUp, cloud: Cloud, front: Front) -> None:
    assert stack.code == 0, stack.shown
    assert stack.shown.count("MFA code of") == 1
    assert front.codes == ["000001"]
    ((method, caller, profile),) = set(stack.callers)
    assert method == "container-role"
    assert ":assumed-role/operators/" in caller
    assert profile == ""
    assert cloud.made()["databases"] == ["eeyore-postgres"]


def test_no_key_is_in_state_stack_file_or_log(stack: SetUp, cloud: Cloud, front: Front) -> None:
    s3, root = cloud.client("s3"), stack.machine.root
    kept = [s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    kept += [path.read_bytes() for folder in (root, root.parent / "home") for path in folder.rglob("*") if path.is_file()]
    assert len(kept) > 20
    secrets = [secret for one in front.sessions.values() for secret in (one.secret, one.token)]
    assert len(secrets) >= 4
    assert not [secret for secret in secrets if any(secret.encode() in text for text in kept) or secret in stack.shown]


def checkpoint(cloud: Cloud) -> bytes:
    return bytes(cloud.client("s3").get_object(Bucket=BUCKET, Key=CHECKPOINT)["Body"].read())


EVERY = (["up", "--yes"], ["preview"], [*SETUP])


def refuse(machine: Machine, *words: str, told: str, commands: Sequence[Sequence[str]] = EVERY[:1]) -> None:
    """Each command that plans or changes is refused in the same words, and nothing is made."""
    before = machine.cloud.made(), machine.file.exists() and machine.file.read_bytes(), checkpoint(machine.cloud)
    for command in commands:
        refused = machine.run(*words, *command, code=3).stderr
        assert told in refused
        assert "PASSPHRASE" not in refused
    assert (machine.cloud.made(), machine.file.exists() and machine.file.read_bytes(), checkpoint(machine.cloud)) == before


def beside(stack: SetUp, folder: Path) -> Machine:
    """Another machine, which has the stack file."""
    other = Machine.new(folder, stack.machine.cloud)
    other.file.write_bytes(stack.machine.file.read_bytes())
    return other


def put_older_back(cloud: Cloud) -> None:
    """Make the version before the last the present one, as somebody who restores the wrong one does."""
    s3 = cloud.client("s3")
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix=CHECKPOINT)["Versions"]
    older = next(one["VersionId"] for one in versions if one["Key"] == CHECKPOINT and not one["IsLatest"])
    s3.put_object(Bucket=BUCKET, Key=CHECKPOINT, Body=s3.get_object(Bucket=BUCKET, Key=CHECKPOINT, VersionId=older)["Body"].read())


def test_a_second_machine_without_the_stack_file_gets_it_from_the_state(stack: SetUp, tmp_path: Path, engine_binary: Path) -> None:
    second = Machine.new(tmp_path, stack.machine.cloud)
    second.file.unlink()
    refuse(second, told="it lacks secretsprovider, encryptedkey")
    assert not second.file.exists()
    second.run("config", "pull")
    assert yaml.safe_load(second.file.read_text()) == yaml.safe_load(stack.machine.file.read_text())
    assert not second.json("preview")["changed"]

    def engine(*words: str) -> subprocess.CompletedProcess[str]:
        state = second.environment({"PULUMI_BACKEND_URL": f"s3://{BUCKET}?region=us-east-1&awssdk=v2", "AWS_REGION": "us-east-1"})
        command = [str(engine_binary), *words, "--stack", "prod", "--non-interactive"]
        return subprocess.run(command, cwd=second.root, env=state, capture_output=True, text=True, check=False)

    assert engine("config", "set", "--secret", "note", "a secret of ours").returncode == 0
    assert "a secret of ours" not in second.file.read_text()
    assert engine("config", "get", "note").stdout.strip() == "a secret of ours"
    kms = stack.machine.cloud.client("kms")
    key = kms.describe_key(KeyId=ALIAS)["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=key)
    closed = engine("config", "get", "note")
    kms.enable_key(KeyId=key)
    assert closed.returncode != 0
    assert "DisabledException" in closed.stderr, "the key, not a passphrase, opens what the pulled lines name"


def test_another_region_is_refused(stack: SetUp, tmp_path: Path) -> None:
    refuse(beside(stack, tmp_path), "--set", "region=eu-west-1", told="region us-east-1, not eu-west-1")
    assert not stack.machine.cloud.client("kms", "eu-west-1").list_keys()["Keys"]


@pytest.mark.soak
def test_an_older_checkpoint_put_back_is_noticed_and_the_last_restored(stack: SetUp, cloud: Cloud, tmp_path: Path) -> None:
    other, last = beside(stack, tmp_path), checkpoint(cloud)
    put_older_back(cloud)
    assert checkpoint(cloud) != last
    refuse(other, told="amianai state restore")
    other.run("state", "restore", "--yes")
    assert checkpoint(cloud) == last


@pytest.mark.soak
def test_preview_and_setup_refuse_what_up_refuses(stack: SetUp, cloud: Cloud, tmp_path: Path) -> None:
    other = beside(stack, tmp_path)
    refuse(other, "--set", "region=eu-west-1", told="region us-east-1, not eu-west-1", commands=EVERY[1:])
    file = other.file.read_bytes()
    other.file.unlink()
    refuse(other, told="it lacks secretsprovider, encryptedkey", commands=EVERY[1:])
    other.file.write_bytes(file)
    put_older_back(cloud)
    refuse(other, told=f"s3://{BUCKET}/{CHECKPOINT}", commands=EVERY[1:])
    other.run("state", "restore", "--yes")
    assert not other.json("preview")["changed"]


@pytest.mark.soak
def test_sessions_that_end_are_renewed_without_another_code(stack: SetUp, front: Front) -> None:
    front.lifetime, before = 4.0, front.assumed()
    code, shown = stack.machine.typed("--set", "database.backup_days=9", "up", "--yes", answers={"MFA code of": "000002"})
    front.lifetime = 3600.0
    assert code == 0, shown
    assert front.codes[1:] == ["000002"]
    assert front.assumed() > before + 2
    assert "1 updated" in shown


@pytest.mark.soak
def test_a_key_that_is_to_be_deleted_is_named_and_kept_by_setup_alone(stack: SetUp, cloud: Cloud, tmp_path: Path) -> None:
    other, kms = beside(stack, tmp_path), cloud.client("kms")
    key = kms.describe_key(KeyId=ALIAS)["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    before = checkpoint(cloud)
    for command in (["preview"], ["--set", "database.backup_days=11", "up", "--yes"]):
        refused = other.run(*command, code=1).stderr
        assert "pending deletion" in refused
        assert "amianai setup" in refused
        assert "PASSPHRASE" not in refused
    assert f"{ALIAS} is pending deletion" in other.run("doctor", code=1).stdout
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert checkpoint(cloud) == before
    assert f"enabled the KMS key {ALIAS}, which was pending deletion" in other.run(*SETUP).stderr
    assert not other.json("preview")["changed"]
