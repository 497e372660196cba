"""The sandbox's authority and server certificate."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509

from amianai_infra.sandbox.certificates import certificate_files, ensure_certificates, worth_checking, write_private


def loaded(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_the_server_is_signed_by_the_authority_for_this_machine_only(tmp_path: Path) -> None:
    files = ensure_certificates(tmp_path)
    server, authority = loaded(files.server), loaded(files.ca)
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1"), ip_address("::1")]
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    ssl.create_default_context(cafile=str(files.ca))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.server, files.server_key)


def test_keys_are_private(tmp_path: Path) -> None:
    files = ensure_certificates(tmp_path)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (files.ca_key, files.server_key)} == {0o600}


def test_kept_while_good_and_renewed_before_the_end(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    files = ensure_certificates(tmp_path, now)
    first_ca, first = files.ca.read_bytes(), files.server.read_bytes()
    ensure_certificates(tmp_path, now + timedelta(days=300))
    assert files.server.read_bytes() == first
    ensure_certificates(tmp_path, now + timedelta(days=380))
    assert files.server.read_bytes() != first
    assert files.ca.read_bytes() == first_ca, "clients keep trusting the same authority"
    ensure_certificates(tmp_path, now + timedelta(days=3640))
    assert files.ca.read_bytes() != first_ca
    loaded(files.server).verify_directly_issued_by(loaded(files.ca))


def test_damaged_or_missing_files_are_made_again(tmp_path: Path) -> None:
    files = ensure_certificates(tmp_path)
    files.server.write_text("no certificate")
    files.ca_key.unlink()
    ensure_certificates(tmp_path)
    loaded(files.server).verify_directly_issued_by(loaded(files.ca))


def test_the_quick_look_asks_for_a_check_only_without_a_certificate(tmp_path: Path) -> None:
    assert worth_checking(certificate_files(tmp_path))
    assert not worth_checking(ensure_certificates(tmp_path))


def test_a_private_file_never_had_another_mode(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, b"new")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o600)
