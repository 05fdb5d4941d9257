"""Lookups and listings of files and versions. Each call reads one snapshot.

The reply to a lookup may come with a read lease if it stays the same, for every lookup of its kind, until one of a few
rows changes: those that `_keys_of` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from prometheus_client import Counter, Histogram

from directory_server.access.decisions import Ground, Standing, standing
from directory_server.access.known_content import hide_unreadable, may_hide
from directory_server.access.version_settings import shown
from directory_server.files import listing
from directory_server.files.batch import attempt, outcome
from directory_server.files.hooks import Hooks
from directory_server.files.moment import WallClock
from directory_server.metadata.statements import files, s3_settings
from directory_server.metadata.store import MetadataStore, Reader, Row
from directory_server.people.person import People
from directory_server.people.person_in_snapshot import person_in
from directory_server.read_leases.keys import Keys, blob_key, bucket_key, path_key, version_key
from directory_server.read_leases.ledger import LeaseLedger, LeaseOffer
from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.messages.files import (
    FileVersion,
    Holder,
    ListPage,
    ListRequest,
    LookupItem,
    LookupReply,
    PathLock,
    VersionsPage,
    VersionsRequest,
)
from lockstep_store.wire.messages.kms import KMS_ENTRY
from lockstep_store.wire.messages.read_leases import LEASE_SECONDS
from lockstep_store.wire.messages.s3 import TAGS

LOOKUPS = Counter("lockstep_directory_lookups", "Paths looked up")
LOOKUP_BATCH = Histogram(
    "lockstep_directory_lookup_batch_items", "Lookups that came in one call", buckets=(1, 2, 4, 8, 16, 32, 64, 256)
)


class LookupClock(WallClock, Protocol):
    """Wall time for conditions of policies, and directory time for credentials that expire."""

    def now(self) -> float: ...


class PathLocks(Protocol):
    """The locks that a lookup returns."""

    def lock_on(self, tx: Reader, bucket: str, path: str) -> PathLock | None:
        """Return the lock on the path, whoever holds it."""
        ...


class ReadingOrder(Protocol):
    """Orders the holders of a blob for reading."""

    def holders_in_reading_order(self, ids: Sequence[str]) -> list[Holder]:
        """Return the holders `ids`, given in rank order, in the order to read from."""
        ...


class _Batch(NamedTuple):
    """What the items of one call share, and the leases that it may grant."""

    grounds: dict[str, Ground]
    orders: dict[str, tuple[list[Holder], bool]]
    offers: list[LeaseOffer]


class Lookups:
    """Looks up and lists files. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: LookupClock,
        people: People,
        locks: PathLocks,
        servers: ReadingOrder,
        hooks: Hooks,
        leases: LeaseLedger | None = None,
    ) -> None:
        self._store = store
        self._leases = leases
        self._clock = clock
        self._people = people
        self._locks = locks
        self._servers = servers
        self._hooks = hooks

    def lookup(self, items: Sequence[LookupItem], lease_session: str = "") -> LookupReply:
        """Return each item's current version (or the version asked for) with its holders, from one snapshot.

        With `lease_session`, items that want a lease may get one.
        """
        LOOKUPS.inc(len(items))
        LOOKUP_BATCH.observe(len(items))
        leases = self._leases if lease_session else None
        since = leases.moment() if leases is not None else 0
        batch = _Batch({}, {}, [])
        with self._store.read() as reader:
            found = [attempt(self._look_up, reader, item, batch) for item in items]
            if leases is not None:
                for number, (item, result) in enumerate(zip(items, found, strict=True)):
                    if item.wants_lease and isinstance(result, FileVersion):
                        attempt(self._offer, reader, number, item, result, batch)
            cursor = files.read_cursor(reader)
        reply = LookupReply(cursor, [outcome(result) for result in found])
        if leases is not None and batch.offers:
            reply.leases = leases.grant(lease_session, since, batch.offers)
        return reply

    def _offer(self, reader: Reader, number: int, item: LookupItem, found: FileVersion, batch: _Batch) -> None:
        """Offer a lease on a reply, unless the reply may change although no row does."""
        if item.version is not None or found.lock is not None or found.data_key is not None or found.damaged:
            return
        # Judged once more, with the person from this snapshot: the caches may be a moment behind.
        person, identity = person_in(reader, item.credential)
        if person.access is not None and person.access.source_action:
            return
        place = standing(reader, item.bucket, person, self._clock.wall(), known=batch.grounds)
        place.demand(place.asked_to_read(item.path, None), item.path)
        if item.reads_content:
            place.demand("s3:GetObject", item.path)
        if item.with_settings:
            shown_now = shown(place, item.path, None, s3_settings.short_version_values(reader, found.version))
            if shown_now != found.settings:
                return
        seconds = LEASE_SECONDS if person.expires is None else min(LEASE_SECONDS, person.expires - self._clock.now())
        if place.is_for_this_request or seconds <= 0:
            return
        batch.offers.append(LeaseOffer(number, _keys_of(found) | identity, seconds))

    def _look_up(self, reader: Reader, item: LookupItem, batch: _Batch) -> FileVersion:
        grounds, orders = batch.grounds, batch.orders
        person = self._people.identify(item.credential)
        access = person.access
        source_path = item.path if access is not None and access.reads(item.bucket, item.path) else ""
        place = standing(reader, item.bucket, person, self._clock.wall(), source_path=source_path, known=grounds)
        if item.version is None:
            row = reader.one(files.CURRENT_HELD, bucket=item.bucket, path=item.path)
        else:
            row = _held(reader, item)
        if row is None:
            raise place.hide(not_found(reader, item.bucket, item.path, item.version))
        bucket = place.demand(place.asked_to_read(item.path, item.version), item.path, version=item.version)
        if item.reads_content:
            action = "s3:GetObject" if item.version is None else "s3:GetObjectVersion"
            place.demand(action, item.path, version=item.version)
        if item.version is None:
            found = files.as_version(row)
        else:
            current = reader.one(files.CURRENT, bucket=item.bucket, path=item.path)
            found = files.as_version(row, is_current=current is not None and current[2] == row[2])
        named = row[13] or ""
        order = orders.get(named)
        if order is None:
            order = orders[named] = self._reading_order(named)
        found.holders, found.damaged = order
        if found.damaged:
            found.last_good_version = self._last_good_version(reader, item)
        found.bucket_versioning = bucket.versioning
        if KMS_ENTRY in found.metadata:
            found.data_key = self._hooks.data_key(found.metadata)
        if item.with_settings:
            settings = s3_settings.short_version_values(reader, row[2])
            tagging = "s3:GetObjectTagging" if item.version is None else "s3:GetObjectVersionTagging"
            # A copy takes the tags along, to where the copier may read them.
            if TAGS in settings and access and access.source_action and place.denied(tagging, item.path):
                place.demand(tagging, item.path, version=item.version)
            found.settings = shown(place, item.path, item.version, settings)
            self._hooks.on_lookup(reader, bucket, found)
        if item.with_lock:
            found.lock = self._locks.lock_on(reader, item.bucket, item.path)
        return found

    def _reading_order(self, named: str) -> tuple[list[Holder], bool]:
        """Return where to read a blob, and whether all of these copies are damaged."""
        sound, damaged = files.split_holders(named)
        order = self._servers.holders_in_reading_order(sound)
        if not damaged:
            return order, False
        # Damaged copies come last but are included, because the report may be wrong.
        return order + self._servers.holders_in_reading_order(damaged), not sound

    def _last_good_version(self, reader: Reader, item: LookupItem) -> str:
        """Return the newest version of the path that a running server holds undamaged; empty when there is none."""
        for row in files.newest_held(reader, item.bucket, item.path):
            sound, _ = files.split_holders(row[13])
            if any(holder.up for holder in self._servers.holders_in_reading_order(sound)):
                return str(row[2])
        return ""

    def list(self, request: ListRequest) -> ListPage:
        """Return a page of a bucket's files, and folders if the request has a delimiter."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            place.demand("s3:ListBucket", keys=_listing_keys(request))
            owner = place.lists.owner_of_all()
            if request.columns and not may_hide(place) and (owner is not None or not request.owners):
                return listing.list_columns(reader, request, owner or "")
            reply = listing.list_files(reader, request)
            place.lists.fill_in_owners(reply.files)
            hide_unreadable(place, reply.files)
            reply.cursor = files.read_cursor(reader)
        return reply

    def versions(self, request: VersionsRequest) -> VersionsPage:
        """Return a page of versions, which may be empty. NotFound for a path that never existed."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            place.demand("s3:ListBucketVersions", keys=_listing_keys(request))
            owner = place.lists.owner_of_all()
            if listing.has_version_columns(request) and not may_hide(place) and owner is not None:
                return listing.list_version_columns(reader, request, owner)
            reply = listing.list_versions(reader, request)
            place.lists.fill_in_owners(reply.versions)
            hide_unreadable(place, reply.versions)
            if request.path is not None and not reply.versions and request.after is None:
                raise not_found(reader, request.bucket, request.path)
            reply.cursor = files.read_cursor(reader)
        return reply


def _keys_of(found: FileVersion) -> Keys:
    """Return the keys of what a reply shows, apart from the person's own."""
    return frozenset(
        (
            path_key(found.bucket, found.path),
            version_key(found.version),
            blob_key(found.digest),
            bucket_key(found.bucket),
        )
    )


def not_found(reader: Reader, bucket: str, path: str, version: str | None = None) -> NotFound:
    """Return the error for a path without a current version (or without that version), with who deleted it."""
    if version is not None:
        return NotFound(f"{path!r} has no version {version!r} in bucket {bucket!r}", bucket=bucket, path=path)
    newest = reader.one(files.NEWEST, bucket=bucket, path=path)
    if newest is None:
        return NotFound(f"there is no file {path!r} in bucket {bucket!r}", bucket=bucket, path=path)
    return NotFound(
        f"{path!r} in bucket {bucket!r} was deleted by {newest[7]}; its earlier versions can be restored",
        bucket=bucket,
        path=path,
        version=newest[2],
        null_version=bool(newest[10]),
        delete_marker=True,
    )


def version_row(place: Standing, path: str, version: str | None) -> Row:
    """Return the row of the current version, or of the one named; NotFound or Forbidden when there is none."""
    reader, bucket = place.reader, place.bucket.name
    if version is None:
        row = reader.one(files.CURRENT, bucket=bucket, path=path)
    else:
        row = files.find_version(reader, bucket, path, version)
    if row is None:
        raise place.hide(not_found(reader, bucket, path, version))
    return row


def refuse_marker(row: Row) -> None:
    """Raise NotFound for a delete marker, which can have no settings."""
    if row[12]:
        raise NotFound(
            f"version {row[2]} of {row[1]!r} is a delete marker and cannot have settings",
            path=row[1],
            version=row[2],
            null_version=bool(row[10]),
            deleted_at=files.as_version(row).created_at,
            delete_marker=True,
        )


def _held(reader: Reader, item: LookupItem) -> Row | None:
    if item.version == files.NULL_ID:
        return reader.one(files.NULL_VERSION_HELD, bucket=item.bucket, path=item.path)
    return reader.one(files.VERSION_HELD, bucket=item.bucket, path=item.path, version=item.version)


def _listing_keys(request: ListRequest | VersionsRequest) -> dict[str, list[str]]:
    """Condition keys of a listing."""
    keys = {"s3:prefix": [request.prefix], "s3:max-keys": [str(request.limit)]}
    if request.delimiter:
        keys["s3:delimiter"] = [request.delimiter]
    return keys
