from __future__ import annotations

import threading

import pytest

from client_proxy.core.directory_client import DirectoryClient, Found
from lockstep_store.wire.digest import EMPTY_DIGEST
from lockstep_store.wire.errors import (
    BadRequest,
    Locked,
    LockstepError,
    NotFound,
    Undecided,
    to_problem,
)
from lockstep_store.wire.messages.base import Outcome
from lockstep_store.wire.messages.files import (
    DELETE,
    DELETE_MANY,
    LIST,
    DeleteManyReply,
    DeleteManyRequest,
    DeleteReply,
    DeleteRequest,
    Holder,
    ListReply,
    ListRequest,
    LookupItem,
)
from lockstep_store.wire.messages.locks import ACQUIRE, AcquireReply, AcquireRequest, LockPath
from lockstep_store.wire.messages.writes import BeginItem
from tests.fakes.clock import ManualClock
from tests.fakes.network import DIRECTORY_URL, FakeDirectory, FakeNetwork
from tests.waiting import wait_until

HOLDER = Holder(id="1", url="https://file-server-1")
LISTING = ListRequest(credential="ann", bucket="files")


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.directory = FakeDirectory(FakeNetwork())
        self.network = FakeNetwork()
        self.network.servers[DIRECTORY_URL] = self.directory
        self.pauses: list[float] = []
        self.client = DirectoryClient(
            self.network, DIRECTORY_URL, clock=self.clock, sleep=self.sleep, jitter=lambda: 0.5
        )
        self.directory.replies[LIST.path] = lambda _: ListReply(files=[], prefixes=[], next_after=None)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)

    def put(self, path: str) -> None:
        item = BeginItem(credential="ann", write_id=f"{path:0>16}", bucket="files", path=path)
        self.directory.commit(item, EMPTY_DIGEST, 0, HOLDER)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def find(path: str) -> LookupItem:
    return LookupItem(credential="ann", bucket="files", path=path)


def gather(rig: Rig, count: int) -> None:
    """Wait until `count` lookups are waiting for the one under way."""
    wait_until(lambda: len(rig.client._lookups._waiting) >= count)


def hold_lookups(rig: Rig) -> tuple[threading.Event, threading.Event]:
    """The first lookup waits, and sets the first event when it does, until the second is set."""
    busy, gathered = threading.Event(), threading.Event()

    def first_waits() -> None:
        busy.set()
        assert gathered.wait(60)

    rig.directory.before_lookup = first_waits
    return busy, gathered


def test_lookups_of_many_readers_share_round_trips_and_keep_their_own_answers(rig: Rig) -> None:
    """Concurrent lookups travel together, and one person's refusal is nobody else's."""
    for number in range(40):
        rig.put(f"file-{number}")
    busy, gathered = hold_lookups(rig)
    answers: dict[int, str] = {}

    def read(number: int) -> None:
        try:
            answers[number] = rig.client.lookup(find(f"file-{number}")).path
        except NotFound:
            answers[number] = "refused"

    threads = [threading.Thread(target=read, args=(number,)) for number in range(41)]
    threads[0].start()
    assert busy.wait(60)
    for thread in threads[1:]:  # only now: the first lookup would take along those who came just before it left
        thread.start()
    gather(rig, 40)
    gathered.set()
    for thread in threads:
        thread.join(60)
    assert answers == {**{number: f"file-{number}" for number in range(40)}, 40: "refused"}
    assert rig.directory.batches == [1, 40]


@pytest.mark.parametrize(
    "wrong",
    [
        LookupItem(credential="ann", bucket="b" * 64, path="file"),
        LookupItem(credential="ann", bucket="files", path="p" * 1025),
        LookupItem(credential="c" * 65_537, bucket="files", path="file"),
        LookupItem(credential="ann", bucket="files", path="\ud800"),
        BeginItem(credential="ann", write_id="0" * 16, bucket="files", path="file", content_type="t" * 257),
        BeginItem(credential="ann", write_id="0" * 16, bucket="files", path="file", size=-1),
    ],
)
def test_what_the_directory_cannot_read_is_refused_alone(rig: Rig, wrong: LookupItem | BeginItem) -> None:
    """It is not sent: the directory would refuse the whole call, and everybody whose items share it."""
    rig.put("file")
    busy, gathered = hold_lookups(rig)
    answers: dict[str, str] = {}

    def ask(name: str, item: LookupItem | BeginItem) -> None:
        try:
            found = rig.client.lookup(item) if isinstance(item, LookupItem) else rig.client.begin(item)
            answers[name] = getattr(found, "path", "")
        except BadRequest:
            answers[name] = "refused"

    items = {"first": find("file"), "wrong": wrong, "other": find("file")}
    threads = {name: threading.Thread(target=ask, args=(name, item)) for name, item in items.items()}
    threads["first"].start()
    assert busy.wait(60)
    threads["wrong"].start()
    threads["other"].start()
    wait_until(lambda: len(rig.client._lookups._waiting) + (not threads["wrong"].is_alive()) >= 2)
    gathered.set()
    for thread in threads.values():
        thread.join(60)
    assert answers == {"first": "file", "wrong": "refused", "other": "file"}


def test_a_lookup_never_joins_a_request_that_was_sent_before_it_began(rig: Rig) -> None:
    """A write that was committed before a read began is seen by it, although an older lookup is still under way."""
    rig.put("file")
    sent, answer = threading.Event(), threading.Event()
    real = rig.directory._lookup

    def slow(request: object) -> object:
        reply = real(request)  # type: ignore[arg-type]
        if not sent.is_set():
            sent.set()
            assert answer.wait(60)
        return reply

    rig.directory._lookup = slow  # type: ignore[method-assign, assignment]
    older = threading.Thread(target=rig.client.lookup, args=(find("file"),))
    older.start()
    assert sent.wait(60)
    rig.directory.by_write_id.clear()
    rig.directory.versions.clear()
    rig.put("other")
    rig.put("file")
    found: list[Found] = []
    newer = threading.Thread(target=lambda: found.append(rig.client.lookup_at(find("file"))))
    newer.start()
    gather(rig, 1)
    answer.set()
    older.join(60)
    newer.join(60)
    assert [(each.version.version, each.cursor) for each in found] == [("v2", 2)]


def deletion(path: str) -> DeleteRequest:
    return DeleteRequest(credential="ann", write_id=f"{path:0>16}", bucket="files", path=path)


def test_many_deletions_are_one_call_with_an_outcome_each(rig: Rig) -> None:
    """One key's refusal is nobody else's; after a lost attempt it does not claim that nothing was done."""
    calls: list[int] = []

    def answer(request: DeleteManyRequest) -> DeleteManyReply:
        calls.append(len(request.items))
        refused = Outcome[DeleteReply](problem=to_problem(Locked("bob has it")))
        return DeleteManyReply([Outcome(value=DeleteReply(1, True)), refused])

    rig.directory.replies[DELETE_MANY.path] = answer
    first, second = rig.client.delete_many([deletion("a"), deletion("b")])
    assert isinstance(first, DeleteReply)
    assert isinstance(second, Locked)
    rig.directory.drop_replies = 1
    first, second = rig.client.delete_many([deletion("a"), deletion("b")])
    assert isinstance(first, DeleteReply)
    assert isinstance(second, Undecided)
    assert calls == [2, 2, 2]


def test_deletions_of_many_callers_share_a_call_with_an_outcome_each(rig: Rig) -> None:
    """Those that arrive while a call is under way leave together; one caller's refusal is nobody else's."""
    asked: list[list[str]] = []
    busy = threading.Semaphore(0)
    answered = {"1": threading.Event(), "2": threading.Event()}

    def alone(request: DeleteRequest) -> DeleteReply:
        busy.release()
        assert answered[request.path].wait(60)
        return DeleteReply(1, True)

    def together(request: DeleteManyRequest) -> DeleteManyReply:
        asked.append(sorted(item.path for item in request.items))
        refusal = Outcome[DeleteReply](problem=to_problem(Locked("bob has it")))
        return DeleteManyReply(
            [refusal if item.path == "locked" else Outcome(value=DeleteReply(2, True)) for item in request.items]
        )

    rig.directory.replies[DELETE.path], rig.directory.replies[DELETE_MANY.path] = alone, together
    outcomes: dict[str, object] = {}

    def delete(path: str) -> None:
        try:
            outcomes[path] = rig.client.delete(deletion(path)).cursor
        except LockstepError as error:
            outcomes[path] = type(error)

    first = [threading.Thread(target=delete, args=(path,)) for path in ("1", "2")]
    for thread in first:
        thread.start()
        assert busy.acquire(timeout=60)
    later = [threading.Thread(target=delete, args=(path,)) for path in ("3", "locked", "4", "p" * 1025)]
    for thread in later:
        thread.start()
    wait_until(lambda: len(rig.client._deletes._waiting) == 3 and ("p" * 1025) in outcomes)
    answered["1"].set()  # and not the other: its caller would take some of them along
    for thread in (first[0], *later):
        thread.join(60)
    answered["2"].set()
    first[1].join(60)
    assert asked == [["3", "4", "locked"]]
    assert outcomes == {"1": 1, "2": 1, "3": 2, "4": 2, "locked": Locked, "p" * 1025: BadRequest}


def test_a_deletion_that_is_refused_after_a_lost_attempt_is_undecided(rig: Rig) -> None:
    """The lost attempt may still arrive, so the refusal must not promise that nothing is deleted."""

    calls: list[str] = []

    def locked_from_now_on(request: DeleteRequest) -> DeleteReply:
        calls.append(request.write_id)
        if len(calls) > 1:
            raise Locked("bob has it")
        return DeleteReply(1, True)

    rig.directory.replies[DELETE.path] = locked_from_now_on
    rig.directory.drop_replies = 1
    with pytest.raises(Undecided):
        rig.client.delete(deletion("a"))
    assert calls == [deletion("a").write_id] * 2
    with pytest.raises(Locked):  # nothing was lost here
        rig.client.delete(deletion("b"))


def test_a_wait_for_a_lock_gets_the_time_it_asked_for(rig: Rig) -> None:
    """The call's time-out is added to how long the directory was told to keep the request."""
    seconds: list[float | None] = []
    call = rig.network.call

    def watch(url: str, declared: object, request: object, timeout: float | None = None) -> object:
        seconds.append(timeout)
        return call(url, declared, request, timeout)  # type: ignore[arg-type]

    rig.network.call = watch  # type: ignore[method-assign, assignment]
    rig.directory.replies[ACQUIRE.path] = lambda _: AcquireReply()
    paths = [LockPath(bucket="files", path="file")]
    rig.client.call(ACQUIRE, AcquireRequest(credential="ann", paths=paths, request_id="r" * 16, wait_seconds=30.0))
    assert seconds == [35.0]


def test_damage_reports_never_fail_the_read(rig: Rig) -> None:
    """A directory that is away when damage is found costs the report, not the read that found it."""
    rig.client.report_damaged("1", [EMPTY_DIGEST])
    rig.directory.down = True
    rig.client.report_damaged("2", [EMPTY_DIGEST])
    assert rig.directory.damaged == [("1", EMPTY_DIGEST)]
