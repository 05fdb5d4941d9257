"""Made-up values for the shapes of the S3 service description, for Hypothesis to vary."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from client_proxy.doors.s3.protocol.description import Member, S3Operation, Type

_XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=12,
)
_HEADER_TEXT = st.text(string.ascii_letters + string.digits + "-_.:/", min_size=1, max_size=12)
_BUCKET = st.from_regex(r"[a-z][a-z0-9]{2,8}", fullmatch=True)
_KEY = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=12,
).filter(lambda key: not key.startswith("/") and all(part not in (".", "..") for part in key.split("/")))


def values_of(type_: Type, place: str, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of that type. Structures and lists are there only as deep as a client would nest them."""
    if type_.kind == "structure":
        return structure_of(type_, depth)
    if type_.kind == "list":
        assert type_.member is not None
        return st.lists(values_of(type_.member, place, depth + 1), min_size=1, max_size=2)
    if type_.kind == "map":
        name = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
        return st.dictionaries(name, _HEADER_TEXT, max_size=3)
    if type_.kind == "integer":
        return st.integers(0, 2**31)
    if type_.kind == "boolean":
        return st.booleans()
    if type_.kind == "timestamp":
        return st.integers(0, 4_000_000_000).map(float)
    if type_.kind == "blob":
        return st.binary(max_size=8)
    if type_.values:
        return st.sampled_from(sorted(type_.values))
    return _XML_TEXT if place in ("xml", "payload", "querystring") else _HEADER_TEXT


def structure_of(type_: Type, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """A dictionary with every required member, and some of the others."""
    needed = {m.name: values_of(m.type, "xml", depth + 1) for m in type_.members if m.required}
    others = {m.name: values_of(m.type, "xml", depth + 1) for m in type_.members if not m.required and depth <= 5}
    return st.fixed_dictionaries(needed, optional=others)


def input_of(operation: S3Operation, without: frozenset[str] = frozenset()) -> st.SearchStrategy[dict[str, Any]]:
    """A request's parameters."""
    needed, others = {}, {}
    for member in operation.input:
        if member.name in without:
            continue
        strategy = _input_member(member)
        (needed if member.required else others)[member.name] = strategy
    return st.fixed_dictionaries(needed, optional=others)


def _input_member(member: Member) -> st.SearchStrategy[Any]:
    if member.place == "uri":
        return _BUCKET if member.name == "Bucket" else _KEY
    return values_of(member.type, member.place)


def output_of(operation: S3Operation) -> st.SearchStrategy[dict[str, Any]]:
    """An answer's values."""
    payload = operation.reply_payload
    members = [m for m in operation.output if not (payload and m.place == "xml") and m.type.kind != "blob"]
    return st.fixed_dictionaries({}, optional={m.name: values_of(m.type, m.place) for m in members})
