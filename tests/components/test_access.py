"""What opens the database for a while and closes it again."""

from __future__ import annotations

import base64

from amianai_infra.components.access import Access, AccessArgs
from tests.components.recorder import ACCOUNT, Record

ARGS: AccessArgs = {
    "prefix": "eeyore",
    "region": "us-east-1",
    "account": ACCOUNT,
    "vpc_id": "vpc-1",
    "route_table_ids": ["rtb-1", "rtb-2"],
    "database_identifier": "eeyore-postgres",
    "database_security_group_id": "sg-1",
    "database_port": 5432,
    "database_cidrs": ["10.0.10.0/24", "10.0.11.0/24"],
}


def test_what_there_is(record: Record) -> None:
    assert record(lambda: Access("access", ARGS)).counts() == {
        "ScheduleGroup": 1,
        "Queue": 1,
        "Topic": 1,
        "MetricAlarm": 1,
        "Role": 2,
        "RolePolicy": 2,
        "SecurityGroup": 1,
        "SecurityGroupEgressRule": 3,
        "SecurityGroupIngressRule": 1,
        "InstanceProfile": 1,
        "LaunchTemplate": 1,
    }


def test_the_schedules_may_undo_and_nothing_else(record: Record) -> None:
    found = record(lambda: Access("access", ARGS))
    statements = found.one("RolePolicy", "access-closer-policy").json("policy")["Statement"]
    assert {one["Action"]: one["Resource"] for one in statements} == {
        "ec2:RevokeSecurityGroupIngress": [
            f"arn:aws:ec2:us-east-1:{ACCOUNT}:{one}" for one in ("security-group/sg-1", "security-group-rule/*")
        ],
        "ec2:DeleteRoute": [f"arn:aws:ec2:us-east-1:{ACCOUNT}:route-table/{table}" for table in ("rtb-1", "rtb-2")],
        "rds:ModifyDBInstance": f"arn:aws:rds:us-east-1:{ACCOUNT}:db:eeyore-postgres",
        "ec2:TerminateInstances": f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/*",
        "sqs:SendMessage": f"arn:aws:sqs:us-east-1:{ACCOUNT}:eeyore-database-access-failed",
    }
    (bastions,) = [one for one in statements if one["Action"] == "ec2:TerminateInstances"]
    assert bastions["Condition"] == {"StringEquals": {"aws:ResourceTag/amianai:access": "bastion"}}
    trust = found.one("Role", "access-closer").json("assumeRolePolicy")["Statement"][0]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert set(trust["Condition"]["StringEquals"]) == {"aws:SourceAccount", "aws:SourceArn"}
    assert "scheduleGroup" in trust["Condition"]["StringEquals"]["aws:SourceArn"].replace("ScheduleGroup", "scheduleGroup")


def test_what_could_not_be_undone_is_heard(record: Record) -> None:
    found = record(lambda: Access("access", {**ARGS, "alarm_email": "ops@example.com"}))
    alarm = found.one("MetricAlarm").inputs
    assert (alarm["namespace"], alarm["metricName"]) == ("AWS/SQS", "ApproximateNumberOfMessagesVisible")
    assert alarm["dimensions"] == {"QueueName": "eeyore-database-access-failed"}
    assert (alarm["comparisonOperator"], alarm["threshold"], alarm["period"]) == ("GreaterThanThreshold", 0, 60)
    assert alarm["alarmActions"] == [f"arn:aws:sns:us-east-1:{ACCOUNT}:eeyore-database-access-failed"]
    assert found.one("TopicSubscription").inputs["endpoint"] == "ops@example.com"
    assert found.one("Queue").inputs["sqsManagedSseEnabled"] is True


def test_a_bastion_lets_nobody_in_and_ends_itself(record: Record) -> None:
    found = record(lambda: Access("access", ARGS))
    template = found.one("LaunchTemplate").inputs
    assert template["instanceInitiatedShutdownBehavior"] == "terminate"
    assert base64.b64decode(template["userData"]) == b"#!/bin/sh\nshutdown -h +720\n"
    assert template["metadataOptions"]["httpTokens"] == "required"
    assert "keyName" not in template
    assert template["blockDeviceMappings"][0]["ebs"]["encrypted"] == "true"
    tagged = {one["resourceType"]: one["tags"] for one in template["tagSpecifications"]}
    assert set(tagged) == {"instance", "volume", "network-interface"}
    assert tagged["instance"]["amianai:access"] == "bastion"
    assert tagged["instance"]["amianai:stack"] == "amianai-infra/prod"
    group = found.one("SecurityGroup").inputs
    assert "ingress" not in group
    egress = {(one.inputs["cidrIpv4"], one.inputs["fromPort"]) for one in found.of("SecurityGroupEgressRule")}
    assert egress == {("0.0.0.0/0", 443), ("10.0.10.0/24", 5432), ("10.0.11.0/24", 5432)}
    ingress = found.one("SecurityGroupIngressRule").inputs
    assert (ingress["securityGroupId"], ingress["referencedSecurityGroupId"]) == ("sg-1", "access-bastion-sg-id")
    (statement,) = found.one("RolePolicy", "access-bastion-policy").json("policy")["Statement"]
    assert all(action.startswith(("ssmmessages:", "ssm:UpdateInstanceInformation")) for action in statement["Action"])


def test_two_coexist(record: Record) -> None:
    def both() -> None:
        Access("one", ARGS)
        Access("two", {**ARGS, "prefix": "tigger"})

    assert len({one.inputs["name"] for one in record(both).of("Role")}) == 4


def test_the_topic_has_a_key_that_alarms_can_use_where_somebody_is_told(record: Record) -> None:
    without = record(lambda: Access("access", ARGS))
    assert not without.of("Key")
    assert "kmsMasterKeyId" not in without.one("Topic").inputs
    found = record(lambda: Access("access", {**ARGS, "alarm_email": "ops@example.com"}))
    assert found.one("Topic").inputs["kmsMasterKeyId"] == f"arn:aws:kms:us-east-1:{ACCOUNT}:key/access-topic-key"
    key = found.one("Key")
    assert key.inputs["enableKeyRotation"] is True
    owner, alarms = key.json("policy")["Statement"]
    assert (owner["Principal"], owner["Action"]) == ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "kms:*")
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert alarms["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]
    assert found.one("Queue").inputs["sqsManagedSseEnabled"] is True
