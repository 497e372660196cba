"""`amianai db url` and `amianai db shell`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from amianai_infra.cli.db import at_option, connected, found_outputs, require_gate, role_option
from amianai_infra.cli.options import App, confirm_option
from amianai_infra.database.clients import CLIENTS
from amianai_infra.printing import show

if TYPE_CHECKING:
    from amianai_infra.database.credentials import Role
    from amianai_infra.outputs import StackOutputs


@click.command()
@role_option("application")
@click.option("--for", "client", type=click.Choice(CLIENTS), default="libpq", show_default=True, help="Which client is to be told.")
@click.pass_obj
def url(app: App, role: Role, client: str) -> None:
    """Print how a client reaches the database, without a password.

    \b
    psql "$(amianai --sandbox db url)"
    amianai db url --for node-postgres
    amianai db url --role readonly --for django

    Every form verifies the server's name and its authority. The password is in the secret that --json names; server code reads it there. In
    the sandbox there is also a file of mode 0600 with it, which is named where a client takes one.
    """
    from amianai_infra.database.clients import ConnectionDetails, lines, note
    from amianai_infra.database.credentials import role_name, secret_arn
    from amianai_infra.database.endpoint import Endpoint

    outputs = found_outputs(app)
    endpoint, secret = Endpoint.of(app.target, outputs).at(at_option()), secret_arn(outputs, role)
    user, file = role_name(outputs, role), app.target.password_file()
    details = ConnectionDetails(endpoint, user, secret, file)
    data = {
        "url": details.url,
        "lines": lines(client, details),
        "host": endpoint.host,
        "port": endpoint.port,
        "database": endpoint.database,
        "user": user,
        "ca": str(endpoint.ca),
        "password_file": str(file or ""),
        "secret_arn": secret,
    }
    app.print(data, lines(client, details))
    if said := note(client, details):
        show(said, err=True)
    if file is not None and f":{user}:" not in file.read_text(encoding="utf-8"):
        show(f"{user} has no password yet: `amianai --sandbox db migrate` makes it", err=True)


@click.command(context_settings={"ignore_unknown_options": True})
@role_option("readonly")
@confirm_option
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record: for a role that can write.")
@click.argument("arguments", nargs=-1, metavar="[-- PSQL ARGUMENTS]")
@click.pass_obj
def shell(app: App, role: Role, confirm: str | None, reason: str, arguments: tuple[str, ...]) -> None:
    """Open psql, verified and read-only.

    \b
    amianai --sandbox db shell
    amianai db shell -- -c 'SELECT count(*) FROM users'
    ENABLE_DB_ADMIN=true amianai db shell --role application --reason "wrong title" --confirm example.com

    It connects as the role that can only read. Another one can write, so that it takes what `db admin` takes: ENABLE_DB_ADMIN=true in the
    environment, the domain, and a reason; that it was opened is recorded, what is typed is not. The password is in a file of mode 0600
    while psql runs, never in an argument.
    """
    from amianai_infra.database import shell as psql
    from amianai_infra.database.endpoint import Endpoint
    from amianai_infra.database.session import credentials

    outputs = found_outputs(app)
    endpoint = Endpoint.of(app.target, outputs).at(at_option())
    with _allowed(app, outputs, role, confirm, reason):
        login = credentials(app.target, outputs, role).get()
        code = psql.run(endpoint, login, arguments, app.environ, read_only=role == "readonly", bring=app.target.client_programs)
    click.get_current_context().exit(code)


def _allowed(app: App, outputs: StackOutputs, role: Role, confirm: str | None, reason: str) -> AbstractContextManager[object]:
    """The gate, for a role that can write."""
    if role == "readonly":
        return nullcontext()
    from amianai_infra.database.gate import administration

    require_gate(app, outputs, "amianai db shell", confirm, reason)
    app.announce()
    app.confirm_domain(confirm, f"This opens the database for anything that the {role} role may do", outputs.domain)
    return administration(
        app.target,
        outputs,
        action="shell",
        detail=f"psql as {role}",
        reason=reason,
        confirmed=outputs.domain,
        environ=app.environ,
        connect=lambda: connected(app, outputs=outputs),
    )
