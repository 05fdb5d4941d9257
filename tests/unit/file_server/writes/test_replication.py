"""A master's writes: frames passed on as they come, replicas that fail in every way, and what is committed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from file_server.store.chunk_store import Fence
from file_server.writes.blob_sender import BlobSender
from file_server.writes.small_write_sender import MAX_IN_FLIGHT, SmallWriteSender
from file_server.writes.stream_write_handler import SMALL_BYTES
from file_server.writes.ticket_check import MAX_BEGUN_AGAIN, DirectoryTime, TicketCheck
from file_server.writes.upload_slots import UploadSlots
from lockstep_store.runtime.clock import SystemClock
from lockstep_store.wire.chunk_stream import END_BYTES, FRAME_BYTES, MAGIC, encode_stream, trailing_metadata_frame
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    BadDigest,
    BadRequest,
    IncompleteBody,
    MissingChunks,
    Overloaded,
    PeerUnreachable,
    PreconditionFailed,
    StorageFull,
    TicketRefused,
    TooFewHolders,
    Unavailable,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.base import Outcome
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.servers import (
    SMALL_WRITES,
    SmallWrite,
    SmallWritesReply,
    SmallWritesRequest,
    WriteReply,
)
from tests.fakes.clock import ManualClock
from tests.fakes.file_servers import DIRECTORY_URL, TICKET_KEY, Cluster

SIZES = [0, 5000, 900_000, 6_000_000]
"""Up to 1 MiB a body is sent whole; beyond, frame by frame."""
LARGE = SIZES[-1]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, 4)
    yield cluster
    cluster.stop()


def _nothing_happened(cluster: Cluster) -> bool:
    return not cluster.directory.commits and not cluster.directory.versions


@pytest.mark.parametrize("size", SIZES)
def test_a_write_is_on_every_holder_before_it_is_committed(cluster: Cluster, seed: int, size: int) -> None:
    """The answer names the version, and each holder has every byte."""
    reply = cluster.write(random.Random(seed).randbytes(size), cluster.ticket("132"))
    assert reply.copies == 3
    assert reply.version is not None
    assert reply.version.version == "v1"
    assert reply.size == size
    assert all(cluster.holds(id, reply.digest) for id in "132")
    assert not cluster.holds("4", reply.digest)
    assert cluster.directory.commits[0].items[0].holders == ["1", "3", "2"]


def test_frames_leave_for_the_replica_before_the_upload_is_over(cluster: Cluster, seed: int) -> None:
    """A replica receives while the master still does."""
    chunks = list(chunk_bytes(random.Random(seed).randbytes(20_000_000)))
    arrived = threading.Event()
    replica = cluster.server("2").store
    original = replica.stage

    def stage() -> object:
        arrived.set()
        return original()

    replica.stage = stage  # type: ignore[method-assign,assignment]

    def frames() -> Iterator[Chunk]:
        yield from chunks[:-1]
        assert arrived.wait(60)
        yield chunks[-1]

    assert cluster.send(encode_stream(frames()), cluster.ticket()).copies == 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("switch", ["dead", "hanging", "mute"])
def test_a_spare_takes_the_place_of_a_replica_that_fails(cluster: Cluster, seed: int, size: int, switch: str) -> None:
    """A replica that is down, hangs or never answers is replaced, and the write still has its copies."""
    getattr(cluster.network, switch).add(cluster.url("2"))
    reply = cluster.write(random.Random(seed).randbytes(size), cluster.ticket("12", spares="34"))
    assert reply.copies == 2
    assert cluster.directory.commits[0].items[0].holders == ["1", "3"]
    assert cluster.holds("3", reply.digest)


def test_after_a_failure_the_next_write_goes_to_the_spare_at_once(cluster: Cluster) -> None:
    """A replica that was just found hanging costs one write its patience, not every write."""
    cluster.network.hanging.add(cluster.url("2"))
    cluster.write(b"first", cluster.ticket("12", spares="3"))
    assert cluster.network.waited_for == [cluster.url("2")]
    assert cluster.write(b"second", cluster.ticket("12", spares="3")).copies == 2
    assert cluster.network.waited_for == [cluster.url("2")]


@pytest.mark.parametrize("size", SIZES)
def test_too_few_copies_is_no_write(cluster: Cluster, seed: int, size: int) -> None:
    """When the promised copies cannot be made the write fails and the directory never hears of it."""
    cluster.network.dead |= {cluster.url("2"), cluster.url("3")}
    with pytest.raises(TooFewHolders, match="1 of 2"):
        cluster.write(random.Random(seed).randbytes(size), cluster.ticket("12", spares="3"))
    assert _nothing_happened(cluster)


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_full_replica_is_replaced(cluster: Cluster, seed: int, size: int) -> None:
    """StorageFull on a replica is not the write's failure as long as there is a spare."""
    full = cluster.server("2").store
    full._files._reserve_bytes = 1 << 62
    reply = cluster.write(random.Random(seed).randbytes(size), cluster.ticket("12", spares="3"))
    assert cluster.directory.commits[0].items[0].holders == ["1", "3"]
    assert cluster.holds("3", reply.digest)
    assert full.problem


def test_why_copies_could_not_be_made_is_said(cluster: Cluster) -> None:
    """A disk that is full is not mended by starting a server."""
    cluster.server("2").store._files._reserve_bytes = 1 << 62
    cluster.network.dead.add(cluster.url("3"))
    with pytest.raises(TooFewHolders, match=r"file server 2: .*disk is full.*; file server 3: .*refused"):
        cluster.write(b"content", cluster.ticket("12", spares="3"))
    with pytest.raises(TooFewHolders, match="the ticket names no other file server"):
        cluster.write(b"content", cluster.ticket("1", copies=2))


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_full_master_says_so(cluster: Cluster, seed: int, size: int) -> None:
    """A master without room refuses as StorageFull, so that the writer begins again elsewhere."""
    cluster.server("1").store._files._reserve_bytes = 1 << 62
    with pytest.raises(StorageFull):
        cluster.write(random.Random(seed).randbytes(size), cluster.ticket())
    assert _nothing_happened(cluster)


def _seal_at(cluster: Cluster, id: str, data: bytes) -> None:
    cluster.write(data, cluster.ticket(id))


def test_a_replica_gets_the_chunks_that_it_lacks(cluster: Cluster, seed: int) -> None:
    """An edit sends only what changed; a replica without the rest gets it from the master."""
    old = random.Random(seed).randbytes(12_000_000)
    new = old[:6_000_000] + b"!" + old[6_000_001:]
    _seal_at(cluster, "1", old)
    known = {chunk.digest for chunk in chunk_bytes(old)}
    thin = [chunk._replace(data=None) if chunk.digest in known else chunk for chunk in chunk_bytes(new)]
    assert any(chunk.data is None for chunk in thin)
    reply = cluster.send(encode_stream(iter(thin)), cluster.ticket("12"))
    assert reply.digest != chunk_digest(old)
    assert cluster.holds("2", reply.digest)
    assert reply.copies == 2


def test_an_edit_moves_little_when_the_replica_has_the_rest(cluster: Cluster, seed: int) -> None:
    """Between holders of the old content, a one-byte edit sends at most two maximal chunks on each hop."""
    old = random.Random(seed).randbytes(30_000_000)
    new = old[:15_000_000] + bytes([old[15_000_000] ^ 1]) + old[15_000_001:]
    cluster.write(old, cluster.ticket("12"))
    cluster.network.sent.clear()
    known = {chunk.digest for chunk in chunk_bytes(old)}
    thin = [chunk._replace(data=None) if chunk.digest in known else chunk for chunk in chunk_bytes(new)]
    reply = cluster.send(encode_stream(iter(thin)), cluster.ticket("12"))
    assert cluster.holds("2", reply.digest)
    assert max(cluster.network.sent[cluster.url(id)] for id in "12") < 8 * 1024 * 1024


@pytest.mark.parametrize("size", [900_000, LARGE])
def test_a_master_asks_for_what_it_lacks(cluster: Cluster, seed: int, size: int) -> None:
    """Chunks announced without bytes that the master lacks are named; sending those bytes completes the write."""
    chunks = list(chunk_bytes(random.Random(seed).randbytes(size)))
    thin = [chunks[0]._replace(data=None), *chunks[1:]]
    with pytest.raises(MissingChunks) as refusal:
        cluster.send(encode_stream(iter(thin)), cluster.ticket())
    assert refusal.value.facts["digests"] == [str(chunks[0].digest)]
    assert _nothing_happened(cluster)
    rest = [chunks[0], *(chunk._replace(data=None) for chunk in chunks[1:])]
    reply = cluster.send(encode_stream(iter(rest)), cluster.ticket())
    assert cluster.holds("1", reply.digest)
    assert cluster.holds("2", reply.digest)


@pytest.mark.parametrize("size", [900_000, LARGE])
def test_a_chunk_under_another_length_is_asked_for_and_nothing_is_committed(
    cluster: Cluster, seed: int, size: int
) -> None:
    """Nobody can have a content known under a size that it has not."""
    chunks = list(chunk_bytes(random.Random(seed).randbytes(size)))
    cluster.send(encode_stream(iter(chunks)), cluster.ticket())
    cluster.directory.commits.clear()
    cluster.directory.versions.clear()
    thin = [chunk._replace(data=None) for chunk in chunks]
    for lie in ([thin[0]._replace(length=5)], [*thin[:-1], thin[-1]._replace(length=thin[-1].length + 1)]):
        with pytest.raises(MissingChunks) as refusal:
            cluster.send(encode_stream(iter(lie)), cluster.ticket())
        assert refusal.value.facts["digests"] == [str(lie[-1].digest)]
        assert _nothing_happened(cluster)


@pytest.mark.parametrize("keep", [3, 20_000, 3_000_000])
def test_an_upload_that_is_cut_off_leaves_nothing_visible(cluster: Cluster, seed: int, keep: int) -> None:
    """A stream that ends early is refused on every holder, and what did arrive is spared the second time."""
    chunks = list(chunk_bytes(random.Random(seed).randbytes(LARGE)))
    stream = b"".join(encode_stream(chunks))
    with pytest.raises(IncompleteBody):
        cluster.send(iter([stream[:keep]]), cluster.ticket())
    assert _nothing_happened(cluster)
    assert all(cluster.server(id).store.totals.blobs == 0 for id in "12")
    # Chunks are kept once more than a small body has arrived: until then they wait in memory for what follows.
    needed = size = 0
    for chunk in chunks:
        needed, size = needed + FRAME_BYTES + chunk.length, size + chunk.length
        if size > SMALL_BYTES:
            break
    assert (cluster.server("1").store.totals.chunks > 0) == (keep >= len(MAGIC) + needed)


def test_a_damaged_chunk_is_refused(cluster: Cluster, seed: int) -> None:
    """One flipped bit on the way is found by the master and stored nowhere."""
    stream = bytearray(b"".join(encode_stream(chunk_bytes(random.Random(seed).randbytes(LARGE)))))
    stream[-500] ^= 1
    with pytest.raises(BadDigest):
        cluster.send(iter([bytes(stream)]), cluster.ticket())
    assert _nothing_happened(cluster)


def test_a_replica_that_stalls_does_not_hold_the_upload_for_ever(cluster: Cluster, seed: int) -> None:
    """A replica that stops reading in mid-stream is left out and replaced from the master's disk."""
    cluster.server("1")._streams._sender.stall_seconds = 0.2
    release = threading.Event()
    original = cluster.network.send_stream

    def send_stream(url: str, path: str, headers: dict, blocks: Iterator, timeout: float | None = None) -> bytes:
        if url == cluster.url("2"):
            next(iter(blocks))
            release.wait(60)
            raise PeerUnreachable(f"{url} did not answer in time")
        return original(url, path, headers, blocks, timeout)

    cluster.network.send_stream = send_stream  # type: ignore[method-assign,assignment]
    chunks = chunk_bytes(random.Random(seed).randbytes(20_000_000))
    reply = cluster.send(encode_stream(chunks), cluster.ticket("12", spares="3"))
    assert not release.is_set()
    release.set()
    assert cluster.directory.commits[0].items[0].holders == ["1", "3"]
    assert cluster.holds("3", reply.digest)


def test_a_lost_answer_to_a_commit_is_asked_for_again(cluster: Cluster) -> None:
    """The same ticket is committed again until the directory's answer arrives, and gives one version."""
    cluster.network.lost_answers = 2
    cluster.server("1")._streams._commits._pause = lambda _: None
    reply = cluster.write(b"content", cluster.ticket())
    assert reply.version is not None
    assert len(cluster.directory.commits) == 3
    assert len(cluster.directory.versions) == 1


def test_a_directory_that_stays_away_is_said_after_a_bounded_time(cluster: Cluster) -> None:
    """The writer gets PeerUnreachable instead of waiting for ever."""
    commits = cluster.server("1")._streams._commits
    commits._pause = lambda seconds: cluster.clock.advance(seconds)  # type: ignore[attr-defined]
    cluster.network.dead.add(DIRECTORY_URL)
    with pytest.raises(PeerUnreachable):
        cluster.write(b"content", cluster.ticket(expires=1e9))


def test_the_directorys_refusal_reaches_the_writer(cluster: Cluster) -> None:
    """What the directory refuses is refused, with its own class."""
    cluster.directory.refuse_commit = PreconditionFailed("someone was faster")
    with pytest.raises(PreconditionFailed, match="someone was faster"):
        cluster.write(b"content", cluster.ticket())


@pytest.mark.parametrize("hop", ["master", "replica"])
@pytest.mark.parametrize("size", [5000, LARGE])
def test_no_holder_takes_a_stream_after_the_lease_of_its_lock(cluster: Cluster, seed: int, size: int, hop: str) -> None:
    """A write whose lease is over is refused by whoever it reaches, even by one that knows of no newer lock."""
    data = random.Random(seed).randbytes(size)
    ticket = cluster.ticket("12", fence=7, lock_number=7, lease_until=cluster.directory.now() + 5.0)
    to = "1" if hop == "master" else "2"
    assert isinstance(cluster.clock, ManualClock)
    cluster.clock.advance(5.5)
    with pytest.raises(TicketRefused, match="lease"):
        cluster.write(data, ticket, hop, to)
    assert _nothing_happened(cluster)
    assert not cluster.holds(to, Manifest([(c.digest, c.length) for c in chunk_bytes(data)]).digest)


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_newer_lock_known_to_a_replica_alone_stops_the_write(cluster: Cluster, seed: int, size: int) -> None:
    """If only a replica has seen the newer lock, the write is still refused, spare or no spare."""
    store = cluster.server("2").store
    chunk = next(iter(chunk_bytes(b"newer")))
    with store.stage() as staging:
        staging.put(chunk)
        staging.complete(Manifest([(chunk.digest, chunk.length)]), Fence("files/a.txt", 9))
    with pytest.raises(TicketRefused) as refusal:
        cluster.write(random.Random(seed).randbytes(size), cluster.ticket("12", spares="34", fence=8))
    assert refusal.value.facts["fence"] == 9
    assert _nothing_happened(cluster)


def _altered(ticket: str) -> str:
    middle = len(ticket) // 3
    return ticket[:middle] + ("A" if ticket[middle] != "A" else "B") + ticket[middle + 1 :]


MISUSES: dict[str, Callable[[Cluster], tuple[str, str, str]]] = {
    "altered": lambda cluster: (_altered(cluster.ticket()), "master", "1"),
    "not a ticket": lambda cluster: ("ticket", "master", "1"),
    "expired": lambda cluster: (cluster.ticket(expires=cluster.directory.now() - 1), "master", "1"),
    "wrong server": lambda cluster: (cluster.ticket("12"), "master", "3"),
    "replica as master": lambda cluster: (cluster.ticket("12"), "master", "2"),
    "master as replica": lambda cluster: (cluster.ticket("12"), "replica", "1"),
    "stranger as replica": lambda cluster: (cluster.ticket("12", spares="3"), "replica", "4"),
    "other content": lambda cluster: (cluster.ticket(digest=chunk_digest(b"other"), size=7), "master", "1"),
    "other content, replica": lambda cluster: (cluster.ticket(digest=chunk_digest(b"o"), size=7), "replica", "2"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_a_ticket_is_good_for_one_write_only(cluster: Cluster, misuse: str) -> None:
    """Altered, expired, for other content or another server: refused, and nothing is stored."""
    ticket, hop, to = MISUSES[misuse](cluster)
    with pytest.raises(TicketRefused):
        cluster.write(b"content", ticket, hop, to)
    assert _nothing_happened(cluster)
    assert all(cluster.server(id).store.totals.blobs == 0 for id in "1234")


def test_more_bytes_than_the_ticket_is_for_are_not_read(cluster: Cluster, seed: int) -> None:
    """A stream is refused as soon as it is longer than the write that was begun."""
    with pytest.raises(BadRequest, match="longer than"):
        cluster.write(random.Random(seed).randbytes(LARGE), cluster.ticket(size=2_000_000))
    assert _nothing_happened(cluster)


def test_tickets_expire_by_directory_time(cluster: Cluster) -> None:
    """Between heartbeats the server's monotonic clock carries the directory's time on."""
    ticket = cluster.ticket()
    cluster.clock.advance(59)  # type: ignore[attr-defined]
    assert cluster.write(b"in time", ticket).copies == 2
    cluster.clock.advance(2)  # type: ignore[attr-defined]
    with pytest.raises(TicketRefused) as refusal:
        cluster.write(b"in time", ticket)
    assert refusal.value.facts["expired"]


def test_before_the_first_heartbeat_no_write_is_judged(tmp_path: Path) -> None:
    """A server that has not reached the directory says "not yet", not "never"."""
    cluster = Cluster(tmp_path, 0)
    cluster.network.dead.add(DIRECTORY_URL)
    cluster.start("1")
    with pytest.raises(Unavailable, match="try again"):
        cluster.write(b"content", cluster.ticket("1"))
    cluster.network.dead.clear()
    cluster.server("1").link.step()
    assert cluster.write(b"content", cluster.ticket("1")).copies == 1
    cluster.stop()


def test_large_uploads_wait_for_a_slot_and_hear_when_none_comes() -> None:
    """More large uploads than slots wait; one that waited in vain is told to come again."""
    slots = UploadSlots(SystemClock(), slots=1, wait_seconds=0.05)
    entered, leave = threading.Event(), threading.Event()

    def upload() -> None:
        with slots.slot():
            entered.set()
            leave.wait(60)

    first = threading.Thread(target=upload)
    first.start()
    assert entered.wait(60)
    with pytest.raises(Overloaded):
        with slots.slot():
            pass
    leave.set()
    first.join()
    with slots.slot():
        pass


def test_a_silent_upload_gives_its_slot_away() -> None:
    """A sender that lost power does not keep others out, and one that is merely slow keeps its slot."""
    clock = ManualClock()
    slots = UploadSlots(clock, slots=1, wait_seconds=0.0, silent_seconds=30.0)
    with slots.slot() as slow:
        clock.advance(29)
        slow.frame_arrived()
        clock.advance(29)
        with pytest.raises(Overloaded):
            with slots.slot():
                pass
        clock.advance(2)
        with slots.slot():
            pass


def test_small_writes_share_calls_to_a_replica(cluster: Cluster) -> None:
    """Many small writes at once reach the replica in far fewer calls, each with its own outcome."""
    calls: list[int] = []
    original = cluster.network.call
    sender = cluster.server("1")._streams._sender.small
    writers, guard = 33, threading.Lock()
    left, on_the_way = 101, 0

    def call(url: str, call: object, request: object, timeout: float | None = None) -> object:
        """Leaves when others wait behind it, or when nobody is left who could come."""
        nonlocal left, on_the_way
        if call is not SMALL_WRITES:
            return original(url, call, request, timeout)  # type: ignore[arg-type]
        count = len(request.items)  # type: ignore[attr-defined]
        calls.append(count)
        with guard:
            on_the_way += count
        deadline = time.monotonic() + 60
        waiting = sender._queues[url]._waiting
        while len(waiting) < 4 and on_the_way + len(waiting) < min(writers, left):
            assert time.monotonic() < deadline, (calls, left, on_the_way)
            time.sleep(0.002)
        try:
            return original(url, call, request, timeout)  # type: ignore[arg-type]
        finally:
            with guard:
                left, on_the_way = left - count, on_the_way - count

    stale = cluster.ticket("12", path="locked.txt", fence=1)
    cluster.write(b"newer", cluster.ticket("12", path="locked.txt", fence=2))
    cluster.server("1").store.check_fence = lambda fence: None  # type: ignore[method-assign]
    cluster.network.call = call  # type: ignore[method-assign,assignment]
    with ThreadPoolExecutor(writers) as pool:
        bad = pool.submit(cluster.write, b"stale", stale)
        good = [pool.submit(cluster.write, b"%d" % number, cluster.ticket("12")) for number in range(100)]
        assert all(future.result().copies == 2 for future in good)
        with pytest.raises(TicketRefused):
            bad.result()
    assert sum(calls) >= 101
    assert len(calls) < 60
    assert all(cluster.holds("2", chunk_digest(b"%d" % number)) for number in range(100))
    assert not cluster.holds("2", chunk_digest(b"stale"))


def test_a_full_way_to_one_replica_refuses_at_once_and_holds_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a stalled replica is bounded; writes to another one go on beside it."""
    monkeypatch.setattr("file_server.writes.small_write_sender.MAX_WAITING", 5)
    release = threading.Event()
    sent: list[str] = []

    class Peers:
        def call(self, url: str, call: object, request: SmallWritesRequest, timeout: float | None = None) -> object:
            if url == "stalled":
                release.wait(60)
            sent.append(url)
            return SmallWritesReply([Outcome(WriteReply(chunk_digest(b"x"), 1, "2")) for _ in request.items])

    sender = SmallWriteSender(Peers(), 1.0)
    item = SmallWrite("ticket", b"")
    waiting = []
    for number in range(1, MAX_IN_FLIGHT + 1):  # each thread takes what is there and then is busy
        waiting.append(sender.submit("stalled", item))
        deadline = time.monotonic() + 60
        while sender._queues["stalled"]._waiting:
            assert time.monotonic() < deadline, number
    waiting += [sender.submit("stalled", item) for _ in range(5)]
    assert isinstance(sender.submit("stalled", item).outcome(), Overloaded)
    assert sender.submit("well", item).outcome() is None
    assert "stalled" not in sent
    release.set()
    assert all(pending.outcome() is None for pending in waiting)


def test_a_replica_that_keeps_failing_is_tried_ever_more_rarely(cluster: Cluster) -> None:
    """One that takes connections and never answers costs its time-out now and then, not all the time."""
    clock = ManualClock()
    sender = BlobSender(cluster.server("1").store, cluster.network, clock)
    holder = Holder("2", "https://2")
    failures = 0
    for _ in range(300):
        if not sender.is_avoided(holder):
            failures += 1
            sender.note(holder, PeerUnreachable("it did not answer in time"))
            sender.note(holder, PeerUnreachable("it did not answer in time"))
        clock.advance(1)
    assert 5 <= failures <= 15
    sender.note(holder, None)
    assert not sender.is_avoided(holder)
    sender.note(holder, PeerUnreachable("it did not answer in time"))
    clock.advance(4)
    assert not sender.is_avoided(holder)


@pytest.mark.parametrize("size", [5000, LARGE])
def test_a_server_that_is_just_back_is_a_spare_again(cluster: Cluster, seed: int, size: int) -> None:
    """Who failed a moment ago is tried last, but before a write is refused for want of copies."""
    rng = random.Random(seed)
    cluster.network.dead.add(cluster.url("3"))
    assert cluster.write(rng.randbytes(size), cluster.ticket("13", "2")).copies == 2
    cluster.network.dead.clear()
    cluster.network.dead.add(cluster.url("2"))
    content = rng.randbytes(size)
    assert cluster.write(content, cluster.ticket("12", "3")).copies == 2
    # As a replica it is replaced by a spare that should work, and stands in itself when that one fails.
    cluster.network.dead.add(cluster.url("4"))
    assert cluster.write(rng.randbytes(size), cluster.ticket("12", "43")).copies == 2


def test_small_writes_to_a_master_are_each_decided_by_themselves(cluster: Cluster) -> None:
    """One call with good and bad writes: the good ones are committed with two copies, the bad ones change nothing."""
    stale = cluster.ticket("12", path="locked.txt", fence=1)
    cluster.write(b"newer", cluster.ticket("12", path="locked.txt", fence=2))
    absent = chunk_digest(b"never sent")
    items = [
        SmallWrite(cluster.ticket("12"), _stream(b"first")),
        SmallWrite(cluster.ticket("12")[:-2] + "AA", _stream(b"altered ticket")),
        SmallWrite(stale, _stream(b"stale")),
        SmallWrite(cluster.ticket("21"), _stream(b"another's")),
        SmallWrite(cluster.ticket("12"), _stream(b"cut")[:-1]),
        SmallWrite(cluster.ticket("12"), b"".join(encode_stream([Chunk(absent, 10, None)]))),
        SmallWrite(cluster.ticket("12"), _stream(b"last")),
    ]
    results = _send_small(cluster, items)
    codes = [result.problem.code if result.problem else "" for result in results]
    refused = "ticket_refused"
    assert codes == ["", refused, refused, refused, "incomplete_body", "missing_chunks", ""]
    assert [result.value.copies for result in results if result.value] == [2, 2]
    assert all(result.value.version is not None for result in results if result.value)
    for data in (b"first", b"last"):
        assert cluster.holds("1", chunk_digest(data))
        assert cluster.holds("2", chunk_digest(data))
    again = _send_small(cluster, items[:1])[0].unwrap()
    assert again.version == results[0].unwrap().version


def test_a_small_writes_trailing_metadata_is_committed_with_it(cluster: Cluster) -> None:
    """As in any other chunk stream, the version has this metadata from its first moment."""
    stream = _stream(b"content")
    metadata = trailing_metadata_frame({"etag": "9a0364b9e99bb480dd25e1f0284c8555"})
    item = SmallWrite(cluster.ticket("12"), stream[:-END_BYTES] + metadata + stream[-END_BYTES:])
    assert _send_small(cluster, [item])[0].unwrap().copies == 2
    assert cluster.directory.commits[-1].items[0].trailing_metadata == {"etag": "9a0364b9e99bb480dd25e1f0284c8555"}


def test_small_writes_to_a_master_get_a_spare_for_a_dead_replica(cluster: Cluster) -> None:
    """A replica that is gone is replaced for every write of the call; without a spare nothing is committed."""
    cluster.network.dead.add(cluster.url("2"))
    items = [
        SmallWrite(cluster.ticket("12", "3"), _stream(b"with a spare")),
        SmallWrite(cluster.ticket("12"), _stream(b"without")),
    ]
    with_spare, without = _send_small(cluster, items)
    assert with_spare.unwrap().copies == 2
    assert cluster.holds("3", chunk_digest(b"with a spare"))
    assert without.problem is not None
    assert without.problem.code == "too_few_holders"


@pytest.mark.parametrize("size", SIZES)
def test_the_late_push_of_a_master_that_was_given_up_is_refused_by_the_replicas(
    cluster: Cluster, seed: int, size: int
) -> None:
    """Once a write was begun again, holders that know it take nothing of the attempt before: sent by its master, or by
    whoever else has its ticket."""
    rng = random.Random(seed)
    content, late = rng.randbytes(size), rng.randbytes(size + 1)
    never = Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(late)).digest
    first = cluster.ticket("12", "3", write_id="begun-twice")
    second = cluster.ticket("23", write_id="begun-twice", attempt=1)
    assert cluster.write(content, second, to="2").copies == 2
    with pytest.raises(TooFewHolders):
        cluster.write(late, first)
    for id in "23":
        with pytest.raises(TicketRefused, match="begun again"):
            cluster.write(late, first, hop="replica", to=id)
        assert cluster.server(id).store.generation(never) is None
    assert cluster.write(content, second, to="2").copies == 2
    assert len(cluster.directory.versions) == 1


def test_only_the_last_of_many_writes_that_were_begun_again_are_remembered(cluster: Cluster) -> None:
    """What is remembered is bounded; what is forgotten harms nothing, as the directory refuses its commit."""
    time = DirectoryTime(cluster.clock)
    time.learn(cluster.directory.now(), cluster.clock.monotonic())
    tickets = TicketCheck("1", time)
    tickets.trust(TICKET_KEY)
    for number in range(MAX_BEGUN_AGAIN + 1):
        tickets.check(cluster.ticket(write_id=f"write-{number}", attempt=1), "master")
    assert len(tickets._begun_again) == MAX_BEGUN_AGAIN
    with pytest.raises(TicketRefused):
        tickets.check(cluster.ticket(write_id="write-1"), "master")
    assert tickets.check(cluster.ticket(write_id="write-0"), "master").attempt == 0


def _stream(data: bytes) -> bytes:
    return b"".join(encode_stream(chunk_bytes(data)))


def _send_small(cluster: Cluster, items: list[SmallWrite]) -> list[Outcome[WriteReply]]:
    request = SmallWritesRequest(items, hop="master")
    return cluster.network.call(cluster.url("1"), SMALL_WRITES, request).results
