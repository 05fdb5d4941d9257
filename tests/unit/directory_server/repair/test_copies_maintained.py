"""A file server's care for its copies: surplus given up, damage of every kind found and mended, quarantine bounded."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from file_server.bootstrap import FileServer
from file_server.store.local.quarantine import Quarantine
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import Conflict, Damaged, DamagedChunk, NotFound, TicketRefused
from lockstep_store.wire.messages.servers import CopyOrder
from tests.fakes.blobs import get, put
from tests.fakes.clock import ManualClock
from tests.fakes.file_servers import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, 2)
    yield cluster
    cluster.stop()


def scrub(server: FileServer) -> None:
    """One whole round."""
    for _ in range(2000):
        if server.scrubber.step() >= 3600:
            return
    raise AssertionError("the round never ended")


# ---------------------------------------------------------------- surplus


def test_what_is_offered_is_asked_about_and_dropped(cluster: Cluster) -> None:
    """Copies that came as surplus with a heartbeat go when the directory says so, and only those."""
    server = cluster.server("1")
    first, second = put(server.store, b"first"), put(server.store, b"second")
    cluster.directory.droppable = {first}
    absent = chunk_digest(b"not here")
    server.surplus.take([first, second, absent])
    server.surplus.step()
    assert cluster.directory.asked_to_drop == [first, second, absent], "the metadata counts it until they hear of it"
    assert server.store.generation(first) is None
    assert server.store.generation(second) is not None
    assert server.surplus.step() > 1


def test_a_copy_that_was_written_again_meanwhile_stays(cluster: Cluster) -> None:
    """Between the question and the answer a write counts on the copy: it is kept, whatever the answer is."""
    server = cluster.server("1")
    digest = put(server.store, b"content")
    cluster.directory.droppable = {digest}
    cluster.directory.during_collect = lambda: put(server.store, b"content")
    server.surplus.take([digest])
    server.surplus.step()
    assert get(server.store, digest) == b"content"


def test_nothing_is_dropped_unheard(cluster: Cluster) -> None:
    """An answer that is lost drops nothing."""
    server = cluster.server("1")
    digest = put(server.store, b"content")
    cluster.directory.droppable = {digest}
    cluster.network.lost_answers = 1
    server.surplus.take([digest])
    server.surplus.step()
    assert server.store.generation(digest) is not None


def test_a_removed_server_says_so_and_takes_no_writes(cluster: Cluster) -> None:
    """Once the directory has removed it, its health tells why, and every ticket is refused; registering again with
    success ends that."""
    server, directory = cluster.server("1"), cluster.directory
    assert cluster.write(b"content", cluster.ticket("12")).copies == 2
    register = directory._register

    def refuse(_: object) -> None:
        raise Conflict("file_server-1 was removed from the cluster", removed=True)

    directory.known.clear()
    directory._register = refuse  # type: ignore[method-assign,assignment]
    assert server.link.step() >= 10
    assert "was removed" in server.link.problem
    with pytest.raises(TicketRefused, match="was removed"):
        cluster.write(b"more", cluster.ticket("12"))
    directory._register = register  # type: ignore[method-assign]
    server.link.step()
    assert cluster.write(b"more", cluster.ticket("12")).copies == 2


# ---------------------------------------------------------------- damage


def large(seed: int) -> bytes:
    return random.Random(seed).randbytes(9_000_000)


def file_of(server: FileServer, digest: Digest) -> Path:
    return server.store._files.path(digest)


def lose(server: FileServer, chunks: list[Digest]) -> None:
    file_of(server, chunks[1]).unlink()


def truncate(server: FileServer, chunks: list[Digest]) -> None:
    os.truncate(file_of(server, chunks[1]), 1000)


def empty(server: FileServer, chunks: list[Digest]) -> None:
    os.truncate(file_of(server, chunks[1]), 0)


def swap(server: FileServer, chunks: list[Digest]) -> None:
    file_of(server, chunks[1]).write_bytes(file_of(server, chunks[2]).read_bytes())


def flip(server: FileServer, chunks: list[Digest]) -> None:
    content = bytearray(file_of(server, chunks[1]).read_bytes())
    content[len(content) // 2] ^= 1
    file_of(server, chunks[1]).write_bytes(content)


def wrong_length(server: FileServer, chunks: list[Digest]) -> None:
    server.store._index.submit(
        lambda tx: tx._run("UPDATE chunk SET length = length + 1 WHERE name = ?", (tx._names.name(chunks[1]),))
    )


def wrong_manifest(server: FileServer, chunks: list[Digest]) -> None:
    server.store._index.submit(lambda tx: tx._run("UPDATE blob SET manifest = CAST(manifest || zeroblob(36) AS BLOB)"))


def torn_manifest(server: FileServer, chunks: list[Digest]) -> None:
    server.store._index.submit(lambda tx: tx._run("UPDATE blob SET manifest = substr(manifest, 1, 50)"))


def no_row(server: FileServer, chunks: list[Digest]) -> None:
    server.store._index.submit(lambda tx: tx._run("DELETE FROM chunk WHERE name = ?", (tx._names.name(chunks[1]),)))


@pytest.mark.parametrize(
    "harm", [lose, truncate, empty, swap, flip, wrong_length, wrong_manifest, torn_manifest, no_row]
)
def test_a_scrub_finds_every_kind_of_damage_and_an_order_mends_it(
    cluster: Cluster, seed: int, harm: Callable[[FileServer, list[Digest]], None]
) -> None:
    """Lost, cut, swapped or altered, in a file or in the index: it is reported, never served, and made whole on the
    same server from another copy."""
    data = large(seed)
    server = cluster.server("1")
    digest = put(server.store, data)
    put(cluster.server("2").store, data)
    harm(server, [chunk.digest for chunk in chunk_bytes(data)])
    scrub(server)
    server.link.step()
    assert ("1", digest) in cluster.directory.damaged
    with pytest.raises((DamagedChunk, Damaged, NotFound)):
        get(server.store, digest)
    server.copier.take([CopyOrder(digest, len(data), [cluster.holder("2")])])
    server.copier.step()
    assert cluster.directory.held == [digest]
    assert get(server.store, digest) == data
    cluster.directory.damaged.clear()
    scrub(server)
    server.link.step()
    assert cluster.directory.damaged == []


def test_a_copy_is_called_whole_only_after_it_was_read(cluster: Cluster, seed: int) -> None:
    """A server that was told by others that its copy is damaged reads it all before it says otherwise."""
    data = large(seed)
    server = cluster.server("1")
    digest = put(server.store, data)
    flip(server, [chunk.digest for chunk in chunk_bytes(data)])
    server.copier.take([CopyOrder(digest, len(data), [])])
    server.copier.step()
    assert cluster.directory.held == []
    put(cluster.server("2").store, data)
    server.copier.take([CopyOrder(digest, len(data), [cluster.holder("2")])])
    server.copier.step()
    assert cluster.directory.held == [digest]
    assert get(server.store, digest) == data


def test_a_copy_that_was_wrongly_called_damaged_is_cleared_by_itself(cluster: Cluster, seed: int) -> None:
    """No source is needed when nothing is wrong with it."""
    data = large(seed)
    server = cluster.server("1")
    digest = put(server.store, data)
    server.copier.take([CopyOrder(digest, len(data), [])])
    server.copier.step()
    assert cluster.directory.held == [digest]


def test_two_damaged_copies_make_a_whole_one(cluster: Cluster, seed: int) -> None:
    """When every copy is damaged, but not in the same place, the good parts of all are put together."""
    data = large(seed)
    digest = put(cluster.server("1").store, data)
    put(cluster.server("2").store, data)
    chunks = [chunk.digest for chunk in chunk_bytes(data)]
    file_of(cluster.server("1"), chunks[0]).unlink()
    file_of(cluster.server("2"), chunks[1]).unlink()  # not the last: it may be so short that it has no file
    server = cluster.server("1")
    server.copier.take([CopyOrder(digest, len(data), [cluster.holder("2")])])
    server.copier.step()
    assert get(server.store, digest) == data


# ---------------------------------------------------------------- quarantine


def fill(folder: Path, sizes: list[int]) -> list[Path]:
    paths = []
    for number, size in enumerate(sizes):
        path = folder / f"{number:02d}"
        path.write_bytes(bytes(size))
        paths.append(path)
    return paths


def test_the_quarantine_is_bounded_by_size(tmp_path: Path) -> None:
    """The oldest go first, and no more of them than must."""
    paths = fill(tmp_path, [100] * 6)  # made so fast that their times may be equal: then their names decide
    clock = ManualClock(wall=max(path.stat().st_ctime for path in paths))
    Quarantine(tmp_path, clock, 350, 1e9).step()
    assert [path.exists() for path in paths] == [False, False, False, True, True, True]


def test_the_quarantine_is_bounded_by_age(tmp_path: Path) -> None:
    """What has been there for long enough goes, however little it is; a moved file's old times do not count."""
    (path,) = fill(tmp_path, [100])
    os.utime(path, (0, 0))
    clock = ManualClock(wall=path.stat().st_ctime)
    quarantine = Quarantine(tmp_path, clock, 1000, 3600)
    quarantine.step()
    assert path.exists()
    clock.step_wall(3601)
    quarantine.step()
    assert not path.exists()


def test_damage_fills_the_quarantine_no_further_than_allowed(cluster: Cluster) -> None:
    """However much rots, the quarantine stays within its bound after the job's next step."""
    server = cluster.server("1")
    data = large(1)
    assert max(chunk.length for chunk in chunk_bytes(data)) < 4_000_000  # or one half alone might be too much
    put(server.store, data)
    for path in server.store._layout.chunks.glob("*/*"):
        os.truncate(path, path.stat().st_size // 2)
    scrub(server)
    folder = server.store._layout.quarantine
    assert sum(path.stat().st_size for path in folder.iterdir()) > 2_000_000
    Quarantine(folder, ManualClock(), 2_000_000, 1e12).step()
    assert 0 < sum(path.stat().st_size for path in folder.iterdir()) <= 2_000_000
