"""Clients that stall: they get what is theirs, and nobody else waits for them.

The slow ones come from an address of their own (127.0.0.2), as a bad neighbour would; the others read and write small
files meanwhile, and their times are what counts.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import psutil

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person
from tests.waiting import wait_until

SLOW_EACH, EXCESS = 40, 40
IDLE = 1000
LARGE_BYTES = 24 * 1024 * 1024
FIRST_BYTES = 40_000
"""Of each upload at once: less would occupy no thread."""
MEASURED_SECONDS = 3.0
LONGEST_SECONDS = 20.0
"""Most that a small request may take while the slow ones are there, who are cut off after 30 s."""
MEMORY_EACH_BYTES = 12 * 1024 * 1024
"""A stalled download keeps one chunk (4 MiB at most) in hand and one on its way, whatever the file's size."""
SLOW_ADDRESS = "127.0.0.2"


class SlowClient:
    """One connection that sends its request and the body's beginning, and then a byte, or reads one, at each step."""

    def __init__(self, url: str, context: ssl.SSLContext, head: str, uploads: bool) -> None:
        at = urlsplit(url)
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        raw.settimeout(60)
        raw.bind((SLOW_ADDRESS, 0))
        raw.connect((at.hostname, at.port))
        self._socket = context.wrap_socket(raw, server_hostname=at.hostname)
        self._socket.sendall(head.encode() + (bytes(FIRST_BYTES) if uploads else b""))
        self._uploads = uploads
        self._turn = threading.Lock()  # one thread at a time may use a TLS connection
        self.answer = b""

    def step(self) -> None:
        """One byte; what a server has to say is kept."""
        with self._turn, suppress(TimeoutError, OSError):
            if self._uploads:
                self._socket.sendall(b"x")
            else:
                self._socket.settimeout(0.01)
                self.answer += self._socket.recv(1)

    def hear(self) -> bytes:
        """The answer's first bytes, if there is one yet."""
        with self._turn, suppress(TimeoutError, OSError):
            self._socket.settimeout(0.02)
            self.answer += self._socket.recv(2048)
        return self.answer

    def close(self) -> None:
        self._socket.close()


class Crowd:
    """The slow clients of one proxy, each served a byte a second by one thread."""

    def __init__(self, cluster: ClusterHarness, stack: ExitStack) -> None:
        self._url = cluster.proxy_urls[0]
        self._context = ssl.create_default_context(cafile=str(cluster.ca_file))
        self._key = cluster.admin_key
        self._stack = stack
        self.clients: list[SlowClient] = []

    def join(self, method: str, path: str, *headers: str) -> SlowClient:
        lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: 127.0.0.1", f"X-Api-Key: {self._key}", *headers, "", ""]
        client = SlowClient(self._url, self._context, "\r\n".join(lines), method == "PUT")
        self._stack.callback(client.close)
        self.clients.append(client)
        return client

    @contextmanager
    def crawling(self) -> Iterator[None]:
        over = threading.Event()

        def crawl() -> None:
            while not over.wait(1.0):
                for client in self.clients:
                    client.step()

        thread = threading.Thread(target=crawl)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def small_requests(person: Person, seconds: float) -> list[float]:
    """Seconds of each small write and each small read, one after another."""
    taken: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(taken) < 10:
        content = secrets.token_bytes(500)
        for method, body in (("PUT", content), ("GET", None)):
            started = time.monotonic()
            answer = person.ask(method, "/files/files/overload/quick", data=body)
            taken.append(time.monotonic() - started)
            assert answer.status_code in (200, 201), answer.text
        assert answer.content == content
    return taken


def report(what: str, taken: list[float]) -> None:
    longest, middle = max(taken), statistics.median(taken)
    print(f"{what}: {len(taken)} small requests, median {1000 * middle:.0f} ms, longest {1000 * longest:.0f} ms")
    assert longest < LONGEST_SECONDS


def test_slow_clients_hold_up_nobody(shared_cluster: ClusterHarness) -> None:
    """With 80 clients at a byte a second, others' small reads and writes go on; slow ones beyond the bound get 503
    with Retry-After; the proxy's memory stays bounded."""
    proxy = psutil.Process(shared_cluster.pid("client_proxy"))
    with Person(shared_cluster) as person, ExitStack() as stack:
        person.put("overload/large", secrets.token_bytes(LARGE_BYTES))
        before = proxy.memory_info().rss
        crowd = Crowd(shared_cluster, stack)
        for number in range(SLOW_EACH):
            crowd.join("GET", "/files/files/overload/large")
            crowd.join("PUT", f"/files/files/overload/slow-{number}", "Content-Length: 1000000")
        with crowd.crawling():
            taken = small_requests(person, MEASURED_SECONDS)
            late = [
                crowd.join("PUT", f"/files/files/overload/late-{n}", "Content-Length: 1000000") for n in range(EXCESS)
            ]
            wait_until(lambda: any(b" 503 " in client.hear() for client in late), 60, "a refusal of a slow client")
            taken += small_requests(person, 0)
        refused = [client.answer for client in crowd.clients if b" 503 " in client.hear()]
        assert all(b"retry-after" in answer.lower() for answer in refused)
        assert len(refused) < len(crowd.clients) - SLOW_EACH
        grown = proxy.memory_info().rss - before
        print(f"{len(refused)} of {len(crowd.clients)} slow clients were turned away; {grown >> 20} MiB more memory")
        assert grown < MEMORY_EACH_BYTES * SLOW_EACH
        report("beside slow clients", taken)


def test_idle_connections_hold_up_nobody(shared_cluster: ClusterHarness) -> None:
    """A thousand connections that say nothing cost others nothing."""
    at = urlsplit(shared_cluster.proxy_urls[0])
    with Person(shared_cluster) as person, ExitStack() as stack:
        for _ in range(IDLE):
            idle = stack.enter_context(socket.create_connection((at.hostname, at.port), timeout=60))
            assert idle.fileno() >= 0
        report(f"beside {IDLE} idle connections", small_requests(person, 1.0))
