"""The operator policy. Only AWS can say whether it suffices; here: that it is well formed, bounded, and names real operations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch, fnmatchcase
from typing import Any

import pytest
from botocore.session import Session

from amianai_infra.config import IamSettings, Settings, load_settings
from amianai_infra.database.restore import beside
from amianai_infra.rules.operator_policy import LONGEST, operator_policies, probes, size, statements
from amianai_infra.rules.policies import RDS_MONITORING_POLICY, actions_of

ACCOUNT = "123456789012"
SETTINGS = Settings(domain_name="example.com")
LONG = load_settings(
    {
        "domain_name": "a" * 60 + ".a-rather-long-name.example.com",
        "prefix": "abcdefghijklmnopqrst",
        "database.identifier": "abcdefghijklmnopqrst-" + "x" * 40,
        "region": "ap-southeast-2",
    },
    {},
    {},
)

# Permissions that are no API operation of the same name.
# Source: Service Authorization Reference, the page of each service.
NO_OPERATION = {
    "cognito-idp:AssociateWebACL",
    "cognito-idp:DisassociateWebACL",
    "cognito-idp:GetWebACLForResource",
    "cognito-idp:ListResourcesForWebACL",
    "iam:PassRole",
    "lambda:InvokeFunction",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "rds-db:connect",
    "s3:GetAccelerateConfiguration",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetObjectVersion",
    "s3:DeleteObjectVersion",
    "s3:GetReplicationConfiguration",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
    "s3:ListBucket",
    "s3:ListMultipartUploadParts",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:TagResource",
    "s3:UntagResource",
    "s3:ListTagsForResource",
}
SERVICES = {"tag": "resourcegroupstaggingapi"}


ELSEWHERE = load_settings(
    {
        "domain_name": "example.com",
        "database.backup_region": "us-west-2",
        "database.proxy": "true",
        "database.managed_password": "false",
        "database.replicas": "2",
        "auth.request_limit": "100",
        "auth.ses_identity_arn": "arn:aws:ses:us-east-1:123456789012:identity/example.com",
        "access.alarm_email": "ops@example.com",
        "dns.dnssec": "true",
        "dns.query_logging": "true",
        "site.bucket_logging": "true",
    },
    {},
    {},
)
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/eeyore-boundary"
BOUNDED = ELSEWHERE.model_copy(update={"iam": IamSettings(permissions_boundary=BOUNDARY)})


@pytest.mark.parametrize("settings", [SETTINGS, LONG, ELSEWHERE, BOUNDED], ids=["default", "long", "everything", "bounded"])
def test_every_policy_fits_its_quota(settings: Settings) -> None:
    policies = operator_policies(settings, ACCOUNT)
    assert 1 <= len(policies) <= 6, "a principal takes ten managed policies, and some are its own"
    for policy in policies:
        assert size(policy) <= LONGEST
        effects = {one["Effect"] for one in policy["Statement"]}
        assert effects <= {"Allow", "Deny"} if settings is BOUNDED else effects == {"Allow"}
    sids = [one["Sid"] for policy in policies for one in policy["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() for sid in sids)


def test_every_action_exists() -> None:
    """Names are those of API operations, but for the known exceptions: a typing error would grant nothing, silently."""
    session = Session()
    models: dict[str, set[str]] = {}
    for action in set(actions_of(operator_policies(BOUNDED, ACCOUNT))) - NO_OPERATION:
        service, _, name = action.partition(":")
        if service not in models:
            model = session.get_service_model(SERVICES.get(service, service))
            models[service] = {re.sub(r"\d{4}_\d\d_\d\d$", "", one) for one in model.operation_names}
        pattern = re.compile(re.escape(name).replace(r"\*", ".*"))
        assert any(pattern.fullmatch(one) for one in models[service]), action


def test_nothing_that_is_not_named_is_unbounded() -> None:
    """On every resource ("*") either a condition bounds it, or docs/aws.md says that AWS offers no bound."""
    unbounded = {
        statement["Sid"]
        for policy in operator_policies(SETTINGS, ACCOUNT)
        for statement in policy["Statement"]
        if statement["Resource"] == "*" and "Condition" not in statement
    }
    assert unbounded == {"CdnCreateAndRead", "DnsFind", "FindByTag", "IamFind"}


def test_a_web_acl_is_allowed_where_requests_are_limited_and_bounded_by_prefix_and_tag() -> None:
    assert not statements(SETTINGS, ACCOUNT)["request_limit"]
    found: dict[str, Any] = {one["Sid"]: one for one in statements(ELSEWHERE, ACCOUNT)["request_limit"]}
    acl = f"arn:aws:wafv2:us-east-1:{ACCOUNT}:regional/webacl/eeyore-*/*"
    pool = f"arn:aws:cognito-idp:us-east-1:{ACCOUNT}:userpool/*"
    on = {
        (action, one["Resource"])
        for one in found.values()
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }
    for service in ("wafv2", "cognito-idp"):
        assert {(f"{service}:AssociateWebACL", acl), (f"{service}:AssociateWebACL", pool)} <= on, "authorised on both"
    assert "aws:ResourceTag/amianai:stack" in found["WebAclOfPool"]["Condition"]["StringEquals"]
    assert "Condition" not in found["WebAclJoin"], "WAF knows no tags of a user pool: a condition on them would never hold"


def test_what_doctor_recommends_is_allowed_once_it_is_set() -> None:
    """Cognito makes its role for SES on behalf of the operator who names an identity."""
    plain, mailing = ({one["Sid"]: one for one in statements(each, ACCOUNT)["cognito"]} for each in (SETTINGS, ELSEWHERE))
    assert "CognitoMail" not in plain
    assert mailing["CognitoMail"]["Action"] == "iam:CreateServiceLinkedRole"
    assert mailing["CognitoMail"]["Resource"] == f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/email.cognito-idp.amazonaws.com/*"


def test_no_service_is_open_altogether() -> None:
    for action in actions_of(operator_policies(SETTINGS, ACCOUNT)):
        name = action.partition(":")[2]
        assert name not in ("*", ""), action
        assert "*" not in name or name.startswith(("Describe", "Get", "List")), action


def test_names_are_bounded_by_the_prefix() -> None:
    for service in ("s3", "iam", "ssm", "logs"):
        for statement in statements(SETTINGS, ACCOUNT)[service]:
            resources = statement["Resource"] if isinstance(statement["Resource"], (list, tuple)) else [statement["Resource"]]
            for resource in resources:
                known = ("eeyore", "oidc-provider/", "aws-service-role/rds")
                assert resource == "*" or any(part in resource for part in known), resource


def test_what_is_created_inside_a_network_is_allowed_on_the_network_too() -> None:
    """EC2 authorises these on the parent as well, where the request carries no tag."""
    found: dict[str, Any] = {one["Sid"]: one for one in statements(SETTINGS, ACCOUNT)["ec2"]}
    created, changed = ({action for action in found[sid]["Action"] if "ec2:Create" in action} for sid in ("Ec2Create", "Ec2Change"))
    assert created - changed == {"ec2:CreateVpc", "ec2:CreateInternetGateway"}
    assert "aws:ResourceTag/amianai:stack" in found["Ec2Change"]["Condition"]["StringEquals"]


def test_foreign_network_resources_cannot_be_given_our_tag() -> None:
    """Tags come with a creation, go to what is ours already, or to a security group."""
    found: dict[str, Any] = {one["Sid"]: one for one in statements(SETTINGS, ACCOUNT)["ec2"]}
    tagging = {sid: one for sid, one in found.items() if "ec2:CreateTags" in one["Action"]}
    assert set(tagging) == {"Ec2TagNew", "Ec2TagOurs", "Ec2TagDefaultGroup"}
    at_creation = tagging["Ec2TagNew"]["Condition"]["StringEquals"]["ec2:CreateAction"]
    assert [f"ec2:{name}" for name in at_creation] == list(found["Ec2Create"]["Action"])
    assert "aws:ResourceTag/amianai:stack" in tagging["Ec2TagOurs"]["Condition"]["StringEquals"]
    assert tagging["Ec2TagDefaultGroup"]["Resource"] == f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/*"


def test_what_recovery_and_doctor_ask() -> None:
    allowed = set(actions_of(operator_policies(SETTINGS, ACCOUNT)))
    assert {"acm:ListCertificates", "iam:ListOpenIDConnectProviders", "iam:GetRole"} <= allowed
    (role,) = [one for one in statements(SETTINGS, ACCOUNT)["tagging"] if one["Action"] == "iam:GetRole"]
    assert role["Resource"] == f"arn:aws:iam::{ACCOUNT}:role/*", "whichever role the operator has assumed"


STACK_TAG = {"aws:ResourceTag/amianai:stack": "amianai-infra/prod"}
FOREIGN = {"aws:ResourceTag/amianai:stack": "amianai-infra/staging"}


def listed(value: str | Sequence[str]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value


def holds(condition: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    """IAM's rule for the operators that we use: without the key only a negated one holds, and what is said of all values."""
    for test, keys in condition.items():
        for key, wanted in keys.items():
            matches = [one for one in listed(wanted) if fnmatchcase(context.get(key, ""), one)] if key in context else []
            if not {"StringNotEquals": not matches}.get(test, bool(matches) or (test.startswith("ForAllValues:") and key not in context)):
                return False
    return True


def may(settings: Settings, action: str, resource: str, context: Mapping[str, str] | None = None) -> bool:
    """What IAM would answer by these policies alone."""
    effects = {
        one["Effect"]
        for policy in operator_policies(settings, ACCOUNT)
        for one in policy["Statement"]
        if any(fnmatchcase(action, pattern) for pattern in listed(one["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in listed(one["Resource"]))
        and holds(one.get("Condition", {}), {"aws:RequestedRegion": "us-east-1", **(context or {})})
    }
    return effects == {"Allow"}


@pytest.mark.parametrize("action", ["UpdateDistribution", "DeleteDistribution", "CreateInvalidation", "UntagResource"])
def test_a_distribution_is_changed_only_if_it_is_the_stacks(action: str) -> None:
    distribution = f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1"
    assert may(SETTINGS, f"cloudfront:{action}", distribution, STACK_TAG)
    for context in ({}, FOREIGN):
        assert not may(SETTINGS, f"cloudfront:{action}", distribution, context)


def test_a_distribution_is_created_with_the_stacks_tag_alone() -> None:
    tagging = {"aws:RequestTag/amianai:stack": "amianai-infra/prod"}
    for action in ("cloudfront:CreateDistribution", "cloudfront:TagResource"):
        assert may(SETTINGS, action, "*", tagging)
        assert not may(SETTINGS, action, "*")
        assert not may(SETTINGS, action, "*", {"aws:RequestTag/amianai:stack": "another"})
    assert may(SETTINGS, "cloudfront:CreateFunction", "*"), "AWS takes no resource for it"


@pytest.mark.parametrize("action", ["DeleteCertificate", "RemoveTagsFromCertificate", "UpdateCertificateOptions"])
def test_a_certificate_is_changed_only_if_it_is_the_stacks(action: str) -> None:
    certificate = f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/1"
    assert may(SETTINGS, f"acm:{action}", certificate, STACK_TAG)
    for context in ({}, FOREIGN):
        assert not may(SETTINGS, f"acm:{action}", certificate, context)
    assert may(SETTINGS, "acm:ListTagsForCertificate", certificate), "recovery looks for its own"


@pytest.mark.parametrize("action", ["GetSecretValue", "DescribeSecret", "DeleteSecret", "RotateSecret", "UpdateSecret"])
def test_the_master_secret_of_another_database_is_out_of_reach(action: str) -> None:
    secret = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:rds!db-0000-AbCdEf"

    def of(identifier: str) -> dict[str, str]:
        return {"aws:ResourceTag/aws:rds:primaryDBInstanceArn": f"arn:aws:rds:us-east-1:{ACCOUNT}:db:{identifier}"}

    assert may(SETTINGS, f"secretsmanager:{action}", secret, of("eeyore-postgres"))
    assert may(SETTINGS, f"secretsmanager:{action}", secret, of(beside("eeyore-postgres", "copy", "260301120000")))
    for context in ({}, of("another"), STACK_TAG):
        assert not may(SETTINGS, f"secretsmanager:{action}", secret, context)
    assert may(SETTINGS, "secretsmanager:CreateSecret", secret), "RDS makes it on the operator's behalf, before it has a tag"


ROLE = f"arn:aws:iam::{ACCOUNT}:role/eeyore-deploy"
GRANTS = ["iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"]


@pytest.mark.parametrize("action", [*GRANTS, "iam:AttachRolePolicy"])
def test_rights_are_given_under_the_boundary_alone(action: str) -> None:
    attached = {"iam:PolicyARN": RDS_MONITORING_POLICY}
    assert may(BOUNDED, action, ROLE, {"iam:PermissionsBoundary": BOUNDARY, **attached})
    for context in ({}, {"iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/wide"}):
        assert not may(BOUNDED, action, ROLE, {**context, **attached})
    assert may(SETTINGS, action, ROLE, attached) is (action != "iam:PutRolePermissionsBoundary")


def test_the_boundary_can_be_neither_taken_off_nor_changed() -> None:
    bounded = {"iam:PermissionsBoundary": BOUNDARY}
    denied = {
        action: one["Sid"]
        for policy in operator_policies(BOUNDED, ACCOUNT)
        for one in policy["Statement"]
        if one["Effect"] == "Deny"
        for action in listed(one["Action"])
    }
    assert not may(BOUNDED, "iam:DeleteRolePermissionsBoundary", ROLE, bounded)
    assert {"iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary"} <= set(denied), "whatever else the operator holds"
    assert {"iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion"} <= set(denied)
    for probe in probes(BOUNDED, ACCOUNT):
        assert not set(denied) & set(probe.actions) - {"iam:PutRolePermissionsBoundary"}, "doctor asks for what is needed"


def test_a_proxy_is_created_with_the_stacks_tag_alone() -> None:
    """AWS takes no resource for it."""
    tagging = {"aws:RequestTag/amianai:stack": "amianai-infra/prod"}
    assert may(ELSEWHERE, "rds:CreateDBProxy", "*", tagging)
    assert not may(ELSEWHERE, "rds:CreateDBProxy", "*")
    assert not may(SETTINGS, "rds:CreateDBProxy", "*", tagging)


def test_what_asks_about_a_subscription_takes_no_resource() -> None:
    for action in ("sns:GetSubscriptionAttributes", "sns:Unsubscribe"):
        assert may(SETTINGS, action, "*")


@pytest.mark.parametrize(
    ("key", "action", "resource"),
    [
        ("dns.dnssec", "route53:EnableHostedZoneDNSSEC", "arn:aws:route53:::hostedzone/Z1"),
        ("dns.dnssec", "route53:CreateKeySigningKey", "arn:aws:route53:::hostedzone/Z1"),
        ("dns.query_logging", "route53:CreateQueryLoggingConfig", "arn:aws:route53:::hostedzone/Z1"),
        ("dns.query_logging", "logs:PutResourcePolicy", "*"),
        ("dns.query_logging", "logs:CreateLogGroup", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/eeyore/dns/queries"),
    ],
)
def test_an_option_brings_its_rights_and_no_other_stack_has_them(key: str, action: str, resource: str) -> None:
    elsewhere = {"domain_name": "example.com", "region": "eu-west-1"}
    assert may(load_settings({**elsewhere, key: "true"}, {}, {}), action, resource)
    assert not may(load_settings(elsewhere, {}, {}), action, resource)


@pytest.mark.parametrize(
    ("settings", "region"),
    [
        ({"dns.dnssec": "true", "region": "eu-west-1"}, "us-east-1"),
        ({"access.alarm_email": "ops@example.com", "region": "eu-west-1"}, "eu-west-1"),
    ],
)
def test_a_key_of_the_stacks_own_is_made_where_it_is_needed(settings: dict[str, str], region: str) -> None:
    chosen = load_settings({"domain_name": "example.com", **settings}, {}, {})
    key = f"arn:aws:kms:{region}:{ACCOUNT}:key/1"
    tagging = {"aws:RequestTag/amianai:stack": "amianai-infra/prod", "aws:RequestedRegion": region}
    assert may(chosen, "kms:CreateKey", "*", tagging)
    assert may(chosen, "kms:PutKeyPolicy", key, {**STACK_TAG, "aws:RequestedRegion": region})
    assert not may(chosen, "kms:PutKeyPolicy", key, {"aws:RequestedRegion": region})


def test_a_role_is_passed_to_four_services_and_takes_one_managed_policy() -> None:
    found: dict[str, Any] = {one["Sid"]: one for one in statements(SETTINGS, ACCOUNT)["iam"]}
    assert found["IamPass"]["Condition"]["StringEquals"]["iam:PassedToService"] == [
        "monitoring.rds.amazonaws.com",
        "vpc-flow-logs.amazonaws.com",
        "scheduler.amazonaws.com",
        "ec2.amazonaws.com",
    ]
    assert list(found["IamAttach"]["Condition"]) == ["ArnEquals"]


def test_records_of_other_domains_are_out_of_reach() -> None:
    (records,) = [one for one in statements(SETTINGS, ACCOUNT)["route53"] if one["Sid"] == "DnsRecords"]
    assert records["Condition"]["ForAllValues:StringLike"] == {
        "route53:ChangeResourceRecordSetsNormalizedRecordNames": ["example.com", "*.example.com"]
    }


def test_probes_ask_for_everything_that_is_allowed() -> None:
    found = probes(SETTINGS, ACCOUNT)
    assert sorted({action for probe in found for action in probe.actions}) == actions_of(operator_policies(SETTINGS, ACCOUNT))
    assert all(probe.resource == "*" or "*" not in probe.resource for probe in found)
    create = next(probe for probe in found if "ec2:CreateVpc" in probe.actions)
    assert {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in create.context_entries()} == {
        "aws:RequestTag/amianai:stack": ["amianai-infra/prod"],
        "aws:RequestedRegion": ["us-east-1"],
    }


def test_the_second_region_takes_backups_and_nothing_else() -> None:
    def there(settings: Settings) -> dict[str, Any]:
        return {
            one["Sid"]: one for policy in operator_policies(settings, ACCOUNT) for one in policy["Statement"] if "us-west-2" in str(one)
        }

    assert there(SETTINGS) == {}
    found = there(ELSEWHERE)
    assert set(found) == {
        *("BackupCopy", "BackupCopyRead", "BackupFetch"),
        *("BackupKey", "BackupKeyCreate", "BackupKeyFind", "BackupKeyTag", "BackupKeyTags", "BackupKeyThroughRds"),
    }
    deleted = [name for name in found["BackupFetch"]["Resource"] if ":db:" in name or ":snapshot:" in name]
    assert deleted == [f"arn:aws:rds:us-west-2:{ACCOUNT}:{kind}:{ELSEWHERE.database.identifier}-away-*" for kind in ("db", "snapshot")]
    assert {action.partition(":")[0] for one in found.values() for action in listed(one["Action"])} == {"rds", "kms"}
    assert "aws:RequestTag/amianai:stack" in found["BackupKeyCreate"]["Condition"]["StringEquals"]
    assert "aws:ResourceTag/amianai:stack" in found["BackupKey"]["Condition"]["StringEquals"]


def test_what_a_restore_touches_is_allowed() -> None:
    (change,) = [one for one in statements(LONG, ACCOUNT)["rds"] if one["Sid"] == "RdsChange"]
    copy = beside(LONG.database.identifier, "copy", "260301120000")
    wanted = (f"db:{copy}", f"snapshot:rds:{LONG.database.identifier}-2026-03-01-03-05", "auto-backup:ab-1")
    for name in wanted:
        assert any(fnmatch(f"arn:aws:rds:{LONG.region}:{ACCOUNT}:{name}", pattern) for pattern in change["Resource"]), name
