"""Secrets are found, and what only looks like one is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.site.secrets import secret_in, suspicious_name


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "a private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "a private key"),
        ('key="-----BEGIN EC PRIVATE KEY-----\\nMHc"', "a private key"),
        ("const id='AKIAABCDEFGHIJKLMNOP'", "an AWS access key id"),
        ("ASIAQWERTYUIOPASDFGH", "an AWS access key id"),
        ("aws_secret_access_key = " + "aB3/" * 10, "an AWS secret access key"),
        ('{"secretAccessKey":"' + "aB3/" * 10 + '"}', "an AWS secret access key"),
        ("postgresql://user:pass@host/db", "a database address with its password"),
        ("mongodb+srv://u:p@cluster.example/x", "a database address with its password"),
    ],
)
def test_secrets_are_found(text: str, kind: str) -> None:
    assert secret_in(f"before {text} after".encode()) == kind


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PUBLIC KEY-----\nMIIB",
        "-----BEGIN CERTIFICATE-----\nMIIB",
        "how to write -----BEGIN PRIVATE KEY----- headers",
        "AKIAIOSFODNN7EXAMPLE",
        "XAKIAABCDEFGHIJKLMNOP",
        "akiaabcdefghijklmnop",
        "AKIAABCDEFGHIJKLMNO",
        "postgresql://localhost/db",
        "postgres://user@host/db",
        "secretAccessKey: e.secretAccessKey, sessionToken: e.sessionToken",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ],
)
def test_what_is_none_passes(text: str) -> None:
    assert secret_in(text.encode()) == ""


@given(st.binary(max_size=300))
def test_any_bytes_may_be_searched(data: bytes) -> None:
    secret_in(data)


@pytest.mark.parametrize(
    "path", [".env", "a/.env.local", "x.pem", "keys/server.key", "id_rsa", ".git/config", "node_modules/x.js", ".npmrc"]
)
def test_names_that_must_not_go_out(path: str) -> None:
    assert suspicious_name(path)


@pytest.mark.parametrize(
    "path", ["environment.js", "env.html", ".well-known/x", "keys/index.html", "monkey.js", "docs/pem.html", "a.env.js"]
)
def test_names_that_may(path: str) -> None:
    assert suspicious_name(path) == ""
