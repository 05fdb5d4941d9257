"""PROXY protocol: the listener for load balancers that forward TLS connections without decrypting them.

Such a balancer writes the client's address in front of what the client sends. The runner cannot read that, so this
listener takes it off and passes the rest on to a listener of the runner on a loopback port of its own. A request at
that port that did not come through here is refused, because nothing tells whose it is.

Both versions of the protocol are read: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from lockstep_store.runtime.addresses import Network, parse_address
from lockstep_store.runtime.http.client_waits import STALL_SECONDS
from lockstep_store.runtime.http.exchange import Exchange
from lockstep_store.runtime.http.request_head import BadHead
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError

RELAYED = "lockstep.relayed"
"""In the environment: the request came through a load balancer that speaks the PROXY protocol."""

MAX_RELAYED = 2048
"""Connections at a time; more wait to be accepted. Each needs two descriptors here, and one at the runner."""
HEADER_SECONDS = 5.0
MAX_VERSION_1_BYTES = 107
MAX_VERSION_2_BYTES = 4096
"""Addresses need 36 bytes; a balancer may add what it knows of the client, such as its certificate's name."""
BUFFER_BYTES = 256 * 1024

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LOOPBACK = "127.0.0.1"
_ADDRESS_BYTES = {0x11: 4, 0x21: 16}
"""TCP over IPv4 and over IPv6: the size of an address."""
_RETRY_SECONDS = 0.1


class BadHeader(Exception):
    """The connection does not begin as the PROXY protocol says."""


async def read_client(reader: asyncio.StreamReader) -> str | None:
    """Read the header, and return the client's address.

    None where the connection is the balancer's own, for a health check. BadHeader for anything else; OSError or
    asyncio.IncompleteReadError when the connection ends before.
    """
    start = await reader.readexactly(len(_SIGNATURE))
    if start == _SIGNATURE:
        return await _version_2(reader)
    if start.startswith(b"PROXY "):
        return await _version_1(start, reader)
    raise BadHeader("it sent no PROXY header: let it send one (send-proxy-v2 in HAProxy), or use the ordinary port")


async def _version_2(reader: asyncio.StreamReader) -> str | None:
    version_and_command, family, *size = await reader.readexactly(4)
    length = int.from_bytes(bytes(size))
    if version_and_command not in (0x20, 0x21):
        raise BadHeader("its PROXY header has an unknown version or command")
    if length > MAX_VERSION_2_BYTES:
        raise BadHeader(f"its PROXY header is too long: the limit is {MAX_VERSION_2_BYTES} bytes")
    body = await reader.readexactly(length)
    if version_and_command == 0x20:
        return None
    address_bytes = _ADDRESS_BYTES.get(family)
    if address_bytes is None or length < 2 * address_bytes + 4:
        raise BadHeader("its PROXY header names no TCP client")
    return _text(ipaddress.ip_address(body[:address_bytes]))


async def _version_1(start: bytes, reader: asyncio.StreamReader) -> str | None:
    line = start
    while not line.endswith(b"\r\n"):
        if len(line) >= MAX_VERSION_1_BYTES:
            raise BadHeader(f"its PROXY header is too long: the limit is {MAX_VERSION_1_BYTES} bytes")
        line += await reader.readexactly(1)
    words = line.decode("latin-1").split()
    if words[1:2] == ["UNKNOWN"]:
        return None
    try:
        address = ipaddress.ip_address(words[2])
    except (IndexError, ValueError):
        address = None
    if len(words) != 6 or address is None or words[1] != f"TCP{address.version}":
        raise BadHeader("its PROXY header names no TCP client")
    return _text(address)


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)


class _Client(NamedTuple):
    """Whom a connection counts for."""

    address: str
    is_named: bool
    """False if it is the balancer itself: a health check, or somebody whom the balancer could not name. Then an
    X-Forwarded-For, which the balancer has not made, must not count."""


class ProxyProtocolListener:
    """Relays connections of the balancers in `trusted` to the runner, and knows each one's client."""

    def __init__(self, host: str, port: int, trusted: Sequence[Network]) -> None:
        self._host, self._port = host, port
        self._trusted = trusted
        self._clients: dict[tuple[str, int], _Client] = {}
        """The clients' addresses, by the address and port that the relay's own connection to the runner comes from."""
        self._refused: set[str] = set()
        self._reserved = _reserved_port()
        self.inner: tuple[str, int] = self._reserved.getsockname()
        """Where the runner listens for the relay."""
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._accepting: asyncio.Task[None]
        self._stopped: asyncio.Event

    def start(self) -> None:
        """Listen. SetupError when the port is not available. The runner must listen at `inner` already."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
            listener = socket.create_server((self._host, self._port), family=family, backlog=1024, dualstack_ipv6=both)
        except OSError as error:
            raise SetupError(
                f"cannot listen on {self._host}:{self._port} for load balancers ({error.strerror}): choose another "
                "port with --proxy-protocol-port"
            ) from error
        listener.setblocking(False)
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(listener, ready)), name="proxy protocol", daemon=True
        )
        self._thread.start()
        ready.wait()
        log.info("listening on %s:%d for load balancers that speak the PROXY protocol", self._host, self._port)

    def refuse_new(self) -> None:
        """Stop listening; connections go on."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._accepting.cancel)

    def stop(self) -> None:
        """End every connection."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()
            self._thread = None
        self._reserved.close()

    def show_client(self, exchange: Exchange) -> None:
        """Let a request that came through here count for its client. BadHead if it came to `inner` otherwise."""
        if exchange.wait.port != self.inner[1]:
            return
        client = self._clients.get(exchange.wait.peer)
        if client is None:
            raise BadHead(400, "this port is the proxy's own: use its address for people")
        exchange.wait.client = client.address
        exchange.environ |= {"REMOTE_ADDR": client.address, "SERVER_PORT": str(self._port), RELAYED: True}
        if not client.is_named:
            exchange.environ.pop("HTTP_X_FORWARDED_FOR", None)

    async def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._accepting = asyncio.create_task(self._accept(listener))
        ready.set()
        await self._stopped.wait()

    async def _accept(self, listener: socket.socket) -> None:
        places, running = asyncio.Semaphore(MAX_RELAYED), set()

        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            places.release()

        with listener:
            while True:
                await places.acquire()
                try:
                    connection, peer = await self._loop.sock_accept(listener)
                except OSError:  # no descriptor is free just now
                    places.release()
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                task = asyncio.create_task(self._serve(connection, peer[0]))
                running.add(task)
                task.add_done_callback(ended)

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        with connection:
            balancer = parse_address(peer)
            if balancer is None or not any(balancer in network for network in self._trusted):
                self._complain(peer, "it is not a --trusted-proxy")
                return
            try:
                async with _streams(connection) as (reader, writer):
                    async with asyncio.timeout(HEADER_SECONDS):
                        client = await read_client(reader)
                    await self._relay(reader, writer, _Client(client or str(balancer), client is not None))
            except BadHeader as error:
                self._complain(peer, str(error))
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                pass  # the balancer or the runner has ended the connection, or the client has stalled

    def _complain(self, peer: str, why: str) -> None:
        """Log why a connection was closed: once for each address, which anybody may have."""
        if peer not in self._refused and len(self._refused) < MAX_RELAYED:
            self._refused.add(peer)
            log.warning("closed a connection of %s to the port for load balancers: %s", peer, why)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: _Client) -> None:
        with socket.socket() as inner:
            inner.setblocking(False)
            inner.bind((_LOOPBACK, 0))
            own: tuple[str, int] = inner.getsockname()
            self._clients[own] = client
            try:
                await self._loop.sock_connect(inner, self.inner)
                async with _streams(inner) as (from_runner, to_runner):
                    sending = asyncio.create_task(_send(reader, to_runner))
                    try:
                        await _answer(from_runner, writer)
                    finally:
                        sending.cancel()
            finally:
                del self._clients[own]
        writer.close()
        async with asyncio.timeout(STALL_SECONDS):
            await writer.wait_closed()


async def _send(client: asyncio.StreamReader, runner: asyncio.StreamWriter) -> None:
    """Pass on what the client sends, and that it has gone."""
    with suppress(OSError):
        while block := await client.read(BUFFER_BYTES):
            runner.write(block)
            await runner.drain()
    with suppress(OSError):
        runner.write_eof()


async def _answer(runner: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Pass on what the runner sends, until it has closed its side: before, it may begin with another request.

    TimeoutError when the client takes nothing for STALL_SECONDS.
    """
    gone = False
    while block := await runner.read(BUFFER_BYTES):
        if not gone:
            try:
                client.write(block)
                await _drain(client)
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise
                gone = True


async def _drain(client: asyncio.StreamWriter) -> None:
    while True:
        waiting = client.transport.get_write_buffer_size()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                return await client.drain()
        except TimeoutError:
            if client.transport.get_write_buffer_size() >= waiting:
                raise


@asynccontextmanager
async def _streams(connection: socket.socket) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader, writer = await asyncio.open_connection(sock=connection, limit=BUFFER_BYTES)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def _reserved_port() -> socket.socket:
    """A loopback port that nobody else gets. The runner can listen on it, because it shares ports too."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind((_LOOPBACK, 0))
    return reserved
