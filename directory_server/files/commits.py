"""Commits: makes stored blobs the current versions of their paths.

A write takes effect in its commit transaction, which checks again everything that may have changed since begin: the
ticket's time, the lock, the fence, the preconditions and the copies. `writes` issues the tickets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeGuard

from prometheus_client import Counter, Histogram

from directory_server.access.decisions import standing_by_name
from directory_server.files import past_writes
from directory_server.files.announcements import Announced, unannounced
from directory_server.files.batch import attempt, outcome
from directory_server.files.hooks import Hooks, PartContent, is_part
from directory_server.files.moment import Moment, MomentClock
from directory_server.files.new_version import NewVersion, stored_metadata
from directory_server.files.object_changes import cause_of
from directory_server.files.preconditions import check_preconditions
from directory_server.files.versions import Versions, add_holders
from directory_server.metadata.statements import files
from directory_server.metadata.store import MetadataStore, Reader, Tx
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest, LockstepError, TicketRefused, TooFewHolders
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import CommitItem, CommitReply, CommitReplyItem
from lockstep_store.wire.messages.writes import WriteTicket
from lockstep_store.wire.tickets import TicketSigner

# The signature is checked before the transaction, the time in it: a repeat of a commit that was done may come late.
_ANY_TIME = float("-inf")

COMMITS = Counter("lockstep_directory_commits", "Versions committed", ["how"])
COMMIT_BATCH = Histogram(
    "lockstep_directory_commit_batch_items", "Commits that came in one call", buckets=(1, 2, 4, 8, 16, 32, 64, 256)
)


class CommitLocks(Protocol):
    """The locks as a commit needs them, inside its transaction."""

    def check_write(self, tx: Reader, bucket: str, path: str, account: str, lock_number: int | None) -> int:
        """The number of the lock that covers the write, or 0; Locked or LockStale."""
        ...

    def fence(self, tx: Reader, bucket: str, path: str) -> int:
        """The highest lock number ever granted on the path."""
        ...

    def release_in(self, tx: Tx, account: str, lock_number: int) -> None: ...


class Commits:
    """Commits writes. Thread-safe. `ticket_seconds` bounds how long a write may take from begin to commit.

    `note_done` is called for every announced content whose ticket was committed. `given_up` returns whether a server
    was allowed to drop its copy of a content at or after a directory time. `note_counted` learns of each server whose
    copy counts, and when the write began. `announced` ends read leases first.
    """

    def __init__(
        self,
        store: MetadataStore,
        clock: MomentClock,
        locks: CommitLocks,
        signer: TicketSigner,
        copies: int,
        ticket_seconds: float,
        hooks: Hooks,
        given_up: Callable[[Reader, Digest, str, float], bool] = lambda reader, digest, server, since: False,
        note_done: Callable[[Digest], None] = lambda digest: None,
        note_counted: Callable[[str, float], None] = lambda server, since: None,
        announced: Announced = unannounced,
    ) -> None:
        self._store = store
        self._clock = clock
        self._locks = locks
        self._signer = signer
        self._copies = copies
        self._ticket_seconds = ticket_seconds
        self._hooks = hooks
        self._versions = Versions(hooks)
        self._given_up = given_up
        self._note_done = note_done
        self._note_counted = note_counted
        self._announced = announced

    def commit(self, items: Sequence[CommitItem], server_id: str) -> CommitReply:
        """Make stored blobs the current versions of their paths, for the file server `server_id`.

        Durable on return, and safe to repeat: a write id returns the same version for ever. Each item succeeds or
        fails by itself.
        """
        COMMIT_BATCH.observe(len(items))
        tickets = [attempt(self._signer.verify, item.ticket, _ANY_TIME) for item in items]
        pairs = list(zip(items, tickets, strict=True))

        def work(tx: Tx) -> CommitReply:
            done = [attempt(self._commit_one, tx, item, ticket, server_id) for item, ticket in pairs]
            return CommitReply(files.read_cursor(tx), [outcome(result) for result in done])

        crash_point("directory.commit.asked")
        paths = [(each.bucket, each.path) for each in tickets if _makes_a_version(each)]
        with self._announced(paths):
            reply = self._store.write(work)
        crash_point("directory.commit.done")
        return reply

    def _commit_one(
        self, tx: Tx, item: CommitItem, ticket: WriteTicket | LockstepError, server_id: str
    ) -> CommitReplyItem:
        if isinstance(ticket, LockstepError):
            raise ticket
        with tx.savepoint():
            before = self._hooks.done_before(tx, ticket.upload, ticket.write_id, ticket.bucket, ticket.path)
            if before is not None:
                return self._committed_before(tx, item, before)
            self._check_ticket(item, ticket, server_id)
            return self._commit(tx, item, ticket, server_id)

    def _committed_before(self, tx: Tx, item: CommitItem, before: FileVersion) -> CommitReplyItem:
        if before.digest != item.digest:
            raise TicketRefused("this write was already committed with other content: begin a new write")
        return CommitReplyItem(before, past_writes.count_copies(tx, before, self._copies))

    def _check_ticket(self, item: CommitItem, ticket: WriteTicket, server_id: str) -> None:
        if self._clock.now() > ticket.expires:
            raise TicketRefused("the write ticket has expired: begin the write again", expired=True)
        if server_id not in {holder.id for holder in (ticket.master, *ticket.replicas, *ticket.spares)}:
            raise TicketRefused(f"the write ticket is not for file_server-{server_id}")
        if ticket.digest is not None and ticket.digest != item.digest:
            raise BadDigest(f"the write announced content {ticket.digest}, but {item.digest} was stored")
        if ticket.size is not None and ticket.size != item.size:
            raise BadDigest(f"the write announced {ticket.size} bytes, but {item.size} were stored")

    def _commit(self, tx: Tx, item: CommitItem, ticket: WriteTicket, server_id: str) -> CommitReplyItem:
        place = standing_by_name(tx, ticket.bucket, ticket.author, self._clock.wall(), ticket.access, ticket.limited_by)
        keys = self._hooks.upload_keys(place, ticket.upload, ticket.path)
        bucket = place.demand("s3:PutObject", ticket.path, keys=keys)
        if is_part(ticket.upload):
            holders = self._counted_holders(tx, item, ticket, server_id)
            content = PartContent(item.digest, item.size, ticket.write_id, ticket.metadata | item.trailing_metadata)
            moment = Moment.of(self._clock)
            made = self._hooks.uploads.put_part(tx, ticket.upload, ticket.bucket, ticket.path, content, moment)
            return self._stored(tx, item, ticket, made, holders)
        self._locks.check_write(tx, ticket.bucket, ticket.path, ticket.author, ticket.lock_number or None)
        fence = self._locks.fence(tx, ticket.bucket, ticket.path)
        if ticket.fence < fence:
            raise TicketRefused(
                f"nothing was written: {ticket.path!r} was locked after this write began (lock number {fence}); "
                "check what has changed, then write again",
                fence=fence,
            )
        check_preconditions(place, ticket.path, ticket.preconditions)
        holders = self._counted_holders(tx, item, ticket, server_id)
        new = NewVersion(
            path=ticket.path,
            digest=item.digest,
            size=item.size,
            author=ticket.author,
            write_id=ticket.write_id,
            content_type=ticket.content_type,
            metadata=stored_metadata(ticket.metadata | item.trailing_metadata),
            lock_number=ticket.lock_number,
            settings=ticket.settings,
            keeps_tags=not place.person.asks_s3,
        )
        if ticket.upload is not None:
            new = self._hooks.uploads.take(
                tx, ticket.upload, bucket.name, new, ticket.metadata | item.trailing_metadata
            )
        new = replace(new, settings=place.settled(new.settings, new.author))
        made = self._versions.put(tx, bucket, new, "write", Moment.of(self._clock), cause_of(place.person))
        if ticket.release_lock and ticket.lock_number:
            self._locks.release_in(tx, ticket.author, ticket.lock_number)
        return self._stored(tx, item, ticket, made, holders)

    def _stored(
        self, tx: Tx, item: CommitItem, ticket: WriteTicket, made: FileVersion, holders: list[str]
    ) -> CommitReplyItem:
        crash_point("directory.commit.put")
        add_holders(tx, item.digest, holders)
        crash_point("directory.commit.holders")
        if ticket.digest is not None:
            tx.after_commit(partial(self._note_done, ticket.digest))
        tx.after_commit(COMMITS.labels("stored").inc)
        for holder in holders:
            tx.after_commit(partial(self._note_counted, holder, self._begun(ticket)))
        return CommitReplyItem(made, len(holders))

    def _counted_holders(self, tx: Tx, item: CommitItem, ticket: WriteTicket, server_id: str) -> list[str]:
        """Return the servers of this cluster that hold the blob, the caller first. TooFewHolders below the promise."""
        named = dict.fromkeys([server_id, *item.holders] if server_id in item.holders else item.holders)
        begun = self._begun(ticket)
        ticketed = {holder.id: holder.store for holder in (ticket.master, *ticket.replicas, *ticket.spares)}
        stores: dict[str, str] = dict(tx.all(files.STORES))
        known = [
            id
            for id in named
            # A copy sealed before the server was allowed to drop it may be gone, though the server reports it.
            if _has_its_store(stores, id, ticketed.get(id, "")) and not self._given_up(tx, item.digest, id, begun)
        ]
        promised = max(ticket.copies, self._copies)
        if len(known) < promised:
            raise TooFewHolders(
                f"nothing was written: only {len(known)} of {promised} promised copies are on disk; try again",
                up=len(known),
                needed=promised,
            )
        return known

    def _begun(self, ticket: WriteTicket) -> float:
        return ticket.expires - self._ticket_seconds


def _makes_a_version(ticket: WriteTicket | LockstepError) -> TypeGuard[WriteTicket]:
    return isinstance(ticket, WriteTicket) and not is_part(ticket.upload)


def _has_its_store(stores: Mapping[str, str], server_id: str, ticketed: str) -> bool:
    """Whether the server belongs to this cluster and has the storage that the ticket was issued for."""
    return server_id in stores and ticketed in ("", stores[server_id])
