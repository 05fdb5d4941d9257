"""Writes replies by the service description: headers and XML; and errors."""

from __future__ import annotations

import base64
import re
from typing import Any

from client_proxy.doors.s3.protocol.description import NAMESPACE, Member, S3Operation, Type
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import write_time

Headers = list[tuple[str, str]]
XML_TYPE = ("Content-Type", "application/xml")
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SPECIAL = re.compile('[&<>"\r\n\t\x00-\x1f\x7f\ufffe\uffff]')
UNSAYABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "\t", "\n": "\n", "\r": "&#13;"}


# Every byte that no text to be escaped is made of alone; U+FFFE and U+FFFF begin with EF.
_HARMLESS = bytes(set(range(256)) - {0xEF, *b'&<>"\x7f', *range(32)})


class Written(str):
    """A member's XML, already written, with its elements' tags. A page of a listing has a thousand of them."""

    __slots__ = ()


def escape(text: str) -> str:
    """Escape `text` for an element. As in S3, characters that XML 1.0 cannot express become references."""
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0]) or f"&#x{ord(found[0]):x};", text)


def escape_all(texts: list[str]) -> list[str]:
    """Escape each text, or return `texts` itself if none needs it."""
    if "".join(texts).encode("utf-8", "surrogatepass").translate(None, _HARMLESS):
        return [escape(text) for text in texts]
    return texts


def write_reply(operation: S3Operation, output: Values) -> tuple[Headers, bytes]:
    """The headers and the XML body of `output`; the body may be empty. Handlers send streams themselves."""
    headers: Headers = []
    for member in operation.output:
        value = output.get(member.name)
        if value is None:
            continue
        if member.place == "header":
            headers.append((member.wire_name, _header_text(member.type, value)))
        elif member.place == "headers":
            headers.extend((f"{member.wire_name}{name}", _encoded(text)) for name, text in value.items())
    body = _body(operation, output)
    if body:
        headers.append(XML_TYPE)
    return headers, body


def copies_header(copies: int) -> tuple[str, str]:
    """The header that states in how many copies a write is on disk."""
    return "x-lockstep-copies", f"{copies}/{copies} fsynced"


def write_error(refusal: S3Error, resource: str, request_id: str, host_id: str) -> bytes:
    """The XML of an error, well-formed whatever text it quotes."""
    elements = {"Code": refusal.code, "Message": refusal.message, **refusal.details}
    elements |= {"Resource": resource, "RequestId": request_id, "HostId": host_id}
    parts = [_element(name, UNSAYABLE.sub("\ufffd", text)) for name, text in elements.items()]
    return "".join([_DECLARATION, "<Error>", *parts, "</Error>"]).encode()


def write_plain(root: str, values: dict[str, str]) -> bytes:
    """A document of plain elements, for a reply that the description lacks."""
    inner = "".join(_element(name, value) for name, value in values.items())
    return f"{_DECLARATION}<{root}>{inner}</{root}>".encode()


def write_members(members: tuple[Member, ...], values: Values) -> str:
    """The elements of a structure's members, without one around them."""
    return _inner(Type("structure", members=members), values)


def _body(operation: S3Operation, output: Values) -> bytes:
    payload = operation.reply_payload
    if payload is not None:
        value = output.get(payload.name)
        if value is None:
            return b""
        if payload.type.kind == "string":
            return str(value).encode()
        if payload.type.kind == "structure":
            return _document(operation.root if _is_renamed(operation) else payload.wire_name, payload.type, value)
        return b""
    members = [member for member in operation.output if member.place == "xml"]
    if not members:
        return b""
    if operation.name == "GetBucketLocation":  # its root element itself is the value
        text = escape(output.get("LocationConstraint") or "")
        return f'{_DECLARATION}<LocationConstraint xmlns="{NAMESPACE}">{text}</LocationConstraint>'.encode()
    return _document(operation.root, Type("structure", members=tuple(members)), output)


def _is_renamed(operation: S3Operation) -> bool:
    return operation.root.endswith("Result")


def _document(root: str, type_: Type, values: Values) -> bytes:
    inner = _inner(type_, values)
    return f'{_DECLARATION}<{root} xmlns="{NAMESPACE}">{inner}</{root}>'.encode()


def _inner(type_: Type, values: Values) -> str:
    parts: list[str] = []
    for member in type_.members:
        value = values.get(member.name)
        if isinstance(value, Written):
            parts.append(value)
        elif value is not None and not member.attribute:
            parts.append(_member(member, value))
    return "".join(parts)


def _member(member: Member, value: Any) -> str:
    type_ = member.type
    if type_.kind == "list":
        assert type_.member is not None
        if type_.flattened:
            return "".join(_wrapped(member.wire_name, type_.member, item) for item in value)
        items = "".join(_wrapped(type_.element, type_.member, item) for item in value)
        return f"<{member.wire_name}>{items}</{member.wire_name}>"
    return _wrapped(member.wire_name, type_, value)


def _wrapped(name: str, type_: Type, value: Any) -> str:
    if type_.kind != "structure":
        return _element(name, _text(type_, value))
    attributes = list(type_.attributes)
    attributes += [(m.wire_name, str(value[m.name])) for m in type_.members if m.attribute and m.name in value]
    shown = "".join(f' {attribute}="{escape(text)}"' for attribute, text in attributes)
    return f"<{name}{shown}>{_inner(type_, value)}</{name}>"


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _text(type_: Type, value: Any) -> str:
    if type_.kind == "boolean":
        return "true" if value else "false"
    if type_.kind == "timestamp":
        return write_time(value, type_.time_format or "iso8601")
    return str(value)


def _encoded(text: str) -> str:
    """User metadata as a header can carry it: as in S3, by RFC 2047 where it is not printable ASCII."""
    if text.isascii() and text.isprintable():
        return text
    return f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?="


def _header_text(type_: Type, value: Any) -> str:
    if type_.kind == "list":
        assert type_.member is not None
        return ",".join(_text(type_.member, item) for item in value)
    return _text(type_, value)
