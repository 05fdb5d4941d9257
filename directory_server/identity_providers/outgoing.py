"""Requests to providers: bounded in time and size, without redirects, over verified TLS only."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 10.0
"""For one request, from the connection to the reply's last byte."""
MAX_BYTES = 512 * 1024


class ProviderFailed(Exception):
    """The provider could not be asked, or its reply is none. The text is the reason, without secrets.

    `permanent`: asking again cannot help until somebody changes the provider or its settings here.
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True)
class ProviderReply:
    """A reply with any status."""

    status: int
    body: bytes

    def document(self) -> dict[str, Any]:
        """The JSON object in the body. ProviderFailed if it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ProviderFailed(f"its reply (status {self.status}) is not JSON") from error
        if not isinstance(found, dict):
            raise ProviderFailed(f"its reply (status {self.status}) is not a JSON object")
        return found


class Ask(Protocol):
    """Sends a request to a provider: a GET, or a POST of `form`."""

    def __call__(
        self,
        url: str,
        context: ssl.SSLContext,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ProviderReply: ...


def ask(
    url: str,
    context: ssl.SSLContext,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProviderReply:
    """Send one request. Raises ProviderFailed within about CONNECT_SECONDS + TOTAL_SECONDS."""
    parts = urlsplit(url)
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Without a port, the library would look for one behind the last colon of an IPv6 address.
    port = parts.port or http.client.HTTPS_PORT
    connection = http.client.HTTPSConnection(parts.hostname or "", port, timeout=CONNECT_SECONDS, context=context)
    sent = {"Accept": "application/json", "User-Agent": "Lockstep", **(headers or {})}
    body = None
    if form is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form)
    try:
        connection.connect()
        with _Deadline(connection.sock):
            connection.request("GET" if body is None else "POST", resource, body, sent)
            response = connection.getresponse()
            content = response.read(MAX_BYTES + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ProviderFailed(_reason(error), permanent=isinstance(error, ssl.SSLCertVerificationError)) from error
    finally:
        connection.close()
    if len(content) > MAX_BYTES:
        raise ProviderFailed(f"its reply has more than {MAX_BYTES} bytes")
    if 300 <= response.status < 400:
        raise ProviderFailed(f"it answered with status {response.status}; redirects are not followed")
    return ProviderReply(response.status, content)


class _Deadline:
    """Ends a connection after TOTAL_SECONDS: a socket's own time-out begins again with every byte."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._timer = threading.Timer(TOTAL_SECONDS, self._end)
        self._timer.daemon = True
        self.passed = False

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self.passed:
            raise TimeoutError

    def _end(self) -> None:
        self.passed = True
        try:
            # On the descriptor: the TLS object's own method would begin a closing handshake.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            return  # it has ended already


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError):
        return f"cannot connect ({error.strerror or error})"
    return f"its reply is not HTTP ({type(error).__name__})"
