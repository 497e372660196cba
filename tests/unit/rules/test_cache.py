"""Cache-Control rules."""

from __future__ import annotations

import re
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.cache import DEFAULT_RULES, IMMUTABLE, REVALIDATE, SHORT, CacheRule, cache_control, cache_policy, is_hashed

SEGMENT = st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=12)
PATHS = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("_next/static/chunks/app/page-1a2b3c4d5e6f7a8b.js", IMMUTABLE),
        ("_next/static/AbCdEf/_buildManifest.js", IMMUTABLE),
        ("_next/static/media/inter.woff2", IMMUTABLE),
        ("index.html", REVALIDATE),
        ("docs/start/index.html", REVALIDATE),
        ("docs/start/index.txt", REVALIDATE),
        ("_next/data/build/docs.json", REVALIDATE),
        ("robots.txt", REVALIDATE),
        ("sitemap.xml", REVALIDATE),
        ("site.webmanifest", REVALIDATE),
        ("sw.js", REVALIDATE),
        ("favicon.ico", SHORT),
        ("images/team photo.png", SHORT),
        ("assets/main.3f2a9b1c.css", IMMUTABLE),
        ("assets/main.3f2a9b1c.css.map", IMMUTABLE),
        ("assets/0123456789abcdef0123456789abcdef.woff2", IMMUTABLE),
        ("index-3f2a9b1c.html", REVALIDATE),
        ("icon", SHORT),
        ("report-20240131.pdf", SHORT),
        ("cafe-decadeface.png", SHORT),
    ],
)
def test_each_kind_of_file_gets_its_header(path: str, expected: str) -> None:
    assert cache_control(path) == expected
    assert cache_control("/" + path) == expected


@given(PATHS)
def test_what_is_immutable_is_named_by_its_content(path: str) -> None:
    """Nothing outside Next's own hashed folder is immutable without a hash, and never a page."""
    if cache_control(path) == IMMUTABLE and not path.startswith("_next/static/"):
        assert is_hashed(path)
        assert not path.endswith((".html", ".txt", ".json"))


@given(st.from_regex(r"[0-9a-f]{8,40}", fullmatch=True), st.sampled_from([".js", ".css", ".woff2", ".js.map"]), st.sampled_from(".-_"))
def test_a_hash_needs_letters_and_figures(digest: str, extension: str, separator: str) -> None:
    mixed = bool(re.search("[a-f]", digest)) and bool(re.search("[0-9]", digest))
    assert is_hashed(f"assets/name{separator}{digest}{extension}") is mixed


def test_own_rules_come_first() -> None:
    own = cache_policy((CacheRule("downloads/*.txt", "no-store"), CacheRule("a/**/z.*", "private"), *DEFAULT_RULES))
    assert own("downloads/a.txt") == "no-store"
    assert own("downloads/deeper/a.txt") == REVALIDATE
    assert own("a/b/c/z.png") == "private"
    assert cache_policy(())("anything") == SHORT


@given(st.sampled_from(["**.html", "docs/**", "**", "a**b"]), PATHS)
def test_globs_without_folders_agree_with_fnmatch(pattern: str, path: str) -> None:
    expected = re.fullmatch(translate(pattern.replace("**", "*")), path) is not None
    assert (cache_policy([CacheRule(pattern, "hit")])(path) == "hit") is expected
