"""`amianai state`: the locks and the copies of the engine's state."""

from __future__ import annotations

import click

from amianai_infra.cli.options import App, dry_run_option
from amianai_infra.printing import show


@click.group()
def state() -> None:
    """Look at and release the locks of the stack's state; put a copy of it back.

    \b
    amianai state locks
    amianai state restore --dry-run
    """


@state.command()
@click.pass_obj
def locks(app: App) -> None:
    """List who holds the state, from which machine and for how long.

    \b
    amianai --sandbox state locks
    """
    found = app.engine().locks()
    app.print([lock.as_dict() for lock in found], [f"{lock.id}  {lock}" for lock in found] or "no locks")


@state.command()
@click.argument("identity", metavar="LOCK", required=False)
@click.pass_obj
def unlock(app: App, identity: str | None) -> None:
    """Release a lock whose owner is gone; `state locks` names them.

    \b
    amianai state unlock
    amianai state unlock 3f2c9a51-7d0e-4b8e-9d35-0d8a1d2f6c11
    """
    from amianai_infra.errors import NotFoundError

    engine = app.engine()
    found = [lock for lock in engine.locks() if identity in (None, lock.id)]
    if identity and not found:
        raise NotFoundError(f"There is no lock {identity}.", fix="`amianai state locks` lists them")
    for lock in found:
        app.confirm(f"Release the lock of {lock}? Work that still runs there would be damaged.")
        engine.unlock(lock)
        app.progress.note(f"released {lock}")
    app.print([lock.as_dict() for lock in found], f"{len(found)} released")


@state.command()
@click.pass_obj
def copies(app: App) -> None:
    """List the copies of the state: the engine's backups and history, and earlier versions in the bucket.

    \b
    amianai state copies
    """
    app.target.ready()
    found = app.engine().copies()
    app.print([one.as_dict() for one in found], [str(one) for one in found] or "no copies")


@state.command()
@click.argument("copy", metavar="COPY", required=False)
@dry_run_option
@click.pass_obj
def restore(app: App, copy: str | None, dry_run: bool) -> None:
    """Put a copy of the state in its place; without COPY the newest whole one.

    \b
    amianai state restore --dry-run
    amianai state restore
    amianai state restore prod.1795950218481893726.json
    amianai state restore present

    For a state that is gone, damaged or older than its history. What is there now is kept as a copy first, and nothing in AWS is
    touched. `present` puts nothing back: it says that the state which is there is right, although its history is newer. `amianai
    preview` shows what differs afterwards.
    """
    from amianai_infra.operations import state_copies as operation

    app.target.ready()
    app.announce()
    engine = app.engine()
    found = operation.plan(engine, copy)
    if dry_run or not app.json:
        show(found.text(), err=not dry_run)
    if dry_run:
        return
    result = operation.restore(app, engine, found)
    app.print(result.as_dict(), result.text())
