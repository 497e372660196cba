"""A relay in front of a sandbox's emulator, through which a share of the calls fails: refused, throttled, cut off before or after the work.

The emulator moves to 127.0.0.2; what every command and every daemon knows, the port on 127.0.0.1, is the relay's. No product code knows.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from amianai_infra.progress import Progress
from amianai_infra.sandbox import Sandbox
from amianai_infra.sandbox.processes import listening

BESIDE = "127.0.0.2"
KINDS = ("500", "throttled", "reset", "lost")
_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


class Relay(ThreadingHTTPServer):
    """Passes everything on, or lets it fail.

    Attributes:
        share: how many of the calls fail; 0 passes everything on.
        failed: how many did, by kind.
        calls: how many calls there were, the failed ones with them.
        down: whether every call is cut off before anything is done.
    """

    daemon_threads = True
    request_queue_size = 128
    share = 0.0

    def __init__(self, port: int, beyond: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", port), _Call)
        self.beyond = beyond
        self.down = False
        self.failed: Counter[str] = Counter()
        self.calls = 0
        self._draw = random.Random(0)
        self._lock = threading.Lock()

    def fail(self, share: float, seed: int) -> None:
        """From here on let this share of the calls fail, drawn anew."""
        with self._lock:
            self.share, self._draw, self.failed, self.calls = share, random.Random(seed), Counter(), 0

    def drawn(self) -> str:
        """What becomes of the next call; empty where nothing does."""
        with self._lock:
            self.calls += 1
            kind = "reset" if self.down else self._draw.choice(KINDS) if self._draw.random() < self.share else ""
            if kind:
                self.failed[kind] += 1
            return kind

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no concern of ours."""


class _Call(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
        """Say nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service = re.search(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/", self.headers.get("Authorization", ""))
        kind = self.server.drawn() if service else ""  # what is not signed is a visitor of the site
        if kind == "reset":
            self._cut()
        elif kind in ("500", "throttled"):
            self._refuse(service[1] if service else "", kind)
        else:
            status, headers, answer = self._passed_on(body)
            if kind == "lost":
                self._cut()
            else:
                self._answer(status, headers, answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        beyond = http.client.HTTPConnection(*self.server.beyond, timeout=120)
        with contextlib.closing(beyond):
            beyond.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP:
                    beyond.putheader(name, value)
            beyond.endheaders(body)
            answer = beyond.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        kept = [(name, value) for name, value in headers if name.lower() not in _HOP | {"content-length"}]
        length = dict((name.lower(), value) for name, value in headers).get("content-length") if self.command == "HEAD" else str(len(body))
        for name, value in [*kept, *([("Content-Length", length)] if length and status not in (204, 304) else [])]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, service: str, kind: str) -> None:
        """In the service's own protocol, so that an SDK reads the code."""
        codes = {"s3": ("InternalError", "SlowDown"), "ec2": ("InternalError", "RequestLimitExceeded")}
        failure, slow = codes.get(service, ("InternalFailure", "ThrottlingException"))
        code = failure if kind == "500" else slow
        status = 500 if kind == "500" else 503 if service in codes else 400
        if "X-Amz-Target" in self.headers or service in ("scheduler", "lambda"):
            status = 429 if status == 400 and service in ("scheduler", "lambda") else status
            headers, body = (
                [("Content-Type", "application/json"), ("x-amzn-ErrorType", code)],
                f'{{"__type": "{code}", "message": "drawn"}}',
            )
        else:
            error = f"<Code>{code}</Code><Message>drawn</Message>"
            forms = {"s3": f"<Error>{error}</Error>", "ec2": f"<Response><Errors><Error>{error}</Error></Errors></Response>"}
            headers, body = [("Content-Type", "text/xml")], forms.get(service, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>")
        self._answer(status, headers, body.encode())

    def _cut(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        raise ConnectionAbortedError


@contextmanager
def relayed(sandbox: Sandbox) -> Iterator[Relay]:
    """A sandbox that runs, its emulator moved behind a relay. Afterwards the next command starts it where it belongs.

    Yields:
        The relay, passing everything on.
    """
    ports, quiet = sandbox.ports(), Progress(quiet=True)
    made = sandbox._emulator(ports, quiet)
    moved = replace(
        made, environment={**made.environment, "BIND_HOST": BESIDE}, answers=lambda: listening(ports.emulator, BESIDE), port=ports.emulator
    )
    sandbox._keeper.start(moved)
    try:
        with relaying(Relay(ports.emulator, (BESIDE, ports.emulator))) as relay:
            yield relay
    finally:
        sandbox._keeper.stop("emulator")


@contextmanager
def relaying(relay: Relay) -> Iterator[Relay]:
    """Serve until the end of the block."""
    thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield relay
    finally:
        relay.shutdown()
        thread.join()
        relay.server_close()
