"""The measurements through the HTTPS API. Each function makes one, and compares it with a limit."""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.cluster import BenchmarkCluster
from benchmarks.limits import GIB, BareServer, disk_write_rate, download_rate
from benchmarks.load import Connection, Noise, Result, run, upload

SMALL = 4096
UPLOADS_AT_A_TIME = 8
MIB = 1 << 20


class Measurement(NamedTuple):
    """A result, mostly as a ratio to a limit. `goal` is its lower bound if `better` is "more", else its upper bound."""

    name: str
    value: float
    unit: str
    goal: float
    better: str
    """"more" or "less"."""
    detail: str

    @property
    def reached(self) -> bool:
        return self.value >= self.goal if self.better == "more" else self.value <= self.goal


def _checked(connection: Connection, request: bytes, accepted: tuple[int, ...] = (200, 201)) -> bytes:
    status, _, body = connection.exchange(request)
    if status not in accepted:
        raise RuntimeError(f"{request[:60]!r} returned {status}: {body[:300]!r}")
    return body


def small_reads(cluster: BenchmarkCluster, bare: Result, clients: int, seconds: float) -> Measurement:
    """4 KiB reads of cached files, under read leases as soon as they are hot."""
    setup = Connection(cluster.proxies[0])
    for number in range(clients):
        _checked(setup, setup.prepare("PUT", f"/api/v1/files/files/bench/read-{number}", os.urandom(SMALL)))
        _checked(setup, setup.prepare("GET", f"/api/v1/files/files/bench/read-{number}"))
    setup.close()

    def work(connection: Connection, number: int) -> Callable[[], None]:
        request = connection.prepare("GET", f"/api/v1/files/files/bench/read-{number}")

        def operation() -> None:
            if len(_checked(connection, request)) != SMALL:
                raise RuntimeError("a short read")

        return operation

    result = run(cluster.proxies[0], work, clients, seconds)
    return Measurement(
        "4 KiB cached reads",
        result.rate / bare.rate,
        "of a bare Flask route",
        0.25,
        "more",
        f"{result.rate:,.0f}/s, p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms; bare {bare.rate:,.0f}/s",
    )


def small_writes(cluster: BenchmarkCluster, bare: Result, clients: int, seconds: float) -> Measurement:
    """4 KiB writes of new content, with two copies on disk before the reply."""

    def work(connection: Connection, number: int) -> Callable[[], None]:
        count = [0]

        def operation() -> None:
            count[0] += 1
            path = f"/api/v1/files/files/bench/write-{number}-{count[0] % 50}"
            _checked(connection, connection.prepare("PUT", path, secrets.token_bytes(SMALL)))

        return operation

    result = run(cluster.proxies[0], work, clients, seconds)
    return Measurement(
        "4 KiB durable two-copy writes",
        result.rate / bare.rate,
        "of a bare Flask route",
        0.06,
        "more",
        f"{result.rate:,.0f}/s, p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms",
    )


def locks(cluster: BenchmarkCluster, bare: Result, seconds: float) -> Measurement:
    """Acquiring and releasing locks, by 8 clients on different paths."""

    def work(connection: Connection, number: int) -> Callable[[], None]:
        body = json.dumps({"paths": [f"files/bench/lock-{number}"], "wait_seconds": 0}).encode()
        acquire = connection.prepare("POST", "/api/v1/locks", body, "Content-Type: application/json\r\n")

        def operation() -> None:
            lock = json.loads(_checked(connection, acquire))["lock"]
            _checked(connection, connection.prepare("DELETE", f"/api/v1/locks/{lock['id']}"), (200, 204))

        return operation

    result = run(cluster.proxies[0], work, 8, seconds)
    return Measurement(
        "lock acquire and release, 8 clients",
        result.rate / bare.rate,
        "of a bare Flask route",
        0.08,
        "more",
        f"{result.rate:,.0f} pairs/s, p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms",
    )


def make_file(path: Path, size: int, seed: int) -> None:
    """A file of random content."""
    rng = random.Random(seed)
    with path.open("wb") as file:
        left = size
        while left:
            block = rng.randbytes(min(left, 8 * MIB))
            file.write(block)
            left -= len(block)


def large_file(cluster: BenchmarkCluster, bare: BareServer, folder: Path, size: int) -> list[Measurement]:
    """Upload, a one-byte edit, and a cached download of one large file."""
    disk = disk_write_rate(folder)
    stream = bare.stream_rate(size)
    source = folder / "large"
    make_file(source, size, 1)
    started = time.perf_counter()
    cluster.lockstep("put", str(source), "bench/large")
    first = time.perf_counter() - started

    with source.open("r+b") as file:
        file.seek(size // 2)
        byte = file.read(1)
        file.seek(size // 2)
        file.write(bytes([byte[0] ^ 1]))
    hops = {
        "client to proxy": ("client_proxy", "lockstep_client_proxy_received_bytes_total"),
        "proxy to master": ("client_proxy", "lockstep_client_proxy_sent_bytes_total"),
        "master to replicas": ("file_server", 'lockstep_file_server_received_bytes_total{hop="replica"}'),
    }
    before = {hop: cluster.metric(*metric) for hop, metric in hops.items()}
    started = time.perf_counter()
    cluster.lockstep("put", str(source), "bench/large")
    edit = time.perf_counter() - started
    sent = {hop: cluster.metric(*metric) - before[hop] for hop, metric in hops.items()}

    path = "/api/v1/files/files/bench/large"
    before_fetch = cluster.metric("client_proxy", "lockstep_client_proxy_fetched_bytes_total")
    download_rate(cluster.proxies[0], path, size)
    cold_bytes = cluster.metric("client_proxy", "lockstep_client_proxy_fetched_bytes_total") - before_fetch
    cached = download_rate(cluster.proxies[0], path, size)
    with source.open("r+b") as file:
        file.seek(size // 3)
        file.write(b"\x55\xaa")
    cluster.lockstep("put", str(source), "bench/large", proxy=1)
    before_fetch = cluster.metric("client_proxy", "lockstep_client_proxy_fetched_bytes_total")
    download_rate(cluster.proxies[0], path, size)
    sent["replica to proxy"] = (
        cluster.metric("client_proxy", "lockstep_client_proxy_fetched_bytes_total") - before_fetch
    )
    gib = size / GIB
    return [
        Measurement(
            f"{gib:.2g} GiB upload, two copies fsynced",
            size / first / (disk / 2),
            "of half the disk's write rate",
            0.4,
            "more",
            f"{size / first / 1e6:,.0f} MB/s; disk {disk / 1e6:,.0f} MB/s",
        ),
        Measurement(
            f"{gib:.2g} GiB cached download",
            cached / stream,
            "of one TLS stream's rate",
            0.4,
            "more",
            f"{cached / 1e6:,.0f} MB/s; stream {stream / 1e6:,.0f}; the cold one fetched {cold_bytes / MIB:,.0f} MiB",
        ),
        Measurement(
            f"one-byte edit in {gib:.2g} GiB, most sent on one hop",
            max(sent.values()) / MIB,
            "MiB",
            8.0,
            "less",
            ", ".join(f"{hop} {count / MIB:.2f}" for hop, count in sent.items()),
        ),
        Measurement(
            f"one-byte edit in {gib:.2g} GiB, time",
            edit / first,
            "of the first upload",
            0.1,
            "less",
            f"{edit:.2f} s; first {first:.2f} s (both with the command's own start)",
        ),
    ]


def warm_start(cluster: BenchmarkCluster) -> Measurement:
    """The time from the command to six healthy programs with existing data; the median of five."""
    seconds = sorted(cluster.start_again() for _ in range(5))
    shown = f"{seconds[0]:.1f} to {seconds[-1]:.1f} s"
    return Measurement("warm start of the whole cluster", seconds[2], "s", 5.0, "less", shown)


def memory(cluster: BenchmarkCluster, folder: Path, size: int) -> Measurement:
    """The peak resident memory of any program after a large upload and download."""
    source = folder / "huge"
    make_file(source, size, 2)
    cluster.lockstep("put", str(source), "bench/huge")
    source.unlink()
    download_rate(cluster.proxies[1], "/api/v1/files/files/bench/huge", size)
    return peak_memory(cluster, f"{size / GIB:.2g} GiB up and down")


def parallel_uploads(cluster: BenchmarkCluster, size: int) -> Measurement:
    """The peak resident memory of any program during parallel uploads of `size` bytes in total."""

    def send(number: int) -> None:
        path = f"/api/v1/files/files/bench/at-a-time-{number}"
        upload(cluster.proxies[0], path, Noise(size // UPLOADS_AT_A_TIME), size // UPLOADS_AT_A_TIME)

    cluster.forget_peaks()
    started = time.perf_counter()
    with ThreadPoolExecutor(UPLOADS_AT_A_TIME) as pool:
        list(pool.map(send, range(UPLOADS_AT_A_TIME)))
    rate = size / (time.perf_counter() - started)
    what = f"{size / GIB:.2g} GiB up, {UPLOADS_AT_A_TIME} files at a time"
    return peak_memory(cluster, what, f"{rate / 1e6:,.0f} MB/s up; ")


def peak_memory(cluster: BenchmarkCluster, what: str, detail: str = "") -> Measurement:
    """The largest peak resident memory of all programs."""
    peaks = cluster.peak_resident_bytes()
    shown = ", ".join(f"{name} {peak / 1e6:.0f}" for name, peak in sorted(peaks.items()))
    return Measurement(f"{what}, most memory resident", max(peaks.values()) / 1e6, "MB", 200.0, "less", detail + shown)
