"""`amianai db url` and `amianai db shell`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amianai_infra.cli.db import at_option, found_outputs, role_option
from amianai_infra.cli.options import App

if TYPE_CHECKING:
    from amianai_infra.database.credentials import Role


@click.command()
@role_option("application")
@click.pass_obj
def url(app: App, role: Role) -> None:
    """Print the connection URL, without a password.

    \b
    amianai --sandbox db url
    amianai db url --role readonly

    The password is in the secret that --json names; server code reads it there.
    """
    from amianai_infra.database.credentials import role_name, secret_arn
    from amianai_infra.database.endpoint import Endpoint

    outputs = found_outputs(app)
    endpoint, user = Endpoint.of(app.target, outputs).at(at_option()), role_name(outputs, role)
    data = {
        "url": endpoint.url(user),
        "host": endpoint.host,
        "port": endpoint.port,
        "database": endpoint.database,
        "user": user,
        "ca": str(endpoint.ca),
        "secret_arn": secret_arn(outputs, role),
    }
    app.print(data, endpoint.url(user))


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, metavar="[-- PSQL ARGUMENTS]")
@click.pass_obj
def shell(app: App, arguments: tuple[str, ...]) -> None:
    """Open psql, verified and read-only.

    \b
    amianai --sandbox db shell
    amianai db shell -- -c 'SELECT count(*) FROM users'

    It connects as the role that can only read. The password is in a file of mode 0600 while psql runs, never in an argument.
    """
    from amianai_infra.database import shell as psql
    from amianai_infra.database.endpoint import Endpoint
    from amianai_infra.database.session import credentials

    outputs = found_outputs(app)
    endpoint = Endpoint.of(app.target, outputs).at(at_option())
    login = credentials(app.target, outputs, "readonly").get()
    click.get_current_context().exit(psql.run(endpoint, login, arguments, app.environ, read_only=True))
