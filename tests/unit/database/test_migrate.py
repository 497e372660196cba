"""What is to be applied: decided without a database."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.database.ledger import to_baseline, to_repair
from amianai_infra.database.migrate import FOLDER, OURS, PROJECT, Applied, Migration, plan, read_all, read_folder
from amianai_infra.database.new_migration import create, next_version
from amianai_infra.database.no_transaction import Begun
from amianai_infra.database.schema import project_folder
from amianai_infra.errors import ConfigurationError, NotFoundError, RefusedError


def file(number: int, source: str = OURS, content: str = "") -> Migration:
    sha256 = f"{number}{content}".encode().hex().rjust(64, "0")
    return Migration(source, f"{number:04d}", f"step_{number}", sha256, "SELECT 1", Path(f"{number:04d}_step_{number}.sql"))


def line(one: Migration) -> Applied:
    return Applied(one.source, one.version, one.name, one.sha256, datetime(2027, 1, 1, tzinfo=UTC), "somebody", timedelta(0))


@given(st.sets(st.integers(1, 50), max_size=8), st.sets(st.integers(1, 50), max_size=8), st.data())
def test_what_is_left_follows_what_is_applied(ours: set[int], theirs: set[int], data: st.DataObject) -> None:
    files = [file(number) for number in sorted(ours)] + [file(number, PROJECT) for number in sorted(theirs)]
    done = {source: data.draw(st.integers(0, len(some))) for source, some in ((OURS, ours), (PROJECT, theirs))}
    applied = [
        one for source, some in ((OURS, ours), (PROJECT, theirs)) for one in [f for f in files if f.source == source][: done[source]]
    ]
    pending = plan(files, [line(one) for one in applied])
    assert [*applied, *pending] != [] or not files
    assert set(pending) == set(files) - set(applied)
    assert pending == [one for one in files if one not in applied], "ours first, each in order"


def test_an_edited_file_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match="amianai 0001_step_1 was edited"):
        plan([file(1, content="edited"), file(2)], [line(file(1))])
    renamed = Migration(OURS, "0001", "other", file(1).sha256, "", Path("0001_other.sql"))
    with pytest.raises(RefusedError, match="0001_other was renamed after it had been applied as 0001_step_1"):
        plan([renamed], [line(file(1))])


def test_every_contradiction_is_named() -> None:
    with pytest.raises(RefusedError) as caught:
        plan([file(1, content="edited"), file(2), file(4)], [line(file(1)), line(file(3))])
    text = str(caught.value)
    assert "0001_step_1 was edited" in text
    assert "0003_step_3 has been applied, but its file is not there" in text
    assert "0002_step_2 was added before amianai 0003" in text


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.removeprefix('n')}.sql").write_bytes(text.encode())
    return folder


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    found = read_folder(write(tmp_path, n0010_b="SELECT 2", n0002_a="SELECT 1", n00011_c="SELECT 3"), PROJECT)
    assert [str(one) for one in found] == ["project 0002_a", "project 0010_b", "project 00011_c"]
    assert "SELECT" not in repr(found)


def test_times_come_after_numbers_and_follow_each_other(tmp_path: Path) -> None:
    names = ("n20261130074501_d", "n0002_a", "n20261130074500_c", "n99999999_b")
    found = read_folder(write(tmp_path, **dict.fromkeys(names, "SELECT 1")), PROJECT)
    assert [one.name for one in found] == ["a", "b", "c", "d"]
    assert plan(found, [line(one) for one in found[:3]]) == found[3:]
    with pytest.raises(RefusedError) as caught:
        plan(found, [line(one) for one in (found[0], found[2])])
    assert "project 99999999_b was added before project 20261130074500_c, which has been applied (numbers come before times)" in str(
        caught.value
    )


NOW = datetime(2026, 11, 30, 7, 45, tzinfo=UTC)


@given(st.lists(st.from_regex(r"[0-9]{4}|20[0-3][0-9]0[1-9]1[0-9]1[0-9][0-5][0-9][0-5][0-9]", fullmatch=True), max_size=5), st.booleans())
def test_a_new_file_comes_after_all_that_are_there(versions: list[str], time: bool) -> None:
    files = sorted((Migration(PROJECT, one, "x", "", "", Path()) for one in versions), key=lambda one: int(one.version))
    found = next_version(files, NOW, time=time)
    assert all(int(found) > int(one.version) for one in files)
    assert len(found) == (14 if time or any(len(one.version) == 14 for one in files) else 5 if "9999" in versions else 4)


def test_a_new_file_has_the_form_of_the_last_and_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    assert create(folder, "Add avatars!", NOW).name == "0001_add_avatars.sql"
    assert create(folder, "index", NOW, transaction=False).read_text() == "-- no-transaction\n-- index\n"
    assert [create(folder, "late", NOW, time=True).name, create(folder, "later", NOW).name] == [
        "20261130074500_late.sql",
        "20261130074501_later.sql",
    ]
    assert [one.transaction for one in read_folder(folder, PROJECT)] == [True, False, True, True]
    for name in ("...", "añadir"):
        with pytest.raises(ConfigurationError, match="is no name"):
            create(folder, name, NOW)


def half(one: Migration, done: int = 0, sha256: str = "") -> Begun:
    return Begun(one.source, one.version, one.name, done, sha256, [], NOW, "somebody", "")


def test_what_was_begun_outside_a_transaction_is_held_to_its_beginning(tmp_path: Path) -> None:
    (one,) = read_folder(write(tmp_path, n0001_a="-- no-transaction\nVACUUM a; -- why\nVACUUM b"), PROJECT)
    done = half(one, 1, hashlib.sha256(b"VACUUM a").hexdigest())
    assert plan([one], [], [done]) == [one]
    (more,) = read_folder(write(tmp_path, n0001_a="-- no-transaction\n\nVACUUM a;\nVACUUM c"), PROJECT)
    assert plan([more], [], [done]) == [more], "what is not done may change"
    for text, why in (("-- no-transaction\nVACUUM b", "one was edited since"), ("SELECT 1", "no longer -- no-transaction")):
        with pytest.raises(RefusedError, match=why):
            plan(read_folder(write(tmp_path, n0001_a=text), PROJECT), [], [done])
    with pytest.raises(RefusedError, match="its file is not there"):
        plan([], [], [done])


def test_a_baseline_is_what_is_not_recorded_up_to_a_version() -> None:
    files = [file(1), file(1, PROJECT), file(2, PROJECT), file(3, PROJECT)]
    assert to_baseline(files, [], [], PROJECT, "2") == files[1:3], "ours still run"
    assert to_baseline(files, [line(files[1])], [], PROJECT, "0002") == files[2:3]
    with pytest.raises(NotFoundError, match="has the version 4"):
        to_baseline(files, [], [], PROJECT, "4")
    with pytest.raises(RefusedError, match="in the ledger already"):
        to_baseline(files, [line(one) for one in files], [], PROJECT, "3")


def test_a_repair_is_of_what_was_edited_or_renamed() -> None:
    known = [line(file(1)), line(file(2)), line(file(3))]
    renamed = Migration(OURS, "0003", "other", file(3).sha256, "", Path())
    files = [file(1), file(2, content="edited"), renamed]
    assert [str(one.file) for one in to_repair(files, known, [])] == ["amianai 0002_step_2", "amianai 0003_other"]
    (one,) = to_repair(files, known, ["0002"])
    assert (one.line.sha256, one.file.sha256) == (file(2).sha256, file(2, content="edited").sha256)
    assert [part in "\n".join(one.text()) for part in (one.line.sha256, one.file.sha256)] == [True, True]
    for versions in (["0001"], ["0002", "0009"]):
        with pytest.raises(RefusedError, match="was edited"):
            to_repair(files, known, versions)
    with pytest.raises(RefusedError, match="No migration was edited"):
        to_repair([file(1)], known[:1], [])


def test_line_ends_do_not_count(tmp_path: Path) -> None:
    (one,), (two,) = (read_folder(write(tmp_path / end, n0001_a=f"SELECT 1;{text}"), OURS) for end, text in (("a", "\n"), ("b", "\r\n")))
    assert one.sha256 == two.sha256


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"add_avatars": "SELECT 1"}, "has another form"),
        ({"n0001_Upper": "SELECT 1"}, "has another form"),
        ({"n20261301000000_no_such_month": "SELECT 1"}, "has another form"),
        ({"n202611291200_too_short_for_a_time": "SELECT 1"}, "has another form"),
        ({"n0001_a": "-- about it\n-- no-transaction\nVACUUM"}, "Line 2 does not take the migration out of its transaction"),
        ({"n0001_a": "-- No transaction\nVACUUM"}, "Line 1 does not take the migration out of its transaction"),
        ({"n0001_a": "-- no-transaction\nVACUUM; COMMIT"}, "says COMMIT"),
        ({"n0001_a": "SELECT 1", "n00001_b": "SELECT 1"}, "Two migrations have the number"),
        ({"n0001_a": "SELECT 1; COMMIT;"}, "says COMMIT"),
        ({"n0001_a": "SELECT 1;\nCOPY users FROM STDIN;\n1\n"}, r"(?s)moves rows through psql.*n?0001_a.sql:2"),
        ({"n0001_a": "SELECT 1;\nCOPY users TO STDOUT;\n1\n\\.\n"}, r"(?s)moves rows through psql.*n?0001_a.sql:2"),
        ({"n0001_a": "-- no-transaction\nCOPY users FROM STDIN;\n1\n\\.\n"}, r"(?s)moves rows through psql.*n?0001_a.sql:2"),
        ({"n0001_a": "COPY a FROM STDIN;\nCOMMIT\n\\.\nCOMMIT;"}, "says COMMIT"),
        ({"n0001_a": "COPY amianai_audit.records FROM STDIN;\n1\n\\.\n"}, "keeps the record"),
    ],
)
def test_what_is_no_migration(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        read_folder(write(tmp_path, **files), PROJECT)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "0009_gone.sql").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"(?s)a link to nothing.*0009_gone.sql"):
        read_folder(tmp_path, PROJECT)
    (tmp_path / "0009_gone.sql").unlink()
    (tmp_path / "0009_folder.sql").mkdir()
    with pytest.raises(ConfigurationError, match=r"(?s)is a directory.*0009_folder.sql"):
        read_folder(tmp_path, PROJECT)


def test_a_name_in_capitals_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "0009_ADD.SQL").touch()
    assert project_folder(tmp_path, "own") == tmp_path / "own"
    with pytest.raises(ConfigurationError, match=r"(?s)has another form.*0009_ADD.SQL"):
        read_folder(tmp_path / "own", PROJECT)


@pytest.mark.parametrize(("setting", "how"), [("none", "does not exist"), ("file", "is not a folder"), ("empty", "holds no .sql file")])
def test_a_setting_that_names_no_migrations(tmp_path: Path, setting: str, how: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=how) as caught:
        project_folder(tmp_path, setting)
    assert caught.value.where == f"setting database.migrations = {setting}: {tmp_path / setting}"
    assert "amianai up --set database.migrations=" in caught.value.fix
    assert project_folder(tmp_path, "") is None


def test_ours_come_first(tmp_path: Path) -> None:
    found = read_all(write(tmp_path, n0001_a="SELECT 1"))
    assert [one.source for one in found] == [OURS] * (len(found) - 1) + [PROJECT]
    assert [one.path.parent for one in found][:-1] == [FOLDER] * (len(found) - 1)
    assert str(found[0]) == "amianai 0001_application"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM amianai_migrations.applied",
        'DROP SCHEMA "amianai_audit" CASCADE',
        "DROP SCHEMA Amianai_Audit",
        "DO $$ BEGIN EXECUTE 'DROP SCHEMA amianai_audit'; END $$",
        "SET search_path = 'public, AMIANAI_MIGRATIONS'",
    ],
)
def test_a_file_of_the_project_leaves_the_records_alone(tmp_path: Path, sql: str) -> None:
    (tmp_path / "0001_sly.sql").write_text(f"-- amianai_audit may be written about\nSELECT 1;\n{sql};\n")
    with pytest.raises(ConfigurationError, match="keeps the record"):
        read_folder(tmp_path, PROJECT)
    (tmp_path / "0001_sly.sql").write_text("-- amianai_audit may be written about\nSELECT 'amianai';\n")
    assert len(read_folder(tmp_path, PROJECT)) == 1
