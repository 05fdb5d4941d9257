"""Begins writes: returns a ticket, or commits at once if the cluster has the content.

`commits` makes versions of what masters stored for a ticket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from directory_server.access.decisions import Standing, access_of, standing
from directory_server.access.known_content import readable_size
from directory_server.cluster.placement import Candidate, choose
from directory_server.files import past_writes
from directory_server.files.announcements import Announced, unannounced
from directory_server.files.batch import attempt, outcome
from directory_server.files.commits import COMMITS, CommitLocks
from directory_server.files.hooks import Hooks, PartContent, is_part
from directory_server.files.lookups import ReadingOrder
from directory_server.files.moment import Moment, MomentClock
from directory_server.files.new_version import NewVersion, stored_metadata
from directory_server.files.object_changes import cause_of
from directory_server.files.preconditions import check_preconditions
from directory_server.files.versions import Versions
from directory_server.metadata.statements import files
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.person import People, Person
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest, LockstepError, TooLarge
from lockstep_store.wire.messages.servers import MAX_SMALL_STREAM_BYTES
from lockstep_store.wire.messages.writes import (
    BeginItem,
    BeginReply,
    BeginReplyItem,
    GiveUpReply,
    GiveUpRequest,
    WriteTicket,
)
from lockstep_store.wire.names import check_key
from lockstep_store.wire.tickets import TicketSigner

MAX_FILE_BYTES = 1 << 50
SAME_SERVERS_SECONDS = 0.05
"""Small writes that begin within this time go to the same file servers, where they share calls, transactions and
flushes. A longer time would save little more, and leave other file servers idle."""

DemandRoom = Callable[[Reader, str, str, Callable[[], int]], None]
"""`demand_room(reader, bucket, account, added)` raises QuotaExceeded; `added()` are the bytes that it would need."""


class Servers(ReadingOrder, Protocol):
    """The file servers of the cluster."""

    def candidates(self) -> Sequence[Candidate]:
        """Every server, and whether it can take bytes now."""
        ...


class BeginLocks(CommitLocks, Protocol):
    """The locks as a begin needs them."""

    def lease_end(self, tx: Reader, lock_number: int) -> float:
        """Directory time at which that lock's lease ends."""
        ...


@dataclass(frozen=True)
class _Link:
    """A begin whose content the cluster already holds, so that it can be committed without a ticket."""

    item: BeginItem
    person: Person
    size: int
    metadata: str

    @property
    def account(self) -> str:
        return self.person.account


class _NotHeld(LockstepError):
    """The copies or the right that a link counted on are gone, so the bytes must be sent after all."""


class Writes:
    """Begins writes. Thread-safe. `ticket_seconds` bounds how long a write may take from begin to commit.

    `note_open` is called for every content that a ticket announces, so that it is not collected meanwhile.
    """

    def __init__(
        self,
        store: MetadataStore,
        clock: MomentClock,
        people: People,
        locks: BeginLocks,
        servers: Servers,
        signer: TicketSigner,
        copies: int,
        ticket_seconds: float,
        hooks: Hooks,
        note_open: Callable[[Digest, float], None] = lambda digest, expires: None,
        announced: Announced = unannounced,
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._locks = locks
        self._servers = servers
        self._signer = signer
        self._copies = copies
        self._ticket_seconds = ticket_seconds
        self._hooks = hooks
        self._versions = Versions(hooks)
        self._note_open = note_open
        self._announced = announced
        self.demand_room: DemandRoom | None = None
        """Refuses what would be over a quota before its bytes are sent; None while there are no such quotas."""

    # ------------------------------------------------------------ begin

    def begin(self, items: Sequence[BeginItem]) -> BeginReply:
        """Return for each item a ticket, or the committed version when the cluster already holds its content.

        Stores nothing for a ticket, so it is safe to repeat; a write id that was committed returns that version again.
        """
        candidates = self._servers.candidates()
        with self._store.read() as reader:
            results = [attempt(self._begin, reader, item, candidates) for item in items]
            cursor = files.read_cursor(reader)
        links = {index: link for index, link in enumerate(results) if isinstance(link, _Link)}
        answers: dict[int, BeginReplyItem | LockstepError] = {
            index: result for index, result in enumerate(results) if not isinstance(result, _Link)
        }
        if links:
            crash_point("directory.begin.linking")
            with self._announced((link.item.bucket, link.item.path) for link in links.values()):
                linked, cursor = self._store.write(lambda tx: (self._link_all(tx, links), files.read_cursor(tx)))
            crash_point("directory.begin.linked")
            answers.update(linked)
            for index, result in linked.items():
                if isinstance(result, _NotHeld):
                    with self._store.read() as reader:
                        answers[index] = attempt(self._ticket_after_all, reader, links[index], candidates)
        return BeginReply(cursor, [outcome(answers[index]) for index in range(len(items))])

    def _begin(self, reader: Reader, item: BeginItem, candidates: Sequence[Candidate]) -> BeginReplyItem | _Link:
        person = self._hooks.writer(reader, item) or self._people.identify(item.credential)
        check_key(item.path)
        if item.size is not None and item.size > MAX_FILE_BYTES:
            raise TooLarge(f"a file has at most {MAX_FILE_BYTES} bytes")
        place = standing(reader, item.bucket, person, self._clock.wall())
        place.demand("s3:PutObject", item.path, keys=self._hooks.upload_keys(place, item.upload, item.path))
        place.settled(item.settings, person.account)
        self._hooks.before_begin(place, item.path, item.settings, self._clock.wall())
        if item.unchecked:
            self._hooks.before_unchecked(place)
        before = self._done_before(reader, place, item)
        if before is not None:
            return before
        link = _Link(item, person, item.size or 0, stored_metadata(item.metadata))
        size = self._readable_size(reader, place, item)
        if size is not None:
            if item.size is not None and item.size != size:
                raise BadDigest(f"the content {item.digest} has {size} bytes, not {item.size}")
            if self._held_by_living(reader, item) >= self._copies:
                self._check_early(reader, place, item)
                return _Link(item, person, size, link.metadata)
        if self.demand_room is not None:
            self.demand_room(reader, item.bucket, person.account, lambda: self._added(reader, place, item))
        return self._ticket(reader, place, link, candidates)

    def _added(self, reader: Reader, place: Standing, item: BeginItem) -> int:
        """Return the bytes that the write will add, as far as they are known now."""
        if item.upload is not None and not is_part(item.upload):
            return 0  # its parts are there already
        replaced = None
        if item.upload is None and place.bucket.versioning != "enabled":
            replaced = reader.one(files.NULL_VERSION, bucket=item.bucket, path=item.path)
        return (item.size or 0) - (replaced[4] if replaced is not None else 0)

    def _readable_size(self, reader: Reader, place: Standing, item: BeginItem) -> int | None:
        """Return the size of the announced content if the person may read it; None if the bytes must be sent."""
        if item.digest is None:
            return None
        known = {item.bucket: place.ground}
        return readable_size(reader, place.person, item.digest, item.bucket, self._clock.wall(), known)

    def _done_before(self, reader: Reader, place: Standing, item: BeginItem) -> BeginReplyItem | None:
        """Return the reply of this very write, if it was committed."""
        before = self._hooks.done_before(reader, item.upload, item.write_id, item.bucket, item.path)
        if before is None:
            return None
        before.bucket_versioning = place.bucket.versioning
        self._hooks.on_lookup(reader, place.bucket, before)
        return BeginReplyItem(version=before, copies=past_writes.count_copies(reader, before, self._copies))

    def _held_by_living(self, reader: Reader, item: BeginItem) -> int:
        ids = [row[0] for row in reader.all(files.HOLDERS, digest=item.digest) if row[0] not in item.exclude]
        return sum(holder.up for holder in self._servers.holders_in_reading_order(ids))

    def _check_early(self, reader: Reader, place: Standing, item: BeginItem) -> int:
        """Refuse, before any byte is sent, what the commit would refuse; return the number of the lock."""
        if item.upload is not None:
            self._hooks.uploads.check(reader, item.upload, item.bucket, item.path)
            if is_part(item.upload):
                return 0
        number = self._locks.check_write(reader, item.bucket, item.path, place.person.account, item.lock_number)
        check_preconditions(place, item.path, item.preconditions)
        return number

    def _ticket(self, reader: Reader, place: Standing, link: _Link, candidates: Sequence[Candidate]) -> BeginReplyItem:
        item = link.item
        number = self._check_early(reader, place, item)
        kept = self._kept(reader, item)
        placed = choose(self._ranked_by(item, number), candidates, self._copies, keep=kept, exclude=item.exclude)
        expires = self._clock.now() + self._ticket_seconds
        if item.digest is not None:
            self._note_open(item.digest, expires)
        ticket = WriteTicket(
            write_id=item.write_id,
            bucket=item.bucket,
            path=item.path,
            author=link.account,
            fence=0 if is_part(item.upload) else self._locks.fence(reader, item.bucket, item.path),
            lock_number=number,
            release_lock=item.release_lock,
            master=placed.master,
            replicas=placed.replicas,
            spares=placed.spares,
            copies=self._copies,
            expires=expires,
            preconditions=item.preconditions,
            content_type=item.content_type,
            metadata=item.metadata,
            digest=item.digest,
            size=item.size,
            settings=item.settings,
            lease_until=self._locks.lease_end(reader, number) if number else 0.0,
            upload=item.upload,
            access=access_of(link.person),
            attempt=item.attempt,
            limited_by=link.person.limits.key if link.person.limits is not None else "",
        )
        return BeginReplyItem(ticket=self._signer.sign(ticket), master=placed.master, copies=self._copies)

    def _ticket_after_all(self, reader: Reader, link: _Link, candidates: Sequence[Candidate]) -> BeginReplyItem:
        place = standing(reader, link.item.bucket, link.person, self._clock.wall())
        return self._ticket(reader, place, link, candidates)

    def _kept(self, reader: Reader, item: BeginItem) -> list[str]:
        """Return the servers that hold most of the chunks already."""
        kept = self._hooks.uploads.preferred_servers(reader, item.upload) if item.upload is not None else []
        if kept or _is_small(item.size):
            return kept  # a small file has no chunk to share with its last version
        current = reader.one(files.CURRENT, bucket=item.bucket, path=item.path)
        if current is None or _is_small(current[4]):
            return []  # it is where its moment placed it; larger ones before it are with the path's servers
        return [row[0] for row in reader.all(files.HOLDERS, digest=current[3])]

    def _ranked_by(self, item: BeginItem, lock_number: int) -> str:
        """Return what decides which servers come first: the moment for a small write, the path for any other.

        A write under a lock stays with its path's servers, which remember the numbers of the path's locks.
        """
        if _is_small(item.size) and not lock_number and item.upload is None:
            return str(int(self._clock.now() / SAME_SERVERS_SECONDS))
        return f"{item.bucket}/{item.path}"

    # ------------------------------------------------------------ known content

    def _link_all(self, tx: Tx, links: dict[int, _Link]) -> dict[int, BeginReplyItem | LockstepError]:
        return {index: attempt(self._link_one, tx, link) for index, link in links.items()}

    def _link_one(self, tx: Tx, link: _Link) -> BeginReplyItem:
        with tx.savepoint():
            return self._link(tx, link)

    def _link(self, tx: Tx, link: _Link) -> BeginReplyItem:
        item = link.item
        place = standing(tx, item.bucket, link.person, self._clock.wall())
        before = self._done_before(tx, place, item)
        if before is not None:
            return before
        keys = self._hooks.upload_keys(place, item.upload, item.path)
        bucket = place.demand("s3:PutObject", item.path, keys=keys)
        number = self._check_early(tx, place, item)
        if self._readable_size(tx, place, item) is None:
            raise _NotHeld("the person may no longer read the content")
        copies = self._held_by_living(tx, item)
        if copies < self._copies:
            raise _NotHeld("the cluster no longer holds the content")
        if is_part(item.upload):
            assert item.digest is not None
            content = PartContent(item.digest, link.size, item.write_id, item.metadata)
            made = self._hooks.uploads.put_part(tx, item.upload, item.bucket, item.path, content, self._moment())
            tx.after_commit(COMMITS.labels("linked").inc)
            return BeginReplyItem(version=made, copies=copies)
        new = NewVersion(
            path=item.path,
            digest=item.digest,
            size=link.size,
            author=link.account,
            write_id=item.write_id,
            content_type=item.content_type,
            metadata=link.metadata,
            lock_number=number,
            settings=item.settings,
            keeps_tags=not link.person.asks_s3,
        )
        if item.upload is not None:
            new = self._hooks.uploads.take(tx, item.upload, bucket.name, new, item.metadata)
        new = replace(new, settings=place.settled(new.settings, new.author))
        made = self._versions.put(tx, bucket, new, "write", self._moment(), cause_of(link.person))
        crash_point("directory.begin.link-put")
        if item.release_lock and number:
            self._locks.release_in(tx, link.account, number)
        tx.after_commit(COMMITS.labels("linked").inc)
        return BeginReplyItem(version=made, copies=copies)

    def give_up(self, request: GiveUpRequest) -> GiveUpReply:
        """Refuse a write from now on, durably; return its version when it was committed already. Safe to repeat.

        The id is its proxy's secret, so only the caller that began the write knows it. The refusal is stored for a day,
        or as long as tickets live.
        """
        self._people.identify(request.credential)

        def work(tx: Tx) -> GiveUpReply:
            found = past_writes.give_up(tx, request.write_id, request.bucket, request.path, self._moment())
            copies = past_writes.count_copies(tx, found, self._copies) if found is not None else 0
            return GiveUpReply(found, copies)

        return self._store.write(work)

    def _moment(self) -> Moment:
        return Moment.of(self._clock)


def _is_small(size: int | None) -> bool:
    """Whether so many bytes are sent as a small write; a size that nobody knows yet is not."""
    return size is not None and size <= MAX_SMALL_STREAM_BYTES
