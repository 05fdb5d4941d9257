"""Writes that bring bytes: begin gives a ticket, commit makes what was stored the truth.

The commit transaction is the moment at which a write happens. Everything that could have changed since begin is
looked at again there: the ticket's time, the lock, the fence, the preconditions, the copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from prometheus_client import Counter, Histogram

from directory_server import access_logs, object_lock, uploads, versions
from directory_server.access.decisions import access_of, standing, standing_by_name
from directory_server.metadata import files
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.namespace import Clock, Locks, People, ReadingOrder, stored_metadata
from directory_server.outcomes import attempt, outcome
from directory_server.people import Person
from directory_server.placement import Candidate, choose
from directory_server.versions import Moment, NewVersion
from wire.crash_points import crash_point
from wire.digest import Digest
from wire.errors import BadDigest, LockstepError, TicketRefused, TooFewHolders, TooLarge
from wire.messages import (
    BeginItem,
    BeginReply,
    BeginReplyItem,
    FileVersion,
    GiveUpReply,
    GiveUpRequest,
    UploadStep,
    WriteTicket,
)
from wire.names import check_path
from wire.server_messages import CommitItem, CommitReply, CommitReplyItem
from wire.tickets import TicketSigner

MAX_FILE_BYTES = 1 << 50
# The signature is checked before the transaction, the time in it: a repeat of a commit that was done may come late.
_ANY_TIME = float("-inf")

COMMITS = Counter("lockstep_directory_commits", "Versions committed", ["how"])
COMMIT_BATCH = Histogram(
    "lockstep_directory_commit_batch_items", "Commits that came in one call", buckets=(1, 2, 4, 8, 16, 32, 64, 256)
)


class Servers(ReadingOrder, Protocol):
    """Which file servers there are."""

    def candidates(self) -> Sequence[Candidate]:
        """Every server, and whether it can take bytes now."""
        ...


@dataclass(frozen=True)
class _Link:
    """A begin whose content the cluster holds already: it can be committed without a ticket."""

    item: BeginItem
    person: Person
    size: int
    metadata: str

    @property
    def account(self) -> str:
        return self.person.account


def _is_part(step: UploadStep | None) -> bool:
    """Whether a write stores a part of an upload, and so makes no version."""
    return step is not None and step.part > 0


class _NotHeld(LockstepError):
    """The copies that a link counted on are gone; the bytes must be sent after all."""


class Writes:
    """Thread-safe. `ticket_seconds` bounds how long a write may take from begin to commit.

    `note_open` hears of every content that a ticket was given for, so that it is not collected meanwhile, and
    `note_done` when that ticket was committed. `given_up` tells whether a server was let drop its copy of a content
    at or after a directory time.
    """

    def __init__(
        self,
        store: MetadataStore,
        clock: Clock,
        people: People,
        locks: Locks,
        servers: Servers,
        signer: TicketSigner,
        copies: int,
        ticket_seconds: float,
        note_open: Callable[[Digest, float], None] = lambda digest, expires: None,
        given_up: Callable[[Reader, Digest, str, float], bool] = lambda reader, digest, server, since: False,
        note_done: Callable[[Digest], None] = lambda digest: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._locks = locks
        self._servers = servers
        self._signer = signer
        self._copies = copies
        self._ticket_seconds = ticket_seconds
        self._note_open = note_open
        self._given_up = given_up
        self._note_done = note_done

    # ------------------------------------------------------------ begin

    def begin(self, items: Sequence[BeginItem]) -> BeginReply:
        """For each item a ticket, or the committed version when its content is held already.

        Keeps nothing, so it is safe to repeat; a write id that was committed before gives that version again.
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
            linked, cursor = self._store.write(lambda tx: (self._link_all(tx, links), files.read_cursor(tx)))
            crash_point("directory.begin.linked")
            answers.update(linked)
            for index, result in linked.items():
                if isinstance(result, _NotHeld):
                    with self._store.read() as reader:
                        answers[index] = attempt(self._ticket, reader, links[index], candidates)
        return BeginReply(cursor, [outcome(answers[index]) for index in range(len(items))])

    def _begin(self, reader: Reader, item: BeginItem, candidates: Sequence[Candidate]) -> BeginReplyItem | _Link:
        person = access_logs.writer(reader, item) or self._people.identify(item.credential)
        check_path(item.path)
        if item.size is not None and item.size > MAX_FILE_BYTES:
            raise TooLarge(f"a file has at most {MAX_FILE_BYTES} bytes")
        place = standing(reader, item.bucket, person, self._clock.wall())
        place.demand("s3:PutObject", item.path)
        place.settled(item.settings, person.account)
        object_lock.check_new(place, item.path, item.settings, self._clock.wall())
        before = uploads.done_before(reader, item.upload, item.write_id, item.bucket, item.path)
        if before is not None:
            return BeginReplyItem(version=before, copies=versions.standing_copies(reader, before, self._copies))
        link = _Link(item, person, item.size or 0, stored_metadata(item.metadata))
        if item.digest is not None:
            blob = reader.one(files.BLOB, digest=item.digest)
            if blob is not None:
                if item.size is not None and item.size != blob[0]:
                    raise BadDigest(f"the content {item.digest} has {blob[0]} bytes, not {item.size}")
                if self._held_by_living(reader, item) >= self._copies:
                    self._check_early(reader, item, person.account)
                    return _Link(item, person, blob[0], link.metadata)
        return self._ticket(reader, link, candidates)

    def _held_by_living(self, reader: Reader, item: BeginItem) -> int:
        ids = [row[0] for row in reader.all(files.HOLDERS, digest=item.digest) if row[0] not in item.exclude]
        return sum(holder.up for holder in self._servers.holders_in_reading_order(ids))

    def _check_early(self, reader: Reader, item: BeginItem, account: str) -> int:
        """Refuse before any byte is sent what the commit would refuse anyway."""
        if item.upload is not None:
            uploads.find(reader, item.upload.id, item.bucket, item.path)
            if item.upload.part:
                return 0
        number = self._locks.check_write(reader, item.bucket, item.path, account, item.lock_number)
        versions.check_preconditions(reader.one(files.CURRENT, bucket=item.bucket, path=item.path), item.preconditions)
        return number

    def _ticket(self, reader: Reader, link: _Link, candidates: Sequence[Candidate]) -> BeginReplyItem:
        item = link.item
        number = self._check_early(reader, item, link.account)
        kept = self._kept(reader, item)
        placed = choose(item.bucket, item.path, candidates, self._copies, keep=kept, exclude=item.exclude)
        expires = self._clock.now() + self._ticket_seconds
        if item.digest is not None:
            self._note_open(item.digest, expires)
        ticket = WriteTicket(
            write_id=item.write_id,
            bucket=item.bucket,
            path=item.path,
            author=link.account,
            fence=0 if _is_part(item.upload) else self._locks.fence(reader, item.bucket, item.path),
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
        )
        return BeginReplyItem(ticket=self._signer.sign(ticket), master=placed.master, copies=self._copies)

    def _kept(self, reader: Reader, item: BeginItem) -> list[str]:
        """The servers that have most of the chunks already."""
        kept = uploads.keep(reader, item.upload) if item.upload is not None else []
        if kept:
            return kept
        current = reader.one(files.CURRENT, bucket=item.bucket, path=item.path)
        return [row[0] for row in reader.all(files.HOLDERS, digest=current[3])] if current is not None else []

    # ------------------------------------------------------------ known content

    def _link_all(self, tx: Tx, links: dict[int, _Link]) -> dict[int, BeginReplyItem | LockstepError]:
        return {index: attempt(self._link_one, tx, link) for index, link in links.items()}

    def _link_one(self, tx: Tx, link: _Link) -> BeginReplyItem:
        with tx.savepoint():
            return self._link(tx, link)

    def _link(self, tx: Tx, link: _Link) -> BeginReplyItem:
        item = link.item
        before = uploads.done_before(tx, item.upload, item.write_id, item.bucket, item.path)
        if before is not None:
            return BeginReplyItem(version=before, copies=versions.standing_copies(tx, before, self._copies))
        place = standing(tx, item.bucket, link.person, self._clock.wall())
        bucket = place.demand("s3:PutObject", item.path)
        number = self._check_early(tx, item, link.account)
        copies = self._held_by_living(tx, item)
        if copies < self._copies:
            raise _NotHeld("the content is not held any more")
        if _is_part(item.upload):
            made = self._put_part(tx, item, item.digest, link.size, item.metadata)
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
        )
        if item.upload is not None:
            new = uploads.take(tx, item.upload, bucket.name, new, item.metadata)
        new = replace(new, settings=place.settled(new.settings, new.author))
        made = versions.put(tx, bucket, new, "write", self._moment())
        crash_point("directory.begin.link-put")
        if item.release_lock and number:
            self._locks.release_in(tx, link.account, number)
        tx.after_commit(COMMITS.labels("linked").inc)
        return BeginReplyItem(version=made, copies=copies)

    def give_up(self, request: GiveUpRequest) -> GiveUpReply:
        """Let a write never be committed, durably; its version when it was committed already. Safe to repeat.

        The id is its proxy's secret, so whoever knows it began the write. Kept for a day, longer than tickets live.
        """
        self._people.authenticate(request.credential)

        def work(tx: Tx) -> GiveUpReply:
            found = versions.give_up(tx, request.write_id, request.bucket, request.path, self._moment())
            copies = versions.standing_copies(tx, found, self._copies) if found is not None else 0
            return GiveUpReply(found, copies)

        return self._store.write(work)

    # ------------------------------------------------------------ commit

    def commit(self, items: Sequence[CommitItem], server_id: str) -> CommitReply:
        """Make stored blobs the current versions of their paths, for the file server `server_id`.

        Durable on return, and safe to repeat: a write id gives the same version for ever. Each item is refused or
        done by itself.
        """
        COMMIT_BATCH.observe(len(items))
        tickets = [attempt(self._signer.verify, item.ticket, _ANY_TIME) for item in items]
        pairs = list(zip(items, tickets, strict=True))

        def work(tx: Tx) -> CommitReply:
            done = [attempt(self._commit_one, tx, item, ticket, server_id) for item, ticket in pairs]
            return CommitReply(files.read_cursor(tx), [outcome(result) for result in done])

        crash_point("directory.commit.asked")
        reply = self._store.write(work)
        crash_point("directory.commit.done")
        return reply

    def _commit_one(
        self, tx: Tx, item: CommitItem, ticket: WriteTicket | LockstepError, server_id: str
    ) -> CommitReplyItem:
        if isinstance(ticket, LockstepError):
            raise ticket
        with tx.savepoint():
            before = uploads.done_before(tx, ticket.upload, ticket.write_id, ticket.bucket, ticket.path)
            if before is not None:
                return self._committed_before(tx, item, before)
            self._check_ticket(item, ticket, server_id)
            return self._commit(tx, item, ticket, server_id)

    def _committed_before(self, tx: Tx, item: CommitItem, before: FileVersion) -> CommitReplyItem:
        if before.digest != item.digest:
            raise TicketRefused("this write was already committed with other content; begin a new write")
        return CommitReplyItem(before, versions.standing_copies(tx, before, self._copies))

    def _check_ticket(self, item: CommitItem, ticket: WriteTicket, server_id: str) -> None:
        if self._clock.now() > ticket.expires:
            raise TicketRefused("the write ticket has expired; begin the write again", expired=True)
        if server_id not in {holder.id for holder in (ticket.master, *ticket.replicas, *ticket.spares)}:
            raise TicketRefused(f"the write ticket is not for file_server-{server_id}")
        if ticket.digest is not None and ticket.digest != item.digest:
            raise BadDigest(f"the write was announced as {ticket.digest}, and {item.digest} was stored")
        if ticket.size is not None and ticket.size != item.size:
            raise BadDigest(f"the write was announced with {ticket.size} bytes, and {item.size} were stored")

    def _commit(self, tx: Tx, item: CommitItem, ticket: WriteTicket, server_id: str) -> CommitReplyItem:
        place = standing_by_name(tx, ticket.bucket, ticket.author, self._clock.wall(), ticket.access)
        bucket = place.demand("s3:PutObject", ticket.path)
        if _is_part(ticket.upload):
            holders = self._counted_holders(tx, item, ticket, server_id)
            made = self._put_part(tx, ticket, item.digest, item.size, ticket.metadata | item.facts)
            return self._stored(tx, item, ticket, made, holders)
        self._locks.check_write(tx, ticket.bucket, ticket.path, ticket.author, ticket.lock_number or None)
        fence = self._locks.fence(tx, ticket.bucket, ticket.path)
        if ticket.fence < fence:
            raise TicketRefused(
                f"{ticket.path!r} was locked by someone after this write began (lock number {fence}); nothing was "
                "written: look at what changed, then write again",
                fence=fence,
            )
        versions.check_preconditions(
            tx.one(files.CURRENT, bucket=ticket.bucket, path=ticket.path), ticket.preconditions
        )
        holders = self._counted_holders(tx, item, ticket, server_id)
        new = NewVersion(
            path=ticket.path,
            digest=item.digest,
            size=item.size,
            author=ticket.author,
            write_id=ticket.write_id,
            content_type=ticket.content_type,
            metadata=stored_metadata(ticket.metadata | item.facts),
            lock_number=ticket.lock_number,
            settings=ticket.settings,
        )
        if ticket.upload is not None:
            new = uploads.take(tx, ticket.upload, bucket.name, new, ticket.metadata | item.facts)
        new = replace(new, settings=place.settled(new.settings, new.author))
        made = versions.put(tx, bucket, new, "write", self._moment())
        if ticket.release_lock and ticket.lock_number:
            self._locks.release_in(tx, ticket.author, ticket.lock_number)
        return self._stored(tx, item, ticket, made, holders)

    def _put_part(
        self, tx: Tx, write: BeginItem | WriteTicket, digest: Digest | None, size: int, facts: dict[str, str]
    ) -> FileVersion:
        assert write.upload is not None
        assert digest is not None
        content = uploads.PartContent(digest, size, write.write_id, facts)
        return uploads.put_part(tx, write.upload, write.bucket, write.path, content, self._moment())

    def _stored(
        self, tx: Tx, item: CommitItem, ticket: WriteTicket, made: FileVersion, holders: list[str]
    ) -> CommitReplyItem:
        crash_point("directory.commit.put")
        versions.add_holders(tx, item.digest, holders)
        crash_point("directory.commit.holders")
        if ticket.digest is not None:
            tx.after_commit(partial(self._note_done, ticket.digest))
        tx.after_commit(COMMITS.labels("stored").inc)
        return CommitReplyItem(made, len(holders))

    def _counted_holders(self, tx: Tx, item: CommitItem, ticket: WriteTicket, server_id: str) -> list[str]:
        """The distinct servers of this cluster that hold the blob, the caller first; never fewer than promised."""
        named = dict.fromkeys([server_id, *item.holders] if server_id in item.holders else item.holders)
        begun = ticket.expires - self._ticket_seconds
        stores = {holder.id: holder.store for holder in (ticket.master, *ticket.replicas, *ticket.spares)}
        known = [
            id
            for id in named
            # What was sealed before it was let go may be gone by now, though the holder said that it has it.
            if _has_its_store(tx, id, stores.get(id, "")) and not self._given_up(tx, item.digest, id, begun)
        ]
        promised = max(ticket.copies, self._copies)
        if len(known) < promised:
            raise TooFewHolders(
                f"{len(known)} of {promised} promised copies are on disk: nothing was written; try again",
                up=len(known),
                needed=promised,
            )
        return known

    def _moment(self) -> Moment:
        return Moment(self._clock.wall(), self._clock.now(), self._clock.calendar())


def _has_its_store(tx: Tx, server_id: str, store: str) -> bool:
    """Whether the server is of this cluster, and has the storage that the ticket was made for."""
    row = tx.one(files.STORE_OF_SERVER, id=server_id)
    return row is not None and store in ("", row[0])
