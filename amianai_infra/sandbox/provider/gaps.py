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
    # ec2
    Gap("ec2", "subnets outside their VPC or overlapping another are accepted", "refused before a subnet is made"),
    Gap("ec2", "a second route to a destination is accepted", "refused in front of the emulator, whoever asks"),
    Gap("ec2", "a second table of a subnet is accepted", "refused before it is made"),
    Gap("ec2", "a security group's duplicate rule is accepted", "refused before it is made"),
    Gap("ec2", "subnets have no association with the network ACL"),
    Gap("ec2", "a gateway endpoint adds no route to its tables, keeps no policy"),
    Gap("ec2", "flow logs drop the tags given at creation, keep neither role nor interval, and write nothing", "tagged after creation"),
    Gap("ec2", "NAT gateways do not report their address", "taken from the elastic IP"),
    Gap("ec2", "IPv6 is not modelled; its properties are refused"),
    # iam
    Gap("iam", "an OIDC provider's tags cannot be changed", "it is made anew with the same ARN"),
    # logs
    Gap(
        "logs", "deletion protection of log groups does not exist", "a tag of the group stands for it; enforced at deletion by the provider"
    ),
    # scheduler, sns, launch templates
    Gap(
        "scheduler",
        "universal targets (aws-sdk) are dropped: a schedule fires, does nothing and is deleted",
        "the next `db open` or `db close` removes what is over",
    ),
    Gap("ssm", "there is no Session Manager", "`db tunnel` says so; the database listens on this machine"),
    Gap("sns", "no e-mail is sent, and a subscription by e-mail needs no confirmation"),
    Gap("ec2", "a launch template's image is not looked up, and instances started from it do not run"),
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
    Gap(
        "cloudfront",
        "functions cannot read their key-value store, and one that was deleted leaves its keys",
        "the store's keys are given to the function with its code; another store of the name begins empty",
    ),
    Gap("cloudfront", "the ARN of a key-value store ends in its name, not in its id", "taken as it is"),
    Gap(
        "cloudfront-keyvaluestore",
        "an account's own host name and signatures of version 4A",
        "called at the emulator's address, signed as all else",
    ),
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
    Gap(
        "cognito-idp",
        "A@x and a@x are two users, whatever the pool says of case",
        "names and addresses reach its API in lower case, and stay so; its hosted pages are not corrected",
    ),
    Gap(
        "cognito-idp",
        "sign-up goes on where only operators make accounts, and clients write attributes that are not theirs, email_verified too",
        "refused before the emulator",
    ),
    Gap("cognito-idp", "clients read every attribute, and a changed e-mail address counts at once"),
    Gap("wafv2", "a web ACL is kept and blocks nothing"),
    # rds
    Gap("rds", "there is no server behind an instance", "role, database, password and settings in the sandbox's real PostgreSQL"),
    Gap(
        "rds", "the endpoint's port is the one given at creation", "the real server's port is given, and is the output; `port` stays input"
    ),
    Gap("rds", "a managed master password has no secret", "made in Secrets Manager as rds!db-<uuid>, deleted with the instance"),
    Gap(
        "rds", "a final snapshot holds no data and replaces one of the same name", "the database is kept beside it; a taken name is refused"
    ),
    Gap("rds", "snapshots made through the API hold no data", "restoring one is refused"),
    Gap("rds", "there are no automated backups and no point-in-time recovery"),
    Gap(
        "rds",
        "a read replica has no server, and takes every setting from its source",
        "leads to the one server, without any lag; set afterwards",
    ),
    Gap("rds", "a read replica of an instance whose password RDS manages is accepted", "refused before it is made"),
    Gap("rds", "a proxy has an address and nothing behind it", "refused in preview"),
    Gap("rds", "backups cannot be copied to another region", "refused in preview"),
    Gap("rds", "a restored instance gets another port", "created from the snapshot's values instead"),
    Gap("rds", "instances share one server", "a second database of one name is refused"),
    Gap("rds", "parameters are not checked", "names, values and apply methods are checked against the real server"),
    Gap("rds", "parameters change nothing", "dynamic ones are set in the real server; static ones, rds.* and the server's own are not"),
    Gap("rds", "pg_stat_statements is for superusers only", "created in every database, as `db migrate` does on AWS"),
    Gap("rds", "subnet groups need neither a free name nor two zones", "refused before they are made"),
    Gap("rds", "subnet groups and security groups of instances are not looked up", "looked up first"),
    Gap("rds", "an instance takes any engine version", "another major version than the real server's is refused in preview"),
    Gap("rds", "the backup window given at creation is ignored", "set afterwards"),
    Gap("rds", "log exports, database insights and KMS keys are not kept", "kept in the state, so that a change is seen but drift is not"),
    Gap("rds", "instances cannot be renamed", "refused"),
    Gap("rds", "an instance does not move to another subnet group: the change is accepted and not made"),
    Gap("rds", "IAM tokens open no database: the real server knows passwords only"),
    Gap("rds", "an instance without a database name gets the database mydb"),
    # route53
    Gap("route53", "record values, names beside a CNAME and names outside the zone are not checked", "checked before a record is made"),
    Gap("route53", "zones are not signed, and their queries are not logged", "refused in preview"),
    # s3
    Gap("s3", "access logs of buckets are not written"),
    Gap("s3", "ExpectedBucketOwner is not compared: there is one account"),
    Gap("s3", "a bucket policy is stored whatever it says", "checked for statements, principals, actions and resources of the bucket"),
    Gap("s3", "lifecycle rules are stored but nothing expires"),
    Gap("s3", "a TLS-only policy is not applied to the account's own keys"),
    # secretsmanager
    Gap(
        "secretsmanager",
        "a rotation calls no function and keeps to no schedule",
        "the provider makes the first, `db rotate` the next",
    ),
    Gap("secretsmanager", "a secret without a value answers with an empty one", "read as having none"),
)
