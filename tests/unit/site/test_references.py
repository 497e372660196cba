"""What a page refers to."""

from __future__ import annotations

import pytest

from amianai_infra.site.references import file_of, references


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<script src="/_next/static/chunks/a-1.js" async=""></script>', {"_next/static/chunks/a-1.js"}),
        ("<img src='/logo.svg?v=1#x'>", {"logo.svg"}),
        ("<img src=logo.svg>", {"docs/logo.svg"}),
        ('<a href="../about/">', {"about/"}),
        ('<a href="/about">', {"about"}),
        ('<img srcset="/a.png 1x, /b.png 2x">', {"a.png", "b.png"}),
        ('<link rel="preload" href="/_next/static/media/f%20x.woff2"/>', {"_next/static/media/f x.woff2"}),
        ('<a href="https://elsewhere.example/x">', set()),
        ('<a href="//elsewhere.example/x">', set()),
        ('<a href="mailto:a@example.com">', set()),
        ('<a href="#top">', set()),
        ('<a href="/">', set()),
        ('<a href="http://[broken/">', set()),
        (
            '<script>self.__next_f.push([1,"3:I[1,[\\"2\\",\\"static/chunks/app/page-1.js\\"]]"])</script>',
            {"_next/static/chunks/app/page-1.js"},
        ),
        ('<a href="/a?x=1&amp;y=2">', {"a"}),
    ],
)
def test_references(html: str, expected: set[str]) -> None:
    assert references("docs/index.html", html) == expected


def test_which_file_answers() -> None:
    files = {"about/index.html", "logo.svg", "plain.html"}
    assert file_of("about/", files) == "about/index.html"
    assert file_of("about", files) == "about/index.html"
    assert file_of("plain", files) == "plain.html"
    assert file_of("logo.svg", files) == "logo.svg"
    assert file_of("gone", files) is None
