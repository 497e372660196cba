"""Security scanners over what the program declares, compared with docs/security-findings.md. Run by `./scripts/scan.sh`.

The program is recorded as the tests record it, with the defaults and with every option, and rendered twice: each policy of a
principal as a file of its own (parliament, cloudsplaining), and the resources as Terraform's JSON of a plan (checkov), which is
honest because pulumi-aws is bridged from Terraform's provider: names differ in spelling alone, and a type without a counterpart
here is an error.

What it cannot say: how AWS itself would judge; and nothing about a running account, which is Prowler's field.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from amianai_infra.config import load_settings
from amianai_infra.rules.operator_policy import operator_policies
from amianai_infra.rules.policies import document
from tests.components.recorder import ACCOUNT, Recorded, Recording, computed, record_program
from tests.components.test_stack import BOUNDARY, EVERYTHING, config, run

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security-findings.md"
VARIANTS: dict[str, dict[str, str]] = {
    "default": {},
    "everything": EVERYTHING,
    "bounded": {**EVERYTHING, "iam__permissions_boundary": BOUNDARY},
}

TYPES = {
    "acm/certificate:Certificate": "aws_acm_certificate",
    "acm/certificateValidation:CertificateValidation": "aws_acm_certificate_validation",
    "cloudfront/distribution:Distribution": "aws_cloudfront_distribution",
    "cloudfront/function:Function": "aws_cloudfront_function",
    "cloudfront/keyValueStore:KeyValueStore": "aws_cloudfront_key_value_store",
    "cloudfront/originAccessControl:OriginAccessControl": "aws_cloudfront_origin_access_control",
    "cloudfront/responseHeadersPolicy:ResponseHeadersPolicy": "aws_cloudfront_response_headers_policy",
    "cloudwatch/logGroup:LogGroup": "aws_cloudwatch_log_group",
    "cloudwatch/logResourcePolicy:LogResourcePolicy": "aws_cloudwatch_log_resource_policy",
    "cloudwatch/metricAlarm:MetricAlarm": "aws_cloudwatch_metric_alarm",
    "cognito/userPool:UserPool": "aws_cognito_user_pool",
    "cognito/userPoolClient:UserPoolClient": "aws_cognito_user_pool_client",
    "cognito/userPoolDomain:UserPoolDomain": "aws_cognito_user_pool_domain",
    "ec2/defaultSecurityGroup:DefaultSecurityGroup": "aws_default_security_group",
    "ec2/eip:Eip": "aws_eip",
    "ec2/flowLog:FlowLog": "aws_flow_log",
    "ec2/internetGateway:InternetGateway": "aws_internet_gateway",
    "ec2/launchTemplate:LaunchTemplate": "aws_launch_template",
    "ec2/natGateway:NatGateway": "aws_nat_gateway",
    "ec2/route:Route": "aws_route",
    "ec2/routeTable:RouteTable": "aws_route_table",
    "ec2/routeTableAssociation:RouteTableAssociation": "aws_route_table_association",
    "ec2/securityGroup:SecurityGroup": "aws_security_group",
    "ec2/subnet:Subnet": "aws_subnet",
    "ec2/vpc:Vpc": "aws_vpc",
    "ec2/vpcEndpoint:VpcEndpoint": "aws_vpc_endpoint",
    "iam/instanceProfile:InstanceProfile": "aws_iam_instance_profile",
    "iam/openIdConnectProvider:OpenIdConnectProvider": "aws_iam_openid_connect_provider",
    "iam/role:Role": "aws_iam_role",
    "iam/rolePolicy:RolePolicy": "aws_iam_role_policy",
    "iam/rolePolicyAttachment:RolePolicyAttachment": "aws_iam_role_policy_attachment",
    "kms/key:Key": "aws_kms_key",
    "lambda/function:Function": "aws_lambda_function",
    "lambda/permission:Permission": "aws_lambda_permission",
    "rds/instance:Instance": "aws_db_instance",
    "rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": "aws_db_instance_automated_backups_replication",
    "rds/parameterGroup:ParameterGroup": "aws_db_parameter_group",
    "rds/proxy:Proxy": "aws_db_proxy",
    "rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup": "aws_db_proxy_default_target_group",
    "rds/proxyTarget:ProxyTarget": "aws_db_proxy_target",
    "rds/subnetGroup:SubnetGroup": "aws_db_subnet_group",
    "route53/hostedZoneDnsSec:HostedZoneDnsSec": "aws_route53_hosted_zone_dnssec",
    "route53/keySigningKey:KeySigningKey": "aws_route53_key_signing_key",
    "route53/queryLog:QueryLog": "aws_route53_query_log",
    "route53/record:Record": "aws_route53_record",
    "route53/zone:Zone": "aws_route53_zone",
    "s3/bucket:Bucket": "aws_s3_bucket",
    "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "aws_s3_bucket_lifecycle_configuration",
    "s3/bucketLogging:BucketLogging": "aws_s3_bucket_logging",
    "s3/bucketOwnershipControls:BucketOwnershipControls": "aws_s3_bucket_ownership_controls",
    "s3/bucketPolicy:BucketPolicy": "aws_s3_bucket_policy",
    "s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "aws_s3_bucket_public_access_block",
    "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        "aws_s3_bucket_server_side_encryption_configuration"
    ),
    "s3/bucketVersioning:BucketVersioning": "aws_s3_bucket_versioning",
    "scheduler/scheduleGroup:ScheduleGroup": "aws_scheduler_schedule_group",
    "secretsmanager/secret:Secret": "aws_secretsmanager_secret",
    "secretsmanager/secretRotation:SecretRotation": "aws_secretsmanager_secret_rotation",
    "sns/topic:Topic": "aws_sns_topic",
    "sns/topicSubscription:TopicSubscription": "aws_sns_topic_subscription",
    "sqs/queue:Queue": "aws_sqs_queue",
    "ssm/parameter:Parameter": "aws_ssm_parameter",
    "wafv2/webAcl:WebAcl": "aws_wafv2_web_acl",
    "wafv2/webAclAssociation:WebAclAssociation": "aws_wafv2_web_acl_association",
    "vpc/securityGroupEgressRule:SecurityGroupEgressRule": "aws_vpc_security_group_egress_rule",
    "vpc/securityGroupIngressRule:SecurityGroupIngressRule": "aws_vpc_security_group_ingress_rule",
}
# Repeated blocks are plural in Pulumi and singular in Terraform.
BLOCKS: dict[str, str | dict[str, str]] = {
    "aliases": {"aws_route53_record": "alias"},
    "auths": "auth",
    "clientIdLists": "client_id_list",
    "customErrorResponses": "custom_error_response",
    "functionAssociations": "function_association",
    "origins": "origin",
    "parameters": "parameter",
    "rules": "rule",
}

MAPS = ("tags", "variables")


@dataclass(frozen=True, order=True)
class Finding:
    """What one scanner says about one thing."""

    tool: str
    check: str
    where: str


def snake(name: str) -> str:
    """`camelCase` as Terraform spells it."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def terraform(value: Any, kind: str) -> Any:
    """A value of a resource in Terraform's spelling; an object is a block, which a plan holds as a list of one."""
    if isinstance(value, dict):
        return {block(key, kind): item if key in MAPS else as_block(terraform(item, kind)) for key, item in value.items()}
    if isinstance(value, list):
        return [terraform(item, kind) for item in value]
    return value


def as_block(value: Any) -> Any:
    """An object inside a resource is a block."""
    return [value] if isinstance(value, dict) else value


def block(name: str, kind: str) -> str:
    """A property's name in Terraform."""
    found = BLOCKS.get(name, snake(name))
    return found if isinstance(found, str) else found.get(kind, snake(name))


def rendered(found: Recording) -> dict[str, Any]:
    """Every resource of a recording as Terraform's JSON of a plan."""
    mine = [one for one in found.resources if one.type.startswith("aws:")]
    known = {value: address for one in mine for value, address in identities(one)}
    planned, declared, changes = [], [], []
    for one in mine:
        kind = terraform_type(one)
        head = {"address": f"{kind}.{one.name}", "mode": "managed", "type": kind, "name": one.name}
        values = terraform({name: value for name, value in one.inputs.items() if name != "code"}, kind)
        planned.append({**head, "provider_name": "registry.terraform.io/hashicorp/aws", "values": values})
        declared.append({**head, "provider_config_key": "aws", "expressions": references(values, known)})
        changes.append({**head, "change": {"actions": ["create"], "before": None, "after": values}})
    return {
        "format_version": "1.2",
        "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": planned}},
        "resource_changes": changes,
        "configuration": {"root_module": {"resources": declared}},
    }


def terraform_type(one: Recorded) -> str:
    """The counterpart of a resource's type."""
    return TYPES[one.type.removeprefix("aws:")]


def identities(one: Recorded) -> Iterator[tuple[str, str]]:
    """What other resources name this one by, with its address in Terraform."""
    address = f"{terraform_type(one)}.{one.name}"
    yield f"{one.name}-id", f"{address}.id"
    for name, value in computed(one.type, one.name, one.inputs).items():
        if name in ("arn", "domainName") and isinstance(value, str):
            yield value, f"{address}.{snake(name)}"
    if isinstance(one.inputs.get("name"), str) and "parameterGroup" in one.type:
        yield one.inputs["name"], f"{address}.name"


def references(value: Any, known: Mapping[str, str]) -> Any:
    """Which arguments name other resources, in the shape that a plan's configuration has."""
    if isinstance(value, dict):
        return {name: references(item, known) for name, item in value.items()}
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [references(item, known) for item in value]
    texts = value if isinstance(value, list) else [value]
    named = [known[text] for text in texts if isinstance(text, str) and text in known]
    return {"references": [part for one in named for part in (one, one.rpartition(".")[0])]} if named else {"constant_value": value}


def principals(variant: str, found: Recording) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and document of every policy that says what a principal may do; the operator's in one, for what they allow together."""
    flags = {name.replace("__", "."): value for name, value in VARIANTS[variant].items()}
    policies = operator_policies(load_settings({"domain_name": "example.com", **flags}, {}, {}), ACCOUNT)
    yield "operator", document(*(statement for policy in policies for statement in policy["Statement"]))
    for one in found.of("RolePolicy"):
        yield one.name, one.json("policy")


def write(folder: Path) -> None:
    """Render all variants."""
    for variant, flags in VARIANTS.items():
        found = run(record_program, config(**flags))
        (folder / "plans").mkdir(parents=True, exist_ok=True)
        (folder / "plans" / f"{variant}.json").write_text(json.dumps(rendered(found), indent=1))
        (folder / "policies").mkdir(exist_ok=True)
        (folder / "statements").mkdir(exist_ok=True)
        for name, policy in principals(variant, found):
            (folder / "policies" / f"{variant}.{name}.json").write_text(json.dumps(policy, indent=1))
            for statement in policy["Statement"]:
                alone = folder / "statements" / f"{variant}.{name} {statement['Sid']}.json"
                alone.write_text(json.dumps(document(statement), indent=1))


def output(*command: str | Path) -> str:
    """What a scanner prints; its exit code says whether it found something, which is not a failure here."""
    return subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False).stdout


def checkov(tools: Path, folder: Path) -> Iterator[Finding]:
    """Failed checks of the resources, by check and resource."""
    for plan in sorted((folder / "plans").glob("*.json")):
        options = ("--framework", "terraform_plan", "--output", "json", "--quiet", "--compact", "--skip-download")
        answer = json.loads(output(tools / "checkov" / "bin" / "checkov", "--file", plan, *options))
        for one in answer["results"]["failed_checks"]:
            yield Finding("checkov", one["check_id"], one["resource"])


def parliament(tools: Path, folder: Path) -> Iterator[Finding]:
    """Findings about statements: each was given as a policy of its own, so that its name tells which."""
    options = ("--include_policy_extension", "json", "--json")
    for line in output(tools / "parliament" / "bin" / "parliament", "--directory", folder / "statements", *options).splitlines():
        one = json.loads(line)
        yield Finding("parliament", one["issue"], owner(one["location"]["filepath"]))


CLOUDSPLAINING = """
import json, sys
from cloudsplaining.command.scan_policy_file import scan_policy
for path in sys.argv[1:]:
    policy = json.load(open(path))
    plain = scan_policy(policy)
    strict = scan_policy(policy, flag_conditional_statements=True, flag_resource_arn_statements=True)
    grave = ("PrivilegeEscalation", "CredentialsExposure", "DataExfiltration", "ResourceExposure")
    for check, said in {**plain, **{check: strict[check] for check in grave}}.items():
        for one in said["findings"] if isinstance(said, dict) else said:
            print(json.dumps([path, check, one if isinstance(one, str) else one["type"]]))
"""
"""As its command does by default, and for the four grave kinds also where conditions or resources bound them (`-aR`)."""


def cloudsplaining(tools: Path, folder: Path) -> Iterator[Finding]:
    """Findings about whole policies, by kind and action."""
    policies = sorted((folder / "policies").glob("*.json"))
    for line in output(tools / "cloudsplaining" / "bin" / "python", "-c", CLOUDSPLAINING, *policies).splitlines():
        path, check, what = json.loads(line)
        yield Finding("cloudsplaining", check, f"{owner(path)} {what}")


def owner(path: str) -> str:
    """Whose policy or statement it is, without the variant."""
    return Path(path).name.removesuffix(".json").partition(".")[2]


def listed() -> dict[Finding, str]:
    """The rows of the page: tool, check, where (with `*`), reason."""
    rows = re.findall(r"^\| (\w+) \| `([^`]+)` \| (.+?) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {Finding(tool, check, place): why for tool, check, places, why in rows for place in re.findall(r"`([^`]+)`", places)}


def main(tools: Path, folder: Path) -> int:
    """Scan, and compare with the page. 1 when one of them says what the other does not."""
    write(folder)
    found = {*checkov(tools, folder), *parliament(tools, folder), *cloudsplaining(tools, folder)}
    rows = [row for row in listed() if row.tool != "prowler"]
    missing = sorted(one for one in found if not any(covers(row, one) for row in rows))
    stale = sorted(row for row in rows if not any(covers(row, one) for one in found))
    for title, some in (("not listed", missing), ("listed and not found", stale)):
        for one in some:
            print(title, one.tool, one.check, one.where, sep="\t")
    print(f"{len(found)} findings, {len(missing)} not listed, {len(stale)} rows out of date")
    return 1 if missing or stale else 0


def covers(row: Finding, one: Finding) -> bool:
    """Whether a row of the page speaks of this finding."""
    return (row.tool, row.check) == (one.tool, one.check) and fnmatchcase(one.where, row.where)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
