"""From the gateway's JSON to values, by the types of their fields. Pure."""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Read = Callable[[Any], Any]


class DecodeError(Exception):
    """An answer that is not what the gateway's document says."""


def decode(kind: type[T], value: Any) -> T:
    """Return a value of a dataclass.

    Raises:
        DecodeError: A field that is needed is missing, or has another form.
    """
    if not isinstance(value, Mapping):
        raise DecodeError(f"{kind.__name__} is an object, not {type(value).__name__}")
    found: dict[str, Any] = {}
    for name, key, read, is_needed in _plan(cast("Any", kind)):
        if value.get(key) is not None:
            try:
                found[name] = read(value[key])
            except (TypeError, ValueError) as error:
                raise DecodeError(f"{kind.__name__}.{key}: {error}") from error
        elif is_needed:
            raise DecodeError(f"{kind.__name__} has no {key}")
    return kind(**found)


def to_key(name: str) -> str:
    """Return a field's name in the API."""
    first, *rest = name.split("_")
    return first + "".join({"usd": "USD"}.get(part, part.capitalize()) for part in rest)


@cache
def _plan(kind: Any) -> list[tuple[str, str, Read, bool]]:
    hints = get_type_hints(kind)
    return [
        (
            one.name,
            to_key(one.name),
            _reader(hints[one.name]),
            one.default is MISSING and one.default_factory is MISSING,
        )
        for one in fields(kind)
    ]


def _reader(hint: Any) -> Read:
    origin = get_origin(hint)
    if origin in {Union, types.UnionType}:
        return _reader(next(one for one in get_args(hint) if one is not type(None)))
    if origin is list:
        read = _reader(get_args(hint)[0])
        return lambda value: [read(item) for item in value]
    if hint is datetime:
        return datetime.fromisoformat
    if is_dataclass(hint):
        kind: Any = hint
        return lambda value: decode(kind, value)
    return lambda value: value


def encode(value: Any) -> Any:
    """Return a value as the JSON that it came from: what is absent is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        items = ((one.name, getattr(value, one.name)) for one in fields(value))
        return {to_key(name): encode(item) for name, item in items if item is not None}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
