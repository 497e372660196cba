"""Secrets are found, and what only looks like one is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.site.secrets import secret_in, suspicious_name

BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"-----BEGIN PRIVATE KEY-----\n{BODY}", "a private key"),
        (f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}", "a private key"),
        (f'key="-----BEGIN EC PRIVATE KEY-----\\n{BODY[:32]}\\n{BODY[32:]}\\n-----END"', "a private key"),
        (f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,3F17F5316E2BAC89\n\n{BODY}", "a private key"),
        ("const id='AKIAABCDEFGHIJKLMNOP'", "an AWS access key id"),
        ("ASIAQWERTYUIOPASDFGH", "an AWS access key id"),
        ("aws_secret_access_key = " + "aB3/" * 10, "an AWS secret access key"),
        ('{"secretAccessKey":"' + "aB3/" * 10 + '"}', "an AWS secret access key"),
        ("postgresql://app:Xk29-fLq0z@db.amianai.net/app", "a database address with its password"),
        ("postgresql+psycopg://app:Xk29-fLq0z@10.0.1.7:5432/app", "a database address with its password"),
        ("mongodb+srv://u:Xk29fLq0z@cluster0.mongodb.net/x", "a database address with its password"),
        ("postgres://user:password@localhost/app and rediss://:Xk29fLq0z@cache.amianai.net:6379", "a database address with its password"),
    ],
)
def test_secrets_are_found(text: str, kind: str) -> None:
    assert secret_in(f"before {text} after".encode()) == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x30\x82\x09\xb0\x02\x01\x03\x30\x82\x09\x76", "a key store (PKCS #12)"),
        (b"\x30\x82\x04\xbe\x02\x01\x00\x30\x0d\x06\x09", "a private key"),
        (b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70", "a private key"),
        (b"\xfe\xed\xfe\xed\x00\x00\x00\x02", "a key store (Java)"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519", "a private key"),
        (b"\x30\x82\x03\x5d\x30\x82\x02\x45\xa0\x03\x02\x01\x02", ""),  # a certificate in DER
        (b"PK\x03\x04 a Keynote file", ""),
    ],
)
def test_files_of_keys_are_known_by_how_they_begin(data: bytes, kind: str) -> None:
    assert secret_in(data) == kind


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PUBLIC KEY-----\nMIIB",
        f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----",
        "how to write -----BEGIN PRIVATE KEY----- headers",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg...\n-----END PRIVATE KEY-----",
        "AKIAIOSFODNN7EXAMPLE",
        "AKIAXXXXXXXXXXXXXXXX",
        "XAKIAABCDEFGHIJKLMNOP",
        "akiaabcdefghijklmnop",
        "AKIAABCDEFGHIJKLMNO",
        "postgresql://localhost/db",
        "postgres://user@host/db",
        "secretAccessKey: e.secretAccessKey, sessionToken: e.sessionToken",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "aws_secret_access_key = " + "x" * 40,
        "postgres://user:password@localhost:5432/app",
        "postgres://app:Xk29fLq0z@127.0.0.1/app",
        "postgres://app:Xk29fLq0z@db.example.com/app",
        "mysql://root:my-secret-pw@db.amianai.net/app",
        "postgresql://user:pass@host/db",
        "redis://:$REDIS_PASSWORD@cache.amianai.net",
        "postgres://&lt;user&gt;:&lt;password&gt;@&lt;host&gt;/app",
        "postgres://user:YOUR_PASSWORD@db.amianai.net/app",
        "mongodb+srv://name:********@cluster0.mongodb.net",
    ],
)
def test_what_is_none_passes(text: str) -> None:
    assert secret_in(text.encode()) == ""


@given(st.binary(max_size=300))
def test_any_bytes_may_be_searched(data: bytes) -> None:
    secret_in(data)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "a/.env.local",
        "id_rsa",
        ".git/config",
        ".npmrc",
        ".htpasswd",
        "node_modules/x/package.json",
        "a/node_modules/@b/x/package.json",
    ],
)
def test_names_that_must_not_go_out(path: str) -> None:
    assert suspicious_name(path)


@pytest.mark.parametrize(
    "path",
    [
        "ca.pem",
        "slides.key",
        "assets/node_modules/@expo/vector-icons/Ionicons.ttf",
        "node_modules/x/package.js",
        "environment.js",
        "env.html",
        ".well-known/x",
        "keys/index.html",
        "monkey.js",
        "docs/pem.html",
        "a.env.js",
    ],
)
def test_names_that_may(path: str) -> None:
    assert suspicious_name(path) == ""
