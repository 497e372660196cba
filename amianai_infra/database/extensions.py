"""The extensions that the stack makes, in a schema of their own: tools that read out `public` take what is there for the team's.

The sandbox's server lets only its superuser make them, so there its provider does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from amianai_infra.naming import EXTENSIONS_SCHEMA

if TYPE_CHECKING:
    from psycopg import Connection

EXTENSIONS = ("pg_stat_statements",)

_FOUND = """
SELECT a.name, n.nspname FROM pg_available_extensions a
LEFT JOIN pg_extension e ON e.extname = a.name LEFT JOIN pg_namespace n ON n.oid = e.extnamespace WHERE a.name = ANY (%s)
"""


def ensure(connection: Connection[Any], say: Callable[[str], None]) -> None:
    """Make the extensions that are missing, and move those in `public`; one that somebody put elsewhere stays there.

    Args:
        connection: the owner's.
        say: told what the owner may not do.

    Raises:
        AmianaiError: the schema is not the owner's.
    """
    from psycopg import Error
    from psycopg.errors import InsufficientPrivilege
    from psycopg.sql import SQL, Identifier

    from amianai_infra.database.session import translate

    ours = Identifier(EXTENSIONS_SCHEMA)
    try:
        with connection.transaction():
            connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(ours))
            # `db top` looks as this role, and so do monitoring programs.
            connection.execute(SQL("GRANT USAGE ON SCHEMA {} TO pg_monitor").format(ours))
            for name, schema in connection.execute(_FOUND, (list(EXTENSIONS),)).fetchall():
                if schema not in (None, "public"):
                    continue
                step = SQL("CREATE EXTENSION {} SCHEMA {}" if schema is None else "ALTER EXTENSION {} SET SCHEMA {}")
                change = step.format(Identifier(name), ours)
                try:
                    with connection.transaction():
                        connection.execute(change)
                except InsufficientPrivilege:
                    state = "is not made" if schema is None else "stays in public"
                    say(f"The extension {name} {state}: that takes more rights than the owner's ({change.as_string(connection)})")
    except Error as error:
        raise translate(error, "setting up the database's extensions") from error
