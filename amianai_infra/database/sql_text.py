"""Just enough of SQL's lexical structure: where statements begin, and a statement without the values in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Source: PostgreSQL, "Lexical Structure".
_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* )
  | (?P<block> /\* )
  | (?P<escaped> [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z) )
  | (?P<literal> '(?:[^']|'')*(?:'|\Z) )
  | (?P<quoted> "(?:[^"]|"")*(?:"|\Z) )
  | (?P<dollar> \$(?P<tag>[^\W\d]\w*|)\$.*?(?:\$(?P=tag)\$|\Z) )
  | (?P<placeholder> %\(\w+\)[sbt] | %[sbt] | \$\d+ )
  | (?P<word> [^\W\d][\w$]* )
  | (?P<number> \d[\w.]*(?:(?<=[eE])[+-]\d+)? )
  | (?P<end> ; )
  | (?P<space> \s+ )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each token; comments are left out."""
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:  # cannot be: `other` takes any character
            return
        kind = str(found.lastgroup)
        if kind == "block":
            place = _end_of_block(text, found.end())
            yield "space", " "
            continue
        place = found.end()
        yield ("space", " ") if kind == "comment" else (kind, found.group())


def _end_of_block(text: str, place: int) -> int:
    """Where a comment ends that has been opened before `place`; they nest."""
    depth = 1
    while depth:
        edge = _BLOCK_EDGE.search(text, place)
        if edge is None:
            return len(text)
        depth += 1 if edge.group() == "/*" else -1
        place = edge.end()
    return place


def statements(text: str) -> Iterator[tuple[str, ...]]:
    """The leading words, in upper case, of each statement."""
    words: list[str] = []
    depth, before = 0, ""
    for kind, token in tokens(text):
        if kind == "word":
            word = token.upper()
            depth += _nesting(word, before, depth)
            before = word
            words.append(word)
        elif kind == "end" and not depth:
            if words:
                yield tuple(words[:3])
            words, before = [], ""
    if words:
        yield tuple(words[:3])


def _nesting(word: str, before: str, depth: int) -> int:
    """How a word changes the depth of the body of a function in standard SQL: BEGIN ATOMIC ...; CASE ... END; END."""
    if word == "ATOMIC" and before == "BEGIN":
        return 1
    if depth and word == "CASE":
        return 1
    return -1 if depth and word == "END" else 0


_TRANSACTION = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "END", "ABORT"})
_TRANSACTION_PAIRS = frozenset({("START", "TRANSACTION"), ("PREPARE", "TRANSACTION")})


def transaction_control(text: str) -> str:
    """The first statement that begins or ends a transaction, as words; empty where there is none."""
    for words in statements(text):
        if words[:2] == ("ROLLBACK", "TO") or words[:3] == ("ROLLBACK", "TRANSACTION", "TO"):
            continue
        if words[0] in _TRANSACTION or words[:2] in _TRANSACTION_PAIRS:
            return " ".join(words[:2])
    return ""


_VALUES = frozenset({"escaped", "literal", "dollar", "number"})
LONGEST = 500


def shape(text: str) -> str:
    """A statement on one line without the values in it, for logs: `SELECT * FROM users WHERE id = ?`."""
    parts = ("?" if kind in _VALUES else " " if kind == "space" else token for kind, token in tokens(text[: 8 * LONGEST]))
    line = re.sub(r"\s+", " ", "".join(parts)).strip()
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
