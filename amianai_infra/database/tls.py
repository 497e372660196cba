"""Why a server's certificate is not accepted, and the authorities that sign those of RDS.

libpq verifies every connection (`verify-full`) but says no more than "certificate verify failed"; `diagnose` asks again, with
Python's own TLS, for the reason.

`python -m amianai_infra.database.tls` refreshes rds-ca.pem from AWS.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from amianai_infra.database.endpoint import CONNECT_SECONDS, RDS_CA, Endpoint
from amianai_infra.errors import UnreachableError, UntrustedError
from amianai_infra.printing import show

TRUSTSTORE = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
# Source: PostgreSQL, "Message Formats": SSLRequest.
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
# Source: OpenSSL, X509_STORE_CTX_get_error.
_NOT_YET, _EXPIRED, _SELF_SIGNED, _NAMES = 9, 10, frozenset({18, 19, 20, 21}), frozenset({62, 64})
_FEWEST = 60
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL)


def diagnose(endpoint: Endpoint, said: str = "") -> UntrustedError:
    """The reason why a server is not trusted, each with its own message.

    Args:
        endpoint: the server.
        said: what libpq said, for the case that asking again finds nothing wrong.
    """
    where = f"{endpoint.host}:{endpoint.port}"
    if not endpoint.ca.is_file():
        return UntrustedError("The file with the database's authorities does not exist.", where=str(endpoint.ca))
    try:
        context = ssl.create_default_context(cafile=str(endpoint.ca))
    except (ssl.SSLError, OSError):
        return UntrustedError("The file with the database's authorities holds no certificate.", where=str(endpoint.ca))
    try:
        with socket.create_connection((endpoint.address or endpoint.host, endpoint.port), CONNECT_SECONDS) as plain:
            plain.sendall(_SSL_REQUEST)
            if plain.recv(1) != b"S":
                return UntrustedError(
                    "The server offers no TLS; nothing was sent to it.", where=where, fix="check that this is the stack's database"
                )
            context.wrap_socket(plain, server_hostname=endpoint.host).close()
    except ssl.SSLCertVerificationError as error:
        return _explain(error, endpoint)
    except OSError as error:
        return UntrustedError("The server's identity could not be verified.", where=f"{where}: {said or error}")
    return UntrustedError("The server's identity could not be verified.", where=f"{where}: {said}")


def _explain(error: ssl.SSLCertVerificationError, endpoint: Endpoint) -> UntrustedError:
    where = f"{endpoint.host}:{endpoint.port}"
    if error.verify_code == _EXPIRED:
        return UntrustedError(
            "The database's certificate has expired.", where=where, fix="rotate the instance's certificate (RDS: modify-db-instance)"
        )
    if error.verify_code == _NOT_YET:
        return UntrustedError("The database's certificate is not valid yet.", where=where, fix="check this machine's clock")
    if error.verify_code in _NAMES:
        return UntrustedError(
            f"The database's certificate is for another name than {endpoint.host}.",
            where=f"{where}: {error.verify_message}",
            fix="connect by the name that the stack publishes (`amianai db url`); through a tunnel, keep that name and give --at",
        )
    if error.verify_code in _SELF_SIGNED:
        return UntrustedError(
            "The database's certificate is signed by an authority that is not trusted here.",
            where=f"{where}, against {endpoint.ca}",
            fix="if AWS has new authorities: python -m amianai_infra.database.tls",
        )
    return UntrustedError("The database's certificate was refused.", where=f"{where}: {error.verify_message}")


def authorities(text: str) -> list[dict[str, Any]]:
    """The certificate authorities in a PEM text: subject, expiry and the rest as the `ssl` module tells them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=text)
    return context.get_ca_certs()


def fetch(url: str = TRUSTSTORE) -> str:
    """AWS's own list, over HTTPS that the system's authorities verify."""
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=30, context=ssl.create_default_context()) as answer:  # noqa: S310 - a constant address
            text: str = answer.read(4_000_000).decode("ascii")
    except OSError as error:
        raise UnreachableError("AWS's list of authorities cannot be read.", where=f"{url}: {error}") from error
    return text


def refresh(path: Path = RDS_CA, download: Callable[[], str] = fetch, now: datetime | None = None) -> int:
    """Replace the file by AWS's list; gives the number of certificates.

    The authorities of RDS Proxy, which AWS lists elsewhere, stay.

    Raises:
        UntrustedError: what came is not a list of Amazon's authorities; the file stays as it is.
    """
    found = dict.fromkeys(_PEM.findall(download().replace("\r\n", "\n")))
    if len(found) < _FEWEST or not all("Amazon" in _organisation(one) for one in found):
        raise UntrustedError("What was downloaded is not AWS's list of authorities; nothing was changed.", where=TRUSTSTORE)
    proxies = [one for one in _PEM.findall(path.read_text(encoding="ascii")) if "RDS" not in _name(one)]
    every = sorted({**found, **dict.fromkeys(proxies)}, key=lambda one: (_name(one), one))
    _write(path, every, (now or datetime.now(UTC)).date().isoformat())
    return len(every)


def _write(path: Path, certificates: list[str], today: str) -> None:
    header = (
        "# The authorities that sign the certificates of Amazon RDS instances and RDS Proxy, in every region.\n#\n"
        f"# Source:  {TRUSTSTORE}\n# Taken:   {today}; {len(certificates)} certificates; each one's expiry is above it.\n"
        "# Refresh: python -m amianai_infra.database.tls\n"
    )
    text = header + "".join(f"\n# {_name(one)}; expires {_expiry(one)}\n{one}\n" for one in certificates)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
    Path(name).chmod(0o644)
    Path(name).replace(path)


def _subject(pem: str) -> dict[str, str]:
    (found,) = authorities(pem)
    return {key: value for part in found["subject"] for key, value in part}


def _name(pem: str) -> str:
    subject = _subject(pem)
    return subject.get("commonName") or subject.get("organizationalUnitName", "")


def _organisation(pem: str) -> str:
    return _subject(pem).get("organizationName", "")


def _expiry(pem: str) -> str:
    (found,) = authorities(pem)
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC).date().isoformat()


if __name__ == "__main__":
    show(f"{refresh()} certificates in {RDS_CA}", err=True)
