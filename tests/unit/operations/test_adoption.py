"""After a restore the stack follows: the state, what is published, and nothing left to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from amianai_infra.engine.events import Step
from amianai_infra.errors import LockedError, NotFoundError, VerificationError
from amianai_infra.operations.adoption import INSTANCE_TYPE, follow
from tests.unit.operations.fakes import Context, names, resource, summary

URN = "urn:pulumi:prod::amianai-infra::amianai:database:Database$aws:rds/instance:Instance::database-instance"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    made = Context(tmp_path)
    made.state = [resource(URN, INSTANCE_TYPE, "db-OLD", {"identifier": "eeyore-postgres"}, protect=True)]
    return made


def test_the_state_first_then_everything_that_names_it_then_a_last_look(context: Context) -> None:
    follow(context, "eeyore-postgres", "db-NEW")
    done = [name for name in names(context.log) if name in ("stand_for", "up", "preview")]
    assert done == ["stand_for", "up", "preview"]
    assert context.did("stand_for") == [("stand_for", URN, "db-NEW")]


def test_what_still_differs_is_said(context: Context) -> None:
    left = summary("preview", {"update": 1}, changed=True)
    left.steps.append(Step("update", URN, INSTANCE_TYPE, "database-instance", ("multiAz",)))
    context.answers["preview"] = left
    with pytest.raises(VerificationError, match="serves, but the stack still differs") as failed:
        follow(context, "eeyore-postgres", "db-NEW")
    assert "update database-instance" in failed.value.where


def test_somebody_elses_lock_is_no_loss(context: Context) -> None:
    context.answers["up"] = LockedError("Another operation is working on this stack.")
    with pytest.raises(LockedError):
        follow(context, "eeyore-postgres", "db-NEW")
    context.answers.clear()
    follow(context, "eeyore-postgres", "db-NEW")


def test_a_state_without_the_instance(context: Context) -> None:
    context.state = []
    with pytest.raises(NotFoundError, match="no database instance eeyore-postgres"):
        follow(context, "eeyore-postgres", "db-NEW")
