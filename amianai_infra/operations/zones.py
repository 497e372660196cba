"""The hosted zone before anything is made: one that exists is adopted and never doubled, and what others say in it is respected.

Records of others under the site's names are named and refused, or with `--switch` taken over: last, together, and so that they can be
put back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amianai_infra.errors import AmianaiError, ConfigurationError, NotFoundError, RefusedError, UnreachableError
from amianai_infra.operations.context import Context
from amianai_infra.rules import zone_records
from amianai_infra.rules.domains import CAA_ISSUER, site_names
from amianai_infra.rules.zone_records import Distribution, RecordSet, described, identity, plain
from amianai_infra.target import Target, aws_error

if TYPE_CHECKING:
    from amianai_infra.engine import Engine, StateResource

ZONE_TYPE = "aws:route53/zone:Zone"
RECORD_TYPE = "aws:route53/record:Record"
DISTRIBUTION_TYPE = "aws:cloudfront/distribution:Distribution"
ISSUED_TYPE = "aws:acm/certificateValidation:CertificateValidation"


@dataclass(frozen=True)
class Zone:
    """A public hosted zone.

    Attributes:
        id: its id.
        name: the domain it answers for.
        servers: its name servers.
        comment: what its owner wrote about it.
    """

    id: str
    name: str
    servers: Sequence[str]
    comment: str = ""


@dataclass(frozen=True)
class Survey:
    """What the zone says about the site's names.

    Attributes:
        zone: the zone.
        foreign: records of others in the place of ours.
        ours: the number of address records that lead to the stack's distribution already.
        recorded: how many of them the engine's state has.
        distribution: the stack's own; None before it is made.
        caa: record set that keeps Amazon from issuing the certificate, while there is none yet.
    """

    zone: Zone
    foreign: Sequence[RecordSet] = ()
    ours: int = 0
    recorded: int = 0
    distribution: Distribution | None = None
    caa: RecordSet | None = None


def is_carried(resource: StateResource) -> bool:
    """Whether it is a record of `dns.records`."""
    from amianai_infra.stack import CARRIED_URNS

    return resource.urn.startswith(CARRIED_URNS)


def in_state(resources: Sequence[StateResource]) -> str:
    """Id of the zone that the stack made itself; empty without one."""
    return next((one.id for one in resources if one.type == ZONE_TYPE and one.id and not one.external), "")


def settle(context: Context, engine: Engine, *, offer: bool) -> None:
    """See to it that no second zone is made: a public one of the domain that exists is adopted, or nothing is done.

    Args:
        context: where.
        engine: the engine on the stack.
        offer: whether a person at a terminal is asked to adopt it.

    Raises:
        RefusedError: there is one, and it was not adopted; with the command that adopts it.
    """
    domain = context.settings.domain_name
    if context.settings.dns.zone_id or in_state(engine.resources()):
        return
    found = public_zones(context.target, domain)
    if not found or _recovered(context, engine):
        return
    listed = "\n".join(_line(zone) for zone in found)
    if offer and len(found) == 1:
        context.progress.note(f"A public hosted zone for {domain} exists in this account: {listed}")
        if context.offer("Adopt it? (It is never deleted; without it nothing is made)"):
            context.choose("dns.zone_id", found[0].id)
            return
    several = len(found) > 1
    raise RefusedError(
        f"{f'{len(found)} public hosted zones' if several else 'A public hosted zone'} for {domain}"
        f" exist{'' if several else 's'} in this account, and dns.zone_id is not set. A second one would not answer for the domain, or"
        " would take what the first one says off the net; nothing was made.",
        where=listed,
        fix=_adopting(found, domain),
    )


def _line(zone: Zone) -> str:
    return f"{zone.id}: {', '.join(zone.servers)}" + (f" ({zone.comment})" if zone.comment else "")


def _adopting(found: Sequence[Zone], domain: str) -> str:
    if len(found) == 1:
        return f"adopt it: `amianai setup --set dns.zone_id={found[0].id}`"
    choice = "|".join(zone.id for zone in found)
    return (
        f"adopt the one whose name servers are entered for {domain} at the registrar: `amianai setup --set dns.zone_id=ID`, ID = {choice}"
    )


def _recovered(context: Context, engine: Engine) -> bool:
    """Whether the zone is one that a killed run of ours was creating: its creation is then in the state, and is brought into order."""
    if not engine.exists():
        return False
    for line in engine.recover():
        context.progress.note(line)
    return bool(in_state(engine.resources()))


def public_zones(target: Target, domain: str) -> list[Zone]:
    """Every public hosted zone of exactly that name."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = target.client("route53")
    try:
        return [_zone(client, ident) for ident in _ids_of_name(client, domain)]
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, f"looking for a hosted zone of {domain}") from error


def _ids_of_name(client: Any, domain: str) -> list[str]:
    """Zones are listed by name, the ones of this name first."""
    found: list[str] = []
    page: dict[str, Any] = {"DNSName": domain}
    while page:
        answer = client.list_hosted_zones_by_name(**page)
        same = [zone for zone in answer["HostedZones"] if plain(zone["Name"]) == domain]
        found += [zone["Id"].removeprefix("/hostedzone/") for zone in same if not zone.get("Config", {}).get("PrivateZone")]
        more = answer.get("IsTruncated") and len(same) == len(answer["HostedZones"])
        page = {"DNSName": answer["NextDNSName"], "HostedZoneId": answer["NextHostedZoneId"]} if more else {}
    return found


def _zone(client: Any, ident: str) -> Zone:
    answer = client.get_hosted_zone(Id=ident)
    servers = sorted(plain(one) for one in answer.get("DelegationSet", {}).get("NameServers", ()))
    zone = answer["HostedZone"]
    if zone.get("Config", {}).get("PrivateZone"):
        raise ConfigurationError(f"dns.zone_id = {ident} is a private zone: the internet does not ask it.", fix="name a public one")
    return Zone(ident, plain(zone["Name"]), servers, str(zone.get("Config", {}).get("Comment") or ""))


def look(target: Target, ident: str, domain: str) -> Zone:
    """The zone that the stack uses.

    Raises:
        NotFoundError: the account has no such zone.
        ConfigurationError: it does not answer for the domain.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        zone = _zone(target.client("route53"), ident)
    except (BotoCoreError, ClientError) as error:
        translated = aws_error(error, f"reading the hosted zone {ident}")
        if isinstance(translated, NotFoundError):
            raise NotFoundError(
                f"The hosted zone {ident} does not exist in this account.",
                where=f"dns.zone_id = {ident}",
                fix="`aws route53 list-hosted-zones` lists those that do; --set dns.zone_id=... corrects it",
            ) from error
        raise translated from error
    if domain != zone.name and not domain.endswith(f".{zone.name}"):
        raise ConfigurationError(
            f"dns.zone_id = {ident} is the zone of {zone.name}, which does not hold {domain}.",
            fix=f"name the zone of {domain} or of a domain above it",
        )
    return zone


def survey(context: Context, engine: Engine, *, thorough: bool = False) -> Survey | None:
    """What the zone says about the site's names; None where there is no zone yet, or nothing left to make in it.

    Args:
        context: where.
        engine: the engine on the stack.
        thorough: also look when the engine's state has every record of ours.
    """
    resources, settings = engine.resources(), context.settings
    ident = settings.dns.zone_id or in_state(resources)
    names = site_names(settings.domain_name)
    recorded = len(_recorded(resources, names))
    if not ident or (recorded == 2 * len(names) and not thorough):
        return None
    try:
        zone = look(context.target, ident, settings.domain_name)
    except NotFoundError:
        if settings.dns.zone_id:
            raise
        return None  # the stack's own is gone: that is drift, for the engine to find
    records = list(records_of(context.target, ident))
    distribution = distribution_of(resources)
    issued = any(one.type == ISSUED_TYPE for one in resources)
    return Survey(
        zone,
        zone_records.competing(records, zone.name, names, distribution),
        sum(identity(one)[0] in names and zone_records.leads_to(one, distribution) for one in records),
        recorded,
        distribution,
        None if issued else next(filter(None, (zone_records.forbids_amazon(records, name) for name in names)), None),
    )


def _recorded(resources: Sequence[StateResource], names: Sequence[str]) -> list[StateResource]:
    """The site's address records in the engine's state."""
    return [
        one
        for one in resources
        if one.type == RECORD_TYPE and one.inputs.get("type") in ("A", "AAAA") and plain(str(one.inputs.get("name"))) in names
    ]


def distribution_of(resources: Sequence[StateResource]) -> Distribution | None:
    """The site's distribution, as the engine's state has it."""
    found = next((one.outputs for one in resources if one.type == DISTRIBUTION_TYPE and one.outputs.get("domainName")), None)
    return Distribution(str(found["domainName"]), str(found["hostedZoneId"])) if found else None


def records_of(target: Target, zone: str) -> Iterator[RecordSet]:
    """Every record set of a zone."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for page in target.client("route53").get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone):
            yield from page["ResourceRecordSets"]
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, f"listing the records of the hosted zone {zone}") from error


def require_free(found: Survey, *, switch: bool) -> None:
    """Refuse what would end after most of the stack was made.

    Raises:
        RefusedError: Amazon may not issue the certificate, or others' records stand in the place of ours and `switch` was not said.
    """
    if found.caa is not None:
        raise RefusedError(
            "The zone forbids Amazon to issue the site's certificate; nothing was made.",
            where=f"hosted zone {found.zone.id}: {described(found.caa)}",
            fix=f"add the value {CAA_ISSUER} to that record set",
        )
    if found.foreign and not switch:
        raise RefusedError(
            "The zone leads the site's names elsewhere; nothing was made and no record was changed.",
            where=f"hosted zone {found.zone.id}:\n" + "\n".join(described(record) for record in found.foreign),
            fix="`amianai setup --switch` builds the stack, publishes the site, replaces these records at the very end, all at once, and"
            " keeps them, so that they can be put back",
        )


def take_over(context: Context, found: Survey) -> None:
    """Put our address records in the place of others', in one transaction, and keep what was replaced."""
    from botocore.exceptions import BotoCoreError, ClientError

    if found.distribution is None:
        raise NotFoundError("The engine's state has no distribution for the site's names to lead to.", fix="`amianai up`")
    names = site_names(context.settings.domain_name)
    ours = zone_records.addresses(names, found.distribution)
    with context.progress.task("Switching the addresses") as task:
        kept = _keep(context, zone_records.put_back(found.foreign, ours))
        batch = zone_records.take_over(found.foreign, ours)
        try:
            context.target.client("route53").change_resource_record_sets(HostedZoneId=found.zone.id, ChangeBatch=batch)
        except (BotoCoreError, ClientError) as error:
            if not _is_taken_over(context, found, names, kept, error):
                kept.unlink()
                raise aws_error(error, f"switching the addresses in the hosted zone {found.zone.id}; none was changed") from error
        task.say(f"{' and '.join(names)} lead to {found.distribution.domain}")
    for record in found.foreign:
        context.progress.note(f"Replaced: {described(record)}")
    context.progress.note("To put back what was replaced:")
    context.progress.note(f"    aws route53 change-resource-record-sets --hosted-zone-id {found.zone.id} --change-batch file://{kept}")


def _is_taken_over(context: Context, found: Survey, names: Sequence[str], kept: Path, error: Exception) -> bool:
    """Whether a switch that failed was made all the same: its answer was lost, and its repetition found nothing to replace.

    Raises:
        UnreachableError: that cannot be found out; what may have been replaced is kept.
    """
    try:
        records = list(records_of(context.target, found.zone.id))
    except AmianaiError as unknown:
        raise UnreachableError(
            f"Whether the addresses in the hosted zone {found.zone.id} were switched cannot be found out: {unknown.what}",
            where=str(error),
            fix=f"run the command again: it goes on. {kept} puts back what may have been replaced"
            f" (`aws route53 change-resource-record-sets --hosted-zone-id {found.zone.id} --change-batch file://{kept}`)",
        ) from error
    return not zone_records.competing(records, found.zone.name, names, found.distribution)


def _keep(context: Context, batch: dict[str, Any]) -> Path:
    """Write down how to undo it, before it is done."""
    folder = context.target.local / "replaced-records"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{context.settings.domain_name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.json"
    path.write_text(json.dumps(batch, indent=2) + "\n")
    return path


def of_others(context: Context, resources: Sequence[StateResource]) -> list[str]:
    """The records in the stack's own zone that the stack did not make, one line each: while they are there, the zone cannot go."""
    ident = in_state(resources)
    if not ident:
        return []
    apex = next(plain(str(one.inputs.get("name", ""))) for one in resources if one.id == ident)
    ours = {_identity(one, apex) for one in resources if one.type == RECORD_TYPE and one.id}
    own = {(apex, "NS"), (apex, "SOA")}
    try:
        return [described(record) for record in records_of(context.target, ident) if identity(record) not in ours | own]
    except NotFoundError:
        return []  # the zone is gone already


def _identity(resource: StateResource, apex: str) -> tuple[str, str]:
    """Name and type of a record in the state, whose name may be relative to the zone."""
    name = plain(str({**resource.inputs, **resource.outputs}.get("fqdn") or resource.inputs.get("name", "")))
    full = name if name == apex or name.endswith(f".{apex}") else f"{name}.{apex}".lstrip(".")
    return full, str(resource.inputs.get("type", ""))
