"""Puts rate limits in front of the operations that have any; the others stay as they are."""

from __future__ import annotations

from dataclasses import replace

from client_proxy.doors.callers import Callers
from client_proxy.doors.rest.operation import Operation
from client_proxy.doors.rest.request import RestRequest
from client_proxy.rate_limits.limiter import ClassLimits, RateLimits, standing_headers
from client_proxy.rate_limits.rules import RateClass
from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import RawReply

_LOGIN = frozenset(
    {
        *("login", "register", "change_password", "enrol", "start_sign_on", "continue_sign_on"),
        *("begin_second_factor", "confirm_second_factor", "disable_second_factor", "new_recovery_codes"),
    }
)
_BUCKETS = frozenset({"create_bucket", "change_bucket", "delete_bucket"})
_UNLIMITED = frozenset({"health"})
"""Load balancers ask for it, and it costs nothing."""


def rate_class_of(operation: Operation) -> RateClass | None:
    """The class of an operation for rate limits; None if it has no limit."""
    if operation.id in _UNLIMITED:
        return None
    if operation.id in _LOGIN:
        return "login"
    if operation.tag == "Cluster" or operation.id in _BUCKETS or operation.template.startswith(("/users", "/audit")):
        return "admin"
    if operation.method not in ("GET", "HEAD"):
        return "write"
    return "list" if operation.id.startswith("list_") or operation.id in ("changes", "watch_locks") else "read"


def limited(operation: Operation, limits: RateLimits, callers: Callers) -> Operation:
    """The operation with its limits in front of it, or unchanged if it has none."""
    of_class = limits.of(rate_class_of(operation))
    return operation if of_class is None else replace(operation, handler=_LimitedHandler(operation, of_class, callers))


class _LimitedHandler:
    def __init__(self, operation: Operation, limits: ClassLimits, callers: Callers) -> None:
        self._handler = operation.handler
        self._limits = limits
        self._callers = callers if operation.login and limits.by_caller else None

    def __call__(self, request: RestRequest) -> RawReply:
        standings = self._limits.at_address(remote_address(request.environ))
        if self._callers is not None:
            account, key = self._callers.identify(request.credential())
            standings += self._limits.of_caller(account=account, key=key, bucket=request.params.get("bucket", ""))
        reply = self._handler(request)
        reply.headers.extend(standing_headers(standings))
        return reply
