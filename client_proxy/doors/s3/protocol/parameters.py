"""Reads an operation's parameters from the address, the headers and the XML body.

Values are text, numbers, booleans, seconds since 1970, lists and dictionaries, by the names of the service description.
Handlers check whether they make sense together.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from client_proxy.doors.s3.protocol.description import Member, S3Operation, Type
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import read_time
from client_proxy.doors.s3.protocol.xml_reader import Element, read_xml

Values = dict[str, Any]
# Headers whose values S3 does not check, or that have an error code of their own, which the handler knows.
_UNCHECKED = frozenset({"StorageClass", "RequestPayer", "EncodingType", "ChecksumMode", "ServerSideEncryption"})
# Elements that have an error code of their own, which the handler knows.
_CHECKED_LATER = frozenset({"LocationConstraint"})
# Enumerations that are written in any case: newer clients send `crc32`.
_ANY_CASE = frozenset({"ChecksumAlgorithm"})
_IGNORED_TIMES = frozenset(
    {"IfModifiedSince", "IfUnmodifiedSince", "CopySourceIfModifiedSince", "CopySourceIfUnmodifiedSince", "Expires"}
)


def select(values: Values, names: Iterable[str]) -> Values:
    """The parameters among `names` that were sent."""
    return {name: values[name] for name in names if name in values}


def read_parameters(
    operation: S3Operation,
    bucket: str,
    key: str,
    arguments: Mapping[str, str],
    header: Callable[[str], str | None],
    metadata: Callable[[str], dict[str, str]],
) -> Values:
    """All parameters except the body. S3Error names the argument or header that is malformed or missing.

    `header` returns a header's value by its name in small letters, or None; `metadata` all that begin with a prefix.
    """
    values: Values = {}
    for member in operation.input:
        text: str | None
        if member.place == "uri":
            values[member.name] = bucket if member.wire_name == "Bucket" else key
            continue
        if member.place == "headers":
            values[member.name] = metadata(member.wire_name)
            continue
        if member.place == "querystring":
            text = arguments.get(member.wire_name)
        elif member.place == "header":
            text = header(member.wire_name.lower())
        else:
            continue
        if text is not None:
            value = _from_text(member, text)
            if value is not None:
                values[member.name] = value
        elif member.required:
            raise S3Error("InvalidArgument", f"{member.wire_name} is missing", ArgumentName=member.wire_name)
    return values


def read_body(operation: S3Operation, body: bytes) -> Values:
    """The XML or text body, by its member's name; empty when an optional body is empty."""
    payload = operation.payload
    if payload is None:
        return {}
    if payload.type.kind in ("string", "blob"):
        try:
            return {payload.name: body.decode("utf-8") if payload.type.kind == "string" else body}
        except UnicodeDecodeError as error:
            raise S3Error("MalformedXML", f"the body is not UTF-8: {error}") from error
    if not body.strip():
        if payload.required:
            raise S3Error("MissingRequestBodyError", f"{operation.name} needs an XML body")
        return {}
    try:
        return {payload.name: _document(payload, body)}
    except S3Error as error:
        if error.code == "MalformedXML" and payload.name == "AccessControlPolicy":  # ACLs have a code of their own
            raise S3Error("MalformedACLError", error.message) from error
        raise


def _document(payload: Member, body: bytes) -> Values:
    root = read_xml(body)
    if root.name != payload.wire_name:
        raise S3Error("MalformedXML", f"the XML's root is <{root.name[:64]}>; {payload.wire_name} is expected here")
    return _structure(payload.type, root)


def _from_text(member: Member, text: str) -> Any:
    """Return an argument's or header's value; None where S3 treats it as absent."""
    type_ = member.type
    try:
        if type_.kind == "list":
            assert type_.member is not None
            parts = [part.strip() for part in text.split(",") if part.strip()]
            return [_scalar(type_.member, part) for part in parts]
        if member.name in _UNCHECKED:
            return text
        return _scalar(type_, text.upper() if member.name in _ANY_CASE else text)
    except ValueError as error:
        if member.name in _IGNORED_TIMES:
            return None  # HTTP ignores malformed dates
        raise S3Error(
            "InvalidArgument",
            f"{member.wire_name} is {text[:64]!r}: {error}",
            ArgumentName=member.wire_name,
            ArgumentValue=text[:256],
        ) from error


def _structure(type_: Type, element: Element) -> Values:
    values: Values = {}
    for member in type_.members:
        if member.attribute:
            # The prefix is the client's choice; the name after it is not.
            wanted = member.wire_name.rpartition(":")[2]
            found = next((v for n, v in element.attributes.items() if n.rpartition(":")[2] == wanted), None)
            if found is not None:
                values[member.name] = found
            continue
        if member.type.kind == "list" and member.type.flattened:
            assert member.type.member is not None
            children = element.find_all(member.wire_name)
            if children:
                values[member.name] = [_value(member.type.member, child) for child in children]
        else:
            child = element.find(member.wire_name)
            if child is not None:
                values[member.name] = _value(member.type, child)
        if member.required and member.name not in values:
            raise S3Error("MalformedXML", f"<{element.name}> lacks <{member.wire_name}>")
    return values


def _value(type_: Type, element: Element) -> Any:
    if type_.kind == "structure":
        return _structure(type_, element)
    if type_.kind == "list":
        assert type_.member is not None
        return [_value(type_.member, child) for child in element.find_all(type_.element)]
    try:
        return element.text if element.name in _CHECKED_LATER else _scalar(type_, element.text)
    except ValueError as error:
        raise S3Error("MalformedXML", f"<{element.name}> is {element.text[:64]!r}: {error}") from error


def _scalar(type_: Type, text: str) -> Any:
    """Parse a value of that type; ValueError if `text` is not one."""
    if type_.kind == "integer":
        stripped = text.strip()
        if not stripped.removeprefix("-").isdecimal() or not stripped.isascii() or len(stripped) > 19:
            raise ValueError("a whole number is expected")
        return int(stripped)
    if type_.kind == "boolean":
        lowered = text.strip().lower()
        if lowered not in ("true", "false"):
            raise ValueError("true or false is expected")
        return lowered == "true"
    if type_.kind == "timestamp":
        return read_time(text)
    if type_.kind == "blob":
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as error:
            raise ValueError("base64 is expected") from error
    if type_.values and text not in type_.values:
        raise ValueError(f"one of {', '.join(sorted(type_.values)[:12])} is expected")
    return text
