"""Sends messages to a webhook, one POST each; a 2xx status means that the message was accepted.

It follows no redirect and uses no proxy from the environment: only the administrator decides where this machine sends
requests.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
from collections.abc import Callable

from directory_server.features.notifications.addresses import Destination, WebhookAddress
from directory_server.features.notifications.sending import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    NotDelivered,
    Outgoing,
    is_permanent,
)
from lockstep_store.runtime.tls.trusted_cas import tls_context

MESSAGE_ID_HEADER = "X-Lockstep-Message-Id"
TIMESTAMP_HEADER = "X-Lockstep-Timestamp"
SIGNATURE_HEADER = "X-Lockstep-Signature"
_MAX_ANSWER_BYTES = 64 * 1024
_CUT = (http.client.BadStatusLine, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)
"""Errors of a connection that was kept open for too long; they include `RemoteDisconnected`."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return `v1=` and the HMAC-SHA256, in hex, of the timestamp, a dot and the body; receivers compare it."""
    digest = hmac.digest(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hex()}"


_TEMPORARY = frozenset({408, 425, 429})
"""The client errors that RFC 9110, 8470 and 6585 let a sender repeat."""


class Webhook:
    """A webhook's connection, kept open between messages. For one thread; see `Sender`."""

    def __init__(self, destination: Destination, address: WebhookAddress, wall: Callable[[], float]) -> None:
        self._destination = destination
        self._address = address
        self._wall = wall
        self._context = tls_context(destination.ca_pem) if address.tls else None
        self._connection: http.client.HTTPConnection | None = None

    def send(self, message: Outgoing) -> None:
        reused = self._connection is not None
        try:
            try:
                status = self._post(message)
            except _CUT:
                if not reused:
                    raise
                self.rest()
                status = self._post(message)
        except (OSError, http.client.HTTPException) as error:
            self.rest()
            raise NotDelivered(_reason(error), permanent=is_permanent(error)) from error
        if not 200 <= status < 300:
            more = "; redirects are not followed" if 300 <= status < 400 else ""
            permanent = 300 <= status < 500 and status not in _TEMPORARY
            raise NotDelivered(f"it answered with status {status}{more}", permanent=permanent)

    def rest(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, message: Outgoing) -> int:
        connection = self._connected()
        connection.request("POST", self._address.resource, message.body, self._headers(message))
        response = connection.getresponse()
        if not _is_read(response) or response.will_close:
            self.rest()
        return response.status

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._address.host, self._address.port
            if self._context is not None:
                made: http.client.HTTPConnection = http.client.HTTPSConnection(
                    host, port, timeout=CONNECT_SECONDS, context=self._context
                )
            else:
                made = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
            made.connect()
            made.sock.settimeout(ANSWER_SECONDS)
            self._connection = made
        return self._connection

    def _headers(self, message: Outgoing) -> dict[str, str]:
        headers = {
            "Host": self._address.authority,
            "Content-Type": "application/json",
            "User-Agent": "Lockstep",
            MESSAGE_ID_HEADER: message.id,
        }
        if self._destination.token:
            headers["Authorization"] = f"Bearer {self._destination.token}"
        if self._destination.secret:
            timestamp = str(int(self._wall()))
            headers[TIMESTAMP_HEADER] = timestamp
            headers[SIGNATURE_HEADER] = signature(self._destination.secret, timestamp, message.body)
        return headers


def _is_read(response: http.client.HTTPResponse) -> bool:
    """Read and ignore the reply's body; return whether it was short and came at once."""
    left, until = _MAX_ANSWER_BYTES, time.monotonic() + ANSWER_SECONDS
    while block := response.read1(8192):
        left -= len(block)
        if left < 0 or time.monotonic() > until:
            return False
    response.read()  # nothing is left; only this tells the connection so
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"it did not answer within {ANSWER_SECONDS:.0f} seconds"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError):
        return f"cannot connect ({error.strerror or error})"
    return f"its reply is not HTTP ({type(error).__name__})"
