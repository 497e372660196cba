"""The static site."""

from __future__ import annotations

import pytest

from amianai_infra.components.static_site import CACHING_OPTIMIZED, StaticSite, StaticSiteArgs
from tests.components.recorder import ACCOUNT, Record

ARGS: StaticSiteArgs = {
    "prefix": "eeyore",
    "account": ACCOUNT,
    "domain": "example.com",
    "names": ["example.com", "www.example.com"],
    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/1",
    "bucket_name": "eeyore-site-example-com",
    "logs_bucket_name": "eeyore-logs-example-com",
}


def test_the_parts(record: Record) -> None:
    assert record(lambda: StaticSite("site", ARGS)).counts() == {
        "Bucket": 2,
        "BucketOwnershipControls": 2,
        "BucketPublicAccessBlock": 2,
        "BucketServerSideEncryptionConfiguration": 2,
        "BucketVersioning": 1,
        "BucketLifecycleConfiguration": 2,
        "BucketPolicy": 2,
        "OriginAccessControl": 1,
        "Function": 2,
        "KeyValueStore": 1,
        "ResponseHeadersPolicy": 1,
        "Distribution": 1,
    }


def test_both_buckets_are_private_and_encrypted(record: Record) -> None:
    found = record(lambda: StaticSite("site", ARGS))
    for block in found.of("BucketPublicAccessBlock"):
        flags = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        assert all(block.inputs[flag] is True for flag in flags)
    for encryption in found.of("BucketServerSideEncryptionConfiguration"):
        # S3's own keys: with KMS an ETag would not be the content's MD5, which releases compare.
        assert encryption.inputs["rules"] == [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]
    for policy in found.of("BucketPolicy"):
        assert any(one["Effect"] == "Deny" and "aws:SecureTransport" in str(one["Condition"]) for one in policy.json("policy")["Statement"])
    assert not any(one.inputs.get("forceDestroy") for one in found.of("Bucket"))


def test_old_versions_and_failed_uploads_expire(record: Record) -> None:
    found = record(lambda: StaticSite("site", {**ARGS, "old_version_days": 45, "log_days": 10}))
    assert found.one("BucketVersioning").inputs["versioningConfiguration"] == {"status": "Enabled"}
    old, failed = found.one("BucketLifecycleConfiguration", "site-bucket-lifecycle").inputs["rules"]
    assert old["noncurrentVersionExpiration"] == {"noncurrentDays": 45}
    assert failed["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert "days" not in old["expiration"], "what is current never expires"
    (logs,) = found.one("BucketLifecycleConfiguration", "site-logs-lifecycle").inputs["rules"]
    assert logs["expiration"] == {"days": 10}


def test_only_the_distribution_reads_and_not_the_releases_records(record: Record) -> None:
    found = record(lambda: StaticSite("site", ARGS))
    statements = {one["Sid"]: one for one in found.one("BucketPolicy", "site-bucket-policy").json("policy")["Statement"]}
    reads = statements["CloudFrontReads"]
    assert reads["Condition"] == {"StringEquals": {"AWS:SourceArn": f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1"}}
    assert reads["Action"] == "s3:GetObject"
    private = statements["ReleasesStayPrivate"]
    assert (private["Effect"], private["Resource"]) == ("Deny", "arn:aws:s3:::eeyore-site-example-com/.amianai/*")


def test_the_distribution(record: Record) -> None:
    found = record(lambda: StaticSite("site", ARGS))
    cdn = found.one("Distribution").inputs
    assert cdn["aliases"] == ["example.com", "www.example.com"]
    assert cdn["httpVersion"] == "http2and3"
    assert cdn["isIpv6Enabled"] is True
    assert cdn["priceClass"] == "PriceClass_100"
    assert cdn["viewerCertificate"] == {
        "acmCertificateArn": ARGS["certificate_arn"],
        "sslSupportMethod": "sni-only",
        "minimumProtocolVersion": "TLSv1.2_2021",
    }
    behavior = cdn["defaultCacheBehavior"]
    assert behavior["compress"] is True
    assert behavior["viewerProtocolPolicy"] == "redirect-to-https"
    assert behavior["cachePolicyId"] == CACHING_OPTIMIZED
    assert behavior["responseHeadersPolicyId"] == "site-headers-id"
    assert {one["eventType"]: one["functionArn"].rpartition("-")[2] for one in behavior["functionAssociations"]} == {
        "viewer-request": "viewer",
        "viewer-response": "response",
    }
    assert cdn["customErrorResponses"] == [
        {"errorCode": code, "responseCode": 404, "responsePagePath": "/404.html", "errorCachingMinTtl": 10} for code in (403, 404)
    ]
    (origin,) = cdn["origins"]
    assert origin["originAccessControlId"] == "site-oac-id"
    assert origin["domainName"] == "eeyore-site-example-com.s3.us-east-1.amazonaws.com"


def test_access_logs_need_acls_before_the_distribution(record: Record) -> None:
    found = record(lambda: StaticSite("site", ARGS))
    assert found.one("Distribution").inputs["loggingConfig"]["bucket"] == "eeyore-logs-example-com.s3.amazonaws.com"
    assert found.one("BucketOwnershipControls", "site-logs-ownership").inputs["rule"] == {"objectOwnership": "BucketOwnerPreferred"}
    assert found.one("BucketOwnershipControls", "site-bucket-ownership").inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    assert "site-logs-ownership" in {one.pulumi_resource_name for one in found.options["site-cdn"]["depends_on"]}


def test_security_headers(record: Record) -> None:
    found = record(lambda: StaticSite("site", {**ARGS, "content_security_policy": "default-src 'none'", "hsts_seconds": 60}))
    headers = found.one("ResponseHeadersPolicy").inputs["securityHeadersConfig"]
    assert headers["contentSecurityPolicy"]["contentSecurityPolicy"] == "default-src 'none'"
    assert headers["strictTransportSecurity"] == {
        "accessControlMaxAgeSec": 60,
        "includeSubdomains": False,
        "preload": False,
        "override": False,
    }
    assert {name: one["override"] for name, one in headers.items()} == dict.fromkeys(headers, False), "a file's own header comes first"
    assert "contentTypeOptions" in headers
    assert headers["frameOptions"]["frameOption"] == "DENY"
    assert headers["referrerPolicy"]["referrerPolicy"] == "strict-origin-when-cross-origin"


def test_what_no_page_needs_is_refused_and_what_s3_tells_of_itself_is_taken_away(record: Record) -> None:
    policy = record(lambda: StaticSite("site", ARGS)).one("ResponseHeadersPolicy").inputs
    assert {one["header"]: (one["value"], one["override"]) for one in policy["customHeadersConfig"]["items"]} == {
        "cross-origin-opener-policy": ("same-origin-allow-popups", False),
        "permissions-policy": ("camera=(), geolocation=(), microphone=(), payment=(), usb=()", False),
    }
    gone = {one["header"] for one in policy["removeHeadersConfig"]["items"]}
    assert gone >= {"server", "x-amz-server-side-encryption", "x-amz-version-id"}


def test_hsts_for_every_name_and_for_the_browsers_lists(record: Record) -> None:
    found = record(lambda: StaticSite("site", {**ARGS, "hsts_include_subdomains": True, "hsts_preload": True}))
    headers = found.one("ResponseHeadersPolicy").inputs["securityHeadersConfig"]["strictTransportSecurity"]
    assert (headers["includeSubdomains"], headers["preload"]) == (True, True)


def test_without_a_policy_of_ones_own_the_rules_write_it(record: Record) -> None:
    headers = record(lambda: StaticSite("site", ARGS)).one("ResponseHeadersPolicy").inputs["securityHeadersConfig"]
    assert "frame-ancestors 'none'" in headers["contentSecurityPolicy"]["contentSecurityPolicy"]
    assert headers["strictTransportSecurity"]["accessControlMaxAgeSec"] == 31_536_000


def test_pages_narrow_a_policy_of_ours_and_none_of_the_users_own(record: Record) -> None:
    ours = record(lambda: StaticSite("site", ARGS)).one("Function", "site-response").inputs["code"]
    assert "\"default-src 'self'; script-src 'self'\"" in ours
    own = record(lambda: StaticSite("site", {**ARGS, "content_security_policy": "default-src 'none'"}))
    assert "var POLICY = [];" in own.one("Function", "site-response").inputs["code"]


def test_the_viewer_functions_are_published(record: Record) -> None:
    found = record(lambda: StaticSite("site", ARGS))
    functions = {name: found.one("Function", f"site-{name}").inputs for name in ("viewer", "response")}
    assert {(one["runtime"], one["publish"]) for one in functions.values()} == {("cloudfront-js-2.0", True)}
    store = f"arn:aws:cloudfront:us-east-1:{ACCOUNT}:KeyValueStore/site-routes"
    assert functions["viewer"]["keyValueStoreAssociations"] == [store]
    assert '"example.com"' in functions["viewer"]["code"]
    assert '"x-amz-meta-header-"' in functions["response"]["code"]
    assert '"x-amz-meta-amianai-status"' in functions["response"]["code"]


@pytest.mark.parametrize("kind", ["Bucket", "Distribution", "Function", "KeyValueStore", "OriginAccessControl", "ResponseHeadersPolicy"])
def test_two_sites_coexist(record: Record, kind: str) -> None:
    def both() -> None:
        StaticSite("one", ARGS)
        StaticSite(
            "two", {**ARGS, "prefix": "other", "bucket_name": "other-site", "logs_bucket_name": "other-logs", "names": ["example.org"]}
        )

    names = [one.inputs.get("bucket") or one.inputs.get("name") or str(one.inputs["aliases"]) for one in record(both).of(kind)]
    assert len(names) == len(set(names)) >= 2


def test_the_buckets_own_log_goes_beside_the_cdns(record: Record) -> None:
    assert not record(lambda: StaticSite("site", ARGS)).of("BucketLogging")
    found = record(lambda: StaticSite("site", {**ARGS, "bucket_logging": True}))
    log = found.one("BucketLogging").inputs
    assert (log["bucket"], log["targetBucket"], log["targetPrefix"]) == ("site-bucket-id", "site-logs-id", "s3/")
    tls, writer = found.one("BucketPolicy", "site-logs-policy").json("policy")["Statement"]
    assert (tls["Effect"], tls["Sid"]) == ("Deny", "TlsOnly")
    assert writer["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert (writer["Action"], writer["Resource"]) == ("s3:PutObject", "arn:aws:s3:::eeyore-logs-example-com/s3/*")
    assert writer["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": "arn:aws:s3:::eeyore-site-example-com"},
    }
    assert [one.pulumi_resource_name for one in found.options["site-bucket-log"]["depends_on"]] == ["site-logs-policy"]
