"""Distributions and header policies as the API sees them, and what CloudFront refuses, without an emulator."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from amianai_infra.sandbox.provider.cloudfront import Distribution, ResponseHeadersPolicy, distribution_config, distribution_inputs
from amianai_infra.sandbox.provider.diff import compare
from amianai_infra.sandbox.provider.properties import Checker
from amianai_infra.sandbox.provider.validation import check
from amianai_infra.sandbox.provider.values import UNKNOWN

ARN = "arn:aws:acm:us-east-1:000000000000:certificate/1"
BEHAVIOR = {
    "targetOriginId": "site",
    "viewerProtocolPolicy": "redirect-to-https",
    "allowedMethods": ["GET", "HEAD"],
    "cachedMethods": ["HEAD", "GET"],
    "cachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
}
LEAST = {
    "enabled": True,
    "origins": [{"originId": "site", "domainName": "b.s3.us-east-1.amazonaws.com"}],
    "defaultCacheBehavior": BEHAVIOR,
    "restrictions": {"geoRestriction": {"restrictionType": "none"}},
    "viewerCertificate": {"cloudfrontDefaultCertificate": True},
}
MOST = {
    **LEAST,
    "aliases": ["example.test", "www.example.test"],
    "comment": "the site",
    "customErrorResponses": [{"errorCode": 403, "errorCachingMinTtl": 10, "responseCode": 404, "responsePagePath": "/404.html"}],
    "defaultRootObject": "index.html",
    "defaultCacheBehavior": {
        **BEHAVIOR,
        "compress": True,
        "responseHeadersPolicyId": "p",
        "originRequestPolicyId": "o",
        "functionAssociations": [{"eventType": "viewer-request", "functionArn": "arn:aws:cloudfront::000000000000:function/f"}],
    },
    "orderedCacheBehaviors": [{**BEHAVIOR, "pathPattern": "/static/*", "viewerProtocolPolicy": "https-only"}],
    "httpVersion": "http2and3",
    "isIpv6Enabled": True,
    "loggingConfig": {"bucket": "logs.s3.amazonaws.com", "prefix": "cdn/"},
    "origins": [
        {
            "originId": "site",
            "domainName": "b.s3.us-east-1.amazonaws.com",
            "originPath": "/v1",
            "originAccessControlId": "E1",
            "customHeaders": [{"name": "x-a", "value": "1"}],
        }
    ],
    "priceClass": "PriceClass_100",
    "restrictions": {"geoRestriction": {"restrictionType": "whitelist", "locations": ["DE", "US"]}},
    "viewerCertificate": {"acmCertificateArn": ARN, "sslSupportMethod": "sni-only", "minimumProtocolVersion": "TLSv1.2_2021"},
    "webAclId": "arn:aws:wafv2:us-east-1:000000000000:global/webacl/a/b",
}


def completed(given: dict[str, Any]) -> dict[str, Any]:
    checker = Checker(Distribution.token)
    inputs = checker.complete(Distribution().table, given)
    assert checker.problems == []
    return inputs


@pytest.mark.parametrize("given", [LEAST, MOST], ids=["least", "most"])
def test_what_is_written_reads_back_without_a_difference(given: dict[str, Any]) -> None:
    inputs = completed(given)
    read = distribution_inputs(distribution_config(inputs))
    kept = {name: inputs[name] for name in ("retainOnDelete", "waitForDeployment")}
    assert compare(Distribution().table, {**read, **kept}, inputs) == []


@pytest.mark.parametrize("given", [LEAST, MOST], ids=["least", "most"])
def test_the_configuration_fits_the_service_model(given: dict[str, Any]) -> None:
    model = botocore.session.get_session().get_service_model("cloudfront")
    config = {**distribution_config(completed(given)), "CallerReference": "r"}
    assert check(model.operation_model("CreateDistribution"), {"DistributionConfig": config}) == []


def test_an_unknown_property_is_refused_by_name() -> None:
    checker = Checker(Distribution.token)
    checker.complete(Distribution().table, {**LEAST, "staging": True, "defaultCacheBehavior": {**BEHAVIOR, "maxTtl": 5}})
    assert sorted(problem.path for problem in checker.problems) == ["defaultCacheBehavior.maxTtl", "staging"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"aliases": ["example.test"]}, "aliases need a certificate"),
        ({"viewerCertificate": {}}, "needs acmCertificateArn or cloudfrontDefaultCertificate"),
        ({"viewerCertificate": {"acmCertificateArn": ARN}}, "needs sslSupportMethod"),
        (
            {"viewerCertificate": {"acmCertificateArn": ARN.replace("us-east-1", "eu-west-1"), "sslSupportMethod": "sni-only"}},
            "certificates of us-east-1 only",
        ),
        ({"defaultCacheBehavior": {**BEHAVIOR, "targetOriginId": "elsewhere"}}, "NoSuchOrigin"),
        ({"orderedCacheBehaviors": [{**BEHAVIOR, "pathPattern": "/a", "targetOriginId": "elsewhere"}]}, "orderedCacheBehaviors[0]"),
        ({"customErrorResponses": [{"errorCode": 404, "responsePagePath": "/404.html"}]}, "go together"),
    ],
)
def test_distributions_cloudfront_refuses(change: dict[str, Any], reason: str) -> None:
    assert any(reason in problem.reason for problem in Distribution().check(completed({**LEAST, **change})))


def test_what_is_not_known_yet_is_not_judged() -> None:
    certificate = {"acmCertificateArn": UNKNOWN, "sslSupportMethod": "sni-only"}
    unknown = {"aliases": UNKNOWN, "viewerCertificate": certificate, "origins": UNKNOWN, "customErrorResponses": UNKNOWN}
    assert Distribution().check(completed({**LEAST, **unknown})) == []
    assert Distribution().check(completed({**LEAST, "viewerCertificate": UNKNOWN, "defaultCacheBehavior": UNKNOWN})) == []


def test_a_header_policy_needs_headers() -> None:
    assert ResponseHeadersPolicy().check({"name": "empty"}) != []
    assert ResponseHeadersPolicy().check({"name": "full", "securityHeadersConfig": {"contentTypeOptions": {"override": True}}}) == []


@pytest.mark.parametrize("policy", ["x" * 1783, UNKNOWN])
def test_a_content_security_policy_is_no_longer_than_cloudfront_takes(policy: Any) -> None:
    def problems(value: Any) -> list[str]:
        part = {"contentSecurityPolicy": {"contentSecurityPolicy": value, "override": False}}
        return [one.reason for one in ResponseHeadersPolicy().check({"securityHeadersConfig": part})]

    assert problems(policy) == []
    assert problems("x" * 1784) == ["the Content-Security-Policy has 1784 characters, more than CloudFront's quota of 1783"]
