"""What bounds rights and keeps records: boundaries, keys, resource policies and logs, with the real engine and the emulator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi_aws as aws
import pytest

from amianai_infra.errors import EngineError
from amianai_infra.rules.policies import alarm_key, log_bucket, own_secret, query_log_writer, service_trust, signing_key
from tests.functional.conftest import Bench, Program, changed
from tests.functional.test_provider import stack, steps

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")

ACCOUNT = "000000000000"
ZONE = "arn:aws:route53:::hostedzone/Z1"
OPEN = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@dataclass
class Chosen:
    boundary: str | None = None
    prefix: str = "s3/"
    encrypted: bool = True
    account: str = ACCOUNT
    logged: bool = True


def everything(chosen: Chosen) -> Program:
    def program() -> None:
        aws.iam.Role(
            "role",
            name="rights-role",
            assume_role_policy=json.dumps(service_trust("ec2.amazonaws.com")),
            permissions_boundary=chosen.boundary,
        )
        key = aws.kms.Key("key", policy=json.dumps(alarm_key(ACCOUNT)), enable_key_rotation=True)
        aws.sns.Topic("topic", name="rights-topic", kms_master_key_id=key.arn if chosen.encrypted else None)
        aws.secretsmanager.Secret("secret", name="rights/secret", recovery_window_in_days=0, policy=json.dumps(own_secret(chosen.account)))
        site, logs = (aws.s3.Bucket(name, bucket=f"rights-{name}") for name in ("site", "logs"))
        rule = log_bucket("arn:aws:s3:::rights-logs", "s3/", "arn:aws:s3:::rights-site", ACCOUNT)
        aws.s3.BucketPolicy("logs-policy", bucket=logs.id, policy=json.dumps(rule))
        if chosen.logged:
            aws.s3.BucketLogging("logging", bucket=site.id, target_bucket=logs.id, target_prefix=chosen.prefix)
        group = aws.cloudwatch.LogGroup("queries", name="/rights/dns/queries", retention_in_days=30)
        leave = group.arn.apply(lambda arn: json.dumps(query_log_writer(arn, chosen.account, ZONE)))
        aws.cloudwatch.LogResourcePolicy("leave", policy_name="rights-queries", policy_document=leave)

    return program


def boundary(bench: Bench) -> str | None:
    role = bench.client("iam").get_role(RoleName="rights-role")["Role"]
    found: str | None = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return found


def test_the_whole_life(bench: Bench, tmp_path: Path) -> None:
    iam, s3, sns, logs = (bench.client(name) for name in ("iam", "s3", "sns", "logs"))
    manager = bench.client("secretsmanager")
    arns = [iam.create_policy(PolicyName=f"rights-{name}", PolicyDocument=json.dumps(OPEN))["Policy"]["Arn"] for name in ("a", "b")]
    chosen = Chosen(boundary=arns[0])
    with stack(bench, tmp_path, everything(chosen)) as made:
        assert changed(made.up()) == {"create": 10}
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}
        assert boundary(bench) == arns[0]
        topic = next(one.id for one in made.resources() if one.type == "aws:sns/topic:Topic")
        assert ":key/" in sns.get_topic_attributes(TopicArn=topic)["Attributes"]["KmsMasterKeyId"]
        assert s3.get_bucket_logging(Bucket="rights-site")["LoggingEnabled"]["TargetPrefix"] == "s3/"
        assert "OwnAccountOnly" in manager.get_resource_policy(SecretId="rights/secret")["ResourcePolicy"]

        chosen.boundary, chosen.prefix, chosen.encrypted, chosen.account = arns[1], "log/", False, "111111111111"
        assert set(steps(made.up())) == {"role", "topic", "secret", "logging", "leave"}
        assert boundary(bench) == arns[1]
        assert not sns.get_topic_attributes(TopicArn=topic)["Attributes"].get("KmsMasterKeyId")
        assert "111111111111" in manager.get_resource_policy(SecretId="rights/secret")["ResourcePolicy"]
        (policy,) = logs.describe_resource_policies()["resourcePolicies"]
        assert "111111111111" in policy["policyDocument"]
        assert changed(made.refresh()) == {}

        iam.delete_role_permissions_boundary(RoleName="rights-role")
        s3.put_bucket_logging(Bucket="rights-site", BucketLoggingStatus={})
        logs.delete_resource_policy(policyName="rights-queries")
        manager.delete_resource_policy(SecretId="rights/secret")
        assert changed(made.refresh()) == {"update": 2, "delete": 2}
        assert changed(made.up()) == {"update": 2, "create": 2}
        assert boundary(bench) == arns[1], "taken off behind our back, and back again"

        chosen.boundary, chosen.logged = None, False
        made.up()
        assert boundary(bench) is None
        assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="rights-site")
    assert logs.describe_resource_policies()["resourcePolicies"] == []


def test_a_key_that_signs(bench: Bench, tmp_path: Path) -> None:
    said = {"usage": "SIGN_VERIFY", "spec": "ECC_NIST_P256"}

    def program() -> None:
        policy = json.dumps(signing_key(ACCOUNT, ZONE))
        aws.kms.Key("signing", key_usage=said["usage"], customer_master_key_spec=said["spec"], policy=policy)

    with stack(bench, tmp_path, program) as made:
        made.up()
        (key,) = [one for one in made.resources() if one.type == "aws:kms/key:Key"]
        found = bench.client("kms").describe_key(KeyId=key.id)["KeyMetadata"]
        assert (found["KeyUsage"], found["KeySpec"]) == ("SIGN_VERIFY", "ECC_NIST_P256")
        assert changed(made.up()) == {}
        assert changed(made.refresh()) == {}
        said["spec"] = "ECC_NIST_P384"
        assert changed(made.preview()) == {"replace": 1}


@pytest.mark.parametrize(
    ("declare", "setting"),
    [
        (
            lambda: aws.route53.KeySigningKey("ksk", name="ksk", hosted_zone_id="Z1", key_management_service_arn="arn:aws:kms:x"),
            "dns.dnssec",
        ),
        (lambda: aws.route53.HostedZoneDnsSec("dnssec", hosted_zone_id="Z1"), "dns.dnssec"),
        (lambda: aws.route53.QueryLog("log", zone_id="Z1", cloudwatch_log_group_arn="arn:aws:logs:x"), "dns.query_logging"),
    ],
    ids=["key", "signature", "query log"],
)
def test_what_the_emulator_has_not_is_refused_in_preview(bench: Bench, tmp_path: Path, declare: Any, setting: str) -> None:
    with pytest.raises(EngineError, match=f"leave {setting} off here"):
        bench.stack(tmp_path, declare).preview()
