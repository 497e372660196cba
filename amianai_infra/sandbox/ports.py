"""Which ports the sandbox listens on: chosen once a checkout, remembered, and moved only while nothing depends on them.

The site's address and the database's contain their ports, so those stay what they are once a stack exists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from amianai_infra.errors import ConfigurationError
from amianai_infra.sandbox.processes import describe, free, port_owner

PORT_VARIABLE = "AMIANAI_SANDBOX_PORT"
# Below the range from which Linux and macOS draw the ports of outgoing connections.
_FIRST, _BLOCKS, _WIDTH = 20_000, 1_000, 10


@dataclass(frozen=True)
class Ports:
    """The ports of the three daemons, all on 127.0.0.1."""

    emulator: int
    postgres: int
    provider: int

    def of(self, name: str) -> int:
        """The port of the daemon called `name`."""
        return int(getattr(self, name))


def remembered(file: Path) -> Ports | None:
    """The ports chosen earlier."""
    try:
        return Ports(**json.loads(file.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def asked(environ: Mapping[str, str]) -> Ports | None:
    """The ports `AMIANAI_SANDBOX_PORT=N` asks for: N, N+1 and N+2.

    Raises:
        ConfigurationError: it is no usable port number.
    """
    text = environ.get(PORT_VARIABLE, "").strip()
    if not text:
        return None
    if not text.isdigit() or not 1150 <= int(text) <= 65_533:
        raise ConfigurationError(
            f"{PORT_VARIABLE} = {text} is not a usable port: allowed are 1150 to 65533.",
            where="environment",
            fix="the sandbox listens on it and on the next two; unset it to have free ports chosen",
        )
    return Ports(int(text), int(text) + 1, int(text) + 2)


def choose(root: Path) -> Ports:
    """Three free ports that follow from the checkout's path, so that two checkouts differ and one keeps its own."""
    start = int.from_bytes(hashlib.sha256(str(root).encode()).digest()[:4], "big") % _BLOCKS
    for step in range(_BLOCKS):
        first = _FIRST + (start + step) % _BLOCKS * _WIDTH
        if all(free(first + offset) for offset in range(3)):
            return Ports(first, first + 1, first + 2)
    raise ConfigurationError("No three free ports in a row between 20000 and 29999.", fix=f"set {PORT_VARIABLE} to one that is free")


def resolve(root: Path, file: Path, environ: Mapping[str, str], *, settled: bool) -> Ports:
    """The ports of this checkout, chosen and remembered when there are none yet.

    Args:
        root: the checkout.
        file: where they are remembered.
        environ: may ask for others (`AMIANAI_SANDBOX_PORT`).
        settled: whether a stack exists whose addresses contain them.

    Raises:
        ConfigurationError: other ports are asked for than the stack's addresses contain.
    """
    wish, known = asked(environ), remembered(file)
    if known is not None and wish not in (None, known) and settled:
        raise ConfigurationError(
            f"{PORT_VARIABLE} = {environ[PORT_VARIABLE]}, but the addresses of the stack in this sandbox contain port {known.emulator}.",
            where=str(file),
            fix=f"unset {PORT_VARIABLE}, or run `amianai sandbox reset` and set the stack up again",
        )
    chosen = wish or known or choose(root)
    if chosen != known:
        remember(file, chosen)
    return chosen


def remember(file: Path, ports: Ports) -> None:
    """Keep the ports for the next command."""
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(ports)))
    fresh.replace(file)


def without_clash(ports: Ports, root: Path, ours: Callable[[str, int], bool], *, fixed: bool, settled: bool) -> Ports:
    """The same ports, or others where a foreign process holds one and nothing depends on it.

    Args:
        ports: what is wanted.
        root: the checkout.
        ours: whether the daemon called so already holds that port itself.
        fixed: they were asked for explicitly.
        settled: a stack exists whose addresses contain the emulator's and PostgreSQL's port.

    Raises:
        ConfigurationError: a port that must stay is taken; names the process that has it.
    """
    taken = [name for name, port in asdict(ports).items() if not free(port) and not ours(name, port)]
    if not taken:
        return ports
    if not fixed and taken == ["provider"]:
        return replace(ports, provider=_another(ports))
    if not fixed and not settled:
        return choose(root)
    raise _taken(ports, taken[0], fixed=fixed)


def _another(ports: Ports) -> int:
    used = asdict(ports).values()
    return next(port for port in range(max(used) + 1, max(used) + 1000) if free(port))


def _taken(ports: Ports, name: str, *, fixed: bool) -> ConfigurationError:
    port = ports.of(name)
    reason = f"{PORT_VARIABLE} asks for it" if fixed else "the addresses of the stack in this sandbox contain it"
    remedy = f"choose another {PORT_VARIABLE}" if fixed else "run `amianai sandbox reset` and set the stack up again"
    return ConfigurationError(
        f"Port {port} of the sandbox's {name} is in use by {describe(port_owner(port))}, and {reason}.",
        where=f"127.0.0.1:{port}",
        fix=f"end that process, or {remedy}",
    )
