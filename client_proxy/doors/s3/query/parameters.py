"""Reads the parameters of a Query request: `Name=value`, `List.member.1=value`, `Structure.Name=value`.

Values are text, numbers, booleans, lists and dictionaries, by the names of the service description.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from client_proxy.doors.s3.protocol.description import Member, Type
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.query.description import MemberBounds, QueryOperation
from client_proxy.doors.s3.query.errors import QueryError

MAX_MEMBERS = 100
_NUMBER = re.compile(r"-?\d{1,15}")
_NO_BOUNDS = MemberBounds()


def read_values(operation: QueryOperation, given: Mapping[str, str]) -> Values:
    """The operation's parameters. QueryError names the one that is missing, unknown or malformed."""
    known = {member.wire_name for member in operation.input} | {"Action", "Version"}
    for name in given:
        if name.partition(".")[0] not in known:
            raise QueryError("ValidationError", f"{operation.name} does not take the parameter {name[:100]!r}")
    values = _members(operation.input, given, "")
    for member in operation.input:
        if member.name not in values:
            if member.required:
                raise QueryError("ValidationError", f"{operation.name} needs the parameter {member.wire_name}")
            continue
        _check(member, values[member.name], operation.bounds.get(member.name, _NO_BOUNDS))
    return values


def _members(members: tuple[Member, ...], given: Mapping[str, str], prefix: str) -> Values:
    values: Values = {}
    for member in members:
        found = _value(member.type, given, prefix + member.wire_name)
        if found is not None:
            values[member.name] = found
    return values


def _value(type_: Type, given: Mapping[str, str], name: str) -> Any:
    if type_.kind == "structure":
        return _members(type_.members, given, f"{name}.") or None
    if type_.kind == "list":
        return _list(type_, given, name)
    text = given.get(name)
    if text is None:
        return None
    if type_.kind == "integer":
        if not _NUMBER.fullmatch(text):
            raise QueryError("ValidationError", f"{name} must be a number, not {text[:40]!r}")
        return int(text)
    if type_.kind == "boolean":
        if text not in ("true", "false"):
            raise QueryError("ValidationError", f"{name} must be true or false, not {text[:40]!r}")
        return text == "true"
    if type_.values and text not in type_.values:
        raise QueryError("ValidationError", f"{name} must be one of {', '.join(sorted(type_.values))}")
    return text


def _list(type_: Type, given: Mapping[str, str], name: str) -> list[Any] | None:
    assert type_.member is not None
    prefix = name if type_.flattened else f"{name}.{type_.element}"
    if given.get(name) == "":  # how the protocol writes an empty list
        return []
    found: list[Any] = []
    while len(found) <= MAX_MEMBERS:
        value = _value(type_.member, given, f"{prefix}.{len(found) + 1}")
        if value is None:
            return found or None
        found.append(value)
    raise QueryError("ValidationError", f"{name} may have at most {MAX_MEMBERS} members")


def _check(member: Member, value: Any, bounds: MemberBounds) -> None:
    size = value if isinstance(value, int) else len(value)
    what = "be" if isinstance(value, int) else "have a length of"
    if (bounds.least is not None and size < bounds.least) or (bounds.most is not None and size > bounds.most):
        least = f"at least {bounds.least}" if bounds.most is None else f"{bounds.least or 0} to {bounds.most}"
        raise QueryError("ValidationError", f"{member.wire_name} must {what} {least}")
    if isinstance(value, str) and bounds.pattern and not _pattern(bounds.pattern).fullmatch(value):
        raise QueryError("ValidationError", f"{member.wire_name} has characters that it may not have: {value[:64]!r}")


@lru_cache
def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of the description. Its last range is written for another kind of expressions."""
    return re.compile(text.replace(r"\u10000-\u10FFFF", "\U00010000-\U0010ffff"), re.ASCII)
