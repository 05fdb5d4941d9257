"""S3Call: one request as its handler gets it, and the types of handlers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from client_proxy.doors.s3.auth.access import access_of
from client_proxy.doors.s3.auth.gate import Principal
from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import Headers
from client_proxy.doors.s3.protocol.request import S3Request
from lockstep_store.runtime.http.api import RawReply


@dataclass
class S3Call:
    """An operation requested by a principal. `values` are its parameters, by their names in the service description."""

    operation: S3Operation
    request: S3Request
    principal: Principal
    values: Values
    bucket: str
    key: str
    credential: str
    """Sent to the directory with every call made for this one: the principal's proof and what it is used for."""
    headers: Headers = field(default_factory=list)
    """Further headers of the reply, beyond those of the description."""
    status: int | None = None
    """Replaces the description's status."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a parameter."""
        return self.values.get(name, default)


def new_call(
    operation: S3Operation, request: S3Request, principal: Principal, values: Values, *, is_form: bool = False
) -> S3Call:
    """Return a call with its credential. With `is_form`, the operation was sent as a browser's form."""
    credential = access_of(operation.name, request, principal, values, is_form=is_form).encode()
    return S3Call(operation, request, principal, values, request.bucket, request.key, credential)


Handler = Callable[[S3Call], Values | RawReply]
"""Returns the reply's values, or the whole reply where it streams."""
Handlers = dict[str, Handler]
"""Handlers by the operation's name."""
BrowserHandlers = dict[str, Callable[[S3Request], RawReply]]
"""Requests that are no S3 operations, by their name in `routing`. They check the signature themselves."""
