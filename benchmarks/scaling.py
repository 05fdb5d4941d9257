"""Measures whether the directory's work costs the same in a large namespace as in a small one.

It calls the real rules and metadata store in this process, because the cost of network calls would hide the
difference.
"""

from __future__ import annotations

import itertools
import json
import secrets
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.measurements import Measurement
from directory_server.bootstrap import DirectoryServer
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.settings import Settings
from lockstep_store.runtime.clock import SystemClock
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.runtime.tls.identity import ensure_authority
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.messages.files import ListRequest, LookupItem
from lockstep_store.wire.messages.servers import CommitItem, HeartbeatRequest, RegisterRequest
from lockstep_store.wire.messages.writes import BeginItem

SMALL = 1000
ROUNDS = 300


class _InProcess:
    """A directory with three file servers that only send heartbeats."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data=folder / "directory", certs=folder / "certs")
        settings.data.mkdir(parents=True)
        authority = ensure_authority(settings.certs)
        self.rules = DirectoryServer(
            settings,
            SqliteStore(settings.metadata_file),
            authority,
            settings.certs / "storage-keys.json",
            SystemClock(),
        )
        self.key = json.loads(settings.credentials_file.read_text())["api_key"]
        for id in ("1", "2", "3"):
            url, store = f"https://127.0.0.1:{id}", f"store-{id}"
            self.rules.membership.register(id, RegisterRequest(url, store))
        self.stay_up()
        self.rules.add_job(BackgroundJob("heartbeats", self._beat))
        self.rules.start()

    def _beat(self) -> float:
        self.stay_up()
        return 1.0

    def write(self, number: int) -> None:
        """Begin and commit a file, as a proxy and a master do."""
        digest = chunk_digest(secrets.token_bytes(16))
        item = BeginItem(
            self.key, secrets.token_hex(16), "files", f"folder-{number % 97}/file-{number:07d}", 16, digest
        )
        begun = self.rules.writes.begin([item]).results[0].unwrap()
        assert begun.ticket is not None
        assert begun.master is not None
        ids = [begun.master.id, *(id for id in ("1", "2", "3") if id != begun.master.id)][:2]
        reply = self.rules.commits.commit([CommitItem(begun.ticket, digest, 16, ids)], begun.master.id)
        reply.results[0].unwrap()

    def stay_up(self) -> None:
        """Send the servers' heartbeats, which are due during the measurement."""
        for id in ("1", "2", "3"):
            request = HeartbeatRequest(f"https://127.0.0.1:{id}", f"store-{id}", 1 << 40, 1 << 40, 0, 0, True)
            self.rules.membership.heartbeat(id, request)

    def fill(self, numbers: Iterable[int]) -> None:
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(self.write, numbers))


class _Operations:
    """The measured operations in a namespace of `count` files: lookup, listing, commit."""

    def __init__(self, directory: _InProcess, count: int) -> None:
        self._directory, self._count = directory, count
        self._step = max(1, count // ROUNDS)
        self._fresh = itertools.count(10_000_000)

    def lookup(self, number: int) -> None:
        place = number * self._step % self._count
        item = LookupItem(self._directory.key, "files", f"folder-{place % 97}/file-{place:07d}")
        self._directory.rules.lookups.lookup([item]).results[0].unwrap()

    def listing(self, number: int) -> None:
        prefix = f"folder-{number % 97}/"
        self._directory.rules.lookups.list(ListRequest(self._directory.key, "files", prefix=prefix, limit=10))

    def commit(self, number: int) -> None:
        self._directory.write(next(self._fresh))


def _timed(operation: Callable[[int], None], number: int) -> float:
    started = time.perf_counter()
    operation(number)
    return time.perf_counter() - started


def measure(folder: Path, files: int) -> list[Measurement]:
    """The median times of a lookup, a page of 10, and a begin and commit, with 1,000 files and with `files`.

    The two namespaces are measured in turns, so that other load on the machine affects both.
    """
    small, large = _InProcess(folder / "small"), _InProcess(folder / "large")
    small.fill(range(SMALL))
    large.fill(range(files))
    few, many = _Operations(small, SMALL), _Operations(large, files)
    results = []
    for name in ("lookup", "listing", "commit"):
        pairs = [(_timed(getattr(few, name), n), _timed(getattr(many, name), n)) for n in range(ROUNDS)]
        low, high = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        results.append(
            Measurement(
                f"{name} at {files:,} files",
                high / low,
                f"times that at {SMALL:,}",
                1.5,
                "less",
                f"{low * 1e6:.0f} µs, then {high * 1e6:.0f} µs",
            )
        )
    small.rules.stop()
    large.rules.stop()
    return results
