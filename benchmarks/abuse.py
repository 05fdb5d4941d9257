"""What honest people's reads, writes and log-ins cost while one address abuses the cluster.

One honest client makes paced requests, first in quiet and then beside each abuse, so other load on the machine affects
both alike. All come from this machine: the abuse itself costs the cluster's processors what it costs the attacker.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import secrets
import ssl
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cluster import BenchmarkCluster
from benchmarks.load import Connection, Target
from benchmarks.measurements import Measurement

ROUNDS = 150
LOG_IN_EVERY = 15
PACE_SECONDS = 0.01
SMALL = 4096
LARGE = 4 * 1024 * 1024
ABUSER = "127.0.0.2"
RATE_LIMITS = "login=100/minute/address read=300/second/address write=150/second/account"
"""The default, and limits that the honest client stays below, as an operator of a shared proxy would set them."""
PASSWORD = "an abused word"
JSON = "Content-Type: application/json\r\n"
GOAL = 2.0
"""At most twice the quiet time."""
KIB_EACH = (64 + 64 * 2.5) * 1024 / 80
"""Of 80 unread replies, 16 are kept whole and at most 2.5 MiB of each other; a stalled body has far less."""
_addresses = (f"127.0.1.{number}" for number in itertools.count(1))


class Times(NamedTuple):
    """Milliseconds of each read, write and log-in."""

    read: list[float]
    write: list[float]
    log_in: list[float]


class BenchmarkPerson:
    """An account, made for this run."""

    def __init__(self, cluster: BenchmarkCluster, name: str) -> None:
        target = cluster.proxies[0]
        self.name = name
        self.stranger = Target(target.url, target.ca_file, {})
        administrator = Connection(target)
        body = json.dumps({"name": name, "password": PASSWORD}).encode()
        _ask(administrator, "POST", "/users", body)
        administrator.close()
        anonymous = Connection(self.stranger)
        self.token = json.loads(_ask(anonymous, "POST", "/auth/login", self.log_in()))["token"]
        anonymous.close()
        self.target = Target(target.url, target.ca_file, {"Authorization": f"Bearer {self.token}"})

    def log_in(self, password: str = PASSWORD) -> bytes:
        """The body of a log-in."""
        return json.dumps({"username": self.name, "password": password}).encode()


def _ask(connection: Connection, method: str, path: str, body: bytes = b"") -> bytes:
    """The reply's body; RuntimeError unless it is a success."""
    status, _, reply = connection.exchange(connection.prepare(method, f"/api/v1{path}", body, JSON if body else ""))
    if not 200 <= status < 300:
        raise RuntimeError(f"{method} {path} returned {status}: {reply[:300]!r}")
    return reply


def honest(person: BenchmarkPerson) -> Times:
    """Read, write and log in at a pace, as one person does. Each time from a new address, for the limit of log-ins."""
    address = next(_addresses)
    connection, anonymous = Connection(person.target, address), Connection(person.stranger, address)
    times = Times([], [], [])

    def timed(kind: list[float], call: Callable[[], object]) -> None:
        began = time.perf_counter()
        call()
        kind.append(1000 * (time.perf_counter() - began))

    for number in range(ROUNDS):
        timed(times.read, lambda: _ask(connection, "GET", "/files/files/abuse/read"))
        content = secrets.token_bytes(SMALL)
        timed(times.write, lambda content=content: _ask(connection, "PUT", "/files/files/abuse/write", content))  # type: ignore[misc]
        if number % LOG_IN_EVERY == 0:
            timed(times.log_in, lambda: _log_in(anonymous, person))
        time.sleep(PACE_SECONDS)
    connection.close()
    anonymous.close()
    return times


def _log_in(connection: Connection, person: BenchmarkPerson) -> None:
    """Log in as clients do: after a refusal, again when it says. That counts as a part of the time."""
    request = connection.prepare("POST", "/api/v1/auth/login", person.log_in(), JSON)
    while (status := connection.exchange(request)[0]) != 200:
        if status != 503:
            raise RuntimeError(f"a log-in returned {status}")
        time.sleep(1.0)


# ------------------------------------------------------------ abuses that are requests


class CrowdCount(NamedTuple):
    """What a crowd got."""

    served: int
    refused: int
    seconds: float


Refused = Callable[[int], bool]


@contextmanager
def _crowd(
    target: Target, size: int, request: Callable[[Connection, int], bytes], pause: float, counts: list[CrowdCount]
) -> Iterator[None]:
    """`size` clients of one address in a process of their own; each asks again after `pause` seconds."""
    context = multiprocessing.get_context("fork")
    over, answers = context.Event(), context.Queue()
    process = context.Process(target=_ask_for_ever, args=(target, size, request, pause, over, answers))
    process.start()
    answers.get(timeout=120)  # all are connected
    try:
        yield
    finally:
        over.set()
        counts.append(answers.get(timeout=120))
        process.join()


def _ask_for_ever(
    target: Target,
    size: int,
    request: Callable[[Connection, int], bytes],
    pause: float,
    over: Any,
    answers: Any,
) -> None:
    connections = [Connection(target, ABUSER) for _ in range(size)]
    answers.put("connected")
    statuses: list[int] = []
    began = time.perf_counter()

    def repeat(connection: Connection, first: int) -> None:
        for number in itertools.count(first, size):
            if over.is_set():
                return
            try:
                statuses.append(connection.exchange(request(connection, number))[0])
            except (OSError, ssl.SSLError):
                with suppress(OSError):
                    connection = Connection(target, ABUSER)
            over.wait(pause)

    threads = [threading.Thread(target=repeat, args=(one, number)) for number, one in enumerate(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = sum(status in (429, 503, 507) for status in statuses)
    answers.put(CrowdCount(len(statuses) - refused, refused, time.perf_counter() - began))


def _log_ins(person: BenchmarkPerson, counts: list[CrowdCount]) -> Any:
    body = person.log_in("a wrong one")
    return _crowd(
        person.stranger, 180, lambda one, _: one.prepare("POST", "/api/v1/auth/login", body, JSON), 1.0, counts
    )


def _locks(person: BenchmarkPerson, counts: list[CrowdCount]) -> Any:
    """As fast as they go; after the 5000th, each is refused."""

    def request(connection: Connection, number: int) -> bytes:
        body = json.dumps({"paths": [f"files/abuse/lock-{number}"], "lease_seconds": 600}).encode()
        return connection.prepare("POST", "/api/v1/locks", body, JSON)

    return _crowd(person.target, 4, request, 0.0, counts)


def _followers(person: BenchmarkPerson, counts: list[CrowdCount]) -> Any:
    path = "/api/v1/changes?wait=20"
    return _crowd(person.target, 64, lambda one, _: one.prepare("GET", path), 1.0, counts)


def _flood(person: BenchmarkPerson, counts: list[CrowdCount]) -> Any:
    path = "/api/v1/files/files/abuse/read"
    return _crowd(person.target, 32, lambda one, _: one.prepare("GET", path), 0.0, counts)


# ------------------------------------------------------------ abuses that stall


@contextmanager
def _stalled(person: BenchmarkPerson, count: int, request: Callable[[Connection], bytes]) -> Iterator[None]:
    """`count` clients that send this and nothing more, and read nothing. A client that is cut off comes again."""
    with ExitStack() as stack:
        over = threading.Event()
        connections = [Connection(person.target, ABUSER) for _ in range(count)]
        for connection in connections:
            connection.send(request(connection))

        def renew() -> None:
            while not over.wait(5.0):
                for number, old in enumerate(connections):
                    with suppress(OSError):
                        connections[number] = Connection(person.target, ABUSER)
                        connections[number].send(request(connections[number]))
                        old.close()

        thread = threading.Thread(target=renew)
        thread.start()
        stack.callback(lambda: [connection.close() for connection in connections])
        stack.callback(thread.join)
        stack.callback(over.set)
        yield


def _bodies(person: BenchmarkPerson, _: list[CrowdCount]) -> Any:
    def request(connection: Connection) -> bytes:
        whole = connection.prepare("PUT", "/api/v1/files/files/abuse/stalled", bytes(900_000))
        return whole[: len(whole) - 900_000 + 1]

    return _stalled(person, 120, request)


def _unread(person: BenchmarkPerson, _: list[CrowdCount]) -> Any:
    return _stalled(person, 80, lambda one: one.prepare("GET", "/api/v1/files/files/abuse/large"))


class Abuse(NamedTuple):
    name: str
    begin: Callable[[BenchmarkPerson, list[CrowdCount]], Any]
    stalls: int = 0
    """How many clients stall, for the memory of each."""


ABUSES = (
    Abuse("180 parallel log-ins a second", _log_ins),
    Abuse("120 stalled one-byte bodies", _bodies, 120),
    Abuse("80 unread replies of 4 MiB", _unread, 80),
    Abuse("64 followers of the journal", _followers),
    Abuse("a flood of reads, 32 clients", _flood),
    Abuse("as many locks as possible, 4 clients", _locks),
)


def measure(folder: Path) -> Iterable[Measurement]:
    """Measure all abuses on a cluster of their own."""
    cluster = BenchmarkCluster(folder, LOCKSTEP_PROXY_RATE_LIMIT=RATE_LIMITS)
    try:
        person, abuser = BenchmarkPerson(cluster, "honest"), BenchmarkPerson(cluster, "abuser")
        setup = Connection(person.target)
        _ask(setup, "PUT", "/files/files/abuse/read", os.urandom(SMALL))
        _ask(setup, "PUT", "/files/files/abuse/large", os.urandom(LARGE))
        setup.close()
        honest(person)  # warm
        for abuse in ABUSES:
            yield from _beside(cluster, person, abuser, abuse)
    finally:
        cluster.stop()


def _beside(
    cluster: BenchmarkCluster, person: BenchmarkPerson, abuser: BenchmarkPerson, abuse: Abuse
) -> Iterator[Measurement]:
    quiet = honest(person)
    counts: list[CrowdCount] = []
    before = cluster.resident_bytes(person.target.url)
    with abuse.begin(abuser, counts):
        time.sleep(1.0)
        grown = cluster.resident_bytes(person.target.url) - before
        abused = honest(person)
    for kind, calm, beside in zip(("reads", "writes", "log-ins"), quiet, abused, strict=True):
        middle, tail = (_percentile(beside, part) / _percentile(calm, part) for part in (50, 99))
        detail = (
            f"p50 ×{middle:.2f} ({_percentile(calm, 50):.1f} to {_percentile(beside, 50):.1f} ms), p99 ×{tail:.2f} "
            f"({_percentile(calm, 99):.1f} to {_percentile(beside, 99):.1f} ms)"
        )
        yield Measurement(f"{kind} beside {abuse.name}", middle, "× the quiet p50", GOAL, "less", detail)
    if abuse.stalls:
        each = grown / abuse.stalls / 1024
        yield Measurement(f"memory of {abuse.name}", each, "KiB each", KIB_EACH, "less", f"{grown >> 20} MiB in all")
    for count in counts:
        rate = count.refused / count.seconds
        detail = f"{count.served} served, {count.refused} refused in {count.seconds:.0f} s"
        yield Measurement(f"refusals of {abuse.name}", rate, "/s", 1, "more", detail)


def _percentile(values: list[float], part: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[part - 1]
