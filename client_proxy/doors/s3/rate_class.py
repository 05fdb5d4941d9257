"""The class of each S3 operation for rate limits."""

from __future__ import annotations

from collections.abc import Mapping

from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.protocol.routing import POST_FORM, PREFLIGHT
from client_proxy.rate_limits.limiter import ClassLimits, RateLimits
from client_proxy.rate_limits.rules import RateClass

_CONTENT = frozenset({"DeleteObjects"})
"""Operations on buckets that write files."""


def rate_class_of(operation: S3Operation) -> RateClass:
    """Reads, listings and writes of content; changes of buckets and their settings are administration."""
    if operation.method in ("GET", "HEAD"):
        return "list" if operation.name.startswith("List") else "read"
    return "write" if operation.level == "key" or operation.name in _CONTENT else "admin"


def limits_by_operation(limits: RateLimits) -> Mapping[str, ClassLimits]:
    """The limits by the operation's name, of those that have any."""
    classes: dict[str, RateClass] = {each.name: rate_class_of(each) for each in operations().values()}
    classes |= {POST_FORM: "write", PREFLIGHT: "read"}
    found = {name: limits.of(rate_class) for name, rate_class in classes.items()}
    return {name: each for name, each in found.items() if each is not None}
