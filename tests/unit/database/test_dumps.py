"""Which client programs are taken, what they are given, and what of a dump is loaded; with programs that only look like PostgreSQL's."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from amianai_infra.database import dumps
from amianai_infra.database.credentials import Login
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.errors import AmianaiError, MissingToolError, RefusedError

HERE = Endpoint("db.example.com", 5432, "amianai", Path("/tmp/ca.pem"))
LOGIN = Login("amianai_readonly", "hunter2")


def program(folder: Path, name: str, code: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\nimport json, os, sys\n{code}\n")
    (folder / name).chmod(0o755)


def version(folder: Path, number: str) -> Path:
    for name in ("pg_dump", "pg_restore", "psql"):
        program(folder, name, f"print('{name} (PostgreSQL) {number}')")
    return folder


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine where only PATH has client programs, of version 15 and 18."""
    monkeypatch.setattr(dumps, "_USUAL", ())
    return {"PATH": f"{version(tmp_path / '15', '15.18 (Debian)')}:{version(tmp_path / '18', '18.1')}"}


def test_those_of_the_servers_version_are_taken_before_newer_ones(environ: dict[str, str], tmp_path: Path) -> None:
    assert dumps.programs(15, environ, lambda: None, newer=True) == tmp_path / "15"
    assert dumps.programs(16, environ, lambda: None, newer=True) == tmp_path / "18"


def test_what_the_target_brings_is_asked_for_where_nothing_fits_exactly(environ: dict[str, str], tmp_path: Path) -> None:
    brought = version(tmp_path / "brought", "16.14")
    assert dumps.programs(16, environ, lambda: brought, newer=True) == brought
    assert dumps.programs(16, environ, lambda: brought, newer=False) == brought

    def never() -> Path:
        raise AssertionError("nothing has to be brought")

    assert dumps.programs(15, environ, never, newer=False) == tmp_path / "15"


@pytest.mark.parametrize(("server", "newer"), [(16, False), (19, True)])
def test_without_any_it_says_which_were_found_and_how_to_get_them(environ: dict[str, str], server: int, newer: bool) -> None:
    with pytest.raises(MissingToolError, match=f"PostgreSQL {server} were not found") as caught:
        dumps.programs(server, environ, lambda: None, newer=newer)
    assert "15, 18" in caught.value.where
    assert f"postgresql-client-{server}" in caught.value.fix


DUMPS = """
out = next(one.partition("=")[2] for one in sys.argv if one.startswith("--file="))
with open(os.environ["PGPASSFILE"]) as file: known = file.read()
mode = os.stat(os.environ["PGPASSFILE"]).st_mode & 0o777
with open(out, "w") as file: json.dump([sys.argv[1:], dict(os.environ), known, mode], file)
"""


def test_the_password_is_in_a_private_file_alone_and_the_server_verified(tmp_path: Path) -> None:
    program(tmp_path / "bin", "pg_dump", DUMPS)
    file = tmp_path / "a.dump"
    dumps.dump(tmp_path / "bin", HERE, LOGIN, file, {"PGSSLMODE": "disable", "PGHOSTADDR": "192.0.2.1"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    arguments, environment, passwords, mode = json.loads(file.read_text())
    assert "hunter2" not in json.dumps([arguments, environment])
    assert ("hunter2" in passwords, mode) == (True, 0o600)
    assert not Path(environment["PGPASSFILE"]).exists()
    assert (environment["PGSSLMODE"], environment["PGSSLROOTCERT"], environment["PGHOST"]) == ("verify-full", "/tmp/ca.pem", HERE.host)
    assert "PGHOSTADDR" not in environment
    assert {"--format=custom", "--no-owner", "--exclude-schema=amianai_audit"} <= set(arguments)
    assert [one.name for one in tmp_path.iterdir()] == ["bin", "a.dump"] or len(list(tmp_path.iterdir())) == 2


def test_one_that_fails_leaves_no_file_and_one_that_is_there_stays(tmp_path: Path) -> None:
    program(tmp_path / "bin", "pg_dump", "sys.exit('pg_dump: error: permission denied for schema more')")
    with pytest.raises(AmianaiError, match="permission denied for schema more") as caught:
        dumps.dump(tmp_path / "bin", HERE, LOGIN, tmp_path / "a.dump", {})
    assert "amianai_readonly" in caught.value.fix
    assert [one.name for one in tmp_path.iterdir()] == ["bin"]
    (tmp_path / "a.dump").write_text("kept")
    with pytest.raises(RefusedError, match="exists"):
        dumps.dump(tmp_path / "bin", HERE, LOGIN, tmp_path / "a.dump", {})
    assert (tmp_path / "a.dump").read_text() == "kept"


LISTED = """;
; Archive created at 2026-11-29 22:00:00 UTC
;     dbname: amianai
;
6; 2615 16391 SCHEMA - amianai_audit amianai_admin
7; 2615 16392 SCHEMA - amianai_migrations amianai_admin
5; 2615 2200 SCHEMA - public pg_database_owner
2; 3079 16393 EXTENSION - pg_stat_statements
3500; 0 0 COMMENT - EXTENSION pg_stat_statements
3; 3079 16394 EXTENSION - citext
215; 1259 16395 TABLE amianai_audit records amianai_admin
217; 1259 16396 TABLE amianai_migrations applied amianai_admin
220; 1259 16400 TABLE public users amianai_admin
221; 1259 16401 TABLE public "my ; EXTENSION" amianai_admin
3400; 0 16396 TABLE DATA amianai_migrations applied amianai_admin
3401; 0 16400 TABLE DATA public users amianai_admin
3402; 0 16395 TABLE DATA amianai_audit records amianai_admin
3510; 0 0 ACL - SCHEMA public pg_database_owner
3511; 0 0 ACL public TABLE users amianai_admin
3512; 826 16500 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES amianai_admin
3513; 826 16501 DEFAULT ACL - DEFAULT PRIVILEGES FOR FUNCTIONS amianai_admin
3514; 826 16502 DEFAULT ACL more DEFAULT PRIVILEGES FOR TABLES amianai_admin
"""


def test_what_db_migrate_makes_and_the_audit_records_are_not_loaded(tmp_path: Path) -> None:
    program(tmp_path / "bin", "pg_restore", f"print({LISTED!r})")
    found = dumps.contents(tmp_path / "bin", tmp_path / "a.dump")
    assert [line.partition(";")[0] for line in found.entries] == ["7", "3", "217", "220", "221", "3400", "3401", "3511", "3514"]
    assert (found.tables, found.made) == (2, "2026-11-29 22:00:00 UTC")


def test_a_dump_without_the_ledger_and_what_is_no_dump_are_refused(tmp_path: Path) -> None:
    program(tmp_path / "bin", "pg_restore", "print('; nothing')")
    with pytest.raises(RefusedError, match="no ledger"):
        dumps.contents(tmp_path / "bin", tmp_path / "a.dump")
    program(tmp_path / "bin", "pg_restore", "sys.exit('pg_restore: error: input file does not appear to be a valid archive')")
    with pytest.raises(RefusedError, match="valid archive"):
        dumps.contents(tmp_path / "bin", tmp_path / "a.dump")


RESTORES = "sys.stdout.write('CREATE TABLE t ();\\n'); sys.exit({code})"
TAKES = "open({out!r}, 'w').write(sys.stdin.read()); sys.exit({code})"


def loaded(tmp_path: Path, restore: int, psql: int) -> str:
    """Gives what psql was given."""
    out = tmp_path / "given"
    program(tmp_path / "bin", "pg_restore", RESTORES.format(code=restore))
    program(tmp_path / "bin", "psql", TAKES.format(out=str(out), code=psql))
    try:
        dumps.load(tmp_path / "bin", HERE, LOGIN, tmp_path / "a.dump", ["7; 1 1 TABLE public t me"], ["DROP TABLE t"], {})
    finally:
        given = out.read_text()
    return given


def test_the_whole_is_one_transaction(tmp_path: Path) -> None:
    assert loaded(tmp_path, 0, 0) == "BEGIN;\nDROP TABLE t;\nCREATE TABLE t ();\nCOMMIT;\n"


@pytest.mark.parametrize(("restore", "psql", "said"), [(1, 0, "nothing was changed"), (0, 3, "nothing was changed"), (0, 2, "look at")])
def test_what_is_cut_off_is_not_committed(tmp_path: Path, restore: int, psql: int, said: str) -> None:
    with pytest.raises(AmianaiError, match=said):
        loaded(tmp_path, restore, psql)
    assert ("COMMIT" in (tmp_path / "given").read_text()) == (restore == 0)


def test_values_of_rows_are_not_told() -> None:
    said = dumps._said(b'ERROR:  invalid input syntax for type integer: "alice@example.com"\nERROR:  relation "users" already exists\n')
    assert said == ['ERROR:  invalid input syntax for type integer: "…"', 'ERROR:  relation "users" already exists']
