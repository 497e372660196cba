"""Where a database listens, and the parameters every connection to it has: verified TLS, always."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from amianai_infra.errors import ConfigurationError
from amianai_infra.outputs import StackOutputs
from amianai_infra.target import Target

RDS_CA = Path(__file__).parent / "rds-ca.pem"
CONNECT_SECONDS = 10

# A peer that vanishes without a word is noticed within half a minute while idle, and within ten seconds while it owes an answer.
_ALIVE = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 10_000}
_SECURE = {"sslmode": "verify-full", "gssencmode": "disable"}

# libpq takes these for every connection of the process, whatever its parameters say.
_REDIRECTING = ("PGSERVICE", "PGDATESTYLE")
# What stands for "not given" where libpq does not take an empty text for it.
_NOT_GIVEN = {"require_auth": "!gss,!sspi", "sslcertmode": "allow", "min_protocol_version": "3.0", "max_protocol_version": "3.0"}


@cache
def _defaults() -> dict[str, str]:
    """libpq's own default for every parameter that it would take from a PG* variable; the password and the service aside."""
    from psycopg.pq import Conninfo

    known = {one.keyword.decode(): (one.compiled or b"").decode() for one in Conninfo.get_defaults() if one.envvar}
    return {name: _NOT_GIVEN.get(name, value) for name, value in known.items() if name not in ("password", "service")}


@dataclass(frozen=True)
class Endpoint:
    """One server and database.

    Attributes:
        host: the name that the server's certificate must be for.
        port: where it listens.
        database: the database's name.
        ca: PEM file of the authorities that may sign the certificate.
        address: IP address to connect to instead of looking `host` up (a tunnel); the certificate is still verified against `host`.
    """

    host: str
    port: int
    database: str
    ca: Path
    address: str = ""

    def parameters(self, user: str, application_name: str) -> dict[str, Any]:
        """The driver's connection parameters, without the password. Nothing of them is left to the environment.

        Raises:
            ConfigurationError: the environment has a variable of libpq's that no parameter outranks.
        """
        redirecting = [name for name in _REDIRECTING if os.environ.get(name)]
        if redirecting:
            raise ConfigurationError(
                f"{' and '.join(redirecting)} would change the connection to the database.", where="environment", fix="unset it"
            )
        known = {
            **_defaults(),
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": user,
            "application_name": application_name,
            "sslrootcert": str(self.ca),
            "connect_timeout": CONNECT_SECONDS,
            **_SECURE,
            **_ALIVE,
        }
        return {**known, "hostaddr": self.address} if self.address else known

    def url(self, user: str, password_file: Path | None = None) -> str:
        """A connection URL for libpq without a password.

        Args:
            user: who connects.
            password_file: where libpq finds the password; None where it has to be told otherwise.
        """
        options = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.ca),
            **({"hostaddr": self.address} if self.address else {}),
            **({"passfile": str(password_file)} if password_file else {}),
        }
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options.items())
        return f"postgresql://{quote(user, safe='')}@{self.host}:{self.port}/{quote(self.database, safe='')}?{query}"

    def libpq(self, user: str) -> dict[str, str]:
        """Environment variables with which psql and other clients of libpq reach it, without the password."""
        known = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGDATABASE": self.database,
            "PGUSER": user,
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": str(self.ca),
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        }
        return {**known, "PGHOSTADDR": self.address} if self.address else known

    def at(self, place: tuple[str, int] | None) -> Self:
        """The same server, reached at another address and port, as through a tunnel."""
        return self if place is None else replace(self, address=place[0], port=place[1])

    @classmethod
    def of(cls, target: Target, outputs: StackOutputs, database: str | None = None) -> Self:
        """The stack's database."""
        found = outputs.database
        return cls(found.host, found.port, database or found.name, target.database_ca())

    @classmethod
    def replicas(cls, target: Target, outputs: StackOutputs) -> list[Self]:
        """The stack's read replicas."""
        found = outputs.database
        return [cls(host, found.port, found.name, target.database_ca()) for host in found.replica_hosts]

    @classmethod
    def from_url(cls, url: str, ca: Path = RDS_CA) -> tuple[Self, str]:
        """Read a connection URL; gives the endpoint and the user.

        Raises:
            ConfigurationError: it is no PostgreSQL URL, holds a password, asks for less than verified TLS, or names no file of authorities.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
            raise ConfigurationError("This is not a PostgreSQL URL.", fix="write postgresql://USER@HOST:PORT/DATABASE")
        if parts.password is not None:
            raise ConfigurationError(
                "The database URL holds a password.", where=parts.hostname, fix="leave it out and name the secret: DATABASE_SECRET_ARN"
            )
        options = dict(parse_qsl(parts.query))
        return cls(
            parts.hostname,
            _port(str(parts.netloc), parts.hostname),
            unquote(parts.path.removeprefix("/")) or "postgres",
            _authorities(_accepted(options, parts.hostname).get("sslrootcert", ca)),
        ), unquote(parts.username or "")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> tuple[Self, str]:
        """Read DATABASE_URL, or DATABASE_HOST, DATABASE_PORT and DATABASE_NAME; DATABASE_CA names another authority's file.

        DATABASE_SERVER_NAME is what the certificate must name where that is not DATABASE_HOST: through a tunnel.

        Raises:
            ConfigurationError: neither is set, or a value is not usable.
        """
        ca = _authorities(environ.get("DATABASE_CA") or RDS_CA)
        if environ.get("DATABASE_URL"):
            return cls.from_url(environ["DATABASE_URL"], ca)
        missing = [name for name in ("DATABASE_HOST", "DATABASE_NAME") if not environ.get(name)]
        if missing:
            raise ConfigurationError(
                f"{' and '.join(missing)} not set: which database is meant?", where="environment", fix="`amianai env` writes them"
            )
        port = environ.get("DATABASE_PORT") or "5432"
        if not port.isdigit():
            raise ConfigurationError(f"DATABASE_PORT = {port!r} is not a number.", where="environment")
        found = cls(environ["DATABASE_HOST"], int(port), environ["DATABASE_NAME"], ca)
        return found.named(environ.get("DATABASE_SERVER_NAME", "")), environ.get("DATABASE_USER", "")

    def named(self, server_name: str) -> Self:
        """The same server where its certificate is for another name than `host`, at whose address it is reached, as through a tunnel.

        Raises:
            ConfigurationError: `host` is a name that has no address.
        """
        if server_name in ("", self.host):
            return self
        try:
            address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][4][0]
        except OSError as error:
            raise ConfigurationError(f"DATABASE_HOST = {self.host!r} has no address.", where="environment") from error
        return replace(self, host=server_name, address=str(address))

    def replicas_from_environment(self, environ: Mapping[str, str]) -> list[Self]:
        """The read replicas that DATABASE_REPLICA_HOSTS names, separated by commas: as this server, on other hosts."""
        hosts = (host.strip() for host in environ.get("DATABASE_REPLICA_HOSTS", "").split(","))
        return [replace(self, host=host, address="") for host in hosts if host]


def _authorities(file: str | Path) -> Path:
    """The file of authorities. `system` is libpq's word for whatever the machine trusts: any of hundreds could sign for the server."""
    if str(file) == "system":
        raise ConfigurationError(
            "The authorities of the system are not taken for the database: its certificate is signed by one that is known.",
            where="sslrootcert or DATABASE_CA",
            fix="name the authority's PEM file, or leave it out",
        )
    if not Path(file).is_file():
        raise ConfigurationError(
            "The file of authorities does not exist.", where=str(file), fix="correct sslrootcert or DATABASE_CA, or leave it out"
        )
    return Path(file)


def _port(netloc: str, host: str) -> int:
    try:
        return urlsplit(f"//{netloc}").port or 5432
    except ValueError as error:
        raise ConfigurationError("The port of the database URL is not a number from 1 to 65535.", where=host) from error


def _accepted(options: dict[str, str], host: str) -> dict[str, str]:
    """The options of a URL, of which none may weaken or redirect the connection."""
    mode = options.get("sslmode", "verify-full")
    if mode != "verify-full":
        raise ConfigurationError(
            f"The database URL lowers sslmode to {mode!r}: only verify-full keeps others from answering in the server's place.",
            where=host,
            fix="write sslmode=verify-full, or leave it out",
        )
    # A password file, as `db url` names one in the sandbox, is psql's: ours come from the secret.
    unknown = sorted(options.keys() - {"sslmode", "sslrootcert", "passfile"})
    if unknown:
        raise ConfigurationError(
            f"The database URL has options that are not taken: {', '.join(unknown)}.", where=host, fix="leave them out"
        )
    return options
