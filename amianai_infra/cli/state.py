"""`amianai state`: the locks of the engine's state."""

from __future__ import annotations

import click

from amianai_infra.cli.options import App


@click.group()
def state() -> None:
    """Look at and release the locks of the stack's state.

    \b
    amianai state locks
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
