"""The real databases behind RDS instances: roles, databases, snapshots and settings in the sandbox's PostgreSQL server.

One server serves every instance; a comment on each database says whose it is. All steps may be repeated: a creation or
deletion that was cut short is finished by the next one. An emulator that was killed may have forgotten an instance whose
database is still here: RDS forgets nothing, so the data goes over to the instance that is made in its place.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString

from amianai_infra.database.extensions import EXTENSIONS
from amianai_infra.naming import EXTENSIONS_SCHEMA
from amianai_infra.sandbox.provider.resource import ProviderError

if TYPE_CHECKING:
    from psycopg import Connection

_OWNER: Final = "RDS instance "
_SNAPSHOT: Final = "RDS snapshot "
_OF: Final = " of "

# What RDS gives its `rds_superuser`, as far as the server knows the role.
_POWERS: Final = ("pg_monitor", "pg_signal_backend", "pg_checkpoint", "pg_use_reserved_connections")
_RDS_ROLES: Final = ("rds_superuser", "rds_iam", "rds_replication", "rds_password")

# Settings that belong to the sandbox's own server, whatever a parameter group says.
_OURS: Final = ("ssl", "listen_", "unix_", "data_", "hba_", "ident_", "log_dir", "log_file", "log_dest", "logging_", "archive_", "krb_")
_FIXED_CONTEXTS: Final = ("internal", "postmaster")


@dataclass(frozen=True)
class Setting:
    """What `pg_settings` says of one parameter."""

    name: str
    context: str
    kind: str
    least: str | None
    most: str | None
    choices: list[str] | None

    @property
    def static(self) -> bool:
        """Whether it takes a restart."""
        return self.context in _FIXED_CONTEXTS


def parameter_problem(name: str, value: str, method: str, settings: Mapping[str, Setting]) -> str:
    """Why RDS would refuse a parameter of a group, or nothing. Pure."""
    setting = settings.get(name)
    if setting is None:
        known = "." in name  # rds.* and those of extensions are not in pg_settings
        return "" if known else f"InvalidParameterValue: Could not find parameter with name: {name}"
    if setting.static and method == "immediate":
        return f"InvalidParameterCombination: cannot use immediate apply method for static parameter {name}; use pending-reboot"
    if setting.choices and value not in setting.choices:
        return f"InvalidParameterValue: {name} = {value!r} is not one of {', '.join(setting.choices)}"
    if setting.kind in ("integer", "real") and "{" not in value:
        return _number_problem(setting, value)
    return ""


def _number_problem(setting: Setting, value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        return f"InvalidParameterValue: {setting.name} = {value!r} is not a number (RDS takes no units)"
    if setting.least is not None and setting.most is not None and not float(setting.least) <= number <= float(setting.most):
        return f"InvalidParameterValue: {setting.name} = {value} is not between {setting.least} and {setting.most}"
    return ""


def snapshot_database(snapshot: str) -> str:
    """The database that holds a snapshot's data: `snapshot_<id>`, within PostgreSQL's 63 bytes."""
    if len(snapshot) <= 54:
        return f"snapshot_{snapshot}"
    return f"snapshot_{snapshot[:45]}_{hashlib.sha256(snapshot.encode()).hexdigest()[:8]}"


class Postgres:
    """The sandbox's PostgreSQL server, as superuser over its socket.

    Args:
        socket_dir: directory of the socket.
        port: port of the server.
    """

    def __init__(self, socket_dir: Path, port: int) -> None:
        self.socket_dir = socket_dir
        self.port = port
        self._lock = threading.RLock()
        self._version = ""

    @contextmanager
    def connected(self, database: str = "postgres") -> Iterator[Connection[Any]]:
        """A superuser's connection that commits each statement; nothing of it is logged by the server."""
        import psycopg

        try:
            connection = psycopg.connect(
                host=str(self.socket_dir), port=self.port, user="postgres", dbname=database, autocommit=True, connect_timeout=5
            )
        except psycopg.OperationalError as error:
            raise ProviderError(f"the sandbox's PostgreSQL does not answer on {self.socket_dir}, port {self.port}: {error}") from error
        with connection:
            connection.execute("SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic'")
            yield connection

    @property
    def version(self) -> str:
        """`16.14`."""
        if not self._version:
            with self.connected() as connection:
                self._version = str(_one(connection, "SHOW server_version")).split(" ", 1)[0]
        return self._version

    def settings(self) -> dict[str, Setting]:
        """Every parameter the server knows."""
        query = "SELECT name, context, vartype, min_val, max_val, enumvals FROM pg_settings"
        with self.connected() as connection:
            return {str(row[0]): Setting(*row) for row in connection.execute(query)}

    # -- instances

    def create(self, owner: str, database: str | None, user: str, *, instances: Collection[str], snapshot: str | None = None) -> None:
        """Make the master user and its database, empty or as the snapshot has it.

        Args:
            owner: the instance's resource id (`db-...`).
            database: the initial database, or None for none.
            user: the master user.
            instances: the resource ids of all instances that exist; a database of any other is taken over with its data,
                or set aside where a snapshot is to be in its place.
            snapshot: restore this snapshot.

        Raises:
            ProviderError: the database is another instance's, or nobody's.
        """
        with self._lock, self.connected() as connection:
            self._master(connection, user)
            if database is not None:
                if self._forgotten(connection, database, {*instances, owner}):
                    self._take_over(connection, owner, database, user, aside=snapshot is not None)
                self._database(connection, owner, database, user, snapshot)

    def exists(self, owner: str, database: str) -> bool:
        """Whether an instance's database is there."""
        with self.connected() as connection:
            return _comment(connection, database) == _OWNER + owner

    @staticmethod
    def _master(connection: Connection[Any], user: str) -> None:
        from psycopg.sql import SQL, Identifier

        for role in _RDS_ROLES:
            if not _role_exists(connection, role):
                connection.execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(role)))
        powers = [role for role in _POWERS if _role_exists(connection, role)]
        for role in powers:
            connection.execute(SQL("GRANT {} TO rds_superuser").format(Identifier(role)))
        name = Identifier(user)
        if not _role_exists(connection, user):
            connection.execute(SQL("CREATE ROLE {}").format(name))
        connection.execute(SQL("ALTER ROLE {} NOSUPERUSER CREATEROLE CREATEDB LOGIN").format(name))
        for role in (*_RDS_ROLES, *powers):
            connection.execute(SQL("GRANT {} TO {} WITH ADMIN OPTION").format(Identifier(role), name))

    @staticmethod
    def _forgotten(connection: Connection[Any], database: str, instances: Collection[str]) -> bool:
        """Whether a database is one of an instance that is no more."""
        whose = _comment(connection, database) or ""
        return whose.startswith(_OWNER) and whose.removeprefix(_OWNER) not in instances

    @staticmethod
    def _take_over(connection: Connection[Any], owner: str, database: str, user: str, *, aside: bool) -> None:
        from psycopg.sql import SQL, Identifier, Literal

        name = Identifier(database)
        if aside:
            _disconnect(connection, database)
            connection.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(name, Identifier(_unused(connection, f"{database}_forgotten"))))
            return
        connection.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(name, Identifier(user)))
        connection.execute(SQL("COMMENT ON DATABASE {} IS {}").format(name, Literal(_OWNER + owner)))

    def _database(self, connection: Connection[Any], owner: str, database: str, user: str, snapshot: str | None) -> None:
        from psycopg.sql import SQL, Identifier, Literal

        whose = _comment(connection, database)
        if whose not in (None, _OWNER + owner):
            what = f"belongs to {whose}" if whose else "exists already and is not an instance's"
            raise ProviderError(f"the sandbox has one PostgreSQL server, and its database {database!r} {what}")
        if whose is None:
            template = "template1" if snapshot is None else snapshot_database(snapshot)
            query = SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
            connection.execute(query.format(Identifier(database), Identifier(user), Identifier(template)))
            connection.execute(SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(database), Literal(_OWNER + owner)))
        self._extend(database)

    def _extend(self, database: str) -> None:
        """Make the extensions in their schema, which is the database owner's; those that an earlier version made in `public` move there."""
        from psycopg.sql import SQL, Identifier

        with self.connected(database) as inside:
            owner = _one(inside, "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()")
            schema = Identifier(EXTENSIONS_SCHEMA)
            inside.execute(SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(schema, SQL(owner)))
            for extension in EXTENSIONS:
                if not _one(inside, "SELECT 1 FROM pg_available_extensions WHERE name = %s", extension):
                    continue
                inside.execute(SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}").format(Identifier(extension), schema))
                if _one(inside, "SELECT extnamespace = 'public'::regnamespace FROM pg_extension WHERE extname = %s", extension):
                    inside.execute(SQL("ALTER EXTENSION {} SET SCHEMA {}").format(Identifier(extension), schema))

    def extend(self) -> None:
        """See to the extensions of every instance's database."""
        with self._lock, self.connected() as connection:
            names = [name for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()]
            ours = [name for name in names if (_comment(connection, name) or "").startswith(_OWNER)]
        for name in ours:
            self._extend(name)

    def kept_name(self, snapshot: str) -> str:
        """The name the database had of which a snapshot was made.

        Raises:
            ProviderError: the snapshot has no data here.
        """
        with self.connected() as connection:
            comment = _comment(connection, snapshot_database(snapshot)) or ""
        head, _, name = comment.partition(_OF)
        if head != _SNAPSHOT + snapshot:
            raise ProviderError(f"the snapshot {snapshot} has no data in the sandbox's PostgreSQL; final snapshots of the stack have")
        return name

    def set_password(self, user: str, password: str) -> None:
        """Give the user a password; only its SCRAM verifier reaches the server."""
        from psycopg.sql import SQL, Identifier, Literal

        with self.connected() as connection:
            verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
            connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(user), Literal(verifier)))

    # -- removal and snapshots

    def remove(self, owner: str, database: str | None, user: str, *, snapshot: str | None) -> None:
        """Drop an instance's database and roles, or keep them as the snapshot's."""
        from psycopg.sql import SQL, Identifier

        with self._lock, self.connected() as connection:
            if database is not None and _comment(connection, database) == _OWNER + owner:
                self._drop_or_keep(connection, database, snapshot)
            if snapshot is None:
                self._drop_roles(connection, user)
            elif _role_exists(connection, user):
                connection.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(user)))

    def _drop_or_keep(self, connection: Connection[Any], database: str, snapshot: str | None) -> None:
        from psycopg.sql import SQL, Identifier, Literal

        name = Identifier(database)
        if snapshot is None:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            return
        kept = Identifier(snapshot_database(snapshot))
        connection.execute(SQL("DROP DATABASE IF EXISTS {}").format(kept))  # left by a snapshot that was deleted since
        connection.execute(SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(name))
        _disconnect(connection, database)
        connection.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(name, kept))
        connection.execute(SQL("COMMENT ON DATABASE {} IS {}").format(kept, Literal(_SNAPSHOT + snapshot + _OF + database)))

    @staticmethod
    def _drop_roles(connection: Connection[Any], user: str) -> None:
        """Drop the master user and what it created; a role that an earlier snapshot needs stays, without its login."""
        from psycopg import errors
        from psycopg.sql import SQL, Identifier

        query = (
            "SELECT created.rolname FROM pg_auth_members link JOIN pg_roles created ON created.oid = link.roleid"
            " JOIN pg_roles creator ON creator.oid = link.member"
            " WHERE creator.rolname = %s AND link.admin_option AND created.oid >= 16384 AND created.rolname <> ALL(%s)"
        )
        created = [str(row[0]) for row in connection.execute(query, (user, list(_RDS_ROLES)))]
        for role in (*created, user):
            if not _role_exists(connection, role):
                continue
            try:
                connection.execute(SQL("DROP ROLE {}").format(Identifier(role)))
            except errors.DependentObjectsStillExist:
                connection.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(role)))

    # -- settings

    def apply(self, parameters: Mapping[str, str], removed: frozenset[str] = frozenset()) -> list[str]:
        """Set what a parameter group says and a running server can change; gives the names that were set.

        Static parameters, those of RDS itself and those of the sandbox's own server are left alone.
        """
        from psycopg.sql import SQL, Identifier, Literal

        settings, done = self.settings(), []
        with self._lock, self.connected() as connection:
            for name in sorted({*parameters, *removed}):
                value = parameters.get(name)
                if name not in settings or settings[name].static or name.startswith(_OURS) or "{" in (value or ""):
                    continue
                if value is None:
                    connection.execute(SQL("ALTER SYSTEM RESET {}").format(Identifier(name)))
                else:
                    connection.execute(SQL("ALTER SYSTEM SET {} = {}").format(Identifier(name), Literal(value)))
                done.append(name)
            connection.execute("SELECT pg_reload_conf()")
        return done


def _one(connection: Connection[Any], query: LiteralString, *values: Any) -> Any:
    row = connection.execute(query, values or None).fetchone()
    return None if row is None else row[0]


def _role_exists(connection: Connection[Any], role: str) -> bool:
    return _one(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role) is not None


def _comment(connection: Connection[Any], database: str) -> str | None:
    """The comment on a database, empty where there is none, None where there is no such database."""
    found = _one(connection, "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s", database)
    return None if found is None else str(found)


def _unused(connection: Connection[Any], name: str) -> str:
    """A name no database has: this one, or this one with a number."""
    return next(tried for tried in chain((name,), (f"{name}_{number}" for number in count(2))) if _comment(connection, tried) is None)


def _disconnect(connection: Connection[Any], database: str) -> None:
    """End every connection to a database and wait until they are gone."""
    for _ in range(50):
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))
        if not _one(connection, "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", database):
            return
        time.sleep(0.1)
    raise ProviderError(f"connections to {database!r} do not end")
