"""Example messages made from their declarations: the smallest one, and one with every member set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect

from lockstep_store.wire.digest import Digest

Json = Any
_PATTERNS = (
    "20260131",
    "name-1",
    "https://host.example/",
    "0" * 32,
    "0" * 16,
    "/team/",
    "http://127.0.0.1:8400/callback",
)
_UNSET = object()


def minimal(kind: type[msgspec.Struct]) -> Json:
    """The required members of `kind` alone, as JSON values."""
    return _of(inspect.type_info(kind), "", full=False)


def full(kind: type[msgspec.Struct]) -> Json:
    """Every member of `kind`, none with its default value, as JSON values."""
    return _of(inspect.type_info(kind), "", full=True)


def structs_in(type: inspect.Type, value: Json) -> Iterable[tuple[inspect.StructType, dict[str, Json]]]:
    """Each JSON object in `value` that is a declared struct, with its declaration."""
    if isinstance(type, inspect.StructType) and isinstance(value, dict):
        yield type, value
        for field in type.fields:
            yield from structs_in(field.type, value.get(field.encode_name))
    elif isinstance(type, inspect.UnionType):
        for member in type.types:
            yield from structs_in(member, value)
    elif isinstance(type, inspect.ListType | inspect.VarTupleType) and isinstance(value, list):
        for item in value:
            yield from structs_in(type.item_type, item)
    elif isinstance(type, inspect.DictType) and isinstance(value, dict):
        for item in value.values():
            yield from structs_in(type.value_type, item)


def _of(type: inspect.Type, name: str, *, full: bool, default: Any = _UNSET) -> Json:
    """A value of `type` for the member `name`, other than `default`."""
    match type:
        case inspect.StructType():
            chosen = [field for field in type.fields if full or field.required]
            return {
                field.encode_name: _of(field.type, field.encode_name, full=full, default=field.default)
                for field in chosen
            }
        case inspect.UnionType():
            first = next(member for member in type.types if not isinstance(member, inspect.NoneType))
            return _of(first, name, full=full, default=default)
        case inspect.ListType() | inspect.VarTupleType():
            count = type.min_length or (1 if full else 0)
            return [_of(type.item_type, name, full=full) for _ in range(count)]
        case inspect.TupleType():
            return [_of(item, name, full=full) for item in type.item_types]
        case inspect.DictType():
            return {"key": _of(type.value_type, name, full=full)} if full else {}
        case inspect.StrType():
            return _text(type, name)
        case inspect.LiteralType():
            return next(value for value in reversed(type.values) if value != default)
        case inspect.BoolType():
            return default is not True
        case inspect.IntType():
            return next(n for n in (type.ge or 0, (type.ge or 0) + 1) if n != default)
        case inspect.FloatType():
            return next(n for n in ((type.ge or 0) + 0.5, (type.ge or 0) + 0.75) if n != default)
        case inspect.BytesType():
            return "Ynl0ZXM="
        case inspect.CustomType() if type.cls is Digest:
            return "ab" * 32
        case inspect.AnyType():
            return name
    raise TypeError(f"{name}: no example is known for {type}")


def _text(type: inspect.StrType, name: str) -> str:
    if type.pattern is not None:
        return next(text for text in _PATTERNS if re.search(type.pattern, text))
    return name.ljust(type.min_length or 0, "_")[: type.max_length]
