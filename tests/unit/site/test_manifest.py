"""Manifests survive the journey and say so when they do not."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.errors import AmianaiError
from amianai_infra.site.manifest import (
    HISTORY,
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
)
PATHS = st.text(min_size=1, max_size=30).filter(lambda path: not outside(path))


def summary(number: int) -> Summary:
    return Summary(number, "deploy", number, "b", 1.5, 2.5, "ü@host", "abc+", 1, 2, 3)


@given(
    st.dictionaries(PATHS, ENTRIES, max_size=5),
    st.dictionaries(PATHS, st.builds(Retired, st.floats(0, 1e10), st.none() | ENTRIES), max_size=5),
)
def test_what_is_written_is_read(files: dict[str, Entry], retired: dict[str, Retired]) -> None:
    manifest = Manifest(summary(3), files, "sources", retired, (summary(2), summary(1)))
    assert decode(encode(manifest)) == manifest
    assert encode(manifest) == encode(manifest)


def test_a_damaged_record_is_said() -> None:
    for data in (b"", b"junk", zlib.compress(b"{}", wbits=31), encode(Manifest(summary(1), {}))[:-20]):
        with pytest.raises(AmianaiError, match="cannot be read"):
            decode(data, "s3://bucket/key")


def test_a_record_of_a_newer_program_is_said() -> None:
    raw = json.loads(zlib.decompress(encode(Manifest(summary(1), {})), wbits=31)) | {"format": 2}
    with pytest.raises(AmianaiError, match="format 2"):
        decode(zlib.compress(json.dumps(raw).encode(), wbits=31))


def test_keys() -> None:
    assert manifest_key(7) == ".amianai/releases/000007.json.gz"
    assert release_number(manifest_key(7)) == 7
    assert release_number(".amianai/lock") is None


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
