"""EventBridge Scheduler's universal targets, as AWS would carry them out: the emulator drops them.

The Input of such a target is in the spelling of the Java SDK. It is checked against botocore's model and converted back.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError
from botocore.session import Session

from amianai_infra.rules.access import parse_expression


def java_spelling(name: str) -> str:
    """A member as the AWS SDK for Java 2.x spells it, with a capital: `DBInstanceIdentifier` is `DbInstanceIdentifier`."""
    words = re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", name)
    return "".join(word[:1].upper() + word[1:].lower() for word in words)


def java_operation(name: str) -> str:
    """An operation as a universal target names it: `modifyDBInstance`."""
    return name[:1].lower() + name[1:]


def from_java(shape: Any, value: Any) -> Any:
    """A value of the Input as boto3 takes it; a key that the Java SDK would not know is an error."""
    if shape.type_name == "structure":
        members = {java_spelling(name): name for name in shape.members}
        assert set(value) <= set(members), f"{shape.name}: {sorted(set(value) - set(members))} are not spelled as in Java"
        return {members[key]: from_java(shape.members[members[key]], item) for key, item in value.items()}
    if shape.type_name == "list":
        return [from_java(shape.member, item) for item in value]
    return value


def call_of(target: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Service, operation and parameters behind a schedule's target."""
    prefix, service, operation = target["Arn"].rsplit(":", 2)
    assert prefix == "arn:aws:scheduler:::aws-sdk"
    model = Session().get_service_model(service)
    (name,) = [one for one in model.operation_names if java_operation(one) == operation]
    return service, name, from_java(model.operation_model(name).input_shape, json.loads(target["Input"]))


def fire(target: Any, group: str, now: datetime) -> list[str]:
    """Carry out what is due, and delete it as ActionAfterCompletion says; gives the names of those that failed."""
    scheduler = target.client("scheduler")
    failed = []
    for listed in scheduler.list_schedules(GroupName=group)["Schedules"]:
        found = scheduler.get_schedule(Name=listed["Name"], GroupName=group)
        if parse_expression(found["ScheduleExpression"]) > now or found["State"] != "ENABLED":
            continue
        assert found["ScheduleExpressionTimezone"] == "UTC"
        assert found["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert found["ActionAfterCompletion"] == "DELETE"
        assert found["Target"]["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert found["Target"]["DeadLetterConfig"]["Arn"]
        service, name, parameters = call_of(found["Target"])
        client = target.client(service)
        try:
            getattr(client, re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower())(**parameters)
        except ClientError:
            failed.append(found["Name"])
        scheduler.delete_schedule(Name=listed["Name"], GroupName=group)
    return failed
