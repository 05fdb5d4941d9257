"""Types that describe an S3 operation: the names, places and shapes of its input and output.

`service_model.py` reads them from the service description inside botocore, `operations.py` caches the result.
`routing.py` tells operations apart by them, `parameters.py` reads requests and `replies.py` writes replies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
Kind = Literal["structure", "list", "map", "string", "integer", "boolean", "timestamp", "blob"]
Place = Literal["uri", "querystring", "header", "headers", "statusCode", "payload", "xml"]
TimeFormat = Literal["iso8601", "rfc822", "unixTimestamp"]


@dataclass(frozen=True)
class Type:
    """A value's type. `member` is a list's or a map's element; `flattened` lists have no element around them."""

    kind: Kind
    members: tuple[Member, ...] = ()
    member: Type | None = None
    element: str = "member"
    flattened: bool = False
    values: frozenset[str] = frozenset()
    """The values that an enumeration allows; empty for any text."""
    time_format: TimeFormat | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    """XML attributes of its element, such as a namespace with a prefix."""


@dataclass(frozen=True)
class Member:
    """A named value of a structure, and where on the wire it stands."""

    name: str
    wire_name: str
    place: Place
    type: Type
    required: bool = False
    attribute: bool = False
    """It is an XML attribute of its structure's element."""


@dataclass(frozen=True)
class S3Operation:
    """One operation. The members of `input` and `output` say where in the message they are."""

    name: str
    method: str
    level: Literal["service", "bucket", "key"]
    query: tuple[tuple[str, str], ...]
    """Fixed arguments of its address, such as ("acl", "")."""
    status: int
    input: tuple[Member, ...]
    output: tuple[Member, ...]
    root: str
    payload: Member | None = None
    """The input member that is the body, or None."""
    reply_payload: Member | None = None
    streams: bool = False
    """Its body is the file's bytes, not XML."""
    needs: frozenset[tuple[Place, str]] = field(default_factory=frozenset)
    """The arguments and headers that distinguish it from other operations of its address."""
