"""The gate before everything that can lose data: enabled in the environment, confirmed by name, given a reason, and recorded.

No setting, stack file or flag opens it: `ENABLE_DB_ADMIN=true` has to be in the environment of the very command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from amianai_infra.database.audit import Connect, Record, audited
from amianai_infra.errors import RefusedError
from amianai_infra.outputs import StackOutputs
from amianai_infra.target import Target

ENABLE = "ENABLE_DB_ADMIN"


def require_enabled(environ: Mapping[str, str], action: str) -> None:
    """Refuse unless the environment says `ENABLE_DB_ADMIN=true`.

    Raises:
        RefusedError: it does not.
    """
    if environ.get(ENABLE) != "true":
        raise RefusedError(
            f"{action}: administration of the database is not enabled; nothing was changed.",
            where=f"environment variable {ENABLE} {f'= {environ[ENABLE]!r}' if ENABLE in environ else 'is not set'}",
            fix=f"run the command again with {ENABLE}=true before it, for this one command",
        )


@contextmanager
def administration(
    target: Target,
    outputs: StackOutputs,
    *,
    action: str,
    detail: str,
    reason: str,
    confirmed: str,
    environ: Mapping[str, str],
    rows_of: Callable[[], int] | None = None,
    table_must_be_written: bool = True,
    connect: Connect | None = None,
) -> Iterator[Record]:
    """Let dangerous work through, recorded before and after.

    Args:
        target: where.
        outputs: of which stack.
        action: which work, one or two words.
        detail: on what, or the SQL.
        reason: why, in the caller's words.
        confirmed: the domain as the caller typed it or gave it.
        environ: the process environment.
        rows_of: counts the rows concerned, after the work; without it the work sets `record.rows`.
        table_must_be_written: refuse where the audit table cannot be written; not for work on a database that is down.
        connect: opens a connection as owner; the default is `session.connect`.

    Raises:
        RefusedError: not enabled, not confirmed, without a reason, or without an audit log group; nothing was done.
    """
    require_enabled(environ, action)
    if confirmed.strip() != outputs.domain:
        raise RefusedError(
            f"{action}: {confirmed.strip()!r} is not {outputs.domain}; nothing was changed.",
            fix=f"type {outputs.domain}, or run it with --confirm {outputs.domain}",
        )
    if not reason.strip():
        raise RefusedError(f"{action}: no reason was given; nothing was changed.", fix="say why with --reason")
    with audited(
        target,
        outputs,
        action=action,
        detail=detail,
        reason=reason.strip(),
        table_must_be_written=table_must_be_written,
        connect=connect,
    ) as record:
        yield record
        if record.rows is None and rows_of is not None:
            record.rows = rows_of()
