"""A proxy is killed while a program writes through the mount, and comes back seven seconds later."""

from __future__ import annotations

import os
import threading
import time

from benchmarks.cluster import BenchmarkCluster
from benchmarks.mounts.steps import CUT_SECONDS, LARGE_BYTES, MIB, Cut, Took, Workplace

AWAY_SECONDS = 7.0
WRITING_SECONDS = 1.0
"""From the beginning of the write to the end of the proxy."""


def write_through_an_outage(cluster: BenchmarkCluster, place: Workplace) -> Took:
    """Seconds from the proxy's return until fsync and close reported success, or failure."""
    ended: list[tuple[float, str]] = []

    def write() -> None:
        said = "ok"
        try:
            with open(place.first / "outage", "wb", buffering=0) as target:
                for _ in range(LARGE_BYTES // MIB):
                    target.write(os.urandom(MIB))
                os.fsync(target.fileno())
        except OSError as error:
            said = f"fails: {error.strerror}"
        ended.append((time.perf_counter(), said))

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(WRITING_SECONDS)
    killed = time.perf_counter()
    with cluster.without(cluster.proxies[0].url):
        time.sleep(AWAY_SECONDS)
    back = time.perf_counter()
    writer.join(CUT_SECONDS)
    if not ended:
        raise Cut(f"still writing {CUT_SECONDS:.0f} s after the proxy's return")
    at, said = ended[0]
    if at < back:
        return Took(0.0, note=f"{said}, {at - killed:.1f} s after the proxy was killed")
    if said == "ok" and (place.first / "outage").stat().st_size != LARGE_BYTES:
        said = "ok, but not all bytes are there"
    return Took(at - back, note=said)
