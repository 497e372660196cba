"""Schedules' group, queue, topic, alarm, instance profile, launch template and a protected log group with the real engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pytest

from amianai_infra.errors import EngineError
from amianai_infra.progress import Progress
from amianai_infra.rules.policies import service_trust
from amianai_infra.sandbox.provider.logs import LogGroup
from amianai_infra.sandbox.provider.resource import ProviderError
from tests.functional.conftest import Bench, Program, changed
from tests.functional.provider_attempt import context
from tests.functional.test_provider import stack, steps

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")


@dataclass
class Settings:
    days: int = 30
    protected: bool = True
    retention: int = 1_209_600
    threshold: int = 0
    size: int = 8
    team: str = "one"


def everything(settings: Settings) -> Program:
    def program() -> None:
        tags = {"team": settings.team, "a:b": "c"}
        aws.cloudwatch.LogGroup(
            "audit",
            name="/bench/audit",
            retention_in_days=settings.days,
            deletion_protection_enabled=settings.protected,
            tags=tags,
        )
        aws.scheduler.ScheduleGroup("group", name="bench-group", tags=tags)
        queue = aws.sqs.Queue(
            "queue", name="bench-queue", message_retention_seconds=settings.retention, sqs_managed_sse_enabled=True, tags=tags
        )
        topic = aws.sns.Topic("topic", name="bench-topic", tags=tags)
        aws.sns.TopicSubscription("mail", topic=topic.arn, protocol="email", endpoint="ops@example.com")
        aws.cloudwatch.MetricAlarm(
            "alarm",
            name="bench-alarm",
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions={"QueueName": queue.name},
            statistic="Maximum",
            period=60,
            evaluation_periods=1,
            comparison_operator="GreaterThanThreshold",
            threshold=settings.threshold,
            treat_missing_data="notBreaching",
            alarm_actions=[topic.arn],
            tags=tags,
        )
        role = aws.iam.Role("role", name="bench-bastion", assume_role_policy=json.dumps(service_trust("ec2.amazonaws.com")))
        profile = aws.iam.InstanceProfile("profile", name="bench-bastion", role=role.name, tags=tags)
        aws.ec2.LaunchTemplate(
            "template",
            name="bench-bastion",
            image_id="resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
            instance_type="t4g.nano",
            instance_initiated_shutdown_behavior="terminate",
            user_data="IyEvYmluL3NoCg==",
            iam_instance_profile={"name": profile.name},
            metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
            block_device_mappings=[
                {"device_name": "/dev/xvda", "ebs": {"encrypted": "true", "volume_size": settings.size, "volume_type": "gp3"}}
            ],
            network_interfaces=[{"device_index": 0, "associate_public_ip_address": "true", "security_groups": ["sg-00000001"]}],
            tag_specifications=[{"resource_type": kind, "tags": {"amianai:access": "bastion"}} for kind in ("instance", "volume")],
            update_default_version=True,
            tags=tags,
        )
        pulumi.export("queue", queue.url)

    return program


def test_the_whole_life(bench: Bench, tmp_path: Path) -> None:
    settings = Settings()
    ec2, logs = bench.client("ec2"), bench.client("logs")
    with stack(bench, tmp_path, everything(settings)) as made:
        assert changed(made.up()) == {"create": 9}
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}

        with pytest.raises(ProviderError, match="deletion protection"):
            LogGroup().delete(context(bench, LogGroup()), "/bench/audit", {})
        settings.days, settings.retention, settings.threshold, settings.size, settings.team = 90, 86_400, 3, 10, "two"
        assert set(steps(made.up())) == {"audit", "group", "queue", "topic", "alarm", "profile", "template"}
        assert changed(made.refresh()) == {}
        (template,) = ec2.describe_launch_templates(Filters=[{"Name": "launch-template-name", "Values": ["bench-bastion"]}])[
            "LaunchTemplates"
        ]
        assert (template["LatestVersionNumber"], template["DefaultVersionNumber"]) == (2, 2)
        assert {tag["Key"]: tag["Value"] for tag in template["Tags"]}["team"] == "two"

        bench.client("sqs").set_queue_attributes(QueueUrl=made.outputs()["queue"], Attributes={"MessageRetentionPeriod": "600"})
        bench.client("iam").remove_role_from_instance_profile(InstanceProfileName="bench-bastion", RoleName="bench-bastion")
        bench.client("cloudwatch").delete_alarms(AlarmNames=["bench-alarm"])
        assert changed(made.refresh()) == {"update": 2, "delete": 1}
        assert changed(made.up()) == {"update": 2, "create": 1}

        with pytest.raises(EngineError, match="deletion protection"):
            made.destroy()
        settings.protected = False
        made.up()
    assert logs.describe_log_groups(logGroupNamePrefix="/bench/audit")["logGroups"] == []
    assert bench.client("scheduler").list_schedule_groups(NamePrefix="bench")["ScheduleGroups"] == []


def test_a_protected_log_group_is_adopted(bench: Bench, tmp_path: Path) -> None:
    settings = Settings()

    def program(ident: str | None = None) -> Program:
        def declared() -> None:
            aws.cloudwatch.LogGroup(
                "kept",
                name="/bench/kept",
                retention_in_days=90,
                deletion_protection_enabled=settings.protected,
                tags={"a": "b"},
                opts=pulumi.ResourceOptions(import_=ident),
            )

        return declared

    with stack(bench, tmp_path, program()) as made:
        made.up()
        urn = next(one.urn for one in made.resources() if one.id == "/bench/kept")
        made.forget([urn])
        adopting = bench.stack(tmp_path, program("/bench/kept"))
        assert changed(adopting.up()) == {"import": 1}
        assert changed(adopting.up()) == {}
        settings.protected = False
        assert changed(adopting.up()) == {"update": 1}


def test_after_a_restart_of_the_emulator_nothing_differs_and_a_changed_tag_stays_changed(bench: Bench, tmp_path: Path) -> None:
    settings, quiet = Settings(), Progress(quiet=True)

    def restart() -> None:
        bench.sandbox.stop(quiet)
        bench.sandbox.start(quiet)

    with stack(bench, tmp_path, everything(settings)) as made:
        made.up()
        restart()
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}
        settings.team = "two"
        made.up()
        restart()
        assert changed(made.refresh()) == {}
        assert changed(made.up()) == {}
        settings.protected = False
        made.up()
