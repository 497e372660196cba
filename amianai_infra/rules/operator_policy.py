"""What a person needs for `setup`, `up` and `destroy`: one statement list a service, bounded by region and prefix. Pure.

`docs/aws.md` explains it and lists what AWS offers no bound for. A managed policy holds 6,144 characters and a principal
takes ten of them, so the statements are packed into as few policies as they fit.

Source: Service Authorization Reference (actions, resources and condition keys of each service); IAM User Guide, "IAM and
AWS STS quotas".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from amianai_infra.config import Settings
from amianai_infra.naming import TAG_STACK, default_tags, query_log_group
from amianai_infra.rules.domains import site_names
from amianai_infra.rules.policies import GITHUB_ISSUER, RDS_MONITORING_POLICY, ROUTES_ACTIONS, Policy, allow, deny, document

LONGEST = 6_144
CERTIFICATE_REGION = "us-east-1"


@dataclass(frozen=True)
class Probe:
    """One question to `iam:SimulatePrincipalPolicy`.

    Attributes:
        actions: what is to be allowed.
        resource: on which resource.
        context: condition keys and their values, so that the conditions of our own policy hold.
    """

    actions: tuple[str, ...]
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)

    def context_entries(self) -> list[dict[str, Any]]:
        """The context as the API takes it."""
        return [
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"} for key, value in sorted(self.context.items())
        ]


@dataclass(frozen=True)
class _Scope:
    settings: Settings
    account: str

    @property
    def prefix(self) -> str:
        return self.settings.prefix

    @property
    def here(self) -> Policy:
        return {"StringEquals": {"aws:RequestedRegion": self.settings.region}}

    @property
    def new(self) -> Policy:
        """A request in the stack's region that says which stack it creates for."""
        return _both(self.here, _TAGGING)

    @property
    def ours(self) -> Policy:
        """A resource in the stack's region that carries its tag."""
        return _both(self.here, _TAGGED)

    def arn(self, service: str, resource: str, region: str | None = None) -> str:
        return f"arn:aws:{service}:{self.settings.region if region is None else region}:{self.account}:{resource}"


_STACK_TAG = default_tags()[TAG_STACK]
_TAGGING: Policy = {"StringEquals": {f"aws:RequestTag/{TAG_STACK}": _STACK_TAG}}
_TAGGED: Policy = {"StringEquals": {f"aws:ResourceTag/{TAG_STACK}": _STACK_TAG}}


def _both(one: Policy, other: Policy) -> Policy:
    return {"StringEquals": {**one["StringEquals"], **other["StringEquals"]}}


def statements(settings: Settings, account: str) -> dict[str, list[Policy]]:
    """The statements of every service, by service."""
    scope = _Scope(settings, account)
    parts = (
        _ec2,
        _rds,
        _secrets,
        _cognito,
        _request_limit,
        _s3,
        _cloudfront,
        _route53,
        _dnssec,
        _query_log,
        _acm,
        _logs,
        _iam,
        _ssm,
        _kms,
        _backups,
        _proxy,
        _rotation,
        _tagging,
        _access,
        _bastion,
    )
    return {part.__name__.removeprefix("_"): list(part(scope)) for part in parts}


def operator_policies(settings: Settings, account: str = "*") -> list[Policy]:
    """The operator's managed policies, each of at most 6,144 characters without white space.

    Args:
        settings: region, prefix, domain and database they are bounded by.
        account: account number; `*` where it is not known yet, which widens nothing: a policy acts in its own account.
    """
    packed: list[list[Policy]] = [[]]
    for group in statements(settings, account).values():
        for statement in group:
            if packed[-1] and size(document(*packed[-1], statement)) > LONGEST:
                packed.append([])
            packed[-1].append(statement)
    return [document(*group) for group in packed]


def size(policy: Policy) -> int:
    """Characters that count against the quota."""
    return len(json.dumps(policy, separators=(",", ":")))


def probes(settings: Settings, account: str) -> list[Probe]:
    """The questions that tell whether a principal may do what the operator policy allows."""
    return [
        Probe(_listed(statement["Action"]), _listed(statement["Resource"])[0].replace("*", "x"), _context(statement))
        if _listed(statement["Resource"]) != ("*",)
        else Probe(_listed(statement["Action"]), "*", _context(statement))
        for group in statements(settings, account).values()
        for statement in group
        if statement["Effect"] == "Allow"
    ]


def _context(statement: Policy) -> dict[str, str]:
    pairs = (pair for test in statement.get("Condition", {}).values() for pair in test.items())
    return {key: _listed(value)[0] for key, value in pairs}


def _listed(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _ec2(scope: _Scope) -> Iterator[Policy]:
    alone, inside = "Vpc InternetGateway", "Subnet RouteTable NatGateway VpcEndpoint SecurityGroup FlowLogs"
    creating = (*(f"Create{name}" for name in f"{alone} {inside}".split()), "AllocateAddress", "AuthorizeSecurityGroupIngress")
    yield allow("Ec2Read", ("ec2:Describe*", "ec2:GetSecurityGroupsForVpc"), "*", scope.here)
    yield allow("Ec2Create", tuple(f"ec2:{name}" for name in creating), "*", scope.new)
    # What is created inside another resource is authorised on that one too, which exists and carries no tag of the request.
    changed = """AssociateRouteTable AttachInternetGateway AuthorizeSecurityGroupIngress CreateRoute DeleteFlowLogs DeleteInternetGateway
        DeleteNatGateway DeleteRoute DeleteRouteTable DeleteSecurityGroup DeleteSubnet DeleteTags DeleteVpc DeleteVpcEndpoints
        DetachInternetGateway DisassociateRouteTable ModifySecurityGroupRules ModifySubnetAttribute ModifyVpcAttribute
        ModifyVpcEndpoint ReleaseAddress ReplaceRoute ReplaceRouteTableAssociation UpdateSecurityGroupRuleDescriptionsIngress"""
    parents = (f"ec2:Create{name}" for name in inside.split())
    yield allow("Ec2Change", (*parents, *(f"ec2:{name}" for name in changed.split())), "*", scope.ours)
    # Without ec2:CreateAction anything could be given our tag, and then changed as ours.
    at_creation = _both(scope.new, {"StringEquals": {"ec2:CreateAction": list(creating)}})
    yield allow("Ec2TagNew", "ec2:CreateTags", "*", at_creation)
    yield allow("Ec2TagOurs", "ec2:CreateTags", "*", scope.ours)
    # The VPC's default group is not created by a request of ours, so it is tagged afterwards.
    yield allow("Ec2TagDefaultGroup", "ec2:CreateTags", scope.arn("ec2", "security-group/*"), scope.new)
    # The default security group exists before it can carry a tag; addresses are released from gateways that are gone.
    emptied = ("ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress", "ec2:DisassociateAddress")
    yield allow("Ec2Empty", emptied, "*", scope.here)


def _rds(scope: _Scope) -> Iterator[Policy]:
    # What a restore puts beside the instance begins with at most 45 characters of its name (database/restore.py).
    database = scope.settings.database.identifier[:45]
    actions = """AddTagsToResource CreateDBInstance CreateDBParameterGroup CreateDBSnapshot CreateDBSubnetGroup DeleteDBInstance
        DeleteDBParameterGroup DeleteDBSnapshot DeleteDBSubnetGroup ListTagsForResource ModifyDBInstance ModifyDBParameterGroup
        ModifyDBSubnetGroup RebootDBInstance RemoveTagsFromResource ResetDBParameterGroup RestoreDBInstanceFromDBSnapshot
        RestoreDBInstanceToPointInTime StartDBInstance StopDBInstance"""
    kinds = ("db", "pg", "subgrp", "snapshot", "snapshot:rds")
    names = (*(f"{kind}:{database}*" for kind in kinds), "og:default*", "pg:default*", "auto-backup:*")
    yield allow("RdsRead", "rds:Describe*", "*", scope.here)
    yield allow("RdsChange", tuple(f"rds:{name}" for name in actions.split()), tuple(scope.arn("rds", name) for name in names))
    name = scope.settings.database.name
    users = (scope.settings.database.username, f"{name}_application_iam", f"{name}_readonly_iam")
    yield allow("RdsConnect", "rds-db:connect", tuple(scope.arn("rds-db", f"dbuser:*/{user}") for user in users))


def _secrets(scope: _Scope) -> Iterator[Policy]:
    managed = scope.arn("secretsmanager", "secret:rds!db-*")
    # RDS makes it on the caller's behalf, and gives it a tag that only AWS can set: it tells whose the secret is.
    yield allow("SecretOfRdsNew", ("secretsmanager:CreateSecret", "secretsmanager:TagResource"), managed)
    instance = scope.arn("rds", f"db:{scope.settings.database.identifier[:45]}*")
    using = "DeleteSecret DescribeSecret GetSecretValue RotateSecret UpdateSecret"
    owned = {"StringLike": {"aws:ResourceTag/aws:rds:primaryDBInstanceArn": instance}}
    yield allow("SecretOfRds", tuple(f"secretsmanager:{name}" for name in using.split()), managed, owned)
    more = """CreateSecret DeleteResourcePolicy DeleteSecret DescribeSecret GetResourcePolicy GetSecretValue PutResourcePolicy
        PutSecretValue TagResource UntagResource UpdateSecret UpdateSecretVersionStage"""
    roles = scope.arn("secretsmanager", f"secret:{scope.prefix}/database/*")
    yield allow("SecretsOfRoles", tuple(f"secretsmanager:{name}" for name in more.split()), roles)


def _cognito(scope: _Scope) -> Iterator[Policy]:
    yield allow("CognitoFind", ("cognito-idp:DescribeUserPoolDomain", "cognito-idp:ListUserPools"), "*", scope.here)
    yield allow("CognitoCreate", ("cognito-idp:CreateUserPool", "cognito-idp:TagResource"), "*", scope.new)
    actions = """CreateUserPoolClient CreateUserPoolDomain DeleteUserPool DeleteUserPoolClient DeleteUserPoolDomain DescribeUserPool
        DescribeUserPoolClient GetUserPoolMfaConfig ListTagsForResource ListUserPoolClients SetUserPoolMfaConfig TagResource
        UntagResource UpdateUserPool UpdateUserPoolClient UpdateUserPoolDomain"""
    yield allow(
        "CognitoChange", tuple(f"cognito-idp:{name}" for name in actions.split()), scope.arn("cognito-idp", "userpool/*"), scope.ours
    )
    if scope.settings.auth.ses_identity_arn:
        # The role by which Cognito sends through SES is made for whoever first sets it.
        linked = scope.arn("iam", "role/aws-service-role/email.cognito-idp.amazonaws.com/*", "")
        yield allow("CognitoMail", "iam:CreateServiceLinkedRole", linked)


def _request_limit(scope: _Scope) -> Iterator[Policy]:
    """The web ACL of the user pool, where the settings ask for a limit of requests."""
    if not scope.settings.auth.request_limit:
        return
    acl, pool = scope.arn("wafv2", f"regional/webacl/{scope.prefix}-*/*"), scope.arn("cognito-idp", "userpool/*")
    actions = """AssociateWebACL CreateWebACL DeleteWebACL GetWebACL GetWebACLForResource ListResourcesForWebACL ListTagsForResource
        TagResource UntagResource UpdateWebACL"""
    yield allow("WebAcl", tuple(f"wafv2:{name}" for name in actions.split()), acl)
    yield allow("WebAclFind", "wafv2:ListWebACLs", "*", scope.here)
    # Associating is authorised by both services on both resources. To WAF a user pool has no tags.
    joining = ("AssociateWebACL", "DisassociateWebACL", "GetWebACLForResource")
    yield allow("WebAclJoin", tuple(f"wafv2:{name}" for name in joining), pool)
    yield allow("WebAclOfPool", tuple(f"cognito-idp:{name}" for name in joining), pool, scope.ours)
    yield allow("WebAclToPool", ("cognito-idp:AssociateWebACL", "cognito-idp:ListResourcesForWebACL"), acl)


def _s3(scope: _Scope) -> Iterator[Policy]:
    bucket = f"arn:aws:s3:::{scope.prefix}-*"
    actions = """CreateBucket DeleteBucket DeleteBucketPolicy GetAccelerateConfiguration GetBucket* GetEncryptionConfiguration
        GetLifecycleConfiguration GetReplicationConfiguration ListBucket ListBucketMultipartUploads ListBucketVersions ListTagsForResource
        PutBucketAcl PutBucketLogging PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock PutBucketTagging
        PutBucketVersioning PutEncryptionConfiguration PutLifecycleConfiguration TagResource UntagResource"""
    yield allow("S3Buckets", tuple(f"s3:{name}" for name in actions.split()), bucket)
    objects = "AbortMultipartUpload DeleteObject DeleteObjectVersion GetObject GetObjectVersion ListMultipartUploadParts PutObject"
    yield allow("S3Objects", tuple(f"s3:{name}" for name in objects.split()), f"{bucket}/*")


def _cloudfront(scope: _Scope) -> Iterator[Policy]:
    # Global: its requests count as us-east-1's, whatever the stack's region.
    creating = ("CreateFunction", "CreateKeyValueStore", "CreateOriginAccessControl", "CreateResponseHeadersPolicy")
    reading = ("GetDistribution", "GetDistributionConfig", "GetInvalidation", "GetOriginAccessControl", "GetResponseHeadersPolicy", "List*")
    yield allow("CdnCreateAndRead", tuple(f"cloudfront:{name}" for name in (*creating, *reading)), "*")
    using = "DeleteFunction DescribeFunction GetFunction PublishFunction UpdateFunction"
    function = scope.arn("cloudfront", f"function/{scope.prefix}-*", "")
    yield allow("CdnFunction", tuple(f"cloudfront:{name}" for name in using.split()), function)
    stores = tuple(f"cloudfront:{verb}KeyValueStore" for verb in ("Delete", "Describe", "Update"))
    yield allow("CdnAddresses", (*stores, *ROUTES_ACTIONS), scope.arn("cloudfront", "key-value-store/*", ""))
    named = {"OriginAccessControl": "origin-access-control", "ResponseHeadersPolicy": "response-headers-policy"}
    changing = tuple(f"cloudfront:{verb}{kind}" for kind in named for verb in ("Delete", "Update"))
    yield allow("CdnParts", changing, tuple(scope.arn("cloudfront", f"{kind}/*", "") for kind in named.values()))
    yield allow("CdnCreate", ("cloudfront:CreateDistribution", "cloudfront:TagResource"), "*", _TAGGING)
    ours = "CreateInvalidation DeleteDistribution TagResource UntagResource UpdateDistribution"
    distribution = scope.arn("cloudfront", "distribution/*", "")
    yield allow("CdnChange", tuple(f"cloudfront:{name}" for name in ours.split()), distribution, _TAGGED)


def _route53(scope: _Scope) -> Iterator[Policy]:
    domain = scope.settings.domain_name
    zone = "arn:aws:route53:::hostedzone/*"
    yield allow("DnsFind", ("route53:CreateHostedZone", "route53:ListHostedZones", "route53:ListHostedZonesByName"), "*")
    reading = (
        "GetHostedZone",
        "ListResourceRecordSets",
        "ListTagsForResource",
        "ChangeTagsForResource",
        "DeleteHostedZone",
        "UpdateHostedZoneComment",
    )
    yield allow("DnsZone", tuple(f"route53:{name}" for name in (*reading, *_zone_options(scope.settings))), zone)
    yield allow("DnsChange", "route53:GetChange", "arn:aws:route53:::change/*")
    names = {"route53:ChangeResourceRecordSetsNormalizedRecordNames": [domain, f"*.{domain}"]}
    yield allow("DnsRecords", "route53:ChangeResourceRecordSets", zone, {"ForAllValues:StringLike": names})


def _zone_options(settings: Settings) -> Iterator[str]:
    """What signing the zone and logging its queries take."""
    if settings.dns.dnssec:
        yield from (f"{verb}KeySigningKey" for verb in ("Activate", "Create", "Deactivate", "Delete"))
        yield from ("DisableHostedZoneDNSSEC", "EnableHostedZoneDNSSEC", "GetDNSSEC")
    if settings.dns.query_logging:
        yield from ("CreateQueryLoggingConfig", "ListQueryLoggingConfigs")


def _dnssec(scope: _Scope) -> Iterator[Policy]:
    """The key that signs the zone, where the settings ask for it: Route 53 takes keys of us-east-1 alone."""
    if not scope.settings.dns.dnssec:
        return
    yield from _own_key(scope, "ZoneKey", CERTIFICATE_REGION)


def _query_log(scope: _Scope) -> Iterator[Policy]:
    """The log of the zone's queries, where the settings ask for it: Route 53 writes to us-east-1 alone."""
    if not scope.settings.dns.query_logging:
        return
    there = {"StringEquals": {"aws:RequestedRegion": CERTIFICATE_REGION}}
    config = "arn:aws:route53:::queryloggingconfig/*"
    yield allow("QueryLog", ("route53:DeleteQueryLoggingConfig", "route53:GetQueryLoggingConfig"), config)
    whole = "DeleteResourcePolicy DescribeLogGroups DescribeResourcePolicies PutResourcePolicy"
    yield allow("QueryLogWriter", tuple(f"logs:{name}" for name in whole.split()), "*", there)
    group = scope.arn("logs", f"log-group:{query_log_group(scope.prefix)}*", CERTIFICATE_REGION)
    actions = "CreateLogGroup DeleteLogGroup DeleteRetentionPolicy ListTagsForResource PutRetentionPolicy TagResource UntagResource"
    yield allow("QueryLogGroup", tuple(f"logs:{name}" for name in actions.split()), group)


def _own_key(scope: _Scope, sid: str, region: str, more: Sequence[str] = ()) -> Iterator[Policy]:
    """A key of the stack's with a policy of its own."""
    there = replace(scope, settings=scope.settings.model_copy(update={"region": region}))
    using = """CreateGrant DescribeKey GetKeyPolicy GetKeyRotationStatus GetPublicKey PutKeyPolicy ScheduleKeyDeletion TagResource
        UntagResource UpdateKeyDescription"""
    key = there.arn("kms", "key/*")
    yield allow(f"{sid}Create", "kms:CreateKey", "*", there.new)
    yield allow(f"{sid}Tag", "kms:TagResource", key, there.new)
    yield allow(sid, tuple(f"kms:{name}" for name in (*using.split(), *more)), key, there.ours)
    yield allow(f"{sid}Find", "kms:ListKeys", "*", there.here)
    yield allow(f"{sid}Tags", "kms:ListResourceTags", key, there.here)


def _acm(scope: _Scope) -> Iterator[Policy]:
    certificate = scope.arn("acm", "certificate/*", CERTIFICATE_REGION)
    names = {"acm:DomainNames": list(site_names(scope.settings.domain_name))}
    yield allow("CertificateFind", "acm:ListCertificates", "*", {"StringEquals": {"aws:RequestedRegion": CERTIFICATE_REGION}})
    yield allow("CertificateRequest", "acm:RequestCertificate", "*", {"ForAllValues:StringEquals": names})
    yield allow("CertificateRead", ("acm:DescribeCertificate", "acm:ListTagsForCertificate"), certificate)
    yield allow("CertificateTag", "acm:AddTagsToCertificate", certificate, _TAGGING)
    actions = "AddTagsToCertificate DeleteCertificate RemoveTagsFromCertificate UpdateCertificateOptions"
    yield allow("CertificateChange", tuple(f"acm:{name}" for name in actions.split()), certificate, _TAGGED)


def _logs(scope: _Scope) -> Iterator[Policy]:
    groups = (f"log-group:/{scope.prefix}/*", f"log-group:/aws/rds/instance/{scope.settings.database.identifier}*")
    actions = """CreateLogGroup CreateLogStream DeleteLogGroup DeleteRetentionPolicy FilterLogEvents ListTagsForResource PutLogEvents
        PutLogGroupDeletionProtection PutRetentionPolicy TagResource UntagResource"""
    yield allow("LogsFind", "logs:DescribeLogGroups", "*", scope.here)
    yield allow("LogsChange", tuple(f"logs:{name}" for name in actions.split()), tuple(scope.arn("logs", group) for group in groups))
    # VPC flow logs register a delivery on behalf of whoever creates them.
    yield allow("LogsDelivery", ("logs:CreateLogDelivery", "logs:DeleteLogDelivery"), "*", scope.here)


def _iam(scope: _Scope) -> Iterator[Policy]:
    role = scope.arn("iam", f"role/{scope.prefix}-*", "")
    actions = """DeleteRole DeleteRolePolicy DetachRolePolicy GetRole GetRolePolicy ListAttachedRolePolicies
        ListInstanceProfilesForRole ListRolePolicies ListRoleTags TagRole UntagRole UpdateAssumeRolePolicy UpdateRole
        UpdateRoleDescription"""
    yield allow("IamRoles", tuple(f"iam:{name}" for name in actions.split()), role)
    yield from _granting(scope, role)
    services = ["monitoring.rds.amazonaws.com", "vpc-flow-logs.amazonaws.com", "scheduler.amazonaws.com", "ec2.amazonaws.com"]
    yield allow("IamPass", "iam:PassRole", role, {"StringEquals": {"iam:PassedToService": services}})
    profile = """AddRoleToInstanceProfile CreateInstanceProfile DeleteInstanceProfile GetInstanceProfile ListInstanceProfileTags
        RemoveRoleFromInstanceProfile TagInstanceProfile UntagInstanceProfile"""
    profiles = scope.arn("iam", f"instance-profile/{scope.prefix}-*", "")
    yield allow("IamProfiles", tuple(f"iam:{name}" for name in profile.split()), profiles)
    provider = """AddClientIDToOpenIDConnectProvider CreateOpenIDConnectProvider DeleteOpenIDConnectProvider GetOpenIDConnectProvider
        RemoveClientIDFromOpenIDConnectProvider TagOpenIDConnectProvider UntagOpenIDConnectProvider
        UpdateOpenIDConnectProviderThumbprint"""
    yield allow("IamFind", "iam:ListOpenIDConnectProviders", "*")
    yield allow("IamGithub", tuple(f"iam:{name}" for name in provider.split()), scope.arn("iam", f"oidc-provider/{GITHUB_ISSUER}", ""))
    linked = scope.arn("iam", "role/aws-service-role/rds.amazonaws.com/*", "")
    yield allow("IamLinked", "iam:CreateServiceLinkedRole", linked)


def _granting(scope: _Scope, role: str) -> Iterator[Policy]:
    """What gives a role its rights: only under the boundary, where there is one, which then can be neither taken away nor changed.

    Source: IAM User Guide, "Permissions boundaries for IAM entities", delegating responsibility to others.
    """
    attached = {"ArnEquals": {"iam:PolicyARN": RDS_MONITORING_POLICY}}
    boundary = scope.settings.iam.permissions_boundary
    if not boundary:
        yield allow("IamGrant", ("iam:CreateRole", "iam:PutRolePolicy"), role)
        yield allow("IamAttach", "iam:AttachRolePolicy", role, attached)
        return
    bounded = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
    # Put: roles that are older than the setting get the boundary by the next `up`.
    yield allow("IamGrant", ("iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"), role, bounded)
    yield allow("IamAttach", "iam:AttachRolePolicy", role, {**attached, **bounded})
    everyone = (scope.arn("iam", "role/*", ""), scope.arn("iam", "user/*", ""))
    yield deny("BoundaryKept", ("iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary"), everyone)
    other = {"StringNotEquals": {"iam:PermissionsBoundary": boundary}}
    yield deny("BoundaryOnly", ("iam:PutRolePermissionsBoundary", "iam:PutUserPermissionsBoundary"), everyone, other)
    editing = ("CreatePolicyVersion", "DeletePolicy", "DeletePolicyVersion", "SetDefaultPolicyVersion")
    yield deny("BoundaryUnchanged", tuple(f"iam:{name}" for name in editing), boundary)


def _ssm(scope: _Scope) -> Iterator[Policy]:
    actions = "AddTagsToResource DeleteParameter GetParameter GetParameters ListTagsForResource PutParameter RemoveTagsFromResource"
    yield allow("SsmFind", "ssm:DescribeParameters", "*", scope.here)
    yield allow("SsmChange", tuple(f"ssm:{name}" for name in actions.split()), scope.arn("ssm", f"parameter/{scope.prefix}/*"))


def _kms(scope: _Scope) -> Iterator[Policy]:
    alias, key = scope.arn("kms", f"alias/{scope.prefix}-state"), scope.arn("kms", "key/*")
    actions = """CancelKeyDeletion CreateAlias Decrypt DeleteAlias DescribeKey EnableKey EnableKeyRotation Encrypt GenerateDataKey
        GetKeyRotationStatus ScheduleKeyDeletion TagResource"""
    yield allow("KeyCreate", "kms:CreateKey", "*", scope.new)
    yield allow("KeyTag", "kms:TagResource", key, scope.new)
    yield allow("KeyUse", tuple(f"kms:{name}" for name in actions.split()), key, scope.ours)
    yield allow("KeyAlias", ("kms:CreateAlias", "kms:DeleteAlias"), alias)
    yield allow("KeyFind", "kms:ListAliases", "*", scope.here)
    yield allow("KeyRead", "kms:DescribeKey", key, scope.here)
    # RDS encrypts with the account's own aws/rds key, and Secrets Manager with aws/secretsmanager, on the caller's behalf.
    through = [f"{service}.{scope.settings.region}.amazonaws.com" for service in ("rds", "secretsmanager")]
    granted = ("kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey")
    yield allow("KeyThroughServices", granted, key, {"StringEquals": {"kms:ViaService": through}})


def _backups(scope: _Scope) -> Iterator[Policy]:
    """The copy of the automated backups in a second region, and the key it is under."""
    region = scope.settings.database.backup_region
    if not region:
        return
    there = replace(scope, settings=scope.settings.model_copy(update={"region": region}))
    source = scope.arn("rds", f"db:{scope.settings.database.identifier[:45]}*")
    copying = ("StartDBInstanceAutomatedBackupsReplication", "StopDBInstanceAutomatedBackupsReplication")
    yield allow("BackupCopy", tuple(f"rds:{name}" for name in copying), (source, there.arn("rds", "auto-backup:*")))
    yield from _fetching(scope, there)
    yield allow("BackupCopyRead", "rds:Describe*", "*", there.here)
    yield from _own_key(scope, "BackupKey", region, ("EnableKeyRotation",))


def _fetching(scope: _Scope, there: _Scope) -> Iterator[Policy]:
    """What `db backup fetch` makes in the second region and deletes again, and the copy of it in the stack's."""
    database = scope.settings.database.identifier[:45]
    actions = """AddTagsToResource CopyDBSnapshot CreateDBSnapshot DeleteDBInstance DeleteDBSnapshot ModifyDBInstance
        RestoreDBInstanceToPointInTime"""
    names = (f"db:{database}-away-*", f"snapshot:{database}-away-*", "auto-backup:*", "subgrp:*", "pg:default*", "og:default*")
    yield allow("BackupFetch", tuple(f"rds:{name}" for name in actions.split()), tuple(there.arn("rds", name) for name in names))
    yield allow("BackupFetched", "rds:CopyDBSnapshot", scope.arn("rds", f"snapshot:{database}*"))
    through = {"StringEquals": {"kms:ViaService": f"rds.{there.settings.region}.amazonaws.com"}}
    granted = ("kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey")
    yield allow("BackupKeyThroughRds", granted, there.arn("kms", "key/*"), through)


def _proxy(scope: _Scope) -> Iterator[Policy]:
    """The proxy of the database, where the settings ask for one."""
    if not scope.settings.database.proxy:
        return
    yield allow("ProxyCreate", "rds:CreateDBProxy", "*", scope.new)
    actions = """AddTagsToResource DeleteDBProxy DeregisterDBProxyTargets ListTagsForResource ModifyDBProxy
        ModifyDBProxyTargetGroup RegisterDBProxyTargets RemoveTagsFromResource"""
    database = scope.settings.database.identifier[:45]
    names = ("db-proxy:*", "target-group:*", f"db:{database}*")
    yield allow("Proxy", tuple(f"rds:{name}" for name in actions.split()), tuple(scope.arn("rds", name) for name in names))
    role = scope.arn("iam", f"role/{scope.prefix}-*", "")
    yield allow("ProxyPass", "iam:PassRole", role, {"StringEquals": {"iam:PassedToService": "rds.amazonaws.com"}})


def _rotation(scope: _Scope) -> Iterator[Policy]:
    """The master password in a secret of the stack's own, and the read replicas that need it, where the settings ask for them."""
    if scope.settings.database.managed_password:
        return
    function = scope.arn("lambda", f"function:{scope.prefix}-*")
    actions = """AddPermission CreateFunction DeleteFunction GetFunction GetFunctionCodeSigningConfig GetFunctionConfiguration GetPolicy
        InvokeFunction ListTags ListVersionsByFunction RemovePermission TagResource UntagResource UpdateFunctionCode
        UpdateFunctionConfiguration"""
    yield allow("Rotator", tuple(f"lambda:{name}" for name in actions.split()), function)
    secret = scope.arn("secretsmanager", f"secret:{scope.prefix}/database/*")
    yield allow("RotatorSecret", ("secretsmanager:CancelRotateSecret", "secretsmanager:RotateSecret"), secret)
    role = scope.arn("iam", f"role/{scope.prefix}-*", "")
    yield allow("RotatorPass", "iam:PassRole", role, {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}})
    if scope.settings.database.replicas:
        database = scope.settings.database.identifier[:45]
        names = (f"db:{database}*", f"pg:{database}*", f"subgrp:{database}*", "og:default*")
        yield allow("Replicas", "rds:CreateDBInstanceReadReplica", tuple(scope.arn("rds", name) for name in names))


def _tagging(scope: _Scope) -> Iterator[Policy]:
    yield allow("FindByTag", "tag:GetResources", "*")
    yield allow("OperatorChecks", "iam:SimulatePrincipalPolicy", scope.arn("iam", "*", ""))
    # `doctor` asks for the path of the role that its caller has assumed.
    yield allow("OperatorRole", "iam:GetRole", scope.arn("iam", "role/*", ""))


def _access(scope: _Scope) -> Iterator[Policy]:
    """Opening the database for a while: schedules that close it, and the alarm when one of them fails."""
    prefix = scope.prefix
    group = "CreateScheduleGroup DeleteScheduleGroup GetScheduleGroup ListTagsForResource TagResource UntagResource"
    yield allow(
        "ScheduleGroups", tuple(f"scheduler:{name}" for name in group.split()), scope.arn("scheduler", f"schedule-group/{prefix}-*")
    )
    yield allow(
        "Schedules",
        tuple(f"scheduler:{name}Schedule" for name in ("Create", "Delete", "Get", "Update")),
        scope.arn("scheduler", f"schedule/{prefix}-*/*"),
    )
    yield allow("SchedulesFind", "scheduler:ListSchedules", "*", scope.here)
    queue = "CreateQueue DeleteQueue GetQueueAttributes GetQueueUrl ListQueueTags SetQueueAttributes TagQueue UntagQueue"
    yield allow("Queues", tuple(f"sqs:{name}" for name in queue.split()), scope.arn("sqs", f"{prefix}-*"))
    topic = """CreateTopic DeleteTopic GetTopicAttributes ListSubscriptionsByTopic ListTagsForResource SetTopicAttributes Subscribe
        TagResource UntagResource"""
    yield allow("Topics", tuple(f"sns:{name}" for name in topic.split()), scope.arn("sns", f"{prefix}-*"))
    # AWS takes no resource for what is asked of a subscription.
    yield allow("TopicsFind", ("sns:GetSubscriptionAttributes", "sns:ListTopics", "sns:Unsubscribe"), "*", scope.here)
    if scope.settings.access.alarm_email:
        yield from _own_key(scope, "AlarmKey", scope.settings.region, ("EnableKeyRotation",))
    alarm = "DeleteAlarms ListTagsForResource PutMetricAlarm TagResource UntagResource"
    yield allow("Alarms", tuple(f"cloudwatch:{name}" for name in alarm.split()), scope.arn("cloudwatch", f"alarm:{prefix}-*"))
    yield allow("AlarmsFind", "cloudwatch:DescribeAlarms", "*", scope.here)


def _bastion(scope: _Scope) -> Iterator[Policy]:
    """A tunnel: an instance of our template that ends itself, and a session to it."""
    created = _both(scope.new, {"StringEquals": {"ec2:CreateAction": ["RunInstances", "CreateLaunchTemplate"]}})
    yield allow("TemplateCreate", "ec2:CreateLaunchTemplate", "*", scope.new)
    template = "CreateLaunchTemplateVersion DeleteLaunchTemplate DeleteLaunchTemplateVersions ModifyLaunchTemplate"
    yield allow("TemplateChange", tuple(f"ec2:{name}" for name in template.split()), "*", scope.ours)
    yield allow("BastionTag", "ec2:CreateTags", "*", created)
    parts = ("instance", "volume", "network-interface")
    yield allow("BastionStart", "ec2:RunInstances", tuple(scope.arn("ec2", f"{part}/*") for part in parts), scope.new)
    around = ("launch-template", "subnet", "security-group")
    yield allow("BastionPlace", "ec2:RunInstances", tuple(scope.arn("ec2", f"{part}/*") for part in around), scope.ours)
    image = f"arn:aws:ec2:{scope.settings.region}::image/*"
    yield allow("BastionImage", "ec2:RunInstances", image, {"StringEquals": {"ec2:Owner": "amazon"}})
    names = f"arn:aws:ssm:{scope.settings.region}::parameter/aws/service/ami-amazon-linux-latest/*"
    yield allow("BastionImageName", "ssm:GetParameters", names)
    yield allow("BastionEnd", "ec2:TerminateInstances", scope.arn("ec2", "instance/*"), scope.ours)
    yield allow("TunnelFind", "ssm:DescribeInstanceInformation", "*", scope.here)
    yield allow(
        "TunnelTo", "ssm:StartSession", scope.arn("ec2", "instance/*"), {"StringEquals": {"ssm:resourceTag/amianai:access": "bastion"}}
    )
    document = f"arn:aws:ssm:{scope.settings.region}::document/AWS-StartPortForwardingSessionToRemoteHost"
    yield allow("TunnelHow", "ssm:StartSession", document)
    yield allow("TunnelEnd", "ssm:TerminateSession", scope.arn("ssm", "session/*"), scope.here)
