"""The gate before everything that can lose data: enabled in the environment, confirmed by name, given a reason, and recorded.

No setting, stack file or flag opens it: `ENABLE_DB_ADMIN=true` has to be in the environment of the very command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from amianai_infra.database.audit import Connect, Record, Trail, audited, made_by
from amianai_infra.errors import RefusedError
from amianai_infra.outputs import StackOutputs
from amianai_infra.target import Target

ENABLE = "ENABLE_DB_ADMIN"


def require(target: Target, outputs: StackOutputs, *, action: str, confirmed: str | None, reason: str, environ: Mapping[str, str]) -> None:
    """Refuse unless everything is there that the gate wants; whatever is missing is named at once.

    Args:
        target: where.
        outputs: of which stack.
        action: which work, as the error names it.
        confirmed: the domain as the caller typed it or gave it; None where somebody will be asked for it.
        reason: why, in the caller's words.
        environ: the process environment.

    Raises:
        RefusedError: not enabled, not confirmed, without a reason, or without an audit log group.
    """
    missing = _missing(outputs.domain, confirmed, reason, environ)
    if not Trail(target.client("logs"), outputs.audit_log_group).exists():
        missing.append((f"there is no audit log group {outputs.audit_log_group}".rstrip(), made_by(outputs.audit_log_group)))
    if missing:
        problems, fixes = zip(*missing, strict=True)
        raise RefusedError(f"{action}: the gate is closed; nothing was changed.", where="\n".join(problems), fix="\n".join(fixes))


def _missing(domain: str, confirmed: str | None, reason: str, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the command itself lacks, each with its fix."""
    found = []
    if environ.get(ENABLE) != "true":
        said = f"is {environ[ENABLE]!r}" if ENABLE in environ else "is not set"
        found.append((f"administration is not enabled: {ENABLE} {said}", f"put {ENABLE}=true before this one command"))
    if confirmed is not None and confirmed.strip() != domain:
        problem = f"{confirmed.strip()!r} is not {domain}" if confirmed.strip() else "the domain was not confirmed"
        found.append((problem, f"add --confirm {domain}"))
    if not reason.strip():
        found.append(("no reason was given", "add --reason TEXT"))
    return found


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
    require(target, outputs, action=action, confirmed=confirmed, reason=reason, environ=environ)
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
