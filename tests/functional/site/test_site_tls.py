"""What only the real domain shows: certificate, redirects of www and of plain HTTP; here against a stub with TLS."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from amianai_infra.errors import UnreachableError, VerificationError
from amianai_infra.progress import Progress
from amianai_infra.site.manifest import Entry, Manifest, Summary
from amianai_infra.site.store import SiteBucket
from amianai_infra.site.verify import Report, Verification
from amianai_infra.target import Credentials, SiteAddress
from tests.functional.site.s3_server import SECURITY, World, serving

PAGE = b"<!DOCTYPE html><html>front</html>"


@dataclass
class Edge:
    """How the stub behaves."""

    www: str = "https://example.com/"
    plain: str = "https://example.com/"
    days: int = 60
    names: tuple[str, ...] = ("example.com", "www.example.com")


def certificate(edge: Edge, folder: Path) -> tuple[Path, Path]:
    """A server's certificate with its key, and the authority that signed it."""
    now = datetime.now(UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("test authority", "test server"))
    builder = x509.CertificateBuilder().issuer_name(issuer).not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=edge.days, hours=1))
    authority = (
        builder.subject_name(issuer)
        .public_key(authority_key.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        builder.subject_name(subject)
        .public_key(key.public_key())
        .serial_number(2)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in edge.names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    both, signed_by = folder / "server.pem", folder / "authority.pem"
    both.write_bytes(private + server.public_bytes(encoding))
    signed_by.write_bytes(authority.public_bytes(encoding))
    return both, signed_by


def handler(edge: Edge, secure: bool) -> type[BaseHTTPRequestHandler]:
    class Stub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            host = (self.headers["Host"] or "").partition(":")[0]
            location = edge.plain if not secure else edge.www if host.startswith("www.") else ""
            status = 301 if location else 200 if self.path == "/" else 404
            self.send_response(status)
            for name, value in (SECURITY | {"Content-Type": "text/html", "Cache-Control": "max-age=0"}).items():
                self.send_header(name, value)
            if location:
                self.send_header("Location", location)
            body = PAGE if status == 200 else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Stub


@contextmanager
def stub(edge: Edge, folder: Path) -> Iterator[tuple[int, int, ssl.SSLContext]]:
    pem, authority = certificate(edge, folder)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pem)
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler(edge, secure)) for secure in (True, False)]
    servers[0].socket = server_side.wrap_socket(servers[0].socket, server_side=True)
    for server in servers:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield servers[0].server_address[1], servers[1].server_address[1], ssl.create_default_context(cafile=str(authority))
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def verify(edge: Edge, folder: Path, context: ssl.SSLContext | None = None) -> Report:
    entry = Entry(hashlib.md5(PAGE).hexdigest(), len(PAGE), "text/html", "max-age=0", "v1")
    manifest = Manifest(Summary(1, "deploy", 1, "b", 0, 0, "", "", 1, 1, 1), {"index.html": entry})
    with stub(edge, folder) as (tls, plain, trusted), Progress(quiet=True).task("Verification") as task:
        address = SiteAddress("https://example.com/", "example.com", ("127.0.0.1", tls), tls=True)
        return Verification(
            address,
            manifest,
            ["index.html"],
            lambda path: PAGE,
            hsts=True,
            tries=1,
            context=context or trusted,
            plain_port=plain,
        ).run(task)


def test_a_good_site_passes_and_the_days_left_are_known(tmp_path: Path) -> None:
    assert verify(Edge(), tmp_path) == Report(pages=1, files=0, certificate_days=60, addresses=("/",))


@pytest.mark.parametrize(
    ("edge", "problem"),
    [
        (Edge(www="https://elsewhere.example/"), r"https://www\.example\.com/ answers 301 to https://elsewhere\.example/"),
        (Edge(www=""), r"https://www\.example\.com/ answers 200 to nowhere"),
        (Edge(plain="http://example.com/"), r"http://example\.com/ answers 301 to http://example\.com/"),
        (Edge(days=9), r"the certificate ends in 9 days"),
        (Edge(names=("example.com",)), r"https://www\.example\.com/: The certificate of www\.example\.com is not valid"),
    ],
)
def test_what_is_wrong_is_named(edge: Edge, problem: str, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=problem):
        verify(edge, tmp_path)


def test_a_certificate_that_nobody_vouches_for_is_no_reason_to_roll_back(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"certificate of example\.com is not valid"):
        verify(Edge(), tmp_path, ssl.create_default_context())


def test_a_bucket_behind_an_authority_of_ones_own(tmp_path: Path) -> None:
    pem, authority = certificate(Edge(names=("localhost",)), tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with serving(World(), context) as (port, _):
        trusting = SiteBucket(
            "site", "us-east-1", f"https://localhost:{port}", Credentials("a", "b"), owner="123456789012", ca=str(authority)
        )
        assert trusting.put("a.txt", b"x", {"Content-Type": "text/plain"}, replaces=None).version
        assert [key for key, _ in trusting.list()] == ["a.txt"]
