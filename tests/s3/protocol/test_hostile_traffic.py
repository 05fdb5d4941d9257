"""Thousands of requests that no honest client sends, over real sockets to a real proxy, which stays as it was.

What each kind of damage is answered is `test_fuzz`'s to hold; here it is that the programs neither grow nor slow down.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from client_proxy.doors.s3.protocol.xml_reader import read_xml
from tests.cluster.cluster_harness import ClusterHarness
from tests.s3.prober import LONGEST_SECONDS, Answer, Prober
from tests.s3.protocol.test_fuzz import CONTROLS, XML, damage, with_md5
from tests.s3.raw_connection import Connection
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster

MIB = 1 << 20
WARM_UP, REQUESTS = 600, 1500
GROWTH_BYTES = 5 * MIB
"""Most that a program may grow: keeping 4 KiB of each request would be seen."""
SLOW, SLOW_ADDRESS = 200, "127.0.0.2"
HEADERS_SECONDS = 30.0
"""So long the runner waits for a request's headers."""
BUCKET, KEY = b"/hostile", b"/hostile/key"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_=/;:,.*%+\"'()<>@[]{}\\~"


class SocketProber(Prober):
    """A prober whose requests go over one kept connection, opened anew where the proxy hung up."""

    def __init__(self, cluster: ClusterHarness) -> None:
        keys = (cluster.admin["s3_access_key"], cluster.admin["s3_secret_key"])
        super().__init__(SimpleNamespace(key=lambda: keys))  # type: ignore[arg-type]
        self._cluster = cluster
        self._connection: Connection | None = None

    def close(self) -> None:
        super().close()
        if self._connection is not None:
            self._connection.close()

    def ask(self, method: str, path: bytes, query: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        target = quote(path, safe="/-_.~") + (f"?{query}" if query else "")
        given = {"host": "127.0.0.1:5000"} | headers | {"content-length": str(len(body))}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
        started = time.monotonic()
        status, said, content = self._exchange("\r\n".join(lines).encode("latin-1", "replace") + body, method)
        assert status < 500 or status == 501, (status, content, lines[:2])
        assert time.monotonic() - started < LONGEST_SECONDS, lines[0][:200]
        if status >= 400 and said.get("content-type", "").endswith("xml"):
            assert read_xml(content).name == "Error"
        return Answer(status, said, content)

    def _exchange(self, data: bytes, method: str) -> tuple[int, dict[str, str], bytes]:
        """The answer; status 0 when the proxy hung up on a new connection too."""
        for _ in range(2):
            fresh = self._connection is None
            if self._connection is None:
                self._connection = Connection(self._cluster)
            self._connection.send(data)
            status, headers, body = self._connection.answer(LONGEST_SECONDS, head=method == "HEAD")
            if status and headers.get("connection", "").lower() != "close":
                return status, headers, body
            self._connection.close()
            self._connection = None
            if status or fresh:
                return status, headers, body
        return 0, {}, b""


@pytest.fixture(scope="module")
def prober(real_cluster: ClusterHarness) -> Iterator[SocketProber]:
    prober = SocketProber(real_cluster)
    assert prober.signed("PUT", BUCKET).status == 200
    assert prober.signed("PUT", KEY, body=b"content").status == 200
    yield prober
    prober.close()


# ------------------------------------------------------------ one request of each kind


def word(rng: random.Random, length: int = 20) -> str:
    return "".join(rng.choices(LETTERS[:52], k=length))


def forged(prober: Prober, rng: random.Random) -> None:
    """A signature by a key that nobody has, or for somewhere else, or with damaged bytes."""
    headers, _ = prober.sign("GET", KEY, "", {})
    proof = headers["authorization"]
    headers["authorization"] = rng.choice(
        (
            proof.replace(prober.access, word(rng).upper()),
            proof.replace("us-east-1", word(rng)),
            damage(proof.encode(), rng).decode("ascii", "ignore").translate(CONTROLS),
        )
    )
    assert prober.ask("GET", KEY, "", headers).status in (200, 400, 403)


def presigned(prober: Prober, rng: random.Random) -> None:
    """A presigned address with damaged bytes."""
    base = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={prober.access}%2F20261121%2Fus-east-1%2Fs3%2Faws4_request&"
        f"X-Amz-Date=20261121T120000Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature={word(rng, 64)}"
    )
    query = quote(damage(base.encode(), rng), safe="&=%-_.~")
    assert 400 <= prober.ask(rng.choice(("GET", "PUT", "DELETE")), KEY, query, {}).status < 500


def random_headers(prober: Prober, rng: random.Random) -> None:
    """Names and values of any kind, a few or a hundred, some of them long."""
    headers = {}
    for _ in range(rng.choice((1, 5, 90))):
        headers[f"x-amz-{word(rng, 12).lower()}"] = "".join(
            rng.choices(LETTERS, k=rng.choice((0, 8, 60, 2000)))
        ).strip()
    headers[rng.choice(("authorization", "range", "x-amz-date", "x-amz-copy-source", "origin"))] = word(rng, 300)
    assert prober.ask(rng.choice(("GET", "PUT", "POST")), KEY, word(rng), headers).status in (
        0,
        400,
        403,
        405,
        431,
        501,
    )


def no_such_place(prober: Prober, rng: random.Random) -> None:
    """Another bucket, another key and another argument each time."""
    path = f"/{word(rng).lower()}/{word(rng, 200)}".encode()
    assert prober.signed("GET", path, f"{word(rng)}={word(rng)}").status == 404


def harmful_xml(prober: Prober, rng: random.Random) -> None:
    """Entities, bombs, depth, size and encodings, past the gate."""
    body = rng.choice(XML)
    assert prober.signed("POST", BUCKET, "delete=", with_md5(body), body).status in (200, 400)


def chunk_framing(prober: Prober, rng: random.Random) -> None:
    """A body in signed chunks with damaged bytes."""
    path = b"/hostile/chunked"
    headers, body = prober.chunked(path, [rng.randbytes(20_000), b"end"])
    assert prober.ask("PUT", path, "", headers, damage(body, rng)).status in (200, 400, 403)


KINDS: tuple[tuple[Callable[[Prober, random.Random], None], int], ...] = (
    (forged, 30),
    (presigned, 20),
    (random_headers, 20),
    (no_such_place, 20),
    (chunk_framing, 10),
    (harmful_xml, 3),
)
"""Each with how often it comes."""


# ------------------------------------------------------------ what is left of them


def attack(prober: SocketProber, rng: random.Random, count: int) -> None:
    kinds, weights = zip(*KINDS, strict=True)
    for kind in rng.choices(kinds, weights, k=count):
        kind(prober, rng)


def leaves_nothing(pids: Sequence[int], traffic: Callable[[], None]) -> None:
    """One round of the traffic in three leaves no program larger: what is kept of requests is kept in each round, and
    what an allocator takes for once, while many are served at the same time, is not."""
    programs = [psutil.Process(pid) for pid in pids]
    told: list[str] = []
    for _ in range(3):
        before = [(one.memory_info().rss, one.num_threads(), one.num_fds()) for one in programs]
        traffic()
        grown = [
            (one.memory_info().rss - resident, one.num_threads() - threads, one.num_fds() - files)
            for one, (resident, threads, files) in zip(programs, before, strict=True)
        ]
        if all(size < GROWTH_BYTES and threads < 32 and files < 64 for size, threads, files in grown):
            return
        told.append(f"grown by (bytes, threads, files) {grown}")
    pytest.fail("; ".join(told))


def test_hostile_requests_leave_nothing_behind(real_cluster: ClusterHarness, prober: SocketProber, seed: int) -> None:
    """After thousands of refused requests of every kind no program is larger, and none has more threads or files."""
    rng = random.Random(seed)
    log = next(file for file in real_cluster.folder.log_dir.glob("client_proxy-1*.log"))
    said = len(log.read_text())
    attack(prober, rng, WARM_UP)
    for _ in range(4 * len(XML)):  # what the largest of them needs for a moment is not what they leave behind
        harmful_xml(prober, rng)
    programs = ("client_proxy", "directory_server", "file_server")
    leaves_nothing([real_cluster.pid(name) for name in programs], lambda: attack(prober, rng, REQUESTS))
    assert prober.signed("GET", KEY).body == b"content"
    assert "unexpected failure" not in log.read_text()[said:]


def test_headers_without_an_end_are_not_kept(real_cluster: ClusterHarness, prober: SocketProber) -> None:
    """Whoever sends headers for ever is cut off before they take memory."""
    line = b"x-amz-meta-a: " + b"b" * 4000 + b"\r\n"

    def endless() -> None:
        for start in (
            b"GET /hostile HTTP/1.1\r\nHost: x\r\n",
            b"GET /hostile HTTP/1.1\r\nHost: x\r\nx-amz-meta-long: ",
        ):
            for _ in range(20):
                with Connection(real_cluster) as connection:
                    connection.send(start)
                    for _ in range(200):  # up to 16 MiB, of which the runner takes what fits into its buffer
                        connection.send(line * 20 if start.endswith(b"\r\n") else b"c" * 80_000)
                    status, _, _ = connection.answer(LONGEST_SECONDS)
                    assert status == 0 or 400 <= status < 500

    leaves_nothing([real_cluster.pid("client_proxy")], endless)
    assert prober.signed("GET", KEY).body == b"content"


def test_headers_that_dribble_in_hold_up_nobody(real_cluster: ClusterHarness, prober: SocketProber) -> None:
    """Hundreds of clients that send a byte of their headers a second are cut off after half a minute, and until then
    others are answered soon."""

    def dribble() -> None:
        with ExitStack() as slow:
            clients = [slow.enter_context(Connection(real_cluster, SLOW_ADDRESS)) for _ in range(SLOW)]
            for client in clients:
                client.send(b"GET /hostile/key HTTP/1.1\r\nHost: x\r\nx-amz-meta-a: ")
            began = time.monotonic()

            def all_cut() -> bool:
                for client in clients:
                    client.send(b"x")
                assert prober.signed("GET", KEY).body == b"content"  # and within the time that the prober allows
                return all(map(has_ended, clients))

            assert not all_cut()
            wait_until(all_cut, 4 * HEADERS_SECONDS, "that every slow client is cut off")
            assert time.monotonic() - began > HEADERS_SECONDS / 2  # it was the time that ended them

    leaves_nothing([real_cluster.pid("client_proxy")], dribble)


def has_ended(client: Any) -> bool:
    """Whether the proxy has answered or hung up."""
    try:
        client.answer(0.001)
    except TimeoutError:
        return False
    return True
