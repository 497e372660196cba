"""Content types."""

from __future__ import annotations

import mimetypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.content_types import TYPES, UNKNOWN, content_type


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
def test_any_name_has_one_type_and_text_says_its_charset(path: str, head: bytes) -> None:
    kind = content_type(path, head)
    assert "/" in kind
    assert not kind.startswith("text/") or kind.endswith("; charset=utf-8")


@pytest.mark.parametrize(
    "suffix", [".css", ".csv", ".gif", ".html", ".jpg", ".json", ".mp4", ".pdf", ".png", ".svg", ".tiff", ".txt", ".zip"]
)
def test_the_table_agrees_with_the_standard_one(suffix: str) -> None:
    assert TYPES[suffix].partition(";")[0] == mimetypes.MimeTypes(filenames=()).types_map[True][suffix]
