"""Pulumi's camelCase values to and from the API's shapes. Pure, except `unless`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def to_api(value: Any, names: Mapping[str, str] | None = None) -> Any:
    """Every key with a capital first letter, or as `names` spells it; None is left out."""
    known = names or {}
    if isinstance(value, Mapping):
        return {known.get(key, key[:1].upper() + key[1:]): to_api(item, known) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [to_api(item, known) for item in value]
    return value


def from_api(value: Any, names: Mapping[str, str] | None = None) -> Any:
    """The inverse of `to_api` with the same `names`."""
    back = {api: key for key, api in (names or {}).items()}
    return _from_api(value, back)


def _from_api(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {names.get(key, key[:1].lower() + key[1:]): _from_api(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_api(item, names) for item in value]
    return value


def as_declared(real: Any, declared: Any) -> Any:
    """What AWS reports, reduced to the keys that were declared: it adds its own choices to structures it was given."""
    if isinstance(real, dict) and isinstance(declared, Mapping):
        return {key: as_declared(item, declared[key]) for key, item in real.items() if key in declared}
    return real


def counted(items: list[Any]) -> dict[str, Any]:
    """A list in CloudFront's form: `{"Quantity": 2, "Items": [...]}`."""
    return {"Quantity": len(items), "Items": items} if items else {"Quantity": 0}


def items_of(block: Mapping[str, Any] | None) -> list[Any]:
    """The list in CloudFront's form."""
    return list((block or {}).get("Items") or [])


def unless(codes: tuple[str, ...], call: Callable[..., Any], **parameters: Any) -> Any:
    """The answer of a call, or None when AWS answers with one of these error codes."""
    from botocore.exceptions import ClientError

    try:
        return call(**parameters)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code", "") in codes:
            return None
        raise
