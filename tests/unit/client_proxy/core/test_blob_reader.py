from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from client_proxy.core import blob_reader, chunk_fetcher
from client_proxy.core.requests import Read, Stat
from client_proxy.metrics import FETCHED_BYTES, READ_FAILOVERS
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, Damaged, RangeNotSatisfiable, Unavailable
from lockstep_store.wire.manifest import Manifest
from tests.fakes.proxy_rig import ProxyRig, noise, proxy_rig
from tests.waiting import wait_until

MIB = 1024 * 1024


def damage_told(rig: ProxyRig) -> list[tuple[str, Digest]]:
    """What the directory was told. The report is made beside the read; closing gives up one that has not begun."""
    wait_until(lambda: rig.directory.damaged, what="a report")
    rig.reader.close()
    return rig.directory.damaged


@pytest.mark.parametrize("size", [0, 1, 4096, 256 * 1024, 256 * 1024 + 1, 3 * MIB, 20 * MIB])
def test_a_file_of_any_size_is_read_and_read_again_from_the_cache(rig: ProxyRig, size: int) -> None:
    """The content is the same from a holder and from the cache, and the receipt says which it was."""
    content = noise(size, size)
    version = rig.publish("file", content)
    first, second = rig.read("file"), rig.read("file")
    assert first == (content, "miss" if size else "hit")
    assert second == (content, "hit")
    with rig.files.open(Read("ann", "files", "file")) as opened:
        assert opened.receipt().digest == version.digest
        assert opened.receipt().version == version.version
        assert opened.receipt().cursor == len(rig.directory.by_write_id)
        assert opened.manifest().size == size


def test_a_small_file_costs_one_request_and_then_none(rig: ProxyRig) -> None:
    """A one-chunk file needs no manifest, and a cached one needs no file server at all."""
    rig.publish("file", noise(1, 4096))
    rig.read("file")
    assert rig.one.calls == ["/v1/chunks/read"]
    rig.read("file")
    assert len(rig.one.calls + rig.two.calls) == 1


def test_an_old_copy_is_the_base_of_the_next_download(rig: ProxyRig) -> None:
    """After an edit in the middle only the changed chunks are fetched."""
    content = noise(7, 16 * MIB)
    rig.publish("file", content)
    rig.read("file")
    edited = content[: 8 * MIB] + b"edit" + content[8 * MIB :]
    rig.publish("file", edited)
    before = FETCHED_BYTES._value.get()
    assert rig.read("file") == (edited, "delta")
    assert FETCHED_BYTES._value.get() - before <= 8 * MIB


def test_a_changed_file_is_never_served_from_its_old_copy(rig: ProxyRig) -> None:
    """The cache is asked for the digest that the directory names now, so an old copy is simply not it."""
    for seed in range(3):
        rig.publish("file", noise(seed, 5000))
        assert rig.read("file")[0] == noise(seed, 5000)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (5 * MIB - 3, 5 * MIB + 9), (0, None), (20 * MIB - 1, None), (7, 7), (9 * MIB, 19 * MIB)],
)
def test_a_range_is_exactly_those_bytes(rig: ProxyRig, start: int, stop: int | None) -> None:
    """Any range equals that slice of the file, in blocks of at most 4 MiB."""
    content = noise(3, 20 * MIB)
    rig.publish("file", content)
    with rig.files.open(Read("ann", "files", "file")) as opened:
        blocks = list(opened.blocks(start, stop))
    assert b"".join(blocks) == content[start:stop]
    assert all(0 < len(block) <= 4 * MIB for block in blocks)


def test_a_range_fetches_only_the_chunks_it_needs(rig: ProxyRig) -> None:
    """A few bytes of a large file cost at most the two chunks that they lie in."""
    rig.publish("file", noise(3, 20 * MIB))
    before = FETCHED_BYTES._value.get()
    with rig.files.open(Read("ann", "files", "file")) as opened:
        assert opened.receipt(10 * MIB, 10 * MIB + 5).cache == "miss"
        list(opened.blocks(10 * MIB, 10 * MIB + 5))
        assert opened.receipt().cache == "miss"
    assert FETCHED_BYTES._value.get() - before <= 8 * MIB
    with rig.files.open(Read("ann", "files", "file")) as opened:
        assert opened.receipt(10 * MIB, 10 * MIB + 5).cache == "hit"
        assert opened.receipt().cache == "delta"


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (0, 11), (6, 5), (11, None)])
def test_a_range_outside_the_file_is_refused_at_once(rig: ProxyRig, start: int, stop: int | None) -> None:
    """The refusal comes from the call itself, not in the middle of an answer."""
    rig.publish("file", b"0123456789")
    with rig.files.open(Read("ann", "files", "file")) as opened, pytest.raises(RangeNotSatisfiable):
        opened.blocks(start, stop)


@pytest.mark.parametrize("failure", ["down", "hang", "breaks"])
def test_a_failing_holder_is_replaced_unnoticed(rig: ProxyRig, failure: str) -> None:
    """Refused, silent or cut off in the middle of a chunk: the next holder goes on from there."""
    content = noise(5, 12 * MIB)
    version = rig.publish("file", content)
    rig.reader.fetcher.manifest(_source(rig, "file"), version.digest)
    before = READ_FAILOVERS._value.get()
    if failure == "breaks":
        rig.one.breaks_after = 2 * MIB + 77
    else:
        setattr(rig.one, failure, True)
    with rig.files.open(Read("ann", "files", "file")) as opened:
        assert b"".join(opened.blocks()) == content
        assert opened.receipt().file_server == "2"
    assert READ_FAILOVERS._value.get() > before
    # A holder that failed is asked last for a while, so not every window waits for it.
    assert rig.one.calls.count("/v1/chunks/read") <= 3


def test_what_a_failing_holder_did_send_is_not_fetched_twice(rig: ProxyRig) -> None:
    """Failing over continues at the chunk that failed."""
    content = noise(5, 12 * MIB)
    manifest = Manifest.decode(rig.one.keep(content).encode())
    rig.publish("file", content)
    rig.one.breaks_after = 5 * MIB
    before = FETCHED_BYTES._value.get()
    assert rig.read("file")[0] == content
    assert FETCHED_BYTES._value.get() - before == manifest.size


def test_a_holder_that_dies_in_the_middle_of_a_stream_is_not_noticed(rig: ProxyRig) -> None:
    """The reader has half of the file when the holder dies, and gets the other half from the next."""
    content = noise(6, 24 * MIB)
    rig.publish("file", content)
    with rig.files.open(Read("ann", "files", "file")) as opened:
        blocks = opened.blocks()
        got = [next(blocks) for _ in range(3)]
        rig.one.down = True
        got += list(blocks)
    assert b"".join(got) == content
    assert rig.two.chunks_served > 0


def test_a_holder_that_keeps_failing_is_asked_ever_more_rarely(rig: ProxyRig) -> None:
    """A long read does not stall again and again on the same dead holder; one that works again is asked as before."""
    rig.one.hang = True
    for seed in range(60):
        rig.publish("file", noise(seed, 1000))
        rig.read("file")
        rig.clock.advance(5)
    assert 3 <= len(rig.one.calls) <= 10  # in five minutes
    rig.one.hang = False
    rig.clock.advance(chunk_fetcher.LONGEST_AVOID_SECONDS)
    for seed in range(60, 70):
        rig.publish("file", noise(seed, 1000))
        rig.read("file")
    assert rig.one.chunks_served == 10


def test_only_the_last_holder_that_should_work_is_given_all_its_time(rig: ProxyRig) -> None:
    """A reader does not wait for a hung server while another one is there; slow servers still get their time."""
    patience: list[float | None] = []
    real = rig.network.open

    def noted(*args: Any, timeout: float | None = None, **options: Any) -> Any:
        patience.append(timeout)
        return real(*args, timeout=timeout, **options)

    rig.network.open = noted  # type: ignore[method-assign]
    rig.one.hang = True
    rig.publish("file", noise(1, 1000))
    rig.read("file")
    assert patience == [chunk_fetcher.IMPATIENT_SECONDS, blob_reader.STALL_SECONDS]
    patience.clear()
    rig.publish("file", noise(2, 1000))
    rig.read("file")  # the first is known by now, so the second is the only one that should work
    assert patience == [blob_reader.STALL_SECONDS]


def test_a_holder_that_trickles_counts_as_stalled(rig: ProxyRig) -> None:
    """A byte now and then keeps no read alive for ever: below the slowest rate the holder is replaced."""
    content = noise(6, 3 * MIB)
    rig.publish("file", content)
    rig.one.on_read = lambda: rig.clock.advance(chunk_fetcher.READ_BYTES / 10_000)
    assert rig.read("file")[0] == content
    assert rig.two.chunks_served > 0


@pytest.mark.parametrize("size", [5000, 12 * MIB])
def test_a_wrong_chunk_is_replaced_and_reported(rig: ProxyRig, size: int) -> None:
    """A holder whose chunk fails its check is replaced for the reader, and named to the directory for repair."""
    content = noise(8, size)
    version = rig.publish("file", content)
    chunk = rig.one.manifests[version.digest].chunks[-1][0]
    rig.one.flip(chunk)
    assert rig.read("file")[0] == content
    assert damage_told(rig) == [("1", chunk)]


def test_a_wrong_manifest_is_replaced_and_reported(rig: ProxyRig) -> None:
    """A manifest is checked against the file's digest before a single chunk is asked for."""
    content = noise(8, 12 * MIB)
    version = rig.publish("file", content)
    rig.one.manifests[version.digest] = Manifest(rig.one.manifests[version.digest].chunks[1:])
    assert rig.read("file")[0] == content
    assert damage_told(rig) == [("1", version.digest)]


def test_when_all_holders_fail_the_error_names_the_file(rig: ProxyRig) -> None:
    """Nobody left: a 503 that says which file and why, and never a part that looks whole."""
    rig.publish("reports/may.txt", noise(9, 5000))
    rig.one.down, rig.two.hang = True, True
    with pytest.raises(Unavailable, match=r"reports/may\.txt.*1: refused.*2: did not answer") as caught:
        rig.read("reports/may.txt")
    assert caught.value.status == 503
    rig.two.hang = False
    assert rig.read("reports/may.txt")[0] == noise(9, 5000)


def test_when_all_holders_fail_the_directory_is_asked_where_else_the_file_is(rig: ProxyRig) -> None:
    """A file that repair has moved in the middle of a long read is found where it is now."""
    content = noise(10, 24 * MIB)
    rig.publish("file", content, rig.one)
    with rig.files.open(Read("ann", "files", "file")) as opened:
        blocks = opened.blocks()
        got = [next(blocks)]
        rig.two.keep(content)
        rig.one.down = True
        got += list(blocks)
    assert b"".join(got) == content


def test_a_flipped_bit_in_the_cache_is_fetched_again(rig: ProxyRig) -> None:
    """A damaged cache entry costs a fetch, never a wrong byte, in the middle of a large file too."""
    content = noise(11, 12 * MIB)
    rig.publish("file", content)
    rig.read("file")
    for file in rig.entries()[:20:4]:
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
    assert rig.read("file") == (content, "delta")
    assert rig.read("file") == (content, "hit")


def test_a_restarted_proxy_still_has_its_cache(tmp_path: Path) -> None:
    """What was cached before a restart is served after it, with no file server up."""
    content = noise(12, 5 * MIB)
    with proxy_rig(tmp_path) as before:
        before.publish("file", content)
        before.read("file")
    with proxy_rig(tmp_path) as after:
        after.publish("file", content)
        after.one.down = after.two.down = True
        assert after.read("file") == (content, "hit")


def test_an_unwritable_cache_only_makes_reads_slower(tmp_path: Path) -> None:
    """With no cache at all every file is still read, whole and verified."""

    def refuse(path: Path, parts: tuple[bytes, bytes]) -> None:
        raise OSError(28, "No space left on device")

    with proxy_rig(tmp_path, write_file=refuse, memory_bytes=0) as rig:
        content = noise(13, 12 * MIB)
        rig.publish("file", content)
        for _ in range(2):
            assert rig.read("file") == (content, "miss")
        assert rig.entries() == []


@pytest.mark.parametrize("size", [5000, 3 * MIB])
def test_readers_that_miss_the_same_chunk_at_once_fetch_it_once(rig: ProxyRig, size: int) -> None:
    """Eight readers of one new file cost its file server one file."""
    content = noise(14, size)
    version = rig.publish("file", content)
    barrier = threading.Barrier(8)
    results: list[bytes] = []

    def read() -> None:
        with rig.files.open(Read("ann", "files", "file")) as opened:
            barrier.wait(60)
            results.append(b"".join(opened.blocks()))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [content] * 8
    assert rig.one.chunks_served + rig.two.chunks_served == len(rig.one.manifests[version.digest])


def test_a_reader_whose_leader_fails_fetches_for_itself(rig: ProxyRig) -> None:
    """Waiting for another reader's fetch never means sharing its failure."""
    content = noise(15, 5000)
    rig.publish("file", content, rig.one)
    first_asks, second_waits = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def fail_once() -> None:
        rig.one.on_chunks = lambda: None
        first_asks.set()
        assert second_waits.wait(60)
        raise BadRequest("not today")

    def lead() -> None:
        try:
            version = rig.files.stat(Stat("ann", "files", "file"))
            b"".join(rig.reader.open(version, 1).blocks())
        except Unavailable as error:
            failures.append(error)

    rig.one.on_chunks = fail_once
    leader = threading.Thread(target=lead)
    leader.start()
    assert first_asks.wait(60)
    results: list[bytes] = []
    follower = threading.Thread(target=lambda: results.append(rig.read("file")[0]))
    follower.start()
    flights = rig.reader.fetcher._flights
    wait_until(lambda: any(flight.landed._cond._waiters for flight in list(flights.values())))  # type: ignore[attr-defined]
    second_waits.set()
    leader.join(60)
    follower.join(60)
    assert len(failures) == 1
    assert results == [content]


def test_memory_stays_bounded_when_nobody_takes_the_blocks(rig: ProxyRig) -> None:
    """A reader that stops taking blocks has at most two windows fetched for it, however long the file is."""
    rig.publish("file", noise(16, 64 * MIB))
    before = FETCHED_BYTES._value.get()
    with rig.files.open(Read("ann", "files", "file")) as opened:
        blocks = opened.blocks()
        for _ in range(3):
            next(blocks)
        rig.reader.pool.submit(lambda: None).result()
        assert FETCHED_BYTES._value.get() - before <= 16 * MIB
        blocks.close()  # type: ignore[attr-defined]


def test_without_a_share_of_the_budget_a_read_goes_chunk_by_chunk(tmp_path: Path) -> None:
    """When other transfers have used up the memory for windows, nothing is read ahead, and all is still read."""
    with proxy_rig(tmp_path, budget_bytes=0) as rig:
        content = noise(17, 12 * MIB)
        version = rig.publish("file", content)
        with rig.files.open(Read("ann", "files", "file")) as opened:
            blocks = opened.blocks()
            first = next(blocks)
            assert rig.one.chunks_served == 1
            assert first + b"".join(blocks) == content
        assert rig.one.calls.count("/v1/chunks/read") == len(rig.one.manifests[version.digest])


def test_a_small_file_put_together_from_parts_is_read_by_its_manifest(rig: ProxyRig) -> None:
    """Several tiny chunks can make one small file: its digest then names a manifest, not a chunk."""
    pieces = [noise(seed, 700) for seed in range(3)]
    for server in (rig.one, rig.two):
        chunks = [server.keep(piece).chunks[0] for piece in pieces]
    manifest = Manifest(chunks)
    rig.one.manifests[manifest.digest] = rig.two.manifests[manifest.digest] = manifest
    version = rig.publish("file", b"".join(pieces))
    version.digest = manifest.digest
    rig.directory.holders[manifest.digest] = [rig.one.holder, rig.two.holder]
    assert rig.read("file") == (b"".join(pieces), "miss")
    assert rig.read("file") == (b"".join(pieces), "hit")


def test_a_directory_that_contradicts_the_content_is_not_believed(rig: ProxyRig) -> None:
    """A size that is not the manifest's is an error before the first byte, not a short answer."""
    rig.publish("file", noise(18, 3 * MIB)).size -= 1
    with pytest.raises(Damaged, match="its manifest has"):
        rig.read("file")


def _source(rig: ProxyRig, path: str) -> chunk_fetcher.Source:
    version = rig.files.stat(Stat("ann", "files", path))
    return chunk_fetcher.Source(path, version.holders)


def test_the_digest_of_a_large_file_is_not_taken_for_a_chunk(rig: ProxyRig) -> None:
    """A file of up to 4 MiB that is one chunk needs no manifest once that chunk is cached."""
    content = bytes(2 * MIB)
    version = rig.publish("file", content)
    assert isinstance(version.digest, Digest)
    rig.read("file")
    rig.one.down = rig.two.down = True
    assert rig.read("file") == (content, "hit")
