"""Every property table against the classes of pulumi-aws: the names a program uses are the names the provider knows."""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

import pytest

from amianai_infra.sandbox.provider import registry
from amianai_infra.sandbox.provider.properties import Props
from amianai_infra.sandbox.provider.resource import Resource
from amianai_infra.sandbox.provider.server import VERSION

RESOURCES = registry.resources()

# Inputs of pulumi-aws's resource that have another type here for a reason. None so far.
KINDS = {"bool": "flag", "str": "text", "int": "number", "float": "number"}


def python_name(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@cache
def module_of(token: str) -> Any:
    area, _, file = token.split(":")[1].partition("/")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = "lambda_" if area == "lambda" else area  # a word of Python
        return importlib.import_module(f"pulumi_aws.{package}.{python_name(file)}")


def declared(kind: Any) -> dict[str, str]:
    """Property name -> its type in words, of a class of pulumi-aws."""
    found = {}
    for name, member in vars(kind).items():
        if isinstance(member, property) and member.fget is not None:
            found[getattr(member.fget, "_pulumi_name", name)] = str(member.fget.__annotations__["return"])
    return found


def arguments(resource: Resource) -> Any:
    """The class of the resource's arguments; where a nested type has its name, it is called InitArgs."""
    module, name = module_of(resource.token), resource.token.rsplit(":", 1)[1]
    return getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")


def classes(resource: Resource) -> tuple[dict[str, str], dict[str, str]]:
    module, name = module_of(resource.token), resource.token.rsplit(":", 1)[1]
    return declared(arguments(resource)), declared(getattr(module, name))


@pytest.mark.parametrize("token", sorted(RESOURCES))
def test_inputs_and_outputs_are_pulumi_aws_own(token: str) -> None:
    resource = RESOURCES[token]
    inputs, outputs = classes(resource)
    assert set(resource.table) <= set(inputs)
    assert set(resource.computed) <= set(outputs)
    assert not set(resource.outputs) & set(resource.table), "an input is not listed as an output"
    assert set(resource.volatile) | set(resource.secrets) | set(resource.real_outputs) <= set(outputs)
    assert ("region" in inputs) == resource.regional
    assert ("tags" in inputs) == resource.tagged
    assert resource.name_prop is None or resource.name_prop in resource.table


@pytest.mark.parametrize("token", sorted(RESOURCES))
def test_simple_types_agree(token: str) -> None:
    resource = RESOURCES[token]
    inputs, _ = classes(resource)
    for name, prop in resource.table.items():
        said = re.match(r"pulumi\.Input\[(?:Optional\[)?_builtins\.(\w+)\]", inputs[name])
        if said:
            wanted = KINDS[said.group(1)]
            assert prop.kind == wanted or (wanted == "text" and prop.kind == "json"), name


@pytest.mark.parametrize("token", sorted(RESOURCES))
def test_required_inputs_are_required(token: str) -> None:
    kind = arguments(RESOURCES[token])
    parameters = inspect.signature(kind.__init__).parameters
    needed = {python for python, parameter in parameters.items() if parameter.default is inspect.Parameter.empty and python != "__self__"}
    names = {getattr(member.fget, "_pulumi_name", python) for python, member in vars(kind).items() if python in needed}
    assert names == {name for name, prop in RESOURCES[token].table.items() if prop.required and name in names}


def nested(props: Props) -> Iterator[tuple[str, Any]]:
    for name, prop in props.items():
        yield name, prop
        inner = prop.fields or (prop.item.fields if prop.item else None)
        if inner:
            yield from ((f"{name}.{path}", found) for path, found in nested(inner))


@pytest.mark.parametrize("token", sorted(RESOURCES))
def test_tables_do_not_contradict_themselves(token: str) -> None:
    for path, prop in nested(RESOURCES[token].table):
        assert not (prop.required and (prop.computed or prop.default is not None or prop.autoname)), path
        assert not (prop.choices and prop.default is not None and prop.default not in prop.choices), path
        assert not prop.unordered or prop.kind == "list", path


def test_the_version_is_the_installed_one() -> None:
    assert version("pulumi-aws").split(".")[0] == VERSION.split(".")[0]
