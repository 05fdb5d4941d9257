"""Which operation a request means, told from its method, its place and its arguments alone.

Several operations share an address: the one whose telling arguments and headers are all there, and the most of them,
is meant. Arguments that no operation knows are ignored, as S3 does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.operations import operations

POST_FORM = "PostObject"
PREFLIGHT = "Preflight"
"""Two requests of browsers that the description does not have: an HTML form's upload, and the question before CORS."""

Level = str


def level_of(bucket: str, key: str) -> Level:
    """`service`, `bucket` or `key`: what the address names."""
    return "key" if key else "bucket" if bucket else "service"


def name_operation(
    method: str, level: Level, arguments: Mapping[str, str], header: Callable[[str], str | None]
) -> str | None:
    """The operation's name; None when no operation has this method at this place.

    `arguments` are the decoded query arguments; `header` gives a header's value, or None: a telling one
    that is there but empty tells all the same, or a copy would be taken for a PUT of nothing.
    """
    if method == "OPTIONS":
        return PREFLIGHT
    if method == "POST" and level == "bucket" and (header("Content-Type") or "").startswith("multipart/form-data"):
        return POST_FORM
    for operation in _candidates(method, level):
        if all(arguments.get(name) == value if value else name in arguments for name, value in operation.query) and all(
            name in arguments if place == "querystring" else header(name) is not None for place, name in operation.needs
        ):
            return operation.name
    return None


@cache
def _candidates(method: str, level: Level) -> tuple[S3Operation, ...]:
    """Those of an address, the most particular first."""
    found = [one for one in operations().values() if (one.method, one.level) == (method, level)]
    # A fixed argument such as ?acl outweighs any number of others; names settle the order of equals.
    found.sort(key=lambda one: (-len(one.query), -len(one.needs), one.name))
    return tuple(found)
