"""What a domain says today, before its name servers are changed: mail and other names would vanish with the old zone.

Public resolvers are asked for the names that are common; a zone cannot be listed from outside, so a zone file (`--records FILE`) says
what else there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amianai_infra.dns_records import ADDRESS_KINDS, Carried, ours, parse, record_sets, zone_file
from amianai_infra.errors import ConfigurationError, RefusedError, UnreachableError
from amianai_infra.operations import delegation
from amianai_infra.operations.context import Context
from amianai_infra.rules.zone_records import plain

Ask = Callable[[str, str, str], Sequence[Mapping[str, Any]]]
FOUND, NONE = "found", "none"
"""Values of `--records` besides a file."""

_NUMBERS = {1: "A", 2: "NS", 5: "CNAME", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 43: "DS", 65: "HTTPS", 257: "CAA"}
_TTL = 300  # a resolver tells what is left of a TTL, not the TTL
# Names that cannot be found out from outside, but are common.
_HOSTS = """* api app autoconfig autodiscover blog calendar cdn dev docs drive email enterpriseenrollment enterpriseregistration ftp
    help imap lyncdiscover m mail msoid mta-sts mx pop shop sip smtp staging status support test vpn webmail"""
_SELECTORS = "default dkim fm1 fm2 fm3 google k1 k2 k3 mail mandrill pm protonmail protonmail2 protonmail3 s1 s2 selector1 selector2"
_SERVICES = "_autodiscover._tcp _caldavs._tcp _carddavs._tcp _imaps._tcp _sip._tls _sipfederationtls._tcp _submission._tcp"
_TEXTS = "_dmarc _mta-sts _smtp._tls _github-challenge _amazonses www"
_QUESTIONS = (
    *(("@", kind) for kind in ("MX", "TXT", "CAA", "DS")),
    *((host, kind) for host in _HOSTS.split() for kind in ("A", "AAAA")),
    *((f"{selector}._domainkey", "TXT") for selector in _SELECTORS.split()),
    *((name, "TXT") for name in _TEXTS.split()),
    *((service, "SRV") for service in _SERVICES.split()),
)
NO_MAIL = ('@ 3600 TXT "v=spf1 -all"', '_dmarc 3600 TXT "v=DMARC1; p=reject"')
"""What a domain says that sends no mail, so that nobody sends in its name (RFC 7208, RFC 7489)."""


@dataclass(frozen=True)
class Present:
    """What a domain says today.

    Attributes:
        records: what a new zone would have to carry on.
        site: where the names lead that will lead to the stack instead.
        signed: whether the registrar vouches for the zone's signature (DNSSEC).
    """

    records: Sequence[Carried] = ()
    site: Sequence[Carried] = ()
    signed: bool = False


def read(domain: str, ask: Ask = delegation.ask) -> Present:
    """Ask public resolvers for the names that are common.

    Raises:
        UnreachableError: no resolver answered.
    """
    site = [(name, kind) for name in ("@", "www") for kind in ("A", "AAAA")]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda question: _answers(domain, question[0], question[1], ask), (*site, *_QUESTIONS)))
    found = list(dict.fromkeys(record for answer in answers for record in answer))
    wild = {(one.kind, one.value) for one in found if one.name == f"*.{domain}"}
    # What a wildcard answers for a name that does not exist is the wildcard's.
    kept = [one for one in found if one.name == f"*.{domain}" or (one.kind, one.value) not in wild]
    site_now = [one for one in kept if ours(one, domain) and one.kind in ADDRESS_KINDS]
    return Present([one for one in kept if not ours(one, domain)], site_now, any((one.name, one.kind) == (domain, "DS") for one in kept))


def _answers(domain: str, name: str, kind: str, ask: Ask) -> list[Carried]:
    """The records of that very name, from the first resolver that answers in a form we understand."""
    full = domain if name == "@" else f"{name}.{domain}"
    problem: UnreachableError | None = None
    understood = False
    for resolver in delegation.RESOLVERS:
        try:
            given = [one for one in ask(resolver, full, kind) if plain(str(one["name"])) == full and one.get("type") in _NUMBERS]
        except UnreachableError as error:
            problem = error
            continue
        understood = True
        if any(str(one["data"]).startswith("\\#") for one in given):
            continue  # RFC 3597, as one resolver writes what the other spells out
        try:
            return [parse(f"{full}. {_TTL} {_NUMBERS[one['type']]} {one['data']}", domain) for one in given]
        except ValueError:
            continue
    if problem is not None and not understood:
        raise UnreachableError(
            "No public resolver answered, so what the domain says today cannot be read.",
            where=problem.where,
            fix="check the network; `--records FILE` takes a zone file instead, `--records none` carries nothing over",
        ) from problem
    return []


def from_file(path: Path, domain: str) -> list[Carried]:
    """The records of a zone file.

    Raises:
        ConfigurationError: it cannot be read or understood.
    """
    try:
        return zone_file(path.read_text(encoding="utf-8"), domain)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(
            "The records to carry over cannot be read.",
            where=f"{path}: {error}",
            fix="give a zone file (RFC 1035), as registrars export it",
        ) from error


def lines(records: Iterable[Carried], domain: str) -> list[str]:
    """What `dns.records` would say: every record, and that nobody sends mail in the domain's name where it has none."""
    given = [str(record) for record in dict.fromkeys(records)]
    sets = {(one.name, one.kind): one for one in record_sets(given, domain)}
    texts = sets[domain, "TXT"].values if (domain, "TXT") in sets else []
    mail = (domain, "MX") in sets or any(text.lower().startswith("v=spf1") for text in texts)
    refusals = [] if mail else [line for line in NO_MAIL if (f"_dmarc.{domain}", "TXT") not in sets or not line.startswith("_dmarc")]
    return given + [str(parse(line, domain)) for line in refusals]


def choose(context: Context, records: str, ask: Ask | None) -> None:
    """Before a new zone is made: show what the domain says today and choose what the new zone carries on.

    Args:
        context: where.
        records: `--records`: empty, `found`, `none` or a file.
        ask: asks a resolver; None where nobody on the internet asks for the domain.

    Raises:
        RefusedError: there is something to lose, and nobody chose.
    """
    settings = context.settings
    if settings.dns.records or records == NONE or (ask is None and not records):
        return
    domain = settings.domain_name
    filed = from_file(context.root / records, domain) if records not in ("", FOUND) else []
    present = read(domain, ask) if ask is not None else Present()
    chosen = lines([*filed, *_unfiled(present.records, filed)], domain)
    _show(context, present, chosen)
    if records or context.offer("Carry them over into the new zone?"):
        context.choose("dns.records", json.dumps(chosen))
    elif present.records:
        raise RefusedError(
            f"{domain} is in use: with new name servers it would lose the records above; no zone was made.",
            where=f"{domain}, as public resolvers know it",
            fix="`--records found` carries them over, `--records FILE` those of a zone file, too, `--records none` nothing;"
            " or take a sub-domain (DOMAIN_NAME=app.example.com), which leaves them alone",
        )


def _unfiled(found: Iterable[Carried], filed: Sequence[Carried]) -> list[Carried]:
    """What the file does not say: of a name and type that it has, it has every value."""
    known = {(one.name, one.kind) for one in filed} | {(one.name, "CNAME") for one in filed}
    alone = {one.name for one in filed if one.kind == "CNAME"}
    return [one for one in found if (one.name, one.kind) not in known and one.name not in alone]


def _show(context: Context, present: Present, chosen: Sequence[str]) -> None:
    domain, note = context.settings.domain_name, context.progress.note
    for one in present.site:
        note(f"Leads elsewhere today, and will lead to the stack: {one}")
    if present.signed:
        note(f"{domain} is signed (DNSSEC), and the new zone is not signed with that key: take the DS record away at the registrar a day")
        note("before you enter the new name servers, else nobody finds the domain.")
    note(f"With new name servers the old zone of {domain} is asked no more. The new one would carry on (common names only: a zone cannot")
    note("be listed from outside; --records FILE takes a zone file):")
    for line in chosen:
        note(f"    {line}")
