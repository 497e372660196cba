"""Hashes of the scripts within pages. That browsers agree is tried in tests/browser."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.header_rules import LARGEST_METADATA, METADATA, NEEDS
from amianai_infra.rules.inline_scripts import LARGEST, merged, needed_by, words


def sha(*scripts: str) -> str:
    return " ".join(b64encode(hashlib.sha256(one.encode()).digest()).decode().rstrip("=") for one in scripts) or "-"


@pytest.mark.parametrize(
    ("page", "scripts"),
    [
        ("<p>nothing</p>", []),
        ("<script>a()</script><SCRIPT type=module>b()</SCRIPT >", ["a()", "b()"]),
        ("<script>a()</script><script>a()</script>", ["a()"]),
        ("<script src=x.js>ignored</script><script data-src=x>b()</script>", ["b()"]),
        ('<script type="application/ld+json">{}</script><script type="importmap">{"a":1}</script>', ['{"a":1}']),
        ("<script></script>", []),
        ("<script>\r\na()\r</script>", ["\na()\n"]),
        ("<!-- a <script> in a comment --><script>a()</script>", ["a()"]),
        ("<title>How <script> works</title><script>a()</script>", ["a()"]),
        ('<p title="a <script> tag">x</p><script>a()</script>', ["a()"]),
        ('<script data-x="a>b">a()</script>', ["a()"]),
        ("<template><script>a()</script></template>", ["a()"]),
        ("<script>x = '<!--'</script><script>b()</script>", ["x = '<!--'", "b()"]),
        ("<script>é()</script>", ["é()"]),
        ("<script>a()", []),
        ("<script>(self.__next_s=self.__next_s||[]).push([0,{\"children\":\"x()\",\"id\":\"i\"}])</script>",
         ["(self.__next_s=self.__next_s||[]).push([0,{\"children\":\"x()\",\"id\":\"i\"}])", "x()"]),
    ],
)  # fmt: skip
def test_every_script_that_a_browser_runs_and_no_data(page: str, scripts: list[str]) -> None:
    assert words(page.encode(), "utf-8")[0] == sha(*scripts)


@pytest.mark.parametrize(
    ("page", "values"),
    [
        ('<link onload="this.media=&#39;all&#39;">', ["this.media='all'"]),
        ("<button ONCLICK='a()' data-on=x>", ["a()"]),
        ('<a href=" java\tscript:void(0)">x</a><a href="javascript:go()">', ["javascript:void(0)", "javascript:go()"]),
        ('<iframe srcdoc="&lt;script&gt;a()&lt;/script&gt;"></iframe>', ["a()"]),
    ],
)
def test_what_attributes_run_needs_unsafe_hashes(page: str, values: list[str]) -> None:
    assert words(page.encode(), "utf-8")[0] == f"u {sha(*values)}"


def test_text_about_handlers_is_no_handler() -> None:
    assert words(b"<p>use onclick= and javascript: in a page", "utf-8")[0] == "-"


def test_what_cannot_be_read_for_certain_keeps_any_script() -> None:
    assert words("<script>a('é')</script>".encode("latin-1"))[0] == "i", "the browser guesses the encoding"
    assert words("<script>a('é')</script>".encode("latin-1"), "iso-8859-1")[0] == sha("a('é')")
    assert words("<script>é</script>".encode(), "no-such-charset")[0] == "i"
    assert words("<script>a()</script><p>é".encode("latin-1"))[0] == sha("a()")
    assert words(b"<script>x='<!-- <script></script>'</script>", "utf-8")[0] == "i", "what ends it depends on what it holds"
    assert words(b'<script>a()</script><p onclick="', "utf-8")[0] == "i"


@given(
    st.lists(st.sampled_from(["<script>", "</script>", "<!--", "-->", "<title>", "</title>", '"', "'", "=", "<a ", " onclick=", "x", ">"]))
)
def test_no_page_is_too_broken(parts: list[str]) -> None:
    own, _ = words("".join(parts).encode(), "utf-8")
    assert own


@pytest.mark.parametrize(
    "part", ["<script>", "<script ", '<a onclick="', "<!--", "<script></script>", "<title>", "<style></style><script>"]
)
def test_a_hostile_page_takes_no_longer_than_its_length(part: str) -> None:
    """Steps grow with the page: a quadratic one would take hours, and no clock need be asked."""
    assert words((part * 100_000).encode(), "utf-8")[0]


def test_more_than_an_object_keeps_is_any_script() -> None:
    most = " ".join(sha(str(number)) for number in range(45))
    assert merged(most, "") == most
    assert len(METADATA) + len(NEEDS) + LARGEST <= LARGEST_METADATA
    assert merged(f"{most} {sha('x')}", "w") == "i w"
    assert merged("-", "") == "-"
    assert merged("-", "w b") == "w b"
    assert merged("u abc", "i b") == "i b", "hashes would make browsers forget 'unsafe-inline'"


@pytest.mark.parametrize(
    ("script", "needs"),
    [
        ("fetch('/x')", ""),
        ("WebAssembly.instantiateStreaming(fetch('/a.wasm'))", "w"),
        ("if (typeof WebAssembly === 'object') {}", ""),
        ("new Worker(URL.createObjectURL(new Blob([code])))", "b"),
        ("new Worker(new URL('w.js', import.meta.url))", ""),
        ("link.href = URL.createObjectURL(file)", ""),
        ("document.dispatchEvent(new Event('astro:before-swap'))", "i"),
    ],
)
def test_what_scripts_need_of_every_policy(script: str, needs: str) -> None:
    assert needed_by(script.encode()) == needs
    assert words(f"<script>{script}</script><p>WebAssembly.compile</p>".encode(), "utf-8")[1] == needs
