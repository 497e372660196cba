"""The check of inputs against a property table."""

from __future__ import annotations

from typing import Any

import pytest

from amianai_infra.sandbox.provider.properties import Checker, document, fixed, flag, mapping, number, obj, objects, text, text_set
from amianai_infra.sandbox.provider.values import UNKNOWN

TABLE = {
    "name": text(required=True),
    "size": number(choices=(1, 2)),
    "on": flag(default=True),
    "policy": document(),
    "password": text(secret=True),
    "zones": text_set(),
    "labels": mapping(),
    "rules": objects({"port": number(required=True), "open": flag(default=False)}),
    "one": obj({"inner": text()}),
}


def check(**given: Any) -> tuple[dict[str, Any], list[str]]:
    checker = Checker("aws:x/y:Z")
    return checker.complete(TABLE, given), [problem.path for problem in checker.problems]


def test_defaults_and_types_are_filled_in_at_every_depth() -> None:
    done, problems = check(name=5, size="2", on="false", rules=[{"port": "80"}], labels={"a": 1}, one=[{"inner": "x"}])
    assert problems == []
    assert done == {
        "name": "5",
        "size": 2,
        "on": False,
        "rules": [{"port": 80, "open": False}],
        "labels": {"a": "1"},
        "one": {"inner": "x"},
    }


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({}, "name"),
        ({"name": "n", "strange": 1}, "strange"),
        ({"name": "n", "size": 3}, "size"),
        ({"name": "n", "size": True}, "size"),
        ({"name": "n", "size": "many"}, "size"),
        ({"name": "n", "on": "maybe"}, "on"),
        ({"name": ["n"]}, "name"),
        ({"name": "n", "policy": "{"}, "policy"),
        ({"name": "n", "zones": "a"}, "zones"),
        ({"name": "n", "labels": []}, "labels"),
        ({"name": "n", "one": "a"}, "one"),
        ({"name": "n", "one": {"strange": 1}}, "one.strange"),
        ({"name": "n", "rules": [{"port": 1}, {}]}, "rules[1].port"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], path: str) -> None:
    assert check(**given)[1] == [path]


def test_every_problem_is_reported() -> None:
    assert check(strange=1, size=9)[1] == ["strange", "name", "size"]


def test_unknown_values_pass() -> None:
    done, problems = check(name=UNKNOWN, size=UNKNOWN, rules=UNKNOWN, zones=[UNKNOWN])
    assert problems == []
    assert done["rules"] is UNKNOWN


def test_a_secret_is_never_in_a_message() -> None:
    checker = Checker("aws:x/y:Z")
    checker.complete(TABLE, {"name": "n", "password": ["hunter2"]})
    assert "hunter2" not in checker.problems[0].reason


def test_fixed_makes_everything_force_new() -> None:
    assert all(prop.force_new for prop in fixed(TABLE).values())
    assert fixed(TABLE)["size"].choices == (1, 2)
