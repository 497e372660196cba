"""`amianai db adopt`."""

from __future__ import annotations

import click

from amianai_infra.cli.db_backup import rds
from amianai_infra.cli.options import App


@click.command()
@click.pass_obj
def adopt(app: App) -> None:
    """Say what adopting an instance that was made elsewhere takes, and change nothing.

    \b
    amianai db adopt --set database.identifier=eeyore-postgres

    Exit code 1 when something stands in the way. Where nothing does, `amianai preview --set database.adopt=true` shows the import, and `up`
    performs it; the data stays. From then on the instance is the stack's, and `destroy` removes it with a final snapshot.
    """
    from amianai_infra.database import adoption, backups
    from amianai_infra.errors import NotFoundError

    app.target.ready()
    app.announce()
    chosen = app.settings.database
    try:
        vpc = app.outputs(fresh=True).network.vpc_id
    except NotFoundError:
        vpc = ""  # the usual case: the instance is there before the stack
    findings = adoption.judge(rds(app).get(chosen.identifier), chosen, vpc)
    data = [{"level": one.level, "what": one.what, "fact": one.fact, "fix": one.fix} for one in findings]
    good = backups.healthy(findings)
    last = "amianai preview --set database.adopt=true" if good else "correct what is marked ✗, then run this again"
    app.print({"ok": good, "findings": data}, [chosen.identifier, *backups.report(findings), f"next: {last}"])
    if not good:
        click.get_current_context().exit(1)
