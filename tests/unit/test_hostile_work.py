"""Hostile texts in what work reports while it runs, and in what it fails with."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from amianai_infra import printing
from amianai_infra.cli.main import report
from amianai_infra.engine.display import Lines, Live, Silent
from amianai_infra.engine.driver import Engine
from amianai_infra.engine.events import Item, Problem, Record
from amianai_infra.engine.failures import command_failure, failure
from amianai_infra.engine.process import Completed
from amianai_infra.errors import AmianaiError, BuildError, ConfigurationError
from amianai_infra.progress import Progress
from amianai_infra.rules.workflow import Workflow, render
from amianai_infra.site import build, preview
from amianai_infra.site.environment import Surroundings
from amianai_infra.site.lock import Lock
from amianai_infra.site.preview import Built, Change
from amianai_infra.site.release import commit_of
from amianai_infra.site.store import explained
from amianai_infra.site.tree import File, scan
from amianai_infra.target import aws_error
from tests.hostile import HOSTILE, faults
from tests.unit.site.test_lock import Store, a_lock, elsewhere

FILES = [text for text in HOSTILE if "\0" not in text and "/" not in text and len(text.encode("utf-8", "surrogatepass")) < 200]
"""Those that a file can be called; lone surrogates as the bytes that they stand for."""


def item(text: str, state: Any = "done") -> Item:
    return Item(text, text, text, "update", 0.0, 1.0, state, (text, text))


def told(error: AmianaiError) -> list[str]:
    """What is wrong with the error as a person sees it, and as a server's log has it."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", out)
        assert report(error) == error.exit_code
    return [*faults(out.getvalue()), *(one for one in faults(f"log: {error}") if not one.startswith("command"))]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_an_operation_on_the_screen(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, console = io.StringIO(), printing.screen(force_terminal=True, width=100, color_system=None)
    console.file = out
    for display in (Lines(Progress()), Live(Progress(console=console)), Silent()):
        record = Record("up", 3, display.changed, items={"a": item(text, "running")})
        display.begin(record)
        display.changed(item(text))
        display.changed(item(text, "failed"))
        display.tick()
        display.note(f"released the lock of {text}")
        if isinstance(display, Live):
            console.print(display._draw())
        display.end(None)
    assert faults(capsys.readouterr().err) == []
    signs = {sign for sign in out.getvalue() if not sign.isprintable()} - {"\n", "\r", "\x1b"}
    assert signs == set(), "rich moves the cursor by \\r and \\x1b alone"


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_the_engine_says_when_it_fails(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = Record("up")
    record.problems += [Problem(f"urn::a::aws:x:{text}::{text}", text), Problem("", f"{text}\n{text}")]
    for error in (
        failure("up", record, Completed("", "", 1)),
        failure("up", Record("up"), Completed(text, f"error: {text}", 1)),
        command_failure("Creating the stack", Completed(text, text, 1)),
    ):
        assert told(error) == []
    Progress().note(printing.under("warning: ", text))
    assert faults(capsys.readouterr().err) == []


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_aws_and_the_bucket_say(text: str) -> None:
    from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

    errors: list[AmianaiError] = [
        aws_error(ClientError({"Error": {"Code": code, "Message": text}}, text), f"reading {text}")
        for code in ("AccessDenied", "ExpiredToken", "NoSuchKey", text)
    ]
    errors += [aws_error(error, text) for error in (EndpointConnectionError(endpoint_url=text), NoCredentialsError(), ValueError(text))]
    errors += [explained(error, f"reading {text}", text) for error in (OSError(2, text), ValueError(text), FileNotFoundError(2, text))]
    assert [fault for error in errors for fault in told(error)] == []


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_who_holds_the_release_lock(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store()
    elsewhere(store, who=text, machine=text, born=text)
    store.now += 20
    with pytest.raises(AmianaiError) as refused:
        a_lock(store).acquire("deploy", 1)
    assert told(refused.value) == []
    store.now += 3600
    progress = Progress()
    assert Lock(store, progress.note, clock=lambda: store.now, sleep=store.sleep).acquire("deploy", 1) is not None
    shown = capsys.readouterr().err
    assert "Finishing what" in shown
    assert faults(shown) == []


def test_what_a_build_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "said").write_bytes("\n".join(HOSTILE).encode("utf-8", "surrogatepass") + b"\n\xff\xfe\x9b2J")
    site = build.Site(tmp_path, "cat said; exit 3", tmp_path / "web" / "out", {}, Surroundings.of({"PATH": os.defpath}, []))
    for cut in range(0, len(HOSTILE), 30):
        (tmp_path / "said").write_bytes("\n".join(HOSTILE[cut : cut + 30]).encode("utf-8", "surrogatepass") + b"\n\xff\xfe\x9b2J")
        with pytest.raises(BuildError) as caught:
            build.run(site, build.sources(site), "a", Progress(), tmp_path / "local")
        assert told(caught.value) == []
        assert "  | " in str(caught.value)
    assert faults(capsys.readouterr().err) == []


def test_names_of_files_and_what_links_lead_to(tmp_path: Path) -> None:
    for number, text in enumerate(FILES):
        root = tmp_path / str(number)
        root.mkdir()
        name = os.fsencode(root) + b"/" + text.encode("utf-8", "surrogateescape" if text.isascii() else "surrogatepass")
        os.symlink(b"/nowhere/" + os.path.basename(name), name + b"x")  # noqa: PTH211, PTH119
        with pytest.raises(BuildError) as caught:
            scan(root)
        assert told(caught.value) == [], ascii(text)


def test_what_git_says_need_be_no_text(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *words], check=True, capture_output=True)

    git("init")
    git("config", "core.quotePath", "false")
    git("commit", "--allow-empty", "-m", "x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")).touch()
    assert commit_of(tmp_path).endswith("+")


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_comment_on_a_pull_request(text: str) -> None:
    found = preview.report(Built("a", (File(text, 1, "e", "text/html"),)), [Change("new", text, 1)])
    for made in (found, preview.report(Built("a", ()), None, text)):
        assert faults("\n".join(map(printing.line, made.splitlines()))) == []
    assert found.count("```") == 2


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_workflow(text: str) -> None:
    values: dict[str, Any] = {"variables": {"NEXT_PUBLIC_A": text}, "output": text, "role_arn": text, "node_file": text}
    try:
        made = render(Workflow(domain="example.com", region="us-east-1", account="1", branch="main", environment="", **values))
    except ConfigurationError as error:
        assert told(error) == []
    else:
        assert [fault for fault in faults(made) if not fault.startswith("command")] == []


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_a_killed_run_left(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    made = SimpleNamespace(_clients=None, environment=SimpleNamespace(variables={}))
    Engine._look_up(made, SimpleNamespace(urn=f"a::{text}", type=text), lines)  # type: ignore[arg-type]
    Progress().note(lines)
    shown = capsys.readouterr().err
    assert "check in AWS" in shown
    assert faults(shown) == []
