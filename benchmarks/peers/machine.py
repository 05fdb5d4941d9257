"""The machine's limits in this run, which the JSON file has beside the results."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.limits import BareServer, disk_write_rate

MIB = 1 << 20
CLIENTS = 8


def description() -> dict[str, Any]:
    """A description of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": os.cpu_count(),
        "processor": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "memory_mib": memory // MIB,
    }


def limits(folder: Path, seconds: float, written_bytes: int) -> dict[str, float]:
    """The rates of the disk, of TLS and of the bare HTTPS runner, each measured alone."""
    bare = BareServer(folder / "bare")
    try:
        return {
            "flushes_per_second": _flushes(folder, seconds),
            "disk_write_bytes_per_second": disk_write_rate(folder, written_bytes),
            "bare_route_requests_per_second": bare.route_rate(CLIENTS, seconds).rate,
            "tls_stream_bytes_per_second": bare.stream_rate(written_bytes),
        }
    finally:
        bare.stop()


def _flushes(folder: Path, seconds: float) -> float:
    """4 KiB written and flushed, one after the other."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        block, count, started = os.urandom(4096), 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < seconds:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            count += 1
        return count / taken
