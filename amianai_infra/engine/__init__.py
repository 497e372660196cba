"""The Pulumi engine: find or install it, drive it, show its progress, recover after a kill.

Importing this costs little: pulumi, boto3 and rich load when an operation runs.
"""

from amianai_infra.engine.backend import StateResource
from amianai_infra.engine.driver import Engine
from amianai_infra.engine.events import Step, Summary
from amianai_infra.engine.install import MINIMUM, VERSION, cache_dir, engine_version, ensure_engine, find_engine
from amianai_infra.engine.locks import Lock

__all__ = [
    "MINIMUM",
    "VERSION",
    "Engine",
    "Lock",
    "StateResource",
    "Step",
    "Summary",
    "cache_dir",
    "engine_version",
    "ensure_engine",
    "find_engine",
]
