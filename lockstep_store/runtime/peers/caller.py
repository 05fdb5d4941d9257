"""The client for calls between programs: HTTPS with certificates on both sides, over pooled connections.

Every read and write makes such calls, so their cost counts (see `connection`). Only this module turns socket errors
into `PeerUnreachable`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar
from urllib.parse import urlsplit

from lockstep_store.runtime import tracing
from lockstep_store.runtime.peers.connection import TRANSPORT_ERRORS, PeerConnection, is_readable, unreachable
from lockstep_store.runtime.peers.directories import Directories
from lockstep_store.runtime.peers.liveness import Address, Liveness, Probe, handshake_probe
from lockstep_store.runtime.peers.proofs import ProofMaker
from lockstep_store.runtime.tls.contexts import client_context
from lockstep_store.runtime.tls.identity import Identity, LatestToken
from lockstep_store.runtime.tracing import REQUEST_ID_HEADER, request_id
from lockstep_store.wire.codec import Call, decode_problem, encode
from lockstep_store.wire.errors import PeerUnreachable, from_problem

PEER_HEADER = "X-Lockstep-Peer"
MAX_IDLE_PER_SERVER = 64
# The runner closes a connection after 30 idle seconds; a request sent at that moment would be lost.
MAX_IDLE_SECONDS = 20.0
SEND_BLOCK_BYTES = 256 * 1024
MAX_REPLY_BYTES = 256 * 1024 * 1024
MAX_PROBLEM_BYTES = 16 * 1024 * 1024

Req = TypeVar("Req")
Rep = TypeVar("Rep")


class PeerClient:
    """Calls other programs under `identity`. Thread-safe; `timeout` is seconds for each socket operation.

    `directory`: the URL of the directory server, or those of several with commas between; calls to that name go to the
    active one (`runtime.peers.directories`). The failure detector never cuts calls to a single one, which no other
    program can replace. Directory servers alone are shown the peer token; other programs get a proof
    (`runtime.peers.proofs`).
    """

    def __init__(
        self,
        identity: Identity,
        timeout: float = 10.0,
        *,
        directory: str = "",
        probe: Probe | None = None,
    ) -> None:
        self._identity = identity
        self._token = LatestToken(identity)
        self._proofs = ProofMaker(identity)
        self._timeout = timeout
        self._idle: dict[Address, deque[tuple[PeerConnection, float]]] = {}
        self._guard = threading.Lock()
        self._liveness = Liveness(probe or handshake_probe(identity), self._drop_idle)
        self._directories = Directories(directory)
        self._directory_addresses = {_address(url) for url in self._directories.urls if url}

    def call(self, url: str, call: Call[Req, Rep], request: Req, timeout: float | None = None) -> Rep:
        """Make one declared call. Raises the error class the server raised, or PeerUnreachable."""
        with self.open(url, "POST", call.path, encode(request), timeout=timeout) as response:
            body = response.read_all(MAX_REPLY_BYTES)
        return call.decode_reply(body)

    def send_stream(
        self,
        url: str,
        path: str,
        headers: dict[str, str],
        blocks: Iterable[bytes | memoryview],
        timeout: float | None = None,
    ) -> bytes:
        """POST `blocks` as they come (chunked transfer encoding); return the 2xx reply's body, or raise its error.

        An exception raised by `blocks` closes the connection, so that the server sees a cut stream, and propagates.
        """
        connection = self._take(url, timeout)
        answered_early = False
        try:
            connection.send_head("POST", path, self._headers(url, headers) | {"Transfer-Encoding": "chunked"})
        except BaseException as error:
            self._give_up(url, connection, error)
            raise
        connection.waiting_since = 0.0  # a slow source is not the peer's fault
        try:
            for piece in _http_chunks(blocks):
                connection.waiting_since = time.monotonic()
                try:
                    connection.send(piece)
                except TRANSPORT_ERRORS:
                    # A server that rejects the stream early replies and closes; its reply says more than EPIPE.
                    answered_early = True
                    break
                connection.waiting_since = 0.0
        except BaseException:
            self._drop(connection)
            raise
        with self._response(url, connection, reusable=not answered_early) as response:
            return response.read_all(MAX_REPLY_BYTES)

    def open(
        self,
        url: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> PeerResponse:
        """Send a request and return its 2xx reply, unread. Raises the error class that the server raised."""
        if url != self._directories.name:
            return self._open(url, method, path, body, headers, timeout)
        with self._directories.calling() as current:
            return self._open(current, method, path, body, headers, timeout)

    def _open(
        self, url: str, method: str, path: str, body: bytes, headers: dict[str, str] | None, timeout: float | None
    ) -> PeerResponse:
        connection = self._take(url, timeout)
        try:
            given = self._headers(url, headers)
            if body or method != "GET":
                given["Content-Length"] = str(len(body))
            connection.send_head(method, path, given, body)
        except BaseException as error:
            self._give_up(url, connection, error)
            raise
        return self._response(url, connection)

    def close(self) -> None:
        """Close the idle connections, and stop the failure detector."""
        self._liveness.stop()
        with self._guard:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection, _ in connections:
                connection.close()

    def _headers(self, url: str, extra: dict[str, str] | None) -> dict[str, str]:
        shown = self._token.text() if _address(url) in self._directory_addresses else self._proofs.proof_for(url)
        headers = {PEER_HEADER: shown, "Content-Type": "application/json"}
        current = request_id()
        if current:
            headers[REQUEST_ID_HEADER] = current
        if tracing.propagate is not None:
            tracing.propagate(headers)
        if extra:
            headers.update(extra)
        return headers

    def _response(self, url: str, connection: PeerConnection, reusable: bool = True) -> PeerResponse:
        connection.waiting_since = time.monotonic()
        try:
            connection.read_head()
        except BaseException as error:
            self._give_up(url, connection, error)
            raise
        connection.state.answered_at = time.monotonic()
        connection.waiting_since = 0.0
        response = PeerResponse(self, url, connection, reusable and connection.stays_open)
        if connection.status >= 300:
            with response:
                body = response.read_all(MAX_PROBLEM_BYTES)
            raise from_problem(decode_problem(body, connection.status))
        return response

    def _take(self, url: str, timeout: float | None) -> PeerConnection:
        """Return a pooled or new connection. The failure detector watches it, and its wait has begun."""
        key = _address(url)
        seconds = self._timeout if timeout is None else timeout
        state = self._liveness.state(key)
        if state.dead_since and (reason := self._liveness.why_dead(state)):
            raise PeerUnreachable(f"{url} {reason}", url=url)
        now = time.monotonic()
        while True:
            with self._guard:
                idle = self._idle.get(key)
                if not idle:
                    break
                connection, since = idle.pop()
            if now - since < MAX_IDLE_SECONDS and not is_readable(connection):
                connection.set_timeout(seconds)
                self._watch(connection, now)
                return connection
            connection.close()
        connection = PeerConnection(state, seconds, client_context(self._identity))
        self._watch(connection, now)
        try:
            connection.connect()
        except BaseException as error:
            self._give_up(url, connection, error)
            raise
        return connection

    def _watch(self, connection: PeerConnection, now: float) -> None:
        connection.waiting_since = now
        if {connection.state.address} != self._directory_addresses:
            self._liveness.enter(connection.state, connection)

    def _drop(self, connection: PeerConnection) -> None:
        self._liveness.leave(connection.state, connection)
        connection.close()

    def _give_up(self, url: str, connection: PeerConnection, error: BaseException) -> None:
        """Drop the connection after any failure; raise PeerUnreachable for a transport error."""
        self._drop(connection)
        if isinstance(error, TRANSPORT_ERRORS):
            raise unreachable(url, error, connection) from error

    def _give_back(self, connection: PeerConnection) -> None:
        self._liveness.leave(connection.state, connection)
        if not connection.cut_because:
            with self._guard:
                idle = self._idle.setdefault(connection.state.address, deque())
                if len(idle) < MAX_IDLE_PER_SERVER:
                    idle.append((connection, time.monotonic()))
                    return
        connection.close()

    def _drop_idle(self, address: Address) -> None:
        with self._guard:
            idle = self._idle.pop(address, None)
        for connection, _ in idle or ():
            connection.close()


class PeerResponse:
    """A reply whose body is read piece by piece. Close it, or use it as a context manager."""

    def __init__(self, client: PeerClient, url: str, connection: PeerConnection, reusable: bool) -> None:
        self._client = client
        self._url = url
        self._connection = connection
        self._reusable = reusable
        self.length = connection.left
        """Bytes of the whole body."""

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, none at the end. PeerUnreachable when the connection is cut before the end."""
        return self._read(count)

    def read_all(self, limit: int) -> bytes:
        """Return the rest of the body. PeerUnreachable when it has more than `limit` bytes, or is cut."""
        if self._connection.left > limit:
            self._reusable = False
            raise PeerUnreachable(
                f"{self._url} sent a reply of {self._connection.left} bytes; the limit is {limit}", url=self._url
            )
        return self._read(None)

    def _read(self, count: int | None) -> bytes:
        """Read up to `count` bytes, or all that are left."""
        connection = self._connection
        connection.waiting_since = time.monotonic()
        try:
            data = connection.read_rest() if count is None else connection.read(count)
        except TRANSPORT_ERRORS as error:
            self._reusable = False
            raise unreachable(self._url, error, connection) from error
        connection.state.answered_at = time.monotonic()
        connection.waiting_since = 0.0
        if connection.left and (count is None or (count and not data)):
            self._reusable = False
            why = connection.cut_because or f"cut its reply {connection.left} bytes short"
            raise PeerUnreachable(f"{self._url} {why}", url=self._url)
        return data

    def close(self) -> None:
        """Return the connection to the pool if the reply was read to its end, otherwise close it."""
        if self._reusable and not self._connection.left:
            self._client._give_back(self._connection)
        else:
            self._client._drop(self._connection)
        self._reusable = False

    def __enter__(self) -> PeerResponse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _address(url: str) -> Address:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 443


def _http_chunks(blocks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Frame blocks as HTTP chunks, including the last one that ends the body.

    Small blocks are joined into pieces worth a system call. Large ones are sent as they are, because copies of them
    would take most of the memory of many parallel uploads.
    """
    gathered: list[bytes | memoryview] = []
    size = 0
    ended = b""  # the end of an HTTP chunk is sent with the next piece
    for block in blocks:
        if len(block) >= SEND_BLOCK_BYTES:
            yield b"".join((ended, b"%x\r\n" % (size + len(block)), *gathered))
            yield block
        else:
            gathered.append(block)
            size += len(block)
            if size < SEND_BLOCK_BYTES:
                continue
            yield b"".join((ended, b"%x\r\n" % size, *gathered))
        ended = b"\r\n"
        gathered.clear()
        size = 0
    if size:
        yield b"".join((ended, b"%x\r\n" % size, *gathered, b"\r\n0\r\n\r\n"))
    else:
        yield ended + b"0\r\n\r\n"
