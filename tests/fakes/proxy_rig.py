"""A proxy's file store over the fake network, with its parts in reach of the test."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from client_proxy.core.blob_reader import BlobReader
from client_proxy.core.blob_writer import BlobWriter
from client_proxy.core.buffer_budget import DEFAULT_BUDGET_BYTES, BufferBudget
from client_proxy.core.cache import Cache
from client_proxy.core.chunk_upload import Upload
from client_proxy.core.directory_client import DirectoryClient
from client_proxy.core.requests import Read
from client_proxy.file_store import FileStore
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.writes import BeginItem
from tests.fakes.clock import ManualClock
from tests.fakes.network import DIRECTORY_URL, FakeDirectory, FakeNetwork
from tests.fakes.network_file_server import FakeFileServer


class ProxyRig:
    """Two file servers, one directory, one proxy. Pauses take no time: sleeping moves `clock`."""

    def __init__(self, folder: Path, *, budget_bytes: int = DEFAULT_BUDGET_BYTES, **cache_options: Any) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.network = FakeNetwork()
        self.directory = FakeDirectory(self.network)
        self.one = FakeFileServer(self.network, self.directory, "1")
        self.two = FakeFileServer(self.network, self.directory, "2")
        self.budget = BufferBudget(budget_bytes)
        self.client = DirectoryClient(
            self.network, DIRECTORY_URL, clock=self.clock, sleep=self.clock.advance, jitter=lambda: 0.5
        )
        self.cache = self.new_cache(**cache_options)
        self.reader = BlobReader(
            self.network, self.cache, self.client.report_damaged, budget=self.budget, clock=self.clock
        )
        self.writer = BlobWriter(
            self.client,
            Upload(self.network),
            self.cache,
            budget=self.budget,
            sleep=self.clock.advance,
            jitter=lambda: 0.5,
            monotonic=self.clock.monotonic,
        )
        self.files = FileStore(self.client, self.reader, self.writer, self.clock)

    def new_cache(self, **options: Any) -> Cache:
        """Open a cache on the rig's folder, as after a restart."""
        sealer = Sealer(KeyRing.load_or_create(self.folder / "cache-keys.json"))
        return Cache(self.folder / "cache", sealer, **{"clock": self.clock, **options})

    def publish(self, path: str, content: bytes, *servers: FakeFileServer) -> FileVersion:
        """Make `content` the current version of `path` as another proxy would, held by `servers` (default: both)."""
        for server in servers or (self.one, self.two):
            manifest = server.keep(content)
        write_id = f"published{len(self.directory.by_write_id):08}"
        item = BeginItem(credential="", write_id=write_id, bucket="files", path=path)
        return self.directory.commit(item, manifest.digest, manifest.size, (servers or (self.one,))[0].holder)

    def read(self, path: str) -> tuple[bytes, str]:
        """Read a file; return its content and whether the cache had it ("hit", "miss")."""
        with self.files.open(Read("ann", "files", path)) as opened:
            return b"".join(opened.blocks()), opened.receipt().cache

    def entries(self) -> list[Path]:
        """List the cache's files."""
        return sorted(file for file in (self.folder / "cache").rglob("*") if file.is_file())


@contextmanager
def proxy_rig(folder: Path, **options: Any) -> Iterator[ProxyRig]:
    """Make a rig, and end its threads with the block."""
    rig = ProxyRig(folder, **options)
    try:
        yield rig
    finally:
        rig.reader.close()


def noise(seed: int, size: int) -> bytes:
    """Return `size` random bytes, the same for the same seed."""
    return random.Random(seed).randbytes(size)
