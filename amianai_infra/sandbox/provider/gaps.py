"""What the emulator lacks and what the provider does about it: the one list, printed in docs/sandbox.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Gap:
    """One difference between the emulator and AWS.

    Attributes:
        service: boto3's name of the service.
        lacks: what AWS does and the emulator does not.
        here: what the provider does instead; empty where nothing can be done.
    """

    service: str
    lacks: str
    here: str = ""


GAPS: Final[tuple[Gap, ...]] = (
    # logs
    Gap("logs", "deletion protection of log groups is ignored", "kept and enforced at deletion by the provider"),
)
