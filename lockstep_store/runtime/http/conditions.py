"""Conditional and range requests (RFC 9110, sections 13 and 14), without any I/O.

Lockstep's entity tags are strong: the digest in hex, in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

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
class EntityTag:
    """One entity tag as it was sent."""

    text: str
    weak: bool = False


def parse_tags(header: str, name: str) -> list[EntityTag] | None:
    """Parse an If-Match or If-None-Match header; None stands for `*`. BadRequest for anything else.

    A tag without quotes is accepted, because people paste digests without them.
    """
    if len(header) > MAX_CONDITION_BYTES:
        raise BadRequest(f"the header {name} is too long: the limit is {MAX_CONDITION_BYTES} bytes")
    if header.strip() == "*":
        return None
    tags: list[EntityTag] = []
    at = 0
    while at < len(header):
        found = _TAG.match(header, at)
        if found is None or (found.end() < len(header) and header[found.end()] != ","):
            raise BadRequest(f"the header {name} must be a list of entity tags in quotes: {header[:80]!r}")
        quoted, bare = found.group(2), found.group(3)
        tags.append(EntityTag(quoted if quoted is not None else bare, found.group(1) is not None))
        at = found.end() + 1
    if not tags or len(tags) > MAX_TAGS:
        raise BadRequest(f"the header {name} must have 1 to {MAX_TAGS} entity tags, or *")
    return tags


def write_preconditions(environ: Mapping[str, Any]) -> Preconditions:
    """Return the conditions that the directory checks inside the commit."""
    if_match, if_none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
    if if_match is None and if_none_match is None:
        return NO_PRECONDITIONS
    return Preconditions(
        if_match=None if if_match is None else _for_directory(if_match, "If-Match", strong=True),
        if_none_match=None if if_none_match is None else _for_directory(if_none_match, "If-None-Match", strong=False),
    )


def not_modified(environ: Mapping[str, Any], tag: str, modified_at: float) -> bool:
    """Whether a reader already has version `tag` (without quotes), committed at `modified_at` (wall seconds).

    Raises PreconditionFailed when If-Match or If-Unmodified-Since is not met. The order is that of RFC 9110, 13.2.2.
    """
    if not any(name in environ for name in _CONDITIONS):
        return False
    if_match = environ.get("HTTP_IF_MATCH")
    if if_match is not None:
        tags = parse_tags(if_match, "If-Match")
        if tags is not None and not any(given.text == tag and not given.weak for given in tags):
            raise PreconditionFailed(
                "precondition failed: the file's current version is not listed in If-Match", digest=tag
            )
    elif _newer(environ.get("HTTP_IF_UNMODIFIED_SINCE"), modified_at):
        raise PreconditionFailed("precondition failed: the file has changed since If-Unmodified-Since", digest=tag)
    if_none_match = environ.get("HTTP_IF_NONE_MATCH")
    if if_none_match is not None:
        tags = parse_tags(if_none_match, "If-None-Match")
        return tags is None or any(given.text == tag for given in tags)
    return _newer(environ.get("HTTP_IF_MODIFIED_SINCE"), modified_at) is False


def wanted_range(environ: Mapping[str, Any], tag: str, modified_at: float, size: int) -> tuple[int, int] | None:
    """Return the bytes [start, stop) that a GET asks for, or None for the whole file.

    Also None for what RFC 9110 lets a server ignore: several ranges, another unit, invalid syntax, or an If-Range that
    no longer holds. RangeNotSatisfiable when no byte of the file is in the range.
    """
    header = environ.get("HTTP_RANGE")
    if not header or len(header) > MAX_RANGE_BYTES or not _range_holds(environ, tag, modified_at):
        return None
    return parse_range(header, size)


class WantedPart(NamedTuple):
    """What a reply sends of a file: its status, the bytes [start, stop), and the headers that say so."""

    status: int
    start: int
    stop: int
    headers: list[tuple[str, str]]


def wanted_part(environ: Mapping[str, Any], tag: str, modified_at: float, size: int) -> WantedPart:
    """What a GET asks for of a file of `size` bytes; see `wanted_range`."""
    found = wanted_range(environ, tag, modified_at, size)
    if found is None:
        return WantedPart(200, 0, size, [("Content-Length", str(size))])
    start, stop = found
    headers = [("Content-Length", str(stop - start)), ("Content-Range", f"bytes {start}-{stop - 1}/{size}")]
    return WantedPart(206, start, stop, headers)


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Parse `bytes=a-b`, `bytes=a-` or `bytes=-n` as [start, stop) of a file of `size` bytes; see `wanted_range`."""
    found = _RANGE.fullmatch(header)
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        if int(last) == 0:
            raise RangeNotSatisfiable("invalid range: it asks for the last 0 bytes", size=size)
        return (max(0, size - int(last)), size) if size else None
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise RangeNotSatisfiable(
            f"the range begins at byte {start}, but the file has only {size} byte{'' if size == 1 else 's'}", size=size
        )
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
    """Whether the file is newer than the header's time; None without a valid time, which RFC 9110 ignores."""
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
    # Under If-Match a weak tag never equals a digest. The directory compares it with its `W/` and so finds none.
    return [f"W/{tag.text}" if tag.weak and strong else tag.text for tag in tags]
