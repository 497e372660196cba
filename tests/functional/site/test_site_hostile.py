"""Trees that no build should make, and some do: handled, or refused by name; never wrong in silence."""

from __future__ import annotations

import json
import os
import socket
import unicodedata
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.errors import AmianaiError, BuildError
from amianai_infra.printing import show
from amianai_infra.site import store
from amianai_infra.site.history import table
from amianai_infra.site.manifest import LOCK, Manifest, decode, encode, manifest_key
from tests.functional.site.s3_server import _S3
from tests.functional.site.site_world import Stage
from tests.hostile import HOSTILE, faults

NAMES = [
    "a b.txt",
    " lead and trail .txt",
    "ünïcode/日本語.txt",
    "e\u0301.txt",
    "[id]/index.html",
    "[...slug].js",
    "(group)/page.js",
    "@slot/x.js",
    "a+b.txt",
    "100%.txt",
    "%41.txt",
    "a%2Fb.txt",
    'it\'s "quoted".txt',
    "semi;colon,comma.txt",
    "hash#mark.txt",
    "question?.txt",
    "amp&and=equals.txt",
    "back\\slash.txt",
    "star*.txt",
    "tilde~{braces}|pipe^caret`tick.txt",
    "<angle>.txt",
    "emoji-😀.txt",
    ".well-known/security.txt",
    "no-extension",
    "x/" * 100 + "deep.txt",
    "/".join(["d" * 199] * 4) + "/" + "y" * 196 + ".txt",
]


def test_names_of_every_kind_arrive_as_they_are(stage: Stage) -> None:
    names = [unicodedata.normalize("NFC", name) for name in NAMES]
    files = {name: f"content of {name}" for name in names} | {"index.html": "<html>film</html>", "404.html": "none"}
    assert max(len(name) for name in NAMES) == 1000
    on_disk = {name: files[composed] for name, composed in zip(NAMES, names, strict=True)}
    stage.write(on_disk | {name: content for name, content in files.items() if name not in names})
    stage.deploy(verify=False)
    assert {path: found.data.decode() for path, found in stage.world.live().items()} == files
    stage.world.forget()
    assert not stage.deploy(verify=False).changed
    assert stage.world.requests == [("GET", "")]
    stage.write({**files, **{name: f"changed {name}" for name in names}})
    stage.deploy(verify=False)
    stage.rollback(1, verify=False)
    assert {path: found.data.decode() for path, found in stage.world.live().items()} == files


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("new\nline.txt", "control character"),
        ("tab\there.txt", "control character"),
        ("del\x7f.txt", "control character"),
        ("/".join(["d" * 200] * 6), r"its path has 1205 bytes; S3 takes 1024"),
        ("/".join(["é" * 100] * 6), r"its path has 1205 bytes; S3 takes 1024"),
        (".amianai/lock", "records are kept"),
    ],
)
def test_names_that_cannot_be_are_refused_by_name(stage: Stage, name: str, message: str) -> None:
    stage.write({"index.html": "x", name: "x"})
    with pytest.raises(BuildError, match=message) as caught:
        stage.deploy()
    assert repr(name[:9])[1:-1] in str(caught.value)
    assert stage.world.count("PUT") == 0


def test_a_name_that_is_no_utf8_is_refused(stage: Stage) -> None:
    stage.write({"index.html": "x"})
    (stage.out / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    with pytest.raises(BuildError, match=r"caf.*its name is not UTF-8"):
        stage.deploy()


def test_links(stage: Stage, tmp_path: Path) -> None:
    stage.write({"index.html": "x", "real.txt": "shared"})
    (stage.out / "inside.txt").symlink_to("real.txt")
    stage.deploy(verify=False)
    assert stage.world.live()["inside.txt"].data == b"shared"
    (tmp_path / "secret.txt").write_text("secret")
    (stage.out / "outside.txt").symlink_to(tmp_path / "secret.txt")
    (stage.out / "nowhere.txt").symlink_to("missing")
    (stage.out / "loop").symlink_to(".")
    stage.world.forget()
    with pytest.raises(BuildError) as caught:
        stage.deploy()
    text = str(caught.value)
    assert "'outside.txt': is a link out of the site's output" in text
    assert "'nowhere.txt': is a link that leads nowhere" in text
    assert "'loop': is a link to a folder" in text
    assert stage.world.count("PUT") == 0


def test_what_is_no_file_is_refused(stage: Stage) -> None:
    stage.write({"index.html": "x"})
    os.mkfifo(stage.out / "pipe")
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    try:
        os.chdir(stage.out)  # a socket's path may have 108 bytes only
        server.bind("socket")
    finally:
        os.chdir(here)
    with pytest.raises(BuildError) as caught:
        stage.deploy()
    server.close()
    assert "'pipe': is no regular file" in str(caught.value)
    assert "'socket': is no regular file" in str(caught.value)


def test_empty_files(stage: Stage) -> None:
    stage.write({"index.html": "x", "empty.css": "", "_next/static/css/00a1b2c3d4e5f607.css": ""})
    stage.deploy()
    assert stage.world.live()["empty.css"].data == b""
    stage.world.forget()
    assert not stage.deploy().changed


def test_a_big_file_goes_up_in_parts_and_is_recognised(stage: Stage) -> None:
    big = os.urandom(1 << 20) * 23 + b"end"
    stage.write({"index.html": "x", "film.mp4": big})
    stage.deploy(verify=False)
    live = stage.world.live()["film.mp4"]
    assert live.data == big
    assert live.etag.endswith("-5")
    assert live.headers["Content-Type"] == "video/mp4"
    stage.world.forget()
    assert not stage.deploy(verify=False).changed
    assert stage.world.requests == [("GET", "")]
    stage.write({"index.html": "x", "film.mp4": b"x" + big[1:]})
    assert stage.deploy(verify=False).uploaded == ("film.mp4",)
    stage.rollback(1, verify=False)
    assert stage.world.live()["film.mp4"].data == big


@pytest.mark.parametrize("size", [100, 11 << 20])
def test_a_file_that_changes_while_it_is_read_is_refused_by_name(stage: Stage, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    stage.write({"index.html": "new", "moving.js": b"a" * size})
    publisher = stage.publisher(verify=False)
    monkeypatch.setattr(
        "amianai_infra.site.release.check_uploads", lambda uploads, output, lets: (stage.out / "moving.js").write_bytes(b"b" * size)
    )
    with pytest.raises(BuildError, match=r"moving\.js changed while it was being published"):
        publisher.deploy(build=False)
    assert "moving.js" not in stage.world.live()
    assert "index.html" not in stage.world.live()
    assert stage.world.bucket.parts == {}, "the upload in parts was aborted"


def test_a_file_that_vanishes_is_refused_by_name(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.write({"index.html": "new", "fleeting.js": "x"})
    publisher = stage.publisher(verify=False)
    monkeypatch.setattr("amianai_infra.site.release.check_uploads", lambda uploads, output, lets: (stage.out / "fleeting.js").unlink())
    with pytest.raises(BuildError, match=r"fleeting\.js changed while it was being published"):
        publisher.deploy(build=False)
    assert "index.html" not in stage.world.live()


def test_junk_of_desktops_is_left_out(stage: Stage) -> None:
    stage.write({"index.html": "x", ".DS_Store": "x", "a/Thumbs.db": "x"})
    stage.deploy(verify=False)
    assert stage.world.live().keys() == {"index.html", "404.html"}, "and a page of ours for what is missing"


def test_foreign_objects_with_odd_keys_do_not_matter(stage: Stage) -> None:
    assert _S3.protocol_version == "HTTP/1.1"
    stage.world.store("folder/", b"")
    stage.world.store("of somebody else/ä.bin", b"x")
    stage.write({"index.html": "x"})
    assert stage.deploy(verify=False).number == 1


@pytest.mark.parametrize("key", [manifest_key(1), LOCK])
def test_a_record_that_is_larger_than_any_of_ours_is_not_even_read(stage: Stage, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LARGEST", 100_000)
    stage.world.store(key, b"x" * 100_001)
    stage.write({"index.html": "x"})
    with pytest.raises(AmianaiError, match="100001 bytes: it is no record of ours") as caught:
        stage.deploy(verify=False)
    assert key in caught.value.where
    assert stage.world.puts() == []


def test_who_released_may_be_called_anything(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """As somebody else, with another program, might have recorded it; read back from the bucket and listed."""
    stage.prepare_command()
    stage.write({"index.html": "x"})
    stage.deploy(verify=False)
    made = decode(stage.world.records()[manifest_key(1)].data)
    for number, text in enumerate(HOSTILE, 2):
        summary = replace(made.summary, number=number, origin=number, who=text)
        data = json.dumps(_recorded(replace(made, summary=summary))).encode()
        stage.world.store(manifest_key(number), zlib.compress(data, wbits=31))
        show(table(stage.releases()))
        assert faults(capsys.readouterr().out) == [], ascii(text)


def _recorded(made: Manifest) -> dict[str, Any]:
    """A record's JSON; with `\\u` escapes, so that it may hold half of a pair."""
    plain = json.loads(zlib.decompress(encode(replace(made, summary=replace(made.summary, who=""))), wbits=31))
    return {**plain, "who": made.summary.who}


@pytest.mark.soak
def test_two_hundred_megabytes(stage: Stage) -> None:
    stage.write({"index.html": "x"})
    piece = os.urandom(1 << 20)
    with (stage.out / "film.mp4").open("wb") as file:
        for _ in range(200):
            file.write(piece)
    stage.deploy(verify=False)
    assert stage.world.live()["film.mp4"].data == piece * 200
    stage.world.forget()
    assert not stage.deploy(verify=False).changed
