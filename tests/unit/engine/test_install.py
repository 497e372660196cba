"""Finding and installing the engine, with a pretend `pulumi`, a pretend Go and a download server of our own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import resources
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from amianai_infra.engine import install
from amianai_infra.engine.install import VERSION, BuildMeter, engine_version, ensure_engine, find_engine, go_needed, release_name
from amianai_infra.errors import ConfigurationError, EngineError, MissingToolError, RefusedError, UnreachableError
from amianai_infra.folders import locked
from amianai_infra.progress import Progress
from tests.downloads import packed, serving

QUIET = Progress(quiet=True)
PULUMI = "#!/bin/sh\necho asked >> {log}\necho v{version}\n"
GO = """#!/bin/sh
case "$1" in
  env) printf 'go{version}\\n{toolchain}\\n' ;;
  build)
    echo "$@" >> {log}
    pwd >> {log}
    echo "CGO_ENABLED=$CGO_ENABLED" >> {log}
    while [ "$1" != -o ]; do shift; done
    echo "go: downloading github.com/a/b v1.2.3" >&2
    echo "github.com/a/b" >&2
    {body}
    printf '#!/bin/sh\\necho v{engine}\\n' > "$2"
    chmod +x "$2" ;;
esac
"""


class Machine:
    """A machine with a PATH of its own and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.root = folder / "project"
        self.root.mkdir()
        self.log = folder / "log"
        self.log.write_text("")
        self.cache = folder / "cache"
        self.environ = {"PATH": f"{self.bin}:/usr/bin:/bin", "AMIANAI_CACHE": str(self.cache), "HOME": str(folder)}

    def program(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def pulumi(self, version: str) -> Path:
        return self.program("pulumi", PULUMI.format(log=self.log, version=version))

    def go(self, *, version: str = "1.99.0", toolchain: str = "auto", body: str = "", engine: str = VERSION) -> Path:
        return self.program("go", GO.format(log=self.log, version=version, toolchain=toolchain, body=body, engine=engine))

    def installed(self) -> Path:
        return self.cache / "engine" / VERSION / "pulumi"

    def leftovers(self) -> list[Path]:
        return list((self.cache / "engine").glob("building-*"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(install, "_RELEASES", "http://127.0.0.1:1")  # nobody listens there
    return Machine(tmp_path)


def test_one_on_path_is_taken_and_asked_once(machine: Machine) -> None:
    path = machine.pulumi("3.300.0")
    assert find_engine(machine.environ) == path
    assert ensure_engine(QUIET, machine.root, machine.environ) == path
    assert engine_version(path, machine.environ) == "3.300.0"
    assert machine.log.read_text().count("asked") == 1


def test_an_old_or_broken_one_on_path_is_passed_over(machine: Machine) -> None:
    machine.pulumi("3.205.9")
    assert find_engine(machine.environ) is None
    machine.program("pulumi", "#!/bin/sh\nexit 1\n")
    assert find_engine(machine.environ) is None
    machine.go()
    assert ensure_engine(QUIET, machine.root, machine.environ) == machine.installed()


def test_a_replaced_executable_is_asked_again(machine: Machine) -> None:
    engine_version(machine.pulumi("3.300.0"), machine.environ)
    assert engine_version(machine.pulumi("3.301.10"), machine.environ) == "3.301.10"


def test_an_unreadable_memory_does_no_harm(machine: Machine) -> None:
    machine.cache.mkdir()
    (machine.cache / "engine").write_text("not a folder")
    assert engine_version(machine.pulumi("3.300.0"), machine.environ) == "3.300.0"


def test_it_is_built_where_the_official_host_does_not_answer(machine: Machine) -> None:
    machine.go()
    assert ensure_engine(QUIET, machine.root, machine.environ) == machine.installed()
    assert find_engine(machine.environ) == machine.installed()
    assert engine_version(machine.installed(), machine.environ) == VERSION
    assert f"version.Version={VERSION}" in machine.log.read_text()
    assert "CGO_ENABLED=0" in machine.log.read_text()
    assert machine.leftovers() == []


def test_without_go_the_fix_names_both_ways(machine: Machine, tmp_path: Path) -> None:
    machine.environ["PATH"] = str(machine.bin)
    with pytest.raises(MissingToolError) as caught:
        ensure_engine(QUIET, machine.root, machine.environ)
    assert f"install Go {go_needed()}" in caught.value.fix
    assert "Pulumi CLI" in caught.value.fix


@pytest.mark.parametrize(("version", "toolchain"), [("1.20.1", "auto"), ("1.25.0", "local"), ("", "local")])
def test_a_go_that_is_too_old(machine: Machine, version: str, toolchain: str) -> None:
    machine.go(version=version, toolchain=toolchain)
    with pytest.raises(MissingToolError, match=f"needs Go {go_needed()}"):
        ensure_engine(QUIET, machine.root, machine.environ)


def test_an_older_go_may_fetch_a_newer_one_itself(machine: Machine) -> None:
    machine.go(version="1.22.3", toolchain="auto")
    assert ensure_engine(QUIET, machine.root, machine.environ) == machine.installed()


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
    [
        ("write /tmp/x: no space left on device", EngineError, "GB"),
        ("dial tcp: lookup modules.example: no such host", UnreachableError, "GOPROXY"),
        ("verifying module: checksum mismatch", EngineError, "pinned"),
        ("compile: signal: killed", EngineError, "memory"),
        ("something else went wrong", EngineError, "Pulumi CLI"),
    ],
)
def test_a_failed_build_says_why_and_leaves_nothing(machine: Machine, said: str, kind: type[Exception], hint: str) -> None:
    machine.go(body=f'echo "{said}" >&2; exit 1')
    with pytest.raises(kind) as caught:
        ensure_engine(QUIET, machine.root, machine.environ)
    assert said in str(caught.value)
    assert hint in str(caught.value)
    assert not machine.installed().exists()
    assert machine.leftovers() == []


def test_a_full_disk_is_noticed_before_the_build(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.go()
    monkeypatch.setattr(install, "_NEEDED_BYTES", 1 << 62)
    with pytest.raises(EngineError, match="MB are free"):
        ensure_engine(QUIET, machine.root, machine.environ)
    assert machine.log.read_text() == ""


def test_a_cache_that_cannot_be_written(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine.environ["AMIANAI_CACHE"] = str(tmp_path / "file" / "cache")
    machine.go()
    with pytest.raises(EngineError, match="cache cannot be written"):
        ensure_engine(QUIET, machine.root, machine.environ)


def test_a_build_that_does_not_run_is_not_installed(machine: Machine) -> None:
    machine.go(engine="nonsense")
    with pytest.raises(EngineError):
        ensure_engine(QUIET, machine.root, machine.environ)
    assert not machine.installed().exists()


def test_a_kill_in_the_middle_leaves_nothing_that_looks_finished(machine: Machine) -> None:
    machine.go(body="sleep 30")
    code = (
        "import os; from pathlib import Path; from amianai_infra.engine import *; from amianai_infra.progress import Progress; "
        "ensure_engine(Progress(), Path(), os.environ)"
    )
    environ = {**machine.environ, "PYTHONPATH": str(Path.cwd())}
    child = subprocess.Popen([sys.executable, "-c", code], env=environ, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while "build" not in machine.log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert machine.leftovers()
    assert find_engine(machine.environ) is None
    machine.go()
    assert ensure_engine(QUIET, machine.root, machine.environ) == machine.installed()
    assert machine.leftovers() == []


def test_two_at_once_build_once(machine: Machine) -> None:
    machine.go(body="sleep 1")
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(ensure_engine(QUIET, machine.root, machine.environ))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [machine.installed()] * 3
    assert machine.log.read_text().count("build -v") == 1


def test_the_wait_for_another_installation_is_seen_to_go_on(machine: Machine) -> None:
    """In a terminal with the seconds that run, elsewhere with those it took."""
    machine.go()
    lock = machine.cache / "engine" / "lock"
    lock.parent.mkdir(parents=True)
    screen = StringIO()
    seen = Progress(console=Console(file=screen, force_terminal=True, width=100, color_system=None))
    waiter = threading.Thread(target=lambda: ensure_engine(seen, machine.root, machine.environ))
    title = "Waiting for another process that installs the Pulumi engine"
    with locked(lock):
        waiter.start()
        patience = time.monotonic() + 30
        while f"{title}" not in screen.getvalue() or "0:00:01" not in screen.getvalue():
            assert time.monotonic() < patience, screen.getvalue()
            time.sleep(0.02)
    waiter.join()
    assert f"✓ {title}" in screen.getvalue()
    assert machine.installed().exists()


def release(version: str = VERSION) -> bytes:
    return packed({f"pulumi/{name}": f"#!/bin/sh\necho v{version}\n" for name in ("pulumi", "pulumi-language-python")})


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    files: dict[str, bytes] = {}
    with serving(files) as address:
        monkeypatch.setattr(install, "_RELEASES", address)
        yield files


def publish(files: dict[str, bytes], content: bytes, claimed: bytes | None = None) -> None:
    files[release_name()] = content
    digest = hashlib.sha256(claimed or content).hexdigest()
    files[f"pulumi-{VERSION}-checksums.txt"] = f"{'0' * 64}  pulumi-v{VERSION}-windows-x64.zip\n{digest}  {release_name()}\n".encode()


def test_the_official_release_comes_first_with_its_language_hosts(tmp_path: Path, host: dict[str, bytes]) -> None:
    machine = Machine(tmp_path)
    publish(host, release())
    assert ensure_engine(QUIET, machine.root, machine.environ) == machine.installed()
    assert (machine.installed().parent / "pulumi-language-python").exists()
    assert machine.leftovers() == []


def test_a_download_that_was_changed_is_never_installed(tmp_path: Path, host: dict[str, bytes]) -> None:
    machine = Machine(tmp_path)
    machine.go()
    publish(host, release(), claimed=b"the real one")
    with pytest.raises(EngineError, match="does not match its checksum"):
        ensure_engine(QUIET, machine.root, machine.environ)
    assert not machine.installed().exists()


def seen(machine: Machine) -> object:
    return json.loads((machine.root / "amianai.lock.json").read_text())


def test_the_first_release_that_is_seen_is_kept_in_the_project(tmp_path: Path, host: dict[str, bytes]) -> None:
    machine = Machine(tmp_path)
    archive = release()  # gzip writes the time into each
    publish(host, archive)
    ensure_engine(QUIET, machine.root, machine.environ)
    assert seen(machine) == {"sha256": {release_name(): hashlib.sha256(archive).hexdigest()}}


def test_another_machine_refuses_another_release_though_its_host_vouches_for_it(tmp_path: Path, host: dict[str, bytes]) -> None:
    machine = Machine(tmp_path)
    machine.go()
    publish(host, release())
    ensure_engine(QUIET, machine.root, machine.environ)
    before = seen(machine)
    machine.environ["AMIANAI_CACHE"] = str(tmp_path / "elsewhere")
    publish(host, release() + b"more")
    with pytest.raises(RefusedError, match="not the archive that this project was first set up with") as caught:
        ensure_engine(QUIET, machine.root, machine.environ)
    assert str(machine.root / "amianai.lock.json") in caught.value.where
    assert find_engine(machine.environ) is None
    assert seen(machine) == before


def test_what_another_project_downloaded_is_held_against_the_lock_file(tmp_path: Path, host: dict[str, bytes]) -> None:
    machine = Machine(tmp_path)
    publish(host, release())
    ensure_engine(QUIET, machine.root, machine.environ)
    lock = machine.root / "amianai.lock.json"
    lock.unlink()
    host.clear()
    ensure_engine(QUIET, machine.root, machine.environ)
    assert release_name() in lock.read_text()
    lock.write_text(json.dumps({"sha256": {release_name(): "0" * 64}}))
    with pytest.raises(RefusedError, match="first set up with"):
        ensure_engine(QUIET, machine.root, machine.environ)


def test_what_is_built_here_is_pinned_already_and_needs_no_lock_file(machine: Machine) -> None:
    machine.go()
    ensure_engine(QUIET, machine.root, machine.environ)
    assert list(machine.root.iterdir()) == []


def test_a_lock_file_that_says_nothing_is_not_passed_over(tmp_path: Path, host: dict[str, bytes]) -> None:
    machine = Machine(tmp_path)
    publish(host, release())
    (machine.root / "amianai.lock.json").write_text("<<<<<<< HEAD")
    with pytest.raises(ConfigurationError, match="lock file cannot be understood"):
        ensure_engine(QUIET, machine.root, machine.environ)
    assert not machine.installed().exists()


@pytest.mark.parametrize("which", ["cache", "cache/engine", "cache/engine/{version}", "cache/engine/{version}/pulumi"])
def test_an_engine_that_others_may_change_is_not_run(machine: Machine, tmp_path: Path, which: str) -> None:
    machine.go()
    ensure_engine(QUIET, machine.root, machine.environ)
    path = tmp_path / which.format(version=VERSION)
    path.chmod(0o777)
    with pytest.raises(RefusedError, match=f"everybody may write to {path}"):
        find_engine(machine.environ)
    with pytest.raises(RefusedError, match=f"everybody may write to {path}"):
        ensure_engine(QUIET, machine.root, machine.environ)


def test_nothing_is_installed_into_a_cache_that_others_may_change(machine: Machine) -> None:
    machine.go()
    machine.cache.mkdir()
    machine.cache.chmod(0o777)
    with pytest.raises(RefusedError, match="everybody may write"):
        ensure_engine(QUIET, machine.root, machine.environ)
    assert machine.log.read_text() == ""


def test_without_checksums_it_is_built_instead(tmp_path: Path, host: dict[str, bytes]) -> None:
    machine = Machine(tmp_path)
    machine.go()
    host[release_name()] = release("9.9.9")
    ensure_engine(QUIET, machine.root, machine.environ)
    assert engine_version(machine.installed(), machine.environ) == VERSION


class Meter:
    def __init__(self) -> None:
        self.amount, self.done, self.said = 0, 0, ""

    def total(self, amount: int) -> None:
        self.amount = amount

    def advance(self, amount: int = 1) -> None:
        self.done += amount

    def say(self, text: str) -> None:
        self.said = text


def test_the_bar_counts_modules_and_then_packages() -> None:
    seen = Meter()
    meter = BuildMeter(seen)
    meter.line("go: downloading github.com/a/b v1.2.3")
    assert (seen.done, seen.said) == (1, "module 1: github.com/a/b")
    meter.line("github.com/a/b")
    meter.line("# warning of the linker")
    assert seen.done == 255
    assert seen.said.startswith("package 1/")
    assert seen.amount > 1900


def test_the_module_pins_the_version_that_is_built() -> None:
    text = (resources.files("amianai_infra.engine") / "gomodule" / "go.mod").read_text()
    assert f"github.com/pulumi/pulumi/pkg/v3 v{VERSION}" in text
    assert "tool github.com/pulumi/pulumi/pkg/v3/cmd/pulumi" in text
    assert (resources.files("amianai_infra.engine") / "gomodule" / "go.sum").is_file()


def test_the_memory_of_versions_is_plain(machine: Machine) -> None:
    path = machine.pulumi("3.300.0")
    engine_version(path, machine.environ)
    (remembered,) = json.loads((machine.cache / "engine" / "versions.json").read_text()).values()
    assert remembered == "3.300.0"
    assert [path.name for path in (machine.cache / "engine").iterdir()] == ["versions.json"]
