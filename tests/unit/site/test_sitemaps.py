"""What is wrong with `robots.txt` and the sitemaps of a site."""

from __future__ import annotations

import pytest

from amianai_infra.rules.redirects import parse
from amianai_infra.rules.routing import Routing
from amianai_infra.site.sitemaps import told

HOSTS = ("example.com", "www.example.com")
PAGES = {"index.html", "about/index.html", "blog/first.html"}


def say(**files: str) -> list[str]:
    texts = {name.replace("_", "."): text for name, text in files.items()}
    return told(texts.__getitem__, {*PAGES, *texts}, HOSTS)


def sitemap(*addresses: str, kind: str = "urlset") -> str:
    return (
        f'<?xml version="1.0"?>\n<{kind} xmlns="x">\n' + "\n".join(f"<url><loc>{one}</loc></url>" for one in addresses) + f"\n</{kind}>\n"
    )


def test_a_sitemap_of_the_site_is_sound() -> None:
    good = sitemap("https://example.com/", "https://example.com/about/", "https://www.example.com/blog/first")
    assert say(sitemap_xml=good, robots_txt="User-agent: *\nDisallow: /admin\nSitemap: https://example.com/sitemap.xml") == []
    assert say() == []


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("https://example.com/gone", "is no page of the site"),
        ("https://example.com/about", "leads to /about/: name that"),
        ("https://staging.example.net/about/", "is no address of example.com"),
        ("/about/", "is no address of example.com"),
    ],
)
def test_entries_that_search_engines_would_find_wrong(address: str, problem: str) -> None:
    assert say(sitemap_xml=sitemap("https://example.com/", address)) == [f"sitemap.xml, line 4: {address} {problem}"]


@pytest.mark.parametrize("text", ["", "<html><body>not found</body></html>", "<urlset><url><loc>https://example.com/</loc></url>"])
def test_what_is_no_sitemap(text: str) -> None:
    assert len(say(sitemap_xml=text)) == 1


def test_an_index_names_sitemaps_and_those_are_read() -> None:
    index = sitemap("https://example.com/one.xml", "https://example.com/gone.xml", kind="sitemapindex")
    assert say(sitemap_xml=index, one_xml=sitemap("https://example.com/lost")) == [
        "sitemap.xml, line 4: https://example.com/gone.xml is a sitemap that the site does not have",
        "one.xml, line 3: https://example.com/lost is no page of the site",
    ]


@pytest.mark.parametrize(
    ("text", "blocked"),
    [
        ("User-agent: *\nDisallow: /", True),
        ("User-Agent: a\nUser-agent: *\ndisallow: /  # all\n", True),
        ("User-agent: *\nDisallow:", False),
        ("User-agent: bot\nDisallow: /", False),
        ("User-agent: *\nDisallow: /\nAllow: /public", False),
        ("User-agent: *\nAllow: /\n\nUser-agent: bot\nDisallow: /", False),
    ],
)
def test_robots_that_keep_everybody_away(text: str, blocked: bool) -> None:
    assert bool(say(robots_txt=text)) is blocked


def test_what_a_rule_answers_is_there() -> None:
    rules, problems = parse("/old /about/ 301\n")
    assert problems == []
    text = sitemap("https://example.com/old", "https://example.com/gone")
    found = told(lambda path: text, {*PAGES, "sitemap.xml"}, HOSTS, Routing(rules=tuple(rules)))
    assert found == ["sitemap.xml, line 4: https://example.com/gone is no page of the site"]


def test_robots_that_name_a_sitemap_that_is_not_there() -> None:
    assert say(robots_txt="User-agent: *\nDisallow:\nSitemap: https://example.com/map.xml") == [
        "robots.txt, line 3: https://example.com/map.xml names a sitemap that the site does not have."
    ]
