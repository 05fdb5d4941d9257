"""Statements about file servers and holders of blobs, for membership, repair and garbage collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, false, func, insert, select, update

from directory_server.metadata.schema import blob, dropped, file_server, holder
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.digest import Digest


@dataclass(frozen=True)
class ServerRow:
    """A registered file server; `state` is up, draining or removed."""

    id: str
    url: str
    store_id: str
    zone: str
    version: str
    state: str
    registered_at: float


class Blob(NamedTuple):
    """A blob's size, and how many versions and parts refer to it."""

    size: int
    refs: int


@dataclass(frozen=True)
class HeldBlob:
    """A blob with references, and its holders in rank order; `damaged` holders have a copy that failed its check."""

    digest: Digest
    size: int
    holders: tuple[str, ...]
    damaged: tuple[str, ...] = ()

    @property
    def sound(self) -> tuple[str, ...]:
        """The holders of copies that are not marked as damaged."""
        return tuple(id for id in self.holders if id not in self.damaged) if self.damaged else self.holders


_SERVER = (
    file_server.c.id,
    file_server.c.url,
    file_server.c.store_id,
    file_server.c.zone,
    file_server.c.version,
    file_server.c.state,
    file_server.c.registered_at,
)
_SERVERS = Statement(select(*_SERVER).order_by(file_server.c.id))
_INSERT_SERVER = Statement(insert(file_server).values({c.name: bindparam(c.name) for c in _SERVER}))
_UPDATE_SERVER = Statement(
    update(file_server)
    .where(file_server.c.id == bindparam("of_id"))
    .values({c.name: bindparam(f"new_{c.name}") for c in _SERVER[1:]})
)
_SAVE_USAGE = Statement(
    update(file_server)
    .where(file_server.c.id == bindparam("of_id"))
    .values(
        capacity_bytes=bindparam("capacity"),
        free_bytes=bindparam("free"),
        blobs=bindparam("blob_count"),
        stored_bytes=bindparam("stored"),
        problem=bindparam("new_problem"),
    )
)
_HELD_BY = Statement(
    select(holder.c.digest).where(holder.c.server_id == bindparam("server_id")).limit(bindparam("limit"))
)
_DIGESTS_HELD_BY = Statement(
    select(holder.c.digest)
    .where(holder.c.server_id == bindparam("server_id"), holder.c.digest > bindparam("after"))
    .order_by(holder.c.digest)
    .limit(bindparam("limit"))
)
_COUNTS = Statement(
    select(holder.c.server_id, func.count())
    .join(blob, blob.c.digest == holder.c.digest)
    .where(~holder.c.damaged, blob.c.refs > 0)
    .group_by(holder.c.server_id)
)


def _held(table: Any) -> Any:
    return (table.c.digest == bindparam("digest")) & (table.c.server_id == bindparam("server_id"))


_DROP_HOLDER = Statement(delete(holder).where(_held(holder)))
_SET_DAMAGED = Statement(
    update(holder)
    .where((holder.c.digest == bindparam("of_digest")) & (holder.c.server_id == bindparam("of_server")))
    .values(damaged=bindparam("now_damaged"))
)
_HOLDERS = Statement(
    select(holder.c.server_id, holder.c.rank, holder.c.damaged)
    .where(holder.c.digest == bindparam("digest"))
    .order_by(holder.c.rank, holder.c.server_id)
)
_ADD_HOLDER = Statement(
    insert(holder).values(
        digest=bindparam("digest"), server_id=bindparam("server_id"), rank=bindparam("rank"), damaged=false()
    )
)
_BLOB = Statement(select(blob.c.size, blob.c.refs).where(blob.c.digest == bindparam("digest")))
_DROP_BLOB = Statement(delete(blob).where((blob.c.digest == bindparam("digest")) & (blob.c.refs == 0)))
_REMEMBER_DROP = Statement(
    insert(dropped).values(digest=bindparam("digest"), server_id=bindparam("server_id"), dropped_time=bindparam("time"))
)
_DROP_AGAIN = Statement(
    update(dropped)
    .where((dropped.c.digest == bindparam("of_digest")) & (dropped.c.server_id == bindparam("of_server")))
    .values(dropped_time=bindparam("time"))
)
_WAS_DROPPED = Statement(
    select(dropped.c.digest).where(_held(dropped) & (dropped.c.dropped_time >= bindparam("since")))
)
_LATEST_DROP = Statement(select(func.max(dropped.c.dropped_time)))
_FORGET_DROPS = Statement(delete(dropped).where(dropped.c.dropped_time < bindparam("before")))
_page = (
    select(blob.c.digest, blob.c.size)
    .where((blob.c.digest > bindparam("after")) & (blob.c.refs > 0))
    .order_by(blob.c.digest)
    .limit(bindparam("limit"))
    .subquery()
)
_PAGE_OF_BLOBS = Statement(
    select(_page.c.digest, _page.c.size, holder.c.server_id, holder.c.damaged)
    .select_from(_page.outerjoin(holder, holder.c.digest == _page.c.digest))
    .order_by(_page.c.digest, holder.c.rank, holder.c.server_id)
)


# ---------------------------------------------------------------- file servers


def all_servers(reader: Reader) -> list[ServerRow]:
    return [ServerRow(*row) for row in reader.all(_SERVERS)]


def save_server(tx: Tx, row: ServerRow) -> None:
    """Insert or update a server's row; its totals stay."""
    changed = tx.run(
        _UPDATE_SERVER,
        of_id=row.id,
        new_url=row.url,
        new_store_id=row.store_id,
        new_zone=row.zone,
        new_version=row.version,
        new_state=row.state,
        new_registered_at=row.registered_at,
    )
    if not changed:
        tx.run(
            _INSERT_SERVER,
            id=row.id,
            url=row.url,
            store_id=row.store_id,
            zone=row.zone,
            version=row.version,
            state=row.state,
            registered_at=row.registered_at,
        )


def save_usage(tx: Tx, id: str, capacity: int, free: int, blobs: int, stored: int, problem: str) -> None:
    tx.run(_SAVE_USAGE, of_id=id, capacity=capacity, free=free, blob_count=blobs, stored=stored, new_problem=problem)


# ---------------------------------------------------------------- holders


def forget_some_held(tx: Tx, server_id: str, limit: int) -> int:
    """Delete at most `limit` holder rows of a server; return how many were deleted."""
    rows = tx.all(_HELD_BY, server_id=server_id, limit=limit)
    for (digest,) in rows:
        tx.run(_DROP_HOLDER, digest=digest, server_id=server_id)
    return len(rows)


def counted_copies(reader: Reader) -> dict[str, int]:
    """Return the number of undamaged copies of referenced blobs, by server. Scans the whole table."""
    return {row[0]: int(row[1]) for row in reader.all(_COUNTS)}


def digests_held_by(reader: Reader, server_id: str, after: bytes, limit: int) -> list[Digest]:
    """Return the next blobs in digest order that a server holds, damaged and unreferenced ones included."""
    return [Digest(row[0]) for row in reader.all(_DIGESTS_HELD_BY, server_id=server_id, after=after, limit=limit)]


def holders_of(reader: Reader, digest: Digest) -> list[str]:
    """Return a blob's holders in rank order (the master first), damaged copies included."""
    return [row[0] for row in reader.all(_HOLDERS, digest=digest)]


def add_holder(tx: Tx, digest: Digest, server_id: str) -> bool:
    """Add a holder, ranked last, or mark its existing copy as undamaged; return False if nothing changed."""
    rows = tx.all(_HOLDERS, digest=digest)
    mine = next((row for row in rows if row[0] == server_id), None)
    if mine is not None:
        return bool(mine[2]) and mark_damaged(tx, digest, server_id, damaged=False)
    tx.run(_ADD_HOLDER, digest=digest, server_id=server_id, rank=1 + max((row[1] for row in rows), default=-1))
    return True


def mark_damaged(tx: Tx, digest: Digest, server_id: str, *, damaged: bool = True) -> bool:
    """Mark a copy as damaged or undamaged; return False if the server has no copy."""
    return tx.run(_SET_DAMAGED, of_digest=digest, of_server=server_id, now_damaged=damaged) > 0


def drop_holder(tx: Tx, digest: Digest, server_id: str) -> bool:
    """Delete a holder row; return False if there is none."""
    return tx.run(_DROP_HOLDER, digest=digest, server_id=server_id) > 0


def remember_drop(tx: Tx, digest: Digest, server_id: str, time: float) -> None:
    """Note that the server was allowed to drop its copy at directory time `time`."""
    if not tx.run(_DROP_AGAIN, of_digest=digest, of_server=server_id, time=time):
        tx.run(_REMEMBER_DROP, digest=digest, server_id=server_id, time=time)


def was_dropped(reader: Reader, digest: Digest, server_id: str, since: float) -> bool:
    """Whether the server was allowed to drop its copy at directory time `since` or later."""
    return reader.one(_WAS_DROPPED, digest=digest, server_id=server_id, since=since) is not None


def latest_drop(reader: Reader) -> float:
    """Return the directory time of the latest drop of any copy; minus infinity if there is none."""
    row = reader.one(_LATEST_DROP)
    return float("-inf") if row is None or row[0] is None else float(row[0])


def forget_drops(tx: Tx, before: float) -> None:
    tx.run(_FORGET_DROPS, before=before)


# ---------------------------------------------------------------- blobs


def find_blob(reader: Reader, digest: Digest) -> Blob | None:
    """Return the blob; None if the directory does not know it."""
    row = reader.one(_BLOB, digest=digest)
    return Blob(int(row[0]), int(row[1])) if row else None


def drop_blob(tx: Tx, digest: Digest) -> None:
    """Delete the row of a blob without references."""
    tx.run(_DROP_BLOB, digest=digest)


def page_of_blobs(reader: Reader, after: bytes, limit: int) -> list[HeldBlob]:
    """Return the next blobs with references in digest order. A page's cost does not depend on their number."""
    rows = reader.all(_PAGE_OF_BLOBS, after=after, limit=limit)
    return [
        _held_blob(Digest(digest), size, [row[2:] for row in group if row[2] is not None])
        for (digest, size), group in groupby(rows, key=lambda row: (row[0], row[1]))
    ]


def blob_and_holders(reader: Reader, digest: Digest) -> HeldBlob | None:
    """Return a blob with its holders; None unless it has references."""
    blob = find_blob(reader, digest)
    if blob is None or blob.refs == 0:
        return None
    return _held_blob(digest, blob.size, [(row[0], row[2]) for row in reader.all(_HOLDERS, digest=digest)])


def _held_blob(digest: Digest, size: int, copies: Sequence[Sequence[Any]]) -> HeldBlob:
    """Build a HeldBlob from (server id, damaged) pairs in rank order."""
    holders = tuple([copy[0] for copy in copies])
    return HeldBlob(digest, size, holders, tuple([copy[0] for copy in copies if copy[1]]))
