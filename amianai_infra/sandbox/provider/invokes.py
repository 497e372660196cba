"""The functions a program may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from amianai_infra.sandbox.provider.resource import World, tag_map

Args = Mapping[str, Any]


def call(world: World, token: str, args: Args) -> dict[str, Any]:
    """Call a function by its token.

    Raises:
        ValueError: there is no such function, or it does not know an argument.
    """
    if token not in _FUNCTIONS:
        raise ValueError(f"the sandbox does not implement the function {token}; it has {', '.join(sorted(_FUNCTIONS))}")
    function, known = _FUNCTIONS[token]
    strange = [name for name in args if name not in known]
    if strange:
        raise ValueError(f"the sandbox does not implement the argument(s) {', '.join(strange)} of {token}")
    return function(world, args)


def _region(world: World, args: Args) -> str:
    return str(args.get("region") or world.region)


def _availability_zones(world: World, args: Args) -> dict[str, Any]:
    region = _region(world, args)
    filters = [{"Name": item["name"], "Values": item["values"]} for item in args.get("filters", [])]
    if args.get("state"):
        filters.append({"Name": "state", "Values": [args["state"]]})
    found = world.clients.get("ec2", region).describe_availability_zones(Filters=filters)["AvailabilityZones"]
    zones = sorted(
        (
            zone
            for zone in found
            if zone["ZoneName"] not in args.get("excludeNames", []) and zone["ZoneId"] not in args.get("excludeZoneIds", [])
        ),
        key=lambda zone: str(zone["ZoneName"]),
    )
    return {
        "id": region,
        "region": region,
        "names": [zone["ZoneName"] for zone in zones],
        "zoneIds": [zone["ZoneId"] for zone in zones],
        "groupNames": sorted({zone.get("GroupName") or region for zone in zones}),
        **{key: args[key] for key in ("state", "filters", "excludeNames", "excludeZoneIds", "allAvailabilityZones") if key in args},
    }


def _caller_identity(world: World, args: Args) -> dict[str, Any]:
    found = world.clients.get("sts", world.region).get_caller_identity()
    return {"id": found["Account"], "accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"]}


def _current_region(world: World, args: Args) -> dict[str, Any]:
    region = _region(world, args)
    return {"id": region, "region": region, "name": region, "endpoint": f"ec2.{region}.amazonaws.com", "description": region}


def _zone(world: World, args: Args) -> dict[str, Any]:
    client = world.clients.get("route53", world.region)
    wanted = str(args.get("name", "")).rstrip(".")
    found = [
        zone
        for page in client.get_paginator("list_hosted_zones").paginate()
        for zone in page["HostedZones"]
        if (args.get("zoneId") in (None, zone["Id"].removeprefix("/hostedzone/")))
        and (not wanted or zone["Name"].rstrip(".") == wanted)
        and zone["Config"].get("PrivateZone", False) == bool(args.get("privateZone", False))
    ]
    if len(found) != 1:
        raise LookupError(f"{len(found) or 'no'} hosted zones match {args.get('zoneId') or wanted!r}, wanted exactly one")
    ident = found[0]["Id"].removeprefix("/hostedzone/")
    detail = client.get_hosted_zone(Id=ident)
    tags = client.list_tags_for_resource(ResourceType="hostedzone", ResourceId=ident)["ResourceTagSet"].get("Tags", [])
    servers = detail.get("DelegationSet", {}).get("NameServers", [])
    return {
        "id": ident,
        "zoneId": ident,
        "arn": f"arn:aws:route53:::hostedzone/{ident}",
        "name": found[0]["Name"].rstrip("."),
        "callerReference": found[0]["CallerReference"],
        "comment": found[0]["Config"].get("Comment", ""),
        "privateZone": found[0]["Config"].get("PrivateZone", False),
        "resourceRecordSetCount": found[0].get("ResourceRecordSetCount", 0),
        "nameServers": servers,
        "primaryNameServer": servers[0] if servers else "",
        "linkedServiceDescription": "",
        "linkedServicePrincipal": "",
        "enableAcceleratedRecovery": False,
        "tags": tag_map(tags),
        "vpcId": args.get("vpcId", ""),
    }


def _open_id_connect_provider(world: World, args: Args) -> dict[str, Any]:
    client = world.clients.get("iam", world.region)
    wanted = str(args.get("url", "")).removeprefix("https://").rstrip("/")
    for item in client.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        arn = item["Arn"]
        if arn != args.get("arn") and (not wanted or arn.partition("oidc-provider/")[2] != wanted):
            continue
        found = client.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        return {
            "id": arn,
            "arn": arn,
            "url": found["Url"],
            "clientIdLists": found.get("ClientIDList", []),
            "thumbprintLists": found.get("ThumbprintList", []),
            "tags": tag_map(found.get("Tags", [])),
        }
    raise LookupError(f"no OpenID Connect provider for {args.get('arn') or args.get('url')!r}")


_Function = Callable[[World, Args], dict[str, Any]]
_FUNCTIONS: dict[str, tuple[_Function, frozenset[str]]] = {
    "aws:index/getAvailabilityZones:getAvailabilityZones": (
        _availability_zones,
        frozenset({"allAvailabilityZones", "excludeNames", "excludeZoneIds", "filters", "region", "state"}),
    ),
    "aws:index/getCallerIdentity:getCallerIdentity": (_caller_identity, frozenset({"id"})),
    "aws:index/getRegion:getRegion": (_current_region, frozenset({"id", "region"})),
    "aws:route53/getZone:getZone": (_zone, frozenset({"name", "privateZone", "zoneId"})),
    "aws:iam/getOpenIdConnectProvider:getOpenIdConnectProvider": (_open_id_connect_provider, frozenset({"arn", "url"})),
}
