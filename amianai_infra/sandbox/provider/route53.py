"""Route 53: zones and records."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from amianai_infra.dns_records import is_value
from amianai_infra.sandbox.provider.properties import Problem, flag, number, objects, text, text_set
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, tag_list, tag_map
from amianai_infra.sandbox.provider.values import UNKNOWN

_OWN_TYPES: Final = ("NS", "SOA")
_CHANGE_BATCH: Final = 500


def bare(name: str) -> str:
    """A domain name as people write it: lower case, no trailing dot, `*` unescaped."""
    return name.rstrip(".").lower().replace("\\052", "*")


class Zone(Resource):
    """A public hosted zone. One with records of its own is deleted only with `forceDestroy`."""

    token = "aws:route53/zone:Zone"
    service = "route53"
    regional = False
    tagged = True
    missing = ("NoSuchHostedZone",)
    props = {
        "name": text(autoname=True, force_new=True, canonical=bare),
        "comment": text(default="Managed by Pulumi"),
        "forceDestroy": flag(default=False, write_only=True),
    }
    outputs = ("arn", "nameServers", "primaryNameServer", "zoneId")

    def create(self, ctx: Context, inputs: Inputs) -> str:
        found = ctx.client().create_hosted_zone(
            Name=inputs["name"], CallerReference=uuid.uuid4().hex, HostedZoneConfig={"Comment": inputs.get("comment", "")}
        )
        return str(found["HostedZone"]["Id"].removeprefix("/hostedzone/"))

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        self.set_tags(ctx, ident, {}, ctx.tags(inputs), [])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_hosted_zone(Id=ident)
        tags = ctx.client().list_tags_for_resource(ResourceType="hostedzone", ResourceId=ident)["ResourceTagSet"]
        servers = sorted(bare(server) for server in found["DelegationSet"]["NameServers"])
        return {
            "name": bare(found["HostedZone"]["Name"]),
            "comment": found["HostedZone"]["Config"].get("Comment"),
            "arn": f"arn:aws:route53:::hostedzone/{ident}",
            "zoneId": ident,
            "nameServers": servers,
            "primaryNameServer": servers[0],
            "tags": tag_map(tags.get("Tags")),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        ctx.client().update_hosted_zone_comment(Id=ident, Comment=new.get("comment", ""))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        if state.get("forceDestroy"):
            self._empty(ctx, ident)
        ctx.client().delete_hosted_zone(Id=ident)

    @staticmethod
    def _empty(ctx: Context, ident: str) -> None:
        apex = bare(ctx.client().get_hosted_zone(Id=ident)["HostedZone"]["Name"])
        changes = [
            {"Action": "DELETE", "ResourceRecordSet": found}
            for found in _records(ctx, ident)
            if bare(found["Name"]) != apex or found["Type"] not in _OWN_TYPES
        ]
        for start in range(0, len(changes), _CHANGE_BATCH):
            _change(ctx, ident, changes[start : start + _CHANGE_BATCH])

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        changes: dict[str, Any] = {}
        if tags:
            changes["AddTags"] = tag_list(tags)
        if removed:
            changes["RemoveTagKeys"] = removed
        if changes:
            ctx.client().change_tags_for_resource(ResourceType="hostedzone", ResourceId=ident, **changes)


def _records(ctx: Context, zone: str) -> Iterator[dict[str, Any]]:
    for page in ctx.client("route53").get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone):
        yield from page["ResourceRecordSets"]


def _change(ctx: Context, zone: str, changes: list[dict[str, Any]]) -> None:
    ctx.client().change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})


class Record(Resource):
    """A record set of the simple routing policy. Its id is `<zone>_<name>_<type>`."""

    token = "aws:route53/record:Record"
    service = "route53"
    regional = False
    delete_first = True
    missing = ("NoSuchHostedZone",)
    props = {
        "zoneId": text(required=True, force_new=True),
        "name": text(required=True, force_new=True, canonical=bare),
        "type": text(required=True),
        "ttl": number(),
        "records": text_set(),
        "aliases": objects(
            {
                "name": text(required=True, canonical=bare),
                "zoneId": text(required=True),
                "evaluateTargetHealth": flag(required=True),
            }
        ),
        "allowOverwrite": flag(default=False, write_only=True),
    }
    outputs = ("fqdn",)

    def check(self, inputs: Inputs) -> list[Problem]:
        """What Route 53 answers with InvalidChangeBatch; the emulator stores anything."""
        problems = list(_shape_problems(inputs))
        kind, records = inputs["type"], inputs.get("records")
        if records in (None, UNKNOWN) or kind is UNKNOWN:
            return problems
        if kind == "CNAME" and len(records) > 1:
            problems.append(Problem("records", "a CNAME has one value"))
        bad = [value for value in records if value is not UNKNOWN and not is_value(kind, value)]
        return problems + [Problem("records", f"{value!r} is no value of a record of type {kind}") for value in bad]

    def create(self, ctx: Context, inputs: Inputs) -> str:
        zone = inputs["zoneId"]
        apex = bare(ctx.client().get_hosted_zone(Id=zone)["HostedZone"]["Name"])
        record = record_set(inputs, apex)
        clash = [found["Type"] for found in _of_name(ctx, zone, record["Name"]) if "CNAME" in (found["Type"], record["Type"])]
        if any(kind != record["Type"] for kind in clash):
            raise ProviderError(
                f"InvalidChangeBatch: {record['Name']} cannot be of type {record['Type']}: it has records of type {', '.join(clash)},"
                " and a CNAME stands alone"
            )
        _change(ctx, zone, [{"Action": "UPSERT" if inputs["allowOverwrite"] else "CREATE", "ResourceRecordSet": record}])
        return f"{zone}_{bare(inputs['name'])}_{inputs['type']}"

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        zone, name, kind = known_as(ident, known)
        apex = bare(ctx.client().get_hosted_zone(Id=zone)["HostedZone"]["Name"])
        found = _find(ctx, zone, full_name(name, apex), kind)
        if found is None:
            return None
        alias = found.get("AliasTarget")
        return {
            "zoneId": zone,
            "name": name,
            "type": kind,
            "ttl": found.get("TTL"),
            "records": [_unquoted(kind, one["Value"]) for one in found.get("ResourceRecords", [])],
            "aliases": [_alias_inputs(alias)] if alias else [],
            "fqdn": full_name(name, apex),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        zone, name, kind = known_as(ident, old)
        apex = bare(ctx.client().get_hosted_zone(Id=zone)["HostedZone"]["Name"])
        changes = [{"Action": "UPSERT", "ResourceRecordSet": record_set(new, apex)}]
        before = _find(ctx, zone, full_name(name, apex), kind) if "type" in changed else None
        if before is not None and before["Type"] != new["type"]:
            changes.insert(0, {"Action": "DELETE", "ResourceRecordSet": before})
        _change(ctx, zone, changes)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        zone, name, kind = known_as(ident, state)
        apex = bare(ctx.client().get_hosted_zone(Id=zone)["HostedZone"]["Name"])
        found = _find(ctx, zone, full_name(name, apex), kind)
        if found is None:
            return
        from botocore.exceptions import ClientError

        try:
            _change(ctx, zone, [{"Action": "DELETE", "ResourceRecordSet": found}])
        except ClientError as error:  # a repeated call is refused where the first one was carried out and its answer lost
            refused = error.response["Error"]["Code"] == "InvalidChangeBatch"
            if not refused or _find(ctx, zone, full_name(name, apex), kind) is not None:
                raise


def known_as(ident: str, known: Inputs) -> tuple[str, str, str]:
    """Zone, name and type of a record: what the state says (an update may have changed the type), else its id says.

    The name may have underscores.
    """
    if "type" in known and "name" in known:
        return ident.partition("_")[0], bare(known["name"]), known["type"]
    zone, _, rest = ident.partition("_")
    name, _, kind = rest.rpartition("_")
    if not (zone and name and kind):
        raise ProviderError(f"{ident!r} is no id of a record: it must be <zone id>_<name>_<type>")
    return zone, name, kind


def full_name(name: str, apex: str) -> str:
    """A record's name inside its zone: `www` and `www.example.com` are the same in `example.com`."""
    short = bare(name)
    if short == apex or short.endswith(f".{apex}"):
        return short
    return f"{short}.{apex}" if short else apex


def record_set(inputs: Inputs, apex: str) -> dict[str, Any]:
    """The `ResourceRecordSet` that inputs ask for. Pure."""
    found: dict[str, Any] = {"Name": full_name(inputs["name"], apex), "Type": inputs["type"]}
    if inputs.get("aliases"):
        alias = inputs["aliases"][0]
        found["AliasTarget"] = {
            "DNSName": alias["name"],
            "HostedZoneId": alias["zoneId"],
            "EvaluateTargetHealth": alias["evaluateTargetHealth"],
        }
    else:
        found["TTL"] = inputs["ttl"]
        found["ResourceRecords"] = [{"Value": _quoted(inputs["type"], value)} for value in inputs["records"]]
    return found


def _alias_inputs(alias: Mapping[str, Any]) -> State:
    return {
        "name": bare(alias["DNSName"]),
        "zoneId": alias["HostedZoneId"],
        "evaluateTargetHealth": alias["EvaluateTargetHealth"],
    }


def _quoted(kind: str, value: str) -> str:
    return f'"{value}"' if kind in ("TXT", "SPF") and not value.startswith('"') else value


def _unquoted(kind: str, value: str) -> str:
    """As the official provider reads it: without the outer quotation marks, so that further strings of a text stand behind `""`."""
    return value[1:-1] if kind in ("TXT", "SPF") and value[:1] == value[-1:] == '"' else value


def _of_name(ctx: Context, zone: str, name: str) -> Iterator[dict[str, Any]]:
    return (found for found in _records(ctx, zone) if bare(found["Name"]) == name)


def _find(ctx: Context, zone: str, name: str, kind: str) -> dict[str, Any] | None:
    return next((found for found in _of_name(ctx, zone, name) if found["Type"] == kind), None)


def _shape_problems(inputs: Inputs) -> Iterator[Problem]:
    if bool(inputs.get("records")) == bool(inputs.get("aliases")):
        yield Problem("records", "a record has either records or aliases")
    if inputs.get("records") and inputs.get("ttl") is None:
        yield Problem("ttl", "a record that is no alias needs a ttl")
    if inputs.get("aliases") and inputs.get("ttl") is not None:
        yield Problem("ttl", "an alias has no ttl: it takes its target's")
    if isinstance(inputs.get("aliases"), list) and len(inputs["aliases"]) > 1:
        yield Problem("aliases", "a record has one alias")


class _NotHere(Resource):
    """What the emulator's Route 53 does not have, which is said in the preview."""

    service = "route53"
    regional = False
    setting: ClassVar[str]
    lacks: ClassVar[str]

    def check(self, inputs: Inputs) -> list[Problem]:
        return [Problem(next(iter(self.props)), f"the sandbox {self.lacks}; leave {self.setting} off here")]


class KeySigningKey(_NotHere):
    """`aws.route53.KeySigningKey`."""

    token = "aws:route53/keySigningKey:KeySigningKey"
    setting, lacks = "dns.dnssec", "signs no zone"
    props = {
        "hostedZoneId": text(required=True, force_new=True),
        "keyManagementServiceArn": text(required=True, force_new=True),
        "name": text(force_new=True, autoname=True),
        "status": text(default="ACTIVE", choices=("ACTIVE", "INACTIVE")),
    }
    outputs = ("dsRecord",)


class HostedZoneDnsSec(_NotHere):
    """`aws.route53.HostedZoneDnsSec`."""

    token = "aws:route53/hostedZoneDnsSec:HostedZoneDnsSec"
    setting, lacks = "dns.dnssec", "signs no zone"
    props = {"hostedZoneId": text(required=True, force_new=True), "signingStatus": text(default="SIGNING")}


class QueryLog(_NotHere):
    """`aws.route53.QueryLog`."""

    token = "aws:route53/queryLog:QueryLog"
    setting, lacks = "dns.query_logging", "logs no queries"
    props = {"zoneId": text(required=True, force_new=True), "cloudwatchLogGroupArn": text(required=True, force_new=True)}
    outputs = ("arn",)


RESOURCES = (Zone, Record, KeySigningKey, HostedZoneDnsSec, QueryLog)
