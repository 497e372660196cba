"""The migrator: the role of a team's own migration tool (Alembic, Prisma, Drizzle, Django), with `database.migrations_by = external`.

It may make and alter what is in `public` and in schemas of its own, and is neither the owner nor a member of it: our records are out of its
reach. Its login counts only while the door is open (`door`): outside of that PostgreSQL refuses its password, which has run out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, LiteralString

from amianai_infra.database import roles
from amianai_infra.database.credentials import Login, role_name, secret_arn
from amianai_infra.database.session import translate
from amianai_infra.outputs import StackOutputs

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

# What `0001_application` makes in `public`, which stays the owner's where it was applied.
_OURS = ("users", "personas", "conversations", "conversation_participants", "messages", "set_updated_at")
_EXTENSIONS = "NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = '{0}'::regclass AND d.objid = {1} AND d.deptype IN ('e', 'i'))"
_OF_THE_OWNER = f"""
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
    ELSE 'TABLE' END, c.oid::regclass::text
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = current_user::regrole AND c.relname <> ALL (%(ours)s)
    AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {_EXTENSIONS.format("pg_class", "c.oid")}
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.deptype IN ('a', 'i'))
UNION ALL
SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND p.proowner = current_user::regrole AND p.proname <> ALL (%(ours)s)
    AND {_EXTENSIONS.format("pg_proc", "p.oid")}
UNION ALL
SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::regtype::text FROM pg_type t
WHERE t.typnamespace = 'public'::regnamespace AND t.typowner = current_user::regrole AND t.typtype IN ('d', 'e', 'r', 'c')
    AND NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c') AND {_EXTENSIONS.format("pg_type", "t.oid")}
"""  # noqa: S608
_RIGHTS: tuple[tuple[LiteralString, bool], ...] = (
    ("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {} TO {}", True),
    ("GRANT USAGE, CREATE ON SCHEMA public TO {}", False),
)
_OUR_TABLES = """
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = current_user::regrole
AND c.relkind = 'r' AND c.relname = ANY (%s)
"""
_SHUT = "-infinity"
_UNTIL = """
SELECT coalesce(date_trunc('second', rolvaliduntil)::text, 'ever') FROM pg_roles
WHERE rolname = %s AND rolcanlogin AND coalesce(rolvaliduntil > now(), true)
"""
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"


def ensure(connection: Connection[Any], outputs: StackOutputs, names: roles.Names) -> None:
    """Make the role what it should be: there with its rights where the team has its own tool, else without any; its door shut.

    What of the team's the owner has made in `public` until now becomes the migrator's, or its tool could not alter it.

    Raises:
        AmianaiError: the owner lacks a right.
    """
    from psycopg import Error
    from psycopg.sql import SQL

    role = role_name(outputs, "migrator")
    there = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None
    if not there and not outputs.database.external:
        return
    try:
        with connection.transaction():
            if not there:
                connection.execute(_sql("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE VALID UNTIL '-infinity'", role))
            connection.execute(_sql("GRANT {} TO CURRENT_USER", role))  # to drop, to count and to grant what it makes
            roles.take_away(connection, role, names)
            _valid(connection, role, _SHUT)
            if not outputs.database.external:
                return
            for statement, database in _RIGHTS:
                connection.execute(_sql(statement, *([names.database] if database else []), role))
            for (table,) in connection.execute(_OUR_TABLES, (list(_OURS),)).fetchall():
                connection.execute(_sql("GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES ON public.{} TO {}", table, role))
            for kind, name in connection.execute(_OF_THE_OWNER.encode(), {"ours": list(_OURS)}).fetchall():
                connection.execute(SQL("ALTER {} {} OWNER TO {}").format(SQL(kind), SQL(name), _sql("{}", role)))  # quoted by the server
    except Error as error:
        raise translate(error, "setting up the migrator's role") from error


def open_until(connection: Connection[Any], outputs: StackOutputs) -> str:
    """Until when the role's password counts; empty while the door is shut, or where there is no such role."""
    row = connection.execute(_UNTIL, (role_name(outputs, "migrator"),)).fetchone()
    return str(row[0]) if row else ""


@contextmanager
def door(
    connection: Connection[Any], outputs: StackOutputs, manager: Any, lasting: timedelta, settle: Callable[[], None]
) -> Iterator[Login]:
    """Let the migrator log in for the length of the block, and no longer than `lasting`, with a password drawn for this time.

    Args:
        connection: the owner's, holding the lock of `migrate.locked`.
        outputs: the stack.
        manager: a boto3 client for `secretsmanager`.
        lasting: after that PostgreSQL refuses the password, whatever became of us.
        settle: brings roles and rights in order; called first and last.
    """
    from psycopg import Error

    settle()
    role, password = role_name(outputs, "migrator"), roles.new_password()
    roles.keep(outputs, secret_arn(outputs, "migrator"), role, password, manager)
    roles.set_password(connection, role, password)
    try:
        row = connection.execute("SELECT (now() + %s)::text", (lasting,)).fetchone()
        _valid(connection, role, str(row[0]) if row else _SHUT)
        try:
            yield Login(role, password)
        finally:
            _valid(connection, role, _SHUT)
            connection.execute(_END, (role,))
    except Error as error:
        raise translate(error, "opening and shutting the migrator's door") from error
    finally:
        if not connection.closed:
            settle()


def _valid(connection: Connection[Any], role: str, until: str) -> None:
    from psycopg.sql import SQL, Literal

    connection.execute(SQL("ALTER ROLE {} VALID UNTIL {}").format(_sql("{}", role), Literal(until)))


def _sql(text: LiteralString, *names: str) -> Composed:
    from psycopg.sql import SQL, Identifier

    return SQL(text).format(*(Identifier(name) for name in names))
