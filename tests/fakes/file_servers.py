"""Real file servers in one process, with a fake network and a fake directory.

`LocalNetwork` stands in for `runtime.peers.caller.PeerClient` and calls each server's WSGI application directly; its
switches break one server at a time. `FakeDirectory` signs tickets and remembers what it was told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from file_server.bootstrap import FileServer
from file_server.settings import Settings
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.chunk_stream import encode_stream
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.codec import Call, decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, PeerUnreachable, to_problem
from lockstep_store.wire.messages.authorities import AuthorityUse, TrustNews
from lockstep_store.wire.messages.base import Nothing, Outcome
from lockstep_store.wire.messages.files import FileVersion, Holder
from lockstep_store.wire.messages.servers import (
    COLLECT,
    COMMIT,
    DAMAGED,
    FOUND,
    HEARTBEAT,
    HELD,
    HOP_HEADER,
    INVENTORY,
    REGISTER,
    TICKET_HEADER,
    WRITE_PATH,
    CollectReply,
    CommitNote,
    CommitReply,
    CommitReplyItem,
    CopyOrder,
    FoundBlob,
    FoundReply,
    HeartbeatReply,
    HeldReply,
    InventoryOrder,
    InventoryReply,
    RegisterReply,
    WriteReply,
)
from lockstep_store.wire.messages.writes import WriteTicket
from lockstep_store.wire.tickets import TicketSigner
from tests.fakes.clock import ManualClock
from tests.fakes.local_calls import LocalCalls, SentBody, exchange

DIRECTORY_URL = "https://directory"
TICKET_KEY = bytes(range(32))
TICKET_SECONDS = 60.0


class FakeDirectory:
    """The part of a directory that file servers call. Its time is the test's clock plus 1000 seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.signer = TicketSigner(TICKET_KEY)
        self.known: set[str] = set()
        self.beats: list[Any] = []
        self.orders: list[CopyOrder] = []
        self.held: list[Digest] = []
        self.unwanted: set[Digest] = set()
        self.droppable: set[Digest] = set()
        self.asked_to_drop: list[Digest] = []
        self.damaged: list[tuple[str, Digest]] = []
        self.commits: list[Any] = []
        self.versions: dict[str, FileVersion] = {}
        self.refuse_commit: LockstepError | None = None
        self.during_collect: Callable[[], None] = lambda: None
        self.counted: set[Digest] | None = None
        self.pages: list[Any] = []
        self.notes: list[CommitNote] = []
        self.found_blobs: list[FoundBlob] = []
        self.inventory: InventoryOrder | None = None
        self.during_inventory: Callable[[], None] = lambda: None
        self._guard = threading.Lock()

    def now(self) -> float:
        return self._clock.monotonic() + 1000.0

    def answer(self, call: Call[Any, Any], request: Any) -> Any:
        with self._guard:
            return {
                REGISTER.path: self._register,
                HEARTBEAT.path: self._heartbeat,
                COMMIT.path: self._commit,
                HELD.path: self._held,
                DAMAGED.path: self._damaged,
                COLLECT.path: self._collect,
                INVENTORY.path: self._inventory,
                FOUND.path: self._found,
            }[call.path](request)

    def _register(self, request: Any) -> RegisterReply:
        self.known.add(request.url)
        return RegisterReply(TICKET_KEY.hex(), self.now(), 1.0)

    def _heartbeat(self, request: Any) -> HeartbeatReply:
        self.beats.append(request)
        return HeartbeatReply(request.url in self.known, self.now(), self.orders, inventory=self.inventory)

    def _commit(self, request: Any) -> CommitReply:
        self.commits.append(request)
        results: list[Outcome[CommitReplyItem]] = []
        for item in request.items:
            if self.refuse_commit is not None:
                results.append(Outcome(problem=to_problem(self.refuse_commit)))
                continue
            ticket = self.signer.verify(item.ticket, self.now())
            version = self.versions.setdefault(
                ticket.write_id,
                FileVersion(
                    ticket.bucket,
                    ticket.path,
                    f"v{len(self.versions) + 1}",
                    item.digest,
                    item.size,
                    ticket.author,
                    0.0,
                    cursor=len(self.versions) + 1,
                ),
            )
            results.append(Outcome(CommitReplyItem(version, len(item.holders))))
        return CommitReply(len(self.versions), results)

    def _held(self, request: Any) -> HeldReply:
        self.held += request.digests
        return HeldReply([digest for digest in request.digests if digest in self.unwanted])

    def _damaged(self, request: Any) -> Nothing:
        self.damaged += [(request.holder, digest) for digest in request.digests]
        return Nothing()

    def _inventory(self, request: Any) -> InventoryReply:
        """This directory's metadata counts `counted`; None agrees with every report."""
        self.pages.append(request)
        if self.counted is None:
            return InventoryReply([], [], 0, request.through)
        low, high = request.after or b"", request.through or b"\xff" * 33
        missing = sorted(d for d in self.counted if low < d <= high and d not in request.digests)
        unknown = [d for d in request.digests if d not in self.counted]
        self.during_inventory()
        return InventoryReply(missing, unknown, 0, request.through)

    def _found(self, request: Any) -> FoundReply:
        self.notes += request.notes
        self.found_blobs += request.blobs
        return FoundReply(len(request.notes))

    def _collect(self, request: Any) -> CollectReply:
        self.during_collect()
        self.asked_to_drop += request.digests
        return CollectReply([digest for digest in request.digests if digest in self.droppable])


class LocalNetwork(LocalCalls):
    """Calls between programs of one process.

    Switches, each a set of URLs: `dead` refuses, `hanging` answers nothing for `hang_seconds`, `mute` does the work
    but its answer is lost. `lost_answers` counts down the directory's. `sent` counts the body bytes to each URL,
    `waited_for` has who was waited for in vain, and `alter` may change what a file server answers at a path.
    """

    def __init__(self, directory: FakeDirectory) -> None:
        self.directory = directory
        self.servers: dict[str, FileServer] = {}
        self.dead: set[str] = set()
        self.hanging: set[str] = set()
        self.mute: set[str] = set()
        self.lost_answers = 0
        self.hang_seconds = 0.2
        self.waited_for: list[str] = []
        self.sent: dict[str, int] = {}
        self.alter: Callable[[str, bytes], bytes] = lambda path, body: body
        self._release = threading.Event()

    def close(self) -> None:
        self._release.set()

    def call(self, url: str, call: Call[Any, Any], request: Any, timeout: float | None = None) -> Any:
        if url != DIRECTORY_URL:
            return super().call(url, call, request, timeout)
        self._check(url)
        reply = encode(self.directory.answer(call, call.decode_request(encode(request))))
        if self.lost_answers > 0:
            self.lost_answers -= 1
            raise PeerUnreachable(f"{url} cut the connection", url=url)
        self._check_answer(url)
        return call.decode_reply(reply)

    def ask(
        self, url: str, method: str, path: str, headers: dict[str, str], blocks: Iterator[bytes | memoryview]
    ) -> bytes:
        self._check(url)
        body = SentBody(blocks)
        try:
            answer = exchange(self.servers[url].wsgi, method, path, headers, body)
        finally:
            self.sent[url] = self.sent.get(url, 0) + body.given
        self._check_answer(url)
        return self.alter(path, answer)

    def _check(self, url: str) -> None:
        if url in self.dead or (url != DIRECTORY_URL and url not in self.servers):
            raise PeerUnreachable(f"{url} refused the connection", url=url)
        if url in self.hanging:
            self.waited_for.append(url)
            self._release.wait(self.hang_seconds)
            raise PeerUnreachable(f"{url} did not answer in time", url=url)

    def _check_answer(self, url: str) -> None:
        if url in self.mute:
            raise PeerUnreachable(f"{url} cut the connection", url=url)


class AnyProgram:
    """A membership in which every caller is a proxy of the cluster, for tests without certificates."""

    revoked_number = -1
    authorities = AuthorityUse([])

    def learn(self, revoked_pem: str, trust: TrustNews | None, issuer: str) -> None:
        """There is no list and no authority."""

    def verify(self, header: str) -> PeerIdentity:
        return PeerIdentity("client_proxy", "1")


class Cluster:
    """File servers and a directory; writes as a proxy does."""

    def __init__(self, root: Path, count: int, clock: Clock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.directory = FakeDirectory(self.clock)
        self.network = LocalNetwork(self.directory)
        self._sealer = Sealer(KeyRing.load_or_create(root / "keys.json"))
        self._root = root
        self._writes = 0
        for number in range(1, count + 1):
            self.start(str(number))

    def start(self, id: str) -> FileServer:
        settings = Settings(
            id=id, data=self._root / f"data-{id}", directory=DIRECTORY_URL, advertise=self.url(id), reserve_bytes=0
        )
        server = FileServer(settings, self._sealer, self.network, self.clock, AnyProgram())
        self.network.servers[self.url(id)] = server
        server.link.step()
        return server

    def stop(self) -> None:
        self.network.close()
        for server in self.network.servers.values():
            server.stop()

    def url(self, id: str) -> str:
        return f"https://file-server-{id}"

    def server(self, id: str) -> FileServer:
        return self.network.servers[self.url(id)]

    def holder(self, id: str) -> Holder:
        return Holder(id, self.url(id))

    def ticket(self, holders: str = "12", spares: str = "", **changes: Any) -> str:
        """Sign a ticket; the first of `holders` is the master."""
        self._writes += 1
        fields: dict[str, Any] = {
            "write_id": f"write-{self._writes:012d}",
            "bucket": "files",
            "path": "a.txt",
            "author": "ada",
            "fence": 0,
            "lock_number": 0,
            "release_lock": False,
            "master": self.holder(holders[0]),
            "replicas": [self.holder(id) for id in holders[1:]],
            "spares": [self.holder(id) for id in spares],
            "copies": len(holders),
            "expires": self.directory.now() + TICKET_SECONDS,
        }
        return self.directory.signer.sign(WriteTicket(**(fields | changes)))

    def write(self, data: bytes, ticket: str, hop: str = "master", to: str = "1") -> WriteReply:
        """Send `data` under `ticket`."""
        return self.send(encode_stream(chunk_bytes(data)), ticket, hop, to)

    def send(self, blocks: Iterable[bytes | memoryview], ticket: str, hop: str = "master", to: str = "1") -> WriteReply:
        """Send a chunk stream under `ticket`."""
        headers = {TICKET_HEADER: ticket, HOP_HEADER: hop}
        return decoder(WriteReply).decode(self.network.send_stream(self.url(to), WRITE_PATH, headers, blocks))

    def holds(self, id: str, digest: Digest) -> bool:
        """Read and verify every byte of a blob on one server."""
        store = self.server(id).store
        if store.generation(digest) is None:
            return False
        return all(len(store.read_chunk(chunk)) == length for chunk, length in store.manifest(digest).chunks)
