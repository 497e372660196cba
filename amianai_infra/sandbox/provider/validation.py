"""Checks every call's parameters against botocore's service model: enum, pattern, length, range, required.

botocore checks types and required members only, and the emulator accepts much that AWS refuses. `watch` puts the check on a
client, so that a value AWS would refuse fails here, with the service, operation, path, value and rule in the message.

Patterns are written for other regular-expression engines and match the whole value. What Python cannot compile is skipped
(`uncompilable` lists it, a test counts it); what is known to be wrong in the models is in `WRONG_PATTERNS`.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel, Shape

# (service, shape) whose pattern refuses what the service takes: the emulator's ARN of a key-value store ends in its name, not in its id.
WRONG_PATTERNS: Final[frozenset[tuple[str, str]]] = frozenset({("cloudfront", "KeyValueStoreARN")})


class RefusedParameters(Exception):
    """A call's parameters break the service model; nothing was sent."""

    def __init__(self, service: str, operation: str, problems: list[str]) -> None:
        super().__init__(f"{service} {operation}: " + "; ".join(problems))
        self.problems = problems


def watch(client: Any) -> None:
    """Check every call of a boto3 client before it is built."""
    client.meta.events.register("before-parameter-build", _check_call)


def _check_call(params: Mapping[str, Any], model: OperationModel, **_: Any) -> None:
    problems = check(model, params)
    if problems:
        raise RefusedParameters(model.service_model.service_name, model.name, problems)


def check(model: OperationModel, params: Mapping[str, Any]) -> list[str]:
    """What is wrong with a call's parameters, one sentence each."""
    if model.input_shape is None:
        return [f"takes no parameters, but got {', '.join(params)}"] if params else []
    return list(_walk(model.service_model.service_name, model.input_shape, params, ""))


def _walk(service: str, shape: Shape, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        yield from _structure(service, shape, value, path)
    elif kind == "list":
        yield from _list(service, shape, value, path)
    elif kind == "map":
        yield from _map(service, shape, value, path)
    elif kind == "string":
        yield from _string(service, shape, value, path)
    elif kind == "blob":
        yield from _length(shape, value, path, "bytes")
    elif kind in ("integer", "long", "float", "double"):
        yield from _range(shape, value, path)


def _structure(service: str, shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path} must be a structure, not {value!r}"
        return
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"{_join(path, name)} is required"
    if shape.is_tagged_union and len(value) != 1:
        yield f"{path} must have exactly one of {', '.join(shape.members)}"
    for name, item in value.items():
        if name not in shape.members:
            yield f"{_join(path, name)} is not a parameter"
        elif item is not None:
            yield from _walk(service, shape.members[name], item, _join(path, name))


def _list(service: str, shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, (list, tuple)):
        yield f"{path} must be a list, not {value!r}"
        return
    yield from _length(shape, value, path, "items")
    for index, item in enumerate(value):
        yield from _walk(service, shape.member, item, f"{path}[{index}]")


def _map(service: str, shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path} must be a map, not {value!r}"
        return
    yield from _length(shape, value, path, "entries")
    for key, item in value.items():
        yield from _walk(service, shape.key, key, f"{path} key")
        yield from _walk(service, shape.value, item, f"{path}[{key!r}]")


def _string(service: str, shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path} must be a string, not {value!r}"
        return
    shown = "the value" if shape.metadata.get("sensitive") else repr(value)
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        yield f"{path} = {shown} is not one of {', '.join(allowed)}"
    yield from _length(shape, value, path, "characters")
    pattern = shape.metadata.get("pattern")
    if pattern and (service, shape.name) not in WRONG_PATTERNS:
        compiled = compiled_pattern(pattern)
        if compiled is not None and not compiled.fullmatch(value):
            yield f"{path} = {shown} does not match the pattern {pattern}"


def _length(shape: Any, value: Any, path: str, unit: str) -> Iterator[str]:
    size = len(value) if hasattr(value, "__len__") else None
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if size is None:
        return
    if least is not None and size < least:
        yield f"{path} has {size} {unit}, fewer than {least}"
    if most is not None and size > most:
        yield f"{path} has {size} {unit}, more than {most}"


def _range(shape: Any, value: Any, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"{path} must be a number, not {value!r}"
        return
    if least is not None and value < least:
        yield f"{path} = {value} is below {least}"
    if most is not None and value > most:
        yield f"{path} = {value} is above {most}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@cache
def compiled_pattern(pattern: str) -> re.Pattern[str] | None:
    """The pattern for Python, or None where Python cannot express it."""
    translated = re.sub(r"\(\?<(?=[A-Za-z])", "(?P<", pattern)
    translated = re.sub(r"\\w-(?!\])", r"\\w\\-", translated)  # elsewhere a hyphen after a class is itself
    translated = _without_properties(translated)
    flags = re.ASCII
    if "(?s)" in translated:
        translated, flags = translated.replace("(?s)", ""), flags | re.DOTALL
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(translated, flags)
    except re.error:
        return None


_PROPERTY: Final = re.compile(r"\\p\{(\w+)\}")


def _without_properties(pattern: str) -> str:
    """`\\p{L}` written out, which Python's expressions do not know."""

    def written_out(found: re.Match[str]) -> str:
        members = "\\x00-\\x7f" if found[1] == "ASCII" else _categories().get(found[1])
        if members is None:
            return found[0]
        before = pattern[: found.start()]
        inside = len(re.findall(r"(?<!\\)\[", before)) > len(re.findall(r"(?<!\\)\]", before))
        return members if inside else f"[{members}]"

    return _PROPERTY.sub(written_out, pattern)


# No letter, mark, number, sign, punctuation or separator is assigned beyond.
_LAST_ASSIGNED: Final = 0x323AF


@cache
def _categories() -> dict[str, str]:
    """Unicode's major categories (L, M, N, P, S, Z) as members of a character class. Takes 0.1 s, once."""
    found: dict[str, list[str]] = {letter: [] for letter in "LMNPSZ"}
    start, kind = 0, "C"
    for code in range(_LAST_ASSIGNED + 2):
        category = unicodedata.category(chr(code))[0] if code <= _LAST_ASSIGNED else "C"
        if category != kind:
            if kind in found:
                found[kind].append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start, kind = code, category
    return {letter: "".join(ranges) for letter, ranges in found.items()}


def uncompilable(model: ServiceModel) -> set[str]:
    """The patterns of a service that are skipped."""
    found = set()
    for name in model.shape_names:
        pattern = model.shape_for(name).metadata.get("pattern")
        if pattern and compiled_pattern(pattern) is None:
            found.add(pattern)
    return found
