"""Invalidation paths: all that changed, nothing else, and few."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.site.invalidation import EVERYTHING, LIMIT, addresses, cost, encoded, minimal

FOLDERS = st.lists(st.sampled_from(["a", "b", "c d"]), max_size=3).map("/".join)
PATHS = st.builds(
    lambda folder, name: f"{folder}/{name}".lstrip("/"), FOLDERS, st.sampled_from(["index.html", "index.txt", "x.png", "plain", "é.js"])
)


def covers(pattern: str, address: str) -> bool:
    plain = unquote(pattern)
    return address.startswith(plain[:-1]) if plain.endswith("*") else address == plain


@given(st.sets(PATHS, max_size=40), st.sets(PATHS, max_size=40), st.integers(1, 20))
def test_everything_changed_is_covered_and_nothing_else(changed: set[str], others: set[str], limit: int) -> None:
    others -= changed
    found = minimal(changed, others, limit)
    assert len(found) <= max(limit, 1)
    assert bool(found) == bool(changed)
    for path in changed:
        assert all(any(covers(pattern, address) for pattern in found) for address in addresses(path))
    if found != (EVERYTHING,):
        named = {address for path in changed for address in addresses(path)}
        for path in others:
            own = {f"/{path}"} - named
            assert not any(covers(pattern, address) for pattern in found for address in own)


@given(st.sets(PATHS, min_size=1, max_size=40))
def test_when_everything_changed_one_path_will_do(changed: set[str]) -> None:
    assert minimal(changed, ()) == (EVERYTHING,)


def test_examples() -> None:
    site = {"index.html", "about/index.html", "about/index.txt", "docs/a/index.html", "docs/b/index.html", "_next/static/x.js"}
    assert minimal({"index.html"}, site) == ("/", "/index.html")
    assert minimal({"about/index.html"}, site) == ("/about", "/about/", "/about/index.html")
    assert minimal({"about/index.html", "about/index.txt"}, site) == ("/about", "/about/*")
    assert minimal({"docs/a/index.html", "docs/b/index.html"}, site) == ("/docs", "/docs/*")
    assert minimal((), site) == ()
    pages = {f"page-{number}/index.html" for number in range(LIMIT)}
    assert minimal(pages, {"_next/static/x.js"}) == (EVERYTHING,)


def test_encoding() -> None:
    assert encoded("/a b/[id]/ü~100%.html") == "/a%20b/%5Bid%5D/%C3%BC%7E100%25.html"
    assert encoded("/docs/*") == "/docs/*"


def test_the_cost_is_said() -> None:
    assert cost(1) == "1 path; free within the first 1,000 a month, else $0.005"
    assert "15 paths" in cost(15)
    assert "$0.075" in cost(15)
