"""A small S3 with versions, conditional writes, uploads in parts and CloudFront invalidations; and a CDN in front of it.

Written for these tests because they need what no emulator offers: every request counted, failures before and after an
effect, and answers that are atomic. What real servers make of our requests is tested elsewhere (moto in
`test_site_moto.py`; versitygw in the benchmark and the soak tests).
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.functional.site.edge import Edge
from tests.functional.site.key_values import Store

STATUS = "x-amz-meta-amianai-status"
METADATA = "x-amz-meta-header-"
"""What the function at the edge makes headers of."""
SECURITY = {
    "Content-Security-Policy": "default-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Strict-Transport-Security": "max-age=31536000",
}


@dataclass(frozen=True)
class Version:
    """One version of one object."""

    version: str
    data: bytes
    etag: str
    modified: float
    headers: dict[str, str]


@dataclass
class Faults:
    """What goes wrong, and how often.

    Attributes:
        rate: share of requests that fail.
        kinds: 503 and 500 before anything happened; `reset` before; `lost` after the effect, the answer never arrives; `slow`.
        only: which requests may fail.
    """

    rate: float = 0.0
    kinds: tuple[str, ...] = ("503", "500", "reset", "lost", "slow")
    seed: int = 1
    only: Callable[[str, str], bool] = lambda method, key: True
    delay: float = 0.3

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._turn = threading.Lock()

    def draw(self, method: str, key: str) -> str:
        """What happens to this request; empty: nothing."""
        with self._turn:
            if not self.rate or not self.only(method, key) or self._random.random() >= self.rate:
                return ""
            return self._random.choice(self.kinds)


@dataclass
class Bucket:
    """Objects of one bucket, all versions, newest last; None is a delete marker."""

    versions: dict[str, list[Version | None]] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def live(self, key: str) -> Version | None:
        versions = self.versions.get(key)
        return versions[-1] if versions else None


class World:
    """The store, its log and its faults."""

    def __init__(self) -> None:
        self.bucket = Bucket()
        self.owner = "123456789012"
        self.unasked: list[tuple[str, str]] = []
        self.turn = threading.RLock()
        self.requests: list[tuple[str, str]] = []
        self.confirmed: Counter[str] = Counter()
        self.faults = Faults()
        self.latency = 0.0
        self.cdn_cache: dict[str, Version] = {}
        self.caching = True
        self.invalidated: list[list[str]] = []
        self.sabotage: Callable[[str, bytes], bytes] = lambda path, body: body
        self.hooks: list[Callable[[str, str], None]] = []
        self.routes = Store()
        self.edge: Edge | None = None
        self.added: dict[str, str] = {}
        self._number = itertools.count(1)

    def count(self, method: str, prefix: str = "") -> int:
        """Requests of one kind, keys below `prefix`."""
        return sum(1 for verb, key in self.requests if verb == method and key.startswith(prefix))

    def puts(self) -> list[str]:
        """Keys that were put, without our own records."""
        return sorted(key for verb, key in self.requests if verb == "PUT" and not key.startswith(".amianai/"))

    def forget(self) -> None:
        """Empty the log."""
        self.requests.clear()
        self.confirmed.clear()
        self.invalidated.clear()

    def store(self, key: str, data: bytes, headers: dict[str, str] | None = None, etag: str = "", age: float = 0.0) -> Version:
        """Write an object as an outsider would."""
        with self.turn:
            found = Version(
                f"v{next(self._number):08d}", data, etag or hashlib.md5(data).hexdigest(), float(int(time.time() - age)), headers or {}
            )
            self.bucket.versions.setdefault(key, []).append(found)
            return found

    def live(self) -> dict[str, Version]:
        """The site's objects."""
        with self.turn:
            return {
                key: found
                for key in self.bucket.versions
                if not key.startswith(".amianai/") and (found := self.bucket.live(key)) is not None
            }

    def records(self) -> dict[str, Version]:
        """Our own records."""
        with self.turn:
            return {
                key: found for key in self.bucket.versions if key.startswith(".amianai/") and (found := self.bucket.live(key)) is not None
            }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def world(self) -> World:
        return cast(_Server, self.server).world

    def log_message(self, *args: Any) -> None:
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class _S3(_Handler):
    def run(self) -> None:
        parts = urlsplit(self.path)
        body = self.body()
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if self.headers.get("X-Amz-Target") == "AmazonSSM.GetParameter":
            self.answer(400, b'{"__type": "ParameterNotFound"}', {"Content-Type": "application/x-amz-json-1.1"})
            return
        if parts.path.startswith("/2020-05-31/"):
            self._cloudfront(parts.path, body)
            return
        _, _, rest = parts.path.lstrip("/").partition("/")
        key = unquote(rest)
        for hook in self.world.hooks:
            hook(self.command, key)
        if self.world.latency:
            time.sleep(self.world.latency)
        fault = self.world.faults.draw(self.command, key)
        with self.world.turn:
            self.world.requests.append((self.command, key))
        if fault in ("503", "500"):
            name = "SlowDown" if fault == "503" else "InternalError"
            self._error(int(fault), name)
        elif fault == "reset":
            self.reset()
        else:
            if fault == "slow":
                time.sleep(self.world.faults.delay)
            self._lost = fault == "lost"
            self._as_owner(key, query, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = run
    _lost = False

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, length: int | None = None) -> None:
        if self._lost:
            self.reset()
        else:
            super().answer(status, body, headers, length)

    def _error(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), {"Content-Type": "application/xml"})

    def _as_owner(self, key: str, query: dict[str, str], body: bytes) -> None:
        """As S3 does: a request that expects another owner is refused, and the header must be signed."""
        expected = self.headers.get("x-amz-expected-bucket-owner")
        if expected is None:
            self.world.unasked.append((self.command, key))
        signed = "x-amz-expected-bucket-owner" in self.headers.get("Authorization", "")
        if expected is not None and (expected != self.world.owner or not signed):
            self._error(403, "AccessDenied")
        else:
            self._perform(key, query, body)

    def _perform(self, key: str, query: dict[str, str], body: bytes) -> None:
        with self.world.turn:
            if self.command == "GET" and not key:
                self._list(query)
            elif self.command in ("GET", "HEAD"):
                self._get(key, query)
            elif self.command == "PUT" and "uploadId" in query:
                self.world.bucket.parts[query["uploadId"]][int(query["partNumber"])] = body
                self.answer(200, headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
            elif self.command == "PUT":
                self._put(key, body)
            elif self.command == "POST" and "uploads" in query:
                upload = f"u{time.time_ns()}"
                self.world.bucket.parts[upload] = {}
                self._started = dict(self._kept())
                _UPLOADS[upload] = dict(self._kept())
                self.answer(200, f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode())
            elif self.command == "POST" and "uploadId" in query:
                self._complete(key, query["uploadId"])
            elif self.command == "POST" and "delete" in query:
                self._delete_named(body.decode())
            elif self.command == "DELETE":
                self.world.bucket.parts.pop(query.get("uploadId", ""), None)
                self.answer(204)
            else:
                self._error(501, "NotImplemented")

    def _kept(self) -> dict[str, str]:
        kept = {name.lower(): value for name, value in self.headers.items() if name.lower() != "content-length"}
        system = {name.title(): value for name, value in kept.items() if name.startswith("content-") or name == "cache-control"}
        return {**system, **{name: value for name, value in kept.items() if name == STATUS or name.startswith(METADATA)}}

    def _list(self, query: dict[str, str]) -> None:
        prefix = query.get("prefix", "")
        if "versions" in query:
            self._list_versions(prefix)
            return
        after = query.get("continuation-token") or query.get("start-after", "")
        keys = sorted(key for key in self.world.bucket.versions if key.startswith(prefix) and key > after and self.world.bucket.live(key))
        page, more = keys[:1000], len(keys) > 1000
        items = []
        for key in page:
            found = self.world.bucket.live(key)
            assert found is not None
            when = datetime.fromtimestamp(found.modified, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            items.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified><ETag>&quot;{found.etag}&quot;</ETag>"
                f"<Size>{len(found.data)}</Size></Contents>"
            )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        text = f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(items)}</ListBucketResult>"
        self.answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _get(self, key: str, query: dict[str, str]) -> None:
        if "versionId" in query:
            found = next((one for one in self.world.bucket.versions.get(key, []) if one and one.version == query["versionId"]), None)
        else:
            found = self.world.bucket.live(key)
        if found is None:
            self._error(404, "NoSuchKey")
            return
        when = datetime.fromtimestamp(found.modified, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {**found.headers, "ETag": f'"{found.etag}"', "x-amz-version-id": found.version, "Last-Modified": when}
        self.answer(200, found.data, headers, len(found.data))

    def _put(self, key: str, body: bytes) -> None:
        live = self.world.bucket.live(key)
        wanted = (self.headers.get("If-Match") or "").strip('"')
        if (self.headers.get("If-None-Match") == "*" and live) or (wanted and (live is None or live.etag != wanted)):
            self._error(412, "PreconditionFailed")
            return
        found = self.world.store(key, body, self._kept())
        if not self._lost:
            self.world.confirmed[key] += 1
        self.answer(200, headers={"ETag": f'"{found.etag}"', "x-amz-version-id": found.version})

    def _complete(self, key: str, upload: str) -> None:
        parts = [data for _, data in sorted(self.world.bucket.parts.pop(upload).items())]
        digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
        found = self.world.store(key, b"".join(parts), _UPLOADS.pop(upload), etag=f"{digest}-{len(parts)}")
        text = f"<CompleteMultipartUploadResult><ETag>&quot;{found.etag}&quot;</ETag></CompleteMultipartUploadResult>"
        self.answer(200, text.encode(), {"x-amz-version-id": found.version})

    def _list_versions(self, prefix: str) -> None:
        items = []
        for key, versions in sorted(self.world.bucket.versions.items()):
            for number, one in enumerate(versions if key.startswith(prefix) else ()):
                named = f"<Key>{escape(key)}</Key><VersionId>{one.version if one else f'm{number}'}</VersionId>"
                items.append(
                    f"<Version>{named}<ETag>&quot;{one.etag}&quot;</ETag></Version>" if one else f"<DeleteMarker>{named}</DeleteMarker>"
                )
        text = f"<ListVersionsResult><IsTruncated>false</IsTruncated>{''.join(items)}</ListVersionsResult>"
        self.answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _delete_named(self, text: str) -> None:
        versions = re.findall(r"<Key>(.*?)</Key>\s*<VersionId>(.*?)</VersionId>", text, re.DOTALL)
        if versions:
            self._delete_versions([(_unescape(name), version) for name, version in versions])
        else:
            self._delete([_unescape(name) for name in re.findall(r"<Key>(.*?)</Key>", text, re.DOTALL)])

    def _delete_versions(self, named: list[tuple[str, str]]) -> None:
        for key in {key for key, _ in named}:
            ids = {version for name, version in named if name == key}
            versions = enumerate(self.world.bucket.versions.pop(key, []))
            left = [one for number, one in versions if (one.version if one else f"m{number}") not in ids]
            if left:
                self.world.bucket.versions[key] = left
        self.answer(200, b"<DeleteResult></DeleteResult>", {"Content-Type": "application/xml"})

    def _delete(self, keys: list[str]) -> None:
        for key in keys:
            self.world.bucket.versions.setdefault(key, []).append(None)
            self.world.requests.append(("DELETE-KEY", key))
        self.answer(200, f"<DeleteResult>{''.join(f'<Deleted><Key>{escape(key)}</Key></Deleted>' for key in keys)}</DeleteResult>".encode())

    def _cloudfront(self, path: str, body: bytes) -> None:
        with self.world.turn:
            self.world.requests.append((self.command, path))
            if self.command == "POST":
                paths = [_unescape(found) for found in re.findall(r"<Path>(.*?)</Path>", body.decode(), re.DOTALL)]
                self.world.invalidated.append(paths)
                for pattern in paths:
                    for shown in [one for one in self.world.cdn_cache if fnmatchcase(one, unquote(pattern))]:
                        del self.world.cdn_cache[shown]
        text = (
            "<Invalidation><Id>I1</Id><Status>Completed</Status><CreateTime>2025-01-01T00:00:00Z</CreateTime><InvalidationBatch>"
            "<Paths><Quantity>0</Quantity></Paths><CallerReference>r</CallerReference></InvalidationBatch></Invalidation>"
        )
        self.answer(201 if self.command == "POST" else 200, text.encode(), {"Content-Type": "text/xml", "Location": "/x"})


_UPLOADS: dict[str, dict[str, str]] = {}


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&apos;", "'").replace("&amp;", "&")


class _Cdn(_Handler):
    """What a visitor meets: folders become pages, a page of its own for what is missing, nothing of ours; a cache."""

    def run(self) -> None:
        if self.world.edge is not None:
            self._by_function(self.world.edge)
            return
        path = unquote(urlsplit(self.path).path).lstrip("/")
        name = path.rpartition("/")[2]
        key = f"{path}index.html" if path.endswith("/") or not path else path if "." in name else f"{path}/index.html"
        found = self._find(key)
        status = 200
        if found is None:
            status, found = 404, self._find("404.html")
        if found is None:
            self.answer(403, b"<Error/>", SECURITY)
            return
        body = self.world.sabotage(key, found.data)
        headers = {name.removeprefix(METADATA) if status == 200 else name: value for name, value in found.headers.items()}
        self.answer(status, body, {**headers, **SECURITY}, len(body))

    do_GET = do_HEAD = run

    def _by_function(self, edge: Edge) -> None:
        """As CloudFront does it: the viewer function, the cache or the bucket, the error page, the function of the answer."""
        headers = {name.lower(): {"value": value} for name, value in self.headers.items()}
        request = {"method": self.command, "uri": urlsplit(self.path).path, "querystring": {}, "headers": headers, "cookies": {}}
        with self.world.turn:
            items = dict(self.world.routes.items)
        made = edge.ask(request, items)
        if "statusCode" in made:
            self.answer(made["statusCode"], b"", {name: one["value"] for name, one in made["headers"].items()})
            return
        key = unquote(made["uri"]).lstrip("/")
        found, status = self._find(key), 200
        if found is None:
            status, found = 404, self._find("404.html")
        if found is None:
            self.answer(403, b"<Error/>", SECURITY)
            return
        shown = {name: value for name, value in found.headers.items() if name != STATUS}
        if status == 200:
            shown = {name.removeprefix(METADATA): value for name, value in shown.items()}
            status = int(found.headers.get(STATUS, status))
        body = self.world.sabotage(key, found.data)
        self.answer(status, body, {**shown, **SECURITY, **self.world.added}, len(body))

    def _find(self, key: str) -> Version | None:
        if key.startswith(".amianai/"):
            return None
        with self.world.turn:
            if f"/{key}" in self.world.cdn_cache:
                return self.world.cdn_cache[f"/{key}"]
            found = self.world.bucket.live(key)
            if found is not None and self.world.caching:
                self.world.cdn_cache[f"/{key}"] = found
            return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    block_on_close = False

    def __init__(self, handler: type[BaseHTTPRequestHandler], world: World) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.world = world

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving(world: World, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, int]]:
    """The ports of the store (with TLS where a context is given) and of the CDN."""
    servers = [_Server(_S3, world), _Server(_Cdn, world)]
    if tls is not None:
        servers[0].socket = tls.wrap_socket(servers[0].socket, server_side=True)
    threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield servers[0].server_address[1], servers[1].server_address[1]
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()
