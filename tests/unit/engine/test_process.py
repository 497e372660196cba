"""The engine's process: environment, output, end, interruption."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from amianai_infra.engine.process import alive, environment, run, started_at
from amianai_infra.errors import EngineError, MissingToolError

STUBBORN = "import signal,time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"
POLITE = "import time\ntry:\n time.sleep(60)\nexcept KeyboardInterrupt:\n print('saved', flush=True)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_target_decides_and_nothing_ambient_leaks() -> None:
    ambient = {
        "PATH": "/bin",
        "AWS_PROFILE": "prod",
        "PULUMI_BACKEND_URL": "s3://other",
        "PULUMI_DEBUG_PROVIDERS": "aws:1",
        "PULUMI_STACK": "dev",
        "PULUMI_ENABLE_LEGACY_PLUGIN_SEARCH": "1",
        "PULUMI_OPTION_CWD": "/elsewhere",
        "PULUMI_OPTION_TARGET": "urn:other",
        "PULUMI_CONFIG_PASSPHRASE": "mine",
    }
    made = environment(ambient, frozenset({"AWS_PROFILE"}), {"PULUMI_BACKEND_URL": "file:///state", "AWS_REGION": "eu-west-1"})
    assert made["PULUMI_BACKEND_URL"] == "file:///state"
    assert made["PULUMI_CONFIG_PASSPHRASE"] == "mine"
    assert made["AWS_REGION"] == "eu-west-1"
    assert not {"AWS_PROFILE", "PULUMI_DEBUG_PROVIDERS", "PULUMI_STACK", "PULUMI_ENABLE_LEGACY_PLUGIN_SEARCH"} & set(made)
    assert not [name for name in made if name.startswith("PULUMI_OPTION_")]
    assert made["PULUMI_SKIP_UPDATE_CHECK"] == "true"


@pytest.mark.parametrize("ambient", ["false", "0", ""])
def test_the_engine_never_fetches_a_plugin_by_itself(ambient: str) -> None:
    made = environment({"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": ambient}, frozenset(), {"AWS_REGION": "eu-west-1"})
    assert made["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"


def test_output_code_and_input(tmp_path: Path) -> None:
    seen: list[int] = []
    code = "import sys; print(sys.stdin.read(), 'ä'); print('oops', file=sys.stderr); sys.exit(3)"
    ended = run(python(code), cwd=tmp_path, env={"PYTHONIOENCODING": "utf-8"}, stdin="héllo", started=seen.append)
    assert (ended.stdout.strip(), ended.stderr.strip(), ended.code) == ("héllo ä", "oops", 3)
    assert len(seen) == 1


def test_what_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError) as missing:
        run([tmp_path / "pulumi"], cwd=tmp_path, env={})
    assert missing.value.where == str(tmp_path / "pulumi")
    with pytest.raises(MissingToolError) as nowhere:
        run(python(""), cwd=tmp_path / "project", env={})
    assert nowhere.value.where == str(tmp_path / "project")
    broken = tmp_path / "broken"
    broken.write_text("")
    with pytest.raises(EngineError):
        run([broken], cwd=tmp_path, env={})


def interrupt(after: float, number: int = signal.SIGINT) -> threading.Timer:
    timer = threading.Timer(after, os.kill, (os.getpid(), number))
    timer.start()
    return timer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_is_passed_on_once_and_waited_for(tmp_path: Path, number: int) -> None:
    told: list[str] = []
    handler = signal.getsignal(signal.SIGTERM)
    timer = interrupt(0.5, number)
    with pytest.raises(KeyboardInterrupt):
        run(python(POLITE), cwd=tmp_path, env={}, interrupted=lambda: told.append("stopping"))
    timer.join()
    assert told == ["stopping"]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_second_interrupt_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amianai_infra.engine.process._KILL_AFTER", 0.2)
    seen: list[int] = []
    timers = [interrupt(0.6), interrupt(3)]
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(python(STUBBORN), cwd=tmp_path, env={}, started=seen.append)
    assert time.monotonic() - began < 20
    assert not alive(seen[0])
    for timer in timers:
        timer.join()


def test_the_engine_does_not_share_our_process_group(tmp_path: Path) -> None:
    """Else a Ctrl-C in the terminal would reach it twice: once from the terminal, once from us."""
    ended = run(python("import os; print(os.getpgid(0))"), cwd=tmp_path, env={})
    assert int(ended.stdout) != os.getpgid(0)


def test_a_living_process_has_a_start() -> None:
    assert alive(os.getpid())
    began = started_at(os.getpid())
    assert began is None or abs(time.time() - began) < 86400
    assert started_at(2**22 + 1) is None
    assert not alive(2**22 + 1)
