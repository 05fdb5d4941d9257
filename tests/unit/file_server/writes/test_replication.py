"""A master's writes: frames passed on as they come, replicas that fail in every way, and what is committed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest

from file_server.writes.blob_sender import BlobSender
from file_server.writes.stream_write_handler import SMALL_BYTES
from file_server.writes.upload_slots import UploadSlots
from lockstep_store.runtime.clock import SystemClock
from lockstep_store.wire.chunk_stream import FRAME_BYTES, MAGIC, encode_stream
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    BadDigest,
    IncompleteBody,
    MissingChunks,
    Overloaded,
    PeerUnreachable,
    PreconditionFailed,
    StorageFull,
    TooFewHolders,
)
from lockstep_store.wire.messages.files import Holder
from tests.fakes.clock import ManualClock
from tests.fakes.file_servers import DIRECTORY_URL, Cluster
from tests.unit.file_server.writes.write_cases import LARGE, SIZES, nothing_happened


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
@pytest.mark.parametrize("switch", ["dead", "hanging", "mute"])
def test_the_commit_reports_who_could_not_be_reached(cluster: Cluster, seed: int, size: int, switch: str) -> None:
    """The directory hears it before the writer does; later writes that did without that server do not report it."""
    rng = random.Random(seed)
    getattr(cluster.network, switch).add(cluster.url("2"))
    for _ in range(2):
        cluster.write(rng.randbytes(size), cluster.ticket("12", spares="34"))
    assert [request.items[0].unreachable for request in cluster.directory.commits] == [["2"], []]


def test_a_full_replica_is_not_reported_as_unreachable(cluster: Cluster) -> None:
    """It says so itself, with its next heartbeat."""
    cluster.server("2").store._files._reserve_bytes = 1 << 62
    cluster.write(b"content", cluster.ticket("12", spares="3"))
    assert cluster.directory.commits[0].items[0].unreachable == []


@pytest.mark.parametrize("size", SIZES)
def test_too_few_copies_is_no_write(cluster: Cluster, seed: int, size: int) -> None:
    """When the promised copies cannot be made the write fails and the directory never hears of it."""
    cluster.network.dead |= {cluster.url("2"), cluster.url("3")}
    with pytest.raises(TooFewHolders, match="1 of 2"):
        cluster.write(random.Random(seed).randbytes(size), cluster.ticket("12", spares="3"))
    assert nothing_happened(cluster)


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
    assert nothing_happened(cluster)


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
    assert nothing_happened(cluster)
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
        assert nothing_happened(cluster)


@pytest.mark.parametrize("keep", [3, 20_000, 3_000_000])
def test_an_upload_that_is_cut_off_leaves_nothing_visible(cluster: Cluster, seed: int, keep: int) -> None:
    """A stream that ends early is refused on every holder, and what did arrive is spared the second time."""
    chunks = list(chunk_bytes(random.Random(seed).randbytes(LARGE)))
    stream = b"".join(encode_stream(chunks))
    with pytest.raises(IncompleteBody):
        cluster.send(iter([stream[:keep]]), cluster.ticket())
    assert nothing_happened(cluster)
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
    assert nothing_happened(cluster)


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
