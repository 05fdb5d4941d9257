"""Narrow protocols for calls to another program: a consumer declares only the one it uses.

`PeerClient` (caller.py) implements all of them. Timeouts are seconds for each socket operation, not for a whole call.
Every method raises the error class that the other program raised, or PeerUnreachable.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self, TypeVar

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.authorities import AuthorityUse, TrustNews

Req = TypeVar("Req")
Rep = TypeVar("Rep")


class Caller(Protocol):
    """Makes declared calls."""

    def call(self, url: str, call: Call[Req, Rep], request: Req, timeout: float | None = None) -> Rep:
        """Make one call and return its reply."""
        ...


class Streamer(Protocol):
    """Sends bodies as they are produced."""

    def send_stream(
        self,
        url: str,
        path: str,
        headers: dict[str, str],
        blocks: Iterable[bytes | memoryview],
        timeout: float | None = None,
    ) -> bytes:
        """POST `blocks` and return the body of the 2xx reply.

        An exception raised by `blocks` cuts the connection, so that the receiver sees an unfinished body.
        """
        ...


class UnreadReply(Protocol):
    """A 2xx reply whose body is read piece by piece; use it in a `with` block."""

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, none at the end. PeerUnreachable when the reply is cut short."""
        ...

    def read_all(self, limit: int) -> bytes:
        """Return the whole body. PeerUnreachable when it has more than `limit` bytes."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Opener(Protocol):
    """Opens replies that are too large to hold in memory."""

    def open(
        self,
        url: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> UnreadReply:
        """Send a request and return its reply, unread."""
        ...


class MembershipKeeper(Protocol):
    """Keeps the authorities and the list of revoked certificates."""

    @property
    def revoked_number(self) -> int:
        """The number of the list that is obeyed; -1 before there is one."""
        ...

    @property
    def authorities(self) -> AuthorityUse:
        """The authorities in force, and that of the certificate in use."""
        ...

    def learn(self, revoked_pem: str, trust: TrustNews | None, issuer: str) -> None:
        """Apply what is new in a heartbeat's reply: the list (empty when it is not), the authorities (None), and the
        authority that issues certificates for this program."""
        ...
