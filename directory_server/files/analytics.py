"""Analytics: answers what is stored from totals, and notes each day's.

Owners see their own buckets, administrators all. What a folder holds is for everybody who sees the size of every file
in it; so totals never tell what a listing hides.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from directory_server.access.decisions import Standing, standing
from directory_server.access.known_content import may_hide
from directory_server.files.moment import WallClock
from directory_server.metadata.statements import buckets, totals
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.statements.listings import LAST
from directory_server.metadata.statements.totals import MAX_DEPTH
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.people.person import People, Person
from lockstep_store.wire.errors import BadRequest, Forbidden
from lockstep_store.wire.messages.analytics import (
    MAX_DAYS,
    MAX_NAMED,
    Amount,
    FileTypesReply,
    FolderUsage,
    FolderUsageReply,
    FolderUsageRequest,
    GrowthReply,
    GrowthRequest,
    NamedAmount,
    Savings,
    StorageReply,
    StorageRequest,
)
from lockstep_store.wire.names import check_path, tenant_of

DAY_SECONDS = 86_400
ALL = 1_000_000


class Analytics:
    """Serves the calls about what is stored; `step` is a background job. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: WallClock,
        people: People,
        copies: int,
        disk_bytes: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._copies = copies
        self._disk_bytes = disk_bytes

    def storage(self, request: StorageRequest) -> StorageReply:
        """Return what is stored by bucket, account and month. Forbidden for a bucket of somebody else."""
        person = self._people.authenticate(request.credential)
        with self._store.read() as reader:
            found = self._buckets_of(reader, person, request.bucket)
            names = _names(found)
            by_month = totals.grouped(reader, "month", names, ALL)
            by_bucket = _named(totals.grouped(reader, "bucket", names, ALL))
            total = Amount(*(sum(int(row[place]) for row in by_month) for place in range(1, 5)))
            return StorageReply(
                total,
                by_bucket[:MAX_NAMED],
                _named(totals.grouped(reader, "author", names, MAX_NAMED)),
                _by_tenant(found, by_bucket),
                sorted(_named(by_month), key=lambda one: one.name),
                self._savings(reader, total) if person.admin and not request.bucket else None,
            )

    def _savings(self, reader: Reader, total: Amount) -> Savings:
        found = totals.content(reader)
        logical = total.version_bytes + found.part_bytes
        disk = self._disk_bytes()
        chunks = None if disk is None else max(0, found.bytes * self._copies - disk)
        return Savings(logical, found.bytes, disk, self._copies, max(0, logical - found.bytes), chunks)

    def file_types(self, request: StorageRequest) -> FileTypesReply:
        """Return what is stored by content type. Forbidden for a bucket of somebody else."""
        person = self._people.authenticate(request.credential)
        with self._store.read() as reader:
            names = _names(self._buckets_of(reader, person, request.bucket))
            return FileTypesReply(_named(totals.grouped(reader, "kind", names, MAX_NAMED)))

    def growth(self, request: GrowthRequest) -> GrowthReply:
        """Return what there was at the end of each day. Forbidden for a bucket of somebody else."""
        person = self._people.authenticate(request.credential)
        today = self._today()
        with self._store.read() as reader:
            names = _names(self._buckets_of(reader, person, request.bucket))
            past = totals.days(reader, names, today - request.days + 1)
            days = [_amount(row, _date(int(row[0]))) for row in past if int(row[0]) < today]
            now = [int(value) for value in totals.all_of(reader, names)]
            return GrowthReply([*days, NamedAmount(_date(today), *now)])

    def folder(self, request: FolderUsageRequest) -> FolderUsageReply:
        """Return what is in a folder, and in each folder in it.

        Forbidden unless the person may list the folder and sees the sizes of all that is in it.
        """
        person = self._people.authenticate(request.credential)
        path = request.path
        if path:
            check_path(path)
            if not path.endswith("/"):
                raise BadRequest(f"{path[:80]!r} is no folder: the path of a folder ends with a slash")
        if path.count("/") >= MAX_DEPTH:
            raise BadRequest(f"there are no totals of folders within {MAX_DEPTH} others: ask for one above")
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            place.demand("s3:ListBucket", keys={"s3:prefix": [path]})
            _demand_sizes(place)
            files, size = totals.folder(reader, request.bucket, path)
            inside = totals.folders_in(reader, request.bucket, path, path + LAST, request.limit)
            folders = [FolderUsage(str(row[0]), int(row[1]), int(row[2])) for row in inside]
            return FolderUsageReply(path, files, size, folders)

    def _buckets_of(self, reader: Reader, person: Person, bucket: str) -> list[Bucket]:
        """Return the buckets to tell about."""
        if not bucket:
            every = buckets.all_buckets(reader)
            return [one for one in every if one.owner == person.account or person.administers(one.owner)]
        found = standing(reader, bucket, person, self._clock.wall()).bucket
        if found.owner != person.account and not person.administers(found.owner):
            raise Forbidden(
                f"only its owner or an administrator may see the analytics of bucket {bucket!r}", bucket=bucket
            )
        return [found]

    def _today(self) -> int:
        return _day(self._clock.wall())


def note_today(tx: Tx, wall: float) -> None:
    """Store what there is as the totals of the day, and forget the oldest days. Done every minute, so the last of a day
    are those of its end."""
    totals.note_day(tx, _day(wall), _day(wall) - MAX_DAYS)


def _day(wall: float) -> int:
    return int(wall // DAY_SECONDS)


def _names(found: list[Bucket]) -> str:
    return json.dumps([one.name for one in found])


def _by_tenant(found: list[Bucket], by_bucket: list[NamedAmount]) -> list[NamedAmount]:
    owners = {one.name: tenant_of(one.owner) for one in found}
    amounts: dict[str, NamedAmount] = {}
    for one in by_bucket:
        tenant = owners.get(one.name, "")
        if tenant:
            sum_ = amounts.setdefault(tenant, NamedAmount(tenant, 0, 0, 0, 0))
            sum_.files, sum_.file_bytes = sum_.files + one.files, sum_.file_bytes + one.file_bytes
            sum_.versions, sum_.version_bytes = sum_.versions + one.versions, sum_.version_bytes + one.version_bytes
    return sorted(amounts.values(), key=lambda one: (-one.version_bytes, one.name))[:MAX_NAMED]


def _demand_sizes(place: Standing) -> None:
    if may_hide(place) and not place.trusted:
        raise Forbidden(
            f"the rules of bucket {place.bucket.name!r} may hide files from you, and totals would tell of them: "
            "ask its owner",
            bucket=place.bucket.name,
        )


def _named(rows: list[Row]) -> list[NamedAmount]:
    return [_amount(row, str(row[0])) for row in rows]


def _amount(row: Row, name: str) -> NamedAmount:
    return NamedAmount(name, *(int(value) for value in row[1:5]))


def _date(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()
