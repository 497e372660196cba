"""Invalidations: what is asked for, waiting, giving up, errors."""

from __future__ import annotations

from unittest.mock import Mock, create_autospec

import pytest
from botocore.exceptions import ClientError

from amianai_infra.errors import ForbiddenError, UnreachableError
from amianai_infra.progress import Progress
from amianai_infra.site.cdn import invalidate
from amianai_infra.target import AwsTarget


def target(client: Mock) -> Mock:
    made = create_autospec(AwsTarget, instance=True)
    made.client.return_value = client
    return made  # type: ignore[no-any-return]


def client(*statuses: str) -> Mock:
    made = Mock(spec_set=["create_invalidation", "get_invalidation"])
    made.create_invalidation.return_value = {"Invalidation": {"Id": "I1", "Status": statuses[0]}}
    made.get_invalidation.side_effect = [{"Invalidation": {"Id": "I1", "Status": status}} for status in statuses[1:]]
    return made


def test_it_waits_until_every_edge_has_forgotten() -> None:
    cloudfront = client("InProgress", "InProgress", "Completed")
    slept: list[float] = []
    invalidate(target(cloudfront), "E1", ("/a", "/b/*"), "ref", Progress(quiet=True), sleep=slept.append)
    batch = cloudfront.create_invalidation.call_args.kwargs["InvalidationBatch"]
    assert batch == {"Paths": {"Quantity": 2, "Items": ["/a", "/b/*"]}, "CallerReference": "ref"}
    assert len(slept) == 2


def test_it_gives_up_in_the_end() -> None:
    now = iter(range(0, 10_000, 400))
    with pytest.raises(UnreachableError, match="did not finish"):
        invalidate(
            target(client(*["InProgress"] * 9)),
            "E1",
            ("/*",),
            "r",
            Progress(quiet=True),
            sleep=lambda seconds: None,
            clock=lambda: next(now),
        )


def test_a_refusal_is_translated() -> None:
    cloudfront = client("Completed")
    cloudfront.create_invalidation.side_effect = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "CreateInvalidation")
    with pytest.raises(ForbiddenError, match="invalidating distribution E1"):
        invalidate(target(cloudfront), "E1", ("/*",), "r", Progress(quiet=True))
