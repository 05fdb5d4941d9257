"""Small writes: shared calls, each decided by itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from file_server.writes.small_write_sender import MAX_IN_FLIGHT, PendingWrite, SmallWriteSender
from lockstep_store.runtime.tracing import request_id, start_request
from lockstep_store.wire.chunk_stream import END_BYTES, encode_stream, trailing_metadata_frame
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    Overloaded,
    TicketRefused,
)
from lockstep_store.wire.messages.base import Outcome
from lockstep_store.wire.messages.servers import (
    MAX_SMALL_WRITES,
    SMALL_WRITES,
    SmallWrite,
    SmallWritesReply,
    SmallWritesRequest,
    WriteReply,
)
from tests.fakes.file_servers import Cluster
from tests.waiting import wait_until


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
        waiting = sender._queues[url]._waiting
        wait_until(lambda: len(waiting) >= 4 or on_the_way + len(waiting) >= min(writers, left), what="company")
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

    def submitted(url: str) -> PendingWrite:
        write = PendingWrite(SmallWrite("ticket", b""))
        sender.submit(url, [write])
        return write

    waiting = []
    for number in range(1, MAX_IN_FLIGHT + 1):  # each thread takes what is there and then is busy
        waiting.append(submitted("stalled"))
        wait_until(lambda: not sender._queues["stalled"]._waiting, what=f"a thread for write {number}")
    waiting += [submitted("stalled") for _ in range(5)]
    assert isinstance(submitted("stalled").outcome(), Overloaded)
    assert submitted("well").outcome() is None
    assert "stalled" not in sent
    release.set()
    assert all(pending.outcome() is None for pending in waiting)


def test_writes_that_are_submitted_together_leave_together() -> None:
    """Whatever waits for them: one by one they would cost the replica a call and a flush each."""
    sent: list[int] = []

    class Peers:
        def call(self, url: str, call: object, request: SmallWritesRequest, timeout: float | None = None) -> object:
            sent.append(len(request.items))
            return SmallWritesReply([Outcome(WriteReply(chunk_digest(b"x"), 1, "2")) for _ in request.items])

    sender = SmallWriteSender(Peers(), 1.0)
    for count in (1, 7, MAX_SMALL_WRITES + 1):  # the first one finds no thread yet
        writes = [PendingWrite(SmallWrite("ticket", b"")) for _ in range(count)]
        sender.submit("replica", writes)
        assert [write.outcome() for write in writes] == [None] * count
    assert sorted(sent) == [1, 1, 7, MAX_SMALL_WRITES]


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


def _stream(data: bytes) -> bytes:
    return b"".join(encode_stream(chunk_bytes(data)))


def _send_small(cluster: Cluster, items: list[SmallWrite]) -> list[Outcome[WriteReply]]:
    request = SmallWritesRequest(items, hop="master")
    return cluster.network.call(cluster.url("1"), SMALL_WRITES, request).results


def test_a_write_takes_its_request_along(cluster: Cluster) -> None:
    """The replica's log and traces show the request that was first in the call, from the thread that sends it, too."""
    seen: list[str] = []
    original = cluster.network.call

    def call(url: str, call: object, request: object, timeout: float | None = None) -> object:
        seen.append(request_id())
        return original(url, call, request, timeout)  # type: ignore[arg-type]

    cluster.network.call = call  # type: ignore[method-assign, assignment]
    sender = SmallWriteSender(cluster.network, 5.0)
    for number in range(2):  # one after the other: the thread that sent the first may send the second
        start_request(f"request-{number}")
        write = PendingWrite(SmallWrite("ticket", b""))
        sender.submit("https://fs2", [write])
        assert write.outcome() is not None
    assert seen == ["request-0", "request-1"]
