"""A visitor who loops over every page and every file that each page names, and notes what is wrong."""

from __future__ import annotations

import http.client
import threading
from types import TracebackType
from urllib.parse import quote

from amianai_infra.site.references import references


class Visitors:
    """Several of them, at work while the block runs.

    Args:
        port: the CDN's port.
        pages: pages to begin with.
        count: how many visitors.
        host: value of the Host header, where it decides which site answers.
    """

    def __init__(self, port: int, pages: list[str], count: int = 2, host: str = "") -> None:
        self._headers = {"Host": host} if host else {}
        self._port = port
        self._pages = pages
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(count)]
        self.problems: list[str] = []
        self.seen = 0
        self.versions: set[str] = set()

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _loop(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._ended.is_set():
            for page in self._pages:
                self._visit(connection, page)
        connection.close()

    def _visit(self, connection: http.client.HTTPConnection, page: str) -> None:
        status, body = self._get(connection, "/" + page.removesuffix("index.html"))
        text = body.decode()
        if status != 200 or not text.rstrip().endswith("</html>"):
            self.problems.append(f"{page}: {status}, {len(text)} characters")
            return
        self.versions.add(text.partition("<a href=")[2][:30])
        for name in sorted({one.path for one in references(page, text)}):
            status, _ = self._get(connection, f"/{name}")
            if status != 200:
                self.problems.append(f"{page} names {name}: {status}")

    def _get(self, connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
        connection.request("GET", quote(path), headers=self._headers)
        answer = connection.getresponse()
        self.seen += 1
        return answer.status, answer.read()
