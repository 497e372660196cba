"""The local stand-in for AWS."""

from amianai_infra.sandbox.sandbox import Sandbox, Service
from amianai_infra.sandbox.target import SandboxTarget

__all__ = ["Sandbox", "SandboxTarget", "Service"]
