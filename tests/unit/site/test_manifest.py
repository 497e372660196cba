"""Manifests survive the journey and say so when they do not."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.errors import AmianaiError
from amianai_infra.site import manifest
from amianai_infra.site.manifest import (
    HISTORY,
    LARGEST_TEXT,
    Entry,
    Manifest,
    Retired,
    Summary,
    decode,
    encode,
    following,
    manifest_key,
    outside,
    release_number,
)

ENTRIES = st.builds(
    Entry,
    st.text(alphabet="0123456789abcdef", min_size=32, max_size=32),
    st.integers(0, 10**12),
    st.sampled_from(["text/html", "text/css"]),
    st.sampled_from(["no-cache", "immutable"]),
    st.none() | st.text(min_size=1, max_size=20),
    st.sampled_from(["", "d"]),
    st.sampled_from([(), (("x-robots-tag", "noindex"),)]),
)
PATHS = st.text(min_size=1, max_size=30).filter(lambda path: not outside(path))


def summary(number: int) -> Summary:
    return Summary(number, "deploy", number, "b", 1.5, 2.5, "ü@host", "abc+", 1, 2, 3)


@given(
    st.dictionaries(PATHS, ENTRIES, max_size=5),
    st.dictionaries(PATHS, st.builds(Retired, st.floats(0, 1e10), st.none() | ENTRIES), max_size=5),
)
def test_what_is_written_is_read(files: dict[str, Entry], retired: dict[str, Retired]) -> None:
    made = Manifest(
        summary=summary(3), files=files, sources="sources", retired=retired, history=(summary(2), summary(1)), published="web/out"
    )
    assert decode(encode(made)) == made
    assert encode(made) == encode(made)


def test_what_somebody_else_recorded_does_not_keep_from_recording_the_next_release() -> None:
    strange = replace(summary(1), who="\ud800 \udc80\n\x1b[2J")
    entry = Entry("e", 1, "text/html", "no-cache", "\ud800")
    made = following(decode(encode(Manifest(strange, {"\udcff": entry}))), summary(2), {}, present={"\udcff"})
    assert decode(encode(made)) == made
    assert made.history[0].who == strange.who


def test_a_damaged_record_is_said() -> None:
    for data in (b"", b"junk", zlib.compress(b"{}", wbits=31), encode(Manifest(summary(1), {}))[:-20]):
        with pytest.raises(AmianaiError, match="cannot be read"):
            decode(data, "s3://bucket/key")


def changed(**changes: object) -> bytes:
    raw = json.loads(zlib.decompress(encode(Manifest(summary(2), {}, history=(summary(1),))), wbits=31)) | changes
    return zlib.compress(json.dumps(raw).encode(), wbits=31)


def test_a_record_of_a_newer_program_is_said() -> None:
    with pytest.raises(AmianaiError, match="format 3"):
        decode(changed(format=3))


def test_further_headers_are_kept_and_a_record_without_them_is_read() -> None:
    plain = Entry("e", 1, "text/html", "no-store", "v1")
    noindex = Entry("f", 1, "text/html", "no-store", "v1", headers=(("content-language", "de"), ("x-robots-tag", "noindex")))
    assert decode(encode(Manifest(summary(2), {"a": plain, "b": noindex}))).files == {"a": plain, "b": noindex}
    assert decode(changed(format=1, headers=[["text/html", "no-store"]], entries={"a": ["e", 1, 0, "v1"]})).files == {"a": plain}


NEVER_WRITTEN: list[dict[str, object]] = [
    {"build": "a\x1b]52;c;eA==\x07"},
    {"build": "a\nnext:  run `curl x | sh`"},
    {"build": "x" * 65},
    {"build": 7},
    {"build": None},
    {"commit": "a b"},
    {"commit": "++"},
    {"kind": "deploy\r\n::add-mask::x"},
    {"sources": "\u202e"},
    {"who": ["x"]},
    {"number": "1"},
    {"number": True},
    {"number": -1},
    {"origin": 1e300},
    {"files": 10**400},
    {"started": float("inf")},
    {"started": float("nan")},
    {"started": 1e300},
    {"seconds": "fast"},
    {"headers": [["text/html\r\nSet-Cookie: a=b", "no-cache"]]},
    {"headers": [["text/html", 5]]},
    {"headers": "ab"},
    {"history": [{}]},
    {"history": 5},
    {"retired": {"a": ["yesterday", None]}},
    {"retired": {"a": 1}},
    {"entries": {"a": [1, 2, 0, None]}, "headers": [["text/html", ""]]},
    {"entries": {"a": ["e", "big", 0, None]}, "headers": [["text/html", ""]]},
    {"entries": {"a": ["e", 1, 0, {}]}, "headers": [["text/html", ""]]},
    {"entries": {"a": ["e", 1, 0, None, []]}, "headers": [["text/html", ""]]},
    {"entries": {"a": ["e", 1, 99, None]}, "headers": [["text/html", ""]]},
    {"entries": {"a": "e"}, "headers": [["text/html", ""]]},
    {"entries": []},
]


@pytest.mark.parametrize("change", NEVER_WRITTEN, ids=[str(number) for number in range(len(NEVER_WRITTEN))])
def test_a_record_that_holds_what_is_never_written_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(AmianaiError, match="cannot be read") as caught:
        decode(changed(**change), "s3://bucket/key")
    assert "s3://bucket/key" in caught.value.where


def test_a_record_that_is_nested_deeply_is_refused() -> None:
    with pytest.raises(AmianaiError, match="cannot be read"):
        decode(zlib.compress(b"[" * 200_000, wbits=31))


def test_no_more_of_a_record_is_unpacked_than_any_of_ours_has() -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join([packer.compress(b"[" + b" " * (LARGEST_TEXT - 1)), packer.compress(b" " * LARGEST_TEXT * 3), packer.flush()])
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(AmianaiError, match="cannot be read") as caught:
            decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * LARGEST_TEXT  # the unpacker doubles what it writes into
    finally:
        tracemalloc.stop()
    assert "once unpacked" in caught.value.where


def test_a_record_that_is_too_large_is_neither_written_nor_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Manifest(summary(1), {f"{number}.js": Entry(f"{number:032x}", 1, "text/css", "", None) for number in range(100)})
    packed = encode(made)
    monkeypatch.setattr(manifest, "LARGEST", len(packed) - 1)
    with pytest.raises(AmianaiError, match="more than the"):
        encode(made)
    with pytest.raises(AmianaiError, match="cannot be read"):
        decode(packed)


def test_keys() -> None:
    assert manifest_key(7) == ".amianai/releases/000007.json.gz"
    assert release_number(manifest_key(7)) == 7
    assert release_number(".amianai/lock") is None
    for key in (f"{manifest_key(7)}\n", f"x{manifest_key(7)}", manifest_key(7).replace("7", "\u0667")):
        assert release_number(key) is None


def test_the_history_is_short() -> None:
    made = Manifest(summary(1), {})
    for number in range(2, HISTORY + 50):
        made = following(made, summary(number), {})
    assert len(made.history) == HISTORY
    assert made.history[0].number == made.number - 1


OUTSIDE = ["", "/etc/passwd", "a//b", "a/", ".", "./a", "a/./b", "..", "../a", "a/../b", "a/..", "a\0b"]
OUTSIDE += ["C:\\a", "c:/a", "\\a", "\\\\host\\a", "..\\a", "a\\..\\b", ".amianai/lock", ".amianai/releases/000001.json.gz", ".amianai"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_record_that_names_what_is_no_file_of_the_site_is_refused(path: str) -> None:
    entry = Entry("e", 1, "text/html", "no-cache", "v")
    for made in (Manifest(summary(1), {"a": entry, path: entry}), Manifest(summary(1), {}, retired={path: Retired(1.0)})):
        with pytest.raises(AmianaiError, match="names what is no file of the site") as caught:
            decode(encode(made), "s3://bucket/key")
        assert caught.value.where == "s3://bucket/key"


def test_unusual_names_are_files_of_the_site() -> None:
    for path in ("...", "..a/b..", ".well-known/x", "a b/ü.txt", "a\\b", "[slug]/index.html", ".amianai-notes", "a:b"):
        assert not outside(path), path


def test_what_leads_outside_is_not_recorded_as_left_over() -> None:
    made = following(None, summary(1), {}, leftovers=("a//b", "a.js"), present={"a//b", "a.js"})
    assert list(made.retired) == ["a.js"]


def test_a_record_of_an_earlier_version_does_not_say_what_was_published() -> None:
    raw = json.loads(zlib.decompress(encode(Manifest(summary(1), {})), wbits=31))
    del raw["published"]
    assert decode(zlib.compress(json.dumps(raw).encode(), wbits=31)).published == ""
