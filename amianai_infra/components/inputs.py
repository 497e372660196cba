"""Checks of component arguments: plain values fail at once, outputs fail when they are known, through the same check."""

from collections.abc import Callable
from typing import Any, TypeVar

import pulumi

Given = TypeVar("Given")
Result = TypeVar("Result")


def checked(value: pulumi.Input[Given], check: Callable[[Given], Result]) -> pulumi.Output[Result]:
    """What `check` makes of the value.

    Args:
        value: plain, or an output.
        check: a pure function that raises `ValueError` for what it refuses.
    """
    if not isinstance(value, pulumi.Output):
        check(value)  # type: ignore[arg-type]
    return pulumi.Output.from_input(value).apply(check)


def policy_json(policy: Any) -> pulumi.Output[str]:
    """A policy document as JSON, with the outputs in it resolved."""
    return pulumi.Output.json_dumps(policy)


def tagged(name: str) -> dict[str, pulumi.Input[str]]:
    """The display name: a tag, so that a new one never replaces a resource."""
    return {"Name": name}
