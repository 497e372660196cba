"""The stack's schema as a whole: what is applied and what is not, the roles and their passwords."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amianai_infra.database import extensions, foreign_ledgers, migrator, roles
from amianai_infra.database.credentials import FixedCredentials, Login, Role, role_name
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.foreign_ledgers import ForeignLedger
from amianai_infra.database.migrate import Applied, Done, Migration, ledger, locked, migrate, plan, read_all, sql_files
from amianai_infra.database.no_transaction import Begun, begun
from amianai_infra.database.session import open_connection
from amianai_infra.errors import ConfigurationError, RefusedError
from amianai_infra.outputs import StackOutputs
from amianai_infra.printing import under
from amianai_infra.target import Target

if TYPE_CHECKING:
    from psycopg import Connection


def project_folder(root: Path, setting: str) -> Path | None:
    """The folder of the project's own migrations: None where the setting is empty.

    Raises:
        ConfigurationError: the setting names no folder, or one without any migration.
    """
    if not setting:
        return None
    folder = root / setting
    if folder.is_dir() and sql_files(folder):
        return folder
    how = "holds no .sql file" if folder.is_dir() else "is not a folder" if folder.exists() else "does not exist"
    raise ConfigurationError(
        f"The folder of the project's migrations {how}.",
        where=f"setting database.migrations = {setting}: {folder}",
        fix="put the migrations there, or name their folder (or nothing, for none): `amianai up --set database.migrations=FOLDER`",
    )


@dataclass(frozen=True)
class State:
    """How a database's schema is.

    Attributes:
        server: PostgreSQL's version.
        applied: the ledger.
        half: what was begun outside a transaction and is not done.
        pending: what `db migrate` would apply.
        problem: why it would refuse; empty where it would not.
        roles: role -> whether the server knows it.
        foreign: the ledgers of other tools.
        door: until when the migrator may log in; empty while it may not.
    """

    server: str
    applied: list[Applied]
    half: list[Begun]
    pending: list[Migration]
    problem: str
    roles: dict[str, bool]
    foreign: list[ForeignLedger]
    door: str

    @property
    def unfinished(self) -> bool:
        """Whether `db migrate` has something to do, and would do it."""
        return not self.problem and bool(self.pending or not all(self.roles.values()))

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "server": self.server,
            "applied": [one.as_dict() for one in self.applied],
            "begun": [one.as_dict() for one in self.half],
            "pending": [str(one) for one in self.pending],
            "problem": self.problem,
            "roles": self.roles,
            "foreign": [one.as_dict() for one in self.foreign],
            "migrator_open_until": self.door,
        }

    def text(self) -> list[str]:
        """For a person."""
        lines = [f"PostgreSQL {self.server}"]
        lines += [f"✓ {one}  {one.applied_at:%Y-%m-%d %H:%M} by {one.applied_by}" for one in self.applied]
        lines += [f"✗ {one.text()}" for one in self.half]
        lines += [f"· {one}  not applied" for one in self.pending]
        lines += under("✗ ", self.problem) if self.problem else []
        lines += [f"{'✓' if there else '·'} role {name}{'' if there else '  not there'}" for name, there in self.roles.items()]
        lines += [f"✗ the migrator may log in until {self.door}: `amianai db run` is at work, or was killed"] if self.door else []
        lines += [f"· {one}" for one in self.foreign]
        lines += ["  next:  `amianai db migrate`"] if self.unfinished else []
        return lines


def look(connection: Connection[Any], outputs: StackOutputs, read: Callable[[], Sequence[Migration]]) -> State:
    """Read the state; changes nothing and waits for nobody. Migrations that cannot be read are a problem to tell of."""
    known, half = ledger(connection), begun(connection)
    problem, pending = "", []
    try:
        pending = plan(read(), known, half, external=outputs.database.external)
    except (RefusedError, ConfigurationError) as error:
        problem = str(error)
    version = connection.execute("SHOW server_version").fetchone()
    names = roles.Names.of(outputs)
    rows = connection.execute("SELECT rolname FROM pg_roles").fetchall()
    there = {name for (name,) in rows}
    ours = (names.application, names.readonly, *((role_name(outputs, "migrator"),) if outputs.database.external else ()))
    found, door = {name: name in there for name in ours}, migrator.open_until(connection, outputs)
    shown = str(version[0]).split()[0] if version else ""
    return State(shown, known, half, pending, problem, found, foreign_ledgers.found(connection), door)


def settle(connection: Connection[Any], target: Target, outputs: StackOutputs, say: Callable[[str], None]) -> None:
    """Bring the extensions, the roles, their rights and their passwords to what they should be."""
    names = roles.Names.of(outputs)
    extensions.ensure(connection, say)
    with connection.transaction():
        migrator.ensure(connection, outputs, names)
        roles.ensure(connection, names)
    roles.ensure_passwords(connection, outputs, target.client("secretsmanager"))


def apply(
    connection: Connection[Any],
    target: Target,
    outputs: StackOutputs,
    own: Path | None,
    *,
    say: Callable[[str], None],
    snapshot: Callable[[], object] | None = None,
) -> Done:
    """Bring the schema, the extensions and the roles to what the files and the secrets say.

    Args:
        connection: the owner's, without a statement timeout.
        target: whose secrets.
        outputs: the stack.
        own: the project's own folder of migrations.
        say: told what happens.
        snapshot: called before anything is applied to a database that holds data already.
    """
    return migrate(
        connection,
        read_all(own),
        by=target.identity().arn,
        say=say,
        before=snapshot,
        around=lambda: settle(connection, target, outputs, say),
        external=outputs.database.external,
    )


def rotate(
    connection: Connection[Any],
    target: Target,
    outputs: StackOutputs,
    role: Role,
    *,
    say: Callable[[str], None],
    at: tuple[str, int] | None = None,
) -> None:
    """Give a role a new password, seen to work before anybody is told of it."""
    endpoint = Endpoint.of(target, outputs).at(at)

    def check(user: str, password: str) -> None:
        open_connection(endpoint, FixedCredentials(Login(user, password)), application_name="amianai rotate").close()

    with locked(connection, say):
        roles.rotate(connection, outputs, role, target.client("secretsmanager"), check)
