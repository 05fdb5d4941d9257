"""Small writes that gather: one call begins them, one sends them, and each has its own outcome."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client_proxy.core import small_writes
from client_proxy.core.small_writes import SmallWrites
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import PreconditionFailed
from lockstep_store.wire.messages.files import CommittedReply
from lockstep_store.wire.messages.writes import BeginItem, BeginReply, BeginReplyItem, BeginRequest
from tests.fakes.proxy_rig import ProxyRig, noise
from tests.unit.client_proxy.core.writing import put
from tests.waiting import wait_until


class Gathering:
    """A rig whose first begin is held until seven other writes wait, so that they leave together."""

    def __init__(self, folder: Path) -> None:
        self.rig = ProxyRig(folder)
        self.begins: list[list[BeginItem]] = []
        self.held, self.release = threading.Event(), threading.Event()
        original = self.rig.directory._begin

        def begin(request: BeginRequest) -> BeginReply:
            self.begins.append(request.items)
            if len(self.begins) == 1:
                self.held.set()
                assert self.release.wait(60)
            return original(request)

        self.rig.directory._begin = begin  # type: ignore[method-assign]

    def put_all(self) -> list[CommittedReply | BaseException]:
        """Write eight files; return each one's reply or error. The first leaves alone, the others together."""
        calls = self.rig.writer._small._calls

        def one(number: int) -> CommittedReply:
            return put(self.rig, noise(number, 4096), path=f"file-{number}")

        with ThreadPoolExecutor(8) as pool:
            writes = [pool.submit(one, 0)]
            assert self.held.wait(60)
            writes += [pool.submit(one, number) for number in range(1, 8)]
            wait_until(lambda: len(calls._waiting) == 7)
            self.release.set()
            wait_until(lambda: all(write.done() for write in writes))
        return [write.exception() or write.result() for write in writes]


@pytest.fixture
def gathering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gathering:
    monkeypatch.setattr(small_writes, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(small_writes, "MAX_IN_FLIGHT", 1)
    return Gathering(tmp_path)


def test_writes_that_gather_are_begun_in_one_call_and_sent_in_one(gathering: Gathering) -> None:
    """Each is committed with its own content."""
    sent = gathering.rig.one.small_calls
    assert all(isinstance(reply, CommittedReply) for reply in gathering.put_all())
    assert [len(items) for items in gathering.begins] == [1, 7]
    assert sent == [1, 7]
    for number in range(8):
        version = gathering.rig.directory.current("files", f"file-{number}")
        assert version is not None
        assert version.digest == chunk_digest(noise(number, 4096))


def test_a_begin_that_is_refused_is_refused_alone(gathering: Gathering) -> None:
    """Its neighbours in the call are committed, and it is neither sent nor begun again."""
    original = gathering.rig.directory._begin_one

    def begin_one(item: BeginItem) -> BeginReplyItem:
        if item.path == "file-3":
            raise PreconditionFailed("it exists")
        return original(item)

    gathering.rig.directory._begin_one = begin_one  # type: ignore[method-assign]
    replies = gathering.put_all()
    assert isinstance(replies[3], PreconditionFailed)
    assert sum(isinstance(reply, CommittedReply) for reply in replies) == 7
    assert gathering.rig.one.small_calls == [1, 6]
    assert [item.path for items in gathering.begins for item in items].count("file-3") == 1


def test_a_master_that_fails_is_replaced_for_all_that_were_sent_to_it(gathering: Gathering) -> None:
    """They are begun again without it, under the same write ids."""
    gathering.rig.one.down = True
    assert all(isinstance(reply, CommittedReply) for reply in gathering.put_all())
    items = [item for begun in gathering.begins for item in begun]
    assert {item.path: item.write_id for item in items} == {
        item.path: item.write_id for item in items if item.attempt == 1
    }
    assert all(item.exclude == (["1"] if item.attempt else []) for item in items)


def test_a_write_with_another_master_is_sent_by_itself(gathering: Gathering) -> None:
    """The call to most of the others' master is not its: it goes to its own afterwards."""
    original = gathering.rig.directory._begin_one

    def begin_one(item: BeginItem) -> BeginReplyItem:
        begun = original(item)
        if item.path == "file-5":
            begun.master = gathering.rig.two.holder
        return begun

    gathering.rig.directory._begin_one = begin_one  # type: ignore[method-assign]
    replies = gathering.put_all()
    masters = [reply.file_server for reply in replies if isinstance(reply, CommittedReply)]
    assert masters == ["1", "1", "1", "1", "1", "2", "1", "1"]
    assert gathering.rig.one.small_calls == [1, 6]
    assert gathering.rig.two.small_calls == [1]


def test_only_a_whole_small_body_is_gathered() -> None:
    """Not one whose chunks were left out, nor a long one."""
    assert SmallWrites.stream_of(list(chunk_bytes(b"small"))) is not None
    assert SmallWrites.stream_of([]) is not None
    assert SmallWrites.stream_of([Chunk(chunk_digest(b"small"), 5, None)]) is None
    assert SmallWrites.stream_of(list(chunk_bytes(noise(1, 70_000)))) is None
