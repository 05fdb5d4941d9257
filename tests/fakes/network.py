"""A fake network of one directory and some file servers (`network_file_server`), with a switch for each way to fail.

`FakeNetwork` stands in for `runtime.peers.caller.PeerClient`: messages are encoded and decoded as on the wire, and
failures raise what the real client raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from lockstep_store.wire.codec import Call, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    LockstepError,
    NotFound,
    PeerUnreachable,
    TicketRefused,
    TooFewHolders,
    to_problem,
)
from lockstep_store.wire.messages.base import Nothing, Outcome
from lockstep_store.wire.messages.files import LOOKUP, FileVersion, Holder, LookupItem, LookupReply, LookupRequest
from lockstep_store.wire.messages.kms import BUCKET_ENCRYPTION
from lockstep_store.wire.messages.s3 import SettingReply
from lockstep_store.wire.messages.servers import (
    DAMAGED,
    DamagedRequest,
)
from lockstep_store.wire.messages.writes import (
    BEGIN,
    GIVE_UP,
    BeginItem,
    BeginReply,
    BeginReplyItem,
    BeginRequest,
    GiveUpReply,
    GiveUpRequest,
)

DIRECTORY_URL = "https://directory"


class FakeAnswer:
    """A body that is read piece by piece, cut or stalled where a switch says."""

    def __init__(
        self, pieces: Iterable[bytes | memoryview], breaks_after: int | None, on_read: Callable[[], None]
    ) -> None:
        self._body = memoryview(b"".join(pieces))
        self._at = 0
        self._breaks_after = breaks_after
        self._on_read = on_read

    def read(self, count: int) -> bytes:
        self._on_read()
        if self._breaks_after is not None and self._at + count > self._breaks_after:
            raise PeerUnreachable("it cut the connection")
        piece = bytes(self._body[self._at : self._at + count])
        self._at += len(piece)
        return piece

    def read_all(self, limit: int) -> bytes:
        return self.read(min(limit, len(self._body) - self._at))

    def __enter__(self) -> FakeAnswer:
        return self

    def __exit__(self, *exc: object) -> None:
        return


class FakeServer:
    """The switches that a directory and file servers have in common."""

    def __init__(self) -> None:
        self.down = False
        """Whether every connection is refused."""
        self.hang = False
        """Whether requests get no reply (the caller's time-out is immediate)."""
        self.drop_replies = 0
        """How many calls are carried out although their reply is lost."""
        self.calls: list[str] = []

    def arrive(self, what: str) -> None:
        self.calls.append(what)
        if self.down:
            raise PeerUnreachable("refused the connection") from ConnectionRefusedError()
        if self.hang:
            raise PeerUnreachable("did not answer in time") from TimeoutError()

    def leave(self) -> None:
        if self.drop_replies:
            self.drop_replies -= 1
            raise PeerUnreachable("cut the connection") from ConnectionResetError()


class FakeNetwork:
    """Servers by URL."""

    def __init__(self) -> None:
        self.servers: dict[str, FakeServer] = {}

    def _reach(self, url: str, what: str) -> Any:
        server = self.servers.get(url)
        if server is None:
            raise PeerUnreachable(f"nothing listens at {url}") from ConnectionRefusedError()
        server.arrive(what)
        return server

    def call(self, url: str, call: Call[Any, Any], request: Any, timeout: float | None = None) -> Any:
        server = self._reach(url, call.path)
        reply = encode(server.answer(call, call.decode_request(encode(request))))
        server.leave()
        return call.decode_reply(reply)

    def open(
        self,
        url: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> FakeAnswer:
        server = self._reach(url, path)
        answer: FakeAnswer = server.stream(path, body)
        return answer

    def send_stream(
        self,
        url: str,
        path: str,
        headers: dict[str, str],
        blocks: Iterable[bytes | memoryview],
        timeout: float | None = None,
    ) -> bytes:
        server = self._reach(url, path)
        reply: bytes = server.take_stream(headers, blocks)
        server.leave()
        return reply


class Holding(Protocol):
    """A file server as the directory knows it."""

    holder: Holder


class FakeDirectory(FakeServer):
    """Versions, linking and write ids as the real one has them; permissions and locks only as switches."""

    def __init__(self, network: FakeNetwork, copies: int = 1) -> None:
        super().__init__()
        network.servers[DIRECTORY_URL] = self
        self.copies = copies
        self.file_servers: list[Holding] = []
        self.versions: dict[tuple[str, str], list[FileVersion]] = {}
        self.by_write_id: dict[str, FileVersion] = {}
        self.holders: dict[Digest, list[Holder]] = {}
        self.damaged: list[tuple[str, Digest]] = []
        self.begun: list[BeginItem] = []
        self.refuse_begin: LockstepError | None = None
        self.refuse_give_up: LockstepError | None = None
        self.given_up: set[str] = set()
        self.before_lookup: Callable[[], None] = lambda: None
        self.batches: list[int] = []
        self.replies: dict[str, Callable[[Any], Any]] = {}
        """Replies of calls that single tests use, by the call's path."""
        self._guard = threading.RLock()

    def answer(self, call: Call[Any, Any], request: Any) -> Any:
        if call is LOOKUP:
            return self._lookup(request)
        if call is BEGIN:
            return self._begin(request)
        if call is GIVE_UP:
            return self._give_up(request)
        if call is DAMAGED:
            return self._damaged(request)
        if call is BUCKET_ENCRYPTION and call.path not in self.replies:
            return SettingReply()
        return self.replies[call.path](request)

    def stream(self, path: str, body: bytes) -> FakeAnswer:
        return FakeAnswer([b"{}"], None, lambda: None)

    def current(self, bucket: str, path: str) -> FileVersion | None:
        versions = self.versions.get((bucket, path))
        return versions[-1] if versions else None

    def commit(self, item: BeginItem, digest: Digest, size: int, holder: Holder) -> FileVersion:
        """Commit a version; a write id seen before returns the version it made."""
        with self._guard:
            if item.write_id in self.by_write_id:
                return self.by_write_id[item.write_id]
            if item.write_id in self.given_up:
                raise TicketRefused("this write was given up")
            known = self.holders.setdefault(digest, [])
            if holder not in known:
                known.append(holder)
            cursor = len(self.by_write_id) + 1
            version = FileVersion(
                bucket=item.bucket,
                path=item.path,
                version=f"v{cursor}",
                digest=digest,
                size=size,
                author="ann",
                created_at=0.0,
                cursor=cursor,
                content_type=item.content_type,
                metadata=item.metadata,
            )
            self.versions.setdefault((item.bucket, item.path), []).append(version)
            self.by_write_id[item.write_id] = version
            return version

    def _lookup(self, request: LookupRequest) -> LookupReply:
        self.before_lookup()
        self.batches.append(len(request.items))
        return LookupReply(cursor=len(self.by_write_id), results=[self._found(item) for item in request.items])

    def _found(self, item: LookupItem) -> Outcome[FileVersion]:
        versions = self.versions.get((item.bucket, item.path), [])
        chosen = [version for version in versions if item.version in (None, version.version)]
        if not chosen:
            return Outcome(problem=to_problem(NotFound(f"there is no file {item.path!r}")))
        holders = self.holders.get(chosen[-1].digest, [])
        return Outcome(value=msgspec.structs.replace(chosen[-1], holders=list(holders)))

    def _begin(self, request: BeginRequest) -> BeginReply:
        results = []
        for item in request.items:
            self.begun.append(item)
            try:
                results.append(Outcome(value=self._begin_one(item)))
            except LockstepError as error:
                results.append(Outcome[BeginReplyItem](problem=to_problem(error)))
        return BeginReply(cursor=len(self.by_write_id), results=results)

    def _begin_one(self, item: BeginItem) -> BeginReplyItem:
        if self.refuse_begin is not None:
            raise self.refuse_begin
        done = self.by_write_id.get(item.write_id)
        if done is not None:
            return BeginReplyItem(version=done, copies=self.copies)
        if item.digest in self.holders:
            holder = self.holders[item.digest][0]
            return BeginReplyItem(version=self.commit(item, item.digest, item.size or 0, holder), copies=self.copies)
        usable = [server for server in self.file_servers if server.holder.id not in item.exclude]
        if not usable:
            raise TooFewHolders("no file server is up")
        return BeginReplyItem(ticket=encode(item).decode(), master=usable[0].holder, copies=self.copies)

    def _give_up(self, request: GiveUpRequest) -> GiveUpReply:
        if self.refuse_give_up is not None:
            raise self.refuse_give_up
        with self._guard:
            done = self.by_write_id.get(request.write_id)
            if done is None:
                self.given_up.add(request.write_id)
            return GiveUpReply(done, self.copies if done is not None else 0)

    def _damaged(self, request: DamagedRequest) -> Nothing:
        self.damaged += [(request.holder, digest) for digest in request.digests]
        return Nothing()
