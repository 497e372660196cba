"""A distribution and all it is made of with the real engine, and what its viewers get from the emulator.

What this cannot prove: caching, compression, TLS and alias host names, which the emulator has not.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws
import pytest
from botocore.exceptions import ClientError

from amianai_infra.rules.routing import Routing, table
from amianai_infra.rules.viewer_function import response_function, viewer_function
from amianai_infra.sandbox.emulator import site_host
from amianai_infra.sandbox.provider.acm import Certificate
from amianai_infra.sandbox.provider.cloudfront import Distribution, Function, KeyValueStore, OriginAccessControl, ResponseHeadersPolicy
from amianai_infra.sandbox.provider.resource import ProviderError, Resource
from amianai_infra.sandbox.target import SandboxTarget
from amianai_infra.site.routes import Routes
from tests.functional.conftest import Bench, Program, changed
from tests.functional.provider_attempt import attempt, context
from tests.functional.test_provider import stack, steps

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")

NO_CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/00000000-0000-0000-0000-000000000000"
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
INDEXES = "function handler(event) { var r = event.request; if (r.uri.endsWith('/')) { r.uri += 'index.html'; } return r; }"
MOVED = "function handler(event) { return {statusCode: 301, headers: {location: {value: '/new/'}}}; }"


@dataclass
class Settings:
    name: str
    code: str = INDEXES
    frames: str = "DENY"
    price: str = "PriceClass_100"
    comment: str = "addresses"
    store: bool = True


def policy_of(values: list[str]) -> str:
    bucket, distribution = values
    read = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:GetObject",
        "Resource": f"{bucket}/*",
        "Condition": {"StringEquals": {"AWS:SourceArn": distribution}},
    }
    tls = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket, f"{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [read, tls]})


def site(settings: Settings) -> Program:
    def program() -> None:
        domain = f"{settings.name}.test"
        certificate = aws.acm.Certificate("certificate", domain_name=domain, validation_method="DNS")
        bucket = aws.s3.Bucket("bucket", bucket=f"{settings.name}-site", force_destroy=True)
        block = aws.s3.BucketPublicAccessBlock(
            "block",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        )
        logs = aws.s3.Bucket("logs", bucket=f"{settings.name}-logs", force_destroy=True)
        owner = aws.s3.BucketOwnershipControls("owner", bucket=logs.id, rule={"object_ownership": "BucketOwnerPreferred"})
        control = aws.cloudfront.OriginAccessControl(
            "control",
            name=settings.name,
            origin_access_control_origin_type="s3",
            signing_behavior="always",
            signing_protocol="sigv4",
        )
        stores = []
        if settings.store:
            stores = [aws.cloudfront.KeyValueStore("store", name=settings.name, comment=settings.comment, tags={"a": settings.comment})]
        function = aws.cloudfront.Function(
            "function",
            name=settings.name,
            runtime="cloudfront-js-2.0",
            code=settings.code,
            key_value_store_associations=[store.arn for store in stores],
            tags={"a": "b"},
        )
        functions = {"viewer-request": function}
        if settings.store:
            functions["viewer-response"] = aws.cloudfront.Function(
                "response", name=f"{settings.name}-response", runtime="cloudfront-js-2.0", code=response_function()
            )
        headers = aws.cloudfront.ResponseHeadersPolicy(
            "headers",
            name=settings.name,
            security_headers_config={
                "content_security_policy": {"content_security_policy": "default-src 'self'", "override": True},
                "content_type_options": {"override": True},
                "frame_options": {"frame_option": settings.frames, "override": True},
                "referrer_policy": {"referrer_policy": "strict-origin-when-cross-origin", "override": True},
                "strict_transport_security": {"access_control_max_age_sec": 63072000, "include_subdomains": True, "override": True},
            },
            custom_headers_config={"items": [{"header": "permissions-policy", "value": "camera=()", "override": True}]},
            remove_headers_config={"items": [{"header": "x-amz-meta-secret"}]},
        )
        associations = [
            aws.cloudfront.DistributionDefaultCacheBehaviorFunctionAssociationArgs(event_type=event, function_arn=one.arn)
            for event, one in functions.items()
        ]
        distribution = aws.cloudfront.Distribution(
            "distribution",
            enabled=True,
            aliases=[domain],
            comment="the bench",
            is_ipv6_enabled=True,
            http_version="http2and3",
            default_root_object="index.html",
            price_class=settings.price,
            origins=[
                aws.cloudfront.DistributionOriginArgs(
                    origin_id="site", domain_name=bucket.bucket_regional_domain_name, origin_access_control_id=control.id
                )
            ],
            default_cache_behavior=aws.cloudfront.DistributionDefaultCacheBehaviorArgs(
                target_origin_id="site",
                viewer_protocol_policy="redirect-to-https",
                allowed_methods=["GET", "HEAD"],
                cached_methods=["GET", "HEAD"],
                cache_policy_id=CACHING_OPTIMIZED,
                compress=True,
                response_headers_policy_id=headers.id,
                function_associations=associations,
            ),
            custom_error_responses=[
                {"error_code": 403, "response_code": 404, "response_page_path": "/404.html", "error_caching_min_ttl": 10},
                {"error_code": 404, "response_code": 404, "response_page_path": "/404.html", "error_caching_min_ttl": 10},
            ],
            restrictions={"geo_restriction": {"restriction_type": "none"}},
            viewer_certificate={
                "acm_certificate_arn": certificate.arn,
                "ssl_support_method": "sni-only",
                "minimum_protocol_version": "TLSv1.2_2021",
            },
            logging_config={"bucket": logs.bucket_domain_name, "prefix": "cdn/"},
            tags={"Name": "bench"},
            opts=pulumi.ResourceOptions(depends_on=[owner]),
        )
        aws.s3.BucketPolicy(
            "policy",
            bucket=bucket.id,
            policy=pulumi.Output.all(bucket.arn, distribution.arn).apply(policy_of),
            opts=pulumi.ResourceOptions(depends_on=[block]),
        )
        pulumi.export("domain", distribution.domain_name)
        pulumi.export("distribution", distribution.id)
        pulumi.export("zone", distribution.hosted_zone_id)
        pulumi.export("control", control.id)
        pulumi.export("store", stores[0].arn if stores else "")
        pulumi.export("headers", headers.id)
        pulumi.export("certificate", certificate.arn)

    return program


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(bench: Bench, path: str, host: str = "", method: str = "GET", **headers: str) -> Answer:
    """What a client on this machine gets: the emulator knows the site by the Host header."""
    address = urlsplit(bench.variables["AWS_ENDPOINT_URL"]).netloc
    port = address.rpartition(":")[2]
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, headers={"Host": f"{host}:{port}" if host else address, **headers})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def publish(bench: Bench, bucket: str) -> None:
    s3 = bench.client("s3")
    for key, text in {"index.html": "home", "about/index.html": "about", "404.html": "not here"}.items():
        s3.put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType="text/html", Metadata={"secret": "x"})


def test_the_whole_life_of_a_site_and_what_its_viewers_get(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("cdn-life")
    cloudfront = bench.client("cloudfront")
    with stack(bench, tmp_path, site(settings)) as made:
        assert changed(made.up()) == {"create": 12}
        out = made.outputs()
        assert out["domain"].endswith(".cloudfront.net")
        assert out["zone"] == "Z2FDTNDATAQYW2"
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}
        there = cloudfront.get_distribution_config(Id=out["distribution"])["DistributionConfig"]
        assert there["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"

        publish(bench, "cdn-life-site")
        host = site_host(out["domain"])
        pages = {path: ask(bench, path, host) for path in ("/", "/about/", "/nowhere/", "/nowhere.png")}
        assert {path: (one.status, one.body) for path, one in pages.items()} == {
            "/": (200, b"home"),
            "/about/": (200, b"about"),
            "/nowhere/": (404, b"not here"),
            "/nowhere.png": (404, b"not here"),
        }
        for page in pages.values():
            assert page.headers["content-type"] == "text/html"
            assert page.headers["x-frame-options"] == "DENY"
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["content-security-policy"] == "default-src 'self'"
            assert page.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
            assert page.headers["permissions-policy"] == "camera=()"
            assert "x-amz-meta-secret" not in page.headers
        again = ask(bench, "/", host, **{"If-None-Match": pages["/"].headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        assert ask(bench, "/", host, "POST").status == 403
        assert ask(bench, "/cdn-life-site/index.html").status == 403
        assert ask(bench, "/cdn-life-site").status == 403

        settings.code, settings.frames, settings.price = MOVED, "SAMEORIGIN", "PriceClass_All"
        settings.comment = "other"
        assert set(steps(made.up())) == {"function", "headers", "distribution", "store"}
        assert cloudfront.describe_key_value_store(Name="cdn-life")["KeyValueStore"]["Comment"] == "other"
        moved = ask(bench, "/old", host)
        assert (moved.status, moved.headers["location"]) == (301, "/new/")
        assert changed(made.refresh()) == {}

        settings.name = "cdn-other"
        assert changed(made.preview())["replace"] >= 4
        settings.name = "cdn-life"

        stays(bench, out)
        spoil(cloudfront, out)
        assert changed(made.refresh()) == {"update": 4}
        assert changed(made.up()) == {"update": 4}
        assert changed(made.refresh()) == {}
        there = cloudfront.get_distribution_config(Id=out["distribution"])["DistributionConfig"]
        assert there["CustomErrorResponses"]["Quantity"] == 2
        assert there["Logging"]["Enabled"] is True
    assert not cloudfront.list_distributions()["DistributionList"].get("Items")
    assert not cloudfront.list_functions()["FunctionList"].get("Items")
    assert not cloudfront.list_origin_access_controls()["OriginAccessControlList"].get("Items")
    assert not cloudfront.list_key_value_stores()["KeyValueStoreList"].get("Items")


def routes(bench: Bench, arn: str) -> Routes:
    """The store of a site, as a release in the sandbox has it."""
    target = SandboxTarget(bench.sandbox.root)
    return Routes(target, arn, lambda: None)


def test_viewers_get_what_the_table_in_force_says(bench: Bench, tmp_path: Path) -> None:
    files = {"index.html": "home", "about.html": "about", "docs/index.html": "docs", "v1.2/index.html": "old", "LICENSE": "MIT"}
    files |= {"404.html": "not here", "de/index.html": "de", "de/404.html": "nicht da"}
    settings = Settings("cdn-table", viewer_function("cdn-table.test"))
    s3 = bench.client("s3")
    with stack(bench, tmp_path, site(settings)) as made:
        made.up()
        out = made.outputs()
        host = site_host(out["domain"])
        for key, text in files.items():
            meta = {"amianai-status": "404"} if key == "de/404.html" else {}
            s3.put_object(Bucket="cdn-table-site", Key=key, Body=text.encode(), ContentType="text/html", Metadata=meta)

        def found(*paths: str) -> list[tuple[int, str]]:
            answers = [ask(bench, path, host, Accept="text/html") for path in paths]
            return [(one.status, one.headers.get("location") or one.body.decode()) for one in answers]

        before = ("/", "/docs", "/docs/", "/about")
        assert found(*before) == [(200, "home"), (200, "docs"), (200, "docs"), (404, "not here")], "as before, without a table"
        assert routes(bench, out["store"]).put(table(files, Routing()))
        assert found(*before) == [(200, "home"), (301, "/docs/"), (200, "docs"), (200, "about")]
        assert found("/v1.2", "/v1.2/", "/LICENSE", "/nowhere") == [(301, "/v1.2/"), (200, "old"), (200, "MIT"), (404, "not here")]
        missing = ask(bench, "/de/nirgends", host, Accept="text/html")
        assert (missing.status, missing.body) == (404, b"nicht da")
        assert "x-amz-meta-amianai-status" not in missing.headers
        assert not routes(bench, out["store"]).put(table(files, Routing())), "it is in force already"

        many = [f"page-{number}.html" for number in range(9000)]
        for some in (many, many[:10], list(files)):
            wanted = table([*some, "index.html"], Routing())
            assert routes(bench, out["store"]).put(wanted)
            kept = bench.client("cloudfront").describe_key_value_store(Name="cdn-table")["KeyValueStore"]["ARN"]
            held = dict(routes(bench, kept)._found())
            assert held.items() >= wanted.items.items()
            assert len({key.partition("/")[0] for key in held} - {"config"}) == 2, "this table and the one before it"


OLD = "function handler(event) { var r = event.request; if (r.uri.indexOf('.') < 0) { r.uri += '/index.html'; } return r; }"


def test_a_site_made_before_gets_its_store_and_answers_as_before_until_a_table_is_written(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("cdn-before", OLD, store=False)
    with stack(bench, tmp_path, site(settings)) as made:
        made.up()
        publish(bench, "cdn-before-site")
        host = site_host(made.outputs()["domain"])
        before = {path: ask(bench, path, host).body for path in ("/", "/about", "/nowhere")}
        assert before == {"/": b"home", "/about": b"about", "/nowhere": b"not here"}
        settings.store, settings.code = True, viewer_function("cdn-before.test")
        assert set(steps(made.up())) == {"store", "response", "function", "distribution"}
        assert {path: ask(bench, path, host).body for path in before} == before
        routes(bench, made.outputs()["store"]).put(table(["index.html", "about/index.html", "404.html"], Routing()))
        assert ask(bench, "/about", host).headers["location"] == "/about/"


def test_a_store_needs_a_signed_call(bench: Bench) -> None:
    path = "/key-value-stores/arn%3Aaws%3Acloudfront%3A%3A000000000000%3Akey-value-store%2Fx/keys"
    assert ask(bench, path).status == 403
    assert ask(bench, path, method="POST").status == 403


def spoil(cloudfront: Any, out: dict[str, Any]) -> None:
    """Change everything behind the provider's back."""
    found = cloudfront.get_distribution_config(Id=out["distribution"])
    config = found["DistributionConfig"]
    config["DefaultCacheBehavior"]["ViewerProtocolPolicy"] = "allow-all"
    config["Logging"]["Enabled"] = False
    config["CustomErrorResponses"] = {"Quantity": 0}
    cloudfront.update_distribution(Id=out["distribution"], IfMatch=found["ETag"], DistributionConfig=config)
    etag = cloudfront.describe_function(Name="cdn-life", Stage="DEVELOPMENT")["ETag"]
    changes = {"FunctionConfig": {"Comment": "", "Runtime": "cloudfront-js-1.0"}, "FunctionCode": MOVED.encode()}
    cloudfront.update_function(Name="cdn-life", IfMatch=etag, **changes)
    policy = cloudfront.get_response_headers_policy(Id=out["headers"])
    wanted = {"Name": "cdn-life", "SecurityHeadersConfig": {"ContentTypeOptions": {"Override": False}}}
    cloudfront.update_response_headers_policy(Id=out["headers"], IfMatch=policy["ETag"], ResponseHeadersPolicyConfig=wanted)
    control = cloudfront.get_origin_access_control(Id=out["control"])
    weaker = {**control["OriginAccessControl"]["OriginAccessControlConfig"], "SigningBehavior": "never"}
    cloudfront.update_origin_access_control(Id=out["control"], IfMatch=control["ETag"], OriginAccessControlConfig=weaker)


def stays(bench: Bench, out: dict[str, Any]) -> None:
    """What a distribution uses cannot be deleted, and its alias is taken."""
    used = f"in use by the distribution {out['distribution']}"
    parts: list[tuple[Resource, str]] = [
        (OriginAccessControl(), out["control"]),
        (ResponseHeadersPolicy(), out["headers"]),
        (Function(), "cdn-life"),
        (Certificate(), out["certificate"]),
    ]
    for kind, ident in parts:
        with pytest.raises(ProviderError, match=used):
            kind.delete(context(bench, kind), ident, {})
    with pytest.raises(ClientError, match="CannotDeleteEntityWhileInUse"):
        KeyValueStore().delete(context(bench, KeyValueStore()), "cdn-life", {})
    certificate = {"acmCertificateArn": out["certificate"], "sslSupportMethod": "sni-only"}
    second = {**SMALLEST, "aliases": ["cdn-life.test"], "viewerCertificate": certificate}
    assert "CNAMEAlreadyExists" in attempt(bench, Distribution(), second)
    assert "does not cover the alias other.test" in attempt(bench, Distribution(), {**second, "aliases": ["other.test"]})


BEHAVIOR = {
    "targetOriginId": "o",
    "viewerProtocolPolicy": "allow-all",
    "allowedMethods": ["GET", "HEAD"],
    "cachedMethods": ["GET", "HEAD"],
    "cachePolicyId": CACHING_OPTIMIZED,
}
SMALLEST: dict[str, Any] = {
    "enabled": True,
    "origins": [{"originId": "o", "domainName": "b.s3.us-east-1.amazonaws.com"}],
    "defaultCacheBehavior": BEHAVIOR,
    "restrictions": {"geoRestriction": {"restrictionType": "none"}},
    "viewerCertificate": {"cloudfrontDefaultCertificate": True},
}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"loggingConfig": {"bucket": "cdn-acl.s3.amazonaws.com"}}, "does not enable ACL access"),
        ({"loggingConfig": {"bucket": "cdn-none.s3.amazonaws.com"}}, "does not enable ACL access"),
        ({"defaultCacheBehavior": {**BEHAVIOR, "cachePolicyId": "none"}}, "NoSuchCachePolicy"),
        ({"defaultCacheBehavior": {**BEHAVIOR, "targetOriginId": "elsewhere"}}, "NoSuchOrigin"),
        ({"priceClass": "PriceClass_1"}, "is not one of"),
        ({"viewerCertificate": {"acmCertificateArn": NO_CERTIFICATE, "sslSupportMethod": "sni-only"}}, "does not exist or is not issued"),
    ],
    ids=["logs", "no-logs", "cache-policy", "origin", "price", "certificate"],
)
def test_what_cloudfront_would_refuse_is_refused(bench: Bench, given: dict[str, Any], reason: str) -> None:
    bench.client("s3").create_bucket(Bucket="cdn-acl")
    assert reason in attempt(bench, Distribution(), {**SMALLEST, **given})
    bench.client("s3").delete_bucket(Bucket="cdn-acl")


def test_a_site_can_be_imported(bench: Bench, tmp_path: Path) -> None:
    settings = Settings("cdn-import")
    with stack(bench, tmp_path, site(settings)) as made:
        made.up()
        out = made.outputs()
        kept = [one for one in made.resources() if one.type.startswith("aws:cloudfront")]
        made.forget([one.urn for one in made.resources() if one.type in ("aws:s3/bucketPolicy:BucketPolicy", *(k.type for k in kept))])
        adopted: dict[str, Any] = {one.urn.rsplit("::", 1)[-1]: one.id for one in kept}

        def adopt(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
            if args.name not in adopted:
                return None
            options = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(import_=adopted[args.name]))
            return pulumi.ResourceTransformResult(args.props, options)

        def program() -> None:
            pulumi.runtime.register_resource_transform(adopt)
            site(settings)()

        again = bench.stack(tmp_path, program)
        assert changed(again.up()) == {"import": 6, "create": 1}
        assert again.outputs()["domain"] == out["domain"]
        assert changed(made.up()) == {}
