"""After the database was restored: the engine's state and what the stack publishes follow the instance that serves now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amianai_infra.errors import NotFoundError, VerificationError
from amianai_infra.operations import change
from amianai_infra.operations.context import Context
from amianai_infra.target import forget_outputs

if TYPE_CHECKING:
    from amianai_infra.engine import Engine, StateResource

INSTANCE_TYPE = "aws:rds/instance:Instance"


def instance_of(engine: Engine, identifier: str) -> StateResource:
    """The stack's database instance, as the engine's state has it.

    Raises:
        NotFoundError: the state does not have it.
    """
    found = [one for one in engine.resources() if one.type == INSTANCE_TYPE and one.inputs.get("identifier") == identifier]
    if not found:
        raise NotFoundError(
            f"The engine's state has no database instance {identifier}.",
            fix="run `amianai up`, which makes an empty one that the restored one then replaces",
        )
    return found[0]


def follow(context: Context, identifier: str, resource_id: str) -> None:
    """Adopt the instance, publish its new secret and resource id, and see that nothing is left to change. May be repeated.

    Args:
        context: where.
        identifier: the instance's name, which stayed.
        resource_id: the id of the instance that serves now.

    Raises:
        LockedError: somebody else works on the stack; run it again.
        VerificationError: `up` would still change something.
    """
    engine = context.engine()
    engine.stand_for(instance_of(engine, identifier).urn, resource_id)
    change.up(context, engine)
    forget_outputs(context.target)
    left = engine.preview()
    if left.changed:
        names = ", ".join(f"{step.op} {step.name}" for step in left.steps if step.op not in ("same", "read"))
        raise VerificationError(
            "The restored database serves, but the stack still differs from its settings.", where=names, fix="`amianai preview`"
        )
