"""The provider's port, open to our own user alone.

The engine attaches to a port of 127.0.0.1 and to nothing else, and sends nothing that another user of the machine could not send. So gRPC
listens on a Unix socket in a folder of mode 0700, and a connection to the port is led there only if the kernel says that the process
at its other end is our user's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from amianai_infra.sandbox.processes import LOOPBACK, connected_by

_CHUNK = 1 << 16

log = logging.getLogger("amianai.provider")


@contextmanager
def own_user_only(port: int, inner: Path) -> Iterator[int]:
    """Lead connections of our user from a port of 127.0.0.1 to a Unix socket, and end those of everybody else.

    Args:
        port: the port, or 0 for any.
        inner: the Unix socket.

    Yields:
        The port.

    Raises:
        OSError: the port is in use.
    """
    started: Future[tuple[int, Callable[[], object]]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_listen(port, inner, started)), name="listener", daemon=True)
    thread.start()
    bound, stop = started.result()
    try:
        yield bound
    finally:
        stop()
        thread.join()


async def _listen(port: int, inner: Path, started: Future[tuple[int, Callable[[], object]]]) -> None:
    stop = asyncio.Event()
    try:
        server = await asyncio.start_server(partial(_lead, inner), LOOPBACK, port)
    except OSError as error:
        started.set_exception(error)
        return
    bound: int = server.sockets[0].getsockname()[1]
    started.set_result((bound, partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set)))
    await stop.wait()
    server.close()


async def _lead(inner: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(asyncio.CancelledError):  # the end: Python 3.11 would print a traceback for every open connection
            if await _is_ours(writer):
                inner_reader, inner_writer = await asyncio.open_unix_connection(inner)
                await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
    finally:
        writer.close()


async def _is_ours(connection: asyncio.StreamWriter) -> bool:
    client, here = (connection.get_extra_info(name)[1] for name in ("peername", "sockname"))
    user = await asyncio.to_thread(connected_by, client, here)
    if user not in (None, os.geteuid()):
        log.warning("turned away a connection of user %d", user)
    return user == os.geteuid() and _is_connected(connection)


def _is_connected(connection: asyncio.StreamWriter) -> bool:
    """Whether it has not been reset meanwhile: the port of one that was could be another user's when its owner was looked up."""
    try:
        connection.get_extra_info("socket").getpeername()
    except OSError:
        return False
    return True


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()
