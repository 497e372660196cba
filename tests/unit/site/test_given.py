"""A folder or an archive that is published as it is: what is in it is a stranger's until it has been looked at."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from amianai_infra.errors import BuildError, NotFoundError
from amianai_infra.site import given as module
from amianai_infra.site.given import Given, given

Member = tuple[str, bytes | None, dict[str, object]]


def member(name: str, content: bytes | None = None, **fields: object) -> Member:
    """A file with a content, or whatever the fields say."""
    return (name, content, fields)


def tar(*members: Member, mode: str = "w", end: bool = True) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content, fields in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content or b"")
            for field, value in fields.items():
                setattr(entry, field, value)
            archive.addfile(entry, io.BytesIO(content) if content is not None else None)
        size = archive.offset
    return file.getvalue() if end else file.getvalue()[:size]


def packed(path: Path, *members: tuple[str, bytes, int]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return path


def read(found: Given) -> dict[str, bytes]:
    return {path.relative_to(found.folder).as_posix(): path.read_bytes() for path in found.folder.rglob("*") if path.is_file()}


@pytest.fixture
def unpack(tmp_path: Path) -> Iterator[Callable[[bytes], dict[str, bytes]]]:
    """Unpacks a tar stream; afterwards nothing is left, and nothing was written anywhere else."""
    scratch = tmp_path / "project" / ".amianai" / "site"

    def unpack(data: bytes) -> dict[str, bytes]:
        with given("-", tmp_path / "project", scratch, io.BytesIO(data)) as found:
            assert found.name == "-"
            assert not [path for path in found.folder.rglob("*") if path.is_symlink()]
            return read(found)

    yield unpack
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


PAGE = member("index.html", b"page")
OUT = "leads out of it, or into our own records"
LINK = "is a link to what is no file of it"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_a_tar_stream_is_read_whatever_it_was_packed_with(unpack: Callable[[bytes], dict[str, bytes]], mode: str) -> None:
    folder = member("./a", type=tarfile.DIRTYPE)
    data = tar(member("./", type=tarfile.DIRTYPE), folder, member("./index.html", b"page"), member("./a/b.css", b"b"), mode=mode)
    assert unpack(data) == {"index.html": b"page", "a/b.css": b"b"}


def test_links_inside_become_the_file_that_they_name(unpack: Callable[[bytes], dict[str, bytes]]) -> None:
    """`tar` writes the second name of a file as a hard link, which stores of packages make by the thousand."""
    links = [
        member("docs/latest.html", type=tarfile.SYMTYPE, linkname="../first.html"),
        member("hard.html", type=tarfile.LNKTYPE, linkname="./index.html"),
        member("first.html", type=tarfile.SYMTYPE, linkname="index.html"),
    ]
    assert unpack(tar(*links[:1], PAGE, *links[1:])) == dict.fromkeys(
        ("index.html", "docs/latest.html", "hard.html", "first.html"), b"page"
    )


@pytest.mark.parametrize(
    ("evil", "why"),
    [
        (member("../outside.html", b"x"), OUT),
        (member("a/../../outside.html", b"x"), OUT),
        (member("/outside.html", b"x"), OUT),
        (member("..\\outside.html", b"x"), OUT),
        (member("C:\\outside.html", b"x"), OUT),
        (member(".amianai/releases/000001.json.gz", b"x"), OUT),
        (member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), LINK),
        (member("link", type=tarfile.SYMTYPE, linkname="../../secret"), LINK),
        (member("link", type=tarfile.SYMTYPE, linkname="link"), LINK),
        (member("link", type=tarfile.SYMTYPE, linkname="."), LINK),
        (member("link", type=tarfile.LNKTYPE, linkname="../../secret"), LINK),
        (member("pipe", type=tarfile.FIFOTYPE), "is a device or a pipe"),
        (member("disk", type=tarfile.BLKTYPE), "is a device or a pipe"),
        (member("index.html", b"another"), "is there twice"),
        (member("index.html/a", b"below a file"), "cannot be unpacked"),
    ],
)
def test_what_leads_out_of_an_archive_is_refused(unpack: Callable[[bytes], dict[str, bytes]], evil: Member, why: str) -> None:
    with pytest.raises(BuildError) as caught:
        unpack(tar(PAGE, evil))
    assert why in caught.value.what
    assert caught.value.where == "standard input"
    assert "nothing was uploaded" in caught.value.fix


def test_a_link_is_never_followed_by_a_later_file(unpack: Callable[[bytes], dict[str, bytes]], tmp_path: Path) -> None:
    """A folder that is a link elsewhere, and then a file below it: how filters of `tarfile` were passed by."""
    (tmp_path / "elsewhere").mkdir()
    data = tar(member("here", type=tarfile.SYMTYPE, linkname=str(tmp_path / "elsewhere")), member("here/index.html", b"x"))
    with pytest.raises(BuildError, match=LINK):
        unpack(data)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_stream_that_was_cut_off_between_two_files_is_refused(unpack: Callable[[bytes], dict[str, bytes]], mode: str) -> None:
    import gzip

    whole = tar(PAGE, member("about.html", b"about"), end=False)
    cut = whole[: len(tar(PAGE, end=False))]
    with pytest.raises(BuildError, match="cannot be read as a tar archive"):
        unpack(gzip.compress(cut) if mode == "w:gz" else cut)


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04 a zip", b"<!doctype html>" * 100, tar(PAGE, mode="w:gz")[:-30], tar(PAGE)[:514]],
    ids=["empty", "a zip", "a page", "a cut gzip", "a cut tar"],  # gzip writes the time: no two workers would have the same ids
)
def test_what_is_no_whole_tar_archive_is_refused(unpack: Callable[[bytes], dict[str, bytes]], data: bytes) -> None:
    with pytest.raises(BuildError, match="cannot be read as a tar archive"):
        unpack(data)


def test_an_archive_is_bounded_by_what_it_unpacks_to(unpack: Callable[[bytes], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 1 << 20)
    bomb = tar(PAGE, member("zeros", bytes(1 << 20)), mode="w:gz")
    assert len(bomb) < 2000
    with pytest.raises(BuildError, match="once it is unpacked"):
        unpack(bomb)
    twice = tar(member("half", bytes(600_000)), member("again", type=tarfile.LNKTYPE, linkname="half"))
    with pytest.raises(BuildError, match="once it is unpacked"):
        unpack(twice)


def test_an_archive_has_so_many_entries(unpack: Callable[[bytes], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    with pytest.raises(BuildError, match="more than 3 entries"):
        unpack(tar(*(member(f"{number}.html", b"x") for number in range(4))))


def test_a_zip_is_held_to_the_same(tmp_path: Path) -> None:
    good = packed(
        tmp_path / "Site.ZIP",
        ("index.html", b"page", 0),
        ("docs/", b"", stat.S_IFDIR),
        ("docs/latest", b"../index.html", stat.S_IFLNK),
        ("__MACOSX/._index.html", b"finder", stat.S_IFREG),
    )
    with given(str(good), tmp_path, tmp_path / "scratch") as found:
        assert (found.name, found.unpacked) == ("Site.ZIP", True)
        assert read(found) == {"index.html": b"page", "docs/latest": b"page"}
    assert not list((tmp_path / "scratch").iterdir())
    for number, evil in enumerate([("../a", b"x", 0), ("link", b"/etc/passwd", stat.S_IFLNK), ("pipe", b"", stat.S_IFIFO)]):
        bad = packed(tmp_path / f"{number}.zip", ("index.html", b"page", 0), evil)
        with pytest.raises(BuildError, match="The archive is not published"), given(str(bad), tmp_path, tmp_path / "scratch"):
            pass
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(good.read_bytes().replace(b"PK\x05\x06", b"PK\x00\x00"))
    with pytest.raises(BuildError, match="cannot be read as a zip archive"), given(str(damaged), tmp_path, tmp_path / "scratch"):
        pass


def test_a_folder_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web" / "out").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "web")
    with given("out", tmp_path, tmp_path / "scratch") as found:
        assert found == Given(tmp_path / "web" / "out", "web/out")
    assert found.folder.is_dir()
    assert not (tmp_path / "scratch").exists()


def test_a_name_that_is_not_there_and_a_terminal_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such folder or archive"), given(str(tmp_path / "gone.tgz"), tmp_path, tmp_path):
        pass
    master, slave = os.openpty()
    with os.fdopen(slave, "rb") as terminal, pytest.raises(BuildError, match="is a terminal"), given("-", tmp_path, tmp_path, terminal):
        pass
    os.close(master)
