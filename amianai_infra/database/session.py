"""One verified connection for a command, and psycopg's errors in our own words."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from amianai_infra.database.credentials import Credentials, Login, Role, SecretCredentials, secret_arn
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.errors import AmianaiError, ForbiddenError, LockedError, MissingToolError, NotFoundError, UnreachableError
from amianai_infra.outputs import StackOutputs
from amianai_infra.rules.connections import Kind, kind_of
from amianai_infra.target import Target

if TYPE_CHECKING:
    from psycopg import Connection, Error

STATEMENT_TIMEOUT = timedelta(seconds=30)


def connect(
    target: Target,
    outputs: StackOutputs,
    role: Role = "owner",
    *,
    database: str | None = None,
    statement_timeout: timedelta | None = STATEMENT_TIMEOUT,
    clients: Callable[[str], Any] | None = None,
    at: tuple[str, int] | None = None,
) -> Connection[Any]:
    """A connection that commits each statement, over TLS that is verified against the target's authorities.

    Args:
        target: whose authorities and secrets.
        outputs: the stack.
        role: who connects; `owner` is the stack's master user.
        database: another database of the same server than the stack's own.
        statement_timeout: longest a statement may take; None for no limit.
        clients: gives boto3 clients instead of the target.
        at: address and port to connect to instead, as through a tunnel; the certificate must still be the database's own.

    Raises:
        UnreachableError: it does not answer.
        ForbiddenError: the password, or this address, is refused.
        UntrustedError: the server did not prove that it is the database.
        NotFoundError: there is no such database, or the role has no password yet.
        MissingToolError: psycopg is not installed.
    """
    endpoint = Endpoint.of(target, outputs, database).at(at)
    source = credentials(target, outputs, role, clients)
    options = _WITHOUT_PUBLIC if role == "owner" and outputs.database.external else ""
    return open_connection(endpoint, source, application_name=f"amianai {role}", statement_timeout=statement_timeout, options=options)


# Others than the owner make functions in `public`. One with the name of the server's, for parameters of other types, would run with the
# owner's rights. Source: PostgreSQL documentation, "Schemas", usage patterns.
_WITHOUT_PUBLIC = "-c search_path=pg_catalog"


def credentials(target: Target, outputs: StackOutputs, role: Role, clients: Callable[[str], Any] | None = None) -> SecretCredentials:
    """Where a role's password is."""
    make = clients or target.client
    return SecretCredentials(lambda: make("secretsmanager"), secret_arn(outputs, role), role)


def open_connection(
    endpoint: Endpoint,
    source: Credentials,
    *,
    application_name: str,
    statement_timeout: timedelta | None = STATEMENT_TIMEOUT,
    options: str = "",
) -> Connection[Any]:
    """As `connect`, to an endpoint with a login of any source. A refused login is read again once.

    `options` are the server's own, for the start of the session; RDS Proxy takes none.
    """
    psycopg = driver()
    login = source.get()
    try:
        try:
            connection = _attempt(endpoint, login, application_name, options)
        except psycopg.OperationalError as error:
            again = source.renew(login) if failure(error) == "login" else login
            if again == login:
                raise
            connection = _attempt(endpoint, again, application_name, options)
    except psycopg.Error as error:
        raise translate(error, f"connecting as {login.user}", endpoint) from error
    return _configured(connection, statement_timeout)


def _attempt(endpoint: Endpoint, login: Login, application_name: str, options: str) -> Connection[Any]:
    parameters = endpoint.parameters(login.user, application_name) | ({"options": options} if options else {})
    connection: Connection[Any] = driver().connect(**parameters, password=login.password, autocommit=True)
    return connection


def _configured(connection: Connection[Any], statement_timeout: timedelta | None) -> Connection[Any]:
    try:
        connection.execute(SETTINGS, settings(statement_timeout))
    except driver().Error as error:
        connection.close()
        raise translate(error, "setting up the connection") from error
    return connection


# Not as a start-up option: RDS Proxy refuses those.
SETTINGS = "SELECT set_config('statement_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false)"


def settings(statement_timeout: timedelta | None, idle: timedelta | None = None) -> tuple[str, str]:
    """The parameters of `SETTINGS`, in milliseconds; 0 is no limit."""
    return tuple(str(int(one / timedelta(milliseconds=1))) if one else "0" for one in (statement_timeout, idle))  # type: ignore[return-value]


def driver() -> Any:
    """The psycopg module.

    Raises:
        MissingToolError: it is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise MissingToolError(
            "The database driver is not installed.", where=str(error), fix="pip install 'amianai-infra[database]'"
        ) from error
    return psycopg


def failure(error: Error) -> Kind:
    """What an error of psycopg means."""
    from psycopg import InterfaceError, OperationalError

    return kind_of(error.sqlstate, str(error), operational=isinstance(error, (OperationalError, InterfaceError)))


def translate(error: Error, doing: str, endpoint: Endpoint | None = None) -> AmianaiError:
    """Our own error for one of psycopg: absent, forbidden, untrusted and unreachable stay different.

    Args:
        error: what psycopg raised.
        doing: what was attempted, as a noun phrase ("connecting as amianai_admin").
        endpoint: the server, where it is known.
    """
    kind = failure(error)
    text = said(error)
    place = f"{endpoint.host}:{endpoint.port}/{endpoint.database}: " if endpoint else ""
    where = f"{place}{f'{error.sqlstate}: ' if error.sqlstate else ''}{text}"
    if kind == "untrusted" and endpoint is not None:
        from amianai_infra.database.tls import diagnose

        return diagnose(endpoint, text)
    make, what, fix = _MEANINGS.get(_STATES.get(error.sqlstate or "", kind), _OTHER)
    return make(f"{what} ({doing}).", where=where, fix=fix)


# Values stand in quotes, of any language the server speaks, or as bytes.
_VALUE = re.compile("[\"'«»‹›„“”‘’].*[\"'«»‹›„“”‘’]|0x[0-9a-f]{2}(?: 0x[0-9a-f]{2})*", re.DOTALL)


def said(error: Error) -> str:
    """What the server said, without what it quotes of rows: its detail, and the values in errors about data (classes 22 and 23).

    What a function of the database raises itself under such a code may say anything: of that the code's name is all.
    """
    text = error.diag.message_primary or str(error).strip().splitlines()[-1].strip()
    if not (error.sqlstate or "").startswith(("22", "23")):
        return text
    if error.diag.source_function == "exec_stmt_raise":
        return re.sub("(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    return text if str(error.sqlstate).startswith("23") else _VALUE.sub("…", text)


_WAY_IN = "open a way in with `amianai db open --for 30m` or `amianai db tunnel`, or run this inside the VPC"
_STATES = {"42501": "refused", "55P03": "locked"}
_OTHER: tuple[type[AmianaiError], str, str] = (AmianaiError, "The database refused this", "")
_MEANINGS: dict[str, tuple[type[AmianaiError], str, str]] = {
    "login": (ForbiddenError, "The database refused the password", "run `amianai db migrate`, which sets it as the secret says"),
    "gone": (UnreachableError, "The database does not answer", _WAY_IN),
    "untrusted": (UnreachableError, "The database does not answer", _WAY_IN),
    "busy": (UnreachableError, "The database has no connection left", "end idle ones (pg_stat_activity), or use smaller pools"),
    "standby": (UnreachableError, "The database is read-only, as after a failover", "run it again in a minute"),
    "refused": (ForbiddenError, "The database does not allow this", ""),
    "absent": (NotFoundError, "There is no such database", "run `amianai db status`"),
    "locked": (LockedError, "Somebody else holds a lock that this needs", "run it again"),
}
