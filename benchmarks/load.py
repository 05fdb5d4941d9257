"""A cheap load generator: persistent TLS connections, requests prepared as bytes, replies barely parsed.

It simulates many independent clients. It runs in several processes, because threads that share an interpreter lock
would measure themselves.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

BLOCK_BYTES = 1 << 20


class Target(NamedTuple):
    """The server under load: its URL, its CA, and headers for every request."""

    url: str
    ca_file: Path
    headers: dict[str, str]


class Result(NamedTuple):
    """The number of requests, the seconds, and the 50th and 99th percentile of a request in milliseconds."""

    count: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds


class Connection:
    """A client's persistent connection, from the address `source` of this machine."""

    def __init__(self, target: Target, source: str = "") -> None:
        parts = urlsplit(target.url)
        context = ssl.create_default_context(cafile=str(target.ca_file))
        raw = socket.create_connection((parts.hostname, parts.port), 30, (source, 0))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(raw, server_hostname=parts.hostname)
        self._head = f"Host: {parts.netloc}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in target.headers.items())
        self._left = b""

    def prepare(self, method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
        """The bytes of a request, which can be sent repeatedly."""
        length = f"Content-Length: {len(body)}\r\n" if body or method in ("PUT", "POST") else ""
        return f"{method} {path} HTTP/1.1\r\n{self._head}{headers}{length}\r\n".encode() + body

    def exchange(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Send a request and return the reply: status, head, body."""
        self._socket.sendall(request)
        data = self._left
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        head = data[:end]
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body = data[end + 4 :]
        while len(body) < length:
            body += self._receive()
        self._left = body[length:]
        return int(head[9:12]), head, body[:length]

    def send(self, part: bytes) -> None:
        """Send a part of a request, and read nothing."""
        self._socket.sendall(part)

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> bytes:
        data = self._socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


class Noise:
    """A file object with `size` bytes of unique content, made in memory."""

    def __init__(self, size: int) -> None:
        self._left, self._at = size, 0
        self._block = os.urandom(BLOCK_BYTES)

    def read(self, count: int = -1) -> bytes:
        count = self._left if count < 0 else min(count, self._left)
        self._left -= count
        parts = []
        while count:
            self._at += 1
            table = bytes(byte ^ (self._at % 256) for byte in range(256))
            part = (self._at.to_bytes(8, "big") + self._block.translate(table))[: min(count, len(self._block))]
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def upload(target: Target, path: str, content: Noise, size: int) -> None:
    """One PUT of `size` bytes."""
    parts = urlsplit(target.url)
    context = ssl.create_default_context(cafile=str(target.ca_file))
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context, blocksize=BLOCK_BYTES)
    connection.request("PUT", path, content, target.headers | {"Content-Length": str(size)})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status not in (200, 201):
        raise RuntimeError(f"PUT {path} was answered {answer.status}: {said[:300]!r}")


Work = Callable[[Connection, int], Callable[[], None]]
"""Makes a client's operation, from its connection and number."""


def run(target: Target, work: Work, clients: int, seconds: float, processes: int = 2) -> Result:
    """Run `clients` independent clients, spread over processes, each repeating its operation."""
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[list[float]] = context.Queue()
    start = context.Event()
    share = [clients // processes + (n < clients % processes) for n in range(processes)]
    first = [sum(share[:n]) for n in range(processes)]
    ready = context.Semaphore(0)
    workers = [
        context.Process(target=_process, args=(target, work, first[n], share[n], seconds, ready, start, answers))
        for n in range(processes)
    ]
    for worker in workers:
        worker.start()
    for _ in range(clients):
        if not ready.acquire(timeout=60):
            raise RuntimeError("the clients could not connect")
    start.set()
    times = sorted(value for _ in workers for value in answers.get(timeout=seconds * 3 + 60))
    for worker in workers:
        worker.join()
    if not times:
        raise RuntimeError("no request was answered")
    return Result(len(times), seconds, 1e3 * times[len(times) // 2], 1e3 * times[int(len(times) * 0.99)])


def _process(target, work, first, count, seconds, ready, start, answers) -> None:  # type: ignore[no-untyped-def]
    times: list[list[float]] = [[] for _ in range(count)]
    failures: list[BaseException] = []

    def client(index: int) -> None:
        try:
            connection = Connection(target)
            operation = work(connection, first + index)
            ready.release()
            start.wait()
            end = time.perf_counter() + seconds
            now = time.perf_counter()
            while now < end:
                operation()
                after = time.perf_counter()
                times[index].append(after - now)
                now = after
            connection.close()
        except BaseException as error:  # noqa: BLE001 - told to the parent below
            failures.append(error)
            ready.release()

    threads = [threading.Thread(target=client, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        print("client failed:", repr(failures[0]))
    answers.put([] if failures else [value for one in times for value in one])
