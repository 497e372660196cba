"""`python -m amianai_infra.sandbox.provider`: serve the engine until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amianai_infra.sandbox.provider.resource import World


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments, drop everything of AWS from the environment, serve."""
    parser = argparse.ArgumentParser(prog="amianai_infra.sandbox.provider", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1 for the engine")
    parser.add_argument("--endpoint", required=True, help="address of the emulator")
    parser.add_argument("--credentials", type=Path, required=True, help="AWS credentials file with the emulator's key")
    parser.add_argument("--socket-dir", type=Path, required=True, help="directory of PostgreSQL's socket")
    parser.add_argument("--postgres-port", type=int, required=True, help="port of PostgreSQL")
    parser.add_argument("--region", default="us-east-1", help="region where neither program nor configuration names one")
    options = parser.parse_args(arguments)

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    from amianai_infra.sandbox.emulator import draw_key
    from amianai_infra.sandbox.provider.clients import Clients
    from amianai_infra.sandbox.provider.resource import World
    from amianai_infra.sandbox.provider.server import serve

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    world = World(Clients(options.endpoint, draw_key(options.credentials)), options.socket_dir, options.postgres_port, options.region)
    with serve(world, options.port):
        threading.Thread(target=warm_up, args=(world,), daemon=True).start()
        logging.info("serving on 127.0.0.1:%d for %s", options.port, options.endpoint)
        stop.wait()
    return 0


def warm_up(world: World) -> None:
    """Make every client before it is asked for: the first call of each service would wait up to a second for its model."""
    from amianai_infra.sandbox.provider import registry

    for service in sorted({"sts", "secretsmanager", *(kind.service for kind in registry.resources().values())}):
        world.clients.get(service, world.region)


if __name__ == "__main__":
    sys.exit(main())
