"""Property tables: what a resource type takes, and the check of a program's inputs against them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from amianai_infra.sandbox.provider.values import UNKNOWN, Archive, Unknown

Kind = Literal["text", "flag", "number", "json", "archive", "object", "map", "list"]
Props = Mapping[str, "Prop"]


@dataclass(frozen=True)
class Prop:
    """One input property.

    Attributes:
        kind: the type of its value.
        required: the program must give it.
        force_new: a change replaces the resource.
        computed: AWS chooses when the program does not; the choice is no difference.
        secret: always encrypted in the state.
        write_only: AWS does not give it back, so refresh cannot see it change.
        unreported: AWS gives it back and the emulator does not; as write-only, and giving it after an import replaces nothing.
        default: what the provider fills in at Check.
        unordered: (list) the order means nothing.
        choices: the only values allowed.
        fields: (object) the properties inside; a list of objects has them in `item`.
        item: (list, map) the property of each element.
        autoname: named after the Pulumi resource plus seven characters when the program gives no name.
        canonical: the form in which two spellings of one value are equal, for scalars.
        drift_same: (declared, real) -> whether the real value is what was declared, where equality is not enough.
    """

    kind: Kind = "text"
    required: bool = False
    force_new: bool = False
    computed: bool = False
    secret: bool = False
    write_only: bool = False
    unreported: bool = False
    default: Any = None
    unordered: bool = False
    choices: tuple[Any, ...] = ()
    fields: Props | None = None
    item: Prop | None = None
    autoname: bool = False
    canonical: Callable[[Any], Any] | None = None
    drift_same: Callable[[Any, Any], bool] | None = None

    @property
    def silent(self) -> bool:
        """Whether a reader cannot report it."""
        return self.write_only or self.unreported


def text(**options: Any) -> Prop:
    """A string."""
    return Prop("text", **options)


def flag(**options: Any) -> Prop:
    """A boolean."""
    return Prop("flag", **options)


def number(**options: Any) -> Prop:
    """An integer or a float."""
    return Prop("number", **options)


def document(**options: Any) -> Prop:
    """A JSON document given as text; white space and key order mean nothing."""
    return Prop("json", **options)


def archive(**options: Any) -> Prop:
    """Files given as texts."""
    return Prop("archive", **options)


def obj(fields: Props, **options: Any) -> Prop:
    """An object with known properties."""
    return Prop("object", fields=fields, **options)


def mapping(item: Prop | None = None, **options: Any) -> Prop:
    """A map with free keys, of strings unless `item` says otherwise."""
    return Prop("map", item=item or Prop(), **options)


def texts(**options: Any) -> Prop:
    """A list of strings whose order counts."""
    return Prop("list", item=Prop(), **options)


def text_set(**options: Any) -> Prop:
    """A list of strings whose order means nothing."""
    return Prop("list", item=Prop(), unordered=True, **options)


def objects(fields: Props, **options: Any) -> Prop:
    """A list of objects (`unordered=True` for a set)."""
    return Prop("list", item=obj(fields), **options)


def fixed(props: Props) -> dict[str, Prop]:
    """The same properties, each of which replaces the resource when it changes."""
    return {name: replace(prop, force_new=True) for name, prop in props.items()}


@dataclass(frozen=True)
class Problem:
    """Why an input is refused."""

    path: str
    reason: str


def is_empty(value: Any) -> bool:
    """Whether a value says nothing: absent, empty text, empty list or empty map."""
    return value is None or (isinstance(value, (str, list, dict)) and not value)


class Checker:
    """Checks and completes inputs against a table, collecting every problem.

    Args:
        token: the resource type, for messages.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.problems: list[Problem] = []

    def complete(self, props: Props, given: Mapping[str, Any], path: str = "") -> dict[str, Any]:
        """The inputs with right types and defaults; look at `problems` afterwards."""
        done: dict[str, Any] = {}
        for name in given:
            if name not in props:
                self._refuse(_join(path, name), f"{self.token} has no property {_join(path, name)!r} that the sandbox implements")
        for name, prop in props.items():
            value = given.get(name)
            if value is None:
                value = prop.default
            if value is not None:
                done[name] = self._value(prop, value, _join(path, name))
            elif prop.required:
                self._refuse(_join(path, name), f"{self.token} requires the property {_join(path, name)!r}")
        return done

    def _refuse(self, path: str, reason: str) -> None:
        self.problems.append(Problem(path, reason))

    def _value(self, prop: Prop, value: Any, path: str) -> Any:
        if isinstance(value, Unknown):
            return UNKNOWN
        if prop.kind == "object":
            return self._object(prop, value, path)
        if prop.kind == "map":
            return self._map(prop, value, path)
        if prop.kind == "list":
            return self._list(prop, value, path)
        return self._scalar(prop, value, path)

    def _object(self, prop: Prop, value: Any, path: str) -> Any:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict):
            return self._wrong(path, "an object", value)
        return self.complete(prop.fields or {}, value, path)

    def _map(self, prop: Prop, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return self._wrong(path, "a map", value)
        return {key: self._value(prop.item or Prop(), item, _join(path, key)) for key, item in value.items() if item is not None}

    def _list(self, prop: Prop, value: Any, path: str) -> Any:
        if not isinstance(value, list):
            return self._wrong(path, "a list", value)
        return [self._value(prop.item or Prop(), item, f"{path}[{index}]") for index, item in enumerate(value) if item is not None]

    def _scalar(self, prop: Prop, value: Any, path: str) -> Any:
        try:
            converted = _SCALARS[prop.kind](value)
        except (TypeError, ValueError):
            return self._wrong(path, _NAMES[prop.kind], value, hidden=prop.secret)
        if prop.choices and converted not in prop.choices:
            allowed = ", ".join(str(choice) for choice in prop.choices)
            self._refuse(path, f"{self.token}: {path} = {converted!r} is not one of {allowed}")
        return converted

    def _wrong(self, path: str, wanted: str, value: Any, *, hidden: bool = False) -> Any:
        shown = "the value" if hidden else repr(value)
        self._refuse(path, f"{self.token}: {path} must be {wanted}, not {shown}")
        return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _to_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise TypeError


def _to_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise ValueError


def _to_number(value: Any) -> int | float:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, (int, float)):
        return value
    return int(value)


def _to_json(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    json.loads(value)
    return str(value)


def _to_archive(value: Any) -> Archive:
    if not isinstance(value, Archive):
        raise TypeError
    return value


_SCALARS: dict[Kind, Callable[[Any], Any]] = {
    "text": _to_text,
    "flag": _to_flag,
    "number": _to_number,
    "json": _to_json,
    "archive": _to_archive,
}
_NAMES: dict[Kind, str] = {
    "text": "text",
    "flag": "true or false",
    "number": "a number",
    "json": "a JSON document",
    "archive": "an archive of texts",
}


def names(props: Props, *, secret: bool) -> Iterator[str]:
    """The names of the properties that are (not) always secret."""
    return (name for name, prop in props.items() if prop.secret is secret)
