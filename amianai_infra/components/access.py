"""What opens the database for a while and closes it again: schedules, the alarm when one fails, and a template for bastions."""

import base64
from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws.cloudwatch.metric_alarm import MetricAlarm
from pulumi_aws.ec2.launch_template import LaunchTemplate
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.iam.instance_profile import InstanceProfile
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.kms.key import Key
from pulumi_aws.scheduler.schedule_group import ScheduleGroup
from pulumi_aws.sns.topic import Topic
from pulumi_aws.sns.topic_subscription import TopicSubscription
from pulumi_aws.sqs.queue import Queue
from pulumi_aws.vpc.security_group_egress_rule import SecurityGroupEgressRule
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from amianai_infra.components.inputs import policy_json, tagged
from amianai_infra.config import AccessSettings
from amianai_infra.rules.access import LONGEST_HOURS, bastion_tags, user_data
from amianai_infra.rules.policies import alarm_key, database_closer, scheduler_trust, service_trust, session_manager_only

_DEFAULT = AccessSettings()
# The newest Amazon Linux, whose Session Manager agent is installed; EC2 looks the name up at each launch.
IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
INSTANCE_TYPE = "t4g.nano"
_FOURTEEN_DAYS = 1_209_600


class AccessArgs(TypedDict):
    """What an `Access` takes."""

    prefix: str
    """Prefix of every resource's name."""

    region: pulumi.Input[str]
    """Region of the database."""

    account: pulumi.Input[str]
    """Account number."""

    vpc_id: pulumi.Input[str]
    """VPC of the database."""

    route_table_ids: pulumi.Input[list[str]]
    """Route tables of the subnets that hold the database alone."""

    database_identifier: pulumi.Input[str]
    """Identifier of the database instance."""

    database_security_group_id: pulumi.Input[str]
    """Security group of the database instance."""

    database_port: int
    """Port the database listens on."""

    database_cidrs: list[pulumi.Input[str]]
    """Address ranges of the database's subnets."""

    alarm_email: NotRequired[str]
    """Address that is told when an access could not be closed. Default none."""


_DEFAULTS = {"alarm_email": _DEFAULT.alarm_email}


class Access(pulumi.ComponentResource):
    """Everything that lets a command open the database for a while, and that closes it even if the command's machine dies.

    Creates: a group for one-time schedules and the role they act with, which may undo and nothing else; a queue for what could
    not be undone, with an alarm and a topic; a launch template for bastions without inbound rule and key, their role and
    security group, and the database's rule that lets them in. Where there is an address to tell, the topic has a key of its own:
    alarms cannot use the one that AWS manages.

    Nothing here is open: there is no schedule, no bastion and no rule for anybody until a command makes one.

    Cost: nothing while the account has at most ten alarms, then $0.10 a month; with an address to tell $1 for the topic's key. A
    bastion costs $0.0042 an hour and its address $0.005, while it exists.

    Source: EventBridge Scheduler User Guide, "Using universal targets" and "Configuring a dead-letter queue"; AWS Systems
    Manager User Guide, "Session Manager".
    """

    schedule_group: pulumi.Output[str]
    """Name of the schedules' group."""
    scheduler_role_arn: pulumi.Output[str]
    """ARN of the role that schedules act with."""
    dead_letter_arn: pulumi.Output[str]
    """ARN of the queue for what could not be undone."""
    topic_arn: pulumi.Output[str]
    """ARN of the topic that the alarm tells."""
    launch_template_id: pulumi.Output[str]
    """Id of the bastions' launch template."""
    bastion_security_group_id: pulumi.Output[str]
    """Id of the bastions' security group."""

    def __init__(self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:access:Access", name, None, opts)
        self._name_of = name
        self._args: AccessArgs = {**_DEFAULTS, **args}  # type: ignore[typeddict-item]

        self._create_schedule_group()
        self._create_dead_letters()
        self._create_alarm()
        self._create_scheduler_role()
        self._create_bastion_group()
        self._create_bastion_profile()
        self._create_launch_template()

        self.schedule_group = self.group.name
        self.scheduler_role_arn = self.scheduler_role.arn
        self.dead_letter_arn = self.dead_letters.arn
        self.topic_arn = self.topic.arn
        self.launch_template_id = self.launch_template.id
        self.bastion_security_group_id = self.bastion_group.id
        outputs = ("schedule_group", "scheduler_role_arn", "dead_letter_arn", "topic_arn", "launch_template_id")
        self.register_outputs({output: getattr(self, output) for output in (*outputs, "bastion_security_group_id")})

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _named(self, what: str) -> str:
        return f"{self._args['prefix']}-{what}"

    def _arn(self, service: str, *resource: pulumi.Input[str]) -> pulumi.Output[str]:
        return pulumi.Output.concat("arn:aws:", service, ":", self._args["region"], ":", self._args["account"], ":", *resource)

    def _create_schedule_group(self) -> None:
        display = self._named("database-access")
        self.group = ScheduleGroup(f"{self._name_of}-schedules", name=display, tags=tagged(display), opts=self._child())

    def _create_dead_letters(self) -> None:
        display = self._named("database-access-failed")
        self.dead_letters = Queue(
            f"{self._name_of}-failed",
            name=display,
            message_retention_seconds=_FOURTEEN_DAYS,
            sqs_managed_sse_enabled=True,
            tags=tagged(display),
            opts=self._child(),
        )

    def _create_alarm(self) -> None:
        display, address = self._named("database-access-failed"), self._args["alarm_email"]
        self.topic_key = self._create_topic_key(display) if address else None
        self.topic = Topic(
            f"{self._name_of}-topic",
            name=display,
            kms_master_key_id=self.topic_key.arn if self.topic_key else None,
            tags=tagged(display),
            opts=self._child(),
        )
        self.subscription: TopicSubscription | None = None
        if address:
            self.subscription = TopicSubscription(
                f"{self._name_of}-email", topic=self.topic.arn, protocol="email", endpoint=address, opts=self._child()
            )
        self.alarm = MetricAlarm(
            f"{self._name_of}-alarm",
            name=display,
            alarm_description="A schedule could not close an access to the database: run `amianai db close --all`, then empty the queue",
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions={"QueueName": self.dead_letters.name},
            statistic="Maximum",
            period=60,
            evaluation_periods=1,
            comparison_operator="GreaterThanThreshold",
            threshold=0,
            treat_missing_data="notBreaching",
            alarm_actions=[self.topic.arn],
            ok_actions=[self.topic.arn],
            tags=tagged(display),
            opts=self._child(),
        )

    def _create_topic_key(self, display: str) -> Key:
        return Key(
            f"{self._name_of}-topic-key",
            description="Messages about accesses to the database that could not be closed",
            policy=policy_json(pulumi.Output.from_input(self._args["account"]).apply(alarm_key)),
            enable_key_rotation=True,
            deletion_window_in_days=7,
            tags=tagged(display),
            opts=self._child(),
        )

    def _create_scheduler_role(self) -> None:
        display = self._named("database-closer")
        self.scheduler_role = Role(
            f"{self._name_of}-closer",
            name=display,
            description="Schedules close what was opened of the database",
            assume_role_policy=policy_json(
                pulumi.Output.all(self._args["account"], self.group.arn).apply(lambda found: scheduler_trust(*found))
            ),
            tags=tagged(display),
            opts=self._child(),
        )
        policy = pulumi.Output.all(
            self._arn("ec2", "security-group/", self._args["database_security_group_id"]),
            self._arn("ec2", "security-group-rule/*"),
            pulumi.Output.all(self._args["route_table_ids"], self._arn("ec2", "route-table/")).apply(
                lambda found: [f"{found[1]}{table}" for table in found[0]]
            ),
            self._arn("rds", "db:", self._args["database_identifier"]),
            self._arn("ec2", "instance/*"),
            self.dead_letters.arn,
        ).apply(lambda found: database_closer(*found))
        self.scheduler_policy = RolePolicy(
            f"{self._name_of}-closer-policy", name="undo", role=self.scheduler_role.name, policy=policy_json(policy), opts=self._child()
        )

    def _create_bastion_group(self) -> None:
        args, display = self._args, self._named("bastion")
        self.bastion_group = SecurityGroup(
            f"{self._name_of}-bastion-sg",
            name=display,
            description="Bastions: nothing comes in; Session Manager and the database are reached",
            vpc_id=args["vpc_id"],
            tags=tagged(display),
            opts=self._child(),
        )
        targets: list[tuple[str, pulumi.Input[str], int]] = [("session-manager", "0.0.0.0/0", 443)]
        targets += [(f"database-{number}", cidr, args["database_port"]) for number, cidr in enumerate(args["database_cidrs"], 1)]
        self.bastion_egress = [
            SecurityGroupEgressRule(
                f"{self._name_of}-bastion-to-{what}",
                security_group_id=self.bastion_group.id,
                description=f"To {what}",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                cidr_ipv4=cidr,
                tags=tagged(f"{display}-{what}"),
                opts=self._child(),
            )
            for what, cidr, port in targets
        ]
        self.database_ingress = SecurityGroupIngressRule(
            f"{self._name_of}-from-bastion",
            security_group_id=args["database_security_group_id"],
            description="PostgreSQL from bastions",
            ip_protocol="tcp",
            from_port=args["database_port"],
            to_port=args["database_port"],
            referenced_security_group_id=self.bastion_group.id,
            tags=tagged(f"{display}-to-database"),
            opts=self._child(),
        )

    def _create_bastion_profile(self) -> None:
        display = self._named("bastion")
        self.bastion_role = Role(
            f"{self._name_of}-bastion-role",
            name=display,
            description="Bastions are reached through Session Manager",
            assume_role_policy=policy_json(service_trust("ec2.amazonaws.com")),
            tags=tagged(display),
            opts=self._child(),
        )
        self.bastion_policy = RolePolicy(
            f"{self._name_of}-bastion-policy",
            name="session-manager",
            role=self.bastion_role.name,
            policy=policy_json(session_manager_only()),
            opts=self._child(),
        )
        self.bastion_profile = InstanceProfile(
            f"{self._name_of}-bastion-profile", name=display, role=self.bastion_role.name, tags=tagged(display), opts=self._child()
        )

    def _create_launch_template(self) -> None:
        display = self._named("bastion")
        tags = bastion_tags(self._args["prefix"])
        self.launch_template = LaunchTemplate(
            f"{self._name_of}-bastion-template",
            name=display,
            description="A bastion that ends itself",
            image_id=IMAGE,
            instance_type=INSTANCE_TYPE,
            instance_initiated_shutdown_behavior="terminate",
            # Whoever starts one without the command gets one that ends, too.
            user_data=base64.b64encode(user_data(LONGEST_HOURS * 60).encode()).decode(),
            iam_instance_profile={"name": self.bastion_profile.name},
            metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
            block_device_mappings=[{"device_name": "/dev/xvda", "ebs": {"encrypted": "true", "volume_size": 8, "volume_type": "gp3"}}],
            network_interfaces=[{"device_index": 0, "associate_public_ip_address": "true", "security_groups": [self.bastion_group.id]}],
            tag_specifications=[{"resource_type": kind, "tags": tags} for kind in ("instance", "volume", "network-interface")],
            update_default_version=True,
            tags=tagged(display),
            opts=self._child(),
        )
