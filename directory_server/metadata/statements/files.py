"""Statements about paths, versions and blobs, for `directory_server.files`."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    false,
    func,
    insert,
    literal,
    null,
    select,
    tuple_,
    union_all,
    update,
)

from directory_server.metadata.schema import blob, current, file_server, holder, journal, past_write, version
from directory_server.metadata.statement import JoinedByComma, Statement
from directory_server.metadata.store import Reader, Row
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.digest import EMPTY_DIGEST, Digest
from lockstep_store.wire.messages.files import FileVersion

DAMAGED_RANK = 1_000_000_000
_metadata_decoder = decoder(dict[str, str])
NO_METADATA = "{}"
NULL_ID = "null"
"""The id by which clients name the version that was written without versioning."""
_AFTER_ALL_VERSIONS = "~"


def _columns(table: Any, id: Any, marker: Any) -> list[ColumnElement[Any]]:
    c = table.c
    return [
        c.bucket,
        c.path,
        id,
        c.digest,
        c.size,
        c.content_type,
        c.metadata,
        c.author,
        c.created_at,
        c.lock_number,
        c.null_version,
        c.cursor,
        marker.label("delete_marker"),
    ]


def _holders_of(table: Any) -> Any:
    # A damaged copy ranks behind all others, by so much that the rank alone identifies it.
    rank = holder.c.rank + case((holder.c.damaged, DAMAGED_RANK), else_=0)
    named = cast(rank, Text) + ":" + holder.c.server_id
    return (
        select(JoinedByComma(named))
        .where(holder.c.digest == table.c.digest)
        .correlate(table)
        .scalar_subquery()
        .label("holders")
    )


def _at(table: Any) -> ColumnElement[bool]:
    return and_(table.c.bucket == bindparam("bucket"), table.c.path == bindparam("path"))


def _values(table: Any) -> dict[str, Any]:
    return {column.name: bindparam(column.name) for column in table.c}


# Every statement about one version returns `_columns`, in that order; `…_HELD` adds its holders.
CURRENT_COLUMNS = _columns(current, current.c.version, false())
_VERSION = _columns(version, version.c.id, version.c.delete_marker)

CURRENT = Statement(select(*CURRENT_COLUMNS).where(_at(current)))
CURRENT_HELD = Statement(select(*CURRENT_COLUMNS, _holders_of(current)).where(_at(current)))
VERSION_HELD = Statement(
    select(*_VERSION, _holders_of(version)).where(_at(version), version.c.id == bindparam("version"))
)
OF_DIGEST = Statement(select(*_VERSION).where(version.c.digest == bindparam("digest")).limit(bindparam("count")))
OF_DIGEST_IN_BUCKET = Statement(
    select(*_VERSION)
    .where(version.c.digest == bindparam("digest"), version.c.bucket == bindparam("bucket"))
    .limit(bindparam("count"))
)
NULL_VERSION_HELD = Statement(select(*_VERSION, _holders_of(version)).where(_at(version), version.c.null_version))
NULL_VERSION = Statement(select(*_VERSION, version.c.write_id).where(_at(version), version.c.null_version))
VERSION = Statement(select(*_VERSION, version.c.write_id).where(_at(version), version.c.id == bindparam("version")))
NEWEST = Statement(select(*_VERSION).where(_at(version)).order_by(version.c.id.desc()).limit(1))

INSERT_VERSION = Statement(insert(version).values(_values(version)))
DELETE_VERSION = Statement(delete(version).where(version.c.id == bindparam("version")))
INSERT_CURRENT = Statement(insert(current).values(_values(current)))
UPDATE_CURRENT = Statement(
    update(current)
    .where(_at(current))
    .values({name: value for name, value in _values(current).items() if name not in ("bucket", "path")})
)
DELETE_CURRENT = Statement(delete(current).where(_at(current)))

CURSOR = Statement(select(func.max(journal.c.cursor)))
INSERT_JOURNAL = Statement(
    insert(journal)
    .values({name: value for name, value in _values(journal).items() if name != "cursor"})
    .returning(journal.c.cursor)
)

FORGET_AT_ONCE = 5000
PAST_WRITE = Statement(select(past_write.c.answer).where(past_write.c.write_id == bindparam("write_id")))
WRITE_BEFORE = Statement(
    union_all(
        select(past_write.c.answer, *(null() for _ in _VERSION)).where(past_write.c.write_id == bindparam("write_id")),
        select(null(), *_VERSION).where(version.c.write_id == bindparam("write_id")),
    )
)
"""The stored reply of a write, or behind a null the version that it made; nothing if it was not committed."""
INSERT_PAST_WRITE = Statement(insert(past_write).values(_values(past_write)))
FORGET_PAST_WRITES = Statement(
    delete(past_write).where(
        past_write.c.write_id.in_(
            select(past_write.c.write_id).where(past_write.c.done_time < bindparam("before")).limit(FORGET_AT_ONCE)
        )
    )
)

# ---------------------------------------------------------------- pages of versions (of files: see `listings`)

# One lower bound each: with two, an engine seeks to one of them and filters by the other, row by row.


def _versions_page(bound: ColumnElement[bool]) -> Statement:
    mine = version.c.bucket == bindparam("bucket")
    newest_first = (version.c.path, version.c.id.desc())
    return Statement(select(*_VERSION).where(mine, bound).order_by(*newest_first).limit(bindparam("count")))


VERSIONS_FROM = _versions_page(version.c.path >= bindparam("path"))
VERSIONS_AFTER = _versions_page(version.c.path > bindparam("path"))
VERSIONS_OF_PATH = Statement(
    select(*_VERSION).where(_at(version)).order_by(version.c.id.desc()).limit(bindparam("count"))
)
VERSIONS_OLDER = Statement(
    select(*_VERSION)
    .where(_at(version), version.c.id < bindparam("version"))
    .order_by(version.c.id.desc())
    .limit(bindparam("count"))
)

VERSIONS_NEWER = Statement(
    select(*_VERSION)
    .where(_at(version), version.c.id > bindparam("version"))
    .order_by(version.c.id)
    .limit(bindparam("count"))
)

# Every version that has content, with its holders, by bucket and path, the newest first (the index's order).
_CONTENT = version.c.digest.is_not(None)
ALL_HELD = Statement(
    select(*_VERSION, _holders_of(version))
    .where(tuple_(version.c.bucket, version.c.path) > tuple_(bindparam("bucket"), bindparam("path")), _CONTENT)
    .order_by(version.c.bucket, version.c.path, version.c.id.desc())
    .limit(bindparam("count"))
)
OLDER_HELD = Statement(
    select(*_VERSION, _holders_of(version))
    .where(_at(version), version.c.id < bindparam("version"), _CONTENT)
    .order_by(version.c.id.desc())
    .limit(bindparam("count"))
)

# ---------------------------------------------------------------- blobs

BLOB = Statement(select(blob.c.size, blob.c.refs).where(blob.c.digest == bindparam("digest")))
INSERT_BLOB = Statement(insert(blob).values(digest=bindparam("digest"), size=bindparam("size"), refs=literal(1)))
ADD_REFERENCE = Statement(update(blob).where(blob.c.digest == bindparam("digest")).values(refs=blob.c.refs + 1))
DROP_REFERENCE = Statement(update(blob).where(blob.c.digest == bindparam("digest")).values(refs=blob.c.refs - 1))
# Only undamaged copies count, on servers that belong to the cluster. Whether a server is up, membership knows.
HOLDERS = Statement(
    select(holder.c.server_id, holder.c.rank)
    .join(file_server, file_server.c.id == holder.c.server_id)
    .where(holder.c.digest == bindparam("digest"), file_server.c.state != "removed", ~holder.c.damaged)
    .order_by(holder.c.rank, holder.c.server_id)
)
RANKED_HOLDERS = Statement(
    select(holder.c.server_id, holder.c.rank, holder.c.damaged).where(holder.c.digest == bindparam("digest"))
)
INSERT_HOLDER = Statement(insert(holder).values({**_values(holder), "damaged": false()}))
HEAL_HOLDER = Statement(
    update(holder)
    .where(holder.c.digest == bindparam("of_digest"), holder.c.server_id == bindparam("of_server"))
    .values(damaged=false())
)
STORES = Statement(select(file_server.c.id, file_server.c.store_id).where(file_server.c.state != "removed"))

ANY_VERSION = Statement(select(version.c.id).where(version.c.bucket == bindparam("bucket")).limit(1))

# ---------------------------------------------------------------- totals (each scans a table, so read them rarely)

FILES_TOTAL = Statement(select(func.count(), func.coalesce(func.sum(current.c.size), 0)).select_from(current))
VERSIONS_TOTAL = Statement(select(func.count()).select_from(version))
BLOBS_TOTAL = Statement(select(func.count()).select_from(blob))


def as_version(row: Row, *, is_current: bool = True) -> FileVersion:
    """Return the message for a version's row. A delete marker has the digest of empty content."""
    stored = row[6]
    return FileVersion(
        bucket=row[0],
        path=row[1],
        version=row[2],
        digest=Digest(row[3]) if row[3] is not None else EMPTY_DIGEST,
        size=row[4],
        author=row[7],
        created_at=row[8],
        cursor=row[11],
        content_type=row[5],
        metadata={} if stored == NO_METADATA else _metadata_decoder.decode(stored),
        lock_number=row[9],
        delete_marker=bool(row[12]),
        null_version=bool(row[10]),
        current=is_current,
    )


def find_version(reader: Reader, bucket: str, path: str, version: str) -> Row | None:
    """Return the row of a path's version; the id "null" means the one written without versioning."""
    if version == NULL_ID:
        return reader.one(NULL_VERSION, bucket=bucket, path=path)
    return reader.one(VERSION, bucket=bucket, path=path, version=version)


def split_holders(named: str | None) -> tuple[list[str], list[str]]:
    """Return the server ids of a version's sound and of its damaged copies, the master first."""
    pairs = sorted(
        (int(rank), id) for rank, _, id in (entry.partition(":") for entry in (named or "").split(",")) if id
    )
    return [id for rank, id in pairs if rank < DAMAGED_RANK], [id for rank, id in pairs if rank >= DAMAGED_RANK]


def newest_held(reader: Reader, bucket: str, path: str, limit: int = 200) -> list[Row]:
    """Return the newest versions of a path that have content, each with its holders."""
    return reader.all(OLDER_HELD, bucket=bucket, path=path, version=_AFTER_ALL_VERSIONS, count=limit)


def encode_metadata(metadata: dict[str, str]) -> str:
    """Encode a version's metadata for its column."""
    return msgspec.json.encode(metadata).decode() if metadata else NO_METADATA


def read_cursor(reader: Reader) -> int:
    """Return the newest journal cursor that this reader sees; 0 before the first commit."""
    row = reader.one(CURSOR)
    return (row[0] if row else None) or 0
