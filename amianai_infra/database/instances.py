"""RDS instances and snapshots through their API, with errors in our own words, and waiting for what takes minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from amianai_infra.errors import AmianaiError, NotFoundError, UnreachableError
from amianai_infra.progress import Progress, duration
from amianai_infra.target import aws_error

Described = Mapping[str, Any]
# States from which an instance does not come back by itself.
_LOST = ("failed", "deleting", "incompatible", "restore-error", "inaccessible", "storage-full", "stopped")


@dataclass(frozen=True)
class Patience:
    """How waiting is done; tests bring their own clock.

    Attributes:
        every: seconds between two looks.
        most: seconds until it is given up.
    """

    every: float = 10.0
    most: float = 3 * 3600.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)


class Rds:
    """The instances and snapshots of one region.

    Args:
        client: a boto3 client for `rds`.
        progress: where waiting is shown.
        patience: how waiting is done.
    """

    def __init__(self, client: Any, progress: Progress, patience: Patience | None = None) -> None:
        self._client = client
        self.progress = progress
        self.patience = patience or Patience()

    def call(self, operation: str, doing: str, **parameters: Any) -> Any:
        """One call; errors are translated."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(**parameters)
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, doing) from error

    def pages(self, operation: str, key: str, doing: str, **parameters: Any) -> Iterator[Described]:
        """Everything that a listing has."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for page in self._client.get_paginator(operation).paginate(**parameters):
                yield from page.get(key, [])
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, doing) from error

    # -- instances

    def instances(self) -> list[Described]:
        """Every instance of the region."""
        return list(self.pages("describe_db_instances", "DBInstances", "looking for database instances"))

    def find(self, identifier: str) -> Described | None:
        """An instance by its identifier; None when there is none."""
        try:
            found = self.call("describe_db_instances", f"looking at the instance {identifier}", DBInstanceIdentifier=identifier)
        except NotFoundError:
            return None
        return dict(found["DBInstances"][0])

    def get(self, identifier: str) -> Described:
        """An instance by its identifier.

        Raises:
            NotFoundError: there is none.
        """
        found = self.find(identifier)
        if found is None:
            raise NotFoundError(f"There is no database instance {identifier}.", fix="`amianai status` names the stack's own")
        return found

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add tags, or change their values."""
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        self.call("add_tags_to_resource", f"tagging {_name(arn)}", ResourceName=arn, Tags=listed)

    def untag(self, arn: str, keys: list[str]) -> None:
        """Remove tags."""
        self.call("remove_tags_from_resource", f"removing tags of {_name(arn)}", ResourceName=arn, TagKeys=keys)

    def wait(self, title: str, done: Callable[[], str | None]) -> None:
        """Look again and again until `done` gives None; what it gives meanwhile is shown.

        Raises:
            UnreachableError: patience ran out. Nothing is lost: the same command goes on from here.
        """
        started = self.patience.clock()
        with self.progress.task(title) as task:
            while (state := done()) is not None:
                task.say(state)
                waited = self.patience.clock() - started
                if waited > self.patience.most:
                    raise UnreachableError(
                        f"{title}: not done after {duration(waited)}.", where=f"last state: {state}", fix="run the same command again"
                    )
                self.patience.sleep(self.patience.every)
            task.say("done")

    def wait_available(self, identifier: str, title: str = "") -> Described:
        """Wait until an instance is available and nothing of it waits to be changed; gives its description.

        Raises:
            AmianaiError: it is in a state that it does not leave by itself.
            UnreachableError: patience ran out.
        """
        found: Described = {}

        def state() -> str | None:
            nonlocal found
            found = self.find(identifier) or {}
            status = str(found.get("DBInstanceStatus", "not there yet"))
            if status.startswith(_LOST):
                raise AmianaiError(f"The instance {identifier} is {status}.", fix=f"look at its events in the RDS console ({identifier})")
            pending = ", ".join(found.get("PendingModifiedValues") or ())
            if status == "available" and not pending:
                return None
            return f"{status}; waits for {pending}" if pending else status

        self.wait(title or f"Waiting for {identifier}", state)
        return found


def tags_of(described: Described) -> dict[str, str]:
    """The tags of an instance or a snapshot."""
    return {tag["Key"]: tag.get("Value", "") for tag in described.get("TagList") or []}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the API takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]
