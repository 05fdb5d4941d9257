"""What every S3 handler gets and gives: one call, its parameters, and the values of its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from client_proxy.doors.s3.protocol.description import Operation
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.security.access import access_of
from client_proxy.doors.s3.security.gate import Caller
from lockstep_store.runtime.http.api import RawReply


@dataclass
class S3Call:
    """One operation asked for by one caller. `values` are its parameters by the names of the service description."""

    operation: Operation
    request: S3Request
    caller: Caller
    values: Values
    headers: list[tuple[str, str]] = field(default_factory=list)
    """Further headers for the answer, beyond those of the description."""
    status: int | None = None
    """Another status than the description's."""
    is_form: bool = False
    """It came as a form, which stands for the operation."""

    @property
    def bucket(self) -> str:
        return self.request.bucket

    @property
    def key(self) -> str:
        return self.request.key

    @cached_property
    def credential(self) -> str:
        """What goes to the directory with every call made for this one: the caller's proof, and what it is used for."""
        return access_of(self).encode()

    def get(self, name: str, default: Any = None) -> Any:
        """A parameter."""
        return self.values.get(name, default)


Handler = Callable[[S3Call], Values | RawReply]
"""Gives the answer's values, or the whole answer where it streams."""
Handlers = dict[str, Handler]
"""By the operation's name."""
BrowserHandlers = dict[str, Callable[[S3Request], RawReply]]
"""What only browsers send, by its name in `routing`: no operations, so their handlers ask the gate themselves."""
