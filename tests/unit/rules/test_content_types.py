"""Content types."""

from __future__ import annotations

import mimetypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.content_types import TYPES, UNKNOWN, content_encoding, content_type, with_charset


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("INDEX.HTML", "text/html; charset=utf-8"),
        ("a/b.js", "text/javascript; charset=utf-8"),
        ("a/b.js.map", "application/json; charset=utf-8"),
        ("site.webmanifest", "application/manifest+json; charset=utf-8"),
        ("inter.otf", "font/otf"),
        ("inter.woff2", "font/woff2"),
        ("logo.svg", "image/svg+xml; charset=utf-8"),
        ("photo.avif", "image/avif"),
        ("engine.wasm", "application/wasm"),
        (".well-known/apple-app-site-association", "application/json; charset=utf-8"),
        ("LICENSE", "text/plain; charset=utf-8"),
        ("something", UNKNOWN),
        ("something.unknown", UNKNOWN),
        (".htaccess", UNKNOWN),
        ("live.m3u8", "application/vnd.apple.mpegurl"),
        ("live0001.ts", "video/mp2t"),
        ("live.mpd", "application/dash+xml; charset=utf-8"),
        ("chair.usdz", "model/vnd.usdz+zip"),
        ("tour.gpx", "application/gpx+xml; charset=utf-8"),
        ("tour.kml", "application/vnd.google-earth.kml+xml; charset=utf-8"),
        ("key.asc", "application/pgp-keys"),
        ("conf.toml", "application/toml; charset=utf-8"),
        ("install.sh", "application/x-sh"),
        ("app.apk", "application/vnd.android.package-archive"),
        ("all.7z", "application/x-7z-compressed"),
        ("letter.doc", "application/msword"),
        ("sheet.ods", "application/vnd.oasis.opendocument.spreadsheet"),
        ("talk.key", "application/vnd.apple.keynote"),
        ("film.mkv", "video/x-matroska"),
        ("song.MID", "audio/midi"),
        ("model.stl", "model/stl"),
        ("folder.html/binary", UNKNOWN),
    ],
)
def test_each_kind_of_file_has_its_type(path: str, expected: str) -> None:
    assert content_type(path) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\xef\xbb\xbf  <!DOCTYPE html><html>", "text/html; charset=utf-8"),
        (b'{"applinks": {}}', "application/json; charset=utf-8"),
        (b"\x00\x01\x02", UNKNOWN),
        (b"", UNKNOWN),
    ],
)
def test_without_an_extension_the_first_bytes_decide(head: bytes, expected: str) -> None:
    assert content_type("opengraph-image", head) == expected


def test_an_extension_outweighs_the_first_bytes() -> None:
    assert content_type("readme.txt", b"<!doctype html>") == "text/plain; charset=utf-8"


@given(st.text(), st.binary(max_size=40))
def test_any_name_has_one_type_and_text_says_utf_8_only_where_it_is(path: str, head: bytes) -> None:
    kind = content_type(path, head)
    assert "/" in kind
    if kind.endswith("; charset=utf-8"):
        head.decode("utf-8")
    try:
        head.decode("utf-8")
    except UnicodeDecodeError:
        return
    assert not kind.startswith("text/") or kind.endswith("; charset=utf-8")


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        ("a.html", "<meta charset=utf-8>\u00fc".encode(), "text/html; charset=utf-8"),
        ("a.html", '<meta charset="iso-8859-1">\u00fc'.encode("latin-1"), "text/html; charset=iso-8859-1"),
        (
            "a.html",
            '<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS">\u65e5\u672c'.encode("shift_jis"),
            "text/html; charset=shift_jis",
        ),
        ("a.html", "<p>\u00fc".encode("latin-1"), "text/html"),
        ("a.html", "<meta charset=nonsense><p>\u00fc".encode("latin-1"), "text/html"),
        ("a.html", "<meta charset=utf-8><p>\u00fc".encode("latin-1"), "text/html"),
        ("a.html", b'<meta charset="iso-8859-1">plain', "text/html; charset=utf-8"),
        ("a.html", '<meta charset="iso-8859-1">\u00fc'.encode(), "text/html; charset=utf-8"),
        ("a.html", '<meta charset="iso-2022-jp">\u65e5\u672c'.encode("iso-2022-jp"), "text/html; charset=iso-2022-jp"),
        ("a.html", "\u00fc".encode("utf-16"), "text/html"),
        ("a.css", '@charset "windows-1252";a{content:"\u00fc"}'.encode("cp1252"), "text/css; charset=windows-1252"),
        (
            "a.xml",
            '<?xml encoding="ISO-8859-15"?><a>\u20ac</a>'.encode("iso-8859-15"),
            "application/xml; charset=iso-8859-15",
        ),
        ("a.txt", "gr\u00fc\u00df".encode("latin-1"), "text/plain"),
        ("a.png", b"\xff\xfe", "image/png"),
    ],
)
def test_the_charset_is_that_of_the_bytes(path: str, data: bytes, expected: str) -> None:
    assert content_type(path, data) == expected


def test_a_sign_may_lie_across_two_pieces() -> None:
    text = "text/plain; charset=utf-8"
    assert with_charset(text, (b"a\xc3", b"\xbc")) == text
    assert with_charset(text, (b"a", b"\xbc")) == with_charset(text, (b"a\xc3", b"")) == "text/plain"


GZIP = b"\x1f\x8b\x08"


@pytest.mark.parametrize(
    ("path", "data", "kind", "encoding"),
    [
        ("app.js.gz", GZIP, "text/javascript", "gzip"),
        ("app.js.br", b"\x8b\x0f", "text/javascript", "br"),
        ("game.wasm.br", b"\x8b", "application/wasm", "br"),
        ("game.framework.js.gz", GZIP, "text/javascript", "gzip"),
        ("game.data.gz", GZIP, UNKNOWN, "gzip"),
        ("drawing.svgz", GZIP, "image/svg+xml", "gzip"),
        # What people download, and what is not what its name says.
        ("sitemap.xml.gz", GZIP, "application/gzip", ""),
        ("table.csv.gz", GZIP, "application/gzip", ""),
        ("all.tar.gz", GZIP, "application/gzip", ""),
        ("app.js.gz", b"plain", "application/gzip", ""),
        ("app.js", b"plain", "text/javascript", ""),
    ],
)
def test_what_the_build_compressed_says_so(path: str, data: bytes, kind: str, encoding: str) -> None:
    assert content_type(path, data).partition(";")[0] == kind
    assert content_encoding(path, data) == encoding


@pytest.mark.parametrize(
    "suffix", [".css", ".csv", ".gif", ".html", ".jpg", ".json", ".mp4", ".pdf", ".png", ".svg", ".tiff", ".txt", ".zip"]
)
def test_the_table_agrees_with_the_standard_one(suffix: str) -> None:
    assert TYPES[suffix].partition(";")[0] == mimetypes.MimeTypes(filenames=()).types_map[True][suffix]
