"""The bucket behind a release: what its errors say, and what its requests are signed with."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import pytest
from obstore.exceptions import GenericError

from amianai_infra.errors import ForbiddenError
from amianai_infra.site.store import SiteBucket, explained
from amianai_infra.target import Credentials


def test_the_services_reason_is_shown_however_long_the_address_before_it_is() -> None:
    address = f"PUT http://127.0.0.1:4566/{'folder/' * 200}index.html"
    error = GenericError(f"Generic S3 error: Error performing {address}: InsufficientStorage: No space left on device")
    told = explained(error, "writing index.html", "site")
    assert told.what == "The bucket has no room left (writing index.html)."
    assert str(told.where).startswith("s3://site: Generic S3 error: Error performing PUT http://127.0.0.1:4566/folder/")
    assert str(told.where).endswith("No space left on device")
    assert len(str(told.where)) < 700


@contextmanager
def served() -> Iterator[tuple[int, list[str]]]:
    """A server that has every object and notes the key that each request is signed with."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
            self.send_response(200)
            self.send_header("ETag", '"e"')
            self.send_header("Last-Modified", "Sun, 29 Nov 2026 20:00:00 GMT")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield http.server_port, keys
        http.shutdown()
        thread.join()


def bucket(port: int, credentials: Credentials) -> SiteBucket:
    return SiteBucket("site", "us-east-1", f"http://127.0.0.1:{port}", credentials, owner="123456789012")


@pytest.mark.parametrize(("lifetime", "signed"), [(timedelta(seconds=1), ["KEY1", "KEY2"]), (timedelta(hours=1), ["KEY1", "KEY1"])])
def test_a_release_that_lasts_longer_than_its_credentials_has_them_renewed(lifetime: timedelta, signed: list[str]) -> None:
    number = count(1)

    def renew() -> Credentials:
        return Credentials(f"KEY{next(number)}", "secret", "token", datetime.now(UTC) + lifetime)

    with served() as (port, keys):
        store = bucket(port, Credentials("KEY0", "secret", "token", renew=renew))
        store.get("a")
        time.sleep(0.2)  # the library asks ten times a second at most
        store.get("b")
    assert keys == signed


def test_credentials_that_cannot_be_renewed_are_told_as_such() -> None:
    def renew() -> Credentials:
        raise ForbiddenError("The AWS session has ended.", where="profile team", fix="run `aws sso login`")

    with served() as (port, keys), pytest.raises(ForbiddenError, match="ended and could not be renewed") as told:
        bucket(port, Credentials("KEY0", "secret", "token", renew=renew)).get("a")
    assert "The AWS session has ended" in told.value.where
    assert not keys


def test_credentials_that_do_not_end_are_used_as_they_are() -> None:
    with served() as (port, keys):
        bucket(port, Credentials("KEY0", "secret")).get("a")
    assert keys == ["KEY0"]
