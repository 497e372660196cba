"""Record sets of a hosted zone as Route 53 lists them: whose they are, what stands in the way, and how they are exchanged. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RecordSet = Mapping[str, Any]

# What answers for a name instead of our address records, or beside them: HTTPS and SVCB may carry addresses of their own, NS leads away.
COMPETING = ("A", "AAAA", "CNAME", "HTTPS", "NS", "SVCB")
# Source: AWS Certificate Manager User Guide, "Configure a CAA record".
_AMAZON = frozenset({"amazon.com", "amazontrust.com", "awstrust.com", "amazonaws.com"})


@dataclass(frozen=True)
class Distribution:
    """Where the site's address records lead.

    Attributes:
        domain: CloudFront's own host name of the distribution.
        zone: hosted zone of that host name.
    """

    domain: str
    zone: str


def plain(name: str) -> str:
    """A domain name as people write it: lower case, no trailing dot, `*` unescaped."""
    return name.rstrip(".").lower().replace("\\052", "*")


def identity(record: RecordSet) -> tuple[str, str]:
    """Name and type."""
    return plain(record["Name"]), str(record["Type"])


def described(record: RecordSet) -> str:
    """One line: `www.example.com CNAME old.example.net`."""
    name, kind = identity(record)
    alias = record.get("AliasTarget")
    value = f"alias of {plain(alias['DNSName'])}" if alias else ", ".join(one["Value"] for one in record.get("ResourceRecords", ()))
    of_several = f" ({record['SetIdentifier']})" if "SetIdentifier" in record else ""
    return f"{name} {kind} {value}{of_several}"


def leads_to(record: RecordSet, distribution: Distribution | None) -> bool:
    """Whether it is an address record of ours, as `addresses` makes it."""
    alias = record.get("AliasTarget")
    if distribution is None or not alias or record["Type"] not in ("A", "AAAA") or "SetIdentifier" in record:
        return False
    return plain(alias["DNSName"]) == plain(distribution.domain)


def competing(records: Iterable[RecordSet], apex: str, names: Sequence[str], distribution: Distribution | None) -> list[RecordSet]:
    """What others made under our names that stands in the way of our address records.

    Args:
        records: of the zone.
        apex: the zone's own name, whose NS records are the zone's.
        names: the site's.
        distribution: the stack's own, where there is one already.
    """
    return [
        record
        for record in records
        if identity(record)[0] in names
        and record["Type"] in COMPETING
        and identity(record) != (apex, "NS")
        and not leads_to(record, distribution)
    ]


def addresses(names: Iterable[str], distribution: Distribution) -> list[RecordSet]:
    """The site's address records, all of them."""
    target = {"HostedZoneId": distribution.zone, "DNSName": distribution.domain, "EvaluateTargetHealth": False}
    return [{"Name": name, "Type": kind, "AliasTarget": target} for name in names for kind in ("A", "AAAA")]


def take_over(foreign: Iterable[RecordSet], ours: Iterable[RecordSet]) -> dict[str, Any]:
    """The change batch that puts our records in the place of others': all of it happens at once, or nothing.

    A record that was changed since it was read fails the batch, because a deletion names every value.

    Source: Amazon Route 53 API Reference, ChangeResourceRecordSets, "Change Batches and Transactional Changes".
    """
    return _batch("The names of the site lead to the new stack", ("DELETE", foreign), ("UPSERT", ours))


def put_back(foreign: Iterable[RecordSet], ours: Iterable[RecordSet]) -> dict[str, Any]:
    """The change batch that undoes `take_over`."""
    return _batch("The names of the site lead where they led before", ("DELETE", ours), ("CREATE", foreign))


def _batch(comment: str, *groups: tuple[str, Iterable[RecordSet]]) -> dict[str, Any]:
    changes = [{"Action": action, "ResourceRecordSet": dict(record)} for action, records in groups for record in records]
    return {"Comment": comment, "Changes": changes}


def forbids_amazon(records: Iterable[RecordSet], name: str) -> RecordSet | None:
    """The CAA record set that keeps Amazon from a certificate for `name`; None where Amazon may issue one.

    The set that counts is the one of the name or of the nearest name above it.

    Source: RFC 8659, "Relevant Resource Record Set".
    """
    sets = {identity(record)[0]: record for record in records if record["Type"] == "CAA"}
    labels = name.split(".")
    above = (".".join(labels[index:]) for index in range(len(labels)))
    nearest = next((sets[one] for one in above if one in sets), None)
    if nearest is None:
        return None
    issuers = [_issuer(one["Value"]) for one in nearest.get("ResourceRecords", ()) if one["Value"].split()[1:2] == ["issue"]]
    return nearest if issuers and not _AMAZON.intersection(issuers) else None


def _issuer(value: str) -> str:
    """`letsencrypt.org` of `0 issue "letsencrypt.org; accounturi=..."`."""
    return value.split(maxsplit=2)[2].strip().strip('"').partition(";")[0].strip().lower()
