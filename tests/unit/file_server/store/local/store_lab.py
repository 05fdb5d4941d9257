"""A chunk store, its disk, and ways to look behind its back."""

from __future__ import annotations

from pathlib import Path

from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.index_transaction import INLINE
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.digest import Digest
from tests.fakes.clock import ManualClock
from tests.fakes.disk import BrokenDisk

SMALL, LARGE = 1000, 200_000


class Lab:
    """A store with a disk that breaks, a clock that is moved, and a list of reported damage."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.disk = BrokenDisk()
        self.clock = ManualClock()
        self.reported: list[tuple[Digest, list[Digest]]] = []
        self.store = self.open()

    def open(self) -> LocalChunkStore:
        self.store = LocalChunkStore(
            DiskLayout.open(self.data),
            Sealer(KeyRing.load_or_create(self.keys)),
            clock=self.clock,
            disk=self.disk,
            reserve_bytes=0,
            on_damage=lambda chunk, blobs: self.reported.append((chunk, blobs)),
        )
        return self.store

    @property
    def keys(self) -> Path:
        """The storage keys."""
        return self.root / "keys.json"

    def files(self, folder: str) -> list[Path]:
        return [path for path in (self.data / folder).rglob("*") if path.is_file()]

    def change_inline(self, digest: Digest, change: object) -> None:
        row = self.store._index.chunk(digest)
        assert row is not None
        assert row.place == INLINE
        assert row.sealed is not None
        damaged = change(row.sealed)  # type: ignore[operator]
        self.store._index.submit(lambda tx: tx._run("UPDATE inline SET sealed = ? WHERE chunk = ?", (damaged, row.id)))

    def limit_index(self, size: int) -> None:
        """Let the index grow to about `size` bytes and no further, or not at all beyond what it has."""
        writer = self.store._index._writer
        pages = max(1, size // 4096)
        self.store._index.submit(lambda _: writer.execute(f"PRAGMA max_page_count = {pages}").fetchall() and None)

    def change_file(self, digest: Digest, change: object) -> None:
        path = self.store._files.path(digest)
        path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
