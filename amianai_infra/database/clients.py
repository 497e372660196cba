"""How the clients that teams bring are told where the database is: each in its own terms, verified, without a password.

What one takes is misread by the next: node-postgres drops a password that stands beside a connection string, postgres.js sends
`sslrootcert` to the server, asyncpg refuses `sslmode`. Every form here verifies the server's name and that its authority is ours.

Source: the documentation of libpq ("Parameter Key Words"), node-postgres ("SSL"), Postgres.js ("Connection details"), Prisma ORM 7
("Database drivers"), Drizzle ("Get started", "Drizzle Kit configuration"), SQLAlchemy 2.x ("PostgreSQL"), asyncpg (`connect`), Django
("Databases") and pgJDBC ("Connecting to the database").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from amianai_infra.database.endpoint import Endpoint


@dataclass(frozen=True)
class ConnectionDetails:
    """Where the database is, who connects, and where the password is.

    Attributes:
        endpoint: the server and database; through a tunnel with its address.
        user: the role.
        secret: ARN of the secret with the role's password.
        password_file: libpq's, where there is one.
    """

    endpoint: Endpoint
    user: str
    secret: str
    password_file: Path | None = None

    @property
    def url(self) -> str:
        """libpq's URL, from which the other forms are made."""
        return self.endpoint.url(self.user, self.password_file)

    @property
    def options(self) -> dict[str, str]:
        """libpq's parameters beside host, port, database and user."""
        return dict(parse_qsl(urlsplit(self.url).query))


def lines(client: str, details: ConnectionDetails) -> list[str]:
    """What a client takes: a URL, or code in its language.

    Args:
        client: one of `CLIENTS`.
        details: where, who.
    """
    return _RENDERED[client](details)


def note(client: str, details: ConnectionDetails) -> str:
    """What a tunnel takes with a client that knows no address beside the name that it verifies; empty where nothing has to be done."""
    if client not in ("sqlalchemy-asyncpg", "jdbc") or not details.endpoint.address:
        return ""
    return f"{details.endpoint.host} must lead to {details.endpoint.address} on this machine: a line in /etc/hosts"


def _literal(value: str | int) -> str:
    """As JavaScript and Python both read it."""
    return json.dumps(value, ensure_ascii=False)


def _libpq(details: ConnectionDetails) -> list[str]:
    return [details.url]


# ---- JavaScript: all but Postgres.js have node-postgres underneath


def _javascript(
    details: ConnectionDetails, imports: str, opening: str, closing: Iterable[str], *, user: str = "user", file: bool = True
) -> list[str]:
    endpoint = details.endpoint
    known = "PGPASSWORD or the file in PGPASSFILE" if file else "PGPASSWORD"
    return [
        f"// The password comes from {known}; a server gives it as `password`, from the secret",
        f"// {details.secret}",
        'import { readFileSync } from "node:fs";',
        imports,
        "",
        opening,
        f"  host: {_literal(endpoint.address or endpoint.host)},",
        f"  port: {endpoint.port},",
        f"  database: {_literal(endpoint.database)},",
        f"  {user}: {_literal(details.user)},",
        "  ssl: {",
        f'    ca: readFileSync({_literal(str(endpoint.ca))}, "utf8"),',
        f"    servername: {_literal(endpoint.host)},",
        "    rejectUnauthorized: true,",
        "  },",
        *closing,
    ]


def _node_postgres(details: ConnectionDetails) -> list[str]:
    return _javascript(details, 'import pg from "pg";', "export const pool = new pg.Pool({", ["});"])


def _postgres_js(details: ConnectionDetails) -> list[str]:
    opening = "export const sql = postgres({"
    return _javascript(details, 'import postgres from "postgres";', opening, ["});"], user="username", file=False)


def _prisma(details: ConnectionDetails) -> list[str]:
    closing = ["});", "// new PrismaClient({ adapter })"]
    return _javascript(details, 'import { PrismaPg } from "@prisma/adapter-pg";', "export const adapter = new PrismaPg({", closing)


def _drizzle(details: ConnectionDetails) -> list[str]:
    closing = ["};", "export const db = drizzle({ connection });", "// in drizzle.config.ts: dbCredentials: connection"]
    return _javascript(details, 'import { drizzle } from "drizzle-orm/node-postgres";', "export const connection = {", closing)


# ---- Python


def _python(details: ConnectionDetails, code: Iterable[str]) -> list[str]:
    if details.password_file:
        return ["# The password is in the file that is named here, which is the sandbox's.", *code]
    known = "# The password comes from PGPASSWORD or the file in PGPASSFILE; a server gives it, from the secret"
    return [known, f"# {details.secret}", *code]


def _sqlalchemy(details: ConnectionDetails) -> list[str]:
    url = details.url.replace("postgresql:", "postgresql+psycopg:", 1)
    return _python(details, ["from sqlalchemy import create_engine", "", f"engine = create_engine({_literal(url)})"])


def _sqlalchemy_asyncpg(details: ConnectionDetails) -> list[str]:
    """With a context of these authorities alone asyncpg verifies them and the name that it connects to."""
    place = details.url.partition("?")[0].replace("postgresql:", "postgresql+asyncpg:", 1)
    file = [f'        "passfile": {_literal(str(details.password_file))},'] if details.password_file else []
    code = [
        "import ssl",
        "",
        "from sqlalchemy.ext.asyncio import create_async_engine",
        "",
        "engine = create_async_engine(",
        f"    {_literal(place)},",
        "    connect_args={",
        f'        "ssl": ssl.create_default_context(cafile={_literal(str(details.endpoint.ca))}),',
        *file,
        "    },",
        ")",
    ]
    return _python(details, code)


def _django(details: ConnectionDetails) -> list[str]:
    endpoint = details.endpoint
    known: dict[str, str | int] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": endpoint.host,
        "PORT": endpoint.port,
        "NAME": endpoint.database,
        "USER": details.user,
    }
    code = [
        "DATABASES = {",
        '    "default": {',
        *(f'        "{name}": {_literal(value)},' for name, value in known.items()),
        '        "OPTIONS": {',
        *(f'            "{name}": {_literal(value)},' for name, value in details.options.items()),
        "        },",
        "    }",
        "}",
    ]
    return _python(details, code)


# ---- Java


def _jdbc(details: ConnectionDetails) -> list[str]:
    options = {"user": details.user, **{name: details.options[name] for name in ("sslmode", "sslrootcert")}}
    query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options.items())
    return [f"jdbc:postgresql://{details.url.partition('?')[0].rpartition('@')[2]}?{query}"]


_RENDERED: dict[str, Callable[[ConnectionDetails], list[str]]] = {
    "libpq": _libpq,
    "node-postgres": _node_postgres,
    "postgres.js": _postgres_js,
    "prisma": _prisma,
    "drizzle": _drizzle,
    "sqlalchemy": _sqlalchemy,
    "sqlalchemy-asyncpg": _sqlalchemy_asyncpg,
    "django": _django,
    "jdbc": _jdbc,
}
CLIENTS = tuple(_RENDERED)
