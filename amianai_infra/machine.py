"""What tells this machine's process table from any other's: host names are shared by containers and copied machines."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def machine() -> str:
    """The boot and the process table a process id belongs to."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    except OSError:
        from uuid import getnode

        return f"{socket.gethostname()} {getnode():x}"
