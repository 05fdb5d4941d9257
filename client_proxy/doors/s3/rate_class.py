"""The class of each S3 operation for rate limits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.protocol.routing import POST_FORM, POSTED_BUCKET, PREFLIGHT, QUERY, UNSIGNED_QUERY
from client_proxy.rate_limits.limiter import ClassLimits, RateLimits
from client_proxy.rate_limits.rules import RateClass

_CONTENT = frozenset({"DeleteObjects"})
"""Operations on buckets that write files."""
_UNDESCRIBED: dict[str, RateClass] = {
    PREFLIGHT: "read",
    POST_FORM: "write",
    POSTED_BUCKET: "admin",
    QUERY: "admin",
    UNSIGNED_QUERY: "login",
}
"""The classes of what S3's description lacks."""


def rate_class_of(operation: S3Operation) -> RateClass:
    """Reads, listings and writes of content; changes of buckets and their settings are administration."""
    if operation.method in ("GET", "HEAD"):
        return "list" if operation.name.startswith("List") else "read"
    return "write" if operation.level == "key" or operation.name in _CONTENT else "admin"


def limits_by_operation(limits: RateLimits) -> Callable[[str], ClassLimits | None]:
    """Find an operation's limits by its name; None when it has none.

    Classes are computed when they are asked for, because a proxy starts without the description of the operations.
    """

    @cache
    def by_name(name: str) -> ClassLimits | None:
        if name in _UNDESCRIBED:
            return limits.of(_UNDESCRIBED[name])
        operation = operations().get(name)
        return None if operation is None else limits.of(rate_class_of(operation))

    return by_name
