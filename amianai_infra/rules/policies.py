"""IAM, bucket and trust policy documents, as plain dictionaries. Pure.

Source: IAM User Guide "IAM JSON policy reference"; the page of each service is named at its function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Policy = dict[str, Any]

RELEASES_PREFIX = ".amianai/"
"""Where releases keep manifests and lock in the site's bucket. The CDN must not serve it."""

GITHUB_ISSUER = "token.actions.githubusercontent.com"
GITHUB_AUDIENCE = "sts.amazonaws.com"
RDS_MONITORING_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"


def document(*statements: Mapping[str, Any]) -> Policy:
    """A policy of these statements."""
    return {"Version": "2012-10-17", "Statement": [dict(statement) for statement in statements]}


def allow(sid: str, actions: str | Sequence[str], resources: str | Sequence[str], condition: Mapping[str, Any] | None = None) -> Policy:
    """One statement that allows."""
    statement: Policy = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return {**statement, "Condition": dict(condition)} if condition else statement


def deny(sid: str, actions: str | Sequence[str], resources: str | Sequence[str], condition: Mapping[str, Any] | None = None) -> Policy:
    """One statement that denies, whatever else allows."""
    return {**allow(sid, actions, resources, condition), "Effect": "Deny"}


def same_policy(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two policies say the same, however they are written: order, ids, and a single value as a list mean nothing."""
    return _meaning(one) == _meaning(other)


_KEYWORDS = frozenset({"Action", "NotAction", "Resource", "NotResource"})


def _meaning(policy: Mapping[str, Any]) -> tuple[Any, ...]:
    statements = policy.get("Statement", [])
    listed = [statements] if isinstance(statements, Mapping) else statements
    return policy.get("Version"), sorted(repr(_statement(one)) for one in listed)


def _statement(statement: Mapping[str, Any]) -> list[Any]:
    said: dict[str, Any] = {}
    for name, value in statement.items():
        if name in _KEYWORDS:
            said[name] = _values(value)
        elif name in ("Principal", "NotPrincipal"):
            said[name] = _named({"AWS": value} if isinstance(value, str) else value)
        elif name == "Condition":
            said[name] = sorted((test, _named(keys)) for test, keys in value.items())
        elif name != "Sid":
            said[name] = value
    return sorted(said.items())


def _named(values: Mapping[str, Any]) -> list[Any]:
    return sorted((name, _values(value)) for name, value in values.items())


def _values(value: Any) -> list[str]:
    """One value or several, as text: AWS gives back `true` for a condition that was written `"true"`."""
    listed = value if isinstance(value, (list, tuple)) else [value]
    return sorted({str(one).lower() if isinstance(one, bool) else str(one) for one in listed})


def service_trust(service: str, condition: Mapping[str, Any] | None = None) -> Policy:
    """The trust policy of a role that one AWS service assumes.

    Args:
        service: the service principal, for example `monitoring.rds.amazonaws.com`.
        condition: what else must hold, against the confused deputy.
    """
    statement: Policy = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return document({**statement, "Condition": dict(condition)} if condition else statement)


def account_condition(account: str) -> Policy:
    """Only on behalf of this account's own resources.

    Source: IAM User Guide, "The confused deputy problem".
    """
    return {"StringEquals": {"aws:SourceAccount": account}}


def secrets_reader(arns: Sequence[str]) -> Policy:
    """What RDS Proxy needs to log in as the roles whose secrets these are.

    Source: Amazon RDS User Guide, "Setting up database credentials for RDS Proxy".
    """
    return document(allow("ReadSecrets", ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"], list(arns)))


def password_rotator(secret_arn: str, instance_arn: str, log_group_arn: str) -> Policy:
    """What the function that rotates the master password may do: this secret, this instance, this log.

    ModifyDBInstance cannot be bounded to the password: IAM has no condition for it.

    Source: AWS Secrets Manager User Guide, "Lambda rotation function execution role permissions"; Service Authorization Reference,
    "Actions, resources, and condition keys for Amazon RDS".
    """
    versions = ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage")
    return document(
        allow("Secret", [f"secretsmanager:{name}" for name in versions], secret_arn),
        allow("Password", ["rds:DescribeDBInstances", "rds:ModifyDBInstance"], instance_arn),
        allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], f"{log_group_arn.removesuffix(':*')}:*"),
    )


def flow_log_writer(log_group_arn: str) -> Policy:
    """What VPC flow logs need to write into one log group.

    Source: Amazon VPC User Guide, "IAM role for publishing flow logs to CloudWatch Logs".
    """
    arn = log_group_arn.removesuffix(":*")
    actions = ("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams")
    return document(allow("WriteFlowLogs", actions, (arn, f"{arn}:*")))


def tls_only(bucket_arn: str) -> Policy:
    """The statement that refuses every request to a bucket that does not come over TLS.

    Source: Amazon S3 User Guide, "Security best practices for Amazon S3".
    """
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def private_bucket(bucket_arn: str) -> Policy:
    """The policy of a bucket that only its owner uses."""
    return document(tls_only(bucket_arn))


def log_bucket(bucket_arn: str, prefix: str, source_arn: str, account: str) -> Policy:
    """The policy of a bucket that holds another bucket's access log, below `prefix`.

    Source: Amazon S3 User Guide, "Enabling Amazon S3 server access logging".
    """
    from_source = {"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": source_arn}}
    return document(
        tls_only(bucket_arn),
        _service("AccessLog", "logging.s3.amazonaws.com", "s3:PutObject", f"{bucket_arn}/{prefix}*", from_source),
    )


def _service(sid: str, service: str, actions: str | Sequence[str], resource: str, condition: Mapping[str, Any] | None = None) -> Policy:
    """The statement of a resource's policy that lets one AWS service in."""
    statement = allow(sid, actions, resource, condition)
    return {**statement, "Principal": {"Service": service}}


def own_secret(account: str) -> Policy:
    """The policy of a secret: whatever else is ever granted, nobody outside the account reads it, and nobody without TLS.

    Source: AWS Secrets Manager User Guide, "Resource-based policies".
    """

    def refused(sid: str, condition: Mapping[str, Any]) -> Policy:
        return {**deny(sid, "secretsmanager:*", "*", condition), "Principal": "*"}

    return document(
        refused("OwnAccountOnly", {"StringNotEquals": {"aws:PrincipalAccount": account}}),
        refused("TlsOnly", {"Bool": {"aws:SecureTransport": "false"}}),
    )


def _account_key(account: str, *statements: Policy) -> Policy:
    """A key's policy: IAM policies of the account decide, and these services come in besides.

    Source: AWS KMS Developer Guide, "Default key policy".
    """
    owner = {**allow("OwnAccount", "kms:*", "*"), "Principal": {"AWS": f"arn:aws:iam::{account}:root"}}
    return document(owner, *statements)


def alarm_key(account: str) -> Policy:
    """The policy of the key of a topic that CloudWatch's alarms write to. The topic's own policy says whose alarms may.

    Source: Amazon SNS Developer Guide, "Enable compatibility between event sources from AWS services and encrypted topics".
    """
    return _account_key(account, _service("Alarms", "cloudwatch.amazonaws.com", ["kms:Decrypt", "kms:GenerateDataKey*"], "*"))


def signing_key(account: str, zone_arn: str) -> Policy:
    """The policy of the key that Route 53 signs a zone with.

    Source: Route 53 Developer Guide, "Working with customer managed keys for DNSSEC".
    """
    service = "dnssec-route53.amazonaws.com"
    for_zone = {"StringEquals": {"aws:SourceAccount": account}, "ArnEquals": {"aws:SourceArn": zone_arn}}
    return _account_key(
        account,
        _service("Sign", service, ["kms:DescribeKey", "kms:GetPublicKey", "kms:Sign"], "*", for_zone),
        _service("Grant", service, "kms:CreateGrant", "*", {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
    )


def query_log_writer(log_group_arn: str, account: str, zone_arn: str) -> Policy:
    """What lets Route 53 write the queries of one zone into one log group.

    Source: Route 53 Developer Guide, "Public DNS query logging", "Confused deputy prevention".
    """
    for_zone = {"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": zone_arn}}
    actions = ["logs:CreateLogStream", "logs:PutLogEvents"]
    return document(_service("QueryLog", "route53.amazonaws.com", actions, f"{log_group_arn.removesuffix(':*')}:*", for_zone))


def site_bucket(bucket_arn: str, distribution_arn: str) -> Policy:
    """The policy of the site's bucket: TLS only; one distribution may read, but not the releases' own records.

    Objects can be read and not listed, so that a missing key answers 403, which the distribution shows as its 404.

    Source: CloudFront Developer Guide, "Restrict access to an Amazon S3 origin".
    """
    cdn = {"Service": "cloudfront.amazonaws.com"}
    return document(
        tls_only(bucket_arn),
        {
            "Sid": "CloudFrontReads",
            "Effect": "Allow",
            "Principal": cdn,
            "Action": "s3:GetObject",
            "Resource": f"{bucket_arn}/*",
            "Condition": {"StringEquals": {"AWS:SourceArn": distribution_arn}},
        },
        {
            "Sid": "ReleasesStayPrivate",
            "Effect": "Deny",
            "Principal": cdn,
            "Action": "s3:GetObject",
            "Resource": f"{bucket_arn}/{RELEASES_PREFIX}*",
        },
    )


def github_subject(owner: str, repository: str, branch: str, environment: str = "") -> str:
    """The `sub` claim of the one branch, or the one environment, that may deploy.

    Raises:
        ValueError: a part is missing or holds a wildcard.

    Source: GitHub Docs, "OpenID Connect reference": examples of subject claims.
    """
    parts = {"owner": owner, "repository": repository, "environment" if environment else "branch": environment or branch}
    for name, part in parts.items():
        if not part or any(sign in part for sign in "*?:"):
            raise ValueError(f"{name} {part!r}: must be given, without '*', '?' and ':'")
    where = f"environment:{environment}" if environment else f"ref:refs/heads/{branch}"
    return f"repo:{owner}/{repository}:{where}"


def github_pull_requests(owner: str, repository: str) -> str:
    """The `sub` claim of a run for a pull request. GitHub gives none to a run of a fork's.

    Source: GitHub Docs, "OpenID Connect reference": subject claims for `pull_request` events; "Automatic token authentication": the
    token of a fork's pull request only reads.
    """
    branch = github_subject(owner, repository, "main")
    return f"{branch.rpartition(':ref:')[0]}:pull_request"


def github_trust(provider_arn: str, subject: str) -> Policy:
    """The trust policy of the deploy role: GitHub's tokens for one subject, compared literally.

    Source: IAM User Guide, "Configuring a role for GitHub OIDC identity provider".
    """
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{GITHUB_ISSUER}:aud": GITHUB_AUDIENCE, f"{GITHUB_ISSUER}:sub": subject}},
        }
    )


ROUTES_ACTIONS = tuple(f"cloudfront-keyvaluestore:{name}" for name in ("DescribeKeyValueStore", "ListKeys", "UpdateKeys"))
"""What a release does with the key-value store of the site's addresses."""


def deployer(bucket_arn: str, distribution_arn: str, parameter_arn: str, routes_arn: str) -> Policy:
    """Exactly what a release does: the site's objects and addresses, invalidations, the published outputs.

    Earlier versions are read, for a rollback; nothing lists or deletes them: they expire by the bucket's lifecycle rule.
    """
    objects = (
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    )
    listing = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")
    edge = ("cloudfront:CreateInvalidation", "cloudfront:GetDistribution", "cloudfront:GetInvalidation")
    return document(
        allow("List", listing, bucket_arn),
        allow("Release", objects, f"{bucket_arn}/*"),
        allow("Invalidate", edge, distribution_arn),
        allow("Addresses", ROUTES_ACTIONS, routes_arn),
        allow("ReadOutputs", "ssm:GetParameter", parameter_arn),
    )


def previewer(bucket_arn: str, distribution_arn: str, routes_arn: str, site_bucket_arn: str, parameter_arn: str) -> Policy:
    """Exactly what publishing a preview does. Of the live site it reads the releases' records, which say what was taken down."""
    objects = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject")
    records = {"StringLike": {"s3:prefix": f"{RELEASES_PREFIX}releases/*"}}
    return document(
        allow("List", ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"), bucket_arn),
        allow("Publish", objects, f"{bucket_arn}/*"),
        allow("Forget", ("cloudfront:CreateInvalidation", "cloudfront:GetInvalidation"), distribution_arn),
        allow("Addresses", ROUTES_ACTIONS, routes_arn),
        allow("ListReleases", "s3:ListBucket", site_bucket_arn, records),
        allow("ReadReleases", "s3:GetObject", f"{site_bucket_arn}/{RELEASES_PREFIX}releases/*"),
        allow("ReadOutputs", "ssm:GetParameter", parameter_arn),
    )


def database_closer(security_group: str, rules: str, tables: Sequence[str], instance: str, bastions: str, queue: str) -> Policy:
    """What EventBridge Scheduler needs to undo what opened the database, and nothing else.

    Args:
        security_group: ARN of the database's security group.
        rules: ARN pattern of rules; the group still bounds which.
        tables: ARNs of the private route tables.
        instance: ARN of the database instance.
        bastions: ARN pattern of the instances in this account and region; a tag bounds it to bastions.
        queue: ARN of the dead-letter queue.

    Source: EventBridge Scheduler User Guide, "Setting up Amazon EventBridge Scheduler".
    """
    bastion = {"StringEquals": {"aws:ResourceTag/amianai:access": "bastion"}}
    return document(
        allow("RemoveRule", "ec2:RevokeSecurityGroupIngress", (security_group, rules)),
        allow("RemoveRoute", "ec2:DeleteRoute", list(tables)),
        allow("RemoveAddress", "rds:ModifyDBInstance", instance),
        allow("EndBastion", "ec2:TerminateInstances", bastions, bastion),
        allow("ReportFailure", "sqs:SendMessage", queue),
    )


def scheduler_trust(account: str, group: str) -> Policy:
    """The trust policy of a role that the schedules of one group assume.

    Source: EventBridge Scheduler User Guide, "Confused deputy prevention": the ARN is that of the group, not of a schedule.
    """
    return service_trust("scheduler.amazonaws.com", {"StringEquals": {"aws:SourceAccount": account, "aws:SourceArn": group}})


def session_manager_only() -> Policy:
    """What an instance needs to be reached through Session Manager, and nothing else.

    Source: AWS Systems Manager User Guide, "Create an IAM instance profile with minimal Session Manager permissions".
    """
    channels = tuple(f"ssmmessages:{verb}{kind}Channel" for verb in ("Create", "Open") for kind in ("Control", "Data"))
    return document(allow("SessionManager", ("ssm:UpdateInstanceInformation", *channels), "*"))


def actions_of(policies: Iterable[Policy]) -> list[str]:
    """Every action that the policies allow, sorted, once."""
    found: set[str] = set()
    for policy in policies:
        for statement in policy["Statement"]:
            if statement["Effect"] == "Allow":
                actions = statement["Action"]
                found.update([actions] if isinstance(actions, str) else actions)
    return sorted(found)
