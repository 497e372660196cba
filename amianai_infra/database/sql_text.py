"""Just enough of SQL's lexical structure: where statements begin, and a statement without the values in it. Pure.

What it says is for clear messages before anything runs. What keeps SQL of others inside its transaction is `guard`, which asks the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from amianai_infra.errors import ConfigurationError

# Source: PostgreSQL 16, src/backend/parser/scan.l. What is above U+007F is a letter there, spaces of Unicode included; a carriage return
# ends a comment; a literal goes on behind a line break, in the form in which it began.
_SPACE = r"[ \t\n\r\f\v]"
_LETTER = r"[A-Za-z_\x80-\U0010ffff]"
_SIGN = r"[A-Za-z_\x80-\U0010ffff0-9]"
_GOES_ON = rf"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:{_SPACE}|--[^\n\r]*+[\n\r])*+'"
_TOKEN = re.compile(
    rf"""
    (?P<comment> --[^\n\r]* )
  | (?P<block> /\* )
  | (?P<escaped> [eE]'(?:[^'\\]|\\.|'')*(?:'|\\?\Z)(?:{_GOES_ON}(?:[^'\\]|\\.|'')*(?:'|\\?\Z))* )
  | (?P<literal> '(?:[^']|'')*(?:'|\Z)(?:{_GOES_ON}(?:[^']|'')*(?:'|\Z))* )
  | (?P<quoted> "(?:[^"]|"")*(?:"|\Z) )
  | (?P<dollar> \$(?P<tag>{_LETTER}{_SIGN}*|)\$.*?(?:\$(?P=tag)\$|\Z) )
  | (?P<placeholder> (?:%\(\w+\)[sbt] | %[sbt])(?!{_SIGN}) | \$[0-9]+ )
  | (?P<word> {_LETTER}(?:{_SIGN}|\$)* )
  | (?P<number> 0[xX][0-9A-Fa-f_]+ | 0[oO][0-7_]+ | 0[bB][01_]+
      | (?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9][0-9_]*)? )
  | (?P<end> ; )
  | (?P<space> {_SPACE}+ )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")


def decoded(data: bytes, where: str) -> str:
    """The SQL in a file: UTF-8, with or without the mark that some editors put first.

    Raises:
        ConfigurationError: it is other text, or holds U+0000.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"The SQL is not UTF-8 text (byte {error.start}).", where=where, fix="save the file as UTF-8") from error
    require_text(text, where)
    return text


def require_text(text: str, where: str = "") -> None:
    """Refuse what would not reach the server as it stands: it would run the part before a U+0000 and know nothing of the rest.

    Raises:
        ConfigurationError: the text holds U+0000, or what is no character.
    """
    found = re.search("[\0\ud800-\udfff]", text)
    if found is None:
        return
    line = text.count("\n", 0, found.start()) + 1
    what = "U+0000 (is it UTF-16?)" if found.group() == "\0" else "bytes that are not UTF-8"
    raise ConfigurationError(f"The SQL holds {what} in line {line}.", where=where, fix="save it as UTF-8 text without such characters")


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each token; comments are left out."""
    return ((kind, token) for kind, token, _ in _placed(text))


def _placed(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind, text and place of each token."""
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:  # cannot be: `other` takes any character
            return
        kind = str(found.lastgroup)
        if kind == "block":
            yield "space", " ", place
            place = _end_of_block(text, found.end())
            continue
        yield ("space", " ", place) if kind == "comment" else (kind, found.group(), place)
        place = found.end()


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


_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{1,3})|(.))", re.DOTALL)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def value(kind: str, token: str) -> str:
    """A token as it is meant: escapes of a literal are what they stand for."""
    if kind != "escaped":
        return token

    def meant(found: re.Match[str]) -> str:
        code = int(found[4], 8) & 0xFF if found[4] else int(found[1] or found[2] or found[3] or "0", 16)
        return _CONTROLS.get(found[5], found[5]) if found[5] else chr(code) if code < 0x110000 else "?"

    return _ESCAPE.sub(meant, re.sub(rf"'{_GOES_ON}", "", token))


def statements(text: str) -> Iterator[tuple[str, ...]]:
    """The leading words, in upper case, of each statement that has any."""
    return (words for words, _, _ in spans(text) if words)


def spans(text: str) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Each statement: its leading words, in upper case, where it begins and where it ends, without its semicolon.

    A semicolon ends none inside parentheses (as in CREATE RULE), nor in the body of a function in standard SQL, which reaches from BEGIN
    ATOMIC to an END where a statement would begin.
    """
    words: list[str] = []
    before, depth, body = "", 0, False
    start, end = -1, -1
    for kind, token, place in _placed(text):
        if kind == "space":
            continue
        word = token.upper() if kind == "word" and token.isascii() else token  # only ASCII is folded in a keyword
        if word == ";" and not (body or depth):
            if start >= 0:
                yield tuple(words[:3]), start, end
            words, before, start = [], "", -1
            continue
        start, end = place if start < 0 else start, place + len(token)
        depth = max(0, depth + (word == "(") - (word == ")"))
        if kind == "word":
            body = (body and not (word == "END" and before in (";", "ATOMIC"))) or (
                (before, word) == ("BEGIN", "ATOMIC") and not depth and _makes_routine(words)
            )
            words.append(word)
        before = word
    if start >= 0:
        yield tuple(words[:3]), start, end


def in_transaction(text: str) -> str:
    """The same work for a transaction, every character in its place: without CONCURRENTLY, and without what only tidies up."""
    signs = list(text)
    blank = [(start, end) for words, start, end in spans(text) if words[:1] in (("VACUUM",), ("REINDEX",))]
    blank += [(place, place + len(token)) for kind, token, place in _placed(text) if kind == "word" and token.upper() == "CONCURRENTLY"]
    for start, end in blank:
        signs[start:end] = [sign if sign == "\n" else " " for sign in signs[start:end]]
    return "".join(signs)


def _makes_routine(words: list[str]) -> bool:
    head = [word for word in words[:4] if word not in ("OR", "REPLACE")]
    return head[0] == "CREATE" and head[1:2] in (["FUNCTION"], ["PROCEDURE"])


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


COPY = "COPY from STDIN or to STDOUT moves rows through psql, which does not run this."
COPY_FIX = (
    "in a migration, let the rows follow up to a line of \\. alone; else write them as INSERT (`pg_dump --inserts` does), or load them"
    " with psql: `amianai db shell --role owner`"
)


def copies(text: str) -> int:
    """The line of the first COPY whose rows would come from the program that sends it, or go to it; 0 where there is none."""
    return through_client(text)[1]


def through_client(text: str) -> tuple[str, int]:
    """FROM or TO of that COPY, and its line; nothing and 0 where there is none."""
    start, before, depth = "", "", 0
    line = 0
    for kind, token, place in _placed(text):
        if kind == "space":
            continue
        word = token.upper() if kind == "word" and token.isascii() else token
        depth = max(0, depth + (word == "(") - (word == ")"))
        if word == ";" and not depth:
            start = ""
            continue
        if not start:
            start, line = word, text.count("\n", 0, place) + 1
        elif start == "COPY" and not depth and before in ("FROM", "TO") and word in ("STDIN", "STDOUT"):
            return before, line
        before = word
    return "", 0


_VALUES = frozenset({"escaped", "literal", "dollar", "number"})
LONGEST = 500


def shape(text: str) -> str:
    """A statement on one line without the values in it, for logs: `SELECT * FROM users WHERE id = ?`."""
    parts = ("?" if kind in _VALUES else " " if kind == "space" else token for kind, token in tokens(text[: 8 * LONGEST]))
    line = re.sub(r"\s+", " ", "".join(parts)).strip()
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
