"""ETags of local files are those that S3 computes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from amianai_infra.errors import BuildError
from amianai_infra.site.tree import PART, scan


def test_small_files_have_their_md5_and_big_ones_that_of_their_parts(tmp_path: Path) -> None:
    big = bytes(range(256)) * (PART // 256) + b"tail"
    (tmp_path / "small.html").write_bytes(b"hello")
    (tmp_path / "exact.bin").write_bytes(big[:PART])
    (tmp_path / "big.bin").write_bytes(big)
    (tmp_path / "empty").write_bytes(b"")
    found = {file.path: file for file in scan(tmp_path)}
    assert found["small.html"].etag == hashlib.md5(b"hello").hexdigest()
    assert found["empty"].etag == hashlib.md5(b"").hexdigest()
    assert found["exact.bin"].etag == hashlib.md5(big[:PART]).hexdigest()
    digests = hashlib.md5(big[:PART]).digest() + hashlib.md5(b"tail").digest()
    assert found["big.bin"].etag == f"{hashlib.md5(digests).hexdigest()}-2"
    assert found["big.bin"].size == PART + 4


def test_types_come_from_our_table_and_from_the_content_of_what_has_no_extension(tmp_path: Path) -> None:
    (tmp_path / "icon").write_bytes(b"\x89PNG\r\n\x1a\n....")
    (tmp_path / "plain").write_bytes(b"???")
    (tmp_path / "A.HTML").write_bytes(b"x")
    (tmp_path / "m.webmanifest").write_bytes(b"{}")
    found = {file.path: file.content_type for file in scan(tmp_path)}
    assert found == {
        "A.HTML": "text/html; charset=utf-8",
        "icon": "image/png",
        "m.webmanifest": "application/manifest+json; charset=utf-8",
        "plain": "application/octet-stream",
    }


def test_files_come_in_order(tmp_path: Path) -> None:
    for name in ("b/x", "a", "b.txt", "B"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [file.path for file in scan(tmp_path)] == ["B", "a", "b.txt", "b/x"]


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="does not exist"):
        scan(tmp_path / "out")


def test_bytes_decide_the_charset_the_encoding_and_which_worker_a_page_registers(tmp_path: Path) -> None:
    (tmp_path / "latin.html").write_bytes('<meta charset="iso-8859-1">\u00fc'.encode("latin-1"))
    (tmp_path / "utf.html").write_bytes("\u00fc".encode())
    (tmp_path / "big.txt").write_bytes(b"x" * PART + "\u00fc".encode("latin-1"))
    (tmp_path / "long.txt").write_bytes(b"x" * (PART - 1) + "\u00fc".encode())
    (tmp_path / "game.wasm.br").write_bytes(b"\x8b")
    (tmp_path / "app.js").write_text('navigator.serviceWorker.register("/push.js",{scope:"/"});new Workbox(`./other.js`)')
    (tmp_path / "page.html").write_text("<script>'serviceWorker' in navigator && navigator.serviceWorker\n.register('sw/main.js')</script>")
    found = {file.path: file for file in scan(tmp_path)}
    assert {path: file.content_type for path, file in found.items() if path.endswith((".html", ".txt", ".br"))} == {
        "latin.html": "text/html; charset=iso-8859-1",
        "utf.html": "text/html; charset=utf-8",
        "page.html": "text/html; charset=utf-8",
        "big.txt": "text/plain",
        "long.txt": "text/plain; charset=utf-8",
        "game.wasm.br": "application/wasm",
    }
    assert found["game.wasm.br"].headers == (("content-encoding", "br"),)
    assert found["app.js"].workers == ("/push.js", "./other.js")
    assert found["page.html"].workers == ("sw/main.js",)
    assert (found["utf.html"].headers, found["utf.html"].workers) == ((), ())
