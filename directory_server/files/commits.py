"""Commits: what masters stored becomes the truth.

The commit transaction is the moment at which a write happens. Everything that could have changed since begin is
looked at again there: the ticket's time, the lock, the fence, the preconditions, the copies. How a write comes by its
ticket is `writes`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from prometheus_client import Counter, Histogram

from directory_server.access.decisions import standing_by_name
from directory_server.features import multipart_uploads
from directory_server.features.lifecycle.dates import LifecycleDates
from directory_server.files import versions
from directory_server.files.namespace import stored_metadata
from directory_server.files.object_changes import cause_of
from directory_server.files.versions import Moment, NewVersion
from directory_server.metadata.statements import files
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.outcomes import attempt, outcome
from directory_server.ports import Clock, Locks
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest, LockstepError, TicketRefused, TooFewHolders
from lockstep_store.wire.messages.files import FileVersion, WriteTicket
from lockstep_store.wire.messages.servers import CommitItem, CommitReply, CommitReplyItem
from lockstep_store.wire.tickets import TicketSigner

# The signature is checked before the transaction, the time in it: a repeat of a commit that was done may come late.
_ANY_TIME = float("-inf")

COMMITS = Counter("lockstep_directory_commits", "Versions committed", ["how"])
COMMIT_BATCH = Histogram(
    "lockstep_directory_commit_batch_items", "Commits that came in one call", buckets=(1, 2, 4, 8, 16, 32, 64, 256)
)


class Commits:
    """Thread-safe. `ticket_seconds` bounds how long a write may take from begin to commit.

    `note_done` hears of every announced content whose ticket was committed. `given_up` tells whether a server was let
    drop its copy of a content at or after a directory time.
    """

    def __init__(
        self,
        store: MetadataStore,
        clock: Clock,
        locks: Locks,
        signer: TicketSigner,
        copies: int,
        ticket_seconds: float,
        dates: LifecycleDates,
        given_up: Callable[[Reader, Digest, str, float], bool] = lambda reader, digest, server, since: False,
        note_done: Callable[[Digest], None] = lambda digest: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._locks = locks
        self._signer = signer
        self._copies = copies
        self._ticket_seconds = ticket_seconds
        self._dates = dates
        self._given_up = given_up
        self._note_done = note_done

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
            before = multipart_uploads.done_before(tx, ticket.upload, ticket.write_id, ticket.bucket, ticket.path)
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
        said = multipart_uploads.said_at_start(place, ticket.upload, ticket.path)
        bucket = place.demand("s3:PutObject", ticket.path, keys=said)
        if multipart_uploads.is_part(ticket.upload):
            holders = self._counted_holders(tx, item, ticket, server_id)
            content = multipart_uploads.PartContent(
                item.digest, item.size, ticket.write_id, ticket.metadata | item.facts
            )
            made = multipart_uploads.put_part(tx, ticket.upload, ticket.bucket, ticket.path, content, self._moment())
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
            new = multipart_uploads.take(tx, ticket.upload, bucket.name, new, ticket.metadata | item.facts)
        new = replace(new, settings=place.settled(new.settings, new.author))
        made = versions.put(tx, bucket, new, "write", self._moment(), cause_of(place.person))
        made.expires = self._dates.of_version(tx, place.ground.lifecycle, made)
        if ticket.release_lock and ticket.lock_number:
            self._locks.release_in(tx, ticket.author, ticket.lock_number)
        return self._stored(tx, item, ticket, made, holders)

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
