"""PostgreSQL on RDS: private, encrypted, backed up, and never deleted without a snapshot."""

import secrets
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy_attachment import RolePolicyAttachment
from pulumi_aws.kms.key import Key
from pulumi_aws.rds.instance import Instance
from pulumi_aws.rds.instance_automated_backups_replication import InstanceAutomatedBackupsReplication
from pulumi_aws.rds.parameter_group import ParameterGroup
from pulumi_aws.rds.subnet_group import SubnetGroup
from pulumi_aws.secretsmanager.secret import Secret
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from amianai_infra.components.inputs import policy_json, tagged
from amianai_infra.components.rotated_secret import RotatedSecret
from amianai_infra.config import DatabaseSettings
from amianai_infra.errors import ConfigurationError
from amianai_infra.naming import database_identifier, monitoring_role_name, role_secret_name
from amianai_infra.rules import postgres
from amianai_infra.rules.policies import RDS_MONITORING_POLICY, account_condition, own_secret, service_trust

_DEFAULT = DatabaseSettings()
# AWS takes up to half an hour for a large instance.
_TIMEOUTS = pulumi.CustomTimeouts(create="60m", update="80m", delete="60m")


class DatabaseArgs(TypedDict):
    """What a `Database` takes. Values that decide names or the number of resources are plain."""

    prefix: str
    """Prefix of every resource's name."""

    account: pulumi.Input[str]
    """Account number; the monitoring role trusts RDS on its behalf alone, and the secrets are read from it alone."""

    vpc_id: pulumi.Input[str]
    """VPC that holds the instance."""

    subnet_ids: pulumi.Input[list[str]]
    """Private subnets, in at least two zones."""

    client_cidrs: list[pulumi.Input[str]]
    """Address ranges inside the VPC that may connect."""

    identifier: NotRequired[str]
    """Instance identifier. Default the prefix and `-postgres`."""

    engine_version: NotRequired[str]
    """PostgreSQL version; a major version follows its minor releases. Default 16."""

    instance_class: NotRequired[pulumi.Input[str]]
    """Instance class. Default db.t3.micro."""

    storage_gib: NotRequired[int]
    """Allocated gp3 storage in GiB. Default 20."""

    max_storage_gib: NotRequired[int]
    """Ceiling of storage autoscaling in GiB. Default 100."""

    database: NotRequired[pulumi.Input[str]]
    """Name of the application's database. Default `amianai`."""

    username: NotRequired[pulumi.Input[str]]
    """Name of the master user. Default `amianai_admin`."""

    port: NotRequired[int]
    """Port to listen on. Default 5432."""

    managed_password: NotRequired[bool]
    """Whether RDS keeps the master password, which rules out read replicas; else a `RotatedSecret` does. Default yes."""

    rotation_days: NotRequired[int]
    """How often a `RotatedSecret` changes, in days. Default 7."""

    replicas: NotRequired[int]
    """Number of read replicas. Default 0."""

    multi_az: NotRequired[pulumi.Input[bool]]
    """Whether a standby runs in a second zone. Default no."""

    backup_days: NotRequired[pulumi.Input[int]]
    """Retention of automated backups in days. Default 7."""

    apply_immediately: NotRequired[bool]
    """Whether changes are applied at once instead of in the next maintenance window, major upgrades among them. Default no."""

    adopt: NotRequired[bool]
    """Whether the instance of this identifier exists, made elsewhere, and becomes the stack's. Default no."""

    backup_region: NotRequired[str]
    """Second region that keeps a copy of the automated backups. Default none."""

    backup_window: NotRequired[pulumi.Input[str]]
    """Daily backup window, UTC. Default 03:00-04:00."""

    maintenance_window: NotRequired[pulumi.Input[str]]
    """Weekly maintenance window, UTC. Default sun:04:00-sun:05:00."""

    insights: NotRequired[str]
    """Database Insights mode, `standard` or `advanced`. Default `standard`."""

    monitoring_seconds: NotRequired[int]
    """Interval of enhanced monitoring in seconds, 0 for none. Default 60."""

    slow_statement_ms: NotRequired[int]
    """Statements slower than this many milliseconds are logged. Default 1000."""

    log_days: NotRequired[pulumi.Input[int]]
    """Retention of the exported logs in days. Default 30."""

    migrations_by: NotRequired[str]
    """Who makes the schema: `amianai`, or `external`, which adds the secret of the migrator's role. Default `amianai`."""

    deletion_protection: NotRequired[bool]
    """Whether AWS and the engine refuse to delete the instance. Default yes."""

    final_snapshot_suffix: NotRequired[str]
    """Suffix of the final snapshot's name, unique for each life of the instance."""


_SETTINGS = {"database" if field == "name" else field: getattr(_DEFAULT, field) for field in DatabaseSettings.model_fields}
_DEFAULTS = {field: value for field, value in _SETTINGS.items() if field in DatabaseArgs.__annotations__}


class Database(pulumi.ComponentResource):
    """A PostgreSQL instance that only the given address ranges reach, over TLS.

    Creates: a security group with one ingress rule a range and no egress; a subnet group; a parameter group of the version's
    own family (TLS forced, slow statements logged, pg_stat_statements); log groups with a retention; a role for enhanced
    monitoring; the instance, whose master password RDS keeps in Secrets Manager, or without `managed_password` a `RotatedSecret`;
    its read replicas, with log groups of their own; an empty secret for each of the roles that `amianai db migrate` makes, which also
    fills it, so that no password is ever in the engine's state; with `backup_region` a key there and a copy of the automated backups
    under it; with `migrations_by` external one more secret, which `amianai db run` fills.

    Cost: db.t3.micro about $13 and 20 GiB gp3 about $2.30 a month, twice that with `multi_az`, and as much again for each replica;
    three secrets $0.40 each; a copy of the backups $0.095 a GiB, $0.02 a GiB transferred, and $1 for its key.

    Source: Amazon RDS User Guide, "Best practices for Amazon RDS" and "Password management with Amazon RDS and AWS Secrets
    Manager"; Amazon RDS for PostgreSQL pricing, us-east-1.
    """

    identifier: pulumi.Output[str]
    """Identifier of the instance."""
    host: pulumi.Output[str]
    """Host name it listens on."""
    port: pulumi.Output[int]
    """Port it listens on."""
    secret_arn: pulumi.Output[str]
    """ARN of the secret that holds user name and password."""
    application_secret_arn: pulumi.Output[str]
    """ARN of the secret of the role that reads and writes rows."""
    readonly_secret_arn: pulumi.Output[str]
    """ARN of the secret of the role that only reads."""
    migrator_secret_arn: pulumi.Output[str]
    """ARN of the secret of the role that a migration tool of the team's own has; empty where there is none."""
    security_group_id: pulumi.Output[str]
    """Id of the instance's security group."""
    resource_id: pulumi.Output[str]
    """The immutable `db-...` id that IAM authentication names."""
    replica_hosts: pulumi.Output[list[str]]
    """Host names of the read replicas, which listen on the same port."""

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:database:Database", name, None, opts)
        self._name_of = name
        self._args: DatabaseArgs = {**_DEFAULTS, "identifier": database_identifier(args["prefix"]), **args}  # type: ignore[typeddict-item]
        self._family = postgres.parameter_family(self._args["engine_version"])

        self._create_security_group()
        self._create_groups()
        self._create_log_groups()
        self._create_monitoring_role()
        self._create_instance()
        self._create_replicas()
        self._create_master_secret()
        self._create_backup_copy()
        self._create_role_secrets()

        self.identifier = self.instance.identifier
        self.host = self.instance.address
        self.port = self.instance.port
        self.secret_arn = self.master_secret.arn if self.master_secret else self._managed_secret()
        self.application_secret_arn = self.role_secrets["application"].arn
        self.readonly_secret_arn = self.role_secrets["readonly"].arn
        migrator = self.role_secrets.get("migrator")
        self.migrator_secret_arn = migrator.arn if migrator else pulumi.Output.from_input("")
        self.security_group_id = self.security_group.id
        self.resource_id = self.instance.resource_id
        self.replica_hosts = pulumi.Output.all(*(replica.address for replica in self.replicas))
        outputs = (
            *("identifier", "host", "port", "secret_arn", "application_secret_arn", "readonly_secret_arn"),
            *("migrator_secret_arn", "security_group_id", "resource_id", "replica_hosts"),
        )
        self.register_outputs({output: getattr(self, output) for output in outputs})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on) or None)

    def _create_security_group(self) -> None:
        identifier, port = self._args["identifier"], self._args["port"]
        self.security_group = SecurityGroup(
            f"{self._name_of}-sg",
            name=identifier,
            description="PostgreSQL, from within the VPC",
            vpc_id=self._args["vpc_id"],
            tags=tagged(identifier),
            opts=self._child(),
        )
        self.ingress = [
            SecurityGroupIngressRule(
                f"{self._name_of}-ingress-{number}",
                security_group_id=self.security_group.id,
                description=f"PostgreSQL from private subnet {number}",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                cidr_ipv4=cidr,
                tags=tagged(f"{identifier}-{number}"),
                opts=self._child(),
            )
            for number, cidr in enumerate(self._args["client_cidrs"], 1)
        ]

    def _create_groups(self) -> None:
        identifier = self._args["identifier"]
        self.subnet_group = SubnetGroup(
            f"{self._name_of}-subnets",
            name=identifier,
            description=f"Private subnets of {identifier}",
            subnet_ids=self._args["subnet_ids"],
            tags=tagged(identifier),
            opts=self._child(),
        )
        self.parameter_group = ParameterGroup(
            f"{self._name_of}-parameters",
            # The family in the name: a new major version makes a second group beside the one that is in use.
            name=f"{identifier}-{self._family}",
            family=self._family,
            description=f"Parameters of {identifier}",
            parameters=[
                {"name": one.name, "value": one.value, "apply_method": one.apply}
                for one in postgres.parameters(self._args["slow_statement_ms"])
            ],
            tags=tagged(f"{identifier}-{self._family}"),
            opts=self._child(),
        )

    def _create_log_groups(self) -> None:
        self.log_groups = self._logs_of(self._name_of, self._args["identifier"])

    def _logs_of(self, name: str, identifier: str) -> list[LogGroup]:
        return [
            LogGroup(
                f"{name}-log-{export}",
                name=postgres.log_group(identifier, export),
                retention_in_days=self._args["log_days"],
                tags=tagged(f"{identifier}-{export}"),
                opts=self._child(),
            )
            for export in postgres.LOG_EXPORTS
        ]

    def _create_monitoring_role(self) -> None:
        self.monitoring_role: Role | None = None
        self._before_instance: list[pulumi.Resource] = [*self.log_groups]
        if not self._args["monitoring_seconds"]:
            return
        trust = pulumi.Output.from_input(self._args["account"]).apply(
            lambda account: service_trust("monitoring.rds.amazonaws.com", account_condition(account))
        )
        name = monitoring_role_name(self._args["prefix"], self._args["identifier"])
        self.monitoring_role = Role(
            f"{self._name_of}-monitoring-role",
            name=name,
            description="RDS enhanced monitoring writes to CloudWatch Logs",
            assume_role_policy=policy_json(trust),
            tags=tagged(name),
            opts=self._child(),
        )
        attachment = RolePolicyAttachment(
            f"{self._name_of}-monitoring-policy",
            role=self.monitoring_role.name,
            policy_arn=RDS_MONITORING_POLICY,
            opts=self._child(),
        )
        self._before_instance.append(attachment)

    def _common(self) -> dict[str, Any]:
        """What the instance and its replicas have in common."""
        args = self._args
        return {
            "auto_minor_version_upgrade": True,
            "instance_class": args["instance_class"],
            "max_allocated_storage": postgres.storage_ceiling(args["storage_gib"], args["max_storage_gib"]),
            "storage_type": "gp3",
            "storage_encrypted": True,
            "iam_database_authentication_enabled": True,
            "port": args["port"],
            "publicly_accessible": False,
            "vpc_security_group_ids": [self.security_group.id],
            "parameter_group_name": self.parameter_group.name,
            "ca_cert_identifier": "rds-ca-rsa2048-g1",
            "maintenance_window": args["maintenance_window"],
            "copy_tags_to_snapshot": True,
            "enabled_cloudwatch_logs_exports": list(postgres.LOG_EXPORTS),
            "database_insights_mode": args["insights"],
            "performance_insights_enabled": True,
            "performance_insights_retention_period": postgres.insights_retention_days(args["insights"]),
            "monitoring_interval": args["monitoring_seconds"],
            "monitoring_role_arn": self.monitoring_role.arn if self.monitoring_role else None,
            "apply_immediately": args["apply_immediately"] or None,
        }

    def _create_instance(self) -> None:
        args = self._args
        protected = args["deletion_protection"]
        options = pulumi.ResourceOptions(
            protect=protected, import_=args["identifier"] if args["adopt"] else None, custom_timeouts=_TIMEOUTS
        )
        self.instance = Instance(
            f"{self._name_of}-instance",
            identifier=args["identifier"],
            engine="postgres",
            engine_version=args["engine_version"],
            allow_major_version_upgrade=args["apply_immediately"] or None,
            # Storage that autoscaling added is no drift: the provider ignores more than this up to the ceiling.
            allocated_storage=args["storage_gib"],
            db_name=args["database"],
            username=args["username"],
            **self._password(),
            multi_az=args["multi_az"],
            db_subnet_group_name=self.subnet_group.name,
            backup_retention_period=args["backup_days"],
            backup_window=args["backup_window"],
            delete_automated_backups=True,
            skip_final_snapshot=False,
            final_snapshot_identifier=postgres.final_snapshot(args["identifier"], args["final_snapshot_suffix"]),
            deletion_protection=protected,
            **self._common(),
            tags=tagged(args["identifier"]),
            opts=pulumi.ResourceOptions.merge(self._child(*self._before_instance), options),
        )

    def _password(self) -> dict[str, Any]:
        """RDS's own; else one that counts until the rotated secret has its first, and that nobody keeps: only a new version is sent."""
        if self._args["managed_password"]:
            return {"manage_master_user_password": True}
        return {"password_wo": pulumi.Output.secret(secrets.token_urlsafe(32)), "password_wo_version": 1}

    def _create_master_secret(self) -> None:
        """The rotated secret, where RDS does not keep the password."""
        self.master_secret: RotatedSecret | None = None
        if self._args["managed_password"]:
            return
        instance, args = self.instance, self._args
        self.master_secret = RotatedSecret(
            f"{self._name_of}-master",
            {
                "prefix": args["prefix"],
                "account": args["account"],
                "identifier": args["identifier"],
                "instance_arn": instance.arn,
                "resource_id": instance.resource_id,
                "username": args["username"],
                "host": instance.address,
                "port": instance.port,
                "database": args["database"],
                "rotation_days": args["rotation_days"],
                "log_days": args["log_days"],
            },
            # RDS makes no replica of an instance whose password is being set.
            self._child(*self.replicas),
        )

    def _managed_secret(self) -> pulumi.Output[str]:
        def arn(found: Any) -> pulumi.Input[str]:
            if found:
                return str(found[0].secret_arn)
            if pulumi.runtime.is_dry_run():  # the next `up` finishes the instance first, and RDS then tells its secret
                unknown: Any = pulumi.UNKNOWN
                return pulumi.Output.from_input(unknown)
            raise ConfigurationError(
                "RDS does not tell the secret with the database's master password.",
                where=f"database instance {self._args['identifier']}",
                fix="wait until the instance is available, then run `amianai up --refresh`",
            )

        return self.instance.master_user_secrets.apply(arn)

    def _create_replicas(self) -> None:
        """In the instance's subnets, under its key and with its password; without protection, for they hold nothing of their own."""
        self.replicas = [self._replica(number) for number in range(1, self._args["replicas"] + 1)]

    def _replica(self, number: int) -> Instance:
        name, identifier = f"{self._name_of}-replica-{number}", f"{self._args['identifier']}-replica-{number}"
        return Instance(
            name,
            identifier=identifier,
            replicate_source_db=self.instance.identifier,
            skip_final_snapshot=True,
            **self._common(),
            tags=tagged(identifier),
            opts=pulumi.ResourceOptions.merge(
                self._child(*self._logs_of(name, identifier), self.instance), pulumi.ResourceOptions(custom_timeouts=_TIMEOUTS)
            ),
        )

    def _create_role_secrets(self) -> None:
        external = ("migrator",) if self._args["migrations_by"] == "external" else ()
        self.role_secrets = {
            role: Secret(
                f"{self._name_of}-secret-{role}",
                name=role_secret_name(self._args["prefix"], self._args["identifier"], role),
                description=f"Login of the {role} role of {self._args['identifier']}; written by `amianai db migrate`",
                # The login can be made again at any time, and a name that waits for its deletion would block the next stack.
                recovery_window_in_days=0,
                policy=policy_json(pulumi.Output.from_input(self._args["account"]).apply(own_secret)),
                tags=tagged(f"{self._args['identifier']}-{role}"),
                opts=self._child(),
            )
            for role in ("application", "readonly", *external)
        }

    def _create_backup_copy(self) -> None:
        """Automated backups in a second region, under a key of that region: keys do not leave theirs."""
        self.backup_key: Key | None = None
        self.backup_copy: InstanceAutomatedBackupsReplication | None = None
        region, identifier = self._args["backup_region"], self._args["identifier"]
        if not region:
            return
        self.backup_key = Key(
            f"{self._name_of}-backup-key",
            region=region,
            description=f"Backups of {identifier} from another region",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            tags=tagged(f"{identifier}-backups"),
            opts=self._child(),
        )
        self.backup_copy = InstanceAutomatedBackupsReplication(
            f"{self._name_of}-backup-copy",
            region=region,
            source_db_instance_arn=self.instance.arn,
            kms_key_id=self.backup_key.arn,
            retention_period=self._args["backup_days"],
            # A restored instance has the same ARN, and none of its backups would be copied.
            opts=pulumi.ResourceOptions.merge(self._child(), pulumi.ResourceOptions(replacement_trigger=self.instance.resource_id)),
        )
