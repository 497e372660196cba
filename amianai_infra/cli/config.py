"""`amianai config`: the stack file."""

from __future__ import annotations

import click

from amianai_infra.cli.options import App


@click.group()
def config() -> None:
    """Look after the stack file, which holds the settings of the stack.

    \b
    amianai config pull
    """


@config.command()
@click.pass_obj
def pull(app: App) -> None:
    """Write the stack file from what the stack was last built from.

    \b
    DOMAIN_NAME=example.com amianai config pull

    For a machine or a branch that does not have the file: it gets the settings, and the lines that name the key of the state's secrets.
    What the file says otherwise goes back to what was built, and so does what the sides of a merge disagree on. Nothing in AWS changes.
    """
    from amianai_infra.operations import change, config_pull

    with config_pull.merged(app.stack_file) as conflicts:
        _ = app.settings
        app.target.ready()
        app.announce()
        written = config_pull.pull(app)
    file = change.stack_file(app.target.engine())
    if conflicts:
        app.progress.note(f"What the sides of the merge disagreed on is as the stack was built; `git add {file.name}` settles it")
    names = change.named(key for key in written if ":" in key)
    lines = ", ".join(key for key in written if ":" not in key)
    told = ", ".join(part for part in (names, lines) if part)
    app.print({"file": str(file), "written": sorted(written)}, f"Wrote {told} into {file}" if told else f"{file}: as it was")
