"""The master password in a secret of the stack's own, and the function that changes it."""

from pathlib import Path
from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.lambda_.function import Function
from pulumi_aws.lambda_.permission import Permission
from pulumi_aws.secretsmanager.secret import Secret
from pulumi_aws.secretsmanager.secret_rotation import SecretRotation

from amianai_infra.components.inputs import policy_json, tagged
from amianai_infra.config import DatabaseSettings
from amianai_infra.naming import role_secret_name, rotation_name
from amianai_infra.rules.policies import own_secret, password_rotator, service_trust

_DEFAULT = DatabaseSettings()
_SOURCE = Path(__file__).parents[1] / "database" / "rotation_function.py"
RUNTIME = "python3.13"


class RotatedSecretArgs(TypedDict):
    """What a `RotatedSecret` takes. Values that decide names are plain."""

    prefix: str
    """Prefix of every resource's name."""

    account: pulumi.Input[str]
    """Account number; function and secret serve it alone."""

    identifier: str
    """Identifier of the instance."""

    instance_arn: pulumi.Input[str]
    """ARN of the instance."""

    resource_id: pulumi.Input[str]
    """The instance's immutable id: another instance under the same name gets a new password at once."""

    username: pulumi.Input[str]
    """Name of the master user."""

    host: pulumi.Input[str]
    """Host name of the instance."""

    port: pulumi.Input[int]
    """Port it listens on."""

    database: pulumi.Input[str]
    """Name of the application's database."""

    rotation_days: NotRequired[int]
    """How often the password changes, in days. Default 7."""

    log_days: NotRequired[pulumi.Input[int]]
    """Retention of the function's log in days. Default 30."""


class RotatedSecret(pulumi.ComponentResource):
    """The master user's login in a secret that Secrets Manager rotates; the first password is made at once.

    Creates: the secret, without a value; a function that asks RDS to set a password, outside of any VPC; its role, bounded to the
    secret and the instance, and its log group; leave for Secrets Manager to call it; the schedule.

    Cost: $0.40 a month for the secret; the function runs for a minute a week, which is within what is free.

    Source: AWS Secrets Manager User Guide, "Rotation by Lambda function"; AWS Secrets Manager pricing.
    """

    arn: pulumi.Output[str]
    """ARN of the secret."""

    def __init__(self, name: str, args: RotatedSecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:database:RotatedSecret", name, None, opts)
        self._name_of = name
        self._args: RotatedSecretArgs = {"rotation_days": _DEFAULT.rotation_days, "log_days": _DEFAULT.log_days, **args}
        self._function_name = rotation_name(args["prefix"], args["identifier"])

        self._create_secret()
        self._create_role()
        self._create_function()
        self._create_rotation()

        self.arn = self.secret.arn
        self.register_outputs({"arn": self.arn})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on) or None)

    def _create_secret(self) -> None:
        identifier = self._args["identifier"]
        self.secret = Secret(
            f"{self._name_of}-secret",
            name=role_secret_name(self._args["prefix"], identifier, "owner"),
            description=f"Master user of {identifier}; rotated",
            # A password can be set again at any time, and a name that waits for its deletion would block the next stack.
            recovery_window_in_days=0,
            policy=policy_json(pulumi.Output.from_input(self._args["account"]).apply(own_secret)),
            tags=tagged(f"{identifier}-owner"),
            opts=self._child(),
        )

    def _create_role(self) -> None:
        name = self._function_name
        self.log_group = LogGroup(
            f"{self._name_of}-log",
            name=f"/{self._args['prefix']}/lambda/{name}",
            retention_in_days=self._args["log_days"],
            tags=tagged(name),
            opts=self._child(),
        )
        self.role = Role(
            f"{self._name_of}-role",
            name=name,
            description=f"Changes the master password of {self._args['identifier']}",
            assume_role_policy=policy_json(service_trust("lambda.amazonaws.com")),
            tags=tagged(name),
            opts=self._child(),
        )
        arns = pulumi.Output.all(self.secret.arn, self._args["instance_arn"], self.log_group.arn)
        self.policy = RolePolicy(
            f"{self._name_of}-policy",
            name="rotate",
            role=self.role.name,
            policy=policy_json(arns.apply(lambda found: password_rotator(*found))),
            opts=self._child(),
        )

    def _create_function(self) -> None:
        name = self._function_name
        self.function = Function(
            f"{self._name_of}-function",
            name=name,
            description=f"Changes the master password of {self._args['identifier']}",
            role=self.role.arn,
            runtime=RUNTIME,
            architectures=["arm64"],
            handler=f"{_SOURCE.stem}.handler",
            code=pulumi.AssetArchive({_SOURCE.name: pulumi.StringAsset(_SOURCE.read_text(encoding="utf-8"))}),
            memory_size=256,
            timeout=900,
            environment={"variables": {"INSTANCE": self._args["identifier"], "LOGIN": self._login()}},
            logging_config={"log_format": "Text", "log_group": self.log_group.name},
            tags=tagged(name),
            opts=self._child(self.policy),
        )
        self.permission = Permission(
            f"{self._name_of}-permission",
            statement_id="secretsmanager",
            action="lambda:InvokeFunction",
            function=self.function.name,
            principal="secretsmanager.amazonaws.com",
            source_arn=self.secret.arn,
            source_account=self._args["account"],
            opts=self._child(),
        )

    def _login(self) -> pulumi.Output[str]:
        """What the secret holds besides the password, in the form that RDS and its clients use."""
        args = self._args
        place = {"engine": "postgres", "host": args["host"], "port": args["port"], "dbname": args["database"]}
        return pulumi.Output.json_dumps({"username": args["username"], **place})

    def _create_rotation(self) -> None:
        self.rotation = SecretRotation(
            f"{self._name_of}-rotation",
            secret_id=self.secret.arn,
            rotation_lambda_arn=self.function.arn,
            rotation_rules={"automatically_after_days": self._args["rotation_days"]},
            # A restored instance has the password of its backup. Ending the old rotation after the new one began would end both.
            opts=pulumi.ResourceOptions.merge(
                self._child(self.permission),
                pulumi.ResourceOptions(replacement_trigger=self._args["resource_id"], delete_before_replace=True),
            ),
        )
