"""The engines that the chunk store suites run against, and the fixtures that open them.

A new engine needs an entry in `ENGINES`, and nothing else here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from file_server.store.chunk_store import ChunkStore
from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.digest import Digest
from tests.fakes.clock import ManualClock
from tests.fakes.older_storage import names_of

Damage = tuple[Digest, list[Digest]]
"""A damaged chunk, and the blobs it is part of."""


class Engine(Protocol):
    """One engine's storage, which outlives every store that is opened on it."""

    def open(self, clock: Clock, on_damage: Callable[[Digest, list[Digest]], None]) -> ChunkStore: ...

    def damage(self, digest: Digest) -> None:
        """Change a bit of a stored chunk behind the back of the open store."""
        ...

    def objects(self) -> int:
        """Count the objects (such as files) that hold chunks, finished or not."""
        ...


class LocalEngine:
    """Chunks larger than 64 KiB on this machine's disk are files; the suites damage only those."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._data = root / "data"

    def open(self, clock: Clock, on_damage: Callable[[Digest, list[Digest]], None]) -> LocalChunkStore:
        sealer = Sealer(KeyRing.load_or_create(self._root / "keys.json"))
        return LocalChunkStore(DiskLayout.open(self._data), sealer, clock=clock, on_damage=on_damage)

    def damage(self, digest: Digest) -> None:
        path = DiskLayout(self._data).chunk_file(names_of(self._data, self._root / "keys.json").name(digest))
        sealed = bytearray(path.read_bytes())
        sealed[100] ^= 1
        path.write_bytes(sealed)

    def objects(self) -> int:
        folders = (self._data / "incoming", self._data / "chunks")
        return sum(path.is_file() for folder in folders for path in folder.rglob("*"))


ENGINES: dict[str, Callable[[Path], Engine]] = {"local": LocalEngine}


class Storage:
    """An engine with a clock that is moved and a list of what was reported; `open` again is a restart."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.engine = ENGINES[name](root)
        self.clock = ManualClock()
        self.reported: list[Damage] = []
        self._store: ChunkStore | None = None

    def open(self) -> ChunkStore:
        self.close()
        self._store = self.engine.open(self.clock, lambda chunk, blobs: self.reported.append((chunk, blobs)))
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


@pytest.fixture(params=ENGINES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    storage = Storage(request.param, tmp_path)
    yield storage
    storage.close()


@pytest.fixture
def store(storage: Storage) -> ChunkStore:
    return storage.open()
