"""Masters that fail, hang or lose their reply: the write goes on, or fails clearly."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from client_proxy.core import write_attempts
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    Forbidden,
    Locked,
    LockstepError,
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
from lockstep_store.wire.messages.writes import BeginItem, BeginReplyItem
from tests.fakes.network_file_server import FakeFileServer
from tests.fakes.proxy_rig import ProxyRig, noise
from tests.unit.client_proxy.core.writing import MIB, put, stored, threads_named, versions


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


def test_too_few_file_servers_are_said_also_when_the_last_master_is_gone(rig: ProxyRig) -> None:
    """Masters change from attempt to attempt; one that is gone itself says less than one that misses others."""
    rig.one.refuse_write, rig.one.refuse_writes_left = TooFewHolders("only 1 of 2 copies could be made"), 99
    attempts, pauses = rig.writer._attempts, 0
    original = attempts._sleep

    def sleep(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        rig.one.down = pauses == write_attempts.ATTEMPTS - 1
        original(seconds)

    attempts._sleep = sleep
    with pytest.raises(TooFewHolders, match="only 1 of 2"):
        put(rig, noise(8, 4096))
    assert [item.attempt for item in rig.directory.begun] == list(range(write_attempts.ATTEMPTS))
    assert versions(rig) == 0


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
    rig.clock.advance(write_attempts.AVOID_SECONDS + 1)
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
