"""A file server's background jobs, step by step: copying on order, collecting, scrubbing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from file_server.defaults import GRACE_SECONDS as GRACE
from file_server.maintenance.garbage_collector import Ages
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.servers import MANIFEST_PATH, READ_CHUNKS_PATH, CopyOrder
from tests.fakes.blobs import get, put
from tests.fakes.clock import ManualClock
from tests.fakes.file_servers import DIRECTORY_URL, Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, 3)
    yield cluster
    cluster.stop()


def _clock(cluster: Cluster) -> ManualClock:
    assert isinstance(cluster.clock, ManualClock)
    return cluster.clock


def _order(cluster: Cluster, digest: Digest, size: int, sources: str) -> CopyOrder:
    return CopyOrder(digest, size, [cluster.holder(id) for id in sources])


@pytest.mark.parametrize("size", [0, 1000, 300_000, 25_000_000])
def test_an_ordered_copy_is_whole_and_reported(cluster: Cluster, seed: int, size: int) -> None:
    """An order that came with a heartbeat ends with the blob durable here and the directory told so."""
    data = random.Random(seed).randbytes(size)
    digest = put(cluster.server("1").store, data)
    cluster.directory.orders = [_order(cluster, digest, size, "1")]
    server = cluster.server("3")
    server.link.step()
    assert server.copier.step() >= 0
    assert get(server.store, digest) == data
    assert cluster.directory.held == [digest]


def test_many_small_orders_are_reported_together(cluster: Cluster) -> None:
    """A step carries out a number of small orders, so that repair of many files is not a round trip each."""
    digests = [put(cluster.server("1").store, b"%d" % number) for number in range(50)]
    copier = cluster.server("3").copier
    copier.take([_order(cluster, digest, 2, "1") for digest in digests])
    copier.step()
    assert cluster.directory.held == digests
    assert copier.step() > 1


def test_a_copy_takes_from_the_next_source_what_the_first_cannot_give(cluster: Cluster, seed: int) -> None:
    """Sources that are down, lack the blob or have damage are passed over, and damage is reported."""
    data = random.Random(seed).randbytes(12_000_000)
    digest = put(cluster.server("1").store, data)
    put(cluster.server("2").store, data)
    chunk = list(chunk_bytes(data))[3]
    path = cluster.server("1").store._files.path(chunk.digest)
    path.write_bytes(path.read_bytes()[:-2])
    server = cluster.start("4")
    cluster.network.dead.add(cluster.url("3"))
    server.copier.take([_order(cluster, digest, len(data), "312")])
    server.copier.step()
    assert get(server.store, digest) == data
    server.link.step()
    assert ("1", digest) in cluster.directory.damaged


def test_a_source_that_lies_is_found_out(cluster: Cluster) -> None:
    """Bytes or manifests that do not fit their digest are not stored, and that source is reported."""
    data = random.Random(1).randbytes(5_000_000)  # its last chunk is long enough for the altered byte to be in it
    digest = put(cluster.server("1").store, data)
    server = cluster.server("3")
    for lie_about in (MANIFEST_PATH, READ_CHUNKS_PATH):

        def alter(path: str, body: bytes, prefix: str = lie_about) -> bytes:
            if not path.startswith(prefix):
                return body
            return body[:-60] + bytes([body[-60] ^ 0xFF]) + body[-59:]

        cluster.network.alter = alter
        cluster.directory.damaged.clear()
        server.copier.take([_order(cluster, digest, len(data), "1")])
        server.copier.step()
        assert server.store.generation(digest) is None
        server.link.step()
        assert cluster.directory.damaged == [("1", digest)]
    assert cluster.directory.held == []


def test_an_interrupted_copy_goes_on_where_it_was(cluster: Cluster, seed: int) -> None:
    """When the only source dies in the middle, the next order fetches the rest only."""
    data = random.Random(seed).randbytes(40_000_000)
    digest = put(cluster.server("1").store, data)
    server = cluster.server("3")
    original, calls = cluster.network.open, [0]

    def open_some(url: str, method: str, path: str, *args: object, **options: object) -> object:
        calls[0] += 1
        if calls[0] == 4:
            cluster.network.dead.add(url)
        return original(url, method, path, *args, **options)  # type: ignore[arg-type]

    cluster.network.open = open_some  # type: ignore[method-assign,assignment]
    server.copier.take([_order(cluster, digest, len(data), "1")])
    server.copier.step()
    assert cluster.directory.held == []
    before = server.store.totals.chunks
    assert before > 5
    cluster.network.dead.clear()
    server.copier.take([_order(cluster, digest, len(data), "1")])
    server.copier.step()
    assert get(server.store, digest) == data
    assert cluster.directory.held == [digest]


def test_a_damaged_chunk_is_repaired_by_an_order_for_its_blob(cluster: Cluster, seed: int) -> None:
    """A server that has the blob with a damaged chunk fetches that chunk alone."""
    data = random.Random(seed).randbytes(12_000_000)
    digest = put(cluster.server("1").store, data)
    server = cluster.server("3")
    put(server.store, data)
    chunk = list(chunk_bytes(data))[2]
    server.store._files.path(chunk.digest).write_bytes(b"rot")
    assert server.scrubber.step() > 0
    assert server.scrubber.step() > 0
    server.link.step()
    assert cluster.directory.damaged == [("3", digest)]
    cluster.network.sent.clear()
    server.copier.take([_order(cluster, digest, len(data), "1")])
    server.copier.step()
    assert get(server.store, digest) == data
    assert cluster.directory.held == [digest]


def test_a_chunk_that_is_here_under_another_length_is_read_and_fetched_anew(cluster: Cluster, seed: int) -> None:
    """Its row has rotted: the order that finds it so fails, the next one makes the copy."""
    data = random.Random(seed).randbytes(200_000)
    digest = put(cluster.server("1").store, data)
    server = cluster.server("3")
    put(server.store, data)
    server.store._index.submit(lambda tx: tx._run("UPDATE chunk SET length = length - 1"))
    server.store.verify_blob(digest)
    server.link.step()
    assert cluster.directory.damaged == [("3", digest)]
    for _ in range(2):
        server.copier.take([_order(cluster, digest, len(data), "1")])
        server.copier.step()
    assert get(server.store, digest) == data
    assert cluster.directory.held == [digest]


def test_an_unwanted_copy_is_dropped_again(cluster: Cluster) -> None:
    """A copy that the directory no longer wants when it is reported does not stay."""
    digest = put(cluster.server("1").store, b"content")
    cluster.directory.unwanted.add(digest)
    server = cluster.server("3")
    server.copier.take([_order(cluster, digest, 7, "1")])
    server.copier.step()
    assert server.store.generation(digest) is None


def test_old_blobs_that_nobody_refers_to_are_dropped_and_young_ones_never_asked_about(
    cluster: Cluster, seed: int
) -> None:
    """The collector asks only about blobs older than the grace period, and removes bytes after another."""
    server, clock = cluster.server("1"), _clock(cluster)
    old = put(server.store, random.Random(seed).randbytes(200_000))
    kept = put(server.store, b"kept")
    server.collector.step()
    clock.advance(GRACE + 1)
    young = put(server.store, b"young")
    cluster.directory.droppable = {old, young}
    server.collector.step()
    assert server.store.generation(old) is None
    assert server.store.generation(young) is not None
    assert server.store.generation(kept) is not None
    assert server.store.missing([old]) == []
    server.collector.step()
    clock.advance(GRACE + 1)
    server.collector.step()
    assert server.store.missing([old, young]) == [old]
    assert server.store.generation(young) is None
    assert get(server.store, kept) == b"kept"
    assert not server.store._files.path(old).exists()


def test_a_blob_sealed_while_the_directory_was_asked_stays(cluster: Cluster) -> None:
    """A write that lands between question and answer wins over the answer."""
    server = cluster.server("1")
    digest = put(server.store, b"content")
    server.collector.step()
    _clock(cluster).advance(GRACE + 1)
    cluster.directory.droppable = {digest}
    cluster.directory.during_collect = lambda: put(server.store, b"content") and None
    server.collector.step()
    assert get(server.store, digest) == b"content"


def test_nothing_is_dropped_while_the_directory_is_away(cluster: Cluster) -> None:
    """Without an answer every blob stays, and the walk goes on later from the same place."""
    server = cluster.server("1")
    digest = put(server.store, b"content")
    server.collector.step()
    _clock(cluster).advance(GRACE + 1)
    cluster.directory.droppable = {digest}
    cluster.network.dead.add(DIRECTORY_URL)
    assert server.collector.step() > 1
    assert server.store.generation(digest) is not None
    cluster.network.dead.clear()
    server.collector.step()
    assert server.store.generation(digest) is None


def test_a_restart_makes_every_blob_young(tmp_path: Path) -> None:
    """Age is counted from the start of the process: time spent stopped makes nothing old."""
    cluster = Cluster(tmp_path, 1)
    digest = put(cluster.server("1").store, b"content")
    cluster.server("1").stop()
    _clock(cluster).advance(100 * GRACE)
    server = cluster.start("1")
    cluster.directory.droppable = {digest}
    server.collector.step()
    assert server.store.generation(digest) is not None
    cluster.stop()


def test_ages_are_never_overstated(seed: int) -> None:
    """Whatever the marks, a generation called older than a span existed that long ago."""
    source, ages, now, generation = random.Random(seed), Ages(), 0.0, 0
    history: list[tuple[float, int]] = []
    for _ in range(2000):
        now += source.random() * 30
        generation += source.randrange(3)
        history.append((now, generation))
        ages.mark(now, generation)
        span = source.choice([50.0, 300.0])
        then = max((made for at, made in history if at <= now - 50.0), default=0)
        assert ages.older_than(now, max(span, 300.0)) <= then


def test_the_scrubber_reads_everything_and_finds_what_has_rotted(cluster: Cluster, seed: int) -> None:
    """One round checks every chunk, inline and in files, reports the damaged ones and ends with the long pause."""
    server, source = cluster.server("1"), random.Random(seed)
    digests = [put(server.store, source.randbytes(size)) for size in (10, 1000, 100_000, 200_000) * 5]
    rotten = [digests[2], digests[13]]
    row = server.store._index.chunk(rotten[1])
    assert row is not None
    path = server.store._files.path(rotten[0])
    path.write_bytes(bytes(len(path.read_bytes())))
    server.store._index.submit(
        lambda tx: tx._run("UPDATE inline SET sealed = ? WHERE chunk = ?", (bytes(1033), row.id))
    )
    steps = 1
    while server.scrubber.step() < 3600:
        steps += 1
        assert steps < 1000
    server.link.step()
    assert {blob for _, blob in cluster.directory.damaged} == set(rotten)


def test_the_scrubber_goes_on_after_a_restart(tmp_path: Path, seed: int) -> None:
    """A store too large for one run between restarts is still read to its end."""
    cluster = Cluster(tmp_path, 1)
    source = random.Random(seed)
    for _ in range(12):
        put(cluster.server("1").store, source.randbytes(2_000_000))
    cluster.server("1").scrubber.step()
    place = cluster.server("1").store.remembered("scrubbed")
    assert place > 0
    cluster.server("1").stop()
    server = cluster.start("1")
    server.scrubber.step()
    assert server.store.remembered("scrubbed") > place
    cluster.stop()
