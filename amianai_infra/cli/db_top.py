"""`amianai db top`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from amianai_infra.cli.db import connected
from amianai_infra.cli.options import App, DurationType
from amianai_infra.printing import show

if TYPE_CHECKING:
    from datetime import timedelta

    from amianai_infra.database.top import Overview


@click.command()
@click.option("--watch", type=DurationType(1, 3600), metavar="EVERY", help="Look again every so often, for example 2s; Ctrl-C ends it.")
@click.pass_obj
def top(app: App, watch: timedelta | None) -> None:
    """What the database is doing: load, slowest statements, locks, connections, tables, unused indexes, replication.

    \b
    amianai db top
    amianai --sandbox db top --watch 2s
    amianai --json db top

    It looks with the rights of PostgreSQL's role pg_monitor, read-only, and shows statements without the values in them. With
    --watch, statements and rates are those of the time between two looks.
    """
    from amianai_infra.database.top import look

    with connected(app) as connection:
        if watch is None:
            _once(app, look(connection))
        elif app.json:
            _lines(connection, watch.total_seconds())
        else:
            _screen(connection, watch.total_seconds())


def _once(app: App, now: Overview) -> None:
    from amianai_infra.database.top_screen import WIDTH, lines
    from amianai_infra.printing import draw, screen

    if app.json:
        app.print(now.as_dict())
        return
    console = screen(soft_wrap=True)
    for line in lines(now, width=max(WIDTH, console.width)):
        draw(console, (line.text, line.style))


def _lines(connection: Any, seconds: float) -> None:
    """One JSON object a line, until interrupted."""
    from amianai_infra.database.top import look

    before = None
    while True:
        now = look(connection)
        show(json.dumps(now.as_dict(before), default=str, separators=(",", ":")))
        before = now
        time.sleep(seconds)


def _screen(connection: Any, seconds: float) -> None:
    from rich.live import Live

    from amianai_infra.database.top import look
    from amianai_infra.database.top_screen import WIDTH, drawn
    from amianai_infra.printing import screen

    console = screen()
    before = look(connection)
    with Live(drawn(before), console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            time.sleep(seconds)
            now = look(connection)
            live.update(drawn(now, before, max(WIDTH, console.width)), refresh=True)
            before = now
