"""CloudFront: what a distribution is made of."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from amianai_infra.sandbox.provider.properties import Problem, Props, flag, number, obj, objects, text, text_set
from amianai_infra.sandbox.provider.resource import Context, Inputs, ProviderError, Resource, State, given, tag_list, tag_map
from amianai_infra.sandbox.provider.shapes import counted, from_api, items_of, to_api, unless
from amianai_infra.sandbox.provider.values import UNKNOWN

# Source: Route 53 API reference, AliasTarget: the zone of every CloudFront distribution.
CLOUDFRONT_ZONE: Final = "Z2FDTNDATAQYW2"
_DEPLOYMENT = 1800.0


def arn_of(ctx: Context, kind: str, ident: str) -> str:
    """The ARN of something in CloudFront, which has no region."""
    return ctx.arn(f"{kind}/{ident}", regional=False)


class _Part(Resource):
    """Something a distribution refers to: named, global, changed and deleted under its ETag."""

    service = "cloudfront"
    regional = False
    name_prop = "name"
    outputs: ClassVar[Sequence[str]] = ("arn", "etag")
    volatile: ClassVar[Sequence[str]] = ("etag",)

    def refuse_if_used(self, ctx: Context, reference: str, name: str) -> None:
        """CloudFront keeps what a distribution uses; the emulator would let it go."""
        users = [ident for ident, config in _configurations(ctx) if f'"{reference}"' in json.dumps(config)]
        if users:
            raise ProviderError(f"{name} is in use by the distribution {', '.join(users)}")


def _configurations(ctx: Context) -> Iterator[tuple[str, dict[str, Any]]]:
    client = ctx.client("cloudfront")
    for page in client.get_paginator("list_distributions").paginate():
        for found in page["DistributionList"].get("Items", []):
            answer = unless(("NoSuchDistribution",), client.get_distribution_config, Id=found["Id"])
            if answer is not None:
                yield found["Id"], answer["DistributionConfig"]


class OriginAccessControl(_Part):
    """How a distribution signs its requests to an origin."""

    token = "aws:cloudfront/originAccessControl:OriginAccessControl"
    missing = ("NoSuchOriginAccessControl",)
    props = {
        "name": text(autoname=True),
        "description": text(default="Managed by Pulumi"),
        "originAccessControlOriginType": text(required=True),
        "signingBehavior": text(required=True),
        "signingProtocol": text(required=True),
    }

    def create(self, ctx: Context, inputs: Inputs) -> str:
        found = ctx.client().create_origin_access_control(OriginAccessControlConfig=self._config(inputs))
        return str(found["OriginAccessControl"]["Id"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_origin_access_control(Id=ident)
        config = from_api(found["OriginAccessControl"]["OriginAccessControlConfig"])
        return {**config, "arn": arn_of(ctx, "origin-access-control", ident), "etag": found["ETag"]}

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        etag = ctx.client().get_origin_access_control(Id=ident)["ETag"]
        ctx.client().update_origin_access_control(Id=ident, IfMatch=etag, OriginAccessControlConfig=self._config(new))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        etag = ctx.client().get_origin_access_control(Id=ident)["ETag"]
        self.refuse_if_used(ctx, ident, f"the origin access control {ident}")
        ctx.client().delete_origin_access_control(Id=ident, IfMatch=etag)

    def _config(self, inputs: Inputs) -> dict[str, Any]:
        return dict(to_api({name: inputs.get(name) for name in self.props}))


class KeyValueStore(_Part):
    """What functions at the edge read; its id is its name. Its keys are written through an API of their own."""

    token = "aws:cloudfront/keyValueStore:KeyValueStore"
    missing = ("EntityNotFound",)
    tagged = True
    props = {"name": text(autoname=True, force_new=True), "comment": text()}
    outputs = ("arn", "etag", "lastModifiedTime")
    volatile = ("etag", "lastModifiedTime")

    def create(self, ctx: Context, inputs: Inputs) -> str:
        tags = ctx.tags(inputs)
        ctx.client().create_key_value_store(
            Name=inputs["name"], **given(Comment=inputs.get("comment"), Tags={"Items": tag_list(tags)} if tags else None)
        )
        return str(inputs["name"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().describe_key_value_store(Name=ident)
        store = found["KeyValueStore"]
        return {
            "name": ident,
            "comment": store.get("Comment") or None,
            "arn": store["ARN"],
            "etag": found["ETag"],
            "lastModifiedTime": store["LastModifiedTime"].isoformat(),
            "tags": _tags(ctx, store["ARN"]),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        etag = ctx.client().describe_key_value_store(Name=ident)["ETag"]
        ctx.client().update_key_value_store(Name=ident, IfMatch=etag, Comment=new.get("comment") or "")

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        etag = ctx.client().describe_key_value_store(Name=ident)["ETag"]
        ctx.client().delete_key_value_store(Name=ident, IfMatch=etag)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        _set_tags(ctx, state["arn"], tags, removed)


class Function(_Part):
    """JavaScript that runs at the edge; its id is its name."""

    token = "aws:cloudfront/function:Function"
    missing = ("NoSuchFunctionExists",)
    tagged = True
    props = {
        "name": text(autoname=True, force_new=True),
        "runtime": text(required=True),
        "code": text(required=True),
        "comment": text(),
        "keyValueStoreAssociations": text_set(),
        "publish": flag(default=True, write_only=True),
    }
    outputs = ("arn", "etag", "liveStageEtag", "status")
    volatile = ("etag", "liveStageEtag", "status")

    def create(self, ctx: Context, inputs: Inputs) -> str:
        tags = ctx.tags(inputs)
        ctx.client().create_function(
            Name=inputs["name"],
            FunctionConfig=_function_config(inputs),
            FunctionCode=inputs["code"].encode(),
            **given(Tags={"Items": tag_list(tags)} if tags else None),
        )
        return str(inputs["name"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        if inputs["publish"]:
            etag = ctx.client().describe_function(Name=ident, Stage="DEVELOPMENT")["ETag"]
            ctx.client().publish_function(Name=ident, IfMatch=etag)

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        client = ctx.client()
        found = client.describe_function(Name=ident, Stage="DEVELOPMENT")
        live = unless(self.missing, client.describe_function, Name=ident, Stage="LIVE") or {}
        summary = found["FunctionSummary"]
        arn = summary["FunctionMetadata"]["FunctionARN"]
        return {
            "name": ident,
            "runtime": summary["FunctionConfig"]["Runtime"],
            "comment": summary["FunctionConfig"].get("Comment"),
            "keyValueStoreAssociations": [
                one["KeyValueStoreARN"] for one in summary["FunctionConfig"].get("KeyValueStoreAssociations", {}).get("Items", [])
            ]
            or None,
            "code": client.get_function(Name=ident, Stage="DEVELOPMENT")["FunctionCode"].read().decode(),
            "arn": arn,
            "etag": found["ETag"],
            "liveStageEtag": live.get("ETag"),
            "status": summary.get("Status"),
            "tags": _tags(ctx, arn),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        etag = ctx.client().describe_function(Name=ident, Stage="DEVELOPMENT")["ETag"]
        ctx.client().update_function(Name=ident, IfMatch=etag, FunctionConfig=_function_config(new), FunctionCode=new["code"].encode())
        self.configure(ctx, ident, new)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        found = ctx.client().describe_function(Name=ident, Stage="DEVELOPMENT")
        self.refuse_if_used(ctx, found["FunctionSummary"]["FunctionMetadata"]["FunctionARN"], f"the function {ident}")
        ctx.client().delete_function(Name=ident, IfMatch=found["ETag"])

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        _set_tags(ctx, state["arn"], tags, removed)


def _function_config(inputs: Inputs) -> dict[str, Any]:
    stores = [{"KeyValueStoreARN": arn} for arn in inputs.get("keyValueStoreAssociations") or ()]
    return {"Comment": inputs.get("comment", ""), "Runtime": inputs["runtime"], **given(KeyValueStoreAssociations=counted(stores))}


def _tags(ctx: Context, arn: str) -> dict[str, str]:
    return tag_map(ctx.client().list_tags_for_resource(Resource=arn)["Tags"].get("Items"))


def _set_tags(ctx: Context, arn: str, tags: dict[str, str], removed: list[str]) -> None:
    if removed:
        ctx.client().untag_resource(Resource=arn, TagKeys={"Items": removed})
    if tags:
        ctx.client().tag_resource(Resource=arn, Tags={"Items": tag_list(tags)})


def _override(fields: Props, **options: Any) -> Any:
    return obj({**fields, "override": flag(required=True)}, **options)


_LISTED = obj({"items": text_set()}, required=True)
_HEADER_NAMES = {"xssProtection": "XSSProtection"}
_BLOCKS = ("corsConfig", "customHeadersConfig", "removeHeadersConfig", "securityHeadersConfig", "serverTimingHeadersConfig")


_LONGEST_POLICY = 1783
"""Characters of a Content-Security-Policy. Source: CloudFront Developer Guide, Quotas, "Quotas on policies"."""


class ResponseHeadersPolicy(_Part):
    """Headers that a distribution adds to its answers, or takes away."""

    token = "aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy"
    missing = ("NoSuchResponseHeadersPolicy",)
    props = {
        "name": text(autoname=True),
        "comment": text(),
        "corsConfig": obj(
            {
                "accessControlAllowCredentials": flag(required=True),
                "accessControlAllowHeaders": _LISTED,
                "accessControlAllowMethods": _LISTED,
                "accessControlAllowOrigins": _LISTED,
                "accessControlExposeHeaders": obj({"items": text_set()}),
                "accessControlMaxAgeSec": number(),
                "originOverride": flag(required=True),
            }
        ),
        "customHeadersConfig": obj(
            {
                "items": objects(
                    {"header": text(required=True), "value": text(required=True), "override": flag(required=True)}, unordered=True
                )
            }
        ),
        "removeHeadersConfig": obj({"items": objects({"header": text(required=True)}, unordered=True)}),
        "securityHeadersConfig": obj(
            {
                "contentSecurityPolicy": _override({"contentSecurityPolicy": text(required=True)}),
                "contentTypeOptions": _override({}),
                "frameOptions": _override({"frameOption": text(required=True)}),
                "referrerPolicy": _override({"referrerPolicy": text(required=True)}),
                "strictTransportSecurity": _override(
                    {
                        "accessControlMaxAgeSec": number(required=True),
                        "includeSubdomains": flag(default=False),
                        "preload": flag(default=False),
                    }
                ),
                "xssProtection": _override({"protection": flag(required=True), "modeBlock": flag(default=False), "reportUri": text()}),
            }
        ),
        "serverTimingHeadersConfig": obj({"enabled": flag(required=True), "samplingRate": number(required=True)}),
    }

    def check(self, inputs: Inputs) -> list[Problem]:
        """CloudFront refuses a policy without headers, and a Content-Security-Policy that is too long."""
        if not any(inputs.get(block) for block in _BLOCKS):
            return [Problem("", f"a response headers policy needs one of {', '.join(_BLOCKS)}")]
        found: Any = inputs
        for name in ("securityHeadersConfig", "contentSecurityPolicy", "contentSecurityPolicy"):
            found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, str) or len(found) <= _LONGEST_POLICY:
            return []
        said = f"the Content-Security-Policy has {len(found)} characters, more than CloudFront's quota of {_LONGEST_POLICY}"
        return [Problem("securityHeadersConfig.contentSecurityPolicy", said)]

    def create(self, ctx: Context, inputs: Inputs) -> str:
        found = ctx.client().create_response_headers_policy(ResponseHeadersPolicyConfig=self._config(inputs))
        return str(found["ResponseHeadersPolicy"]["Id"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_response_headers_policy(Id=ident)
        config = _uncounted(from_api(found["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"], _HEADER_NAMES))
        return {
            **dict.fromkeys(self.props),
            **{name: value for name, value in config.items() if value},
            "arn": arn_of(ctx, "response-headers-policy", ident),
            "etag": found["ETag"],
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        etag = ctx.client().get_response_headers_policy(Id=ident)["ETag"]
        ctx.client().update_response_headers_policy(Id=ident, IfMatch=etag, ResponseHeadersPolicyConfig=self._config(new))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        etag = ctx.client().get_response_headers_policy(Id=ident)["ETag"]
        self.refuse_if_used(ctx, ident, f"the response headers policy {ident}")
        ctx.client().delete_response_headers_policy(Id=ident, IfMatch=etag)

    def _config(self, inputs: Inputs) -> dict[str, Any]:
        return dict(_counted(to_api({name: inputs.get(name) for name in self.props}, _HEADER_NAMES)))


def _counted(value: Any) -> Any:
    """Give every `{"Items": [...]}` its `Quantity`."""
    if isinstance(value, dict):
        inner = {key: _counted(item) for key, item in value.items()}
        return counted(inner["Items"]) if "Items" in inner else inner
    if isinstance(value, list):
        return [_counted(item) for item in value]
    return value


def _uncounted(value: Any) -> Any:
    """Take `quantity` away again; an empty list of headers is nothing."""
    if isinstance(value, dict):
        return {key: _uncounted(item) for key, item in value.items() if key != "quantity"}
    if isinstance(value, list):
        return [_uncounted(item) for item in value]
    return value


_BEHAVIOR: Props = {
    "targetOriginId": text(required=True),
    "viewerProtocolPolicy": text(required=True, choices=("allow-all", "https-only", "redirect-to-https")),
    "allowedMethods": text_set(required=True),
    "cachedMethods": text_set(required=True),
    "cachePolicyId": text(required=True),
    "originRequestPolicyId": text(),
    "responseHeadersPolicyId": text(),
    "compress": flag(default=False),
    "functionAssociations": objects({"eventType": text(required=True), "functionArn": text(required=True)}, unordered=True),
}
_ORIGIN: Props = {
    "originId": text(required=True),
    "domainName": text(required=True),
    "originPath": text(),
    "originAccessControlId": text(),
    "connectionAttempts": number(default=3),
    "connectionTimeout": number(default=10),
    "customHeaders": objects({"name": text(required=True), "value": text(required=True)}, unordered=True),
}
_ERROR_RESPONSE: Props = {
    "errorCode": number(required=True),
    "errorCachingMinTtl": number(),
    "responseCode": number(),
    "responsePagePath": text(),
}
_CERTIFICATE: Props = {
    "acmCertificateArn": text(),
    "cloudfrontDefaultCertificate": flag(default=False),
    "minimumProtocolVersion": text(default="TLSv1"),
    "sslSupportMethod": text(),
}
_LOGGING: Props = {"bucket": text(required=True), "includeCookies": flag(default=False), "prefix": text()}


class Distribution(Resource):
    """A distribution. Deleting it disables it first, as CloudFront wants."""

    token = "aws:cloudfront/distribution:Distribution"
    service = "cloudfront"
    regional = False
    tagged = True
    missing = ("NoSuchDistribution",)
    props = {
        "enabled": flag(required=True),
        "origins": objects(_ORIGIN, required=True, unordered=True),
        "defaultCacheBehavior": obj(_BEHAVIOR, required=True),
        "orderedCacheBehaviors": objects({**_BEHAVIOR, "pathPattern": text(required=True)}),
        "restrictions": obj(
            {"geoRestriction": obj({"restrictionType": text(required=True), "locations": text_set()}, required=True)}, required=True
        ),
        "viewerCertificate": obj(_CERTIFICATE, required=True),
        "aliases": text_set(),
        "comment": text(),
        "customErrorResponses": objects(_ERROR_RESPONSE, unordered=True),
        "defaultRootObject": text(),
        "httpVersion": text(default="http2"),
        "isIpv6Enabled": flag(default=False),
        "loggingConfig": obj(_LOGGING),
        "priceClass": text(default="PriceClass_All"),
        "webAclId": text(),
        "retainOnDelete": flag(default=False, write_only=True),
        "waitForDeployment": flag(default=True, write_only=True),
    }
    outputs = (
        "arn",
        "callerReference",
        "domainName",
        "etag",
        "hostedZoneId",
        "inProgressValidationBatches",
        "lastModifiedTime",
        "loggingV1Enabled",
        "status",
        "trustedKeyGroups",
        "trustedSigners",
    )
    volatile = ("etag", "inProgressValidationBatches", "lastModifiedTime", "loggingV1Enabled", "status")

    def check(self, inputs: Inputs) -> list[Problem]:
        """What CloudFront refuses and the emulator does not."""
        return [
            *_certificate_problems(inputs["viewerCertificate"], inputs.get("aliases")),
            *_origin_problems(inputs),
            *_error_problems(inputs.get("customErrorResponses")),
        ]

    def create(self, ctx: Context, inputs: Inputs) -> str:
        refuse_what_cloudfront_refuses(ctx, inputs)
        config = {**distribution_config(inputs), "CallerReference": uuid.uuid4().hex}
        tags = {"Items": tag_list(ctx.tags(inputs))}
        found = ctx.client().create_distribution_with_tags(DistributionConfigWithTags={"DistributionConfig": config, "Tags": tags})
        return str(found["Distribution"]["Id"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        if inputs["waitForDeployment"]:
            _wait(ctx, ident)

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_distribution(Id=ident)
        distribution = found["Distribution"]
        config = distribution["DistributionConfig"]
        nobody = [{"enabled": False, "items": []}]
        return {
            **distribution_inputs(config),
            "arn": distribution["ARN"],
            "callerReference": config["CallerReference"],
            "domainName": distribution["DomainName"],
            "etag": found["ETag"],
            "hostedZoneId": CLOUDFRONT_ZONE,
            "inProgressValidationBatches": distribution.get("InProgressInvalidationBatches", 0),
            "lastModifiedTime": str(distribution["LastModifiedTime"]),
            "loggingV1Enabled": config.get("Logging", {}).get("Enabled", False),
            "status": distribution["Status"],
            "trustedKeyGroups": nobody,
            "trustedSigners": nobody,
            "tags": _tags(ctx, distribution["ARN"]),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        refuse_what_cloudfront_refuses(ctx, new, ident)
        self._put(ctx, ident, distribution_config(new))
        self.configure(ctx, ident, new)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        config = ctx.client().get_distribution_config(Id=ident)["DistributionConfig"]
        if config["Enabled"]:
            self._put(ctx, ident, {**config, "Enabled": False})
            _wait(ctx, ident)
        if not state.get("retainOnDelete"):
            etag = ctx.client().get_distribution_config(Id=ident)["ETag"]
            ctx.client().delete_distribution(Id=ident, IfMatch=etag)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        _set_tags(ctx, state["arn"], tags, removed)

    @staticmethod
    def _put(ctx: Context, ident: str, config: Mapping[str, Any]) -> None:
        found = ctx.client().get_distribution_config(Id=ident)
        reference = found["DistributionConfig"]["CallerReference"]
        ctx.client().update_distribution(Id=ident, IfMatch=found["ETag"], DistributionConfig={**config, "CallerReference": reference})


def _wait(ctx: Context, ident: str) -> None:
    deadline = time.monotonic() + _DEPLOYMENT
    while ctx.client().get_distribution(Id=ident)["Distribution"]["Status"] != "Deployed":
        if time.monotonic() > deadline:
            raise ProviderError(f"the distribution {ident} was not deployed within {_DEPLOYMENT:.0f} s")
        time.sleep(1)


# -- inputs to the API's configuration


def distribution_config(inputs: Inputs) -> dict[str, Any]:
    """The `DistributionConfig` that inputs ask for, without its `CallerReference`. Pure."""
    return {
        "Enabled": inputs["enabled"],
        "Comment": inputs.get("comment", ""),
        "Aliases": counted(inputs.get("aliases", [])),
        "Origins": counted([_origin(origin) for origin in inputs["origins"]]),
        "DefaultCacheBehavior": _behavior(inputs["defaultCacheBehavior"]),
        "CacheBehaviors": counted(
            [{"PathPattern": behavior["pathPattern"], **_behavior(behavior)} for behavior in inputs.get("orderedCacheBehaviors", [])]
        ),
        "CustomErrorResponses": counted([_error_response(response) for response in inputs.get("customErrorResponses", [])]),
        "DefaultRootObject": inputs.get("defaultRootObject", ""),
        "HttpVersion": inputs["httpVersion"],
        "IsIPV6Enabled": inputs["isIpv6Enabled"],
        "Logging": _logging(inputs.get("loggingConfig")),
        "PriceClass": inputs["priceClass"],
        "Restrictions": {"GeoRestriction": _geo_restriction(inputs["restrictions"]["geoRestriction"])},
        "ViewerCertificate": _viewer_certificate(inputs["viewerCertificate"]),
        "WebACLId": inputs.get("webAclId", ""),
    }


def _origin(origin: Inputs) -> dict[str, Any]:
    return {
        "Id": origin["originId"],
        "DomainName": origin["domainName"],
        "OriginPath": origin.get("originPath", ""),
        "OriginAccessControlId": origin.get("originAccessControlId", ""),
        "ConnectionAttempts": origin["connectionAttempts"],
        "ConnectionTimeout": origin["connectionTimeout"],
        "CustomHeaders": counted(
            [{"HeaderName": header["name"], "HeaderValue": header["value"]} for header in origin.get("customHeaders", [])]
        ),
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }


def _behavior(behavior: Inputs) -> dict[str, Any]:
    associations = [{"EventType": one["eventType"], "FunctionARN": one["functionArn"]} for one in behavior.get("functionAssociations", [])]
    return {
        "TargetOriginId": behavior["targetOriginId"],
        "ViewerProtocolPolicy": behavior["viewerProtocolPolicy"],
        "AllowedMethods": {**counted(behavior["allowedMethods"]), "CachedMethods": counted(behavior["cachedMethods"])},
        "CachePolicyId": behavior["cachePolicyId"],
        "Compress": behavior["compress"],
        "FunctionAssociations": counted(associations),
        **given(
            OriginRequestPolicyId=behavior.get("originRequestPolicyId") or None,
            ResponseHeadersPolicyId=behavior.get("responseHeadersPolicyId") or None,
        ),
    }


def _error_response(response: Inputs) -> dict[str, Any]:
    code = response.get("responseCode")
    return {
        "ErrorCode": response["errorCode"],
        **given(
            ErrorCachingMinTTL=response.get("errorCachingMinTtl"),
            ResponseCode=None if code is None else str(code),
            ResponsePagePath=response.get("responsePagePath"),
        ),
    }


def _logging(logging: Inputs | None) -> dict[str, Any]:
    found = logging or {}
    return {
        "Enabled": logging is not None,
        "IncludeCookies": found.get("includeCookies", False),
        "Bucket": found.get("bucket", ""),
        "Prefix": found.get("prefix", ""),
    }


def _geo_restriction(restriction: Inputs) -> dict[str, Any]:
    return {"RestrictionType": restriction["restrictionType"], **counted(restriction.get("locations", []))}


def _viewer_certificate(certificate: Inputs) -> dict[str, Any]:
    minimum = {"MinimumProtocolVersion": certificate["minimumProtocolVersion"]}
    if certificate["cloudfrontDefaultCertificate"]:
        return {"CloudFrontDefaultCertificate": True, **minimum}
    return {
        "CloudFrontDefaultCertificate": False,
        "ACMCertificateArn": certificate["acmCertificateArn"],
        "SSLSupportMethod": certificate["sslSupportMethod"],
        **minimum,
    }


# -- the API's configuration to inputs


def distribution_inputs(config: Mapping[str, Any]) -> State:
    """The inputs that a `DistributionConfig` amounts to. Pure."""
    return {
        "enabled": config["Enabled"],
        "comment": config.get("Comment"),
        "aliases": items_of(config.get("Aliases")),
        "origins": [_origin_inputs(origin) for origin in items_of(config["Origins"])],
        "defaultCacheBehavior": _behavior_inputs(config["DefaultCacheBehavior"]),
        "orderedCacheBehaviors": [
            {"pathPattern": one["PathPattern"], **_behavior_inputs(one)} for one in items_of(config.get("CacheBehaviors"))
        ],
        "customErrorResponses": [_error_inputs(response) for response in items_of(config.get("CustomErrorResponses"))],
        "defaultRootObject": config.get("DefaultRootObject"),
        "httpVersion": config.get("HttpVersion", "http2"),
        "isIpv6Enabled": config.get("IsIPV6Enabled", False),
        "loggingConfig": _logging_inputs(config.get("Logging", {})),
        "priceClass": config.get("PriceClass", "PriceClass_All"),
        "restrictions": {"geoRestriction": _geo_inputs(config.get("Restrictions", {}).get("GeoRestriction", {}))},
        "viewerCertificate": _certificate_inputs(config.get("ViewerCertificate", {})),
        "webAclId": config.get("WebACLId"),
    }


def _origin_inputs(origin: Mapping[str, Any]) -> State:
    return {
        "originId": origin["Id"],
        "domainName": origin["DomainName"],
        "connectionAttempts": origin.get("ConnectionAttempts", 3),
        "connectionTimeout": origin.get("ConnectionTimeout", 10),
        **_set(
            originPath=origin.get("OriginPath"),
            originAccessControlId=origin.get("OriginAccessControlId"),
            customHeaders=[{"name": one["HeaderName"], "value": one["HeaderValue"]} for one in items_of(origin.get("CustomHeaders"))],
        ),
    }


def _behavior_inputs(behavior: Mapping[str, Any]) -> State:
    methods = behavior.get("AllowedMethods", {})
    return {
        "targetOriginId": behavior["TargetOriginId"],
        "viewerProtocolPolicy": behavior["ViewerProtocolPolicy"],
        "allowedMethods": items_of(methods),
        "cachedMethods": items_of(methods.get("CachedMethods")),
        "compress": behavior.get("Compress", False),
        **_set(
            cachePolicyId=behavior.get("CachePolicyId"),
            originRequestPolicyId=behavior.get("OriginRequestPolicyId"),
            responseHeadersPolicyId=behavior.get("ResponseHeadersPolicyId"),
            functionAssociations=[
                {"eventType": one["EventType"], "functionArn": one["FunctionARN"]} for one in items_of(behavior.get("FunctionAssociations"))
            ],
        ),
    }


def _error_inputs(response: Mapping[str, Any]) -> State:
    code = response.get("ResponseCode")
    return {
        "errorCode": response["ErrorCode"],
        **_set(
            errorCachingMinTtl=response.get("ErrorCachingMinTTL"),
            responseCode=int(code) if code else None,
            responsePagePath=response.get("ResponsePagePath"),
        ),
    }


def _logging_inputs(logging: Mapping[str, Any]) -> State | None:
    if not logging.get("Enabled"):
        return None
    return {"bucket": logging["Bucket"], "includeCookies": logging.get("IncludeCookies", False), **_set(prefix=logging.get("Prefix"))}


def _geo_inputs(restriction: Mapping[str, Any]) -> State:
    return {"restrictionType": restriction.get("RestrictionType", "none"), **_set(locations=items_of(restriction))}


def _certificate_inputs(certificate: Mapping[str, Any]) -> State:
    return {
        "cloudfrontDefaultCertificate": certificate.get("CloudFrontDefaultCertificate", False),
        "minimumProtocolVersion": certificate.get("MinimumProtocolVersion", "TLSv1"),
        **_set(acmCertificateArn=certificate.get("ACMCertificateArn"), sslSupportMethod=certificate.get("SSLSupportMethod")),
    }


def _set(**values: Any) -> State:
    """The values that say something."""
    return {name: value for name, value in values.items() if value not in (None, "", [])}


# -- what CloudFront refuses


def _certificate_problems(certificate: Any, aliases: Any) -> Iterator[Problem]:
    if certificate is UNKNOWN:
        return
    arn = certificate.get("acmCertificateArn")
    if not arn and not certificate["cloudfrontDefaultCertificate"]:
        yield Problem("viewerCertificate", "viewerCertificate needs acmCertificateArn or cloudfrontDefaultCertificate")
    if arn and not certificate.get("sslSupportMethod"):
        yield Problem("viewerCertificate.sslSupportMethod", "a certificate of ACM needs sslSupportMethod")
    if not arn and aliases:
        yield Problem("aliases", "aliases need a certificate of ACM that covers them (InvalidViewerCertificate)")
    if arn and arn is not UNKNOWN and ":us-east-1:" not in arn:
        yield Problem("viewerCertificate.acmCertificateArn", f"CloudFront takes certificates of us-east-1 only, not {arn}")


def _origin_problems(inputs: Inputs) -> Iterator[Problem]:
    if UNKNOWN in (inputs["origins"], inputs["defaultCacheBehavior"]):
        return
    there = [origin["originId"] for origin in inputs["origins"]]
    wanted = [("defaultCacheBehavior", inputs["defaultCacheBehavior"])]
    wanted += [(f"orderedCacheBehaviors[{index}]", one) for index, one in enumerate(inputs.get("orderedCacheBehaviors", []))]
    for path, behavior in wanted:
        if UNKNOWN not in there and behavior["targetOriginId"] not in (UNKNOWN, *there):
            yield Problem(path, f"{path} points at the origin {behavior['targetOriginId']!r}, which does not exist (NoSuchOrigin)")


def _error_problems(responses: Any) -> Iterator[Problem]:
    for index, response in enumerate([] if responses in (None, UNKNOWN) else responses):
        if (response.get("responseCode") is None) != (not response.get("responsePagePath")):
            yield Problem(f"customErrorResponses[{index}]", "responseCode and responsePagePath go together")


def refuse_what_cloudfront_refuses(ctx: Context, inputs: Inputs, ident: str = "") -> None:
    """Rules that span resources; the emulator keeps none of them.

    Raises:
        ProviderError: the certificate is not issued or covers too little, another distribution has an alias, a cache policy does
            not exist, or the log bucket takes no ACLs.
    """
    aliases = set(inputs.get("aliases", []))
    arn = inputs["viewerCertificate"].get("acmCertificateArn")
    if arn:
        _refuse_certificate(ctx, arn, aliases)
    for other, config in _configurations(ctx) if aliases else ():
        taken = aliases & set(items_of(config.get("Aliases")))
        if other != ident and taken:
            raise ProviderError(f"CNAMEAlreadyExists: the distribution {other} has the alias {', '.join(sorted(taken))} already")
    for behavior in (inputs["defaultCacheBehavior"], *inputs.get("orderedCacheBehaviors", [])):
        if unless(("NoSuchCachePolicy",), ctx.client().get_cache_policy, Id=behavior["cachePolicyId"]) is None:
            raise ProviderError(f"NoSuchCachePolicy: there is no cache policy {behavior['cachePolicyId']}")
    if inputs.get("loggingConfig"):
        _refuse_log_bucket(ctx, inputs["loggingConfig"]["bucket"])


def _refuse_certificate(ctx: Context, arn: str, aliases: set[str]) -> None:
    acm = ctx.client("acm", "us-east-1")
    answer = unless(("ResourceNotFoundException",), acm.describe_certificate, CertificateArn=arn)
    certificate = answer["Certificate"] if answer else {}
    if certificate.get("Status") != "ISSUED":
        raise ProviderError(f"InvalidViewerCertificate: the certificate {arn} does not exist or is not issued")
    names = certificate.get("SubjectAlternativeNames", [])
    bare = sorted(alias for alias in aliases if not any(_covers(name, alias) for name in names))
    if bare:
        raise ProviderError(f"InvalidViewerCertificate: the certificate {arn} does not cover the alias {', '.join(bare)}")


def _covers(name: str, alias: str) -> bool:
    return name == alias or (name.startswith("*.") and alias.partition(".")[2] == name[2:])


def _refuse_log_bucket(ctx: Context, domain: str) -> None:
    bucket = domain.partition(".s3.")[0]
    gone = ("NoSuchBucket", "OwnershipControlsNotFoundError")
    found = unless(gone, ctx.client("s3", "us-east-1").get_bucket_ownership_controls, Bucket=bucket)
    rules = found["OwnershipControls"]["Rules"] if found else []
    if not rules or rules[0]["ObjectOwnership"] == "BucketOwnerEnforced":
        raise ProviderError(
            f"InvalidArgument: the bucket {bucket} does not enable ACL access, which CloudFront's access logs need"
            " (object ownership BucketOwnerPreferred or ObjectWriter)"
        )


RESOURCES = (OriginAccessControl, KeyValueStore, Function, ResponseHeadersPolicy, Distribution)
