"""Rows to work with on a laptop: two people, their personas, an AI, and a conversation among them. Repeatable."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

_SPACE = uuid.UUID("6b0c1d0e-2f62-5a7e-9d4c-0a3a1a1a1a1a")


def _id(name: str) -> uuid.UUID:
    return uuid.uuid5(_SPACE, name)


_PEOPLE = ("ada", "grace")
_SAID = (
    ("ada", "Am I talking to a person?", None),
    ("eeyore", "That depends on what you would call a person.", 0),
    ("grace", "I would have said the same, and I am one.", 1),
)


def rows() -> dict[str, list[dict[str, Any]]]:
    """Table -> its rows, in the order of their dependencies."""
    conversation = _id("conversation")
    users = [
        {"id": _id(f"user {name}"), "email": f"{name}@example.test", "cognito_sub": f"seed-{name}", "preferences": {"theme": "dark"}}
        for name in _PEOPLE
    ]
    personas = [
        {"id": _id(f"persona {name}"), "owner_id": _id(f"user {name}"), "type": "human", "name": name.title(), "traits": {"curious": True}}
        for name in _PEOPLE
    ]
    personas.append(
        {
            "id": _id("persona eeyore"),
            "owner_id": None,
            "type": "ai",
            "name": "Eeyore",
            "traits": {"mood": "gloomy"},
            "model_settings": {"temperature": 0.7},
        }
    )
    takers = [
        {"id": _id(f"participant {one['name']}"), "conversation_id": conversation, "persona_id": one["id"], "role": role}
        for one, role in zip(personas, ("owner", "member", "member"), strict=True)
    ]
    said = [
        {
            "id": _id(f"message {number}"),
            "conversation_id": conversation,
            "author_persona_id": _id(f"persona {author}"),
            "reply_to_id": None if answer is None else _id(f"message {answer}"),
            "content": content,
        }
        for number, (author, content, answer) in enumerate(_SAID)
    ]
    about = {"id": conversation, "title": "Am I an AI?", "topic": "Who is who", "metadata": {"seed": True}}
    return {"users": users, "personas": personas, "conversations": [about], "conversation_participants": takers, "messages": said}


def seed(connection: Connection[Any]) -> dict[str, int]:
    """Insert what is not there yet; gives the number of new rows of each table.

    Args:
        connection: the application role's: what it may not write is not written.
    """
    from psycopg.sql import SQL, Identifier, Placeholder

    added = {}
    with connection.transaction():
        for table, found in rows().items():
            added[table] = 0
            for row in found:
                columns = SQL(", ").join(map(Identifier, row))
                values = SQL(", ").join(map(Placeholder, row))
                query = SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(Identifier(table), columns, values)
                parameters = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}
                added[table] += connection.execute(query, parameters).rowcount
    return added
