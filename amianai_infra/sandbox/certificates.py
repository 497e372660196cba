"""The sandbox's own certificate authority and the certificate of its PostgreSQL server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, GeneralName, Name

HOSTS = ("localhost", "127.0.0.1", "::1")
_CA_DAYS = 3650
_SERVER_DAYS = 397
_RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Certificates:
    """Files in PEM form; both keys have mode 0600."""

    ca: Path
    ca_key: Path
    server: Path
    server_key: Path


def certificate_files(folder: Path) -> Certificates:
    """Where the certificates are, or will be."""
    return Certificates(folder / "ca.pem", folder / "ca.key", folder / "server.pem", folder / "server.key")


def ensure_certificates(folder: Path, now: datetime | None = None) -> Certificates:
    """The authority and the server's certificate, made or renewed where they are missing or end within 30 days.

    Args:
        folder: where they are kept.
        now: the time to judge by.
    """
    files = certificate_files(folder)
    moment = now or datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    if not _good(files.ca, files.ca_key, moment):
        _make_ca(files, moment)
        files.server.unlink(missing_ok=True)
    if not _good(files.server, files.server_key, moment):
        _make_server(files, moment)
    return files


def worth_checking(files: Certificates) -> bool:
    """Whether a certificate may be missing or near its end, told by file dates alone: loading it would slow every command."""
    try:
        return (datetime.now(UTC).timestamp() - files.server.stat().st_mtime) > (_SERVER_DAYS - 60) * 86_400
    except OSError:
        return True


def _good(certificate: Path, key: Path, now: datetime) -> bool:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    return key.is_file() and now < found.not_valid_after_utc - _RENEW_BEFORE


def _make_ca(files: Certificates, now: datetime) -> None:
    from cryptography import x509

    key = _new_key()
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder("AmIAnAI sandbox authority", key, now, _CA_DAYS)
        .issuer_name(_name("AmIAnAI sandbox authority"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    _save(files.ca, files.ca_key, builder, key, key)


def _make_server(files: Certificates, now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509.oid import ExtendedKeyUsageOID

    authority: Certificate = x509.load_pem_x509_certificate(files.ca.read_bytes())
    authority_key = serialization.load_pem_private_key(files.ca_key.read_bytes(), password=None)
    if not isinstance(authority_key, EllipticCurvePrivateKey):
        raise TypeError(f"{files.ca_key} holds no elliptic-curve key")
    key = _new_key()
    builder = (
        _builder("localhost", key, now, _SERVER_DAYS)
        .issuer_name(authority.subject)
        .add_extension(x509.SubjectAlternativeName(_names(HOSTS)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    _save(files.server, files.server_key, builder, key, authority_key)


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _names(hosts: Sequence[str]) -> list[GeneralName]:
    from cryptography import x509

    return [x509.IPAddress(ip_address(host)) if host[-1].isdigit() else x509.DNSName(host) for host in hosts]


def _builder(common: str, key: EllipticCurvePrivateKey, now: datetime, days: int) -> CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _save(
    certificate: Path, key_file: Path, builder: CertificateBuilder, key: EllipticCurvePrivateKey, signer: EllipticCurvePrivateKey
) -> None:
    from cryptography.hazmat.primitives import hashes, serialization

    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(key_file, secret)
    certificate.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    certificate.chmod(0o644)


def write_private(file: Path, content: bytes) -> None:
    """Write a file of mode 0600 that never existed with any other mode."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as sink:
        sink.write(content)
    fresh.replace(file)
