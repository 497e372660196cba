"""The one module that prints, and that there is no other."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

import amianai_infra
from amianai_infra import printing
from amianai_infra.progress import Progress
from tests.hostile import HOSTILE, faults

PACKAGE = Path(amianai_infra.__file__).parent
ANYTHING = st.text(st.characters(exclude_categories=())) | st.sampled_from(HOSTILE)


def test_there_are_more_than_two_hundred_of_them() -> None:
    assert len(set(HOSTILE)) > 200


@given(ANYTHING)
def test_a_value_is_on_one_line_and_prints(text: str) -> None:
    assert printing.printable(text).isprintable()
    assert printing.printable(printing.printable(text)) == printing.printable(text)
    assert printing.printable(text) == text or not text.isprintable()


@given(st.lists(ANYTHING, max_size=5))
def test_a_text_has_as_many_lines_as_it_was_given(lines: list[str]) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        printing.show(lines)
    assert out.getvalue().count("\n") == len(lines)
    assert [one for one in faults(out.getvalue()) if not one.startswith("forged")] == []


@given(ANYTHING)
def test_what_others_wrote_in_several_lines_begins_none(text: str) -> None:
    for lines in (printing.quoted(text), printing.under("where: ", text)):
        assert faults("\n".join(map(printing.line, lines))) == []


@given(st.lists(st.tuples(ANYTHING, ANYTHING), min_size=1, max_size=4))
def test_a_row_of_a_table_is_one_line_and_columns_are_aligned(rows: list[tuple[str, str]]) -> None:
    lines = printing.table([("A", "B"), *rows], "| ")
    assert len(lines) == 1 + len(rows)
    assert faults("\n".join(map(printing.line, lines))) == []
    assert all(line[lines[0].index("B") - 1 : lines[0].index("B")] in (" ", "") for line in lines)


@given(st.recursive(ANYTHING, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner, max_size=3)))
def test_json_is_the_same_data_after_it_was_printed(data: object) -> None:
    text = [printing.line(one) for one in json.dumps(data, indent=2).split("\n")]
    assert faults("\n".join(text)) == []
    assert json.loads("\n".join(text)) == json.loads(json.dumps(data))


def test_an_output_that_knows_few_signs_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    printing.show("✓ ü")
    assert raw.getvalue() == b"\\u2713 \\xfc\n"


def terminal() -> tuple[io.StringIO, Console]:
    out, console = io.StringIO(), printing.screen(force_terminal=True, width=80, color_system=None)
    console.file = out
    return out, console


def drawn(out: io.StringIO) -> str:
    """Without what rich itself writes."""
    return out.getvalue().replace("\x1b[?25l", "").replace("\x1b[?25h", "").replace("\x1b[2K", "").replace("\x1b[1A", "").replace("\r", "")


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_is_drawn_holds_no_escape_but_richs_own(text: str) -> None:
    out, console = terminal()
    printing.draw(console, ("a ", "red"), text, (text, "dim"))
    console.print(Text(text))
    grid = Table.grid()
    grid.add_row(Text("a"), Text(text))
    with Live(grid, console=console, transient=True, auto_refresh=False):
        pass
    assert [one for one in faults(drawn(out)) if one.startswith("sign")] == []


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_progress_is_harmless_in_a_terminal_and_elsewhere(text: str, live: bool, capsys: pytest.CaptureFixture[str]) -> None:
    out, console = terminal()
    progress = Progress(console=console if live else None)
    progress.note(f"took it over from {text}")
    progress.note([f"one {text}", f"two {text}"])
    with progress.task(f"Upload of {text}") as task:
        task.say(text)
    shown = drawn(out) if live else capsys.readouterr().err
    assert "took it over from" in shown
    # A terminal breaks lines that are too long for it, wherever they are from.
    assert [one for one in faults(shown) if not (live and one.startswith("forged"))] == []


PROGRAMS_OF_THEIR_OWN = frozenset({"sandbox/provider/__main__.py"})
"""What runs as another process, with a log file for its output, which `sandbox logs` prints."""

CALLS = re.compile(
    r"""(.+\.)?(print|input|breakpoint|Console|print_exc|print_exception|print_stack|print_tb|basicConfig|showwarning|getpass|pprint|pp)
    | (.+\.)?__?std(out|err)__?\.(write|writelines) | (.+\.)?std(out|err)\.(write|writelines)
    | click\.(echo|echo_via_pager|secho|style|prompt|confirm|pause|progressbar|edit|get_text_stream|get_binary_stream)
    | .*[cC]onsole(\(.*\))?\.(print|log|out|rule|print_json|print_exception|input)
    | os\.write\([12],.*""",
    re.VERBOSE,
)
IMPORTS = re.compile(r"from (click|rich|getpass|pprint|traceback|builtins) import .*\b(echo|secho|prompt|confirm|getpass|p?print\w*)\b.*")
OURS = re.compile(r"(self|app)\.print")
"""`App.print`, which ends in `show`."""


def prints(tree: ast.AST) -> Iterator[str]:
    """Every place that writes to standard output or standard error by itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node if ast.unparse(node.func) == "os.write" else node.func)
            if CALLS.fullmatch(called) and not OURS.fullmatch(called):
                yield f"{node.lineno}: {called}"
        if isinstance(node, ast.ImportFrom) and IMPORTS.fullmatch(ast.unparse(node)):
            yield f"{node.lineno}: {ast.unparse(node)}"


def test_nothing_is_printed_past_that_module() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{place}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != Path(printing.__file__) and path.relative_to(PACKAGE).as_posix() not in PROGRAMS_OF_THEIR_OWN
        for place in prints(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "print('x')",
        "click.echo('x', err=True)",
        "click.prompt('x')",
        "from click import secho",
        "sys.stderr.write('x')",
        "sys.__stdout__.writelines([])",
        "self._progress.console.print('x')",
        "Console().print('x')",
        "rich.console.Console()",
        "from rich import print",
        "traceback.print_exception(error)",
        "os.write(2, b'x')",
        "logging.basicConfig()",
        "input('x')",
    ],
)
def test_each_way_past_it_is_found(code: str) -> None:
    assert list(prints(ast.parse(code)))


LOUD = """
import logging, sys, threading, warnings
from amianai_infra.cli import main as module
import click

@click.command()
def probe():
    text = "\\x1b]52;c;eA==\\x07 \\u202e \\x9b2J"
    logging.getLogger("urllib3").warning(text)
    logging.getLogger("urllib3").error("::add-mask::%s", text)
    warnings.warn(text)
    thread = threading.Thread(target=int, args=(text,))
    thread.start()
    thread.join()
    click.echo(text, err=True)
    sys.stderr.writelines([text, "\\n"])

module.probe = probe
module.COMMANDS["probe"] = (f"{module.__name__}:probe", "A probe.")
sys.argv = ["amianai", "probe"]
module.main()
"""


def test_what_libraries_write_by_themselves_is_harmless_too() -> None:
    done = subprocess.run([sys.executable, "-c", LOUD], capture_output=True, text=True, check=True)
    assert done.stderr.count("x1b]52") >= 6
    assert "Exception in thread" in done.stderr
    assert faults(done.stderr) == []
