"""The database's roles: the owner changes the schema, the application reads and writes rows, readonly reads.

Whatever `db migrate` finds, it leaves these roles with these rights and with the password that their secret says: the secret
is the truth, and it is never in the engine's state. Where the server knows `rds_iam`, each role has a twin with the same
rights that logs in with an IAM token instead of a password.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from amianai_infra.database import foreign_ledgers
from amianai_infra.database.credentials import Role, SecretCredentials, iam_role_name, role_name, secret_arn
from amianai_infra.database.session import translate
from amianai_infra.errors import ConfigurationError, NotFoundError
from amianai_infra.outputs import StackOutputs

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

MADE: tuple[Role, ...] = ("application", "readonly")
_PASSWORD_BYTES = 32


@dataclass(frozen=True)
class Names:
    """The names a database's roles have.

    Attributes:
        database: the database.
        application: reads and writes rows.
        readonly: reads rows.
        twins: role -> the same with IAM tokens.
    """

    database: str
    application: str
    readonly: str
    twins: dict[str, str]

    @classmethod
    def of(cls, outputs: StackOutputs) -> Names:
        """The stack's."""
        application, readonly = (role_name(outputs, role) for role in MADE)
        return cls(outputs.database.name, application, readonly, {role_name(outputs, one): iam_role_name(outputs, one) for one in MADE})


def ensure(connection: Connection[Any], names: Names) -> None:
    """Make the roles that are missing and set every right, no more and no less, in one transaction. Only what the owner owns is touched,
    itself or as a member of whoever does (the migrator).

    Raises:
        AmianaiError: the owner lacks a right.
    """
    from psycopg import Error

    try:
        with connection.transaction():
            _create(connection, names)
            ours = [one for role in names.twins for one in (role, names.twins[role]) if _exists(connection, one)]
            for role in ours:
                take_away(connection, role, names)
            _take_schemas(connection, ours, names)
            _grant(connection, names)
    except Error as error:
        raise translate(error, "setting up the database's roles") from error


def _create(connection: Connection[Any], names: Names) -> None:
    for role in (names.application, names.readonly):
        if not _exists(connection, role):
            connection.execute(_sql("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE", role))
    connection.execute(_sql("ALTER ROLE {} SET default_transaction_read_only = on", names.readonly))
    if not _exists(connection, "rds_iam"):
        return
    for role, twin in names.twins.items():
        if not _exists(connection, twin):
            connection.execute(_sql("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE", twin))
        connection.execute(_sql("GRANT {} TO {}", role, twin))
        connection.execute(_sql("GRANT rds_iam TO {}", twin))
    # Settings of a role are not inherited.
    connection.execute(_sql("ALTER ROLE {} SET default_transaction_read_only = on", names.twins[names.readonly]))


def _exists(connection: Connection[Any], role: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None


# What only a superuser may change is named only where it is set: the master user of RDS is none.
_ATTRIBUTES: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("rolcreatedb", "NOCREATEDB"),
    ("rolcreaterole", "NOCREATEROLE"),
    ("rolsuper", "NOSUPERUSER"),
    ("rolreplication", "NOREPLICATION"),
    ("rolbypassrls", "NOBYPASSRLS"),
)
_MEMBERSHIPS = """
SELECT g.rolname, o.rolname FROM pg_auth_members m
JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles o ON o.oid = m.grantor
WHERE r.rolname = %s AND g.rolname <> ALL (%s)
"""
_LEAVE = "REVOKE {} FROM {} CASCADE"
_LEAVE_GRANTOR = "REVOKE {} FROM {} GRANTED BY {} CASCADE"
_GRANTORS_COUNT = 160_000
"""Since PostgreSQL 16 a membership is there once for each grantor."""


def take_away(connection: Connection[Any], role: str, names: Names) -> None:
    """Take back what somebody gave one of our roles beside its own: attributes, memberships, rights on the database and its schema."""
    from psycopg.sql import SQL

    for column, without in _ATTRIBUTES:
        query = SQL("SELECT 1 FROM pg_roles WHERE rolname = %s AND {}").format(SQL(column))
        if connection.execute(query, (role,)).fetchone():
            connection.execute(SQL("ALTER ROLE {} {}").format(_sql("{}", role), SQL(without)))
    kept = ["rds_iam", *(base for base, twin in names.twins.items() if twin == role)]
    for group, grantor in connection.execute(_MEMBERSHIPS, (role, kept)).fetchall():
        by_grantor = connection.info.server_version >= _GRANTORS_COUNT
        connection.execute(_sql(_LEAVE_GRANTOR, group, role, grantor) if by_grantor else _sql(_LEAVE, group, role))
    connection.execute(_sql("REVOKE ALL ON DATABASE {} FROM {}", names.database, role))
    connection.execute(_sql("REVOKE ALL ON SCHEMA public FROM {}", role))


_RECORDS = """
SELECT nspname FROM pg_namespace WHERE nspname IN ('amianai_audit', 'amianai_migrations') AND nspowner = current_user::regrole
"""


def _take_schemas(connection: Connection[Any], ours: list[str], names: Names) -> None:
    """The records of changes are the owner's alone; the ledger, without which a dump is not whole, may be read by who reads everything."""
    for (schema,) in connection.execute(_RECORDS).fetchall():
        for role in ours:
            connection.execute(_sql("REVOKE ALL ON SCHEMA {} FROM {}", schema, role))
            connection.execute(_sql("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}", schema, role))
        if schema == "amianai_migrations":
            connection.execute(_sql("GRANT USAGE ON SCHEMA {} TO {}", schema, names.readonly))
            connection.execute(_sql("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}", schema, names.readonly))


# Nobody but the three has a right in this database; what the owner makes later gets the same rights at once.
# Other schemas (the ledger, the audit trail) are the owner's alone.
_DATABASE: tuple[tuple[LiteralString, str], ...] = (
    ("REVOKE ALL ON DATABASE {} FROM PUBLIC", "database"),
    ("GRANT CONNECT ON DATABASE {} TO {}, {}", "database application readonly"),
    ("REVOKE ALL ON SCHEMA public FROM PUBLIC", ""),
    ("GRANT USAGE ON SCHEMA public TO {}, {}", "application readonly"),
    ("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC", ""),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {}", "application"),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {}", "application"),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {}", "readonly"),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON SEQUENCES TO {}", "readonly"),
    # Not by default: a function that runs with its owner's rights would be lent to both before anybody looks.
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM {}, {}", "application readonly"),
)
_TABLES = """
SELECT quote_ident(c.relname), c.relkind = 'S' FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND pg_has_role(c.relowner, 'USAGE') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
"""
_FUNCTIONS = """
SELECT p.oid::regprocedure::text, p.prosecdef FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND pg_has_role(p.proowner, 'USAGE')
"""


def _grant(connection: Connection[Any], names: Names) -> None:
    for statement, who in _DATABASE:
        connection.execute(_sql(statement, *(getattr(names, one) for one in who.split())))
    relations = connection.execute(_TABLES).fetchall()
    tables = [f"public.{name}" for name, sequence in relations if not sequence]
    sequences = [f"public.{name}" for name, sequence in relations if sequence]
    routines = connection.execute(_FUNCTIONS).fetchall()
    functions = [name for name, as_owner in routines if not as_owner]
    _each(connection, names, "TABLE", tables, ("SELECT, INSERT, UPDATE, DELETE", "SELECT"))
    _each(connection, names, "SEQUENCE", sequences, ("USAGE, SELECT", "SELECT"))
    _each(connection, names, "ROUTINE", functions, ("EXECUTE", "EXECUTE"))
    _not_as_owner(connection, names, [name for name, as_owner in routines if as_owner])
    foreign_ledgers.protect(connection, [*names.twins])


def _not_as_owner(connection: Connection[Any], names: Names, routines: list[str]) -> None:
    """SECURITY DEFINER runs with the owner's rights: never for readonly; for the application as the migration has said."""
    from psycopg.sql import SQL

    for one in routines:
        connection.execute(SQL("REVOKE ALL ON ROUTINE {} FROM {}").format(SQL(one), _sql("PUBLIC, {}", names.readonly)))


def _each(
    connection: Connection[Any], names: Names, kind: LiteralString, objects: list[str], rights: tuple[LiteralString, LiteralString]
) -> None:
    """Take every right on the objects from PUBLIC and both roles, and give the roles theirs."""
    from psycopg.sql import SQL

    if not objects:
        return
    which = SQL(", ").join(SQL(one) for one in objects)  # quoted by the server
    everybody = _sql("PUBLIC, {}, {}", names.application, names.readonly)
    connection.execute(SQL("REVOKE ALL ON {} {} FROM {}").format(SQL(kind), which, everybody))
    for right, role in zip(rights, (names.application, names.readonly), strict=True):
        connection.execute(SQL("GRANT {} ON {} {} TO {}").format(SQL(right), SQL(kind), which, _sql("{}", role)))


def _sql(text: LiteralString, *names: str) -> Composed:
    from psycopg.sql import SQL, Identifier

    return SQL(text).format(*(Identifier(name) for name in names))


# ---- passwords


def ensure_passwords(connection: Connection[Any], outputs: StackOutputs, manager: Any) -> None:
    """Make every role's password what its secret says; a secret without a value gets one first."""
    for role in MADE:
        arn = secret_arn(outputs, role)
        user = role_name(outputs, role)
        try:
            login = SecretCredentials(lambda: manager, arn, role).get()
        except NotFoundError:
            password = new_password()
            keep(outputs, arn, user, password, manager)
        else:
            if login.user != user:
                raise ConfigurationError(f"The secret of the {role} role is for {login.user!r}, not {user!r}.", where=arn)
            password = login.password
        set_password(connection, user, password)


def new_password() -> str:
    """256 random bits, in characters that need no quoting in a URL, a password file or a shell."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def set_password(connection: Connection[Any], user: str, password: str) -> None:
    """Give the role a password; only its SCRAM verifier reaches the server, and with it any log."""
    from psycopg import Error
    from psycopg.errors import UndefinedObject
    from psycopg.sql import SQL, Identifier, Literal

    verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
    try:
        connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(user), Literal(verifier)))
    except UndefinedObject as error:
        raise NotFoundError(f"There is no role {user} yet.", fix="run `amianai db migrate`, which makes it") from error
    except Error as error:
        raise translate(error, f"setting the password of {user}") from error


def _secret_text(outputs: StackOutputs, user: str, password: str) -> str:
    """In the form that RDS and its clients use."""
    database = outputs.database
    place = {"engine": "postgres", "host": database.host, "port": database.port, "dbname": database.name}
    return json.dumps({"username": user, "password": password, **place})


def keep(outputs: StackOutputs, arn: str, user: str, password: str, manager: Any) -> None:
    """Write a login to its secret."""
    manager.put_secret_value(SecretId=arn, SecretString=_secret_text(outputs, user, password))


def rotate(connection: Connection[Any], outputs: StackOutputs, role: Role, manager: Any, check: Callable[[str, str], None]) -> None:
    """Give a role a new password.

    The new one is kept as AWSPENDING before the server learns it, and becomes AWSCURRENT once it was seen to work: it is never lost.
    Were this killed in between, `db migrate` sets the role to what the secret says.

    Args:
        connection: the owner's, holding the lock of `migrate.locked`.
        outputs: the stack.
        role: `application` or `readonly`.
        manager: a boto3 client for `secretsmanager`.
        check: logs in with a user and a password, and raises where that fails.
    """
    if role not in MADE:
        raise ConfigurationError(f"The password of the {role} role is not ours to rotate: RDS does.", fix="choose application or readonly")
    renew(connection, outputs, role, manager, check)


def renew(connection: Connection[Any], outputs: StackOutputs, role: Role, manager: Any, check: Callable[[str, str], None]) -> None:
    """As `rotate`, for any role whose secret is not RDS's own."""
    arn, user, password = secret_arn(outputs, role), role_name(outputs, role), new_password()
    text = _secret_text(outputs, user, password)
    version = manager.put_secret_value(SecretId=arn, SecretString=text, VersionStages=["AWSPENDING"])["VersionId"]
    set_password(connection, user, password)
    check(user, password)
    stages = manager.describe_secret(SecretId=arn).get("VersionIdsToStages", {})
    current = next((one for one, labels in stages.items() if "AWSCURRENT" in labels), None)
    before = {"RemoveFromVersionId": current} if current else {}
    manager.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=version, **before)
    with suppress(manager.exceptions.ClientError):  # a label that AWS has taken off itself
        manager.update_secret_version_stage(SecretId=arn, VersionStage="AWSPENDING", RemoveFromVersionId=version)
