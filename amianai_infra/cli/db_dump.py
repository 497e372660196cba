"""`amianai db dump` and `amianai db load`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from amianai_infra.cli.db import at_option, connected, found_outputs
from amianai_infra.cli.db_admin import gone, reason_option, through
from amianai_infra.cli.options import App, confirm_option, dry_run_option


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def dump(app: App, file: Path | None) -> None:
    """Write the schema and every row to a file, with pg_dump.

    \b
    amianai --sandbox db dump
    amianai db --at 127.0.0.1:15432 dump before-import.dump

    Without FILE it is named after the database and the time. The format is pg_dump's own (custom, without owners), for `db load` and
    pg_restore. It is made by the role that only reads, so the audit records are not in it. The file holds everybody's data: it is of mode
    0600, and that it was made is recorded.
    """
    from amianai_infra.database import dumps
    from amianai_infra.database.audit import audited
    from amianai_infra.database.endpoint import Endpoint
    from amianai_infra.database.session import credentials

    outputs = found_outputs(app)
    path = (file or Path(f"{outputs.database.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump")).resolve()
    dumps.require_new(path)  # before anything is recorded
    with connected(app, "readonly", outputs=outputs) as connection:
        server = connection.info.server_version // 10_000
    folder = dumps.programs(server, app.environ, app.target.client_programs, newer=True)
    login = credentials(app.target, outputs, "readonly").get()
    with (
        audited(
            app.target,
            outputs,
            action="dump",
            detail=f"{outputs.database.name} to {path.name}",
            reason="",
            table_must_be_written=False,
            connect=lambda: connected(app, outputs=outputs),
        ),
        app.progress.task(f"Dumping {outputs.database.name}"),
    ):
        dumps.dump(folder, Endpoint.of(app.target, outputs).at(at_option()), login, path, app.environ)
    size = path.stat().st_size
    app.print({"file": str(path), "bytes": size, "programs": str(folder)}, f"{path}  {size:,} bytes")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@confirm_option
@reason_option
@dry_run_option
@click.pass_obj
def load(app: App, /, file: Path, **options: Any) -> None:
    """Put a dump in the place of everything that is there; on AWS after a snapshot.

    \b
    amianai db load before-import.dump --dry-run
    ENABLE_DB_ADMIN=true amianai --sandbox db load prod.dump --reason "yesterday's rows" --confirm example.test

    It drops what `db admin reset` drops and runs the dump in the same transaction: if anything fails, nothing was changed. Then the
    migrations that the dump lacks are applied and the roles settled. The records of administrative work stay. A dump is code, which runs
    as the owner: load none that you do not trust.
    """
    result = through(app, found_outputs(app), lambda found: found.load(file.resolve()), options)
    if result is not None:
        app.print(result.as_dict(), f"{file.name} is loaded; {gone(result)}")
