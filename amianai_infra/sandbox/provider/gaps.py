"""What the emulator lacks and what the provider does about it: the one list, printed in docs/sandbox.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Gap:
    """One difference between the emulator and AWS.

    Attributes:
        service: boto3's name of the service.
        lacks: what AWS does and the emulator does not.
        here: what the provider does instead; empty where nothing can be done.
    """

    service: str
    lacks: str
    here: str = ""


GAPS: Final[tuple[Gap, ...]] = (
    # logs
    Gap("logs", "deletion protection of log groups is ignored", "kept and enforced at deletion by the provider"),
    # acm
    Gap(
        "acm",
        "certificates are issued at once, without their DNS records",
        "CertificateValidation fails unless the records exist in a zone",
    ),
    Gap("acm", "a certificate in use can be deleted", "refused while a distribution uses it"),
    # cloudfront
    Gap("cloudfront", "no caching, no compression, no alias host names; functions are not tested by TestFunction"),
    Gap("cloudfront", "no TLS for viewers", "viewers count as coming over TLS, so redirect-to-https holds but redirects nobody"),
    Gap("cloudfront", "a missing object is always 403 from the origin, also where AWS answers 404 (s3:ListBucket)"),
    Gap(
        "cloudfront",
        "functions, header policies and origin access controls in use can be deleted",
        "refused while a distribution uses them",
    ),
    Gap(
        "cloudfront",
        "certificates, aliases taken elsewhere, cache policies and log buckets of a distribution are not checked",
        "checked before a distribution is created or changed",
    ),
    Gap("cloudfront", "access logs are not written"),
    # cognito
    Gap(
        "cognito-idp",
        "deletion protection of user pools is ignored",
        "enforced at deletion by the provider, as is the rule that its domain goes first",
    ),
    Gap("cognito-idp", "refresh-token rotation of a client is not stored", "kept in the state, so that a change is seen but drift is not"),
    Gap(
        "cognito-idp",
        "token validities, callback addresses and rotation beside ALLOW_REFRESH_TOKEN_AUTH are not checked",
        "checked in preview",
    ),
    Gap("cognito-idp", "UpdateUserPool keeps what it is not told", "every update sends the whole configuration, as AWS needs"),
    # route53
    Gap("route53", "record values, names beside a CNAME and names outside the zone are not checked", "checked before a record is made"),
    # s3
    Gap("s3", "a bucket policy is stored whatever it says", "checked for statements, principals, actions and resources of the bucket"),
    Gap("s3", "lifecycle rules are stored but nothing expires"),
    Gap("s3", "a TLS-only policy is not applied to the account's own keys"),
)
