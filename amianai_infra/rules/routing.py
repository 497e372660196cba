"""The data that the viewer function answers by, as the keys of a CloudFront KeyValueStore. Pure.

A key `config` says which table is in force. The table says of every page, by a hash of its address, which form it has: buckets of
fixed-width records, so that a site of ten thousand pages is eighty keys, one lookup answers a request, and the keys of one release fit
into few calls. Tables have names of their own: another one comes in force, whole, with the one key `config`.

A hash could take one address for another. So the table is tried with every file of the site before it is used, and made with
another salt where two collide.

Source: CloudFront Developer Guide, "Quotas on key value stores" (512 bytes a key, 1 KB a pair, 5 MB a store, 50 keys and 3 MB a call).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from amianai_infra.errors import BuildError
from amianai_infra.rules.addresses import INDEX, MISSING, Form, forms
from amianai_infra.rules.redirects import FILE, Rule, effective

CONFIG = "config"
VERSION = 1
LONGEST = 1000
"""Bytes of a value; key and value together may have 1 KB."""
LARGEST = 2_400_000
"""Bytes of a table: two of them, the one in force and the next, have to fit into a store of 5 MB."""
_MARK = 6
_WIDTH = _MARK + 1
_FULL = 90
"""Records that a bucket should have; 142 fit, and hashes spread unevenly."""
_TRIES = 50


@dataclass(frozen=True)
class Routing:
    """What a release says of its addresses besides its files.

    Attributes:
        fallback: the file that answers a navigation to an address that the site does not have; empty for none.
        home: where the site's root leads when it has no page there; empty for nowhere.
        rules: of the site's `_redirects`.
    """

    fallback: str = ""
    home: str = ""
    rules: tuple[Rule, ...] = ()


class Table(NamedTuple):
    """The keys of one table.

    Attributes:
        name: a hash of what it says; its keys begin with it.
        keys: its own keys, which never change.
        config: the value of the key `config` that puts it in force.
    """

    name: str
    keys: Mapping[str, str]
    config: str

    @property
    def items(self) -> dict[str, str]:
        """Everything that the store holds when the table is in force."""
        return {**self.keys, CONFIG: self.config}


def table(files: Collection[str], routing: Routing, served: Iterable[str] = (), *, whole: bool = False) -> Table:
    """The table of a release.

    Args:
        files: its files.
        routing: what else it says of its addresses.
        served: files of earlier releases that stay served.
        whole: it names every file, so that what it does not name is missing.

    Raises:
        BuildError: it does not fit into the store.
    """
    known = set(files)
    pages = forms(known)
    rules = list(effective(routing.rules, known, pages))
    patterns = [rule for rule in rules if rule.is_pattern]
    missing = sorted((path[: -len(MISSING) - 1] for path in known if path.endswith(f"/{MISSING}")), key=lambda one: (-len(one), one))
    exact = bool(whole or routing.fallback or patterns or missing)
    records = {path: Form.FILE for path in (*known, *served)} if exact else {}
    records |= pages | {rule.source: Form.RULE for rule in rules if not rule.is_pattern}
    salt, buckets = _buckets(records, known)
    exacts = _packed([rule for rule in rules if not rule.is_pattern])
    chunks = _chunks(patterns)
    said = {
        "v": VERSION,
        "n": len(buckets),
        "s": salt,
        "r": len(exacts),
        "p": len(chunks),
        "o": int(any(rule.forced for rule in patterns)),
        "f": routing.fallback,
        "h": routing.home if INDEX not in known else "",
        "m": missing,
    }
    named = (("", buckets), ("r", exacts), ("p", chunks))
    values = {f"{kind}{number}": value for kind, some in named for number, value in enumerate(some)}
    name = hashlib.sha256(json.dumps([said, list(values.items())]).encode()).hexdigest()[:12]
    config = json.dumps({"t": name, **said}, separators=(",", ":"))
    _check(values, config)
    return Table(name, {f"{name}/{key}": value for key, value in values.items()}, config)


def preview_config(found: Table, folder: str, expires: int) -> str:
    """What a preview's key says: its table, where its files lie, and until when, in seconds since 1970.

    Raises:
        BuildError: it does not fit into a value.
    """
    config = json.dumps({**json.loads(found.config), "d": folder, "e": expires}, separators=(",", ":"))
    _check({}, config)
    return config


def _check(values: Mapping[str, str], config: str) -> None:
    size = sum(len(value.encode()) + 32 for value in values.values())
    if size > LARGEST:
        raise BuildError(
            f"The site's addresses take {size} bytes; {LARGEST} fit into the CDN's key-value store.",
            where=f"{len(values)} keys",
            fix=f"publish fewer pages, or fewer lines of {FILE}; nothing was uploaded",
        )
    if len(config.encode()) > LONGEST:
        raise BuildError(
            f"Too many folders have a {MISSING} of their own for the CDN's key-value store.",
            where=config[:200],
            fix=f"keep {MISSING} for fewer folders; nothing was uploaded",
        )


def hashed(salt: int, base: str) -> tuple[int, str]:
    """A number that chooses the bucket of an address, and the mark it has there."""
    found = hashlib.sha256(f"{salt}/{base}".encode()).hexdigest()
    return int(found[:8], 16), found[8 : 8 + _MARK]


def _buckets(records: Mapping[str, Form], files: Collection[str]) -> tuple[int, list[str]]:
    """The buckets, and the salt with which no two addresses are one."""
    count = max(1, -(-len(records) // _FULL))
    for salt in range(_TRIES):
        marks: list[dict[str, str]] = [{} for _ in range(count)]
        places = {base: hashed(salt, base) for base in records}
        for base, (number, mark) in places.items():
            marks[number % count].setdefault(mark, base)
        clear = all(marks[number % count][mark] == base for base, (number, mark) in places.items())
        clear = clear and all(
            mark not in marks[number % count] for number, mark in (hashed(salt, one) for one in files if one not in records)
        )
        if clear and all(len(one) * _WIDTH <= LONGEST for one in marks):
            return salt, ["".join(sorted(f"{mark}{records[base]}" for mark, base in one.items())) for one in marks]
    raise BuildError(
        "The site's addresses could not be arranged for the CDN.", where=f"{len(records)} addresses", fix="this is a defect: report it"
    )


def _line(rule: Rule) -> list[object]:
    return [rule.source, rule.target, rule.status, int(rule.forced)]


def _text(rules: Iterable[Rule]) -> str:
    return json.dumps([_line(rule) for rule in rules], separators=(",", ":"), ensure_ascii=False)


def _packed(rules: list[Rule]) -> list[str]:
    """Rules for one address each, in buckets by the address's hash."""
    count = 1 if rules else 0
    while count:
        buckets: list[list[Rule]] = [[] for _ in range(count)]
        for rule in rules:
            buckets[hashed(0, rule.source)[0] % count].append(rule)
        texts = [_text(one) for one in buckets]
        if all(len(text.encode()) <= LONGEST for text in texts):
            return texts
        count *= 2
    return []


def _chunks(rules: list[Rule]) -> list[str]:
    """Rules with placeholders, in their order."""
    chunks: list[list[Rule]] = []
    for rule in rules:
        if chunks and len(_text([*chunks[-1], rule]).encode()) <= LONGEST:
            chunks[-1].append(rule)
        else:
            chunks.append([rule])
    return [_text(one) for one in chunks]
