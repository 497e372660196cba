"""A crawler of a served site, made without the toolkit's own code: from the front page along whatever a browser would ask for.

It reads pages, style sheets, web manifests and the imports of modules; of scripts it knows only what they import in so many words.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin, urlsplit


@dataclass(frozen=True)
class Answer:
    """What an address answered, and which addresses of the site it names."""

    status: int
    headers: dict[str, str]
    body: bytes
    names: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]


class Client:
    """Asks one site, over one connection."""

    def __init__(self, url: str) -> None:
        self.host = url.removeprefix("http://").rstrip("/")
        self._connection = http.client.HTTPConnection("127.0.0.1", int(self.host.rpartition(":")[2]), timeout=60)

    def get(self, address: str) -> Answer:
        self._connection.request("GET", address, headers={"Host": self.host, "Accept": "*/*"})
        answer = self._connection.getresponse()
        body = answer.read()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        raw = [headers["location"]] if "location" in headers else _named(headers.get("content-type", ""), body)
        return Answer(answer.status, headers, body, tuple(dict.fromkeys(self._ours(address, raw))))

    def crawl(self, *start: str) -> dict[str, Answer]:
        """Every address that can be reached, with its answer."""
        found: dict[str, Answer] = {}
        waiting = list(start or ("/",))
        while waiting:
            address = waiting.pop()
            if address not in found:
                found[address] = self.get(address)
                waiting += found[address].names
        return found

    def close(self) -> None:
        self._connection.close()

    def _ours(self, address: str, raw: Iterator[str] | list[str]) -> Iterator[str]:
        for one in raw:
            parts = urlsplit(urljoin(f"http://{self.host}{address}", one.strip()))
            if parts.scheme == "http" and parts.netloc == self.host:
                yield quote(unquote(parts.path or "/"), safe="/!$&'()*+,;=:@-._~")


def _named(kind: str, body: bytes) -> Iterator[str]:
    text = body.decode("utf-8", "replace")
    if kind.startswith("text/html"):
        page = _Page()
        page.feed(text)
        page.close()
        yield from page.found
    elif kind.startswith("text/css"):
        yield from _style(text)
    elif kind.startswith("application/manifest+json"):
        yield from (icon["src"] for icon in json.loads(text).get("icons", ()))
    elif kind.startswith("text/javascript"):
        yield from _IMPORT.findall(text)


_IMPORT = re.compile(r"""(?<![\w$.])(?:import|from)\s*\(?\s*["'`](\.{0,2}/[^"'`\s]+)["'`]""")
_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s;]+)""")


def _style(text: str) -> list[str]:
    return [one for one in _STYLE.findall(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)) if not one.startswith(("data:", "#"))]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        one = {name: value or "" for name, value in attrs}
        self._within = tag if tag == "style" or (tag == "script" and one.get("type") == "module") else ""
        kinds = one.get("rel", "").split()
        if tag in ("a", "area") or (tag == "link" and not {"canonical", "alternate", "preconnect", "dns-prefetch"} & set(kinds)):
            self.found.append(one["href"]) if one.get("href") else None
        if tag != "a" and one.get("src"):
            self.found.append(one["src"])
        for name in ("srcset", "imagesrcset"):
            self.found += [part.split()[0] for part in one.get(name, "").split(",") if part.strip()]
        self.found += _style(one.get("style", ""))

    def handle_data(self, data: str) -> None:
        self.found += _style(data) if self._within == "style" else _IMPORT.findall(data) if self._within == "script" else []

    def handle_endtag(self, tag: str) -> None:
        self._within = ""
