"""Records that a new zone carries on from an old one: the lines of `dns.records`, and the record sets they make. Pure.

A line is `NAME TTL TYPE VALUE`, as in a zone file (RFC 1035): `@ 3600 MX 10 mail.example.net.`. The name is `@`, relative to the domain, or
whole with a trailing dot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

_LINE = re.compile(r"(\S+)\s+(\d{1,9})\s+(?:IN\s+)?([A-Za-z]+)\s+(\S.*)", re.IGNORECASE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"\s*')
_TOKEN = re.compile(r"\\\d{3}|\\.|.")
_LABELS = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Source: Amazon Route 53 Developer Guide, "Supported DNS record types"; SOA belongs to the zone itself.
KINDS = ("A", "AAAA", "CAA", "CNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "SRV", "SSHFP", "SVCB", "TLSA", "TXT")
ADDRESS_KINDS = ("A", "AAAA", "CNAME", "HTTPS", "SVCB")
_TTL = re.compile(r"(\d+[smhdw]?)+", re.IGNORECASE)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_HOST = r"[A-Za-z0-9_*./\\-]{1,255}"
# Types whose values Route 53 looks at as we do; it answers others with InvalidChangeBatch. Source: as for KINDS.
_VALUES = {
    "CAA": r'(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\s+[A-Za-z0-9]+\s+"[^"]*"',
    "CNAME": _HOST,
    "MX": rf"[0-9]{{1,5}}\s+{_HOST}",
    "NS": _HOST,
    "SRV": rf"([0-9]{{1,5}}\s+){{3}}{_HOST}",
}
_ADDRESSES = {"A": IPv4Address, "AAAA": IPv6Address}
_NAMING = ("CNAME", "MX", "NS", "SRV")  # whose last word is a name, relative in a zone file unless it ends in a dot
_LONGEST_STRING = 255
_LONGEST_TTL = 2**31 - 1


@dataclass(frozen=True)
class Carried:
    """One line.

    Attributes:
        name: whole, lower case, without a trailing dot.
        ttl: seconds.
        kind: type.
        value: as a zone file has it.
    """

    name: str
    ttl: int
    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}. {self.ttl} {self.kind} {self.value}"


@dataclass(frozen=True)
class CarriedSet:
    """Every value of one name and type, as the Pulumi provider takes them."""

    name: str
    kind: str
    ttl: int
    values: list[str]


def parse(line: str, domain: str) -> Carried:
    """Read one line.

    Raises:
        ValueError: saying what is wrong with it.
    """
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise ValueError(f"{line!r} must be NAME TTL TYPE VALUE, such as '@ 3600 MX 10 mail.example.net.'")
    name, ttl, kind, value = found.group(1).lower(), int(found.group(2)), found.group(3).upper(), found.group(4).strip()
    if kind not in KINDS:
        raise ValueError(f"{line!r}: a zone takes no {kind} of others ({', '.join(KINDS)})")
    if ttl > _LONGEST_TTL:
        raise ValueError(f"{line!r}: a TTL is at most {_LONGEST_TTL} seconds")
    full = _full(name, domain)
    if not _LABELS.fullmatch(full):
        raise ValueError(f"{line!r}: {name} is no name of a record")
    if full != domain and not full.endswith(f".{domain}"):
        raise ValueError(f"{line!r}: {full} is not in {domain}")
    if kind == "TXT":
        txt_value(value)
    if not is_value(kind, value):
        raise ValueError(f"{line!r}: {value!r} is no value of a record of type {kind}")
    return Carried(full, ttl, kind, value)


def is_value(kind: str, value: str) -> bool:
    """Whether a zone takes a value of this type; yes for types that are not looked at."""
    if kind in _ADDRESSES:
        try:
            return bool(_ADDRESSES[kind](value)) and "%" not in value
        except ValueError:
            return False
    return re.fullmatch(_VALUES.get(kind, ".*"), value, re.DOTALL) is not None


def _full(name: str, domain: str) -> str:
    if name == "@":
        return domain
    if name.endswith("."):
        return name.rstrip(".")
    return name if name == domain or name.endswith(f".{domain}") else f"{name}.{domain}"


def ours(record: Carried, domain: str) -> bool:
    """Whether the stack makes that record itself: the site's addresses, the zone's name servers, the certificate's proof."""
    site = record.name in (domain, f"www.{domain}") and record.kind in ADDRESS_KINDS
    proof = record.kind == "CNAME" and record.value.rstrip(".").lower().endswith(".acm-validations.aws")
    return site or proof or (record.name, record.kind) in ((domain, "NS"), (domain, "DS"))


def record_sets(lines: Iterable[str], domain: str) -> list[CarriedSet]:
    """The record sets that the lines make; of several TTLs the shortest.

    Raises:
        ValueError: a line is wrong, is the stack's own to make, or stands beside a CNAME.
    """
    found: dict[tuple[str, str], list[Carried]] = {}
    for line in lines:
        record = parse(line, domain)
        if ours(record, domain):
            raise ValueError(f"{line!r}: the stack makes that record itself")
        found.setdefault((record.name, record.kind), []).append(record)
    for name in {name for name, kind in found if kind == "CNAME"}:
        if len(found[name, "CNAME"]) > 1 or sum(other == name for other, _ in found) > 1:
            raise ValueError(f"{name}: a CNAME stands alone")
    return [
        CarriedSet(name, kind, min(one.ttl for one in records), list(dict.fromkeys(_provided(one) for one in records)))
        for (name, kind), records in sorted(found.items())
    ]


def _provided(record: Carried) -> str:
    return txt_value(record.value) if record.kind == "TXT" else record.value


def txt_value(value: str) -> str:
    r"""A text as the provider takes it: it puts quotation marks around, so that further strings stand behind `""`.

    Source: the provider's documentation of aws.route53.Record, "records"; RFC 1035, 3.3: a string has at most 255 characters.

    Raises:
        ValueError: a quotation mark is not closed.
    """
    if not value.startswith('"'):
        strings = [value.replace("\\", "\\\\").replace('"', '\\"')]
    else:
        strings = _STRING.findall(value)
        if _STRING.sub("", value):
            raise ValueError(f"{value!r} is no text: every string of it stands in quotation marks")
    return '""'.join(piece for text in strings for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    """At most 255 characters each; an escaped one is not cut in two."""
    tokens = _TOKEN.findall(text)
    for start in range(0, max(len(tokens), 1), _LONGEST_STRING):
        yield "".join(tokens[start : start + _LONGEST_STRING])


def zone_file(text: str, domain: str) -> list[Carried]:
    """The records of a zone file that a new zone has to carry on; comments, parentheses, $ORIGIN, $TTL and left-out names are understood.

    Raises:
        ValueError: a line cannot be understood.
    """
    origin, ttl, name = domain, "3600", "@"
    found: list[Carried] = []
    for line in _logical_lines(text):
        words = line.split()
        if words[0].upper() == "$ORIGIN":
            origin = _full(words[1].lower(), origin)
        elif words[0].upper() == "$TTL":
            ttl = words[1]
        elif words[0].startswith("$"):
            raise ValueError(f"{line!r}: {words[0]} is not understood; export the zone as one file")
        else:
            name, rest = (name, words) if line[0].isspace() else (words[0], words[1:])
            record = _record(line, _full(name.lower(), origin), rest, ttl, domain, origin)
            found += [record] if record is not None else []
    return found


def _seconds(ttl: str) -> int:
    """`3600`, or as BIND writes it: `1h30m`."""
    return sum(int(amount) * _UNITS[unit.lower()] for amount, unit in re.findall(r"(\d+)([a-z]?)", ttl, re.IGNORECASE))


def _record(line: str, name: str, words: list[str], ttl: str, domain: str, origin: str) -> Carried | None:
    """One record; None for one that the new zone has of its own."""
    own_ttl = next((word for word in words[:2] if _TTL.fullmatch(word)), ttl)
    fields = [word for index, word in enumerate(words) if index > 1 or not (_TTL.fullmatch(word) or word.upper() == "IN")]
    kind = fields[0].upper() if fields else ""
    if kind == "SOA":
        return None
    value = re.split(rf"\s{re.escape(fields[0])}\s+", line, maxsplit=1)[-1].strip() if len(fields) > 1 else ""
    if kind in _NAMING and value and not value.endswith("."):
        value = f"{value}.{origin}."
    record = parse(f"{name}. {_seconds(own_ttl)} {kind} {value}", domain)
    return None if ours(record, domain) else record


def _logical_lines(text: str) -> Iterator[str]:
    """Lines without comments; what stands in parentheses is one line."""
    kept = ""
    depth = 0
    for line in text.splitlines():
        for part in re.findall(r'"(?:[^"\\]|\\.)*"|;.*|.', line):
            if part.startswith(";"):
                break
            depth += {"(": 1, ")": -1}.get(part, 0)
            kept += " " if part in "()" else part
        if depth == 0:
            if kept.strip():
                yield kept.rstrip()
            kept = ""
        else:
            kept += " "
    if kept.strip():
        raise ValueError("a parenthesis is not closed")
