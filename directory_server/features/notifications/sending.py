"""The interface between delivery and the senders."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Protocol

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
"""The longest a receiver may take for one message."""


class NotDelivered(Exception):
    """The target did not accept a message. The text has the reason and no secret.

    `permanent`: sending again cannot help until the target or its address is changed.
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True)
class Outgoing:
    """A message. Its `id` stays the same when it is sent again."""

    id: str
    body: bytes


class Sender(Protocol):
    """A target's connection. For one thread."""

    def send(self, message: Outgoing) -> None:
        """Return when the target has stored the message; NotDelivered when it may not have."""
        ...

    def rest(self) -> None:
        """Close the connection until there is something to send again."""
        ...


def is_permanent(error: BaseException) -> bool:
    """Whether a failed connection will fail again: an untrusted certificate, no TLS there, or an unknown host name."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    if isinstance(error, ssl.SSLError):
        return getattr(error, "reason", "") == "WRONG_VERSION_NUMBER"
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
