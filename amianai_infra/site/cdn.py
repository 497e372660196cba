"""Asks the CDN to forget what changed, and waits until it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from amianai_infra.errors import UnreachableError
from amianai_infra.progress import duration
from amianai_infra.site.invalidation import cost
from amianai_infra.target import aws_error

if TYPE_CHECKING:
    from amianai_infra.progress import Progress
    from amianai_infra.target import Target

PATIENCE = 900.0
_INTERVAL = 2.0


def invalidate(
    target: Target,
    distribution: str,
    paths: Sequence[str],
    reference: str,
    progress: Progress,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Have `paths` forgotten at every edge.

    Args:
        target: the environment.
        distribution: the distribution's id.
        paths: as `invalidation.minimal` gives them.
        reference: unique to this release; the same reference twice is one invalidation.
        progress: where to report.
        sleep: how to wait.
        clock: seconds, rising.

    Raises:
        UnreachableError: it was not complete after a quarter of an hour.
        ForbiddenError, NotFoundError: as the names say.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    started = clock()
    with progress.task("Invalidation") as task:
        try:
            client = target.client("cloudfront")
            batch = {"Paths": {"Quantity": len(paths), "Items": list(paths)}, "CallerReference": reference}
            answer = client.create_invalidation(DistributionId=distribution, InvalidationBatch=batch)["Invalidation"]
            while answer["Status"].lower() != "completed":
                waited = clock() - started
                if waited > PATIENCE:
                    raise UnreachableError(
                        f"The CDN did not finish an invalidation within {duration(PATIENCE)}.",
                        where=f"distribution {distribution}, invalidation {answer['Id']}",
                        fix="run `amianai deploy` again: it goes on from here",
                    )
                task.say(f"{cost(len(paths))}; waiting for the edges, {duration(waited)}")
                sleep(_INTERVAL)
                answer = client.get_invalidation(DistributionId=distribution, Id=answer["Id"])["Invalidation"]
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, f"invalidating distribution {distribution}") from error
        task.say(cost(len(paths)))
