"""WAF: web ACLs with rate-based rules, and what they protect. The emulator keeps them and blocks nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from amianai_infra.sandbox.provider.properties import Problem, Prop, flag, number, obj, objects, text
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given, tag_list, tag_map
from amianai_infra.sandbox.provider.shapes import as_declared, from_api, to_api
from amianai_infra.sandbox.provider.values import UNKNOWN

_NAMES = {"cloudwatchMetricsEnabled": "CloudWatchMetricsEnabled"}
_ACTION = {"allow": obj({}), "block": obj({}), "count": obj({})}
_VISIBILITY = obj(
    {"cloudwatchMetricsEnabled": flag(required=True), "metricName": text(required=True), "sampledRequestsEnabled": flag(required=True)},
    required=True,
)
_REGEX = obj(
    {
        "fieldToMatch": obj({"singleHeader": obj({"name": text(required=True)}), "uriPath": obj({}), "method": obj({})}, required=True),
        "regexString": text(required=True),
        "textTransformations": objects({"priority": number(required=True), "type": text(required=True)}, required=True, unordered=True),
    }
)
_SCOPE_DOWN = {"regexMatchStatement": _REGEX, "orStatement": obj({"statements": objects({"regexMatchStatement": _REGEX}, required=True)})}
_RATE = obj(
    {
        "aggregateKeyType": text(default="IP"),
        "evaluationWindowSec": number(default=300, choices=(60, 120, 300, 600)),
        "limit": number(required=True),
        "scopeDownStatement": obj(_SCOPE_DOWN),
    },
    required=True,
)
_RULE: Mapping[str, Prop] = {
    "name": text(required=True),
    "priority": number(required=True),
    "action": obj(_ACTION, required=True),
    "statement": obj({"rateBasedStatement": _RATE}, required=True),
    "visibilityConfig": _VISIBILITY,
}


class WebAcl(Resource):
    """`aws.wafv2.WebAcl` with rate-based rules; its id is WAF's."""

    token = "aws:wafv2/webAcl:WebAcl"
    service = "wafv2"
    tagged = True
    props = {
        "name": text(autoname=True, force_new=True),
        "description": text(),
        "scope": text(required=True, force_new=True, choices=("REGIONAL",)),
        "defaultAction": obj(_ACTION, required=True),
        "rules": objects(_RULE, unordered=True),
        "visibilityConfig": _VISIBILITY,
    }
    outputs = ("arn", "capacity")
    name_prop = "name"
    missing = ("WAFNonexistentItemException",)

    def check(self, inputs: Inputs) -> list[Problem]:
        """Every action is one action, and WAF counts to ten at least."""
        return list(_problems(inputs))

    def create(self, ctx: Context, inputs: Inputs) -> str:
        found = ctx.client().create_web_acl(Name=inputs["name"], Tags=tag_list(ctx.tags(inputs)), **_parameters(inputs))
        return str(found["Summary"]["Id"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        uid, _, named = ident.partition("/")
        name, _, scope = named.partition("/")
        key = {"Id": uid, "Name": name or known["name"], "Scope": scope or known["scope"]}
        found = ctx.client().get_web_acl(**key)["WebACL"]
        tags = ctx.client().list_tags_for_resource(ResourceARN=found["ARN"])["TagInfoForResource"]["TagList"]
        real = from_api({name: found.get(name) for name in ("DefaultAction", "Rules", "VisibilityConfig")}, _NAMES)
        return {
            **{name: as_declared(value, known.get(name)) for name, value in real.items()},
            "name": found["Name"],
            "description": found.get("Description") or None,
            "scope": key["Scope"],
            "arn": found["ARN"],
            "capacity": found.get("Capacity", 0),
            "tags": tag_map(tags),
            **({"id": uid} if named else {}),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        key = self._key(ident, new)
        lock = ctx.client().get_web_acl(**key)["LockToken"]
        ctx.client().update_web_acl(**key, LockToken=lock, **{name: value for name, value in _parameters(new).items() if name != "Scope"})

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        key = self._key(ident, state)
        ctx.client().delete_web_acl(**key, LockToken=ctx.client().get_web_acl(**key)["LockToken"])

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_resource(ResourceARN=state["arn"], TagKeys=removed)
        if tags:
            ctx.client().tag_resource(ResourceARN=state["arn"], Tags=tag_list(tags))

    @staticmethod
    def _key(ident: str, inputs: Inputs) -> dict[str, str]:
        return {"Id": ident, "Name": inputs["name"], "Scope": inputs["scope"]}


def _parameters(inputs: Inputs) -> dict[str, Any]:
    return {
        "Scope": inputs["scope"],
        **to_api({name: inputs[name] for name in ("defaultAction", "visibilityConfig")}, _NAMES),
        "Rules": to_api(inputs.get("rules", []), _NAMES),
        **given(Description=inputs.get("description")),
    }


def _problems(inputs: Inputs) -> Iterator[Problem]:
    rules = inputs.get("rules") or []
    actions = [("defaultAction", inputs["defaultAction"])]
    for index, rule in enumerate([] if rules is UNKNOWN else rules):
        actions.append((f"rules[{index}].action", rule["action"]))
        limit = rule["statement"]["rateBasedStatement"]["limit"]
        if limit is not UNKNOWN and limit < 10:
            yield Problem(f"rules[{index}].statement.rateBasedStatement.limit", f"{limit} is below 10, the least that WAF counts to")
    for path, action in actions:
        if action is not UNKNOWN and len(action) != 1:
            yield Problem(path, f"{path} must be exactly one of allow, block and count")


class WebAclAssociation(Resource):
    """`aws.wafv2.WebAclAssociation`; its id is both ARNs."""

    token = "aws:wafv2/webAclAssociation:WebAclAssociation"
    service = "wafv2"
    props = {"webAclArn": text(required=True, force_new=True), "resourceArn": text(required=True, force_new=True)}
    missing = ("WAFNonexistentItemException",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        ctx.client().associate_web_acl(WebACLArn=inputs["webAclArn"], ResourceArn=inputs["resourceArn"])
        return f"{inputs['webAclArn']},{inputs['resourceArn']}"

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        _, _, resource = ident.partition(",")
        found = ctx.client().get_web_acl_for_resource(ResourceArn=resource).get("WebACL")
        return {"webAclArn": found["ARN"], "resourceArn": resource} if found else None

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().disassociate_web_acl(ResourceArn=state["resourceArn"])


RESOURCES = (WebAcl, WebAclAssociation)
