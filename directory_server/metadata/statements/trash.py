"""Statements about deleted files: delete markers, and the versions behind each, back to the marker before."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, exists, func, select

from directory_server.metadata.schema import version
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import files
from directory_server.metadata.store import Reader, Row

MAX_VERSIONS = 1000
"""Versions of one deleted file that are removed in one transaction."""

_marker, _other = version.alias("marker"), version.alias("other")


def _behind(of_marker: Any) -> Any:
    """The versions with content that a marker deleted: those behind it that no earlier marker has deleted."""
    same_path = and_(_other.c.bucket == version.c.bucket, _other.c.path == version.c.path, _other.c.delete_marker)
    between = and_(_other.c.id > version.c.id, _other.c.id < of_marker)
    return and_(~version.c.delete_marker, version.c.id < of_marker, ~exists().where(same_path, between))


_c = version.c
_MARKER_COLUMNS = (_c.id, _c.path, _c.created_at, _c.author)
_MARKERS = Statement(
    select(*_MARKER_COLUMNS)
    .where(_c.bucket == bindparam("bucket"), _c.delete_marker, _c.id < bindparam("before"))
    .order_by(_c.id.desc())
    .limit(bindparam("count"))
)
_OLD_MARKERS = Statement(
    select(*_MARKER_COLUMNS)
    .where(
        _c.bucket == bindparam("bucket"),
        _c.delete_marker,
        _c.id > bindparam("after"),
        _c.created_at <= bindparam("until_at"),
    )
    .order_by(_c.id)
    .limit(bindparam("count"))
)
_AT = and_(_c.bucket == bindparam("bucket"), _c.path == bindparam("path"))
_SUM = Statement(select(func.count(), func.coalesce(func.sum(_c.size), 0)).where(_AT, _behind(bindparam("marker"))))
_IDS = Statement(select(_c.id).where(_AT, _behind(bindparam("marker"))).order_by(_c.id).limit(bindparam("count")))
_TOTALS = Statement(
    select(func.count(func.distinct(_marker.c.id)), func.count(), func.coalesce(func.sum(version.c.size), 0))
    .select_from(_marker.join(version, and_(version.c.bucket == _marker.c.bucket, version.c.path == _marker.c.path)))
    .where(_marker.c.bucket == bindparam("bucket"), _marker.c.delete_marker, _behind(_marker.c.id))
)


def markers(reader: Reader, bucket: str, before: str, count: int) -> list[Row]:
    """Return (id, path, deleted_at, deleted_by) of delete markers, the newest first, from before the id `before`."""
    return reader.all(_MARKERS, bucket=bucket, before=before or "~", count=count)


def old_markers(reader: Reader, bucket: str, until_at: float, after: str, count: int) -> list[Row]:
    """Return the same of markers made until `until_at`, the oldest first, from after the id `after`."""
    return reader.all(_OLD_MARKERS, bucket=bucket, until_at=until_at, after=after, count=count)


def behind(reader: Reader, bucket: str, path: str, marker: str) -> tuple[int, int]:
    """Return how many versions with content the marker deleted, and their bytes."""
    row = reader.one(_SUM, bucket=bucket, path=path, marker=marker)
    return (int(row[0]), int(row[1])) if row else (0, 0)


def ids_behind(reader: Reader, bucket: str, path: str, marker: str, count: int) -> list[str]:
    """Return the ids of these versions, the oldest first."""
    return [row[0] for row in reader.all(_IDS, bucket=bucket, path=path, marker=marker, count=count)]


def last_version(reader: Reader, bucket: str, path: str, marker: str) -> Row | None:
    """Return the version that was current when the marker was made; None when it deleted nothing that is left."""
    rows = reader.all(files.VERSIONS_OLDER, bucket=bucket, path=path, version=marker, count=1)
    return rows[0] if rows and not rows[0][12] else None


def totals(reader: Reader, bucket: str) -> tuple[int, int, int]:
    """Return the deleted files of a bucket, their versions and bytes. Reads all of them."""
    row = reader.one(_TOTALS, bucket=bucket)
    return (int(row[0]), int(row[1]), int(row[2])) if row else (0, 0, 0)
