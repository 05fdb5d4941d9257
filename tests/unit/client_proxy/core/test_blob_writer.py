"""Writes through the proxy: what is sent, what is stored, and how much memory it takes."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from client_proxy.core.buffer_budget import BufferBudget
from client_proxy.core.requests import Write
from client_proxy.metrics import SENT_BYTES
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.errors import (
    IncompleteBody,
    PeerUnreachable,
    Unavailable,
)
from lockstep_store.wire.manifest import Manifest
from tests.fakes.proxy_rig import ProxyRig, noise, proxy_rig
from tests.unit.client_proxy.core.writing import MIB, blocks_of, put, stored, threads_named, versions


@pytest.mark.parametrize("size", [0, 1, 4096, 256 * 1024, 256 * 1024 + 1, 3 * MIB, 8 * MIB, 30 * MIB])
@pytest.mark.parametrize("declared", [True, False])
def test_a_file_of_any_size_is_stored_and_read_back(rig: ProxyRig, size: int, declared: bool) -> None:
    """What is written is what the holders have and what is read, whether its size was declared or not."""
    content = noise(size, size)
    committed = rig.files.write(Write("ann", "files", "file", size=size if declared else None), blocks_of(content))
    assert stored(rig) == content
    assert rig.read("file")[0] == content
    assert committed.version.size == size
    assert committed.version.digest == Manifest((c.digest, c.length) for c in chunk_bytes(content)).digest
    assert (committed.copies, committed.file_server, committed.cursor) == (1, "1", 1)


def test_a_small_file_costs_one_begin_and_one_request_to_the_master(rig: ProxyRig) -> None:
    """The hot path of a small write has no other round trip, and the file is then read without any. How a bucket's
    contents are encrypted is asked once in a few seconds, not for each write."""
    put(rig, noise(2, 4096))
    assert rig.directory.calls == ["/v1/bucket-settings/encryption", "/v1/begin"]
    rig.directory.calls.clear()
    rig.one.calls.clear()
    put(rig, noise(1, 4096))
    assert rig.directory.calls == ["/v1/begin"]
    assert rig.one.calls == ["/v1/writes/small"]
    assert rig.read("file") == (noise(1, 4096), "hit")
    assert rig.one.calls == ["/v1/writes/small"]


@pytest.mark.parametrize("size", [4096, 6 * MIB])
def test_content_that_the_cluster_has_is_linked_without_bytes(rig: ProxyRig, size: int) -> None:
    """A second file with the same content sends nothing to any file server."""
    put(rig, noise(2, size))
    asked = len(rig.one.calls)
    committed = put(rig, noise(2, size), path="copy")
    assert len(rig.one.calls) == asked
    assert committed.version.path == "copy"
    assert committed.file_server == ""


@pytest.mark.parametrize("size", [6 * MIB, 40 * MIB])
def test_an_edit_sends_only_the_changed_chunks(rig: ProxyRig, size: int) -> None:
    """One byte changed in the middle costs at most two maximal chunks, held or streamed."""
    content = bytearray(noise(3, size))
    put(rig, bytes(content))
    content[size // 2] ^= 1
    before, received = SENT_BYTES._value.get(), sum(rig.one.received)
    put(rig, bytes(content))
    assert 0 < SENT_BYTES._value.get() - before <= 8 * MIB
    assert sum(rig.one.received) - received == SENT_BYTES._value.get() - before
    assert stored(rig) == content


def test_repeated_content_is_sent_once(rig: ProxyRig) -> None:
    """A large file of zeros costs its master one chunk, not all of them."""
    put(rig, bytes(40 * MIB))
    assert len(rig.one.received) <= 2
    assert stored(rig) == bytes(40 * MIB)


def test_a_file_that_changes_while_it_is_uploaded_has_the_bytes_that_arrived(rig: ProxyRig) -> None:
    """Without a declared size a body is whatever came, consistently named by its digest."""
    first, second = noise(4, 5 * MIB), noise(5, 5 * MIB)
    rig.files.write(Write("ann", "files", "file", size=None), iter([first, second[: 3 * MIB]]))
    assert stored(rig) == first + second[: 3 * MIB]


@pytest.mark.parametrize("size", [10, 4 * MIB, 30 * MIB])
@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_body_that_is_not_what_was_declared_commits_nothing(rig: ProxyRig, size: int, off_by: int) -> None:
    """Shorter or longer than declared: refused, and the path stays as it was."""
    with pytest.raises(IncompleteBody, match="nothing was saved"):
        put(rig, noise(6, size), size=size + off_by)
    assert versions(rig) == 0
    assert not threads_named("upload")


@pytest.mark.parametrize("after", [10, 4 * MIB, 30 * MIB])
def test_a_body_that_breaks_off_commits_nothing(rig: ProxyRig, after: int) -> None:
    """A client that goes away in the middle leaves no version behind, and no thread."""

    def body() -> Iterator[bytes]:
        yield from blocks_of(noise(7, after))
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError):
        rig.files.write(Write("ann", "files", "file", size=None), body())
    assert versions(rig) == 0
    assert not threads_named("upload")


def test_a_chunk_that_the_master_lost_in_between_is_sent_after_all(rig: ProxyRig) -> None:
    """A master that says it has a chunk and then misses it gets the bytes, as they are still held."""
    rig.one.forgets = True
    put(rig, noise(14, 6 * MIB))
    assert stored(rig) == noise(14, 6 * MIB)


@pytest.mark.parametrize(("budget", "most"), [(32 * MIB, 16 * MIB), (0, 12 * MIB)])
def test_a_slow_master_slows_the_client_instead_of_filling_memory(tmp_path: Path, budget: int, most: int) -> None:
    """While the master takes nothing, only a bounded part of the body is read; less when the budget is used up."""
    with proxy_rig(tmp_path, budget_bytes=budget) as rig:
        read = 0
        may_go_on = threading.Event()

        def body() -> Iterator[bytes]:
            nonlocal read
            for block in blocks_of(noise(21, 100 * MIB), MIB):
                read += len(block)
                yield block

        take = rig.one.take_stream

        def take_late(headers: dict[str, str], blocks: Iterable[bytes | memoryview]) -> bytes:
            assert may_go_on.wait(60)
            return take(headers, blocks)

        rig.one.take_stream = take_late  # type: ignore[method-assign]
        writing = threading.Thread(target=lambda: rig.files.write(Write("ann", "files", "file", size=None), body()))
        writing.start()
        seen = -1
        while seen != read or not read:  # until the body is no longer being read
            seen = read
            threading.Event().wait(0.4)
        held = read
        may_go_on.set()
        writing.join(60)
        assert held <= most
        assert stored(rig) == noise(21, 100 * MIB)


def test_a_streamed_body_leaves_memory_as_it_is_sent(tmp_path: Path) -> None:
    """However long a body is, no more of it is in memory than its share: its first chunks go like all others."""
    with proxy_rig(tmp_path, budget_bytes=32 * MIB) as rig:

        def take_nothing(headers: dict[str, str], blocks: Iterable[bytes | memoryview]) -> bytes:
            for _ in blocks:
                pass
            raise PeerUnreachable("went away")

        def body() -> Iterator[bytes]:
            noise_of = random.Random(31)
            for _ in range(400):
                yield noise_of.randbytes(MIB // 4)

        rig.one.take_stream = rig.two.take_stream = take_nothing  # type: ignore[method-assign]
        tracemalloc.start()
        try:
            with pytest.raises(Unavailable):
                rig.files.write(Write("ann", "files", "file", size=None), body())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 17 * MIB


def test_a_share_leaves_something_to_those_who_come_later() -> None:
    """Eight uploads at a time all get a share, none of them more than a quarter of what is left."""
    budget = BufferBudget(32 * MIB)
    with ExitStack() as under_way:
        shares = [under_way.enter_context(budget.share(8 * MIB)) for _ in range(8)]
        assert shares[0] == 8 * MIB
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] > MIB
        assert sum(shares) <= 32 * MIB
    with budget.share(MIB) as share:
        assert share == MIB


def test_a_body_of_known_length_is_granted_no_more_than_that(tmp_path: Path) -> None:
    """What small uploads do not need is there for those that come after them."""
    with proxy_rig(tmp_path, budget_bytes=32 * MIB) as rig:
        left: list[int] = []

        def body() -> Iterator[bytes]:
            with rig.budget.share(8 * MIB) as share:
                left.append(share)
            yield noise(32, MIB)

        rig.files.write(Write("ann", "files", "file", size=MIB), body())
    assert left == [(32 * MIB - MIB) // 4]
