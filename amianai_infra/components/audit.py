"""The audit log group: who did what to the database, when and why."""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup

from amianai_infra.components.inputs import tagged
from amianai_infra.config import AuditSettings
from amianai_infra.naming import audit_log_group

_DEFAULT = AuditSettings()


class AuditLogArgs(TypedDict):
    """What an `AuditLog` takes."""

    prefix: str
    """Prefix of the group's name."""

    days: NotRequired[pulumi.Input[int]]
    """Retention in days. Default 1096, three years."""

    deletion_protection: NotRequired[bool]
    """Whether AWS refuses to delete the group. Default yes."""

    log_group: NotRequired[str]
    """Name of a group to adopt, as an earlier stack left it. Default none: create it."""


_DEFAULTS = {"days": _DEFAULT.days, "deletion_protection": _DEFAULT.deletion_protection, "log_group": _DEFAULT.log_group}


class AuditLog(pulumi.ComponentResource):
    """A log group that administrative commands write to before they do anything; it outlives the database.

    Creates: one log group with a retention and deletion protection.

    Cost: nothing; a record is a kilobyte, and CloudWatch takes $0.50 a GB.

    Source: Amazon CloudWatch Logs User Guide, "Protecting log groups from deletion".
    """

    name: pulumi.Output[str]
    """Name of the log group."""
    arn: pulumi.Output[str]
    """ARN of the log group."""

    def __init__(self, name: str, args: AuditLogArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("amianai:audit:AuditLog", name, None, opts)
        self._name_of = name
        self._args: AuditLogArgs = {**_DEFAULTS, **args}  # type: ignore[typeddict-item]

        self._create_log_group()

        self.name = self.log_group.name
        self.arn = self.log_group.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

    def _create_log_group(self) -> None:
        args = self._args
        display = args["log_group"] or audit_log_group(args["prefix"])
        self.log_group = LogGroup(
            f"{self._name_of}-log",
            name=display,
            retention_in_days=args["days"],
            deletion_protection_enabled=args["deletion_protection"],
            tags=tagged(f"{args['prefix']}-database-audit"),
            opts=pulumi.ResourceOptions(parent=self, protect=args["deletion_protection"], import_=args["log_group"] or None),
        )
