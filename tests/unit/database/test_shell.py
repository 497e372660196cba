"""Which arguments psql is not given: those that outrank the verified connection in its environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amianai_infra.database import shell
from amianai_infra.database.credentials import Login
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.errors import MissingToolError, RefusedError

WEAKER = "sslmode=require sslrootcert=/nonexistent"


@pytest.mark.parametrize(
    "arguments",
    [
        ("-d", WEAKER),
        (f"-d{WEAKER}",),
        (f"-Atd{WEAKER}",),
        ("-Atd", WEAKER),
        ("--dbname", WEAKER),
        (f"--dbname={WEAKER}",),
        (f"--dbn={WEAKER}",),
        ("-h", "elsewhere"),
        ("--host=elsewhere",),
        ("-p5433",),
        ("--port", "1"),
        ("-U", "x"),
        ("--user=x",),
        (WEAKER,),
        ("-At", WEAKER),
        ("-c", "SELECT 1", WEAKER),
        ("-cSELECT 1", WEAKER),
        ("--command=SELECT 1", WEAKER),
        ("--csv", WEAKER),
        ("--", "-A"),
        ("-",),
    ],
)
def test_what_would_connect_otherwise_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert shell.redirecting(arguments) is not None
    with pytest.raises(RefusedError, match="was not started"):
        shell.run(Endpoint("db.example.com", 5432, "amianai", tmp_path), Login("a", "b"), arguments, {"PATH": ""})


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-XAtq", "-o", "out", "-c", "SELECT 1"),
        ("-c", "-d"),
        ("-cdrop",),
        ("--command", "--dbname=x"),
        ("--set", "ON_ERROR_STOP=1", "-vd=1", "--file=x"),
        ("--pset", "pager", "--csv", "-l", "--"),
    ],
)
def test_everything_else_is_psqls_own(arguments: tuple[str, ...]) -> None:
    assert shell.redirecting(arguments) is None


def test_where_none_is_installed_the_psql_that_comes_with_the_target_runs(tmp_path: Path) -> None:
    program = tmp_path / "psql"
    program.write_text(f'#!/bin/sh\necho "$PGAPPNAME $@" >{tmp_path}/out\n')
    program.chmod(0o755)
    here, login = Endpoint("db.example.com", 5432, "amianai", tmp_path), Login("a", "b")
    assert shell.run(here, login, ("-l",), {"PATH": ""}, bring=lambda: tmp_path) == 0
    assert (tmp_path / "out").read_text() == "amianai db shell -l\n"
    with pytest.raises(MissingToolError, match="psql was not found"):
        shell.run(here, login, (), {"PATH": ""})


def test_neither_psql_nor_its_pager_keeps_what_was_typed(tmp_path: Path) -> None:
    """What they read of their environment: psql's reference, HISTFILE; less, LESSHISTFILE."""
    (tmp_path / "psql").write_text('#!/bin/sh\necho "$PSQL_HISTORY|$LESSHISTFILE" >"$0.saw"\n')
    (tmp_path / "psql").chmod(0o700)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PSQL_HISTORY": "mine", "LESSHISTFILE": "mine"}
    assert shell.run(Endpoint("db.example.com", 5432, "amianai", tmp_path), Login("a", "b"), [], environ) == 0
    assert (tmp_path / "psql.saw").read_text() == "/dev/null|-\n"
