"""Puts rate limits in front of the operations that have any; the others stay as they are."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.operation import Operation
from client_proxy.doors.rest.request import RestRequest
from client_proxy.rate_limits.limiter import ClassLimits, RateLimits, standing_headers
from client_proxy.rate_limits.rules import RateClass
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.people import WHO_AM_I

KNOWN_SECONDS = 60.0
"""How long a credential's account is remembered. The request itself is authorised by the directory each time."""
MAX_KNOWN = 10_000
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
    return "list" if operation.id.startswith("list_") or operation.id == "changes" else "read"


class Callers:
    """Finds out whose credential a request shows. Thread-safe."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: ExpiringMap[str, str] = ExpiringMap(MAX_KNOWN, KNOWN_SECONDS, time.monotonic)

    def identify(self, credential: str) -> tuple[str, str]:
        """The account and the key of a credential. NotLoggedIn if the directory does not know it.

        A key is named by a hash, because a shared storage of rate limits must not learn credentials. Unknown
        credentials are not counted: anybody can make up as many as there is memory for.
        """
        key = hashlib.sha256(credential.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        account = self._known.get(key)
        if account is None:
            asked = time.monotonic()
            account = self._directory.call(WHO_AM_I, CredentialRequest(credential)).name
            self._known.set(key, account, since=asked)
        return account, key


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
