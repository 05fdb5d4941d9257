from __future__ import annotations

import threading

import pytest

from client_proxy.core.directory_client import DirectoryClient, Found
from lockstep_store.wire.digest import EMPTY_DIGEST
from lockstep_store.wire.errors import (
    BadRequest,
    Forbidden,
    Locked,
    LockstepError,
    NotFound,
    NotLoggedIn,
    PeerUnreachable,
    PreconditionFailed,
    Unavailable,
    Undecided,
    to_problem,
)
from lockstep_store.wire.messages.base import Nothing, Outcome
from lockstep_store.wire.messages.buckets import CHANGE_BUCKET, ChangeBucketRequest
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
from lockstep_store.wire.messages.people import CREATE_API_KEY, ApiKeyInfo, CreateApiKeyRequest
from lockstep_store.wire.messages.s3 import (
    BUCKET_SETTING,
    PUT_BUCKET_SETTING,
    PUT_OBJECT_SETTING,
    BucketSettingRequest,
    PutBucketSettingRequest,
    PutObjectSettingRequest,
    SettingReply,
)
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


def test_a_lost_answer_is_asked_for_again(rig: Rig) -> None:
    """A begin whose answer was lost is repeated under its own write id, so there is one version, not two."""
    item = BeginItem(credential="ann", write_id="w" * 16, bucket="files", path="file", digest=EMPTY_DIGEST, size=0)
    rig.directory.holders[EMPTY_DIGEST] = [HOLDER]
    rig.directory.drop_replies = 1
    begun = rig.client.begin(item)
    assert begun.version is not None
    assert [version.version for version in rig.directory.versions["files", "file"]] == [begun.version.version]


def test_a_directory_that_comes_back_in_time_is_not_noticed(rig: Rig) -> None:
    """An outage shorter than the client's patience costs time, not an error, and pauses grow but stay bounded."""
    rig.directory.down = True
    sleep = rig.client._sleep

    def until_back(seconds: float) -> None:
        sleep(seconds)
        if rig.clock.monotonic() > 5:
            rig.directory.down = False

    rig.client._sleep = until_back
    assert rig.client.call(LIST, LISTING).files == []
    assert rig.pauses == sorted(rig.pauses)
    assert max(rig.pauses) <= 1.5


def test_a_directory_that_stays_away_is_named_in_a_bounded_time(rig: Rig) -> None:
    """When patience ends the error is a 503 that says what is missing."""
    rig.directory.hang = True
    with pytest.raises(Unavailable, match="directory server has not replied for 8 s") as caught:
        rig.client.lookup(find("file"))
    assert caught.value.status == 503
    assert rig.clock.monotonic() <= 8.0


def test_while_the_directory_is_known_to_be_away_nobody_waits(rig: Rig) -> None:
    """After the first lost patience calls are refused at once, one a second tries, and its answer ends the outage."""
    rig.directory.down = True
    with pytest.raises(Unavailable, match="for 8 s"):
        rig.client.call(LIST, LISTING)
    assert rig.clock.monotonic() == pytest.approx(8.0, abs=1.5)
    began, tried = rig.clock.monotonic(), 0
    for number in range(50):
        before = len(rig.directory.calls)
        with pytest.raises(Unavailable) as caught:
            rig.client.lookup(find("file")) if number % 2 else rig.client.call(LIST, LISTING)
        assert caught.value.can_retry
        tried += len(rig.directory.calls) - before
        rig.clock.advance(0.1)
    assert rig.clock.monotonic() - began == pytest.approx(5.0, abs=0.01), "nobody slept"
    assert 4 <= tried <= 6
    rig.directory.down = False
    rig.clock.advance(1.0)
    for _ in range(3):
        assert rig.client.call(LIST, LISTING).files == []


def test_an_old_outage_does_not_refuse_anybody(rig: Rig) -> None:
    """After a quiet time nobody knows, so everybody is patient again; a refusal is an answer, too."""
    rig.directory.down = True
    with pytest.raises(Unavailable):
        rig.client.call(LIST, LISTING)
    rig.clock.advance(60.0)
    rig.directory.down = False
    with pytest.raises(NotFound):
        rig.client.lookup(find("file"))
    assert rig.client._outage._since is None


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


def test_a_change_whose_answer_never_comes_is_not_said_to_have_failed(rig: Rig) -> None:
    """The delete may have been done before the directory fell silent, so its caller is told to look."""
    rig.directory.hang = True
    with pytest.raises(Undecided, match="may or may not have been done"):
        rig.client.call(DELETE, DeleteRequest(credential="ann", write_id="w" * 16, bucket="files", path="file"))
    assert rig.clock.monotonic() <= 8.0


def test_calls_that_would_act_twice_are_not_repeated(rig: Rig) -> None:
    """A new API key whose answer was lost is not asked for again: that would make a second key."""
    made: list[str] = []

    def make(request: CreateApiKeyRequest) -> ApiKeyInfo:
        made.append(request.name)
        return ApiKeyInfo(id="1", name=request.name, created_at=0.0)

    rig.directory.replies[CREATE_API_KEY.path] = make
    rig.directory.drop_replies = 1
    with pytest.raises(Undecided, match="may or may not have been done"):
        rig.client.call(CREATE_API_KEY, CreateApiKeyRequest(credential="ann", name="robot"))
    assert made == ["robot"]


def test_settings_are_asked_for_again_and_put_once(rig: Rig) -> None:
    """Reading one twice harms nothing; the late first attempt to put one could undo what somebody else put since."""
    asked: list[str] = []

    def answer(request: BucketSettingRequest) -> SettingReply:
        asked.append("get")
        return SettingReply("{}")

    def put(request: PutBucketSettingRequest | PutObjectSettingRequest | ChangeBucketRequest) -> Nothing:
        asked.append("put")
        return Nothing()

    rig.directory.replies |= {BUCKET_SETTING.path: answer, PUT_BUCKET_SETTING.path: put, PUT_OBJECT_SETTING.path: put}
    rig.directory.replies[CHANGE_BUCKET.path] = put
    rig.directory.drop_replies = 1
    assert rig.client.call(BUCKET_SETTING, BucketSettingRequest("ann", "files", "policy")).value == "{}"
    assert asked == ["get", "get"]
    for call, request in (
        (PUT_BUCKET_SETTING, PutBucketSettingRequest("ann", "files", "policy", "{}")),
        (PUT_OBJECT_SETTING, PutObjectSettingRequest("ann", "files", "k", name="acl", value="{}")),
        (CHANGE_BUCKET, ChangeBucketRequest("ann", "files", shared=True)),
    ):
        rig.directory.drop_replies = 1
        with pytest.raises(Undecided, match="may or may not have been done"):
            rig.client.call(call, request)
    assert asked == ["get", "get", "put", "put", "put"]


def test_a_refused_connection_is_tried_again_for_every_call(rig: Rig) -> None:
    """Nothing was sent over a refused connection, so even a call that acts is made once the directory is back."""
    made: list[str] = []

    def make(request: CreateApiKeyRequest) -> ApiKeyInfo:
        made.append(request.name)
        return ApiKeyInfo(id="1", name=request.name, created_at=0.0)

    rig.directory.replies[CREATE_API_KEY.path] = make
    rig.directory.down = True
    sleep = rig.client._sleep

    def come_back(seconds: float) -> None:
        sleep(seconds)
        rig.directory.down = False

    rig.client._sleep = come_back
    rig.client.call(CREATE_API_KEY, CreateApiKeyRequest(credential="ann", name="robot"))
    assert made == ["robot"]


@pytest.mark.parametrize(
    "refusal",
    [
        PreconditionFailed("it changed"),
        Locked("bob has it"),
        NotFound("no source"),
        NotLoggedIn("it expired"),
        Forbidden("the bucket was closed"),
    ],
)
def test_a_refusal_after_a_lost_attempt_does_not_claim_that_nothing_was_done(rig: Rig, refusal: LockstepError) -> None:
    """The lost delete may still be on its way and meet a state that lets it in, so nobody is told that it failed."""
    answers: list[Exception] = [PeerUnreachable("did not answer in time"), refusal]

    def answer(_: DeleteRequest) -> None:
        raise answers.pop(0)

    rig.directory.replies[DELETE.path] = answer
    request = DeleteRequest(credential="ann", write_id="w" * 16, bucket="files", path="file")
    with pytest.raises(Undecided, match="may still take effect"):
        rig.client.call(DELETE, request)
    answers[:] = [refusal]
    with pytest.raises(type(refusal)):
        rig.client.call(DELETE, request)


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
