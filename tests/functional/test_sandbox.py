"""The sandbox itself: real emulator, real PostgreSQL, real provider; no engine and no stack.

What it cannot show: other users on the same machine, macOS, and a power cut (a kill is as near as a test gets).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from amianai_infra.errors import AmianaiError
from amianai_infra.progress import Progress
from amianai_infra.sandbox import Sandbox, SandboxTarget
from amianai_infra.sandbox import postgres as database
from amianai_infra.sandbox.processes import NAME_VARIABLE, ROOT_VARIABLE, birth, environment_of, port_owner
from amianai_infra.site.release import Publisher
from tests import warm
from tests.functional.site.site_world import outputs as site_outputs
from tests.functional.site.site_world import release_settings
from tests.project import checkout

QUIET = Progress(quiet=True)
AMIANAI = str(Path(sys.executable).with_name("amianai"))
PSQL = shutil.which("psql")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxTarget]:
    """A running sandbox, shared; tests that stop or kill it leave it running."""
    made = SandboxTarget(checkout(tmp_path_factory.mktemp("one") / "checkout"), QUIET)
    made.ready()
    yield made
    made.sandbox.reset(QUIET)


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Sandbox]:
    """Another checkout, not started."""
    made = Sandbox(checkout(tmp_path / "checkout"))
    yield made
    made.reset(QUIET)


def amianai(root: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "AMIANAI_ROOT": str(root), **extra}
    return warm.run([AMIANAI, "sandbox", *arguments], Path("/"), environ)


def pids(sandbox: Sandbox) -> dict[str, int | None]:
    return {service.name: service.pid for service in sandbox.status()}


def superuser(target: SandboxTarget) -> psycopg.Connection[Any]:
    place = database.locate(target.local)
    return psycopg.connect(
        host=str(place.sockets), port=target.sandbox.ports().postgres, user="postgres", dbname="postgres", autocommit=True
    )


@pytest.fixture(scope="module")
def application(target: SandboxTarget) -> str:
    """A role with a password, as the RDS resource makes one; gives the password."""
    password = "p:a\\ss'w"
    with superuser(target) as connection:
        connection.execute("CREATE ROLE application LOGIN PASSWORD 'p:a\\ss''w'")
        connection.execute("CREATE DATABASE product OWNER application")
    target.sandbox.project.keep_passwords(target.sandbox.ports().postgres, "product", {"application": password})
    return password


def psql(target: SandboxTarget, query: str, **extra: str) -> subprocess.CompletedProcess[str]:
    if PSQL is None:
        pytest.skip("psql is not installed")
    environ = {**os.environ, **target.sandbox.environment(), **extra}
    return subprocess.run([PSQL, "-XAtwc", query], env=environ, capture_output=True, text=True, check=False)


# ---- what runs


def test_three_daemons_on_loopback_only(target: SandboxTarget) -> None:
    services = target.sandbox.status()
    assert [(one.name, one.state) for one in services] == [(name, "running") for name in Sandbox.NAMES]
    assert all(one.memory and one.memory < 400_000_000 for one in services)
    ours = {one.pid for one in services}
    loopback = {"0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and port_owner(int(port, 16)) in ours:
                assert address in loopback, f"port {int(port, 16)} listens on more than loopback"


def test_starting_again_starts_nothing(target: SandboxTarget) -> None:
    before = pids(target.sandbox)
    target.ready()
    assert pids(target.sandbox) == before


def test_two_commands_at_once_start_it_once(second: Sandbox) -> None:
    command = [AMIANAI, "sandbox", "up"]
    environ = {**os.environ, "AMIANAI_ROOT": str(second.root)}
    both = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    shown = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], shown
    tables = [out.splitlines()[1:] for out, _ in shown]
    assert [line.split()[2] for line in tables[0]] == [line.split()[2] for line in tables[1]]


def test_ctrl_c_in_the_terminal_does_not_reach_the_daemons(target: SandboxTarget) -> None:
    for pid in pids(target.sandbox).values():
        assert pid is not None
        assert os.getsid(pid) != os.getsid(0)


def test_a_second_checkout_runs_beside_the_first(target: SandboxTarget, second: Sandbox) -> None:
    second.start(QUIET)
    assert not set(pids(second).values()) & set(pids(target.sandbox).values())
    other = SandboxTarget(second.root, QUIET)
    target.client("s3").create_bucket(Bucket="first-checkout")
    assert "first-checkout" not in [one["Name"] for one in other.client("s3").list_buckets()["Buckets"]]
    assert second.stop(QUIET) == list(Sandbox.NAMES)
    assert target.sandbox.serves(), "stopping one leaves the other alone"


def test_a_copy_of_a_running_checkout_starts_its_own_and_leaves_the_original_alone(
    target: SandboxTarget, application: str, tmp_path: Path
) -> None:
    target.client("s3").create_bucket(Bucket="of-the-original")
    before, ports, key = pids(target.sandbox), target.sandbox.ports(), target.sandbox.key()
    place = tmp_path / "copy"
    subprocess.run(("cp", "-a", str(target.root), str(place)), check=True)
    shown = amianai(place, "status")
    assert f"a copy of {target.root}" in shown.stderr
    assert shown.stdout.count("stopped") == 3, "the original's processes are not the copy's"
    copy = SandboxTarget(place, QUIET)
    try:
        copy.ready()
        assert pids(target.sandbox) == before
        assert not set(pids(copy.sandbox).values()) & set(before.values())
        assert not set(vars(copy.sandbox.ports()).values()) & set(vars(ports).values())
        assert copy.sandbox.key() != key
        assert copy.client("s3").list_buckets()["Buckets"] == []
        with superuser(copy) as connection:
            assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'application'").fetchone() is None
            connection.execute("CREATE ROLE of_the_copy")
        assert "a copy of" not in amianai(place, "status").stderr, "it is said once"
    finally:
        copy.sandbox.reset(QUIET)
    assert [one.name for one in copy.local.iterdir()] == ["lock"]
    assert pids(target.sandbox) == before
    assert target.sandbox.serves()
    assert (target.sandbox.ports(), target.sandbox.key()) == (ports, key)
    with superuser(target) as connection:
        assert connection.execute("SELECT rolname FROM pg_roles WHERE rolname IN ('application', 'of_the_copy')").fetchall() == [
            ("application",)
        ]
    target.client("s3").delete_bucket(Bucket="of-the-original")


@pytest.mark.soak
def test_a_moved_checkout_goes_on_with_its_data(second: Sandbox, tmp_path: Path) -> None:
    old = SandboxTarget(second.root, QUIET)
    old.ready()
    old.client("s3").create_bucket(Bucket="kept")
    with superuser(old) as connection:
        connection.execute("CREATE ROLE kept")
    before, ports = pids(second), second.ports()
    time.sleep(1.5)  # until the emulator has saved
    moved = tmp_path / "moved"
    second.root.rename(moved)
    new = SandboxTarget(moved, QUIET)
    try:
        new.ready()
        assert all(pid is not None and birth(pid) is None for pid in before.values()), "what ran on the old folder was ended"
        assert new.sandbox.ports() == ports
        assert [one["Name"] for one in new.client("s3").list_buckets()["Buckets"]] == ["kept"]
        with superuser(new) as connection:
            assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'kept'").fetchone() == (1,)
        assert not second.root.exists(), "the emulator that ended wrote nothing to where the checkout was"
        checkout(second.root)
        another = Sandbox(second.root)
        another.start(QUIET)
        assert database.locate(another.local).data != database.locate(new.local).data
        assert new.sandbox.serves()
        another.reset(QUIET)
        assert new.sandbox.serves()
    finally:
        new.sandbox.reset(QUIET)


@pytest.mark.parametrize(
    ("delay", "number"),
    [
        (0.5, signal.SIGINT),
        (1.2, signal.SIGKILL),
        pytest.param(0.5, signal.SIGKILL, marks=pytest.mark.soak),
        pytest.param(1.2, signal.SIGINT, marks=pytest.mark.soak),
    ],
)
def test_a_start_that_is_cut_off_is_finished_by_the_next(second: Sandbox, delay: float, number: signal.Signals) -> None:
    environ = {**os.environ, "AMIANAI_ROOT": str(second.root)}
    cut_off = subprocess.Popen([AMIANAI, "sandbox", "up"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    cut_off.send_signal(number)
    cut_off.wait(60)
    again = amianai(second.root, "up")
    assert again.returncode == 0, again.stderr
    assert second.serves()
    assert sorted(daemons_of(second.root)) == sorted(Sandbox.NAMES), "one of each, none left over"


def daemons_of(root: Path) -> list[str]:
    """Every daemon of this checkout on the whole machine, by name; their own children do not count."""
    started = {int(entry.name): environment_of(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    ours = {pid: environ[NAME_VARIABLE] for pid, environ in started.items() if environ.get(ROOT_VARIABLE) == str(root)}
    return [name for pid, name in ours.items() if parent(pid) not in ours]


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return pid  # it has ended meanwhile and does not count


# ---- it survives


def test_stop_and_start_lose_nothing(target: SandboxTarget, application: str) -> None:
    target.client("ssm").put_parameter(Name="/kept/stop", Value="yes", Type="String")
    target.client("s3").create_bucket(Bucket="kept")
    target.client("s3").put_object(Bucket="kept", Key="a/b", Body=b"data")
    with superuser(target) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    assert target.sandbox.stop(QUIET) == list(Sandbox.NAMES)
    assert [one.state for one in target.sandbox.status()] == ["stopped"] * 3
    target.ready()
    assert target.client("ssm").get_parameter(Name="/kept/stop")["Parameter"]["Value"] == "yes"
    assert target.client("s3").get_object(Bucket="kept", Key="a/b")["Body"].read() == b"data"
    with superuser(target) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


@pytest.mark.parametrize("name", Sandbox.NAMES)
def test_a_killed_daemon_is_started_again_and_nothing_else(target: SandboxTarget, name: str) -> None:
    target.client("ssm").put_parameter(Name=f"/kept/{name}", Value="yes", Type="String", Overwrite=True)
    with superuser(target) as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS kept_{name} AS SELECT 1 AS one")
        wait_for(lambda: saved(target, f"/kept/{name}"))
        before = pids(target.sandbox)
        victim = before[name]
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: birth(victim) is None)
        assert {one.name: one.state for one in target.sandbox.status()}[name] == "ended"
        target.ready()
    after = pids(target.sandbox)
    assert {one for one in Sandbox.NAMES if after[one] != before[one]} == {name}
    assert target.client("ssm").get_parameter(Name=f"/kept/{name}")["Parameter"]["Value"] == "yes"
    with superuser(target) as connection:
        assert connection.execute(f"SELECT one FROM kept_{name}").fetchone() == (1,)


def saved(target: SandboxTarget, parameter: str) -> bool:
    file = target.local / "emulator" / "state" / "ssm.json"
    return file.is_file() and parameter in file.read_text()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_all_killed_at_once(target: SandboxTarget) -> None:
    for pid in pids(target.sandbox).values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: {one.state for one in target.sandbox.status()} == {"ended"})
    target.ready()
    assert target.identity().account == "000000000000"


def test_reset_leaves_nothing(second: Sandbox) -> None:
    second.start(QUIET)
    place = database.locate(second.local)
    running = pids(second)
    second.reset(QUIET)
    assert [path.name for path in second.local.iterdir()] == ["lock"]
    assert not place.data.parent.exists()
    assert all(pid is not None and birth(pid) is None for pid in running.values())


# ---- ports


def test_a_port_that_is_asked_for_and_taken_names_who_has_it(second: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        refused = amianai(second.root, "up", AMIANAI_SANDBOX_PORT=str(port))
    assert refused.returncode == 2, refused.stderr
    assert str(port) in refused.stderr
    assert f"process {os.getpid()}" in refused.stderr
    assert [one.state for one in second.status()] == ["stopped"] * 3


def test_a_port_that_got_taken_moves_until_a_stack_depends_on_it(second: Sandbox) -> None:
    wanted = second.ports()
    with socket.create_server(("127.0.0.1", wanted.emulator)):
        stack = second.project.state / ".pulumi" / "stacks" / "amianai-infra" / "prod.json"
        stack.parent.mkdir(parents=True)
        stack.write_text("{}")
        refused = amianai(second.root, "up")
        assert refused.returncode == 2
        assert "the addresses of the stack in this sandbox contain it" in refused.stderr
        stack.unlink()
        second.start(QUIET)
        assert second.ports().emulator != wanted.emulator
        assert second.serves()


# ---- the database


def test_verify_full_connects_with_the_printed_environment(target: SandboxTarget, application: str) -> None:
    shown = psql(target, "SELECT current_user, current_database(), ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert (shown.returncode, shown.stdout) == (0, "application|product|t|TLSv1.3\n"), shown.stderr


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_both_names_are_verified(target: SandboxTarget, application: str, host: str) -> None:
    assert psql(target, "SELECT 1", PGHOST=host).stdout == "1\n"


def test_without_tls_it_is_refused(target: SandboxTarget, application: str) -> None:
    shown = psql(target, "SELECT 1", PGSSLMODE="disable")
    assert shown.returncode != 0
    assert "no encryption" in shown.stderr


def test_another_authority_is_not_trusted(target: SandboxTarget, application: str, second: Sandbox) -> None:
    from amianai_infra.sandbox.certificates import ensure_certificates

    shown = psql(target, "SELECT 1", PGSSLROOTCERT=str(ensure_certificates(second.local / "tls").ca))
    assert shown.returncode != 0
    assert "certificate verify failed" in shown.stderr


def test_a_wrong_password_is_refused(target: SandboxTarget, application: str) -> None:
    assert "authentication failed" in psql(target, "SELECT 1", PGPASSFILE="/dev/null", PGPASSWORD="wrong").stderr


def test_the_superuser_cannot_be_reached_over_the_network(target: SandboxTarget) -> None:
    assert "authentication failed" in psql(target, "SELECT 1", PGUSER="postgres", PGPASSWORD="x").stderr


def test_the_socket_is_ours_alone(target: SandboxTarget) -> None:
    place = database.locate(target.local)
    assert stat.S_IMODE(place.sockets.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.data.stat().st_mode) == 0o700
    assert (place.data / "server.key").stat().st_mode & 0o077 == 0


def test_the_extensions_of_the_application_are_there(target: SandboxTarget) -> None:
    with superuser(target) as connection:
        for name in ("pgcrypto", "uuid-ossp", "pg_stat_statements", "pg_trgm"):
            connection.execute(f'CREATE EXTENSION IF NOT EXISTS "{name}"')
        assert connection.execute("SELECT count(*) >= 0 FROM pg_stat_statements").fetchone() == (True,)


# ---- the emulator


def test_a_hostile_environment_changes_nothing(target: SandboxTarget, tmp_path: Path) -> None:
    hostile = {
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL": "https://127.0.0.1:9",
        "AWS_CA_BUNDLE": "/nowhere.pem",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SESSION_TOKEN": "real",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "AMIANAI_ROOT": str(target.root),
    }
    code = (
        "from pathlib import Path; import sys; from amianai_infra.sandbox import SandboxTarget; target = SandboxTarget(Path(sys.argv[1]));"
        "target.ready(); print(target.identity().arn); target.client('s3').list_buckets()"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, str(target.root)], env={**os.environ, **hostile}, capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stdout) == (0, "arn:aws:iam::000000000000:root\n"), shown.stderr


def status_of(target: SandboxTarget, path: str, method: str = "GET", **headers: str) -> int:
    port = target.sandbox.ports().emulator
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_anonymous_reads_and_foreign_pages_are_turned_away(target: SandboxTarget) -> None:
    store = target.client("s3")
    store.create_bucket(Bucket="private")
    store.put_object(Bucket="private", Key="key", Body=b"data")
    assert status_of(target, "/private/key") == 403
    assert status_of(target, "/private") == 403
    assert status_of(target, "/") == 403
    assert status_of(target, "/anyone", "PUT") == 403
    assert status_of(target, "/_ministack/reset", "POST") == 403
    assert status_of(target, "/_ministack/health") == 403


def test_policies_are_enforced(target: SandboxTarget) -> None:
    from botocore.exceptions import ClientError

    iam = target.client("iam")
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    import boto3

    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
    with pytest.raises(ClientError, match="AccessDenied"):
        session.client("s3", endpoint_url=target.endpoint("s3")).list_objects_v2(Bucket="private")


def test_it_does_not_come_up_says_why(second: Sandbox) -> None:
    second.local.mkdir()
    obstacle = second.local / "emulator"
    obstacle.write_text("in the way")
    shown = amianai(second.root, "up")
    obstacle.unlink()
    assert shown.returncode == 1
    assert "cannot write its files" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for little, mounted by root where that is possible."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield checkout(folder)
    Sandbox(folder).stop(QUIET)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_said_and_the_next_start_goes_on(small_disk: Path) -> None:
    amianai(small_disk, "env")
    with (small_disk / "filler").open("wb") as filler, pytest.raises(OSError, match="No space left"):
        filler.write(bytes(9_000_000))
    refused = amianai(small_disk, "up")
    assert refused.returncode == 1
    assert "cannot write its files: No space left on device" in refused.stderr
    (small_disk / "filler").unlink()
    shutil.rmtree(small_disk / ".sandbox")
    assert amianai(small_disk, "env").returncode == 0


def fill(folder: Path, left: int) -> Path:
    """Leave no more than that many bytes on the file system."""
    filler = folder / "filler"
    with contextlib.suppress(OSError):  # what somebody else wrote meanwhile is not left either
        filler.write_bytes(bytes(shutil.disk_usage(folder).free - left))
    return filler


def release(root: Path) -> str:
    """Deploy the site as it is; what came of it. In a process of its own, as commands run: the lock of one that ended is taken over."""
    target = SandboxTarget(root, QUIET)
    known = site_outputs()
    site = known.site.model_copy(update={"distribution_id": ""})
    outputs = known.model_copy(update={"account": target.identity().account, "site": site})
    try:
        done = Publisher(target, release_settings(), outputs, QUIET, verify=False).deploy(build=False)
    except AmianaiError as error:
        return str(error)
    return f"release {done.number}"


@pytest.mark.parametrize(
    "left", [pytest.param(0, id="full", marks=pytest.mark.soak), pytest.param(100_000, id="room for the records and for no file")]
)
def test_a_release_that_the_emulators_disk_does_not_hold_is_none(small_disk: Path, left: int) -> None:
    target = SandboxTarget(small_disk, QUIET)
    target.ready()
    target.client("s3").create_bucket(Bucket="site")
    site = small_disk / "site" / "out"
    site.mkdir(parents=True)
    (site / "index.html").write_bytes(os.urandom(800_000))
    filler = fill(small_disk, left)
    for _ in range(2):
        told = warm.call(release, small_disk)
        assert "The bucket has no room left" in told
        assert "No space left" in told
        assert str(target.local / "emulator") in told
        assert "retries" not in told, "it is not tried for minutes what cannot come to anything"
    listed = target.client("s3").list_objects_v2(Bucket="site").get("Contents", [])
    assert [one["Key"] for one in listed if "releases/" in one["Key"]] == []
    filler.unlink()
    assert warm.call(release, small_disk) == "release 1"
    target.sandbox.stop(QUIET)
    target.ready()
    kept = target.client("s3").get_object(Bucket="site", Key="index.html")["Body"].read()
    assert kept == (site / "index.html").read_bytes(), "it is there after the emulator's next start"


@pytest.fixture
def database_disk() -> Iterator[Path]:
    """A file system of its own that PostgreSQL's user may enter, too."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


def test_where_room_is_missing_for_the_database_no_reset_is_offered(second: Sandbox, database_disk: Path) -> None:
    second.local.mkdir(mode=0o711)
    (second.local / "postgres").symlink_to(database_disk / "postgres")
    second.start(QUIET)
    second.stop(QUIET)
    filler = fill(database_disk, 0)
    refused = amianai(second.root, "up")
    assert refused.returncode != 0
    assert "no room is left where it writes" in refused.stderr
    assert str(database_disk / "postgres") in refused.stderr
    assert "reset" not in refused.stderr
    filler.unlink()
    assert amianai(second.root, "up").returncode == 0


def test_a_read_only_folder_is_said(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for command in ("up", "env"):
        refused = amianai(small_disk, command)
        assert refused.returncode == 1
        assert "cannot write its files: Read-only file system" in refused.stderr
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


# ---- as a person types it


def test_the_printed_environment_works_in_a_shell(target: SandboxTarget) -> None:
    script = f'eval "$({AMIANAI} sandbox env)" && env'
    environ = {**os.environ, "AMIANAI_ROOT": str(target.root), "AWS_PROFILE": "production"}
    shown = subprocess.run(["sh", "-c", script], env=environ, cwd="/", capture_output=True, text=True, check=True)
    values = dict(line.partition("=")[::2] for line in shown.stdout.splitlines())
    assert "AWS_PROFILE" not in values
    assert values["AWS_ENDPOINT_URL"] == target.endpoint("s3")
    assert values["PGSSLROOTCERT"] == str(target.database_ca())


def test_status_and_logs(target: SandboxTarget) -> None:
    rows = json.loads(amianai(target.root, "status", "--json").stdout)
    assert {row["state"] for row in rows} == {"running"}
    assert "listening on IPv4 address" in amianai(target.root, "logs", "postgres", "-n", "1000").stdout


def test_logs_follow(target: SandboxTarget) -> None:
    command = [AMIANAI, "sandbox", "logs", "-f", "-n", "1", "postgres"]
    with subprocess.Popen(command, env={**os.environ, "AMIANAI_ROOT": str(target.root)}, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        follower.stdout.readline()
        with superuser(target) as connection:
            connection.execute("DO $$ BEGIN RAISE LOG 'followed'; END $$")
        assert "followed" in "".join(follower.stdout.readline() for _ in range(1))
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130


def test_an_emulator_that_was_killed_is_remembered_until_the_stack_was_compared(second: Sandbox) -> None:
    second.start(QUIET)
    second.stop(QUIET)
    second.start(QUIET)
    assert not second.may_have_forgotten
    os.kill(pids(second)["emulator"] or 0, signal.SIGKILL)
    while pids(second)["emulator"]:
        time.sleep(0.01)
    second.start(QUIET)
    assert second.may_have_forgotten
    second.stop(QUIET)
    second.start(QUIET)
    assert second.may_have_forgotten
    second.compared()
    assert not second.may_have_forgotten


def test_a_key_value_store_outlives_a_restart_and_another_of_its_name_begins_empty(second: Sandbox) -> None:
    second.start(QUIET)
    target = SandboxTarget(second.root)
    cloudfront, store = target.client("cloudfront"), target.client("cloudfront-keyvaluestore")
    arn = cloudfront.create_key_value_store(Name="x")["KeyValueStore"]["ARN"]
    etag = store.describe_key_value_store(KvsARN=arn)["ETag"]
    store.update_keys(KvsARN=arn, IfMatch=etag, Puts=[{"Key": "config", "Value": "ü"}])
    second.stop(QUIET)
    second.start(QUIET)
    assert store.list_keys(KvsARN=arn)["Items"] == [{"Key": "config", "Value": "ü"}]
    cloudfront.delete_key_value_store(Name="x", IfMatch=cloudfront.describe_key_value_store(Name="x")["ETag"])
    cloudfront.create_key_value_store(Name="x")
    assert store.list_keys(KvsARN=arn)["Items"] == []
