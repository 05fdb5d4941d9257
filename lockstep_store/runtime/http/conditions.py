"""Conditional and range requests (RFC 9110, sections 13 and 14), apart from any I/O.

An entity tag of Lockstep is the digest in hex, in quotes, and always a strong one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from lockstep_store.wire.errors import BadRequest, PreconditionFailed, RangeNotSatisfiable
from lockstep_store.wire.messages.files import NO_PRECONDITIONS, Preconditions

MAX_CONDITION_BYTES = 8192
MAX_TAGS = 100
MAX_RANGE_BYTES = 1024

_TAG = re.compile(r'\s*(W/)?(?:"([^"]*)"|([^\s",]+))\s*')
_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)
_CONDITIONS = (
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
)


@dataclass(frozen=True)
class Tag:
    """One entity tag as it was sent."""

    text: str
    weak: bool = False


def parse_tags(header: str, name: str) -> list[Tag] | None:
    """The tags in an If-Match or If-None-Match header; None stands for `*`. BadRequest for anything else.

    A bare word is taken as a tag too: people paste digests without the quotes.
    """
    if len(header) > MAX_CONDITION_BYTES:
        raise BadRequest(f"the header {name} has more than {MAX_CONDITION_BYTES} bytes")
    if header.strip() == "*":
        return None
    tags: list[Tag] = []
    at = 0
    while at < len(header):
        found = _TAG.match(header, at)
        if found is None or (found.end() < len(header) and header[found.end()] != ","):
            raise BadRequest(f"the header {name} is not a list of entity tags in quotes: {header[:80]!r}")
        quoted, bare = found.group(2), found.group(3)
        tags.append(Tag(quoted if quoted is not None else bare, found.group(1) is not None))
        at = found.end() + 1
    if not tags or len(tags) > MAX_TAGS:
        raise BadRequest(f"the header {name} needs 1 to {MAX_TAGS} entity tags, or *")
    return tags


def write_preconditions(environ: Mapping[str, Any]) -> Preconditions:
    """What the directory is to check inside the commit."""
    if_match, if_none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
    if if_match is None and if_none_match is None:
        return NO_PRECONDITIONS
    return Preconditions(
        if_match=None if if_match is None else _for_directory(if_match, "If-Match", strong=True),
        if_none_match=None if if_none_match is None else _for_directory(if_none_match, "If-None-Match", strong=False),
    )


def not_modified(environ: Mapping[str, Any], tag: str, modified_at: float) -> bool:
    """Whether a reader already has version `tag` (without quotes), committed at `modified_at` (wall seconds).

    Raises PreconditionFailed when the reader wants another version than that. The order is RFC 9110's, 13.2.2.
    """
    if not any(name in environ for name in _CONDITIONS):
        return False
    if_match = environ.get("HTTP_IF_MATCH")
    if if_match is not None:
        tags = parse_tags(if_match, "If-Match")
        if tags is not None and not any(given.text == tag and not given.weak for given in tags):
            raise PreconditionFailed("the file is at another version than If-Match names", digest=tag)
    elif _newer(environ.get("HTTP_IF_UNMODIFIED_SINCE"), modified_at):
        raise PreconditionFailed("the file was changed after the time that If-Unmodified-Since names", digest=tag)
    if_none_match = environ.get("HTTP_IF_NONE_MATCH")
    if if_none_match is not None:
        tags = parse_tags(if_none_match, "If-None-Match")
        return tags is None or any(given.text == tag for given in tags)
    return _newer(environ.get("HTTP_IF_MODIFIED_SINCE"), modified_at) is False


def wanted_range(environ: Mapping[str, Any], tag: str, modified_at: float, size: int) -> tuple[int, int] | None:
    """The bytes [start, stop) that a GET asks for, or None for the whole file.

    None as well for what RFC 9110 lets a server ignore: several ranges, another unit, a form that is not one, or an
    If-Range that no longer holds. RangeNotSatisfiable when no byte of the file is in the range.
    """
    header = environ.get("HTTP_RANGE")
    if not header or len(header) > MAX_RANGE_BYTES or not _range_holds(environ, tag, modified_at):
        return None
    return parse_range(header, size)


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """`bytes=a-b`, `bytes=a-` or `bytes=-n` as [start, stop) of a file of `size` bytes; see `wanted_range`."""
    found = _RANGE.fullmatch(header)
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        if int(last) == 0:
            raise RangeNotSatisfiable("the last 0 bytes of a file are not a range", size=size)
        return (max(0, size - int(last)), size) if size else None
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise RangeNotSatisfiable(f"the file has {size} bytes; byte {start} is past its end", size=size)
    return start, min(size, int(last) + 1) if last else size


def _range_holds(environ: Mapping[str, Any], tag: str, modified_at: float) -> bool:
    given = environ.get("HTTP_IF_RANGE")
    if given is None:
        return True
    if given.strip().startswith(('"', "W/")):
        return bool(given.strip() == f'"{tag}"')
    when = _seconds(given)
    return when is not None and when == int(modified_at)


def _newer(header: str | None, modified_at: float) -> bool | None:
    """Whether the file is newer than the header's time; None without a readable time, which RFC 9110 ignores."""
    when = _seconds(header) if header else None
    return None if when is None else int(modified_at) > when


def _seconds(header: str) -> int | None:
    if len(header) > 100:
        return None
    try:
        when = parsedate_to_datetime(header)
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _for_directory(header: str, name: str, *, strong: bool) -> list[str]:
    tags = parse_tags(header, name)
    if tags is None:
        return ["*"]
    # A weak tag never equals a digest under If-Match: kept with its mark, the directory finds that it differs.
    return [f"W/{tag.text}" if tag.weak and strong else tag.text for tag in tags]
