"""Runs the emulator, in its own venv, with what a sandbox on a person's machine needs besides.

* State is saved a moment after it changed. The emulator itself saves only when it is told to end, and would lose
  everything but S3 objects to a kill or a power cut.
* Web pages from elsewhere are turned away. The emulator lets every origin call every service and lets anyone reset it;
  a page open in the same browser could then read or wipe the sandbox.
* Listing and making buckets takes credentials. The emulator checks every other call itself.
* Viewers of the site count as coming over TLS. The emulator has none, so it would send them to an https address that does
  not exist (`redirect-to-https`), and a bucket policy that wants TLS would turn away CloudFront's fetch for them.

Not part of the package's import graph: this file runs by its path, where only the emulator's own packages exist.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

QUIET_SECONDS = 0.5
AT_LEAST_EVERY = 10.0
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_log = logging.getLogger("sandbox")


def is_local(host: str) -> bool:
    """Whether a name can only mean this machine."""
    name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    return name in _LOCAL or name.endswith(".localhost")


def refusal(method: str, path: str, query: str, headers: dict[str, str]) -> str | None:
    """Why a request is turned away, or None.

    Args:
        method: the HTTP method.
        path: the decoded path.
        query: the query string.
        headers: by lower-case name.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if not is_local(host):
        return f"the sandbox answers to names of this machine only, not to {host!r}"
    if origin is not None and not is_local(urlsplit(origin).netloc):
        return f"pages of {origin!r} may not call the sandbox"
    if path.startswith("/_ministack/reset"):
        return "run `amianai sandbox reset` instead"
    if _names_buckets(method, path, host, headers) and not _signed(query, headers):
        return "listing and making buckets needs credentials"
    return None


def _names_buckets(method: str, path: str, host: str, headers: dict[str, str]) -> bool:
    """Whether this is ListBuckets, CreateBucket or DeleteBucket: the S3 calls that the emulator lets anybody make."""
    if ".cloudfront." in host or "x-amz-target" in headers:
        return False
    listing = method in ("GET", "HEAD") and path == "/"
    return listing or (method in ("PUT", "DELETE") and path.strip("/").count("/") == 0)


def _signed(query: str, headers: dict[str, str]) -> bool:
    return "authorization" in headers or "X-Amz-Credential=" in query or "AWSAccessKeyId=" in query


def as_over_tls(scope: Scope, host: str) -> Scope:
    """The scope of a viewer's request to a distribution, marked as having come over TLS; any other scope as it is."""
    if ".cloudfront." not in host:
        return scope
    kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"x-forwarded-proto"]
    return {**scope, "headers": [*kept, (b"x-forwarded-proto", b"https")]}


class Guard:
    """The emulator's application behind the checks, with its state saved after changes.

    Args:
        app: the emulator's ASGI application.
        save: writes all state to disk.
    """

    def __init__(self, app: App, save: Callable[[], None]) -> None:
        self._app = app
        self._save = save
        self._changed = asyncio.Event()
        self._last = 0.0
        self._saver: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            self._saver = asyncio.create_task(self._save_after_changes())
            await self._app(scope, receive, send)
            return
        if scope["type"] in ("http", "websocket"):
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            why = refusal(scope.get("method", "GET"), scope["path"], scope["query_string"].decode("latin-1"), headers)
            if why is not None:
                await _turn_away(scope, send, why)
                return
            scope = as_over_tls(scope, headers.get("host", ""))
        await self._app(scope, receive, send)
        if scope.get("method", "GET") not in _READING:
            self._last = time.monotonic()
            self._changed.set()

    async def _save_after_changes(self) -> None:
        """Save once nothing changed for half a second, and every ten seconds under steady change.

        It runs on the event loop on purpose: no request changes the state while it is written.
        """
        while True:
            await self._changed.wait()
            first = time.monotonic()
            while time.monotonic() - self._last < QUIET_SECONDS and time.monotonic() - first < AT_LEAST_EVERY:
                await asyncio.sleep(0.1)
            self._changed.clear()
            try:
                self._save()
            except Exception:
                _log.exception("saving the state failed")


async def _turn_away(scope: Scope, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = f"<Error><Code>AccessDenied</Code><Message>{why}</Message></Error>".encode()
    headers = [(b"content-type", b"application/xml"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until SIGTERM."""
    from ministack import app as gateway  # type: ignore[import-not-found]
    from ministack.core import persistence  # type: ignore[import-not-found]

    def save() -> None:
        # One line for each of fifty services after every change would bury the log.
        level = persistence.logger.level
        persistence.logger.setLevel(logging.WARNING)
        try:
            persistence.save_all(gateway._build_persistence_save_dict())
        finally:
            persistence.logger.setLevel(level)

    gateway.app = Guard(gateway.app, save)
    gateway.main()


if __name__ == "__main__":
    main()
