"""The pulumi-aws plugin: what is downloaded is checked before the engine gets it, with a pretend engine and a server of our own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from amianai_infra.engine import driver, plugin
from amianai_infra.engine.plugin import archive_name, ensure_plugin, find_plugin, plugin_version, plugins_folder
from amianai_infra.errors import EngineError, RefusedError, UnreachableError
from amianai_infra.progress import Progress
from amianai_infra.target import EngineEnvironment
from tests.downloads import packed, serving

QUIET = Progress(quiet=True)
VERSION = "7.99.1"
# As the real one: unpacks what it is given into its folder of plugins, whatever lies there.
ENGINE = """#!/bin/sh
echo "$@" >> {log}
{body}
home=$PULUMI_HOME/plugins/resource-aws-v$5
rm -rf "$home" && mkdir -p "$home" && tar -xzf "$7" -C "$home"
"""


class Machine:
    """A machine with an engine, a cache and a folder of plugins of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "project"
        self.root.mkdir()
        self.log = folder / "log"
        self.binary = folder / "pulumi"
        self.engine()
        self.environ = {"PATH": "/usr/bin:/bin", "AMIANAI_CACHE": str(folder / "cache"), "PULUMI_HOME": str(folder / "home")}

    def engine(self, body: str = "") -> None:
        self.log.write_text("")
        self.binary.write_text(ENGINE.format(log=self.log, body=body))
        self.binary.chmod(0o755)

    def ensure(self, version: str = VERSION) -> Path:
        return ensure_plugin(QUIET, self.binary, self.root, self.environ, version)

    def installed(self, version: str = VERSION) -> Path:
        return self.folder / "home" / "plugins" / f"resource-aws-v{version}" / "pulumi-resource-aws"

    def seen(self) -> dict[str, str]:
        return dict(json.loads((self.root / "amianai.lock.json").read_text())["sha256"])

    def calls(self) -> int:
        return len(self.log.read_text().splitlines())


def archive(text: str = "#!/bin/sh\n") -> bytes:
    return packed({"pulumi-resource-aws": text})


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    files = {archive_name(VERSION): archive()}
    with serving(files) as address:
        monkeypatch.setattr(plugin, "_SOURCES", ("http://127.0.0.1:1", address))
        yield files


@pytest.fixture
def machine(tmp_path: Path, host: dict[str, bytes]) -> Machine:
    return Machine(tmp_path)


def test_it_is_downloaded_checked_and_handed_to_the_engine_once(machine: Machine, host: dict[str, bytes]) -> None:
    assert find_plugin(machine.environ, VERSION) is None
    assert machine.ensure() == machine.installed()
    assert machine.seen() == {archive_name(VERSION): hashlib.sha256(host[archive_name(VERSION)]).hexdigest()}
    assert machine.log.read_text().startswith(f"plugin install resource aws {VERSION} --file ")
    assert machine.ensure() == find_plugin(machine.environ, VERSION) == machine.installed()
    assert machine.calls() == 1
    assert [path.name for path in (machine.folder / "cache" / "engine").iterdir() if "building" in path.name] == []


def test_what_is_unpacked_is_closed_to_others(machine: Machine) -> None:
    machine.engine("umask 0")
    machine.ensure()
    assert machine.installed().stat().st_mode & 0o022 == 0
    assert machine.installed().parent.stat().st_mode & 0o022 == 0


def test_another_machine_refuses_another_archive_and_the_engine_never_sees_it(machine: Machine, host: dict[str, bytes]) -> None:
    machine.ensure()
    before = machine.seen()
    machine.environ |= {"AMIANAI_CACHE": str(machine.folder / "cache2"), "PULUMI_HOME": str(machine.folder / "home2")}
    host[archive_name(VERSION)] = archive("#!/bin/sh\ncurl http://evil\n")
    with pytest.raises(RefusedError, match="not the archive that this project was first set up with") as caught:
        machine.ensure()
    assert machine.calls() == 1
    assert not (machine.folder / "home2" / "plugins" / f"resource-aws-v{VERSION}").exists()
    assert machine.seen() == before
    assert before[archive_name(VERSION)] in str(caught.value)


def test_one_that_was_installed_for_another_project_is_held_against_the_lock_file(machine: Machine) -> None:
    machine.ensure()
    (machine.root / "amianai.lock.json").write_text(json.dumps({"sha256": {archive_name(VERSION): "0" * 64}}))
    with pytest.raises(RefusedError, match="first set up with"):
        machine.ensure()


def test_one_that_somebody_else_installed_is_replaced_by_one_that_was_checked(machine: Machine) -> None:
    machine.installed().parent.mkdir(parents=True)
    machine.installed().write_text("#!/bin/sh\necho fetched without a check\n")
    machine.installed().chmod(0o755)
    assert find_plugin(machine.environ, VERSION) is None
    machine.ensure()
    assert machine.installed().read_text() == "#!/bin/sh\n"


def test_one_that_was_exchanged_since_is_replaced(machine: Machine) -> None:
    machine.ensure()
    machine.installed().write_text("#!/bin/sh\necho other\n")
    machine.ensure()
    assert machine.installed().read_text() == "#!/bin/sh\n"
    assert machine.calls() == 2


def test_one_that_others_may_change_is_not_run(machine: Machine) -> None:
    machine.ensure()
    machine.installed().chmod(0o777)
    with pytest.raises(RefusedError, match=f"everybody may write to {machine.installed()}"):
        machine.ensure()


def test_one_on_path_is_the_users_own(machine: Machine, host: dict[str, bytes]) -> None:
    host.clear()
    own = machine.folder / "pulumi-resource-aws"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    machine.environ["PATH"] += f":{machine.folder}"
    assert machine.ensure() == own
    assert not (machine.root / "amianai.lock.json").exists()
    machine.environ["PULUMI_IGNORE_AMBIENT_PLUGINS"] = "true"
    with pytest.raises(UnreachableError):
        machine.ensure()


def test_without_a_host_it_says_where_it_looked_and_what_to_do(machine: Machine, host: dict[str, bytes]) -> None:
    host.clear()
    with pytest.raises(UnreachableError, match="cannot be downloaded") as caught:
        machine.ensure()
    assert caught.value.where.count(archive_name(VERSION)) == 2
    assert "on PATH" in caught.value.fix
    assert machine.calls() == 0


def test_a_full_disk_is_noticed_before_the_download(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "NEEDED_BYTES", 1 << 62)
    with pytest.raises(EngineError, match="MB are free"):
        machine.ensure()
    assert not (machine.root / "amianai.lock.json").exists()


def test_an_engine_that_does_not_take_it_is_quoted(machine: Machine) -> None:
    machine.engine("echo error: no space left on device >&2; exit 1")
    with pytest.raises(EngineError, match="does not take") as caught:
        machine.ensure()
    assert "no space left" in caught.value.where
    assert find_plugin(machine.environ, VERSION) is None


def test_the_folder_of_plugins_is_the_engines_own() -> None:
    assert plugins_folder({"PULUMI_HOME": "/elsewhere"}) == Path("/elsewhere/plugins")
    assert plugins_folder({}) == Path.home() / ".pulumi" / "plugins"


def test_before_an_operation_there_are_the_sdks_version_and_those_of_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, str]] = []
    monkeypatch.setattr(driver, "ensure_plugin", lambda _progress, _binary, root, _environ, version: asked.append((root, version)))

    def ask(variables: dict[str, str]) -> list[str]:
        asked.clear()
        environment = EngineEnvironment(tmp_path, f"file://{tmp_path}", "passphrase", variables)
        driver.Engine(environment, lambda: None, QUIET, Path("/bin/pulumi"), environ={}, root=tmp_path / "root")._ensure_plugins()
        assert {root for root, _ in asked} <= {tmp_path / "root"}
        return [version for _, version in asked]

    path = tmp_path / ".pulumi" / "stacks" / "amianai-infra" / "prod.json"
    path.parent.mkdir(parents=True)
    state = [
        {"urn": f"u::p::pulumi:providers:aws::{name}", "type": "pulumi:providers:aws", "inputs": {"version": version}}
        for name, version in {"one": "7.8.0", "two": plugin_version(), "odd": "../../7.1.1"}.items()
    ]
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": state}}}))
    assert ask({}) == sorted([plugin_version(), "7.8.0"])
    assert ask({"PULUMI_DEBUG_PROVIDERS": "aws:4711"}) == []
