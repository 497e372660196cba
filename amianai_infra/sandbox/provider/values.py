"""The engine's values: protobuf structs with secrets and unknowns, to and from plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value

_UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_SIGNATURE_KEY: Final = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"
_ARCHIVE_SIGNATURE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"
_ASSET_SIGNATURE: Final = "c44067f5952c0a294b673a41bacd8c17"


class Unknown:
    """A value nobody knows before the deployment ran. There is one: `UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, memo: object) -> Unknown:
        return self


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that must stay encrypted in the state."""

    value: Any = field(repr=False)


@dataclass(frozen=True)
class Archive:
    """Files that a program gives as texts; the same when their hash is. What comes out of the state may lack the texts."""

    hash: str
    files: Mapping[str, str] = field(compare=False)


def decode(message: Struct) -> dict[str, Any]:
    """A struct as a dictionary in which secrets are `Secret` and unknowns `UNKNOWN`; nulls are left out."""
    return _decode_fields(message)


def _decode_fields(message: Struct) -> dict[str, Any]:
    found = {key: _decode(value) for key, value in message.fields.items()}
    return {key: value for key, value in found.items() if value is not None}


def _decode(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value == _UNKNOWN_TEXT else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "struct_value":
        return _decode_struct(value.struct_value)
    return None


def _decode_struct(message: Struct) -> Any:
    signature = message.fields.get(_SIGNATURE_KEY)
    if signature is None:
        return _decode_fields(message)
    if signature.string_value == _SECRET_SIGNATURE:
        return Secret(_decode(message.fields["value"]))
    if signature.string_value == _ARCHIVE_SIGNATURE:
        assets = message.fields["assets"].struct_value.fields
        texts = {name: asset.struct_value.fields["text"].string_value for name, asset in assets.items()}
        return Archive(message.fields["hash"].string_value, texts)
    raise ValueError("assets, resource references and archives of files are not supported by the sandbox's provider")


def encode(values: Mapping[str, Any], secrets: Iterable[str] = ()) -> Struct:
    """A dictionary as a struct; the top-level keys in `secrets` are marked secret."""
    message = Struct()
    hidden = frozenset(secrets)
    for key, value in values.items():
        if value is not None:
            _encode(Secret(value) if key in hidden and not isinstance(value, Secret) else value, message.fields[key])
    return message


def _encode(value: Any, into: Value) -> None:
    if value is None:
        into.null_value = NULL_VALUE
    elif isinstance(value, Unknown):
        into.string_value = _UNKNOWN_TEXT
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, (int, float)):
        into.number_value = value
    elif isinstance(value, str):
        into.string_value = value
    else:
        _encode_compound(value, into)


def _encode_compound(value: Any, into: Value) -> None:
    if isinstance(value, Secret):
        fields = into.struct_value.fields
        fields[_SIGNATURE_KEY].string_value = _SECRET_SIGNATURE
        _encode(value.value, fields["value"])
    elif isinstance(value, Archive):
        assets = {name: {_SIGNATURE_KEY: _ASSET_SIGNATURE, "text": text} for name, text in value.files.items()}
        _encode({_SIGNATURE_KEY: _ARCHIVE_SIGNATURE, "hash": value.hash, "assets": assets}, into)
    elif isinstance(value, Mapping):
        into.struct_value.SetInParent()
        for key, item in value.items():
            _encode(item, into.struct_value.fields[key])
    elif isinstance(value, (list, tuple, set, frozenset)):
        into.list_value.SetInParent()
        for item in value:
            _encode(item, into.list_value.values.add())
    else:
        raise TypeError(f"a {type(value).__name__} cannot be sent to the engine")


def reveal(value: Any) -> Any:
    """The same value without its secret marks."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def secret_keys(values: Mapping[str, Any]) -> frozenset[str]:
    """The top-level keys that hold a secret anywhere."""
    return frozenset(key for key, value in values.items() if _holds(value, Secret))


def has_unknown(value: Any) -> bool:
    """Whether anything in the value is unknown."""
    return _holds(value, Unknown)


def _holds(value: Any, kind: type) -> bool:
    if isinstance(value, kind):
        return True
    if isinstance(value, Secret):
        return _holds(value.value, kind)
    if isinstance(value, dict):
        return any(_holds(item, kind) for item in value.values())
    if isinstance(value, list):
        return any(_holds(item, kind) for item in value)
    return False
