"""The static site: a private bucket behind CloudFront."""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws.cloudfront.distribution import Distribution
from pulumi_aws.cloudfront.function import Function
from pulumi_aws.cloudfront.key_value_store import KeyValueStore
from pulumi_aws.cloudfront.origin_access_control import OriginAccessControl
from pulumi_aws.cloudfront.response_headers_policy import ResponseHeadersPolicy
from pulumi_aws.s3.bucket import Bucket
from pulumi_aws.s3.bucket_lifecycle_configuration import BucketLifecycleConfiguration
from pulumi_aws.s3.bucket_logging import BucketLogging
from pulumi_aws.s3.bucket_ownership_controls import BucketOwnershipControls
from pulumi_aws.s3.bucket_policy import BucketPolicy
from pulumi_aws.s3.bucket_public_access_block import BucketPublicAccessBlock
from pulumi_aws.s3.bucket_server_side_encryption_configuration import BucketServerSideEncryptionConfiguration
from pulumi_aws.s3.bucket_versioning import BucketVersioning

from amianai_infra.components.inputs import policy_json, tagged
from amianai_infra.config import SiteSettings
from amianai_infra.naming import PREVIEW_DAYS
from amianai_infra.rules.headers import (
    CUSTOM,
    FRAME_OPTION,
    OF_THE_ORIGIN,
    REFERRER_POLICY,
    content_security_policy,
    security_headers,
)
from amianai_infra.rules.policies import Policy, log_bucket, private_bucket, site_bucket
from amianai_infra.rules.viewer_function import response_function, viewer_function

_DEFAULT = SiteSettings()

# AWS-managed policy CachingOptimized: the origin's Cache-Control decides, one second to one year; gzip and brotli.
# Source: CloudFront Developer Guide, "Use managed cache policies".
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
NOT_FOUND_PAGE = "/404.html"
FAILED_UPLOAD_DAYS = 7
BUCKET_LOG = "s3/"
LONGEST_PUBLISHED = 1000
"""Bytes of a header's value: all outputs together may have 4 KB. Source: AWS Systems Manager User Guide, "Managing parameter tiers"."""
ROBOTS = "x-robots-tag"


class StaticSiteArgs(TypedDict):
    """What a `StaticSite` takes."""

    prefix: str
    """Prefix of every resource's name."""

    account: pulumi.Input[str]
    """Account number; the access logs' bucket takes logs on its behalf alone."""

    domain: str
    """The apex domain, which www is redirected to."""

    names: list[str]
    """Every name the distribution answers to."""

    certificate_arn: pulumi.Input[str]
    """A validated certificate for these names, in us-east-1."""

    bucket_name: str
    """Name of the site's bucket."""

    logs_bucket_name: str
    """Name of the access logs' bucket."""

    content_security_policy: NotRequired[str]
    """The whole Content-Security-Policy. Default: that of the header rules, with no origin but the site's own."""

    page_policies: NotRequired[bool]
    """Whether pages narrow the policy by what their objects say, which needs one of the header rules. Default: where none is given."""

    hsts_seconds: NotRequired[int]
    """Strict-Transport-Security's max-age. Default one year."""

    hsts_include_subdomains: NotRequired[bool]
    """Whether Strict-Transport-Security holds for every name below the domain. Default no."""

    hsts_preload: NotRequired[bool]
    """Whether it says `preload`, which asks browsers' makers to list the domain. Default no."""

    price_class: NotRequired[pulumi.Input[str]]
    """CloudFront's edge locations. Default PriceClass_100: North America and Europe."""

    old_version_days: NotRequired[pulumi.Input[int]]
    """How long replaced files stay restorable, in days. Default 30."""

    log_days: NotRequired[pulumi.Input[int]]
    """Expiry of the access logs, in days. Default 90."""

    bucket_logging: NotRequired[bool]
    """Whether S3's own access log of the site's bucket is kept too. Default no."""

    previews: NotRequired[bool]
    """Whether each name below the domain is a preview of its own: unknown to search engines, and gone after a while. Default no."""


_DEFAULTS = {
    "content_security_policy": content_security_policy(),
    "hsts_seconds": _DEFAULT.hsts_seconds,
    "hsts_include_subdomains": _DEFAULT.hsts_include_subdomains,
    "hsts_preload": _DEFAULT.hsts_preload,
    "price_class": _DEFAULT.price_class,
    "old_version_days": _DEFAULT.old_version_days,
    "log_days": _DEFAULT.log_days,
    "bucket_logging": _DEFAULT.bucket_logging,
    "previews": False,
}


class StaticSite(pulumi.ComponentResource):
    """A site that only CloudFront can read, with the addresses of its live release, a real 404 and security headers.

    Creates: the site's bucket (private, versioned, encrypted with S3's own keys so that an ETag is the content's MD5, TLS only,
    old versions and failed uploads expire); a bucket for access logs with expiry; an origin access control; the key-value
    store that releases write their addresses to; the viewer functions that answer by it and make headers of what objects keep as
    metadata; a response headers policy; the distribution. With `bucket_logging` S3 also writes down every request to the site's
    bucket, releases among them; visitors are in the CDN's log in any case.

    Cost: nothing up to CloudFront's free terabyte and ten million requests a month; storage $0.023 a GB. Beyond two million requests
    the two functions cost $0.10 a million each, the two keys that a request reads $0.03 a million each.

    Source: CloudFront Developer Guide, "Restrict access to an Amazon S3 origin", "Configure standard logging (legacy)".
    """

    bucket_name: pulumi.Output[str]
    """Name of the site's bucket."""
    bucket_arn: pulumi.Output[str]
    """ARN of the site's bucket."""
    distribution_id: pulumi.Output[str]
    """Id of the distribution."""
    distribution_arn: pulumi.Output[str]
    """ARN of the distribution."""
    distribution_domain: pulumi.Output[str]
    """CloudFront's own host name of the distribution."""
    distribution_zone_id: pulumi.Output[str]
    """Hosted zone of that host name, for alias records."""
    routes_arn: pulumi.Output[str]
    """ARN of the key-value store with the addresses of the live release."""
    headers: list[str]
    """The headers of every answer that does not have them, `name: value`; without a policy that is too long to publish."""
    page_policies: bool
    """Whether pages have policies of their own."""

    def __init__(self, name: str, args: StaticSiteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:site:StaticSite", name, None, opts)
        self._name_of = name
        self._args: StaticSiteArgs = {**_DEFAULTS, **args}  # type: ignore[typeddict-item]
        self.page_policies = args.get("page_policies", "content_security_policy" not in args)

        self._create_bucket()
        self._create_logs_bucket()
        self._create_edge_rules()
        self._create_distribution()
        self._create_bucket_policy()

        self.bucket_name = self.bucket.bucket
        self.bucket_arn = self.bucket.arn
        self.distribution_id = self.distribution.id
        self.distribution_arn = self.distribution.arn
        self.distribution_domain = self.distribution.domain_name
        self.distribution_zone_id = self.distribution.hosted_zone_id
        self.routes_arn = self.routes.arn
        self.headers = [f"{name}: {value}" for name, value in self._headers.items() if len(value) <= LONGEST_PUBLISHED]
        of_cdn = ("distribution_id", "distribution_arn", "distribution_domain", "distribution_zone_id", "routes_arn")
        outputs = ("bucket_name", "bucket_arn", *of_cdn)
        self.register_outputs({output: getattr(self, output) for output in outputs})

    @property
    def _headers(self) -> dict[str, str]:
        args = self._args
        return security_headers(
            args["content_security_policy"],
            args["hsts_seconds"],
            include_subdomains=args["hsts_include_subdomains"],
            preload=args["hsts_preload"],
        )

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on) or None)

    def _private_bucket(self, what: str, bucket_name: str, ownership: str) -> Bucket:
        """A bucket with nothing public about it, encrypted; `what` names its children."""
        bucket = Bucket(
            f"{self._name_of}-{what}",
            bucket=bucket_name,
            # Previews can be made anew, and are to go with the setting that asked for them.
            force_destroy=True if self._args["previews"] else None,
            tags=tagged(bucket_name),
            opts=self._child(),
        )
        controls = BucketOwnershipControls(
            f"{self._name_of}-{what}-ownership", bucket=bucket.id, rule={"object_ownership": ownership}, opts=self._child()
        )
        block = BucketPublicAccessBlock(
            f"{self._name_of}-{what}-private",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child(),
        )
        encryption = BucketServerSideEncryptionConfiguration(
            f"{self._name_of}-{what}-encryption",
            bucket=bucket.id,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=self._child(),
        )
        self._bucket_settings = [controls, block, encryption]
        return bucket

    def _create_bucket(self) -> None:
        self.bucket = self._private_bucket("bucket", self._args["bucket_name"], "BucketOwnerEnforced")
        versioning = BucketVersioning(
            f"{self._name_of}-bucket-versions",
            bucket=self.bucket.id,
            versioning_configuration={"status": "Enabled"},
            opts=self._child(),
        )
        BucketLifecycleConfiguration(
            f"{self._name_of}-bucket-lifecycle",
            bucket=self.bucket.id,
            rules=[
                {
                    "id": "old-versions",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrent_version_expiration": {"noncurrent_days": self._args["old_version_days"]},
                    # Of previews: the longest that one lasts, and a day. A mark of a deletion expires with it.
                    "expiration": {"days": PREVIEW_DAYS + 1} if self._args["previews"] else {"expired_object_delete_marker": True},
                },
                {
                    "id": "failed-uploads",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": FAILED_UPLOAD_DAYS},
                },
            ],
            opts=self._child(versioning),
        )

    def _create_logs_bucket(self) -> None:
        # CloudFront delivers its logs through an ACL that it adds itself, so ACLs must stay possible here.
        self.logs_bucket = self._private_bucket("logs", self._args["logs_bucket_name"], "BucketOwnerPreferred")
        self._logs_ready = list(self._bucket_settings)
        BucketLifecycleConfiguration(
            f"{self._name_of}-logs-lifecycle",
            bucket=self.logs_bucket.id,
            rules=[
                {
                    "id": "expire",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "expiration": {"days": self._args["log_days"]},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": FAILED_UPLOAD_DAYS},
                }
            ],
            opts=self._child(),
        )
        policy = BucketPolicy(
            f"{self._name_of}-logs-policy",
            bucket=self.logs_bucket.id,
            policy=policy_json(self._logs_policy()),
            opts=self._child(*self._logs_ready),
        )
        if self._args["bucket_logging"]:
            BucketLogging(
                f"{self._name_of}-bucket-log",
                bucket=self.bucket.id,
                target_bucket=self.logs_bucket.id,
                target_prefix=BUCKET_LOG,
                opts=self._child(policy),
            )

    def _logs_policy(self) -> pulumi.Output[Policy]:
        if not self._args["bucket_logging"]:
            return self.logs_bucket.arn.apply(private_bucket)
        known = pulumi.Output.all(self.logs_bucket.arn, self.bucket.arn, self._args["account"])
        return known.apply(lambda found: log_bucket(found[0], BUCKET_LOG, found[1], found[2]))

    def _create_edge_rules(self) -> None:
        args, display = self._args, f"{self._args['prefix']}-site"
        self.access_control = OriginAccessControl(
            f"{self._name_of}-oac",
            name=display,
            description=f"CloudFront reads {args['bucket_name']}",
            origin_access_control_origin_type="s3",
            signing_behavior="always",
            signing_protocol="sigv4",
            opts=self._child(),
        )
        self.routes = KeyValueStore(
            f"{self._name_of}-routes",
            name=f"{display}-routes",
            comment=f"Addresses of the live release of {args['domain']}; releases write it",
            opts=self._child(),
        )
        self.viewer_function = Function(
            f"{self._name_of}-viewer",
            name=f"{display}-viewer",
            comment="Addresses of the live release; www to apex",
            runtime="cloudfront-js-2.0",
            code=viewer_function(args["domain"], args["hsts_seconds"], previews=args["previews"]),
            key_value_store_associations=[self.routes.arn],
            publish=True,
            opts=self._child(),
        )
        self.response_function = Function(
            f"{self._name_of}-response",
            name=f"{display}-response",
            comment="Headers that objects keep as metadata; policies of pages; status of 404 pages",
            runtime="cloudfront-js-2.0",
            code=response_function(args["content_security_policy"] if self.page_policies else ""),
            publish=True,
            opts=self._child(),
        )
        self.headers_policy = ResponseHeadersPolicy(
            f"{self._name_of}-headers",
            name=display,
            comment=f"Security headers of {args['domain']}",
            # What a file of the site says itself (`_headers`) comes first, in whichever order CloudFront applies functions and policies.
            security_headers_config={
                "strict_transport_security": {
                    "access_control_max_age_sec": args["hsts_seconds"],
                    "include_subdomains": args["hsts_include_subdomains"],
                    "preload": args["hsts_preload"],
                    "override": False,
                },
                "content_security_policy": {"content_security_policy": args["content_security_policy"], "override": False},
                "content_type_options": {"override": False},
                "frame_options": {"frame_option": FRAME_OPTION, "override": False},
                "referrer_policy": {"referrer_policy": REFERRER_POLICY, "override": False},
            },
            custom_headers_config={
                "items": [
                    {"header": name, "value": value, "override": name == ROBOTS}
                    for name, value in {**CUSTOM, **({ROBOTS: "noindex"} if args["previews"] else {})}.items()
                ]
            },
            remove_headers_config={"items": [{"header": name} for name in OF_THE_ORIGIN]},
            opts=self._child(),
        )

    def _create_distribution(self) -> None:
        args = self._args
        self.distribution = Distribution(
            f"{self._name_of}-cdn",
            comment=args["domain"],
            enabled=True,
            aliases=list(args["names"]),
            http_version="http2and3",
            is_ipv6_enabled=True,
            price_class=args["price_class"],
            default_root_object="index.html",
            origins=[
                {
                    "origin_id": "site",
                    "domain_name": self.bucket.bucket_regional_domain_name,
                    "origin_access_control_id": self.access_control.id,
                }
            ],
            default_cache_behavior={
                "target_origin_id": "site",
                "viewer_protocol_policy": "redirect-to-https",
                "allowed_methods": ["GET", "HEAD", "OPTIONS"],
                "cached_methods": ["GET", "HEAD"],
                "compress": True,
                "cache_policy_id": CACHING_OPTIMIZED,
                "response_headers_policy_id": self.headers_policy.id,
                "function_associations": [
                    {"event_type": "viewer-request", "function_arn": self.viewer_function.arn},
                    {"event_type": "viewer-response", "function_arn": self.response_function.arn},
                ],
            },
            # Without the right to list, S3 answers 403 for what is not there; both become the site's own 404.
            custom_error_responses=[
                {"error_code": code, "response_code": 404, "response_page_path": NOT_FOUND_PAGE, "error_caching_min_ttl": 10}
                for code in (403, 404)
            ],
            restrictions={"geo_restriction": {"restriction_type": "none", "locations": []}},
            viewer_certificate={
                "acm_certificate_arn": args["certificate_arn"],
                "ssl_support_method": "sni-only",
                "minimum_protocol_version": "TLSv1.2_2021",
            },
            logging_config={"bucket": self.logs_bucket.bucket_domain_name, "prefix": "cdn/", "include_cookies": False},
            tags=tagged(f"{args['prefix']}-site"),
            opts=self._child(*self._logs_ready),
        )

    def _create_bucket_policy(self) -> None:
        policy = pulumi.Output.all(self.bucket.arn, self.distribution.arn).apply(lambda arns: site_bucket(arns[0], arns[1]))
        self.bucket_policy = BucketPolicy(
            f"{self._name_of}-bucket-policy", bucket=self.bucket.id, policy=policy_json(policy), opts=self._child()
        )
