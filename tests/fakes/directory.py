"""A directory's store with fake file servers and blobs, on a clock that the test moves."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import bindparam, insert, update

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.membership import Membership
from directory_server.metadata.schema import blob, holder
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import servers
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.messages.servers import HeartbeatRequest, RegisterRequest
from tests.fakes.clock import ManualClock
from tests.fakes.metadata_engines import open_metadata

GIB = 1 << 30
INSERT_BLOB = Statement(insert(blob).values(digest=bindparam("digest"), size=bindparam("size"), refs=bindparam("refs")))
INSERT_HOLDER = Statement(
    insert(holder).values(digest=bindparam("digest"), server_id=bindparam("server_id"), rank=bindparam("rank"))
)
_SET_REFS = Statement(update(blob).where(blob.c.digest == bindparam("of")).values(refs=bindparam("count")))


class FakeDirectory:
    """`servers` is a mapping of id to zone; each registers and sends one heartbeat."""

    def __init__(self, folder: Path, servers: dict[str, str] | None = None) -> None:
        self.machine = ManualClock(start=500.0)
        self._path = folder / "metadata.db"
        self.zones = servers or {}
        self.stores: dict[str, str] = {}
        self.open(0.0)
        for id, zone in self.zones.items():
            self.register(id, zone)
        self.beat(*self.zones)

    def open(self, saved: float) -> None:
        self.clock = DirectoryClock(self.machine, saved)
        self.store = open_metadata(self._path)
        self.membership = Membership(self.store, self.clock)

    def restart(self) -> None:
        saved = self.clock.now()
        self.store.close()
        self.open(saved)

    def register(self, id: str, zone: str = "", store: str = "") -> None:
        self.membership.register(id, RegisterRequest(self.url(id), store or f"store of {id}", zone))

    def beat(self, *ids: str, **changes: object) -> bool:
        """Send a heartbeat of each server; return whether all were known."""
        known = [self.membership.heartbeat(id, self.report(id, **changes)) for id in ids]
        return all(known)

    def report(self, id: str, **changes: object) -> HeartbeatRequest:
        store_id = self.stores.get(id) or f"store of {id}"
        facts: dict[str, object] = {
            "url": self.url(id), "store_id": store_id, "capacity_bytes": 100 * GIB, "free_bytes": 64 * GIB,
            "blobs": 0, "stored_bytes": 0, "healthy": True, "inventoried": True,
        }  # fmt: skip
        return HeartbeatRequest(**{**facts, **changes})  # type: ignore[arg-type]

    def url(self, id: str) -> str:
        return f"https://host-{id}:5060"

    def pass_time(self, seconds: float, *beating: str) -> None:
        """Let time pass second by second, with heartbeats of the servers in `beating`."""
        for _ in range(int(seconds)):
            self.machine.advance(1.0)
            self.beat(*beating)

    def add_blob(self, name: str, *holders: str, refs: int = 1, size: int = 1000) -> Digest:
        digest = chunk_digest(name.encode())

        def add(tx):  # type: ignore[no-untyped-def]
            tx.run(INSERT_BLOB, digest=digest, size=size, refs=refs)
            for rank, id in enumerate(holders):
                tx.run(INSERT_HOLDER, digest=digest, server_id=id, rank=rank)

        self.store.write(add)
        return digest

    def set_refs(self, digest: Digest, refs: int) -> None:
        self.store.write(lambda tx: tx.run(_SET_REFS, of=digest, count=refs))

    def holders(self, digest: Digest) -> list[str]:
        with self.store.read() as reader:
            return servers.holders_of(reader, digest)
