"""Finds the operation of a request by its method, address and arguments.

Several operations share an address. Of those whose distinguishing arguments and headers are all present, the one with
the most of them is meant. As in S3, arguments that no operation has are ignored. A write rejects those of another
operation: a part upload that lost its `partNumber` must not replace the whole object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.protocol.s3_errors import S3Error

POST_FORM = "PostObject"
PREFLIGHT = "Preflight"
"""Two requests that only browsers send and the description lacks: an HTML form's upload, and a CORS preflight."""
POSTED_BUCKET = "PostBucket"
"""A bucket that is created by a name in JSON, as older stores have it."""
QUERY = "Query"
"""Any signed request to STS or IAM."""
UNSIGNED_QUERY = "UnsignedQuery"
"""One that is not signed: it brings an id token instead, and counts as a log-in."""

Level = str
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_WRITES = frozenset({"PUT", "POST", "DELETE"})
_UPLOAD = "uploadId"
"""Names a resource, an upload in progress, although the description calls it an option."""


def level_of(bucket: str, key: str) -> Level:
    """Return what the address names: `service`, `bucket` or `key`."""
    return "key" if key else "bucket" if bucket else "service"


def name_operation(
    method: str, level: Level, arguments: Mapping[str, str], header: Callable[[str], str | None]
) -> str | None:
    """The operation's name; None when no operation has this method at this place.

    `arguments` are the decoded query arguments; `header` returns a header's value by its name in small letters, or
    None. An empty distinguishing header counts: a copy without it would be taken for a PUT of nothing.
    """
    if method == "OPTIONS":
        return PREFLIGHT
    if method == "POST" and level == "bucket" and (header("content-type") or "").startswith("multipart/form-data"):
        return POST_FORM
    if method == "POST" and level == "service":
        content_type = header("content-type") or ""
        if content_type.startswith(_FORM):
            return UNSIGNED_QUERY if header("authorization") is None else QUERY
        if content_type.startswith(_JSON):
            return POSTED_BUCKET
    for operation in _candidates(method, level):
        if _has_arguments(operation, arguments) and _has_needs(operation, arguments, header):
            return operation.name
    return None


def check_arguments(method: str, name: str, arguments: Mapping[str, str]) -> None:
    """S3Error when a write has an argument that belongs to another operation than `name`."""
    if method not in _WRITES:
        return
    resources, options = _known_arguments()
    own = operations().get(name)
    allowed = _resources_of(own) | _options_of(own) if own else frozenset()
    for argument in arguments.keys() - allowed:
        if argument in resources:
            raise S3Error("MethodNotAllowed", f"{name} does not take ?{argument}; {method} is not allowed with it")
        if argument in options:
            raise S3Error(
                "InvalidArgument",
                f"{name} does not take the argument {argument}, which belongs to another operation",
                ArgumentName=argument,
                ArgumentValue=arguments[argument][:256],
            )


@cache
def _known_arguments() -> tuple[frozenset[str], frozenset[str]]:
    """The arguments of all operations: those that name a resource, and those that only add details."""
    every = operations().values()
    resources = frozenset({_UPLOAD}).union(*(_resources_of(one) for one in every))
    return resources, frozenset().union(*(_options_of(one) for one in every)) - resources


def _resources_of(operation: S3Operation) -> frozenset[str]:
    return frozenset(name for name, _ in operation.query)


def _options_of(operation: S3Operation) -> frozenset[str]:
    return frozenset(member.wire_name for member in operation.input if member.place == "querystring")


def _has_arguments(operation: S3Operation, arguments: Mapping[str, str]) -> bool:
    """The fixed arguments of its address are there."""
    for name, value in operation.query:
        if (arguments.get(name) != value) if value else (name not in arguments):
            return False
    return True


def _has_needs(operation: S3Operation, arguments: Mapping[str, str], header: Callable[[str], str | None]) -> bool:
    for place, name in operation.needs:
        if (name not in arguments) if place == "querystring" else (header(name.lower()) is None):
            return False
    return True


@cache
def _candidates(method: str, level: Level) -> tuple[S3Operation, ...]:
    """The operations of an address, the most specific first."""
    found = [one for one in operations().values() if (one.method, one.level) == (method, level)]
    # A fixed argument such as ?acl outweighs any number of others; names settle the order of equals.
    found.sort(key=lambda one: (-len(one.query), -len(one.needs), one.name))
    return tuple(found)
