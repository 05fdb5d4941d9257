"""Statements about multipart uploads and their parts, for `directory_server.features.uploads`."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, func, insert, select, tuple_, update

from directory_server.metadata.schema import blob, holder
from directory_server.metadata.schema_s3 import part, upload
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import files
from directory_server.metadata.store import Reader, Row, Tx
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.uploads import PartInfo, UploadInfo

_texts = decoder(dict[str, str])
_AFTER_ALL_UPLOADS = "~"
"""Sorts behind every upload id."""

_UPLOAD = (
    upload.c.id,
    upload.c.bucket,
    upload.c.path,
    upload.c.account,
    upload.c.since_at,
    upload.c.content_type,
    upload.c.metadata,
    upload.c.settings,
)
_FIND = Statement(select(*_UPLOAD).where(upload.c.id == bindparam("of_id")))
_INSERT = Statement(insert(upload).values({column.name: bindparam(column.name) for column in upload.c}))
_DELETE = Statement(delete(upload).where(upload.c.id == bindparam("of_id")))
_PAGE = Statement(
    select(*_UPLOAD)
    .where(
        upload.c.bucket == bindparam("of_bucket"),
        tuple_(upload.c.path, upload.c.id) > tuple_(bindparam("after_path"), bindparam("after_id")),
    )
    .order_by(upload.c.path, upload.c.id)
    .limit(bindparam("count"))
)
_OLD = Statement(
    select(upload.c.id, upload.c.path)
    .where(upload.c.bucket == bindparam("of_bucket"), upload.c.since_at < bindparam("before_at"))
    .order_by(upload.c.path, upload.c.id)
)
_OF_BUCKET = Statement(select(upload.c.id).where(upload.c.bucket == bindparam("of_bucket")).limit(bindparam("count")))

_PART = (part.c.number, part.c.digest, part.c.size, part.c.at, part.c.write_id, part.c.facts)
_FIND_PART = Statement(
    select(*_PART).where(part.c.upload == bindparam("of_upload"), part.c.number == bindparam("of_number"))
)
_PARTS = Statement(
    select(*_PART)
    .where(part.c.upload == bindparam("of_upload"), part.c.number > bindparam("after"))
    .order_by(part.c.number)
    .limit(bindparam("count"))
)
_INSERT_PART = Statement(insert(part).values({column.name: bindparam(column.name) for column in part.c}))
_DELETE_PART = Statement(
    delete(part).where(part.c.upload == bindparam("of_upload"), part.c.number == bindparam("of_number"))
)
_DELETE_PARTS = Statement(delete(part).where(part.c.upload == bindparam("of_upload")))
_counted = (
    select(part.c.digest, func.count().label("times"))
    .where(part.c.upload == bindparam("of_upload"))
    .group_by(part.c.digest)
    .subquery()
)
_DROP_REFERENCES = Statement(
    update(blob).where(blob.c.digest == _counted.c.digest).values(refs=blob.c.refs - _counted.c.times)
)
_HOLDERS_BY_BYTES = Statement(
    select(holder.c.server_id)
    .select_from(part.join(holder, holder.c.digest == part.c.digest))
    .where(part.c.upload == bindparam("of_upload"), ~holder.c.damaged)
    .group_by(holder.c.server_id)
    .order_by(func.sum(part.c.size).desc(), holder.c.server_id)
)


def find(reader: Reader, id: str) -> UploadInfo | None:
    row = reader.one(_FIND, of_id=id)
    return None if row is None else _info(row)


def insert_upload(tx: Tx, info: UploadInfo) -> None:
    tx.run(
        _INSERT,
        id=info.id,
        bucket=info.bucket,
        path=info.path,
        account=info.account,
        content_type=info.content_type,
        metadata=files.encode_metadata(info.metadata),
        settings=files.encode_metadata(info.settings),
        since_at=info.since_at,
    )


def page(reader: Reader, bucket: str, after: tuple[str, str], count: int) -> list[UploadInfo]:
    """Return the uploads after (path, upload id) by path and id; an empty id is before all uploads of its path."""
    rows = reader.all(_PAGE, of_bucket=bucket, after_path=after[0], after_id=after[1], count=count)
    return [_info(row) for row in rows]


def behind_path(path: str) -> tuple[str, str]:
    """Return the place after all uploads of `path`, for `page`."""
    return path, _AFTER_ALL_UPLOADS


def older_than(reader: Reader, bucket: str, before_at: float) -> list[tuple[str, str]]:
    """Return (id, path) of a bucket's uploads that began before `before_at`, seconds since 1970."""
    return [(row[0], row[1]) for row in reader.all(_OLD, of_bucket=bucket, before_at=before_at)]


def drop(tx: Tx, id: str) -> None:
    """Delete an upload with its parts, and their references to blobs."""
    tx.run(_DROP_REFERENCES, of_upload=id)
    tx.run(_DELETE_PARTS, of_upload=id)
    tx.run(_DELETE, of_id=id)


def drop_of_bucket(tx: Tx, bucket: str) -> None:
    """Delete all uploads of a bucket."""
    while rows := tx.all(_OF_BUCKET, of_bucket=bucket, count=1000):
        for row in rows:
            drop(tx, row[0])


def find_part(reader: Reader, id: str, number: int) -> PartInfo | None:
    row = reader.one(_FIND_PART, of_upload=id, of_number=number)
    return None if row is None else _part(row)


def parts(reader: Reader, id: str, after: int, count: int) -> list[PartInfo]:
    """Return the parts with numbers above `after`, in order."""
    return [_part(row) for row in reader.all(_PARTS, of_upload=id, after=after, count=count)]


def put_part(tx: Tx, id: str, info: PartInfo) -> None:
    """Insert a part, or replace the one with its number. The caller counts references."""
    tx.run(_DELETE_PART, of_upload=id, of_number=info.number)
    tx.run(
        _INSERT_PART,
        upload=id,
        number=info.number,
        digest=info.digest,
        size=info.size,
        facts=encode(info.metadata).decode(),
        write_id=info.write_id,
        at=info.at,
    )


def holders_by_bytes(reader: Reader, id: str) -> list[str]:
    """Return the servers that hold parts of an upload, the one with the most bytes first."""
    return [row[0] for row in reader.all(_HOLDERS_BY_BYTES, of_upload=id)]


def _info(row: Row) -> UploadInfo:
    return UploadInfo(
        id=row[0],
        bucket=row[1],
        path=row[2],
        account=row[3],
        since_at=row[4],
        content_type=row[5],
        metadata=_texts.decode(row[6]),
        settings=_texts.decode(row[7]),
    )


def _part(row: Row) -> PartInfo:
    return PartInfo(row[0], Digest(row[1]), row[2], row[3], row[4], _texts.decode(row[5]))
