"""Operating the database: connect, migrate, administer.

For applications: `Pool`, `AsyncPool`, what they are made of (`Options`, `PoolSize`, `Endpoint`, `IamCredentials`, `SecretCredentials`), and
what they raise. Loaded when they are first used, because the driver is an extra (`amianai-infra[database]`) that the command line does
without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amianai_infra.database.credentials import IamCredentials, SecretCredentials
    from amianai_infra.database.endpoint import Endpoint
    from amianai_infra.database.pool import Pool
    from amianai_infra.database.pool_async import AsyncPool
    from amianai_infra.database.pool_core import ConnectionLostError, Options, RolledBackError, UnknownOutcomeError
    from amianai_infra.database.pool_session import UnfinishedError
    from amianai_infra.rules.connections import PoolSize

__all__ = [
    "AsyncPool",
    "ConnectionLostError",
    "Endpoint",
    "IamCredentials",
    "Options",
    "Pool",
    "PoolSize",
    "RolledBackError",
    "SecretCredentials",
    "UnfinishedError",
    "UnknownOutcomeError",
]

_MODULES = {
    "AsyncPool": "amianai_infra.database.pool_async",
    "Endpoint": "amianai_infra.database.endpoint",
    "IamCredentials": "amianai_infra.database.credentials",
    "Pool": "amianai_infra.database.pool",
    "PoolSize": "amianai_infra.rules.connections",
    "SecretCredentials": "amianai_infra.database.credentials",
    "UnfinishedError": "amianai_infra.database.pool_session",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from amianai_infra.database.session import driver

    driver()
    return getattr(import_module(_MODULES.get(name, "amianai_infra.database.pool_core")), name)
