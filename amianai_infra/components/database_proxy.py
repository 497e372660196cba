"""RDS Proxy in front of the database: many short connections share few, and a failover is hidden from them."""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.rds.proxy import Proxy
from pulumi_aws.rds.proxy_default_target_group import ProxyDefaultTargetGroup
from pulumi_aws.rds.proxy_target import ProxyTarget
from pulumi_aws.vpc.security_group_egress_rule import SecurityGroupEgressRule
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from amianai_infra.components.inputs import policy_json, tagged
from amianai_infra.naming import proxy_role_name
from amianai_infra.rules.policies import account_condition, secrets_reader, service_trust


class DatabaseProxyArgs(TypedDict):
    """What a `DatabaseProxy` takes. Values that decide names or the number of resources are plain."""

    prefix: str
    """Prefix of every resource's name."""

    account: pulumi.Input[str]
    """Account number; the role trusts RDS on its behalf alone."""

    identifier: str
    """Identifier of the instance behind it, and name of the proxy."""

    resource_id: pulumi.Input[str]
    """The instance's immutable id: another instance under the same name is registered anew."""

    vpc_id: pulumi.Input[str]
    """VPC that holds both."""

    subnet_ids: pulumi.Input[list[str]]
    """Private subnets, in at least two zones."""

    client_cidrs: list[pulumi.Input[str]]
    """Address ranges inside the VPC that may connect, and that the instance is in."""

    secret_arns: list[pulumi.Input[str]]
    """Secrets of the roles that may log in through it."""

    port: NotRequired[int]
    """Port of the instance. Default 5432; the proxy itself always listens on 5432."""

    idle_seconds: NotRequired[int]
    """How long an idle client keeps its connection. Default 1800."""


_PORT = 5432


class DatabaseProxy(pulumi.ComponentResource):
    """A proxy that takes TLS connections of the application's roles and shares the instance's connections among them.

    Creates: a security group that admits the clients and reaches the instance; a role that reads the roles' secrets and nothing else;
    the proxy, its target group and target. The master user cannot log in through it.

    Cost: $0.015 a vCPU of the instance and hour, at least two: about $22 a month for db.t3.micro.

    Source: Amazon RDS User Guide, "Amazon RDS Proxy"; Amazon RDS Proxy pricing, us-east-1.
    """

    host: pulumi.Output[str]
    """Host name it listens on."""

    def __init__(self, name: str, args: DatabaseProxyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:database:DatabaseProxy", name, None, opts)
        self._name_of = name
        self._args = args

        self._create_security_group()
        self._create_role()
        self._create_proxy()
        self._create_target()

        self.host = self.proxy.endpoint
        self.register_outputs({"host": self.host})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on) or None)

    def _create_security_group(self) -> None:
        args, name = self._args, f"{self._args['identifier']}-proxy"
        self.security_group = SecurityGroup(
            f"{self._name_of}-sg",
            name=name,
            description="RDS Proxy, from within the VPC",
            vpc_id=args["vpc_id"],
            tags=tagged(name),
            opts=self._child(),
        )
        for number, cidr in enumerate(args["client_cidrs"], 1):
            SecurityGroupIngressRule(
                f"{self._name_of}-ingress-{number}",
                security_group_id=self.security_group.id,
                description=f"Clients in private subnet {number}",
                ip_protocol="tcp",
                from_port=_PORT,
                to_port=_PORT,
                cidr_ipv4=cidr,
                tags=tagged(f"{name}-{number}"),
                opts=self._child(),
            )
            SecurityGroupEgressRule(
                f"{self._name_of}-egress-{number}",
                security_group_id=self.security_group.id,
                description=f"The instance in private subnet {number}",
                ip_protocol="tcp",
                from_port=args.get("port", _PORT),
                to_port=args.get("port", _PORT),
                cidr_ipv4=cidr,
                tags=tagged(f"{name}-{number}"),
                opts=self._child(),
            )

    def _create_role(self) -> None:
        args = self._args
        trust = pulumi.Output.from_input(args["account"]).apply(
            lambda account: service_trust("rds.amazonaws.com", account_condition(account))
        )
        name = proxy_role_name(args["prefix"], args["identifier"])
        self.role = Role(
            f"{self._name_of}-role",
            name=name,
            description="RDS Proxy reads the passwords of the application's roles",
            assume_role_policy=policy_json(trust),
            tags=tagged(name),
            opts=self._child(),
        )
        self._policy = RolePolicy(
            f"{self._name_of}-policy",
            name="secrets",
            role=self.role.name,
            policy=policy_json(pulumi.Output.all(*args["secret_arns"]).apply(secrets_reader)),
            opts=self._child(),
        )

    def _create_proxy(self) -> None:
        args = self._args
        self.proxy = Proxy(
            f"{self._name_of}-proxy",
            name=args["identifier"],
            engine_family="POSTGRESQL",
            auths=[
                {"auth_scheme": "SECRETS", "iam_auth": "DISABLED", "client_password_auth_type": "POSTGRES_SCRAM_SHA_256", "secret_arn": arn}
                for arn in args["secret_arns"]
            ],
            role_arn=self.role.arn,
            require_tls=True,
            idle_client_timeout=args.get("idle_seconds", 1800),
            vpc_subnet_ids=args["subnet_ids"],
            vpc_security_group_ids=[self.security_group.id],
            tags=tagged(args["identifier"]),
            opts=self._child(self._policy),
        )

    def _create_target(self) -> None:
        self.target_group = ProxyDefaultTargetGroup(
            f"{self._name_of}-targets",
            db_proxy_name=self.proxy.name,
            # The rest is for migrations and for people.
            connection_pool_config={"max_connections_percent": 80, "max_idle_connections_percent": 40, "connection_borrow_timeout": 30},
            opts=self._child(),
        )
        self.target = ProxyTarget(
            f"{self._name_of}-target",
            db_proxy_name=self.proxy.name,
            target_group_name=self.target_group.name,
            db_instance_identifier=self._args["identifier"],
            opts=pulumi.ResourceOptions.merge(
                self._child(),
                pulumi.ResourceOptions(replacement_trigger=self._args["resource_id"], delete_before_replace=True),
            ),
        )
