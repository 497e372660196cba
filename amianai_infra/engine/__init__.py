"""The Pulumi engine: find or install it, drive it, show its progress, recover after a kill.

Importing this costs little: pulumi, boto3 and rich load when an operation runs.
"""

from amianai_infra.engine.backend import StateResource
from amianai_infra.engine.copies import Candidate
from amianai_infra.engine.driver import Engine
from amianai_infra.engine.events import Step, Summary
from amianai_infra.engine.install import MINIMUM, VERSION, engine_version, ensure_engine, find_engine
from amianai_infra.engine.locks import Lock
from amianai_infra.engine.plugin import NEEDED_BYTES, ensure_plugin, find_plugin, plugin_version, plugins_folder
from amianai_infra.engine.recovery import Existing

__all__ = [
    "MINIMUM",
    "NEEDED_BYTES",
    "VERSION",
    "Candidate",
    "Engine",
    "Existing",
    "Lock",
    "StateResource",
    "Step",
    "Summary",
    "engine_version",
    "ensure_engine",
    "ensure_plugin",
    "find_engine",
    "find_plugin",
    "plugin_version",
    "plugins_folder",
]
