"""Decides which content a person may link, or see described in a listing.

Neither knowing a digest nor the right to list is a right to read."""

from __future__ import annotations

from collections.abc import Iterable

from directory_server.access.decisions import Ground, Standing, standing
from directory_server.metadata.statements import files
from directory_server.metadata.store import Reader, Row
from directory_server.people.person import Person
from lockstep_store.wire.digest import EMPTY_DIGEST, Digest
from lockstep_store.wire.errors import Forbidden, NotFound
from lockstep_store.wire.messages.files import FileVersion

MAX_VERSIONS = 16
"""Versions examined, anywhere and again in the bucket being written to. With more versions, the bytes may be requested
although the person could read one of them: that costs bandwidth, but an unbounded search would cost time."""


def readable_size(
    reader: Reader, person: Person, digest: Digest, bucket: str, at: float, known: dict[str, Ground]
) -> int | None:
    """Return the size of the content if the person may read a version that has it; otherwise None.

    Versions in `bucket` are examined separately if there are too many elsewhere. `known`: see `standing`.
    """
    rows = reader.all(files.OF_DIGEST, digest=digest, count=MAX_VERSIONS)
    found = _readable(reader, person, rows, at, known)
    if found is None and len(rows) == MAX_VERSIONS:
        rows = reader.all(files.OF_DIGEST_IN_BUCKET, digest=digest, bucket=bucket, count=MAX_VERSIONS)
        found = _readable(reader, person, rows, at, known)
    return found


def _readable(reader: Reader, person: Person, rows: list[Row], at: float, known: dict[str, Ground]) -> int | None:
    for row in rows:
        try:
            place = standing(reader, row[0], person, at, source_path=row[1], known=known)
        except (Forbidden, NotFound):
            continue
        if place.may_read(row[1], row[2]):
            return int(row[4])
    return None


def may_hide(place: Standing) -> bool:
    """Whether `hide_unreadable` decides about each version. S3's own listings describe every one."""
    shared = place.bucket.shared and bool(place.person.account)
    access = place.person.access
    is_s3 = access is not None and access.is_s3
    return not is_s3 and (place.ground.rules is not None or not (place.trusted or shared))


def hide_unreadable(place: Standing, listed: Iterable[FileVersion]) -> None:
    """Remove descriptions of content that the person may not read from a listing."""
    if not may_hide(place):
        return
    for found in listed:
        if found.delete_marker or (found.current and place.may("s3:GetObject", found.path)):
            continue
        if not place.may("s3:GetObjectVersion", found.path, version=found.version):
            found.readable = False
            found.version, found.digest, found.size, found.cursor = "", EMPTY_DIGEST, 0, 0
            found.content_type, found.metadata = "", {}
