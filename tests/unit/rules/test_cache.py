"""Cache-Control rules."""

from __future__ import annotations

import random
import re
from datetime import date
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.cache import IMMUTABLE, REVALIDATE, SHORT, CacheRule, cache_control, cache_policy, is_hashed

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
        ("assets/0123456789abcdef0123456789abcdef.woff2", IMMUTABLE),
        ("index-3f2a9b1c.html", REVALIDATE),
        ("icon", SHORT),
        ("report-20240131.pdf", SHORT),
        ("cafe-decadeface.png", SHORT),
        # Vite 8 and Astro 5 seen in builds, the others from their documented patterns.
        ("assets/index-Cg1B1Bvb.js", IMMUTABLE),
        ("assets/index-mUEkpVIN.js", IMMUTABLE),
        ("assets/index-DykytF2W.css", IMMUTABLE),
        ("assets/react-CHdo91hT.svg", IMMUTABLE),
        ("assets/hero-CLDdwZDr.png", IMMUTABLE),
        ("assets/vite-BF8QNONU.svg", IMMUTABLE),
        ("_astro/page.D1uwR3nK.js", IMMUTABLE),
        ("_astro/index.astro_astro_type_script_index_0_lang.BpqmdxA4.js", IMMUTABLE),
        ("_astro/logo.CLDdwZDr_289N1L.webp", IMMUTABLE),
        ("_app/immutable/chunks/CW4QeVRn.js", IMMUTABLE),
        ("docs/_app/immutable/entry/start.Bh3kQ0aX.js", IMMUTABLE),
        ("_app/version.json", REVALIDATE),
        ("_nuxt/DlAUqK2U.js", IMMUTABLE),
        ("_nuxt/builds/latest.json", REVALIDATE),
        ("main-K3J7XQ2W.js", IMMUTABLE),
        ("chunk-VZDQXKJW.js", IMMUTABLE),
        ("media/inter-latin-VZDQXKJW.woff2", IMMUTABLE),
        ("assets/chunks/framework.DlAUqK2U.js", IMMUTABLE),
        ("assets/guide_index.md.D1uwR3nK.lean.js", IMMUTABLE),
        ("assets/js/935f2afb.3f2a9b1c.js", IMMUTABLE),
        ("assets/javascripts/bundle.3f2a9b1c.min.js", IMMUTABLE),
        ("static/3f2a9b1c4d5e6f7a3f2a9b1c4d5e6f7a/logo.png", IMMUTABLE),
        ("photo_hu_8ab2f6d4b3c2d1e0.webp", IMMUTABLE),
        ("main.min.3f2a9b1c4d5e6f7a3f2a9b1c4d5e6f7a3f2a9b1c4d5e6f7a3f2a9b1c4d5e6f7a.css", IMMUTABLE),
        # A source map changes with a comment, which its script does not have.
        ("assets/main.3f2a9b1c.css.map", SHORT),
        ("_next/static/chunks/page-1a2b3c4d5e6f7a8b.js.map", SHORT),
        ("assets/index-Cg1B1Bvb.js.br", SHORT),
        # Dates, colours, words, serial numbers.
        ("menu-20240131b.pdf", SHORT),
        ("IMG_20240131b.jpg", SHORT),
        ("assets/IMG-20240131.jpg", SHORT),
        ("assets/menu.20240131b.pdf", SHORT),
        ("assets/menu.b20240131.pdf", SHORT),
        ("color-0066cc00.png", SHORT),
        ("assets/color-0066cc00.png", SHORT),
        ("color.0066cc00.png", SHORT),
        ("assets/DSCF1234.jpg", SHORT),
        ("assets/camera-DSCF1234.jpg", SHORT),
        ("assets/hero-Summer24.jpg", SHORT),
        ("views-MainView.js", SHORT),
        ("my-big-page.js", SHORT),
        ("jquery.validate.min.js", SHORT),
        ("jquery.20240131.js", SHORT),
        ("news.js", SHORT),
        # Workers, feeds and pages, however they are written.
        ("ngsw-worker.js", REVALIDATE),
        ("flutter_service_worker.js", REVALIDATE),
        ("firebase-messaging-sw.js", REVALIDATE),
        ("app/service-worker.js", REVALIDATE),
        ("feed.rss", REVALIDATE),
        ("a.HTML", REVALIDATE),
        ("calendar.ics", REVALIDATE),
    ],
)
def test_each_kind_of_file_gets_its_header(path: str, expected: str) -> None:
    assert cache_control(path) == expected
    assert cache_control("/" + path) == expected


OWN = re.compile(r"(?:^|/)(?:_next/static|_app/immutable|_astro|_nuxt)/")


@given(PATHS)
def test_what_is_immutable_is_named_by_its_content(path: str) -> None:
    """Nothing outside the frameworks' own folders is immutable without a hash, and never a page or a source map."""
    if cache_control(path) == IMMUTABLE and not OWN.search(path):
        assert is_hashed(path)
        assert not path.lower().endswith((".html", ".txt", ".json", ".map"))


@pytest.mark.parametrize(
    ("alphabet", "name"),
    [
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", "assets/index-{}.png"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "chunk-{}.js"),
        ("0123456789abcdef", "static/js/main.{}.js"),
    ],
)
def test_nearly_every_hash_is_seen(alphabet: str, name: str) -> None:
    """The rest reads as words or dates, is kept for minutes only, and costs requests."""
    draw = random.Random(7)
    seen = sum(is_hashed(name.format("".join(draw.choices(alphabet, k=8)))) for _ in range(5000))
    assert seen > 4850


WORD = st.sampled_from(["hero", "Summer", "team", "photo", "menu", "icon", "Main", "View", "page", "home", "guide", "logo"])


@given(
    st.lists(WORD | st.integers(0, 99999).map(str), min_size=1, max_size=4), st.sampled_from("-_"), st.sampled_from(["jpg", "pdf", "js"])
)
def test_words_and_numbers_are_no_hash(words: list[str], separator: str, extension: str) -> None:
    assert not is_hashed(f"assets/{separator.join(words)}.{extension}")


@given(
    st.dates(),
    st.sampled_from(["%Y%m%d", "%d%m%Y"]),
    st.sampled_from(["", "a", "f"]),
    st.sampled_from("-_."),
    st.sampled_from(["jpg", "js"]),
)
def test_dates_are_no_hash(day: date, form: str, letter: str, separator: str, extension: str) -> None:
    if day.year >= 1900 and day.year < 2100:
        assert not is_hashed(f"assets/report{separator}{day.strftime(form)}{letter}.{extension}")


def test_what_the_bundler_lists_and_what_pages_register_decides() -> None:
    decide = cache_policy(fresh={"push.js", "assets/sw-Cg1B1Bvb.js"}, listed={"static/logo-CLDdwZDr.png"})
    assert decide("push.js") == decide("assets/sw-Cg1B1Bvb.js") == REVALIDATE
    assert decide("static/logo-CLDdwZDr.png") == IMMUTABLE
    assert cache_control("static/logo-CLDdwZDr.png") == SHORT


def test_own_rules_come_first() -> None:
    own = cache_policy(
        (CacheRule("downloads/*.txt", "no-store"), CacheRule("a/**/z.*", "private")),
        stated={"downloads/a.txt": "never", "b.txt": "max-age=9"},
    )
    assert own("downloads/a.txt") == "no-store"
    assert own("b.txt") == "max-age=9"
    assert own("downloads/deeper/a.txt") == REVALIDATE
    assert own("a/b/c/z.png") == "private"
    assert cache_policy(())("anything") == SHORT


@given(st.sampled_from(["**.html", "docs/**", "**", "a**b"]), PATHS)
def test_globs_without_folders_agree_with_fnmatch(pattern: str, path: str) -> None:
    expected = re.fullmatch(translate(pattern.replace("**", "*")), path) is not None
    assert (cache_policy([CacheRule(pattern, "hit")])(path) == "hit") is expected
