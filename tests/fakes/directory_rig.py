"""The directory's rules on a real store, with file servers that are only rows, a clock that is moved by hand, and
people whose credential is their name."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from directory_server.bootstrap import make_hooks
from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.membership import Membership
from directory_server.features.lifecycle.expiry_in_replies import LifecycleDates
from directory_server.files import buckets
from directory_server.files.commits import Commits
from directory_server.files.journal import Changes
from directory_server.files.lookups import Lookups
from directory_server.files.namespace import Namespace
from directory_server.files.writes import Writes
from directory_server.locks.lock_manager import LockManager
from directory_server.maintenance.garbage_collector import Collector
from directory_server.metadata.statements import files
from directory_server.metadata.statements import people as people_rows
from directory_server.people.accounts import insert_account
from directory_server.people.passwords import NOBODY
from directory_server.people.person import Person
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.buckets import CreateBucketRequest
from lockstep_store.wire.messages.files import (
    NO_PRECONDITIONS,
    CopyRequest,
    DeleteReply,
    DeleteRequest,
    FileVersion,
    ListReply,
    ListRequest,
    LookupItem,
    Preconditions,
    VersionsRequest,
)
from lockstep_store.wire.messages.locks import AcquireRequest, LockInfo, LockPath
from lockstep_store.wire.messages.servers import CommitItem, CommitReplyItem, HeartbeatRequest, RegisterRequest
from lockstep_store.wire.messages.writes import BeginItem, BeginReplyItem
from lockstep_store.wire.tickets import TicketSigner
from tests.fakes.clock import ManualClock
from tests.fakes.metadata_engines import open_metadata

TICKET_SECONDS = 600.0
ADMIN = "admin"


class PeopleByName:
    """Takes each credential for its person's name; an empty one is anonymous."""

    def authenticate(self, credential: str) -> Person:
        if not credential:
            raise NotLoggedIn("log in first")
        return Person(credential, credential == ADMIN, f"session-{credential}")

    identify = authenticate


class DirectoryRig:
    """A directory with `servers` file servers up, in a folder that it can be opened in again."""

    def __init__(self, folder: Path, servers: int = 3, copies: int = 2, **store: Any) -> None:
        self.time = ManualClock()
        self.store = open_metadata(folder / "metadata.db", **store)
        self.clock = DirectoryClock(self.time)
        self.signer = TicketSigner(bytes(32))
        self.locks = LockManager(self.store, self.clock)
        self.locks.start()
        self.membership = Membership(self.store, self.clock)
        self.collector = Collector(self.store, self.clock, TICKET_SECONDS)
        people = PeopleByName()
        self.hooks = make_hooks([LifecycleDates().feature])
        self.lookups = Lookups(self.store, self.clock, people, self.locks, self.membership, self.hooks)
        self.namespace = Namespace(self.store, self.clock, people, self.locks, copies, self.hooks)
        self.writes = Writes(
            self.store, self.clock, people, self.locks, self.membership, self.signer, copies, TICKET_SECONDS, self.hooks
        )
        note_counted = self.membership.note_counted
        self.commits = Commits(
            self.store,
            self.clock,
            self.locks,
            self.signer,
            copies,
            TICKET_SECONDS,
            self.hooks,
            note_counted=note_counted,
        )
        self.buckets = buckets.Buckets(self.store, self.clock, self.hooks, self.locks.end_bucket)
        self.changes = Changes(self.store, people)
        self._write_numbers = itertools.count(1)
        self.copies = copies
        buckets.ensure_files_bucket(self.store, ADMIN, self.time.wall())
        with self.store.read() as reader:
            known = reader.one(people_rows.ACCOUNT, name=ADMIN) is not None
        if not known:
            self.store.write(lambda tx: insert_account(tx, ADMIN, NOBODY, admin=True, at=0.0))
        for number in range(1, servers + 1):
            self.server_up(str(number))

    def server_up(self, id: str, free_bytes: int = 1 << 40) -> None:
        """Register a file server, or let it report again."""
        url, store_id = f"https://server-{id}", f"store-{id}"
        if not self.membership.heartbeat(id, heartbeat(url, store_id, free_bytes)):
            self.membership.register(id, RegisterRequest(url, store_id, zone=f"zone-{id}"))
            assert self.membership.heartbeat(id, heartbeat(url, store_id, free_bytes))

    def close(self) -> None:
        self.changes.close()
        self.locks.close()
        self.store.close()

    def write_id(self) -> str:
        """Return an id that was not used before; thread-safe."""
        return f"write-{next(self._write_numbers):010d}"

    def begin(self, path: str, who: str = "ann", bucket: str = "files", **fields: Any) -> BeginReplyItem:
        """Begin one write, or raise its refusal."""
        fields.setdefault("write_id", self.write_id())
        item = BeginItem(credential=who, bucket=bucket, path=path, **fields)
        return self.writes.begin([item]).results[0].unwrap()

    def commit(self, begun: BeginReplyItem, content: bytes, holders: list[str] | None = None) -> CommitReplyItem:
        """Commit as the ticket's master would, with the ticket's servers as holders."""
        assert begun.ticket is not None
        ticket = self.signer.verify(begun.ticket, 0.0)
        named = [ticket.master.id, *(replica.id for replica in ticket.replicas)]
        item = CommitItem(begun.ticket, chunk_digest(content), len(content), named if holders is None else holders)
        return self.commits.commit([item], ticket.master.id).results[0].unwrap()

    def write(self, path: str, content: bytes = b"content", who: str = "ann", **fields: Any) -> FileVersion:
        """A whole write of bytes that the cluster has not seen, from begin to commit."""
        return self.commit(self.begin(path, who, **fields), content).version

    def lookup(self, path: str, who: str = "ann", bucket: str = "files", version: str | None = None) -> FileVersion:
        item = LookupItem(credential=who, bucket=bucket, path=path, version=version)
        return self.lookups.lookup([item]).results[0].unwrap()

    def delete(self, path: str, who: str = "ann", bucket: str = "files", **fields: Any) -> DeleteReply:
        fields.setdefault("write_id", self.write_id())
        return self.namespace.delete(DeleteRequest(credential=who, bucket=bucket, path=path, **fields))

    def copy(self, source: str, target: str, who: str = "ann", **fields: Any) -> FileVersion:
        request = CopyRequest(
            credential=who,
            write_id=fields.pop("write_id", None) or self.write_id(),
            source_bucket=fields.pop("source_bucket", "files"),
            source_path=source,
            source_version=fields.pop("source_version", None),
            bucket=fields.pop("bucket", "files"),
            path=target,
            preconditions=fields.pop("preconditions", NO_PRECONDITIONS),
            **fields,
        )
        return self.namespace.copy(request).version

    def versions(self, path: str, who: str = "ann", bucket: str = "files") -> list[FileVersion]:
        return self.lookups.versions(VersionsRequest(credential=who, bucket=bucket, path=path)).versions

    def list(self, who: str = "ann", bucket: str = "files", **fields: Any) -> ListReply:
        return self.lookups.list(ListRequest(credential=who, bucket=bucket, **fields))

    def bucket(self, name: str, who: str = "ann", **fields: Any) -> str:
        self.buckets.create(PeopleByName().authenticate(who), CreateBucketRequest(who, name, **fields))
        return name

    def lock(self, *paths: str, who: str = "ann", seconds: float = 60.0, client: str = "") -> LockInfo:
        """Take the lock on paths of bucket `files`."""
        request = AcquireRequest(
            credential=who,
            paths=[LockPath("files", path) for path in paths],
            request_id=self.write_id(),
            lease_seconds=seconds,
        )
        reply = self.locks.acquire(who, f"session-{who}", client, request)
        assert reply.lock is not None
        return reply.lock

    def references(self, digest: Digest) -> int | None:
        """Return how many versions name the blob; None without a row."""
        with self.store.read() as reader:
            row = reader.one(files.BLOB, digest=digest)
        return None if row is None else int(row[1])


def heartbeat(url: str, store_id: str, free_bytes: int = 1 << 40) -> HeartbeatRequest:
    return HeartbeatRequest(
        url=url,
        store_id=store_id,
        capacity_bytes=1 << 41,
        free_bytes=free_bytes,
        blobs=0,
        stored_bytes=0,
        healthy=True,
        inventoried=True,
    )


def only_if_absent() -> Preconditions:
    """If-None-Match: *"""
    return Preconditions(if_none_match=["*"])


def only_if_digest(content: bytes) -> Preconditions:
    """If-Match with the digest of `content`."""
    return Preconditions(if_match=[str(chunk_digest(content))])


def replicas_of(rig: DirectoryRig, begun: Any) -> list[str]:
    """The replicas that a signed ticket names."""
    return [replica.id for replica in rig.signer.verify(begun.ticket, 0.0).replicas]
