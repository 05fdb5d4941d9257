"""What delivery needs of whoever sends messages to one target."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Protocol

from lockstep_store.wire.errors import BadRequest

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
"""How long a receiver may take over one message."""


class NotDelivered(Exception):
    """The target did not take a message; the text says why, and names no secret."""


@dataclass(frozen=True)
class Outgoing:
    """A message. Its `id` is the same whenever it is sent again."""

    id: str
    body: bytes


class Sender(Protocol):
    """One target's connection. Of one thread."""

    def send(self, message: Outgoing) -> None:
        """Returns when the target has it for good; NotDelivered when it may not have it."""
        ...

    def rest(self) -> None:
        """There is nothing to send for a while: let go of the connection. It is made again when needed."""
        ...


def tls_context(ca_pem: str) -> ssl.SSLContext:
    """Trusts the machine's authorities, and those in `ca_pem` (PEM). BadRequest when that is none."""
    context = ssl.create_default_context()
    if ca_pem:
        try:
            # Certificates are ASCII; what a bundle says between them about whose they are need not be.
            context.load_verify_locations(cadata=ca_pem.encode("ascii", "ignore").decode())
        except (ssl.SSLError, ValueError) as error:
            raise BadRequest("the CA file has no certificate in PEM form that can be read") from error
    return context
