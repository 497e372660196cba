"""Operating the database: connect, migrate, administer.

For applications: `Pool`, `AsyncPool`, their `Options`, and what they raise. Loaded when they are first used, because the driver is an
extra (`amianai-infra[database]`) that the command line does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amianai_infra.database.pool import Pool
    from amianai_infra.database.pool_async import AsyncPool
    from amianai_infra.database.pool_core import ConnectionLostError, Options, RolledBackError, UnknownOutcomeError
    from amianai_infra.database.pool_session import UnfinishedError

__all__ = ["AsyncPool", "ConnectionLostError", "Options", "Pool", "RolledBackError", "UnfinishedError", "UnknownOutcomeError"]

_MODULES = {"AsyncPool": "pool_async", "Pool": "pool", "UnfinishedError": "pool_session"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from amianai_infra.database.session import driver

    driver()
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'pool_core')}"), name)
