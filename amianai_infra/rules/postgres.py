"""What follows from the version and size of the PostgreSQL instance. Pure."""

from __future__ import annotations

from dataclasses import dataclass

LOG_EXPORTS = ("postgresql", "upgrade")


@dataclass(frozen=True)
class DatabaseParameter:
    """One parameter of the parameter group.

    Attributes:
        name: PostgreSQL's name.
        value: the value, as text.
        apply: `immediate`, or `pending-reboot` for what PostgreSQL reads only at its start.
    """

    name: str
    value: str
    apply: str = "immediate"


def major_version(engine_version: str) -> int:
    """`16` and `16.4` are both 16.

    Raises:
        ValueError: not a version of PostgreSQL.
    """
    major = engine_version.partition(".")[0]
    if not major.isdigit() or not 10 <= int(major) <= 99:
        raise ValueError(f"{engine_version!r} is not a PostgreSQL version such as 16 or 16.4")
    return int(major)


def parameter_family(engine_version: str) -> str:
    """The parameter group family that belongs to a version: the two have one source."""
    return f"postgres{major_version(engine_version)}"


def parameters(slow_statement_ms: int) -> tuple[DatabaseParameter, ...]:
    """TLS required, slow statements logged, statements counted.

    Source: Amazon RDS User Guide, "Working with parameters on your RDS for PostgreSQL DB instance".
    """
    return (
        DatabaseParameter("log_min_duration_statement", str(slow_statement_ms)),
        DatabaseParameter("pg_stat_statements.track", "all"),
        DatabaseParameter("rds.force_ssl", "1"),
        DatabaseParameter("shared_preload_libraries", "pg_stat_statements", "pending-reboot"),
    )


def storage_ceiling(storage_gib: int, max_storage_gib: int) -> int | None:
    """The autoscaling ceiling, or None where it leaves no room to grow: RDS wants it 10 % above the storage.

    Source: Amazon RDS User Guide, "Managing capacity automatically with Amazon RDS storage autoscaling".
    """
    return max_storage_gib if max_storage_gib * 10 >= storage_gib * 11 else None


def insights_retention_days(mode: str) -> int:
    """Days of performance history that come with a Database Insights mode: 7 are free, `advanced` wants 465.

    Source: Amazon CloudWatch User Guide, "CloudWatch Database Insights".
    """
    return {"standard": 7, "advanced": 465}[mode]


def log_group(identifier: str, export: str) -> str:
    """The log group that RDS writes an exported log to."""
    return f"/aws/rds/instance/{identifier}/{export}"


def final_snapshot(identifier: str, suffix: str) -> str:
    """The name of the snapshot that a deletion leaves behind."""
    return f"{identifier}-final-{suffix}" if suffix else f"{identifier}-final"
