"""Compares two sets of inputs by their property table. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from amianai_infra.sandbox.provider.properties import Prop, Props, is_empty
from amianai_infra.sandbox.provider.values import Unknown, has_unknown


@dataclass(frozen=True)
class Change:
    """One difference: where, what kind, and whether it replaces the resource."""

    path: str
    kind: Literal["add", "delete", "update"]
    replace: bool

    @property
    def top(self) -> str:
        """The top-level property."""
        return self.path.split(".", 1)[0].split("[", 1)[0]


def compare(props: Props, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Every difference between two sets of inputs, defaults already filled in."""
    return [change for name, prop in props.items() for change in _compare(prop, old.get(name), new.get(name), name, prop.force_new)]


def _compare(prop: Prop, old: Any, new: Any, path: str, replace: bool) -> Iterator[Change]:
    if is_empty(old) and is_empty(new):
        return
    if is_empty(new):
        if not prop.computed:
            yield Change(path, "delete", replace)
    elif is_empty(old):
        yield Change(path, "add", replace and not prop.unreported)
    elif isinstance(new, Unknown) or isinstance(old, Unknown):
        yield Change(path, "update", replace)
    elif prop.kind == "object" and isinstance(old, dict) and isinstance(new, dict):
        yield from _compare_object(prop, old, new, path, replace)
    elif prop.kind == "map" and isinstance(old, dict) and isinstance(new, dict):
        yield from _compare_map(prop, old, new, path, replace)
    elif prop.kind == "list" and not prop.unordered and isinstance(old, list) and isinstance(new, list):
        yield from _compare_list(prop, old, new, path, replace)
    elif not same(prop, old, new):
        yield Change(path, "update", replace)


def _compare_object(prop: Prop, old: dict[str, Any], new: dict[str, Any], path: str, replace: bool) -> Iterator[Change]:
    for name, inner in (prop.fields or {}).items():
        yield from _compare(inner, old.get(name), new.get(name), f"{path}.{name}", replace or inner.force_new)


def _compare_map(prop: Prop, old: dict[str, Any], new: dict[str, Any], path: str, replace: bool) -> Iterator[Change]:
    for key in sorted({*old, *new}):
        inner = f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key)}]"
        if key not in new:
            yield Change(inner, "delete", replace)
        elif key not in old:
            yield Change(inner, "add", replace)
        else:
            yield from _compare(prop.item or Prop(), old[key], new[key], inner, replace)


def _compare_list(prop: Prop, old: list[Any], new: list[Any], path: str, replace: bool) -> Iterator[Change]:
    for index in range(max(len(old), len(new))):
        before = old[index] if index < len(old) else None
        after = new[index] if index < len(new) else None
        yield from _compare(prop.item or Prop(), before, after, f"{path}[{index}]", replace)


def same(prop: Prop, old: Any, new: Any) -> bool:
    """Whether two values mean the same."""
    if has_unknown(old) or has_unknown(new):
        return False
    return bool(_canonical(prop, old) == _canonical(prop, new))


def _canonical(prop: Prop, value: Any) -> Any:
    if is_empty(value):
        return None
    if prop.kind == "json":
        return _document(value)
    if prop.kind == "object" and isinstance(value, dict):
        found = {name: _canonical(inner, value.get(name)) for name, inner in (prop.fields or {}).items() if not inner.silent}
        return {name: item for name, item in found.items() if item is not None}
    if prop.kind == "map" and isinstance(value, dict):
        return {key: _canonical(prop.item or Prop(), item) for key, item in value.items()}
    if prop.kind == "list" and isinstance(value, list):
        items = [_canonical(prop.item or Prop(), item) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if prop.unordered else items
    return prop.canonical(value) if prop.canonical else value


def _document(value: Any) -> Any:
    """A JSON document without what IAM ignores: white space, order of keys, one value or a list of one."""
    parsed = json.loads(value) if isinstance(value, str) else value
    return _loose(parsed)


def _loose(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _loose(item) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) == 1:
            return _loose(value[0])
        return sorted((_loose(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def drifted_inputs(props: Props, declared: Mapping[str, Any], real: Mapping[str, Any], *, importing: bool) -> dict[str, Any]:
    """The inputs that describe what is really there.

    Args:
        props: the type's table.
        declared: the inputs as last declared; empty when importing.
        real: what the reader found, None for what is unset.
        importing: there are no declared inputs: take everything that is set.
    """
    found: dict[str, Any] = {}
    for name, prop in props.items():
        value = _drifted(prop, declared.get(name), real.get(name), importing)
        if value is not None:
            found[name] = value
    return found


def _drifted(prop: Prop, declared: Any, real: Any, importing: bool) -> Any:
    if prop.silent:
        return prop.default if importing and declared is None else declared
    if importing:
        return None if is_empty(real) else real
    if declared is None:
        return None if prop.computed or is_empty(real) or same(prop, prop.default, real) else real
    if same(prop, declared, real) or (prop.drift_same and not is_empty(real) and prop.drift_same(declared, real)):
        return declared
    return real
