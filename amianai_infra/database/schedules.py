"""What AWS does later by itself: one-time schedules of EventBridge Scheduler that call an API operation.

Source: EventBridge Scheduler User Guide, "Using universal targets" and "Schedule types": a one-time schedule fires within a minute.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from amianai_infra.outputs import AccessOutputs
from amianai_infra.rules.access import Schedule, parse_expression

# As often as the scheduler offers, for two hours: RDS is busy with another change for minutes, hardly longer.
RETRIES: Final = 185
RETRY_SECONDS: Final = 2 * 3600


@dataclass(frozen=True)
class Kept:
    """A schedule as it was found.

    Attributes:
        name: its name.
        at: when it fires.
        note: its description.
    """

    name: str
    at: datetime
    note: str


class Schedules:
    """The schedules of the stack's own group.

    Args:
        scheduler: a boto3 client for `scheduler`.
        outputs: group, role and dead-letter queue, as the stack published them.
    """

    def __init__(self, scheduler: Any, outputs: AccessOutputs) -> None:
        self._scheduler = scheduler
        self._outputs = outputs

    def put(self, schedule: Schedule) -> None:
        """Create it, or bring the one of its name to it."""
        request = self.request(schedule)
        try:
            self._scheduler.update_schedule(**request)
        except self._scheduler.exceptions.ResourceNotFoundException:
            self._create(request)

    def _create(self, request: dict[str, Any]) -> None:
        try:
            self._scheduler.create_schedule(**request)
        except self._scheduler.exceptions.ConflictException:  # somebody else has just made it
            self._scheduler.update_schedule(**request)

    def request(self, schedule: Schedule) -> dict[str, Any]:
        """What the API is told."""
        return {
            "Name": schedule.name,
            "GroupName": self._outputs.schedule_group,
            "Description": schedule.note,
            "ScheduleExpression": schedule.expression,
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "State": "ENABLED",
            "Target": {
                "Arn": schedule.target,
                "RoleArn": self._outputs.scheduler_role_arn,
                "Input": json.dumps(schedule.request, separators=(",", ":")),
                "RetryPolicy": {"MaximumRetryAttempts": RETRIES, "MaximumEventAgeInSeconds": RETRY_SECONDS},
                "DeadLetterConfig": {"Arn": self._outputs.dead_letter_arn},
            },
        }

    def delete(self, name: str) -> None:
        """Delete it; one that has fired meanwhile is gone already."""
        try:
            self._scheduler.delete_schedule(Name=name, GroupName=self._outputs.schedule_group)
        except self._scheduler.exceptions.ResourceNotFoundException:
            return

    def all(self) -> Iterator[Kept]:
        """Every schedule of the group that has a time of its own."""
        pages = self._scheduler.get_paginator("list_schedules").paginate(GroupName=self._outputs.schedule_group)
        for name in [one["Name"] for page in pages for one in page["Schedules"]]:
            try:
                found = self._scheduler.get_schedule(Name=name, GroupName=self._outputs.schedule_group)
                at = parse_expression(found["ScheduleExpression"])
            except (self._scheduler.exceptions.ResourceNotFoundException, ValueError):
                continue  # fired since it was listed, or somebody else's
            yield Kept(name, at, found.get("Description") or "")
