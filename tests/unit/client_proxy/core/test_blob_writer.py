from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from client_proxy.core import blob_writer
from client_proxy.core.buffer_budget import BufferBudget
from client_proxy.core.requests import Write
from client_proxy.metrics import SENT_BYTES
from lockstep_store.wire.chunk_stream import StreamReader, encode_stream
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import (
    BadDigest,
    Forbidden,
    IncompleteBody,
    Locked,
    LockstepError,
    MissingChunks,
    NotFound,
    NotLoggedIn,
    Overloaded,
    PeerUnreachable,
    PreconditionFailed,
    StorageFull,
    TicketRefused,
    TooFewHolders,
    Unavailable,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import CommittedReply
from lockstep_store.wire.messages.writes import BeginItem, BeginReplyItem
from tests.fakes.network import FakeFileServer
from tests.fakes.proxy_rig import ProxyRig, noise, proxy_rig

MIB = 1024 * 1024


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ProxyRig]:
    with proxy_rig(tmp_path) as rig:
        yield rig


def put(rig: ProxyRig, content: bytes, *, size: int | None = None, path: str = "file") -> CommittedReply:
    return rig.files.write(Write("ann", "files", path, size=len(content) if size is None else size), blocks_of(content))


def blocks_of(content: bytes, length: int = 100_000) -> Iterator[bytes]:
    for start in range(0, len(content), length):
        yield content[start : start + length]


def stream_of(chunks: Iterable[Chunk]) -> StreamReader:
    body = memoryview(b"".join(encode_stream(chunks)))
    return reader_of(body)


def reader_of(body: memoryview | bytes) -> StreamReader:
    view, at = memoryview(body), 0

    def read(count: int) -> bytes:
        nonlocal at
        piece = bytes(view[at : at + min(count, 70_000)])
        at += len(piece)
        return piece

    return StreamReader(read)


def stored(rig: ProxyRig, path: str = "file") -> bytes:
    """The current content as the file servers hold it, past the proxy."""
    version = rig.directory.current("files", path)
    assert version is not None
    for server in (rig.one, rig.two):
        if version.digest in server.manifests:
            return b"".join(server.chunks[digest] for digest, _ in server.manifests[version.digest].chunks)
    raise AssertionError("nobody holds it")


def versions(rig: ProxyRig, path: str = "file") -> int:
    return len(rig.directory.versions.get(("files", path), []))


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


# ---------------------------------------------------------------- failing masters


def is_down(server: FakeFileServer) -> None:
    server.down = True


def hangs(server: FakeFileServer) -> None:
    server.hang = True


def dies_in_the_stream(server: FakeFileServer) -> None:
    server.dies_after_chunks = 0


def is_full(server: FakeFileServer) -> None:
    server.refuse_write, server.refuse_writes_left = StorageFull("no space"), 99


@pytest.mark.parametrize("failure", [is_down, hangs, dies_in_the_stream, is_full])
@pytest.mark.parametrize("size", [4096, 6 * MIB, 8 * MIB])
def test_a_master_that_fails_before_the_commit_is_replaced(
    rig: ProxyRig, failure: Callable[[FakeFileServer], None], size: int
) -> None:
    """A body that is held is sent to another master under the same write id; the client sees one success."""
    failure(rig.one)
    committed = put(rig, noise(8, size))
    assert committed.file_server == "2"
    assert versions(rig) == 1
    assert stored(rig) == noise(8, size)
    assert len({item.write_id for item in rig.directory.begun}) == 1
    assert rig.directory.begun[-1].exclude == ["1"]
    assert [item.attempt for item in rig.directory.begun] == [0, 1], "holders tell the late push of the first by it"


@pytest.mark.parametrize("size", [4096, 6 * MIB, 30 * MIB])
def test_a_masters_answer_that_is_lost_after_the_commit_is_found_again(rig: ProxyRig, size: int) -> None:
    """The write is acknowledged with the version that was committed, and there is only that one."""
    rig.one.drop_replies = 1 if size <= 4096 else 0
    if size > 4096:
        lose_the_answer_to_the_write(rig.one)
    committed = put(rig, noise(9, size))
    assert versions(rig) == 1
    assert committed.version == rig.directory.current("files", "file")
    assert rig.two.received == []


def lose_the_answer_to_the_write(server: FakeFileServer) -> None:
    take = server.take_stream

    def take_and_lose(headers: dict[str, str], blocks: Iterable[bytes | memoryview]) -> bytes:
        answer = take(headers, blocks)
        server.drop_replies = 1
        return answer

    server.take_stream = take_and_lose  # type: ignore[method-assign]


def test_the_next_write_does_not_wait_for_the_same_dead_master(rig: ProxyRig) -> None:
    """Until the directory has noticed, this proxy asks for another master than the one that did not answer."""
    rig.one.hang = True
    put(rig, b"first")
    put(rig, b"second", path="other")
    assert rig.one.calls == ["/v1/writes/small"]


def test_a_large_upload_starts_with_another_master_when_the_first_is_away(rig: ProxyRig) -> None:
    """Nothing of the body is lost while no master has answered, so even a streamed body gets another one."""
    rig.one.down = True
    assert put(rig, noise(10, 30 * MIB)).file_server == "2"
    assert stored(rig) == noise(10, 30 * MIB)


def test_a_large_upload_whose_master_dies_is_refused_clearly_and_cheap_to_repeat(rig: ProxyRig) -> None:
    """A body that is partly gone cannot be sent again by the proxy: a 503 says so, and no chunk is sent twice."""
    content = noise(11, 40 * MIB)
    rig.one.dies_after_chunks = 25
    with pytest.raises(Unavailable, match=r"'file' was being sent.*nothing was saved; send it again") as caught:
        put(rig, content)
    assert caught.value.status == 503
    assert versions(rig) == 0
    assert not threads_named("upload")
    arrived = sum(rig.one.received)
    rig.one.down, rig.one.dies_after_chunks = False, None
    rig.clock.advance(blob_writer.AVOID_SECONDS + 1)
    put(rig, content)
    assert stored(rig) == content
    assert sum(rig.one.received) == len(content)
    assert arrived > 0


def test_a_busy_master_is_asked_again_and_not_reported_as_gone(rig: ProxyRig) -> None:
    """Overload is waited out: a busy server whose writes went elsewhere would take the next one down with it."""
    rig.one.refuse_write, rig.one.refuse_writes_left = Overloaded("busy"), 2
    assert put(rig, b"content").file_server == "1"
    assert all(not item.exclude for item in rig.directory.begun)
    rig.one.refuse_writes_left = 1000
    with pytest.raises(Overloaded):
        put(rig, b"other content")


def test_masters_that_all_fail_end_in_a_bounded_number_of_attempts(rig: ProxyRig) -> None:
    """When no file server takes the write, the error is a 503 and nothing was saved."""
    rig.one.down = rig.two.down = True
    with pytest.raises(Unavailable):
        put(rig, b"content")
    assert versions(rig) == 0
    assert len(rig.directory.begun) <= 6


def test_a_master_that_restarts_is_used_again_when_no_other_is_left(rig: ProxyRig) -> None:
    """Leaving out every master that failed once would refuse writes that the next moment could take."""
    rig.directory.file_servers = [rig.one]
    rig.one.refuse_write, rig.one.refuse_writes_left = Unavailable("not registered yet"), 1
    assert put(rig, b"content").file_server == "1"


def test_a_server_that_is_just_back_is_not_reported_as_gone(rig: ProxyRig) -> None:
    """Only one that lets calls time out is left out of later writes: another one may be gone by then."""
    rig.one.down = True
    put(rig, b"first")
    rig.one.down, rig.two.down = False, True
    assert put(rig, b"second").file_server == "1"
    assert [item.exclude for item in rig.directory.begun] == [[], ["1"], []]


def test_too_few_holders_for_a_moment_are_waited_out(rig: ProxyRig) -> None:
    """A heartbeat may be all that is missing."""
    begin = rig.directory._begin_one
    began = rig.clock.monotonic()

    def begin_later(item: BeginItem) -> BeginReplyItem:
        if rig.clock.monotonic() < began + 1.0:
            raise TooFewHolders("one is suspect")
        return begin(item)

    rig.directory._begin_one = begin_later  # type: ignore[method-assign]
    put(rig, b"content")
    assert versions(rig) == 1


def test_a_master_is_not_blamed_for_its_replicas(rig: ProxyRig) -> None:
    """Only file servers that failed themselves are left out: the directory takes those for unreachable."""
    rig.one.refuse_write, rig.one.refuse_writes_left = TooFewHolders("a replica is away"), 2
    put(rig, b"content")
    assert [item.exclude for item in rig.directory.begun] == [[], [], []]


def test_a_ticket_that_was_overtaken_is_replaced(rig: ProxyRig) -> None:
    """Expired, or fenced by a lock that has come and gone: the write begins again and is made once."""
    rig.one.refuse_write, rig.one.refuse_writes_left = TicketRefused("a newer lock was granted"), 1
    assert put(rig, b"content").file_server == "1"
    assert versions(rig) == 1


def test_a_write_overtaken_by_someone_elses_lock_says_who_has_it(rig: ProxyRig) -> None:
    """Beginning again meets the lock, and its holder's name reaches the client."""
    locked = Locked("'file' is locked by bob", holder="bob")

    def refuse() -> TicketRefused:
        rig.directory.refuse_begin = locked
        return TicketRefused("a newer lock was granted")

    for size in (4096, 30 * MIB):
        rig.directory.refuse_begin = None
        rig.one.take_stream = lambda headers, blocks: raise_(refuse())  # type: ignore[method-assign]
        with pytest.raises(Locked, match="locked by bob") as caught:
            put(rig, noise(12, size))
        assert caught.value.facts == {"holder": "bob"}
    assert versions(rig) == 0


def _lose_the_first_attempt(rig: ProxyRig) -> list[BeginItem]:
    """The master takes the write and is then silent, and the condition does not hold any more; what it was to write."""

    def lose() -> PeerUnreachable:
        rig.directory.refuse_begin = PreconditionFailed("someone made the file")
        return PeerUnreachable("did not answer in time")

    rig.one.take_stream = lambda headers, blocks: raise_(lose())  # type: ignore[method-assign]
    return rig.directory.begun


@pytest.mark.parametrize(("size", "error"), [(4096, PreconditionFailed), (30 * MIB, Unavailable)])
def test_a_write_that_failed_is_given_up_and_never_comes_true(
    rig: ProxyRig, size: int, error: type[LockstepError]
) -> None:
    """A master that was only paused finds its commit refused when it wakes up: the answer was the whole truth."""
    begun = _lose_the_first_attempt(rig)
    with pytest.raises(error):
        put(rig, noise(12, size))
    with pytest.raises(TicketRefused, match="given up"):
        rig.directory.commit(begun[0], chunk_digest(b"late"), 4, rig.one.holder)
    assert versions(rig) == 0


@pytest.mark.parametrize("size", [4096, 30 * MIB])
def test_a_write_that_cannot_be_given_up_is_not_said_to_have_failed(rig: ProxyRig, size: int) -> None:
    """While the directory is away nobody knows whether the lost attempt will still be committed; so it is a 503."""
    _lose_the_first_attempt(rig)
    rig.directory.refuse_give_up = Unavailable("the directory is away")
    with pytest.raises(Unavailable, match="may still take effect"):
        put(rig, noise(12, size))


@pytest.mark.parametrize("refusal", [NotLoggedIn("it has ended"), Forbidden("no longer"), NotFound("no bucket")])
def test_a_repeat_that_may_not_be_made_any_more_does_not_claim_that_nothing_was_done(
    rig: ProxyRig, refusal: LockstepError
) -> None:
    """The master committed and its answer was lost; then the log-in ended. Nobody is told that nothing was written."""

    def commit_and_lose() -> PeerUnreachable:
        rig.directory.commit(rig.directory.begun[0], chunk_digest(b"x"), 1, rig.one.holder)
        rig.directory.refuse_begin = rig.directory.refuse_give_up = refusal
        return PeerUnreachable("did not answer in time")

    rig.one.take_stream = lambda headers, blocks: raise_(commit_and_lose())  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="may still take effect"):
        put(rig, b"x")
    assert versions(rig) == 1


def raise_(error: Exception) -> bytes:
    raise error


@pytest.mark.parametrize("error", [PreconditionFailed("it changed"), Locked("bob has it")])
@pytest.mark.parametrize("size", [4096, 30 * MIB])
def test_a_refusal_is_passed_on_and_not_repeated(rig: ProxyRig, error: LockstepError, size: int) -> None:
    """What the commit decides against the write is the client's answer, at the first attempt."""
    rig.one.refuse_write, rig.one.refuse_writes_left = error, 99
    with pytest.raises(type(error)):
        put(rig, noise(13, size))
    assert rig.two.received == []
    assert versions(rig) == 0


def test_a_chunk_that_the_master_lost_in_between_is_sent_after_all(rig: ProxyRig) -> None:
    """A master that says it has a chunk and then misses it gets the bytes, as they are still held."""
    rig.one.forgets = True
    put(rig, noise(14, 6 * MIB))
    assert stored(rig) == noise(14, 6 * MIB)


# ---------------------------------------------------------------- clients that send chunk streams


def test_a_clients_stream_is_relayed_with_what_it_leaves_out(rig: ProxyRig) -> None:
    """Frames without bytes stand for chunks the master has; the version is the whole file."""
    old = noise(15, 20 * MIB)
    put(rig, old)
    new = old[: 9 * MIB] + b"edit" + old[9 * MIB :]
    known = {digest for digest, _ in rig.one.manifests[rig.directory.current("files", "file").digest].chunks}  # type: ignore[union-attr]
    chunks = [chunk._replace(data=None) if chunk.digest in known else chunk for chunk in chunk_bytes(new)]
    before = SENT_BYTES._value.get()
    rig.files.write_chunks(Write("ann", "files", "file", size=None), stream_of(chunks))
    assert stored(rig) == new
    assert SENT_BYTES._value.get() - before == sum(len(chunk.data) for chunk in chunks if chunk.data is not None)


def test_missing_chunks_are_named_to_the_client_all_at_once(rig: ProxyRig) -> None:
    """A stream of frames without bytes is answered with every chunk that the cluster lacks."""
    content = noise(16, 20 * MIB)
    chunks = [chunk._replace(data=None) for chunk in chunk_bytes(content)]
    with pytest.raises(MissingChunks) as caught:
        rig.files.write_chunks(Write("ann", "files", "file", size=None), stream_of(chunks))
    assert caught.value.facts["digests"] == [str(chunk.digest) for chunk in chunks]
    assert versions(rig) == 0


def test_an_announced_digest_that_is_known_needs_no_stream(rig: ProxyRig) -> None:
    """Known content is linked before the client's stream is looked at."""
    committed = put(rig, noise(17, 6 * MIB))

    def unread(count: int) -> bytes:
        raise AssertionError("the stream was read")

    linked = rig.files.write_chunks(
        Write("ann", "files", "copy", size=6 * MIB), StreamReader(unread), committed.version.digest
    )
    assert linked.version.digest == committed.version.digest


@pytest.mark.parametrize("size", [5000, 30 * MIB])
def test_a_stream_that_is_not_what_it_announced_commits_nothing(rig: ProxyRig, size: int) -> None:
    """The announced digest binds the client: other content under its name is refused."""
    with pytest.raises(BadDigest, match="was announced"):
        rig.files.write_chunks(
            Write("ann", "files", "file", size=size), stream_of(chunk_bytes(noise(18, size))), Digest(b"d" * 32)
        )
    assert versions(rig) == 0


@pytest.mark.parametrize("size", [5000, 30 * MIB])
def test_a_stream_without_its_end_commits_nothing(rig: ProxyRig, size: int) -> None:
    """A chunk stream cut anywhere, even right before its end frame, is not a file."""
    body = b"".join(encode_stream(chunk_bytes(noise(19, size))))
    for cut in (41, len(body) // 2):
        with pytest.raises(IncompleteBody):
            rig.files.write_chunks(Write("ann", "files", "file", size=None), reader_of(body[:-cut]))
    assert versions(rig) == 0
    assert not threads_named("upload")


@pytest.mark.parametrize("size", [5000, 30 * MIB])
def test_a_damaged_stream_commits_nothing(rig: ProxyRig, size: int) -> None:
    """A bit flipped on the client's way is found before anything is committed."""
    body = bytearray(b"".join(encode_stream(chunk_bytes(noise(20, size)))))
    body[-1000] ^= 1
    with pytest.raises(BadDigest):
        rig.files.write_chunks(Write("ann", "files", "file", size=None), reader_of(bytes(body)))
    assert versions(rig) == 0


# ---------------------------------------------------------------- memory


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


def threads_named(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == name]
