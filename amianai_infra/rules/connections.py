"""What a failed PostgreSQL call means, how long to wait before the next one, and how many connections an instance bears. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["login", "untrusted", "refused", "absent", "busy", "gone", "standby", "conflict", "outdated", "other"]

# What ends a connection or keeps one from being made, although nothing is wrong with the request.
_GONE = frozenset({"57P01", "57P02", "57P03", "57P05"})
_CONFLICTS = frozenset({"40001", "40P01"})
_STATES: dict[str, Kind] = {
    "28P01": "login",
    "28000": "login",
    "3D000": "absent",
    "53300": "busy",
    "25006": "standby",
    **dict.fromkeys(_GONE, "gone"),
    **dict.fromkeys(_CONFLICTS, "conflict"),
}

_UNSUPPORTED: tuple[tuple[str, Kind], ...] = (("during recovery", "standby"), ("cached plan must not change", "outdated"))

# A connection that fails has no SQLSTATE in libpq, only text.
_TEXTS: tuple[tuple[str, Kind], ...] = (
    ("certificate verify failed", "untrusted"),
    ("does not match host name", "untrusted"),
    ("server does not support ssl", "untrusted"),
    ("root certificate file", "untrusted"),
    ("ssl error: unsupported protocol", "untrusted"),
    ("password authentication failed", "login"),
    ("pam authentication failed", "login"),
    ("no password supplied", "login"),
    ("is not permitted to log in", "login"),
    ("no pg_hba.conf entry", "refused"),
    ("permission denied for database", "refused"),
    ("too many clients", "busy"),
    ("too many connections", "busy"),
    ("remaining connection slots", "busy"),
)


def kind_of(sqlstate: str | None, text: str, *, operational: bool) -> Kind:
    """What a failure means.

    Args:
        sqlstate: PostgreSQL's code, where the server sent one.
        text: the message.
        operational: whether the driver calls it an operational error: without a code that is a connection which is gone.

    Returns:
        `login` (password or token refused), `untrusted` (the server did not prove who it is), `refused` (this address or role may
        not connect), `absent` (no such database), `busy` (no connection left), `gone` (lost, starting, stopping),
        `standby` (read-only: a failover), `conflict` (serialization failure, deadlock), `outdated` (a statement that was prepared on
        this connection before a migration) or `other`.
    """
    if sqlstate == "0A000":
        return next((kind for words, kind in _UNSUPPORTED if words in text), "other")
    if sqlstate:
        return "gone" if sqlstate.startswith("08") else _STATES.get(sqlstate, "other")
    if not operational:
        return "other"
    lowered = text.lower()
    if 'database "' in lowered and "does not exist" in lowered:
        return "absent"
    return next((kind for words, kind in _TEXTS if words in lowered), "gone")


@dataclass(frozen=True)
class Backoff:
    """How long to wait between attempts: doubling, with full jitter in the upper half, never longer than `most`.

    Attributes:
        first: seconds before the second attempt.
        most: longest wait in seconds.
    """

    first: float = 0.05
    most: float = 1.0

    def delays(self, random: Callable[[], float]) -> Iterator[float]:
        """Waits without an end. `random` gives numbers from 0 to 1."""
        delay = self.first
        while True:
            yield delay * (0.5 + 0.5 * random())
            delay = min(delay * 2, self.most)


@dataclass(frozen=True)
class PoolSize:
    """Connections that one pool keeps at least and at most."""

    least: int
    most: int


# Source: Amazon RDS User Guide, "Hardware specifications for DB instance classes": GiB a virtual CPU, by the family's letter; the
# burstable classes have two CPUs up to `large`, whatever their memory.
_GIB_A_CPU = {"t": 4.0, "m": 4.0, "c": 2.0, "r": 8.0, "x": 16.0, "z": 8.0}
_BURSTABLE_GIB = {"micro": 1.0, "small": 2.0, "medium": 4.0, "large": 8.0}
_CPUS = {"micro": 2, "small": 2, "medium": 2, "large": 2, "xlarge": 4}
# Source: Amazon RDS User Guide, "Quotas and constraints": max_connections is DBInstanceClassMemory / 9531392, at most 5000.
_BYTES_A_CONNECTION = 9_531_392
_MOST_CONNECTIONS = 5000
# The operating system and RDS itself keep a part of the memory of the class.
_USABLE = 0.85


def hardware(instance_class: str) -> tuple[int, float]:
    """Virtual CPUs and GiB of memory of an instance class; the smallest there is for a class that is not known."""
    _, _, rest = instance_class.partition(".")
    family, _, size = rest.partition(".")
    if family.startswith("t") and size in _BURSTABLE_GIB:
        return 2, _BURSTABLE_GIB[size]
    cpus = _CPUS.get(size, 0)
    if not cpus and size.endswith("xlarge") and size.removesuffix("xlarge").isdigit():
        cpus = 4 * int(size.removesuffix("xlarge"))
    if not cpus or family[:1] not in _GIB_A_CPU:
        return 2, 1.0
    return cpus, cpus * _GIB_A_CPU[family[0]]


def max_connections(instance_class: str) -> int:
    """About how many connections RDS allows on an instance class by default."""
    _, gib = hardware(instance_class)
    return min(int(gib * 2**30 * _USABLE / _BYTES_A_CONNECTION), _MOST_CONNECTIONS)


def pool_size(instance_class: str) -> PoolSize:
    """What one pool may take: four connections a CPU keep the CPUs busy, and a fifth of all leaves room for four other processes."""
    cpus, _ = hardware(instance_class)
    most = max(4, min(4 * cpus, max_connections(instance_class) // 5))
    return PoolSize(max(1, most // 4), most)
