"""COPY ... FROM STDIN with its rows in the text, as pg_dump writes it: where they are, and how they get to the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amianai_infra.database.sql_text import spans, through_client

if TYPE_CHECKING:
    from psycopg import Connection, Error

_BEGIN = re.compile(r"[ \t]*;[ \t]*\n")
_END = re.compile(r"^\\\.[ \t]*$", re.MULTILINE)
# What pg_dump tells psql alone: that until the end of the dump no other command of psql's is obeyed.
_OF_PSQL = re.compile(r"^\\(?:un)?restrict [A-Za-z0-9]+[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One COPY and its rows, by places in the text.

    Attributes:
        start: of the statement.
        end: of it, before its semicolon.
        rows: where its rows begin.
        mark: where the line begins that ends them.
        after: where SQL goes on.
    """

    start: int
    end: int
    rows: int
    mark: int
    after: int


def blocks(text: str) -> Iterator[Block]:
    """Every COPY whose rows are in the text, in order. Pure."""
    place = 0
    while (found := _next(text, place)) is not None:
        yield found
        place = found.after


def _next(text: str, place: int) -> Block | None:
    # Statements are read one by one: rows, which are no SQL, are not read.
    for words, start, end in spans(text[place:]):
        if words[:1] == ("COPY",) and through_client(text[place + start : place + end])[0] == "FROM":
            begin = _BEGIN.match(text, place + end)
            mark = _END.search(text, begin.end()) if begin else None
            if begin and mark:
                return Block(place + start, place + end, begin.end(), mark.start(), mark.end())
    return None


def without_rows(text: str, *, statements: bool = False) -> str:
    """The SQL alone, every character in its place: no rows, nothing for psql alone; with `statements`, not the COPY itself either. Pure."""
    text, parts, place = _OF_PSQL.sub(lambda found: " " * len(found.group()), text), [], 0
    for block in blocks(text):
        start = block.start if statements else block.rows
        parts += [text[place:start], re.sub(r"[^\n]", " ", text[start : block.after])]
        place = block.after
    return "".join([*parts, text[place:]])


def execute(connection: Connection[Any], text: str) -> None:
    """Run a text with the rows in it. An error has the place of its part of the text in `offset`.

    Raises:
        psycopg.Error: as the server says.
    """
    from psycopg import Error

    text = _OF_PSQL.sub(lambda found: " " * len(found.group()), text)
    place = 0
    try:
        for block in blocks(text):
            connection.execute(text[place : block.start].encode())
            place = block.start
            with connection.cursor() as cursor, cursor.copy(text[block.start : block.end].encode()) as copy:
                place = block.rows
                copy.write(text[block.rows : block.mark])
            place = block.after
        connection.execute(text[place:].encode())
    except Error as error:
        error.offset = place  # type: ignore[attr-defined]
        raise


_ROW = re.compile(r"^COPY [^\n]*?, line (\d+)", re.MULTILINE)


def line_of(text: str, error: Error) -> int:
    """The line of the text at which an error of `execute` happened; 0 where the server does not say."""
    offset, position = getattr(error, "offset", 0), error.diag.statement_position
    if position:
        return text.count("\n", 0, offset + int(position) - 1) + 1
    row = _ROW.search(error.diag.context or "")
    if row and offset:
        return text.count("\n", 0, offset) + int(row[1])
    return text.count("\n", 0, offset) + 1 if text[offset : offset + 4].upper() == "COPY" else 0
